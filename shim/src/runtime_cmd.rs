//! Invokes the runtime binary: one process per invocation, its stage records
//! read from a pipe, its words (stdout and stderr) bounded, its time limited.
//! What an invocation means for the container is [`crate::task`]'s to decide.

use crate::error::Error;
use crate::event::Stage;
use crate::faults::{self, Point};
use crate::pipe::{Flow, Pipe};
use crate::reaper::{Ended, Process, Reaper};
use crate::report::Report;
use crate::sys::{self, How};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use sextant_runtime::contract::args::{Common, Invocation};
use sextant_runtime::contract::report::Failure;
use std::fs::File;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

/// Bytes of the runtime's own words that are kept.
const MAX_WORDS: usize = 64 << 10;

/// Bytes of them that go into a failure that has no record.
const MAX_BECAUSE: usize = 1 << 10;

/// How long an invocation has to die once it was killed.
const KILLED: Duration = Duration::from_secs(5);

/// The runtime and where it keeps its state.
#[derive(Clone, Debug)]
pub(crate) struct Runtime {
    /// Its binary.
    pub(crate) binary: PathBuf,
    /// Its `--root`.
    pub(crate) root: PathBuf,
    /// Waits for it.
    pub(crate) reaper: Reaper,
}

/// An invocation that succeeded.
#[derive(Debug)]
pub(crate) struct Finished {
    /// Its stages, in order.
    pub(crate) trace: Vec<Stage>,
    /// The pipe that was its stdout; after `create`, the container's.
    pub(crate) stdout: Pipe,
    /// The pipe that was its stderr; after `create`, the container's.
    pub(crate) stderr: Pipe,
    /// Its report, which the container's init may still write to.
    pub(crate) report: Report,
    /// What it said on stdout and stderr, up to a bound.
    pub(crate) words: Vec<u8>,
}

/// An invocation that failed.
#[derive(Debug)]
pub(crate) struct Fault {
    /// Why.
    pub(crate) failure: Box<Failure>,
    /// Whether the runtime said so itself.
    pub(crate) kind: FaultKind,
    /// Its stages up to there.
    pub(crate) trace: Vec<Stage>,
}

/// Who says that an invocation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// The runtime, in a record; it has cleaned up.
    Reported,
    /// Nobody: it could not be executed, or exited without a record of why.
    Unexplained,
    /// It was killed; what it made may be left.
    Killed,
}

impl Fault {
    /// The runtime did its part, the shim could not do its own.
    pub(crate) fn of_shim(error: &Error, trace: Vec<Stage>) -> Self {
        let failure = Failure { attempted: error.line(), ..Failure::default() };
        Self { failure: Box::new(failure), kind: FaultKind::Unexplained, trace }
    }

    fn without_record(name: &str, because: String, kind: FaultKind) -> Self {
        let failure =
            Failure { attempted: format!("run the runtime's {name}"), because, ..Failure::default() };
        Self { failure: Box::new(failure), kind, trace: Vec::new() }
    }
}

impl Runtime {
    /// Runs one invocation, killed when it takes longer than `limit`.
    ///
    /// # Errors
    /// When it cannot be run, fails, or takes too long.
    pub(crate) async fn run(&self, invocation: &Invocation, limit: Duration) -> Result<Finished, Fault> {
        self.run_until(invocation, None, limit, std::future::pending()).await
    }

    /// The same with this stdin, else /dev/null; killed also when `aborted` comes before its end.
    ///
    /// # Errors
    /// As [`Runtime::run`], or when it was aborted.
    pub(crate) async fn run_until(
        &self,
        invocation: &Invocation,
        stdin: Option<OwnedFd>,
        limit: Duration,
        aborted: impl Future<Output = ()>,
    ) -> Result<Finished, Fault> {
        let name = name(invocation);
        let spawned = faults::reach(Point::RuntimeSpawn).and_then(|()| self.spawn(invocation, stdin));
        let mut running = spawned.map_err(|e| {
            Fault::without_record(name, format!("{}: {e}", self.binary.display()), FaultKind::Unexplained)
        })?;
        let ended = running.finish(limit, aborted).await;
        if !running.words.is_empty() && !matches!(invocation, Invocation::State { .. }) {
            complain!("sextant-runtime {name}: {}", String::from_utf8_lossy(&running.words).trim_end());
        }
        let trace = running.report.take(name);
        if let Err(e) = faults::reach(Point::RuntimeReport) {
            let because = format!("its report cannot be read: {e}");
            return Err(Fault { trace, ..Fault::without_record(name, because, FaultKind::Unexplained) });
        }
        if running.speaker == Speaker::Process && !matches!(ended, End::Exited(How::Code(0))) {
            // There is no process: what was written are the runtime's own words.
            running.speaker = Speaker::Runtime;
            running.hear_the_rest();
        }
        match ended {
            End::Exited(How::Code(0)) => {
                let Running { stdout, stderr, report, words, .. } = running;
                Ok(Finished { trace, stdout, stderr, report, words })
            }
            End::Exited(how) => Err(explain(name, how, &running.words, trace)),
            End::Killed(because) => {
                Err(Fault { trace, ..Fault::without_record(name, because, FaultKind::Killed) })
            }
        }
    }

    /// Starts the process. It inherits the pipes' writing ends and nothing else.
    fn spawn(&self, invocation: &Invocation, stdin: Option<OwnedFd>) -> io::Result<Running> {
        let (report, report_end) = Report::new()?;
        let (stdout, stdout_end) = Pipe::new()?;
        let (stderr, stderr_end) = Pipe::new()?;
        let common = Common { root: self.root.clone(), report_fd: Some(inheritable(&report_end)?) };
        let stdin = stdin.map_or_else(|| File::open("/dev/null").map(OwnedFd::from), Ok)?;
        let stdio = [stdin.as_fd(), stdout_end.as_fd(), stderr_end.as_fd()];
        // In a group of its own: with it ends what it has executed, a hook that hangs.
        let pid = sys::spawn(&self.binary, &invocation.to_args(&common), stdio)?;
        // A child that could not be waited for must not go on. It is not reaped yet: its pid is its own.
        let process = self.reaper.register(pid).inspect_err(|_| {
            if let Err(e) = nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGKILL) {
                complain!("kill the runtime, pid {pid}: {e}");
            }
        })?;
        let speaker = match invocation {
            Invocation::Exec(_) => Speaker::Process,
            _ => Speaker::Runtime,
        };
        Ok(Running { process, report, stdout, stderr, words: Vec::new(), speaker })
    }
}

/// Lets the next child inherit `fd`, and gives its number. This process starts others
/// on one thread only, and `fd` is closed right afterwards.
fn inheritable(fd: &OwnedFd) -> io::Result<i32> {
    nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty()))?;
    Ok(fd.as_raw_fd())
}

fn name(invocation: &Invocation) -> &'static str {
    match invocation {
        Invocation::Create { .. } => "create",
        Invocation::Exec(_) => "exec",
        Invocation::Start { .. } => "start",
        Invocation::Kill { .. } => "kill",
        Invocation::Pause { .. } => "pause",
        Invocation::Resume { .. } => "resume",
        Invocation::Update { .. } => "update",
        Invocation::State { .. } => "state",
        Invocation::Delete { .. } => "delete",
        Invocation::Pin { .. } => "pin",
    }
}

/// Why an invocation failed: its first record with a failure, or its last words.
fn explain(name: &str, how: How, words: &[u8], trace: Vec<Stage>) -> Fault {
    if let Some(failure) = trace.iter().find_map(|s| s.record.failure.clone()) {
        return Fault { failure: Box::new(failure), kind: FaultKind::Reported, trace };
    }
    let (how, kind) = match how {
        How::Code(code) => (format!("it exited with {code}"), FaultKind::Unexplained),
        How::Signal(signal) => (format!("signal {signal} ended it"), FaultKind::Killed),
        How::Unknown(because) => (format!("how it ended is unknown, {because}"), FaultKind::Killed),
    };
    let last = words.get(words.len().saturating_sub(MAX_BECAUSE)..).unwrap_or(words);
    let last = String::from_utf8_lossy(last);
    let because = if last.trim().is_empty() { how } else { format!("{how}: {}", last.trim()) };
    Fault { trace, ..Fault::without_record(name, because, kind) }
}

/// An invocation at work.
struct Running {
    process: Process,
    report: Report,
    stdout: Pipe,
    stderr: Pipe,
    words: Vec<u8>,
    speaker: Speaker,
}

/// Who may write to an invocation's stdout and stderr while it is at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaker {
    /// The runtime.
    Runtime,
    /// The process that it executes: what is there stays in the pipes.
    Process,
}

/// How the work of an invocation ended.
enum End {
    Exited(How),
    /// Killed, because of this.
    Killed(String),
}

impl Running {
    /// Waits for the exit, and kills the process when that takes too long or it is aborted.
    async fn finish(&mut self, limit: Duration, aborted: impl Future<Output = ()>) -> End {
        let because = tokio::select! {
            biased;
            ended = self.collect() => return End::Exited(ended.how),
            () = aborted => "it was killed, since the container is to be deleted".to_owned(),
            () = tokio::time::sleep(limit) => format!("it was killed, having taken longer than {limit:?}"),
        };
        // It is not reaped yet, so the group that bears its number is its own.
        let killed = killpg(Pid::from_raw(self.process.pid), Signal::SIGKILL);
        if let Err(e) = killed.map_err(io::Error::from).and(self.process.signal(libc::SIGKILL)) {
            complain!("kill the runtime, pid {}: {e}", self.process.pid);
        }
        match tokio::time::timeout(KILLED, self.collect()).await {
            Ok(_) => {}
            Err(_) => complain!("the runtime, pid {}, does not die", self.process.pid),
        }
        End::Killed(because)
    }

    /// Reads its pipes until it has exited, then what is left in them.
    async fn collect(&mut self) -> Ended {
        let ended = {
            let Self { process, report, stdout, stderr, words, speaker } = self;
            let heard = if *speaker == Speaker::Runtime { Flow::Open } else { Flow::Ended };
            let (mut out, mut err) = (heard, heard);
            let mut report = std::pin::pin!(report.keep_up());
            loop {
                tokio::select! {
                    ended = &mut process.ended => break ended,
                    never = &mut report => match never {},
                    bytes = stdout.read(), if out == Flow::Open => out = keep(words, &bytes.unwrap_or_default()),
                    bytes = stderr.read(), if err == Flow::Open => err = keep(words, &bytes.unwrap_or_default()),
                }
            }
        };
        self.report.drain();
        self.hear_the_rest();
        // The reaper tells the end of whatever it has registered.
        ended.unwrap_or_else(|_| Ended { how: How::Signal(libc::SIGKILL), at: std::time::SystemTime::now() })
    }
}

impl Running {
    /// Reads what is left of the runtime's own words.
    fn hear_the_rest(&mut self) {
        if self.speaker == Speaker::Runtime {
            self.stdout.drain(|bytes| keep(&mut self.words, bytes));
            self.stderr.drain(|bytes| keep(&mut self.words, bytes));
        }
    }
}

/// Appends to the runtime's words up to their bound; whether more may come.
fn keep(words: &mut Vec<u8>, bytes: &[u8]) -> Flow {
    let room = MAX_WORDS.saturating_sub(words.len());
    words.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    Flow::of(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sextant_runtime::contract::report::{MAX_LINE, Record, StageKind};
    use std::io::Write;
    use std::time::{Instant, SystemTime};
    use tokio::sync::oneshot;

    /// An invocation whose part a test plays: where it reports, and how its end is told.
    fn running() -> (Running, File, oneshot::Sender<Ended>) {
        let (report, end) = Report::new().unwrap();
        let [(stdout, _), (stderr, _)] = [(); 2].map(|()| Pipe::new().unwrap());
        let (tell, ended) = oneshot::channel();
        let process = Process::adopted(0, None, ended);
        let running =
            Running { process, report, stdout, stderr, words: Vec::new(), speaker: Speaker::Runtime };
        (running, end.into(), tell)
    }

    fn over() -> Ended {
        Ended { how: How::Code(0), at: SystemTime::now() }
    }

    /// One that has more to say than its pipe holds goes on all the same.
    #[tokio::test]
    async fn a_report_that_fills_its_pipe_is_read_meanwhile() {
        let (mut running, mut end, tell) = running();
        let mut record = stage(None).record;
        record.object = "x".into();
        // As long as a line can be.
        record.object = "x".repeat(1 + MAX_LINE - record.to_line().len());
        let (line, wanted) = (record.to_line(), 512);
        assert_eq!(line.len(), MAX_LINE);
        let writer = std::thread::spawn(move || {
            (0..wanted).for_each(|_| end.write_all(&line).unwrap());
            tell.send(over()).unwrap();
        });
        let collected = tokio::time::timeout(Duration::from_secs(60), running.collect()).await;
        assert!(collected.is_ok(), "it waits for room in its pipe");
        writer.join().unwrap();
        assert_eq!(running.report.take("create").len(), wanted);
    }

    #[tokio::test]
    async fn a_record_wakes_nobody() {
        let (mut running, mut end, tell) = running();
        let line = stage(None).record.to_line();
        let begin = Instant::now();
        let writer = tokio::spawn(async move {
            for _ in 0..200 {
                end.write_all(&line).unwrap();
                tokio::task::yield_now().await;
            }
            tell.send(over()).unwrap();
        });
        let mut polls = 0;
        {
            let mut collected = std::pin::pin!(running.collect());
            std::future::poll_fn(|context| {
                polls += 1;
                collected.as_mut().poll(context)
            })
            .await;
        }
        writer.await.unwrap();
        assert_eq!(running.report.take("create").len(), 200);
        // At the beginning, at the end, as its other pipes end, and at each beat.
        let beats = begin.elapsed().as_millis() / 10;
        assert!(polls <= 8 + beats, "woken {polls} times, in {beats} beats");
    }

    fn stage(failure: Option<Failure>) -> Stage {
        let stage = StageKind::Load.into();
        let record = Record { stage, start_ns: 1, end_ns: 2, pid: 3, object: String::new(), failure };
        Stage { command: "create", record }
    }

    #[test]
    fn the_first_failure_is_the_reason() {
        let failure = |hint: &str| Some(Failure { hint: hint.into(), ..Failure::default() });
        let trace = vec![stage(None), stage(failure("one")), stage(failure("two"))];
        let fault = explain("create", How::Code(1), b"words", trace);
        assert_eq!((fault.failure.hint.as_str(), fault.kind), ("one", FaultKind::Reported));
        let fault = explain("create", How::Code(3), b"oh no\n", Vec::new());
        assert_eq!(fault.failure.to_string(), "run the runtime's create: it exited with 3: oh no");
    }
}
