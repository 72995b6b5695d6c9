//! What a diagnosis consists of. Plain values: made by the judgements of each subject, told by
//! `System.Doctor` and shown by `sextant doctor`.

use std::fmt;

/// What a check is about; in the order in which they are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Subject {
    Kernel,
    Cgroups,
    Namespaces,
    Ids,
    Security,
    Limits,
    Files,
}

impl Subject {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Kernel, Self::Cgroups, Self::Namespaces, Self::Ids, Self::Security, Self::Limits, Self::Files];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Cgroups => "cgroups",
            Self::Namespaces => "namespaces",
            Self::Ids => "ids",
            Self::Security => "security",
            Self::Limits => "limits",
            Self::Files => "files",
        }
    }
}

/// How bad it is; later is worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Ok,
    /// Worth knowing: another way is taken, or something that few need is not there.
    Note,
    /// Something does not work, or not for so many containers.
    Limited,
    /// Containers cannot be made.
    Missing,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What it belongs to.
    pub subject: Subject,
    /// What was looked at, such as `kernel.pid_max`.
    pub name: String,
    /// How bad it is.
    pub level: Level,
    /// What was found, with its value.
    pub found: String,
    /// Where that was read, or how it was asked.
    pub source: String,
    /// What follows for the user, in a sentence; empty where it is as it should be.
    pub follows: String,
    /// Commands that mend it, one a line; empty where there is nothing to mend.
    pub remedy: String,
    /// The manual page or the version of Linux that says so.
    pub basis: String,
}

impl Check {
    /// A check that is as it should be.
    pub fn ok(
        subject: Subject,
        name: impl Into<String>,
        found: impl Into<String>,
        source: impl Into<String>,
    ) -> Self {
        Self {
            subject,
            name: name.into(),
            level: Level::Ok,
            found: found.into(),
            source: source.into(),
            follows: String::new(),
            remedy: String::new(),
            basis: String::new(),
        }
    }

    /// The same, on the word of a manual page or a version.
    pub fn by(self, basis: impl Into<String>) -> Self {
        Self { basis: basis.into(), ..self }
    }

    /// The same as bad as `level`, with what follows from it.
    pub fn but(self, level: Level, follows: impl Into<String>) -> Self {
        Self { level, follows: follows.into(), ..self }
    }

    /// The same, with what mends it.
    pub fn mend(self, remedy: impl Into<String>) -> Self {
        Self { remedy: remedy.into(), ..self }
    }
}

/// The commands that set the sysctl `name`, now and after the next boot (sysctl.d(5)).
pub fn set_sysctl(name: &str, value: impl fmt::Display) -> String {
    format!("sysctl -w {name}={value}\necho {name}={value} >> /etc/sysctl.d/60-sextant.conf")
}

/// What all of them came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Who was looked at: `root (uid 0)`.
    pub user: String,
    /// Pid of the process that looked.
    pub pid: u32,
    /// Release of the kernel.
    pub kernel: String,
    /// Layout of cgroups: `v1`, `hybrid`, `v2`, or `none`.
    pub cgroup: &'static str,
    /// CPUs that the process may run on.
    pub cpus: u64,
    /// Memory of the host, in bytes.
    pub memory: u64,
    /// In the order of subjects.
    pub checks: Vec<Check>,
    /// How many containers fit.
    pub capacity: super::capacity::Capacity,
}

impl Report {
    /// Whether containers can be made: nothing that is needed is missing.
    pub fn able(&self) -> bool {
        self.checks.iter().all(|check| check.level != Level::Missing)
    }
}
