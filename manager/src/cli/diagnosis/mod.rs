//! A diagnosis as `sextant doctor --json` prints it: keys are the API's, and whose view it is. [`text`] is
//! the same for people.

pub mod text;

use serde::Serialize;
use sextant_proto::v1;
use sextant_proto::v1::check::Level;

/// Whose view it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "view", rename_all = "lowercase")]
pub enum View {
    /// The daemon's.
    Daemon,
    /// That of this process.
    Local {
        /// Why.
        because: String,
    },
}

/// What was found.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "the fields are those of sextant.v1.DoctorResponse, described there")]
pub struct Diagnosis {
    #[serde(flatten)]
    pub view: View,
    pub able: bool,
    pub user: String,
    pub pid: u32,
    pub version: String,
    pub kernel: String,
    pub cgroup: String,
    pub cpus: u64,
    pub memory_bytes: u64,
    pub checks: Vec<Check>,
    pub capacity: Capacity,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "the fields are those of sextant.v1.Check, described there")]
pub struct Check {
    pub subject: String,
    pub name: String,
    pub level: &'static str,
    pub found: String,
    pub source: String,
    pub follows: String,
    pub remedy: Vec<String>,
    pub basis: String,
}

/// How many containers fit.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "the fields are those of sextant.v1.Capacity, described there")]
pub struct Capacity {
    pub containers: u64,
    pub bounds: Vec<Bound>,
}

/// How many a resource is enough for.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "the fields are those of sextant.v1.Bound, described there")]
pub struct Bound {
    pub name: String,
    pub containers: u64,
    pub left: u64,
    pub each: u64,
    pub unit: String,
    pub source: String,
    pub refuses: bool,
    pub follows: String,
    pub remedy: Vec<String>,
}

/// From the best to the worst.
pub const LEVELS: [&str; 4] = ["ok", "note", "limited", "missing"];

fn level(level: Level) -> &'static str {
    match level {
        Level::Ok => "ok",
        Level::Note => "note",
        Level::Missing => "missing",
        // What a newer daemon tells is not to be overlooked.
        Level::Limited | Level::Unspecified => "limited",
    }
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

impl Diagnosis {
    /// What `answer` says.
    pub fn new(view: View, answer: v1::DoctorResponse) -> Self {
        let check = |c: v1::Check| Check {
            level: level(c.level()),
            subject: c.subject,
            name: c.name,
            found: c.found,
            source: c.source,
            follows: c.follows,
            remedy: lines(&c.remedy),
            basis: c.basis,
        };
        let bound = |b: v1::Bound| Bound {
            name: b.name,
            containers: b.containers,
            left: b.left,
            each: b.each,
            unit: b.unit,
            source: b.source,
            refuses: b.refuses,
            follows: b.follows,
            remedy: lines(&b.remedy),
        };
        let capacity = answer.capacity.unwrap_or_default();
        Self {
            view,
            able: answer.able,
            user: answer.user,
            pid: answer.pid,
            version: answer.version,
            kernel: answer.kernel,
            cgroup: answer.cgroup,
            cpus: answer.cpus,
            memory_bytes: answer.memory_bytes,
            checks: answer.checks.into_iter().map(check).collect(),
            capacity: Capacity {
                containers: capacity.containers,
                bounds: capacity.bounds.into_iter().map(bound).collect(),
            },
        }
    }
}
