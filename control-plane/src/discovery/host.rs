//! The node of the host: what it is, its processors, its huge pages (API §8.4).

use std::fs;
use std::path::Path;

use serde_json::Value;
use sonde_proto::graph::{Metadata, Node, uuid_v5};
use sonde_proto::time::Timestamp;

use super::HostConfig;
use super::element::{Author, Owner, lock, put, renew};
use super::virtualization;
use crate::graph::{Graph, SharedGraph};

/// The metadata of the host's node; reads files.
pub(super) fn metadata(host: &HostConfig) -> Metadata {
    let mut metadata = facts(Path::new("/"));
    metadata.extend(host.metadata.clone());
    metadata.insert("Name".into(), host.id.as_str().into());
    metadata.insert("Type".into(), "host".into());
    let tid = uuid_v5(&[&host.id]).to_string();
    metadata.insert("TID".into(), tid.into());
    metadata
}

/// Adds the host's node.
pub(super) fn add(graph: &mut Graph, author: &Author, metadata: Metadata, now: Timestamp) -> Owner {
    let node = author.node(metadata);
    let owner = Owner { id: node.id.clone(), tid: node.text("TID").to_owned() };
    graph.add(node, now).expect("a new UUID is in no graph");
    owner
}

/// Writes again what changes on a host: its free huge pages.
pub(super) fn refresh(graph: &SharedGraph, host: &Owner, now: Timestamp) {
    let mut fresh = Metadata::new();
    put(&mut fresh, HUGEPAGES, hugepages(Path::new("/")));
    lock(graph).update::<Node>(&host.id, now, |held| renew(held, &[HUGEPAGES], &fresh));
}

const HUGEPAGES: &str = "Hugepages";

/// What the files under `root` tell. A fact that cannot be read is left out.
fn facts(root: &Path) -> Metadata {
    let mut facts = Metadata::new();
    put(&mut facts, "Hostname", line(root, "proc/sys/kernel/hostname"));
    put(&mut facts, "KernelVersion", line(root, "proc/sys/kernel/osrelease"));
    put(&mut facts, "KernelCmdLine", text(root, "proc/cmdline").map(|text| command_line(&text)));
    put(&mut facts, "CPU", text(root, "proc/cpuinfo").map(|text| processors(&text)));
    let isolated = line(root, "sys/devices/system/cpu/isolated").unwrap_or_default();
    let isolated = Some(cpu_list(&isolated)).filter(|cpus| !cpus.is_empty());
    put(&mut facts, "IsolatedCPU", isolated);
    put(&mut facts, HUGEPAGES, hugepages(root));
    facts.insert("OS".into(), "linux".into());
    let release = text(root, "etc/os-release").unwrap_or_default();
    let family = os_release(&release, "ID_LIKE").or_else(|| os_release(&release, "ID"));
    let family = family.and_then(|ids| ids.split(' ').next().map(str::to_owned));
    put(&mut facts, "Platform", os_release(&release, "ID"));
    put(&mut facts, "PlatformFamily", family);
    put(&mut facts, "PlatformVersion", os_release(&release, "VERSION_ID"));
    put(&mut facts, "InstanceID", line(root, "var/lib/cloud/data/instance-id"));
    if let Some(virtualization) = virtualization::find(root) {
        put(&mut facts, "VirtualizationSystem", virtualization.system);
        put(&mut facts, "VirtualizationRole", Some(virtualization.role));
    }
    facts
}

fn text(root: &Path, path: &str) -> Option<String> {
    fs::read_to_string(root.join(path)).ok()
}

fn line(root: &Path, path: &str) -> Option<String> {
    let line = text(root, path)?.trim().to_owned();
    (!line.is_empty()).then_some(line)
}

/// `key=value` is text by its key, a lone word is true.
fn command_line(text: &str) -> Value {
    let words = text.split_whitespace();
    let pairs = words.map(|word| match word.split_once('=') {
        Some((key, value)) => (key.to_owned(), Value::from(value)),
        None => (word.to_owned(), Value::from(true)),
    });
    Value::Object(pairs.collect())
}

/// One object for each logical processor of /proc/cpuinfo.
fn processors(text: &str) -> Value {
    let processors = text.split("\n\n").filter_map(|section| {
        let mut cpu = Metadata::new();
        for line in section.lines() {
            let Some((key, value)) = line.split_once(':') else {
                continue;
            };
            let Some((name, kind)) = cpu_key(key.trim()) else {
                continue;
            };
            let value = value.trim();
            let value = match kind {
                Kind::Text => Some(Value::from(value)),
                Kind::Number => leading_number(value).map(Value::from),
            };
            put(&mut cpu, name, value);
        }
        cpu.contains_key("CPU").then_some(Value::Object(cpu))
    });
    Value::Array(processors.collect())
}

enum Kind {
    Text,
    Number,
}

/// Skydive's name for a key of /proc/cpuinfo.
fn cpu_key(key: &str) -> Option<(&'static str, Kind)> {
    Some(match key {
        "processor" => ("CPU", Kind::Number),
        "vendor_id" => ("VendorID", Kind::Text),
        "cpu family" => ("Family", Kind::Text),
        "model" => ("Model", Kind::Text),
        "stepping" => ("Stepping", Kind::Number),
        "physical id" => ("PhysicalID", Kind::Text),
        "core id" => ("CoreID", Kind::Text),
        "cpu cores" => ("Cores", Kind::Number),
        "model name" => ("ModelName", Kind::Text),
        "cpu MHz" => ("Mhz", Kind::Number),
        "cache size" => ("CacheSize", Kind::Number),
        "microcode" => ("Microcode", Kind::Text),
        _ => return None,
    })
}

/// The whole number that `2596.146` or `1024 KB` begins with.
fn leading_number(text: &str) -> Option<i64> {
    let end = text.find(|c: char| !c.is_ascii_digit());
    text[..end.unwrap_or(text.len())].parse().ok()
}

/// The processors of a list such as `0,4-6` (cpuset(7)).
fn cpu_list(text: &str) -> Vec<i64> {
    let ranges = text.split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (i64, i64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        Some(first..=last.min(first.saturating_add(MOST_CPUS)))
    });
    ranges.flatten().collect()
}

/// Longer ranges of processors are not believed.
const MOST_CPUS: i64 = 1 << 14;

/// Sizes in KiB with the pages of each, largest first: what DPDK's memory comes from.
fn hugepages(root: &Path) -> Option<Value> {
    let directories = fs::read_dir(root.join("sys/kernel/mm/hugepages")).ok()?;
    let mut pools: Vec<(i64, Value)> = directories
        .filter_map(|directory| {
            let directory = directory.ok()?;
            let name = directory.file_name().into_string().ok()?;
            let size = leading_number(name.strip_prefix("hugepages-")?)?;
            let number = |file: &str| leading_number(&line(&directory.path(), file)?);
            let mut pool = Metadata::new();
            put(&mut pool, "Size", Some(size));
            put(&mut pool, "Total", number("nr_hugepages"));
            put(&mut pool, "Free", number("free_hugepages"));
            Some((size, Value::Object(pool)))
        })
        .collect();
    pools.sort_by_key(|(size, _)| -size);
    Some(pools.into_iter().map(|(_, pool)| pool).collect())
}

/// A value of os-release(5), without its quotes.
fn os_release(text: &str, key: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
    Some(value.trim_matches(['"', '\'']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn facts_are_read_from_files() {
        let root = tempfile::tempdir().unwrap();
        let files = [
            ("proc/sys/kernel/hostname", "rack1\n"),
            ("proc/sys/kernel/osrelease", "6.12.0\n"),
            ("proc/cmdline", "quiet isolcpus=2-3 root=UUID=a\n"),
            (
                "proc/cpuinfo",
                "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 106\n\
                 model name\t: Xeon\nstepping\t: 6\nmicrocode\t: 0x1\ncpu MHz\t\t: 2596.146\n\
                 cache size\t: 1024 KB\nphysical id\t: 0\ncore id\t\t: 3\ncpu cores\t: 4\n\
                 flags\t\t: fpu\n\nprocessor\t: 1\n\n",
            ),
            ("sys/devices/system/cpu/isolated", "2-3,7\n"),
            ("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "8\n"),
            ("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "5\n"),
            ("sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages", "0\n"),
            ("var/lib/cloud/data/instance-id", "i-7\n"),
            ("sys/class/dmi/id/product_name", "VMware Virtual Platform\n"),
            ("etc/os-release", "ID=ubuntu\nID_LIKE=\"debian x\"\nVERSION_ID=\"24.04\"\n"),
        ];
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        assert_eq!(
            Value::Object(facts(root.path())),
            json!({
                "Hostname": "rack1", "OS": "linux", "Platform": "ubuntu",
                "PlatformFamily": "debian", "PlatformVersion": "24.04", "KernelVersion": "6.12.0",
                "KernelCmdLine": {"quiet": true, "isolcpus": "2-3", "root": "UUID=a"},
                "IsolatedCPU": [2, 3, 7], "InstanceID": "i-7",
                "VirtualizationSystem": "vmware", "VirtualizationRole": "guest",
                "Hugepages": [{"Size": 1048576, "Total": 0}, {"Size": 2048, "Total": 8, "Free": 5}],
                "CPU": [
                    {"CPU": 0, "VendorID": "GenuineIntel", "Family": "6", "Model": "106",
                     "Stepping": 6, "PhysicalID": "0", "CoreID": "3", "Cores": 4,
                     "ModelName": "Xeon", "Mhz": 2596, "CacheSize": 1024, "Microcode": "0x1"},
                    {"CPU": 1},
                ],
            })
        );
    }

    #[test]
    fn facts_that_cannot_be_read_are_left_out() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(Value::Object(facts(root.path())), json!({"OS": "linux"}));
    }

    #[test]
    fn odd_lists_of_processors_are_harmless() {
        assert_eq!(cpu_list(""), [0_i64; 0]);
        assert_eq!(cpu_list("x,3-1,5"), [5]);
        assert!(cpu_list("0-9223372036854775807").len() <= MOST_CPUS as usize + 1);
    }
}
