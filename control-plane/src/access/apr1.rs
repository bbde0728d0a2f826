//! The MD5 password hash of Apache's htpasswd, `$apr1$<salt>$<hash>` (Apache's "Password Formats").
//! It is weak, and all that old files have.

use md5::{Digest as _, Md5};

/// The 16 bytes that the password becomes; `salt` is 8 bytes at most.
pub(super) fn digest(password: &[u8], salt: &[u8]) -> [u8; 16] {
    let inner: [u8; 16] = md5(&[password, salt, password]);
    let mut first = Md5::new();
    first.update(password);
    first.update(MAGIC);
    first.update(salt);
    for chunk in password.chunks(inner.len()) {
        first.update(&inner[..chunk.len()]);
    }
    let mut bits = password.len();
    while bits != 0 {
        // What looks like a mistake in the first implementation is part of the format.
        let start = password.first().copied().unwrap_or_default();
        first.update([if bits & 1 == 1 { 0 } else { start }]);
        bits >>= 1;
    }
    let mut sum: [u8; 16] = first.finalize().into();
    for round in 0..ROUNDS {
        let odd = round % 2 == 1;
        let salt = if round % 3 == 0 { &[] } else { salt };
        let again = if round % 7 == 0 { &[] } else { password };
        sum = match odd {
            true => md5(&[password, salt, again, &sum]),
            false => md5(&[&sum, salt, again, password]),
        };
    }
    sum
}

/// Reads the 22 characters that a digest is written in.
pub(super) fn decode(text: &str) -> Option<[u8; 16]> {
    let text: &[u8; 22] = text.as_bytes().try_into().ok()?;
    let mut sum = [0; 16];
    let (groups, last) = text.split_at(20);
    for (group, at) in groups.chunks_exact(4).zip(PLACES) {
        let [_, bytes @ ..] = number(group)?.to_be_bytes();
        for (place, byte) in at.into_iter().zip(bytes) {
            sum[place] = byte;
        }
    }
    sum[LAST] = u8::try_from(number(last)?).ok()?;
    Some(sum)
}

fn md5(parts: &[&[u8]]) -> [u8; 16] {
    let mut sum = Md5::new();
    for part in parts {
        sum.update(part);
    }
    sum.finalize().into()
}

/// Digits of six bits, the lowest first.
fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().rev().try_fold(0, |number, digit| {
        let value = ALPHABET.iter().position(|known| known == digit)?;
        Some(number << 6 | u32::try_from(value).ok()?)
    })
}

const MAGIC: &[u8] = b"$apr1$";

const ROUNDS: usize = 1000;

const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Which bytes of the digest each group of four digits holds, the highest first.
const PLACES: [[usize; 3]; 5] = [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]];

/// The byte that the last two digits hold.
const LAST: usize = 11;
