//! The runtime, invoked by the manager itself: only for what a dead shim has
//! left behind, and to undo a creation. Each invocation has a deadline.

use crate::engine::error::Error;
use crate::model::Failure;
use crate::shims::client::{Force, Target};
use sextant_runtime::contract::args::{Common, Invocation};
use std::path::PathBuf;
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
        self.must("delete", id, &Invocation::Delete { id: id.into(), force: force == Force::Yes }).await
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// With what the runtime printed.
    pub async fn kill(&self, id: &str, signal: i32, target: Target) -> Result<(), Error> {
        self.must("signal", id, &Invocation::Kill { id: id.into(), signal, all: target == Target::All }).await
    }

    async fn must(&self, verb: &str, id: &str, invocation: &Invocation) -> Result<(), Error> {
        let output = self.run(verb, id, invocation).await?;
        if output.status.success() {
            return Ok(());
        }
        let complaint = String::from_utf8_lossy(&output.stderr);
        Err(self.failed(verb, id, complaint.lines().last().unwrap_or("it failed without a word")))
    }

    async fn run(&self, verb: &str, id: &str, invocation: &Invocation) -> Result<Output, Error> {
        let common = Common { root: self.root.clone(), report_fd: None };
        let output = Command::new(&self.binary)
            .args(invocation.to_args(&common))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        match tokio::time::timeout(DEADLINE, output).await {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(error)) => Err(self.failed(verb, id, &error.to_string())),
            Err(_) => Err(Error::Timeout { attempted: format!("{verb} container {id:?}"), after: DEADLINE }),
        }
    }

    fn failed(&self, verb: &str, id: &str, because: &str) -> Error {
        let attempted = format!("{verb} container {id:?}");
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
