//! A client of sextantd: the generated services on one connection, errors with
//! their details, and what takes more than one call.
//!
//! ```no_run
//! use sextant_proto::client::{Client, Error};
//! use sextant_proto::v1::{CreateRequest, RootfsSource, create_request::Source};
//!
//! # async fn hello() -> Result<(), Error> {
//! let client = Client::connect(&"unix:/run/sextant/sextantd.sock".parse()?).await?;
//! let source = RootfsSource {
//!     rootfs: "/srv/rootfs".into(),
//!     command: vec!["/bin/echo".into(), "hello".into()],
//!     ..Default::default()
//! };
//! let request = CreateRequest { source: Some(Source::Rootfs(source)), ..Default::default() };
//! let container = client.run(request).await?;
//! let mut log = container.follow();
//! while let Some(entry) = log.next().await? {
//!     print!("{}", String::from_utf8_lossy(&entry.data));
//! }
//! println!("{:?}", container.wait().await?);
//! container.delete().await
//! # }
//! ```
//!
//! A call that is made through a service ([`Client::containers`] …) answers with
//! tonic's `Status`; [`Error::from`] reads it, and so does `?`.

mod address;
mod attach;
mod error;
mod follow;
mod handle;
#[cfg(feature = "tls")]
mod tls;

pub use address::Address;
pub use attach::{Collected, Heard, Input, Output};
pub use error::{Error, Mistake, Reason, Refusal};
pub use follow::{Follow, Patience};
pub use handle::{Handle, Process};
#[cfg(feature = "tls")]
pub use tls::Credentials;

use crate::v1::containers_client::ContainersClient;
use crate::v1::execs_client::ExecsClient;
use crate::v1::operations_client::OperationsClient;
use crate::v1::sandboxes_client::SandboxesClient;
use crate::v1::stdio_client::StdioClient;
use crate::v1::system_client::SystemClient;
use address::reachable;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};

/// Connecting to a socket of this host takes no time, unless its daemon is stuck.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Largest answer; a list of ten thousand containers fits in it.
const MAX_ANSWER: usize = 64 << 20;

/// The services of a daemon. Clones share the connection, which is made anew
/// by itself when the daemon was restarted.
#[derive(Clone, Debug)]
pub struct Client {
    /// `sextant.v1.Containers`.
    pub containers: ContainersClient<Channel>,
    /// `sextant.v1.Execs`.
    pub execs: ExecsClient<Channel>,
    /// `sextant.v1.Sandboxes`.
    pub sandboxes: SandboxesClient<Channel>,
    /// `sextant.v1.Stdio`.
    pub stdio: StdioClient<Channel>,
    /// `sextant.v1.Operations`.
    pub operations: OperationsClient<Channel>,
    /// `sextant.v1.System`.
    pub system: SystemClient<Channel>,
    /// Keeps the path of the socket valid; see [`reachable`].
    _dir: Option<Arc<File>>,
}

impl Client {
    /// Connects to the daemon at a `unix:` address.
    ///
    /// # Errors
    /// [`Error::Connect`] when nobody listens there, we may not speak to them, or the address is one
    /// over TCP, which takes `Credentials` (feature `tls`).
    pub async fn connect(address: &Address) -> Result<Self, Error> {
        let failed = |source| Error::Connect { address: address.clone(), source };
        match address {
            Address::Unix(path) => {
                let (path, dir) = reachable(path).map_err(failed)?;
                let endpoint = Endpoint::from_shared(format!("unix:{path}"));
                Self::over(address, endpoint.map_err(io::Error::other).map_err(failed)?, dir).await
            }
            Address::Tcp(_) => {
                let because = "sextantd serves TCP behind TLS only: connect with credentials";
                Err(failed(io::Error::new(io::ErrorKind::InvalidInput, because)))
            }
        }
    }

    async fn over(address: &Address, endpoint: Endpoint, dir: Option<Arc<File>>) -> Result<Self, Error> {
        let channel = endpoint.connect_timeout(CONNECT_TIMEOUT).connect().await;
        let channel = channel
            .map_err(|error| Error::Connect { address: address.clone(), source: error::io_cause(&error) })?;
        Ok(Self {
            containers: ContainersClient::new(channel.clone()).max_decoding_message_size(MAX_ANSWER),
            execs: ExecsClient::new(channel.clone()).max_decoding_message_size(MAX_ANSWER),
            sandboxes: SandboxesClient::new(channel.clone()).max_decoding_message_size(MAX_ANSWER),
            stdio: StdioClient::new(channel.clone()),
            operations: OperationsClient::new(channel.clone()).max_decoding_message_size(MAX_ANSWER),
            system: SystemClient::new(channel).max_decoding_message_size(MAX_ANSWER),
            _dir: dir,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    #[tokio::test(flavor = "current_thread")]
    async fn a_long_path_is_reached() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("d".repeat(120));
        std::fs::create_dir(&deep).unwrap();
        let open = File::open(&deep).unwrap();
        let short = format!("/proc/self/fd/{}/s", open.as_raw_fd());
        let _listener = tokio::net::UnixListener::bind(short).unwrap();
        let address: Address = format!("unix:{}/s", deep.display()).parse().unwrap();
        assert!(Client::connect(&address).await.is_ok());
    }

    #[tokio::test(flavor = "current_thread")]
    async fn who_is_not_there_is_said_with_the_errno() {
        let address: Address = "unix:/nonexistent/sextantd.sock".parse().unwrap();
        match Client::connect(&address).await {
            Err(Error::Connect { address: of, source }) => {
                assert_eq!((of, source.kind()), (address, io::ErrorKind::NotFound));
            }
            other => panic!("{other:?}"),
        }
    }
}
