//! What can be wrong with a query. The texts are Skydive's where it has one (API §3.4-§3.11).

use std::borrow::Cow;

use crate::graph::RecallError;

/// Why a query has no answer, and the place in its text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault} at column {column}{}", fault.hint())]
pub struct QueryError {
    fault: Fault,
    column: usize,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("found {got:?}, expected `{expected}`")]
    Found { got: String, expected: char },
    #[error("Expected left parenthesis, got: {0}")]
    LeftParenthesis(String),
    #[error("Expected right parenthesis")]
    RightParenthesis,
    #[error("Unexpected token while parsing parameters, got: {0}")]
    Parameter(String),
    #[error("Expected number token, got: {0}")]
    Number(String),
    #[error("Expected step function, got: {0}")]
    Step(String),
    /// The parameters given break the rule of a step.
    #[error("{rule} : {given}")]
    Rule { rule: &'static str, given: String },
    /// A predicate was given the wrong number of parameters.
    #[error("{count} expected with {predicate}: {given}")]
    Arity { count: &'static str, predicate: &'static str, given: String },
    /// A parameter is of the wrong kind.
    #[error("{0}")]
    Argument(Cow<'static, str>),
    #[error("Invalid step '{step}' on '*traversal.{on}'")]
    InvalidStep { step: &'static str, on: &'static str },
    #[error("Error while executing the query")]
    Execution,
    #[error("Node '{0}' does not exist")]
    NoNode(String),
    #[error("Edge '{0}' does not exist")]
    NoEdge(String),
    #[error("Unknown workflow '{0}'")]
    NoWorkflow(String),
    #[error("Field not found")]
    NoField,
    #[error("Key {0} not registered. Need to be registered using 'As' step")]
    NotRegistered(String),
    #[error(transparent)]
    Recall(#[from] RecallError),
    /// Flows that lived before so many milliseconds since the epoch are gone.
    #[error("No storage backend has been configured: flows are known since {0} ms")]
    FlowsForgotten(i64),
    /// A fault of an absorbed step, at its own column.
    #[error("{0}")]
    Absorbed(Box<Self>, usize),
    #[error(transparent)]
    Exhausted(#[from] super::limits::Exhausted),
}

impl QueryError {
    /// Where in the text, in characters from 1.
    pub fn position(&self) -> usize {
        self.column
    }
}

impl Fault {
    pub(super) fn at(self, column: usize) -> QueryError {
        match self {
            Self::Absorbed(fault, column) => fault.at(column),
            fault => QueryError { fault, column },
        }
    }

    /// What was expected, where Skydive's text does not say it.
    fn hint(&self) -> &'static str {
        match self {
            Self::RightParenthesis => ", got the end of the query",
            Self::Parameter(_) => ", expected a string, a number, a predicate or `)`",
            Self::Step(_) => ", expected a step such as V, E, Has, Out or Flows",
            Self::Number(_) => ", expected an integer or a decimal",
            Self::Execution => ", the step cannot follow the one before it",
            _ => "",
        }
    }
}

impl From<&'static str> for Fault {
    fn from(text: &'static str) -> Self {
        Self::Argument(text.into())
    }
}
