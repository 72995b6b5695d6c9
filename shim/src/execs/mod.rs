//! Processes that are executed in the container beside its own: each is started
//! by the runtime, becomes an orphan that this process reaps, and has streams of
//! its own. Start and end are in the journal before anybody hears of them.
//!
//! ```text
//!        execute            ends, or its time is over
//! (name) ───────► running ─────────────────────────────► ended ─► forgotten
//!    │ fails                                                      (the oldest)
//!    └──────► (gone)
//! ```
//!
//! Nobody who waits owns what is done: a caller that goes away changes nothing.

mod cgroup;
mod family;
mod probe;
mod run;

use crate::command::Refusal;
use crate::event::{ExecStart, Phase};
use crate::ledger::Ledger;
use crate::orphan;
use crate::runtime_cmd::Runtime;
use crate::streams::{Bounds, Over, Streams};
use crate::sys;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::{Semaphore, oneshot, watch};

/// Execs that run at once, at most.
const RUNNING: usize = 128;

/// Ended ones that are remembered, whenever that was.
const ENDED: usize = 128;

/// Of those that have ended a short while ago, so many are: whoever has made one is to hear of its end.
const CROWD: usize = 1024;
const SHORT_WHILE: Duration = Duration::from_secs(60);

/// Of these, the ones whose output is.
const WITH_OUTPUT: usize = 8;

/// How long execs have to end once they were killed with their container.
const KILLED: Duration = Duration::from_secs(5);

/// Bytes of argv that are kept to be shown.
const SHOWN: usize = 256;

/// What to execute: the container's own process, changed by this.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spec {
    /// argv.
    pub(crate) command: Vec<String>,
    /// KEY=VALUE, added.
    pub(crate) env: Vec<String>,
    /// The working directory, if another.
    pub(crate) cwd: Option<String>,
    /// `UID[:GID]`, if others.
    pub(crate) user: Option<String>,
    /// More groups.
    pub(crate) additional_gids: Vec<u32>,
    /// More capabilities.
    pub(crate) capabilities: Vec<String>,
    /// Whether it gets a terminal.
    pub(crate) terminal: bool,
    /// Whether its stdin is open.
    pub(crate) stdin: bool,
    /// Rows and columns of the terminal.
    pub(crate) size: Option<(u16, u16)>,
    /// The time until it is killed.
    pub(crate) timeout: Option<Duration>,
    /// When and how much of its output is read.
    pub(crate) bounds: Bounds,
    /// Names the operation; empty: none.
    pub(crate) key: String,
    /// Hash of the request, its name apart.
    pub(crate) hash: u64,
}

/// One exec.
#[derive(Debug)]
pub(crate) struct Exec {
    /// Its name.
    pub(crate) id: String,
    /// The beginning of its argv.
    pub(crate) command: Vec<String>,
    /// Whether it has a terminal.
    pub(crate) terminal: bool,
    /// When it was started.
    pub(crate) started_at: SystemTime,
    /// Its stdio.
    pub(crate) streams: Arc<Streams>,
    key: String,
    hash: u64,
    /// Whether its start and its end are journalled.
    recorded: bool,
    state: watch::Sender<State>,
}

/// Where an exec is in its life.
#[derive(Clone, Debug)]
pub(crate) enum State {
    /// The runtime is at work.
    Starting,
    /// Its process runs.
    Running {
        /// In the shim's pid namespace.
        pid: i32,
        /// Refers to it; `None` when it had ended before anybody could hold it.
        pidfd: Option<Arc<OwnedFd>>,
    },
    /// Its end is on disk.
    Ended(Over),
    /// It could not be started.
    Failed,
}

impl Exec {
    fn new(id: String, spec: &Spec) -> Arc<Self> {
        Self::make(id, spec, true)
    }

    /// One of which nothing is journalled.
    fn unrecorded(id: String, spec: &Spec) -> Arc<Self> {
        Self::make(id, spec, false)
    }

    fn make(id: String, spec: &Spec, recorded: bool) -> Arc<Self> {
        Arc::new(Self {
            id,
            command: shown(&spec.command),
            terminal: spec.terminal,
            started_at: SystemTime::now(),
            streams: Streams::new(spec.bounds),
            key: spec.key.clone(),
            hash: spec.hash,
            recorded,
            state: watch::Sender::new(State::Starting),
        })
    }

    /// Where it is now.
    pub(crate) fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Whether it runs, or has ended a short while ago. A clock that is set forth makes it old.
    fn is_fresh(&self) -> bool {
        match &*self.state.borrow() {
            State::Ended(over) => over.exit.at.elapsed().is_ok_and(|since| since < SHORT_WHILE),
            State::Starting | State::Running { .. } | State::Failed => true,
        }
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// [`Refusal::NoExec`] when it could not be started.
    pub(crate) async fn wait(&self) -> Result<Over, Refusal> {
        let mut state = self.state.subscribe();
        let last = state.wait_for(|s| matches!(s, State::Ended(_) | State::Failed)).await;
        match last.as_deref() {
            Ok(State::Ended(over)) => Ok(*over),
            _ => Err(Refusal::NoExec(self.id.clone())),
        }
    }

    /// Sends its process a signal.
    ///
    /// # Errors
    /// [`Refusal::Without`] when it has ended, or of pidfd_send_signal(2).
    pub(crate) fn kill(&self, signal: i32) -> Result<(), Refusal> {
        let gone = Refusal::Without("the exec has no process: it has ended, or is being started");
        let State::Running { pidfd: Some(pidfd), .. } = self.state() else { return Err(gone) };
        match sys::pidfd_send_signal(pidfd.as_fd(), signal) {
            Ok(()) => Ok(()),
            Err(e) if e.raw_os_error() == Some(libc::ESRCH) => Err(gone),
            Err(e) => Err(crate::error::Error::new(format!("send signal {signal} to an exec"), e).into()),
        }
    }

    async fn started(&self) -> Result<(String, i32), Refusal> {
        let mut state = self.state.subscribe();
        let state = state.wait_for(|s| !matches!(s, State::Starting)).await;
        match state.as_deref() {
            Ok(State::Running { pid, .. }) => Ok((self.id.clone(), *pid)),
            Ok(State::Ended(_)) => Ok((self.id.clone(), 0)),
            _ => Err(Refusal::NoExec(self.id.clone())),
        }
    }

    fn end(&self, over: Over) {
        self.streams.finish(over);
        self.state.send_replace(State::Ended(over));
    }

    fn has_ended(&self) -> bool {
        matches!(*self.state.borrow(), State::Ended(_) | State::Failed)
    }
}

/// The execs of the container; a handle, cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Execs(Arc<Shared>);

/// What all of them share.
#[derive(Debug)]
struct Shared {
    /// The container's id.
    id: String,
    /// Its directory.
    dir: PathBuf,
    runtime: Runtime,
    ledger: Arc<Ledger>,
    /// The oldest first.
    table: Mutex<Vec<Arc<Exec>>>,
    /// Taken while a probe runs.
    probing: Arc<Semaphore>,
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Vec<Arc<Exec>>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets the oldest of those that have ended, and the output of others.
    fn tidy(&self) {
        let mut table = self.table();
        let ended = table.iter().filter(|exec| exec.has_ended()).count();
        for exec in table.iter().filter(|exec| exec.has_ended()).take(ended.saturating_sub(WITH_OUTPUT)) {
            exec.streams.forget_output();
        }
        let (mut surplus, mut crowd) = (ended.saturating_sub(ENDED), ended.saturating_sub(CROWD));
        table.retain(|exec| {
            let forgotten = surplus > 0 && exec.has_ended() && (crowd > 0 || !exec.is_fresh());
            surplus = surplus.saturating_sub(usize::from(forgotten));
            crowd = crowd.saturating_sub(usize::from(forgotten));
            !forgotten
        });
    }

    fn forget(&self, exec: &Arc<Exec>) {
        self.table().retain(|other| !Arc::ptr_eq(other, exec));
    }
}

impl Execs {
    /// None yet, of the container `id` whose directory is `dir`.
    pub(crate) fn new(id: String, dir: PathBuf, runtime: Runtime, ledger: Arc<Ledger>) -> Self {
        let (table, probing) = (Mutex::default(), Arc::new(Semaphore::new(1)));
        Self(Arc::new(Shared { id, dir, runtime, ledger, table, probing }))
    }

    /// Executes a process as `name`, or finds the one that was for the same key: its name and
    /// its pid (0 when it has ended already).
    ///
    /// # Errors
    /// When the container is in no phase for it, the name or the key is another's, there are too
    /// many, or a step fails.
    pub(crate) async fn start(&self, name: String, spec: Spec) -> Result<(String, i32), Refusal> {
        let known = self.0.table().iter().find(|e| !spec.key.is_empty() && e.key == spec.key).cloned();
        if let Some(exec) = known {
            return if exec.hash == spec.hash {
                exec.started().await
            } else {
                Err(Refusal::KeyReused(spec.key))
            };
        }
        let phase = self.0.ledger.phase();
        if !matches!(phase, Phase::Created | Phase::Running) {
            return Err(Refusal::Phase { attempted: "execute a process in the container", phase });
        }
        let exec = Exec::new(name, &spec);
        {
            let mut table = self.0.table();
            if table.iter().any(|other| other.id == exec.id) {
                return Err(Refusal::Without("an exec of this name is known already: choose another"));
            }
            if table.iter().filter(|exec| !exec.has_ended()).count() >= RUNNING {
                return Err(Refusal::TooMany("execs run in the container (at most 128)"));
            }
            table.push(Arc::clone(&exec));
        }
        let (reply, answer) = oneshot::channel();
        tokio::spawn(carry_out(Arc::clone(&self.0), exec, spec, reply));
        // The sender is dropped only with this process.
        answer.await.unwrap_or(Err(Refusal::Without("the shim is about to end")))
    }

    /// The exec of this name.
    ///
    /// # Errors
    /// [`Refusal::NoExec`].
    pub(crate) fn get(&self, name: &str) -> Result<Arc<Exec>, Refusal> {
        let found = self.0.table().iter().find(|exec| exec.id == name).cloned();
        found.ok_or_else(|| Refusal::NoExec(name.into()))
    }

    /// All that are known, the oldest first.
    pub(crate) fn all(&self) -> Vec<Arc<Exec>> {
        self.0.table().clone()
    }

    /// Kills those that still run, and returns when their ends are on disk; after a while also
    /// without that.
    pub(crate) async fn end(&self) {
        let running: Vec<_> = self.all().into_iter().filter(|exec| !exec.has_ended()).collect();
        for exec in &running {
            // It may have ended with the container.
            exec.kill(libc::SIGKILL).unwrap_or_default();
        }
        let all_ended = async {
            for exec in &running {
                // Either way it has ended.
                exec.wait().await.map(drop).unwrap_or_default();
            }
        };
        if tokio::time::timeout(KILLED, all_ended).await.is_err() {
            complain!("an exec does not end with its container");
        }
    }

    /// Takes over what the journal of a killed shim knows: a living process is held by pidfd, and
    /// its end is found out; what became of its stdio is that nobody has it any more.
    pub(crate) fn adopt(&self, past: &[(ExecStart, Option<Over>)]) {
        for (start, over) in past.iter().rev().take(ENDED).rev() {
            let exec = Arc::new(Exec {
                id: start.exec.clone(),
                command: start.command.clone(),
                terminal: start.terminal,
                started_at: start.at,
                streams: Streams::new(Bounds::default()),
                key: start.key.clone(),
                hash: start.request_hash,
                recorded: true,
                state: watch::Sender::new(State::Starting),
            });
            self.0.table().push(Arc::clone(&exec));
            if let Some(over) = over {
                exec.end(*over);
                continue;
            }
            let held = orphan::hold(start.pid, start.start_time, &start.boot_id).ok().flatten();
            let process = held.map(|pidfd| orphan::adopt(start.pid, pidfd)).and_then(Result::ok);
            let process = process.unwrap_or_else(|| orphan::lost(start.pid, &start.boot_id));
            let executed = run::Executed::adopted(&exec, process, start);
            exec.state.send_replace(executed.running());
            tokio::spawn(executed.supervise(Arc::clone(&self.0), exec));
        }
    }
}

/// From the request to the end; the answer goes to whoever still waits.
async fn carry_out(
    shared: Arc<Shared>,
    exec: Arc<Exec>,
    spec: Spec,
    reply: oneshot::Sender<Result<(String, i32), Refusal>>,
) {
    match run::execute(&shared, &exec, &spec).await {
        Ok(executed) => {
            let running = executed.running();
            let pid = if let State::Running { pid, .. } = &running { *pid } else { 0 };
            exec.state.send_replace(running);
            drop(reply.send(Ok((exec.id.clone(), pid))));
            executed.supervise(shared, exec).await;
        }
        Err(refusal) => {
            shared.forget(&exec);
            exec.state.send_replace(State::Failed);
            drop(reply.send(Err(refusal)));
        }
    }
}

/// The beginning of a command, to be shown.
fn shown(command: &[String]) -> Vec<String> {
    let mut room = SHOWN;
    let mut shown = Vec::new();
    for word in command {
        let cut = word.get(..word.floor_char_boundary(room)).unwrap_or_default();
        shown.push(cut.to_owned());
        room -= cut.len();
        if cut.len() < word.len() || room == 0 {
            break;
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_up_to_a_bound() {
        let words = |words: &[&str]| shown(&words.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(words(&["a", "", "b"]), ["a", "", "b"]);
        assert_eq!(words(&[&"ä".repeat(200), "b"]), ["ä".repeat(128)]);
        assert_eq!(words(&[&"x".repeat(255), "yz", "b"]), ["x".repeat(255), "y".into()]);
    }
}
