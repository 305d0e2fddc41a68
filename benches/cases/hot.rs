//! One hot account: all in cache, so that what is measured is arithmetic and atomics.

use std::hint::black_box;

use tollgate::{Cost, Identity, Level, Limiter, Nanos, Subject, Tier};

use super::{Run, admits, cost, kept, limiter, plan, tier, timed};

pub const ACCOUNT: &str = "acct_f378b692784f";
pub const ORGANIZATION: &str = "org_4c1d88f0a2";

/// A limiter of three levels with one caller who is known to it.
pub struct Hot {
    pub limiter: Limiter,
    pub tier: Tier,
    pub caller: Identity,
    pub subject: Subject,
    pub cost: Cost,
    pub now: Nanos,
}

impl Hot {
    /// A policy with `meters` meters, and a request that spends `spends` of them.
    pub fn new(meters: usize, spends: usize) -> &'static Hot {
        let limiter = limiter(plan(meters, &["business", "spent"], 10_000, 1_000));
        let tier = tier(&limiter, "business");
        let caller = limiter.identity(tier, ACCOUNT).in_organization(limiter.organization(ORGANIZATION));
        Hot::of(limiter, tier, caller, spends)
    }

    /// A caller whose account and organization have all, and whose tier has nothing left.
    pub fn spent(meters: usize) -> &'static Hot {
        let limiter = limiter(plan(meters, &["business", "spent"], 10_000, 1_000));
        let tier = tier(&limiter, "spent");
        let one = cost(&limiter, meters);
        for other in 0..3_u64 {
            let other = limiter.identity(tier, other).in_organization(limiter.organization(other));
            limiter.check(&other, &one).expect("the tier's three tokens");
        }
        let caller = limiter.identity(tier, ACCOUNT).in_organization(limiter.organization(ORGANIZATION));
        let spent = Hot::of(limiter, tier, caller, 1);
        let denial = spent.limiter.check(&spent.subject, &spent.cost).expect_err("the tier is spent");
        assert_eq!(denial.level(), Level::Tier);
        spent
    }

    fn of(limiter: Limiter, tier: Tier, caller: Identity, spends: usize) -> &'static Hot {
        let (subject, cost, now) = (limiter.subject(&caller), cost(&limiter, spends), limiter.now());
        kept(Hot { limiter, tier, caller, subject, cost, now })
    }
}

/// The caller's lines are known.
pub fn subject<const METERS: usize, const SPENDS: usize, const TIME: bool>() -> Run {
    let Hot { limiter, subject, cost, now, .. } = Hot::new(METERS, SPENDS);
    timed(move || admits::<TIME>(limiter, subject, cost, *now))
}

/// The identity was built at authentication, and is looked up.
pub fn identity<const METERS: usize, const SPENDS: usize, const TIME: bool>() -> Run {
    let Hot { limiter, caller, cost, now, .. } = Hot::new(METERS, SPENDS);
    timed(move || admits::<TIME>(limiter, caller, cost, *now))
}

/// The identity is built for each request, from two strings.
pub fn strings<const METERS: usize, const SPENDS: usize, const TIME: bool>() -> Run {
    let Hot { limiter, tier, cost, now, .. } = Hot::new(METERS, SPENDS);
    let (account, organization) = (ACCOUNT.to_owned(), ORGANIZATION.to_owned());
    timed(move || {
        let organization = limiter.organization(black_box(&organization));
        let caller = limiter.identity(*tier, black_box(&account)).in_organization(organization);
        admits::<TIME>(limiter, &caller, cost, *now)
    })
}

/// The identity is built for each request, from two integers.
pub fn integers<const TIME: bool>() -> Run {
    let Hot { limiter, tier, cost, now, .. } = Hot::new(1, 1);
    timed(move || {
        let organization = limiter.organization(black_box(17_u64));
        let caller = limiter.identity(*tier, black_box(0xf378_b692_784f_u64)).in_organization(organization);
        admits::<TIME>(limiter, &caller, cost, *now)
    })
}

/// Reserved and settled at once, at what was reserved.
pub fn settle<const METERS: usize>() -> Run {
    let Hot { limiter, subject, cost, .. } = Hot::new(METERS, METERS);
    timed(move || limiter.reserve(black_box(subject), cost).map(|permit| permit.settle(cost)).is_ok())
}

/// The same by a clock that was read before.
pub fn settle_given() -> Run {
    let Hot { limiter, subject, cost, now, .. } = Hot::new(1, 1);
    timed(move || {
        let permit = limiter.reserve_at(black_box(subject), cost, *now);
        permit.map(|permit| permit.settle_at(cost, *now)).is_ok()
    })
}

/// Reserved and settled at nothing: all is given back.
pub fn give_back() -> Run {
    let Hot { limiter, subject, cost, .. } = Hot::new(1, 1);
    timed(move || limiter.reserve(black_box(subject), cost).map(|permit| permit.settle(&Cost::FREE)).is_ok())
}

/// The same by a clock that was read before.
pub fn give_back_given() -> Run {
    let Hot { limiter, subject, cost, now, .. } = Hot::new(1, 1);
    timed(move || {
        let permit = limiter.reserve_at(black_box(subject), cost, *now);
        permit.map(|permit| permit.settle_at(&Cost::FREE, *now)).is_ok()
    })
}

/// The tier refuses.
pub fn denied<const METERS: usize, const TIME: bool>() -> Run {
    let Hot { limiter, subject, cost, now, .. } = Hot::spent(METERS);
    timed(move || !admits::<TIME>(limiter, subject, cost, *now))
}

/// The tier refuses, and the caller asks for how long: a 128-bit division.
pub fn denied_with_wait() -> Run {
    let Hot { limiter, subject, cost, .. } = Hot::spent(1);
    timed(move || {
        let answer = limiter.check(black_box(subject), cost);
        answer.is_err_and(|denial| denial.retry_after().is_some())
    })
}
