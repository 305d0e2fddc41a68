//! Usage: what was counted, for a customer, a bill, an operator. It reads the live tables, and needs no store.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
};

use super::{Limiter, Shared, Whom};
use crate::{
    bucket::Moment,
    calendar::Period,
    checkpoint::{Counted, Usage, counted},
    decision::{Level, Name},
    id::Fingerprint,
    meter::Meter,
    path::Found,
    policy::book::Book,
};

impl Limiter {
    /// What the quotas and budgets of an account, an organization or a tier have counted of `meter`; of `period`, only the
    /// quotas of windows of that length. Empty for whom nothing is known. Allocates: not for the
    /// request path.
    ///
    /// ```
    /// use tollgate::{Cost, Limiter, Period, Plan, Whom};
    ///
    /// let plan = Plan::from_toml(
    ///     r#"
    ///     version = 1
    ///     meters = ["requests"]
    ///     capacity = { accounts = 1000, organizations = 100 }
    ///     [tiers.free]
    ///     total = "unlimited"
    ///     account.requests = [{ quota = "10/day" }, { quota = "200/month" }]
    ///     "#,
    /// )?;
    /// let limiter = Limiter::builder(plan).build()?;
    /// let (free, requests) = (limiter.tier("free").unwrap(), limiter.meter("requests").unwrap());
    /// let caller = limiter.identity(free, "acct_17");
    /// assert!(limiter.check(&caller, &Cost::of(requests, 3)).is_ok());
    ///
    /// let month = limiter.usage(Whom::Account(&caller), requests, Some(Period::Month));
    /// assert_eq!((month[0].used, month[0].limit), (3, Some(200)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn usage(&self, whom: Whom<'_>, meter: Meter, period: Option<Period>) -> Vec<Counted> {
        let shared = &self.shared;
        let book = shared.books.copy();
        let moment = match whom {
            Whom::Account(identity) | Whom::Organization(identity) => {
                shared.moment_in(&book, identity.zone, self.now())
            }
            Whom::Tier(_) => shared.moment(&book, self.now()),
        };
        let lines = &shared.lines;
        let found = match whom {
            Whom::Account(identity) => lines.kept_of(&book, Level::Account, &identity.account, &moment),
            Whom::Organization(identity) => identity
                .organization
                .as_ref()
                .and_then(|key| lines.kept_of(&book, Level::Organization, key, &moment)),
            Whom::Tier(tier) => lines.kept_total(&book, tier.as_u8(), &moment),
        };
        let usage = found.and_then(|found| shared.usage_of(&book, found, &moment));
        let name = book.plan.meters.get(meter.index()).map(|meter| meter.name);
        let mut counted = usage.map_or(Vec::new(), |usage| usage.counted);
        counted.retain(|one| Some(one.meter) == name && (period.is_none() || one.period == period));
        counted
    }

    /// Goes through all accounts, organizations and tiers of which something is known. An account or organization that moves
    /// between tables meanwhile may be met twice, or not. Nobody waits for it.
    ///
    /// Integers and UUIDs are told as they are, texts as [`fingerprint`](Limiter::fingerprint)s to be joined on,
    /// organizations and tiers by name.
    pub fn export(&self) -> Export {
        Export { limiter: self.clone(), place: 0 }
    }

    /// The `n` accounts of which most of `meter` was counted, the largest first: by the rule of each that looks back furthest,
    /// a budget before a quota by month, week, day, hour, minute. Goes through all accounts, as [`export`](Limiter::export) does;
    /// each is told once, as it was when it was gone by. Fewer than `n` where there are fewer of whom anything was counted.
    pub fn top(&self, n: usize, meter: Meter) -> Vec<Usage> {
        let plan = self.plan();
        let Some(meter) = plan.meters.get(meter.index()).map(|meter| meter.name) else { return Vec::new() };
        let (mut most, mut of) = (BTreeMap::new(), HashMap::new());
        for usage in self.export().filter(|usage| usage.level == Level::Account) {
            let Some(used) = furthest(&usage, &meter).filter(|used| *used > 0) else { continue };
            // Who moves between tables meanwhile may be met twice.
            let met = of.get(&usage.id).copied().unwrap_or(0);
            if met >= used {
                continue;
            }
            most.remove(&(Reverse(met), usage.id));
            of.insert(usage.id, used);
            most.insert((Reverse(used), usage.id), usage);
            if most.len() > n
                && let Some(((_, least), _)) = most.pop_last()
            {
                of.remove(&least);
            }
        }
        most.into_values().collect()
    }

    /// What stands for a text id in usage and checkpoints.
    pub fn fingerprint(&self, id: &str) -> Fingerprint {
        self.shared.fingerprints.of_text(id)
    }
}

/// What the rule on `meter` that looks back furthest has counted.
fn furthest(usage: &Usage, meter: &Name) -> Option<u64> {
    let of_meter = usage.counted.iter().filter(|one| one.meter == *meter);
    of_meter
        .max_by_key(|one| one.period.map_or(Period::ALL.len(), |period| period as usize))
        .map(|one| one.used)
}

/// What was counted of everybody: made by [`Limiter::export`].
#[derive(Clone, Debug)]
pub struct Export {
    limiter: Limiter,
    place: usize,
}

impl Iterator for Export {
    type Item = Usage;

    fn next(&mut self) -> Option<Usage> {
        let shared = &self.limiter.shared;
        let usage = (self.place..shared.lines.places()).find_map(|place| {
            self.place = place + 1;
            shared.usage_at(place)
        });
        if usage.is_none() {
            self.place = shared.lines.places();
        }
        usage
    }
}

impl Shared {
    fn usage_at(&self, place: usize) -> Option<Usage> {
        // What holds nobody is told by one word.
        self.lines.stamp(place)?;
        let book = self.books.copy();
        let moment = self.moment(&book, self.now());
        let found = self.lines.kept(&book, place, &moment)?;
        self.usage_of(&book, found, &moment).filter(|usage| !usage.counted.is_empty())
    }

    /// What was counted of a subject, or of a tier's total, that was found under the rules of `book`.
    fn usage_of(&self, book: &Book, found: Found, moment: &Moment<'_>) -> Option<Usage> {
        let (level, tier, id, words) = match found {
            Found::Subject(level, kept) => (level, kept.tier, Some(kept.id), kept.words),
            Found::Shared { level: Level::Tier, tier, words, .. } => (Level::Tier, tier, None, words),
            Found::Shared { .. } => return None,
        };
        let tier = book.plan.tiers.get(usize::from(tier))?;
        let meters: Vec<Name> = book.plan.meters.iter().map(|meter| meter.name).collect();
        Some(Usage {
            level,
            tier: tier.name,
            id,
            name: id.and_then(|id| self.names.of(level, id)),
            counted: counted(&meters, &tier.level(level).rules, &words, moment),
        })
    }
}
