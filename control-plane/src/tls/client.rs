//! The client's end of TLS: whom it trusts, and what it shows.

use std::path::PathBuf;
use std::sync::Arc;

use hyper_rustls::ConfigBuilderExt as _;
use rustls::crypto::ring;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};

use super::{TlsError, pair, roots};

/// The files, in PEM.
#[derive(Clone, Debug, Default)]
pub struct ClientFiles {
    /// Certificates of those who issue the servers'. None: those that this host trusts.
    pub ca: Option<PathBuf>,
    /// Our certificate, with those between it and a root, and its private key. None: we show none.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl ClientFiles {
    /// Reads the files. It may wait for the disk.
    pub fn read(&self) -> Result<ClientConfig, TlsError> {
        let config = match &self.ca {
            Some(ca) => builder().with_root_certificates(roots(ca)?),
            None => builder().with_native_roots().map_err(TlsError::Host)?,
        };
        let Some((cert, key)) = &self.identity else { return Ok(config.with_no_client_auth()) };
        let (chain, secret) = pair(cert, key)?;
        let config = config.with_client_auth_cert(chain, secret);
        config.map_err(|why| TlsError::Pair { cert: cert.clone(), key: key.clone(), why })
    }
}

/// No server passes.
pub fn trusting_nobody() -> ClientConfig {
    builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth()
}

fn builder() -> ConfigBuilder<ClientConfig, WantsVerifier> {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring knows TLS 1.2 and 1.3")
}
