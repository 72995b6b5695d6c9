//! What a run has left behind.

use super::procfs;
use super::target::{Doing, Facts, Target};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long it is looked again and again, since what is going away may still be there for a moment.
const LONGEST: Duration = Duration::from_secs(3);
const BETWEEN: Duration = Duration::from_millis(100);

/// Something that is left.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct Leak {
    /// `container`, `process`, `cgroup` or `directory`; of an audit, one of its kinds.
    pub(crate) kind: String,
    pub(crate) name: String,
    /// Why it is one, where the target says that.
    #[serde(default)]
    pub(crate) reason: String,
}

/// Who knows what is left.
pub(crate) trait Audit: Send + Sync {
    /// All that is left of the run now.
    fn look<'a>(&'a self, target: &'a dyn Target) -> Doing<'a, Vec<Leak>>;
}

/// What a run can know by itself: it looks for its own names.
#[derive(Debug)]
pub(crate) struct OwnNames {
    directories: Vec<PathBuf>,
}

impl OwnNames {
    pub(crate) fn new(facts: &Facts) -> Self {
        Self { directories: facts.directories.clone() }
    }
}

impl Audit for OwnNames {
    fn look<'a>(&'a self, target: &'a dyn Target) -> Doing<'a, Vec<Leak>> {
        Box::pin(async {
            let leak = |kind: &str, name: String| {
                let reason = "it bears the name of the run".to_owned();
                Leak { kind: kind.into(), name, reason }
            };
            let mut leaks: Vec<Leak> =
                target.ours().await?.into_iter().map(|id| leak("container", id)).collect();
            let marks = target.marks();
            let found = procfs::scan(&marks);
            for pid in [found.shims, found.inside, found.others].concat() {
                leaks.push(leak("process", format!("{pid} {}", command(pid))));
            }
            leaks.extend(procfs::cgroups(&marks).into_iter().map(|name| leak("cgroup", name)));
            for directory in &self.directories {
                let entries = std::fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok);
                for entry in entries {
                    let name = entry.file_name().to_string_lossy().into_owned();
                    if marks.iter().any(|mark| name.contains(mark.as_str())) {
                        leaks.push(leak("directory", entry.path().display().to_string()));
                    }
                }
            }
            Ok(leaks)
        })
    }
}

/// The names of the run, and what the target itself calls nobody's by an audit, where it can: since the
/// beginning of the run.
#[derive(Debug)]
pub(crate) struct Audited {
    own: OwnNames,
    before: BTreeSet<(String, String)>,
}

impl Audited {
    /// Asks for the audit at the beginning. What cannot be told then counts as if nothing had been there.
    pub(crate) async fn begin(target: &dyn Target, facts: &Facts) -> Self {
        let before = target.orphans().await.unwrap_or_default();
        let before = before.into_iter().map(|leak| (leak.kind, leak.name)).collect();
        Self { own: OwnNames::new(facts), before }
    }
}

impl Audit for Audited {
    fn look<'a>(&'a self, target: &'a dyn Target) -> Doing<'a, Vec<Leak>> {
        Box::pin(async {
            let mut orphans = target.orphans().await?;
            orphans.retain(|leak| !self.before.contains(&(leak.kind.clone(), leak.name.clone())));
            let mut leaks = self.own.look(target).await?;
            // An audit says why.
            leaks.retain(|leak| !orphans.iter().any(|orphan| is_same(leak, orphan)));
            leaks.append(&mut orphans);
            Ok(leaks)
        })
    }
}

/// Whether what was found by its name is what an audit has found.
fn is_same(own: &Leak, orphan: &Leak) -> bool {
    let pid = |leak: &Leak| leak.name.split(' ').next().map(str::to_owned);
    match own.kind.as_str() {
        "process" => pid(own) == pid(orphan),
        "cgroup" => {
            let path = orphan.name.split(' ').next().unwrap_or_default();
            orphan.kind == "cgroup" && path.rsplit('/').next() == Some(own.name.as_str())
        }
        "directory" => own.name == orphan.name,
        _ => false,
    }
}

fn command(pid: i32) -> String {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).replace('\0', " ").trim_end().to_owned()
}

/// What is left of the run, once whatever is just going away has gone.
///
/// # Errors
/// A sentence, when the target cannot be asked.
pub(crate) async fn leaks(audit: &dyn Audit, target: &dyn Target) -> Result<Vec<Leak>, String> {
    let (begun, mut left) = (Instant::now(), Vec::new());
    while begun.elapsed() < LONGEST {
        left = audit.look(target).await.map_err(|fault| fault.message)?;
        if left.is_empty() {
            break;
        }
        tokio::time::sleep(BETWEEN).await;
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leak(kind: &str, name: &str) -> Leak {
        Leak { kind: kind.into(), name: name.into(), reason: String::new() }
    }

    #[test]
    fn what_an_audit_has_found_is_told_once() {
        assert!(is_same(&leak("process", "12 sextant-shim --id a"), &leak("shim", "12 sextant-shim")));
        assert!(!is_same(&leak("process", "12 sextant-shim --id a"), &leak("shim", "123 sextant-shim")));
        assert!(is_same(&leak("cgroup", "st-1"), &leak("cgroup", "/sextant/st-1 in 10 hierarchies")));
        assert!(!is_same(&leak("cgroup", "st-1"), &leak("cgroup", "/sextant/st-11")));
        assert!(is_same(&leak("directory", "/r/a"), &leak("journal", "/r/a")));
        assert!(!is_same(&leak("container", "a"), &leak("journal", "a")));
    }
}
