//! Removing whatever a run has left.

use super::super::{Fault, Target};
use super::Daemon;
use sextant_proto::v1::ListSandboxesRequest;

/// Times that a clean-up begins again when something has come meanwhile.
const ROUNDS: usize = 20;

impl Daemon {
    /// Removes all containers and sandboxes of this run; how many that were.
    pub(super) async fn remove_all(&self) -> Result<usize, Fault> {
        let mut removed = 0;
        for _ in 0..ROUNDS {
            match self.clean_once().await? {
                0 => return Ok(removed),
                some => removed += some,
            }
        }
        Ok(removed)
    }

    async fn clean_once(&self) -> Result<usize, Fault> {
        let ids = self.ours().await?;
        for id in &ids {
            let gone = self.delete(id, true).await;
            gone.or_else(|fault| if fault.cause == "CONTAINER_NOT_FOUND" { Ok(()) } else { Err(fault) })?;
        }
        let request = ListSandboxesRequest { labels: self.labels(), ..Default::default() };
        let sandboxes =
            self.ask("clean-up", request, |mut client, request| async move {
                client.sandboxes.list(request).await
            })
            .await;
        let sandboxes = match sandboxes {
            Ok(answer) => answer.sandboxes,
            // An older daemon has none.
            Err(fault) if fault.cause == "Unimplemented" => Vec::new(),
            Err(fault) => return Err(fault),
        };
        for sandbox in &sandboxes {
            self.remove_sandbox(&sandbox.id).await?;
        }
        Ok(ids.len() + sandboxes.len())
    }
}
