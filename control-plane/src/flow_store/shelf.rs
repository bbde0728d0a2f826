//! A small map of flows, in columns.

use ahash::RandomState;
use indexmap::IndexMap;

use super::walk::Rows;
use super::{FlowKey, Stay};
use crate::flow::{Headline, LazyFlow};

/// Flows by key. What is looked at of one flow after the other stands in a column of its own; a flow
/// has the same place in all of them.
#[derive(Debug)]
pub(super) struct Shelf {
    stays: IndexMap<FlowKey, Stay, RandomState>,
    headlines: Vec<Option<Headline>>,
    flows: Vec<LazyFlow>,
}

impl Shelf {
    pub(super) fn new(hasher: RandomState) -> Self {
        let stays = IndexMap::with_hasher(hasher);
        Self { stays, headlines: Vec::new(), flows: Vec::new() }
    }

    /// Puts the flow, in the place of one that is there; whether none was.
    pub(super) fn put(&mut self, key: FlowKey, flow: LazyFlow, stay: Stay) -> bool {
        let (place, known) = self.stays.insert_full(key, stay);
        let headline = flow.headline();
        match (self.headlines.get_mut(place), self.flows.get_mut(place)) {
            (Some(old_headline), Some(old_flow)) => {
                *old_headline = headline;
                *old_flow = flow;
            }
            _ => {
                self.headlines.push(headline);
                self.flows.push(flow);
            }
        }
        known.is_none()
    }

    /// Takes a flow; the last one has its place then.
    pub(super) fn remove(&mut self, key: &FlowKey) -> Option<Stay> {
        let (place, _, stay) = self.stays.swap_remove_full(key)?;
        self.headlines.swap_remove(place);
        self.flows.swap_remove(place);
        Some(stay)
    }

    pub(super) fn flow(&self, key: &FlowKey) -> Option<&LazyFlow> {
        self.flows.get(self.stays.get_index_of(key)?)
    }

    pub(super) fn stay(&self, key: &FlowKey) -> Option<&Stay> {
        self.stays.get(key)
    }

    /// The key and the stay of the flow at a place.
    pub(super) fn at(&mut self, place: usize) -> Option<(&FlowKey, &mut Stay)> {
        self.stays.get_index_mut(place)
    }

    pub(super) fn len(&self) -> usize {
        self.flows.len()
    }

    pub(super) fn rows(&self) -> Rows<'_> {
        Rows::new(&self.headlines, &self.flows)
    }
}
