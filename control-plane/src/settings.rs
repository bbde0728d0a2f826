//! What may change while the control plane runs, beside who may ([`crate::access`]) and the
//! certificates ([`crate::tls`]).

use sonde_proto::flow::ApplicationPorts;

use crate::configuration::Configuration;
use crate::connections::ConnectionLimits;
use crate::gremlin;
use crate::live::Live;
use crate::script;
use crate::upload;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What clients may read of the configuration.
    pub configuration: Configuration,
    /// Applications that are known by their port.
    pub application_ports: ApplicationPorts,
    /// What a query may cost.
    pub query: gremlin::Limits,
    /// Bytes of an uploaded capture file at most.
    pub upload: u64,
    /// What clients may take.
    pub connections: ConnectionLimits,
    /// What scripts may take.
    pub scripts: script::Limits,
    /// Whether alerts may run programs.
    pub alert_scripts: bool,
}

/// The same where it is used. Clones are the same.
#[derive(Clone, Debug)]
pub struct LiveSettings {
    pub(crate) configuration: Live<Configuration>,
    pub(crate) application_ports: Live<ApplicationPorts>,
    pub(crate) query: Live<gremlin::Limits>,
    pub(crate) upload: Live<u64>,
    /// For [`crate::server::Entrance`].
    pub connections: Live<ConnectionLimits>,
    pub(crate) scripts: Live<script::Limits>,
    pub(crate) alert_scripts: Live<bool>,
}

impl LiveSettings {
    /// Others hold from now on.
    pub fn set(&self, settings: Settings) {
        let Settings {
            configuration,
            application_ports,
            query,
            upload,
            connections,
            scripts,
            alert_scripts,
        } = settings;
        self.configuration.set(configuration);
        self.application_ports.set(application_ports);
        self.query.set(query);
        self.upload.set(upload);
        self.connections.set(connections);
        self.scripts.set(scripts);
        self.alert_scripts.set(alert_scripts);
    }
}

impl From<Settings> for LiveSettings {
    fn from(settings: Settings) -> Self {
        Self {
            configuration: settings.configuration.into(),
            application_ports: settings.application_ports.into(),
            query: settings.query.into(),
            upload: settings.upload.into(),
            connections: settings.connections.into(),
            scripts: settings.scripts.into(),
            alert_scripts: settings.alert_scripts.into(),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            configuration: Configuration::default(),
            application_ports: ApplicationPorts::default(),
            query: gremlin::Limits::default(),
            upload: upload::LIMIT,
            connections: ConnectionLimits::default(),
            scripts: script::Limits::default(),
            alert_scripts: false,
        }
    }
}
