//! Carries the container's stdout and stderr into its log, from `create` until
//! nobody holds the pipes any more. When init has exited, what the pipes hold
//! then is read before the exit is journalled; descendants that live on cannot
//! delay that, and are still heard afterwards.

use crate::log::{Lines, Log};
use crate::pipe::{Flow, Pipe};
use std::time::SystemTime;
use tokio::sync::{mpsc, oneshot};

/// The container's output, on its way into the log.
#[derive(Debug)]
pub(crate) struct Output {
    drains: mpsc::Sender<oneshot::Sender<()>>,
}

impl Output {
    /// Starts to carry `stdout` and `stderr` into `log`, as far as there are such pipes.
    pub(crate) fn carry(stdout: Option<Pipe>, stderr: Option<Pipe>, log: Log) -> Self {
        let (drains, requests) = mpsc::channel(1);
        let stdout = Source { pipe: stdout, lines: Lines::new("stdout") };
        let stderr = Source { pipe: stderr, lines: Lines::new("stderr") };
        tokio::spawn(carry(stdout, stderr, log, requests));
        Self { drains }
    }

    /// Returns when all that was written up to now is in the log.
    pub(crate) async fn drain(&self) {
        let (done, drained) = oneshot::channel();
        if self.drains.send(done).await.is_ok() {
            // An error says that the task is gone, and with it everything to drain.
            drained.await.unwrap_or_default();
        }
    }
}

async fn carry(
    mut stdout: Source,
    mut stderr: Source,
    mut log: Log,
    mut requests: mpsc::Receiver<oneshot::Sender<()>>,
) {
    loop {
        tokio::select! {
            bytes = stdout.read() => stdout.take(&bytes, &mut log),
            bytes = stderr.read() => stderr.take(&bytes, &mut log),
            Some(done) = requests.recv() => {
                stdout.drain(&mut log);
                stderr.drain(&mut log);
                // Whoever asked may have gone.
                done.send(()).unwrap_or_default();
            }
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
