//! TLS 1.2 and 1.3 for the server (Skydive API §1): certificates that may change while it runs,
//! and clients that may have to show one. And for those clients.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use crate::files::{self, Stamp};
use crate::live::Live;

mod client;

pub use client::{ClientFiles, trusting_nobody};

/// The files, in PEM.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// Our certificate, and those between it and a root.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Whom clients' certificates may come from. None: they need no certificate.
    pub clients: Option<Clients>,
}

/// How clients are known.
#[derive(Clone, Debug)]
pub struct Clients {
    /// Certificates of those who issue theirs.
    pub ca: PathBuf,
    /// Whether a client without a certificate is refused.
    pub required: bool,
}

/// The server's end of TLS. Clones are the same.
#[derive(Clone, Debug)]
pub struct Tls(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    current: Live<Renewal>,
    /// Who replaces it has it, so that what was read first is not taken last.
    replacing: Mutex<()>,
}

/// Files that were read.
#[derive(Clone, Debug)]
pub struct Renewal {
    files: TlsFiles,
    config: Arc<ServerConfig>,
    stamp: Stamp,
}

/// Why there is no TLS with these files.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or holds something else.
    #[error("cannot take {what} from {}", .path.display())]
    File {
        /// What is expected in it.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        why: pem::Error,
    },
    /// The certificate and the key are no pair, or one is of a kind that is not known.
    #[error("the certificate in {} and the key in {}", .cert.display(), .key.display())]
    Pair {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong.
        #[source]
        why: rustls::Error,
    },
    /// A certificate that should issue others cannot.
    #[error("the certificates in {}", .0.display())]
    Ca(PathBuf, #[source] Box<dyn std::error::Error + Send + Sync>),
    /// This host's certificates of those who issue others cannot be found.
    #[error("cannot take the certificates that this host trusts")]
    Host(#[source] io::Error),
}

impl Tls {
    /// Reads the files.
    pub fn open(files: TlsFiles) -> Result<Self, TlsError> {
        let current = Renewal::read(files)?.into();
        Ok(Self(Arc::new(Shared { current, replacing: Mutex::default() })))
    }

    /// Has these files for the connections to come.
    pub fn renew(&self, renewal: Renewal) {
        let _alone = self.alone();
        self.put(renewal);
    }

    /// Reads the files again whenever they change.
    pub async fn follow(self) {
        files::follow(move || self.refresh()).await;
    }

    /// What makes a connection of a stream, with the certificate of now.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.0.current.get().config.clone().into()
    }

    /// When that fails, all stays as it is.
    fn refresh(&self) -> Result<(), TlsError> {
        let _alone = self.alone();
        let current = self.0.current.get();
        let stamp = current.files.stamp();
        if stamp == current.stamp {
            return Ok(());
        }
        let fresh = Renewal::read(current.files.clone()).inspect_err(|_| {
            // Once is enough to complain of it.
            self.0.current.set(Renewal { stamp, ..(*current).clone() });
        });
        self.put(fresh?);
        Ok(())
    }

    fn put(&self, renewal: Renewal) {
        tracing::info!("certificates read again");
        self.0.current.set(renewal);
    }

    fn alone(&self) -> MutexGuard<'_, ()> {
        self.0.replacing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Renewal {
    /// Reads the files. It may wait for the disk.
    pub fn read(files: TlsFiles) -> Result<Self, TlsError> {
        // First, so that what changes meanwhile is seen later.
        let stamp = files.stamp();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let wrong = |why| TlsError::Pair { cert: files.cert.clone(), key: files.key.clone(), why };
        let config = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(wrong)?;
        let config = match &files.clients {
            Some(clients) => config.with_client_cert_verifier(clients.verifier(provider)?),
            None => config.with_no_client_auth(),
        };
        let (chain, key) = pair(&files.cert, &files.key)?;
        let mut config = config.with_single_cert(chain, key).map_err(wrong)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { files, config: Arc::new(config), stamp })
    }
}

impl TlsFiles {
    fn stamp(&self) -> Stamp {
        let ca = self.clients.iter().map(|clients| &clients.ca);
        Stamp::of([&self.cert, &self.key].into_iter().chain(ca))
    }
}

impl Clients {
    fn verifier(
        &self,
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
        let roots = roots(&self.ca)?.into();
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
        let verifier = if self.required { verifier } else { verifier.allow_unauthenticated() };
        verifier.build().map_err(|why| TlsError::Ca(self.ca.clone(), why.into()))
    }
}

/// A certificate with those between it and a root, and its private key.
fn pair(
    cert: &Path,
    key: &Path,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let chain = certificates(cert)?;
    let secret = PrivateKeyDer::from_pem_file(key);
    Ok((chain, secret.map_err(|why| unreadable("a private key", key, why))?))
}

/// Those who issue certificates.
fn roots(ca: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca)? {
        roots.add(certificate).map_err(|why| TlsError::Ca(ca.to_owned(), why.into()))?;
    }
    Ok(roots)
}

/// All of a file; at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let read =
        read.and_then(|all| if all.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(all) });
    read.map_err(|why| unreadable("certificates", path, why))
}

fn unreadable(what: &'static str, path: &Path, why: pem::Error) -> TlsError {
    TlsError::File { what, path: path.to_owned(), why }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use tests::TlsFixture;
