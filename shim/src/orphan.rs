//! The container's init after its shim was killed: it is the child of whoever
//! reaps the orphans of this machine, and a new shim, which is not its parent,
//! waits for it by pidfd.
//!
//! How it ended is said by two sources. Until it is reaped, field 52 of
//! `/proc/PID/stat` has its wait status, for who may trace it (proc_pid_stat(5));
//! afterwards the pidfd has, if it was open before (Linux 6.15). On an older
//! kernel the second is missing and the first may come too late: the status is
//! *unknown, because …* then, and never a guess.

use crate::reaper::{Ended, Process};
use crate::sys::{self, How, Orphan};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, SystemTime};
use tokio::sync::oneshot;

/// How long an ended process may stay unreaped; who reaps orphans may do it now and then only.
const REAPED: Duration = Duration::from_secs(60);

/// The time between two looks at an ended process.
const LOOK: Duration = Duration::from_millis(10);

/// Why nobody can know how a process ended.
const RESTARTED: &str = "because the machine was restarted";
const NOBODY_HELD_IT: &str =
    "because the shim was killed, and the process ended before another could take hold of it";
const UNTOLD: &str = "because the shim was killed, and this kernel tells an exit status to the parent alone \
                      (Linux 6.15 tells it to whoever holds the process)";
const NOT_REAPED: &str = "because the shim was killed, and nobody has reaped the process";

/// Waits for the end of the process that `pidfd` refers to, whose number is `pid`.
/// Within a tokio runtime.
///
/// # Errors
/// Of fcntl(2) and epoll_ctl(2).
pub(crate) fn adopt(pid: i32, pidfd: OwnedFd) -> io::Result<Process> {
    let watched = sys::readable(pidfd.try_clone()?)?;
    let (tell, ended) = oneshot::channel();
    tokio::spawn(async move {
        // A pidfd is readable once the process has ended (pidfd_open(2)). One that cannot be
        // polled is asked all the same.
        drop(watched.readable().await);
        let how = how_it_ended(watched.get_ref(), pid).await;
        // Its receiver may have gone with the container.
        tell.send(Ended { how, at: SystemTime::now() }).unwrap_or_default();
    });
    Ok(Process::adopted(pid, Some(pidfd), ended))
}

/// A process that had ended, and was reaped, before anybody took hold of it.
pub(crate) fn lost(pid: i32, boot: &str) -> Process {
    let because = if boot == boot_id() { NOBODY_HELD_IT } else { RESTARTED };
    let (tell, ended) = oneshot::channel();
    // The receiver lives in this function.
    tell.send(Ended { how: How::Unknown(because), at: SystemTime::now() }).unwrap_or_default();
    Process::adopted(pid, None, ended)
}

async fn how_it_ended(pidfd: &OwnedFd, pid: i32) -> How {
    let looks = REAPED.as_millis() / LOOK.as_millis();
    for _ in 0..looks {
        let zombie = zombie_status(pid);
        // Asked afterwards: as long as it is not reaped, its number is nobody else's.
        match (sys::orphan(pidfd.as_fd()), zombie) {
            (Ok(Orphan::Ended(how)), _) | (Ok(Orphan::NotReaped), Some(how)) => return how,
            (Ok(Orphan::NotReaped), None) => tokio::time::sleep(LOOK).await,
            (Ok(Orphan::Untold) | Err(_), _) => return How::Unknown(UNTOLD),
        }
    }
    How::Unknown(NOT_REAPED)
}

/// How a process ended that nobody has reaped yet, where this process may know.
fn zombie_status(pid: i32) -> Option<How> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields = fields(&stat);
    if !fields.first()?.starts_with(['Z', 'X']) {
        return None;
    }
    let status: i32 = fields.get(52 - 3)?.parse().ok()?;
    // Who may not trace the process reads 0 there, and cannot read this file.
    (status != 0 || std::fs::read(format!("/proc/{pid}/io")).is_ok()).then(|| sys::decode(status))
}

/// When the process began, in clock ticks since boot (field 22): with its number this names it.
pub(crate) fn start_time(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    fields(&stat).get(22 - 3)?.parse().ok()
}

/// Whether the process, which is this one and may be a zombie, has called execve(2) since it was cloned: an
/// init does so with the user's program only. Field 9 of its stat has `PF_FORKNOEXEC` until then.
pub(crate) fn has_executed(pid: i32, started_at: u64, boot: &str) -> bool {
    const FORKED_AND_NOT_EXECUTED: u64 = 0x40;
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    let fields = fields(&stat);
    let number = |field: usize| fields.get(field - 3).and_then(|field| field.parse::<u64>().ok());
    let same = started_at != 0 && number(22) == Some(started_at) && boot == boot_id();
    same && number(9).is_some_and(|flags| flags & FORKED_AND_NOT_EXECUTED == 0)
}

/// The fields of `/proc/PID/stat` from the third on; the second, a name, may have any character.
fn fields(stat: &str) -> Vec<&str> {
    stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default()
}

/// Which boot of the machine this is; empty where the kernel does not say.
pub(crate) fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().into()
}

/// A descriptor of the process `pid` that began at `started_at` of `boot`; `None` when it has gone.
///
/// # Errors
/// Of pidfd_open(2), apart from ESRCH.
pub(crate) fn hold(pid: i32, started_at: u64, boot: &str) -> io::Result<Option<OwnedFd>> {
    if started_at == 0 || boot != boot_id() {
        return Ok(None);
    }
    let pidfd = match sys::pidfd_open(pid) {
        Ok(pidfd) => pidfd,
        Err(e) if e.raw_os_error() == Some(libc::ESRCH) => return Ok(None),
        Err(e) => return Err(e),
    };
    // Looked at afterwards: the descriptor refers to whichever process had the number before.
    Ok((start_time(pid) == Some(started_at)).then_some(pidfd))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    fn child(script: &str) -> (std::process::Child, i32) {
        let child = Command::new("sh").args(["-c", script]).stdin(Stdio::piped()).spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        (child, pid)
    }

    #[test]
    fn a_zombie_tells_how_it_ended_and_a_living_process_does_not() {
        for (script, how) in [("read _; exit 7", How::Code(7)), ("read _; kill -9 $$", How::Signal(9))] {
            let (mut child, pid) = child(script);
            assert_eq!(zombie_status(pid), None);
            drop(child.stdin.take());
            while zombie_status(pid).is_none() {
                std::thread::yield_now();
            }
            assert_eq!(zombie_status(pid), Some(how));
            child.wait().unwrap();
        }
    }

    #[test]
    fn a_number_that_was_given_to_another_process_is_not_taken() {
        let (mut child, pid) = child("read _");
        let (started, boot) = (start_time(pid).unwrap(), boot_id());
        assert!(hold(pid, started, &boot).unwrap().is_some());
        assert!(hold(pid, started + 1, &boot).unwrap().is_none());
        assert!(hold(pid, 0, &boot).unwrap().is_none());
        assert!(hold(pid, started, "another boot").unwrap().is_none());
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(hold(pid, started, &boot).unwrap().is_none());
    }

    #[test]
    fn a_process_says_whether_it_has_executed_also_as_a_zombie() {
        // What runs in the background has /dev/null for its stdin, and waits for this one's.
        let (mut child, pid) = child("exec 3<&0; (read _ <&3; exit 0) & wait; sleep 0.1");
        let boot = boot_id();
        assert!(has_executed(pid, start_time(pid).unwrap(), &boot));
        let children = format!("/proc/{pid}/task/{pid}/children");
        let forked = std::iter::repeat_with(|| std::fs::read_to_string(&children).unwrap_or_default());
        let forked: i32 = forked.filter_map(|text| text.trim().parse().ok()).next().unwrap();
        assert!(!has_executed(forked, start_time(forked).unwrap(), &boot));
        drop(child.stdin.take());
        while zombie_status(pid).is_none() {
            std::thread::yield_now();
        }
        let started = start_time(pid).unwrap();
        assert!(has_executed(pid, started, &boot) && !has_executed(pid, started + 1, &boot));
        child.wait().unwrap();
        assert!(!has_executed(pid, started, &boot));
    }

    #[tokio::test]
    async fn a_held_process_tells_how_it_ended_before_and_after_it_is_reaped() {
        for reap_first in [false, true] {
            let (mut child, pid) = child("read _; exit 9");
            let pidfd = hold(pid, start_time(pid).unwrap(), &boot_id()).unwrap().unwrap();
            drop(child.stdin.take());
            if reap_first {
                child.wait().unwrap();
            }
            let how = adopt(pid, pidfd).unwrap().ended.await.unwrap().how;
            assert!(how == How::Code(9) || reap_first && how == How::Unknown(UNTOLD), "{how:?}");
            child.wait().unwrap();
        }
    }
}
