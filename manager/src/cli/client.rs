//! The connection to the daemon: its address, and the two services behind it.
//! What is asked of them is in [`super::commands`].

use super::error::Error;
use sextant_proto::v1::containers_client::ContainersClient;
use sextant_proto::v1::system_client::SystemClient;
use std::error::Error as _;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;
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

/// Both services of a daemon. Clones share the connection, which is made anew
/// by itself when the daemon was restarted.
#[derive(Clone, Debug)]
pub struct Client {
    /// `sextant.v1.Containers`.
    pub containers: ContainersClient<Channel>,
    /// `sextant.v1.System`.
    pub system: SystemClient<Channel>,
}

/// Connects to the daemon at `address`.
///
/// # Errors
/// When nobody listens there, or we may not speak to them.
pub async fn connect(address: &Address) -> Result<Client, Error> {
    let failed = |source| Error::connect(address.clone(), source);
    let endpoint = Endpoint::from_shared(address.to_string())
        .map_err(|error| failed(io::Error::other(error)))?
        .connect_timeout(CONNECT_TIMEOUT);
    let channel = endpoint.connect().await.map_err(|error| failed(io_cause(error)))?;
    Ok(Client {
        containers: ContainersClient::new(channel.clone()).max_decoding_message_size(MAX_ANSWER),
        system: SystemClient::new(channel).max_decoding_message_size(MAX_ANSWER),
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
