//! Tells when the namespaces of a directory may have changed. Names come and go with files, which
//! inotify(7) tells of, and with mounts, which poll(2) on the mount table tells of: `ip netns` makes
//! a file and then mounts the namespace over it.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::thread;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::sync::watch;

/// Watches a directory, which may not be there yet, by a thread that sleeps until something happens.
pub(super) struct Watch {
    told: watch::Receiver<()>,
    /// Ends the thread when it is dropped.
    _stop: PipeWriter,
}

impl Watch {
    /// Begins to watch.
    pub(super) fn new(directory: &Path) -> io::Result<Self> {
        let (stopped, stop) = io::pipe()?;
        let (tell, told) = watch::channel(());
        let watcher = Watcher {
            directory: directory.to_owned(),
            files: Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?,
            mounts: File::open(MOUNTS)?,
            stopped,
            tell,
        };
        watcher.aim();
        thread::Builder::new().name("sonde-watch".into()).spawn(move || watcher.run())?;
        Ok(Self { told, _stop: stop })
    }

    /// Waits until something may have changed since the last call. Nothing is lost when the future
    /// is dropped. An error when nobody watches any more.
    pub(super) async fn changed(&mut self) -> io::Result<()> {
        self.told.changed().await.map_err(|_| io::Error::other("the watch has ended"))
    }
}

/// The thread's side.
struct Watcher {
    directory: PathBuf,
    files: Inotify,
    mounts: File,
    stopped: PipeReader,
    tell: watch::Sender<()>,
}

impl Watcher {
    /// Watches until it is stopped, or until the kernel fails.
    fn run(self) {
        while self.wait().is_ok_and(|stopped| !stopped) {
            self.aim();
            if self.tell.send(()).is_err() {
                return;
            }
        }
    }

    /// True when it is stopped.
    fn wait(&self) -> nix::Result<bool> {
        let mut watched = [
            PollFd::new(self.files.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.mounts.as_fd(), PollFlags::POLLPRI),
            PollFd::new(self.stopped.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut watched, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
        let stopped = watched[2].any().unwrap_or(true);
        // What happened is not asked for: who hears of it looks for himself.
        match self.files.read_events() {
            Ok(_) | Err(Errno::EAGAIN) => Ok(stopped),
            Err(error) => Err(error),
        }
    }

    /// Watches the directory if it is there, or else what is there of the path to it.
    fn aim(&self) {
        let flags = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_ONLYDIR;
        for directory in self.directory.ancestors() {
            // A directory that is watched already is not watched twice.
            if self.files.add_watch(directory, flags).is_ok() {
                return;
            }
        }
    }
}

/// The mounts that this process sees (proc(5)).
const MOUNTS: &str = "/proc/self/mountinfo";

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    async fn changes(watch: &mut Watch) -> bool {
        tokio::time::timeout(Duration::from_secs(5), watch.changed()).await.is_ok()
    }

    #[tokio::test]
    async fn a_directory_that_is_made_later_is_watched() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("run/netns");
        let mut watch = Watch::new(&directory).unwrap();
        std::fs::create_dir(root.path().join("run")).unwrap();
        assert!(changes(&mut watch).await);
        std::fs::create_dir(&directory).unwrap();
        assert!(changes(&mut watch).await);
        std::fs::write(directory.join("a"), "").unwrap();
        assert!(changes(&mut watch).await);
        std::fs::remove_file(directory.join("a")).unwrap();
        assert!(changes(&mut watch).await);
    }
}
