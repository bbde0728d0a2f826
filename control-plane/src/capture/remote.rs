//! Captures of nodes that agents have: these run them (Skydive API §9.3).

use std::sync::Arc;

use serde_json::{Value, json};
use sonde_proto::capture::{Capture, CaptureOnNode, CaptureState};
use sonde_proto::graph::Node;
use sonde_proto::time::Timestamp;

use super::kind::Kind;
use super::shown::MEMBER;
use super::validate::Runnable;
use crate::agent::{Errand, Failures, Order, Orders, Outcomes, Task, agent_of};
use crate::asker::Asker;
use crate::graph::Topology;

/// The captures that agents run.
#[derive(Debug)]
pub(super) struct Remote {
    orders: Orders,
    failures: Failures,
}

impl Default for Remote {
    fn default() -> Self {
        Self { orders: Orders::new(), failures: Failures::under(MEMBER) }
    }
}

impl Remote {
    /// Has `capture` run on those of `nodes` that are an agent's and can be captured.
    pub(super) fn start(
        &mut self,
        capture: &Capture,
        runnable: &Runnable,
        nodes: &[Arc<Node>],
        host: &str,
    ) {
        let mut resource = None;
        for node in nodes {
            let Some(agent) = agent_of(node, host) else { continue };
            if Kind::on(node.text("Type"), runnable.kind).is_none() {
                continue;
            }
            let errand = Errand {
                task: Task::Capture,
                node: node.id.clone(),
                resource: capture.uuid.clone(),
            };
            let resource = resource.get_or_insert_with(|| Arc::new(json!(capture)));
            let order = || Order { host: agent.to_owned(), resource: resource.clone() };
            self.orders.entry(errand).or_insert_with(order);
        }
    }

    /// Calls off captures that are not `wanted`, and those whose node went away. A node that no
    /// longer matches is captured on, as here.
    pub(super) fn keep(&mut self, wanted: impl Fn(&str) -> bool, graph: &Topology) {
        self.orders
            .retain(|errand, _| wanted(&errand.resource) && graph.node(&errand.node).is_some());
    }

    /// What agents shall run.
    pub(super) fn orders(&self) -> &Orders {
        &self.orders
    }

    /// Shows on the nodes which captures their agents did not begin.
    pub(super) fn show<'a>(
        &mut self,
        outcomes: &Outcomes,
        capture: impl Fn(&str) -> Option<&'a Capture>,
        asker: &Asker,
        now: Timestamp,
    ) {
        let failed = outcomes
            .iter()
            .filter(|(errand, _)| self.orders.contains_key(*errand))
            .filter_map(|(errand, outcome)| {
                let why = outcome.error()?;
                Some((errand.clone(), shown(capture(&errand.resource)?, why)))
            })
            .collect();
        self.failures.show(&failed, asker, now);
    }
}

fn shown(capture: &Capture, error: &str) -> Value {
    json!(CaptureOnNode {
        id: capture.uuid.clone(),
        state: CaptureState::Error,
        name: capture.name.clone(),
        description: capture.description.clone(),
        bpf_filter: capture.bpf_filter.clone(),
        kind: capture.kind.clone(),
        error: error.to_owned(),
        ..CaptureOnNode::default()
    })
}
