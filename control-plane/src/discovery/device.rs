//! What sysfs knows of the device behind a link: driver, bus, speed.

use std::fs;
use std::path::{Path, PathBuf};

use super::link::Link;

/// Facts that netlink does not tell; each is absent when it is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Device {
    pub(super) driver: Option<String>,
    /// The address on the bus, `0000:00:03.0` for PCI.
    pub(super) bus_info: Option<String>,
    /// Mbit/s.
    pub(super) speed: Option<u32>,
}

impl Device {
    /// Reads about a link in the tree at `sys`, which is `/sys` outside of tests.
    ///
    /// Buses are the same in every network namespace. The speed is found by the link's name, in
    /// the namespace sysfs was mounted in; a link of another index is another link.
    pub(super) fn look(sys: &Path, link: &Link) -> Self {
        let class = sys.join("class/net").join(&link.name);
        let ours = number(&class.join("ifindex")) == Some(i64::from(link.index));
        let device = match &link.device {
            Some((bus, name)) => {
                fs::canonicalize(sys.join("bus").join(bus).join("devices").join(name)).ok()
            }
            None if ours => fs::canonicalize(class.join("device")).ok(),
            None => None,
        };
        Self {
            driver: device.as_deref().and_then(driver),
            bus_info: device.as_deref().and_then(bus_info),
            speed: number(&class.join("speed"))
                .filter(|_| ours)
                .and_then(|speed| u32::try_from(speed).ok())
                // The kernel's "unknown" as a 32-bit number, and links with nothing plugged in.
                .filter(|speed| *speed != 0 && *speed != u32::MAX),
        }
    }
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

fn number(path: &PathBuf) -> Option<i64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
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
        fs::write(link.join("speed"), "10000\n").unwrap();
        sys
    }

    fn link(index: u32) -> Link {
        Link { index, name: "eth0".into(), ..Link::default() }
    }

    #[test]
    fn a_device_is_found_by_its_link() {
        let sys = sysfs();
        let expected = Device {
            driver: Some("virtio_net".into()),
            bus_info: Some("0000:00:03.0".into()),
            speed: Some(10_000),
        };
        assert_eq!(Device::look(sys.path(), &link(4)), expected);
    }

    #[test]
    fn a_link_of_that_name_elsewhere_is_another() {
        let sys = sysfs();
        assert_eq!(Device::look(sys.path(), &link(9)), Device::default());
        let elsewhere = Link { device: Some(("virtio".into(), "virtio2".into())), ..link(9) };
        let found = Device::look(sys.path(), &elsewhere);
        assert_eq!(found.driver.as_deref(), Some("virtio_net"));
        assert_eq!(found.speed, None);
    }

    #[test]
    fn an_unknown_speed_is_none() {
        let sys = sysfs();
        for text in ["-1", "0", "4294967295", "fast"] {
            fs::write(sys.path().join("class/net/eth0/speed"), text).unwrap();
            assert_eq!(Device::look(sys.path(), &link(4)).speed, None, "{text}");
        }
    }
}
