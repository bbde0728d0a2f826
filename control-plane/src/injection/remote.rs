//! Injections on nodes that agents have: these send (Skydive API §7.8).

use std::sync::Arc;

use serde_json::{Map, Value};
use sonde_proto::injection::PacketInjection;
use sonde_proto::time::Timestamp;

use super::job::Supply;
use super::route::Sender;
use super::shown::{self, KEY};
use crate::agent::{Agents, Errand, Failures, Order, Orders, Task};
use crate::asker::Asker;

/// What agents were asked to send.
#[derive(Debug)]
pub(super) struct Remote {
    pub(super) orders: Orders,
    failures: Failures,
}

impl Default for Remote {
    fn default() -> Self {
        Self { orders: Orders::new(), failures: Failures::under(KEY) }
    }
}

impl Remote {
    /// Has agents send what is supplied, those of `senders` that are nodes of theirs.
    pub(super) fn begin<'a>(
        &mut self,
        injection: &PacketInjection,
        senders: impl Iterator<Item = (&'a Sender, &'a Supply)>,
    ) {
        let mut file = None;
        for (sender, supply) in senders {
            let Some(agent) = &sender.agent else { continue };
            let request = || Arc::new(Value::Object(shown::request(injection, supply)));
            let resource = match supply {
                Supply::Made(_) => request(),
                // The same for all, and large.
                Supply::File(_) => file.get_or_insert_with(request).clone(),
            };
            let errand = Errand {
                task: Task::Injection,
                node: sender.node.clone(),
                resource: injection.uuid.clone(),
            };
            self.orders.insert(errand, Order { host: agent.clone(), resource });
        }
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
            let entry = error(resource, outcome.error()?);
            Some((errand, entry))
        });
        self.failures.show(&failed.collect(), asker, now);
    }
}

fn error(resource: &Map<String, Value>, why: &str) -> Value {
    let told = resource.iter().filter(|(key, _)| *key != "Pcap");
    let mut entry: Map<_, _> = told.map(|(key, value)| (key.clone(), value.clone())).collect();
    entry.insert("PacketCount".into(), 0.into());
    entry.insert("State".into(), "error".into());
    entry.insert("Error".into(), why.into());
    entry.into()
}
