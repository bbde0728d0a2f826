//! What the end-to-end tests share.

pub(crate) mod netns;
pub(crate) mod sonde;
pub(crate) mod traffic;
