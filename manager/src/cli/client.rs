//! The connection to the daemon: its address, and the services behind it.
//! What is asked of them is in [`super::commands`].

use super::error::Error;
use sextant_proto::v1::containers_client::ContainersClient;
use sextant_proto::v1::execs_client::ExecsClient;
use sextant_proto::v1::sandboxes_client::SandboxesClient;
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
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

/// Connecting to a socket of this host takes no time, unless its daemon is stuck.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Largest answer; a list of ten thousand containers fits in it.
const MAX_ANSWER: usize = 64 << 20;

/// Where a daemon listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// The absolute path of its socket.
    Unix(String),
    /// HOST:PORT, behind TLS in both directions.
    Tcp(String),
}

/// What shows who is who over TCP; each file is PEM.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Credentials {
    /// Who signs the certificate of sextantd, as PEM; for tcp: addresses
    #[arg(long, global = true, env = "SEXTANT_TLS_CA", value_name = "FILE", help_heading = "TLS")]
    pub tls_ca: Option<PathBuf>,
    /// The certificate of this client, as PEM
    #[arg(long, global = true, env = "SEXTANT_TLS_CERT", value_name = "FILE", help_heading = "TLS")]
    pub tls_cert: Option<PathBuf>,
    /// Its private key, as PEM
    #[arg(long, global = true, env = "SEXTANT_TLS_KEY", value_name = "FILE", help_heading = "TLS")]
    pub tls_key: Option<PathBuf>,
}

impl Credentials {
    /// What tonic wants to know.
    fn config(&self) -> io::Result<ClientTlsConfig> {
        let read = |flag: &str, file: &Option<PathBuf>| {
            let missing = || {
                let because =
                    format!("a tcp: address takes --tls-ca, --tls-cert and --tls-key; {flag} is missing");
                io::Error::new(io::ErrorKind::InvalidInput, because)
            };
            let file = file.as_ref().ok_or_else(missing)?;
            std::fs::read(file).map_err(|e| io::Error::other(format!("{flag} {}: {e}", file.display())))
        };
        let authority = Certificate::from_pem(read("--tls-ca", &self.tls_ca)?);
        let identity =
            Identity::from_pem(read("--tls-cert", &self.tls_cert)?, read("--tls-key", &self.tls_key)?);
        Ok(ClientTlsConfig::new().ca_certificate(authority).identity(identity))
    }
}

impl FromStr for Address {
    type Err = String;

    /// `unix:PATH` or `unix://PATH`, where PATH is absolute or counts from the
    /// working directory, as in gRPC's naming of addresses; a bare absolute
    /// path means the same. Or `tcp:HOST:PORT`.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(host) = text.strip_prefix("tcp:") {
            let host = host.strip_prefix("//").unwrap_or(host);
            return match host.rsplit_once(':').map(|(name, port)| (name, port.parse::<u16>())) {
                Some((name, Ok(_))) if !name.is_empty() => Ok(Self::Tcp(host.into())),
                _ => Err("an address over TCP is tcp:HOST:PORT".into()),
            };
        }
        let path = match text.strip_prefix("unix:") {
            Some(rest) => rest.strip_prefix("//").unwrap_or(rest),
            None if text.starts_with('/') => text,
            None => return Err("an address is unix:PATH or tcp:HOST:PORT".into()),
        };
        if path.is_empty() {
            return Err("there is no path behind unix:".into());
        }
        let path: PathBuf = std::path::absolute(path).map_err(|error| error.to_string())?;
        path.into_os_string().into_string().map(Self::Unix).map_err(|_| "the path is not UTF-8".into())
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
fn reachable(path: &str) -> io::Result<(String, Option<Arc<File>>)> {
    match path.rsplit_once('/') {
        Some((dir, name)) if path.len() > SUN_PATH && dir.len() > 1 => {
            let dir = File::open(dir)?;
            Ok((format!("/proc/self/fd/{}/{name}", dir.as_raw_fd()), Some(Arc::new(dir))))
        }
        _ => Ok((path.into(), None)),
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
    /// `sextant.v1.Sandboxes`.
    pub sandboxes: SandboxesClient<Channel>,
    /// `sextant.v1.Stdio`.
    pub stdio: StdioClient<Channel>,
    /// `sextant.v1.System`.
    pub system: SystemClient<Channel>,
    /// See [`reachable`].
    _dir: Option<Arc<File>>,
}

/// Connects to the daemon at `address`.
///
/// # Errors
/// When nobody listens there, or we may not speak to them.
pub async fn connect(address: &Address, credentials: &Credentials) -> Result<Client, Error> {
    let failed = |source| Error::connect(address.clone(), source);
    let (endpoint, dir) = endpoint(address, credentials).map_err(failed)?;
    let endpoint = endpoint.connect_timeout(CONNECT_TIMEOUT);
    let channel = endpoint.connect().await.map_err(|error| failed(io_cause(error)))?;
    Ok(Client {
        containers: ContainersClient::new(channel.clone()).max_decoding_message_size(MAX_ANSWER),
        execs: ExecsClient::new(channel.clone()).max_decoding_message_size(MAX_ANSWER),
        sandboxes: SandboxesClient::new(channel.clone()).max_decoding_message_size(MAX_ANSWER),
        stdio: StdioClient::new(channel.clone()),
        system: SystemClient::new(channel).max_decoding_message_size(MAX_ANSWER),
        _dir: dir,
    })
}

fn endpoint(address: &Address, credentials: &Credentials) -> io::Result<(Endpoint, Option<Arc<File>>)> {
    match address {
        Address::Unix(path) => {
            let (path, dir) = reachable(path)?;
            Ok((Endpoint::from_shared(format!("unix:{path}")).map_err(io::Error::other)?, dir))
        }
        Address::Tcp(host) => {
            let endpoint = Endpoint::from_shared(format!("https://{host}")).map_err(io::Error::other)?;
            Ok((endpoint.tls_config(credentials.config()?).map_err(io::Error::other)?, None))
        }
    }
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
    // tonic's own words say only that it failed.
    let mut words = Vec::new();
    let mut next: Option<&dyn std::error::Error> = Some(&error);
    while let Some(cause) = next {
        words.push(cause.to_string());
        next = cause.source();
    }
    words.dedup();
    io::Error::other(words.join(": "))
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
        assert!(connect(&address, &Credentials::default()).await.is_ok());
    }

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
