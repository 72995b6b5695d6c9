//! An OCI runtime with runc's command line, without a manager. We are the parent of its containers: a child
//! subreaper (prctl(2)), and wait for them by pidfd.

use super::source::{Bundles, Source};
use super::{Doing, Ended, Facts, Fault, Target, Verb, Wish};
use crate::sys::pidfd_open;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use sextant_proto::fault_plan::VARIABLE;
use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::process::Command;

/// Bytes of what a command said that are kept.
const SAID: usize = 400;

/// A runtime with a state directory of its own.
#[derive(Debug)]
pub(crate) struct Runtime {
    program: String,
    /// What stands before the command.
    flags: Vec<String>,
    root: PathBuf,
    run: String,
    bundles: Bundles,
    /// Calls so far.
    calls: AtomicU64,
    /// The init of each container that exists.
    inits: Mutex<HashMap<String, Arc<OwnedFd>>>,
}

impl Runtime {
    /// `line` is the program, perhaps with global flags behind it.
    ///
    /// # Errors
    /// A sentence: about the bundle, or that we cannot become a subreaper.
    pub(crate) fn new(line: &str, run: &str, source: &Source) -> Result<Self, String> {
        nix::sys::prctl::set_child_subreaper(true).map_err(|e| format!("become a subreaper: {e}"))?;
        let mut words = line.split_whitespace().map(str::to_owned);
        let program = words.next().ok_or("--runtime names no program")?;
        let bundles = Bundles::new(source)?;
        let root = bundles.dir().join("state");
        let (calls, inits) = (AtomicU64::new(0), Mutex::default());
        Ok(Self { program, flags: words.collect(), root, run: run.to_owned(), bundles, calls, inits })
    }

    /// Runs a command to its end; the last line that it said is in the fault. Its stderr, which the process of
    /// a container inherits, is a file: of a pipe it would keep an end open.
    async fn call(&self, verb: &str, args: &[&str]) -> Result<(), Fault> {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        let said = self.bundles.dir().join(format!("said-{number}"));
        let status = {
            let stderr = std::fs::File::create(&said).map_err(|e| Fault::new("HOST", e.to_string()))?;
            let mut command = Command::new(&self.program);
            if self.fault_plan().exists() {
                command.env(VARIABLE, format!("@{}", self.fault_plan().display()));
            }
            command.args(&self.flags).arg("--root").arg(&self.root).arg(verb).args(args);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).kill_on_drop(true);
            command.status().await
        };
        let text = std::fs::read_to_string(&said).unwrap_or_default();
        drop(std::fs::remove_file(&said));
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => {
                let why: String = text.lines().last().unwrap_or("").chars().take(SAID).collect();
                let cause =
                    status.code().map_or_else(|| "SIGNALLED".to_owned(), |code| format!("EXIT_{code}"));
                Err(Fault::new(cause, format!("{verb}: {why}")))
            }
            Err(e) => Err(Fault::new("NOT_EXECUTED", format!("{}: {e}", self.program))),
        }
    }

    /// Read by builds that have faults; whether this is one it does not tell.
    fn fault_plan(&self) -> PathBuf {
        self.bundles.dir().join("faults")
    }

    fn init(&self, id: &str) -> Option<Arc<OwnedFd>> {
        self.inits.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    fn forget(&self, id: &str) -> Option<Arc<OwnedFd>> {
        self.inits.lock().unwrap_or_else(PoisonError::into_inner).remove(id)
    }

    fn hold(&self, id: &str, pid_file: &std::path::Path) -> Result<(), Fault> {
        let text = std::fs::read_to_string(pid_file).map_err(|e| Fault::new("NO_PID", e.to_string()))?;
        drop(std::fs::remove_file(pid_file));
        let pid = text.trim().parse().map_err(|_| Fault::new("NO_PID", text.clone()))?;
        let init = pidfd_open(pid).map_err(|e| Fault::new("NO_PID", e.to_string()))?;
        let mut inits = self.inits.lock().unwrap_or_else(PoisonError::into_inner);
        inits.insert(id.to_owned(), Arc::new(init));
        Ok(())
    }
}

/// Waits for the end of a process that is our child, and reaps it.
async fn reaped(init: &OwnedFd) -> Ended {
    let copy = init.try_clone().and_then(crate::sys::readable);
    if let Ok(pidfd) = copy {
        drop(pidfd.readable().await.map(|mut ready| ready.retain_ready()));
    }
    match waitid(Id::PIDFd(init.as_fd()), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG) {
        Ok(WaitStatus::Exited(_, code)) => Ended::Code(code),
        Ok(WaitStatus::Signaled(_, signal, _)) => Ended::Signal(signal as i32),
        _ => Ended::Unknown,
    }
}

impl Target for Runtime {
    fn facts(&self) -> Doing<'_, Facts> {
        Box::pin(async {
            let told = Command::new(&self.program).arg("--version").output().await;
            let told = told.map_err(|e| Fault::new("NOT_EXECUTED", format!("{}: {e}", self.program)))?;
            let version = String::from_utf8_lossy(&told.stdout).lines().next().unwrap_or("").to_owned();
            Ok(Facts {
                kind: "runtime",
                version,
                address: self.program.clone(),
                manager: None,
                fault_plan: Some(self.fault_plan()),
                directories: vec![self.root.clone()],
                remarks: vec!["without a manager and without shims".into()],
            })
        })
    }

    fn lacks(&self, verb: Verb) -> Option<String> {
        match verb {
            Verb::Life | Verb::Exec | Verb::List | Verb::Limits => None,
            Verb::Stats | Verb::Logs | Verb::Attach | Verb::Sandbox => {
                Some("a runtime alone has no manager that could".into())
            }
        }
    }

    fn create<'a>(&'a self, wish: &'a Wish) -> Doing<'a, ()> {
        Box::pin(async {
            let bundle = self.bundles.of(wish)?.display().to_string();
            let pid_file = self.bundles.dir().join(format!("pid-{}", wish.id));
            let path = pid_file.display().to_string();
            self.call("create", &["--bundle", &bundle, "--pid-file", &path, &wish.id]).await?;
            self.hold(&wish.id, &pid_file)
        })
    }

    fn start<'a>(&'a self, id: &'a str) -> Doing<'a, ()> {
        Box::pin(async move { self.call("start", &[id]).await })
    }

    fn wait<'a>(&'a self, id: &'a str) -> Doing<'a, Ended> {
        Box::pin(async move {
            match self.init(id) {
                Some(init) => Ok(reaped(&init).await),
                None => Err(Fault::new("NOT_FOUND", format!("there is no {id}"))),
            }
        })
    }

    fn kill<'a>(&'a self, id: &'a str) -> Doing<'a, ()> {
        Box::pin(async move { self.call("kill", &[id, "KILL"]).await })
    }

    fn delete<'a>(&'a self, id: &'a str, force: bool) -> Doing<'a, ()> {
        Box::pin(async move {
            let flags: &[&str] = if force { &["--force"] } else { &[] };
            self.call("delete", &[flags, &[id]].concat()).await?;
            if let Some(init) = self.forget(id) {
                reaped(&init).await;
            }
            Ok(())
        })
    }

    fn ours(&self) -> Doing<'_, Vec<String>> {
        Box::pin(async {
            let entries = std::fs::read_dir(&self.root).into_iter().flatten().filter_map(Result::ok);
            let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
            Ok(names.filter(|name| name.starts_with("stress-")).collect())
        })
    }

    fn exec<'a>(&'a self, id: &'a str, command: &'a [String]) -> Doing<'a, Ended> {
        Box::pin(async move {
            let words: Vec<&str> = std::iter::once(id).chain(command.iter().map(String::as_str)).collect();
            self.call("exec", &words).await.map(|()| Ended::Code(0))
        })
    }

    fn list(&self) -> Doing<'_, usize> {
        Box::pin(async { self.call("list", &[]).await.map(|()| 0) })
    }

    fn marks(&self) -> Vec<String> {
        vec![format!("stress-{}-", self.run)]
    }

    fn clean(&self) -> Doing<'_, usize> {
        Box::pin(async {
            let ids = self.ours().await?;
            for id in &ids {
                self.delete(id, true).await?;
            }
            Ok(ids.len())
        })
    }
}
