//! An audit on the wire.

use crate::audit::{Count, Finding, Fixed, Report};
use sextant_proto::v1;

/// Findings in one answer, at most: with paths of usual length they stay well below the 4 MiB that clients
/// take by default.
const MOST: usize = 10_000;

/// The answer.
pub(super) fn to_wire(mut report: Report) -> v1::AuditResponse {
    let left_off = report.findings.len().saturating_sub(MOST);
    report.findings.truncate(MOST);
    v1::AuditResponse {
        findings: report.findings.into_iter().map(finding).collect(),
        counts: report.counts.into_iter().map(count).collect(),
        left_off: number(left_off),
        looks: report.looks,
        took: report.took.try_into().ok(),
    }
}

fn finding(finding: Finding) -> v1::AuditFinding {
    let (fixed, fix_failure) = match finding.fixed {
        Fixed::No => (false, String::new()),
        Fixed::Yes => (true, String::new()),
        Fixed::Failed(because) => (false, because),
    };
    let of = v1::AuditFinding {
        kind: finding.object.kind.name().into(),
        object: finding.object.name,
        fixed,
        fix_failure,
        ..Default::default()
    };
    match finding.whose {
        Ok(owner) => v1::AuditFinding { owner: owner.to_string(), ..of },
        Err(orphan) => v1::AuditFinding {
            reason: orphan.reason,
            proofs: orphan.proofs,
            remedy: orphan.remedy,
            command: orphan.command,
            fixable: orphan.can_fix,
            ..of
        },
    }
}

fn count(count: Count) -> v1::AuditCount {
    let Count { kind, owned, orphans } = count;
    v1::AuditCount { kind: kind.name().into(), owned: number(owned), orphans: number(orphans) }
}

fn number(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Claim, Kind, Object, Owner, Place};
    use std::time::Duration;

    #[test]
    fn too_many_findings_are_counted_and_not_told() {
        let object =
            Object { kind: Kind::Journal, name: "/r".into(), claim: Claim::Daemon, place: Place::Range(1) };
        let one = Finding { object, whose: Ok(Owner::Container("a".into())), fixed: Fixed::No };
        let report =
            Report { findings: vec![one; MOST + 3], counts: vec![], looks: 1, took: Duration::from_secs(1) };
        let wire = to_wire(report);
        assert_eq!((wire.findings.len(), wire.left_off), (MOST, 3));
        assert_eq!(wire.findings[0].owner, "container a");
    }
}
