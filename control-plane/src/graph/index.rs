//! Which elements have a text at a path of their metadata.

use std::sync::Arc;

use ahash::RandomState;
use rpds::HashTrieMapSync;
use serde_json::{Map, Value};
use sonde_proto::graph::Metadata;

use super::ages::Ages;

/// Ages of elements by the texts at a path: dotted, and across arrays, as queries read it. An
/// element has as many texts there as it crosses items of arrays.
#[derive(Clone, Debug)]
pub(super) struct Index {
    path: &'static str,
    ages: HashTrieMapSync<Arc<str>, Ages, RandomState>,
}

impl Index {
    pub(super) fn new(path: &'static str) -> Self {
        let ages = HashTrieMapSync::new_with_hasher_and_ptr_kind(RandomState::new());
        Self { path, ages }
    }

    pub(super) fn path(&self) -> &'static str {
        self.path
    }

    /// Ages of the elements that have that text, in order.
    pub(super) fn ages(&self, text: &str) -> impl Iterator<Item = u64> + use<'_> {
        self.ages.get(text).into_iter().flat_map(Ages::ages)
    }

    /// How many elements have that text.
    pub(super) fn count(&self, text: &str) -> usize {
        self.ages.get(text).map_or(0, Ages::len)
    }

    /// Takes over the metadata `after` of the element of that age, where there was another `before`;
    /// of a new element there was none, of one that goes none comes after.
    pub(super) fn follow(&mut self, age: u64, before: Option<&Metadata>, after: Option<&Metadata>) {
        let (mut old, mut new) = (Vec::new(), Vec::new());
        before.into_iter().for_each(|object| look_up(object, self.path, &mut old));
        after.into_iter().for_each(|object| look_up(object, self.path, &mut new));
        if old == new {
            return;
        }
        old.into_iter().for_each(|text| self.remove(text, age));
        new.into_iter().for_each(|text| self.insert(text, age));
    }

    fn insert(&mut self, text: &str, age: u64) {
        if let Some(ages) = self.ages.get_mut(text) {
            ages.insert(age, ());
        } else {
            let mut ages = Ages::default();
            ages.insert(age, ());
            self.ages.insert_mut(text.into(), ages);
        }
    }

    fn remove(&mut self, text: &str, age: u64) {
        let Some(ages) = self.ages.get_mut(text) else { return };
        ages.remove(age);
        if ages.len() == 0 {
            self.ages.remove_mut(text);
        }
    }
}

/// Finds the texts at a dotted path.
fn look_up<'m>(object: &'m Map<String, Value>, path: &str, found: &mut Vec<&'m str>) {
    let (head, rest) = match path.split_once('.') {
        Some((head, rest)) => (head, Some(rest)),
        None => (path, None),
    };
    match (object.get(head), rest) {
        (Some(value), None) => take(value, found),
        (Some(Value::Object(inner)), Some(rest)) => look_up(inner, rest, found),
        (Some(Value::Array(items)), Some(rest)) => {
            let items = items.iter().filter_map(Value::as_object);
            items.for_each(|item| look_up(item, rest, found));
        }
        _ => {}
    }
}

/// Takes a text, or those in an array.
fn take<'m>(value: &'m Value, found: &mut Vec<&'m str>) {
    match value {
        Value::String(text) => found.push(text),
        Value::Array(items) => items.iter().for_each(|item| take(item, found)),
        _ => {}
    }
}
