//! Whether this host is a guest, a container or a hypervisor, and of what kind.

use std::fs;
use std::path::Path;

/// Skydive's `VirtualizationSystem` and `VirtualizationRole`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Virtualization {
    /// Absent when a guest does not know whose.
    pub(super) system: Option<&'static str>,
    /// `guest` or `host`.
    pub(super) role: &'static str,
}

/// What the files under `root` tell; the innermost layer first.
pub(super) fn find(root: &Path) -> Option<Virtualization> {
    let text = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let guest = |system| Some(Virtualization { system, role: "guest" });
    let host = |system| Some(Virtualization { system: Some(system), role: "host" });
    for (file, system) in CONTAINERS {
        if root.join(file).exists() {
            return guest(Some(*system));
        }
    }
    if text("sys/hypervisor/type").trim() == "xen" {
        let controls = text("proc/xen/capabilities").contains("control_d");
        return if controls { host("xen") } else { guest(Some("xen")) };
    }
    let machine = [text("sys/class/dmi/id/sys_vendor"), text("sys/class/dmi/id/product_name")];
    let known = |name: &str| machine.iter().any(|text| text.contains(name));
    if let Some((_, system)) = MACHINES.iter().find(|(name, _)| known(name)) {
        return guest(Some(*system));
    }
    let cpus = text("proc/cpuinfo");
    let flags = cpus.lines().find(|line| line.starts_with("flags"));
    if flags.is_some_and(|flags| flags.split_whitespace().any(|flag| flag == "hypervisor")) {
        return guest(None);
    }
    let modules = text("proc/modules");
    let loaded = |name: &str| modules.lines().any(|line| line.split(' ').next() == Some(name));
    MODULES.iter().find(|(name, _)| loaded(name)).and_then(|(_, system)| host(*system))
}

/// Files that container engines leave in the root of theirs.
const CONTAINERS: &[(&str, &str)] =
    &[(".dockerenv", "docker"), ("run/.containerenv", "podman"), ("dev/lxd/sock", "lxc")];

/// Parts of what the firmware calls the machine or its vendor.
const MACHINES: &[(&str, &str)] = &[
    ("KVM", "kvm"),
    ("QEMU", "kvm"),
    ("Amazon EC2", "kvm"),
    ("Google Compute Engine", "kvm"),
    ("OpenStack", "kvm"),
    ("VMware", "vmware"),
    ("VirtualBox", "vbox"),
    ("Virtual Machine", "hyperv"),
    ("Parallels", "parallels"),
    ("BHYVE", "bhyve"),
];

/// Kernel modules of hypervisors.
const MODULES: &[(&str, &str)] =
    &[("kvm_intel", "kvm"), ("kvm_amd", "kvm"), ("kvm", "kvm"), ("vboxdrv", "vbox")];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_tell_the_layer() {
        for (files, expected) in [
            (&[][..], None),
            (&[("proc/modules", "kvm_amd 1 0\n")], Some((Some("kvm"), "host"))),
            (
                &[("sys/class/dmi/id/sys_vendor", "QEMU\n"), ("proc/modules", "kvm_amd 1 0\n")],
                Some((Some("kvm"), "guest")),
            ),
            (&[("proc/cpuinfo", "flags\t\t: fpu hypervisor\n")], Some((None, "guest"))),
            (&[("proc/cpuinfo", "flags\t\t: fpu hypervisors\n")], None),
            (&[("sys/hypervisor/type", "xen\n")], Some((Some("xen"), "guest"))),
            (
                &[("sys/hypervisor/type", "xen\n"), ("proc/xen/capabilities", "control_d\n")],
                Some((Some("xen"), "host")),
            ),
            (
                &[(".dockerenv", ""), ("sys/class/dmi/id/sys_vendor", "QEMU\n")],
                Some((Some("docker"), "guest")),
            ),
        ] {
            let root = tempfile::tempdir().unwrap();
            for (path, text) in files {
                let path = root.path().join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            let found = find(root.path()).map(|found| (found.system, found.role));
            assert_eq!(found, expected, "{files:?}");
        }
    }
}
