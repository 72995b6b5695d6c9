//! The container's output in its log.

use crate::fixture::Fixture;
use sextant_proto::shim::{StateRequest, exit::How};

/// The output of one stream, as the log gives it back.
fn output(f: &Fixture, stream: &str) -> Vec<u8> {
    let log = std::fs::read(f.file("log")).unwrap();
    let mut output = Vec::new();
    for entry in log.split_inclusive(|b| *b == b'\n') {
        let mut fields = entry.splitn(4, |b| *b == b' ');
        let (at, from, tag) = (fields.next().unwrap(), fields.next().unwrap(), fields.next().unwrap());
        assert_eq!(at.len(), "1970-01-01T00:00:00.000000000Z".len());
        if from == stream.as_bytes() {
            let content = fields.next().unwrap();
            let end = if tag == b"F" { content.len() } else { content.len() - 1 };
            output.extend_from_slice(&content[..end]);
        }
    }
    output
}

#[tokio::test]
async fn both_streams_are_logged() {
    let mut f = Fixture::new("echo out; echo err >&2; printf 'no end'; read x || echo 'no stdin' >&2").await;
    assert_eq!(f.live().await, How::Code(0));
    assert_eq!(output(&f, "stdout"), b"out\nno end");
    assert_eq!(output(&f, "stderr"), b"err\nno stdin\n");
    let state = f.client.state(StateRequest::default()).await.unwrap().into_inner();
    assert_eq!(state.log_bytes, std::fs::metadata(f.file("log")).unwrap().len());
    assert_eq!(state.log_dropped_bytes, 0);
    f.delete().await;
}

#[tokio::test]
async fn a_mebibyte_with_long_lines_is_whole_when_the_exit_is_told() {
    let data: Vec<u8> = (0..1_048_576_u32)
        .map(|i| if i % 40_009 == 0 { b'\n' } else { b'a' + u8::try_from(i % 23).unwrap() })
        .collect();
    let mut f = Fixture::new("true").await;
    let file = f.temp.path().join("data");
    std::fs::write(&file, &data).unwrap();
    std::fs::write(f.temp.path().join("bundle/command"), format!("cat {}", file.display())).unwrap();
    assert_eq!(f.live().await, How::Code(0));
    assert!(output(&f, "stdout") == data);
    f.delete().await;
}

#[tokio::test]
async fn a_descendant_with_the_pipes_open_does_not_delay_the_exit() {
    let mut f = Fixture::new("true").await;
    let pid = f.temp.path().join("descendant");
    let command = format!("sleep 1000 & echo $! > {}; echo last words", pid.display());
    std::fs::write(f.temp.path().join("bundle/command"), command).unwrap();
    assert_eq!(f.live().await, How::Code(0));
    assert_eq!(output(&f, "stdout"), b"last words\n");
    let pid = std::fs::read_to_string(pid).unwrap().trim().parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL).unwrap();
    f.delete().await;
}
