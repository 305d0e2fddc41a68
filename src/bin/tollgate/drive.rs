//! A policy over a trace: the very same `Limiter`, on a simulated clock.
//!
//! Each row reserves one request, its input, and an estimate of its output; if it is admitted, it settles its
//! real output once a modelled answer has been written. Permits wait for that in a heap ordered by time, so
//! that limits on what is in flight, refunds and overage take part, the same way in every run.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    num::NonZeroU64,
};

use tollgate::{
    Attribute, Attributes, Caller, Cost, Denial, DescribedLevel, Description, Identity, Level, Limiter,
    ManualClock, Meter, Permit, Plan, Tier,
};

use crate::{
    decisions::Decisions,
    failure::Failure,
    meters::Meters,
    record::{Class, Watch, Watched},
    row::{Batch, Names, Row, Symbol},
    score::{Refusal, Score},
};

/// A trace's time 0 on the wall clock: 2026-01-05T00:00:00Z, a Monday.
pub(crate) const EPOCH_NS: i64 = 1_767_571_200_000_000_000;

/// An answer begins after this long, in milliseconds.
const ANSWER_DELAY_MS: u64 = 500;
/// And is written at this many output tokens a second.
const ANSWER_TOKENS_PER_SECOND: u64 = 60;

/// The key of fingerprints, but for a number. A replay has no secrets, and is the same every time.
const SECRET: [u8; 16] = *b"tollgate replay ";

const NS_PER_MS: u64 = 1_000_000;
/// Between two calls of maintenance.
const MAINTENANCE_NS: u64 = 60_000 * NS_PER_MS;

/// Numbers in the order of first appearance, so that nothing depends on what a trace calls anybody.
#[derive(Debug, Default)]
struct Numbers(HashMap<u64, u64>);

impl Numbers {
    fn number(&mut self, name: u64) -> u64 {
        let next = self.0.len() as u64;
        *self.0.entry(name).or_insert(next)
    }
}

/// The policy's attributes that a trace has columns for.
#[derive(Clone, Copy, Debug)]
struct Named {
    address: Option<Attribute>,
    payment: Option<Attribute>,
    client: Option<Attribute>,
    template: Option<Attribute>,
    model: Option<Attribute>,
}

/// An identity that was built once, and what from.
#[derive(Clone, Copy)]
struct Known {
    tier: Symbol,
    organization: Option<Symbol>,
    since_ms: Option<i64>,
    identity: Identity,
}

/// An answer being written.
struct Answer {
    permit: Permit<'static>,
    actual: Cost,
}

/// What each tier was admitted, in the order of the policy's meters.
#[derive(Clone, Debug)]
pub(crate) struct Admitted {
    pub(crate) tier: Box<str>,
    pub(crate) amounts: Vec<u64>,
    /// What its honest accounts offered.
    pub(crate) honest: Vec<u64>,
}

/// A limiter that lives through a trace.
pub(crate) struct Driver {
    limiter: Limiter,
    clock: ManualClock,
    /// Where the trace came from, for messages.
    source: String,
    output_estimate: u32,
    meters: Meters,
    /// By position in the policy.
    handles: Vec<Option<Meter>>,
    tiers: Vec<Tier>,
    /// By label: whether it is an honest one.
    honest: Vec<bool>,
    admitted: Vec<Admitted>,
    attributes: Named,
    /// The values of each of these.
    values: [Numbers; 5],
    accounts: Numbers,
    organizations: Numbers,
    maintained_ns: u64,
    known: Vec<Option<Known>>,
    /// When an answer ends (nanoseconds), a running number, and its place in `answers`.
    ends: BinaryHeap<Reverse<(u64, u64, usize)>>,
    answers: Vec<Option<Answer>>,
    free: Vec<usize>,
    sequence: u64,
    score: Score,
    decisions: Option<Decisions>,
    /// What looks on, where that is asked for.
    watch: Option<Watch>,
}

/// A trace that is over.
pub(crate) struct Driven {
    pub(crate) score: Score,
    pub(crate) admitted: Vec<Admitted>,
    pub(crate) limiter: Limiter,
    /// Where somebody looked on.
    pub(crate) watched: Option<Watched>,
}

impl Driver {
    pub(crate) fn new(
        plan: Plan,
        source: String,
        output_estimate: u32,
        secret: u64,
    ) -> Result<Driver, Failure> {
        let description = plan.describe();
        let allowance = cohort_allowance(&description);
        let names: Vec<String> =
            description.meters.iter().map(|meter| meter.name.as_str().to_owned()).collect();
        let clock = ManualClock::at_unix(EPOCH_NS);
        let limiter = Limiter::builder(plan)
            .clock(clock.clone())
            .secret((u128::from_le_bytes(SECRET) ^ u128::from(secret)).to_le_bytes())
            .build()
            .map_err(|error| Failure::new(format!("the policy's limiter cannot be built: {error}")))?;
        let attribute = |name| limiter.attribute(name);
        Ok(Driver {
            attributes: Named {
                address: attribute("address"),
                payment: attribute("payment"),
                client: attribute("client"),
                template: attribute("template"),
                model: attribute("model"),
            },
            handles: names.iter().map(|name| limiter.meter(name)).collect(),
            meters: Meters::new(names.iter().map(String::as_str)),
            limiter,
            clock,
            source,
            output_estimate,
            tiers: Vec::new(),
            honest: Vec::new(),
            admitted: Vec::new(),
            values: Default::default(),
            accounts: Numbers::default(),
            organizations: Numbers::default(),
            maintained_ns: 0,
            known: Vec::new(),
            ends: BinaryHeap::new(),
            answers: Vec::new(),
            free: Vec::new(),
            sequence: 0,
            score: Score::new(allowance),
            decisions: None,
            watch: None,
        })
    }

    /// The same, which also writes what becomes of each request.
    pub(crate) fn with_decisions(self, decisions: Option<Decisions>) -> Driver {
        Driver { decisions, ..self }
    }

    /// Keeps what happens by time too, from now on; it changes nothing.
    pub(crate) fn watch(&mut self) {
        self.score.record_traffic();
        self.watch = Some(Watch::new());
    }

    /// Decides a batch, and tells each decision.
    pub(crate) fn decide(
        &mut self,
        batch: &Batch,
        mut tell: impl FnMut(Option<&Denial>),
    ) -> Result<(), Failure> {
        self.learn(&batch.names)?;
        for row in &batch.rows {
            let now = row.at_ms * NS_PER_MS;
            self.maintain_until(now);
            self.settle_until(now);
            self.clock.advance_to(now);
            let Some(identity) = self.identity(row) else { continue };
            self.count_honest(row);
            let estimate = self.cost(row, self.output_estimate);
            let observed = identity.with(&self.attributes_of(row));
            let decided = self.limiter.reserve(&observed, &estimate).map(Permit::detach);
            let denial = match decided {
                Ok(permit) => {
                    self.admit(row, now, permit);
                    None
                }
                Err(denial) => Some(denial),
            };
            let refusal = denial.as_ref().map(Refusal::of);
            self.score.record(row, refusal);
            if let Some(decisions) = &mut self.decisions {
                decisions.record(refusal)?;
            }
            if let Some(watch) = &mut self.watch {
                watch.decided(row, identity, denial.as_ref());
            }
            tell(denial.as_ref());
        }
        Ok(())
    }

    /// Ends all answers.
    pub(crate) fn finish(mut self) -> Result<Driven, Failure> {
        self.settle_until(u64::MAX);
        self.decisions.map(Decisions::finish).transpose()?;
        let watched = self.watch.map(|watch| watch.finish(&self.limiter));
        Ok(Driven { score: self.score, admitted: self.admitted, limiter: self.limiter, watched })
    }

    fn learn(&mut self, names: &Names) -> Result<(), Failure> {
        self.meters.learn_models(&names.models);
        self.score.learn_labels(&names.labels);
        self.honest.extend(names.labels.iter().map(|label| Class::of(label) == Class::Honest));
        if let Some(watch) = &mut self.watch {
            watch.learn(names);
        }
        for (name, line) in &names.tiers {
            let Some(tier) = self.limiter.tier(name) else {
                let tiers = self.limiter.plan().describe().tiers;
                let known: Vec<&str> = tiers.iter().map(|tier| tier.name.as_str()).collect();
                return Err(Failure::new(format!(
                    "{}:{line}: column tier: the policy has no tier {name:?}; it has {}",
                    self.source,
                    known.join(", ")
                )));
            };
            if let Some(watch) = &mut self.watch {
                watch.learn_tier(name, tier, &self.limiter);
            }
            self.tiers.push(tier);
            self.admitted.push(Admitted {
                tier: name.clone(),
                amounts: vec![0; self.handles.len()],
                honest: vec![0; self.handles.len()],
            });
        }
        Ok(())
    }

    fn identity(&mut self, row: &Row) -> Option<Identity> {
        let account = row.account as usize;
        if account >= self.known.len() {
            self.known.resize(account + 1, None);
        }
        let place = self.known.get_mut(account)?;
        if let Some(known) = place
            && (known.tier, known.organization, known.since_ms) == (row.tier, row.organization, row.since_ms)
        {
            return Some(known.identity);
        }
        let tier = *self.tiers.get(row.tier as usize)?;
        let mut identity = self.limiter.identity(tier, self.accounts.number(u64::from(row.account)));
        if let Some(organization) = row.organization {
            let number = self.organizations.number(u64::from(organization));
            identity = identity.in_organization(self.limiter.organization(number));
        }
        if let Some(since_ms) = row.since_ms {
            identity = identity.since(EPOCH_NS.saturating_add(since_ms.saturating_mul(NS_PER_MS as i64)));
        }
        let Row { tier, organization, since_ms, .. } = *row;
        *place = Some(Known { tier, organization, since_ms, identity });
        Some(identity)
    }

    fn cost(&self, row: &Row, output_tokens: u32) -> Cost {
        self.meters.amounts(row, output_tokens).fold(Cost::FREE, |cost, (index, amount)| {
            match self.handles.get(index).copied().flatten() {
                Some(meter) => cost.and(meter, amount),
                None => cost,
            }
        })
    }

    fn count_honest(&mut self, row: &Row) {
        let is_honest = self.honest.get(row.label as usize).copied().unwrap_or(false);
        let Some(tier) = self.admitted.get_mut(row.tier as usize).filter(|_| is_honest) else { return };
        for (index, amount) in self.meters.amounts(row, row.output_tokens) {
            if let Some(sum) = tier.honest.get_mut(index) {
                *sum = sum.saturating_add(amount);
            }
        }
    }

    fn admit(&mut self, row: &Row, now: u64, permit: Permit<'static>) {
        let duration_ms = ANSWER_DELAY_MS + u64::from(row.output_tokens) * 1000 / ANSWER_TOKENS_PER_SECOND;
        if let Some(admitted) = self.admitted.get_mut(row.tier as usize) {
            for (index, amount) in self.meters.amounts(row, row.output_tokens) {
                if let Some(sum) = admitted.amounts.get_mut(index) {
                    *sum = sum.saturating_add(amount);
                }
            }
        }
        let answer = Some(Answer { permit, actual: self.cost(row, row.output_tokens) });
        let place = match self.free.pop() {
            Some(place) => place,
            None => {
                self.answers.push(None);
                self.answers.len() - 1
            }
        };
        if let Some(free) = self.answers.get_mut(place) {
            *free = answer;
        }
        self.ends.push(Reverse((now + duration_ms * NS_PER_MS, self.sequence, place)));
        self.sequence += 1;
    }

    fn attributes_of(&mut self, row: &Row) -> Attributes {
        let Named { address, payment, client, template, model } = self.attributes;
        let evidence = &row.evidence;
        let columns = [
            (address, evidence.ip),
            (payment, evidence.payment),
            (client, evidence.client),
            (template, evidence.template),
            (model, NonZeroU64::new(u64::from(row.model) + 1)),
        ];
        let mut attributes = Attributes::NONE;
        for ((attribute, value), values) in columns.into_iter().zip(&mut self.values) {
            if let (Some(attribute), Some(value)) = (attribute, value) {
                let value = self.limiter.attribute_value(values.number(value.get()));
                attributes = attributes.and(attribute, value);
            }
        }
        attributes
    }

    /// Housekeeping, once a minute, as a server's timer does it.
    fn maintain_until(&mut self, now: u64) {
        while self.maintained_ns + MAINTENANCE_NS <= now {
            self.maintained_ns += MAINTENANCE_NS;
            self.settle_until(self.maintained_ns);
            self.clock.advance_to(self.maintained_ns);
            self.limiter.maintain();
            if let Some(watch) = &mut self.watch {
                let unix_ns = EPOCH_NS.saturating_add_unsigned(self.maintained_ns);
                watch.look(self.maintained_ns, unix_ns, &self.limiter);
            }
        }
    }

    /// Settles the answers that end by `now`, in order.
    fn settle_until(&mut self, now: u64) {
        while let Some(Reverse((end, _, place))) = self.ends.peek().copied()
            && end <= now
        {
            self.ends.pop();
            self.free.push(place);
            if let Some(answer) = self.answers.get_mut(place).and_then(Option::take) {
                self.clock.advance_to(end);
                answer.permit.settle(&answer.actual);
            }
        }
    }
}

/// The most requests that a cohort may make in a day, over the tiers; 0 where there are no cohorts.
fn cohort_allowance(policy: &Description) -> u64 {
    let levels =
        policy.tiers.iter().flat_map(|tier| &tier.levels).filter(|level| level.level == Level::Cohort);
    let least = |level: &DescribedLevel| {
        let rules = level.rules.iter().filter(|rule| rule.meter.as_str() == "requests");
        rules.filter_map(|rule| rule.most.day).min()
    };
    levels.filter_map(least).max().unwrap_or(0)
}
