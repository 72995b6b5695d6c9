//! The systemd manager that a unit is asked of: the system's for root of the
//! host, else the user's own; found, and asked what a plan has to know.

use super::address::{self, Session};
use super::connection::{Connection, Fault};
use crate::contract::report::{Failure, StageKind};
use crate::report::Outcome;
use nix::errno::Errno;
use serde::{Deserialize, Serialize};

/// Which of the managers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Instance {
    /// Pid 1's.
    System,
    /// That of the caller (`systemctl --user`).
    User,
}

impl Instance {
    /// The caller's.
    pub fn of_caller() -> Self {
        if crate::namespaces::user::is_root_of_host() { Self::System } else { Self::User }
    }

    fn name(self) -> &'static str {
        match self {
            Self::System => "systemd's system manager",
            Self::User => "systemd's user manager",
        }
    }
}

/// What a plan has to know of a manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manager {
    /// Which it is.
    pub instance: Instance,
    /// Where its units' cgroups begin, below the root of the hierarchies.
    pub cgroup: String,
    /// Its version: what a property needs.
    pub version: u32,
}

impl Manager {
    /// Finds and asks the caller's manager. Nothing is changed.
    ///
    /// # Errors
    /// There is none, or it does not answer; the sockets that were tried are named.
    pub fn find() -> Outcome<Self> {
        Self::of(Instance::of_caller()).map_err(Box::new)
    }

    /// The same of one that is known.
    pub(super) fn of(instance: Instance) -> Result<Self, Failure> {
        let mut connection = connect(instance)?;
        let mut ask =
            |name| connection.property(name).map_err(|f| failure(format!("ask {}", instance.name()), f));
        let (version, cgroup) = (ask("Version")?, ask("ControlGroup")?);
        Ok(Self { instance, cgroup, version: number(&version) })
    }
}

/// `252.38-1~deb12u1` is 252.
fn number(version: &str) -> u32 {
    let digits: String = version.trim_start_matches('v').chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0)
}

/// A connection to a manager.
///
/// # Errors
/// As [`Manager::find`].
pub(super) fn connect(instance: Instance) -> Result<Connection, Failure> {
    let session = Session::of_environment();
    let mut tried = Vec::new();
    for address in address::candidates(instance, &session) {
        match Connection::open(&address) {
            Ok(connection) => return Ok(connection),
            Err(fault) => tried.push(format!("{}: {}", address.socket.display(), said(&fault))),
        }
    }
    let because = if tried.is_empty() {
        "neither XDG_RUNTIME_DIR nor DBUS_SESSION_BUS_ADDRESS says where it listens".to_owned()
    } else {
        tried.join("; ")
    };
    Err(Failure {
        stage: super::super::create::stage(StageKind::Cgroup),
        attempted: format!("connect to {}", instance.name()),
        because,
        hint: hint_without(instance).into(),
        ..Failure::default()
    })
}

fn hint_without(instance: Instance) -> &'static str {
    match instance {
        Instance::System => {
            "--systemd-cgroup needs systemd as pid 1 and /run/systemd/private in this mount namespace; \
             without it leave --systemd-cgroup out (podman --cgroup-manager=cgroupfs, Docker \
             native.cgroupdriver=cgroupfs, containerd SystemdCgroup = false)"
        }
        Instance::User => {
            "a user's manager runs while he is logged in, or for ever after `loginctl enable-linger USER`; \
             its environment has XDG_RUNTIME_DIR=/run/user/UID; without one leave --systemd-cgroup out"
        }
    }
}

/// A failed call.
pub(super) fn failure(attempted: String, fault: Fault) -> Failure {
    let because = said(&fault);
    let (errno, hint) = match &fault {
        Fault::Broken(error) if error.kind() == std::io::ErrorKind::TimedOut => {
            (libc::ETIMEDOUT, "see `systemctl list-jobs` for what it waits for")
        }
        Fault::Broken(error) => (error.raw_os_error().unwrap_or(0), ""),
        Fault::Refused { name, .. } => (0, hint_of(name)),
    };
    Failure {
        stage: super::super::create::stage(StageKind::Cgroup),
        attempted,
        // What the kernel said is told by its number.
        because: if errno == 0 || errno == libc::ETIMEDOUT { because } else { String::new() },
        errno,
        hint: hint.into(),
        ..Failure::default()
    }
}

fn said(fault: &Fault) -> String {
    match fault {
        Fault::Refused { name, text } => format!("{text} ({name})"),
        Fault::Broken(error) => match error.raw_os_error() {
            Some(number) => Errno::from_raw(number).desc().to_owned(),
            None => error.to_string(),
        },
    }
}

fn hint_of(name: &str) -> &'static str {
    match name {
        UNIT_EXISTS => "choose another cgroupsPath, or delete the container that uses this one",
        "org.freedesktop.DBus.Error.AccessDenied"
        | "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired" => {
            "the caller may not change units of this manager, or a process is not his own"
        }
        "org.freedesktop.DBus.Error.PropertyReadOnly" | "org.freedesktop.DBus.Error.InvalidArgs" => {
            "this version of systemd does not take one of the limits or annotations"
        }
        _ => "",
    }
}

/// The unit is loaded already.
pub(super) const UNIT_EXISTS: &str = "org.freedesktop.systemd1.UnitExists";

/// The unit is not loaded.
pub(super) const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        assert_eq!(number("252.38-1~deb12u1"), 252);
        assert_eq!(number("v257"), 257);
        assert_eq!(number(""), 0);
    }

    #[test]
    fn without_systemd_the_socket_and_the_remedy_are_named() {
        if std::path::Path::new("/run/systemd/private").exists()
            || !crate::namespaces::user::is_root_of_host()
        {
            eprintln!("skipped: needs root and no systemd");
            return;
        }
        let failure = Manager::find().unwrap_err();
        assert!(failure.because.contains("/run/systemd/private: No such file"), "{failure}");
        assert!(failure.hint.contains("leave --systemd-cgroup out"), "{failure}");
    }
}
