//! Remembers for a while who proved who he is, so that a client pays for its password once.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use tokio::time::Instant;

use super::tag::Tag;

/// Users by the tags of their credentials. The memory it takes is bounded.
#[derive(Debug, Default)]
pub(super) struct Verified(HashMap<Tag, Entry>);

#[derive(Debug)]
struct Entry {
    user: Arc<str>,
    until: Instant,
    /// Of the users that knew him.
    generation: u64,
}

impl Verified {
    /// Whose credentials these are, as far as users of that generation know.
    pub(super) fn get(&self, tag: &Tag, generation: u64, now: Instant) -> Option<Arc<str>> {
        let entry = self.0.get(tag)?;
        (entry.generation == generation && now < entry.until).then(|| entry.user.clone())
    }

    pub(super) fn put(&mut self, tag: Tag, user: Arc<str>, generation: u64, now: Instant) {
        if self.0.len() >= ROOM {
            self.0.retain(|_, entry| entry.generation == generation && now < entry.until);
        }
        if self.0.len() >= ROOM {
            let oldest = self.0.iter().min_by_key(|(_, entry)| entry.until).map(|(tag, _)| *tag);
            oldest.map(|tag| self.0.remove(&tag));
        }
        self.0.insert(tag, Entry { user, until: now + TIME, generation });
    }
}

/// How long it is remembered.
const TIME: Duration = Duration::from_secs(300);

/// Credentials that are remembered.
const ROOM: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::tag::Tagger;

    #[test]
    fn it_ends_with_its_time_and_with_the_users() {
        let (tags, now) = (Tagger::new().unwrap(), Instant::now());
        let mut verified = Verified::default();
        let tag = tags.tag(&[b"ann", b"secret"]);
        verified.put(tag, "ann".into(), 1, now);
        assert_eq!(verified.get(&tag, 1, now).as_deref(), Some("ann"));
        assert_eq!(verified.get(&tag, 2, now), None);
        assert_eq!(verified.get(&tag, 1, now + TIME), None);
        assert_eq!(verified.get(&tags.tag(&[b"anns", b"ecret"]), 1, now), None);
        assert_eq!(verified.get(&Tagger::new().unwrap().tag(&[b"ann", b"secret"]), 1, now), None);
    }

    #[test]
    fn its_memory_is_bounded() {
        let (tags, now) = (Tagger::new().unwrap(), Instant::now());
        let mut verified = Verified::default();
        for n in 0..ROOM as u64 + 1 {
            let later = now + Duration::from_micros(n);
            verified.put(tags.tag(&[&n.to_be_bytes()]), "ann".into(), 1, later);
        }
        assert_eq!(verified.0.len(), ROOM);
        assert_eq!(verified.get(&tags.tag(&[&0u64.to_be_bytes()]), 1, now), None);
        assert!(verified.get(&tags.tag(&[&1u64.to_be_bytes()]), 1, now).is_some());
    }
}
