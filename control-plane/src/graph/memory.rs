//! A history in memory, bounded in time and in size.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::{Map, Value};
use sonde_proto::graph::Metadata;
use sonde_proto::time::Timestamp;

use super::history::{History, RecallError, Revision, Span};

/// Keeps revisions until they are too old or too many, those first that ended first.
#[derive(Debug)]
pub struct MemoryHistory {
    limits: HistoryLimits,
    /// By their end.
    kept: VecDeque<Kept>,
    /// Of all that is kept.
    bytes: usize,
    /// What ended until then may be forgotten.
    horizon: i64,
}

/// How much of the past is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryLimits {
    /// Since a revision ended.
    pub time: Duration,
    /// Of all revisions, about.
    pub bytes: usize,
}

#[derive(Debug)]
struct Kept {
    revision: Revision,
    until: Timestamp,
    bytes: usize,
}

impl MemoryHistory {
    /// An empty one.
    pub fn new(limits: HistoryLimits) -> Self {
        Self { limits, kept: VecDeque::new(), bytes: 0, horizon: i64::MIN }
    }

    fn forget(&mut self, now: Timestamp) {
        while let Some(oldest) = self.kept.front() {
            let young = now.since(oldest.until) <= self.limits.time;
            if young && self.bytes <= self.limits.bytes {
                break;
            }
            self.bytes = self.bytes.saturating_sub(oldest.bytes);
            self.horizon = self.horizon.max(oldest.until.millis());
            self.kept.pop_front();
        }
    }
}

impl History for MemoryHistory {
    fn keep(&mut self, revision: Revision, until: Timestamp) {
        let bytes = size_of::<Kept>() + weight(&revision);
        self.bytes += bytes;
        self.kept.push_back(Kept { revision, until, bytes });
        self.forget(until);
    }

    fn recall(&self, span: Span) -> Result<Vec<Revision>, RecallError> {
        if span.from < self.horizon && span.from != i64::MIN {
            return Err(RecallError::Forgotten(self.horizon));
        }
        let met =
            self.kept.iter().filter(|kept| span.meets(kept.revision.from(), kept.until.millis()));
        Ok(met.map(|kept| kept.revision.clone()).collect())
    }
}

/// Bytes of a revision, about.
fn weight(revision: &Revision) -> usize {
    let metadata: &Metadata = match revision {
        Revision::Node(node) => &node.metadata,
        Revision::Edge(edge) => &edge.metadata,
    };
    ELEMENT + weight_of_object(metadata)
}

fn weight_of_object(object: &Map<String, Value>) -> usize {
    object.iter().map(|(key, value)| size_of::<String>() + key.len() + weight_of(value)).sum()
}

fn weight_of(value: &Value) -> usize {
    let behind = match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(weight_of).sum(),
        Value::Object(members) => weight_of_object(members),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    };
    size_of::<Value>() + behind
}

/// A node or an edge without its metadata: its members, and the texts of its IDs.
const ELEMENT: usize = 256;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;
    use sonde_proto::graph::Node;

    use super::*;

    fn revision(n: i64) -> Revision {
        let node = Node { revision: n, updated_at: Some(n * 1000), ..Node::default() };
        Revision::Node(Arc::new(node))
    }

    fn history(time: u64, bytes: usize) -> MemoryHistory {
        let time = Duration::from_secs(time);
        let mut history = MemoryHistory::new(HistoryLimits { time, bytes });
        for n in 0..10 {
            history.keep(revision(n), Timestamp::from_millis(1000 * (n as u64 + 1)));
        }
        history
    }

    fn recall(history: &MemoryHistory, from: i64, to: i64) -> Result<Vec<i64>, RecallError> {
        let revisions = history.recall(Span { from, to })?;
        let number = |revision: &Revision| match revision {
            Revision::Node(node) => node.revision,
            Revision::Edge(edge) => edge.revision,
        };
        Ok(revisions.iter().map(number).collect())
    }

    #[test]
    fn a_revision_is_from_its_begin_until_before_its_end() {
        let history = history(100, usize::MAX);
        assert_eq!(recall(&history, 3000, 3000), Ok(vec![3]));
        assert_eq!(recall(&history, 3999, 3999), Ok(vec![3]));
        assert_eq!(recall(&history, 3999, 5000), Ok(vec![3, 4, 5]));
        assert_eq!(recall(&history, -1, -1), Ok(vec![]));
        assert_eq!(recall(&history, 10_000, 10_000), Ok(vec![]));
    }

    #[test]
    fn what_is_old_is_forgotten() {
        let history = history(2, usize::MAX);
        assert_eq!(recall(&history, 7000, 20_000), Ok(vec![7, 8, 9]));
        assert_eq!(recall(&history, 6999, 20_000), Err(RecallError::Forgotten(7000)));
        assert_eq!(recall(&history, i64::MIN, 20_000), Ok(vec![7, 8, 9]), "all there is");
    }

    #[test]
    fn what_is_much_is_forgotten() {
        let one = size_of::<Kept>() + weight(&revision(0));
        let history = history(100, 3 * one);
        assert_eq!(recall(&history, 7000, 20_000), Ok(vec![7, 8, 9]));
        assert_eq!(recall(&history, 6000, 20_000), Err(RecallError::Forgotten(7000)));
    }

    #[test]
    fn metadata_weighs() {
        let weight = |value| weight_of(&value);
        assert!(weight(json!({"a": "x".repeat(1000)})) > 1000);
        assert!(weight(json!([1, 2, 3])) >= 4 * size_of::<Value>());
        assert!(weight(json!({"key": null})) > weight(json!({})));
    }
}
