//! A workflow as the ground of a query: `G.Workflow('id or name', ...)` (Skydive API §3.6).

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use sonde_proto::graph::{Edge, Node};

use super::error::Fault;
use super::parameter::Parameter;
use super::predicate::Literal;
use super::step::Step;
use super::{Placed, Query, QueryError};

/// The workflow that a query begins with. Whoever runs the query calls it first: a query waits for
/// nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// ID or name.
    pub workflow: String,
    /// What it is called with.
    pub params: Vec<Value>,
}

/// The graph that it gives.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Made {
    #[serde(default)]
    pub(super) nodes: Vec<Arc<Node>>,
    #[serde(default)]
    pub(super) edges: Vec<Arc<Edge>>,
}

impl Query {
    /// The call that the query begins with, if it does.
    pub fn call(&self) -> Result<Option<Call>, QueryError> {
        let Some(Placed { step: Step::Workflow(workflow, parameters), column }) =
            self.steps.first()
        else {
            return Ok(None);
        };
        let params: Option<_> = parameters.iter().map(value).collect();
        let params = params.ok_or_else(|| Fault::from(PARAMETERS).at(*column))?;
        Ok(Some(Call { workflow: workflow.clone(), params }))
    }
}

fn value(parameter: &Parameter) -> Option<Value> {
    match parameter {
        Parameter::Literal(Literal::Text(text)) => Some((&**text).into()),
        Parameter::Literal(Literal::Int(number)) => Some((*number).into()),
        Parameter::Literal(Literal::Float(number)) => Some((*number).into()),
        Parameter::Literal(Literal::Bool(is)) => Some((*is).into()),
        _ => None,
    }
}

const PARAMETERS: &str = "Workflow parameters have to be strings, numbers, TRUE or FALSE";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::gremlin::{Limits, parse};

    #[test]
    fn only_the_first_step_is_a_call() {
        for (text, params) in [
            ("G.Workflow('w')", Some(json!([]))),
            ("G.Workflow('w', 'a', 1, 2.5, TRUE).V()", Some(json!(["a", 1, 2.5, true]))),
            ("G", None),
            ("G.V()", None),
            ("G.V().G.Workflow('w')", None),
        ] {
            let call = parse(text, &Limits::default()).unwrap().call().unwrap();
            let expected = params.map(|params| Call {
                workflow: "w".into(),
                params: params.as_array().unwrap().clone(),
            });
            assert_eq!(call, expected, "{text}");
        }
        let wrong = parse("G.Workflow('w', GT(1))", &Limits::default()).unwrap();
        let error = wrong.call().unwrap_err().to_string();
        assert_eq!(error, format!("{PARAMETERS} at column 3"));
    }
}
