//! Who shares what: the values that accounts used lately, and how many organizations speak against each.
//!
//! Each account is *linked* to the last few values of each attribute. A value counts the organizations that are linked to
//! it (an account without one stands for itself), and those of them that are *against* it: surprising in a kind other than
//! the value's own. Both are exact: what is linked is unlinked when the account moves on or is forgotten. An
//! organization's own accounts count once, by an entry of its own for each of its values.
//!
//! Memory: 16 bytes for each entry, in sets of [`WAYS`]; a set that is full takes no more values, which are then counted
//! as new and shared by nobody. [`Seen`] remembers for longer, as a pair of Bloom filters that take turns, which values
//! were ever there.

/// Entries that a value may be in.
const WAYS: usize = 8;

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    /// 0 where free.
    key: u64,
    /// Organizations; in an organization's own entry for a value, its accounts.
    users: u32,
    against: u32,
}

/// All values of all attributes.
#[derive(Debug)]
pub(super) struct Values {
    entries: Box<[Entry]>,
    /// How many links found no room.
    refused: u64,
}

/// Mixes bits (the finalizer of SplitMix64).
pub(super) fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// The key of `value` of the attribute at `position`.
pub(super) fn key(position: usize, value: u32) -> u64 {
    mix((position as u64) << 32 | u64::from(value)).max(1)
}

/// How many organizations use a value, and how many of them are against it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Users {
    pub(super) all: u32,
    pub(super) against: u32,
}

impl Values {
    pub(super) fn new(entries: usize) -> Values {
        let entries = entries.max(WAYS).checked_next_power_of_two().unwrap_or(WAYS);
        Values { entries: vec![Entry::default(); entries].into_boxed_slice(), refused: 0 }
    }

    /// The entry of `key`, made where there is none and room for one.
    fn intern(&mut self, key: u64) -> Option<u32> {
        let sets = self.entries.len() / WAYS;
        let first = (key >> 32) as usize % sets * WAYS;
        let set = self.entries.get_mut(first..first + WAYS)?;
        let way = set.iter().position(|entry| entry.key == key).or_else(|| {
            let way = set.iter().position(|entry| entry.key == 0)?;
            if let Some(entry) = set.get_mut(way) {
                *entry = Entry { key, users: 0, against: 0 };
            }
            Some(way)
        });
        if way.is_none() {
            self.refused += 1;
        }
        Some((first + way?) as u32)
    }

    /// Links an account of `organization` to the value of `key`; the link, to unlink with.
    pub(super) fn link(&mut self, key: u64, organization: u64, against: bool) -> Option<u32> {
        let value = self.intern(key)?;
        if organization != 0 {
            let Some(own) = self.intern(mix(key ^ organization).max(1)) else {
                self.free_if_unused(value);
                return None;
            };
            let first = self.change(own, 1, i32::from(against));
            self.change(value, i32::from(first.all == 1), i32::from(against && first.against == 1));
        } else {
            self.change(value, 1, i32::from(against));
        }
        Some(value)
    }

    /// Takes a link back, for an account that was for or against as given.
    pub(super) fn unlink(&mut self, link: u32, organization: u64, against: bool) {
        self.adjust(link, organization, -1, -i32::from(against));
    }

    /// Tells the value that the account has become, or is no longer, against it.
    pub(super) fn turn(&mut self, link: u32, organization: u64, against: bool) {
        self.adjust(link, organization, 0, if against { 1 } else { -1 });
    }

    fn adjust(&mut self, link: u32, organization: u64, users: i32, against: i32) {
        let (mut users, mut against) = (users, against);
        if organization != 0 {
            let Some(key) = self.entries.get(link as usize).map(|entry| entry.key) else { return };
            let Some(own) = self.intern(mix(key ^ organization).max(1)) else { return };
            let before = self.users(own);
            let after = self.change(own, users, against);
            users = i32::from(after.all > 0) - i32::from(before.all > 0);
            against = i32::from(after.against > 0) - i32::from(before.against > 0);
        }
        self.change(link, users, against);
    }

    fn change(&mut self, index: u32, users: i32, against: i32) -> Users {
        let Some(entry) = self.entries.get_mut(index as usize) else { return Users::default() };
        entry.users = entry.users.saturating_add_signed(users);
        entry.against = entry.against.saturating_add_signed(against);
        let after = Users { all: entry.users, against: entry.against };
        self.free_if_unused(index);
        after
    }

    fn free_if_unused(&mut self, index: u32) {
        if let Some(entry) = self.entries.get_mut(index as usize)
            && entry.users == 0
        {
            *entry = Entry::default();
        }
    }

    /// Who uses the value behind `link`.
    pub(super) fn users(&self, link: u32) -> Users {
        self.entries
            .get(link as usize)
            .map_or_else(Users::default, |entry| Users { all: entry.users, against: entry.against })
    }

    pub(super) fn key_of(&self, link: u32) -> u64 {
        self.entries.get(link as usize).map_or(0, |entry| entry.key)
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.entries)
    }
}

/// Bits set for each key.
const PROBES: u32 = 3;

/// Which keys were there, for a while: at least the last [`Seen::room`], at most twice as many.
#[derive(Debug)]
pub(super) struct Seen {
    now: Box<[u64]>,
    before: Box<[u64]>,
    left: usize,
}

impl Seen {
    pub(super) fn new(keys: usize) -> Seen {
        // 16 bits a key: one in 200 new keys looks old.
        let words = (keys / 4).max(16).checked_next_power_of_two().unwrap_or(16);
        let bits = vec![0; words].into_boxed_slice();
        let mut seen = Seen { now: bits.clone(), before: bits, left: 0 };
        seen.left = seen.room();
        seen
    }

    fn room(&self) -> usize {
        self.now.len() * 4
    }

    /// Remembers `key`; whether it was there before.
    pub(super) fn insert(&mut self, key: u64) -> bool {
        let (mut now, mut before) = (true, true);
        for probe in 0..PROBES {
            let bit = mix(key.wrapping_add(u64::from(probe)));
            let (word, mask) = ((bit >> 6) as usize & (self.now.len() - 1), 1 << (bit & 63));
            if let (Some(new), Some(old)) = (self.now.get_mut(word), self.before.get(word)) {
                now &= *new & mask != 0;
                before &= *old & mask != 0;
                *new |= mask;
            }
        }
        if !now {
            self.left -= 1;
            if self.left == 0 {
                std::mem::swap(&mut self.now, &mut self.before);
                self.now.fill(0);
                self.left = self.room();
            }
        }
        now || before
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.now) + size_of_val(&*self.before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn organizations_count_once() {
        let mut values = Values::new(1024);
        let at = key(0, 7);
        let links: Vec<u32> = (0..5).filter_map(|_| values.link(at, 9, false)).collect();
        let alone = values.link(at, 0, true).unwrap();
        assert_eq!(values.users(alone), Users { all: 2, against: 1 });
        links.iter().for_each(|link| values.turn(*link, 9, true));
        assert_eq!(values.users(alone), Users { all: 2, against: 2 });
        links.iter().for_each(|link| values.unlink(*link, 9, true));
        assert_eq!(values.users(alone), Users { all: 1, against: 1 });
        values.unlink(alone, 0, true);
        assert!(values.entries.iter().all(|entry| entry.key == 0), "nothing is left");
    }

    #[test]
    fn a_full_table_refuses_and_counts() {
        let mut values = Values::new(64);
        let linked = (0..1000).filter_map(|value| values.link(key(0, value), 5, false)).count();
        assert!((16..=32).contains(&linked) && values.refused > 900, "{linked}");
    }

    #[test]
    fn seen_for_a_while() {
        let mut seen = Seen::new(1000);
        assert_eq!((0..1000).filter(|number| seen.insert(key(1, *number))).count() / 20, 0);
        assert!((0..1000).all(|number| seen.insert(key(1, number))));
        (0..20_000).for_each(|number| {
            seen.insert(key(2, number));
        });
        assert!((0..1000).filter(|number| seen.insert(key(1, *number))).count() < 100, "long ago");
    }
}
