//! What a request for a container may say. All mistakes are found at once, and
//! before a name is taken or anything is made. Never looks at the disk.

mod policies;

use super::error::{Error, Violation};
use crate::model::{
    HealthCheck, Limits, LogOptions, NewContainer, NewExec, NewSandbox, RestartPolicy, RootfsSource, Source,
    Stdio,
};
use crate::placement::{Mode, Modes, Placement};
use sextant_runtime::contract::args::Limits as Update;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// Longest id.
const ID: usize = 64;
/// Longest key of an operation.
const KEY: usize = 128;
/// Bytes of all keys and values of labels together.
const LABELS: usize = 64 << 10;
/// Bytes of argv and environment together; execve(2) has its own limit above.
const ARGUMENTS: usize = 1 << 20;
/// Bind mounts.
const MOUNTS: usize = 256;
/// Below, not even an init can be executed.
const LEAST_MEMORY: i64 = 512 << 10;
/// The kernel's shortest quota is 1 ms in a period of 100 ms.
const LEAST_CPU: i64 = 10;
/// Supplementary groups of an exec.
const GROUPS: usize = 256;
/// HOST_NAME_MAX of Linux.
const HOSTNAME: usize = 64;

/// A checked request; the id is decided.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) id: String,
    pub(super) source: Source,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) stdio: Stdio,
    pub(super) key: Option<String>,
    pub(super) log: LogOptions,
    pub(super) restart: RestartPolicy,
    pub(super) check: Option<HealthCheck>,
    pub(super) placement: Placement,
}

/// Checks all of it.
pub(super) fn check(new: NewContainer) -> Result<Request, Error> {
    let mut mistakes = Mistakes::default();
    let id = match new.id {
        Some(id) => {
            check_id(&id, &mut mistakes);
            id
        }
        None => made_up_id().map_err(Error::io("make up a container id"))?,
    };
    check_labels(&new.labels, &mut mistakes);
    match &new.source {
        Source::Bundle(path) => {
            check_path("bundle", path, &mut mistakes);
            refuse_placement(&new.placement, &mut mistakes);
        }
        Source::Rootfs(source) => {
            check_rootfs(source, &mut mistakes);
            check_placement(&id, &new.placement, source, &mut mistakes);
        }
    }
    check_log(&new.log, &mut mistakes);
    policies::check_restart(&new.restart, &mut mistakes);
    if let Some(check) = &new.check {
        policies::check_health(check, &mut mistakes);
    }
    if let Some(key) = &new.key {
        look_at_key(key, &mut mistakes);
    }
    mistakes.into_result(format!("create container {id:?}"))?;
    let NewContainer { source, labels, stdio, key, log, restart, check, placement, .. } = new;
    Ok(Request { id, source, labels, stdio, key, log, restart, check, placement })
}

fn check_labels(labels: &BTreeMap<String, String>, mistakes: &mut Mistakes) {
    let size: usize = labels.iter().map(|(k, v)| k.len() + v.len()).sum();
    mistakes.unless(size <= LABELS, "labels", || format!("they have {size} bytes, at most {LABELS}"));
}

/// Checks all of a request for a sandbox; its id, made up where there is none.
pub(super) fn check_sandbox(new: &NewSandbox) -> Result<String, Error> {
    let mut mistakes = Mistakes::default();
    let id = match &new.id {
        Some(id) => {
            check_id(id, &mut mistakes);
            id.clone()
        }
        None => made_up_id().map_err(Error::io("make up the id of a sandbox"))?,
    };
    check_labels(&new.labels, &mut mistakes);
    check_hostname("hostname", &new.hostname, &mut mistakes);
    mistakes.unless(new.hostname.is_empty() || new.shared.uts, "hostname", || {
        "it has no uts namespace that could have a host name; share that as well".into()
    });
    mistakes.unless(new.shared.kinds().next().is_some(), "shared", || {
        "it shares nothing; name some of network, ipc, uts, user, pid".into()
    });
    if let Some(key) = &new.key {
        look_at_key(key, &mut mistakes);
    }
    mistakes.into_result(format!("create sandbox {id:?}"))?;
    Ok(id)
}

/// A bundle says itself whose namespaces it is in.
fn refuse_placement(placement: &Placement, mistakes: &mut Mistakes) {
    let hint =
        "name the files in linux.namespaces[].path of its config.json; those of a sandbox are in its pins";
    for (field, given) in
        [("sandbox", placement.sandbox.is_some()), ("namespaces", placement.modes != Modes::default())]
    {
        mistakes.refuse_hint(!given, field, hint, || "a bundle says itself whose namespaces it is in".into());
    }
}

/// What can be told of the modes without a look at others.
fn check_placement(id: &str, placement: &Placement, source: &RootfsSource, mistakes: &mut Mistakes) {
    for kind in crate::placement::KINDS {
        let field = format!("namespaces.{}", kind.name());
        match placement.modes.get(kind) {
            Mode::Sandbox => mistakes.refuse_hint(
                placement.sandbox.is_some(),
                &field,
                "name the sandbox, or use another mode",
                || "it is to be the sandbox's, and the container joins none".into(),
            ),
            Mode::Container(other) => {
                mistakes.refuse_hint(
                    !other.is_empty() && other != id,
                    &field,
                    "name another container, or use the mode own",
                    || format!("{other:?} is no other container"),
                );
            }
            Mode::Default | Mode::Own | Mode::Host => {}
        }
    }
    let foreign = matches!(placement.modes.uts, Mode::Host | Mode::Sandbox | Mode::Container(_));
    mistakes.refuse_hint(
        source.hostname.is_empty() || !foreign,
        "rootfs.hostname",
        "leave it out, or use the mode own for uts",
        || "the uts namespace, and so the host name, is shared with others".into(),
    );
}

/// Checks all of a request for an exec, and makes up its name.
pub(super) fn check_exec(container: &str, new: &NewExec) -> Result<String, Error> {
    let mut mistakes = Mistakes::default();
    check_command("", &new.command, &new.env, &mut mistakes);
    mistakes.unless(!new.command.first().is_some_and(|c| c.starts_with('-')), "command", || {
        "a program whose name begins with - cannot be told from a flag: name it with its directory".into()
    });
    mistakes.unless(new.cwd.is_empty() || new.cwd.starts_with('/'), "cwd", || {
        format!("{:?} is not an absolute path", new.cwd)
    });
    mistakes.unless(new.user.is_empty() || new.user.splitn(2, ':').all(is_number), "user", || {
        format!("{:?} is not UID or UID:GID, as numbers", new.user)
    });
    for (index, name) in new.capabilities.iter().enumerate() {
        let known = name.strip_prefix("CAP_").is_some_and(|rest| !rest.is_empty());
        let upper = name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
        mistakes.unless(known && upper, &format!("capabilities[{index}]"), || {
            format!("{name:?} is no capability, such as CAP_NET_ADMIN")
        });
    }
    mistakes.unless(new.additional_gids.len() <= GROUPS, "additional_gids", || {
        format!("there are {}, at most {GROUPS}", new.additional_gids.len())
    });
    if let Some(key) = &new.key {
        look_at_key(key, &mut mistakes);
    }
    mistakes.into_result(format!("execute a process in container {container:?}"))?;
    made_up_id().map_err(Error::io("make up a name for an exec"))
}

/// An id as the kernel has them, without a sign.
fn is_number(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u32>().is_ok_and(|id| id != u32::MAX)
}

/// Whether an operation can have this key.
pub(super) fn check_key(key: &str) -> Result<(), Error> {
    let mut mistakes = Mistakes::default();
    look_at_key(key, &mut mistakes);
    mistakes.into_result("give an operation a key".into())
}

/// Whether limits can be changed to these.
pub(super) fn check_update(id: &str, update: &Update) -> Result<(), Error> {
    let mut mistakes = Mistakes::default();
    mistakes.unless(*update != Update::default(), "limits", || "none is given".into());
    // 0 is no limit, and no limit is a limit that can be set.
    let given = |limit: Option<i64>| limit.filter(|n| *n != 0);
    let limits = [
        ("limits.memory_bytes", given(update.memory_bytes), LEAST_MEMORY),
        ("limits.memory_swap_bytes", given(update.memory_swap_bytes), LEAST_MEMORY),
        ("limits.cpu_millis", given(update.cpu_millis), LEAST_CPU),
        ("limits.cpu_shares", update.cpu_shares, 2),
        ("limits.pids", given(update.pids), 1),
    ];
    for (field, value, least) in limits {
        if let Some(value) = value {
            mistakes.unless(value >= least, field, || format!("{value} is below {least}"));
        }
    }
    let shares = update.cpu_shares.unwrap_or(2);
    mistakes.unless(shares <= 262_144, "limits.cpu_shares", || format!("{shares} is above 262144"));
    mistakes.into_result(format!("update container {id:?}"))
}

fn check_log(log: &LogOptions, mistakes: &mut Mistakes) {
    let size = log.max_file_bytes.unwrap_or(u64::MAX);
    mistakes.unless(size >= 64 << 10, "log.max_file_bytes", || format!("{size} is below 65536"));
    let files = log.max_files.unwrap_or(2);
    mistakes.unless((2..=1000).contains(&files), "log.max_files", || {
        format!("{files} is not between 2 and 1000")
    });
    let rate = log.max_bytes_per_second.unwrap_or(u64::MAX);
    mistakes.unless(rate >= 1024, "log.max_bytes_per_second", || format!("{rate} is below 1024"));
}

fn look_at_key(key: &str, mistakes: &mut Mistakes) {
    let field = "idempotency_key";
    mistakes.unless(key.len() <= KEY, field, || format!("it has {} bytes, at most {KEY}", key.len()));
    mistakes.unless(!key.contains(char::is_control), field, || "it has a control character".into());
}

/// Whether a signal of this number exists.
pub(super) fn check_signal(signal: i32) -> Result<(), Error> {
    let mut mistakes = Mistakes::default();
    mistakes.unless((1..=64).contains(&signal), "signal", || format!("{signal} is not between 1 and 64"));
    mistakes.into_result("send a signal".into())
}

#[derive(Default)]
struct Mistakes(Vec<Violation>);

impl Mistakes {
    fn unless(&mut self, good: bool, field: &str, message: impl FnOnce() -> String) {
        if !good {
            self.0.push(Violation { field: field.into(), message: message(), hint: String::new() });
        }
    }

    fn refuse_hint(&mut self, good: bool, field: &str, hint: &str, message: impl FnOnce() -> String) {
        if !good {
            self.0.push(Violation { field: field.into(), message: message(), hint: hint.into() });
        }
    }

    fn into_result(self, attempted: String) -> Result<(), Error> {
        match self.0.is_empty() {
            true => Ok(()),
            false => Err(Error::Refused { attempted, violations: self.0 }),
        }
    }
}

/// `[A-Za-z0-9][A-Za-z0-9_.-]{0,63}`: also a file name, a host name label and a cgroup name.
fn check_id(id: &str, mistakes: &mut Mistakes) {
    mistakes.unless(id.len() <= ID, "id", || format!("it has {} bytes, at most {ID}", id.len()));
    mistakes.unless(id.starts_with(|c: char| c.is_ascii_alphanumeric()), "id", || {
        format!("{id:?} does not begin with a letter or a digit")
    });
    let odd = id.chars().find(|c| !c.is_ascii_alphanumeric() && !"_.-".contains(*c));
    mistakes.unless(odd.is_none(), "id", || {
        format!("{id:?} has {:?}; letters, digits and _.- can be in it", odd.unwrap_or_default())
    });
}

/// A program with its arguments and environment; the fields are below `place`.
fn check_command(place: &str, command: &[String], env: &[String], mistakes: &mut Mistakes) {
    mistakes.unless(command.first().is_some_and(|c| !c.is_empty()), &format!("{place}command"), || {
        "it names no program".into()
    });
    for (name, texts) in [("command", command), ("env", env)] {
        for (index, text) in texts.iter().enumerate() {
            mistakes.unless(!text.contains('\0'), &format!("{place}{name}[{index}]"), || {
                "it has a NUL byte".into()
            });
        }
    }
    for (index, pair) in env.iter().enumerate() {
        mistakes.unless(pair.find('=').is_some_and(|at| at > 0), &format!("{place}env[{index}]"), || {
            format!("{pair:?} is not KEY=VALUE")
        });
    }
    let bytes: usize = command.iter().chain(env).map(String::len).sum();
    mistakes.unless(bytes <= ARGUMENTS, &format!("{place}command"), || {
        format!("command and environment have {bytes} bytes, at most {ARGUMENTS}")
    });
}

fn check_rootfs(source: &RootfsSource, mistakes: &mut Mistakes) {
    check_path("rootfs.rootfs", &source.rootfs, mistakes);
    check_command("rootfs.", &source.command, &source.env, mistakes);
    mistakes.unless(source.cwd.is_empty() || source.cwd.starts_with('/'), "rootfs.cwd", || {
        format!("{:?} is not an absolute path", source.cwd)
    });
    check_hostname("rootfs.hostname", &source.hostname, mistakes);
    check_limits(&source.limits, mistakes);
    mistakes.unless(source.mounts.len() <= MOUNTS, "rootfs.mounts", || {
        format!("there are {}, at most {MOUNTS}", source.mounts.len())
    });
    for (index, mount) in source.mounts.iter().enumerate() {
        check_path(&format!("rootfs.mounts[{index}].source"), &mount.source, mistakes);
        check_path(&format!("rootfs.mounts[{index}].destination"), &mount.destination, mistakes);
    }
}

fn check_hostname(field: &str, name: &str, mistakes: &mut Mistakes) {
    let odd = name.chars().any(|c| c.is_control() || c.is_whitespace() || c == '/');
    mistakes.unless(!odd && name.len() <= HOSTNAME, field, || {
        format!("{name:?} is not a host name of at most {HOSTNAME} bytes")
    });
}

fn check_limits(limits: &Limits, mistakes: &mut Mistakes) {
    let least = [
        ("rootfs.limits.memory_bytes", limits.memory_bytes, LEAST_MEMORY),
        ("rootfs.limits.cpu_millis", limits.cpu_millis, LEAST_CPU),
        ("rootfs.limits.pids", limits.pids, 1),
    ];
    for (field, value, least) in least {
        if let Some(value) = value {
            mistakes.unless(value >= least, field, || format!("{value} is below {least} (0 is no limit)"));
        }
    }
}

fn check_path(field: &str, path: &Path, mistakes: &mut Mistakes) {
    let shown = path.display();
    mistakes.unless(path.is_absolute(), field, || format!("\"{shown}\" is not an absolute path"));
    let nul = path.as_os_str().as_encoded_bytes().contains(&0);
    mistakes.unless(!nul, field, || "it has a NUL byte".into());
}

/// Twelve hexadecimal digits.
fn made_up_id() -> std::io::Result<String> {
    let mut bytes = [0; 6];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Access, BindMount};

    fn new(id: &str, source: Source) -> NewContainer {
        NewContainer {
            id: Some(id.into()),
            source,
            labels: BTreeMap::new(),
            log: LogOptions::default(),
            stdio: Stdio::default(),
            placement: Placement::default(),
            key: None,
            restart: RestartPolicy::default(),
            check: None,
        }
    }

    fn fields(new: NewContainer) -> Vec<String> {
        match check(new) {
            Ok(_) => Vec::new(),
            Err(Error::Refused { violations, .. }) => violations.into_iter().map(|v| v.field).collect(),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn ids() {
        let bundle = || Source::Bundle("/b".into());
        for good in ["a", "A-b_c.d", "0", &"x".repeat(64)] {
            assert!(fields(new(good, bundle())).is_empty(), "{good}");
        }
        for bad in ["", ".", "-a", "a/b", "../a", "a b", "a\n", "ä", &"x".repeat(65)] {
            assert!(fields(new(bad, bundle())).contains(&"id".to_owned()), "{bad:?}");
        }
        let made_up = check(NewContainer { id: None, ..new("", bundle()) }).unwrap();
        assert_eq!(made_up.id.len(), 12);
    }

    #[test]
    fn all_mistakes_are_reported_at_once() {
        let source = RootfsSource {
            rootfs: "r".into(),
            command: vec![],
            env: vec!["A=b".into(), "=b".into(), "A".into()],
            cwd: "here".into(),
            hostname: "a b".into(),
            limits: Limits { memory_bytes: Some(-1), cpu_millis: Some(1000), pids: Some(-3) },
            access: Access::ReadWrite,
            mounts: vec![BindMount {
                source: "/a".into(),
                destination: "b".into(),
                access: Access::ReadOnly,
            }],
        };
        assert_eq!(
            fields(new("a b", Source::Rootfs(source))),
            [
                "id",
                "rootfs.rootfs",
                "rootfs.command",
                "rootfs.env[1]",
                "rootfs.env[2]",
                "rootfs.cwd",
                "rootfs.hostname",
                "rootfs.limits.memory_bytes",
                "rootfs.limits.pids",
                "rootfs.mounts[0].destination"
            ]
        );
    }

    #[test]
    fn keys() {
        assert!(check_key(&"k".repeat(128)).is_ok() && check_key("a b/ü").is_ok());
        assert!(check_key(&"k".repeat(129)).is_err() && check_key("a\nb").is_err());
        let keyed = NewContainer { key: Some("\0".into()), ..new("a", Source::Bundle("/b".into())) };
        assert_eq!(fields(keyed), ["idempotency_key"]);
    }

    #[test]
    fn namespaces_of_others() {
        let modes = Modes { network: Mode::Sandbox, uts: Mode::Host, ..Modes::default() };
        let placement = Placement { modes, ..Placement::default() };
        let bundle = NewContainer {
            placement: Placement { sandbox: Some("s".into()), ..placement.clone() },
            ..new("a", Source::Bundle("/b".into()))
        };
        assert_eq!(fields(bundle), ["sandbox", "namespaces"]);
        let source = RootfsSource {
            rootfs: "/r".into(),
            command: vec!["true".into()],
            env: vec![],
            cwd: String::new(),
            hostname: "h".into(),
            limits: Limits::default(),
            access: Access::ReadOnly,
            mounts: vec![],
        };
        let made = |placement| NewContainer { placement, ..new("a", Source::Rootfs(source.clone())) };
        assert_eq!(fields(made(placement)), ["namespaces.network", "rootfs.hostname"]);
        let itself = Modes { pid: Mode::Container("a".into()), ..Modes::default() };
        assert_eq!(fields(made(Placement { modes: itself, ..Placement::default() })), ["namespaces.pid"]);
        assert_eq!(fields(made(Placement::default())), Vec::<String>::new());
    }

    #[test]
    fn sandboxes() {
        let new = |hostname: &str, shared| NewSandbox {
            id: Some("s".into()),
            labels: BTreeMap::new(),
            hostname: hostname.into(),
            shared,
            key: None,
        };
        let shared = crate::placement::Shared::default();
        assert_eq!(check_sandbox(&new("h", shared)).unwrap(), "s");
        let made_up = check_sandbox(&NewSandbox { id: None, ..new("", shared) }).unwrap();
        assert_eq!(made_up.len(), 12);
        let none = crate::placement::Shared { user: false, network: false, uts: false, ipc: false, ..shared };
        let Err(Error::Refused { violations, .. }) = check_sandbox(&new("h", none)) else { panic!("taken") };
        let fields: Vec<_> = violations.into_iter().map(|v| v.field).collect();
        assert_eq!(fields, ["hostname", "shared"]);
    }

    #[test]
    fn logs_and_updates() {
        let log = LogOptions { max_file_bytes: Some(1), max_files: Some(1), max_bytes_per_second: Some(1) };
        let bad = NewContainer { log, ..new("a", Source::Bundle("/b".into())) };
        assert_eq!(fields(bad), ["log.max_file_bytes", "log.max_files", "log.max_bytes_per_second"]);
        let good = Update { memory_bytes: Some(0), pids: Some(1), ..Update::default() };
        assert!(check_update("a", &good).is_ok() && check_update("a", &Update::default()).is_err());
        for bad in [Update { memory_bytes: Some(-1), ..good.clone() }, Update { cpu_shares: Some(1), ..good }]
        {
            assert!(check_update("a", &bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn signals() {
        assert!(check_signal(9).is_ok() && check_signal(64).is_ok());
        assert!(check_signal(0).is_err() && check_signal(65).is_err() && check_signal(-9).is_err());
    }
}
