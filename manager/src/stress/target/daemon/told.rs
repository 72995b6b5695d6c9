//! What the daemon tells: of itself, of what is nobody's, and of the start-up of a container.

use super::super::super::leaks::Leak;
use super::super::{Facts, Fault};
use super::Daemon;
use sextant_proto::v1::{AuditFinding, AuditRequest, InfoRequest, TraceRequest};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

impl Daemon {
    /// What it is now.
    pub(super) async fn tell(&self) -> Result<Facts, Fault> {
        let info =
            self.ask("info", InfoRequest {}, |mut client, request| async move {
                client.system.info(request).await
            })
            .await?;
        let below = |dir: &str, name: &str| PathBuf::from(dir).join(name);
        Ok(Facts {
            kind: "sextantd",
            version: format!("sextantd {}", info.version),
            address: self.address.clone(),
            manager: Some(info.pid),
            fault_plan: Some(info.fault_plan).filter(|file| !file.is_empty()).map(PathBuf::from),
            directories: vec![
                below(&info.root, "containers"),
                below(&info.root, "sandboxes"),
                below(&info.state, "containers"),
                below(&info.state, "runtime"),
                below(&info.state, "shims"),
            ],
            remarks: Vec::new(),
        })
    }

    /// What its audit finds.
    pub(super) async fn find_orphans(&self) -> Result<Vec<Leak>, Fault> {
        let audit = self.ask("audit", AuditRequest::default(), |mut client, request| async move {
            client.system.audit(request).await
        });
        let findings = match audit.await {
            Ok(answer) => answer.findings,
            // An older daemon has none.
            Err(fault) if fault.cause == "Unimplemented" => Vec::new(),
            Err(fault) => return Err(fault),
        };
        let leak = |found: AuditFinding| Leak { kind: found.kind, name: found.object, reason: found.reason };
        Ok(findings.into_iter().map(leak).collect())
    }

    /// How long each stage of a start-up took, by name.
    pub(super) async fn time_stages(&self, id: &str) -> Result<Vec<(String, Duration)>, Fault> {
        let answer = self
            .ask("trace", TraceRequest { id: id.to_owned() }, |mut client, request| async move {
                client.containers.trace(request).await
            })
            .await?;
        let mut stages: BTreeMap<String, Duration> = BTreeMap::new();
        for record in answer.stages {
            let took = Duration::from_nanos(record.end_ns.saturating_sub(record.start_ns));
            *stages.entry(stage_name(&record.command, &record.stage)).or_default() += took;
        }
        Ok(stages.into_iter().collect())
    }
}

/// `create/mount` of the command `create` and the stage `mount/3`.
fn stage_name(command: &str, stage: &str) -> String {
    let words = stage.split('/').filter(|word| word.parse::<u32>().is_err());
    std::iter::once(command).chain(words).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_have_no_numbers() {
        assert_eq!(stage_name("create", "mount/3"), "create/mount");
        assert_eq!(stage_name("start", "hook-poststart/0"), "start/hook-poststart");
    }
}
