//! Counters over an interval, of a flow or of an interface: added, cut and put into JSON.

use serde_json::{Map, Value};
use sonde_proto::flow::FlowMetric;

/// Counters between two points in time, in milliseconds since the epoch.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Metric {
    kind: Kind,
    pub(super) start: i64,
    pub(super) last: i64,
    /// By the place of the name in [`Kind::counters`].
    counters: Vec<i64>,
    /// Nanoseconds. Not a counter: the greater one counts, and every part has it.
    rtt: i64,
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
        Self { kind, start, last, counters: vec![0; kind.counters().len()], rtt: 0 }
    }

    pub(super) fn of_flow(metric: &FlowMetric) -> Self {
        Self {
            kind: Kind::Flow,
            start: metric.start,
            last: metric.last,
            counters: vec![metric.ab_packets, metric.ab_bytes, metric.ba_packets, metric.ba_bytes],
            rtt: metric.rtt,
        }
    }

    /// From a node's metadata; what is no integer counts as zero.
    pub(super) fn of_interface(members: &Map<String, Value>) -> Self {
        let read = |name: &str| members.get(name).and_then(Value::as_i64).unwrap_or(0);
        Self {
            kind: Kind::Interface,
            start: read("Start"),
            last: read("Last"),
            counters: INTERFACE.iter().map(|name| read(name)).collect(),
            rtt: 0,
        }
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// The member of that name.
    pub(super) fn get(&self, name: &str) -> Option<i64> {
        match name {
            "Start" => Some(self.start),
            "Last" => Some(self.last),
            "RTT" if self.kind == Kind::Flow => Some(self.rtt),
            name => {
                let place = self.kind.counters().iter().position(|n| *n == name)?;
                self.counters.get(place).copied()
            }
        }
    }

    pub(super) fn is_zero(&self) -> bool {
        self.counters.iter().all(|n| *n == 0)
    }

    /// Adds the counts; the interval stays.
    pub(super) fn add(&mut self, other: &Self) {
        for (sum, n) in self.counters.iter_mut().zip(&other.counters) {
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
        let parts = first.counters.iter_mut().zip(&mut second.counters);
        for ((a, b), n) in parts.zip(&self.counters) {
            *a = share(*n, before);
            *b = match self.kind {
                Kind::Flow => n.saturating_sub(*a),
                Kind::Interface => share(*n, whole - before),
            };
        }
        (first, second)
    }

    /// Skydive's JSON: of an interface, members that are zero are left out.
    pub(super) fn to_value(&self) -> Value {
        let names = self.kind.counters().iter().copied();
        let counters = names.zip(self.counters.iter().copied());
        let mut members: Vec<(&str, i64)> = counters.collect();
        members.extend([("Start", self.start), ("Last", self.last)]);
        if self.kind == Kind::Interface {
            members.retain(|(_, n)| *n != 0);
        } else if self.rtt != 0 {
            members.push(("RTT", self.rtt));
        }
        let members = members.into_iter().map(|(k, n)| (k.to_owned(), n.into()));
        Value::Object(members.collect())
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
