//! The names of organizations, for those who read usage; no decision needs them.
//!
//! A name is told where an organization is made of a text ([`Limiter::organization`](super::Limiter::organization)). Who is
//! told again is told apart by one cache line, read without a lock: it takes the lock again about once in a hundred times,
//! where all have names for whom there is room. Names take memory as they come, 256 bytes each at most, for as many as there is
//! room for.

use std::collections::HashMap;

use crate::{
    checkpoint::MOST_NAME,
    decision::Level,
    id::{KeptId, Key},
    sync::{AtomicU64, Mutex, Ordering},
};

/// Organizations that share a place, in a cache line.
const SHARE: usize = 8;

#[derive(Debug)]
pub(super) struct Names {
    /// By place of a key, the second words of some that are known; a hint.
    seen: Box<[Seen]>,
    known: Mutex<HashMap<KeptId, Box<str>>>,
    most: usize,
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct Seen([AtomicU64; SHARE]);

impl Seen {
    #[inline]
    fn has(&self, key: &Key) -> bool {
        self.0.iter().any(|word| word.load(Ordering::Relaxed) == key.words[1])
    }
}

impl Names {
    /// For so many organizations.
    pub(super) fn new(most: usize) -> Names {
        // Half of them are empty when all have names: some places are shared by more than others.
        let places = most.next_power_of_two().max(64) * 2 / SHARE;
        Names {
            seen: (0..places).map(|_| Seen::default()).collect(),
            known: Mutex::default(),
            most: most.max(64),
        }
    }

    #[inline]
    pub(super) fn tell(&self, key: &Key, name: &str) {
        if let Some(seen) = self.place(key)
            && !seen.has(key)
        {
            self.tell_slow(seen, key, name);
        }
    }

    #[inline]
    fn place(&self, key: &Key) -> Option<&Seen> {
        // A power of two of them.
        self.seen.get(key.hash as usize & (self.seen.len() - 1))
    }

    #[cold]
    #[inline(never)]
    fn tell_slow(&self, Seen(seen): &Seen, key: &Key, name: &str) {
        let empty = seen.iter().find(|word| word.load(Ordering::Relaxed) == 0);
        if let Some(word) = empty.or(seen.get(key.words[1] as usize % SHARE)) {
            word.store(key.words[1], Ordering::Relaxed);
        }
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
            self.seen.iter().flat_map(|seen| &seen.0).for_each(|word| word.store(0, Ordering::Relaxed));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Fingerprints, Id};

    #[test]
    fn who_is_told_again_seldom_takes_the_lock() {
        const MANY: usize = 1 << 14;
        let (names, fingerprints) = (Names::new(MANY), Fingerprints::new([3; 16]));
        let told: Vec<_> = (0..MANY)
            .map(|number| format!("org-{number}"))
            .map(|name| (fingerprints.key(Id::Text(&name)), name))
            .collect();
        told.iter().for_each(|(key, name)| names.tell(key, name));
        let unseen = told.iter().filter(|(key, _)| !names.place(key).expect("a place").has(key)).count();
        assert!(unseen > 0 && unseen < MANY / 50, "{unseen} of {MANY}");
        for (key, name) in &told {
            let id = KeptId::new(key.words, key.kind).expect("a text");
            assert_eq!(names.of(Level::Organization, id).as_ref(), Some(name));
        }
    }
}
