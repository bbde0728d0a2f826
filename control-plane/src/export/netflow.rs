//! NetFlow version 5, as Cisco's "NetFlow Export Datagram Format" has it. Records are of one
//! direction, and of IPv4 only; numbers are in network byte order.

use std::net::{IpAddr, Ipv4Addr};

use bytes::BufMut;
use sonde_proto::record::FlowRecord;
use sonde_proto::time::Timestamp;

use super::datagram::Datagram;
use super::delta::{Count, Delta};
use super::protocol;

/// Puts records into datagrams.
#[derive(Debug)]
pub(super) struct Encoder {
    /// When the sender came up: times of flows are told from there.
    boot: Timestamp,
    /// Engine type and engine ID, which tell senders of one address apart.
    engine: u16,
    /// Sampling mode and interval.
    sampling: u16,
    /// Records in all datagrams before.
    sequence: u32,
    /// Records of the datagram that is being filled.
    records: Vec<u8>,
}

impl Encoder {
    /// Of a sender that is called `domain` and takes one in `sampling` flows.
    pub(super) fn new(domain: u32, sampling: u32, boot: Timestamp) -> Self {
        let interval = u16::try_from(sampling).unwrap_or(u16::MAX).min(LONGEST_INTERVAL);
        Self {
            boot,
            engine: (domain >> 16) as u16,
            sampling: if sampling > 1 { RANDOM | interval } else { 0 },
            sequence: 0,
            records: Vec::new(),
        }
    }

    /// Whether there are records for such a flow.
    pub(super) fn carries(record: &FlowRecord) -> bool {
        addresses(record).is_some()
    }

    /// Adds what is new: a record for each direction that has packets. Counters have 32 bits; what
    /// is more is shared out among several records.
    pub(super) fn put(&mut self, delta: &Delta<'_>, now: Timestamp, out: &mut Vec<Datagram>) {
        let Some([a, b]) = addresses(delta.record) else { return };
        let ([port_a, port_b], [flags_a, flags_b]) = (delta.ports(), delta.tcp_flags());
        let [input, output] = delta.interfaces().map(|index| u16::try_from(index).unwrap_or(0));
        let ab = Direction {
            addresses: [a, b],
            ports: [port_a, port_b],
            interfaces: [input, output],
            tcp_flags: flags_a,
            protocol: protocol::number(delta.record),
            times: [delta.start, delta.end].map(|at| self.uptime(at)),
        };
        let ba = Direction {
            addresses: [b, a],
            ports: [port_b, port_a],
            interfaces: [output, input],
            tcp_flags: flags_b,
            ..ab
        };
        for (direction, count) in [(ab, delta.ab), (ba, delta.ba)] {
            for share in count.shares(u32::MAX.into()) {
                direction.write(share, &mut self.records);
                if self.records.len() >= MOST * RECORD {
                    self.flush(now, out);
                }
            }
        }
    }

    /// Whether nothing waits for a datagram to fill.
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Finishes the datagram that is being filled.
    pub(super) fn flush(&mut self, now: Timestamp, out: &mut Vec<Datagram>) {
        let records = self.records.len() / RECORD;
        if records == 0 {
            return;
        }
        let mut bytes = Vec::with_capacity(HEADER + self.records.len());
        bytes.put_u16(VERSION);
        bytes.put_u16(records as u16);
        bytes.put_u32(self.uptime(now));
        bytes.put_u32((now.nanos() / NANOS) as u32);
        bytes.put_u32((now.nanos() % NANOS) as u32);
        bytes.put_u32(self.sequence);
        bytes.put_u16(self.engine);
        bytes.put_u16(self.sampling);
        bytes.append(&mut self.records);
        self.sequence = self.sequence.wrapping_add(records as u32);
        out.push(Datagram { bytes, records: records as u64 });
    }

    /// `SysUptime` at a moment: milliseconds, which begin again after 49 days. What was before the
    /// sender came up, as frames are that are replayed, is at its beginning.
    fn uptime(&self, at: Timestamp) -> u32 {
        at.since(self.boot).as_millis() as u32
    }
}

/// What is told of one direction of a flow beside its counters.
#[derive(Clone, Copy)]
struct Direction {
    addresses: [Ipv4Addr; 2],
    ports: [u16; 2],
    interfaces: [u16; 2],
    tcp_flags: u8,
    protocol: u8,
    /// Of the first and the last packet.
    times: [u32; 2],
}

impl Direction {
    fn write(&self, count: Count, out: &mut impl BufMut) {
        let counter = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        let [source, destination] = self.addresses;
        out.put_u32(source.to_bits());
        out.put_u32(destination.to_bits());
        out.put_u32(0); // next hop
        self.interfaces.iter().for_each(|index| out.put_u16(*index));
        out.put_u32(counter(count.packets));
        out.put_u32(counter(count.bytes));
        self.times.iter().for_each(|time| out.put_u32(*time));
        self.ports.iter().for_each(|port| out.put_u16(*port));
        out.put_u8(0); // padding
        out.put_u8(self.tcp_flags);
        out.put_u8(self.protocol);
        out.put_u8(0); // type of service
        out.put_u32(0); // autonomous systems
        out.put_u16(0); // prefix lengths
        out.put_u16(0); // padding
    }
}

fn addresses(record: &FlowRecord) -> Option<[Ipv4Addr; 2]> {
    let ends = record.network?;
    match [ends.a, ends.b] {
        [IpAddr::V4(a), IpAddr::V4(b)] => Some([a, b]),
        _ => None,
    }
}

const VERSION: u16 = 5;

/// Bytes of the header.
const HEADER: usize = 24;

/// Bytes of a record.
const RECORD: usize = 48;

/// Records in a datagram: so many fit into 1500 bytes.
const MOST: usize = 30;

/// Sampling mode: a hash decides which flows are taken.
const RANDOM: u16 = 2 << 14;

/// What fits beside the mode.
const LONGEST_INTERVAL: u16 = (1 << 14) - 1;

/// Nanoseconds of a second.
const NANOS: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use netflow_parser::NetflowParser;
    use serde_json::{Value, json};
    use sonde_proto::record::{TcpMetric, TcpSide};

    use super::*;
    use crate::export::tests::testing::{self, NOW};

    /// The flow began an hour after the sender.
    const HOUR: u32 = 3_600_000;

    fn encoder(sampling: u32) -> Encoder {
        let boot = Timestamp::from_nanos(NOW.nanos() - u64::from(HOUR) * 1_000_000);
        Encoder::new(0xabcd_0001, sampling, boot)
    }

    /// Where a datagram is made.
    const LATER: Timestamp = NOW.after(Duration::from_millis(5_250));

    fn decoded(datagrams: &[Datagram]) -> Vec<Value> {
        let mut decoder = NetflowParser::default();
        datagrams.iter().map(|sent| testing::decode(&mut decoder, &sent.bytes)).collect()
    }

    #[test]
    fn a_biflow_is_a_record_for_each_direction() {
        let mut record = testing::record();
        let side = |syn, fin| TcpSide { syn, fin, ..TcpSide::default() };
        record.tcp = Some(TcpMetric { ab: side(Some(NOW), Some(NOW)), ba: side(Some(NOW), None) });
        let told = testing::told(record);
        let (mut encoder, mut out) = (encoder(0), Vec::new());
        encoder.put(&testing::delta(&told), LATER, &mut out);
        assert!(out.is_empty() && !encoder.is_empty(), "it waits for more");
        encoder.flush(LATER, &mut out);
        encoder.flush(LATER, &mut out);
        assert_eq!((out.len(), out[0].records), (1, 2));

        let told = &decoded(&out)[0];
        let header = json!({
            "version": 5, "count": 2, "sys_up_time": HOUR + 5_250, "unix_secs": 1_700_000_005,
            "unix_nsecs": 250_000_000, "flow_sequence": 0, "engine_type": 0xab, "engine_id": 0xcd,
            "sampling_interval": 0,
        });
        assert_eq!(told["header"], header);
        let ab = json!({
            "src_addr": "10.0.0.1", "dst_addr": "10.0.0.2", "next_hop": "0.0.0.0",
            "input": 3, "output": 0, "d_pkts": 10, "d_octets": 1000,
            "first": HOUR, "last": HOUR + 3_000, "src_port": 40_000, "dst_port": 443, "pad1": 0,
            "tcp_flags": 3, "protocol_number": 6, "protocol_type": "Tcp", "tos": 0,
            "src_as": 0, "dst_as": 0, "src_mask": 0, "dst_mask": 0, "pad2": 0,
        });
        assert_eq!(told["flowsets"][0], ab);
        let mut ba = ab;
        for (key, value) in [
            ("src_addr", json!("10.0.0.2")),
            ("dst_addr", json!("10.0.0.1")),
            ("src_port", json!(443)),
            ("dst_port", json!(40_000)),
            ("input", json!(0)),
            ("output", json!(3)),
            ("d_pkts", json!(5)),
            ("d_octets", json!(700)),
            ("tcp_flags", json!(2)),
        ] {
            ba[key] = value;
        }
        assert_eq!(told["flowsets"][1], ba);
    }

    #[test]
    fn a_silent_direction_has_no_record() {
        let mut record = testing::record();
        record.metric = testing::metric([0, 0, 5, 700], 10);
        let told = testing::told(record);
        let (mut encoder, mut out) = (encoder(0), Vec::new());
        encoder.put(&testing::delta(&told), LATER, &mut out);
        encoder.flush(LATER, &mut out);
        let told = &decoded(&out)[0];
        assert_eq!(told["header"]["count"], 1);
        assert_eq!(told["flowsets"][0]["src_addr"], "10.0.0.2");
    }

    #[test]
    fn datagrams_hold_thirty_records_and_are_numbered_by_them() {
        let told = testing::told(testing::record());
        let (mut encoder, mut out) = (encoder(100), Vec::new());
        for _ in 0..35 {
            encoder.put(&testing::delta(&told), LATER, &mut out);
        }
        encoder.flush(LATER, &mut out);
        assert_eq!(out[0].bytes.len(), 24 + 30 * 48);
        let told = decoded(&out);
        let header = |key: &str| told.iter().map(|sent| &sent["header"][key]).collect::<Vec<_>>();
        assert_eq!(header("count"), [30, 30, 10]);
        assert_eq!(header("flow_sequence"), [0, 30, 60]);
        assert_eq!(header("sampling_interval"), [2 << 14 | 100; 3]);
    }

    #[test]
    fn an_interval_that_does_not_fit_is_the_longest_that_does() {
        assert_eq!(encoder(1_000_000).sampling, 2 << 14 | 0x3fff);
        assert_eq!(encoder(1).sampling, 0);
    }

    #[test]
    fn counters_of_more_than_32_bits_are_shared_out() {
        let (packets, bytes) = (9_000_000_001, 9_000_000_000_123);
        let mut record = testing::record();
        record.metric = testing::metric([packets, bytes, 0, 0], 60_000);
        let told = testing::told(record);
        let (mut encoder, mut out) = (encoder(0), Vec::new());
        encoder.put(&testing::delta(&told), LATER, &mut out);
        encoder.flush(LATER, &mut out);
        let told = decoded(&out);
        let records: Vec<_> =
            told.iter().flat_map(|sent| sent["flowsets"].as_array().unwrap()).collect();
        let sum =
            |key: &str| records.iter().map(|record| record[key].as_u64().unwrap()).sum::<u64>();
        assert_eq!((sum("d_pkts"), sum("d_octets")), (packets, bytes));
        assert_eq!(records.len(), 2096);
        assert!(records.iter().all(|record| record["d_pkts"].as_u64().unwrap() > 0));
    }

    #[test]
    fn carries_ipv4_and_nothing_else() {
        assert!(Encoder::carries(&testing::record()));
        for record in [testing::record_ipv6(), testing::record_arp()] {
            assert!(!Encoder::carries(&record));
            let told = testing::told(record);
            let (mut encoder, mut out) = (encoder(0), Vec::new());
            encoder.put(&testing::delta(&told), LATER, &mut out);
            assert!(encoder.is_empty());
        }
    }

    #[test]
    fn time_that_went_back_is_no_panic() {
        let told = testing::told(testing::record());
        let mut encoder = Encoder::new(1, 0, LATER);
        let mut out = Vec::new();
        encoder.put(&testing::delta(&told), NOW, &mut out);
        encoder.flush(Timestamp::default(), &mut out);
        let told = &decoded(&out)[0];
        assert_eq!(
            (&told["header"]["sys_up_time"], &told["flowsets"][0]["first"]),
            (&json!(0), &json!(0))
        );
    }
}
