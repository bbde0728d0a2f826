//! What is at the other end of a DPDK port, as far as its device says.

use std::path::Path;

use super::device::Device;
use super::vhost_user::Socket;

/// A port's node, and what the port exchanges its frames with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Port {
    /// ID of its node.
    pub(super) node: String,
    pub(super) end: Option<OtherEnd>,
}

/// Where a port's frames come from and go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum OtherEnd {
    /// A kernel link of the host's own namespace, by name: a vdev opened it, or made it.
    Link(String),
    /// Links that are known by the function on the PCI bus: the port's own where the kernel has it,
    /// too (bifurcated drivers), the representor of a virtual function, its physical one.
    Function(Device),
    /// Whoever is at the other side of a vhost-user socket.
    Socket(Socket),
}

impl Port {
    /// Whether the port is at this side of a vhost-user socket.
    pub(super) fn is_on(&self, socket: Socket) -> bool {
        self.end == Some(OtherEnd::Socket(socket))
    }
}

impl OtherEnd {
    /// Of DPDK's device string, and the address of a PCI device, about which the tree at `sys` is
    /// asked.
    pub(super) fn of(sys: &Path, device: &str, pci: Option<&str>) -> Option<Self> {
        let function = || pci.map(|address| Self::Function(Device::at(sys, address)));
        let link = || link(device).map(|link| Self::Link(link.to_owned()));
        Socket::of(device).map(Self::Socket).or_else(link).or_else(function)
    }
}

/// The value of an argument in a device string.
pub(super) fn argument<'a>(device: &'a str, name: &str) -> Option<&'a str> {
    let mut arguments = device.split(',').skip(1).filter_map(|argument| argument.split_once('='));
    arguments.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim())
}

/// The kernel link of a vdev.
fn link(device: &str) -> Option<&str> {
    if !WITH_LINK.iter().any(|driver| device.trim_start().starts_with(driver)) {
        return None;
    }
    let link = argument(device, "iface").or_else(|| argument(device, "rx_iface"));
    link.filter(|link| !link.is_empty())
}

/// The drivers that name a kernel link, with their older names (DPDK's guides of the NIC drivers).
const WITH_LINK: &[&str] = &[
    "net_af_packet",
    "eth_af_packet",
    "net_af_xdp",
    "eth_af_xdp",
    "net_pcap",
    "net_tap",
    "net_virtio_user",
    "virtio_user",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn of(device: &str, pci: Option<&str>) -> Option<OtherEnd> {
        OtherEnd::of(Path::new("/nowhere"), device, pci)
    }

    #[test]
    fn vdevs_name_their_kernel_link() {
        for (device, expected) in [
            ("net_af_packet0,iface=eth0,qpairs=1", Some("eth0")),
            ("net_af_xdp1,start_queue=0,iface=ens1f0", Some("ens1f0")),
            ("net_pcap0,rx_iface=eth1,tx_iface=eth2", Some("eth1")),
            ("net_tap0,iface=tap0", Some("tap0")),
            ("net_virtio_user0,path=/dev/vhost-net,iface=tap1", Some("tap1")),
            ("net_af_packet0,iface=", None),
            ("net_null0,iface=eth0", None),
            ("net_pcap0,rx_pcap=eth0.pcap", None),
        ] {
            let expected = expected.map(|link| OtherEnd::Link(link.to_owned()));
            assert_eq!(of(device, None), expected, "{device}");
        }
    }

    #[test]
    fn what_is_on_the_bus_is_known_by_its_function() {
        let end = of("0000:3b:00.0,txq_inline=0", Some("0000:3b:00.0"));
        let device = Device { bus_info: Some("0000:3b:00.0".into()), ..Device::default() };
        assert_eq!(end, Some(OtherEnd::Function(device)));
    }
}
