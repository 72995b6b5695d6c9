//! One exec, from the request to its recorded end.

use super::cgroup::ExecCgroup;
use super::{Exec, Shared, Spec, State};
use crate::command::Refusal;
use crate::console::Console;
use crate::error::{Attempted, Error};
use crate::event::{ExecStart, Exit, Happening};
use crate::faults::{self, Point};
use crate::init::{orphan_of, terminal_pipe};
use crate::orphan;
use crate::reaper::{Ended, Process};
use crate::runtime_cmd::{Fault, Finished};
use crate::stdio::Output;
use crate::streams::{Ends, Over, Stdin};
use crate::sys::How;
use crate::task::SHORT;
use sextant_runtime::contract::args::{self, Invocation};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

/// A process that was executed.
pub(super) struct Executed {
    process: Process,
    output: Output,
    cgroup: Option<ExecCgroup>,
    deadline: Option<SystemTime>,
}

/// Executes the process; its start is on disk when this returns.
///
/// # Errors
/// The failed step of the runtime, or of the shim; the process is gone then.
pub(super) async fn execute(shared: &Shared, exec: &Exec, spec: &Spec) -> Result<Executed, Refusal> {
    let name = &exec.id;
    let cgroup = match spec.timeout {
        Some(_) => ExecCgroup::make(shared.ledger.now().pid, name)
            .attempted(|| format!("make a cgroup for the exec {name}"))?,
        None => None,
    };
    let pid_file = shared.dir.join(format!("exec-{name}.pid"));
    let executed = invoke(shared, exec, spec, cgroup.as_ref(), &pid_file).await;
    // Not there when the runtime has failed.
    std::fs::remove_file(&pid_file).unwrap_or_default();
    let result = match executed {
        Ok((process, output)) => {
            let deadline = spec.timeout.map(|timeout| SystemTime::now() + timeout);
            let executed = Executed { process, output, cgroup, deadline };
            if !exec.recorded {
                return Ok(executed);
            }
            faults::moment(Point::ExecRecord);
            match shared.ledger.record(&Happening::ExecStarted(start(exec, spec, &executed)), |_| ()) {
                Ok(()) => return Ok(executed),
                Err(e) => {
                    executed.kill().await;
                    if let Some(cgroup) = &executed.cgroup {
                        cgroup.remove();
                    }
                    return Err(e.into());
                }
            }
        }
        Err(refusal) => Err(refusal),
    };
    if let Some(cgroup) = &cgroup {
        cgroup.kill().await;
        cgroup.remove();
    }
    result
}

/// The environment on its way to the runtime; gone when this is dropped.
struct EnvFile(PathBuf);

impl EnvFile {
    /// `None` when there is nothing to write.
    fn write(path: PathBuf, env: &[String]) -> Result<Option<Self>, Error> {
        if env.is_empty() {
            return Ok(None);
        }
        let attempted = || format!("write {}", path.display());
        let open = std::fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(&path);
        let mut open = open.attempted(attempted)?;
        let file = Self(path.clone());
        for variable in env {
            open.write_all(variable.as_bytes()).and_then(|()| open.write_all(b"\0")).attempted(attempted)?;
        }
        Ok(Some(file))
    }

    fn path(&self) -> PathBuf {
        self.0.clone()
    }
}

impl Drop for EnvFile {
    fn drop(&mut self) {
        if let Err(e) = std::fs::remove_file(&self.0) {
            complain!("remove {}: {e}", self.0.display());
        }
    }
}

/// Runs the runtime, and takes over what it leaves.
async fn invoke(
    shared: &Shared,
    exec: &Exec,
    spec: &Spec,
    cgroup: Option<&ExecCgroup>,
    pid_file: &std::path::Path,
) -> Result<(Process, Output), Refusal> {
    let name = &exec.id;
    let console = spec.terminal.then(|| Console::listen(&shared.dir, &format!("exec-{name}.sock")));
    let console = console.transpose()?;
    let pipe = (spec.stdin && !spec.terminal).then(Stdin::pipe).transpose();
    let (ours, theirs) = pipe.attempted(|| "make a pipe for stdin".into())?.unzip();
    let env = EnvFile::write(shared.dir.join(format!("exec-{name}.env")), &spec.env)?;
    let invocation = Invocation::Exec(Box::new(args::Exec {
        id: shared.id.clone(),
        pid_file: pid_file.to_owned(),
        console_socket: console.as_ref().map(Console::path),
        // It is executed before this process can set it.
        console_size: spec.size.filter(|_| spec.terminal),
        cgroup: cgroup.map(ExecCgroup::flag),
        args: spec.command.clone(),
        env_file: env.as_ref().map(EnvFile::path),
        cwd: spec.cwd.clone(),
        user: spec.user.clone(),
        additional_gids: spec.additional_gids.clone(),
        capabilities: spec.capabilities.clone(),
    }));
    faults::reach(Point::ExecSpawn).attempted(|| format!("execute {name}"))?;
    let creation = shared.runtime.reaper.remember_strangers();
    let finished = shared.runtime.run_until(&invocation, theirs, SHORT, std::future::pending());
    let Finished { stdout, stderr, .. } = finished.await.map_err(Refusal::Runtime)?;
    let process = orphan_of(&creation, pid_file, "the process of an exec")?;
    let connected = async {
        let mut ends = Ends { stdin: ours, terminal: None };
        let mut pipes = [Some(stdout), Some(stderr)];
        if let Some(console) = console {
            ends = console.receive(spec.stdin, None).await?;
            pipes = [ends.terminal.as_ref().map(terminal_pipe).transpose()?, None];
        }
        exec.streams.connect(ends);
        Ok(Output::carry(pipes, None, Arc::clone(&exec.streams)))
    };
    match connected.await {
        Ok(output) => Ok((process, output)),
        Err(e) => {
            process.signal(libc::SIGKILL).unwrap_or_default();
            Err(Refusal::Runtime(Fault::of_shim(&e, Vec::new())))
        }
    }
}

/// What the journal says of its start.
fn start(exec: &Exec, spec: &Spec, executed: &Executed) -> ExecStart {
    let pid = executed.process.pid;
    ExecStart {
        exec: exec.id.clone(),
        at: SystemTime::now(),
        pid,
        start_time: orphan::start_time(pid).unwrap_or(0),
        boot_id: orphan::boot_id(),
        command: exec.command.clone(),
        terminal: exec.terminal,
        key: spec.key.clone(),
        request_hash: spec.hash,
        deadline: executed.deadline,
        cgroup: executed.cgroup.as_ref().map(|cgroup| cgroup.dir().to_owned()),
    }
}

impl Executed {
    /// One of a shim that was killed; its output has ended with that.
    pub(super) fn adopted(exec: &Exec, process: Process, past: &ExecStart) -> Self {
        let output = Output::carry([None, None], None, Arc::clone(&exec.streams));
        let cgroup = past.cgroup.clone().map(ExecCgroup::known);
        Self { process, output, cgroup, deadline: past.deadline }
    }

    /// What is known of it while it runs.
    pub(super) fn running(&self) -> State {
        State::Running { pid: self.process.pid, pidfd: self.process.pidfd() }
    }

    /// Waits for its end, or brings it about when its time is over; records it, and tells it then.
    pub(super) async fn supervise(mut self, shared: Arc<Shared>, exec: Arc<Exec>) {
        let (ended, timed_out) = tokio::select! {
            biased;
            ended = &mut self.process.ended => (ended, false),
            () = until(self.deadline) => {
                self.kill().await;
                ((&mut self.process.ended).await, true)
            }
        };
        self.output.drain().await;
        if let Some(cgroup) = &self.cgroup {
            cgroup.remove();
        }
        // Whoever tells of an end keeps the sender until then.
        let unknown = Ended { how: How::Unknown("because nobody waited for it"), at: SystemTime::now() };
        let Ended { how, at } = ended.unwrap_or(unknown);
        let over = Over { exit: Exit { how, at, oom_killed: false }, timed_out };
        faults::moment(Point::ExecEnd);
        let happening = Happening::ExecExited { exec: exec.id.clone(), over };
        if exec.recorded
            && let Err(e) = shared.ledger.record_surely(&happening, |_| ()).await
        {
            complain!("{}; the end of an exec is told, but not recorded", e.line());
        }
        exec.end(over);
        shared.tidy();
    }

    /// Kills it with all that it has started.
    async fn kill(&self) {
        match &self.cgroup {
            Some(cgroup) => cgroup.kill().await,
            None => super::family::kill(self.process.pid, self.process.pidfd().as_deref().map(AsFd::as_fd)),
        }
    }
}

async fn until(deadline: Option<SystemTime>) {
    match deadline {
        Some(at) => {
            tokio::time::sleep(at.duration_since(SystemTime::now()).unwrap_or_default()).await;
        }
        None => std::future::pending().await,
    }
}
