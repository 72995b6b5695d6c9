//! The connection to the daemon. What is asked of it is in [`super::commands`];
//! the client itself is everybody's, [`sextant_proto::client`].

use super::error::Error;
pub use sextant_proto::client::{Address, Client};
use std::io;
use std::path::PathBuf;

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
    /// What is in the files.
    fn read(&self) -> io::Result<sextant_proto::client::Credentials> {
        let read = |flag: &str, file: &Option<PathBuf>| {
            let missing = || {
                let because =
                    format!("a tcp: address takes --tls-ca, --tls-cert and --tls-key; {flag} is missing");
                io::Error::new(io::ErrorKind::InvalidInput, because)
            };
            let file = file.as_ref().ok_or_else(missing)?;
            std::fs::read(file).map_err(|e| io::Error::other(format!("{flag} {}: {e}", file.display())))
        };
        Ok(sextant_proto::client::Credentials {
            authority: read("--tls-ca", &self.tls_ca)?,
            certificate: read("--tls-cert", &self.tls_cert)?,
            key: read("--tls-key", &self.tls_key)?,
        })
    }
}

/// Connects to the daemon at `address`.
///
/// # Errors
/// When nobody listens there, or we may not speak to them.
pub async fn connect(address: &Address, credentials: &Credentials) -> Result<Client, Error> {
    let connected = match address {
        Address::Unix(_) => Client::connect(address).await,
        Address::Tcp(_) => {
            let credentials = credentials.read().map_err(|e| Error::connect(address.clone(), e))?;
            Client::connect_with(address, &credentials).await
        }
    };
    connected.map_err(Error::client("reach sextantd"))
}
