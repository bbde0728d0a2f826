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
                Op::Branch {
                    test,
                    operand,
                    then,
                    otherwise,
                } => {
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
