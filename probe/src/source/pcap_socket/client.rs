//! A client: its capture is read on a thread of its own.

use std::io::{self, ErrorKind, Read};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::Duration;

use sonde_proto::time::Timestamp;

use super::pace::Pace;
use super::{Parcel, SNAP, Shared};
use crate::source::pcap::PcapReader;
use crate::source::{Closed, Frame, Source as _, wall_clock};

/// Plays the capture that a client writes.
pub(super) struct Client {
    shared: Arc<Shared>,
    sender: SyncSender<Parcel>,
    pace: Pace,
    /// The source is gone.
    over: bool,
}

impl Client {
    /// Serves `stream` on a thread of its own.
    pub(super) fn start(
        stream: TcpStream,
        shared: &Arc<Shared>,
        sender: &SyncSender<Parcel>,
    ) -> io::Result<()> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(NAP))?;
        let bytes = Bytes { stream, shared: shared.clone() };
        let client =
            Self { shared: shared.clone(), sender: sender.clone(), pace: Pace::new(), over: false };
        let place = Place::take(shared);
        let thread = thread::Builder::new().name(format!("sonde-pcs-{}", shared.address.port()));
        thread.spawn(move || {
            let _place = place;
            client.play(bytes);
        })?;
        Ok(())
    }

    /// Plays the capture from its first byte to its last.
    fn play(mut self, mut bytes: Bytes) {
        let closed = match bytes.first() {
            // Who writes nothing only wanted to know whether we are here.
            Ok(None) | Err(_) => return,
            Ok(Some(first)) => self.hand_over_all(first.chain(bytes)),
        };
        if closed != Closed::End && !self.shared.is_closed() {
            self.shared.damaged(closed, wall_clock());
        }
    }

    fn hand_over_all(&mut self, capture: impl Read) -> Closed {
        let mut reader = match PcapReader::new(capture) {
            Ok(reader) => reader,
            Err(closed) => return closed,
        };
        while !self.over {
            if let Err(closed) = reader.burst(|frame| self.hand_over(&frame)) {
                return closed;
            }
        }
        Closed::End
    }

    /// Hands a frame to the worker once it is due; waits while the worker is behind.
    fn hand_over(&mut self, frame: &Frame<'_>) {
        if self.over {
            return;
        }
        self.pace.next(frame.at, wall_clock());
        let Some(due) = self.wait() else {
            self.over = true;
            return;
        };
        let mut bytes = self.shared.spare.pop().unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(frame.bytes.get(..SNAP).unwrap_or(frame.bytes));
        let parcel = Parcel { bytes, length: frame.length, at: due, link: frame.link };
        self.over = self.sender.send(parcel).is_err();
    }

    /// Waits until the next frame is due, and says when that was; `None` when the source is gone
    /// before.
    fn wait(&mut self) -> Option<Timestamp> {
        while !self.shared.is_closed() {
            let now = wall_clock();
            let due = self.pace.due(now);
            let left = due.since(now);
            if left < SLACK {
                return Some(due);
            }
            thread::sleep(left.min(NAP));
        }
        None
    }
}

/// One of the places for clients, free again when dropped.
struct Place(Arc<Shared>);

impl Place {
    fn take(shared: &Arc<Shared>) -> Self {
        shared.clients.fetch_add(1, Ordering::AcqRel);
        Self(shared.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.clients.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What a client writes. It ends when the source is gone, and fails when the client says nothing
/// while others may be waiting for its place.
struct Bytes {
    stream: TcpStream,
    shared: Arc<Shared>,
}

impl Bytes {
    /// The first byte, by itself; `None` when there is none.
    fn first(&mut self) -> io::Result<Option<io::Cursor<[u8; 1]>>> {
        let mut first = [0];
        Ok((self.read(&mut first)? > 0).then(|| io::Cursor::new(first)))
    }
}

impl Read for Bytes {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        // From now on, not from when it last wrote: that may have been played for minutes.
        let mut asked = wall_clock();
        while !self.shared.is_closed() {
            match self.stream.read(into) {
                Err(error) if is_silence(&error) => {
                    let now = wall_clock();
                    // A clock that was set back starts the wait again.
                    asked = asked.min(now);
                    if self.shared.is_full() && now.since(asked) >= PATIENCE {
                        return Err(io::Error::from_raw_os_error(libc::ETIMEDOUT));
                    }
                }
                got => return got,
            }
        }
        Ok(0)
    }
}

fn is_silence(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// The longest that a thread does not look whether the source is gone.
const NAP: Duration = Duration::from_millis(100);

/// A frame may be so early: to sleep for less costs more than it is worth.
const SLACK: Duration = Duration::from_millis(1);

/// How long a client may be silent when all places are taken.
const PATIENCE: Duration = Duration::from_secs(60);
