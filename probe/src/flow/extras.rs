//! What captures may want to know of their flows beyond counters.

use sonde_proto::entry::Extra;
use sonde_proto::plan::{Options, Watch};
use sonde_proto::record::{IpMetric, Transport};
use sonde_proto::time::Timestamp;

use super::beside::Beside;
use super::signals::Signals;
use super::stream::Stream;
use crate::parse::Piece;

/// Tables beside the slab, one an option. Each is made when the first watch asks for it, so that
/// captures without options pay nothing.
#[derive(Debug, Default)]
pub(crate) struct Extras {
    /// What both ends signalled, A first (`ExtraTCPMetric`).
    signals: Option<Beside<[Signals; 2]>>,
    /// What both ends sent, A first (`ReassembleTCP`).
    streams: Option<Beside<[Stream; 2]>>,
    /// Fragments of the datagrams (`IPDefrag`).
    fragments: Option<Beside<IpMetric>>,
}

impl Extras {
    /// Makes the tables that `watches` ask for, beside a slab of `capacity` places, of which
    /// `used` are in use.
    pub(crate) fn follow(&mut self, watches: &[Watch], capacity: usize, used: usize) {
        let wanted = |by: fn(&Options) -> bool| watches.iter().any(|watch| by(&watch.options));
        if wanted(|options| options.tcp_metric) {
            self.signals.get_or_insert_with(|| Beside::new(capacity, used));
        }
        if wanted(|options| options.reassemble_tcp) {
            self.streams.get_or_insert_with(|| Beside::new(capacity, used));
        }
        if wanted(|options| options.defragment) {
            self.fragments.get_or_insert_with(|| Beside::new(capacity, used));
        }
    }

    /// Whether there is any table.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        self.signals.is_some() || self.streams.is_some() || self.fragments.is_some()
    }

    /// A flow begins with `piece`, which is yet to be counted. Fragments are told of an `innermost`
    /// flow only.
    pub(crate) fn begin(&mut self, index: u32, options: &Options, piece: &Piece, innermost: bool) {
        let is_tcp = piece.ports.is_some_and(|ports| ports.protocol == Transport::Tcp);
        if let Some(signals) = &mut self.signals {
            signals.put(index, (options.tcp_metric && is_tcp).then(Default::default));
        }
        if let Some(streams) = &mut self.streams {
            streams.put(index, (options.reassemble_tcp && is_tcp).then(Default::default));
        }
        if let Some(fragments) = &mut self.fragments {
            let has_any = options.defragment && innermost && piece.network.is_some();
            fragments.put(index, has_any.then(IpMetric::default));
        }
    }

    /// A flow begins of which nothing is kept here.
    pub(crate) fn clear(&mut self, index: u32) {
        if let Some(signals) = &mut self.signals {
            signals.put(index, None);
        }
        if let Some(streams) = &mut self.streams {
            streams.put(index, None);
        }
        if let Some(fragments) = &mut self.fragments {
            fragments.put(index, None);
        }
    }

    /// Counts a packet of a flow, from its A end or not.
    pub(crate) fn count(&mut self, index: u32, piece: &Piece, from_a: bool, at: Timestamp) {
        let side = usize::from(!from_a);
        if Signals::are_in(piece.tcp_flags)
            && let Some(signals) = &mut self.signals
            && let Some(signals) = signals.get_mut(index)
        {
            signals[side].take(piece.tcp_flags, piece.ttl, at);
        }
        if Stream::has(piece)
            && let Some(streams) = &mut self.streams
            && let Some(streams) = streams.get_mut(index)
        {
            streams[side].take(piece);
        }
        if piece.fragments | piece.fragment_errors != 0
            && let Some(fragments) = &mut self.fragments
            && let Some(metric) = fragments.get_mut(index)
        {
            metric.fragments += u64::from(piece.fragments);
            metric.errors += u64::from(piece.fragment_errors);
        }
    }

    /// A flow ends: what it waits for will not come.
    pub(crate) fn end(&mut self, index: u32) {
        if let Some(streams) = &mut self.streams
            && let Some(streams) = streams.get_mut(index)
        {
            streams.iter_mut().for_each(Stream::flush);
        }
    }

    /// What is known here of a flow, with addresses of IPv4 or not; `None` if nothing.
    pub(crate) fn report(&self, index: u32, is_ipv4: bool) -> Option<Extra> {
        let mut extra = Extra::default();
        if let Some(signals) = &self.signals
            && let Some([ab, ba]) = signals.get(index)
        {
            let tcp = extra.tcp.get_or_insert_default();
            ab.report(&mut tcp.ab);
            ba.report(&mut tcp.ba);
        }
        if let Some(streams) = &self.streams
            && let Some([ab, ba]) = streams.get(index)
        {
            let tcp = extra.tcp.get_or_insert_default();
            ab.report(&mut tcp.ab);
            ba.report(&mut tcp.ba);
        }
        if let Some(fragments) = &self.fragments
            && let Some(metric) = fragments.get(index)
        {
            // Skydive says so of IPv4 only; of IPv6 it puts nothing together.
            extra.ip = (is_ipv4 || *metric != IpMetric::default()).then_some(*metric);
        }
        (extra != Extra::default()).then_some(extra)
    }
}
