//! Every interleaving of serving from a lease with its recall.

use loom::{sync::Arc, thread};

use super::{Leases, Source, serve};
use crate::{
    bucket::Moment,
    line::{
        CacheLine, Line, Refunds,
        loom_tests::{explore, level_of, plan_of},
    },
    meter::{Cost, Meter},
    policy::{
        book::Book,
        plan::{LevelPlan, Limit, Under},
    },
    time::Anchor,
};

const MOMENT: Moment<'static> = Moment::new(0, Anchor::new(0), &[]);
/// A lease on it is enough for two.
const LIMIT: u64 = 128;
/// What one spends.
const EACH: u64 = 4;

struct World {
    book: Book,
    leases: Leases,
    hot: [CacheLine; 1],
}

impl World {
    fn new() -> Arc<World> {
        let total = level_of(Limit::Budget { limit: LIMIT });
        let plan = plan_of([LevelPlan::default(), LevelPlan::default(), total]);
        let leases = Leases::new(1, false, 1);
        let world = World { book: Book::new(plan), leases, hot: Default::default() };
        world.leases.refill(
            world.total(),
            (0, None),
            (true, &Cost::of(Meter::from_index(0).unwrap(), 1)),
            &MOMENT,
        );
        assert!(world.total().line.head().may_be_leased());
        Arc::new(world)
    }

    fn total(&self) -> Source<'_> {
        let rules = &self.book.plan.tiers[0].total;
        Source {
            book: &self.book,
            under: Under::default(),
            rules,
            line: Line::new(&self.hot).unwrap(),
            refunds: Refunds::new(&[]),
        }
    }

    /// Serves as much as one spends from the lease, as look and commit do; whether it was there.
    fn serve(&self) -> bool {
        let stripe = self.leases.stripe(0).unwrap();
        let charge = &self.book.plan.tiers[0].plain_charges(Meter::from_index(0).unwrap(), false)[0];
        loop {
            if let Some(version) = stripe.head().version() {
                let served = serve(&stripe, charge, Refunds::new(&[]), EACH, &MOMENT);
                match served {
                    None if stripe.head().is_still(version) => return false,
                    None => {}
                    Some((word, low)) => {
                        if let Some(mut guard) = stripe.head().lock_at(version) {
                            word.store(low);
                            guard.set_written();
                            return true;
                        }
                    }
                }
            }
            thread::yield_now();
        }
    }
}

/// What was served and what was given back make up what was charged. Mutant: `recall_keeps_the_lease`.
#[test]
fn loom_lease_and_recall() {
    explore(|| {
        let world = World::new();
        let other = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.serve())
        };
        assert!(world.leases.recall(world.total(), &MOMENT));
        let served = u64::from(other.join().unwrap());
        assert_eq!(world.total().line.snapshot().words[0], served * EACH);
        assert!(!world.serve(), "nothing is left to serve");
    });
}

/// Two threads that share a stripe: each token is served once. Mutant: `guard_without_exchange`.
#[test]
fn loom_two_serve_from_one_lease() {
    explore(|| {
        let world = World::new();
        let other = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.serve())
        };
        assert!(world.serve());
        assert!(other.join().unwrap());
        assert!(!world.serve());
        assert_eq!(world.total().line.snapshot().words[0], 2 * EACH);
    });
}
