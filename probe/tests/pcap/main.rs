//! Capture files of every variant, whole and damaged.

mod legacy;
mod ng;
mod reading;
mod writer;

use proptest::prelude::*;
use sonde_probe::source::Closed;

use crate::reading::read_bytes;
use crate::writer::{KUZNETZOV, LE, MICRO, NANO, V2_4, Writer};

proptest! {
    /// Any bytes behind any magic: no panic, an end, and never more frames than there is room for.
    #[test]
    fn any_bytes_are_read_to_an_end(
        magic in 0..8_usize,
        tail in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        let mut file = match magic {
            0 => vec![],
            1 => LE.header(MICRO, V2_4, 1),
            2 => Writer { big: true }.header(NANO, (2, 3), 1),
            3 => LE.header(KUZNETZOV, V2_4, 1),
            4 => LE.section(),
            5 => [LE.section(), LE.interface(1, 0, &[])].concat(),
            6 => Writer { big: true }.section(),
            _ => LE.section()[..10].to_vec(),
        };
        file.extend(&tail);
        let (seen, closed) = read_bytes(&file);
        prop_assert!(seen.len() * 16 <= file.len());
        if let Closed::Damaged { offset, .. } = closed {
            prop_assert!(offset <= file.len() as u64);
        }
    }

    /// A good file with one byte changed: no panic, and the frames before it are all there.
    #[test]
    fn one_wrong_byte_harms_nothing_before_it(at in 0..400_usize, byte: u8, ng: bool) {
        let frame = b"0123456789";
        let (head, one) = if ng {
            ([LE.section(), LE.interface(1, 0, &[])].concat(), LE.enhanced(0, 1, 10, frame))
        } else {
            (LE.header(MICRO, V2_4, 1), LE.record(1, 1, 10, frame))
        };
        let mut file = [head.clone(), one.repeat(10)].concat();
        let at = at % file.len();
        file[at] = byte;
        let whole = at.saturating_sub(head.len()) / one.len();
        let (seen, _) = read_bytes(&file);
        prop_assert!(seen.len() >= whole);
        prop_assert!(seen[..whole].iter().all(|f| f.0 == frame));
    }
}
