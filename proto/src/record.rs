//! The flow record: a conversation and its counters at a moment, as a shard knows it.
//!
//! Everything is `Copy` and free of strings, so that a record crosses the ring by value. Texts
//! (addresses, hex identities, `LayersPath`) are made by [`crate::flow::Flow`].

use std::net::IpAddr;

use crate::time::Timestamp;

/// One flow (biflow) of one watch, with cumulative counters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FlowRecord {
    /// The capture and observation point that metered the flow.
    pub watch: WatchId,
    /// Skydive's `UUID`: XXH64 of start and node TID, seeded with the table key.
    pub uuid: u64,
    /// `UUID` of the outer flow of a tunnelled flow.
    pub parent: Option<u64>,
    /// Skydive's `TrackingID`: the L2 key digest.
    pub tracking_id: u64,
    /// Skydive's `L3TrackingID`: the L3 key digest.
    pub l3_tracking_id: u64,
    /// Layers of the first packet, outermost first.
    pub layers: LayersPath,
    /// Ethernet ends, when the packet has an Ethernet header.
    pub link: Option<LinkEnds>,
    /// IP ends, when the packet has an IP header.
    pub network: Option<NetworkEnds>,
    /// TCP, UDP or SCTP ends.
    pub transport: Option<TransportEnds>,
    /// ICMP type, code and identifier.
    pub icmp: Option<Icmp>,
    /// Totals since the first packet.
    pub metric: Metric,
    /// What was added between the last two update ticks; absent before the first.
    pub last_update: Option<Metric>,
    /// TCP beyond counters; only when the capture asks for it.
    pub tcp: Option<TcpMetric>,
    /// Fragments; only when the capture puts them together.
    pub ip: Option<IpMetric>,
    /// Packets that were sent up whole.
    pub raw_packets: u32,
    /// How the flow ended, as Skydive says it.
    pub finish: FinishType,
    /// Why the record was reported.
    pub cause: Cause,
}

/// Names a capture at one observation point. Given by the control plane, never used twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatchId(pub u32);

impl WatchId {
    /// Capture files that clients upload: no capture, and never in a plan.
    pub const UPLOAD: Self = Self(u32::MAX);
}

/// Why a record travels up the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The flow's update tick came and the flow had changed.
    Update,
    /// The control plane wanted to see all that changed ([`crate::plan::Plan::sweep`]).
    Sweep,
    /// The flow is over and leaves its shard.
    End(EndReason),
}

/// Why a flow ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum EndReason {
    /// No packet for the idle timeout, or that of its application (IPFIX `flowEndReason` 1).
    Idle,
    /// It lasted longer than the active timeout; the next packet begins another (IPFIX 2).
    Active,
    /// TCP said that it is over, and so is the hold time (IPFIX 3).
    Finished,
    /// The capture was deleted, or its node went away (IPFIX 4).
    Stopped,
    /// The source ended: end of file, or the daemon stops (IPFIX 4).
    Drained,
    /// The flow table was full (IPFIX 5).
    Evicted,
}

impl EndReason {
    /// How many reasons there are.
    pub const COUNT: usize = 6;
    /// All reasons, in the order of [`crate::report::Books::ended`].
    pub const ALL: [Self; Self::COUNT] =
        [Self::Idle, Self::Active, Self::Finished, Self::Stopped, Self::Drained, Self::Evicted];

    /// The reason's name in status answers and summaries.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Active => "active",
            Self::Finished => "finished",
            Self::Stopped => "stopped",
            Self::Drained => "drained",
            Self::Evicted => "evicted",
        }
    }
}

/// Skydive's `FinishType`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FinishType {
    /// Still running.
    #[default]
    NotFinished,
    /// Ended by a timeout, or with its capture.
    Timeout,
    /// FIN came from both ends, or with the first packet.
    TcpFin,
    /// RST came.
    TcpRst,
}

/// Counters in both directions. `ab` is what the A end sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metric {
    /// Packets from A to B.
    pub ab_packets: u64,
    /// Bytes from A to B.
    pub ab_bytes: u64,
    /// Packets from B to A.
    pub ba_packets: u64,
    /// Bytes from B to A.
    pub ba_bytes: u64,
    /// Start of the measured interval.
    pub start: Timestamp,
    /// End of the measured interval.
    pub last: Timestamp,
    /// Round trip time in nanoseconds, 0 when unknown.
    pub rtt: u64,
}

/// What TCP says in both directions (Skydive API §4.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpMetric {
    /// What the A end sent.
    pub ab: TcpSide,
    /// What the B end sent.
    pub ba: TcpSide,
}

/// What one end of a TCP flow sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpSide {
    /// First SYN.
    pub syn: Option<Timestamp>,
    /// TTL or hop limit of that SYN.
    pub syn_ttl: u8,
    /// Last FIN.
    pub fin: Option<Timestamp>,
    /// Last RST.
    pub rst: Option<Timestamp>,
    /// Segments that came before one they follow.
    pub out_of_order: u64,
    /// Gaps that were given up.
    pub skipped: u64,
    /// Bytes in those gaps.
    pub skipped_bytes: u64,
    /// Segments delivered in order.
    pub packets: u64,
    /// Payload bytes of those segments.
    pub bytes: u64,
    /// Whether the stream was seen from its start.
    pub saw_start: bool,
    /// Whether the stream was seen to its end.
    pub saw_end: bool,
}

/// Fragments of the datagrams of a flow (Skydive API §4.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IpMetric {
    /// Fragments that were put together.
    pub fragments: u64,
    /// Fragments that could not be.
    pub errors: u64,
}

/// A six-byte MAC address.
pub type Mac = [u8; 6];

/// Ethernet ends; A sent the first packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkEnds {
    /// Source of the first packet.
    pub a: Mac,
    /// Destination of the first packet.
    pub b: Mac,
    /// VLAN ids combined as Skydive does: outermost in the low 12 bits.
    pub id: i64,
}

/// IP ends; both are of one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkEnds {
    /// Source of the first packet.
    pub a: IpAddr,
    /// Destination of the first packet.
    pub b: IpAddr,
    /// VXLAN or Geneve VNI, or GRE key, of the innermost tunnel header in this piece; else 0.
    pub id: i64,
}

/// Transport ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransportEnds {
    /// TCP, UDP or SCTP.
    pub protocol: Transport,
    /// Source port of the first packet.
    pub a: u16,
    /// Destination port of the first packet.
    pub b: u16,
}

/// Transport protocols with ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// RFC 9293.
    Tcp,
    /// RFC 768.
    Udp,
    /// RFC 9260.
    Sctp,
}

/// What Skydive keeps of an ICMP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Icmp {
    /// ICMPv4 and ICMPv6 types, folded as in Skydive's schema.
    pub kind: IcmpKind,
    /// The code of the first packet.
    pub code: u8,
    /// The identifier; 0 for ICMPv6 messages other than echo.
    pub id: u16,
}

/// Skydive's `ICMPType`; the discriminants are its Protobuf numbers and enter the flow key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names are the field's own")]
pub enum IcmpKind {
    Unknown = 0,
    DestinationUnreachable = 1,
    Echo = 2,
    Neighbor = 3,
    AddressMask = 4,
    Info = 5,
    ParameterProblem = 6,
    Redirect = 7,
    Router = 8,
    SourceQuench = 9,
    TimeExceeded = 10,
    Timestamp = 11,
    PacketTooBig = 12,
}

/// The decoded layers of a packet, outermost first; at most [`LayersPath::DEPTH`].
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LayersPath {
    layers: [Layer; Self::DEPTH],
    len: u8,
}

impl LayersPath {
    /// More layers than this are not kept: 4 VLAN tags and 8 IPv6 extension headers fit.
    pub const DEPTH: usize = 17;

    /// A path without layers.
    pub const fn new() -> Self {
        Self { layers: [Layer::Ethernet; Self::DEPTH], len: 0 }
    }

    /// Appends a layer; `false`, and no change, when the path is full.
    #[inline]
    pub const fn push(&mut self, layer: Layer) -> bool {
        let end = self.len as usize;
        let has_room = end < Self::DEPTH;
        if has_room {
            self.layers[end] = layer;
            self.len += 1;
        }
        has_room
    }

    /// The layers, outermost first.
    pub fn as_slice(&self) -> &[Layer] {
        self.layers.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl Default for LayersPath {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for LayersPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl std::fmt::Display for LayersPath {
    /// Skydive's `LayersPath`: names joined with `/`. A cooked header has no name but leaves its
    /// slash (`/IPv4/TCP`).
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, layer) in self.as_slice().iter().enumerate() {
            if i > 0 {
                f.write_str("/")?;
            }
            f.write_str(layer.name())?;
        }
        Ok(())
    }
}

macro_rules! layers {
    ($($variant:ident => $name:literal),* $(,)?) => {
        /// A protocol layer, named as Skydive (gopacket) names it in `LayersPath`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        #[expect(missing_docs, reason = "the names are the protocols' own")]
        pub enum Layer {
            $($variant),*
        }

        impl Layer {
            /// All layers.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name in `LayersPath`; empty for cooked headers.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name),*
                }
            }

            /// The layer of that name, in upper or lower case.
            pub fn named(name: &str) -> Option<Self> {
                let is = |layer: &&Self| !name.is_empty() && layer.name().eq_ignore_ascii_case(name);
                Self::ALL.iter().find(is).copied()
            }
        }
    };
}

layers! {
    Ethernet => "Ethernet",
    Cooked => "",
    Loopback => "Loopback",
    Dot1Q => "Dot1Q",
    Mpls => "MPLS",
    PppoE => "PPPoE",
    Ppp => "PPP",
    Arp => "ARP",
    Llc => "LLC",
    Snap => "SNAP",
    Stp => "STP",
    Eapol => "EAPOL",
    EapolKey => "EAPOLKey",
    Eap => "EAP",
    LinkLayerDiscovery => "LinkLayerDiscovery",
    LinkLayerDiscoveryInfo => "LinkLayerDiscoveryInfo",
    CiscoDiscovery => "CiscoDiscovery",
    CiscoDiscoveryInfo => "CiscoDiscoveryInfo",
    EthernetCtp => "EthernetCTP",
    EthernetCtpForwardData => "EthernetCTPForwardData",
    EthernetCtpReply => "EthernetCTPReply",
    Ipv4 => "IPv4",
    Ipv6 => "IPv6",
    Ipv6HopByHop => "IPv6HopByHop",
    Ipv6Routing => "IPv6Routing",
    Ipv6Fragment => "IPv6Fragment",
    Ipv6Destination => "IPv6Destination",
    Fragment => "Fragment",
    IpsecAh => "IPSecAH",
    IpsecEsp => "IPSecESP",
    Gre => "GRE",
    Icmpv4 => "ICMPv4",
    Icmpv6 => "ICMPv6",
    Icmpv6Echo => "ICMPv6Echo",
    Icmpv6RouterSolicitation => "ICMPv6RouterSolicitation",
    Icmpv6RouterAdvertisement => "ICMPv6RouterAdvertisement",
    Icmpv6NeighborSolicitation => "ICMPv6NeighborSolicitation",
    Icmpv6NeighborAdvertisement => "ICMPv6NeighborAdvertisement",
    Icmpv6Redirect => "ICMPv6Redirect",
    Mldv1MulticastListenerQuery => "MLDv1MulticastListenerQuery",
    Mldv1MulticastListenerReport => "MLDv1MulticastListenerReport",
    Mldv1MulticastListenerDone => "MLDv1MulticastListenerDone",
    Mldv2MulticastListenerQuery => "MLDv2MulticastListenerQuery",
    Mldv2MulticastListenerReport => "MLDv2MulticastListenerReport",
    Igmp => "IGMP",
    Ospf => "OSPF",
    Vrrp => "VRRP",
    EtherIp => "EtherIP",
    Rudp => "RUDP",
    UdpLite => "UDPLite",
    Tcp => "TCP",
    Udp => "UDP",
    Sctp => "SCTP",
    SctpData => "SCTPData",
    SctpInit => "SCTPInit",
    SctpInitAck => "SCTPInitAck",
    SctpSack => "SCTPSack",
    SctpHeartbeat => "SCTPHeartbeat",
    SctpHeartbeatAck => "SCTPHeartbeatAck",
    SctpAbort => "SCTPAbort",
    SctpShutdown => "SCTPShutdown",
    SctpShutdownAck => "SCTPShutdownAck",
    SctpError => "SCTPError",
    SctpCookieEcho => "SCTPCookieEcho",
    SctpCookieAck => "SCTPCookieAck",
    SctpShutdownComplete => "SCTPShutdownComplete",
    SctpUnknownChunk => "SCTPUnknownChunkType",
    Dns => "DNS",
    Ntp => "NTP",
    Dhcpv4 => "DHCPv4",
    Dhcpv6 => "DHCPv6",
    Vxlan => "VXLAN",
    Geneve => "Geneve",
    Sip => "SIP",
    SFlow => "SFlow",
    Bfd => "BFD",
    GtpV1U => "GTPv1U",
}
