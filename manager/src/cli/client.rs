//! The connection to the daemon: its address, and the services behind it.
//! What is asked of them is in [`super::commands`].

use super::error::Error;
use sextant_proto::v1::containers_client::ContainersClient;
use sextant_proto::v1::execs_client::ExecsClient;
use sextant_proto::v1::stdio_client::StdioClient;
use sextant_proto::v1::system_client::SystemClient;
use std::error::Error as _;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};

/// Connecting to a socket of this host takes no time, unless its daemon is stuck.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Largest answer; a list of ten thousand containers fits in it.
const MAX_ANSWER: usize = 64 << 20;

/// Where a daemon listens: the absolute path of its socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(String);

impl FromStr for Address {
    type Err = String;

    /// `unix:PATH` or `unix://PATH`, where PATH is absolute or counts from the
    /// working directory, as in gRPC's naming of addresses; a bare absolute
    /// path means the same.
    fn from_str(text: &str) -> Result<Self, String> {
        let path = match text.strip_prefix("unix:") {
            Some(rest) => rest.strip_prefix("//").unwrap_or(rest),
            None if text.starts_with('/') => text,
            None => return Err("an address is unix:PATH; only sockets of this host are spoken to".into()),
        };
        if path.is_empty() {
            return Err("there is no path behind unix:".into());
        }
        let path: PathBuf = std::path::absolute(path).map_err(|error| error.to_string())?;
        path.into_os_string().into_string().map(Self).map_err(|_| "the path is not UTF-8".into())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unix:{}", self.0)
    }
}

/// Longest path in the address of a socket: `sun_path` without its NUL (unix(7)).
const SUN_PATH: usize = 107;

impl Address {
    /// A path of the socket that fits into a socket address: for a longer one,
    /// through an open descriptor of its directory, which has to live on.
    fn reachable(&self) -> io::Result<(String, Option<Arc<File>>)> {
        match self.0.rsplit_once('/') {
            Some((dir, name)) if self.0.len() > SUN_PATH && dir.len() > 1 => {
                let dir = File::open(dir)?;
                Ok((format!("/proc/self/fd/{}/{name}", dir.as_raw_fd()), Some(Arc::new(dir))))
            }
            _ => Ok((self.0.clone(), None)),
        }
    }
}

/// The services of a daemon. Clones share the connection, which is made anew
/// by itself when the daemon was restarted.
#[derive(Clone, Debug)]
pub struct Client {
    /// `sextant.v1.Containers`.
    pub containers: ContainersClient<Channel>,
    /// `sextant.v1.Execs`.
    pub execs: ExecsClient<Channel>,
    /// `sextant.v1.Stdio`.
    pub stdio: StdioClient<Channel>,
    /// `sextant.v1.System`.
    pub system: SystemClient<Channel>,
    /// See [`Address::reachable`].
    _dir: Option<Arc<File>>,
}

/// Connects to the daemon at `address`.
///
/// # Errors
/// When nobody listens there, or we may not speak to them.
pub async fn connect(address: &Address) -> Result<Client, Error> {
    let failed = |source| Error::connect(address.clone(), source);
    let (path, dir) = address.reachable().map_err(failed)?;
    let endpoint = Endpoint::from_shared(format!("unix:{path}"))
        .map_err(|error| failed(io::Error::other(error)))?
        .connect_timeout(CONNECT_TIMEOUT);
    let channel = endpoint.connect().await.map_err(|error| failed(io_cause(error)))?;
    Ok(Client {
        containers: ContainersClient::new(channel.clone()).max_decoding_message_size(MAX_ANSWER),
        execs: ExecsClient::new(channel.clone()).max_decoding_message_size(MAX_ANSWER),
        stdio: StdioClient::new(channel.clone()),
        system: SystemClient::new(channel).max_decoding_message_size(MAX_ANSWER),
        _dir: dir,
    })
}

/// The I/O error at the bottom of a transport error, which alone says why.
fn io_cause(error: tonic::transport::Error) -> io::Error {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(errno) = cause.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return io::Error::from_raw_os_error(errno);
        }
        source = cause.source();
    }
    io::Error::other(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn a_long_path_is_reached() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("d".repeat(120));
        std::fs::create_dir(&deep).unwrap();
        let open = File::open(&deep).unwrap();
        let short = format!("/proc/self/fd/{}/s", open.as_raw_fd());
        let _listener = tokio::net::UnixListener::bind(short).unwrap();
        let address: Address = format!("unix:{}/s", deep.display()).parse().unwrap();
        assert!(connect(&address).await.is_ok());
    }

    #[test]
    fn addresses() {
        for text in ["unix:/run/a.sock", "unix:///run/a.sock", "/run/a.sock"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), "unix:/run/a.sock", "{text}");
        }
        let relative = "unix:a.sock".parse::<Address>().unwrap();
        assert_eq!(relative.0, std::env::current_dir().unwrap().join("a.sock").to_str().unwrap());
        for text in ["", "unix:", "unix://", "tcp:1.2.3.4:5", "http://a", "a.sock"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
