//! Carries a process's stdout and stderr to its clients ([`Streams`]), and the
//! container's own into its log as well, from `create` until nobody holds the
//! pipes any more. A terminal is read like the one pipe of stdout. When init has exited, what the pipes hold
//! then is read before the exit is journalled; descendants that live on cannot
//! delay that, and are still heard afterwards.

use crate::error::{Error, Result};
use crate::log::{Lines, Log};
use crate::pipe::{Flow, Pipe};
use crate::streams::{Stream, Streams};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, oneshot};

/// How long nothing comes until the log says what it has dropped.
const SILENCE: Duration = Duration::from_secs(1);

/// How long the last words on a terminal may be on their way once its process has ended: the kernel
/// hands them over later, and only its end says that there are none.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Reads of these, at most: a process that has the terminal as well may go on and on.
const LAST_READS: u32 = 16;

/// A process's output, on its way to its clients and into the log.
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
    /// Starts to carry `stdout` and `stderr` to `streams` and into the log, as far as there
    /// are such pipes and there is one.
    pub(crate) fn carry(
        [stdout, stderr]: [Option<Pipe>; 2],
        log: Option<Log>,
        streams: Arc<Streams>,
    ) -> Self {
        let (sender, requests) = mpsc::channel(1);
        let source = |pipe, name, stream| Source {
            pipe,
            stream,
            lines: Lines::new(name),
            streams: Arc::clone(&streams),
        };
        let stdout = source(stdout, "stdout", Stream::Stdout);
        let stderr = source(stderr, "stderr", Stream::Stderr);
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
        let (done, reopened) = oneshot::channel();
        self.requests.send(Request::Reopen(done)).await.map_err(|_| not_logged())?;
        reopened.await.map_err(|_| not_logged())?
    }
}

fn not_logged() -> Error {
    Error::new("open the log anew", "nothing is written to it any more")
}

async fn carry(
    mut stdout: Source,
    mut stderr: Source,
    mut log: Option<Log>,
    mut requests: mpsc::Receiver<Request>,
) {
    loop {
        tokio::select! {
            bytes = stdout.read() => stdout.take(&bytes, &mut log),
            bytes = stderr.read() => stderr.take(&bytes, &mut log),
            Some(request) = requests.recv() => match request {
                Request::Drain(done) => {
                    stdout.drain(&mut log).await;
                    stderr.drain(&mut log).await;
                    // Whoever asked may have gone.
                    done.send(()).unwrap_or_default();
                }
                Request::Reopen(done) => {
                    let reopened = log.as_mut().map_or_else(|| Err(not_logged()), Log::reopen);
                    // Likewise.
                    drop(done.send(reopened));
                }
            },
            () = tokio::time::sleep(SILENCE), if log.as_ref().is_some_and(Log::owes) => {
                if let Some(log) = &mut log {
                    log.settle(SystemTime::now());
                }
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
    stream: Stream,
    lines: Lines,
    streams: Arc<Streams>,
}

impl Source {
    /// The next bytes; none at the end. Never returns after it.
    async fn read(&self) -> Vec<u8> {
        match &self.pipe {
            Some(pipe) => {
                self.streams.room().await;
                // A pipe that cannot be read has ended as well; a terminal without a process is EIO.
                pipe.read().await.unwrap_or_default()
            }
            None => std::future::pending().await,
        }
    }

    fn take(&mut self, bytes: &[u8], log: &mut Option<Log>) {
        self.streams.tell(self.stream, bytes);
        if let Some(log) = log {
            self.lines.feed(bytes, SystemTime::now(), log);
        }
        if Flow::of(bytes) == Flow::Ended {
            self.flush(log);
            self.pipe = None;
        }
    }

    fn flush(&mut self, log: &mut Option<Log>) {
        if let Some(log) = log {
            self.lines.flush(SystemTime::now(), log);
        }
    }

    /// Reads what is there now, the beginning of a last line included.
    async fn drain(&mut self, log: &mut Option<Log>) {
        if let Some(pipe) = self.pipe.take() {
            pipe.drain(|bytes| {
                self.take(bytes, log);
                Flow::of(bytes)
            });
            self.pipe = if pipe.is_terminal() { self.last_words(pipe, log).await } else { Some(pipe) };
        }
        self.flush(log);
    }

    /// Reads a terminal to its end; gives it back when another process still has it.
    async fn last_words(&mut self, terminal: Pipe, log: &mut Option<Log>) -> Option<Pipe> {
        for _ in 0..LAST_READS {
            let Ok(read) = tokio::time::timeout(LAST_WORDS, terminal.read()).await else { break };
            let bytes = read.unwrap_or_default();
            self.take(&bytes, log);
            if Flow::of(&bytes) == Flow::Ended {
                return None;
            }
        }
        Some(terminal)
    }
}
