//! The decision itself: find, look, commit, and what lies around them.

use std::sync::Arc;

use super::{Caller, Places, Shared, dry::Beside};
use crate::{
    bucket::Mode,
    decision::{Denial, Level, Name, Receipt, Told},
    evidence::Member,
    id::Identity,
    meter::{Cost, Meter},
    path::{Around, Ask, Course, Lane, Note, Path, Reading, Seen, Stopped, plain_denial},
    policy::{book::Book, spec::OnStall},
    sync::Ordering,
    time::Nanos,
};

/// `maintain` is called every minute; where it was not for so many nanoseconds, it is taken to stand still.
const STALLED: u64 = 300_000_000_000;

impl Shared {
    /// Decides, and observes the decision.
    #[inline]
    pub(super) fn decide_for<N: Note>(
        &self,
        caller: &impl Caller,
        cost: &Cost,
        now: impl FnOnce() -> Nanos,
        note: &mut N,
    ) -> Result<Receipt, Denial> {
        let mut seat = None;
        let decided = self.decide(caller.identity(), caller.places(), cost, now, note, &mut seat);
        if caller.attributes().is_some() {
            let at = match &decided {
                Ok(receipt) => receipt.at(),
                Err(denial) => denial.at(),
            };
            self.observe(caller, seat, cost, N::MODE == Mode::Spend, at, decided.as_ref().err());
        }
        decided
    }

    /// Find, look, commit; the clock is read after the find, so that its cache misses overlap. `seat` is told where the
    /// account's line was found, if it went as far.
    #[inline]
    fn decide<N: Note>(
        &self,
        identity: &Identity,
        places: Places,
        cost: &Cost,
        now: impl FnOnce() -> Nanos,
        note: &mut N,
        seat: &mut Option<Member>,
    ) -> Result<Receipt, Denial> {
        let book = self.books.take();
        let decided = self.decide_by(&book, (identity, places, cost), now, note, seat);
        if book.beside.is_some() {
            follow::<N>(&book, identity, cost, &decided);
        }
        self.books.keep(book);
        decided
    }

    #[inline(always)]
    pub(super) fn decide_by<N: Note>(
        &self,
        book: &Arc<Book>,
        (identity, places, cost): (&Identity, Places, &Cost),
        now: impl FnOnce() -> Nanos,
        note: &mut N,
        seat: &mut Option<Member>,
    ) -> Result<Receipt, Denial> {
        let Some(lane) = Lane::find(&self.lines, book, identity, places.0) else {
            return self.decide_slow(book, (identity, cost), now(), Some(note));
        };
        let now = now();
        let (course, seen) = lane.look(|| self.moment(book, now));
        if matches!(course, Course::Straight | Course::Winding) {
            *seat = lane.seat(seen).map(|(slot, generation)| Member { slot, generation });
        }
        let gone = match course {
            Course::Straight => lane.go((cost, now.as_u64()), seen, note),
            Course::Winding if N::MODE == Mode::Spend => lane.go_leased((cost, now.as_u64()), seen, note),
            course => Err(course),
        };
        match gone {
            Ok(()) => {
                note.charged_by(book);
                Ok(Receipt { at: now.as_u64(), told: Told::default() })
            }
            Err(Course::Refused(meter, level)) => {
                let now_given = now.as_u64();
                match lane.lone_refusal((cost, now_given), (meter, level), seen) {
                    Some((charge, word)) => Err(plain_denial(charge, word, cost.amount(meter), now_given)),
                    None => self.refuse(book, lane, (cost, now), ((meter, level), seen), note),
                }
            }
            Err(course) => self.decide_around(book, lane, (cost, now), (course, seen), note),
        }
    }

    #[inline]
    fn ask<'a, N: Note>(
        &self,
        book: &'a Book,
        identity: &Identity,
        (cost, now): (&'a Cost, Nanos),
    ) -> Ask<'a> {
        Ask { cost, mode: N::MODE, moment: self.moment_in(book, identity.zone, now) }
    }

    /// Goes on from a straight look that was refused.
    #[inline(never)]
    fn refuse<N: Note>(
        &self,
        book: &Arc<Book>,
        lane: Lane<'_>,
        (cost, now): (&Cost, Nanos),
        (by, seen): ((Meter, u8), Seen),
        note: &mut N,
    ) -> Result<Receipt, Denial> {
        let moment = || self.moment(book, now);
        match lane.straight_denial((cost, N::MODE, now.as_u64()), by, seen, moment) {
            Some(denial) => Err(denial),
            None => self.decide_around(book, lane, (cost, now), (Course::Refused(by.0, by.1), seen), note),
        }
    }

    /// Goes on from where the straight way ended.
    #[inline(never)]
    fn decide_around<N: Note>(
        &self,
        book: &Arc<Book>,
        lane: Lane<'_>,
        (cost, now): (&Cost, Nanos),
        from: (Course, Seen),
        note: &mut N,
    ) -> Result<Receipt, Denial> {
        self.see_to_it(book, lane.identity(), cost, now)?;
        match lane.go_around(self.ask::<N>(book, lane.identity(), (cost, now)), from, note) {
            Around::Charged(told) => {
                note.charged_by(book);
                Ok(Receipt { at: now.as_u64(), told })
            }
            Around::Denied(denial) => Err(denial),
            Around::Stuck => self.decide_slow(book, (lane.identity(), cost), now, Some(note)),
        }
    }

    /// Denies what the tier's `on_stall` denies. A tier that has one has no straight lane, so that nobody else is asked.
    fn see_to_it(&self, book: &Book, identity: &Identity, cost: &Cost, now: Nanos) -> Result<(), Denial> {
        let plan = &book.plan;
        let Some(tier) = plan.tiers.get(usize::from(identity.tier().as_u8())) else { return Ok(()) };
        let stalled = || now.as_u64().saturating_sub(self.maintained.load(Ordering::Relaxed)) > STALLED;
        if tier.guard.on_stall == OnStall::Admit || !stalled() {
            return Ok(());
        }
        let meter = cost.spent().next().and_then(|meter| plan.meters.get(meter.index()));
        Err(Denial::stalled(tier.name, meter.map_or(Name::default(), |meter| meter.name), now.as_u64()))
    }

    /// The same for what does not go straight. Without a `note`, only answers.
    #[cold]
    #[inline(never)]
    pub(super) fn decide_slow<N: Note>(
        &self,
        book: &Arc<Book>,
        (identity, cost): (&Identity, &Cost),
        mut now: Nanos,
        mut note: Option<&mut N>,
    ) -> Result<Receipt, Denial> {
        let mut recalled = false;
        let mut held = i64::MIN;
        let mut book = Arc::clone(book);
        loop {
            if !book.is_latest() {
                book = self.books.copy();
            }
            let Some(mut path) = Path::find(&self.lines, &book, identity) else {
                return Err(Denial::unknown_tier(now.as_u64()));
            };
            self.see_to_it(&book, identity, cost, now)?;
            let mut moment = self.moment_in(&book, identity.zone, now);
            moment.anchor.held = moment.anchor.held.max(held);
            let ask = &Ask { cost, mode: N::MODE, moment };
            let decided = match note.as_deref_mut() {
                Some(note) => path.charge(&self.lines, ask, note),
                None => path.judge(&self.lines, ask, Reading::Spent),
            };
            match decided {
                Ok(told) => {
                    if told.overflow {
                        self.counters.overflowed.fetch_add(1, Ordering::Relaxed);
                    }
                    if let Some(note) = note {
                        note.charged_by(&book);
                    }
                    return Ok(Receipt { at: moment.now, told });
                }
                Err(Stopped::Refused(denial)) => {
                    // An organization or a total that has leases refuses only once they are back.
                    let is_shared = matches!(denial.level(), Level::Organization | Level::Tier);
                    if recalled || !is_shared || note.is_none() || !path.recall(&self.lines, &moment) {
                        return Err(denial);
                    }
                    recalled = true;
                }
                Err(Stopped::Behind(later)) => {
                    // A window that the limiter's clock has not reached itself was entered before the wall clock went back:
                    // it is held, and not waited for.
                    held = moment.anchor.unix_unheld(later);
                    now = Nanos::new(later.min(self.now().as_u64())).max(now);
                }
                Err(Stopped::Changed) => {}
            }
        }
    }
}

/// Asks what decides beside; what was admitted for a permit, its permit does.
#[cold]
#[inline(never)]
fn follow<N: Note>(book: &Book, identity: &Identity, cost: &Cost, decided: &Result<Receipt, Denial>) {
    if let Some(beside) = Beside::of(book).filter(|_| N::MODE == Mode::Spend || decided.is_err()) {
        beside.follow(identity, cost, decided);
    }
}
