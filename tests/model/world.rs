//! All subjects with their buckets: the model itself, without a limiter.

use std::collections::BTreeMap;

use super::{
    bucket::{Answer, Bucket, Charge, Limit, Rate, Settled, Span, Standing, Wait},
    calendar::Period,
    operation::Amounts,
    policy::{GuardModel, METERS, PolicyModel, RuleModel},
};

/// A level's place on the path.
pub const LEVELS: [&str; 4] = ["account", "organization", "pool", "tier"];
const POOL: usize = 2;
const TIER: usize = 3;

/// Who makes a request, in the model's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    pub tier: usize,
    pub account: u32,
    pub organization: Option<u32>,
    /// Unix nanoseconds; `None` where nobody tells.
    pub since: Option<i64>,
    /// The zone of the organization, by its place in the policy's list.
    pub zone: Option<usize>,
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
    /// What is left in it for the caller: at least, at most.
    pub left: (u128, u128),
    /// What is kept from the caller, of what the bucket has.
    pub withheld: u64,
}

/// The charges of one admission: level, subject, and what each bucket remembers of it.
pub struct Charges {
    caller: Caller,
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
            POOL => tier.guard.as_ref().map_or(&[], |guard| &guard.pool),
            _ => &tier.total,
        }
    }

    /// How old an account is that is new at `at`, with what makes it new.
    pub fn new_at(&self, caller: Caller, at: u64) -> Option<(u64, &'a GuardModel)> {
        let guard = self.policy.tiers[caller.tier].guard.as_ref()?;
        let unix = self.policy.origin_unix.saturating_add_unsigned(at);
        let age = u64::try_from(unix.saturating_sub(caller.since?)).unwrap_or(0);
        (age < guard.age()).then_some((age, guard))
    }

    fn path(&self, caller: Caller, at: u64) -> impl Iterator<Item = (usize, usize, u32)> + use<> {
        let Caller { tier, account, organization, .. } = caller;
        [
            Some((0, tier, account)),
            organization.map(|organization| (1, tier, organization)),
            self.new_at(caller, at).map(|_| (POOL, tier, 0)),
            Some((TIER, tier, 0)),
        ]
        .into_iter()
        .flatten()
    }

    /// What of a rule the caller of `amounts` cannot have at `at`, whatever is left of it.
    ///
    /// Of its own rates and quotas, a new account has a part. Of what many share, the last part is for those who, with what
    /// they ask for, have used a small part of their own day.
    fn withheld(
        &mut self,
        caller: Caller,
        amounts: &Amounts,
        at: u64,
        level: usize,
        rule: &RuleModel,
    ) -> u64 {
        let account = (0, caller.tier, caller.account);
        let own = (at, self.ahead(caller, 0));
        let own_rules = self.rules(0, caller.tier);
        match (level, &rule.limit) {
            (0, Limit::Rate(Rate { burst: most, .. }) | Limit::Quota { limit: most, .. }) => {
                let Some((age, guard)) = self.new_at(caller, at) else { return 0 };
                let counts = own_rules.iter().position(RuleModel::only_counts).expect("the ramp's");
                let used = self.buckets(account)[counts].used(own);
                let has = u128::from(*most) * guard.share(age, used) / 10_000;
                most - u64::try_from(has).expect("at most all of it")
            }
            // What is in flight comes back.
            (_, Limit::InFlight { .. }) => 0,
            (POOL | TIER, limit) => {
                let Some(guard) = &self.policy.tiers[caller.tier].guard else { return 0 };
                let day = own_rules.iter().position(|own| {
                    own.meter == rule.meter && matches!(own.limit, Limit::Quota { period: Period::Day, .. })
                });
                let Some(day) = day else { return 0 };
                let (share, below) = guard.light;
                let part = |most: u64, hundredths: u64| u128::from(most) * u128::from(hundredths) / 100;
                let used = self.buckets(account)[day].used(own) + u128::from(amounts[rule.meter]);
                if used <= part(own_rules[day].limit.most(), below) {
                    return 0;
                }
                u64::try_from(part(limit.most(), share)).expect("a part of it")
            }
            _ => 0,
        }
    }

    /// How far the clock is ahead by which a level's quotas count for a caller.
    fn ahead(&self, caller: Caller, level: usize) -> i64 {
        let follows = level < POOL;
        caller.zone.filter(|_| follows).map_or(0, |zone| self.policy.zones[zone].1)
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
        loop {
            let before = at;
            for place in self.path(caller, before) {
                let rules = self.rules(place.0, place.1);
                for (rule, bucket) in rules.iter().zip(self.buckets(place).iter()) {
                    if amounts[rule.meter] > 0 {
                        at = at.max(bucket.opened());
                    }
                }
            }
            // Who is no longer new then is not charged to the pool.
            if at == before {
                return at;
            }
        }
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
        for place in self.path(caller, now) {
            let rules = self.rules(place.0, place.1);
            let when = (now, self.ahead(caller, place.0));
            for (index, rule) in rules.iter().enumerate() {
                let withheld = self.withheld(caller, amounts, now, place.0, rule);
                let bucket = &self.buckets(place)[index];
                let asked = bucket.asked(amounts[rule.meter], permit);
                let (mut own, mut wait) = bucket.judge(asked, when, 0);
                let mut left = bucket.standing(when).left;
                // Only what the bucket has is withheld.
                if own != Answer::Refuse && withheld > 0 {
                    let (with_less, longer) = bucket.judge(asked, when, withheld);
                    let least = left.0.saturating_sub(u128::from(withheld));
                    (left, wait) = match own {
                        Answer::Either => ((least, left.1), either(wait, longer)),
                        _ => ((least, left.1.saturating_sub(u128::from(withheld))), longer),
                    };
                    if with_less != Answer::Admit {
                        own = with_less;
                    }
                }
                if own == Answer::Admit {
                    continue;
                }
                if own == Answer::Refuse || answer == Answer::Admit {
                    answer = own;
                }
                refusals.push(Refusal {
                    level: LEVELS[place.0],
                    meter: self.policy.meters[rule.meter],
                    rule: rule.name.clone(),
                    wait,
                    certain: own == Answer::Refuse,
                    left,
                    withheld,
                });
            }
        }
        (answer, refusals)
    }

    /// Charges every bucket on the path.
    pub fn charge(&mut self, caller: Caller, amounts: &Amounts, now: u64, permit: bool) -> Charges {
        let places = self
            .path(caller, now)
            .map(|place| {
                let rules = self.rules(place.0, place.1);
                let when = (now, self.ahead(caller, place.0));
                let charges = rules
                    .iter()
                    .zip(self.buckets(place).iter_mut())
                    .map(|(rule, bucket)| {
                        bucket.charge(bucket.asked(amounts[rule.meter], permit), when, permit)
                    })
                    .collect();
                (place, charges)
            })
            .collect();
        Charges { caller, places, reserved: *amounts }
    }

    /// Settles every bucket on the path: by meter, the largest of what was clipped and of what was cut.
    pub fn settle(&mut self, charges: &Charges, actual: &Amounts, now: u64) -> [Settled; 3] {
        let mut settled = [Settled::default(); 3];
        for (place, charges_of) in &charges.places {
            let rules = self.rules(place.0, place.1);
            let when = (now, self.ahead(charges.caller, place.0));
            let buckets = self.buckets(*place);
            for ((rule, bucket), charge) in rules.iter().zip(buckets).zip(charges_of) {
                let meter = rule.meter;
                let reserved = bucket.asked(charges.reserved[meter], true);
                let own = bucket.settle(charge, reserved, actual[meter], when);
                let largest = |a: (u128, u128), b: (u128, u128)| (a.0.max(b.0), a.1.max(b.1));
                settled[meter].clipped = largest(settled[meter].clipped, own.clipped);
                settled[meter].cut = largest(settled[meter].cut, own.cut);
            }
        }
        settled
    }

    /// Where every bucket of a caller stands, and what of it is kept from one that asks for 1 of every meter.
    pub fn standings(
        &mut self,
        caller: Caller,
        now: u64,
    ) -> Vec<(&'static str, &'a RuleModel, Standing, u64)> {
        let mut standings = Vec::new();
        for place in self.path(caller, now) {
            for (index, rule) in self.rules(place.0, place.1).iter().enumerate() {
                let withheld = self.withheld(caller, &[1; METERS], now, place.0, rule);
                let when = (now, self.ahead(caller, place.0));
                let standing = self.buckets(place)[index].standing(when);
                standings.push((LEVELS[place.0], rule, standing, withheld));
            }
        }
        standings
    }
}

/// One of two waits, either of which may be told.
fn either(one: Wait, other: Wait) -> Wait {
    match (one, other) {
        (Wait::After(one), Wait::After(other)) => {
            Wait::After(Span { low: one.low.min(other.low), high: one.high.max(other.high) })
        }
        (one, _) => one,
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
