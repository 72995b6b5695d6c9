//! Failures on purpose while the load goes on. A plan (`sextant_proto::fault_plan`; docs/reliability.md has the
//! points) is in force from the first container to the last unit, and taken back ahead of the clean-up. What came
//! about, and what was heard of it, is in the report.

pub(crate) mod noted;
pub(crate) mod reaction;

use super::drive::stopped;
use super::scenario::Ground;
use sextant_proto::fault_plan::{self, Line};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How long a manager that was started again may need until it answers, or is started once more.
const UP: Duration = Duration::from_secs(10);
/// Between two looks at it.
const PAUSE: Duration = Duration::from_millis(50);

/// The entries of a plan, and the file that has it while it is in force.
#[derive(Debug)]
pub(crate) struct Plan {
    entries: Vec<String>,
    /// Set by [`Plan::begin`].
    file: PathBuf,
}

impl Plan {
    /// A plan of entries as they were given, and of those of a file.
    ///
    /// # Errors
    /// All mistakes, each with its place.
    pub(crate) fn read(given: &[String], file: Option<&Path>) -> Result<Option<Self>, Vec<String>> {
        let (mut entries, mut mistakes) = (Vec::new(), Vec::new());
        let mut take = |place: String, line: &str| match fault_plan::parse(line) {
            Ok(Line::Log(_)) => mistakes.push(format!("{place}: {line:?}: the run has a log of its own")),
            Ok(_) => entries.push(line.to_owned()),
            Err(because) => mistakes.push(format!("{place}: {line:?}: {because}")),
        };
        for text in given {
            fault_plan::lines(text).for_each(|line| take("--fault".into(), line));
        }
        if let Some(file) = file {
            let text = std::fs::read_to_string(file);
            let text = text.map_err(|e| vec![format!("--faults {}: {e}", file.display())])?;
            for (number, line) in text.lines().enumerate() {
                // As in any file of settings, `#` at the beginning of a line makes it a remark.
                if !line.trim_start().starts_with('#') {
                    let place = || format!("--faults {}, line {}", file.display(), number + 1);
                    fault_plan::lines(line).for_each(|line| take(place(), line));
                }
            }
        }
        match (mistakes.is_empty(), entries.is_empty()) {
            (false, _) => Err(mistakes),
            (true, true) => Ok(None),
            (true, false) => Ok(Some(Self { entries, file: PathBuf::new() })),
        }
    }

    /// Whether the manager dies by it.
    pub(crate) fn kills_manager(&self) -> bool {
        self.entries.iter().any(|entry| entry.starts_with("manager:die:"))
    }

    /// Whether shims die by it.
    pub(crate) fn kills_shims(&self) -> bool {
        self.entries.iter().any(|entry| entry.starts_with("shim:die:"))
    }

    /// Puts it in force: what is started from now on reads it in `file`, and a manager that runs as well.
    ///
    /// # Errors
    /// A sentence, also where there is a plan already.
    pub(crate) fn begin(&mut self, file: &Path, seed: u64) -> Result<(), String> {
        let before = std::fs::read_to_string(file).unwrap_or_default();
        if fault_plan::lines(&before).next().is_some() {
            let name = file.display();
            return Err(format!("there is a plan of faults already in {name}; `: > {name}` ends it"));
        }
        self.file = file.to_owned();
        drop(std::fs::remove_file(self.log()));
        let mut text = format!("seed={seed}\nlog={}\n", self.log().display());
        for entry in &self.entries {
            text += entry;
            text.push('\n');
        }
        self.put(&text)
    }

    /// Nothing fails on purpose any more; gives the log of what did.
    ///
    /// # Errors
    /// A sentence: it is still in force.
    pub(crate) fn end(&self) -> Result<String, String> {
        self.put("")?;
        let told = std::fs::read_to_string(self.log()).unwrap_or_default();
        drop(std::fs::remove_file(self.log()));
        Ok(told)
    }

    fn log(&self) -> PathBuf {
        let mut name = self.file.clone().into_os_string();
        name.push(".log");
        name.into()
    }

    /// At once: nobody reads half a plan.
    fn put(&self, text: &str) -> Result<(), String> {
        let mut next = self.file.clone().into_os_string();
        next.push(".next");
        let put = std::fs::write(&next, text).and_then(|()| std::fs::rename(&next, &self.file));
        put.map_err(|e| format!("write the plan of faults to {}: {e}", self.file.display()))
    }
}

/// Starts a manager again that has died by the plan, by executing `line`, until the end is asked for.
pub(crate) async fn keep_up(ground: Arc<Ground>, line: String) {
    let mut stop = ground.stop.clone();
    let going = async {
        loop {
            // One that dies at each start, or whose process is not to be seen, is not asked without a pause.
            tokio::time::sleep(PAUSE).await;
            let Ok(Ok(facts)) = tokio::time::timeout(UP, ground.target.facts()).await else {
                // It has died while it started, or has not begun to answer.
                drop(super::killer::start_again(&line));
                continue;
            };
            let Some(pid) = facts.manager else { return };
            let Ok(pidfd) = crate::sys::pidfd_open(pid).and_then(crate::sys::readable) else { continue };
            drop(pidfd.readable().await.map(|mut ready| ready.retain_ready()));
            drop(super::killer::start_again(&line));
        }
    };
    tokio::select! {
        () = stopped(&mut stop) => {}
        () = going => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_mistakes_are_told_with_their_places() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("plan");
        std::fs::write(
            &file,
            "# a remark\nseed=3\nshim:die:exit.reap%1/9\nshim:burn:exit.reap\nlog=/tmp/x\n",
        )
        .unwrap();
        let given = ["manager:die:events.sync#2".to_owned(), "shim:die".to_owned()];
        let mistakes = Plan::read(&given, Some(&file)).unwrap_err();
        let name = file.display();
        assert_eq!(mistakes.len(), 3, "{mistakes:?}");
        assert!(mistakes[0].starts_with("--fault: \"shim:die\": it is not PROGRAM"), "{mistakes:?}");
        assert!(mistakes[1].starts_with(&format!("--faults {name}, line 4: ")), "{mistakes:?}");
        assert!(mistakes[2].contains("line 5") && mistakes[2].contains("of its own"), "{mistakes:?}");
        assert!(Plan::read(&[], None).unwrap().is_none());
        let plan = Plan::read(&given[..1], None).unwrap().unwrap();
        assert!(plan.kills_manager() && !plan.kills_shims());
        let plan = Plan::read(&["shim:die:exec.record#2".into()], None).unwrap().unwrap();
        assert!(plan.kills_shims() && !plan.kills_manager());
    }

    #[test]
    fn a_plan_is_in_force_between_begin_and_end_and_nobody_elses_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("faults");
        let plan = || Plan::read(&["shim:die:exit.reap".into()], None).unwrap().unwrap();
        let mut first = plan();
        first.begin(&file, 7).unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("seed=7\nlog=") && text.ends_with("\nshim:die:exit.reap\n"), "{text}");
        let refused = plan().begin(&file, 8).unwrap_err();
        assert!(refused.contains("already") && refused.contains(": >"), "{refused}");
        std::fs::write(first.log(), "shim die exit.reap 5 c\n").unwrap();
        assert_eq!(first.end().unwrap(), "shim die exit.reap 5 c\n");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "");
        let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
        plan().begin(&file, 9).unwrap();
    }
}
