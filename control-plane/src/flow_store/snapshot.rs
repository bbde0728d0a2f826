//! What queries read: the flows as they are, while ingest goes on.

use std::fmt::Debug;
use std::sync::{Arc, PoisonError};

use sonde_proto::flow::Flow;

use super::{FlowStore, SharedFlowStore};
use crate::flow::LazyFlow;

/// Flows that a query reads.
pub trait Flows: Debug {
    /// All flows, in no order.
    fn flows(&self) -> Box<dyn Iterator<Item = &Arc<Flow>> + '_>;
}

impl Flows for FlowStore {
    fn flows(&self) -> Box<dyn Iterator<Item = &Arc<Flow>> + '_> {
        Box::new(self.flows.values().map(|kept| kept.flow.flow()))
    }
}

/// The flows of a store, taken shelf by shelf: each that was there from begin to end is in it
/// once, as it was when its shelf was looked at. It holds pointers, and copies nothing.
#[derive(Debug, Default)]
pub struct Snapshot {
    flows: Vec<LazyFlow>,
}

impl Snapshot {
    /// Takes the flows of `store`, which is locked for one shelf at a time. Blocks for as long as
    /// ingest puts a few flows.
    pub fn of(store: &SharedFlowStore) -> Self {
        let look = || store.read().unwrap_or_else(PoisonError::into_inner);
        let mut flows = Vec::with_capacity(look().len());
        for number in 0.. {
            let store = look();
            let Some(shelf) = store.flows.shelf(number) else { break };
            flows.extend(shelf.map(|kept| kept.flow.clone()));
        }
        Self { flows }
    }
}

impl Flows for Snapshot {
    fn flows(&self) -> Box<dyn Iterator<Item = &Arc<Flow>> + '_> {
        Box::new(self.flows.iter().map(LazyFlow::flow))
    }
}
