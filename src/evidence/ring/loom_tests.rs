//! Every interleaving of putting in and taking out.

use loom::{sync::Arc, thread};

use super::{Member, Observation, Rings};
use crate::line::loom_tests::explore;

/// An observation of which each word says the same number.
fn saying(number: u32) -> Observation {
    Observation {
        member: Member { slot: number, generation: number },
        organization: u64::from(number),
        attributes: [number; 8],
        ..Observation::default()
    }
}

fn take(rings: &Rings, into: &mut Vec<u32>) {
    rings.drain(9, |observation| {
        let number = observation.member.slot;
        assert_eq!(observation, Observation { at: observation.at, ..saying(number) });
        into.push(number);
    });
}

/// Two are put into a ring of two, and more are dropped while it is full: what is taken out meanwhile and afterwards is
/// whole, in order, and all that was kept. Mutants: `ring_turn_first`, `ring_overwrites`.
#[test]
fn loom_put_and_take() {
    explore(|| {
        let rings = Arc::new(Rings::new(1, 2));
        assert!(rings.push(0, &saying(1)));
        let other = {
            let rings = Arc::clone(&rings);
            thread::spawn(move || {
                [2, 3].into_iter().filter(|number| rings.push(0, &saying(*number))).collect()
            })
        };
        let mut taken = Vec::new();
        take(&rings, &mut taken);
        let put: Vec<u32> = other.join().unwrap();
        take(&rings, &mut taken);
        let mut kept = vec![1];
        kept.extend(put);
        assert_eq!(taken, kept);
    });
}

/// Two threads put in at once: neither is lost or torn, but by being counted as dropped.
#[test]
fn loom_put_and_put() {
    explore(|| {
        let rings = Arc::new(Rings::new(1, 2));
        let other = {
            let rings = Arc::clone(&rings);
            thread::spawn(move || rings.push(0, &saying(2)))
        };
        let kept = rings.push(0, &saying(1));
        let others = other.join().unwrap();
        assert!(kept && others, "three tries are enough for two");
        let mut taken = Vec::new();
        take(&rings, &mut taken);
        taken.sort_unstable();
        assert_eq!(taken, [1, 2]);
    });
}
