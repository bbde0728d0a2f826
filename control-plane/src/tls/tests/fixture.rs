//! Certificates for tests, and clients that trust them.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::authority::Authority;
use crate::tls::*;

/// A certificate authority, and the files of a server that it issued a certificate for.
pub(crate) struct TlsFixture {
    authority: Authority,
    directory: tempfile::TempDir,
    pub(crate) files: TlsFiles,
}

/// What a client shows.
pub(super) struct Identity(CertificateDer<'static>, PrivateKeyDer<'static>);

impl TlsFixture {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("ca.pem"), authority.pem()).unwrap();
        let files = TlsFiles { cert: path("cert.pem"), key: path("key.pem"), clients: None };
        let fixture = Self { authority, directory, files };
        fixture.renew();
        fixture
    }

    /// Writes another certificate; gives its bytes.
    pub(super) fn renew(&self) -> Vec<u8> {
        let (cert, key) = self.authority.server();
        std::fs::write(&self.files.cert, cert.pem()).unwrap();
        std::fs::write(&self.files.key, key.serialize_pem()).unwrap();
        cert.der().to_vec()
    }

    /// Clients that this authority issued a certificate for are known.
    pub(super) fn knows_clients(mut self, required: bool) -> Self {
        self.files.clients = Some(Clients { ca: self.path().join("ca.pem"), required });
        self
    }

    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A client's certificate.
    pub(super) fn client(&self) -> Identity {
        let (cert, key) = self.authority.client();
        Identity(cert.der().clone(), key.into())
    }

    /// Shakes hands as a client that trusts the authority.
    pub(super) async fn connect(
        &self,
        stream: TcpStream,
        version: &'static SupportedProtocolVersion,
        identity: Option<Identity>,
    ) -> io::Result<TlsStream<TcpStream>> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots(&self.path().join("ca.pem")).unwrap());
        let config = match identity {
            Some(Identity(cert, key)) => config.with_client_auth_cert(vec![cert], key).unwrap(),
            None => config.with_no_client_auth(),
        };
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }
}
