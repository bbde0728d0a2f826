//! Compiles filter expressions of libpcap to classic BPF over Ethernet.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use pcap::{BpfProgram, Capture, Linktype};
use sonde_proto::flow::RawPacket;
use sonde_proto::plan::BpfInstruction;

/// Compiles `expression`; the empty one admits all and has no instructions.
///
/// libpcap resolves host names while it compiles, so this may block on DNS.
pub fn compile(expression: &str) -> Result<Arc<[BpfInstruction]>, BpfError> {
    if expression.trim().is_empty() {
        return Ok(Arc::default());
    }
    if expression.len() > MAX_LENGTH {
        return Err(BpfError::TooLong(expression.len()));
    }
    let handle = Capture::dead(Linktype::ETHERNET).map_err(BpfError::of_libpcap)?;
    let program = handle.compile(expression, true).map_err(BpfError::of_libpcap)?;
    let instructions = program.get_instructions();
    if instructions.len() > MAX_INSTRUCTIONS {
        return Err(BpfError::TooLarge(instructions.len()));
    }
    let program: Arc<[BpfInstruction]> = instructions
        .iter()
        .map(|instruction| read(&instruction.to_string()).ok_or(BpfError::Unreadable))
        .collect::<Result<_, _>>()?;
    if program.iter().any(jumps_back) {
        return Err(BpfError::Loop);
    }
    if program.iter().any(asks_linux) {
        return Err(BpfError::Metadata);
    }
    Ok(program)
}

/// The program that admits what both admit, first of all `first`. Each is run as if it were alone:
/// what `first` says of VLAN tags, MPLS or PPPoE moves nothing that `then` looks at, as it would in
/// one expression.
pub fn both(
    first: &[BpfInstruction],
    then: &[BpfInstruction],
) -> Result<Arc<[BpfInstruction]>, BpfError> {
    let length = first.len() + then.len();
    if length > MAX_INSTRUCTIONS {
        return Err(BpfError::TooLarge(length));
    }
    // What `first` admits goes on behind its end.
    let onwards = (0..first.len() as u32).rev().map(|k| BpfInstruction {
        code: JUMP_ALWAYS,
        jt: 0,
        jf: 0,
        k,
    });
    let first = first.iter().zip(onwards).map(|(instruction, onwards)| {
        match instruction.code == RETURN && instruction.k != 0 && !then.is_empty() {
            true => onwards,
            false => *instruction,
        }
    });
    Ok(first.chain(then.iter().copied()).collect())
}

/// A filter over packets that are there already, whatever they start with.
#[derive(Clone)]
pub struct PacketFilter {
    expression: String,
    /// libpcap's program by LINKTYPE. A program can be sent to another thread but not be shared.
    programs: Arc<[(u32, Mutex<BpfProgram>)]>,
}

impl PacketFilter {
    /// Compiles `expression`. Like [`compile`], this may block on DNS.
    pub fn new(expression: &str) -> Result<Self, BpfError> {
        if expression.len() > MAX_LENGTH {
            return Err(BpfError::TooLong(expression.len()));
        }
        let mut programs = Vec::new();
        for (link_type, compiled_for) in [(1, Linktype::ETHERNET), (101, RAW)] {
            let handle = Capture::dead(compiled_for).map_err(BpfError::of_libpcap)?;
            match handle.compile(expression, true) {
                Ok(program) => programs.push((link_type, Mutex::new(program))),
                // What asks for Ethernet admits no raw IP.
                Err(error) if programs.is_empty() => return Err(BpfError::of_libpcap(error)),
                Err(_) => {}
            }
        }
        Ok(Self { expression: expression.to_owned(), programs: programs.into() })
    }

    /// Whether a packet is admitted. One of a link type that the expression makes no sense for is
    /// not.
    pub fn admits(&self, packet: &RawPacket) -> bool {
        let program = self.programs.iter().find(|(link_type, _)| *link_type == packet.link_type);
        program.is_some_and(|(_, program)| {
            program.lock().unwrap_or_else(PoisonError::into_inner).filter(&packet.data)
        })
    }

    /// What was compiled.
    pub fn expression(&self) -> &str {
        &self.expression
    }
}

impl PartialEq for PacketFilter {
    fn eq(&self, other: &Self) -> bool {
        self.expression == other.expression
    }
}

impl fmt::Debug for PacketFilter {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("PacketFilter").field(&self.expression).finish()
    }
}

/// `DLT_RAW` of Linux: what LINKTYPE 101 is called inside libpcap.
const RAW: Linktype = Linktype(12);

/// Why an expression is no filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BpfError {
    /// What libpcap says is wrong with the expression.
    #[error("{0}")]
    Expression(String),
    /// The expression is longer than [`MAX_LENGTH`].
    #[error("expression of {0} bytes, at most {MAX_LENGTH} are taken")]
    TooLong(usize),
    /// The program is longer than [`MAX_INSTRUCTIONS`].
    #[error("program of {0} instructions, at most {MAX_INSTRUCTIONS} are taken")]
    TooLarge(usize),
    /// The program jumps back: only `protochain` asks for that.
    #[error("program with a loop (protochain), expected one that ends on every frame")]
    Loop,
    /// The program loads what only Linux knows of a packet: `inbound`, `outbound`, `ifindex`.
    #[error(
        "program loads packet metadata (inbound, outbound, ifindex), expected the frame's bytes"
    )]
    Metadata,
    /// An instruction is not written as this version of the `pcap` crate writes it.
    #[error("libpcap's program cannot be read")]
    Unreadable,
}

impl BpfError {
    fn of_libpcap(error: pcap::Error) -> Self {
        Self::Expression(match error {
            pcap::Error::PcapError(text) => text,
            other => other.to_string(),
        })
    }
}

/// Bytes of an expression, some 200 hosts. libpcap's optimiser takes cubic time: half a second
/// for these, half a minute for four times as many.
pub const MAX_LENGTH: usize = 4 * 1024;

/// Instructions of a program, the kernel's own limit (`BPF_MAXINSNS`).
pub const MAX_INSTRUCTIONS: usize = 4096;

/// `ja`.
const JUMP_ALWAYS: u16 = 0x05;

/// `ret` of a constant: libpcap returns nothing else.
const RETURN: u16 = 0x06;

/// Reads `code jt jf k`. The `pcap` crate shows an instruction's members as text only.
fn read(text: &str) -> Option<BpfInstruction> {
    let mut numbers = text.split(' ');
    let instruction = BpfInstruction {
        code: numbers.next()?.parse().ok()?,
        jt: numbers.next()?.parse().ok()?,
        jf: numbers.next()?.parse().ok()?,
        k: numbers.next()?.parse().ok()?,
    };
    numbers.next().is_none().then_some(instruction)
}

/// Whether an instruction is a jump of libpcap's to one before it: `ja` with a negative offset.
fn jumps_back(instruction: &BpfInstruction) -> bool {
    instruction.code == JUMP_ALWAYS && instruction.k.cast_signed() < 0
}

/// Whether an instruction loads at one of Linux's negative offsets (`SKF_AD_OFF`).
fn asks_linux(instruction: &BpfInstruction) -> bool {
    const CLASS_AND_MODE: u16 = 0xe7;
    const LOAD_ABSOLUTE: u16 = 0x20;
    instruction.code & CLASS_AND_MODE == LOAD_ABSOLUTE && instruction.k.cast_signed() < 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compiles_to_what_tcpdump_d_prints() {
        let program = compile("ip").unwrap();
        let expected =
            [(0x28, 0, 0, 12), (0x15, 0, 1, 0x800), (0x06, 0, 0, 65535), (0x06, 0, 0, 0)]
                .map(|(code, jt, jf, k)| BpfInstruction { code, jt, jf, k });
        assert_eq!(*program, expected);
    }

    #[test]
    fn nothing_admits_all() {
        assert!(compile("").unwrap().is_empty());
        assert!(compile(" \n").unwrap().is_empty());
    }

    #[test]
    fn says_what_is_wrong() {
        let error = compile("port port port").unwrap_err();
        assert!(error.to_string().contains("syntax error"), "{error}");
        assert!(matches!(compile("ip\0"), Err(BpfError::Expression(_))));
        assert_eq!(compile(&"x".repeat(MAX_LENGTH + 1)), Err(BpfError::TooLong(MAX_LENGTH + 1)));
    }

    #[test]
    fn refuses_what_the_machine_cannot_run() {
        assert_eq!(compile("ip protochain 6"), Err(BpfError::Loop));
        assert_eq!(compile("inbound"), Err(BpfError::Metadata));
    }

    #[test]
    fn two_programs_become_one() {
        let (ip, udp) = (compile("ip").unwrap(), compile("udp").unwrap());
        let program = both(&ip, &udp).unwrap();
        let onwards = BpfInstruction { code: 0x05, jt: 0, jf: 0, k: 1 };
        assert_eq!(program[..], [&ip[..2], &[onwards], &ip[3..], &udp].concat());
        assert_eq!(both(&ip, &[]).unwrap(), ip);
        assert_eq!(both(&[], &ip).unwrap(), ip);
        let long = vec![ip[3]; MAX_INSTRUCTIONS - 3];
        assert_eq!(both(&long, &ip), Err(BpfError::TooLarge(MAX_INSTRUCTIONS + 1)));
    }

    #[test]
    fn survives_the_deepest_and_the_longest_expressions() {
        let deep = "(".repeat(MAX_LENGTH / 2 - 1) + "ip" + &")".repeat(MAX_LENGTH / 2 - 1);
        assert!(!compile(&deep).unwrap().is_empty());
        let not = "not ".repeat(MAX_LENGTH / 4 - 1) + "ip";
        assert!(!compile(&not).unwrap().is_empty());
        let hosts: Vec<_> =
            (0..200).map(|n| format!("host 10.0.{}.{}", n / 256, n % 256)).collect();
        assert!(compile(&hosts.join(" or ")).unwrap().len() > hosts.len());
    }
}
