//! Flows that are told to collectors: what comes out of a UDP socket is read by a decoder that is
//! not ours, and compared with what was sent.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use netflow_parser::NetflowParser;
use serde_json::{Value, json};

use crate::support::netns::Wire;
use crate::support::sonde::Sonde;
use crate::support::traffic::{Account, Traffic, account_of};

/// Updates come once a second, so that a flow is told in parts.
const SOON: &str = "[flow]\nupdate = 1\n";

#[test]
fn ipfix_tells_every_packet_between_two_hosts() {
    let told = export("ipfix", |_| true);
    let reasons: Vec<_> = told.iter().map(|message| message.to_string()).collect();
    assert!(reasons.iter().any(|message| message.contains("ActiveTimeout")));
    assert!(reasons.iter().any(|message| message.contains("ForcedEnd")), "the capture was deleted");
}

#[test]
fn netflow_tells_every_packet_of_ipv4_between_two_hosts() {
    let told = export("netflowv5", |name| !name.contains("fd00:"));
    let headers = told.iter().map(|message| &message["V5"]["header"]);
    let mut sequence = 0;
    for header in headers {
        assert_eq!(header["flow_sequence"], sequence, "none was lost, none told twice");
        sequence += header["count"].as_u64().unwrap();
    }
}

#[test]
fn a_target_that_is_none_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let sonde = Sonde::start("", directory.path(), None);
    for (target, kind, says) in [
        ("here", "ipfix", "Target: Not a valid address"),
        (
            "here:2055",
            "erspanv2",
            "TargetType: Not a valid target type: erspanv2, \
             available types: [erspanv1 ipfix local netflowv5]",
        ),
    ] {
        let capture = json!({ "GremlinQuery": "G.V()", "Target": target, "TargetType": kind });
        let (status, body) = sonde.post("capture", capture.to_string());
        assert_eq!((status, body.trim_end()), (400, says));
    }
    sonde.stop();
}

/// Sends traffic twice between two hosts, and compares what a collector is told with what was sent,
/// as far as the format tells it; then what sonde says of it. All messages, decoded.
fn export(target_type: &str, tells: impl Fn(&str) -> bool + Sync) -> Vec<Value> {
    let wire = Wire::new();
    wire.middle.within(|| {
        let directory = tempfile::tempdir().unwrap();
        let mut sonde = Sonde::start(SOON, directory.path(), Some(&wire.middle));
        sonde.wait("the interface is a node", |sonde| {
            sonde.query("G.V().Has('Name', 'left').Count()") == 1
        });
        let mut collector = Collector::new();
        let uuid = sonde.capture(json!({
            "GremlinQuery": "G.V().Has('Name', 'left')",
            "Target": collector.target(),
            "TargetType": target_type,
        }));
        sonde.wait("the capture is active", |sonde| {
            sonde.query("G.V().Has('Captures.State', 'active').Count()") == 1
        });
        let traffic = Traffic::new(40);
        let expected = |times: i64| -> Account {
            let told = traffic.account().into_iter().filter(|(name, _)| tells(name));
            told.map(|(name, counters)| (name, counters.map(|n| n * times))).collect()
        };
        for round in 1..=2 {
            traffic.send(&wire.a, &wire.b);
            collector.listen("all packets", |account| *account == expected(round));
        }
        let flows = sonde.query("G.Flows()");
        let mut shown = account_of(flows.as_array().unwrap());
        shown.retain(|name, _| tells(name));
        assert_eq!(shown, collector.account, "flows can be queried, too");

        let index = sonde.query("G.V().Has('Name', 'left').Values('IfIndex')");
        assert!(collector.interfaces.iter().all(|told| [&json!(0), &index[0]].contains(&told)));
        assert!(collector.interfaces.contains(&index[0]));

        let (_, status) = sonde.get("status");
        let export = &status["Exports"][&uuid];
        assert_eq!(export["Target"], collector.target());
        assert_eq!(export["TargetType"], target_type);
        assert_eq!(export["Records"], collector.records);
        assert_eq!(export["Datagrams"], collector.messages.len());
        assert_eq!((&export["Dropped"], &export["Errors"]), (&json!(0), &json!(0)));
        assert_eq!(export["NotExportable"] == 0, tells("fd00:"));

        assert_eq!(sonde.delete(&format!("capture/{uuid}")), 200);
        sonde.stop();
        collector.listen_to_the_end();
        assert_eq!(collector.account, expected(2), "the ends add no packet");
        collector.messages
    })
}

/// A collector of NetFlow and IPFIX.
struct Collector {
    socket: UdpSocket,
    decoder: NetflowParser,
    messages: Vec<Value>,
    /// Sums of what was told.
    account: Account,
    records: usize,
    /// Interfaces by which flows came in.
    interfaces: Vec<Value>,
}

impl Collector {
    fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        Self {
            socket,
            decoder: NetflowParser::default(),
            messages: Vec::new(),
            account: Account::new(),
            records: 0,
            interfaces: Vec::new(),
        }
    }

    fn target(&self) -> String {
        self.socket.local_addr().unwrap().to_string()
    }

    /// Takes messages until the account is as wanted, for ten seconds at most.
    fn listen(&mut self, what: &str, wanted: impl Fn(&Account) -> bool) {
        let start = Instant::now();
        while !wanted(&self.account) {
            assert!(start.elapsed() < Duration::from_secs(10), "{what}: {:?}", self.account);
            self.take();
        }
    }

    /// Takes what has come.
    fn listen_to_the_end(&mut self) {
        while self.take() {}
    }

    fn take(&mut self) -> bool {
        let mut bytes = [0; 2000];
        let Ok(length) = self.socket.recv(&mut bytes) else { return false };
        let decoded = self.decoder.parse_bytes(&bytes[..length]);
        assert!(decoded.error.is_none(), "{:?}", decoded.error);
        let message = serde_json::to_value(&decoded.packets[0]).unwrap();
        let records = match message.get("V5") {
            Some(netflow) => netflow["flowsets"].as_array().unwrap().iter().map(of_v5).collect(),
            None => of_ipfix(&message["IPFix"]),
        };
        self.records += records.len();
        for Told { name, counters, interface } in records {
            self.interfaces.push(interface);
            let Some(name) = name else { continue };
            let sums = self.account.entry(name).or_default();
            sums.iter_mut().zip(counters).for_each(|(sum, n)| *sum += n);
        }
        self.messages.push(message);
        true
    }
}

/// What a record tells.
struct Told {
    /// As the traffic calls it; none of flows that are not its own.
    name: Option<String>,
    counters: [i64; 4],
    interface: Value,
}

fn of_v5(record: &Value) -> Told {
    let number = |key: &str| record[key].as_i64().unwrap();
    let from_a = number("dst_port") == B_PORT;
    let (end, packets, bytes) =
        (if from_a { "src" } else { "dst" }, number("d_pkts"), number("d_octets"));
    let protocol = name_of_protocol(&record["protocol_type"]);
    let name = format!(
        "{protocol} {}:{}",
        record[format!("{end}_addr")].as_str().unwrap(),
        record[format!("{end}_port")]
    );
    Told {
        name: (from_a || number("src_port") == B_PORT).then_some(name),
        counters: if from_a { [packets, bytes, 0, 0] } else { [0, 0, packets, bytes] },
        interface: record["input"].clone(),
    }
}

fn of_ipfix(message: &Value) -> Vec<Told> {
    let sets = message["flowsets"].as_array().unwrap().iter();
    let data = sets.filter_map(|set| set["body"]["Data"]["fields"].as_array());
    data.flatten().map(of_biflow).collect()
}

fn of_biflow(record: &Value) -> Told {
    let value = |name: &str| {
        let fields = record.as_array().unwrap().iter();
        let mut named = fields.filter(|field| innermost(&field[0]) == name);
        named.next().map_or(Value::Null, |field| innermost(&field[1]).clone())
    };
    let number = |name: &str| value(name).as_i64().unwrap();
    let protocol = value("ProtocolIdentifier");
    let address = match value("SourceIpv4address") {
        Value::Null => value("SourceIpv6address"),
        address => address,
    };
    let (port, peer) = (value("SourceTransportPort"), value("DestinationTransportPort"));
    let name = || {
        let protocol = name_of_protocol(&protocol);
        format!("{protocol} {}:{port}", address.as_str().unwrap())
    };
    Told {
        name: (peer == B_PORT).then(name),
        counters: [
            number("PacketDeltaCount"),
            number("OctetDeltaCount"),
            number("ReversePacketDeltaCount"),
            number("ReverseOctetDeltaCount"),
        ],
        interface: value("IngressInterface"),
    }
}

/// What an enumeration of the decoder holds.
fn innermost(value: &Value) -> &Value {
    match value.as_object() {
        Some(object) if object.len() == 1 => object.values().next().map_or(value, innermost),
        _ => value,
    }
}

fn name_of_protocol(decoded: &Value) -> String {
    decoded.as_str().unwrap().to_uppercase()
}

/// The port of the B ends of the traffic.
const B_PORT: i64 = 9999;
