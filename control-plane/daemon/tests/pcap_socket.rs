//! Captures that clients write into a socket, metered on a node.

use std::io::Write as _;
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::support::netns::Netns;
use crate::support::sonde::Sonde;
use crate::support::traffic::{Traffic, account_of};

#[test]
fn what_clients_write_is_metered_on_the_node() {
    let netns = Netns::new();
    netns.within(|| {
        let directory = tempfile::tempdir().unwrap();
        let config = "pcap_socket = { min_port = 8110, max_port = 8111 }\n";
        let mut sonde = Sonde::start(config, directory.path(), Some(&netns));
        let query = "G.V().Has('Name', 'lo')";
        let uuid = sonde.capture(json!({ "GremlinQuery": query, "Type": "pcapsocket" }));
        let entry =
            |sonde: &Sonde| sonde.query(&format!("{query}.Values('Captures')"))[0][0].clone();
        sonde.wait("the socket is there", |sonde| entry(sonde)["State"] == "active");
        let address = entry(&sonde)["PCAPSocket"].as_str().unwrap().to_owned();
        assert_eq!(address, "127.0.0.1:8110");

        let traffic = Traffic::new(10);
        let file = directory.path().join("a.pcap");
        traffic.write_pcap(&file);
        let capture = std::fs::read(&file).unwrap();
        let frames = traffic.frames.len() as i64;
        TcpStream::connect(&address).unwrap().write_all(&capture).unwrap();
        sonde.wait("all frames are received", |sonde| sonde.counter("Received") >= frames);
        let flows = sonde.query(&format!("{query}.Flows()"));
        let flows = flows.as_array().unwrap();
        assert_eq!(account_of(flows), traffic.account());
        assert!(flows.iter().all(|flow| flow["CaptureID"] == uuid));

        // What follows the damage is not metered; the next client is.
        let mut damaged = capture.clone();
        damaged.truncate(damaged.len() - 1);
        for file in [&b"no capture"[..], &damaged, &capture] {
            TcpStream::connect(&address).unwrap().write_all(file).unwrap();
        }
        let expected = 3 * frames - 1;
        sonde.wait("all that is whole is received", |sonde| {
            entry(sonde)["PacketsReceived"] == expected && entry(sonde)["PacketsIfDropped"] == 2
        });
        assert_eq!(entry(&sonde)["PacketsDropped"], 0);
        assert_eq!(sonde.counter("Unaccounted"), 0);

        assert_eq!(sonde.delete(&format!("capture/{uuid}")), 200);
        sonde.wait("the port is free", |_| TcpStream::connect(&address).is_err());
        assert_eq!(entry(&sonde), Value::Null);
        sonde.stop();
    });
}
