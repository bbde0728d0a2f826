//! Counters over an interval, of a flow or of an interface: added, cut and put into JSON.

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use sonde_proto::flow::FlowMetric;

use crate::graph::Span;

/// Counters between two points in time, in milliseconds since the epoch.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Metric {
    pub(super) start: i64,
    pub(super) last: i64,
    /// By the place of the name in [`Kind::counters`].
    counters: Counters,
    /// Nanoseconds. Not a counter: the greater one counts, and every part has it.
    rtt: i64,
}

/// In place where there are few: flows are many.
#[derive(Clone, Debug, PartialEq)]
enum Counters {
    Flow([i64; FLOW.len()]),
    Interface(Box<[i64; INTERFACE.len()]>),
}

/// Whose counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Flow,
    Interface,
}

impl Metric {
    /// No counts in an interval.
    pub(super) fn empty(kind: Kind, start: i64, last: i64) -> Self {
        let counters = match kind {
            Kind::Flow => Counters::Flow(Default::default()),
            Kind::Interface => Counters::Interface(Box::new([0; INTERFACE.len()])),
        };
        Self { start, last, counters, rtt: 0 }
    }

    pub(super) fn of_flow(metric: &FlowMetric) -> Self {
        Self {
            start: metric.start,
            last: metric.last,
            counters: Counters::Flow([
                metric.ab_packets,
                metric.ab_bytes,
                metric.ba_packets,
                metric.ba_bytes,
            ]),
            rtt: metric.rtt,
        }
    }

    /// From a node's metadata; what is no integer counts as zero.
    pub(super) fn of_interface(members: &Map<String, Value>) -> Self {
        let read = |name: &str| members.get(name).and_then(Value::as_i64).unwrap_or(0);
        Self {
            start: read("Start"),
            last: read("Last"),
            counters: Counters::Interface(Box::new(INTERFACE.map(read))),
            rtt: 0,
        }
    }

    pub(super) fn kind(&self) -> Kind {
        match self.counters {
            Counters::Flow(_) => Kind::Flow,
            Counters::Interface(_) => Kind::Interface,
        }
    }

    /// Whether all of its interval is in the span.
    pub(super) fn is_inside(&self, span: Span) -> bool {
        span.from <= self.start && self.last <= span.to
    }

    /// The member of that name.
    pub(super) fn get(&self, name: &str) -> Option<i64> {
        match name {
            "Start" => Some(self.start),
            "Last" => Some(self.last),
            "RTT" if self.kind() == Kind::Flow => Some(self.rtt),
            name => {
                let place = self.kind().counters().iter().position(|n| *n == name)?;
                self.counters.as_slice().get(place).copied()
            }
        }
    }

    pub(super) fn is_zero(&self) -> bool {
        self.counters.as_slice().iter().all(|n| *n == 0)
    }

    /// Adds the counts; the interval stays.
    pub(super) fn add(&mut self, other: &Self) {
        let counters = self.counters.as_mut_slice().iter_mut();
        for (sum, n) in counters.zip(other.counters.as_slice()) {
            *sum = sum.saturating_add(*n);
        }
        self.rtt = self.rtt.max(other.rtt);
    }

    /// Cuts at a time inside the interval, the counts in proportion. Nothing is lost of a flow;
    /// of an interface both parts are rounded down (Skydive API §3.11).
    pub(super) fn cut(&self, at: i64) -> (Self, Self) {
        let whole = i128::from(self.last) - i128::from(self.start);
        let before = i128::from(at) - i128::from(self.start);
        let share = |n: i64, part: i128| {
            let scaled = i128::from(n) * part / whole.max(1);
            i64::try_from(scaled).unwrap_or(n)
        };
        let (mut first, mut second) = (self.clone(), self.clone());
        first.last = at;
        second.start = at;
        let parts = first.counters.as_mut_slice().iter_mut().zip(second.counters.as_mut_slice());
        for ((a, b), n) in parts.zip(self.counters.as_slice()) {
            *a = share(*n, before);
            *b = match self.kind() {
                Kind::Flow => n.saturating_sub(*a),
                Kind::Interface => share(*n, whole - before),
            };
        }
        (first, second)
    }

    /// The members of Skydive's JSON, by name: of an interface, those that are zero are left out.
    fn members(&self) -> Vec<(&'static str, i64)> {
        let names = self.kind().counters().iter().copied();
        let counters = names.zip(self.counters.as_slice().iter().copied());
        let mut members: Vec<_> = counters.collect();
        members.extend([("Start", self.start), ("Last", self.last)]);
        if self.kind() == Kind::Interface {
            members.retain(|(_, n)| *n != 0);
        } else if self.rtt != 0 {
            members.push(("RTT", self.rtt));
        }
        members.sort_unstable();
        members
    }
}

impl Serialize for Metric {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_map(self.members())
    }
}

impl Counters {
    fn as_slice(&self) -> &[i64] {
        match self {
            Self::Flow(counters) => counters,
            Self::Interface(counters) => counters.as_slice(),
        }
    }

    fn as_mut_slice(&mut self) -> &mut [i64] {
        match self {
            Self::Flow(counters) => counters,
            Self::Interface(counters) => counters.as_mut_slice(),
        }
    }
}

impl Kind {
    fn counters(self) -> &'static [&'static str] {
        match self {
            Self::Flow => &FLOW,
            Self::Interface => &INTERFACE,
        }
    }

    /// Names of all members.
    pub(super) fn members(self) -> impl Iterator<Item = &'static str> {
        let rtt = (self == Self::Flow).then_some("RTT");
        let counters = self.counters().iter().copied();
        counters.chain(["Start", "Last"]).chain(rtt)
    }
}

const FLOW: [&str; 4] = ["ABPackets", "ABBytes", "BAPackets", "BABytes"];
const INTERFACE: [&str; 23] = [
    "Collisions",
    "Multicast",
    "RxBytes",
    "RxCompressed",
    "RxCrcErrors",
    "RxDropped",
    "RxErrors",
    "RxFifoErrors",
    "RxFrameErrors",
    "RxLengthErrors",
    "RxMissedErrors",
    "RxOverErrors",
    "RxPackets",
    "TxAbortedErrors",
    "TxBytes",
    "TxCarrierErrors",
    "TxCompressed",
    "TxDropped",
    "TxErrors",
    "TxFifoErrors",
    "TxHeartbeatErrors",
    "TxPackets",
    "TxWindowErrors",
];
