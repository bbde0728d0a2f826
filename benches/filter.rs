//! Frames through the BPF machine, in programs of libpcap's.

#![expect(clippy::expect_used, reason = "a bench that cannot go on fails here")]

mod harness;

use std::hint::black_box;

use sonde_control_plane::bpf;
use sonde_probe::filter::Filter;
use sonde_probe::traffic::{Frames, Generator, Kind, Spec};

use crate::harness::Bench;

fn main() {
    let mut bench = Bench::from_arguments();
    let spec = Spec { packets: 10_000, flows: 1000, ..Spec::of(Kind::Mix) };
    let frames = Frames::of(&mut Generator::new(spec), usize::MAX);
    for (name, expression) in [
        ("filter/none", ""),
        ("filter/protocol", "tcp"),
        ("filter/port", "tcp port 443"),
        ("filter/network", "net 10.0.0.0/9 and (udp port 53 or tcp[tcpflags] & tcp-syn != 0)"),
    ] {
        let program = bpf::compile(expression).expect("libpcap knows it");
        let filter = Filter::new(&program).expect("libpcap made it");
        bench.case(
            name,
            frames.len() as u64,
            || 0_u64,
            |admitted| {
                for frame in frames.iter() {
                    *admitted += u64::from(black_box(&filter).admits(&frame));
                }
            },
        );
    }
}
