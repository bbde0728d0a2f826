//! Flows by what they have in common.

use ahash::RandomState;
use indexmap::IndexSet;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::answer::one_object;
use super::room::Room;
use super::text::Text;
use crate::flow::LazyFlow;

/// Flows by their `TrackingID`, in the order in which those come first. Serializes to a list of one
/// object, or to an empty list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FlowGroups {
    /// What a group has in common, and how many flows it has.
    groups: Vec<(Text, usize)>,
    /// Those of one group after those of the other.
    flows: Vec<LazyFlow>,
}

/// What the flows of a group have in common, and the flows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group<'a> {
    id: &'a Text,
    flows: &'a [LazyFlow],
}

struct Object<'a>(&'a FlowGroups);

impl FlowGroups {
    /// Whether there is no group.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// The groups, each to be serialized as a pair.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = Group<'_>> {
        let mut rest = self.flows.as_slice();
        self.groups.iter().map(move |(id, len)| {
            let (flows, after) = rest.split_at_checked(*len).unwrap_or((rest, &[]));
            rest = after;
            Group { id, flows }
        })
    }

    /// Lets go of groups of one flow.
    pub(super) fn retain_more_than_one(&mut self) {
        let mut counts = self.groups.iter().flat_map(|(_, len)| std::iter::repeat_n(*len, *len));
        self.flows.retain(|_| counts.next().is_some_and(|len| len > 1));
        self.groups.retain(|(_, len)| *len > 1);
    }
}

/// Of flows, each with what it has in common with others.
#[derive(Debug, Default)]
pub(super) struct Grouping {
    ids: IndexSet<Text, RandomState>,
    /// With the places of their IDs.
    flows: Vec<(usize, LazyFlow)>,
}

impl Grouping {
    pub(super) fn add(&mut self, id: Text, flow: LazyFlow) {
        let (place, _) = self.ids.insert_full(id);
        self.flows.push((place, flow));
    }
}

impl Room for Grouping {
    fn make_room(&mut self) {
        self.flows.make_room();
        self.ids.make_room();
    }
}

impl From<Grouping> for FlowGroups {
    fn from(Grouping { ids, mut flows }: Grouping) -> Self {
        // Stable: flows of a group stay in their order.
        flows.sort_by_key(|(place, _)| *place);
        let lens = flows.chunk_by(|(a, _), (b, _)| a == b).map(<[_]>::len);
        let groups = ids.into_iter().zip(lens.collect::<Vec<_>>()).collect();
        Self { groups, flows: flows.into_iter().map(|(_, flow)| flow).collect() }
    }
}

impl Serialize for FlowGroups {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        one_object(&Object(self), self.is_empty(), out)
    }
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let mut map = out.serialize_map(Some(self.0.groups.len()))?;
        for Group { id, flows } in self.0.pairs() {
            map.serialize_entry(&*id.shown(), flows)?;
        }
        map.end()
    }
}

impl Serialize for Group<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        (&*self.id.shown(), self.flows).serialize(out)
    }
}
