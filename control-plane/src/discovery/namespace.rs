//! What the kernel told of one network namespace, and what of it is not in the graph yet.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::LinkMessage;
use rtnetlink::packet_route::nsid::{NsidAttribute, NsidMessage};

use tokio::sync::Notify;

use super::address::Cidr;
use super::device::Device;
use super::element::Owner;
use super::ethtool::SettingsByLink;
use super::follow::Entrance;
use super::followed::{Around, Followed};
use super::link::{self, Link};
use super::netlink::{Dump, Tables};

/// Tells namespaces apart; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct NetnsKey(pub(super) u32);

/// What a namespace is to the host.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    /// The node that owns its links: the host, for its own namespace.
    pub(super) owner: Owner,
    /// Its name on this host; the host's own has none.
    pub(super) name: Option<String>,
    /// Stands for it when the kernel is asked; absent where there is no `/proc`.
    pub(super) file: Option<Arc<File>>,
}

/// What is known of one namespace.
pub(super) struct Namespace {
    pub(super) identity: Identity,
    /// Where sysfs is.
    sys: Arc<Path>,
    /// By interface index.
    pub(super) links: BTreeMap<u32, Followed>,
    /// By interface index; the kernel may tell of them before it tells of the link.
    addresses: HashMap<u32, Vec<Cidr>>,
    /// VLAN for untagged frames, by the interface index of a bridge's port.
    pvids: HashMap<u32, u16>,
    /// Other namespaces, by the number they have in this one.
    pub(super) peers: HashMap<i32, NetnsKey>,
    /// Links of which something is not in the graph yet.
    pub(super) dirty: BTreeSet<u32>,
    /// Those of them that are new, or refer to other links than before.
    pub(super) moved: BTreeSet<u32>,
    /// Links that are gone.
    pub(super) gone: Vec<Gone>,
    /// Links that refer to another which is not there, or does not refer back: the kernel does not
    /// tell that the other end of a veth has moved.
    pub(super) stale: BTreeSet<u32>,
    /// Wakes the follower.
    pub(super) poke: Arc<Notify>,
}

/// What is left of a link that is gone.
pub(super) struct Gone {
    pub(super) index: u32,
    pub(super) node: String,
    pub(super) device: Device,
}

impl Identity {
    /// How it is entered.
    pub(super) fn entrance(&self) -> Entrance {
        match (&self.name, &self.file) {
            (Some(_), Some(file)) => Entrance::Into(file.clone()),
            _ => Entrance::Here,
        }
    }
}

impl Namespace {
    pub(super) fn new(identity: Identity, sys: Arc<Path>) -> Self {
        Self {
            identity,
            sys,
            links: BTreeMap::new(),
            addresses: HashMap::new(),
            pvids: HashMap::new(),
            peers: HashMap::new(),
            dirty: BTreeSet::new(),
            moved: BTreeSet::new(),
            gone: Vec::new(),
            stale: BTreeSet::new(),
            poke: Arc::default(),
        }
    }

    /// Whether something is not in the graph yet.
    pub(super) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty() || !self.gone.is_empty() || !self.stale.is_empty()
    }

    /// Takes over what the dump shows; what it does not show is gone.
    pub(super) fn resynchronise(&mut self, dump: &Dump) {
        self.addresses.clear();
        for (index, cidr) in dump.addresses.iter().filter_map(Cidr::read) {
            self.addresses.entry(index).or_default().push(cidr);
        }
        let pvids = dump.bridge.iter().filter_map(link::read_pvid);
        self.pvids = pvids.filter_map(|(index, pvid)| Some((index, pvid?))).collect();
        self.peers.clear();
        let links: Vec<Link> = dump.links.iter().filter_map(Link::read).collect();
        let there: BTreeSet<u32> = links.iter().map(|link| link.index).collect();
        let held: Vec<u32> = self.links.keys().copied().collect();
        held.into_iter().filter(|index| !there.contains(index)).for_each(|gone| self.forget(gone));
        links.into_iter().for_each(|link| self.hold(link));
    }

    /// Takes over changes, in the order the kernel told them.
    pub(super) fn apply(&mut self, messages: &[RouteNetlinkMessage]) {
        for message in messages {
            match message {
                RouteNetlinkMessage::NewLink(message) => {
                    if let Some((index, pvid)) = link::read_pvid(message) {
                        self.set_pvid(index, pvid);
                    } else if let Some(link) = Link::read(message) {
                        self.hold(link);
                    }
                }
                RouteNetlinkMessage::DelLink(message) => {
                    // The bridge family tells that a port left its bridge, not that it is gone.
                    if let Some((index, _)) = link::read_pvid(message) {
                        self.set_pvid(index, None);
                    } else {
                        self.addresses.remove(&message.header.index);
                        self.pvids.remove(&message.header.index);
                        self.forget(message.header.index);
                    }
                }
                RouteNetlinkMessage::NewAddress(message) => {
                    if let Some((index, cidr)) = Cidr::read(message) {
                        let held = self.addresses.entry(index).or_default();
                        if !held.contains(&cidr) {
                            held.push(cidr);
                            self.dirty.insert(index);
                        }
                    }
                }
                RouteNetlinkMessage::DelAddress(message) => {
                    if let Some((index, cidr)) = Cidr::read(message)
                        && let Some(held) = self.addresses.get_mut(&index)
                    {
                        held.retain(|other| *other != cidr);
                        self.dirty.insert(index);
                    }
                }
                RouteNetlinkMessage::NewNsId(message) | RouteNetlinkMessage::DelNsId(message) => {
                    self.unname(message);
                }
                _ => {}
            }
        }
    }

    /// Takes over tables that were read.
    pub(super) fn take_tables(&mut self, mut tables: Tables) {
        for (index, followed) in &mut self.links {
            let mut changed = false;
            if let Some(neighbours) = &mut tables.neighbours {
                changed |= replace(&mut followed.neighbours, neighbours.take(*index));
            }
            if let Some(fdb) = &mut tables.fdb {
                changed |= replace(&mut followed.fdb, fdb.take(*index));
            }
            if let Some(routes) = &mut tables.routes {
                changed |= replace(&mut followed.routes, routes.take(*index));
            }
            if changed {
                self.dirty.insert(*index);
            }
        }
    }

    /// Takes over what drivers told of the links that they were `asked` about.
    pub(super) fn take_settings(&mut self, asked: &BTreeSet<u32>, mut told: SettingsByLink) {
        for index in asked {
            if let Some(followed) = self.links.get_mut(index)
                && replace(&mut followed.settings, told.remove(index).unwrap_or_default())
            {
                self.dirty.insert(*index);
            }
        }
    }

    /// Takes over the virtual functions that a dump shows.
    pub(super) fn take_vfs(&mut self, links: &[Link]) {
        for link in links {
            if let Some(followed) = self.links.get_mut(&link.index)
                && replace(&mut followed.link.vfs, link.vfs.clone())
            {
                self.dirty.insert(link.index);
            }
        }
    }

    /// Takes over which namespace has which number here.
    pub(super) fn take_peers(&mut self, named: &[(i32, NetnsKey)]) {
        for (id, peer) in named {
            if self.peers.insert(*id, *peer) != Some(*peer) {
                self.touch(*id);
            }
        }
    }

    /// Forgets a namespace that is gone.
    pub(super) fn forget_peer(&mut self, gone: NetnsKey) {
        let ids = self.peers.iter().filter(|(_, peer)| **peer == gone);
        let ids: Vec<i32> = ids.map(|(id, _)| *id).collect();
        for id in ids {
            self.peers.remove(&id);
            self.touch(id);
        }
    }

    /// Numbers of namespaces that links refer to, but nobody knows whose they are.
    pub(super) fn unnamed(&self) -> BTreeSet<i32> {
        let ids = self.links.values().filter_map(|followed| followed.link.parent_netns);
        ids.filter(|id| *id >= 0 && !self.peers.contains_key(id)).collect()
    }

    /// Where the link under a link is, or its veth peer.
    pub(super) fn parent_of(&self, own: NetnsKey, link: &Link) -> Option<(NetnsKey, u32)> {
        let netns = match link.parent_netns {
            None => own,
            Some(id) => *self.peers.get(&id)?,
        };
        (link.parent != 0).then_some((netns, link.parent))
    }

    /// What is known of a link beside the link itself.
    pub(super) fn around<'a>(&'a self, link: &Link, peer_netns: Option<&'a str>) -> Around<'a> {
        Around {
            owner: &self.identity.owner.tid,
            addresses: self.addresses.get(&link.index).map_or(&[], Vec::as_slice),
            pvid: self.pvids.get(&link.index).copied(),
            peer_netns,
        }
    }

    /// A link is to be read again.
    pub(super) fn doubt(&mut self, index: u32) {
        self.stale.insert(index);
        self.poke.notify_one();
    }

    fn set_pvid(&mut self, index: u32, pvid: Option<u16>) {
        let before = match pvid {
            Some(pvid) => self.pvids.insert(index, pvid),
            None => self.pvids.remove(&index),
        };
        if before != pvid {
            self.dirty.insert(index);
        }
    }

    fn hold(&mut self, mut link: Link) {
        let index = link.index;
        let followed = self.links.entry(index).or_default();
        link.vfs = link.vfs.or_else(|| followed.link.vfs.take());
        if !followed.knows_device_of(&link) {
            followed.device = Device::look(&self.sys, &link, self.identity.name.is_none());
        }
        if !followed.link.refers_as(&link) {
            self.moved.insert(index);
        }
        followed.link = link;
        self.dirty.insert(index);
    }

    fn forget(&mut self, index: u32) {
        self.dirty.remove(&index);
        self.moved.remove(&index);
        self.stale.remove(&index);
        if let Some(followed) = self.links.remove(&index) {
            self.gone.push(followed.gone(index));
        }
    }

    /// Another namespace may have the number now.
    fn unname(&mut self, message: &NsidMessage) {
        for attribute in &message.attributes {
            if let NsidAttribute::Id(id) = attribute
                && self.peers.remove(id).is_some()
            {
                self.touch(*id);
            }
        }
    }

    /// Links that refer to the namespace of that number are to be written again.
    fn touch(&mut self, id: i32) {
        let links = self.links.values().map(|followed| &followed.link);
        let links = links.filter(|link| link.parent_netns == Some(id)).map(|link| link.index);
        let links: Vec<u32> = links.collect();
        self.dirty.extend(&links);
        self.moved.extend(&links);
    }
}

/// The counters of links, as a dump shows them.
pub(super) fn read(messages: &[LinkMessage]) -> Vec<Link> {
    messages.iter().filter_map(Link::read).collect()
}

/// True if it is another one.
fn replace<T: PartialEq>(held: &mut T, fresh: T) -> bool {
    let changed = *held != fresh;
    *held = fresh;
    changed
}
