//! TCP, with TLS in both directions: a client without a certificate that the
//! configured authority signed is refused before a byte of it is read.

use super::config::Tls;
use crate::engine::error::Error;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::io;
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// Reads the files of [`Tls`].
///
/// # Errors
/// [`Error::Io`] that names the file that cannot be used.
pub(super) fn acceptor(files: &Tls) -> Result<TlsAcceptor, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut authorities = RootCertStore::empty();
    for certificate in certificates(&files.client_ca)? {
        authorities.add(certificate).map_err(wrong(&files.client_ca))?;
    }
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), Arc::clone(&provider))
        .build()
        .map_err(wrong(&files.client_ca))?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(unreadable(&files.key))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(wrong(&files.cert))?
        .with_client_cert_verifier(clients)
        .with_single_cert(certificates(&files.cert)?, key)
        .map_err(wrong(&files.cert))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found: Vec<_> =
        CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(unreadable(path))?;
    match found.is_empty() {
        true => Err(wrong(path)("there is no certificate in it (PEM: -----BEGIN CERTIFICATE-----)")),
        false => Ok(found),
    }
}

fn unreadable(path: &Path) -> impl FnOnce(pem::Error) -> Error {
    move |error| match error {
        pem::Error::Io(error) => Error::io(format!("read {}", path.display()))(error),
        other => wrong(path)(other.to_string()),
    }
}

fn wrong<E: Into<Box<dyn std::error::Error + Send + Sync>>>(path: &Path) -> impl FnOnce(E) -> Error {
    move |error| Error::io(format!("use {} for TLS", path.display()))(io::Error::other(error))
}
