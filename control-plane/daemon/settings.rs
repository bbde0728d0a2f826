//! The settings of the control plane, as the configuration has them.

use sonde_control_plane::settings::Settings;

use crate::config::{Config, published};

/// What may change. `host` is the name of this host.
pub(crate) fn settings(config: &Config, host: &str) -> anyhow::Result<Settings> {
    Ok(Settings {
        configuration: published(config, config.host_id(host))?,
        application_ports: config.flow.application_ports()?,
        query: config.query.limits(),
        upload: config.upload.max_bytes,
        connections: config.connections(),
        scripts: config.workflow.limits(),
        alert_scripts: config.alert.scripts,
    })
}
