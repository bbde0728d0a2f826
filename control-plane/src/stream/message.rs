//! A message of the flow stream, and who wants it.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use prost::Message as _;
use sonde_proto::flow::{Flow, Stats};
use uuid::Uuid;

use super::encoding::{Encoding, Forms};
use crate::flow::LazyFlow;

/// What subscribers share: a bulk of flows, or statistics.
#[derive(Debug)]
pub struct Message {
    namespace: String,
    uuid: String,
    content: Content,
    /// The content with its flows made, once somebody asked for it.
    obj: OnceLock<Obj>,
    weight: usize,
    forms: Forms,
}

/// What a message carries.
#[derive(Debug)]
pub(super) enum Content {
    Flows(Vec<LazyFlow>),
    Stats(Stats),
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
    pub(super) fn new(namespace: String, content: impl Into<Content>) -> Self {
        let content = content.into();
        let weight = match &content {
            Content::Flows(flows) => flows.iter().map(LazyFlow::weight).sum(),
            Content::Stats(stats) => size_of::<Stats>() + 3 * stats.encoded_len(),
        };
        Self {
            namespace,
            uuid: Uuid::new_v4().to_string(),
            content,
            obj: OnceLock::new(),
            weight,
            forms: Forms::default(),
        }
    }

    /// `flow`, `flow/<captureID>` or `stats`.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Names the message, the same for all who receive it.
    pub fn uuid(&self) -> &str {
        &self.uuid
    }

    /// The content; its flows are made the first time anybody asks for it.
    pub fn obj(&self) -> &Obj {
        self.obj.get_or_init(|| match &self.content {
            Content::Flows(flows) => Obj::Flows(flows.iter().map(LazyFlow::flow).collect()),
            Content::Stats(stats) => Obj::Stats(stats.clone()),
        })
    }

    pub(super) fn content(&self) -> &Content {
        &self.content
    }

    /// How many flows it carries.
    pub fn flows(&self) -> usize {
        match &self.content {
            Content::Flows(flows) => flows.len(),
            Content::Stats(_) => 0,
        }
    }

    /// Roughly the memory it holds, flows and text, in bytes.
    pub fn weight(&self) -> usize {
        self.weight
    }

    /// The bytes of the message, its envelope included; made the first time anybody asks for that
    /// encoding, then shared.
    pub fn encoded(&self, encoding: Encoding) -> Bytes {
        self.forms.get(encoding, self)
    }
}

impl From<Vec<LazyFlow>> for Content {
    fn from(flows: Vec<LazyFlow>) -> Self {
        Self::Flows(flows)
    }
}

impl From<Obj> for Content {
    fn from(obj: Obj) -> Self {
        match obj {
            Obj::Flows(flows) => Self::Flows(flows.into_iter().map(LazyFlow::from).collect()),
            Obj::Stats(stats) => Self::Stats(stats),
        }
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
    /// What the subscriber lost because it was slow; ours, not Skydive's.
    pub loss: bool,
}

impl Namespaces {
    /// From Skydive's names: `flow`, `flow/<captureID>`, `stats`, and `*` for all of these; and
    /// `loss`, which is ours and has to be named.
    ///
    /// `*` holds every flow once, whatever is named beside it. No name at all is `flow` only:
    /// clients that name nothing expect lists of flows, nothing else. Other names are no error
    /// and receive nothing.
    pub fn parse<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut parsed =
            Self { flows: false, captures: BTreeSet::new(), stats: false, loss: false };
        let mut all = false;
        let mut any = false;
        for name in names {
            match name {
                "*" => all = true,
                "flow" => parsed.flows = true,
                "stats" => parsed.stats = true,
                "loss" => {
                    parsed.loss = true;
                    continue;
                }
                _ => {
                    if let Some(capture) = name.strip_prefix("flow/") {
                        parsed.captures.insert(capture.to_owned());
                    }
                }
            }
            any = true;
        }
        if all {
            parsed.captures.clear();
            parsed.stats = true;
        }
        parsed.flows |= all || !any;
        parsed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_named_is_flows_and_a_star_is_all() {
        let plain = Namespaces::parse([]);
        assert!(plain.flows && !plain.stats && plain.captures.is_empty());
        let all = Namespaces::parse(["flow/a", "*"]);
        assert!(all.flows && all.stats && !all.loss && all.captures.is_empty());
        let losses = Namespaces::parse(["loss"]);
        assert!(losses.flows && losses.loss && !losses.stats, "of what is there anyway");
        let some = Namespaces::parse(["flow/a", "flow/b", "stats", "Graph"]);
        assert!(!some.flows && some.stats);
        assert_eq!(Vec::from_iter(&some.captures), ["a", "b"]);
    }
}
