//! The task of a network namespace: hears the kernel, and starts over when it cannot.

use std::convert::Infallible;
use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior};
use tracing::warn;

use super::namespace::Namespace;
use super::netlink::{Change, Changes, Kernel, NetlinkError};

/// Follows the namespace of the thread it runs on; counters are read each `every`.
pub(super) async fn follow(mut namespace: Namespace, every: Duration) {
    let mut counters = ticks(every);
    loop {
        let Err(error) = hear(&mut namespace, &mut counters).await;
        warn!(%error, "discovery of links starts over");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Ticks, the first one after the time between them.
pub(super) fn ticks(every: Duration) -> Interval {
    let every = every.max(Duration::from_millis(1));
    let mut ticks = tokio::time::interval_at(Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Brings the namespace up to date and keeps it so, until netlink fails.
async fn hear(
    namespace: &mut Namespace,
    counters: &mut Interval,
) -> Result<Infallible, NetlinkError> {
    // Changes first: what happens during the dump is told again.
    let mut changes = Changes::open()?;
    let kernel = Kernel::open()?;
    namespace.resynchronise(kernel.dump().await?);
    loop {
        tokio::select! {
            change = changes.next() => match change? {
                Change::Told(messages) => namespace.apply(&messages),
                Change::Lost => {
                    warn!("changes of links were lost, reading all of them");
                    // What the old socket still holds is from before the loss: taken over after
                    // the dump, it would undo it.
                    changes = Changes::open()?;
                    namespace.resynchronise(kernel.dump().await?);
                }
            },
            _ = counters.tick() => namespace.count(&kernel.links().await?),
        }
    }
}

/// Time between a failure of netlink and the next try.
const PAUSE: Duration = Duration::from_secs(1);
