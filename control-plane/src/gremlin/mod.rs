//! Skydive's Gremlin dialect: text -> tokens -> steps -> a fold over the steps.
//!
//! A query is a pure function of the graph and the flows: no I/O, no clock, no waiting. It runs on
//! a snapshot of the graph, or on what it was, and walks along the flows, of which it keeps those
//! that it selects.

use std::fmt;

use sonde_proto::time::Timestamp;

use crate::flow_store::Flows;
use crate::graph::{Graph, Past};

mod answer;
mod build;
mod call;
mod clause;
mod error;
mod field;
mod first;
mod flow_field;
mod flow_getter;
mod flow_groups;
mod flow_nodes;
mod flow_set;
mod flow_steps;
mod graph_steps;
mod lexer;
mod limits;
mod lookup;
mod metric;
mod metric_series;
mod metric_steps;
mod moment;
mod network;
mod next_hop;
mod packet_steps;
mod parameter;
mod parser;
mod path_steps;
mod pattern;
mod predicate;
mod room;
mod selection;
mod socket_steps;
mod sort_key;
mod state;
mod step;
mod text;
mod value_steps;
mod view;

#[cfg(test)]
pub(crate) mod tests;

pub use answer::Answer;
pub use call::{Call, Made};
pub use error::QueryError;
pub use flow_groups::FlowGroups;
pub use limits::Limits;
pub use metric_series::MetricSeries;
pub use next_hop::next_hop;
pub use parser::parse;
pub use view::Ground;

use limits::Budget;
use parameter::Parameter;
use state::{Machine, Stage, State};
use step::Step;

/// A query that parsed. Printed, it is a query that parses to the same.
#[derive(Clone, Debug)]
pub struct Query {
    steps: Vec<Placed>,
}

/// A step and the column of its name.
#[derive(Clone, Debug)]
struct Placed {
    step: Step,
    column: usize,
}

impl Query {
    /// Whether the answer depends on the flow store, so that it should be fresh.
    pub fn reads_flows(&self) -> bool {
        self.steps.iter().any(|placed| matches!(placed.step, Step::Flows(_)))
    }

    /// The graph as it was when the query asks for; `None` when it asks for now. What it finds is
    /// its own, so that the graph need not be locked while the query runs.
    pub fn recall(&self, graph: &Graph, now: Timestamp) -> Result<Option<Past>, QueryError> {
        let Some((at, parameters)) = self.at() else { return Ok(None) };
        let past = graph.recall(moment::span(parameters, now));
        past.map(Some).map_err(|why| error::Fault::from(why).at(at.column))
    }

    /// Answers the query as the graph (what [`Self::recall`] found, or what its [`Self::call`] made,
    /// if anything) and the flows are.
    /// Now and then it asks whether the time has `expired`.
    pub fn run<'a>(
        &'a self,
        ground: impl Into<Ground<'a>>,
        flows: &'a dyn Flows,
        limits: &Limits,
        expired: &dyn Fn() -> bool,
    ) -> Result<Answer, QueryError> {
        let ground = ground.into();
        let mut machine = Machine::new(ground, flows, Budget::new(limits, expired));
        let mut state = State::Graph;
        let mut rest = self.steps.as_slice();
        let done = match ground {
            Ground::Now(_) => false,
            Ground::Past(_) => self.at().is_some(),
            Ground::Made(_) => true,
        };
        if let (true, Some((_, after))) = (done, rest.split_first()) {
            rest = after;
        }
        while let Some((stage, after)) = Stage::split(rest) {
            state = machine.step(state, &stage).map_err(|fault| fault.at(stage.column))?;
            rest = after;
        }
        machine.answer(state).map_err(|fault| fault.at(1))
    }

    /// The first step, when it is `At`, and its parameters.
    fn at(&self) -> Option<(&Placed, &[Parameter])> {
        match self.steps.first()? {
            placed @ Placed { step: Step::At(parameters), .. } => Some((placed, parameters)),
            _ => None,
        }
    }
}

impl PartialEq for Query {
    /// Columns aside.
    fn eq(&self, other: &Self) -> bool {
        let steps = |query: &Self| query.steps.len();
        steps(self) == steps(other)
            && (self.steps.iter().zip(&other.steps)).all(|(a, b)| a.step == b.step)
    }
}

impl fmt::Display for Query {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("G")?;
        for placed in &self.steps {
            write!(out, ".{}", placed.step)?;
        }
        Ok(())
    }
}
