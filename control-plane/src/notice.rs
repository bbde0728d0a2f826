//! What subscribers of `/ws/subscriber` are told besides the topology (Skydive API §7.6).

use bytes::Bytes;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{Receiver, Sender};

/// A message without its envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// `Alert`, `OnDemandCaptureNotification` or `OnDemandPacketInjectionNotification`.
    pub namespace: &'static str,
    /// What happened: `Alert`; `Added`, `Deleted` or `NodeUpdated`.
    pub kind: &'static str,
    /// The JSON text of its object.
    pub obj: Bytes,
}

/// Where notices are given, and subscribed to. Clones are the same.
#[derive(Clone, Debug)]
pub struct Notices(Sender<Notice>);

/// Notices from a moment on. One that is too slow loses the oldest, and nobody waits for it.
#[derive(Debug)]
pub struct Subscription {
    receiver: Receiver<Notice>,
    lost: u64,
}

impl Notices {
    /// Nobody has subscribed yet.
    pub fn new() -> Self {
        Self(Sender::new(BACKLOG))
    }

    /// Tells all who are there.
    pub fn tell(&self, notice: Notice) {
        // Nobody listening is no error.
        let _ = self.0.send(notice);
    }

    /// Whether anybody listens, so that a notice is worth its making.
    pub fn is_heard(&self) -> bool {
        self.0.receiver_count() > 0
    }

    /// All notices from now on.
    pub fn subscribe(&self) -> Subscription {
        Subscription { receiver: self.0.subscribe(), lost: 0 }
    }
}

impl Default for Notices {
    fn default() -> Self {
        Self::new()
    }
}

impl Subscription {
    /// The next notice; `None` when there will be none any more. A call that is dropped loses
    /// nothing.
    pub async fn next(&mut self) -> Option<Notice> {
        loop {
            match self.receiver.recv().await {
                Ok(notice) => return Some(notice),
                Err(RecvError::Lagged(lost)) => self.lost += lost,
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// Notices that were lost because this one was too slow.
    pub fn lost(&self) -> u64 {
        self.lost
    }
}

/// Notices a subscriber may lag behind.
const BACKLOG: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(n: usize) -> Notice {
        Notice { namespace: "Alert", kind: "Alert", obj: n.to_string().into() }
    }

    #[tokio::test]
    async fn one_that_lags_loses_the_oldest_and_knows_it() {
        let notices = Notices::new();
        assert!(!notices.is_heard());
        let mut slow = notices.subscribe();
        (0..BACKLOG + 3).for_each(|n| notices.tell(notice(n)));
        assert_eq!(slow.next().await, Some(notice(3)));
        assert_eq!(slow.lost(), 3);
        drop(notices);
        for n in 4..BACKLOG + 3 {
            assert_eq!(slow.next().await, Some(notice(n)));
        }
        assert_eq!(slow.next().await, None);
    }
}
