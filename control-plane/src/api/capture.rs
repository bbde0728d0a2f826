//! `/api/capture` (Skydive API §2.3).

use std::collections::BTreeMap;
use std::time::Duration;

use sonde_proto::capture::Capture;

use super::resource::Served;
use crate::resource::{ResourceError, Resources};
use crate::state::State;
use crate::store::StoreError;

impl Served for Capture {
    const TITLE: &'static str = "Capture";

    fn resources(state: &State) -> &Resources<Self> {
        state.captures.resources()
    }

    fn create(state: &State, new: Self, ttl: Option<Duration>) -> Result<Self, ResourceError> {
        state.captures.create(new, ttl)
    }

    /// Each with its `Count`.
    fn list(state: &State) -> BTreeMap<String, Self> {
        state.captures.list()
    }

    fn delete(state: &State, id: &str) -> Result<bool, StoreError> {
        state.captures.delete(id)
    }
}
