//! SIGHUP: reads the configuration again, and the users and certificates that it names.

use sonde_control_plane::access::Access;
use sonde_control_plane::live::Live;
use sonde_control_plane::settings::LiveSettings;
use sonde_control_plane::tls::{self, Tls};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::spawn_blocking;

use crate::cli::Run;
use crate::config::{Config, Loaded, Renewal};
use crate::log::Levels;
use crate::settings::settings;

/// What goes by the configuration, and changes with it.
#[derive(Clone, Debug)]
pub(crate) struct Reload {
    /// Where it is read from.
    pub(crate) options: Run,
    /// The one that holds.
    pub(crate) config: Live<Config>,
    /// Name of this host.
    pub(crate) host: String,
    pub(crate) levels: Levels,
    pub(crate) settings: LiveSettings,
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
            match spawn_blocking(move || reload.all()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    let error = format!("{error:#}");
                    tracing::error!(error, "SIGHUP: all stays as it was");
                }
                Err(error) => tracing::error!(%error, "SIGHUP"),
            }
        }
    }

    /// Reads and checks all of it before any of it holds.
    fn all(&self) -> anyhow::Result<()> {
        let Loaded { config, warnings } = self.options.load()?;
        let Renewal { config, changed, stuck } = self.config.get().renewed(config)?;
        let filter = config.log.filter()?;
        let settings = settings(&config, &self.host)?;
        let access = config.access().access(&self.host)?;
        let access = self.access.renewal(access)?;
        let certificates = config.tls.files()?.map(tls::Renewal::read).transpose()?;

        self.levels.set(filter)?;
        self.settings.set(settings);
        self.access.renew(access);
        if let Some((tls, certificates)) = self.tls.as_ref().zip(certificates) {
            tls.renew(certificates);
        }
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        config.warn_of_dangers();
        if !stuck.is_empty() {
            let keys = stuck.join(", ");
            tracing::warn!(keys, "SIGHUP: these keys change with a restart only");
        }
        tracing::info!(changed = changed.join(", "), "SIGHUP: the configuration was read again");
        self.config.set(config);
        Ok(())
    }
}
