//! Network namespaces that have a name: files of a directory, as `ip netns` makes them, and, where
//! the configuration wants so, those of processes.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, setns};
use nix::sys::statfs::{NSFS_MAGIC, fstatfs};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// What tells a namespace from all others while it lives: device and inode of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Inode {
    pub(super) device: u64,
    pub(super) inode: u64,
}

/// Where a namespace was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) inode: Inode,
}

/// The namespace of the calling thread. No privilege is needed to know it.
pub(super) fn own() -> Option<(Inode, File)> {
    let file = open(Path::new("/proc/thread-self/ns/net")).ok()?;
    Some((Inode::of(&file.metadata().ok()?), file))
}

/// The namespaces of `directory`, by name; the first name of several is the namespace's. Reads
/// files. A directory that is not there has none.
pub(super) fn in_directory(directory: &Path) -> Vec<Named> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut named: Vec<Named> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let inode = Inode::of(&fs::metadata(&path).ok()?);
            Some(Named { name: path.file_name()?.to_str()?.to_owned(), path, inode })
        })
        .take(MOST)
        .collect();
    named.sort_by(|a, b| a.name.cmp(&b.name));
    distinct(named)
}

/// The namespaces of running processes, named by a process that is in it. Reads files.
pub(super) fn of_processes() -> Vec<Named> {
    let mut pids: Vec<u32> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    // The oldest of several is likely to stay.
    pids.sort_unstable();
    let named = pids.into_iter().filter_map(|pid| {
        let process = PathBuf::from(format!("/proc/{pid}"));
        let path = process.join("ns/net");
        let inode = Inode::of(&fs::metadata(&path).ok()?);
        let command = fs::read_to_string(process.join("comm")).ok()?;
        Some(Named { name: format!("{}-{pid}", command.trim()), path, inode })
    });
    distinct(named.collect())
}

fn distinct(mut named: Vec<Named>) -> Vec<Named> {
    let mut seen = HashSet::new();
    named.retain(|named| seen.insert(named.inode));
    named
}

/// Opens a namespace's file. An error for any other file: `ip netns` makes an empty one first and
/// puts the namespace over it then.
pub(super) fn open(path: &Path) -> io::Result<File> {
    // Neither a pipe nor a device can make us wait.
    let file = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    if fstatfs(&file)?.filesystem_type() != NSFS_MAGIC {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no file of a namespace"));
    }
    Ok(file)
}

/// Runs `work` on a thread of its own in the namespace; the runtime's threads stay where they are.
pub(super) async fn enter<T: Send + 'static>(
    netns: Arc<File>,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let runtime = Handle::current();
    let (tell, told) = oneshot::channel();
    thread::Builder::new().name("sonde-netns".into()).spawn(move || {
        let _context = runtime.enter();
        let done = setns(&*netns, CloneFlags::CLONE_NEWNET).map(|()| work());
        // Nobody waits for it any more when discovery was stopped.
        let _ = tell.send(done);
    })?;
    let done = told.await.map_err(|_| io::Error::other("the thread ended early"))?;
    Ok(done?)
}

impl Inode {
    pub(super) fn of(metadata: &fs::Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// Names of one directory that are looked at.
const MOST: usize = 1 << 14;

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn the_first_of_several_names_counts() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["b", "a"] {
            symlink("/proc/self/ns/net", directory.path().join(name)).unwrap();
        }
        symlink("/proc/self/ns/nothing", directory.path().join("dangling")).unwrap();
        let named = in_directory(directory.path());
        assert_eq!(named.len(), 1);
        assert_eq!(named[0].name, "a");
        assert_eq!(Some(named[0].inode), own().map(|(inode, _)| inode));
        assert!(open(&named[0].path).is_ok());
        assert_eq!(in_directory(&directory.path().join("nowhere")), []);
    }

    #[test]
    fn other_files_are_no_namespaces() {
        let directory = tempfile::tempdir().unwrap();
        let empty = directory.path().join("empty");
        fs::write(&empty, "").unwrap();
        assert!(open(&empty).is_err());
        let pipe = directory.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        assert!(open(&pipe).is_err());
    }

    #[test]
    fn this_process_is_in_a_namespace() {
        let own = own().unwrap().0;
        assert!(of_processes().iter().any(|named| named.inode == own));
    }
}
