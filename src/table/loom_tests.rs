//! Every interleaving of insertion with itself and with a charge, in a table of one group.

use loom::{sync::Arc, thread};

use super::{Subjects, index::WAYS, pool::Pool};
use crate::{
    bucket::{KEPT_WORDS, Kept, Moment},
    decision::Level,
    id::{Fingerprints, Id},
    line::loom_tests::{explore, level_of, plan_of},
    policy::{
        book::Book,
        plan::{LevelPlan, Limit, MAX_RULES, Plan, Under},
        rate::Rate,
    },
    time::Anchor,
};

const MOMENT: Moment<'static> = Moment::new(0, Anchor::new(0), &[]);
const FRESH: [u64; MAX_RULES] = [0; MAX_RULES];

/// One tier whose accounts have one in-flight rule.
fn plan() -> Plan {
    plan_of([level_of(Limit::InFlight { limit: 10 }), LevelPlan::default(), LevelPlan::default()])
}

/// A table for the accounts of `book`, one of them, and so many that are parked.
fn table(book: &Book, parked: usize, fingerprints: &Fingerprints) -> Subjects {
    let words = book.plan.room().of(Level::Account);
    Subjects::new(Level::Account, (1, parked), words, fingerprints.places()).unwrap()
}

/// A table of one group of which all slots but one owe something.
fn crowded(plan: &Book, fingerprints: &Fingerprints) -> Subjects {
    let subjects = table(plan, 0, fingerprints);
    for id in 1..WAYS as u64 {
        let slot = subjects
            .insert(plan, &fingerprints.key(Id::Integer(id)), Under::default(), &FRESH, &MOMENT)
            .unwrap();
        subjects.line(slot).unwrap().lock().set_word(0, 1);
    }
    subjects
}

/// What one line let go, the next finds empty, and no two have one cell. Mutant: `cell_let_go_too_soon`.
#[test]
fn loom_cells_change_hands() {
    explore(|| {
        let pool = Arc::new(Pool::new(8, KEPT_WORDS).unwrap());
        let permit = |pool: &Pool, slot, amount| {
            let rate = Limit::Rate(Rate::new(1, 1_000, 100, 0, 1).unwrap());
            let cell = pool.open(slot);
            assert_eq!(cell.of_bucket(&rate, 0), 0);
            cell.keep(&rate, 0, Kept::unpack([amount, 0, 0]));
            assert_eq!(pool.of(slot).of_bucket(&rate, 0), amount);
            cell.let_go();
        };
        let other = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || permit(&pool, 1, 7))
        };
        permit(&pool, 0, 9);
        other.join().unwrap();
        assert_eq!(pool.missed(), 0);
    });
}

/// Two first sights of one account: one line. Mutant: `insert_without_second_look`.
#[test]
fn loom_insert_and_insert() {
    explore(|| {
        let fingerprints = Fingerprints::new([1; 16]);
        let plan = Arc::new(Book::new(plan()));
        let subjects = Arc::new(table(&plan, 0, &fingerprints));
        let key = fingerprints.key(Id::Integer(99));
        let other = {
            let (plan, subjects) = (Arc::clone(&plan), Arc::clone(&subjects));
            thread::spawn(move || subjects.insert(&plan, &key, Under::default(), &FRESH, &MOMENT).unwrap())
        };
        let slot = subjects.insert(&plan, &key, Under::default(), &FRESH, &MOMENT).unwrap();
        assert_eq!(slot, other.join().unwrap());
        assert_eq!(subjects.occupancy().subjects, 1);
    });
}

/// A charge to an idle account while a newcomer takes its slot: either the charge finds another subject, or the
/// newcomer finds a debtor; never is the charge lost. Mutant: `replacement_without_second_look`.
#[test]
fn loom_charge_and_replacement() {
    explore(|| {
        let fingerprints = Fingerprints::new([1; 16]);
        let plan = Arc::new(Book::new(plan()));
        let subjects = Arc::new(crowded(&plan, &fingerprints));
        let resident = fingerprints.key(Id::Integer(100));
        let newcomer = fingerprints.key(Id::Integer(101));
        let slot = subjects.insert(&plan, &resident, Under::default(), &FRESH, &MOMENT).unwrap();
        let other = {
            let (plan, subjects) = (Arc::clone(&plan), Arc::clone(&subjects));
            thread::spawn(move || subjects.insert(&plan, &newcomer, Under::default(), &FRESH, &MOMENT))
        };
        let charged = {
            let mut guard = subjects.line(slot).unwrap().lock();
            let holds = guard.holds(&resident);
            if holds {
                guard.set_word(0, 1);
            }
            holds
        };
        let given = other.join().unwrap();
        let seen = subjects.line(slot).unwrap().snapshot();
        if charged {
            assert!(seen.holds(&resident), "what the account owes was forgotten");
            assert_eq!((seen.words[0], given), (1, None));
        } else {
            assert!(seen.holds(&newcomer));
            assert_eq!((seen.words[0], given), (0, Some(slot)));
        }
    });
}

/// A permit is let go while a newcomer looks for a place: the slot changes hands only once no permit is open on it.
/// Mutant: `replacement_ignores_permits`.
#[test]
fn loom_release_and_replacement() {
    explore(|| {
        let fingerprints = Fingerprints::new([1; 16]);
        let plan = Arc::new(Book::new(plan()));
        let subjects = Arc::new(crowded(&plan, &fingerprints));
        let resident = fingerprints.key(Id::Integer(100));
        let newcomer = fingerprints.key(Id::Integer(101));
        let slot = subjects.insert(&plan, &resident, Under::default(), &FRESH, &MOMENT).unwrap();
        subjects.line(slot).unwrap().lock().open_permit();
        let other = {
            let (plan, subjects) = (Arc::clone(&plan), Arc::clone(&subjects));
            thread::spawn(move || subjects.insert(&plan, &newcomer, Under::default(), &FRESH, &MOMENT))
        };
        {
            let mut guard = subjects.line(slot).unwrap().lock();
            assert!(guard.holds(&resident), "a slot with an open permit changed hands");
            guard.close_permit();
        }
        let given = other.join().unwrap();
        let seen = subjects.line(slot).unwrap().snapshot();
        assert_eq!(seen.holds(&newcomer), given.is_some());
    });
}

/// An account whose quota use is parked by a newcomer comes back at the same time: it finds what it had used, on its
/// line or parked. Mutant: `park_after_leaving`.
#[test]
fn loom_park_and_return() {
    explore(|| {
        let fingerprints = Fingerprints::new([1; 16]);
        let mut plan = plan();
        let budget = Limit::Budget { limit: 10 };
        plan.tiers[0].account.rules[0].limit = budget;
        let plan = Arc::new(Book::new(plan));
        let subjects = Arc::new(table(&plan, 1, &fingerprints));
        let resident = fingerprints.key(Id::Integer(100));
        let newcomer = fingerprints.key(Id::Integer(101));
        let slot = subjects.insert(&plan, &resident, Under::default(), &FRESH, &MOMENT).unwrap();
        subjects.line(slot).unwrap().lock().set_word(0, 7);
        for id in 1..WAYS as u64 {
            let slot = subjects
                .insert(&plan, &fingerprints.key(Id::Integer(id)), Under::default(), &FRESH, &MOMENT)
                .unwrap();
            subjects.line(slot).unwrap().lock().open_permit();
        }
        let other = {
            let (plan, subjects) = (Arc::clone(&plan), Arc::clone(&subjects));
            thread::spawn(move || {
                subjects.insert(&plan, &newcomer, Under::default(), &FRESH, &MOMENT);
            })
        };
        if let Some(slot) = subjects.insert(&plan, &resident, Under::default(), &FRESH, &MOMENT) {
            let seen = subjects.line(slot).unwrap().snapshot();
            assert!(!seen.holds(&resident) || seen.words[0] == 7, "its use was forgotten");
        }
        other.join().unwrap();
        let on_a_line =
            subjects.find(&resident).map(|(slot, _)| subjects.line(slot).unwrap().snapshot().words[0]);
        let parked = subjects.parked_words(&plan, &resident, Under::default(), &MOMENT).map(|words| words[0]);
        assert_eq!([on_a_line, parked].into_iter().flatten().collect::<Vec<_>>(), [7]);
    });
}
