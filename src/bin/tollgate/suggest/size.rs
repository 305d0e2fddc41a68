//! From what was offered to limits: which share of it fits, and with what margin.
//!
//! An account's limits come from what nearly all accounts used; a total from the busiest days but one; the pool
//! of new accounts from what a total has beyond the need of the others, so that a flood of newcomers can
//! fill the pool and no more.

use super::{
    observe::{Account, DAY_MS, MEASURES, Observed, Tier, Usage},
    statistics::{busy, needed_burst, quantile, readable, readable_below, steady_sum},
};

/// Fewer accounts than this say little about others: the margin is [`FEW_MARGIN`].
pub(super) const FEW: usize = 20;
/// A margin over what a few accounts used.
pub(super) const FEW_MARGIN: f64 = 3.0;
/// The share of accounts whose busiest day fits, and the margin over it.
pub(super) const DAY: (f64, f64) = (0.999, 1.5);
/// The share of accounts whose busiest minute and ten minutes fit, and the margin over it: what is meant to bind over
/// days need not be in the way of an hour.
pub(super) const PACE: (f64, f64) = (0.999, 3.0);
/// The share of accounts whose busiest week fits, and the margin over it.
pub(super) const WEEK: (f64, f64) = (0.995, 1.1);
/// Both, for a day and for a week, where accounts are keys of programs: they differ more than persons.
pub(super) const KEYS: (f64, f64) = (0.999, 3.0);
/// The share of organizations whose use fits, and the margin over it, by measure: answers are what is harvested.
pub(super) const ORGANIZATION: (f64, [f64; MEASURES]) = (0.99, [3.0, 3.0, 1.25]);
/// A total over the busiest day but one; rounded down, so that it never passes this.
pub(super) const TOTAL: f64 = 2.0;
/// A total over the busiest day, such as a viral one.
pub(super) const TOTAL_OVER_PEAK: f64 = 1.25;
/// Room kept for accounts that are not new, over their busiest day but one.
pub(super) const SETTLED: f64 = 1.05;
/// A margin over the first week of the share of new accounts that is asked to fit.
pub(super) const FIRST_WEEK: f64 = 1.25;
/// Ages, in days, at which an account may count as new.
const AGES: [u64; 5] = [45, 60, 90, 120, 180];
/// New accounts offer at most this share of a tier's busy day: the older the pool takes them, the more honest accounts
/// share it with a flood.
const MOST_YOUNG: f64 = 1.0 / 6.0;
/// Of the tokens that a request brings along, this share of new accounts fits: the documents of the honest differ more
/// than those of a fleet.
const FIRST_INPUT: f64 = 0.98;
/// So many whole weeks' quotas have to be spent until age alone tells how far the ramp has come.
pub(super) const RAMP_WEEKS: f64 = 4.0;
/// Fewer new accounts than this say nothing of the next.
const LEAST_YOUNG: usize = 30;
/// In a tier of persons an organization has fewer accounts than this on average.
const PERSONS: f64 = 1.5;
/// A trace of fewer days says nothing of weeks.
const WEEK_DAYS: f64 = 6.0;
/// A trace of fewer days says nothing of months.
const MONTH_DAYS: f64 = 27.0;
/// The share of accounts whose day stays below what counts as light.
pub(super) const LIGHT: f64 = 0.95;
/// What a member of a cohort keeps: this part of half of the accounts' busiest week, and so much at least. A fleet has many
/// members, and each keeps it.
pub(super) const FLOOR: u64 = 16;
const LEAST_FLOOR: u64 = 2;
/// The most of a total or pool that is kept for the light: more refuses the busy while there is still room.
pub(super) const RESERVE: f64 = 0.1;
/// How many honest accounts' worth a cohort may use, and which share of accounts uses at most that each.
pub(super) const COHORT: (f64, f64) = (3.0, 0.9);

/// The limits on one meter of one subject.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Limits {
    /// A minute.
    pub(super) rate: u64,
    pub(super) burst: u64,
    pub(super) day: u64,
    pub(super) week: Option<u64>,
    pub(super) month: Option<u64>,
}

/// The limits on each measure.
pub(super) type Level = [Limits; MEASURES];

/// What is asked of new accounts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Young {
    pub(super) age_days: u64,
    pub(super) accounts: usize,
    /// The share of new accounts whose first week fits.
    pub(super) fit: f64,
    pub(super) start: f64,
    pub(super) use_requests: u64,
    /// The pool's day, by measure.
    pub(super) pool: [u64; MEASURES],
    /// What new accounts offered on their busiest day but one, and on their busiest.
    pub(super) offered: [(u64, u64); MEASURES],
}

/// The sizes of one tier.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sizes {
    pub(super) few: bool,
    /// Whether accounts are persons rather than keys of organizations.
    pub(super) persons: bool,
    /// What a shorter trace than a day was multiplied by.
    pub(super) scale: f64,
    pub(super) account: Level,
    pub(super) organization: Level,
    /// Organizations with more than one account.
    pub(super) shared_organizations: usize,
    pub(super) total: Level,
    /// The busiest day but one and the busiest day, by measure, heavy accounts trimmed.
    pub(super) days: [(u64, u64); MEASURES],
    pub(super) young: Option<Young>,
    /// Why there is no pool.
    pub(super) no_pool: Option<String>,
    pub(super) light_share: f64,
    pub(super) light_below: f64,
    pub(super) cohort: [u64; MEASURES],
    pub(super) floor: u64,
    /// Accounts that offered more requests than their own quotas, at most, and which part of all they will miss.
    pub(super) beyond: (usize, f64),
}

/// The size of every limit of `tier`.
pub(super) fn size(observed: &Observed, tier: &Tier, new_fit: f64) -> Sizes {
    let span = observed.span_days();
    let scale = (1.0 / span).clamp(1.0, 24.0);
    let few = tier.accounts.len() < FEW;
    let weeks = span >= WEEK_DAYS;
    let usages = || tier.accounts.iter().map(|account| &account.usage);
    let (persons, why) = persons(tier);
    let shares = match (few, persons) {
        (true, _) => [(1.0, FEW_MARGIN); 3],
        (false, true) => [PACE, DAY, WEEK],
        (false, false) => [PACE, KEYS, KEYS],
    };
    let account = level(usages, |_| shares, scale, weeks);
    let shared_organizations = shared(tier);
    let mut sizes = Sizes {
        few,
        persons,
        scale,
        account,
        organization: account,
        shared_organizations,
        total: Level::default(),
        days: Default::default(),
        young: None,
        no_pool: why,
        light_share: 0.0,
        light_below: 0.0,
        cohort: Default::default(),
        floor: 1,
        beyond: (0, 0.0),
    };
    let age = if persons { young_age(observed, tier) } else { None };
    if persons && age.is_none() {
        let least = LEAST_YOUNG;
        sizes.no_pool =
            Some(format!("No pool and no ramp: fewer than {least} accounts of known age were new."));
    }
    if let Some(days) = age {
        start(&mut sizes, tier, days, new_fit);
    }
    organization(&mut sizes, tier, weeks);
    totals(&mut sizes, observed, tier, weeks);
    if let Some(days) = age {
        pool(&mut sizes, observed, tier, days);
    }
    light(&mut sizes, tier);
    sizes.beyond = beyond(&sizes, tier);
    sizes
}

/// Who offered more requests than its own quotas will allow: how many accounts, and which share of the tier's requests.
fn beyond(sizes: &Sizes, tier: &Tier) -> (usize, f64) {
    let [Limits { day, week, .. }, ..] = sizes.account;
    let (mut accounts, mut missed, mut all) = (0, 0_u64, 0_u64);
    for account in &tier.accounts {
        let (mut own, mut used, mut current) = (0, 0, 0);
        for (date, [requests, ..]) in &account.usage.days {
            if date / 7 != current {
                (current, used) = (date / 7, 0);
            }
            let share = match sizes.young {
                Some(young) if account.is_young(*date, young.age_days * DAY_MS) => young.start,
                _ => 1.0,
            };
            let part = |limit: u64| (limit as f64 * share) as u64;
            let left = week.map_or(u64::MAX, |week| part(week).saturating_sub(used));
            let admitted = (*requests).min(part(day)).min(left);
            (own, used, all) = (own + requests - admitted, used + admitted, all + requests);
        }
        accounts += usize::from(own > 0);
        missed += own;
    }
    (accounts, missed as f64 / all.max(1) as f64)
}

/// Sorted values of all subjects.
fn sorted<'a>(usages: impl Iterator<Item = &'a Usage>, value: impl Fn(&Usage) -> u64) -> Vec<u64> {
    let mut values: Vec<u64> = usages.map(value).collect();
    values.sort_unstable();
    values
}

/// Limits that hold the given share of subjects with the given margin.
fn level<'a, I: Iterator<Item = &'a Usage>>(
    usages: impl Fn() -> I,
    shares: impl Fn(usize) -> [(f64, f64); 3],
    scale: f64,
    weeks: bool,
) -> Level {
    std::array::from_fn(|measure| {
        let [pace_of, day_of, week_of] = shares(measure);
        let of = |value: &dyn Fn(&Usage) -> u64, (share, margin): (f64, f64)| {
            quantile(&sorted(usages(), value), share) as f64 * margin
        };
        let day = readable(of(&|usage| usage.day(measure), day_of) * scale);
        let week = weeks.then(|| readable(of(&|usage| usage.week(measure), week_of)));
        let day = week.map_or(day, |week| day.min(week));
        let burst = readable(of(&|usage| usage.minute(measure), pace_of)).min(day);
        // A tenth of ten minutes: slower than that, a bucket would stop who keeps up that pace.
        let rate = readable(of(&|usage| usage.ten_minutes(measure), pace_of) / 10.0).min(burst);
        Limits { rate, burst, day, week, month: None }
    })
}

/// Whether accounts are persons rather than the keys of organizations, and what to say if not.
fn persons(tier: &Tier) -> (bool, Option<String>) {
    let alone = tier.accounts.iter().filter(|account| account.organization.is_none()).count();
    let organizations = tier.organizations.len() + alone;
    let each = tier.accounts.len() as f64 / organizations.max(1) as f64;
    if each < PERSONS {
        return (true, None);
    }
    let why = format!(
        "No pool and no ramp: an organization has {each:.1} accounts here, and its limits bound a new key."
    );
    (false, Some(why))
}

fn shared(tier: &Tier) -> usize {
    let mut members: Vec<_> = tier.accounts.iter().filter_map(|account| account.organization).collect();
    members.sort_unstable();
    members.chunk_by(|one, other| one == other).filter(|members| members.len() > 1).count()
}

/// What accounts for which `which` holds used on each day, at most `most` each.
fn by_day(
    observed: &Observed,
    tier: &Tier,
    measure: usize,
    most: u64,
    which: impl Fn(&Account, u64) -> bool,
) -> Vec<u64> {
    let days = observed.days();
    let first = *days.start();
    let mut sums = vec![0_u64; days.count()];
    for account in &tier.accounts {
        for (day, amounts) in &account.usage.days {
            let sum = usize::try_from(day - first).ok().and_then(|index| sums.get_mut(index));
            if let (Some(sum), Some(amount)) = (sum, amounts.get(measure))
                && which(account, *day)
            {
                *sum = sum.saturating_add((*amount).min(most));
            }
        }
    }
    sums
}

/// The oldest of [`AGES`] at which new accounts are still the smaller part of their tier.
fn young_age(observed: &Observed, tier: &Tier) -> Option<u64> {
    let all = busy(&by_day(observed, tier, 0, u64::MAX, |_, _| true)) as f64;
    let fits = |days: &&u64| {
        let age_ms = **days * DAY_MS;
        let young = busy(&by_day(observed, tier, 0, u64::MAX, |account, day| account.is_young(day, age_ms)));
        young as f64 <= MOST_YOUNG * all
    };
    let age = AGES.iter().rev().find(fits).or(AGES.first()).copied()?;
    (young_accounts(tier, age).count() >= LEAST_YOUNG).then_some(age)
}

/// Accounts that were new when first seen.
fn young_accounts(tier: &Tier, age_days: u64) -> impl Iterator<Item = &Account> {
    tier.accounts.iter().filter(move |account| {
        let first = account.usage.days.first().map_or(0, |(day, _)| *day);
        account.is_young(first, age_days * DAY_MS)
    })
}

/// The share at which a new account starts, and limits that leave it enough at that share.
fn start(sizes: &mut Sizes, tier: &Tier, age_days: u64, new_fit: f64) {
    let young = || young_accounts(tier, age_days).map(|account| &account.usage);
    let accounts = young().count();
    let of = |value: &dyn Fn(&Usage) -> u64, share: f64| {
        quantile(&sorted(young(), value), share) as f64 * FIRST_WEEK
    };
    let scale = sizes.scale;
    let week_or_day = |usage: &Usage, measure, weeks| {
        if weeks { usage.week(measure) } else { usage.day(measure) }
    };
    let [requests, ..] = sizes.account;
    let weeks = requests.week.is_some();
    let whole = requests.week.unwrap_or(requests.day) as f64;
    let first = of(&|usage| week_or_day(usage, 0, weeks), new_fit) * if weeks { 1.0 } else { scale };
    let start = (first / whole * 100.0).ceil().clamp(5.0, 100.0) / 100.0;
    for (measure, limits) in sizes.account.iter_mut().enumerate() {
        let at_start = |amount: f64| readable(amount / start);
        let share = if measure == 1 { FIRST_INPUT.max(new_fit) } else { new_fit };
        limits.week = limits.week.map(|week| week.max(at_start(of(&|usage| usage.week(measure), share))));
        limits.day = limits.day.max(at_start(of(&|usage| usage.day(measure), share) * scale));
        limits.day = limits.week.map_or(limits.day, |week| limits.day.min(week));
        limits.burst = limits.burst.max(at_start(of(&|usage| usage.minute(measure), 0.99))).min(limits.day);
        limits.rate =
            limits.rate.max(at_start(of(&|usage| usage.ten_minutes(measure), 0.99) / 10.0)).min(limits.burst);
    }
    sizes.young = Some(Young {
        age_days,
        accounts,
        fit: new_fit,
        start,
        use_requests: readable(whole * RAMP_WEEKS),
        pool: Default::default(),
        offered: Default::default(),
    });
}

fn organization(sizes: &mut Sizes, tier: &Tier, weeks: bool) {
    let observed = if sizes.shared_organizations > 0 {
        let few = tier.organizations.len() < FEW;
        let (share, margins) = ORGANIZATION;
        let shares = |measure: usize| {
            let margin = margins.get(measure).copied().unwrap_or(FEW_MARGIN);
            if few { [(1.0, FEW_MARGIN); 3] } else { [PACE, (share, margin), (share, margin)] }
        };
        level(|| tier.organizations.iter(), shares, sizes.scale, weeks)
    } else {
        Level::default()
    };
    // At least what one account may: else the account's own limits would say nothing. Where nobody was seen to
    // share, room for two.
    let times = if sizes.few || sizes.shared_organizations > 0 { 1 } else { 2 };
    let room = |amount: u64, seen: u64| readable(amount.saturating_mul(times).max(seen) as f64);
    sizes.organization = std::array::from_fn(|measure| {
        let account = sizes.account.get(measure).copied().unwrap_or_default();
        let seen = observed.get(measure).copied().unwrap_or_default();
        Limits {
            rate: room(account.rate, seen.rate),
            burst: room(account.burst, seen.burst),
            day: room(account.day, seen.day),
            week: account.week.map(|week| room(week, seen.week.unwrap_or(0))),
            month: None,
        }
    });
}

fn totals(sizes: &mut Sizes, observed: &Observed, tier: &Tier, weeks: bool) {
    let hours = |measure: usize| -> Vec<(u64, u64)> {
        tier.hours.iter().map(|(hour, sums)| (*hour, sums.get(measure).copied().unwrap_or(0))).collect()
    };
    for measure in 0..MEASURES {
        let Some(account) = sizes.account.get(measure).copied() else { continue };
        // Of each account no more than it will be allowed: one that is far above the others is not need.
        let days = by_day(observed, tier, measure, account.day, |_, _| true);
        let (high, peak) = (busy(&days), days.iter().copied().max().unwrap_or(0));

        let organization = sizes.organization.get(measure).copied().unwrap_or_default();
        let over = |margin: f64, amount: u64| amount as f64 * margin * sizes.scale;
        let day = readable_below(over(TOTAL, high))
            .max(readable(over(TOTAL_OVER_PEAK, peak)))
            .max(organization.day);
        let week = weeks.then(|| {
            let most = days.chunks(7).map(steady_sum).max().unwrap_or(0);
            readable_below(most as f64 * TOTAL)
                .max(readable(peak as f64 * TOTAL_OVER_PEAK))
                .max(day)
                .max(organization.week.unwrap_or(0))
        });
        let month = (observed.span_days() >= MONTH_DAYS).then(|| {
            let most = days.chunks(30).map(steady_sum).max().unwrap_or(0);
            readable_below(most as f64 * TOTAL).max(week.unwrap_or(day))
        });
        // Twice the pace that would use the day's quota: a flood lasts half a day at most, honest mornings fit.
        let rate = readable(day as f64 / 1440.0 * 2.0).max(organization.rate);
        let minute = tier.usage.minute(measure) as f64;
        let burst = needed_burst(&hours(measure), rate as f64 * 60.0).max(2.0 * minute) * 1.5;
        let burst = readable(burst).max(organization.burst).max(rate).min(day);
        if let (Some(limits), Some(seen)) = (sizes.total.get_mut(measure), sizes.days.get_mut(measure)) {
            *limits = Limits { rate, burst, day, week, month };
            *seen = (high, peak);
        }
    }
}

fn pool(sizes: &mut Sizes, observed: &Observed, tier: &Tier, age_days: u64) {
    let Some(young) = sizes.young.as_mut() else { return };
    let age_ms = age_days * DAY_MS;
    for measure in 0..MEASURES {
        let most = sizes.account.get(measure).map_or(0, |limits| limits.day);
        let total = sizes.total.get(measure).map_or(0, |limits| limits.day);
        let new = by_day(observed, tier, measure, most, |account, day| account.is_young(day, age_ms));
        let settled = by_day(observed, tier, measure, most, |account, day| !account.is_young(day, age_ms));
        let (high, peak) = (busy(&new), new.iter().copied().max().unwrap_or(0));
        let rest = total as f64 - busy(&settled) as f64 * sizes.scale * SETTLED;
        let least = peak as f64 * sizes.scale * TOTAL_OVER_PEAK;
        if let (Some(pool), Some(offered)) = (young.pool.get_mut(measure), young.offered.get_mut(measure)) {
            *pool = readable(rest.max(least)).min(total);
            *offered = (high, peak);
        }
    }
}

/// What counts as light, and how much of a crowded total or pool is kept for it.
fn light(sizes: &mut Sizes, tier: &Tier) {
    let of = |share: f64, value: &dyn Fn(&Usage) -> u64| {
        quantile(&sorted(tier.accounts.iter().map(|account| &account.usage), value), share)
    };
    let [requests, ..] = sizes.account;
    let below = of(LIGHT, &|usage| usage.day(0)) as f64 * sizes.scale / requests.day.max(1) as f64;
    sizes.light_below = (below * 100.0).ceil().clamp(5.0, 100.0) / 100.0;
    // No more is kept than a peak like the one that was seen left over.
    let left = |peak: u64, limit: u64| 1.0 - peak as f64 * sizes.scale * 1.05 / limit.max(1) as f64;
    let [(_, peak), ..] = sizes.days;
    let [total, ..] = sizes.total;
    let mut share = left(peak, total.day).min(RESERVE);
    if let Some(Young { pool: [pool, ..], offered: [(_, peak), ..], .. }) = sizes.young {
        share = share.min(left(peak, pool));
    }
    sizes.light_share = (share * 100.0).floor().max(0.0) / 100.0;
    let (accounts, use_share) = COHORT;
    sizes.cohort = std::array::from_fn(|measure| {
        readable(of(use_share, &|usage| usage.day(measure)) as f64 * accounts * sizes.scale)
    });
    let weeks = requests.week.is_some();
    let usual = of(0.5, &|usage| if weeks { usage.week(0) } else { usage.day(0) });
    sizes.floor = (usual / FLOOR).max(LEAST_FLOOR);
}
