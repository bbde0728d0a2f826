//! Skydive's Gremlin dialect: text -> tokens -> steps -> a fold over the steps.
//!
//! A query is a pure function of the graph and the flows: no I/O, no clock, no waiting. It runs on
//! a snapshot of both and keeps references until the answer is made.

use std::fmt;

use crate::flow_store::Flows;
use crate::graph::Topology;

mod answer;
mod build;
mod error;
mod field;
mod flow_field;
mod flow_nodes;
mod flow_steps;
mod graph_steps;
mod lexer;
mod limits;
mod metric;
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
mod selection;
mod socket_steps;
mod state;
mod step;
mod value_steps;
mod view;

#[cfg(test)]
pub(crate) mod tests;

pub use answer::Answer;
pub use error::QueryError;
pub use limits::Limits;
pub use parser::parse;

use limits::Budget;
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

    /// Answers the query as the graph and the flows are. Now and then it asks whether the time has
    /// `expired`.
    pub fn run(
        &self,
        graph: &Topology,
        flows: &dyn Flows,
        limits: &Limits,
        expired: &dyn Fn() -> bool,
    ) -> Result<Answer, QueryError> {
        let mut machine = Machine::new(graph, flows, Budget::new(limits, expired));
        let mut state = State::Graph;
        let mut rest = self.steps.as_slice();
        while let Some((stage, after)) = Stage::split(rest) {
            state = machine.step(state, &stage).map_err(|fault| fault.at(stage.column))?;
            rest = after;
        }
        Ok(machine.answer(state))
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
