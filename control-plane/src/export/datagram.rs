//! What goes out.

/// A datagram.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Datagram {
    pub(super) bytes: Vec<u8>,
    /// Flow records in it.
    pub(super) records: u64,
}
