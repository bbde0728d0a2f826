//! Who changes the topology, and what is his to change.

use sonde_proto::graph::Element;

use super::origins::Origins;
use super::publication::Refusal;
use crate::graph::{Kind, SchemaError, Topology};

/// A client that changes the topology.
#[derive(Clone, Debug)]
pub struct Author(Role);

#[derive(Clone, Debug)]
enum Role {
    /// Signs with that origin. It may change all there is, whose ever it is (Skydive API §7.7).
    Publisher { origin: String },
    /// Signs with that origin all that it tells of its host, and changes nothing else.
    Agent { origin: String, host: String },
    /// Another analyzer, whose elements are signed. It changes those of the origins it tells of.
    Peer(Peer),
}

#[derive(Clone, Debug)]
struct Peer {
    host: String,
    /// Our host id, and the origins of what we make.
    server: String,
    ours: [String; 3],
    origins: Origins,
}

impl Author {
    /// A publisher, which signs as its kind and its host.
    pub fn publisher(kind: &str, host: &str) -> Self {
        Self(Role::Publisher { origin: format!("{kind}.{host}") })
    }

    /// The agent of a host.
    pub fn agent(host: &str) -> Self {
        Self(Role::Agent { origin: format!("agent.{host}"), host: host.to_owned() })
    }

    /// The analyzer of a host. `server` is ours.
    pub(super) fn peer(host: &str, server: &str, origins: Origins) -> Self {
        let ours = ["agent", "api", "analyzer"].map(|kind| format!("{kind}.{server}"));
        let (host, server) = (host.to_owned(), server.to_owned());
        Self(Role::Peer(Peer { host, server, ours, origins }))
    }

    /// The origin of all it makes, if that is one.
    pub(super) fn origin(&self) -> Option<&str> {
        match &self.0 {
            Role::Publisher { origin } | Role::Agent { origin, .. } => Some(origin),
            Role::Peer(_) => None,
        }
    }

    /// Whether what it says of its elements is believed whatever their revision: what was written
    /// on them here counts revisions too.
    pub(super) fn has_last_word(&self) -> bool {
        !matches!(self.0, Role::Publisher { .. })
    }

    /// What an element lacks that it tells of. Agents and analyzers are not held to the schemas.
    pub(super) fn check<K: Kind>(&self, one: &K) -> Result<(), SchemaError> {
        match self.0 {
            Role::Publisher { .. } => one.check(),
            Role::Agent { .. } | Role::Peer(_) => one.identify(),
        }
    }

    /// Whether an element that it tells of is one that it may tell of: a peer has others in its
    /// graph too, which it knows from us or from other peers. An error when peers tell of too much.
    pub(super) fn may_tell(&self, element: &Element, topology: &Topology) -> Result<bool, Refusal> {
        match &self.0 {
            Role::Publisher { .. } | Role::Agent { .. } => Ok(true),
            Role::Peer(Peer { host, server, ours, origins }) => {
                let origin = &element.origin;
                let is_ours = origin.is_empty() || ours.contains(origin) || element.host == *server;
                if is_ours { Ok(false) } else { origins.admit(origin, host, topology) }
            }
        }
    }

    /// Signs a new element, if it is not signed.
    pub(super) fn sign(&self, element: &mut Element) {
        match &self.0 {
            Role::Publisher { origin } => element.origin.clone_from(origin),
            Role::Agent { origin, host } => {
                element.origin.clone_from(origin);
                element.host.clone_from(host);
            }
            Role::Peer(_) => {}
        }
    }

    /// Whether that element is its own.
    pub(super) fn owns(&self, element: &Element) -> bool {
        match &self.0 {
            Role::Publisher { origin } | Role::Agent { origin, .. } => element.origin == *origin,
            Role::Peer(Peer { host, origins, .. }) => origins.is_of(&element.origin, host),
        }
    }

    /// Whether it may change that element.
    pub(super) fn may_change(&self, element: &Element) -> Result<(), Refusal> {
        match matches!(self.0, Role::Publisher { .. }) || self.owns(element) {
            true => Ok(()),
            false => Err(Refusal::Foreign(element.id.clone(), element.origin.clone())),
        }
    }

    /// All that it told is in `topology`, as far as it was not refused.
    pub(super) fn tidy(&self, topology: &Topology) {
        if let Role::Peer(Peer { host, origins, .. }) = &self.0 {
            origins.tidy(host, topology);
        }
    }

    /// It tells of nothing any more; its elements are gone.
    pub(super) fn leave(&self, origins: &Origins) {
        match &self.0 {
            Role::Publisher { origin } | Role::Agent { origin, .. } => origins.leave(origin),
            Role::Peer(Peer { host, .. }) => origins.part(host),
        }
    }
}
