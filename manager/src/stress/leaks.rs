//! What a run has left behind.

use super::procfs;
use super::target::{Doing, Facts, Target};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// Times that it is looked again, since what is going away may still be there for a moment.
const LOOKS: u32 = 30;
const BETWEEN: Duration = Duration::from_millis(100);

/// Something that is left.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct Leak {
    /// `container`, `process`, `cgroup` or `directory`.
    pub(crate) kind: String,
    pub(crate) name: String,
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
            let leak = |kind: &str, name: String| Leak { kind: kind.into(), name };
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

fn command(pid: i32) -> String {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).replace('\0', " ").trim_end().to_owned()
}

/// What is left of the run, once whatever is just going away has gone.
///
/// # Errors
/// A sentence, when the target cannot be asked.
pub(crate) async fn leaks(audit: &dyn Audit, target: &dyn Target) -> Result<Vec<Leak>, String> {
    let mut left = Vec::new();
    for _ in 0..LOOKS {
        left = audit.look(target).await.map_err(|fault| fault.message)?;
        if left.is_empty() {
            break;
        }
        tokio::time::sleep(BETWEEN).await;
    }
    Ok(left)
}
