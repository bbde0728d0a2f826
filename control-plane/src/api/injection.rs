//! `/api/injectpacket` (Skydive API §2.9).

use std::time::Duration;

use sonde_proto::injection::PacketInjection;

use super::resource::Served;
use crate::resource::{ResourceError, Resources};
use crate::state::State;
use crate::store::StoreError;

impl Served for PacketInjection {
    const TITLE: &'static str = "Injectpacket";

    fn resources(state: &State) -> &Resources<Self> {
        state.injections.resources()
    }

    fn create(state: &State, new: Self, ttl: Option<Duration>) -> Result<Self, ResourceError> {
        state.injections.create(new, ttl)
    }

    fn delete(state: &State, id: &str) -> Result<bool, StoreError> {
        state.injections.delete(id)
    }
}
