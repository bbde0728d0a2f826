//! Steps on flows (Skydive API §3.7).

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;
use sonde_proto::flow::Flow;
use sonde_proto::graph::Node;

use super::error::Fault;
use super::field::{Field, Scalar};
use super::flow_field::{Getter, KEYS, filter_getter, getter};
use super::predicate::{Condition, Predicate};
use super::state::{Machine, Stage, State, Window, refused};
use super::step::{Order, Step};
use super::value_steps::number;
use super::{flow_nodes, metric_steps};

/// `Flows`: all flows, or those captured on some nodes.
pub(super) fn flows<'a>(
    machine: &Machine<'a, '_>,
    nodes: Option<&[&'a Arc<Node>]>,
    stage: &Stage<'a>,
) -> Result<State<'a>, Fault> {
    let selection = Selection::of(stage)?;
    let all = machine.flows.flows();
    let kept = match nodes {
        None => selection.run(machine, all),
        Some(nodes) => {
            let tids: HashSet<&str> = nodes
                .iter()
                .filter(|node| CAPTURABLE.contains(&node.text("Type")))
                .map(|node| node.text("TID"))
                .filter(|tid| !tid.is_empty())
                .collect();
            if tids.is_empty() {
                return Ok(State::Flows(Vec::new()));
            }
            let captured = |flow: &&Arc<Flow>| tids.contains(flow.node_tid.as_str());
            selection.run(machine, machine.budget.meter(all).filter(captured))
        }
    };
    Ok(State::Flows(kept))
}

pub(super) fn on_flows<'a>(
    machine: &Machine<'a, '_>,
    flows: Vec<&'a Arc<Flow>>,
    stage: &Stage<'a>,
) -> Result<State<'a>, Fault> {
    match stage.step {
        Step::Has(_)
        | Step::HasEither(_)
        | Step::Dedup(_)
        | Step::Sort(..)
        | Step::Limit(_)
        | Step::Range(..) => {
            let selection = Selection::of(stage)?;
            Ok(State::Flows(selection.run(machine, flows.into_iter())))
        }
        Step::HasKey(_) => Err("At least two parameters must be provided".into()),
        Step::Count => Ok(State::Number(flows.len().into())),
        Step::Values(name) => values(machine, &flows, name),
        Step::Keys if flows.is_empty() => Ok(State::Values(Vec::new())),
        Step::Keys => Ok(State::Values(KEYS.map(Value::from).into())),
        Step::Sum(name) => sum(machine, &flows, name.as_deref()),
        Step::Neighbours(way, conditions) => {
            let found = flow_nodes::ends(machine, &flows, *way, conditions);
            Ok(State::Nodes(found))
        }
        Step::FlowNodes(conditions) => {
            Ok(State::Nodes(flow_nodes::nodes(machine, &flows, conditions)))
        }
        Step::CaptureNode(conditions) => {
            let found = flow_nodes::capture_nodes(machine, &flows, conditions);
            Ok(State::Nodes(found))
        }
        Step::Metrics(field) => {
            let series = metric_steps::of_flows(machine, &flows, field.as_deref())?;
            Ok(State::Metrics(series))
        }
        Step::RawPackets => {
            let flows = machine.budget.meter(flows.into_iter());
            let holding = flows.filter(|flow| !flow.last_raw_packets.is_empty());
            Ok(State::RawPackets(holding.collect()))
        }
        Step::Group => Ok(State::Groups(groups(&flows))),
        step => Err(refused(step, "FlowTraversalStep")),
    }
}

/// Flows by their `TrackingID`, in the order in which those come first.
fn groups<'a>(flows: &[&'a Arc<Flow>]) -> Vec<(&'a str, Vec<&'a Arc<Flow>>)> {
    let mut groups: Vec<(&str, Vec<_>)> = Vec::new();
    let mut places = HashMap::new();
    for flow in flows.iter().copied() {
        let id = flow.tracking_id.as_str();
        let place = *places.entry(id).or_insert(groups.len());
        match groups.get_mut(place) {
            Some((_, group)) => group.push(flow),
            None => groups.push((id, vec![flow])),
        }
    }
    groups
}

pub(super) fn on_groups<'a>(
    mut groups: Vec<(&'a str, Vec<&'a Arc<Flow>>)>,
    stage: &Stage<'a>,
) -> Result<State<'a>, Fault> {
    match stage.step {
        Step::MoreThan => {
            groups.retain(|(_, flows)| flows.len() > 1);
            Ok(State::Groups(groups))
        }
        step => Err(refused(step, "GroupTraversalStep")),
    }
}

/// `Has`, `HasEither`, `Sort`, `Dedup` and a window as Skydive runs them, however they stand in
/// the query: filter, then sort, then dedup, then the window.
struct Selection<'q> {
    filters: Vec<Filter<'q>>,
    sort: Option<(Order, Getter)>,
    dedup: Option<Getter>,
    window: Window,
}

enum Filter<'q> {
    All(Vec<Test<'q>>),
    Either(Vec<Test<'q>>),
}

/// A predicate and how to read its field; a name that no flow has reads as missing.
struct Test<'q> {
    getter: Option<Getter>,
    predicate: &'q Predicate,
}

impl<'q> Selection<'q> {
    fn of(stage: &Stage<'q>) -> Result<Self, Fault> {
        let mut selection = Self {
            filters: Vec::new(),
            sort: None,
            dedup: None,
            window: Window::ALL,
        };
        let absorbed = stage.absorbed.iter().map(|placed| &placed.step);
        for step in std::iter::once(stage.step).chain(absorbed) {
            selection.add(step)?;
        }
        Ok(selection)
    }

    fn add(&mut self, step: &'q Step) -> Result<(), Fault> {
        let field = |name: &str| getter(name).ok_or(Fault::NoField);
        match step {
            Step::Flows(conditions) | Step::Has(conditions) => {
                self.filters.push(Filter::All(tests(conditions)));
            }
            Step::HasEither(conditions) => self.filters.push(Filter::Either(tests(conditions))),
            Step::Sort(order, name) => {
                self.sort = Some((*order, field(name.as_deref().unwrap_or("Last"))?));
            }
            Step::Dedup(names) => match names.as_slice() {
                [] => self.dedup = Some(field("TrackingID")?),
                [name] => self.dedup = Some(field(name)?),
                names => {
                    return Err(Fault::Rule {
                        rule: "Dedup accepts at most one parameter",
                        given: format!("[{}]", names.join(" ")),
                    });
                }
            },
            step => self.window = Window::of(step).unwrap_or(self.window),
        }
        Ok(())
    }

    fn run<'a>(
        &self,
        machine: &Machine<'a, '_>,
        flows: impl Iterator<Item = &'a Arc<Flow>>,
    ) -> Vec<&'a Arc<Flow>> {
        let budget = &machine.budget;
        let kept = budget.meter(flows).filter(|flow| self.admits(flow));
        match self.sort {
            None => budget.collect(self.window.apply(self.distinct(kept))),
            Some((order, getter)) => {
                let sorted = self.sorted(budget.collect(kept), order, getter);
                self.window
                    .apply(self.distinct(sorted.into_iter()))
                    .collect()
            }
        }
    }

    fn admits(&self, flow: &Flow) -> bool {
        self.filters.iter().all(|filter| match filter {
            Filter::All(tests) => tests.iter().all(|test| test.admits(flow)),
            Filter::Either(tests) => tests.iter().any(|test| test.admits(flow)),
        })
    }

    /// The first flow of each value; flows without the field are all kept.
    fn distinct<'a>(
        &self,
        flows: impl Iterator<Item = &'a Arc<Flow>>,
    ) -> impl Iterator<Item = &'a Arc<Flow>> {
        let mut seen = HashSet::new();
        flows.filter(move |flow| match self.dedup.map(|getter| getter(flow)) {
            Some(Some(field)) => seen.insert(Key::of(field)),
            _ => true,
        })
    }

    /// By the field, then by UUID so that pages fit together. Only as many as the window needs
    /// are sorted.
    fn sorted<'a>(
        &self,
        flows: Vec<&'a Arc<Flow>>,
        order: Order,
        getter: Getter,
    ) -> Vec<&'a Arc<Flow>> {
        let mut keyed: Vec<(Option<Key<'a>>, &'a Arc<Flow>)> = flows
            .into_iter()
            .map(|flow| (getter(flow).map(Key::of), flow))
            .collect();
        let compare = |a: &(Option<Key<'_>>, &Arc<Flow>), b: &(Option<Key<'_>>, &Arc<Flow>)| {
            let keys = match order {
                Order::Ascending => a.0.cmp(&b.0),
                Order::Descending => b.0.cmp(&a.0),
            };
            keys.then_with(|| a.1.uuid.cmp(&b.1.uuid))
        };
        let needed = self.window.skip.saturating_add(self.window.take);
        if self.dedup.is_none() && needed < keyed.len() {
            keyed.select_nth_unstable_by(needed, compare);
            keyed.truncate(needed);
        }
        keyed.sort_unstable_by(compare);
        keyed.into_iter().map(|(_, flow)| flow).collect()
    }
}

fn tests<'q>(conditions: &'q [Condition]) -> Vec<Test<'q>> {
    let test = |condition: &'q Condition| Test {
        getter: filter_getter(&condition.key),
        predicate: &condition.predicate,
    };
    conditions.iter().map(test).collect()
}

impl Test<'_> {
    fn admits(&self, flow: &Flow) -> bool {
        let field = self.getter.and_then(|getter| getter(flow));
        self.predicate.admits(field.as_ref())
    }
}

/// A field's value to sort and tell apart by.
#[derive(PartialEq, Eq, Hash)]
enum Key<'a> {
    Int(i64),
    Text(&'a str),
    Object(String),
}

impl<'a> Key<'a> {
    fn of(field: Field<'a>) -> Self {
        match field {
            Field::One(Scalar::Int(n) | Scalar::Port(n)) => Self::Int(n),
            Field::One(Scalar::Text(text)) => Self::Text(text),
            other => Self::Object(other.to_value().to_string()),
        }
    }
}

impl Ord for Key<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => a.cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Object(a), Self::Object(b)) => a.cmp(b),
            // A field is of one kind in all flows.
            _ => Ordering::Equal,
        }
    }
}

impl PartialOrd for Key<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// `Values`: every flow has to have the field.
fn values<'a>(
    machine: &Machine<'a, '_>,
    flows: &[&'a Arc<Flow>],
    name: &str,
) -> Result<State<'a>, Fault> {
    if flows.is_empty() {
        return Ok(State::Values(Vec::new()));
    }
    let getter = getter(name).ok_or(Fault::NoField)?;
    let values: Option<Vec<Value>> = machine
        .budget
        .meter(flows.iter())
        .map(|flow| Some(getter(flow)?.to_value()))
        .collect();
    values.map(State::Values).ok_or(Fault::NoField)
}

/// `Sum` of a metric's member; flows without the metric are skipped.
fn sum<'a>(
    machine: &Machine<'a, '_>,
    flows: &[&'a Arc<Flow>],
    name: Option<&str>,
) -> Result<State<'a>, Fault> {
    let name = name.ok_or_else(|| Fault::Rule {
        rule: "Sum requires 1 parameter",
        given: "[]".into(),
    })?;
    if !name.starts_with("Metric.") && !name.starts_with("LastUpdateMetric.") {
        return Err("Sum accepts only sub fields of Metric and LastUpadteMetric".into());
    }
    let getter = getter(name).ok_or(Fault::NoField)?;
    let integers = machine
        .budget
        .meter(flows.iter())
        .filter_map(|flow| getter(flow)?.as_int());
    Ok(State::Number(number(integers.map(i128::from).sum())))
}

/// Node types that flows can be captured on (Skydive API §9.1).
const CAPTURABLE: [&str; 29] = [
    "ovsbridge",
    "ovsport",
    "dpdkport",
    "internal",
    "veth",
    "tun",
    "bridge",
    "dummy",
    "gre",
    "bond",
    "can",
    "hsr",
    "ifb",
    "macvlan",
    "macvtap",
    "vlan",
    "vxlan",
    "gretap",
    "ip6gretap",
    "geneve",
    "ipoib",
    "vcan",
    "ipip",
    "ipvlan",
    "lowpan",
    "ip6tnl",
    "ip6gre",
    "sit",
    "device",
];
