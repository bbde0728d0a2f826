//! Turns of queries: so many run at once, and those of one client are half of them at most.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use crate::connections::network;

/// The turns. Whoever waits longest is next: of a client's queries, then of all.
#[derive(Debug)]
pub struct Turns {
    all: Arc<Semaphore>,
    /// What each client may have of them at once.
    share: usize,
    /// Clients that have a turn or wait for one.
    shares: Mutex<HashMap<IpAddr, Weak<Semaphore>>>,
}

/// A turn, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    _one_of_all: OwnedSemaphorePermit,
    _one_of_share: Option<OwnedSemaphorePermit>,
}

impl Turns {
    /// The permits of `all`, half of which a client may have.
    pub fn new(all: Arc<Semaphore>) -> Self {
        let share = all.available_permits().div_ceil(2);
        Self { all, share, shares: Mutex::default() }
    }

    /// Waits for a turn of the client at `peer`; without one, of nobody's share.
    pub(crate) async fn take(&self, peer: Option<IpAddr>) -> Result<Turn, AcquireError> {
        let _one_of_share = match peer {
            Some(peer) => Some(self.share(network(peer)).acquire_owned().await?),
            None => None,
        };
        let _one_of_all = self.all.clone().acquire_owned().await?;
        Ok(Turn { _one_of_all, _one_of_share })
    }

    fn share(&self, client: IpAddr) -> Arc<Semaphore> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        shares.retain(|_, share| share.strong_count() > 0);
        shares.get(&client).and_then(Weak::upgrade).unwrap_or_else(|| {
            let share = Arc::new(Semaphore::new(self.share));
            shares.insert(client, Arc::downgrade(&share));
            share
        })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn a_client_has_half_and_others_go_ahead_of_what_it_waits_for() {
        let turns = Turns::new(Arc::new(Semaphore::new(4)));
        let take = |peer: &str| turns.take(Some(peer.parse().unwrap()));
        let (first, second) = (take("fd00::1").now_or_never(), take("fd00::2").now_or_never());
        assert!(first.is_some() && second.is_some());
        let mut third = Box::pin(take("fd00::3"));
        assert!(third.as_mut().now_or_never().is_none(), "the same network");
        let others = ["10.0.0.1", "::ffff:10.0.0.1"].map(|peer| take(peer).now_or_never());
        assert!(others.iter().all(Option::is_some), "what waits for its own takes no turn");
        assert!(take("10.0.0.2").now_or_never().is_none(), "there are four");
        drop(first);
        assert!(third.as_mut().now_or_never().is_some());
        drop((second, third, others));
        assert!(turns.take(None).now_or_never().is_some());
        assert!(take("10.0.0.2").now_or_never().is_some());
        assert_eq!(turns.shares.lock().unwrap().len(), 1, "the others are forgotten");
    }
}
