//! Carries the container's stdout and stderr into its log, from `create` until
//! nobody holds the pipes any more. When init has exited, what the pipes hold
//! then is read before the exit is journalled; descendants that live on cannot
//! delay that, and are still heard afterwards.

use crate::error::{Error, Result};
use crate::log::{Lines, Log};
use crate::pipe::{Flow, Pipe};
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, oneshot};

/// How long nothing comes until the log says what it has dropped.
const SILENCE: Duration = Duration::from_secs(1);

/// The container's output, on its way into the log.
#[derive(Debug)]
pub(crate) struct Output {
    requests: mpsc::Sender<Request>,
}

/// What can be asked of it.
#[derive(Debug)]
enum Request {
    /// To read what is there now.
    Drain(oneshot::Sender<()>),
    /// To go on in a new log file.
    Reopen(oneshot::Sender<Result<()>>),
}

impl Output {
    /// Starts to carry `stdout` and `stderr` into `log`, as far as there are such pipes.
    pub(crate) fn carry(stdout: Option<Pipe>, stderr: Option<Pipe>, log: Log) -> Self {
        let (sender, requests) = mpsc::channel(1);
        let stdout = Source { pipe: stdout, lines: Lines::new("stdout") };
        let stderr = Source { pipe: stderr, lines: Lines::new("stderr") };
        tokio::spawn(carry(stdout, stderr, log, requests));
        Self { requests: sender }
    }

    /// Returns when all that was written up to now is in the log.
    pub(crate) async fn drain(&self) {
        let (done, drained) = oneshot::channel();
        if self.requests.send(Request::Drain(done)).await.is_ok() {
            // An error says that the task is gone, and with it everything to drain.
            drained.await.unwrap_or_default();
        }
    }

    /// Goes on in a new log file, if the old one was moved away.
    ///
    /// # Errors
    /// When it cannot be opened, or nothing is logged any more.
    pub(crate) async fn reopen_log(&self) -> Result<()> {
        let over = || Error::new("open the log anew", "nothing is written to it any more");
        let (done, reopened) = oneshot::channel();
        self.requests.send(Request::Reopen(done)).await.map_err(|_| over())?;
        reopened.await.map_err(|_| over())?
    }
}

async fn carry(mut stdout: Source, mut stderr: Source, mut log: Log, mut requests: mpsc::Receiver<Request>) {
    loop {
        tokio::select! {
            bytes = stdout.read() => stdout.take(&bytes, &mut log),
            bytes = stderr.read() => stderr.take(&bytes, &mut log),
            Some(request) = requests.recv() => match request {
                Request::Drain(done) => {
                    stdout.drain(&mut log);
                    stderr.drain(&mut log);
                    // Whoever asked may have gone.
                    done.send(()).unwrap_or_default();
                }
                Request::Reopen(done) => drop(done.send(log.reopen())),
            },
            () = tokio::time::sleep(SILENCE), if log.owes() => log.settle(SystemTime::now()),
            else => return,
        }
        if stdout.pipe.is_none() && stderr.pipe.is_none() {
            return;
        }
        // A pipe that is always full would keep the one thread from requests.
        tokio::task::yield_now().await;
    }
}

/// One stream; without a pipe once it has ended.
struct Source {
    pipe: Option<Pipe>,
    lines: Lines,
}

impl Source {
    /// The next bytes; none at the end. Never returns after it.
    async fn read(&self) -> Vec<u8> {
        match &self.pipe {
            // A pipe that cannot be read has ended as well.
            Some(pipe) => pipe.read().await.unwrap_or_default(),
            None => std::future::pending().await,
        }
    }

    fn take(&mut self, bytes: &[u8], log: &mut Log) {
        self.lines.feed(bytes, SystemTime::now(), log);
        if Flow::of(bytes) == Flow::Ended {
            self.lines.flush(SystemTime::now(), log);
            self.pipe = None;
        }
    }

    /// Reads what is there now, the beginning of a last line included.
    fn drain(&mut self, log: &mut Log) {
        if let Some(pipe) = &self.pipe {
            pipe.drain(|bytes| {
                self.lines.feed(bytes, SystemTime::now(), log);
                Flow::of(bytes)
            });
        }
        self.lines.flush(SystemTime::now(), log);
    }
}
