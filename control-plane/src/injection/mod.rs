//! Packet injections: frames that nodes send because a client asks for them (Skydive API §2.9, §10).
//! They begin when they are created, and end when all is sent or when they are deleted; a restart
//! begins none anew.

mod frame;
mod job;
mod recipe;
mod remote;
mod route;
mod shown;
mod standing;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sonde_proto::injection::PacketInjection;
use sonde_proto::plan::Point;
use sonde_proto::time::Timestamp;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use crate::agent::Agents;
use crate::announced::Announced;
use crate::asker::Asker;
use crate::clock::rfc3339;
use crate::notice::Notices;
use crate::resource::{Invalid, Resource, ResourceError, Resources};
use crate::store::{Store, StoreError};
use crate::upload::Damaged;

use frame::{Frames, any_port, letters};
use job::{Job, Jobs, Supply};
use recipe::{Recipe, Transport};
use remote::Remote;
use route::{Sender, senders};
use standing::Standing;

/// Sends a frame, from its link-layer header on.
pub type Wire = Box<dyn FnMut(&[u8]) -> io::Result<()> + Send>;

/// Opens an observation point.
pub type Open = dyn Fn(&Point) -> io::Result<Wire> + Send + Sync;

/// Reads a capture file.
pub type Read = dyn Fn(&[u8]) -> Result<Vec<Vec<u8>>, Damaged> + Send + Sync;

/// How frames reach the network. Given by the one who knows the data plane.
#[derive(Clone)]
pub struct Injector {
    /// Opens an observation point for sending.
    pub open: Arc<Open>,
    /// Reads the frames of a capture file.
    pub read: Arc<Read>,
}

impl fmt::Debug for Injector {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Injector").finish_non_exhaustive()
    }
}

/// What injections work on.
#[derive(Clone, Debug)]
pub struct InjectionsConfig {
    /// The host whose nodes send.
    pub host: String,
    /// Where the nodes are.
    pub asker: Asker,
    /// How they send.
    pub injector: Injector,
    /// Who sends on nodes of other hosts.
    pub agents: Agents,
    /// Where it is told what becomes of injections.
    pub notices: Notices,
}

/// All packet injections. Clones are the same injections.
#[derive(Clone, Debug)]
pub struct Injections(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    resources: Resources<PacketInjection>,
    config: InjectionsConfig,
    remote: Mutex<Remote>,
    /// By the UUID of their injection.
    jobs: Mutex<HashMap<String, Jobs>>,
    /// Nodes that show what they send.
    shown: Mutex<shown::Shown>,
    announced: Mutex<Announced<Standing>>,
}

/// What an injection's rules depend on.
#[derive(Debug)]
pub struct Rules {
    config: InjectionsConfig,
    /// Nodes that send now.
    sending: Arc<AtomicUsize>,
}

/// What an injection sends, and who does.
#[derive(Debug)]
pub struct Prepared {
    senders: Vec<Sender>,
    supplies: Vec<Supply>,
    sending: Arc<AtomicUsize>,
}

impl Resource for PacketInjection {
    type Parsed = Prepared;
    type Rules = Rules;

    const TABLE: &'static str = "packet injections";

    fn uuid(&mut self) -> &mut String {
        &mut self.uuid
    }

    fn parse(&mut self, rules: &Rules) -> Result<Prepared, Vec<Invalid>> {
        let recipe = Recipe::read(self)?;
        let one = |fault: String| vec![Invalid::whole(fault)];
        let InjectionsConfig { asker, host, .. } = &rules.config;
        let senders = senders(asker, host, &recipe, &self.src).map_err(|no| one(no.to_string()))?;
        let here = senders.iter().filter(|sender| sender.agent.is_none()).count();
        if rules.sending.load(Ordering::Relaxed) + here > SENDING {
            return Err(one(format!("{SENDING} nodes inject packets already, try again later")));
        }
        let supplies = match &recipe.pcap {
            Some(pcap) => {
                let frames = (rules.config.injector.read)(pcap);
                let frames = frames.map_err(|why| vec![Invalid::new("Pcap", why.to_string())])?;
                vec![Supply::File(frames.into()); senders.len()]
            }
            None => made(self, &recipe, &senders),
        };
        Ok(Prepared { senders, supplies, sending: rules.sending.clone() })
    }

    fn stamp(&mut self, _before: Option<&Self>, now: Timestamp) {
        self.start_time = rfc3339(now);
    }
}

/// What each node sends: all the same but the identifier, or the source port.
fn made(of: &PacketInjection, recipe: &Recipe, senders: &[Sender]) -> Vec<Supply> {
    let (base, dst_port) = match recipe.transport {
        Transport::Icmp => (of.icmp_id.max(1), 0),
        Transport::Udp => (of.src_port.max(1), of.dst_port),
        Transport::Tcp => {
            let or_any = |port| if port == 0 { any_port() } else { port };
            (or_any(of.src_port), or_any(of.dst_port))
        }
    };
    let payload: Vec<u8> = match of.payload.is_empty() {
        true => letters(LETTERS).collect(),
        false => of.payload.clone().into_bytes(),
    };
    let routes = senders.iter().filter_map(|sender| sender.route);
    let frames = routes.zip(0_u16..).map(|(route, number)| Frames {
        route,
        transport: recipe.transport,
        mode: recipe.mode,
        id: base.wrapping_add(number),
        dst_port,
        ttl: if of.ttl == 0 { TTL } else { of.ttl },
        payload: payload.clone(),
        more: usize::try_from(of.increment_payload).unwrap_or_default(),
        made: 0,
    });
    frames.map(Supply::Made).collect()
}

impl Injections {
    /// Takes up the injections that `store` keeps; none of them sends.
    pub fn open(config: InjectionsConfig, store: &Store) -> Result<Self, StoreError> {
        let (clock, sending) = (config.asker.clock.clone(), Arc::default());
        let rules = Rules { config: config.clone(), sending };
        let resources = Resources::open(store, clock, rules)?;
        let announced = Mutex::new(Announced::new(NAMESPACE, config.notices.clone()));
        let (remote, jobs, shown) = Default::default();
        let inner = Inner { resources, config, remote, jobs, shown, announced };
        let injections = Self(Arc::new(inner));
        injections.announce();
        Ok(injections)
    }

    /// The injections as clients see them.
    pub fn resources(&self) -> &Resources<PacketInjection> {
        &self.0.resources
    }

    /// Adds an injection, and begins to send.
    pub fn create(
        &self,
        new: PacketInjection,
        ttl: Option<Duration>,
    ) -> Result<PacketInjection, ResourceError> {
        let Inner { resources, config, .. } = &*self.0;
        let entry = resources.create(new, ttl)?;
        self.announce();
        if let Some(Prepared { senders, supplies, sending }) = &entry.parsed {
            let injection = &entry.resource;
            let senders = senders.iter().zip(supplies);
            self.remote().begin(injection, senders.clone());
            let ours = senders.filter(|(sender, _)| sender.agent.is_none());
            let start = |(sender, supply): (&Sender, &Supply)| {
                let (supply, sending) = (supply.clone(), sending.clone());
                Job::start(injection, sender, supply, &config.injector, sending)
            };
            self.jobs().insert(injection.uuid.clone(), Jobs::new(ours.map(start).collect()));
        }
        self.show();
        Ok(entry.resource.clone())
    }

    /// Deletes an injection: it sends no more. `false` when there is none of that ID.
    pub fn delete(&self, id: &str) -> Result<bool, StoreError> {
        let known = self.0.resources.delete(id)?;
        self.show();
        Ok(known)
    }

    /// Keeps nodes and the time of injections until it is dropped.
    pub async fn run(self) {
        let mut ticks = interval(REFRESH);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let injections = self.clone();
            if let Err(error) = spawn_blocking(move || injections.tick()).await {
                tracing::error!(%error, "packet injections");
            }
        }
    }

    fn tick(&self) {
        if let Err(error) = self.0.resources.expire() {
            tracing::error!(%error, "packet injections whose time is over stay");
        }
        self.show();
    }

    /// Ends the jobs of injections that are gone, writes on nodes what they send, and tells
    /// subscribers.
    fn show(&self) {
        let Inner { resources, config: InjectionsConfig { asker, agents, .. }, shown, .. } =
            &*self.0;
        // What is created meanwhile comes into the table first, then to those that send. The table is
        // read last, so that it has whatever they have.
        let mut remote = self.remote();
        let entries = resources.entries();
        remote.keep(|id| entries.contains_key(id), agents);
        remote.show(agents, asker, asker.clock.now());
        drop(remote);
        let mut jobs = self.jobs();
        let entries = resources.entries();
        jobs.retain(|id, _| entries.contains_key(id));
        jobs.values_mut().for_each(Jobs::end_over);
        let entries = jobs.iter().flat_map(|(id, jobs)| {
            let entry = entries.get(id);
            entry.into_iter().flat_map(|entry| jobs.left().map(|job| (&entry.resource, job)))
        });
        {
            let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
            asker.edit(|graph| shown.update(graph, entries, asker.clock.now()));
        }
        drop(jobs);
        self.announce();
    }

    /// Tells subscribers how the injections stand now.
    fn announce(&self) {
        let mut announced = self.0.announced.lock().unwrap_or_else(PoisonError::into_inner);
        let outcomes = self.0.config.agents.outcomes();
        let entries = self.0.resources.entries();
        let jobs = self.jobs();
        let standing = entries
            .iter()
            .map(|(id, entry)| (id.clone(), Standing::new(entry.clone(), jobs.get(id), &outcomes)));
        let standing = standing.collect();
        drop(jobs);
        announced.update(standing);
    }

    fn remote(&self) -> MutexGuard<'_, Remote> {
        self.0.remote.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn jobs(&self) -> MutexGuard<'_, HashMap<String, Jobs>> {
        self.0.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of the notices of injections.
const NAMESPACE: &str = "OnDemandPacketInjectionNotification";

/// Nodes that send at once at most, all injections together: each is a thread.
const SENDING: usize = 64;

/// Letters of a payload that nobody chose.
const LETTERS: usize = 56;

/// Time to live that nobody chose.
const TTL: u8 = 64;

/// Between two looks at what was sent. Skydive: 3 s.
const REFRESH: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests;
