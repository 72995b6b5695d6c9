//! An audit, as `--json` prints it.

use serde::Serialize;
use sextant_proto::v1;

/// What was found.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "the fields are those of sextant.v1.AuditResponse, described there")]
pub struct Audit {
    pub findings: Vec<Finding>,
    pub counts: Vec<Count>,
    pub left_off: u64,
    pub looks: u32,
    pub took_seconds: f64,
}

/// One thing.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "the fields are those of sextant.v1.AuditFinding, described there")]
pub struct Finding {
    pub kind: String,
    pub object: String,
    pub owner: Option<String>,
    pub reason: Option<String>,
    pub proofs: Vec<String>,
    pub remedy: Option<String>,
    pub command: Option<String>,
    pub fixable: bool,
    pub fixed: bool,
    pub fix_failure: Option<String>,
}

/// How many there are of a kind.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "the fields are those of sextant.v1.AuditCount, described there")]
pub struct Count {
    pub kind: String,
    pub owned: u64,
    pub orphans: u64,
}

impl From<v1::AuditResponse> for Audit {
    fn from(answer: v1::AuditResponse) -> Self {
        let took = answer.took.and_then(|took| std::time::Duration::try_from(took).ok());
        Self {
            findings: answer.findings.into_iter().map(Finding::from).collect(),
            counts: answer.counts.into_iter().map(Count::from).collect(),
            left_off: answer.left_off,
            looks: answer.looks,
            took_seconds: took.unwrap_or_default().as_secs_f64(),
        }
    }
}

impl From<v1::AuditFinding> for Finding {
    fn from(finding: v1::AuditFinding) -> Self {
        let some = |text: String| (!text.is_empty()).then_some(text);
        Self {
            kind: finding.kind,
            object: finding.object,
            owner: some(finding.owner),
            reason: some(finding.reason),
            proofs: finding.proofs,
            remedy: some(finding.remedy),
            command: some(finding.command),
            fixable: finding.fixable,
            fixed: finding.fixed,
            fix_failure: some(finding.fix_failure),
        }
    }
}

impl From<v1::AuditCount> for Count {
    fn from(v1::AuditCount { kind, owned, orphans }: v1::AuditCount) -> Self {
        Self { kind, owned, orphans }
    }
}
