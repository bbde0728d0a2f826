//! Files that change while we run: passwords, certificates.

use std::error::Error;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::causes::Causes;

/// How files looked at a moment. Equal stamps are of equal files, for all that can be seen without
/// reading them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamp(Vec<Option<Look>>);

/// Device, inode, size, and when content and inode changed, in seconds and nanoseconds.
type Look = (u64, u64, u64, (i64, i64), (i64, i64));

impl Stamp {
    /// Looks at the files, which may be missing.
    pub(crate) fn of<'a>(paths: impl Iterator<Item = &'a PathBuf>) -> Self {
        Self(paths.map(|path| look(path)).collect())
    }
}

/// Lets `refresh` look at its files again and again, where it may wait for the disk.
pub(crate) async fn follow<E: Error + Send + 'static>(
    refresh: impl Fn() -> Result<(), E> + Send + Sync + 'static,
) {
    let refresh = Arc::new(refresh);
    loop {
        sleep(EVERY).await;
        let refresh = refresh.clone();
        match spawn_blocking(move || refresh()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::error!(error = %Causes(&error), "a file that changed is not taken");
            }
            Err(error) => tracing::error!(%error, "looking at files failed"),
        }
    }
}

fn look(path: &Path) -> Option<Look> {
    let seen = fs::metadata(path).ok()?;
    let content = (seen.mtime(), seen.mtime_nsec());
    Some((seen.dev(), seen.ino(), seen.size(), content, (seen.ctime(), seen.ctime_nsec())))
}

/// Time between two looks.
const EVERY: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let paths = [directory.path().join("a"), directory.path().join("b")];
        let none = Stamp::of(paths.iter());
        fs::write(&paths[0], "1").unwrap();
        let one = Stamp::of(paths.iter());
        assert_ne!(none, one);
        assert_eq!(one, Stamp::of(paths.iter()));
        fs::write(&paths[1], "2").unwrap();
        fs::rename(&paths[1], &paths[0]).unwrap();
        assert_ne!(one, Stamp::of(paths.iter()));
    }
}
