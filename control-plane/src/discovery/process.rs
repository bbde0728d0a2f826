//! Processes, as the holders of sockets.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use sonde_proto::graph::Metadata;

use super::element::put;

/// Who holds a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pid: u32,
    /// Its command's name.
    name: String,
    /// Path of its program.
    program: String,
}

impl Process {
    /// Writes what is known of it.
    pub(super) fn write(&self, metadata: &mut Metadata) {
        put(metadata, "Process", Some(self.program.as_str()));
        put(metadata, "Pid", Some(self.pid));
        put(metadata, "Name", Some(self.name.as_str()));
    }
}

/// The processes that hold the sockets of these inodes; the first of several.
pub(super) fn holders(proc: &Path, inodes: impl Iterator<Item = u32>) -> HashMap<u32, Process> {
    let mut wanted: HashMap<u32, Option<Process>> = inodes.map(|inode| (inode, None)).collect();
    let mut missing = wanted.len();
    let entries = fs::read_dir(proc).into_iter().flatten();
    let mut pids: Vec<u32> =
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    let mut files = 0;
    for pid in pids {
        let directory = proc.join(pid.to_string());
        for file in fs::read_dir(directory.join("fd")).into_iter().flatten().flatten() {
            files += 1;
            if missing == 0 || files > MOST_FILES {
                break;
            }
            let inode = fs::read_link(file.path()).ok().and_then(|link| socket_inode(&link));
            let Some(holder) = inode.and_then(|inode| wanted.get_mut(&inode)) else { continue };
            if holder.is_none() {
                *holder = Some(process(&directory, pid));
                missing -= 1;
            }
        }
    }
    wanted.into_iter().filter_map(|(inode, process)| Some((inode, process?))).collect()
}

fn process(directory: &Path, pid: u32) -> Process {
    let name = fs::read_to_string(directory.join("comm")).unwrap_or_default();
    let program = fs::read_link(directory.join("exe")).unwrap_or_default();
    Process {
        pid,
        name: name.trim_end().to_owned(),
        program: program.to_string_lossy().into_owned(),
    }
}

/// The number in `socket:[123]` (proc(5)).
fn socket_inode(link: &Path) -> Option<u32> {
    link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// Open files of processes that are looked at.
const MOST_FILES: usize = 1 << 20;
