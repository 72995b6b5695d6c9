//! Carries a process's stdout and stderr to its clients ([`Streams`]), and the
//! container's own into its log as well, from `create` until nobody holds the
//! pipes any more. A terminal is read like the one pipe of stdout. When init has exited, what the pipes hold
//! then is read before the exit is journalled; descendants that live on cannot
//! delay that, and are still heard afterwards.

use crate::error::{Attempted, Error, Result};
use crate::hand::{Hand, flow};
use crate::log::{Lines, Log};
use crate::pipe::{Flow, Pipe};
use crate::streams::{Stream, Streams};
use std::os::fd::OwnedFd;
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

/// Where the container's output is logged, and what is in the hand on the way there: of stdout and of stderr.
#[derive(Debug)]
pub(crate) struct Logged {
    /// The log.
    pub(crate) log: Log,
    /// What was read and is not in it.
    pub(crate) hands: [Hand; 2],
}

impl Logged {
    /// With nothing in the hand.
    ///
    /// # Errors
    /// As [`Hand::new`].
    pub(crate) fn new(log: Log) -> Result<Self> {
        let hands = Hand::new().and_then(|stdout| Ok([stdout, Hand::new()?]));
        Ok(Self { log, hands: hands.attempted(|| "make memory for output".into())? })
    }

    /// With what a shim that was killed had in its hand, apart from what it had logged already; whether that is
    /// all of it. Where nothing was kept, there may have been something.
    ///
    /// # Errors
    /// As [`Logged::new`].
    pub(crate) fn recover(log: Log, held: [Option<OwnedFd>; 2]) -> Result<(Self, bool)> {
        let mut logged = Self::new(log)?;
        let mut all = true;
        for ((hand, held), stream) in logged.hands.iter_mut().zip(held).zip(["stdout", "stderr"]) {
            let Some(mut kept) = held.and_then(|file| Hand::of(file).ok()) else {
                all = false;
                continue;
            };
            // What cannot be read any more fits nothing.
            all &= match logged.log.since(stream, kept.log()) {
                Ok(since) => kept.leave_out(&since, logged.log.end()),
                Err(_) => kept.forget(logged.log.end()),
            };
            *hand = kept;
        }
        Ok((logged, all))
    }
}

impl Output {
    /// Starts to carry `stdout` and `stderr` to `streams` and into the log, as far as there
    /// are such pipes and there is one.
    pub(crate) fn carry(
        [stdout, stderr]: [Option<Pipe>; 2],
        logged: Option<Logged>,
        streams: Arc<Streams>,
    ) -> Self {
        let (sender, requests) = mpsc::channel(1);
        let (log, [out, err]) = match logged {
            Some(Logged { log, hands: [out, err] }) => (Some(log), [Some(out), Some(err)]),
            None => (None, [None, None]),
        };
        let source = |pipe, name, stream, hand| Source {
            pipe,
            stream,
            lines: Lines::new(name),
            hand,
            streams: Arc::clone(&streams),
        };
        let stdout = source(stdout, "stdout", Stream::Stdout, out);
        let stderr = source(stderr, "stderr", Stream::Stderr, err);
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
    // What a shim that was killed had in its hand.
    stdout.log_held(&mut log);
    stderr.log_held(&mut log);
    loop {
        tokio::select! {
            read = stdout.read() => stdout.take(&read, &mut log),
            read = stderr.read() => stderr.take(&read, &mut log),
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
        if let Some(log) = &log {
            // What the one has written is not looked for by the other.
            stdout.written(log.end());
            stderr.written(log.end());
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
    /// Present where the output is logged.
    hand: Option<Hand>,
    streams: Arc<Streams>,
}

/// What was read.
enum Read {
    /// So many bytes more are in the hand.
    InHand(usize),
    /// These bytes, of a process whose output is not logged.
    Bytes(Vec<u8>),
}

impl Read {
    fn flow(&self) -> Flow {
        match self {
            Self::InHand(count) => flow(*count),
            Self::Bytes(bytes) => Flow::of(bytes),
        }
    }
}

impl Source {
    /// The next bytes, when every client has room that is to be waited for; none at the end.
    /// Never returns after it.
    async fn read(&mut self) -> Read {
        self.streams.room().await;
        self.next().await
    }

    async fn next(&mut self) -> Read {
        let Some(pipe) = &self.pipe else { return std::future::pending().await };
        // A pipe that cannot be read has ended as well; a terminal without a process is EIO.
        match &mut self.hand {
            Some(hand) => Read::InHand(pipe.read_to(hand).await.unwrap_or_default()),
            None => Read::Bytes(pipe.read().await.unwrap_or_default()),
        }
    }

    fn take(&mut self, read: &Read, log: &mut Option<Log>) {
        match (read, &self.hand) {
            (Read::InHand(count), Some(hand)) => self.streams.tell(self.stream, hand.last(*count)),
            (Read::Bytes(bytes), _) => self.streams.tell(self.stream, bytes),
            (Read::InHand(_), None) => {}
        }
        self.log_held(log);
        if read.flow() == Flow::Ended {
            self.flush(log);
            self.pipe = None;
        }
    }

    /// Logs what is in the hand, but for the beginning of a line.
    fn log_held(&mut self, log: &mut Option<Log>) {
        if let (Some(log), Some(hand)) = (log, &mut self.hand) {
            let done = self.lines.feed(hand.held(), SystemTime::now(), log);
            hand.done(done, log.end());
        }
    }

    fn flush(&mut self, log: &mut Option<Log>) {
        if let (Some(log), Some(hand)) = (log, &mut self.hand) {
            self.lines.flush(hand.held(), SystemTime::now(), log);
            hand.done(hand.held().len(), log.end());
        }
    }

    /// The log has so many bytes, and none of them is what is in the hand.
    fn written(&mut self, log: u64) {
        if let Some(hand) = &mut self.hand {
            hand.done(0, log);
        }
    }

    /// Reads what is there now, the beginning of a last line included.
    async fn drain(&mut self, log: &mut Option<Log>) {
        // What was written before this call is no more than what the pipe holds.
        let mut left = self.pipe.as_ref().map_or(0, Pipe::capacity);
        while let (Some(pipe), true) = (&self.pipe, left > 0) {
            let read = match &mut self.hand {
                Some(hand) => hand.read(pipe).map(|count| count.map(Read::InHand)),
                None => pipe.read_now().map(|bytes| bytes.map(Read::Bytes)),
            };
            let read = match read {
                Ok(Some(read)) => read,
                Ok(None) => break,
                Err(_) => Read::Bytes(Vec::new()),
            };
            left = left.saturating_sub(match &read {
                Read::InHand(count) => *count,
                Read::Bytes(bytes) => bytes.len(),
            });
            self.take(&read, log);
        }
        if self.pipe.as_ref().is_some_and(Pipe::is_terminal) {
            self.last_words(log).await;
        }
        self.flush(log);
    }

    /// Reads a terminal to its end, unless another process still has it.
    async fn last_words(&mut self, log: &mut Option<Log>) {
        for _ in 0..LAST_READS {
            if self.pipe.is_none() {
                return;
            }
            let Ok(read) = tokio::time::timeout(LAST_WORDS, self.next()).await else { return };
            self.take(&read, log);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Settings;
    use crate::log::files::Bounds;
    use sextant_proto::logfile::{name, rotated};
    use std::io::Write;
    use std::os::fd::AsRawFd;
    use std::path::{Path, PathBuf};
    use std::process::{Command, Stdio};
    use std::sync::atomic::{AtomicBool, Ordering};

    /// How often the shim is killed.
    const KILLS: u64 = 100;

    /// Where a process finds what it is to carry, if it is started as a shim that is killed.
    const KILLED: &str = "SEXTANT_TEST_KILLED";

    fn logged(dir: &Path, held: [OwnedFd; 2]) -> (Logged, bool) {
        let settings = Settings { bounds: Bounds { size: 1 << 20, count: 1000 }, rate: None };
        let log = Log::open(&dir.join("log"), settings, Arc::default()).unwrap();
        Logged::recover(log, held.map(Some)).unwrap()
    }

    fn open(path: &Path) -> OwnedFd {
        std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap().into()
    }

    /// What a shim does with output until it is killed; no test where nobody asks for it.
    #[tokio::test]
    async fn carries_until_it_is_killed() {
        let Some(dir) = std::env::var_os(KILLED).map(PathBuf::from) else { return };
        let (logged, all) = logged(&dir, [open(&dir.join("out hand")), open(&dir.join("err hand"))]);
        assert!(all);
        let pipe = |name| {
            let end = std::fs::OpenOptions::new().read(true).open(dir.join(name)).unwrap();
            Some(Pipe::of(end.into()).unwrap())
        };
        let streams = Streams::new(crate::streams::Bounds::default());
        let output = Output::carry([pipe("out"), pipe("err")], Some(logged), streams);
        std::fs::write(dir.join("ready"), "").unwrap();
        output.requests.closed().await;
        std::fs::write(dir.join("done"), "").unwrap();
    }

    #[test]
    fn no_line_is_lost_or_doubled_whenever_the_shim_is_killed() {
        let dir = tempfile::tempdir().unwrap();
        let fd = |name: &str, fd: i32| {
            let path = format!("/proc/{}/fd/{fd}", std::process::id());
            std::os::unix::fs::symlink(path, dir.path().join(name)).unwrap();
        };
        let hands = [Hand::new().unwrap(), Hand::new().unwrap()];
        let pipes = [std::io::pipe().unwrap(), std::io::pipe().unwrap()];
        for ((hand, (read, _)), name) in hands.iter().zip(&pipes).zip(["out", "err"]) {
            fd(name, read.as_raw_fd());
            fd(&format!("{name} hand"), hand.end().unwrap().fd);
        }
        let [(_out, mut stdout), (_err, mut stderr)] = pipes;
        let enough = Arc::new(AtomicBool::new(false));
        let writer = std::thread::spawn({
            let enough = Arc::clone(&enough);
            move || {
                let mut lines = 0_u64;
                while !enough.load(Ordering::Relaxed) {
                    let line = format!("{lines} {}\n", "x".repeat(44));
                    let stream = if lines % 3 == 2 { &mut stderr } else { &mut stdout };
                    stream.write_all(line.as_bytes()).unwrap();
                    lines += 1;
                }
                lines
            }
        });
        let shim = || {
            let test = std::env::current_exe().unwrap();
            let filter = ["--nocapture", "--exact", "stdio::tests::carries_until_it_is_killed"];
            Command::new(test).args(filter).env(KILLED, dir.path()).stdout(Stdio::null()).spawn().unwrap()
        };
        let ready = dir.path().join("ready");
        for moment in 0..KILLS {
            let mut shim = shim();
            while !ready.exists() {
                assert!(shim.try_wait().unwrap().is_none(), "it has ended before it was killed");
                std::thread::yield_now();
            }
            std::thread::sleep(Duration::from_micros(moment * 7919 % 2000));
            shim.kill().unwrap();
            shim.wait().unwrap();
            std::fs::remove_file(&ready).unwrap();
        }
        enough.store(true, Ordering::Relaxed);
        let mut last = shim();
        let lines = writer.join().unwrap();
        assert!(last.wait().unwrap().success());
        let old = rotated(dir.path()).unwrap();
        let files = old.iter().map(|file| name(file.begin)).chain(["log".to_owned()]);
        let log = files.map(|file| std::fs::read_to_string(dir.path().join(file)).unwrap());
        let log: Vec<String> = log.collect();
        for (stream, wanted) in [("stdout", [0, 1]), ("stderr", [2, 2])] {
            let found = log.iter().flat_map(|file| file.lines()).filter_map(|entry| {
                let mut parts = entry.splitn(5, ' ').skip(1);
                (parts.next() == Some(stream)).then(|| (parts.next(), parts.next(), parts.next()))
            });
            let mut wanted = (0..lines).filter(|n| wanted.contains(&(n % 3)));
            for (tag, number, rest) in found {
                let wanted = wanted.next().map(|n| n.to_string());
                assert_eq!((tag, number), (Some("F"), wanted.as_deref()), "{stream}, {rest:?}");
                assert_eq!(rest.map(str::len), Some(44));
            }
            assert_eq!(wanted.next(), None, "{stream}");
        }
    }
}
