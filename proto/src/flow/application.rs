//! Applications that are known by their port (Skydive `flow.application_ports`).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Flow;
use crate::record::{FlowRecord, Transport, TransportEnds};

/// Names of applications by TCP and UDP port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApplicationPorts {
    tcp: BTreeMap<u16, Arc<str>>,
    udp: BTreeMap<u16, Arc<str>>,
}

impl ApplicationPorts {
    /// Names by port, which become upper case.
    pub fn new(
        tcp: impl IntoIterator<Item = (u16, String)>,
        udp: impl IntoIterator<Item = (u16, String)>,
    ) -> Self {
        let upper = |(port, name): (u16, String)| (port, name.to_uppercase().into());
        Self {
            tcp: tcp.into_iter().map(upper).collect(),
            udp: udp.into_iter().map(upper).collect(),
        }
    }

    /// The flow of a record, named by its source port if that is known, else by its destination
    /// port, else as [`Flow::from`] does.
    pub fn flow(&self, record: &FlowRecord) -> Flow {
        let mut flow = Flow::from(record);
        if let Some(name) = record.transport.as_ref().and_then(|ends| self.name(ends)) {
            name.clone_into(&mut flow.application);
        }
        flow
    }

    fn name(&self, ends: &TransportEnds) -> Option<&str> {
        self.application(ends).map(AsRef::as_ref)
    }

    /// The name by one of the ports: the source port first.
    pub fn application(&self, ends: &TransportEnds) -> Option<&Arc<str>> {
        let names = match ends.protocol {
            Transport::Tcp => &self.tcp,
            Transport::Udp => &self.udp,
            Transport::Sctp => return None,
        };
        names.get(&ends.a).or_else(|| names.get(&ends.b))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_port_names_first() {
        let ports = ApplicationPorts::new(
            [(80, "web".to_owned()), (443, "tls".to_owned())],
            [(80, "quake".to_owned())],
        );
        let name = |protocol, a, b| ports.name(&TransportEnds { protocol, a, b });
        assert_eq!(name(Transport::Tcp, 443, 80), Some("TLS"));
        assert_eq!(name(Transport::Tcp, 1000, 80), Some("WEB"));
        assert_eq!(name(Transport::Udp, 1000, 80), Some("QUAKE"));
        assert_eq!(name(Transport::Udp, 1000, 443), None);
        assert_eq!(name(Transport::Sctp, 80, 80), None);
    }
}
