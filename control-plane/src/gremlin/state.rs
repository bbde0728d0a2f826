//! What a query holds between two steps, and which function each step is.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::{Map, Number, Value};
use sonde_proto::graph::{Edge, Node};

use super::answer::Answer;
use super::error::Fault;
use super::flow_groups::FlowGroups;
use super::flow_set::FlowSet;
use super::limits::Budget;
use super::metric_series::Series;
use super::packet_steps::Packets;
use super::predicate::Condition;
use super::socket_steps::Sockets;
use super::step::Step;
use super::view::{Ground, View};
use super::{
    Placed, flow_steps, graph_steps, metric_steps, packet_steps, socket_steps, value_steps,
};
use crate::flow_store::Flows;
use crate::graph::Span;

/// What the steps so far found.
pub(super) enum State<'a> {
    Graph,
    Nodes(Vec<&'a Arc<Node>>),
    Edges(Vec<&'a Arc<Edge>>),
    Paths(Vec<Vec<&'a Arc<Node>>>),
    Flows(FlowSet<'a>),
    Values(Vec<Value>),
    Number(Number),
    Value(Value),
    Metrics(Series),
    RawPackets(Packets),
    Sockets(Sockets<'a>),
    Groups(FlowGroups),
    /// Objects by node ID; nothing can follow.
    NextHops(BTreeMap<&'a str, Value>),
}

/// What the steps work on.
#[derive(Debug)]
pub(super) struct Machine<'a, 'l> {
    pub(super) view: View<'a>,
    /// When, if not now.
    pub(super) span: Option<Span>,
    pub(super) flows: &'a dyn Flows,
    pub(super) budget: Budget<'l>,
    /// Node sets that `As` remembered.
    pub(super) named: HashMap<&'a str, Vec<&'a Arc<Node>>>,
}

/// A step with the steps behind it that Skydive runs as one with it (API §3.6, reduction rules).
#[derive(Clone, Copy, Debug)]
pub(super) struct Stage<'q> {
    pub(super) step: &'q Step,
    pub(super) absorbed: &'q [Placed],
    pub(super) column: usize,
}

/// Which elements a `Limit` or `Range` lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) skip: usize,
    pub(super) take: usize,
}

impl<'q> Stage<'q> {
    /// The first stage, and the steps behind it.
    pub(super) fn split(steps: &'q [Placed]) -> Option<(Self, &'q [Placed])> {
        let (first, rest) = steps.split_first()?;
        let absorbs = |budget: &mut Appetite| {
            rest.iter().take_while(|placed| budget.takes(&placed.step)).count()
        };
        let (absorbed, after) = rest.split_at(absorbs(&mut Appetite::of(&first.step)));
        Some((Self { step: &first.step, absorbed, column: first.column }, after))
    }

    /// Conditions of the absorbed `Has`.
    pub(super) fn has(&self) -> &'q [Condition] {
        self.absorbed
            .iter()
            .find_map(|placed| match &placed.step {
                Step::Has(conditions) => Some(conditions.as_slice()),
                _ => None,
            })
            .unwrap_or_default()
    }

    /// The absorbed `Limit` or `Range`; everything passes when there is none.
    pub(super) fn window(&self) -> Window {
        self.absorbed.iter().find_map(|placed| Window::of(&placed.step)).unwrap_or(Window::ALL)
    }
}

/// What a step still absorbs.
struct Appetite {
    has: bool,
    window: bool,
    /// `Flows` takes any number of `Has`, `HasEither`, `Dedup` and `Sort`.
    flows: bool,
}

impl Appetite {
    fn of(step: &Step) -> Self {
        let source = match step {
            Step::Nodes(None) | Step::Edges(None) => true,
            Step::Neighbours(_, conditions)
            | Step::EdgesAt(_, conditions)
            | Step::Ends(_, conditions) => conditions.is_empty(),
            _ => false,
        };
        let filter = matches!(
            step,
            Step::Nodes(_)
                | Step::Edges(_)
                | Step::Neighbours(..)
                | Step::EdgesAt(..)
                | Step::Ends(..)
                | Step::Has(_)
                | Step::HasKey(_)
                | Step::HasNot(_)
                | Step::HasEither(_)
                | Step::Dedup(_)
        );
        let flows = matches!(step, Step::Flows(_));
        Self { has: source, window: filter || flows, flows }
    }

    fn takes(&mut self, step: &Step) -> bool {
        match step {
            Step::Limit(_) | Step::Range(..) => std::mem::take(&mut self.window),
            Step::Has(_) if !self.flows => std::mem::take(&mut self.has),
            Step::Has(_) | Step::HasEither(_) | Step::Dedup(_) | Step::Sort(..) => self.flows,
            _ => false,
        }
    }
}

impl Window {
    pub(super) const ALL: Self = Self { skip: 0, take: usize::MAX };

    pub(super) fn of(step: &Step) -> Option<Self> {
        match step {
            Step::Limit(n) => Some(Self { skip: 0, take: *n }),
            Step::Range(from, to) => Some(Self { skip: *from, take: to.saturating_sub(*from) }),
            _ => None,
        }
    }

    /// What passes, and no element more is asked for.
    pub(super) fn apply<I: Iterator>(self, items: I) -> impl Iterator<Item = I::Item> {
        items.skip(self.skip).take(self.take)
    }
}

impl<'a, 'l> Machine<'a, 'l> {
    pub(super) fn new(ground: Ground<'a>, flows: &'a dyn Flows, budget: Budget<'l>) -> Self {
        let span = match ground {
            Ground::Now(_) | Ground::Made(_) => None,
            Ground::Past(past) => Some(past.span),
        };
        Self { view: View::of(ground), span, flows, budget, named: HashMap::new() }
    }

    /// One step of the fold.
    pub(super) fn step(&mut self, state: State<'a>, stage: &Stage<'a>) -> Result<State<'a>, Fault> {
        let found = match state {
            State::Graph => graph_steps::on_graph(self, stage),
            State::Nodes(nodes) => graph_steps::on_nodes(self, nodes, stage),
            State::Edges(edges) => graph_steps::on_edges(self, edges, stage),
            State::Paths(paths) => graph_steps::on_paths(self, paths, stage),
            State::Flows(flows) => flow_steps::on_flows(self, flows, stage),
            State::Values(values) => value_steps::on_values(self, values, stage),
            State::Number(_) | State::Value(_) => Err(refused(stage.step, "GraphTraversalValue")),
            State::Metrics(series) => metric_steps::on_metrics(self, series, stage),
            State::Groups(groups) => flow_steps::on_groups(groups, stage),
            State::RawPackets(packets) => packet_steps::on_packets(self, packets, stage),
            State::Sockets(sockets) => socket_steps::on_sockets(self, sockets, stage),
            State::NextHops(_) => Err(refused(stage.step, "NextHopTraversalStep")),
        };
        match &found {
            // Nothing was looked at yet, or the verdict is out.
            Ok(State::Flows(FlowSet::Selected(..))) | Err(Fault::Absorbed(..)) => {}
            _ => self.budget.verdict()?,
        }
        found
    }

    /// Turns what was found last into the answer.
    pub(super) fn answer(&self, state: State<'a>) -> Result<Answer, Fault> {
        Ok(match state {
            State::Graph => Answer::Graph {
                nodes: self.view.nodes().cloned().collect(),
                edges: self.view.edges().cloned().collect(),
            },
            State::Nodes(nodes) => Answer::Nodes(owned(nodes)),
            State::Edges(edges) => Answer::Edges(owned(edges)),
            State::Paths(paths) => Answer::Paths(paths.into_iter().map(owned).collect()),
            State::Flows(flows) => Answer::Flows(flows.kept(self)?),
            State::Values(values) => Answer::Values(values),
            State::Number(number) => Answer::Number(number),
            State::Value(value) => Answer::Value(value),
            State::Metrics(series) => Answer::Metrics(series.into()),
            State::RawPackets(packets) => Answer::RawPackets(packets.into_iter().collect()),
            State::Sockets(sockets) => {
                let list = |list: Vec<&Map<String, Value>>| {
                    list.into_iter().cloned().map(Value::Object).collect()
                };
                let sockets = sockets.into_iter();
                Answer::Keyed(sockets.map(|(id, all)| (id, list(all))).collect())
            }
            State::Groups(groups) => Answer::Groups(groups),
            State::NextHops(hops) => {
                let hop = |(id, hop): (&str, _)| (id.to_owned(), hop);
                Answer::Keyed(hops.into_iter().map(hop).collect())
            }
        })
    }
}

fn owned<T>(items: Vec<&Arc<T>>) -> Vec<Arc<T>> {
    items.into_iter().cloned().collect()
}

/// The error of a step where it makes no sense; `on` is Skydive's name of what it was tried on.
pub(super) fn refused(step: &Step, on: &'static str) -> Fault {
    match step {
        Step::Has(_)
        | Step::HasKey(_)
        | Step::HasNot(_)
        | Step::HasEither(_)
        | Step::Neighbours(..)
        | Step::Dedup(_)
        | Step::Count
        | Step::Limit(_)
        | Step::Range(..)
        | Step::Sort(..)
        | Step::Values(_)
        | Step::ValueMap(_)
        | Step::Keys
        | Step::Sum(_)
        | Step::As(_)
        | Step::Select(_) => {
            // Go's methods of those are called so.
            let step = match step {
                Step::Values(_) => "PropertyValues",
                Step::ValueMap(_) => "PropertyValueMap",
                Step::Keys => "PropertyKeys",
                step => step.name(),
            };
            Fault::InvalidStep { step, on }
        }
        _ => Fault::Execution,
    }
}
