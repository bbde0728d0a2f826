//! Metrics of many flows or nodes.

use ahash::RandomState;
use indexmap::IndexSet;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::answer::one_object;
use super::metric::Metric;
use super::text::Text;

/// Metrics, each with the ID of its node or the UUID of its flow.
pub(super) type Series = Vec<(Text, Metric)>;

/// Metrics by the ID of their node or the UUID of their flow, in the order in which those come
/// first. Serializes to a list of one object, or to an empty list.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricSeries(Series);

/// Metrics of one ID, and its name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part<'a>(&'a [(Text, Metric)]);

struct Object<'a>(&'a MetricSeries);

struct List<'a>(&'a [(Text, Metric)]);

impl MetricSeries {
    /// Whether there is no metric.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The metrics of each ID.
    pub(super) fn parts(&self) -> impl Iterator<Item = &[(Text, Metric)]> {
        self.0.chunk_by(|(a, _), (b, _)| a == b)
    }

    /// The same, each to be serialized as a pair.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = Part<'_>> {
        self.parts().map(Part)
    }
}

impl From<Series> for MetricSeries {
    fn from(mut series: Series) -> Self {
        let ids: IndexSet<&Text, RandomState> = series.iter().map(|(id, _)| id).collect();
        // Nearly always each has one.
        if ids.len() < series.len() {
            let place = |id| ids.get_index_of(id).unwrap_or_default();
            let places: Vec<usize> = series.iter().map(|(id, _)| place(id)).collect();
            let mut placed: Vec<_> = places.into_iter().zip(series).collect();
            placed.sort_by_key(|(place, _)| *place);
            series = placed.into_iter().map(|(_, metric)| metric).collect();
        }
        Self(series)
    }
}

impl Serialize for MetricSeries {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        one_object(&Object(self), self.is_empty(), out)
    }
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let mut map = out.serialize_map(None)?;
        for part in self.0.parts() {
            if let Some((id, _)) = part.first() {
                map.serialize_entry(&*id.shown(), &List(part))?;
            }
        }
        map.end()
    }
}

impl Serialize for Part<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let id = self.0.first().map(|(id, _)| id.shown());
        (id.as_deref(), List(self.0)).serialize(out)
    }
}

impl Serialize for List<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_seq(self.0.iter().map(|(_, metric)| metric))
    }
}
