//! Every interleaving of two requests, and of a settlement, on paths with a common parent.

use loom::{sync::Arc, thread};

use super::{Around, Ask, Course, Hints, Hold, Home, Lane, Lines, Note, Path, Spend};
use crate::{
    bucket::{self, Factor, Mode, Moment},
    decision::Level,
    id::{Fingerprints, Id, Identity, Organization, Tier, Zone},
    line::{
        Standing,
        loom_tests::{explore, level_of, plan_of},
    },
    meter::{Cost, Meter},
    policy::{
        book::Book,
        plan::{Capacity, LevelPlan, Limit, Plan, Under},
        rate::Rate,
    },
    time::Anchor,
};

const MOMENT: Moment<'static> = Moment::new(0, Anchor::new(0), &[]);

struct World {
    book: std::sync::Arc<Book>,
    lines: Lines,
    fingerprints: Fingerprints,
}

impl World {
    fn new(account: u64, total: u64) -> Arc<World> {
        World::with(Limit::Budget { limit: account }, total)
    }

    fn with(account: Limit, total: u64) -> Arc<World> {
        World::of(account, Limit::Budget { limit: total })
    }

    fn of(account: Limit, total: Limit) -> Arc<World> {
        let total = level_of(total);
        let plan = plan_of([level_of(account), LevelPlan::default(), total]);
        Arc::new(World::by(plan, World::identity))
    }

    /// With the accounts 1 and 2, as `identity` has them.
    fn by(plan: Plan, identity: impl Fn(&World, u64) -> Identity) -> World {
        let fingerprints = Fingerprints::new([1; 16]);
        let lines = Lines::new(&plan, &fingerprints.places()).unwrap();
        let world = World { book: std::sync::Arc::new(Book::new(plan)), lines, fingerprints };
        for account in [1, 2] {
            let identity = identity(&world, account);
            Path::find(&world.lines, &world.book, &identity).unwrap().enter(&world.lines, &MOMENT).unwrap();
        }
        world
    }

    fn identity(&self, account: u64) -> Identity {
        Identity::new(self.fingerprints.key(Id::Integer(account)), Tier::from_index(0).unwrap())
    }

    /// Spends one, as the limiter does; whether it was admitted.
    fn spend<N: Note>(&self, account: u64, note: &mut N) -> bool {
        let identity = self.identity(account);
        let ask = Ask { cost: &one(), mode: N::MODE, moment: MOMENT };
        let lane = Lane::find(&self.lines, &self.book, &identity, Hints::default()).unwrap();
        loop {
            let charged = match lane.go_around(ask, lane.look(|| MOMENT), note) {
                Around::Charged(_) => true,
                Around::Denied(_) => return false,
                Around::Stuck => false,
            };
            if charged {
                note.charged_by(&self.book);
                return true;
            }
            thread::yield_now();
        }
    }

    /// What is spent of the budgets of both accounts and of the tier.
    fn spent(&self) -> (u64, u64) {
        let account = |account| {
            let (slot, _) = self.lines.accounts.find(&self.identity(account).account).unwrap();
            self.lines.line(Home::Account(slot)).unwrap().snapshot().words[0]
        };
        (account(1) + account(2), self.lines.line(Home::Tier(0)).unwrap().snapshot().words[0])
    }
}

fn one() -> Cost {
    Cost::of(Meter::from_index(0).unwrap(), 1)
}

/// Two accounts, and one token left at their tier: one is admitted, and the levels agree. Mutant:
/// `commit_trusts_the_look`.
#[test]
fn loom_two_paths_with_a_common_parent() {
    explore(|| {
        let world = World::new(5, 1);
        let other = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.spend(2, &mut Spend))
        };
        let admitted = u64::from(world.spend(1, &mut Spend)) + u64::from(other.join().unwrap());
        assert_eq!(admitted, 1);
        assert_eq!(world.spent(), (1, 1));
    });
}

/// The same where all are rates, so that both go the straight way. Mutant: `commit_of_another_version`.
#[test]
fn loom_two_straight_paths_with_a_common_parent() {
    explore(|| {
        let rate = |burst| Rate::new(1, 1_000, burst, 0, 1).unwrap();
        let (account, total) = (rate(5), rate(1));
        let world = World::of(Limit::Rate(account), Limit::Rate(total));
        let other = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.spend(2, &mut Spend))
        };
        let admitted = u64::from(world.spend(1, &mut Spend)) + u64::from(other.join().unwrap());
        assert_eq!(admitted, 1);
        assert_eq!(world.spent(), (1 << account.shift, 1 << total.shift));
    });
}

/// A charge beside a settlement that gives all back: both are done whole, whichever comes first.
#[test]
fn loom_charge_and_settlement() {
    explore(|| {
        let world = World::new(5, 2);
        let mut hold = Hold::new(&world.identity(1));
        assert!(world.spend(1, &mut hold));
        let other = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.spend(2, &mut Spend))
        };
        hold.settle(&world.lines, (&world.book, || world.book.clone()), (&one(), &Cost::FREE), &MOMENT, || 0);
        assert!(other.join().unwrap());
        assert_eq!(world.spent(), (1, 1));
    });
}

/// A permit is settled while its line is given to another subject: the newcomer's words are its own. Mutant:
/// `settle_ignores_generation`.
#[test]
fn loom_settlement_and_eviction() {
    explore(|| {
        let world = World::new(5, 5);
        let mut hold = Hold::new(&world.identity(1));
        assert!(world.spend(1, &mut hold));
        let (slot, _) = world.lines.accounts.find(&world.identity(1).account).unwrap();
        let other = {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                let newcomer = world.fingerprints.key(Id::Integer(9));
                let line = world.lines.line(Home::Account(slot)).unwrap();
                line.lock().replace(
                    Some((&newcomer, Under::default())),
                    &[3],
                    world.lines.refunds(Home::Account(slot)),
                );
            })
        };
        hold.settle(&world.lines, (&world.book, || world.book.clone()), (&one(), &Cost::FREE), &MOMENT, || 0);
        other.join().unwrap();
        let seen = world.lines.line(Home::Account(slot)).unwrap().snapshot();
        assert_eq!(seen.words[0], 3);
        // Either way the tier got it back.
        assert_eq!(world.lines.line(Home::Tier(0)).unwrap().snapshot().words[0], 0);
    });
}

/// A charge beside a tightening: whichever comes first, the charge is by the factor in force when it is made. Mutant:
/// `tightening_unseen`.
#[test]
fn loom_charge_and_factor() {
    explore(|| {
        let rate = Rate::new(1, 1_000, 100, 0, 16).unwrap();
        let world = World::with(Limit::Rate(rate), 5);
        let other = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.spend(1, &mut Spend))
        };
        let (slot, _) = world.lines.accounts.find(&world.identity(1).account).unwrap();
        let line = world.lines.line(Home::Account(slot)).unwrap();
        let charged_before = {
            let mut guard = line.lock();
            guard.set_standing(Standing {
                factor: Factor::from_sixteenths(160),
                cohort: 0,
                until: 1 << 40,
                marked: false,
            });
            guard.word(0).unwrap() != 0
        };
        assert!(other.join().unwrap());
        let price = if charged_before { 1 } else { 10 };
        assert_eq!(line.snapshot().words[0], price << rate.shift);
    });
}

/// A moment at which what was hot at [`MOMENT`] is not any more.
const LATER: Moment<'static> = Moment::new(1 << 30, Anchor::new(0), &[]);

/// Two organizations, of which the first has the only stripes, and the accounts 1 and 2 in them; one token is leased. Rates are
/// for factors up to `largest`.
fn two_organizations(largest: u32) -> Arc<World> {
    let rate = |burst| Limit::Rate(Rate::new(1, 1_000_000_000_000, burst, 0, largest).unwrap());
    let plan = plan_of([level_of(rate(1_000)), level_of(rate(4_096)), LevelPlan::default()]);
    let plan = Plan { capacity: Capacity { organizations: 1, ..plan.capacity }, ..plan };
    let world = World::by(plan, World::member);
    world.collide(1, &MOMENT);
    assert!(world.lines.line(world.organization(1)).unwrap().head().may_be_leased());
    Arc::new(world)
}

impl World {
    /// The account in an organization of its own.
    fn member(&self, account: u64) -> Identity {
        let key = self.fingerprints.key(Id::Integer(account));
        self.identity(account).in_organization(Organization { key, zone: Zone::default() })
    }

    fn organization(&self, account: u64) -> Home {
        let key = self.fingerprints.key(Id::Integer(account));
        Home::Organization(self.lines.organizations.find(&key).unwrap().0)
    }

    /// What an organization has spent, without what is leased of it.
    fn spent_by(&self, account: u64, moment: &Moment<'static>) -> u64 {
        let seen = self.lines.spent(&self.book, self.organization(account), moment).unwrap();
        let rules = self.book.plan.tiers[0].level(Level::Organization);
        bucket::used(&rules.rules[0].limit, seen.words[0], moment)
    }

    /// As if the account had met another of its organization.
    fn collide(&self, account: u64, moment: &Moment<'static>) {
        let ask = Ask { cost: &one(), mode: Mode::Spend, moment: *moment };
        let rules = &self.book.plan.tiers[0];
        self.lines.refill(&self.book, (self.organization(account), rules), true, &ask);
    }

    /// Spends one of an organization's member by what its thread has on lease; whether it was there.
    fn spend_leased(&self, account: u64) -> bool {
        let (identity, cost) = (self.member(account), one());
        let lane = Lane::find(&self.lines, &self.book, &identity, Hints::default()).unwrap();
        loop {
            let (course, seen) = lane.look(|| MOMENT);
            let gone = match course {
                Course::Winding => lane.go_leased((&cost, MOMENT.now), seen, &mut Spend),
                Course::Straight => return false,
                course => Err(course),
            };
            match gone {
                Ok(()) => return true,
                // It has just been taken back.
                Err(Course::Winding | Course::Unclear) => return false,
                Err(_) => thread::yield_now(),
            }
        }
    }
}

/// An organization's member is served from a lease while its stripes are given to another organization: what it was served
/// is its own's. Mutant: `serve_from_anothers_lease`.
#[test]
fn loom_stripes_change_hands() {
    explore(|| {
        let world = two_organizations(1);
        let other = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.spend_leased(1))
        };
        world.collide(2, &LATER);
        let served = u64::from(other.join().unwrap());
        assert!(world.lines.line(world.organization(2)).unwrap().head().may_be_leased());
        assert_eq!([1, 2].map(|account| world.spent_by(account, &LATER)), [served, 0]);
    });
}

/// Callers of the first organization meet again just when its stripes, unused for a while, are to be given to the other:
/// whichever has them in the end, what was leased is not lost. Mutant: `hand_over_without_second_look`.
#[test]
fn loom_stripes_are_wanted_by_two() {
    explore(|| {
        let world = two_organizations(1);
        let other = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.collide(1, &LATER))
        };
        world.collide(2, &LATER);
        other.join().unwrap();
        let served = [1, 2].map(|account| u64::from(world.spend_leased(account)));
        assert_eq!(served.iter().sum::<u64>(), 1);
        assert_eq!([1, 2].map(|account| world.spent_by(account, &LATER)), served);
    });
}

/// What was leased of an organization that is tightened in spite of it is lost: the next who has the stripes finds nothing
/// there. Mutant: `stripes_keep_what_was_lost`.
#[test]
fn loom_lost_leases_are_nobodys() {
    explore(|| {
        let world = two_organizations(16);
        let line = world.lines.line(world.organization(1)).unwrap();
        let factor = Factor::from_sixteenths(32);
        line.lock().set_standing(Standing { factor, cohort: 0, until: 1 << 40, marked: false });
        world.collide(2, &MOMENT);
        let served = u64::from(world.spend_leased(2));
        assert_eq!((served, world.spent_by(2, &MOMENT)), (1, 1));
    });
}
