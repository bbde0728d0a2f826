//! A link as the kernel describes it, and the metadata of its node (API §8.5).

use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::link::{
    AfSpecBridge, BridgeVlanInfoFlags, InfoData, InfoVlan, InfoVxlan, LinkAttribute, LinkFlags,
    LinkInfo, LinkLayerType, LinkMessage, State,
};
use serde_json::Value;
use sonde_proto::graph::Metadata;

use super::address::Cidr;
use super::device::Device;
use super::element::{mac_text, put};
use super::kind;
use super::metric::InterfaceMetric;

/// What a link message says. Indices are zero where there is none.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
    /// The kind of a virtual link; hardware has none.
    pub(super) kind: Option<String>,
    pub(super) layer: LinkLayerType,
    pub(super) flags: LinkFlags,
    pub(super) state: Option<State>,
    pub(super) mtu: u32,
    pub(super) mac: Vec<u8>,
    /// The bridge or bond it is a port of.
    pub(super) master: u32,
    /// The link under it; the other end of a veth.
    pub(super) parent: u32,
    /// The namespace of `parent`, if it is another one.
    pub(super) parent_netns: Option<i32>,
    pub(super) vlan: Option<u16>,
    /// Bus and name of the device behind it.
    pub(super) device: Option<(String, String)>,
    /// What the driver calls its port: `p0`, or `pf0vf3` for what represents a virtual function.
    pub(super) port_name: Option<String>,
    /// What only links of its kind have.
    pub(super) of_kind: Metadata,
    /// Its virtual functions. Changes tell nothing of them, only dumps do.
    pub(super) vfs: Option<Value>,
    pub(super) counters: InterfaceMetric,
}

/// The keys of a link's own; those of its kind are [`kind::KEYS`]. Counters are written apart.
pub(super) const KEYS: &[&str] = &[
    "BusInfo",
    "Driver",
    "EncapType",
    "IPV4",
    "IPV6",
    "IfIndex",
    "LinkFlags",
    "LinkNetNsID",
    "MAC",
    "MTU",
    "MasterIndex",
    "Name",
    "ParentIndex",
    "PeerIfIndex",
    "State",
    "Type",
    "VfID",
    "Vlan",
];

impl Link {
    /// Reads a message of all there is to say of a link. `None` for one that tells of a part only:
    /// of a bridge's port, or of a radio.
    pub(super) fn read(message: &LinkMessage) -> Option<Self> {
        if message.header.interface_family != AddressFamily::Unspec {
            return None;
        }
        let mut link = Self {
            index: message.header.index,
            layer: message.header.link_layer_type,
            flags: message.header.flags,
            ..Self::default()
        };
        let mut bus = None;
        let mut device = None;
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name.clone_from(name),
                LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
                LinkAttribute::Address(mac) => link.mac.clone_from(mac),
                LinkAttribute::Controller(index) => link.master = *index,
                LinkAttribute::Link(index) => link.parent = *index,
                LinkAttribute::LinkNetNsId(id) => link.parent_netns = Some(*id),
                LinkAttribute::OperState(state) => link.state = Some(*state),
                LinkAttribute::LinkInfo(infos) => link.read_infos(infos),
                LinkAttribute::ParentDevBusName(name) => bus = Some(name.clone()),
                LinkAttribute::ParentDevName(name) => device = Some(name.clone()),
                LinkAttribute::PhysPortName(name) => link.port_name = Some(name.clone()),
                LinkAttribute::Stats64(stats) => link.counters = stats.into(),
                LinkAttribute::VfInfoList(functions) if !functions.is_empty() => {
                    link.vfs = Some(kind::vfs(functions));
                }
                LinkAttribute::Wireless(_) => return None,
                _ => {}
            }
        }
        link.device = bus.zip(device);
        (link.index != 0 && !link.name.is_empty()).then_some(link)
    }

    /// Skydive's type of the link.
    pub(super) fn kind_name(&self) -> &str {
        match self.kind.as_deref() {
            None => "device",
            Some("openvswitch") => "internal",
            Some(kind) => kind,
        }
    }

    /// Whether frames of its ports pass through it: its layer2 edges lead to them.
    pub(super) fn switches(&self) -> bool {
        matches!(self.kind_name(), "bridge" | "bond" | "team")
    }

    /// The number of the virtual function whose other end it is, in the switch of a NIC.
    pub(super) fn represents(&self) -> Option<u32> {
        let function = self.beyond_physical()?.strip_prefix("vf")?;
        let regular = function.bytes().all(|byte| byte.is_ascii_digit());
        regular.then(|| function.parse().ok())?
    }

    /// Whether it is its device's own link, and not the other end of a function's or a host's port
    /// in the switch of the NIC: these have the same device.
    pub(super) fn is_own(&self) -> bool {
        self.beyond_physical().is_none()
    }

    /// What follows `pf<N>` in the name of its port, perhaps behind a `c<N>`. Such are the ports in
    /// the switch of a NIC that lead to functions: `pf0vf3`, `pf0sf88` (the kernel's switchdev.rst).
    fn beyond_physical(&self) -> Option<&str> {
        let name = self.port_name.as_deref()?;
        beyond_number(beyond_number(name, "c").unwrap_or(name), "pf")
    }

    /// Whether another state of a link has the same name and refers to the same links.
    pub(super) fn refers_as(&self, other: &Self) -> bool {
        let references = |link: &Self| (link.index, link.master, link.parent, link.parent_netns);
        let names = |link: &Self| (link.name.clone(), link.kind.clone(), link.port_name.clone());
        references(self) == references(other) && names(self) == names(other)
    }

    /// Its node's metadata, but for the TID, which is its owner's business. `pvid` is the VLAN a
    /// bridge puts untagged frames of this port in.
    pub(super) fn metadata(
        &self,
        device: &Device,
        addresses: &[Cidr],
        pvid: Option<u16>,
    ) -> Metadata {
        let mut metadata = Metadata::new();
        let mut put = |key: &str, value: Option<Value>| put(&mut metadata, key, value);
        put("Name", Some(self.name.as_str().into()));
        put("Type", Some(self.kind_name().into()));
        put("EncapType", Some(encapsulation(self.layer).into()));
        put("IfIndex", Some(self.index.into()));
        put("MTU", unless_zero(self.mtu));
        put("MAC", mac_text(&self.mac).map(Value::from));
        put("MasterIndex", unless_zero(self.master));
        put("ParentIndex", unless_zero(self.parent));
        if self.kind_name() == "veth" {
            put("PeerIfIndex", unless_zero(self.parent));
        }
        put("LinkNetNsID", self.parent_netns.map(Value::from));
        put("Vlan", self.vlan.or(pvid).map(Value::from));
        put("State", Some(state_name(self.state).into()));
        put("LinkFlags", Some(flag_names(self.flags).into()));
        let driver = device.driver.as_deref().or(self.kind.as_deref().map(driver_of));
        put("Driver", driver.map(Value::from));
        put("BusInfo", device.bus_info.as_deref().map(Value::from));
        put("VfID", device.virtual_of.as_ref().map(|function| function.id.into()));
        let (v4, v6): (Vec<_>, Vec<_>) = addresses.iter().partition(|cidr| cidr.is_ipv4());
        put("IPV4", cidr_texts(&v4));
        put("IPV6", cidr_texts(&v6));
        put("Vfs", self.vfs.clone());
        metadata.extend(self.of_kind.clone());
        metadata
    }

    fn read_infos(&mut self, infos: &[LinkInfo]) {
        self.of_kind = kind::metadata(infos);
        for info in infos {
            match info {
                LinkInfo::Kind(kind) => self.kind = Some(kind.to_string()),
                LinkInfo::Data(InfoData::Vlan(vlan)) => {
                    self.vlan = vlan.iter().find_map(|info| match info {
                        InfoVlan::Id(id) => Some(*id),
                        _ => None,
                    });
                }
                // These alone do not say it as all others do.
                LinkInfo::Data(InfoData::Vxlan(vxlan)) => {
                    let under = vxlan.iter().find_map(|info| match info {
                        InfoVxlan::Link(index) => Some(*index),
                        _ => None,
                    });
                    self.parent = under.unwrap_or(self.parent);
                }
                _ => {}
            }
        }
    }
}

/// Index of a bridge's port and its VLAN for untagged frames, of a message of the bridge family.
pub(super) fn read_pvid(message: &LinkMessage) -> Option<(u32, Option<u16>)> {
    if message.header.interface_family != AddressFamily::Bridge {
        return None;
    }
    let pvid = message.attributes.iter().find_map(|attribute| {
        let LinkAttribute::AfSpecBridge(specs) = attribute else {
            return None;
        };
        specs.iter().find_map(|spec| match spec {
            AfSpecBridge::VlanInfo(vlan) if vlan.flags.contains(BridgeVlanInfoFlags::Pvid) => {
                Some(vlan.vid)
            }
            _ => None,
        })
    });
    Some((message.header.index, pvid))
}

/// What follows the prefix and a number.
fn beyond_number<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let number = text.strip_prefix(prefix)?;
    let rest = number.trim_start_matches(|letter: char| letter.is_ascii_digit());
    (rest.len() < number.len()).then_some(rest)
}

/// The name of a link layer as libpcap-like tools and Skydive's captures know it.
fn encapsulation(layer: LinkLayerType) -> String {
    let name = match layer {
        LinkLayerType::Ether => "ether",
        LinkLayerType::Loopback => "loopback",
        LinkLayerType::None => "none",
        LinkLayerType::Tunnel => "ipip",
        LinkLayerType::Tunnel6 => "tunnel6",
        LinkLayerType::Sit => "sit",
        LinkLayerType::Ipgre => "gre",
        LinkLayerType::Ip6gre => "gre6",
        LinkLayerType::Infiniband => "infiniband",
        LinkLayerType::Ppp => "ppp",
        LinkLayerType::Netlink => "netlink",
        LinkLayerType::Ieee80211 => "ieee802.11",
        LinkLayerType::Ieee80211Radiotap => "ieee802.11/radiotap",
        other => return format!("unknown{}", other as u16),
    };
    name.to_owned()
}

/// The name that ethtool knows the driver of virtual links of a kind by.
fn driver_of(kind: &str) -> &str {
    match kind {
        "bond" => "bonding",
        "vlan" => "802.1Q VLAN Support",
        kind => kind,
    }
}

fn state_name(state: Option<State>) -> &'static str {
    match state {
        Some(State::Up) => "UP",
        Some(State::Down) => "DOWN",
        Some(State::NotPresent) => "NOT-PRESENT",
        Some(State::LowerLayerDown) => "LOWER-LAYER-DOWN",
        Some(State::Testing) => "TESTING",
        Some(State::Dormant) => "DORMANT",
        _ => "UNKNOWN",
    }
}

fn flag_names(flags: LinkFlags) -> Vec<&'static str> {
    [
        (LinkFlags::Up, "UP"),
        (LinkFlags::Broadcast, "BROADCAST"),
        (LinkFlags::Loopback, "LOOPBACK"),
        (LinkFlags::Pointopoint, "POINTTOPOINT"),
        (LinkFlags::Multicast, "MULTICAST"),
    ]
    .into_iter()
    .filter(|(flag, _)| flags.contains(*flag))
    .map(|(_, name)| name)
    .collect()
}

fn cidr_texts(addresses: &[&Cidr]) -> Option<Value> {
    if addresses.is_empty() {
        return None;
    }
    let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    Some(texts.into())
}

fn unless_zero(number: u32) -> Option<Value> {
    (number != 0).then(|| number.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::device::VirtualFunction;
    use rtnetlink::packet_route::link::{InfoKind, LinkHeader, Stats64};
    use serde_json::json;

    fn message(attributes: Vec<LinkAttribute>) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header = LinkHeader {
            index: 7,
            link_layer_type: LinkLayerType::Ether,
            flags: LinkFlags::Up | LinkFlags::Broadcast | LinkFlags::Running | LinkFlags::Multicast,
            ..LinkHeader::default()
        };
        message.attributes = attributes;
        message
    }

    fn metadata(link: &Link) -> Value {
        Value::Object(link.metadata(&Device::default(), &[], None))
    }

    #[test]
    fn a_veth_names_its_peer() {
        let link = Link::read(&message(vec![
            LinkAttribute::IfName("veth0".into()),
            LinkAttribute::Mtu(1500),
            LinkAttribute::OperState(State::LowerLayerDown),
            LinkAttribute::Address(vec![2, 0, 0, 0, 0, 1]),
            LinkAttribute::Link(8),
            LinkAttribute::Controller(5),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth)]),
        ]))
        .unwrap();
        assert_eq!(
            metadata(&link),
            json!({
                "Name": "veth0", "Type": "veth", "EncapType": "ether", "IfIndex": 7, "MTU": 1500,
                "MAC": "02:00:00:00:00:01", "MasterIndex": 5, "ParentIndex": 8, "PeerIfIndex": 8,
                "State": "LOWER-LAYER-DOWN", "LinkFlags": ["UP", "BROADCAST", "MULTICAST"],
                "Driver": "veth",
            })
        );
    }

    #[test]
    fn hardware_is_a_device_with_what_the_bus_knows() {
        let mut stats = Stats64::default();
        stats.rx_packets = 3;
        let link = Link::read(&message(vec![
            LinkAttribute::IfName("eth0".into()),
            LinkAttribute::ParentDevName("0000:00:03.0".into()),
            LinkAttribute::ParentDevBusName("pci".into()),
            LinkAttribute::Stats64(stats),
        ]))
        .unwrap();
        assert_eq!(link.device, Some(("pci".into(), "0000:00:03.0".into())));
        assert_eq!(link.counters.rx_packets, 3);
        let device = Device {
            driver: Some("ice".into()),
            bus_info: Some("0000:00:03.0".into()),
            virtual_of: Some(VirtualFunction { id: 3, physical: "0000:00:02.0".into() }),
        };
        let addresses = [
            Cidr::new("10.0.0.1".parse().unwrap(), 24),
            Cidr::new("fe80::1".parse().unwrap(), 64),
            Cidr::new("10.0.0.2".parse().unwrap(), 24),
        ];
        let metadata = link.metadata(&device, &addresses, Some(1));
        assert_eq!(metadata["Type"], "device");
        assert_eq!(metadata["Driver"], "ice");
        assert_eq!(metadata["BusInfo"], "0000:00:03.0");
        assert_eq!(metadata["VfID"], 3);
        assert_eq!(metadata["IPV4"], json!(["10.0.0.1/24", "10.0.0.2/24"]));
        assert_eq!(metadata["IPV6"], json!(["fe80::1/64"]));
        assert_eq!(metadata["Vlan"], 1);
        assert_eq!(metadata["State"], "UNKNOWN");
        assert!(!metadata.contains_key("MAC") && !metadata.contains_key("MTU"));
    }

    #[test]
    fn a_vlan_has_its_id() {
        let link = Link::read(&message(vec![
            LinkAttribute::IfName("eth0.42".into()),
            LinkAttribute::Link(2),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Vlan),
                LinkInfo::Data(InfoData::Vlan(vec![InfoVlan::Id(42)])),
            ]),
        ]))
        .unwrap();
        let metadata = metadata(&link);
        assert_eq!(metadata["Vlan"], 42);
        assert_eq!(metadata["ParentIndex"], 2);
        assert_eq!(metadata.get("PeerIfIndex"), None);
    }

    #[test]
    fn a_vxlan_says_on_its_own_what_it_stands_on() {
        let link = Link::read(&message(vec![
            LinkAttribute::IfName("vx0".into()),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Vxlan),
                LinkInfo::Data(InfoData::Vxlan(vec![InfoVxlan::Id(7), InfoVxlan::Link(2)])),
            ]),
        ]))
        .unwrap();
        let metadata = metadata(&link);
        assert_eq!((&metadata["VXLAN"]["VNI"], &metadata["ParentIndex"]), (&json!(7), &json!(2)));
    }

    #[test]
    fn a_representor_names_its_function() {
        for (name, represents, own) in [
            ("pf0vf3", Some(3), false),
            ("c1pf0vf12", Some(12), false),
            ("pf1vf0", Some(0), false),
            ("pf0", None, false),
            ("pf0sf88", None, false),
            ("c1pf0sf88", None, false),
            ("pf0hpf", None, false),
            ("pf0vf-1", None, false),
            ("pf0vf", None, false),
            ("p0", None, true),
            ("p0s1", None, true),
            ("xpf0vf1", None, true),
            ("cpf0vf1", None, true),
            ("pfvf1", None, true),
            ("vf1", None, true),
            ("", None, true),
        ] {
            let link = Link { port_name: Some(name.into()), ..Link::default() };
            assert_eq!((link.represents(), link.is_own()), (represents, own), "{name}");
        }
        assert_eq!((Link::default().represents(), Link::default().is_own()), (None, true));
    }

    #[test]
    fn messages_on_a_part_are_not_links() {
        let mut port = message(vec![LinkAttribute::IfName("veth0".into())]);
        port.header.interface_family = AddressFamily::Bridge;
        assert_eq!(Link::read(&port), None);
        assert_eq!(read_pvid(&port), Some((7, None)));
        assert_eq!(Link::read(&message(Vec::new())), None);
    }

    #[test]
    fn unknown_link_layers_keep_their_number() {
        assert_eq!(encapsulation(LinkLayerType::Can), "unknown280");
        assert_eq!(encapsulation(LinkLayerType::Loopback), "loopback");
    }
}
