//! All subjects with their buckets: the model itself, without a limiter.

use std::collections::BTreeMap;

use super::{
    bucket::{Answer, Bucket, Charge, Settled, Span, Standing, Wait},
    operation::Amounts,
    policy::{PolicyModel, RuleModel},
};

/// A level's place on the path.
pub const LEVELS: [&str; 3] = ["account", "organization", "tier"];

/// Who makes a request, in the model's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    pub tier: usize,
    pub account: u32,
    pub organization: Option<u32>,
}

/// The buckets of one subject at one level, in the order of the level's rules.
type Subjects = BTreeMap<(usize, usize, u32), Vec<Bucket>>;

/// One refusal among those of a path.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub level: &'static str,
    pub meter: &'static str,
    pub rule: String,
    pub wait: Wait,
    /// The bucket surely refuses.
    pub certain: bool,
    /// What is left in it: at least, at most.
    pub left: (u128, u128),
}

/// The charges of one admission: level, subject, and what each bucket remembers of it.
pub struct Charges {
    places: Vec<((usize, usize, u32), Vec<Charge>)>,
    reserved: Amounts,
}

pub struct World<'a> {
    policy: &'a PolicyModel,
    subjects: Subjects,
}

impl<'a> World<'a> {
    pub fn new(policy: &'a PolicyModel) -> World<'a> {
        World { policy, subjects: Subjects::new() }
    }

    fn rules(&self, level: usize, tier: usize) -> &'a [RuleModel] {
        let tier = &self.policy.tiers[tier];
        match level {
            0 => &tier.account,
            1 => &tier.organization,
            _ => &tier.total,
        }
    }

    fn path(caller: Caller) -> impl Iterator<Item = (usize, usize, u32)> {
        let Caller { tier, account, organization } = caller;
        [
            Some((0, tier, account)),
            organization.map(|organization| (1, tier, organization)),
            Some((2, tier, 0)),
        ]
        .into_iter()
        .flatten()
    }

    fn buckets(&mut self, place: (usize, usize, u32)) -> &mut Vec<Bucket> {
        let rules = self.rules(place.0, place.1);
        let origin_unix = self.policy.origin_unix;
        self.subjects
            .entry(place)
            .or_insert_with(|| rules.iter().map(|rule| Bucket::new(&rule.limit, origin_unix)).collect())
    }

    /// The instant that a request with `now` is decided with: later than `now` only if some quota that it is
    /// charged to has gone on to a later window.
    pub fn decided_at(&mut self, caller: Caller, amounts: &Amounts, now: u64) -> u64 {
        let mut at = now;
        for place in World::path(caller) {
            let rules = self.rules(place.0, place.1);
            for (rule, bucket) in rules.iter().zip(self.buckets(place).iter()) {
                if amounts[rule.meter] > 0 {
                    at = at.max(bucket.opened());
                }
            }
        }
        at
    }

    /// The answer of all buckets together, and all that refuse or may.
    pub fn judge(
        &mut self,
        caller: Caller,
        amounts: &Amounts,
        now: u64,
        permit: bool,
    ) -> (Answer, Vec<Refusal>) {
        let (mut answer, mut refusals) = (Answer::Admit, Vec::new());
        for place in World::path(caller) {
            let rules = self.rules(place.0, place.1);
            let meters = &self.policy.meters;
            for (rule, bucket) in rules.iter().zip(self.buckets(place).iter()) {
                let (own, wait) = bucket.judge(bucket.asked(amounts[rule.meter], permit), now);
                if own == Answer::Admit {
                    continue;
                }
                if own == Answer::Refuse || answer == Answer::Admit {
                    answer = own;
                }
                refusals.push(Refusal {
                    level: LEVELS[place.0],
                    meter: meters[rule.meter],
                    rule: rule.name.clone(),
                    wait,
                    certain: own == Answer::Refuse,
                    left: bucket.standing(now).left,
                });
            }
        }
        (answer, refusals)
    }

    /// Charges every bucket on the path.
    pub fn charge(&mut self, caller: Caller, amounts: &Amounts, now: u64, permit: bool) -> Charges {
        let places = World::path(caller)
            .map(|place| {
                let rules = self.rules(place.0, place.1);
                let charges = rules
                    .iter()
                    .zip(self.buckets(place).iter_mut())
                    .map(|(rule, bucket)| {
                        bucket.charge(bucket.asked(amounts[rule.meter], permit), now, permit)
                    })
                    .collect();
                (place, charges)
            })
            .collect();
        Charges { places, reserved: *amounts }
    }

    /// Settles every bucket on the path: by meter, the largest of what was clipped and of what was cut.
    pub fn settle(&mut self, charges: &Charges, actual: &Amounts, now: u64) -> [Settled; 3] {
        let mut settled = [Settled::default(); 3];
        for (place, charges_of) in &charges.places {
            let rules = self.rules(place.0, place.1);
            let buckets = self.buckets(*place);
            for ((rule, bucket), charge) in rules.iter().zip(buckets).zip(charges_of) {
                let meter = rule.meter;
                let reserved = bucket.asked(charges.reserved[meter], true);
                let own = bucket.settle(charge, reserved, actual[meter], now);
                let largest = |a: (u128, u128), b: (u128, u128)| (a.0.max(b.0), a.1.max(b.1));
                settled[meter].clipped = largest(settled[meter].clipped, own.clipped);
                settled[meter].cut = largest(settled[meter].cut, own.cut);
            }
        }
        settled
    }

    /// Where every bucket of a caller stands: level, meter, rule.
    pub fn standings(
        &mut self,
        caller: Caller,
        now: u64,
    ) -> Vec<(&'static str, &'static str, String, Standing)> {
        let mut standings = Vec::new();
        for place in World::path(caller) {
            let rules = self.rules(place.0, place.1);
            let meters = &self.policy.meters;
            for (rule, bucket) in rules.iter().zip(self.buckets(place).iter()) {
                standings.push((
                    LEVELS[place.0],
                    meters[rule.meter],
                    rule.name.clone(),
                    bucket.standing(now),
                ));
            }
        }
        standings
    }
}

/// The wait that a denial should tell: the longest of all, *never* before any, a release after all. Bounds
/// where only time decides.
pub fn longest(refusals: &[Refusal]) -> Wait {
    let certain = |refusal: &&Refusal| refusal.certain;
    if refusals.iter().any(|refusal| refusal.wait == Wait::Never) {
        return Wait::Never;
    }
    let waits = |refusal: &Refusal| match refusal.wait {
        Wait::After(span) => Some(span),
        Wait::OnRelease | Wait::Never => None,
    };
    let sure = refusals.iter().filter(certain).filter_map(waits).map(|span| span.low).max();
    let high = refusals.iter().filter_map(waits).map(|span| span.high).max();
    match high {
        Some(high) => Wait::After(Span { low: sure.unwrap_or(1), high }),
        None => Wait::OnRelease,
    }
}
