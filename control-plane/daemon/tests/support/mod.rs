//! What the end-to-end tests share.

#[path = "../../../src/tls/tests/authority.rs"]
pub(crate) mod authority;
pub(crate) mod netns;
pub(crate) mod sonde;
pub(crate) mod traffic;

/// What the environment asks of a test that may do more, or be more strict.
pub(crate) fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}
