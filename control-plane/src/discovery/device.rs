//! What sysfs knows of the device behind a link: driver and bus.

use std::fs;
use std::path::{Path, PathBuf};

use super::link::Link;

/// Facts that netlink does not tell; each is absent when it is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Device {
    pub(super) driver: Option<String>,
    /// The address on the bus, `0000:00:03.0` for PCI.
    pub(super) bus_info: Option<String>,
}

impl Device {
    /// Reads about a link in the tree at `sys`, which is `/sys` outside of tests.
    ///
    /// Buses are the same in every network namespace. Kernels that do not tell the device are
    /// older than 5.14: it is then found by the link's name, if `own` says that the link is of the
    /// namespace sysfs was mounted in; a link of another index is another link.
    pub(super) fn look(sys: &Path, link: &Link, own: bool) -> Self {
        let device = match &link.device {
            Some((bus, name)) => {
                fs::canonicalize(sys.join("bus").join(bus).join("devices").join(name)).ok()
            }
            None if own => by_name(sys, link),
            None => None,
        };
        Self {
            driver: device.as_deref().and_then(driver),
            bus_info: device.as_deref().and_then(bus_info),
        }
    }
}

fn by_name(sys: &Path, link: &Link) -> Option<PathBuf> {
    let class = sys.join("class/net").join(&link.name);
    let index: u32 = fs::read_to_string(class.join("ifindex")).ok()?.trim().parse().ok()?;
    (index == link.index).then(|| fs::canonicalize(class.join("device")).ok()).flatten()
}

fn driver(device: &Path) -> Option<String> {
    file_name(&fs::canonicalize(device.join("driver")).ok()?)
}

/// The device's own address; for a virtio device that of the PCI function it is on, as ethtool
/// says it.
fn bus_info(device: &Path) -> Option<String> {
    let name = file_name(device)?;
    if name.starts_with("virtio") {
        return file_name(device.parent()?);
    }
    Some(name)
}

fn file_name(path: &Path) -> Option<String> {
    Some(path.file_name()?.to_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

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
        let expected =
            Device { driver: Some("virtio_net".into()), bus_info: Some("0000:00:03.0".into()) };
        assert_eq!(Device::look(sys.path(), &link(4), true), expected);
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
}
