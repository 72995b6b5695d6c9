//! TCP: who is who is shown by certificates, in both directions.

use super::{Address, Client, Error};
use std::fmt;
use std::io;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

/// What shows who is who; each is PEM.
#[derive(Clone)]
pub struct Credentials {
    /// Who signs the certificate of sextantd.
    pub authority: Vec<u8>,
    /// The certificate of this client, with its chain.
    pub certificate: Vec<u8>,
    /// Its private key.
    pub key: Vec<u8>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The key is nobody's to read.
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

impl Client {
    /// Connects to the daemon at `address`, which may be one over TCP.
    ///
    /// # Errors
    /// [`Error::Connect`] as [`Client::connect`]; also when the credentials are none, or the daemon does
    /// not take them.
    pub async fn connect_with(address: &Address, credentials: &Credentials) -> Result<Self, Error> {
        let Address::Tcp(host) = address else { return Self::connect(address).await };
        let failed = |source| Error::Connect { address: address.clone(), source: io::Error::other(source) };
        let identity = Identity::from_pem(&credentials.certificate, &credentials.key);
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&credentials.authority))
            .identity(identity);
        let endpoint = Endpoint::from_shared(format!("https://{host}")).map_err(failed)?;
        Self::over(address, endpoint.tls_config(tls).map_err(failed)?, None).await
    }
}
