//! The runtime, invoked by the manager itself: only for what a dead shim has
//! left behind, to undo a creation, and for the namespaces of a sandbox. Each invocation has a deadline.

use crate::engine::error::Error;
use crate::faults::{self, Point};
use crate::model::Failure;
use crate::shims::client::{Force, Target};
use sextant_runtime::contract::args::{Common, Invocation};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;
use tokio::process::Command;

/// How long one invocation may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// The runtime's binary and its root.
#[derive(Clone, Debug)]
pub struct Runtime {
    /// The binary.
    pub binary: PathBuf,
    /// `--root`.
    pub root: PathBuf,
}

impl Runtime {
    /// Removes what there is of a container; with force, also when there is nothing.
    ///
    /// # Errors
    /// With what the runtime printed.
    pub async fn delete(&self, id: &str, force: Force) -> Result<(), Error> {
        self.must(
            format!("delete container {id:?}"),
            &Invocation::Delete { id: id.into(), force: force == Force::Yes },
        )
        .await
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// With what the runtime printed.
    pub async fn kill(&self, id: &str, signal: i32, target: Target) -> Result<(), Error> {
        let invocation = Invocation::Kill { id: id.into(), signal, all: target == Target::All };
        self.must(format!("signal container {id:?}"), &invocation).await
    }

    /// Makes the namespaces of a sandbox as the config in `bundle` says, and binds them to files in `to`.
    ///
    /// # Errors
    /// With what the runtime printed; nothing is left then.
    pub async fn pin(&self, sandbox: &str, bundle: &Path, to: &Path) -> Result<(), Error> {
        let invocation = Invocation::Pin { bundle: bundle.into(), to: to.into() };
        self.must(format!("make the namespaces of sandbox {sandbox:?}"), &invocation).await
    }

    async fn must(&self, attempted: String, invocation: &Invocation) -> Result<(), Error> {
        let output = self.run(&attempted, invocation).await?;
        if output.status.success() {
            return Ok(());
        }
        let complaint = String::from_utf8_lossy(&output.stderr);
        Err(self.failed(&attempted, complaint.lines().last().unwrap_or("it failed without a word")))
    }

    async fn run(&self, attempted: &str, invocation: &Invocation) -> Result<Output, Error> {
        faults::pass(Point::RuntimeSpawn).await.map_err(|e| self.failed(attempted, &e.to_string()))?;
        let common = Common { root: self.root.clone(), report_fd: None };
        let output = Command::new(&self.binary)
            .envs(faults::handed_on())
            .args(invocation.to_args(&common))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        match tokio::time::timeout(DEADLINE, output).await {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(error)) => Err(self.failed(attempted, &error.to_string())),
            Err(_) => Err(Error::Timeout { attempted: attempted.into(), after: DEADLINE }),
        }
    }

    fn failed(&self, attempted: &str, because: &str) -> Error {
        let attempted = attempted.to_owned();
        let failure = Failure {
            stage: "runtime".into(),
            attempted: attempted.clone(),
            object: self.binary.display().to_string(),
            message: because.into(),
            ..Failure::default()
        };
        Error::Failed { attempted, failure: Box::new(failure) }
    }
}
