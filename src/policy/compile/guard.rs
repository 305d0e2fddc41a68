//! What a tier does against fleets, and what is observed: every check of these, and nothing that would silently do
//! nothing.

use super::{Compiler, listed, rules::Placed};
use crate::{
    calendar::Period,
    decision::Name,
    meter::{MAX_METERS, Meter},
    policy::{
        error::{KeyPath, nearest},
        plan::{
            EvidencePlan, GuardPlan, KINDS, Limit, MAX_ATTRIBUTES, MAX_SIGNALS, OwnUse, Quota, Ramp, Rule,
            SignalPlan, UNLIMITED,
        },
        quantity::{Share, Span, WindowLimit},
        spec::{PolicyEvidence, PolicyRamp, PolicyTier},
    },
};

/// As old as this, no account is new: ten years.
const LONGEST_AGE: u64 = 10 * 365 * 86_400_000_000_000;
/// How long evidence takes to weigh half, where the policy does not say.
const HALF_LIFE: u64 = 24 * 3_600_000_000_000;
/// Bits of a signal, and the most on one account, where the policy does not say.
const WEIGHT: u64 = 3;
const CAP: u64 = 12;
/// The most bits of either.
const MOST_BITS: u64 = 24;
/// The most that evidence may be multiplied by.
const MOST_SENSITIVITY: Share = Share(4 * Share::ONE.0);

/// The rules of the levels of a tier that a guard refers to.
pub(super) struct Levels<'a> {
    pub(super) account: &'a mut Vec<Placed>,
    pub(super) total: &'a mut Vec<Placed>,
    pub(super) pool: Vec<Placed>,
    pub(super) cohort: Vec<Placed>,
}

impl Compiler<'_> {
    pub(super) fn guard(&mut self, path: &KeyPath, tier: &PolicyTier, levels: Levels<'_>) -> GuardPlan {
        let Levels { account, total, mut pool, mut cohort } = levels;
        self.check_binding(&[&pool, total], 1);
        self.check_binding(&[&cohort, total], 1);
        let ramp = self.ramp(&path.key("ramp"), tier, account);
        let sensitivity = tier.sensitivity.unwrap_or(Share::ONE);
        self.check_evidence_is_used(path, tier, sensitivity);
        if pool.is_empty() && tier.ramp.as_ref().is_some_and(|ramp| ramp.start.is_none()) {
            let message = "does nothing: give new accounts a `start` below 1, or give them a `pool`";
            self.problem(&path.key("ramp"), message);
        }
        if !pool.is_empty() && ramp.age == 0 {
            let message =
                "holds nobody: say in `ramp.age` until when an account is new, such as `age = \"30d\"`";
            self.problem(&path.key("pool"), message);
        }
        let light = self.light(&path.key("light_reserve"), tier, account, [total, &mut pool]);
        let floor = self.floor(&path.key("floor"), tier, account, &cohort);
        let step_up = self.step_up(&path.key("step_up"), tier, path);
        // What a cohort or a pool does not limit is not charged there.
        cohort.retain(|placed| placed.rule.limit.is_bounding());
        GuardPlan {
            pool: self.finish_level(&path.key("pool"), pool),
            ramp,
            cohort: self.finish_level(&path.key("cohort"), cohort),
            floor,
            light,
            sensitivity,
            on_stall: tier.on_stall,
            step_up,
        }
    }

    fn check_evidence_is_used(&mut self, path: &KeyPath, tier: &PolicyTier, sensitivity: Share) {
        if self.policy.evidence.is_none() {
            for (key, said) in
                [("cohort", !tier.cohort.is_empty()), ("sensitivity", tier.sensitivity.is_some())]
            {
                if said {
                    let message = "does nothing: the policy observes nothing; add an `[evidence]` table";
                    self.problem(&path.key(key), message);
                }
            }
        }
        if sensitivity > MOST_SENSITIVITY {
            let message = format!("{sensitivity} is out of range; expected 0 to 4");
            self.problem(&path.key("sensitivity"), message);
        }
    }

    fn ramp(&mut self, path: &KeyPath, tier: &PolicyTier, account: &mut Vec<Placed>) -> Ramp {
        let Some(PolicyRamp { age, usage, start }) = &tier.ramp else { return Ramp::default() };
        let Some(Span { nanos: age }) = *age else {
            self.problem(path, "has no `age`; say until when an account is new, such as `age = \"30d\"`");
            return Ramp::default();
        };
        if age > LONGEST_AGE {
            self.problem(&path.key("age"), "is out of range; expected at most 10 years");
        }
        let start = start.unwrap_or(Share::ONE);
        if start > Share::ONE {
            self.problem(&path.key("start"), format!("{start} is out of range; expected 0 to 1"));
        }
        if start == Share::ONE && !usage.is_empty() {
            let message =
                "counts for nothing where an account has its whole limits at once; give it a `start`";
            self.problem(&path.key("use"), message);
        }
        for placed in account.iter() {
            let (limit, least) = (&placed.rule.limit, self.least(placed.rule.meter));
            if matches!(limit, Limit::Rate(_) | Limit::Quota(_)) && start.of(limit.most()) < least {
                let message = format!(
                    "{start} of {} ({}) admits nothing; a request takes at least {least}",
                    placed.path,
                    limit.most()
                );
                self.problem(&path.key("start"), message);
            }
        }
        let mut counted = Vec::new();
        for (name, amount) in usage {
            let path = path.key("use").key(name);
            let Some((meter, _)) = self.meter(&path, name) else { continue };
            if amount.0 == 0 {
                self.problem(&path, "0 is always settled; leave it out, or name an amount");
            }
            if let Some(name) = Name::new("settled") {
                let limit = Limit::Budget { limit: UNLIMITED };
                let rule = Rule::plain(name, meter, limit);
                account.push(Placed { rule, path: path.clone() });
                counted.push((meter, amount.0 / self.replicas));
            }
        }
        account.sort_by_key(|placed| placed.rule.meter.index());
        let usage = counted.into_iter().filter_map(|(meter, most)| {
            let only_counts = |placed: &Placed| {
                placed.rule.limit == Limit::Budget { limit: UNLIMITED } && placed.rule.meter == meter
            };
            let rule = u8::try_from(account.iter().position(only_counts)?).ok()?;
            Some(OwnUse { rule, most })
        });
        Ramp { age, usage: usage.collect(), start }
    }

    fn least(&self, meter: Meter) -> u64 {
        self.policy.meters.get(meter.index()).map_or(1, |meter| meter.least.0.max(1))
    }

    /// Who is light, by meter; notes on the rules of `shared` how much of each is reserved for these.
    fn light(
        &mut self,
        path: &KeyPath,
        tier: &PolicyTier,
        account: &[Placed],
        shared: [&mut Vec<Placed>; 2],
    ) -> [Option<OwnUse>; MAX_METERS] {
        let mut light = [None; MAX_METERS];
        let Some(reserve) = &tier.light_reserve else { return light };
        let (Some(share), Some(below)) = (reserve.share, reserve.below) else {
            let message =
                "needs a `share` of the total and who it is for, such as `{ share = 0.25, below = 0.2 }`";
            self.problem(path, message);
            return light;
        };
        for (key, part) in [("share", share), ("below", below)] {
            if part == Share(0) || part >= Share::ONE {
                self.problem(
                    &path.key(key),
                    format!("{part} is out of range; expected more than 0 and less than 1"),
                );
            }
        }
        let mut any = false;
        for placed in shared.into_iter().flatten() {
            let rule = &mut placed.rule;
            if !rule.limit.is_bounding() {
                continue;
            }
            let Some((index, own)) = own_quota(account, rule.meter, Period::Day) else { continue };
            let most = below.of(own.limit);
            if let (Some(place), Ok(index)) = (light.get_mut(rule.meter.index()), u8::try_from(index)) {
                *place = Some(OwnUse { rule: index, most });
                rule.reserved = share.of(rule.limit.most());
                any = true;
            }
        }
        if !any {
            let message = "keeps nothing: no meter is limited both by the total (or the pool) and by a day quota of \
                           the account, which says who is light; add one, such as `{ quota = \"200/day\" }`";
            self.problem(path, message);
        }
        light
    }

    fn floor(
        &mut self,
        path: &KeyPath,
        tier: &PolicyTier,
        account: &[Placed],
        cohort: &[Placed],
    ) -> [Option<OwnUse>; MAX_METERS] {
        let mut floor = [None; MAX_METERS];
        for (name, WindowLimit { tokens, period }) in &tier.floor {
            let path = path.key(name);
            let Some((meter, _)) = self.meter(&path, name) else { continue };
            if !cohort.iter().any(|placed| placed.rule.meter == meter) {
                let message = format!("does nothing: no rule of `cohort` limits {name}");
                self.problem(&path, message);
            }
            let Some((index, own)) = own_quota(account, meter, *period) else {
                let message = format!(
                    "is counted by the account's own quota of a {period}, and there is none; \
                     add one, such as `{{ quota = \"200/{period}\" }}`"
                );
                self.problem(&path, message);
                continue;
            };
            let most = tokens / self.replicas;
            if most > own.limit {
                let message = format!("is more than the account's own quota of {} a {period}", own.limit);
                self.problem(&path, message);
            }
            if let (Some(place), Ok(rule)) = (floor.get_mut(meter.index()), u8::try_from(index)) {
                *place = Some(OwnUse { rule, most });
            }
        }
        floor
    }

    fn step_up(&mut self, path: &KeyPath, tier: &PolicyTier, of: &KeyPath) -> Name {
        let Some(name) = tier.step_up.as_deref() else { return Name::default() };
        let tiers = &self.policy.tiers;
        if !tiers.contains_key(name) {
            let known = tiers.keys().map(String::as_str);
            let hint = match nearest(name, known.clone()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("expected one of {}", listed(known)),
            };
            self.problem(path, format!("there is no tier {name:?}; {hint}"));
        } else if *of == KeyPath::root().key("tiers").key(name) {
            self.problem(path, "is this tier itself, which lifts nothing");
        }
        Name::new(name).unwrap_or_default()
    }

    pub(super) fn evidence(&mut self, path: &KeyPath) -> Option<EvidencePlan> {
        let PolicyEvidence { attributes, kinds, meter, half_life, shadow, signals } =
            self.policy.evidence.as_ref()?;
        if attributes.len() > MAX_ATTRIBUTES {
            let message = format!("names {} attributes; at most {MAX_ATTRIBUTES} fit", attributes.len());
            self.problem(&path.key("attributes"), message);
        }
        let mut names: Vec<Name> = Vec::new();
        for (index, name) in attributes.iter().enumerate() {
            let path = path.key("attributes").index(index);
            let Some(name) = self.name(&path, "attribute", name) else { continue };
            if names.contains(&name) {
                self.problem(&path, format!("the attribute `{name}` is named twice"));
            }
            names.push(name);
        }
        let mut counted = 0;
        for (index, name) in kinds.iter().enumerate() {
            match KINDS.iter().position(|kind| kind == name) {
                Some(kind) => counted |= 1 << kind,
                None => {
                    let message =
                        format!("there is no kind {name:?}; expected some of {}", listed(KINDS.into_iter()));
                    self.problem(&path.key("kinds").index(index), message);
                }
            }
        }
        if kinds.is_empty() {
            counted = (1 << KINDS.len()) - 1;
        }
        if signals.len() > MAX_SIGNALS {
            let message = format!("names {} kinds; at most {MAX_SIGNALS} fit", signals.len());
            self.problem(&path.key("signals"), message);
        }
        let meter =
            meter.as_ref().and_then(|name| self.meter(&path.key("meter"), name)).map(|(meter, _)| meter);
        let half_life = half_life.map_or(HALF_LIFE, |span| span.nanos);
        let mut of_signals = Vec::new();
        for (name, signal) in signals {
            let path = path.key("signals").key(name);
            let bits = |compiler: &mut Self, key: &str, bits: u64| {
                if !(1..=MOST_BITS).contains(&bits) {
                    let message = format!("{bits} is out of range; expected 1 to {MOST_BITS}");
                    compiler.problem(&path.key(key), message);
                }
                u32::try_from(bits).unwrap_or(u32::MAX)
            };
            let weight = bits(self, "weight", signal.weight.map_or(WEIGHT, |weight| weight.0));
            let cap = bits(self, "cap", signal.cap.map_or(CAP, |cap| cap.0));
            if cap < weight {
                let message = format!("{cap} is less than the weight of one signal, {weight}");
                self.problem(&path.key("cap"), message);
            }
            let half_life = signal.half_life.map_or(half_life, |span| span.nanos);
            of_signals.extend(self.name(&path, "signal", name).map(|name| SignalPlan {
                name,
                weight,
                cap,
                half_life,
            }));
        }
        Some(EvidencePlan {
            attributes: names,
            kinds: counted,
            meter,
            half_life,
            shadow: *shadow,
            signals: of_signals,
        })
    }
}

/// The account's quota of `period` on `meter`.
fn own_quota(account: &[Placed], meter: Meter, period: Period) -> Option<(usize, Quota)> {
    account.iter().enumerate().find_map(|(index, placed)| match placed.rule.limit {
        Limit::Quota(quota) if placed.rule.meter == meter && quota.period == period => Some((index, quota)),
        _ => None,
    })
}
