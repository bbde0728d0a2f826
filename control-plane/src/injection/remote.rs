//! Injections on nodes that agents have: these send (Skydive API §7.8).

use serde_json::{Map, Value};
use sonde_proto::injection::PacketInjection;
use sonde_proto::time::Timestamp;

use super::job::Supply;
use super::shown::{self, KEY};
use crate::agent::{Agents, Errand, Failures, Order, Orders, Task};
use crate::asker::Asker;

/// What agents were asked to send.
#[derive(Debug)]
pub(super) struct Remote {
    orders: Orders,
    failures: Failures,
}

impl Default for Remote {
    fn default() -> Self {
        Self { orders: Orders::new(), failures: Failures::under(KEY) }
    }
}

impl Remote {
    /// Has the agent of that host send what is supplied on a node of its own.
    pub(super) fn begin(
        &mut self,
        host: &str,
        node: &str,
        injection: &PacketInjection,
        supply: &Supply,
    ) {
        let (node, resource) = (node.to_owned(), injection.uuid.clone());
        let errand = Errand { task: Task::Injection, node, resource };
        let resource = Value::Object(shown::request(injection, supply));
        self.orders.insert(errand, Order { host: host.to_owned(), resource });
    }

    /// Tells agents what they shall send still: what is not `wanted` any more ends.
    pub(super) fn keep(&mut self, wanted: impl Fn(&str) -> bool, agents: &Agents) {
        self.orders.retain(|errand, _| wanted(&errand.resource));
        agents.order(Task::Injection, &self.orders);
    }

    /// Shows on the nodes what their agents did not begin to send.
    pub(super) fn show(&mut self, agents: &Agents, asker: &Asker, now: Timestamp) {
        let failed = agents.outcomes().into_iter().filter_map(|(errand, outcome)| {
            let resource = self.orders.get(&errand)?.resource.as_object()?;
            let entry = error(resource.clone(), outcome.error()?);
            Some((errand, entry))
        });
        self.failures.show(&failed.collect(), asker, now);
    }
}

fn error(mut entry: Map<String, Value>, why: &str) -> Value {
    entry.remove("Pcap");
    entry.insert("PacketCount".into(), 0.into());
    entry.insert("State".into(), "error".into());
    entry.insert("Error".into(), why.into());
    entry.into()
}
