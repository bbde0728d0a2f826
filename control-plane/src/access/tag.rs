//! Stands for a secret where something has to be remembered of it.

use ring::error::Unspecified;
use ring::hmac::{HMAC_SHA256, Key};
use ring::rand::SystemRandom;

/// Equal for equal texts, and worth nothing to whoever reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Tag([u8; 32]);

/// Makes tags by a key that is another in each process.
#[derive(Debug)]
pub(super) struct Tagger(Key);

impl Tagger {
    /// Fails when the system has no random numbers.
    pub(super) fn new() -> Result<Self, Unspecified> {
        Key::generate(HMAC_SHA256, &SystemRandom::new()).map(Self)
    }

    /// The tag of these parts in this order.
    pub(super) fn tag(&self, parts: &[&[u8]]) -> Tag {
        let mut context = ring::hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut tag = [0; 32];
        tag.copy_from_slice(context.sign().as_ref());
        Tag(tag)
    }
}
