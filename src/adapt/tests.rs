//! Properties: fading and the curve are monotone; a step is bounded; what was tightened is released to exactly one.

use proptest::prelude::*;

use super::{Curve, ONE, Tightening, fade};

fn curves() -> impl Strategy<Value = Curve> {
    (0..200u16, 1..100u16, ONE..=1024u16, 1..64u16, 1..64u16)
        .prop_map(|(floor, doubling, largest, rise, fall)| Curve { floor, doubling, largest, rise, fall })
}

proptest! {
    #[test]
    fn fading_is_monotone(points in any::<u16>(), early in 0..1u64 << 40, more in 0..1u64 << 40, half_life in 0..1u64 << 40) {
        let (first, second) = (fade(points, early, half_life), fade(points, early + more, half_life));
        prop_assert!(second <= first && first <= points);
        prop_assert!(fade(points, 17 * half_life, half_life) == 0);
    }

    #[test]
    fn half_is_left_after_a_half_life(points in any::<u16>(), half_life in 1..1u64 << 40) {
        prop_assert_eq!(fade(points, half_life, half_life), points / 2);
        prop_assert_eq!(fade(points, 0, half_life), points);
    }

    #[test]
    fn more_points_never_ask_for_less(curve in curves(), points in any::<u16>(), more in any::<u16>()) {
        let (less, more) = (curve.factor(points), curve.factor(points.saturating_add(more)));
        prop_assert!(ONE <= less && less <= more && more <= curve.largest);
    }

    #[test]
    fn steps_are_bounded_and_released(curve in curves(), evidence in prop::collection::vec(any::<u16>(), 0..200)) {
        let mut state = Tightening::default();
        for points in evidence {
            let next = state.step(points, &curve);
            let (was, is) = (state.sixteenths(), next.sixteenths());
            prop_assert!(is <= was.saturating_add(curve.rise) && is >= was.saturating_sub(curve.fall));
            prop_assert!((ONE..=curve.largest).contains(&is));
            state = next;
        }
        for _ in 0..curve.largest {
            state = state.step(0, &curve);
        }
        prop_assert_eq!(state, Tightening::default());
    }

    #[test]
    fn trembling_evidence_moves_nothing(curve in curves(), points in 0..2000u16) {
        let mut state = Tightening::default();
        for _ in 0..1100 {
            state = state.step(points, &curve);
        }
        // A fifth less is within what holds.
        prop_assert_eq!(state.step(points - points / 6, &curve), state);
    }
}
