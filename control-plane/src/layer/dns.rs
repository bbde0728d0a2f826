//! DNS (RFC 1035) as Skydive shows it: numbers by the names gopacket has for them.

use domain::base::iana::Rtype;
use domain::base::opt::{Opt, UnknownOptData};
use domain::base::wire::ParseError;
use domain::base::{
    Message, ParseRecordData, ParsedName, ParsedRecord, Question, Record, RecordSection,
};
use domain::rdata::{A, Aaaa, Cname, Hinfo, Mx, Ns, Ptr, Soa, Srv, Txt};
use prost_types::Timestamp as Time;
use sonde_proto::flow::layers::{
    Dns, DnsQuestion, DnsResourceRecord, Dnsmx, Dnsopt, Dnssoa, Dnssrv,
};
use sonde_proto::time::Timestamp;

/// A message that came at `at`. Sections are read as far as they can be; records of a type whose
/// data Skydive has no member for are left out. `None`: shorter than its header.
pub fn dns(bytes: &[u8], at: Timestamp) -> Option<Dns> {
    let message = Message::from_slice(bytes).ok()?;
    let (header, counts) = (message.header(), message.header_counts());
    Some(Dns {
        id: header.id().into(),
        qr: header.qr(),
        op_code: op_code(header.opcode().to_int()).into(),
        aa: header.aa(),
        tc: header.tc(),
        rd: header.rd(),
        ra: header.ra(),
        // With it AD and CD (RFC 4035), which were reserved once.
        z: u32::from(*bytes.get(3)? >> 4 & 7),
        response_code: response_code(header.rcode().to_int()).into(),
        q_d_count: counts.qdcount().into(),
        a_n_count: counts.ancount().into(),
        n_s_count: counts.nscount().into(),
        a_r_count: counts.arcount().into(),
        questions: message.question().map_while(Result::ok).take(MOST).map(question).collect(),
        answers: section(message.answer()),
        authorities: section(message.authority()),
        additionals: section(message.additional()),
        timestamp: Some(Time {
            seconds: at.millis() / 1000,
            nanos: (at.nanos() % 1_000_000_000) as i32,
        }),
    })
}

fn question(question: Question<ParsedName<&[u8]>>) -> DnsQuestion {
    DnsQuestion {
        name: name(question.qname()),
        r#type: kind(question.qtype().to_int()).into(),
        class: class(question.qclass().to_int()).into(),
    }
}

fn section(records: Result<RecordSection<'_, [u8]>, ParseError>) -> Vec<DnsResourceRecord> {
    let records = records.into_iter().flatten().map_while(Result::ok);
    records.take(MOST).filter_map(|parsed| record(&parsed)).collect()
}

fn record(parsed: &ParsedRecord<'_, [u8]>) -> Option<DnsResourceRecord> {
    let mut record = DnsResourceRecord {
        name: name(&parsed.owner()),
        r#type: kind(parsed.rtype().to_int()).into(),
        class: class(parsed.class().to_int()).into(),
        ttl: parsed.ttl().as_secs(),
        data_length: parsed.rdlen().into(),
        ..DnsResourceRecord::default()
    };
    // Data that cannot be read is left out.
    match parsed.rtype() {
        Rtype::A => record.ip = data(parsed, |a: A| a.addr().to_string()),
        Rtype::AAAA => record.ip = data(parsed, |a: Aaaa| a.addr().to_canonical().to_string()),
        Rtype::NS => record.ns = data(parsed, |ns: Ns<_>| name(ns.nsdname())),
        Rtype::CNAME => record.c_name = data(parsed, |cname: Cname<_>| name(cname.cname())),
        Rtype::PTR => record.ptr = data(parsed, |ptr: Ptr<_>| name(ptr.ptrdname())),
        Rtype::TXT => {
            record.tx_ts = data(parsed, |txt: Txt<&[u8]>| txt.iter().map(text).collect());
        }
        Rtype::HINFO => {
            record.tx_ts = data(parsed, |info: Hinfo<&[u8]>| {
                vec![text(info.cpu().as_ref()), text(info.os().as_ref())]
            });
        }
        Rtype::SOA => {
            record.soa = data(parsed, |soa: Soa<_>| {
                Some(Dnssoa {
                    m_name: name(soa.mname()),
                    r_name: name(soa.rname()),
                    serial: soa.serial().into_int(),
                    refresh: soa.refresh().as_secs(),
                    retry: soa.retry().as_secs(),
                    expire: soa.expire().as_secs(),
                    minimum: soa.minimum().as_secs(),
                })
            });
        }
        Rtype::SRV => {
            record.srv = data(parsed, |srv: Srv<_>| {
                Some(Dnssrv {
                    priority: srv.priority().into(),
                    weight: srv.weight().into(),
                    port: srv.port().into(),
                    name: name(srv.target()),
                })
            });
        }
        Rtype::MX => {
            record.mx = data(parsed, |mx: Mx<_>| {
                Some(Dnsmx { preference: mx.preference().into(), name: name(mx.exchange()) })
            });
        }
        Rtype::OPT => {
            record.opt = data(parsed, |opt: Opt<&[u8]>| {
                let options = opt.iter::<UnknownOptData<_>>().map_while(Result::ok);
                let option = |option: UnknownOptData<&[u8]>| Dnsopt {
                    code: option_code(option.code().to_int()).into(),
                    data: text(option.as_slice()),
                };
                options.map(option).collect()
            });
        }
        _ => return None,
    }
    Some(record)
}

/// What is made of the data of a record; nothing when it breaks the rules of its type.
fn data<'a, D, T: Default>(parsed: &ParsedRecord<'a, [u8]>, make: impl FnOnce(D) -> T) -> T
where
    D: ParseRecordData<'a, [u8]>,
{
    let record = parsed.to_record::<D>().ok().flatten();
    record.map(Record::into_data).map(make).unwrap_or_default()
}

/// Labels joined with dots, as they stand: without escapes, without the dot of the root.
fn name(name: &ParsedName<&[u8]>) -> String {
    let labels = name.iter().filter(|label| !label.is_root());
    let labels: Vec<_> = labels.map(|label| text(label.as_slice())).collect();
    labels.join(".")
}

/// Any bytes as text; what is no UTF-8 is replaced.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn op_code(number: u8) -> &'static str {
    match number {
        0 => "Query",
        1 => "Inverse Query",
        2 => "Status",
        4 => "Notify",
        5 => "Update",
        _ => UNKNOWN,
    }
}

fn response_code(number: u8) -> &'static str {
    match number {
        0 => "No Error",
        1 => "Format Error",
        // The space is gopacket's.
        2 => "Server Failure ",
        3 => "Non-Existent Domain",
        4 => "Not Implemented",
        5 => "Query Refused",
        6 => "Name Exists when it should not",
        7 => "RR Set Exists when it should not",
        8 => "RR Set that should exist does not",
        9 => "Server Not Authoritative for zone",
        10 => "Name not contained in zone",
        _ => UNKNOWN,
    }
}

fn class(number: u16) -> &'static str {
    match number {
        1 => "IN",
        2 => "CS",
        3 => "CH",
        4 => "HS",
        255 => "Any",
        _ => UNKNOWN,
    }
}

fn kind(number: u16) -> &'static str {
    match number {
        1 => "A",
        2 => "NS",
        3 => "MD",
        4 => "MF",
        5 => "CNAME",
        6 => "SOA",
        7 => "MB",
        8 => "MG",
        9 => "MR",
        10 => "NULL",
        11 => "WKS",
        12 => "PTR",
        13 => "HINFO",
        14 => "MINFO",
        15 => "MX",
        16 => "TXT",
        28 => "AAAA",
        33 => "SRV",
        41 => "OPT",
        256 => "URI",
        _ => UNKNOWN,
    }
}

fn option_code(number: u16) -> &'static str {
    match number {
        3 => "NSID",
        5 => "DAU",
        6 => "DHU",
        7 => "N3U",
        8 => "EDNSClientSubnet",
        9 => "EDNSExpire",
        10 => "Cookie",
        11 => "EDNSKeepAlive",
        12 => "CodePadding",
        13 => "CodeChain",
        14 => "CodeEDNSKeyTag",
        16 => "EDNSClientTag",
        17 => "EDNSServerTag",
        26946 => "DeviceID",
        _ => UNKNOWN,
    }
}

/// What gopacket calls numbers it does not know.
const UNKNOWN: &str = "Unknown";

/// Questions, and records of a section, that are read at most: pointers can make many long names of
/// few bytes.
const MOST: usize = 256;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16);
        digits.chunks(2).map(|pair| byte(pair).unwrap()).collect()
    }

    fn read(hex: &str) -> Value {
        let at = Timestamp::from_nanos(1_559_792_414_984_235_000);
        serde_json::to_value(dns(&bytes(hex), at).unwrap()).unwrap()
    }

    /// An answer about `ab.c` with one record of that type and data.
    fn answer(kind: &str, data: &str) -> Value {
        let length = bytes(data).len();
        let message = format!(
            "1234 8180 0001 0001 0000 0000 02616201 6300 0001 0001
             c00c {kind} 0001 0000003c {length:04x} {data}",
        );
        let mut record = read(&message)["answers"][0].take();
        let members = record.as_object_mut().unwrap();
        assert_eq!(members.remove("name"), Some(json!("ab.c")));
        assert_eq!(members.remove("class"), Some(json!("IN")));
        assert_eq!(members.remove("TTL"), Some(json!(60)));
        assert_eq!(members.remove("data_length"), Some(json!(length)));
        record
    }

    #[test]
    fn a_query_shows_its_header_and_question() {
        let expected = json!({
            "ID": 4660, "op_code": "Query", "RD": true, "response_code": "No Error",
            "q_d_count": 1, "questions": [{"name": "ab.c", "type": "AAAA", "class": "IN"}],
            "timestamp": {"seconds": 1_559_792_414, "nanos": 984_235_000},
        });
        assert_eq!(read("1234 0100 0001 0000 0000 0000 02616201 6300 001c 0001"), expected);
    }

    #[test]
    fn flags_and_codes_have_names() {
        let header = read("0001 feb2 0000 0000 0000 0000");
        for flag in ["QR", "AA", "TC", "RA"] {
            assert_eq!(header[flag], true, "{flag}");
        }
        assert_eq!((&header["op_code"], &header["z"]), (&json!("Unknown"), &json!(3)));
        assert_eq!(header["response_code"], "Server Failure ");
        assert_eq!(header["RD"], Value::Null);
    }

    #[test]
    fn records_show_their_data() {
        let cases = [
            ("0001", "c0000201", json!({"type": "A", "IP": "192.0.2.1"})),
            (
                "001c",
                "20010db8000000000000000000000001",
                json!({"type": "AAAA", "IP": "2001:db8::1"}),
            ),
            ("0002", "01 64 c00c", json!({"type": "NS", "NS": "d.ab.c"})),
            ("0005", "c00c", json!({"type": "CNAME", "c_name": "ab.c"})),
            ("000c", "00", json!({"type": "PTR"})),
            ("0010", "0161 026263", json!({"type": "TXT", "TXTs": ["a", "bc"]})),
            ("000d", "0161 026263", json!({"type": "HINFO", "TXTs": ["a", "bc"]})),
            (
                "0006",
                "c00c c00c 00000001 00000002 00000003 00000004 00000005",
                json!({"type": "SOA", "SOA": {"m_name": "ab.c", "r_name": "ab.c", "serial": 1,
                    "refresh": 2, "retry": 3, "expire": 4, "minimum": 5}}),
            ),
            (
                "0021",
                "0001 0002 01bb c00c",
                json!({"type": "SRV", "SRV": {"priority": 1, "weight": 2, "port": 443,
                    "name": "ab.c"}}),
            ),
            ("000f", "000a c00c", json!({"type": "MX", "MX": {"preference": 10, "name": "ab.c"}})),
            (
                "0029",
                "000a 0002 6869 0003 0000",
                json!({"type": "OPT", "OPT": [{"code": "Cookie", "data": "hi"},
                    {"code": "NSID"}]}),
            ),
            ("0001", "c00002", json!({"type": "A"})),
        ];
        for (kind, data, expected) in cases {
            assert_eq!(answer(kind, data), expected, "{kind} {data}");
        }
    }

    #[test]
    fn what_was_cut_or_is_unknown_is_left_out() {
        let cut = read(
            "1234 8180 0001 0003 0000 0000 02616201 6300 0001 0001
             c00c 0001 0001 0000003c 0004 c0000201
             c00c 002e 0001 0000003c 0002 0000
             c00c 0001 0001 0000003c 0004 c0",
        );
        assert_eq!(cut["a_n_count"], 3);
        assert_eq!(cut["answers"].as_array().unwrap().len(), 1, "{cut}");
        assert_eq!(dns(&[0; 11], Timestamp::default()), None);
    }

    #[test]
    fn names_that_go_round_end() {
        let round = read("1234 0000 0001 0000 0000 0000 c00c 0001 0001");
        assert_eq!(round["q_d_count"], 1);
        assert_eq!(round.get("questions"), None);
    }

    #[test]
    fn few_of_many_records_are_read() {
        let record = "c00c 0001 0001 0000003c 0004 c0000201";
        let many = format!(
            "1234 8180 0001 0400 0000 0000 02616201 6300 0001 0001 {}",
            record.repeat(0x400),
        );
        assert_eq!(read(&many)["answers"].as_array().unwrap().len(), MOST);
    }
}
