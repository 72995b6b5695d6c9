//! The plan of faults of a run: at every point that fails now and then somewhere, with low odds.
//! Beside it the file in which each fault that comes about is a line.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// Stages of the runtime; each fails in one of so many invocations, and dies in as many.
const STAGES: &str = "load plan seal store cgroup cgroup-join clone id-map namespace-user namespace-mount mount/0 \
                      device/0 pivot masked-path/0 user seccomp exec kill";
const STAGE_ODDS: u32 = 600;

/// Points of the shim and the manager: what happens there, and once in how many times. A log that
/// is not written is left out: that its output is missing is what the log says then.
const POINTS: &[(&str, &str, u32)] = &[
    ("shim", "fail die short journal.append", 400),
    ("shim", "fail die journal.sync", 100),
    ("shim", "fail die journal.compact", 4),
    ("shim", "die log.write", 400),
    ("shim", "fail die log.rotate", 100),
    ("shim", "die hand.store", 1500),
    ("shim", "fail die runtime.spawn", 300),
    ("shim", "fail die runtime.report", 200),
    ("shim", "fail die init.claim", 200),
    ("shim", "fail die exit.reap", 400),
    ("shim", "die exit.record", 60),
    ("shim", "fail die exec.spawn", 60),
    ("shim", "die exec.record", 60),
    ("shim", "die exec.end", 60),
    ("shim", "fail die adopt.takeover", 20),
    ("shim", "fail die socket.bind", 100),
    ("manager", "fail short die record.write", 400),
    ("manager", "fail die record.sync", 800),
    ("manager", "fail short die events.append", 1000),
    ("manager", "fail die events.sync", 1000),
    ("manager", "fail short die operations.append", 400),
    ("manager", "fail die shim.spawn", 150),
    ("manager", "fail die shim.call", 2000),
    ("manager", "fail die shim.adopt", 50),
    ("manager", "fail die runtime.spawn", 100),
    ("manager", "fail die delete.remove", 200),
    ("manager", "fail die sandbox.make", 40),
    ("manager", "fail die sandbox.remove", 40),
    ("manager", "fail die reconcile.container", 200),
];

/// Where plan and lines are.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) file: PathBuf,
    log: PathBuf,
}

impl Plan {
    /// Writes it into a directory that is never full.
    pub(super) fn write(dir: &Path, seed: u64) -> io::Result<Self> {
        let this = Self { file: dir.join("plan"), log: dir.join("faults") };
        let mut text = format!("seed={seed}\nlog={}\n", this.log.display());
        for stage in STAGES.split_whitespace() {
            for action in ["fail", "die"] {
                text += &format!("runtime:{action}:{stage}%1/{STAGE_ODDS}\n");
            }
        }
        for (program, words, odds) in POINTS {
            let Some((actions, point)) = words.rsplit_once(' ') else { continue };
            for action in actions.split(' ') {
                text += &format!("{program}:{action}:{point}%1/{odds}\n");
            }
        }
        std::fs::write(&this.file, text)?;
        Ok(this)
    }

    /// Nothing fails on purpose any more in whatever is started from now on.
    pub(super) fn end(&self) -> io::Result<()> {
        std::fs::write(&self.file, "")
    }

    /// How often what has come about.
    pub(super) fn done(&self) -> BTreeMap<String, usize> {
        let mut done = BTreeMap::new();
        for line in std::fs::read_to_string(&self.log).unwrap_or_default().lines() {
            if let Some(told) = sextant_proto::fault_plan::told(line) {
                *done.entry(told.what.to_owned()).or_default() += 1;
            }
        }
        done
    }
}
