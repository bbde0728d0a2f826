//! What came of a flow since it was told last: records count from the start of the flow, exports
//! count from the export before.

use std::time::Duration;

use ahash::RandomState;
use hashbrown::HashMap;
use sonde_proto::record::{Cause, FlowRecord, Metric, TcpSide};
use sonde_proto::time::Timestamp;

use crate::flow::{FlowNames, Told};
use crate::flow_store::FlowKey;

/// How far each flow was told that goes on.
#[derive(Debug)]
pub(super) struct Deltas {
    told: HashMap<FlowKey, Past, RandomState>,
    limit: usize,
    silence: Duration,
}

/// News of a flow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delta<'a> {
    pub(super) record: &'a FlowRecord,
    pub(super) names: &'a FlowNames,
    /// What A sent since.
    pub(super) ab: Count,
    /// What B sent since.
    pub(super) ba: Count,
    /// From when on it is counted: the first packet, or the last one that was told.
    pub(super) start: Timestamp,
    /// The newest packet.
    pub(super) end: Timestamp,
}

/// Packets and bytes of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) packets: u64,
    pub(super) bytes: u64,
}

/// A flow as it was told last.
#[derive(Clone, Copy, Debug, Default)]
struct Past {
    ab: Count,
    ba: Count,
    last: Timestamp,
    /// When it was told.
    at: Timestamp,
}

impl Deltas {
    /// Remembers `limit` flows at most, and none of which nothing was heard for `silence`: its end
    /// was lost.
    pub(super) fn new(limit: usize, silence: Duration) -> Self {
        Self { told: HashMap::default(), limit, silence }
    }

    /// The news of a record, which are told from now on. `None` when there are none, or when there
    /// is no room to remember them: they are told with the next record, and with the last in any
    /// case.
    pub(super) fn news<'a>(&mut self, told: &'a Told, now: Timestamp) -> Option<Delta<'a>> {
        let Told { record, names } = told;
        let (key, metric) = (FlowKey::of(record), &record.metric);
        let past = self.told.get_mut(&key);
        let (known, before) = (past.is_some(), past.as_deref().copied().unwrap_or_default());
        let (ab, ba) = counts(metric);
        let delta = Delta {
            record,
            names,
            ab: ab.less(before.ab),
            ba: ba.less(before.ba),
            start: if known { before.last } else { metric.start },
            end: metric.last.max(before.last),
        };
        if let Cause::End(_) = record.cause {
            self.told.remove(&key);
            return Some(delta);
        }
        if delta.ab.packets == 0 && delta.ba.packets == 0 {
            if let Some(past) = past {
                past.at = now;
            }
            return None;
        }
        if !known && self.told.len() >= self.limit {
            return None;
        }
        self.told.insert(key, Past { ab, ba, last: metric.last, at: now });
        Some(delta)
    }

    /// Forgets flows whose end was lost. Called now and then.
    pub(super) fn expire(&mut self, now: Timestamp) {
        self.told.retain(|_, past| now.since(past.at) < self.silence);
    }
}

impl Delta<'_> {
    /// Ports of A and B, 0 without.
    pub(super) fn ports(&self) -> [u16; 2] {
        self.record.transport.map_or([0; 2], |ends| [ends.a, ends.b])
    }

    /// TCP flags that A and B have sent, since the flow began: SYN, FIN and RST, which is what a
    /// capture with `ExtraTCPMetric` knows of.
    pub(super) fn tcp_flags(&self) -> [u8; 2] {
        let flags = |side: TcpSide| {
            let flag = |time: Option<Timestamp>, flag| if time.is_some() { flag } else { 0 };
            flag(side.fin, FIN) | flag(side.syn, SYN) | flag(side.rst, RST)
        };
        self.record.tcp.map_or([0; 2], |tcp| [flags(tcp.ab), flags(tcp.ba)])
    }

    /// The interfaces by which what A sends comes in and goes out, 0 where that is not known. What
    /// has the MAC address of the node itself goes out there, all else comes in.
    pub(super) fn interfaces(&self) -> [u32; 2] {
        let names = self.names;
        let index = names.watched.as_ref().map_or(0, |watched| watched.if_index);
        match names.a_node_tid.as_deref() {
            Some(tid) if tid == names.node_tid() => [0, index],
            _ => [index, 0],
        }
    }
}

impl Count {
    /// Even shares of no more than `most` packets and bytes each, if [`SHARES`] suffice; none of no
    /// packets.
    pub(super) fn shares(self, most: u64) -> impl Iterator<Item = Self> {
        let needed = self.packets.div_ceil(most).max(self.bytes.div_ceil(most));
        let parts = if self.packets > 0 { needed.min(SHARES) } else { 0 };
        let share = move |total: u64, n: u64| total / parts + u64::from(n < total % parts);
        (0..parts)
            .map(move |n| Self { packets: share(self.packets, n), bytes: share(self.bytes, n) })
    }

    /// A record that is older than the one before adds nothing.
    const fn less(self, before: Self) -> Self {
        Self {
            packets: self.packets.saturating_sub(before.packets),
            bytes: self.bytes.saturating_sub(before.bytes),
        }
    }
}

const fn counts(metric: &Metric) -> (Count, Count) {
    let Metric { ab_packets, ab_bytes, ba_packets, ba_bytes, .. } = *metric;
    (Count { packets: ab_packets, bytes: ab_bytes }, Count { packets: ba_packets, bytes: ba_bytes })
}

/// Shares of a count at most: no flow has 17 terabytes of news.
const SHARES: u64 = 4096;

// RFC 9293, section 3.1.
const FIN: u8 = 1;
const SYN: u8 = 1 << 1;
const RST: u8 = 1 << 2;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sonde_proto::record::EndReason;

    use super::*;
    use crate::export::tests::testing::{self, NOW};

    const SILENCE: Duration = Duration::from_secs(600);

    fn told(flow: u64, counters: [u64; 4], millis: u64, cause: Cause) -> Told {
        let mut record = testing::record();
        (record.uuid, record.cause) = (flow, cause);
        record.metric = testing::metric(counters, millis);
        testing::told(record)
    }

    const END: Cause = Cause::End(EndReason::Idle);

    fn counters(delta: &Delta<'_>) -> [u64; 4] {
        [delta.ab.packets, delta.ab.bytes, delta.ba.packets, delta.ba.bytes]
    }

    #[test]
    fn counts_from_the_export_before() {
        let mut deltas = Deltas::new(10, SILENCE);
        let mut news = |counters_now, millis, cause| {
            let told = told(1, counters_now, millis, cause);
            deltas.news(&told, NOW).map(|delta| {
                let begin = NOW.millis();
                (counters(&delta), delta.start.millis() - begin, delta.end.millis() - begin)
            })
        };
        assert_eq!(news([2, 200, 1, 90], 50, Cause::Update), Some(([2, 200, 1, 90], 0, 50)));
        assert_eq!(news([2, 200, 1, 90], 50, Cause::Update), None, "nothing is new");
        assert_eq!(news([2, 200, 4, 290], 80, Cause::Update), Some(([0, 0, 3, 200], 50, 80)));
        assert_eq!(news([2, 200, 4, 290], 80, END), Some(([0; 4], 80, 80)), "the end is new");
        assert_eq!(news([1, 60, 0, 0], 5, END), Some(([1, 60, 0, 0], 0, 5)), "another flow");
        assert!(deltas.told.is_empty());
    }

    #[test]
    fn what_cannot_be_remembered_is_told_at_the_end() {
        let mut deltas = Deltas::new(1, SILENCE);
        let [one, other] = [1, 2].map(|flow| told(flow, [3, 300, 0, 0], 10, Cause::Update));
        assert!(deltas.news(&one, NOW).is_some());
        assert!(deltas.news(&other, NOW).is_none());
        let end = told(2, [4, 400, 0, 0], 20, END);
        assert_eq!(counters(&deltas.news(&end, NOW).unwrap()), [4, 400, 0, 0]);
        let end = told(1, [4, 400, 0, 0], 20, END);
        assert_eq!(counters(&deltas.news(&end, NOW).unwrap()), [1, 100, 0, 0]);
    }

    #[test]
    fn flows_whose_end_was_lost_are_forgotten() {
        let mut deltas = Deltas::new(10, SILENCE);
        let old = told(1, [1, 60, 0, 0], 0, Cause::Update);
        let new = told(2, [1, 60, 0, 0], 0, Cause::Update);
        deltas.news(&old, NOW);
        let later = NOW.after(SILENCE);
        deltas.news(&new, later);
        deltas.expire(later);
        assert_eq!(Vec::from_iter(deltas.told.keys()), [&FlowKey::of(&new.record)]);
    }

    #[test]
    fn an_older_record_takes_nothing_back() {
        let mut deltas = Deltas::new(10, SILENCE);
        let [new, old] = [9, 2].map(|n| told(1, [n, n * 60, 0, 0], n, Cause::Update));
        deltas.news(&new, NOW);
        assert!(deltas.news(&old, NOW).is_none());
    }

    proptest! {
        /// Whatever is lost on the way to the exporter: the sums are those of the last record.
        #[test]
        fn deltas_add_up_to_the_last_record(
            steps in proptest::collection::vec((any::<[u32; 4]>(), any::<bool>()), 0..20),
        ) {
            let mut deltas = Deltas::new(10, SILENCE);
            let (mut total, mut sum) = ([0_u64; 4], [0_u64; 4]);
            let last = ([7, 77, 0, 0], true);
            let ends = steps.iter().copied().chain([last]);
            let causes = steps.iter().map(|_| Cause::Update).chain([END]);
            for (n, ((more, arrives), cause)) in ends.zip(causes).enumerate() {
                total = std::array::from_fn(|i| total[i] + u64::from(more[i]));
                if arrives {
                    let told = told(1, total, n as u64, cause);
                    if let Some(delta) = deltas.news(&told, NOW) {
                        let new = counters(&delta);
                        sum = std::array::from_fn(|i| sum[i] + new[i]);
                    }
                }
            }
            prop_assert_eq!(sum, total);
        }

        #[test]
        fn shares_are_small_and_add_up(packets: u32, bytes in 0..u64::MAX >> 20, most in 1_000_000..u64::MAX) {
            let count = Count { packets: packets.into(), bytes };
            prop_assume!(bytes.div_ceil(most) <= SHARES);
            let shares: Vec<_> = count.shares(most).collect();
            let sum = |of: fn(&Count) -> u64| shares.iter().map(of).sum::<u64>();
            prop_assert!(shares.iter().all(|share| share.packets <= most && share.bytes <= most));
            if packets > 0 {
                prop_assert_eq!((sum(|share| share.packets), sum(|share| share.bytes)), (packets.into(), bytes));
            } else {
                prop_assert!(shares.is_empty());
            }
        }
    }
}
