//! What sysfs knows of the device behind a link or a DPDK port: driver, bus, and whether it is a
//! virtual function of another.

use std::fs;
use std::path::{Path, PathBuf};

use super::link::Link;

/// Where sysfs is, outside of tests.
pub(super) const SYSFS: &str = "/sys";

/// Facts that netlink does not tell; each is absent when it is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Device {
    pub(super) driver: Option<String>,
    /// The address on the bus, `0000:00:03.0` for PCI.
    pub(super) bus_info: Option<String>,
    /// Whose virtual function it is.
    pub(super) virtual_of: Option<VirtualFunction>,
}

/// One of the functions that a NIC makes out of a physical one (PCI SR-IOV).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct VirtualFunction {
    /// Its number among them.
    pub(super) id: u32,
    /// The address of the physical function.
    pub(super) physical: String,
}

impl Device {
    /// Reads about a link in the tree at `sys`.
    ///
    /// Buses are the same in every network namespace. Kernels that do not tell the device are
    /// older than 5.14: it is then found by the link's name, if `own` says that the link is of the
    /// namespace sysfs was mounted in; a link of another index is another link.
    pub(super) fn look(sys: &Path, link: &Link, own: bool) -> Self {
        let device = match &link.device {
            Some((bus, name)) => on_bus(sys, bus, name),
            None if own => by_name(sys, link),
            None => None,
        };
        device.as_deref().map(Self::read).unwrap_or_default()
    }

    /// Reads about the PCI function at an address. It is known by that even where sysfs is not.
    pub(super) fn at(sys: &Path, address: &str) -> Self {
        let known = on_bus(sys, "pci", address).as_deref().map(Self::read).unwrap_or_default();
        Self { bus_info: Some(address.to_owned()), ..known }
    }

    /// The address of the physical function, which all parts of one port of a NIC have in common.
    pub(super) fn physical(&self) -> Option<&str> {
        let own = self.bus_info.as_deref();
        self.virtual_of.as_ref().map(|function| function.physical.as_str()).or(own)
    }

    fn read(device: &Path) -> Self {
        let function = function(device);
        Self {
            driver: driver(device),
            bus_info: function.and_then(file_name),
            virtual_of: function.and_then(virtual_of),
        }
    }
}

fn on_bus(sys: &Path, bus: &str, name: &str) -> Option<PathBuf> {
    fs::canonicalize(sys.join("bus").join(bus).join("devices").join(name)).ok()
}

fn by_name(sys: &Path, link: &Link) -> Option<PathBuf> {
    let class = sys.join("class/net").join(&link.name);
    let index: u32 = fs::read_to_string(class.join("ifindex")).ok()?.trim().parse().ok()?;
    (index == link.index).then(|| fs::canonicalize(class.join("device")).ok()).flatten()
}

fn driver(device: &Path) -> Option<String> {
    file_name(&fs::canonicalize(device.join("driver")).ok()?)
}

/// The device itself; for a virtio device the PCI function it is on, which is what ethtool tells.
fn function(device: &Path) -> Option<&Path> {
    if file_name(device)?.starts_with("virtio") { device.parent() } else { Some(device) }
}

fn virtual_of(function: &Path) -> Option<VirtualFunction> {
    let physical = fs::canonicalize(function.join("physfn")).ok()?;
    let address = function.file_name();
    let id = fs::read_dir(&physical).ok()?.flatten().find_map(|entry| {
        let id = entry.file_name().to_str()?.strip_prefix("virtfn")?.parse().ok()?;
        (fs::read_link(entry.path()).ok()?.file_name() == address).then_some(id)
    })?;
    Some(VirtualFunction { id, physical: file_name(&physical)? })
}

fn file_name(path: &Path) -> Option<String> {
    Some(path.file_name()?.to_str()?.to_owned())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// Writes a sysfs of one physical function and its virtual ones, by address.
    pub(in super::super) fn pci_functions(sys: &Path, physical: &str, functions: &[&str]) {
        let bus = sys.join("bus/pci/devices");
        fs::create_dir_all(&bus).unwrap();
        let add = |address: &str| {
            let directory = sys.join("devices").join(address);
            fs::create_dir_all(&directory).unwrap();
            symlink(&directory, bus.join(address)).unwrap();
            directory
        };
        let physical = add(physical);
        for (id, address) in functions.iter().enumerate() {
            let directory = add(address);
            symlink(&physical, directory.join("physfn")).unwrap();
            symlink(&directory, physical.join(format!("virtfn{id}"))).unwrap();
        }
    }

    /// A sysfs of one virtio device with the link `eth0`, index 4.
    fn sysfs() -> tempfile::TempDir {
        let sys = tempfile::tempdir().unwrap();
        let root = sys.path();
        let device = root.join("devices/pci0000:00/0000:00:03.0/virtio2");
        let driver = root.join("bus/virtio/drivers/virtio_net");
        let link = device.join("net/eth0");
        for directory in [&device, &driver, &link] {
            fs::create_dir_all(directory).unwrap();
        }
        for directory in ["bus/virtio/devices", "class/net"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        symlink(&driver, device.join("driver")).unwrap();
        symlink(&device, root.join("bus/virtio/devices/virtio2")).unwrap();
        symlink(&device, link.join("device")).unwrap();
        symlink(&link, root.join("class/net/eth0")).unwrap();
        fs::write(link.join("ifindex"), "4\n").unwrap();
        sys
    }

    fn link(index: u32) -> Link {
        Link { index, name: "eth0".into(), ..Link::default() }
    }

    #[test]
    fn a_device_is_found_by_its_link() {
        let sys = sysfs();
        let found = Device::look(sys.path(), &link(4), true);
        assert_eq!(found.driver.as_deref(), Some("virtio_net"));
        assert_eq!(found.bus_info.as_deref(), Some("0000:00:03.0"));
        assert_eq!(found.virtual_of, None);
    }

    #[test]
    fn a_link_of_that_name_elsewhere_is_another() {
        let sys = sysfs();
        assert_eq!(Device::look(sys.path(), &link(9), true), Device::default());
        assert_eq!(Device::look(sys.path(), &link(4), false), Device::default());
        let elsewhere = Link { device: Some(("virtio".into(), "virtio2".into())), ..link(9) };
        let found = Device::look(sys.path(), &elsewhere, false);
        assert_eq!(found.driver.as_deref(), Some("virtio_net"));
    }

    #[test]
    fn a_virtual_function_names_its_physical_one() {
        let sys = tempfile::tempdir().unwrap();
        pci_functions(sys.path(), "0000:3b:00.0", &["0000:3b:00.2", "0000:3b:00.3"]);
        let second = Device::at(sys.path(), "0000:3b:00.3");
        let expected = VirtualFunction { id: 1, physical: "0000:3b:00.0".into() };
        assert_eq!(second.virtual_of, Some(expected));
        assert_eq!(second.physical(), Some("0000:3b:00.0"));
        let first = Device::at(sys.path(), "0000:3b:00.0");
        assert_eq!(first.physical(), Some("0000:3b:00.0"));
        assert_eq!(first.virtual_of, None);
        let unknown = Device::at(sys.path(), "0000:ff:00.0");
        assert_eq!(unknown.bus_info.as_deref(), Some("0000:ff:00.0"));
    }
}
