//! Where a daemon listens.

use super::Error;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

/// Where a daemon listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// The absolute path of its socket.
    Unix(String),
    /// HOST:PORT, behind TLS in both directions.
    Tcp(String),
}

/// Why a text is no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoAddress(String);

impl fmt::Display for NoAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoAddress {}

impl From<NoAddress> for Error {
    fn from(no: NoAddress) -> Self {
        Self::Address(no)
    }
}

impl FromStr for Address {
    type Err = NoAddress;

    /// `unix:PATH` or `unix://PATH`, where PATH is absolute or counts from the
    /// working directory, as in gRPC's naming of addresses; a bare absolute
    /// path means the same. Or `tcp:HOST:PORT`.
    fn from_str(text: &str) -> Result<Self, NoAddress> {
        let no = |because: &str| Err(NoAddress(because.into()));
        if let Some(host) = text.strip_prefix("tcp:") {
            let host = host.strip_prefix("//").unwrap_or(host);
            return match host.rsplit_once(':').map(|(name, port)| (name, port.parse::<u16>())) {
                Some((name, Ok(_))) if !name.is_empty() => Ok(Self::Tcp(host.into())),
                _ => no("an address over TCP is tcp:HOST:PORT"),
            };
        }
        let path = match text.strip_prefix("unix:") {
            Some(rest) => rest.strip_prefix("//").unwrap_or(rest),
            None if text.starts_with('/') => text,
            None => return no("an address is unix:PATH or tcp:HOST:PORT"),
        };
        if path.is_empty() {
            return no("there is no path behind unix:");
        }
        let path: PathBuf = std::path::absolute(path).map_err(|error| NoAddress(error.to_string()))?;
        match path.into_os_string().into_string() {
            Ok(path) => Ok(Self::Unix(path)),
            Err(_) => no("the path is not UTF-8"),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{path}"),
            Self::Tcp(host) => write!(f, "tcp:{host}"),
        }
    }
}

/// Longest path in the address of a socket: `sun_path` without its NUL (unix(7)).
const SUN_PATH: usize = 107;

/// A path of the socket that fits into a socket address: for a longer one,
/// through an open descriptor of its directory, which has to live on.
pub(super) fn reachable(path: &str) -> io::Result<(String, Option<Arc<File>>)> {
    match path.rsplit_once('/') {
        Some((dir, name)) if path.len() > SUN_PATH && dir.len() > 1 => {
            let dir = File::open(dir)?;
            Ok((format!("/proc/self/fd/{}/{name}", dir.as_raw_fd()), Some(Arc::new(dir))))
        }
        _ => Ok((path.into(), None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for text in ["unix:/run/a.sock", "unix:///run/a.sock", "/run/a.sock"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), "unix:/run/a.sock", "{text}");
        }
        let relative = "unix:a.sock".parse::<Address>().unwrap();
        let expected = std::env::current_dir().unwrap().join("a.sock");
        assert_eq!(relative, Address::Unix(expected.to_str().unwrap().into()));
        assert_eq!("tcp://h.example:7".parse::<Address>().unwrap().to_string(), "tcp:h.example:7");
        for text in ["", "unix:", "unix://", "tcp:1.2.3.4", "tcp::5", "tcp:h:x", "http://a", "a.sock"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
