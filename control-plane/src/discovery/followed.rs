//! A link with all that is known of it, and the metadata that this makes (API §8.5).

use std::net::IpAddr;

use sonde_proto::graph::{Metadata, uuid_v5};

use super::address::Cidr;
use super::device::Device;
use super::element::{mac_text, put, renew};
use super::ethtool::Settings;
use super::kind;
use super::link::{self, Link};
use super::namespace::Gone;
use super::neighbour::Neighbour;
use super::route::{self, Route};
use super::table::Table;

/// A link with its elements in the graph.
#[derive(Default)]
pub(super) struct Followed {
    pub(super) link: Link,
    pub(super) device: Device,
    pub(super) settings: Settings,
    pub(super) neighbours: Table<Neighbour>,
    pub(super) fdb: Table<Neighbour>,
    pub(super) routes: Table<Route>,
    /// ID of its node; empty before it is written.
    pub(super) node: String,
    /// IDs of the edges that are up to this link: those to its owner, its master, the link under
    /// it, its veth peer, the physical function it is a part of, and the DPDK ports on it.
    pub(super) edges: Vec<String>,
}

/// What a namespace knows of a link beside the link itself.
pub(super) struct Around<'a> {
    /// TID of the node that owns it.
    pub(super) owner: &'a str,
    pub(super) addresses: &'a [Cidr],
    /// VLAN for untagged frames, of a bridge's port.
    pub(super) pvid: Option<u16>,
    /// Name of the network namespace that the link under it, or its peer, is in.
    pub(super) peer_netns: Option<&'a str>,
}

impl Followed {
    /// The metadata of its node, but for counters.
    pub(super) fn metadata(&self, around: &Around<'_>) -> Metadata {
        let link = &self.link;
        let mut metadata = link.metadata(&self.device, around.addresses, around.pvid);
        let tid = uuid_v5(&[around.owner, &link.name, link.kind_name()]);
        put(&mut metadata, "TID", Some(tid.to_string()));
        put(&mut metadata, "LinkNetNsName", around.peer_netns);
        put(&mut metadata, "Speed", self.settings.speed);
        put(&mut metadata, "Features", self.settings.features_json());
        put(&mut metadata, "Neighbors", self.neighbours.json(Neighbour::json));
        put(&mut metadata, "FDB", self.fdb.json(Neighbour::json));
        put(&mut metadata, "RoutingTables", route::tables(&self.routes, |ip| self.mac_of(ip)));
        put(&mut metadata, "Truncated", self.truncated());
        metadata
    }

    /// Writes that metadata over what a node holds; keys of others stay.
    pub(super) fn renew(held: &mut Metadata, fresh: &Metadata) {
        for keys in [KEYS, link::KEYS, kind::KEYS] {
            renew(held, keys, fresh);
        }
    }

    /// Whether the device behind another state of the link is the one that was found.
    pub(super) fn knows_device_of(&self, link: &Link) -> bool {
        let names = |link: &Link| (link.name.clone(), link.device.clone());
        self.device.bus_info.is_some() && names(&self.link) == names(link)
    }

    /// What is left of it when it is gone.
    pub(super) fn gone(self, index: u32) -> Gone {
        Gone { index, node: self.node, device: self.device }
    }

    fn mac_of(&self, ip: IpAddr) -> Option<String> {
        let neighbour = self.neighbours.listed.iter().find(|entry| entry.ip == Some(ip))?;
        mac_text(&neighbour.mac)
    }

    /// How many entries each table has beyond those listed.
    fn truncated(&self) -> Option<Metadata> {
        let mut truncated = Metadata::new();
        for (key, more) in [
            ("Neighbors", self.neighbours.more),
            ("FDB", self.fdb.more),
            ("RoutingTables", self.routes.more),
        ] {
            put(&mut truncated, key, (more != 0).then_some(more));
        }
        (!truncated.is_empty()).then_some(truncated)
    }
}

/// The keys that are written here, beside those of the link and its kind.
const KEYS: &[&str] = &[
    "FDB",
    "Features",
    "LinkNetNsName",
    "Neighbors",
    "RoutingTables",
    "Speed",
    "TID",
    "Truncated",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::device::VirtualFunction;
    use crate::discovery::table::{ByLink, LISTED};
    use rtnetlink::packet_route::neighbour::NeighbourMessage;
    use serde_json::json;

    fn entries(count: usize) -> Table<Neighbour> {
        let mut tables = ByLink::default();
        for _ in 0..count {
            tables.add(1, Neighbour::read(&NeighbourMessage::default()));
        }
        tables.take(1)
    }

    #[test]
    fn every_key_written_is_owned_and_vanishes() {
        let full = Followed {
            link: Link {
                index: 1,
                mtu: 1,
                mac: vec![1],
                master: 1,
                parent: 1,
                parent_netns: Some(0),
                vlan: Some(1),
                kind: Some("veth".into()),
                vfs: Some(json!([{"ID": 0}])),
                of_kind: kind::KEYS.iter().map(|key| (key.to_string(), json!({}))).collect(),
                ..Link::default()
            },
            device: Device {
                driver: Some("d".into()),
                bus_info: Some("b".into()),
                virtual_of: Some(VirtualFunction { id: 0, physical: "p".into() }),
            },
            settings: Settings { speed: Some(1), features: [("f".into(), true)].into() },
            neighbours: entries(LISTED + 3),
            fdb: entries(1),
            ..Followed::default()
        };
        let addresses =
            [Cidr::new("10.0.0.1".parse().unwrap(), 24), Cidr::new("::1".parse().unwrap(), 128)];
        let around = Around { owner: "", addresses: &addresses, pvid: None, peer_netns: Some("n") };
        let mut metadata = full.metadata(&around);
        assert_eq!(metadata["Truncated"], json!({"Neighbors": 3}));
        assert_eq!(metadata["Neighbors"].as_array().unwrap().len(), LISTED);
        metadata.insert("RoutingTables".into(), json!([]));
        let mut keys: Vec<&str> = metadata.keys().map(String::as_str).collect();
        keys.sort_unstable();
        let mut owned = [KEYS, link::KEYS, kind::KEYS].concat();
        owned.sort_unstable();
        assert_eq!(keys, owned);

        metadata.insert("Captures".into(), json!([]));
        Followed::renew(&mut metadata, &Metadata::new());
        assert_eq!(metadata.keys().collect::<Vec<_>>(), ["Captures"]);
    }
}
