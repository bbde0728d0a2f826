//! IPFIX over UDP (RFC 7011): messages of biflows (RFC 5103), and the templates to read them by.

use bytes::BufMut;
use sonde_proto::time::Timestamp;

use super::datagram::Datagram;
use super::delta::Delta;
use super::sampling;
use super::template::Template;

/// Puts records into messages.
#[derive(Debug)]
pub(super) struct Encoder {
    /// The observation domain, which tells senders of one address apart.
    domain: u32,
    /// One in so many flows is taken.
    sampling: u32,
    /// Whether TCP flags are known.
    tcp_flags: bool,
    /// Data records in all messages before.
    sequence: u32,
    /// Since when collectors know the templates, and messages that went out since.
    told: Option<(Timestamp, u32)>,
    message: Message,
    /// The record that is being written.
    record: Vec<u8>,
}

/// The message that is being filled, without its header.
#[derive(Debug, Default)]
struct Message {
    sets: Vec<u8>,
    /// Where the newest set begins, and its ID.
    open: Option<(usize, u16)>,
    /// Records of flows.
    flows: u32,
    /// Other data records.
    options: u32,
}

impl Encoder {
    /// Of an observation domain where one in `sampling` flows is taken.
    pub(super) fn new(domain: u32, sampling: u32, tcp_flags: bool) -> Self {
        Self {
            domain,
            sampling,
            tcp_flags,
            sequence: 0,
            told: None,
            message: Message::default(),
            record: Vec::new(),
        }
    }

    /// Adds what is new.
    pub(super) fn put(&mut self, delta: &Delta<'_>, now: Timestamp, out: &mut Vec<Datagram>) {
        let template = Template::of(delta.record);
        self.record.clear();
        for element in template.elements(self.tcp_flags) {
            element.write(delta, &mut self.record);
        }
        if HEADER + self.message.sets.len() + SET + self.record.len() > LIMIT {
            self.flush(now, out);
        }
        if self.message.sets.is_empty() {
            self.tell(now);
        }
        self.message.open(template.id());
        self.message.sets.extend_from_slice(&self.record);
        self.message.flows += 1;
    }

    /// Whether nothing waits for a message to fill.
    pub(super) fn is_empty(&self) -> bool {
        self.message.sets.is_empty()
    }

    /// Finishes the message that is being filled.
    pub(super) fn flush(&mut self, now: Timestamp, out: &mut Vec<Datagram>) {
        if self.is_empty() {
            return;
        }
        let mut message = std::mem::take(&mut self.message);
        message.close();
        let mut bytes = Vec::with_capacity(HEADER + message.sets.len());
        bytes.put_u16(VERSION);
        bytes.put_u16((HEADER + message.sets.len()) as u16);
        bytes.put_u32((now.nanos() / 1_000_000_000) as u32);
        bytes.put_u32(self.sequence);
        bytes.put_u32(self.domain);
        bytes.append(&mut message.sets);
        self.sequence = self.sequence.wrapping_add(message.flows + message.options);
        if let Some((_, messages)) = &mut self.told {
            *messages += 1;
        }
        out.push(Datagram { bytes, records: message.flows.into() });
    }

    /// Tells the templates with the next message that is begun.
    pub(super) fn begin_again(&mut self) {
        self.told = None;
    }

    /// Begins a message with the templates, when collectors may have lost them or have come since
    /// (RFC 7011, section 8.4), and with how flows are sampled.
    fn tell(&mut self, now: Timestamp) {
        let fresh = self.told.is_some_and(|(at, messages)| {
            messages < EVERY_MESSAGES && now.since(at).as_secs() < EVERY_SECONDS && now >= at
        });
        if fresh {
            return;
        }
        self.told = Some((now, 0));
        let message = &mut self.message;
        message.open(TEMPLATES);
        for template in Template::ALL {
            template.write(self.tcp_flags, &mut message.sets);
        }
        if self.sampling > 1 {
            message.open(OPTIONS_TEMPLATES);
            sampling::write_template(&mut message.sets);
            message.open(sampling::ID);
            sampling::write_record(self.domain, self.sampling, &mut message.sets);
            message.options += 1;
        }
    }
}

impl Message {
    /// Goes on in a set of that ID.
    fn open(&mut self, id: u16) {
        if self.open.is_some_and(|(_, open)| open == id) {
            return;
        }
        self.close();
        self.open = Some((self.sets.len(), id));
        self.sets.put_u16(id);
        self.sets.put_u16(0);
    }

    /// Writes the length of the newest set.
    fn close(&mut self) {
        let Some((start, _)) = self.open.take() else { return };
        let length = (self.sets.len() - start) as u16;
        if let Some(place) = self.sets.get_mut(start + 2..start + SET) {
            place.copy_from_slice(&length.to_be_bytes());
        }
    }
}

const VERSION: u16 = 10;

/// Bytes of the header of a message.
const HEADER: usize = 16;

/// Bytes of the header of a set.
const SET: usize = 4;

/// ID of a set of templates, and of options templates.
const TEMPLATES: u16 = 2;
const OPTIONS_TEMPLATES: u16 = 3;

/// Bytes of a message: a path where 1400 bytes pass carries it, IPv6 and UDP included.
const LIMIT: usize = 1400 - 40 - 8;

/// How long templates are good for: messages, and seconds.
const EVERY_MESSAGES: u32 = 32;
const EVERY_SECONDS: u64 = 60;

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use netflow_parser::NetflowParser;
    use serde_json::{Value, json};
    use sonde_proto::record::{Cause, EndReason, TcpMetric, TcpSide};

    use super::*;
    use crate::export::tests::testing::{self, NOW};
    use crate::flow::Told;

    fn encoder() -> Encoder {
        Encoder::new(0xabcd_0001, 0, false)
    }

    fn sent(encoder: &mut Encoder, told: &[Told], now: Timestamp) -> Vec<Datagram> {
        let mut out = Vec::new();
        told.iter().for_each(|told| encoder.put(&testing::delta(told), now, &mut out));
        encoder.flush(now, &mut out);
        out
    }

    /// What the decoder says of the only record of a message.
    fn only(message: &Value) -> Value {
        let mut flows = testing::flows(message);
        assert_eq!(flows.len(), 1);
        Value::Object(flows.remove(0))
    }

    #[test]
    fn a_biflow_is_one_record_with_all_that_is_known() {
        let told = testing::told(testing::record());
        let sent = sent(&mut encoder(), &[told], NOW);
        let message = testing::decode(&mut NetflowParser::default(), &sent[0].bytes);
        let header = json!({
            "version": 10, "length": sent[0].bytes.len(), "export_time": 1_700_000_000,
            "sequence_number": 0, "observation_domain_id": 0xabcd_0001_u32,
        });
        assert_eq!(message["header"], header);
        let flow = json!({
            "FlowId": 0x0123_4567_89ab_cdef_u64,
            "FlowStartMilliseconds": {"secs": 1_700_000_000, "nanos": 0},
            "FlowEndMilliseconds": {"secs": 1_700_000_003, "nanos": 0},
            "SourceIpv4address": "10.0.0.1", "DestinationIpv4address": "10.0.0.2",
            "SourceTransportPort": 40_000, "DestinationTransportPort": 443,
            "ProtocolIdentifier": "Tcp",
            "OctetDeltaCount": 1000, "ReverseOctetDeltaCount": 700,
            "PacketDeltaCount": 10, "ReversePacketDeltaCount": 5,
            "SourceMacaddress": "02:00:00:00:00:01", "DestinationMacaddress": "02:00:00:00:00:02",
            "VlanId": 42, "IngressInterface": 3, "EgressInterface": 0, "BiflowDirection": 1,
            "FlowEndReason": "ActiveTimeout", "ApplicationName": "TCP",
        });
        assert_eq!(only(&message), flow);
    }

    #[test]
    fn every_kind_of_flow_has_a_template() {
        let records = [testing::record(), testing::record_ipv6(), testing::record_arp()];
        let told = records.map(testing::told);
        let sent = sent(&mut encoder(), &told, NOW);
        assert_eq!((sent.len(), sent[0].records), (1, 3));
        let message = testing::decode(&mut NetflowParser::default(), &sent[0].bytes);
        let flows = testing::flows(&message);
        assert_eq!(flows[1]["SourceIpv6address"], "fd00::1");
        assert_eq!(flows[1]["DestinationIpv6address"], "fd00::2");
        assert_eq!(flows[1]["SourceTransportPort"], 40_000);
        assert_eq!(flows[2]["ApplicationName"], "ARP");
        assert!(!flows[2].contains_key("ProtocolIdentifier"));
        for flow in flows {
            assert_eq!((&flow["PacketDeltaCount"], &flow["VlanId"]), (&json!(10), &json!(42)));
        }
    }

    #[test]
    fn tcp_flags_are_told_where_they_are_known() {
        let mut record = testing::record();
        let side = |syn, rst| TcpSide { syn, rst, ..TcpSide::default() };
        record.tcp = Some(TcpMetric { ab: side(Some(NOW), None), ba: side(Some(NOW), Some(NOW)) });
        let mut encoder = Encoder::new(1, 0, true);
        let sent = sent(&mut encoder, &[testing::told(record)], NOW);
        let flow = only(&testing::decode(&mut NetflowParser::default(), &sent[0].bytes));
        let flags = |of: &Value| {
            let flags = of.as_object().unwrap().iter().filter(|(_, set)| **set == true);
            flags.map(|(flag, _)| flag.clone()).collect::<Vec<_>>()
        };
        assert_eq!(flags(&flow["TcpControlBits"]), ["syn"]);
        assert_eq!(flags(&flow["ReverseTcpControlBits"]), ["rst", "syn"]);
    }

    #[test]
    fn ends_have_reasons() {
        for (cause, expected) in [
            (Cause::Update, "ActiveTimeout"),
            (Cause::End(EndReason::Idle), "IdleTimeout"),
            (Cause::End(EndReason::Active), "ActiveTimeout"),
            (Cause::End(EndReason::Finished), "EndOfFlow"),
            (Cause::End(EndReason::Stopped), "ForcedEnd"),
            (Cause::End(EndReason::Drained), "ForcedEnd"),
            (Cause::End(EndReason::Evicted), "LackOfResources"),
        ] {
            let mut record = testing::record();
            record.cause = cause;
            let sent = sent(&mut encoder(), &[testing::told(record)], NOW);
            let flow = only(&testing::decode(&mut NetflowParser::default(), &sent[0].bytes));
            assert_eq!(flow["FlowEndReason"], expected, "{cause:?}");
        }
    }

    #[test]
    fn what_the_node_sends_itself_goes_out() {
        let mut told = testing::told(testing::record());
        told.names.a_node_tid = Some("here".into());
        told.names.application = Some("HTTPS".into());
        let sent = sent(&mut encoder(), &[told], NOW);
        let flow = only(&testing::decode(&mut NetflowParser::default(), &sent[0].bytes));
        assert_eq!((&flow["IngressInterface"], &flow["EgressInterface"]), (&json!(0), &json!(3)));
        assert_eq!(flow["ApplicationName"], "HTTPS");
    }

    #[test]
    fn messages_are_small_and_numbered_by_the_records_before_them() {
        let told: Vec<_> = (0..200)
            .map(|n| {
                let mut told = testing::told(match n % 3 {
                    0 => testing::record(),
                    1 => testing::record_ipv6(),
                    _ => testing::record_arp(),
                });
                told.record.uuid = n;
                told.names.application = Some(Arc::from("x".repeat(n as usize * 2)));
                told
            })
            .collect();
        let sent = sent(&mut Encoder::new(7, 10, true), &told, NOW);
        let mut decoder = NetflowParser::default();
        let (mut seen, mut data_records) = (0, 0);
        for datagram in &sent {
            assert!(datagram.bytes.len() <= LIMIT);
            let message = testing::decode(&mut decoder, &datagram.bytes);
            assert_eq!(message["header"]["sequence_number"], data_records);
            let flows = testing::flows(&message);
            assert_eq!(datagram.records, flows.len() as u64);
            for flow in &flows {
                assert_eq!(flow["FlowId"], seen);
                seen += 1;
            }
            let sets = message["flowsets"].as_array().unwrap().iter();
            let options = sets.filter(|set| set["header"]["header_id"] == sampling::ID).count();
            data_records += (flows.len() + options) as u64;
        }
        assert_eq!(seen, 200);
        assert!(data_records > seen, "a record of options counts, too");
    }

    #[test]
    fn templates_are_told_again_after_messages_and_after_a_while() {
        let told = [testing::told(testing::record())];
        let has_templates = |encoder: &mut Encoder, now| {
            let sent = sent(encoder, &told, now);
            // A collector that has just started.
            let message = testing::decode(&mut NetflowParser::default(), &sent[0].bytes);
            !testing::flows(&message).is_empty()
        };
        let encoder = &mut encoder();
        assert!(has_templates(encoder, NOW));
        for _ in 1..EVERY_MESSAGES {
            assert!(!has_templates(encoder, NOW));
        }
        assert!(has_templates(encoder, NOW));
        assert!(!has_templates(encoder, NOW.after(Duration::from_secs(59))));
        let minute = NOW.after(Duration::from_secs(60));
        assert!(has_templates(encoder, minute));
        assert!(!has_templates(encoder, minute));
        assert!(has_templates(encoder, NOW), "the clock was set back");
        assert!(!has_templates(encoder, NOW));
        encoder.begin_again();
        assert!(has_templates(encoder, NOW), "another collector may be there");
    }

    #[test]
    fn sampling_is_told_with_the_templates() {
        let told = [testing::told(testing::record())];
        let sent = sent(&mut Encoder::new(0xabcd_0001, 100, false), &told, NOW);
        let message = testing::decode(&mut NetflowParser::default(), &sent[0].bytes);
        let sets = message["flowsets"].as_array().unwrap();
        let options = sets.iter().find_map(|set| set["body"]["OptionsData"]["fields"].get(0));
        let values: Vec<_> = (options.unwrap().as_array().unwrap().iter())
            .map(|pair| testing::innermost(&pair[1]).clone())
            .collect();
        assert_eq!(values, [json!(0xabcd_0001_u32), json!(4), json!(0.01)]);
    }
}
