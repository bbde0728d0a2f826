//! How flows begin, go on and end.

use sonde_proto::record::Transport;

use super::conversation::{Carried, Class, Conversation};
use super::header::{ACK, FIN, OPTIONS, Packet, RST, SYN, SYN_OPTIONS, Sender};
use super::popularity::Zipf;
use super::random::{Random, mix, share};

/// Places, in each of which one flow lives after the other.
#[derive(Debug, Default)]
pub(super) struct Lives {
    places: Vec<Place>,
    /// Absent where all places are alike, and nobody dies.
    zipf: Option<Zipf>,
    begun: u32,
}

/// What happens next: a frame of a conversation.
#[derive(Debug)]
pub(super) struct Act {
    pub(super) conversation: Conversation,
    pub(super) packet: Packet,
}

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// The number of the flow that lives there, or was the last to.
    flow: u32,
    /// TCP sequence numbers, the client's and the server's.
    sequences: [u32; 2],
    class: Class,
    stage: Stage,
}

/// How far a flow is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// There is none.
    #[default]
    Vacant,
    /// The client has asked.
    Asked,
    /// Both may speak.
    Open,
    /// This end has sent its FIN.
    Closing(Sender),
}

impl Lives {
    /// So many places, the first the most popular; flows end and others follow.
    pub(super) fn mortal(places: u32) -> Self {
        let places = places.max(1);
        let mut classes = Classes::default();
        let place = |rank| Place { class: classes.next(1.0 / f64::from(rank)), ..Place::default() };
        Self { places: (1..=places).map(place).collect(), zipf: Some(Zipf::new(places)), begun: 0 }
    }

    /// So many places, all alike; no flow ends.
    pub(super) fn immortal(places: u32) -> Self {
        Self { places: vec![Place::default(); places.max(1) as usize], zipf: None, begun: 0 }
    }

    /// One flow sends a frame.
    #[inline]
    pub(super) fn act(&mut self, seed: u64, random: &mut Random) -> Act {
        let places = self.places.len() as u32;
        let rank = match &self.zipf {
            Some(zipf) => zipf.draw(random),
            None => 1 + random.below(places),
        };
        let (ends, size) = match &self.zipf {
            Some(_) => (random.next() as u32 <= mortality(rank, places), imix(random)),
            None => (false, ELEPHANT),
        };
        let by = if random.next() & 1 == 0 { Sender::Client } else { Sender::Server };
        let Some(place) = self.places.get_mut(rank as usize - 1) else {
            unreachable!("ranks are those of places")
        };
        if place.stage == Stage::Vacant {
            place.flow = self.begun;
            self.begun += 1;
        }
        let tcp = self.zipf.is_none() || is_tcp(seed, place.flow);
        let transport = if tcp { Transport::Tcp } else { Transport::Udp };
        let conversation = Conversation::new(seed, place.flow, transport, place.class);
        let packet = if tcp {
            place.segment(&conversation, by, size, ends)
        } else {
            place.datagram(by, size, ends)
        };
        Act { conversation, packet }
    }

    /// Flows that have begun.
    pub(super) fn begun(&self) -> u64 {
        self.begun.into()
    }
}

impl Place {
    /// The next segment of a TCP flow: `by` sends it, unless it is somebody's turn.
    fn segment(
        &mut self,
        conversation: &Conversation,
        by: Sender,
        size: u32,
        ends: bool,
    ) -> Packet {
        let (sender, flags, next) = match self.stage {
            Stage::Vacant => {
                let first = mix(self.flow.into());
                self.sequences = [first as u32, (first >> 32) as u32];
                (Sender::Client, SYN, Stage::Asked)
            }
            Stage::Asked if ends => (Sender::Server, RST | ACK, Stage::Vacant),
            Stage::Asked => (Sender::Server, SYN | ACK, Stage::Open),
            // Every other flow ends in order.
            Stage::Open if ends && self.flow.is_multiple_of(2) => (by, RST | ACK, Stage::Vacant),
            Stage::Open if ends => (by, FIN | ACK, Stage::Closing(by)),
            Stage::Open => (by, ACK, Stage::Open),
            Stage::Closing(Sender::Client) => (Sender::Server, FIN | ACK, Stage::Vacant),
            Stage::Closing(Sender::Server) => (Sender::Client, FIN | ACK, Stage::Vacant),
        };
        self.stage = next;
        let [own, other] = match sender {
            Sender::Client => [0, 1],
            Sender::Server => [1, 0],
        };
        let packet = Packet {
            sender,
            size: if flags == ACK { size } else { SMALL },
            flags,
            sequence: self.sequences[own],
            acknowledgement: if flags & ACK == 0 { 0 } else { self.sequences[other] },
            options: if flags & SYN == 0 { OPTIONS } else { SYN_OPTIONS },
        };
        let payload = packet.size.saturating_sub(packet.headers(conversation));
        let spent = payload + u32::from(flags & (SYN | FIN) != 0);
        self.sequences[own] = packet.sequence.wrapping_add(spent);
        packet
    }

    /// The next datagram of a UDP flow.
    fn datagram(&mut self, by: Sender, size: u32, ends: bool) -> Packet {
        let sender = if self.stage == Stage::Vacant { Sender::Client } else { by };
        self.stage = if ends { Stage::Vacant } else { Stage::Open };
        Packet { sender, size, flags: 0, sequence: 0, acknowledgement: 0, options: &[] }
    }
}

/// Hands out classes, so that each has its share of all weight handed out so far, as nearly as
/// can be: were each drawn by itself, the most popular flows would decide the shares.
#[derive(Debug, Default)]
struct Classes {
    total: f64,
    given: [f64; CLASSES.len()],
}

impl Classes {
    /// The class that lacks most of its share.
    fn next(&mut self, weight: f64) -> Class {
        self.total += weight;
        let lacks = |n: usize| CLASSES[n].1 * self.total - self.given[n];
        let most = (0..CLASSES.len()).max_by(|a, b| lacks(*a).total_cmp(&lacks(*b))).unwrap_or(0);
        self.given[most] += weight;
        CLASSES[most].0
    }
}

/// Every class, and its share of all frames.
const CLASSES: [(Class, f64); 6] = [
    (Class { ipv6: false, carried: Carried::Bare }, 0.85 * 0.8),
    (Class { ipv6: true, carried: Carried::Bare }, 0.15 * 0.8),
    (Class { ipv6: false, carried: Carried::Vlan }, 0.85 * 0.1),
    (Class { ipv6: true, carried: Carried::Vlan }, 0.15 * 0.1),
    (Class { ipv6: false, carried: Carried::Vxlan }, 0.85 * 0.1),
    (Class { ipv6: true, carried: Carried::Vxlan }, 0.15 * 0.1),
];

/// The chance, in 2^32, that a flow ends with its next frame. The rarer it is seen the greater, so
/// that flows of all ranks last equally long.
#[inline]
fn mortality(rank: u32, places: u32) -> u32 {
    (u64::from(rank) * u64::from(MORTALITY) / u64::from(places)) as u32
}

/// Chosen so that 5 million frames of 100 thousand places are of about 260 thousand flows.
const MORTALITY: u32 = 0x9d00_0000;

/// Sizes of frames as 7:4:1.
#[inline]
fn imix(random: &mut Random) -> u32 {
    match random.below(12) {
        0..7 => SMALL,
        7..11 => 576,
        _ => 1500,
    }
}

/// Four in five flows are TCP.
#[inline]
fn is_tcp(seed: u64, flow: u32) -> bool {
    share(mix(seed.wrapping_add(flow.into())) as u32, 5) != 0
}

/// Bytes of the smallest frame.
const SMALL: u32 = 64;
/// Bytes of an elephant's frames.
const ELEPHANT: u32 = 1400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_small() {
        assert_eq!(size_of::<Place>(), 16);
    }

    #[test]
    fn tcp_begins_with_a_handshake_and_ends_with_a_goodbye() {
        const PLACES: u32 = 50;
        let mut lives = Lives::mortal(PLACES);
        let mut random = Random::new(1);
        let mut stories: Vec<(Conversation, Vec<(Sender, u8)>)> = Vec::new();
        for _ in 0..20_000 {
            let act = lives.act(1, &mut random);
            let said = (act.packet.sender, act.packet.flags);
            match stories.iter_mut().find(|(known, _)| *known == act.conversation) {
                Some((_, story)) => story.push(said),
                None => stories.push((act.conversation, vec![said])),
            }
        }
        assert_eq!(stories.len() as u64, lives.begun());
        let mut going_on = 0;
        stories.retain(|(conversation, _)| conversation.transport == Transport::Tcp);
        for (_, story) in &stories {
            assert_eq!(story[0], (Sender::Client, SYN));
            let over = story.iter().position(|(_, flags)| flags & (FIN | RST) != 0);
            match (story.get(1), over.map(|over| &story[over..])) {
                (None, _) => going_on += 1,
                (Some((Sender::Server, flags)), Some([_])) if flags & RST != 0 => {}
                (second, end) => {
                    assert_eq!(second, Some(&(Sender::Server, SYN | ACK)));
                    match end {
                        None | Some([(_, FIN_ACK)]) => going_on += 1,
                        Some([(_, RST_ACK)]) => {}
                        Some([(one, FIN_ACK), (other, FIN_ACK)]) => assert_ne!(one, other),
                        Some(other) => panic!("after the end: {other:?}"),
                    }
                }
            }
        }
        assert!(going_on <= PLACES, "{going_on}");
        assert!(stories.len() > 500);
    }

    const FIN_ACK: u8 = FIN | ACK;
    const RST_ACK: u8 = RST | ACK;

    #[test]
    fn elephants_never_end() {
        let mut lives = Lives::immortal(10);
        let mut random = Random::new(1);
        for _ in 0..1000 {
            let act = lives.act(1, &mut random);
            assert_eq!(act.packet.flags & (FIN | RST), 0);
        }
        assert_eq!(lives.begun(), 10);
    }
}
