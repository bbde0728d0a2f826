//! Where work goes that takes long with much to work on: nobody on the async runtime waits for it.

use tokio::task::{JoinError, spawn_blocking};

/// Does `work` on so many bytes: at once when they are few, on a thread that may block else. An
/// error when it panics, or the daemon stops.
pub(crate) async fn aside<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    match bytes {
        ..=FEW => Ok(work()),
        _ => spawn_blocking(work).await,
    }
}

/// Bytes of JSON that are read within a millisecond.
const FEW: usize = 64 << 10;
