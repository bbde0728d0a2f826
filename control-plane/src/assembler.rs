//! Puts flows together: a record, and the packets that came for it ahead or after.

use ahash::RandomState;
use bytes::Bytes;
use hashbrown::HashMap;
use prost::Message as _;
use sonde_proto::flow::{Flow, RawPacket, layers};
use sonde_proto::plan::ExtraLayers;
use sonde_proto::record::{Cause, FlowRecord};
use sonde_proto::report::{PacketHead, PacketWant};

use crate::flow_store::FlowKey;
use crate::layer;

/// What came for flows beside their records. It is kept until the flow ends, up to a limit in
/// bytes; beyond it packets are lost and counted.
#[derive(Debug)]
pub struct Assembler {
    kept: HashMap<FlowKey, Extras, RandomState>,
    /// Bytes of all that is kept, about.
    held: usize,
    limit: usize,
    lost: u64,
}

/// What came for one flow.
#[derive(Debug, Default)]
struct Extras {
    /// Since the last update that reported the flow.
    packets: Vec<RawPacket>,
    dns: Option<layers::Dns>,
    dhcpv4: Option<layers::DhcPv4>,
    vrrpv2: Option<layers::VrrPv2>,
}

impl Default for Assembler {
    fn default() -> Self {
        Self::new(HELD)
    }
}

impl Assembler {
    /// Keeps `limit` bytes at most.
    pub fn new(limit: usize) -> Self {
        Self { kept: HashMap::default(), held: 0, limit, lost: 0 }
    }

    /// Takes a packet. What is no message of the layer it is wanted for says nothing of the flow.
    pub fn packet(&mut self, head: &PacketHead, bytes: Bytes) {
        let key = FlowKey { watch: head.watch, uuid: head.flow };
        match head.want {
            PacketWant::Raw(index) => {
                let packet = RawPacket {
                    timestamp: head.at.millis(),
                    nanoseconds: (head.at.nanos() % 1_000_000) as u32,
                    // As Skydive counts.
                    index: i64::from(index) + 1,
                    data: bytes,
                    link_type: head.link.into(),
                    length: head.length,
                };
                self.keep(key, size_of_packet(&packet), |extras| extras.packets.push(packet));
            }
            PacketWant::Layer(ExtraLayers::DNS) => {
                if let Some(dns) = layer::dns(&bytes, head.at) {
                    self.keep(key, size_of_dns(&dns), |extras| extras.dns = Some(dns));
                }
            }
            PacketWant::Layer(ExtraLayers::DHCPV4) => {
                if let Some(dhcpv4) = layer::dhcpv4(&bytes) {
                    self.keep(key, SMALL, |extras| extras.dhcpv4 = Some(dhcpv4));
                }
            }
            // Of a mirror that is gone.
            PacketWant::Mirror => {}
            PacketWant::Layer(_) => {
                if let Some(vrrpv2) = layer::vrrpv2(&bytes) {
                    self.keep(key, SMALL, |extras| extras.vrrpv2 = Some(vrrpv2));
                }
            }
        }
    }

    /// Whether anything came for the flow of a record.
    pub fn knows(&self, record: &FlowRecord) -> bool {
        // Nearly always no capture asks for packets.
        !self.kept.is_empty() && self.kept.contains_key(&FlowKey::of(record))
    }

    /// Adds to the flow of a record what came for it. Raw packets are told once: the update that
    /// reports them forgets them. The end of a flow forgets all.
    pub fn complete(&mut self, record: &FlowRecord, flow: &mut Flow) {
        let key = FlowKey::of(record);
        if let Cause::End(_) = record.cause {
            if let Some(extras) = self.kept.remove(&key) {
                self.held = self.held.saturating_sub(extras.size());
                extras.complete(flow);
            }
            return;
        }
        let Some(extras) = self.kept.get_mut(&key) else { return };
        flow.dns.clone_from(&extras.dns);
        flow.dhc_pv4.clone_from(&extras.dhcpv4);
        flow.vrr_pv2.clone_from(&extras.vrrpv2);
        if record.cause == Cause::Update {
            let before = extras.size();
            flow.last_raw_packets = std::mem::take(&mut extras.packets);
            self.held = self.held.saturating_sub(before - extras.size());
        } else {
            flow.last_raw_packets.clone_from(&extras.packets);
        }
    }

    /// Forgets what came for flows that `known` does not know: their ends will not come.
    pub fn retain(&mut self, mut known: impl FnMut(&FlowKey) -> bool) {
        self.kept.retain(|key, _| known(key));
        self.held = self.kept.values().map(Extras::size).sum();
    }

    /// Packets that were lost because the limit was reached.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    fn keep(&mut self, key: FlowKey, size: usize, add: impl FnOnce(&mut Extras)) {
        let new = if self.kept.contains_key(&key) { 0 } else { SMALL };
        if self.held + size + new > self.limit {
            self.lost += 1;
            return;
        }
        let extras = self.kept.entry(key).or_default();
        let before = extras.size() - new;
        add(extras);
        self.held = self.held + extras.size() - before;
    }
}

impl Extras {
    fn size(&self) -> usize {
        let packets: usize = self.packets.iter().map(size_of_packet).sum();
        let small = [self.dhcpv4.is_some(), self.vrrpv2.is_some(), true];
        let small = small.into_iter().filter(|there| *there).count() * SMALL;
        packets + self.dns.as_ref().map_or(0, size_of_dns) + small
    }

    fn complete(self, flow: &mut Flow) {
        flow.last_raw_packets = self.packets;
        flow.dns = self.dns;
        flow.dhc_pv4 = self.dhcpv4;
        flow.vrr_pv2 = self.vrrpv2;
    }
}

fn size_of_packet(packet: &RawPacket) -> usize {
    size_of::<RawPacket>() + packet.data.len()
}

fn size_of_dns(dns: &layers::Dns) -> usize {
    let records = dns.answers.len() + dns.authorities.len() + dns.additionals.len();
    size_of::<layers::Dns>()
        + dns.encoded_len()
        + dns.questions.len() * size_of::<layers::DnsQuestion>()
        + records * size_of::<layers::DnsResourceRecord>()
}

/// Bytes that DHCPv4, VRRPv2 or the place of a flow take, about.
const SMALL: usize = 512;

/// Bytes that are kept when nobody says otherwise.
const HELD: usize = 128 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use sonde_proto::record::{EndReason, FinishType, LayersPath, Metric, WatchId};
    use sonde_proto::time::Timestamp;

    use super::*;

    fn record(cause: Cause) -> FlowRecord {
        FlowRecord {
            watch: WatchId(1),
            uuid: 7,
            parent: None,
            tracking_id: 0,
            l3_tracking_id: 0,
            layers: LayersPath::new(),
            link: None,
            network: None,
            transport: None,
            icmp: None,
            metric: Metric::default(),
            last_update: None,
            tcp: None,
            ip: None,
            raw_packets: 0,
            finish: FinishType::NotFinished,
            cause,
        }
    }

    fn take(assembler: &mut Assembler, want: PacketWant, bytes: &[u8]) {
        let at = Timestamp::from_nanos(1_500_000_000_123_456_789);
        let head = PacketHead::new(WatchId(1), 7, want, at, 1, 1514);
        assembler.packet(&head, Bytes::copy_from_slice(bytes));
    }

    fn flow(assembler: &mut Assembler, cause: Cause) -> Flow {
        let mut flow = Flow::default();
        assembler.complete(&record(cause), &mut flow);
        flow
    }

    #[test]
    fn packets_are_told_until_an_update_reports_them() {
        let mut assembler = Assembler::default();
        take(&mut assembler, PacketWant::Raw(0), b"one");
        take(&mut assembler, PacketWant::Raw(1), b"two");
        for cause in [Cause::Sweep, Cause::Update] {
            let packets = flow(&mut assembler, cause).last_raw_packets;
            assert_eq!(packets.len(), 2);
            let first = &packets[0];
            assert_eq!((first.timestamp, first.nanoseconds), (1_500_000_000_123, 456_789));
            assert_eq!((first.index, first.link_type, first.length), (1, 1, 1514));
            assert_eq!(&*packets[1].data, b"two");
        }
        assert!(flow(&mut assembler, Cause::Sweep).last_raw_packets.is_empty());
        take(&mut assembler, PacketWant::Raw(2), b"three");
        let end = Cause::End(EndReason::Idle);
        assert_eq!(flow(&mut assembler, end).last_raw_packets[0].index, 3);
        assert_eq!((assembler.held, assembler.kept.len()), (0, 0));
    }

    #[test]
    fn layers_are_told_until_the_flow_ends() {
        let mut assembler = Assembler::default();
        let dns = PacketWant::Layer(ExtraLayers::DNS);
        for id in [1, 2] {
            take(&mut assembler, dns, &[0, id, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        }
        take(&mut assembler, dns, b"no DNS");
        let vrrp = PacketWant::Layer(ExtraLayers::VRRP);
        take(&mut assembler, vrrp, &[0x21, 3, 100, 1, 0, 1, 0, 0]);
        for cause in [Cause::Update, Cause::Sweep, Cause::End(EndReason::Drained)] {
            let flow = flow(&mut assembler, cause);
            assert_eq!(flow.dns.unwrap().id, 2, "the last one wins");
            assert_eq!(flow.vrr_pv2.unwrap().priority, 100);
        }
        assert_eq!((assembler.held, assembler.kept.len()), (0, 0));
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let mut assembler = Assembler::new(2000);
        for n in 0..10 {
            take(&mut assembler, PacketWant::Raw(n), &[0; 500]);
        }
        assert!(assembler.held <= 2000, "{}", assembler.held);
        assert_eq!(assembler.lost(), 8);
        assembler.retain(|_| false);
        assert_eq!(assembler.held, 0);
        take(&mut assembler, PacketWant::Raw(0), b"fits");
        assert_eq!(assembler.lost(), 8);
    }
}
