//! How the functions of a NIC hang together, in whatever namespaces their links are (PCI SR-IOV; the
//! kernel's switchdev.rst).
//!
//! What a virtual function sends comes out of its representor, where the NIC's switch has one for
//! it, or else passes the physical function.

use std::collections::BTreeSet;

use super::{Namespaces, Place};
use crate::discovery::device::Device;
use crate::discovery::followed::Followed;
use crate::discovery::namespace::{Gone, NetnsKey};

/// The kind of an edge that leads to a virtual function.
pub(super) const VIRTUAL_FUNCTION: &str = "vf";

impl Namespaces {
    /// The link above a virtual function. `None` for other functions.
    pub(super) fn upstream(&self, device: &Device) -> Option<&Followed> {
        let function = device.virtual_of.as_ref()?;
        let on_physical = || self.on_function(&function.physical);
        let representor = on_physical().find(|at| at.link.represents() == Some(function.id));
        representor.or_else(|| on_physical().find(|at| at.link.is_own()))
    }

    /// Whether frames of a DPDK port on that function come through a link, and by which kind of
    /// edge.
    pub(super) fn carries(&self, at: &Followed, device: &Device) -> Option<Option<&'static str>> {
        let same = device.bus_info.is_some() && at.device.bus_info == device.bus_info;
        if same && at.link.is_own() {
            return Some(None);
        }
        let above = self.upstream(device).is_some_and(|upstream| upstream.node == at.node);
        above.then_some(Some(VIRTUAL_FUNCTION))
    }

    /// The links on NICs of which a function came, went or moved.
    pub(super) fn on_nics_of(
        &self,
        key: NetnsKey,
        moved: &BTreeSet<u32>,
        gone: &[Gone],
    ) -> Vec<Place> {
        let moved = moved.iter().filter_map(|index| self.followed((key, *index)));
        let moved = moved.filter_map(|at| at.device.physical());
        let gone = gone.iter().filter_map(|gone| gone.device.physical());
        let nics: BTreeSet<&str> = moved.chain(gone).collect();
        if nics.is_empty() {
            return Vec::new();
        }
        let on = |at: &Followed| at.device.physical().is_some_and(|nic| nics.contains(nic));
        let all = self.known.iter().flat_map(|(key, namespace)| {
            namespace.links.iter().map(|(index, at)| ((*key, *index), at))
        });
        all.filter(|(_, at)| on(at)).map(|(place, _)| place).collect()
    }

    /// The links that have a node and stand on a function themselves.
    fn on_function<'a>(&'a self, address: &str) -> impl Iterator<Item = &'a Followed> {
        let links = self.known.values().flat_map(|namespace| namespace.links.values());
        links
            .filter(move |at| at.device.bus_info.as_deref() == Some(address) && !at.node.is_empty())
    }
}
