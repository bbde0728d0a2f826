//! A watch at work: its filter, its key mode and its counters.

use sonde_proto::plan::{ExtraLayers, Watch};
use sonde_proto::report::{PacketHead, PacketWant, WatchReport, WatchState};

use super::Export;
use super::staged::Taker;
use crate::filter::Filter;
use crate::source::Frame;

/// A watch that runs, failed, or is leaving while its flows end.
#[derive(Debug)]
pub(crate) struct Watching {
    pub(crate) watch: Watch,
    admit: Admit,
    state: WatchState,
    /// Frames metered.
    pub(crate) packets: u64,
    /// Bytes of those frames.
    pub(crate) bytes: u64,
    /// Frames the table had no room for.
    pub(crate) dropped: u64,
    /// Packets wanted whole that were lost for want of room.
    pub(crate) copies_lost: u64,
    /// Flows alive.
    pub(crate) flows: u64,
}

/// What is taken.
#[derive(Debug)]
enum Admit {
    All,
    Some(Filter),
    /// Nothing: the watch failed.
    Nothing,
    /// Nothing: the plan no longer names the watch.
    Leaving,
}

impl Watching {
    /// Starts a watch; it has failed when its filter is no valid program.
    pub(crate) fn new(watch: &Watch) -> Self {
        let mut watching = Self {
            watch: watch.clone(),
            admit: Admit::Nothing,
            state: WatchState::Active,
            packets: 0,
            bytes: 0,
            dropped: 0,
            copies_lost: 0,
            flows: 0,
        };
        watching.follow(watch);
        watching
    }

    /// Takes over what the plan says of the watch now.
    pub(crate) fn follow(&mut self, watch: &Watch) {
        if self.watch != *watch {
            self.watch = watch.clone();
        }
        (self.admit, self.state) = if watch.filter.is_empty() {
            (Admit::All, WatchState::Active)
        } else {
            match Filter::new(&watch.filter) {
                Ok(filter) => (Admit::Some(filter), WatchState::Active),
                Err(_) => (Admit::Nothing, WatchState::Failed(libc::EINVAL)),
            }
        };
    }

    /// Takes no more frames.
    pub(crate) fn leave(&mut self) {
        self.admit = Admit::Leaving;
    }

    /// Whether the plan no longer names the watch.
    pub(crate) fn is_leaving(&self) -> bool {
        matches!(self.admit, Admit::Leaving)
    }

    /// Whether frames are taken at all.
    pub(crate) fn runs(&self) -> bool {
        matches!(self.admit, Admit::All | Admit::Some(_))
    }

    /// Whether packets are wanted whole.
    #[inline]
    pub(crate) fn wants_packets(&self) -> bool {
        let options = &self.watch.options;
        options.raw_packets > 0 || options.extra_layers != ExtraLayers::default()
    }

    /// Sends a frame up that is taken.
    #[cold]
    pub(crate) fn mirror(&mut self, frame: &Frame<'_>, out: &mut impl Export) {
        let (watch, want) = (self.watch.id, PacketWant::Mirror);
        let link = frame.link.number();
        let head = PacketHead::new(watch, 0, want, frame.at, link, frame.length);
        let size = self.watch.options.header_size as usize;
        let bytes = frame.bytes.get(..size).unwrap_or(frame.bytes);
        self.copies_lost += u64::from(!out.packet(head, bytes));
    }

    /// How many bytes of a plain frame are looked at, if nothing is wanted but its flows' counters
    /// and it can be told without a walk along its headers.
    pub(crate) fn plain_size(&self) -> Option<u32> {
        let options = &self.watch.options;
        let follows = options.tcp_metric || options.reassemble_tcp || options.defragment;
        let walks = options.sampling > 1 || options.mpls_udp_port.is_some();
        (!follows && !walks && !options.mirror && !self.wants_packets())
            .then_some(options.header_size)
    }

    /// How frames are taken for the watch at `place`, if they are.
    pub(crate) fn taker(&self, place: u8) -> Option<Taker> {
        let filtered = matches!(self.admit, Admit::Some(_));
        let mode = self.watch.options.key_mode;
        self.runs().then_some(Taker { place, mode, filtered })
    }

    /// Whether a frame is taken.
    #[inline]
    pub(crate) fn admits(&self, frame: &Frame<'_>) -> bool {
        match &self.admit {
            Admit::All => true,
            Admit::Some(filter) => filter.admits(frame),
            Admit::Nothing | Admit::Leaving => false,
        }
    }

    /// State and counters.
    pub(crate) fn report(&self) -> WatchReport {
        WatchReport {
            watch: self.watch.id,
            state: self.state,
            packets: self.packets,
            bytes: self.bytes,
            dropped: self.dropped,
            flows: self.flows,
            copies_lost: self.copies_lost,
        }
    }
}
