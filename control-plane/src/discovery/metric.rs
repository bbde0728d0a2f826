//! Counters of an interface or a port, and how they are written on its node (API §8.5).

use serde::{Deserialize, Serialize};
use sonde_proto::graph::Metadata;
use sonde_proto::time::Timestamp;

use rtnetlink::packet_route::link::Stats64;

macro_rules! counters {
    ($($counter:ident),+ $(,)?) => {
        /// Skydive's InterfaceMetric. Members that are zero are not written.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "PascalCase", default)]
        #[expect(missing_docs, reason = "the names are the kernel's, see rtnl_link_stats64")]
        pub struct InterfaceMetric {
            $(#[serde(skip_serializing_if = "is_zero")] pub $counter: i64,)+
            /// Begin of the time they cover, in milliseconds since the epoch.
            #[serde(skip_serializing_if = "is_zero")]
            pub start: i64,
            /// End of the time they cover, in milliseconds since the epoch.
            #[serde(skip_serializing_if = "is_zero")]
            pub last: i64,
        }

        impl InterfaceMetric {
            /// What was counted since `earlier`. A counter that went back was reset: it counts
            /// from zero.
            fn since(&self, earlier: &Self) -> Self {
                Self {
                    $($counter: if self.$counter < earlier.$counter {
                        self.$counter
                    } else {
                        self.$counter.saturating_sub(earlier.$counter)
                    },)+
                    start: 0,
                    last: 0,
                }
            }
        }

        impl From<&Stats64> for InterfaceMetric {
            fn from(stats: &Stats64) -> Self {
                Self { $($counter: clamp(stats.$counter),)+ start: 0, last: 0 }
            }
        }
    };
}

counters!(
    collisions,
    multicast,
    rx_bytes,
    rx_compressed,
    rx_crc_errors,
    rx_dropped,
    rx_errors,
    rx_fifo_errors,
    rx_frame_errors,
    rx_length_errors,
    rx_missed_errors,
    rx_over_errors,
    rx_packets,
    tx_aborted_errors,
    tx_bytes,
    tx_carrier_errors,
    tx_compressed,
    tx_dropped,
    tx_errors,
    tx_fifo_errors,
    tx_heartbeat_errors,
    tx_packets,
    tx_window_errors,
);

/// Writes `fresh` as `Metric`, and what changed since as `LastUpdateMetric`; nothing when no
/// counter moved. `looked` is when the counters were last read, if not when they last moved.
pub(super) fn write(
    metadata: &mut Metadata,
    fresh: InterfaceMetric,
    looked: Option<Timestamp>,
    now: Timestamp,
) {
    let earlier: InterfaceMetric = metadata
        .get("Metric")
        .and_then(|held| InterfaceMetric::deserialize(held).ok())
        .unwrap_or_default();
    let change = fresh.since(&earlier);
    if change == InterfaceMetric::default() {
        return;
    }
    let start = looked.map_or(earlier.last, Timestamp::millis);
    if start != 0 {
        let change = InterfaceMetric { start, last: now.millis(), ..change };
        put(metadata, "LastUpdateMetric", change);
    }
    let fresh = InterfaceMetric { last: now.millis(), ..fresh };
    put(metadata, "Metric", fresh);
}

fn put(metadata: &mut Metadata, key: &str, metric: InterfaceMetric) {
    let value = serde_json::to_value(metric).expect("integers by name are JSON");
    metadata.insert(key.to_owned(), value);
}

/// Skydive's counters are signed.
pub(super) fn clamp(counter: u64) -> i64 {
    i64::try_from(counter).unwrap_or(i64::MAX)
}

fn is_zero(counter: &i64) -> bool {
    *counter == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn packets(rx_packets: i64) -> InterfaceMetric {
        InterfaceMetric { rx_packets, ..InterfaceMetric::default() }
    }

    #[test]
    fn changes_are_written_with_their_time() {
        let mut node = Metadata::new();
        write(&mut node, packets(0), None, at(1000));
        assert!(node.is_empty(), "nothing was counted");
        write(&mut node, packets(5), None, at(2000));
        assert_eq!(node["Metric"], json!({"RxPackets": 5, "Last": 2000}));
        assert!(!node.contains_key("LastUpdateMetric"), "no time to count from");
        write(&mut node, packets(5), None, at(3000));
        assert_eq!(node["Metric"], json!({"RxPackets": 5, "Last": 2000}));
        write(&mut node, packets(9), Some(at(3000)), at(4000));
        assert_eq!(node["Metric"], json!({"RxPackets": 9, "Last": 4000}));
        assert_eq!(node["LastUpdateMetric"], json!({"RxPackets": 4, "Start": 3000, "Last": 4000}));
    }

    #[test]
    fn a_reset_counter_counts_from_zero() {
        let mut node = Metadata::new();
        write(&mut node, packets(100), None, at(1000));
        write(&mut node, packets(7), None, at(2000));
        assert_eq!(node["LastUpdateMetric"], json!({"RxPackets": 7, "Start": 1000, "Last": 2000}));
    }

    #[test]
    fn counters_beyond_the_sign_are_clamped() {
        let mut stats = Stats64::default();
        stats.rx_bytes = u64::MAX;
        assert_eq!(InterfaceMetric::from(&stats).rx_bytes, i64::MAX);
    }
}
