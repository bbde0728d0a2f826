//! A message of the flow stream, and who wants it.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use sonde_proto::flow::{Flow, Stats};
use uuid::Uuid;

use super::encoding::{Encoding, Forms};

/// What subscribers share: a bulk of flows, or statistics.
#[derive(Debug)]
pub struct Message {
    namespace: String,
    uuid: Uuid,
    obj: Obj,
    weight: usize,
    forms: Forms,
}

/// The content of a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Obj {
    /// A bulk, Skydive's type `store`.
    Flows(Vec<Arc<Flow>>),
    /// Counters of one watch, Skydive's type `stats`.
    Stats(Stats),
}

impl Message {
    pub(super) fn new(namespace: String, obj: Obj) -> Self {
        let weight = match &obj {
            Obj::Flows(flows) => flows.iter().map(|flow| weight(flow)).sum(),
            Obj::Stats(stats) => size_of::<Stats>() + 3 * stats.encoded_len(),
        };
        Self { namespace, uuid: Uuid::new_v4(), obj, weight, forms: Forms::default() }
    }

    /// `flow`, `flow/<captureID>` or `stats`.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Names the message, the same for all who receive it.
    pub fn uuid(&self) -> Uuid {
        self.uuid
    }

    /// The content.
    pub fn obj(&self) -> &Obj {
        &self.obj
    }

    /// Roughly the memory it holds, flows and text, in bytes.
    pub fn weight(&self) -> usize {
        self.weight
    }

    /// The bytes of the message, its envelope included; made the first time anybody asks for that
    /// encoding, then shared.
    pub fn encoded(&self, encoding: Encoding) -> Bytes {
        self.forms.get(encoding, || encoding.encode(self))
    }
}

/// The messages a subscriber receives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespaces {
    /// All flows.
    pub flows: bool,
    /// The flows of these captures.
    pub captures: BTreeSet<String>,
    /// Statistics.
    pub stats: bool,
}

impl Namespaces {
    /// From Skydive's names: `flow`, `flow/<captureID>`, `stats`, and `*` for all.
    ///
    /// `*` holds every flow once, whatever is named beside it. No name at all is `flow` only:
    /// clients that name nothing expect lists of flows, nothing else. Other names are no error
    /// and receive nothing.
    pub fn parse<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut parsed = Self { flows: false, captures: BTreeSet::new(), stats: false };
        let mut all = false;
        let mut any = false;
        for name in names {
            any = true;
            match name {
                "*" => all = true,
                "flow" => parsed.flows = true,
                "stats" => parsed.stats = true,
                _ => {
                    if let Some(capture) = name.strip_prefix("flow/") {
                        parsed.captures.insert(capture.to_owned());
                    }
                }
            }
        }
        if all {
            parsed.captures.clear();
            parsed.stats = true;
        }
        parsed.flows |= all || !any;
        parsed
    }
}

/// A flow and its JSON text, which has about three times the bytes of its Protobuf form.
fn weight(flow: &Flow) -> usize {
    size_of::<Flow>() + 3 * flow.encoded_len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_named_is_flows_and_a_star_is_all() {
        let plain = Namespaces::parse([]);
        assert!(plain.flows && !plain.stats && plain.captures.is_empty());
        let all = Namespaces::parse(["flow/a", "*"]);
        assert!(all.flows && all.stats && all.captures.is_empty());
        let some = Namespaces::parse(["flow/a", "flow/b", "stats", "Graph"]);
        assert!(!some.flows && some.stats);
        assert_eq!(Vec::from_iter(&some.captures), ["a", "b"]);
    }
}
