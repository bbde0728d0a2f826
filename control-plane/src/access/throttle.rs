//! Counts failures to log in, for each address and each user, and says when it is enough.

use std::hash::Hash;
use std::net::IpAddr;
use std::time::Duration;

use hashbrown::HashMap;
use tokio::time::Instant;

use super::tag::Tag;
use crate::connections::network;

/// The failures of the last minute. The memory it takes is bounded.
#[derive(Debug)]
pub(super) struct Throttle {
    addresses: Failures<IpAddr>,
    users: Failures<Tag>,
}

#[derive(Debug)]
struct Failures<K> {
    /// So many are let go.
    limit: u32,
    counts: HashMap<K, Count>,
}

#[derive(Clone, Copy, Debug)]
struct Count {
    failures: u32,
    since: Instant,
}

impl Throttle {
    /// How long the client shall wait before it tries again; `None` when it may.
    pub(super) fn wait(&self, address: IpAddr, user: Tag, now: Instant) -> Option<Duration> {
        self.addresses.wait(&network(address), now).max(self.users.wait(&user, now))
    }

    /// Notes a failure. A success later on takes none back: who has an account would guess the
    /// passwords of others for ever.
    pub(super) fn failed(&mut self, address: IpAddr, user: Tag, now: Instant) {
        self.addresses.add(network(address), now);
        self.users.add(user, now);
    }
}

impl Default for Throttle {
    fn default() -> Self {
        let failures = Failures { limit: PER_ADDRESS, counts: HashMap::new() };
        Self { addresses: failures, users: Failures { limit: PER_USER, counts: HashMap::new() } }
    }
}

impl<K: Hash + Eq + Copy> Failures<K> {
    fn wait(&self, key: &K, now: Instant) -> Option<Duration> {
        let count = self.counts.get(key).filter(|count| count.failures >= self.limit)?;
        let left = WINDOW.saturating_sub(now.duration_since(count.since));
        (!left.is_zero()).then_some(left)
    }

    fn add(&mut self, key: K, now: Instant) {
        let over = |count: &Count| now.duration_since(count.since) >= WINDOW;
        if !self.counts.contains_key(&key) && self.counts.len() >= ROOM {
            self.counts.retain(|_, count| !over(count));
            // Of those who failed least we forget one: made-up names and addresses drive out each
            // other, not those that are being attacked.
            let least = self.counts.iter().min_by_key(|(_, count)| count.failures);
            let least = least.map(|(key, _)| *key).filter(|_| self.counts.len() >= ROOM);
            least.map(|key| self.counts.remove(&key));
        }
        let fresh = Count { failures: 0, since: now };
        let count = self.counts.entry(key).or_insert(fresh);
        if over(count) {
            *count = fresh;
        }
        count.failures = count.failures.saturating_add(1);
    }
}

/// Failures of one address within [`WINDOW`] until it has to wait.
pub(super) const PER_ADDRESS: u32 = 10;

/// Failures of all addresses for one user; more, because others can make him wait.
const PER_USER: u32 = 50;

/// How long a failure counts.
const WINDOW: Duration = Duration::from_secs(60);

/// Addresses, and users, that are remembered.
const ROOM: usize = 4096;

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;
    use crate::access::tag::Tagger;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_waits_for_the_rest_of_the_minute() {
        let (tags, now) = (Tagger::new().unwrap(), Instant::now());
        let mut throttle = Throttle::default();
        let client = address("192.0.2.1");
        for second in 0..10 {
            assert_eq!(throttle.wait(client, tags.tag(&[b"ann"]), now), None);
            let user = format!("user {second}");
            let at = now + Duration::from_secs(second);
            throttle.failed(client, tags.tag(&[user.as_bytes()]), at);
        }
        let later = now + Duration::from_secs(20);
        let wait = |client: &str, at| throttle.wait(address(client), tags.tag(&[b"ann"]), at);
        assert_eq!(wait("192.0.2.1", later), Some(Duration::from_secs(40)));
        assert_eq!(wait("::ffff:192.0.2.1", later), Some(Duration::from_secs(40)));
        assert_eq!(wait("192.0.2.2", later), None);
        assert_eq!(wait("192.0.2.1", now + WINDOW), None);
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let (tags, now) = (Tagger::new().unwrap(), Instant::now());
        let mut throttle = Throttle::default();
        for host in 0..PER_ADDRESS {
            let user = tags.tag(&[&host.to_be_bytes()]);
            throttle.failed(address(&format!("2001:db8:0:1::{host:x}")), user, now);
        }
        let user = tags.tag(&[b"ann"]);
        assert!(throttle.wait(address("2001:db8:0:1:ffff::1"), user, now).is_some());
        assert!(throttle.wait(address("2001:db8:0:2::1"), user, now).is_none());
    }

    #[test]
    fn a_user_is_guarded_against_many_addresses() {
        let (tags, now) = (Tagger::new().unwrap(), Instant::now());
        let mut throttle = Throttle::default();
        let ann = tags.tag(&[b"ann"]);
        for host in 0..PER_USER {
            assert!(throttle.wait(address("192.0.2.1"), ann, now).is_none());
            throttle.failed(Ipv6Addr::from_bits(u128::from(host) << 64).into(), ann, now);
        }
        assert!(throttle.wait(address("192.0.2.1"), ann, now).is_some());
        assert!(throttle.wait(address("192.0.2.1"), tags.tag(&[b"bob"]), now).is_none());
    }

    #[test]
    fn memory_is_bounded_and_floods_free_nobody() {
        let (tags, now) = (Tagger::new().unwrap(), Instant::now());
        let mut throttle = Throttle::default();
        let (attacker, ann) = (address("192.0.2.1"), tags.tag(&[b"ann"]));
        for _ in 0..PER_USER {
            throttle.failed(attacker, ann, now);
        }
        for host in 0..ROOM as u32 + 99 {
            let made_up = Ipv6Addr::from_bits(u128::from(host) << 64);
            throttle.failed(made_up.into(), tags.tag(&[&host.to_be_bytes()]), now);
        }
        assert_eq!((throttle.addresses.counts.len(), throttle.users.counts.len()), (ROOM, ROOM));
        assert!(throttle.addresses.wait(&attacker, now).is_some());
        assert!(throttle.users.wait(&ann, now).is_some());
        throttle.failed(address("192.0.2.2"), ann, now + WINDOW);
        assert_eq!(throttle.addresses.counts.len(), 1, "what is over goes first");
    }
}
