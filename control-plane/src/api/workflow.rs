//! `/api/workflow` (Skydive API §2.5).

use std::collections::BTreeMap;

use axum::extract::{FromRequest as _, Request, State as Extract};
use axum::http::request::Parts;
use sonde_proto::workflow::{Workflow, WorkflowCall};

use super::answer::Json;
use super::body::{Body, Object};
use super::resource::{Id, Served};
use super::routes::Rule;
use super::script::is_of_script;
use super::{Error, ScriptHost};
use crate::gremlin::{Call, Made};
use crate::resource::Resources;
use crate::script::Script;
use crate::state::State;
use crate::workflow::{built_in, find, find_named};

impl Served for Workflow {
    const TITLE: &'static str = "Workflow";
    const UPDATABLE: bool = true;

    fn resources(state: &State) -> &Resources<Self> {
        &state.workflows
    }

    /// With those that are built in.
    fn list(state: &State) -> BTreeMap<String, Self> {
        let stored = state.workflows.entries();
        let stored = stored.values().map(|entry| entry.resource.clone());
        let all = stored.chain(built_in().iter().cloned());
        all.map(|workflow| (workflow.uuid.clone(), workflow)).collect()
    }
}

/// `POST /api/workflow/{id}/call`: what the function gives. It may do what the caller may.
pub(super) async fn call(
    Extract(state): Extract<State>,
    Id(path): Id,
    request: Request,
) -> Result<Json, Error> {
    let Some(id) = path.strip_suffix("/call") else {
        return Err(Error::NoPage);
    };
    let (parts, body) = request.into_parts();
    let host = ScriptHost::of_caller(&state, &parts);
    let body = Body::from_request(Request::from_parts(parts, body), &state).await?;
    let Object::<WorkflowCall>(call) = body.read()?;
    drop(body);
    let Some(source) = find(&state.workflows.entries(), id) else {
        return Err(Error::NoWorkflow(id.to_owned()));
    };
    let value = state.scripts.run(Script::Function { source, params: call.params }, host).await?;
    Json::new(&value)
}

/// The graph that a workflow makes for a query that begins with its call; `None` when there is no
/// such workflow. Scripts see none: one that calls itself would never end.
pub(super) async fn graph(state: &State, parts: &Parts, call: Call) -> Result<Option<Made>, Error> {
    if is_of_script(parts) {
        return Ok(None);
    }
    state.access.admit(parts, None, CALL.right()).await.map_err(Error::Refused)?;
    let Some(source) = find_named(&state.workflows.entries(), &call.workflow) else {
        return Ok(None);
    };
    let script = Script::Function { source, params: call.params };
    let value = state.scripts.run(script, ScriptHost::of_caller(state, parts)).await?;
    serde_json::from_value(value).map(Some).map_err(Error::NoGraph)
}

/// What is asked of who calls one.
pub(super) const CALL: Rule = Rule::write("workflow.call");
