//! Processes of a health check: executed as any exec is, and killed as any is when
//! their time is over, but neither journalled nor remembered, since there is no end
//! of them. One at a time: a health check waits for its answer.

use super::cgroup::ExecCgroup;
use super::{Exec, Execs, Spec, carry_out};
use crate::command::Refusal;
use crate::event::Phase;
use crate::streams::Over;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Its name, which no exec has: those are hexadecimal.
const NAME: &str = "probe";

impl Execs {
    /// Executes a process to its end: how it ended, and the last `output` bytes that it wrote. It
    /// ends in time also when the caller goes away.
    ///
    /// # Errors
    /// When the container does not run, another is under way, or a step fails.
    pub(crate) async fn probe(&self, spec: Spec, output: u64) -> Result<(Over, Vec<u8>), Refusal> {
        let phase = self.0.ledger.phase();
        if phase != Phase::Running {
            return Err(Refusal::Phase { attempted: "probe the container", phase });
        }
        let busy = |_| Refusal::TooMany("probes run in the container (at most 1)");
        let permit = Arc::clone(&self.0.probing).try_acquire_owned().map_err(busy)?;
        // One of a shim that was killed may hang there: nobody else watches its time.
        ExecCgroup::clear(self.0.ledger.now().pid, NAME).await;
        let exec = Exec::unrecorded(NAME.into(), &spec);
        let (reply, answer) = oneshot::channel();
        let (shared, probe) = (Arc::clone(&self.0), Arc::clone(&exec));
        tokio::spawn(async move {
            carry_out(shared, probe, spec, reply).await;
            drop(permit);
        });
        answer.await.unwrap_or(Err(Refusal::Without("the shim is about to end")))?;
        let over = exec.wait().await?;
        Ok((over, exec.streams.last(output)))
    }
}
