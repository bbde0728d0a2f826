//! `Metrics`, `Aggregates` and what can be asked of them (Skydive API §3.7, §3.11).

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use ahash::RandomState;
use serde_json::Value;
use sonde_proto::graph::Node;

use super::error::Fault;
use super::field::{Field, lookup};
use super::flow_field::getter;
use super::flow_set::FlowSet;
use super::metric::Metric;
use super::metric_series::{MetricSeries, Series};
use super::selection::Reads;
use super::state::{Machine, Stage, State, refused};
use super::step::Step;
use super::text::Text;
use super::value_steps::number;

pub(super) fn on_metrics<'a>(
    machine: &Machine<'a, '_>,
    series: Series,
    stage: &Stage<'a>,
) -> Result<State<'a>, Fault> {
    match stage.step {
        Step::Count => {
            let ids: HashSet<&Text, RandomState> = series.iter().map(|(id, _)| id).collect();
            Ok(State::Number(ids.len().into()))
        }
        Step::Keys => {
            let first = series.first();
            let names = first.into_iter().flat_map(|(_, metric)| metric.kind().members());
            Ok(State::Values(names.map(Value::from).collect()))
        }
        Step::Sum(name) => sum(&series, name.as_deref()),
        Step::Aggregates(seconds) => Ok(State::Metrics(aggregates(machine, &series, *seconds)?)),
        step => Err(refused(step, "MetricsTraversalStep")),
    }
}

/// `Metrics` of nodes: the last update of their counters; of the past, those that lie inside the
/// span, each once however many revisions have it.
pub(super) fn of_nodes(
    machine: &Machine<'_, '_>,
    nodes: &[&Arc<Node>],
    field: Option<&str>,
) -> Result<Series, Fault> {
    let path = match field.unwrap_or("LastUpdateMetric") {
        "LastUpdateMetric" => "LastUpdateMetric",
        "SFlow" | "SFlow.LastUpdateMetric" => "SFlow.LastUpdateMetric",
        "Ovs" | "Ovs.LastUpdateMetric" => "Ovs.LastUpdateMetric",
        other => return Err(unknown(other)),
    };
    let metrics = machine.budget.meter(nodes.iter()).filter_map(|node| {
        let value = lookup(&node.metadata, path)?.to_value();
        let metric = Metric::of_interface(value.as_object()?);
        Some((Text::from(node.id.as_str()), metric))
    });
    let Some(span) = machine.span.filter(|span| !span.is_moment()) else {
        return Ok(metrics.collect());
    };
    let inside = metrics.filter(|(_, metric)| metric.is_inside(span));
    let mut once = Series::new();
    for part in MetricSeries::from(inside.collect::<Series>()).parts() {
        let from = once.len();
        once.extend_from_slice(part);
        once[from..].sort_by_key(|(_, metric)| (metric.start, metric.last));
    }
    once.dedup();
    Ok(once)
}

/// `Metrics` of flows: the last update, or the totals of a flow that had none yet; of the past,
/// those that lie inside the span.
pub(super) fn of_flows(
    machine: &Machine<'_, '_>,
    flows: &FlowSet<'_>,
    field: Option<&str>,
) -> Result<Series, Fault> {
    if let Some(other) = field.filter(|field| *field != "LastUpdateMetric") {
        return Err(unknown(other));
    }
    let uuid = getter("UUID").ok_or(Fault::NoField)?;
    let span = machine.span.filter(|span| !span.is_moment());
    flows.each(machine, Reads::Record, Series::new(), |series, row| {
        let metric = row.flow.newest_metric().map(|metric| Metric::of_flow(&metric));
        let metric = metric.filter(|metric| span.is_none_or(|span| metric.is_inside(span)));
        let id = uuid.read(row).as_ref().and_then(Field::to_text);
        series.extend(id.zip(metric));
    })
}

fn unknown(field: &str) -> Fault {
    Fault::Rule { rule: "Metric field unknown", given: format!("[{field}]") }
}

/// The sum of one member, or of whole metrics from the first start to the last end.
fn sum<'a>(series: &Series, name: Option<&str>) -> Result<State<'a>, Fault> {
    let mut metrics = series.iter().map(|(_, metric)| metric);
    let Some(first) = metrics.next() else {
        return Ok(State::Value(Value::Null));
    };
    if let Some(name) = name {
        let member = |metric: &Metric| metric.get(name).map(i128::from);
        let sum: Option<i128> = std::iter::once(first).chain(metrics).map(member).sum();
        return Ok(State::Number(number(sum.ok_or(Fault::NoField)?)));
    }
    let mut whole = first.clone();
    for metric in metrics {
        whole.add(metric);
        whole.start = whole.start.min(metric.start);
        whole.last = whole.last.max(metric.last);
    }
    Ok(State::Value(serde_json::to_value(whole).unwrap_or_default()))
}

/// One series of metrics over slices of equal length; each metric is shared out to the slices it
/// overlaps.
fn aggregates(machine: &Machine<'_, '_>, series: &Series, seconds: i64) -> Result<Series, Fault> {
    let metrics = || series.iter().map(|(_, metric)| metric);
    let (Some(start), Some(last)) =
        (metrics().map(|metric| metric.start).min(), metrics().map(|metric| metric.last).max())
    else {
        return Ok(Series::new());
    };
    let (start, last) = match machine.span {
        Some(span) if !span.is_moment() && span.from != i64::MIN => (span.from, span.to),
        _ => (start, last),
    };
    let length = seconds.saturating_mul(1000);
    let count = (last.saturating_sub(start).max(1) as u64).div_ceil(length.max(1) as u64);
    if count > SLICES {
        return Err(Fault::Argument(
            format!("Aggregates available slices exceeded: {count}/{SLICES}").into(),
        ));
    }
    let mut slices: BTreeMap<i64, Metric> = BTreeMap::new();
    let mut give = |slice: i64, part: &Metric| {
        let from = start.saturating_add(slice.saturating_mul(length));
        let to = from.saturating_add(length).min(last);
        let empty = || Metric::empty(part.kind(), from, to);
        slices.entry(slice).or_insert_with(empty).add(part);
    };
    for metric in metrics() {
        let mut rest = metric.clone();
        while machine.budget.visit(1) {
            let slice = rest.start.saturating_sub(start) / length.max(1);
            let end = start.saturating_add((slice + 1).saturating_mul(length));
            if rest.last <= end {
                give(slice, &rest);
                break;
            }
            let (first, second) = rest.cut(end);
            // What is too little to be shared out counts where it starts.
            if first.is_zero() {
                give(slice, &rest);
                break;
            }
            give(slice, &first);
            rest = second;
        }
    }
    let slices = slices.into_values().filter(|metric| !metric.is_zero());
    Ok(slices.map(|metric| ("Aggregated".into(), metric)).collect())
}

/// Slices at most.
const SLICES: u64 = 10_000;
