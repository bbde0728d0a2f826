//! The timers of a shard as packets compare them.

use std::time::Duration;

use super::{ApplicationTimeouts, Timers};

/// [`Timers`] in nanoseconds; the largest number is never.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nanos {
    pub(crate) update: u64,
    pub(crate) expire: u64,
    pub(crate) hold: u64,
    pub(crate) active: u64,
    /// After less silence than that no flow is over, whatever it is.
    pub(crate) fresh: u64,
    /// Age at which a flow is looked at first, unless it began with goodbye.
    pub(crate) young: u64,
    pub(crate) applications: ApplicationTimeouts,
}

impl From<Timers> for Nanos {
    fn from(timers: Timers) -> Self {
        let nanos = |timer: Duration| timer.as_nanos().try_into().unwrap_or(u64::MAX);
        let Timers { update, expire, hold, active, applications } = timers;
        Self {
            update: nanos(update.max(LEAST_UPDATE)),
            expire: nanos(expire),
            hold: nanos(hold),
            active: nanos(active),
            fresh: match active {
                Duration::MAX => nanos(expire.min(hold)),
                // Who asks for it pays for a look at the flow's start with each packet.
                _ => 0,
            },
            young: nanos(update.max(LEAST_UPDATE).min(expire).min(active)),
            applications,
        }
    }
}

/// Ticks are counted in 32 bits: that lasts for 136 years of seconds.
const LEAST_UPDATE: Duration = Duration::from_secs(1);
