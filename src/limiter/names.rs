//! The names of organizations, for those who read usage; no decision needs them.
//!
//! A name is told where an organization is made of a text ([`Limiter::organization`](super::Limiter::organization)). Who is
//! told again is told apart by one word, read without a lock.

use std::collections::HashMap;

use crate::{
    checkpoint::MOST_NAME,
    decision::Level,
    id::{KeptId, Key},
    sync::{AtomicU64, Mutex, Ordering},
};

#[derive(Debug)]
pub(super) struct Names {
    /// By place of a key, the second word of one that is known; a hint.
    seen: Box<[AtomicU64]>,
    known: Mutex<HashMap<KeptId, Box<str>>>,
    most: usize,
}

impl Names {
    /// For so many organizations.
    pub(super) fn new(most: usize) -> Names {
        let places = most.next_power_of_two().max(64);
        Names {
            seen: (0..places).map(|_| AtomicU64::new(0)).collect(),
            known: Mutex::default(),
            most: most.max(64),
        }
    }

    #[inline]
    pub(super) fn tell(&self, key: &Key, name: &str) {
        // A power of two of them.
        if let Some(seen) = self.seen.get(key.hash as usize & (self.seen.len() - 1))
            && seen.load(Ordering::Relaxed) != key.words[1]
        {
            self.tell_slow(seen, key, name);
        }
    }

    #[cold]
    #[inline(never)]
    fn tell_slow(&self, seen: &AtomicU64, key: &Key, name: &str) {
        seen.store(key.words[1], Ordering::Relaxed);
        let Some(id) = KeptId::new(key.words, key.kind) else { return };
        let mut known = self.known.lock();
        if name.len() <= MOST_NAME && known.len() < self.most && !known.contains_key(&id) {
            known.insert(id, name.into());
        }
    }

    /// The name of an organization, where it has been told.
    pub(super) fn of(&self, level: Level, id: KeptId) -> Option<String> {
        if level != Level::Organization {
            return None;
        }
        self.known.lock().get(&id).map(|name| name.to_string())
    }

    /// Drops those that are not `needed`, if there is no room for more.
    pub(super) fn tidy(&self, needed: impl Fn(KeptId) -> bool) {
        let mut known = self.known.lock();
        if known.len() >= self.most {
            known.retain(|id, _| needed(*id));
            self.seen.iter().for_each(|seen| seen.store(0, Ordering::Relaxed));
        }
    }
}
