//! SIGHUP: reads the users and the certificates again.

use std::error::Error;

use sonde_control_plane::access::Access;
use sonde_control_plane::tls::Tls;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::spawn_blocking;

/// What can be read again.
#[derive(Clone, Debug)]
pub(crate) struct Reload {
    pub(crate) access: Access,
    pub(crate) tls: Option<Tls>,
}

impl Reload {
    /// Does so for every SIGHUP from now on. Without this, the first one ends the process.
    pub(crate) fn on_hangup(self) -> std::io::Result<impl Future<Output = ()>> {
        let hangups = signal(SignalKind::hangup())?;
        Ok(self.run(hangups))
    }

    async fn run(self, mut hangups: Signal) {
        while hangups.recv().await.is_some() {
            let reload = self.clone();
            if let Err(error) = spawn_blocking(move || reload.all()).await {
                tracing::error!(%error, "reading files again failed");
            }
        }
    }

    fn all(&self) {
        let failed = |error: &(dyn Error + 'static)| tracing::error!(error, "SIGHUP");
        let _ = self.access.reload().inspect_err(|error| failed(error));
        let _ = self.tls.as_ref().map(|tls| tls.reload().inspect_err(|error| failed(error)));
    }
}
