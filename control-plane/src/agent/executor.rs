//! Has a connected agent do its errands, one at a time (Skydive API §7.8): those begin that shall run
//! and do not yet, and those end that run and shall not.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};
use uuid::Uuid;

use super::Agents;
use super::orders::{Errand, Order, Orders, Outcome};
use crate::envelope::{Letter, Received};

/// Speaks with one agent.
#[derive(Debug)]
pub(crate) struct Executor {
    agents: Agents,
    host: String,
    orders: watch::Receiver<Orders>,
    /// What the agent was asked to begin, and not to end since.
    asked: BTreeMap<Errand, Asked>,
    /// How long an answer may take.
    patience: Duration,
}

/// An errand that an agent was asked to do.
#[derive(Debug)]
struct Asked {
    order: Order,
    began: bool,
    /// When it is asked again.
    again: Option<Instant>,
}

/// The way to the agent, and back.
#[derive(Debug)]
pub(crate) struct Line {
    /// Weak: whoever else speaks with the client decides when that ends.
    pub(crate) letters: mpsc::WeakSender<Letter>,
    /// What it sends in [`Task::NAMESPACES`](super::Task::NAMESPACES).
    pub(crate) replies: mpsc::Receiver<Received>,
}

/// The agent is gone.
struct Gone;

impl Executor {
    pub(super) fn new(agents: Agents, host: &str, patience: Duration) -> Self {
        let orders = agents.0.orders.subscribe();
        Self { agents, host: host.to_owned(), orders, asked: BTreeMap::new(), patience }
    }

    /// Serves until the agent is gone. Nothing is known then of what lasts, and what was begun once
    /// has failed.
    pub(crate) async fn run(mut self, mut line: Line) {
        while self.turn(&mut line).await.is_ok() {}
        let mut outcomes = self.agents.outcomes_mut();
        for errand in self.asked.keys() {
            if errand.task.is_lasting() {
                outcomes.remove(errand);
            } else if let Some(outcome) = outcomes.get_mut(errand) {
                *outcome = Outcome::Failed("the agent left".to_owned());
            }
        }
    }

    /// Asks for what is over and for one thing that is due, or waits until something is. Orders are
    /// looked at each time: they change while an agent takes long to answer.
    async fn turn(&mut self, line: &mut Line) -> Result<(), Gone> {
        self.orders.mark_unchanged();
        for errand in self.over() {
            self.end(&errand, line).await?;
        }
        if let Some((errand, order)) = self.due() {
            return self.begin(errand, order, line).await;
        }
        let again = self.asked.values().filter_map(|asked| asked.again).min();
        tokio::select! {
            changed = self.orders.changed() => changed.map_err(|_| Gone),
            () = sleep_until(again.unwrap_or_else(Instant::now)), if again.is_some() => Ok(()),
            // An answer that comes too late means nothing.
            reply = line.replies.recv() => reply.map(drop).ok_or(Gone),
        }
    }

    /// What was asked for and is ordered no more.
    fn over(&self) -> Vec<Errand> {
        let orders = self.orders.borrow();
        let is_ordered =
            |errand: &Errand| orders.get(errand).is_some_and(|order| order.host == self.host);
        self.asked.keys().filter(|errand| !is_ordered(errand)).cloned().collect()
    }

    /// What is to begin next: what was never asked for goes before what is asked for again.
    fn due(&self) -> Option<(Errand, Order)> {
        let orders = self.orders.borrow();
        let own = orders.iter().filter(|(_, order)| order.host == self.host);
        let due = own.filter(|(errand, _)| self.is_due(errand));
        let next = due.min_by_key(|(errand, _)| self.asked.get(*errand)?.again);
        next.map(|(errand, order)| (errand.clone(), order.clone()))
    }

    fn is_due(&self, errand: &Errand) -> bool {
        match self.asked.get(errand) {
            Some(asked) => asked.again.is_some_and(|again| again <= Instant::now()),
            // It may have been begun before the agent left and came back.
            None => !self.agents.outcomes_mut().contains_key(errand),
        }
    }

    async fn begin(&mut self, errand: Errand, order: Order, line: &mut Line) -> Result<(), Gone> {
        self.agents.outcomes_mut().insert(errand.clone(), Outcome::Asked);
        let asked = Asked { order: order.clone(), began: false, again: None };
        self.asked.insert(errand.clone(), asked);
        let status = self.ask("Start", &errand, &order, line).await?;
        if status.is_none() && errand.task.is_lasting() {
            // It may begin yet, and nobody would end it.
            self.tell("Stop", &errand, &order, line).await?;
        }
        let answer = self.verdict(status);
        let began = answer.is_ok();
        let again = (!began && errand.task.is_lasting()).then(|| Instant::now() + AGAIN);
        self.asked.insert(errand.clone(), Asked { order, began, again });
        let outcome = match answer {
            Ok(()) => Outcome::Begun,
            Err(why) => {
                tracing::warn!(agent = self.host, ?errand, why, "an agent does not begin");
                Outcome::Failed(why)
            }
        };
        self.agents.outcomes_mut().insert(errand, outcome);
        Ok(())
    }

    async fn end(&mut self, errand: &Errand, line: &mut Line) -> Result<(), Gone> {
        let Some(Asked { order, began, .. }) = self.asked.remove(errand) else { return Ok(()) };
        self.agents.outcomes_mut().remove(errand);
        // What never began has no end; packets may all be sent, of which no word came.
        if began {
            let status = self.ask("Stop", errand, &order, line).await?;
            if let Err(why) = self.verdict(status) {
                tracing::debug!(agent = self.host, ?errand, why, "an agent does not end");
            }
        }
        Ok(())
    }

    /// Asks the agent, and says with which status it answers, if it does in time.
    async fn ask(
        &self,
        kind: &'static str,
        errand: &Errand,
        order: &Order,
        line: &mut Line,
    ) -> Result<Option<i64>, Gone> {
        let uuid = self.tell(kind, errand, order, line).await?;
        let reply = async {
            loop {
                let reply = line.replies.recv().await.ok_or(Gone)?;
                if reply.uuid == uuid {
                    return Ok(reply.status);
                }
            }
        };
        timeout(self.patience, reply).await.ok().transpose()
    }

    /// Sends the agent a request, and says which `UUID` the answer will have.
    async fn tell(
        &self,
        kind: &'static str,
        errand: &Errand,
        order: &Order,
        line: &Line,
    ) -> Result<String, Gone> {
        let uuid = Uuid::new_v4().to_string();
        let obj = order.request(errand);
        let namespace = errand.task.namespace();
        let letter = Letter { namespace, kind, uuid: uuid.clone(), status: OK, obj };
        let letters = line.letters.upgrade().ok_or(Gone)?;
        letters.send(letter).await.map_err(|_| Gone)?;
        Ok(uuid)
    }

    fn verdict(&self, status: Option<i64>) -> Result<(), String> {
        match status {
            Some(OK) => Ok(()),
            Some(404) => {
                Err("the agent does not know the node, or nothing to end there".to_owned())
            }
            Some(500) => Err("the agent failed".to_owned()),
            Some(other) => Err(format!("the agent refuses, status {other}")),
            None => Err(format!("the agent does not answer for {:?}", self.patience)),
        }
    }
}

/// As in HTTP.
const OK: i64 = 200;

/// When an errand that failed is tried again.
const AGAIN: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;
    use sonde_proto::time::Timestamp;
    use tokio::task::JoinHandle;

    use super::super::Task;
    use super::*;
    use crate::clock::Clock;
    use crate::flow_store::{FlowStore, Times};
    use crate::stream::{BulkConfig, FlowStream};
    use crate::tests::world::within;

    fn agents() -> Agents {
        let minute = Duration::from_secs(60);
        let store = FlowStore::new(10, Times { hold: minute, idle: minute, silence: minute });
        let stream = FlowStream::new(BulkConfig::default());
        Agents::new(Arc::new(store.into()), stream, Clock::new(Timestamp::default))
    }

    fn orders(task: Task, nodes: &[&str]) -> Orders {
        let order = |node: &&str| {
            let errand = Errand { task, node: (*node).to_owned(), resource: "c".into() };
            (errand, Order { host: "far".into(), resource: Arc::new(json!({"UUID": "c"})) })
        };
        nodes.iter().map(order).collect()
    }

    /// An agent, spoken with.
    struct Far {
        tells: mpsc::Sender<Letter>,
        letters: mpsc::Receiver<Letter>,
        answers: mpsc::Sender<Received>,
        task: JoinHandle<()>,
    }

    impl Far {
        fn new(agents: &Agents, patience: Duration) -> Self {
            let (tells, letters) = mpsc::channel(8);
            let (answers, replies) = mpsc::channel(8);
            let line = Line { letters: tells.downgrade(), replies };
            let task = tokio::spawn(Executor::new(agents.clone(), "far", patience).run(line));
            Self { tells, letters, answers, task }
        }
    }

    #[tokio::test]
    async fn packets_are_sent_once_whatever_becomes_of_the_agent() {
        let agents = agents();
        agents.order(Task::Injection, &orders(Task::Injection, &["a", "b"]));
        let mut far = Far::new(&agents, Duration::from_secs(60));
        let first = far.letters.recv().await.unwrap();
        assert_eq!((first.namespace, first.kind), ("OnDemandPacketInjection", "Start"));
        let reply = Received { uuid: first.uuid, status: 200, ..Received::default() };
        far.answers.send(reply).await.unwrap();
        // It leaves with the first begun and the second asked for.
        far.letters.recv().await.unwrap();
        let Far { tells, letters, answers, task } = far;
        drop((tells, letters, answers));
        task.await.unwrap();
        let outcomes: Vec<_> = agents.outcomes().into_values().collect();
        let left = Outcome::Failed("the agent left".to_owned());
        assert_eq!(outcomes, [left.clone(), left]);
        let mut far = Far::new(&agents, Duration::from_secs(60));
        agents.order(Task::Injection, &orders(Task::Injection, &["b", "c"]));
        let third = far.letters.recv().await.unwrap();
        assert_eq!(third.obj, br#"{"NodeID":"c","Resource":{"UUID":"c"}}"#, "the new one only");
        let outcomes: Vec<_> = agents.outcomes().into_values().collect();
        assert_eq!(outcomes.len(), 2, "a is forgotten");
        assert_eq!(outcomes[1], Outcome::Asked);
    }

    #[tokio::test]
    async fn what_is_called_off_meanwhile_does_not_begin() {
        let agents = agents();
        agents.order(Task::Injection, &orders(Task::Injection, &["a", "b", "c"]));
        let mut far = Far::new(&agents, Duration::from_secs(60));
        let first = far.letters.recv().await.unwrap();
        agents.order(Task::Injection, &orders(Task::Injection, &["a", "c"]));
        let reply = Received { uuid: first.uuid, status: 200, ..Received::default() };
        far.answers.send(reply).await.unwrap();
        let next = far.letters.recv().await.unwrap();
        assert_eq!(
            (next.kind, &*next.obj),
            ("Start", &br#"{"NodeID":"c","Resource":{"UUID":"c"}}"#[..])
        );
    }

    #[tokio::test]
    async fn an_agent_that_does_not_answer_is_skipped() {
        let agents = agents();
        agents.order(Task::Capture, &orders(Task::Capture, &["a", "b"]));
        let Far { tells, mut letters, answers, task } =
            Far::new(&agents, Duration::from_millis(50));
        let first = letters.recv().await.unwrap();
        assert_eq!((first.namespace, first.kind), ("OnDemandCapture", "Start"));
        assert_eq!(first.obj, br#"{"NodeID":"a","Resource":{"UUID":"c"}}"#);
        let stop = letters.recv().await.unwrap();
        assert_eq!((stop.kind, &*stop.obj), ("Stop", &*first.obj), "it may begin yet");
        let second = letters.recv().await.unwrap();
        assert_eq!(second.obj, br#"{"NodeID":"b","Resource":{"UUID":"c"}}"#);
        // The answer to the first is too late, that to the second is not.
        for uuid in [first.uuid, second.uuid] {
            let reply = Received { uuid, status: 200, ..Received::default() };
            answers.send(reply).await.unwrap();
        }
        let outcomes = within(|| {
            let outcomes: Vec<_> = agents.outcomes().into_values().collect();
            (outcomes.last() == Some(&Outcome::Begun)).then_some(outcomes)
        })
        .await;
        assert!(outcomes[0].error().unwrap().contains("does not answer"), "{outcomes:?}");
        // What failed is not called off again, what runs is.
        agents.order(Task::Capture, &Orders::new());
        let stop = letters.recv().await.unwrap();
        assert_eq!((stop.kind, &*stop.obj), ("Stop", &*second.obj));
        drop((tells, letters, answers));
        task.await.unwrap();
        assert!(agents.outcomes().is_empty());
    }
}
