//! The report: one record for every stage of the runtime's work. It is the
//! error model, the start-up trace and the place of fault injection at once.
//!
//! With `--report-fd N` each record goes down that descriptor as one line of
//! JSON, written in one `write(2)` and at most [`MAX_LINE`] bytes long, so that
//! lines of the parent and of the container's init, which share a pipe, do not
//! mix (pipe(7), `PIPE_BUF`).

use serde::{Deserialize, Serialize};
use std::fmt;

/// Longest line of a record, its newline included.
pub const MAX_LINE: usize = 4096;

/// What is being done. Its printed form is stable: users and tests name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StageKind {
    /// Reading `config.json`.
    Load,
    /// Deciding what to do.
    Plan,
    /// Making the runtime's own binary unwritable for the container.
    Seal,
    /// Writing, reading or removing the state directory.
    Store,
    /// Opening the namespaces that are joined by path.
    NamespaceOpen,
    /// Making the cgroup and setting its limits.
    Cgroup,
    /// Device rules of the cgroup.
    CgroupDevices,
    /// clone3(2).
    Clone,
    /// Putting the process into its cgroup.
    CgroupJoin,
    /// Writing the id maps of the user namespace.
    IdMap,
    /// The user namespace: created or joined, and the ids taken on.
    NamespaceUser,
    /// The pid namespace.
    NamespacePid,
    /// The network namespace, its `lo` up.
    NamespaceNetwork,
    /// The mount namespace and its propagation.
    NamespaceMount,
    /// The UTS namespace, host and domain name.
    NamespaceUts,
    /// The IPC namespace.
    NamespaceIpc,
    /// The cgroup namespace.
    NamespaceCgroup,
    /// The time namespace and its offsets.
    NamespaceTime,
    /// Opening the root file system.
    Rootfs,
    /// One mount of the config, by index.
    Mount,
    /// One device node, by index.
    Device,
    /// Links and ptmx in `/dev`.
    DevLinks,
    /// Hooks, by kind and index.
    HookPrestart,
    /// See [`StageKind::HookPrestart`].
    HookCreateRuntime,
    /// See [`StageKind::HookPrestart`].
    HookCreateContainer,
    /// See [`StageKind::HookPrestart`].
    HookStartContainer,
    /// See [`StageKind::HookPrestart`].
    HookPoststart,
    /// See [`StageKind::HookPrestart`].
    HookPoststop,
    /// pivot_root(2) and detaching the old root.
    Pivot,
    /// One sysctl, by index.
    Sysctl,
    /// Making the root file system read-only.
    ReadonlyRootfs,
    /// One read-only path, by index.
    ReadonlyPath,
    /// One masked path, by index.
    MaskedPath,
    /// The controlling terminal.
    Console,
    /// Resource limits, by index.
    Rlimit,
    /// oom_score_adj.
    OomScore,
    /// LSM labels.
    Lsm,
    /// uid, gid, additional gids, umask.
    User,
    /// The working directory.
    Cwd,
    /// The five capability sets.
    Capabilities,
    /// no_new_privs.
    NoNewPrivs,
    /// Scheduler, I/O priority, personality, CPU affinity, memory policy.
    Scheduling,
    /// The session keyring.
    Keyring,
    /// Moving a network device, by its place in the sorted names.
    NetDevice,
    /// The resctrl group.
    IntelRdt,
    /// Handing the seccomp notification descriptor to its listener.
    SeccompListener,
    /// Loading the seccomp filter.
    Seccomp,
    /// The container is set up and waits for `start`.
    Ready,
    /// Telling a created container to go on.
    Start,
    /// execve(2) of the user's process.
    Exec,
    /// Sending a signal.
    Kill,
    /// Stopping all processes.
    Pause,
    /// Letting them go on.
    Resume,
    /// Changing the limits of a container.
    Update,
    /// Reading what a container has used.
    Stats,
    /// Writing a container into an image with CRIU.
    Checkpoint,
    /// Making a container from such an image.
    Restore,
    /// Removing what was made.
    Delete,
    /// Waiting for the container's exit (`run`).
    Wait,
    /// Binding namespaces to files, or letting go of them.
    Pin,
}

/// A stage: its kind and, where there are several of the kind, which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stage {
    /// What is being done.
    pub kind: StageKind,
    /// Which of them, counted from 0 as in the config.
    pub index: Option<u32>,
}

impl Stage {
    /// The `index`th stage of this kind.
    pub fn nth(kind: StageKind, index: usize) -> Self {
        Self { kind, index: u32::try_from(index).ok() }
    }
}

impl From<StageKind> for Stage {
    fn from(kind: StageKind) -> Self {
        Self { kind, index: None }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.serialize(&mut *f)?;
        match self.index {
            Some(index) => write!(f, "/{index}"),
            None => Ok(()),
        }
    }
}

impl std::str::FromStr for Stage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        use serde::de::IntoDeserializer;
        let (name, index) = match text.split_once('/') {
            Some((name, index)) => {
                (name, Some(index.parse().map_err(|e| format!("stage {text:?}: index: {e}"))?))
            }
            None => (text, None),
        };
        let kind = StageKind::deserialize(name.into_deserializer())
            .map_err(|e: serde::de::value::Error| format!("stage {text:?}: {e}"))?;
        Ok(Self { kind, index })
    }
}

impl Serialize for Stage {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Stage {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Why a stage failed, with everything that is known of the place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The stage, in its printed form.
    pub stage: String,
    /// What was attempted, as a sentence without its end: "mount /proc".
    pub attempted: String,
    /// Because of what, where no system call says it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub because: String,
    /// The failed system call with its arguments, as strace prints it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub syscall: String,
    /// Its errno; 0 where no system call failed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub errno: i32,
    /// The path or name it was about.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub object: String,
    /// JSON pointer of the place in config.json (RFC 6901).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pointer: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hint: String,
}

impl Failure {
    /// Cuts each text to about that many bytes.
    pub(crate) fn truncate(&mut self, limit: usize) {
        for text in [
            &mut self.stage,
            &mut self.attempted,
            &mut self.because,
            &mut self.syscall,
            &mut self.object,
            &mut self.pointer,
            &mut self.hint,
        ] {
            truncate(text, limit);
        }
    }
}

fn is_zero(n: &i32) -> bool {
    *n == 0
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.pointer.is_empty() {
            write!(f, "{}: ", self.pointer)?;
        }
        f.write_str(&self.attempted)?;
        if !self.syscall.is_empty() {
            write!(f, ": {}", self.syscall)?;
        }
        // Without a call the text tells what the errno means.
        if self.errno != 0 && (self.because.is_empty() || !self.syscall.is_empty()) {
            let errno = nix::errno::Errno::from_raw(self.errno);
            write!(f, ": {errno:?} ({})", errno.desc())?;
        }
        if !self.because.is_empty() {
            write!(f, ": {}", self.because)?;
        }
        if !self.hint.is_empty() {
            write!(f, " (hint: {})", self.hint)?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// One stage, done or failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What was done.
    pub stage: Stage,
    /// `CLOCK_MONOTONIC` at its beginning, in nanoseconds.
    pub start_ns: u64,
    /// `CLOCK_MONOTONIC` at its end, in nanoseconds.
    pub end_ns: u64,
    /// Who did it, in its own pid namespace (1: the container's init).
    pub pid: i32,
    /// What it was about: a path, a name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub object: String,
    /// Set when it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

impl Record {
    /// The record as a line. One that would be longer than [`MAX_LINE`] loses
    /// the ends of its texts, never its form.
    pub fn to_line(&self) -> Vec<u8> {
        let mut record = self.clone();
        for limit in [usize::MAX, 512, 128, 16] {
            record.truncate(limit);
            if let Ok(mut line) = serde_json::to_vec(&record)
                && line.len() < MAX_LINE
            {
                line.push(b'\n');
                return line;
            }
        }
        Vec::new()
    }

    fn truncate(&mut self, limit: usize) {
        truncate(&mut self.object, limit);
        if let Some(failure) = &mut self.failure {
            failure.truncate(limit);
        }
    }
}

fn truncate(text: &mut String, limit: usize) {
    if text.len() > limit {
        text.truncate(text.floor_char_boundary(limit));
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_print_and_parse() {
        for stage in [Stage::from(StageKind::IdMap), Stage::nth(StageKind::HookCreateRuntime, 2)] {
            assert_eq!(stage.to_string().parse(), Ok(stage));
        }
        assert_eq!(Stage::nth(StageKind::Mount, 3).to_string(), "mount/3");
        assert!("mount/x".parse::<Stage>().is_err());
        assert!("nonsense".parse::<Stage>().is_err());
    }

    #[test]
    fn a_failure_names_place_call_and_remedy() {
        let failure = Failure {
            attempted: "mount /x".into(),
            syscall: "fsopen(\"nofs\", FSOPEN_CLOEXEC)".into(),
            errno: 19,
            pointer: "/mounts/3".into(),
            hint: "load it".into(),
            ..Failure::default()
        };
        assert_eq!(
            failure.to_string(),
            "/mounts/3: mount /x: fsopen(\"nofs\", FSOPEN_CLOEXEC): ENODEV (No such device) (hint: load it)"
        );
    }

    #[test]
    fn a_long_record_keeps_its_form() {
        let mut record = Record {
            stage: StageKind::Exec.into(),
            start_ns: 1,
            end_ns: 2,
            pid: 1,
            object: "ä\"".repeat(5000),
            failure: Some(Failure { hint: "h".repeat(9000), errno: 2, ..Failure::default() }),
        };
        let line = record.to_line();
        assert!(line.len() <= MAX_LINE && line.ends_with(b"\n"));
        let back: Record = serde_json::from_slice(&line).unwrap();
        assert_eq!((back.stage, back.failure.unwrap().errno), (record.stage, 2));
        record.object.clear();
        record.failure = None;
        assert_eq!(serde_json::from_slice::<Record>(&record.to_line()).unwrap(), record);
    }
}
