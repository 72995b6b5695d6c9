//! Waiting for a hook: its stdin is fed and its stderr drained meanwhile, so
//! that neither one that does not read, nor one that says much, nor one that
//! leaves a process behind with its stderr holds the runtime up.

use crate::sys;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

/// How a hook ended.
pub(super) struct Ended {
    /// `None`: the time was over, and it was killed.
    pub(super) status: Option<ExitStatus>,
    /// The beginning of what it said on stderr.
    pub(super) said: String,
}

/// More of its stderr is not kept.
const KEPT: usize = 1024;

/// What is between the runtime and the hook.
struct Talk<'a> {
    stdin: Option<OwnedFd>,
    input: &'a [u8],
    stderr: Option<OwnedFd>,
    said: Vec<u8>,
}

/// Waits until the hook has ended, or kills it after `limit`.
pub(super) fn until_end(child: &mut Child, input: &[u8], limit: Option<Duration>) -> io::Result<Ended> {
    let mut talk = Talk {
        stdin: child.stdin.take().map(OwnedFd::from),
        input,
        stderr: child.stderr.take().map(OwnedFd::from),
        said: Vec::new(),
    };
    for fd in [&talk.stdin, &talk.stderr].into_iter().flatten() {
        fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    }
    let deadline = limit.map(|limit| Instant::now() + limit);
    let pidfd = sys::process::pidfd_open(i32::try_from(child.id()).unwrap_or(-1))
        .map_err(|e| io::Error::from(e.errno))?;
    let status = loop {
        let left = deadline.map(|d| d.saturating_duration_since(Instant::now()));
        if talk.turn(pidfd.as_fd(), left)? {
            break Some(child.wait()?);
        }
        if left.is_some_and(|left| left.is_zero()) {
            child.kill()?;
            child.wait()?;
            break None;
        }
    };
    // What is there already; whoever else has its stderr is not waited for.
    talk.listen();
    Ok(Ended { status, said: String::from_utf8_lossy(&talk.said).into_owned() })
}

impl Talk<'_> {
    /// Waits for something to happen; gives whether the hook has ended.
    fn turn(&mut self, pidfd: BorrowedFd<'_>, left: Option<Duration>) -> io::Result<bool> {
        let timeout = match left.map(|left| u16::try_from(left.as_millis()).unwrap_or(u16::MAX)) {
            Some(millis) => PollTimeout::from(millis),
            None => PollTimeout::NONE,
        };
        let mut fds = vec![PollFd::new(pidfd, PollFlags::POLLIN)];
        fds.extend(self.stderr.iter().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)));
        fds.extend(self.stdin.iter().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLOUT)));
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let ended = fds.first().and_then(PollFd::any) == Some(true);
        self.speak();
        self.listen();
        Ok(ended)
    }

    /// Writes as much as the hook takes. It need not read its stdin: EPIPE is its right.
    fn speak(&mut self) {
        let Some(stdin) = &self.stdin else { return };
        match nix::unistd::write(stdin, self.input) {
            Ok(written) => self.input = self.input.get(written..).unwrap_or_default(),
            Err(Errno::EAGAIN | Errno::EINTR) => return,
            Err(_) => self.input = &[],
        }
        if self.input.is_empty() {
            self.stdin = None;
        }
    }

    /// Reads what there is, at most so much that the hook's end is not missed.
    fn listen(&mut self) {
        let mut buffer = [0; 4096];
        for _ in 0..16 {
            let Some(stderr) = &self.stderr else { return };
            match nix::unistd::read(stderr, &mut buffer) {
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return,
                Ok(0) | Err(_) => self.stderr = None,
                Ok(length) => {
                    let kept = length.min(KEPT - self.said.len().min(KEPT));
                    self.said.extend(buffer.iter().take(kept));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    fn ended(script: &str, input: &[u8], limit: Option<Duration>) -> Ended {
        let mut child = Command::new("/bin/sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        until_end(&mut child, input, limit).unwrap()
    }

    #[test]
    fn one_that_says_more_than_a_pipe_holds_ends() {
        let ended = ended("head -c 300000 /dev/zero >&2; exit 3", b"{}", None);
        assert_eq!((ended.status.unwrap().code(), ended.said.len()), (Some(3), KEPT));
    }

    #[test]
    fn one_that_does_not_read_ends_by_itself_or_in_time() {
        let input = vec![b' '; 1 << 20];
        assert!(ended("exit 0", &input, None).status.unwrap().success());
        assert!(ended("exec sleep 1000", &input, Some(Duration::from_millis(50))).status.is_none());
    }

    #[test]
    fn one_that_reads_gets_all_of_it() {
        let input = vec![b'x'; 1 << 20];
        assert_eq!(ended("wc -c >&2", &input, None).said.trim(), "1048576");
    }

    #[test]
    fn a_process_that_keeps_its_stderr_is_not_waited_for() {
        let ended = ended("sleep 1000 & echo $! >&2; exit 4", b"", None);
        assert_eq!(ended.status.unwrap().code(), Some(4));
        let pid = ended.said.trim().parse().unwrap();
        sys::signal::kill(pid, libc::SIGKILL).unwrap();
    }
}
