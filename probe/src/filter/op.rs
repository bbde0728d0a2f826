//! The instructions of the machine, checked and decoded.

use sonde_proto::plan::BpfInstruction;

use super::FilterError;

/// Words of scratch memory (`BPF_MEMWORDS`).
pub(super) const SCRATCH: usize = 16;

/// A checked instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    /// From the frame into A.
    Load(Size, Place),
    /// X = length of the IPv4 header whose first byte stands at the offset.
    LoadHeaderLength(u32),
    SetA(Value),
    SetX(Value),
    StoreA(u8),
    StoreX(u8),
    /// A = A function operand.
    Compute(Function, Operand),
    Negate,
    Jump(u32),
    Branch {
        test: Test,
        operand: Operand,
        then: u8,
        otherwise: u8,
    },
    Return(Answer),
    AToX,
    XToA,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    Word,
    Half,
    Byte,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Frame(u32),
    /// Beyond X.
    Indexed(u32),
}

/// What a register is set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Constant(u32),
    /// The frame's length on the wire.
    Length,
    Scratch(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operand {
    Constant(u32),
    X,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Add,
    Subtract,
    Multiply,
    Divide,
    Or,
    And,
    ShiftLeft,
    ShiftRight,
    Modulo,
    Xor,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Test {
    Equal,
    Greater,
    GreaterOrEqual,
    AnyBit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Constant(u32),
    A,
}

impl Op {
    pub(super) fn decode(
        at: usize,
        instruction: &BpfInstruction,
        length: usize,
    ) -> Result<Self, FilterError> {
        let BpfInstruction { code, jt, jf, k } = *instruction;
        let unknown = FilterError::Unknown { at, code };
        if code > 0xff {
            return Err(unknown);
        }
        let operand = if code & 0x08 == 0 { Operand::Constant(k) } else { Operand::X };
        let scratch = || match u8::try_from(k) {
            Ok(index) if usize::from(index) < SCRATCH => Ok(index),
            _ => Err(FilterError::Scratch { at, index: k }),
        };
        // Linux takes negative offsets for its own data; libpcap's machine would reject the frame.
        let offset = || match i32::try_from(k) {
            Ok(_) => Ok(k),
            Err(_) => Err(FilterError::Ancillary { at, offset: k }),
        };
        let target = |forward: u32| {
            let target = at as u64 + 1 + u64::from(forward);
            if target < length as u64 {
                Ok(())
            } else {
                Err(FilterError::Jump { at, target, length })
            }
        };
        Ok(match code {
            0x20 => Self::Load(Size::Word, Place::Frame(offset()?)),
            0x28 => Self::Load(Size::Half, Place::Frame(offset()?)),
            0x30 => Self::Load(Size::Byte, Place::Frame(offset()?)),
            // X may be "negative", so the sum may wrap: libpcap refuses the frame then.
            0x40 => Self::Load(Size::Word, Place::Indexed(k)),
            0x48 => Self::Load(Size::Half, Place::Indexed(k)),
            0x50 => Self::Load(Size::Byte, Place::Indexed(k)),
            0xb1 => Self::LoadHeaderLength(offset()?),
            0x00 => Self::SetA(Value::Constant(k)),
            0x01 => Self::SetX(Value::Constant(k)),
            0x60 => Self::SetA(Value::Scratch(scratch()?)),
            0x61 => Self::SetX(Value::Scratch(scratch()?)),
            0x80 => Self::SetA(Value::Length),
            0x81 => Self::SetX(Value::Length),
            0x02 => Self::StoreA(scratch()?),
            0x03 => Self::StoreX(scratch()?),
            0x34 | 0x94 if k == 0 => return Err(FilterError::Division { at }),
            0x04 | 0x0c => Self::Compute(Function::Add, operand),
            0x14 | 0x1c => Self::Compute(Function::Subtract, operand),
            0x24 | 0x2c => Self::Compute(Function::Multiply, operand),
            0x34 | 0x3c => Self::Compute(Function::Divide, operand),
            0x44 | 0x4c => Self::Compute(Function::Or, operand),
            0x54 | 0x5c => Self::Compute(Function::And, operand),
            0x64 | 0x6c => Self::Compute(Function::ShiftLeft, operand),
            0x74 | 0x7c => Self::Compute(Function::ShiftRight, operand),
            0x94 | 0x9c => Self::Compute(Function::Modulo, operand),
            0xa4 | 0xac => Self::Compute(Function::Xor, operand),
            0x84 => Self::Negate,
            0x05 => {
                target(k)?;
                Self::Jump(k)
            }
            0x15 | 0x1d | 0x25 | 0x2d | 0x35 | 0x3d | 0x45 | 0x4d => {
                target(u32::from(jt))?;
                target(u32::from(jf))?;
                let test = match code & 0xf0 {
                    0x10 => Test::Equal,
                    0x20 => Test::Greater,
                    0x30 => Test::GreaterOrEqual,
                    _ => Test::AnyBit,
                };
                Self::Branch { test, operand, then: jt, otherwise: jf }
            }
            0x06 => Self::Return(Answer::Constant(k)),
            0x16 => Self::Return(Answer::A),
            0x07 => Self::AToX,
            0x87 => Self::XToA,
            _ => return Err(unknown),
        })
    }
}

impl Size {
    /// The number in network byte order at `offset`; none behind the captured bytes.
    #[inline]
    pub(super) fn load(self, bytes: &[u8], offset: u32) -> Option<u32> {
        let bytes = bytes.get(offset as usize..)?;
        match self {
            Self::Word => bytes.first_chunk().map(|b| u32::from_be_bytes(*b)),
            Self::Half => bytes.first_chunk().map(|b| u32::from(u16::from_be_bytes(*b))),
            Self::Byte => bytes.first().map(|b| u32::from(*b)),
        }
    }
}

impl Value {
    #[inline]
    pub(super) fn of(self, length: u32, scratch: &[u32; SCRATCH]) -> u32 {
        match self {
            Self::Constant(k) => k,
            Self::Length => length,
            Self::Scratch(index) => scratch.get(usize::from(index)).copied().unwrap_or(0),
        }
    }
}

impl Operand {
    #[inline]
    pub(super) fn of(self, x: u32) -> u32 {
        match self {
            Self::Constant(k) => k,
            Self::X => x,
        }
    }
}

impl Function {
    /// None for a division by zero. A shift by 32 or more gives 0, as in libpcap.
    #[inline]
    pub(super) fn of(self, a: u32, b: u32) -> Option<u32> {
        Some(match self {
            Self::Add => a.wrapping_add(b),
            Self::Subtract => a.wrapping_sub(b),
            Self::Multiply => a.wrapping_mul(b),
            Self::Divide => a.checked_div(b)?,
            Self::Or => a | b,
            Self::And => a & b,
            Self::ShiftLeft => a.checked_shl(b).unwrap_or(0),
            Self::ShiftRight => a.checked_shr(b).unwrap_or(0),
            Self::Modulo => a.checked_rem(b)?,
            Self::Xor => a ^ b,
        })
    }
}

impl Test {
    #[inline]
    pub(super) fn holds(self, a: u32, b: u32) -> bool {
        match self {
            Self::Equal => a == b,
            Self::Greater => a > b,
            Self::GreaterOrEqual => a >= b,
            Self::AnyBit => a & b != 0,
        }
    }
}
