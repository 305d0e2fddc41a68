//! Checkpoints under traffic: what has changed since the last one, in bounded steps, from `maintain`.
//!
//! A *pass* goes through all lines. Whether one has changed its control word tells, which the pass compares with the one it
//! saw before: nobody on the request path does anything for it. What is read is consistent line by line; a pass is no
//! snapshot of all, and needs not be: each bucket is kept as it was at one moment since the pass began, and no bucket's
//! record depends on another's. Subjects that move between tables meanwhile are found by the marks of [`crate::table`].
//!
//! A pass begins each half interval, and is meant to take no longer than that: so what a kill loses of any bucket is less than
//! an interval's worth. What passes add since the last *full* one is kept behind it; when that is more than it, the next is
//! full again, and what came before goes.

// The tests' policy is text.
#[cfg(all(test, feature = "toml"))]
mod tests;

use std::time::Duration;

use super::{Limiter, Shared, restore::Restored};
use crate::{
    bucket::{Factor, Moment},
    checkpoint::{
        self, CheckpointError, Head, Line, Record, Shape, Standing, Store, StoreError, Whom, Writer, keep,
    },
    decision::Level,
    id::{KeptId, Key},
    line::Stamp,
    path::Found,
    policy::{
        book::Book,
        exception::{Exception, Scope},
    },
    sync::Mutex,
    time::Nanos,
};

/// Places that one step looks at, at most: a millisecond or two where nothing has changed.
const MOST_PLACES: usize = if cfg!(test) { 5 } else { 32_768 };
/// Bytes of records after which a step writes what it has.
const MOST_BYTES: usize = 128 << 10;
/// Blocks that one step removes at most.
const MOST_REMOVED: usize = 8;
/// What full passes are not made for: this many bytes, and blocks, besides the last full one.
const LEAST_BYTES: u64 = 64 << 10;
const MOST_BLOCKS: u64 = 4096;
/// Subjects that were forgotten since the last step, beyond which the next pass is full.
const MOST_FORGOTTEN: usize = if cfg!(test) { 8 } else { 65_536 };
/// After a failure, this part of an interval goes by until it is tried again.
const PATIENCE: u64 = 8;

/// What writes checkpoints.
pub(super) struct Checkpoints {
    state: Mutex<State>,
    forgotten: Mutex<Vec<(Level, KeptId)>>,
    pub(super) restored: Option<Restored>,
}

struct State {
    store: Box<dyn Store>,
    /// Nanoseconds.
    interval: u64,
    /// By place, the stamp that was seen there last, and whether what was written last of it is more than nothing.
    seen: Vec<Stamp>,
    pass: Option<Pass>,
    /// When the next pass begins, or the next try is made.
    due: u64,
    /// The first block that is needed, and the number of the next.
    first: u64,
    next: u64,
    /// Blocks that are not needed any more.
    leftover: Vec<u64>,
    /// Bytes of the last full pass, and of those since; 0 before the first.
    full: u64,
    since: u64,
    /// Whether more were forgotten than could be told: only a full pass that has not begun yet leaves them out.
    overlooked: bool,
    /// The checksum of the overrides that were told last.
    overrides: u64,
    done: u64,
    last_began: Option<u64>,
    written: u64,
    failure: Option<String>,
}

#[derive(Clone, Copy)]
struct Pass {
    began: u64,
    full: bool,
    /// The number of its first block.
    from: u64,
    bytes: u64,
    /// The next place, and the first that it has not been at yet.
    place: usize,
    reached: usize,
    /// The next word of marks, and how many went by without any since the last that had some.
    word: usize,
    clean: usize,
}

/// What [`Limiter::maintain`] did about the checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checkpointing {
    /// The limiter has no store.
    #[default]
    Off,
    /// The next one is not due yet.
    Waiting,
    /// One is under way: the sooner `maintain` is called again, the sooner it is complete.
    Writing,
    /// One was completed.
    Done,
    /// The store failed ([`Limiter::checkpoint_status`] says how); what it had is as it was. It is tried again.
    Failed,
}

/// Where a limiter with a store stands.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct CheckpointStatus {
    /// What was found in the store when the limiter was built; `None` where that was nothing.
    pub restored: Option<Restored>,
    /// Checkpoints that were completed.
    pub completed: u64,
    /// Nanoseconds since the last complete one began: what was counted longer ago outlives a kill. `None` before the first.
    pub age: Option<u64>,
    /// Bytes of the blocks that were written.
    pub written: u64,
    /// Why the last step failed, if it did.
    pub failure: Option<String>,
}

impl Checkpoints {
    /// `found`: the first block that is needed, the number of the next, and what is left over.
    pub(super) fn new(
        store: Box<dyn Store>,
        interval: u64,
        places: usize,
        (first, next, leftover): (u64, u64, Vec<u64>),
        restored: Option<Restored>,
    ) -> Checkpoints {
        let state = State {
            store,
            interval,
            seen: vec![Stamp::NEVER; places],
            pass: None,
            due: 0,
            first,
            next,
            leftover,
            full: 0,
            since: 0,
            overlooked: false,
            overrides: 0,
            done: 0,
            last_began: None,
            written: 0,
            failure: None,
        };
        Checkpoints { state: Mutex::new(state), forgotten: Mutex::default(), restored }
    }
}

impl Limiter {
    /// Writes all that has changed since the last checkpoint, now and to the end: for a shutdown, after the last request. Takes
    /// as long as it takes; requests may go on meanwhile. Without a store it does nothing.
    ///
    /// # Errors
    ///
    /// Where the store fails. What it had before is as it was.
    pub fn checkpoint(&self) -> Result<(), CheckpointError> {
        let Some(checkpoints) = &self.shared.checkpoints else { return Ok(()) };
        let mut state = checkpoints.state.lock();
        // One that is under way has gone by some already.
        let mut passes = if state.pass.is_some() { 2 } else { 1 };
        while passes > 0 {
            state.due = 0;
            if state.step(&self.shared, checkpoints, self.now())? == Checkpointing::Done {
                passes -= 1;
            }
        }
        Ok(())
    }

    /// What was restored and what is being written; `None` without a store.
    pub fn checkpoint_status(&self) -> Option<CheckpointStatus> {
        let checkpoints = self.shared.checkpoints.as_ref()?;
        let now = self.now().as_u64();
        let state = checkpoints.state.lock();
        Some(CheckpointStatus {
            restored: checkpoints.restored,
            completed: state.done,
            age: state.last_began.map(|began| now.saturating_sub(began)),
            written: state.written,
            failure: state.failure.clone(),
        })
    }
}

impl Shared {
    /// One bounded step of a checkpoint that is due.
    pub(super) fn step_checkpoint(&self, now: Nanos) -> Checkpointing {
        let Some(checkpoints) = &self.checkpoints else { return Checkpointing::Off };
        // Another thread is at it.
        let Some(mut state) = checkpoints.state.try_lock() else { return Checkpointing::Waiting };
        state.step(self, checkpoints, now).unwrap_or(Checkpointing::Failed)
    }

    /// How long until a step does something.
    pub(super) fn next_checkpoint(&self, now: Nanos) -> Option<Duration> {
        let state = self.checkpoints.as_ref()?.state.try_lock();
        // Where another thread is at it, it knows.
        let due = state.map_or(u64::MAX, |state| state.due);
        Some(Duration::from_nanos(due.saturating_sub(now.as_u64())))
    }

    /// Lets a checkpoint forget whom the limiter forgets: the next step says that nothing is to be known of it.
    pub(super) fn forget_kept(&self, level: Level, key: &Key) {
        if let (Some(checkpoints), Some(id)) = (&self.checkpoints, KeptId::new(key.words, key.kind)) {
            let mut forgotten = checkpoints.forgotten.lock();
            if forgotten.len() < MOST_FORGOTTEN {
                forgotten.push((level, id));
            }
        }
    }
}

impl State {
    fn step(
        &mut self,
        shared: &Shared,
        checkpoints: &Checkpoints,
        now: Nanos,
    ) -> Result<Checkpointing, StoreError> {
        if now.as_u64() < self.due {
            return Ok(Checkpointing::Waiting);
        }
        let book = shared.books.copy();
        let moment = shared.moment(&book, now);
        let forgotten = std::mem::take(&mut *checkpoints.forgotten.lock());
        self.overlooked |= forgotten.len() >= MOST_FORGOTTEN;
        let mut pass = match self.pass {
            Some(pass) => pass,
            None => {
                let begun = self.begin(shared, &moment);
                *self.pass.insert(begun)
            }
        };
        let mut head = Head {
            first: self.first,
            number: self.next,
            unix: moment.unix(),
            secret: shared.fingerprints.secret(),
            shape: Shape::of(&book.plan),
        };
        let mut step = Step {
            shared,
            book: &book,
            moment,
            refill: self.interval,
            writer: Writer::new(&head),
            seen: Vec::new(),
            looks: 0,
        };
        for (level, id) in &forgotten {
            Record::Gone(*level, *id).put(step.writer.records());
        }
        let overrides = step.overrides((pass.place == 0).then_some(self.overrides), pass.full);
        let is_done = step.go_on(&self.seen, &mut pass);
        let Step { writer, seen, .. } = step;
        if !book.is_latest() {
            // Somebody has reloaded: again, by the rules that are in force now. Marks that were taken are made up for by another
            // round.
            checkpoints.forgotten.lock().extend(forgotten);
            self.rewind();
            return Ok(Checkpointing::Writing);
        }
        if is_done && pass.full {
            head.first = pass.from;
        }
        if !writer.is_empty() || head.first != self.first {
            let removed: Vec<u64> = self.leftover.iter().copied().take(MOST_REMOVED).collect();
            let block = writer.finish(&head);
            if let Err(error) = self.store.write(self.next, &block, &removed) {
                checkpoints.forgotten.lock().extend(forgotten);
                self.rewind();
                self.failure = Some(error.to_string());
                self.due = now.as_u64().saturating_add((self.interval / PATIENCE).max(1));
                return Err(error);
            }
            self.next += 1;
            self.leftover.drain(..removed.len());
            self.leftover.extend(self.first..head.first);
            self.first = head.first;
            self.written += block.len() as u64;
            pass.bytes += block.len() as u64;
        }
        self.failure = None;
        for (place, seen) in seen {
            if let Some(known) = self.seen.get_mut(place) {
                *known = seen;
            }
        }
        self.overrides = overrides.unwrap_or(self.overrides);
        self.pass = Some(pass);
        if !is_done {
            return Ok(Checkpointing::Writing);
        }
        if pass.full {
            (self.full, self.since) = (pass.bytes.max(1), 0);
        } else {
            self.since += pass.bytes;
        }
        self.pass = None;
        self.done += 1;
        self.last_began = Some(pass.began);
        self.due = pass.began.saturating_add(self.interval / 2);
        Ok(Checkpointing::Done)
    }

    fn begin(&mut self, shared: &Shared, moment: &Moment<'_>) -> Pass {
        // Whoever has moved until now is gone by on the way.
        let mut word = 0;
        while word < shared.lines.marks() {
            shared.lines.take_marks(word).for_each(drop);
            word = shared.lines.next_marks(word + 1);
        }
        let full = std::mem::take(&mut self.overlooked)
            || self.full == 0
            || self.since > self.full.max(LEAST_BYTES)
            || self.next - self.first > MOST_BLOCKS + self.full / MOST_BYTES as u64;
        Pass { began: moment.now, full, from: self.next, bytes: 0, place: 0, reached: 0, word: 0, clean: 0 }
    }

    /// Lets the pass go by all places again, of which those that were written are as they were seen.
    fn rewind(&mut self) {
        if let Some(pass) = &mut self.pass {
            (pass.place, pass.word, pass.clean) = (0, 0, 0);
        }
    }
}

/// What one step has found.
struct Step<'a> {
    shared: &'a Shared,
    book: &'a Book,
    moment: Moment<'a>,
    /// Nanoseconds in which what comes back is not worth keeping.
    refill: u64,
    writer: Writer,
    seen: Vec<(usize, Stamp)>,
    looks: usize,
}

impl Step<'_> {
    fn is_over(&self) -> bool {
        self.looks >= MOST_PLACES || self.writer.len() >= MOST_BYTES
    }

    /// Goes on with `pass`; whether it is through.
    fn go_on(&mut self, seen: &[Stamp], pass: &mut Pass) -> bool {
        while pass.place < seen.len() {
            if self.is_over() {
                return false;
            }
            let is_new = pass.place >= pass.reached;
            self.look(seen, pass.place, pass.full && is_new);
            pass.place += 1;
            pass.reached = pass.reached.max(pass.place);
        }
        let words = self.shared.lines.marks();
        while pass.clean < words {
            if self.is_over() {
                return false;
            }
            let next = self.shared.lines.next_marks(pass.word).min(words);
            let none = next - pass.word;
            pass.clean += none;
            // As many words without a mark are gone by while a place is looked at.
            self.looks += none / 1024 + 1;
            if next == words {
                pass.word = 0;
                continue;
            }
            pass.clean += 1;
            for place in self.shared.lines.take_marks(next) {
                self.look(seen, place, false);
                pass.clean = 0;
            }
            pass.word = next + 1;
        }
        true
    }

    /// Looks at a place, and writes what is there if that has changed, or `anyway`.
    fn look(&mut self, seen: &[Stamp], place: usize, anyway: bool) {
        self.looks += 1;
        let (Some(known), Some(stamp)) = (seen.get(place), self.shared.lines.stamp(place)) else { return };
        if stamp == known.with(false) && !anyway && !self.shared.lines.is_leased(place) {
            return;
        }
        // What was told of this subject, and is nothing now, has to be told again.
        let was_told = known.bit() && stamp.is_of_subject(*known);
        let found = self.shared.lines.kept(self.book, place, &self.moment);
        let told = found.is_some_and(|found| self.put(found, was_told));
        self.seen.push((place, stamp.with(told)));
    }

    /// Writes what was found, if it is worth it, or `anyway`; whether it was worth it.
    fn put(&mut self, found: Found, anyway: bool) -> bool {
        let tiers = &self.book.plan.tiers;
        let (moment, refill) = (self.moment, self.refill);
        let amounts = |level, tier: u8, words: &_| {
            let tier = tiers.get(usize::from(tier))?;
            Some(keep(&tier.level(level).rules, words, refill, &moment))
        };
        match found {
            Found::Shared { level, tier, cohort, words } => {
                let Some(amounts) = amounts(level, tier, &words) else { return false };
                let worth = !amounts.is_nothing();
                if worth || anyway {
                    let shared = checkpoint::Shared { level, tier, cohort, amounts };
                    Record::Shared(shared).put(self.writer.records());
                }
                worth
            }
            Found::Subject(level, kept) => {
                let Some(amounts) = amounts(level, kept.tier, &kept.words) else { return false };
                let of = kept.standing;
                let is_good = of.factor == Factor::ONE && of.cohort == 0;
                let standing = Standing {
                    sixteenths: of.factor.sixteenths(),
                    cohort: of.cohort,
                    until: moment.anchor.unix_unheld(of.until),
                };
                let worth = !amounts.is_nothing() || !is_good || of.marked;
                if worth || anyway {
                    let name = self.shared.names.of(level, kept.id);
                    let (id, tier, marked) = (kept.id, kept.tier, of.marked);
                    let standing = Some(standing).filter(|_| !is_good);
                    Line { level, id, name, tier, standing, marked, amounts }.put(self.writer.records());
                }
                worth
            }
        }
    }

    /// Writes all overrides, where they are others than those with the checksum `before`, or `anyway`; their checksum.
    fn overrides(&mut self, before: Option<u64>, anyway: bool) -> Option<u64> {
        let before = before?;
        let overrides = self.book.exceptions.iter().filter(|exception| self.moment.now < exception.until);
        let overrides = overrides.filter_map(|exception| self.override_of(exception)).collect();
        let mut bytes = Vec::new();
        Record::Overrides(overrides).put(&mut bytes);
        let sum = crate::id::checksum(&bytes);
        if sum != before || anyway {
            self.writer.records().extend_from_slice(&bytes);
        }
        Some(sum)
    }

    fn override_of(&self, exception: &Exception) -> Option<checkpoint::Override> {
        let id = |key: &Key| KeptId::new(key.words, key.kind);
        let whom = match &exception.scope {
            Scope::Account(key) => Whom::Account(id(key)?),
            Scope::Organization(key) => Whom::Organization(id(key)?),
            Scope::Tier(tier) => Whom::Tier(self.book.plan.tiers.get(usize::from(*tier))?.name),
        };
        let told = checkpoint::Override {
            whom,
            sixteenths: exception.sixteenths,
            exempt: exception.exempt,
            until: self.moment.anchor.unix_unheld(exception.until),
            reason: exception.reason.clone(),
            limits: exception.limits.clone(),
        };
        Some(told.cut())
    }
}
