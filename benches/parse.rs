//! Frames into pieces.

mod harness;

use std::hint::black_box;

use sonde_probe::parse::{MAX_PIECES, parse};
use sonde_probe::source::Frame;
use sonde_probe::traffic::{Frames, Generator, Kind, Spec};

use crate::harness::Bench;

fn main() {
    let mut bench = Bench::from_arguments();
    let frames = |kind| {
        let spec = Spec { packets: 10_000, flows: 1000, ..Spec::of(kind) };
        Frames::of(&mut Generator::new(spec), usize::MAX)
    };
    let mix = frames(Kind::Mix);
    type Is = fn(&Frame<'_>) -> bool;
    let classes: [(&str, Is); 5] = [
        ("parse/mix", |_| true),
        ("parse/ipv4", |frame| ether_type(frame) == [8, 0] && !is_vxlan(frame)),
        ("parse/ipv6", |frame| ether_type(frame) == [0x86, 0xdd]),
        ("parse/vlan", |frame| ether_type(frame) == [0x81, 0]),
        ("parse/vxlan", is_vxlan),
    ];
    for (name, is) in classes {
        case(&mut bench, name, mix.iter().filter(is).collect());
    }
    case(&mut bench, "parse/flood", frames(Kind::Flood).iter().collect());
}

fn case(bench: &mut Bench, name: &str, frames: Vec<Frame<'_>>) {
    let prepare = || Vec::with_capacity(MAX_PIECES);
    bench.case(name, frames.len() as u64, prepare, |pieces| {
        for frame in &frames {
            pieces.clear();
            let _ = black_box(parse(frame, HEADER_SIZE, pieces));
            black_box(pieces.as_slice());
        }
    });
}

fn ether_type(frame: &Frame<'_>) -> [u8; 2] {
    [frame.bytes[12], frame.bytes[13]]
}

/// Whether an IPv4 frame goes to VXLAN's port.
fn is_vxlan(frame: &Frame<'_>) -> bool {
    ether_type(frame) == [8, 0] && frame.bytes[23] == 17 && frame.bytes[36..38] == [0x12, 0xb5]
}

/// The default of a capture.
const HEADER_SIZE: u32 = 256;
