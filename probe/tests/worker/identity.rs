//! Identities byte for byte as Skydive computes them.

use sonde_proto::plan::{KeyMode, Watch};
use sonde_proto::record::{EndReason, FlowRecord};

use crate::lab::{A, B, End, Lab, SYN, at, gre, tcp, udp, vxlan, watch, watch_in};

fn records(watch: Watch, frames: &[Vec<u8>]) -> Vec<FlowRecord> {
    let mut lab = Lab::new(vec![watch]);
    for frame in frames {
        lab.play(0.0, frame);
    }
    lab.finish(EndReason::Drained)
}

/// `simple-tcpv4.pcap` of Skydive's tests.
#[test]
fn the_worked_example() {
    let frame = tcp((A, 36108), (B, 3333), SYN);
    let [flow] = records(watch(1), std::slice::from_ref(&frame))[..] else {
        panic!("one flow");
    };
    assert_eq!(flow.metric.start, at(0.0));
    assert_eq!(flow.l3_tracking_id, 0xa8b1_845d_a6a6_715f);
    assert_eq!(flow.tracking_id, 0x8178_9de6_3b99_65cd);
    assert_eq!(flow.uuid, 0xe43b_cb2f_aaee_0002);
    assert_eq!(flow.parent, None);

    let node = Watch { node_tid: Some(sonde_node()), ..watch(1) };
    let [flow] = records(node, &[frame])[..] else {
        panic!("one flow");
    };
    assert_eq!(flow.uuid, 0x49f2_1693_f499_5f04);
}

fn sonde_node() -> uuid::Uuid {
    uuid::uuid!("3f2a2b1e-0000-5000-8000-000000000001")
}

#[test]
fn both_directions_are_one_flow_in_both_key_modes() {
    for key_mode in [KeyMode::L2, KeyMode::L3] {
        let there = tcp((A, 36108), (B, 3333), SYN);
        let back = tcp((B, 3333), (A, 36108), SYN);
        let watch = watch_in(key_mode, 1);
        let one = records(watch.clone(), &[there.clone(), back.clone()]);
        let other = records(watch, &[back, there]);
        let ([one], [other]) = (&one[..], &other[..]) else {
            panic!("one flow each");
        };
        assert_eq!(one.uuid, other.uuid);
        assert_eq!(one.tracking_id == one.l3_tracking_id, key_mode == KeyMode::L3);
        // A is who sent the first frame, in all layers.
        let ends = |flow: &FlowRecord| {
            let network = flow.network.expect("an IP header");
            let ports = flow.transport.expect("ports");
            (flow.link.expect("a MAC header").a, network.a, ports.a)
        };
        assert_eq!(ends(one), (A.mac, A.ip.into(), 36108));
        assert_eq!(ends(other), (B.mac, B.ip.into(), 3333));
    }
}

#[test]
fn key_modes_differ_in_the_mac_addresses() {
    let other = End { mac: [2, 0, 0, 0, 0, 9], ..B };
    let frames = [tcp((A, 36108), (B, 3333), SYN), tcp((A, 36108), (other, 3333), SYN)];
    let l3 = watch_in(KeyMode::L3, 1);
    assert_eq!(records(watch(1), &frames).len(), 2);
    let [flow] = records(l3, &frames)[..] else {
        panic!("one flow");
    };
    assert_eq!(flow.metric.ab_packets, 2);
    assert_eq!(flow.link.expect("kept from the first frame").b, B.mac);
}

#[test]
fn a_tunnelled_flow_names_its_outer_flow() {
    let inner = tcp((A, 1000), (B, 2000), SYN);
    let frames = [
        vxlan(7, 50001, &inner),
        // The source port of VXLAN is no part of the key, its VNI is.
        vxlan(7, 50002, &inner),
        vxlan(8, 50001, &inner),
        inner.clone(),
    ];
    let flows = records(watch(1), &frames);
    assert_eq!(flows.len(), 5);
    let vni = |id: i64| {
        let outer = |flow: &&FlowRecord| flow.network.is_some_and(|network| network.id == id);
        flows.iter().find(|f| f.parent.is_none() && outer(f))
    };
    for (id, packets) in [(7, 2), (8, 1)] {
        let outer = vni(id).expect("an outer flow");
        assert_eq!(outer.transport.map(|t| (t.a, t.b)), Some((50001, 4789)));
        let children: Vec<_> =
            flows.iter().filter(|flow| flow.parent == Some(outer.uuid)).collect();
        let [child] = children[..] else {
            panic!("one inner flow");
        };
        assert_eq!(child.metric.ab_packets, packets);
        assert_eq!(child.metric.ab_bytes, packets * inner.len() as u64);
        assert_eq!(outer.metric.ab_packets, packets);
        assert_eq!(outer.metric.ab_bytes, packets * frames[0].len() as u64);
    }
    // The inner flows and the bare one are one conversation.
    let conversation = |flow: &&FlowRecord| flow.tracking_id == flows_of(&flows, 1000).tracking_id;
    assert_eq!(flows.iter().filter(conversation).count(), 3);
}

/// IP in IP is no piece of its own: the outer flow shows the ports inside.
#[test]
fn a_tunnel_of_ip_in_ip_is_apart_from_a_connection_of_the_same_ports() {
    let bare = tcp((A, 1000), (B, 80), SYN);
    let mut tunnelled = Vec::new();
    etherparse::PacketBuilder::ethernet2(A.mac, B.mac)
        .ipv4(A.ip, B.ip, 64)
        .write(&mut tunnelled, etherparse::ip_number::IPV4, &bare[14..])
        .expect("a Vec takes all");
    let flows = records(watch(1), &[bare, tunnelled.clone(), tunnelled]);
    let mut packets: Vec<_> =
        flows.iter().map(|flow| (flow.layers.to_string(), flow.metric.ab_packets)).collect();
    packets.sort();
    let expected = [("Ethernet/IPv4/IPv4/TCP", 2), ("Ethernet/IPv4/TCP", 1)];
    assert_eq!(packets, expected.map(|(path, packets)| (path.to_owned(), packets)));
    assert_eq!(flows[0].tracking_id, flows[1].tracking_id);
}

/// As Skydive has it: the outer flow of a GRE tunnel is one for each connection inside.
#[test]
fn an_outer_gre_flow_is_keyed_by_the_ports_inside() {
    let there = |port| gre(A, B, &tcp((A, port), (B, 80), SYN)[14..]);
    let back = gre(B, A, &tcp((B, 80), (A, 1), SYN)[14..]);
    let flows = records(watch(1), &[there(1), there(2), there(1), back]);
    let (outer, inner): (Vec<FlowRecord>, Vec<FlowRecord>) =
        flows.iter().partition(|flow| flow.parent.is_none());
    assert_eq!((outer.len(), inner.len()), (2, 2));
    for outer in &outer {
        assert_eq!(outer.transport, None);
        assert_eq!(outer.layers.to_string(), "Ethernet/IPv4/GRE");
        let child = |flow: &&FlowRecord| flow.parent == Some(outer.uuid);
        let child = inner.iter().find(child).expect("its inner flow");
        let packets = |flow: &FlowRecord| (flow.metric.ab_packets, flow.metric.ba_packets);
        assert_eq!(packets(outer), packets(child));
        // Less the Ethernet, IP and GRE headers; without Ethernet the IP length counts.
        let headers = outer.metric.ab_packets * (14 + 20 + 4);
        assert_eq!(child.metric.ab_bytes + headers, outer.metric.ab_bytes);
    }
}

fn flows_of(flows: &[FlowRecord], port: u16) -> &FlowRecord {
    let of = |flow: &&FlowRecord| flow.transport.is_some_and(|transport| transport.a == port);
    flows.iter().find(of).expect("a flow of that port")
}

#[test]
fn udp_without_tunnel_is_keyed_by_both_ports() {
    let frames = [udp((A, 1), (B, 9), b"x"), udp((A, 2), (B, 9), b"x")];
    assert_eq!(records(watch(1), &frames).len(), 2);
}

/// IPv4 in IPv6 shows the inner addresses and is keyed by the outer ones; the digest is the one
/// that Skydive gave a frame with these ends.
#[test]
fn ipv4_in_ipv6_is_keyed_by_the_outer_addresses() {
    let macs = ([0x00, 0x16, 0xcf, 0x41, 0x9c, 0x20], [0x00, 0x90, 0x1a, 0x41, 0x65, 0x41]);
    let addresses = ["2002:4637:d5d3::4637:d5d3", "2001:4860:0:2001::68"];
    let [from, to] = addresses.map(|ip| ip.parse::<std::net::Ipv6Addr>().expect("an address"));
    let mut inner = Vec::new();
    etherparse::PacketBuilder::ipv4([70, 55, 213, 211], [192, 88, 99, 1], 64)
        .tcp(31337, 80, 1, 1000)
        .syn()
        .write(&mut inner, &[])
        .expect("a Vec takes all");
    let mut frame = Vec::new();
    etherparse::PacketBuilder::ethernet2(macs.0, macs.1)
        .ipv6(from.octets(), to.octets(), 64)
        .write(&mut frame, etherparse::ip_number::IPV4, &inner)
        .expect("a Vec takes all");
    let [flow] = records(watch(1), &[frame])[..] else {
        panic!("one flow");
    };
    assert_eq!(flow.layers.to_string(), "Ethernet/IPv6/IPv4/TCP");
    let network = flow.network.expect("addresses");
    assert_eq!(network.a, std::net::IpAddr::from([70, 55, 213, 211]));
    assert_eq!(network.b, std::net::IpAddr::from([192, 88, 99, 1]));
    assert_eq!(flow.l3_tracking_id, 0x7545_3dd7_97ab_57b2);
}

/// MPLS over Ethernet has no addresses of its own: it is keyed by the packet inside.
#[test]
fn an_outer_mpls_flow_is_keyed_by_the_packet_inside() {
    let label = [0x00, 0x01, 0x01, 0x40];
    let over = |from: End, to: End, inner: &[u8]| {
        [&to.mac[..], &from.mac, &[0x88, 0x47], &label, &inner[14..]].concat()
    };
    let there = over(A, B, &tcp((A, 1), (B, 80), SYN));
    let back = over(B, A, &tcp((B, 80), (A, 1), SYN));
    for key_mode in [KeyMode::L2, KeyMode::L3] {
        let other = over(A, B, &tcp((A, 2), (B, 80), SYN));
        let frames = [there.clone(), back.clone(), other];
        let flows = records(watch_in(key_mode, 1), &frames);
        let (outer, inner): (Vec<FlowRecord>, Vec<FlowRecord>) =
            flows.iter().partition(|flow| flow.parent.is_none());
        assert_eq!((outer.len(), inner.len()), (2, 2));
        for outer in outer {
            assert_eq!(outer.layers.to_string(), "Ethernet/MPLS");
            assert_eq!((outer.network, outer.transport), (None, None));
            let child = inner.iter().find(|flow| flow.parent == Some(outer.uuid));
            let child = child.expect("its inner flow");
            // With Ethernet its addresses order the key, without it the IP addresses do.
            let alike = outer.l3_tracking_id == child.l3_tracking_id;
            assert_eq!(alike, key_mode == KeyMode::L3);
            let packets = |flow: &FlowRecord| (flow.metric.ab_packets, flow.metric.ba_packets);
            assert_eq!(packets(&outer), packets(child));
        }
    }
}
