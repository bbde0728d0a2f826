//! Go writes `null` for what is empty, and takes it for that.

use serde::{Deserialize, Deserializer};

/// Reads `null` as the default, as Go's decoder does; for `deserialize_with`.
pub fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}
