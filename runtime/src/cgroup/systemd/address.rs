//! Where a systemd manager listens: first on its private socket, where no bus
//! daemon stands between, else on a bus.

use super::manager::Instance;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// What is behind a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// The manager itself.
    Manager,
    /// A bus daemon, which passes messages on: it wants a greeting, and signals
    /// have to be subscribed to.
    Bus,
}

/// One address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) socket: PathBuf,
    pub(super) peer: Peer,
}

/// What the environment says of a user's session.
#[derive(Clone, Debug, Default)]
pub(super) struct Session {
    /// `XDG_RUNTIME_DIR`
    pub(super) directory: Option<OsString>,
    /// `DBUS_SESSION_BUS_ADDRESS`
    pub(super) bus: Option<String>,
}

impl Session {
    pub(super) fn of_environment() -> Self {
        Self {
            directory: std::env::var_os("XDG_RUNTIME_DIR"),
            bus: std::env::var("DBUS_SESSION_BUS_ADDRESS").ok(),
        }
    }
}

/// In the order in which they are tried. The environment chooses nothing of the
/// system's manager.
pub(super) fn candidates(instance: Instance, session: &Session) -> Vec<Address> {
    let at = |socket: PathBuf, peer| Address { socket, peer };
    match instance {
        Instance::System => vec![
            at("/run/systemd/private".into(), Peer::Manager),
            at("/run/dbus/system_bus_socket".into(), Peer::Bus),
        ],
        Instance::User => {
            let directory = session.directory.as_deref().map(Path::new).filter(|d| d.is_absolute());
            let below = |name: &str, peer| directory.map(|d| at(d.join(name), peer));
            let named = session.bus.iter().flat_map(|list| list.split(';')).filter_map(path_of);
            below("systemd/private", Peer::Manager)
                .into_iter()
                .chain(named.map(|path| at(path, Peer::Bus)))
                .chain(below("bus", Peer::Bus))
                .collect()
        }
    }
}

/// The path of `unix:path=/run/user/1000/bus,guid=…`; other transports are not spoken.
fn path_of(address: &str) -> Option<PathBuf> {
    let options = address.strip_prefix("unix:")?;
    let path = options.split(',').find_map(|option| option.strip_prefix("path="))?;
    (path.starts_with('/') && !path.contains('%')).then(|| path.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_a_private_socket_and_buses() {
        let session = Session {
            directory: Some("/run/user/7".into()),
            bus: Some("tcp:host=x;unix:path=/b,guid=1;unix:abstract=/c".into()),
        };
        let sockets = |session: &Session| -> Vec<_> {
            candidates(Instance::User, session).into_iter().map(|a| a.socket).collect()
        };
        assert_eq!(
            sockets(&session),
            ["/run/user/7/systemd/private", "/b", "/run/user/7/bus"].map(PathBuf::from)
        );
        assert!(sockets(&Session::default()).is_empty());
        assert!(sockets(&Session { directory: Some("relative".into()), bus: None }).is_empty());
        let system = candidates(Instance::System, &session);
        assert!(system.iter().all(|a| !a.socket.starts_with("/run/user")), "{system:?}");
    }
}
