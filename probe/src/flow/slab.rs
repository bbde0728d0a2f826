//! The records of a shard: hot lines that each packet touches, cold lines that few do.

use std::time::Duration;

use sonde_proto::record::{
    Cause, FinishType, FlowRecord, Icmp, IcmpKind, LayersPath, LinkEnds, Metric, NetworkEnds,
    TransportEnds, WatchId,
};
use sonde_proto::time::Timestamp;

use super::identity::Identity;
use super::key::{Direction, Key, Selector, ordered};
use crate::parse::{Echo, Piece, tcp_flags};

/// Room for a number of flows, reserved at the start and touched when first used.
#[derive(Debug)]
pub(crate) struct Slab {
    pub(crate) hot: Vec<Hot>,
    pub(crate) cold: Vec<Cold>,
    /// Hashes of the keys, to find their entries in the table.
    pub(crate) tags: Vec<u32>,
    free: Vec<u32>,
    /// Heads of two lists of flows with unreported changes: those that a running sweep still has
    /// to report, and those touched since it began.
    sweeping: u32,
    touched: u32,
    capacity: usize,
}

/// What each packet touches: the key's line and the counters' line.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Hot {
    pub(crate) key: Key,
    totals: Totals,
    pub(crate) last: Timestamp,
    pub(crate) uuid: u64,
    /// When the SYN or echo request came that waits for its answer.
    asked: Timestamp,
    /// The next flow of the list that this one is on.
    next: u32,
    flags: u16,
    /// Source port of the first packet.
    port: u16,
}

/// What is touched when a flow begins, at its ticks and when it is reported.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cold {
    pub(crate) start: Timestamp,
    /// Totals at the last update tick.
    ticked: Totals,
    /// What was added between the last two update ticks.
    added: Totals,
    rtt: u64,
    link_id: i64,
    /// Update ticks since the start.
    ticks: u32,
    /// A VNI or GRE key.
    network_id: u32,
    icmp: Option<IcmpKind>,
    icmp_code: u8,
    layers: LayersPath,
}

const _: () = assert!(size_of::<Hot>() == 128 && size_of::<Cold>() <= 120);

/// Packets and bytes both ways.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    ab_packets: u64,
    ab_bytes: u64,
    ba_packets: u64,
    ba_bytes: u64,
}

impl Slab {
    /// Room for `capacity` flows, less than 2^31.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            hot: Vec::with_capacity(capacity),
            cold: Vec::with_capacity(capacity),
            tags: Vec::with_capacity(capacity),
            free: Vec::with_capacity(capacity),
            sweeping: NIL,
            touched: NIL,
            capacity,
        }
    }

    /// Whether [`Self::begin`] has a place.
    pub(crate) fn has_room(&self) -> bool {
        !self.free.is_empty() || self.hot.len() < self.capacity
    }

    /// Places that were used so far, flows on some of them.
    pub(crate) fn used(&self) -> u32 {
        self.hot.len() as u32
    }

    /// Places a new flow; there must be room.
    pub(crate) fn begin(
        &mut self,
        tag: u32,
        key: Key,
        swap: bool,
        piece: &Piece,
        at: Timestamp,
        uuid: u64,
    ) -> u32 {
        let mut flags = LIVE;
        flags |= if swap { SWAP } else { 0 };
        flags |= if piece.link.is_some() { ETHERNET } else { 0 };
        flags |= if piece.ports.is_some() { PORTS } else { 0 };
        // Skydive looks at the first packet only, at RST last.
        flags |= match piece.tcp_flags {
            flags if flags & tcp_flags::RST != 0 => RST,
            flags if flags & tcp_flags::FIN != 0 => FIN,
            _ => 0,
        };
        let mut hot = Hot {
            key,
            totals: Totals::default(),
            last: at,
            uuid,
            asked: Timestamp::default(),
            next: NIL,
            flags,
            port: piece.ports.map_or(0, |ports| ports.source),
        };
        let cold = Cold {
            start: at,
            ticked: Totals::default(),
            added: Totals::default(),
            rtt: 0,
            link_id: piece.link.map_or(0, |link| link.id),
            ticks: 0,
            network_id: piece
                .network
                .map_or(0, |network| network.id.try_into().unwrap_or(u32::MAX)),
            icmp: piece.icmp.map(|icmp| icmp.kind),
            icmp_code: piece.icmp.map_or(0, |icmp| icmp.code),
            layers: piece.layers,
        };
        match self.free.pop() {
            Some(index) => {
                let place = &mut self.hot[index as usize];
                // The place may still be on a list.
                hot.flags |= place.flags & LISTED;
                hot.next = place.next;
                *place = hot;
                self.cold[index as usize] = cold;
                self.tags[index as usize] = tag;
                index
            }
            None => {
                self.hot.push(hot);
                self.cold.push(cold);
                self.tags.push(tag);
                (self.hot.len() - 1) as u32
            }
        }
    }

    /// Counts a packet of flow `index`.
    #[inline]
    pub(crate) fn count(
        &mut self,
        index: u32,
        swap: bool,
        direction: Direction,
        piece: &Piece,
        length: u32,
        at: Timestamp,
    ) {
        let hot = &mut self.hot[index as usize];
        let ab = match direction {
            Direction::Ends => swap == hot.is(SWAP),
            Direction::Ports(source) => hot.port > source,
            Direction::Ab => true,
            Direction::Ba => false,
        };
        let again = hot.totals.ab_packets | hot.totals.ba_packets != 0;
        let Totals {
            ab_packets,
            ab_bytes,
            ba_packets,
            ba_bytes,
        } = &mut hot.totals;
        let (packets, bytes) = if ab {
            (ab_packets, ab_bytes)
        } else {
            (ba_packets, ba_bytes)
        };
        // A flow of one packet is no flow in use: floods and scans evict their own.
        hot.flags |= if again { REFERENCED } else { 0 };
        *packets += 1;
        *bytes += u64::from(length);
        hot.last = hot.last.max(at);
        if !hot.is(LISTED) {
            hot.next = self.touched;
            self.touched = index;
        }
        hot.flags |= CHANGED | UNREPORTED | LISTED;
        if piece.tcp_flags & (tcp_flags::SYN | tcp_flags::RST | tcp_flags::FIN) != 0
            || piece.echo.is_some()
        {
            self.time(index, piece, at);
        }
    }

    /// Measures the round trip: first SYN to SYN+ACK or RST, each echo request to its reply.
    fn time(&mut self, index: u32, piece: &Piece, at: Timestamp) {
        let hot = &mut self.hot[index as usize];
        let tcp = piece.tcp_flags;
        if tcp & (tcp_flags::FIN | tcp_flags::RST) != 0 {
            hot.flags |= CLOSED;
        }
        let syn_ack = tcp_flags::SYN | tcp_flags::ACK;
        let asks = tcp & syn_ack == tcp_flags::SYN && tcp & tcp_flags::RST == 0
            || piece.echo == Some(Echo::Request);
        let answers = tcp & syn_ack == syn_ack
            || tcp & tcp_flags::RST != 0
            || piece.echo == Some(Echo::Reply);
        if hot.is(ASKED) && answers {
            self.cold[index as usize].rtt = at.since(hot.asked).as_nanos() as u64;
            hot.flags = hot.flags & !ASKED | ANSWERED;
        } else if asks && !hot.is(ASKED) && (piece.echo.is_some() || !hot.is(ANSWERED)) {
            hot.asked = at;
            hot.flags |= ASKED;
        }
    }

    /// An update tick: the flow's totals and time become those of the tick.
    pub(crate) fn tick(&mut self, index: u32) {
        let hot = &mut self.hot[index as usize];
        let cold = &mut self.cold[index as usize];
        cold.added = hot.totals.less(&cold.ticked);
        cold.ticked = hot.totals;
        cold.ticks = cold.ticks.saturating_add(1);
        hot.flags = hot.flags & !CHANGED | TICKED;
    }

    /// Passes over ticks at which nothing changed, up to the `ticks`-th.
    pub(crate) fn pass_ticks(&mut self, index: u32, ticks: u64) {
        let cold = &mut self.cold[index as usize];
        if ticks > u64::from(cold.ticks) {
            cold.ticks = ticks.try_into().unwrap_or(u32::MAX);
            cold.added = Totals::default();
            self.hot[index as usize].flags |= TICKED;
        }
    }

    /// Gives a place back; it may stay on a list.
    pub(crate) fn end(&mut self, index: u32) {
        self.hot[index as usize].flags &= LISTED;
        self.free.push(index);
    }

    /// Begins to sweep: what was touched until now is what [`Self::next_swept`] gives.
    pub(crate) fn begin_sweep(&mut self) {
        if self.sweeping == NIL {
            self.sweeping = std::mem::replace(&mut self.touched, NIL);
        }
    }

    /// Takes the next place off the sweep's list: nothing may live there, or have changed.
    pub(crate) fn next_swept(&mut self) -> Option<u32> {
        let index = self.sweeping;
        let hot = self.hot.get_mut(index as usize)?;
        self.sweeping = hot.next;
        hot.flags &= !LISTED;
        Some(index)
    }

    /// The record of a flow as it stands; it counts as reported.
    pub(crate) fn report(
        &mut self,
        index: u32,
        watch: WatchId,
        cause: Cause,
        update: Duration,
    ) -> FlowRecord {
        let hot = &mut self.hot[index as usize];
        hot.flags &= !UNREPORTED;
        let hot = &self.hot[index as usize];
        let cold = &self.cold[index as usize];
        let identity = Identity::of(&hot.key);
        let ticked_at = cold.tick(cold.ticks, update);
        let ticks = update != Duration::MAX;
        let last_update = if matches!(cause, Cause::End(_)) && hot.is(CHANGED) && ticks {
            let added = hot.totals.less(&cold.ticked);
            Some(added.metric(ticked_at, hot.last, cold.rtt))
        } else if hot.is(TICKED) {
            let before = cold.tick(cold.ticks.saturating_sub(1), update);
            Some(cold.added.metric(before, ticked_at, cold.rtt))
        } else {
            None
        };
        FlowRecord {
            watch,
            uuid: hot.uuid,
            parent: (hot.key.parent != 0).then_some(hot.key.parent),
            tracking_id: identity.tracking_id(),
            l3_tracking_id: identity.l3_tracking_id(),
            layers: cold.layers,
            link: hot.link_ends(cold),
            network: hot.network_ends(cold),
            transport: hot.transport_ends(),
            icmp: cold.icmp.map(|kind| Icmp {
                kind,
                code: cold.icmp_code,
                id: hot.key.icmp().unwrap_or_default() as u16,
            }),
            metric: hot.totals.metric(cold.start, hot.last, cold.rtt),
            last_update,
            finish: hot.finish(),
            cause,
        }
    }
}

impl Hot {
    fn is(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    /// Whether a flow lives here.
    pub(crate) fn lives(&self) -> bool {
        self.is(LIVE)
    }

    /// Whether packets came since the last update tick.
    pub(crate) fn changed(&self) -> bool {
        self.is(CHANGED)
    }

    /// Whether packets came since the flow was last reported.
    pub(crate) fn unreported(&self) -> bool {
        self.is(UNREPORTED)
    }

    /// Whether a TCP end has said goodbye.
    pub(crate) fn closed(&self) -> bool {
        self.is(CLOSED)
    }

    /// Whether the flow was in use since the last call.
    pub(crate) fn take_referenced(&mut self) -> bool {
        let referenced = self.is(REFERENCED);
        self.flags &= !REFERENCED;
        referenced
    }

    /// How the flow ended, from its first packet.
    pub(crate) fn finish(&self) -> FinishType {
        match self.flags & (FIN | RST) {
            0 => FinishType::NotFinished,
            FIN => FinishType::TcpFin,
            _ => FinishType::TcpRst,
        }
    }

    fn link_ends(&self, cold: &Cold) -> Option<LinkEnds> {
        let (lo, hi) = self.key.first_macs();
        let (a, b) = ordered(self.is(SWAP), lo, hi);
        self.is(ETHERNET).then_some(LinkEnds {
            a,
            b,
            id: cold.link_id,
        })
    }

    fn network_ends(&self, cold: &Cold) -> Option<NetworkEnds> {
        let (lo, hi) = self.key.ips()?;
        let (a, b) = ordered(self.is(SWAP), lo, hi);
        Some(NetworkEnds {
            a,
            b,
            id: cold.network_id.into(),
        })
    }

    fn transport_ends(&self) -> Option<TransportEnds> {
        let b = match self.key.selector() {
            Selector::None => return None,
            Selector::Ports { lo, hi, .. } => ordered(self.is(SWAP), lo, hi).1,
            Selector::Vni { port, .. } => port,
        };
        // The ports in the key may be those of a piece inside.
        let protocol = self.key.transport().filter(|_| self.is(PORTS))?;
        Some(TransportEnds {
            protocol,
            a: self.port,
            b,
        })
    }
}

impl Cold {
    /// When the `n`-th update tick is due.
    pub(crate) fn tick(&self, n: u32, update: Duration) -> Timestamp {
        self.start.after(update.saturating_mul(n))
    }

    /// When the next update tick is due.
    pub(crate) fn next_tick(&self, update: Duration) -> Timestamp {
        match self.ticks.checked_add(1) {
            Some(ticks) => self.tick(ticks, update),
            None => Timestamp::from_nanos(u64::MAX),
        }
    }
}

impl Totals {
    fn less(&self, before: &Self) -> Self {
        Self {
            ab_packets: self.ab_packets - before.ab_packets,
            ab_bytes: self.ab_bytes - before.ab_bytes,
            ba_packets: self.ba_packets - before.ba_packets,
            ba_bytes: self.ba_bytes - before.ba_bytes,
        }
    }

    fn metric(&self, start: Timestamp, last: Timestamp, rtt: u64) -> Metric {
        Metric {
            ab_packets: self.ab_packets,
            ab_bytes: self.ab_bytes,
            ba_packets: self.ba_packets,
            ba_bytes: self.ba_bytes,
            start,
            last,
            rtt,
        }
    }
}

/// The end of a list.
const NIL: u32 = u32::MAX;

// `Hot::flags`.
/// A flow lives here.
const LIVE: u16 = 1;
/// The first packet came from the `hi` end of the key.
const SWAP: u16 = 1 << 1;
/// The first packet had an Ethernet header.
const ETHERNET: u16 = 1 << 2;
/// Packets came since the last update tick.
const CHANGED: u16 = 1 << 3;
/// Packets came since the flow was last reported.
const UNREPORTED: u16 = 1 << 4;
/// The place is on a list of [`Slab`].
const LISTED: u16 = 1 << 5;
/// Packets beside the first came since the hand of the clock passed.
const REFERENCED: u16 = 1 << 6;
/// FIN or RST was seen.
const CLOSED: u16 = 1 << 7;
/// An update tick has passed.
const TICKED: u16 = 1 << 8;
/// The first packet carried FIN.
const FIN: u16 = 1 << 9;
/// The first packet carried RST.
const RST: u16 = 1 << 10;
/// `Hot::asked` waits for an answer.
const ASKED: u16 = 1 << 11;
/// A round trip was measured.
const ANSWERED: u16 = 1 << 12;
/// The first packet had ports of its own.
const PORTS: u16 = 1 << 13;
