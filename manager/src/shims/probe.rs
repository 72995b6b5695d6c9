//! A run of a health check, carried out by the shim from its beginning to its end.

use super::client::{Client, WORK};
use super::wire;
use crate::engine::error::Error;
use crate::model::{HealthCheck, Probe};
use sextant_proto::shim;
use std::time::SystemTime;

/// Bytes of its output that are kept.
const OUTPUT: u64 = 4096;

impl Client {
    /// Runs the check once. That it could not be executed is a result as well.
    ///
    /// # Errors
    /// What says nothing about the container: the shim does not answer, or the container does
    /// not run.
    pub async fn probe(&self, check: &HealthCheck) -> Result<Probe, Error> {
        let mut stub = self.stub();
        let request = shim::ProbeRequest {
            command: check.command.clone(),
            timeout_ms: u64::try_from(check.timeout.as_millis()).unwrap_or(u64::MAX).max(1),
            output_bytes: OUTPUT,
        };
        let attempted = format!("run the health check of container {:?}", self.id);
        let deadline = check.timeout.saturating_add(WORK);
        let probe = |result, timed_out, output| Probe { at: SystemTime::now(), result, timed_out, output };
        match self.ask(&attempted, "probe", deadline, stub.probe(request)).await {
            Ok(answer) => {
                let exit = wire::exit(answer.exit.unwrap_or_default());
                Ok(probe(Ok(exit), answer.timed_out, answer.output))
            }
            Err(Error::Failed { failure, .. }) => Ok(probe(Err(failure.message), false, Vec::new())),
            Err(error) => Err(error),
        }
    }
}
