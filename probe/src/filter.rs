//! The classic BPF machine, as libpcap's `bpf_filter` runs it.
//!
//! A program is checked once, when the filter is made: opcodes, jumps, scratch indices, constant
//! divisors, and that it cannot run off its end. So running it needs no check but that a load stays
//! within the captured bytes.

mod op;

use sonde_proto::plan::BpfInstruction;

use self::op::{Answer, Op, Place, SCRATCH, Size};
use crate::source::{Frame, LinkType};

/// Instructions of a program at most (Linux `BPF_MAXINSNS`).
pub const MAX_INSTRUCTIONS: usize = 4096;

/// A checked program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    program: Box<[Op]>,
}

/// What is wrong with a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// Too many instructions.
    #[error("program of {length} instructions, expected at most {MAX_INSTRUCTIONS}")]
    TooLong {
        /// How many there are.
        length: usize,
    },
    /// An operation that the machine does not have.
    #[error("instruction {at}: unknown operation {code:#06x}")]
    Unknown {
        /// Index of the instruction.
        at: usize,
        /// Its operation.
        code: u16,
    },
    /// A load of Linux's packet metadata (`SKF_AD_OFF` and its like), which frames here lack.
    #[error("instruction {at}: load at {offset:#010x}, expected an offset in the frame")]
    Ancillary {
        /// Index of the instruction.
        at: usize,
        /// The offset.
        offset: u32,
    },
    /// A jump behind the last instruction.
    #[error("instruction {at}: jump to {target}, expected a target below {length}")]
    Jump {
        /// Index of the instruction.
        at: usize,
        /// Where it leads.
        target: u64,
        /// Instructions of the program.
        length: usize,
    },
    /// A scratch word that does not exist.
    #[error("instruction {at}: scratch word {index}, expected one below {SCRATCH}")]
    Scratch {
        /// Index of the instruction.
        at: usize,
        /// The word.
        index: u32,
    },
    /// A division by the constant zero.
    #[error("instruction {at}: division by zero")]
    Division {
        /// Index of the instruction.
        at: usize,
    },
    /// The last instruction does not return.
    #[error("the last instruction does not return")]
    NoReturn,
}

impl Filter {
    /// Checks `program`. An empty one admits every frame.
    pub fn new(program: &[BpfInstruction]) -> Result<Self, FilterError> {
        let length = program.len();
        if length > MAX_INSTRUCTIONS {
            return Err(FilterError::TooLong { length });
        }
        let program = program
            .iter()
            .enumerate()
            .map(|(at, instruction)| Op::decode(at, instruction, length))
            .collect::<Result<Box<[Op]>, _>>()?;
        match program.last() {
            None | Some(Op::Return(_)) => Ok(Self { program }),
            Some(_) => Err(FilterError::NoReturn),
        }
    }

    /// Whether the program returns anything but 0 for the frame.
    ///
    /// Programs are compiled for Ethernet: offsets into another link layer would be meaningless,
    /// so a filter that is not empty admits no frame of another link type.
    #[inline]
    pub fn admits(&self, frame: &Frame<'_>) -> bool {
        if self.program.is_empty() {
            return true;
        }
        frame.link == LinkType::Ethernet && self.run(frame.bytes, frame.length) != 0
    }

    /// The program's answer for a frame of `length` bytes on the wire: how many bytes to keep. 0
    /// when it loads behind the captured bytes, or divides by zero.
    fn run(&self, bytes: &[u8], length: u32) -> u32 {
        let (mut a, mut x) = (0u32, 0u32);
        let mut scratch = [0u32; SCRATCH];
        let mut pc = 0;
        // Jumps go forward only, so this ends.
        while let Some(op) = self.program.get(pc) {
            pc += 1;
            match *op {
                Op::Load(size, from) => {
                    let offset = match from {
                        Place::Frame(offset) => Some(offset),
                        Place::Indexed(offset) => x.checked_add(offset),
                    };
                    match offset.and_then(|offset| size.load(bytes, offset)) {
                        Some(value) => a = value,
                        None => return 0,
                    }
                }
                Op::LoadHeaderLength(offset) => match Size::Byte.load(bytes, offset) {
                    Some(value) => x = (value & 0x0f) << 2,
                    None => return 0,
                },
                Op::SetA(value) => a = value.of(length, &scratch),
                Op::SetX(value) => x = value.of(length, &scratch),
                Op::StoreA(index) => store(&mut scratch, index, a),
                Op::StoreX(index) => store(&mut scratch, index, x),
                Op::Compute(function, operand) => match function.of(a, operand.of(x)) {
                    Some(value) => a = value,
                    None => return 0,
                },
                Op::Negate => a = a.wrapping_neg(),
                Op::Jump(forward) => pc += forward as usize,
                Op::Branch { test, operand, then, otherwise } => {
                    let holds = test.holds(a, operand.of(x));
                    pc += usize::from(if holds { then } else { otherwise });
                }
                Op::Return(answer) => {
                    return match answer {
                        Answer::Constant(k) => k,
                        Answer::A => a,
                    };
                }
                Op::AToX => x = a,
                Op::XToA => a = x,
            }
        }
        0
    }
}

fn store(scratch: &mut [u32; SCRATCH], index: u8, value: u32) {
    if let Some(word) = scratch.get_mut(usize::from(index)) {
        *word = value;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sonde_proto::time::Timestamp;

    use super::*;

    /// A program as `tcpdump -ddd` prints it, its instructions separated by commas.
    fn program(text: &str) -> Vec<BpfInstruction> {
        text.split(',')
            .map(|line| {
                let fields: Vec<u32> =
                    line.split_whitespace().map(|field| field.parse().unwrap()).collect();
                let [code, jt, jf, k] = fields[..] else {
                    panic!("expected four fields, {line}");
                };
                BpfInstruction { code: code as u16, jt: jt as u8, jf: jf as u8, k }
            })
            .collect()
    }

    fn filter(text: &str) -> Result<Filter, FilterError> {
        Filter::new(&program(text))
    }

    fn frame(bytes: &[u8]) -> Frame<'_> {
        Frame {
            bytes,
            length: bytes.len() as u32,
            at: Timestamp::default(),
            link: LinkType::Ethernet,
        }
    }

    /// `tcp port 80`, compiled by libpcap for Ethernet.
    const TCP_PORT_80: &str = "40 0 0 12, 21 0 6 34525, 48 0 0 20, 21 0 15 6, 40 0 0 54, \
        21 12 0 80, 40 0 0 56, 21 10 11 80, 21 0 10 2048, 48 0 0 23, 21 0 8 6, 40 0 0 20, \
        69 6 0 8191, 177 0 0 14, 72 0 0 14, 21 2 0 80, 72 0 0 16, 21 0 1 80, 6 0 0 262144, \
        6 0 0 0";

    fn segment(source: u16, destination: u16) -> Vec<u8> {
        let mut bytes = Vec::new();
        etherparse::PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
            .tcp(source, destination, 1, 1)
            .write(&mut bytes, &[])
            .unwrap();
        bytes
    }

    #[test]
    fn tcp_port_80() {
        let filter = filter(TCP_PORT_80).unwrap();
        assert!(filter.admits(&frame(&segment(1000, 80))));
        assert!(filter.admits(&frame(&segment(80, 1000))));
        assert!(!filter.admits(&frame(&segment(1000, 81))));
        let mut udp = segment(1000, 80);
        udp[23] = 17;
        assert!(!filter.admits(&frame(&udp)));
        let mut fragment = segment(1000, 80);
        fragment[21] = 1;
        assert!(!filter.admits(&frame(&fragment)));
        // Options move the ports.
        let mut options = segment(1000, 80);
        options[14] = 0x46;
        options.splice(34..34, [1; 4]);
        assert!(filter.admits(&frame(&options)));
    }

    #[test]
    fn a_load_behind_the_captured_bytes_rejects() {
        let filter = filter(TCP_PORT_80).unwrap();
        let bytes = segment(1000, 80);
        assert!(filter.admits(&frame(&bytes[..38])));
        assert!(!filter.admits(&frame(&bytes[..37])));
        assert!(!filter.admits(&frame(&[])));
    }

    #[test]
    fn the_empty_program_admits_all_and_others_ethernet_only() {
        let all = Filter::new(&[]).unwrap();
        let one = filter("6 0 0 1").unwrap();
        let raw = Frame { link: LinkType::Raw, ..frame(&[0; 20]) };
        assert!(all.admits(&raw) && all.admits(&frame(&[])));
        assert!(!one.admits(&raw) && one.admits(&frame(&[])));
    }

    #[test]
    fn the_length_is_of_the_wire() {
        // `greater 100`: ld len; jge #100.
        let filter = filter("128 0 0 0, 53 0 1 100, 6 0 0 1, 6 0 0 0").unwrap();
        let cut = Frame { length: 100, ..frame(&[0; 20]) };
        assert!(filter.admits(&cut));
        assert!(!filter.admits(&frame(&[0; 20])));
    }

    /// What A holds after instructions that start with A = 12, X = 5.
    fn compute(instructions: &str) -> u32 {
        let text = format!("0 0 0 12, 1 0 0 5, {instructions}, 22 0 0 0");
        filter(&text).unwrap().run(&[0x45, 1, 2, 3, 4, 5], 100)
    }

    #[test]
    fn every_operation_computes() {
        let cases = [
            ("4 0 0 3", 15),
            ("12 0 0 0", 17),
            ("20 0 0 13", u32::MAX),
            ("28 0 0 0", 7),
            ("36 0 0 2147483648", 0),
            ("44 0 0 0", 60),
            ("52 0 0 5", 2),
            ("60 0 0 0", 2),
            ("68 0 0 3", 15),
            ("76 0 0 0", 13),
            ("84 0 0 10", 8),
            ("92 0 0 0", 4),
            ("100 0 0 2", 48),
            ("108 0 0 0", 384),
            ("100 0 0 32", 0),
            ("116 0 0 2", 3),
            ("124 0 0 0", 0),
            ("148 0 0 5", 2),
            ("156 0 0 0", 2),
            ("164 0 0 10", 6),
            ("172 0 0 0", 9),
            ("132 0 0 0", 12u32.wrapping_neg()),
            ("32 0 0 1", 0x0102_0304),
            ("40 0 0 1", 0x0102),
            ("48 0 0 1", 1),
            ("80 0 0 0", 5),
            ("129 0 0 0, 135 0 0 0", 100),
            ("177 0 0 0, 135 0 0 0", 20),
            ("2 0 0 15, 0 0 0 1, 96 0 0 15", 12),
            ("3 0 0 0, 1 0 0 1, 97 0 0 0, 135 0 0 0", 5),
            ("7 0 0 0, 0 0 0 1, 12 0 0 0", 13),
            ("5 0 0 1, 0 0 0 1, 4 0 0 0", 12),
            ("21 0 1 12, 0 0 0 1", 1),
            ("29 1 0 0, 0 0 0 1", 1),
            ("37 0 1 12, 0 0 0 1", 12),
            ("45 0 1 0, 0 0 0 1", 1),
            ("53 0 1 12, 0 0 0 1", 1),
            ("61 0 1 0, 0 0 0 1", 1),
            ("69 0 1 8, 0 0 0 1", 1),
            ("77 0 1 0, 0 0 0 1", 1),
        ];
        for (instructions, expected) in cases {
            assert_eq!(compute(instructions), expected, "{instructions}");
        }
    }

    #[test]
    fn what_cannot_be_computed_rejects() {
        let cases = [
            "1 0 0 0, 60 0 0 0",
            "1 0 0 0, 156 0 0 0",
            "32 0 0 3",
            "40 0 0 5",
            "48 0 0 6",
            "80 0 0 1",
            "1 0 0 4294967295, 80 0 0 1",
            "177 0 0 6",
        ];
        for instructions in cases {
            assert_eq!(compute(instructions), 0, "{instructions}");
        }
    }

    #[test]
    fn programs_are_checked() {
        use FilterError::*;
        let jump = |target, length| Jump { at: 0, target, length };
        let cases = [
            ("6 0 0 1, 0 0 0 1", NoReturn),
            ("21 1 0 0, 6 0 0 0", jump(2, 2)),
            ("21 0 9 0, 6 0 0 0", jump(10, 2)),
            ("5 0 0 4294967295, 6 0 0 0", jump(1 << 32, 2)),
            ("52 0 0 0, 6 0 0 0", Division { at: 0 }),
            ("148 0 0 0, 6 0 0 0", Division { at: 0 }),
            ("96 0 0 16, 6 0 0 0", Scratch { at: 0, index: 16 }),
            ("3 0 0 4294967295, 6 0 0 0", Scratch { at: 0, index: u32::MAX }),
            ("6 0 0 0, 14 0 0 0", Unknown { at: 1, code: 14 }),
            ("255 0 0 0, 6 0 0 0", Unknown { at: 0, code: 255 }),
            ("262 0 0 0, 6 0 0 0", Unknown { at: 0, code: 262 }),
            // The VLAN tag in Linux's metadata.
            ("48 0 0 4294963248, 6 0 0 0", Ancillary { at: 0, offset: 0xffff_f030 }),
        ];
        for (text, error) in cases {
            assert_eq!(filter(text), Err(error), "{text}");
        }
        let last = program("6 0 0 1")[0];
        assert!(Filter::new(&[last; MAX_INSTRUCTIONS]).is_ok());
        let length = MAX_INSTRUCTIONS + 1;
        assert_eq!(Filter::new(&vec![last; length]), Err(TooLong { length }));
    }

    proptest! {
        #[test]
        fn valid_instructions_make_a_program_that_ends(
            instructions in proptest::collection::vec(
                (0..0x100u16, 0..4u8, 0..4u8, prop_oneof![0..20u32, any::<u32>()]),
                0..40,
            ),
            bytes in proptest::collection::vec(any::<u8>(), 0..80),
        ) {
            let returns = [BpfInstruction { code: 6, jt: 0, jf: 0, k: 1 }; 24];
            let is_valid = |one: &BpfInstruction| {
                Filter::new(&[&[*one], &returns[..]].concat()).is_ok()
            };
            let mut program: Vec<BpfInstruction> = instructions
                .into_iter()
                .map(|(code, jt, jf, k)| BpfInstruction { code, jt, jf, k })
                .filter(is_valid)
                .collect();
            program.extend(returns);
            let filter = Filter::new(&program);
            prop_assert!(filter.is_ok());
            filter.unwrap().admits(&frame(&bytes));
        }
    }
}
