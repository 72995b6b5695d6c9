//! A shim is killed, and another takes its container over.

use crate::fixture::{Fixture, until, within};
use sextant_proto::shim::{
    Adopted, Created, Event, KillRequest, Pipe, StateRequest, Status, event::What, exit::How,
};
use std::fs::OpenOptions;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::process::Command;

/// Says `one`, then, once the file `go` is there, `two`, and exits with 7.
const GATED: &str = "echo one; while [ ! -e GO ]; do sleep 0.01; done; echo two; exit 7";

async fn gated() -> (Fixture, PathBuf) {
    let mut f = Fixture::new("true").await;
    let go = f.temp.path().join("go");
    let command = GATED.replace("GO", &go.display().to_string());
    std::fs::write(f.temp.path().join("bundle/command"), command).unwrap();
    f.create().await;
    f.start().await;
    until(|| f.log().contains("one")).await;
    (f, go)
}

impl Fixture {
    fn log(&self) -> String {
        std::fs::read_to_string(self.file("log")).unwrap()
    }

    async fn created(&mut self) -> Created {
        match self.events(0, 1).await.remove(0).what.unwrap() {
            What::Created(created) => created,
            other => panic!("{other:?}"),
        }
    }

    /// Another reading end of a pipe of the shim's.
    fn keep(&self, pipe: Option<Pipe>) -> OwnedFd {
        let path = format!("/proc/{}/fd/{}", self.shim.id(), pipe.unwrap().fd);
        OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).unwrap().into()
    }

    /// The memory of what it has read of a stream.
    fn keep_hand(&self, hand: Option<Pipe>) -> OwnedFd {
        let path = format!("/proc/{}/fd/{}", self.shim.id(), hand.unwrap().fd);
        OpenOptions::new().read(true).write(true).open(path).unwrap().into()
    }
}

fn adopted(event: &Event) -> &Adopted {
    match event.what.as_ref().unwrap() {
        What::Adopted(adopted) => adopted,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn no_byte_of_a_pipe_that_was_kept_is_lost() {
    let (mut f, go) = gated().await;
    let created = f.created().await;
    let hands = [(b'O', f.keep_hand(created.stdout_hand)), (b'E', f.keep_hand(created.stderr_hand))];
    let held = [(b'o', f.keep(created.stdout)), (b'e', f.keep(created.stderr))];
    let held = held.into_iter().chain(hands).collect::<Vec<_>>();
    f.kill();
    // It goes on, and writes while nobody reads.
    std::fs::write(go, "").unwrap();
    f.adopt(&held).await;
    drop(held);
    let exit = f.wait().await;
    let events = f.events(2, 2).await;
    assert_eq!(events.iter().map(|e| e.seq).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(adopted(&events[0]).lost, None);
    // Its exit may have been reaped before the shim could take hold of it: then that is said.
    assert!(exit == How::Code(7) || matches!(exit, How::Unknown(_)), "{exit:?}");
    let words: Vec<String> =
        f.log().lines().filter_map(|l| Some(l.split_once(" stdout F ")?.1.into())).collect();
    assert_eq!(words, ["one", "two"]);
    f.delete().await;
}

#[tokio::test]
async fn the_beginning_of_a_line_that_was_read_is_not_lost() {
    let mut f = Fixture::new("true").await;
    let go = f.temp.path().join("go");
    let command =
        GATED.replace("echo one;", "echo one; printf half;").replace("GO", &go.display().to_string());
    std::fs::write(f.temp.path().join("bundle/command"), command).unwrap();
    f.create().await;
    f.start().await;
    until(|| f.log().contains("one")).await;
    let created = f.created().await;
    let held = [
        (b'o', f.keep(created.stdout)),
        (b'e', f.keep(created.stderr)),
        (b'O', f.keep_hand(created.stdout_hand)),
        (b'E', f.keep_hand(created.stderr_hand)),
    ];
    // The beginning of the line has left the pipe: it is in the hand, and nowhere else.
    let in_hand = |held: &OwnedFd| {
        let mut bytes = [0; 4096];
        std::fs::File::from(held.try_clone().unwrap()).read_exact_at(&mut bytes, 0).unwrap();
        bytes.windows(4).any(|four| four == b"half")
    };
    until(|| in_hand(&held[2].1)).await;
    f.kill();
    f.adopt(&held).await;
    assert_eq!(adopted(&f.events(2, 1).await[0]).lost, None);
    std::fs::write(go, "").unwrap();
    until(|| f.log().contains("two")).await;
    let words: Vec<String> =
        f.log().lines().filter_map(|l| Some(l.split_once(" stdout F ")?.1.into())).collect();
    assert_eq!(words, ["one", "halftwo"]);
    f.wait().await;
    f.delete().await;
}

#[tokio::test]
async fn a_container_goes_on_and_is_supervised_by_another_shim() {
    let (mut f, go) = gated().await;
    let pid = f.created().await.pid;
    let length = f.log().len();
    f.kill();
    f.adopt(&[]).await;
    let state = f.client.state(StateRequest::default()).await.unwrap().into_inner();
    assert_eq!((state.status(), state.pid, state.last_seq), (Status::Running, pid, 3));
    let events = f.events(2, 1).await;
    let lost = adopted(&events[0]).lost.clone().unwrap();
    assert_eq!(lost.log_offset, u64::try_from(length).unwrap());
    assert!(lost.from.is_some() && lost.until.is_some() && lost.because.contains("killed"), "{lost:?}");
    std::fs::write(go, "").unwrap();
    assert_eq!(f.wait().await, How::Code(7));
    until(|| f.log().contains("two")).await;
    // It may be done to it again, as often as one likes.
    f.kill();
    f.adopt(&[]).await;
    assert_eq!(f.wait().await, How::Code(7));
    f.delete().await;
    assert!(!f.temp.path().join("root/c1").exists());
}

#[tokio::test]
async fn signals_and_forced_deletion_reach_an_adopted_container() {
    for (signal, how) in [(15, How::Signal(15)), (9, How::Signal(9))] {
        let mut f = Fixture::new("exec sleep 1000").await;
        f.create().await;
        f.start().await;
        f.kill();
        f.adopt(&[]).await;
        f.client.kill(KillRequest { signal, all: false }).await.unwrap();
        assert_eq!(f.wait().await, how);
        f.delete().await;
    }
    let mut f = Fixture::new("exec sleep 1000").await;
    f.create().await;
    f.kill();
    f.adopt(&[]).await;
    f.start().await;
    f.delete().await;
}

#[tokio::test]
async fn an_exit_that_nobody_could_see_is_unknown_because_of_what() {
    let (mut f, go) = gated().await;
    let pid = f.created().await.pid;
    f.kill();
    std::fs::write(go, "").unwrap();
    until(|| !PathBuf::from(format!("/proc/{pid}")).exists()).await;
    f.adopt(&[]).await;
    match f.wait().await {
        How::Unknown(because) => assert!(because.contains("before another could take hold"), "{because}"),
        other => panic!("made up: {other:?}"),
    }
    f.delete().await;
}

#[tokio::test]
async fn a_start_that_the_killed_shim_did_not_record_is_found() {
    let mut f = Fixture::new("exec sleep 1000").await;
    f.create().await;
    f.kill();
    let root = f.temp.path();
    let mut start = Command::new(root.join("runtime"));
    assert!(start.arg("--root").arg(root.join("root")).args(["start", "c1"]).status().unwrap().success());
    f.adopt(&[]).await;
    assert_eq!(f.client.state(StateRequest::default()).await.unwrap().into_inner().status(), Status::Running);
    assert!(matches!(f.events(2, 1).await[0].what, Some(What::Started(_))));
    f.delete().await;
}

#[tokio::test]
async fn a_container_has_one_shim_and_nothing_is_not_taken_over() {
    let mut f = Fixture::new("exec sleep 1000").await;
    f.create().await;
    assert!(f.refused().contains("another shim holds it"), "{}", f.refused());
    within(f.client.state(StateRequest::default())).await.unwrap();
    f.delete().await;
    let mut f = Fixture::new("true").await;
    f.kill();
    assert!(f.refused().contains("not created"), "{}", f.refused());
}
