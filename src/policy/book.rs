//! The plan in force, and those that lines may still be under.
//!
//! A limiter has one book at a time, and publishes another where anything in it changes. Threads keep copies; whoever
//! decides by one that is not the latest any more finds out, and decides again.
//!
//! # Orderings
//!
//! Who publishes a book stores its number to `latest` before it converts, or lets anybody convert, a line (under the line's
//! guard). Who reads a line's version, or takes its guard, and *then* finds its own book to be the latest, has read no line
//! that was converted by a later one: the guard's release and the acquire of version or guard order the two. A plan's
//! number is given to another plan only after every line was brought under a later one, so that within one book a number
//! means one plan.

use std::{any::Any, sync::Arc};

use super::{
    exception::{Exception, Scope},
    plan::{MAX_PLANS, Plan, TierPlan, Under},
};
use crate::sync::{AtomicU64, Ordering, next_number};

/// What a limiter decides by.
#[derive(Clone, Debug)]
pub(crate) struct Book {
    /// In force.
    pub(crate) plan: Arc<Plan>,
    /// By number, the plan in force included.
    plans: [Option<Arc<Plan>>; MAX_PLANS],
    /// What is different for some, for a while.
    pub(crate) exceptions: Arc<[Exception]>,
    /// Tiers whose total's costs on rates evidence multiplies.
    tightened: Arc<[Tightened]>,
    /// What decides beside, for the record only; the limiter knows what it is.
    pub(crate) beside: Option<Arc<dyn Any + Send + Sync>>,
    number: u64,
    latest: Arc<AtomicU64>,
}

/// What evidence makes of a tier's total.
#[derive(Clone, Copy, Debug)]
struct Tightened {
    tier: u8,
    sixteenths: u16,
    until: u64,
}

impl Book {
    /// The first of a limiter.
    pub(crate) fn new(plan: Plan) -> Book {
        let plan = Arc::new(plan);
        let mut plans = [const { None }; MAX_PLANS];
        if let Some(place) = plans.first_mut() {
            *place = Some(Arc::clone(&plan));
        }
        let number = next_number();
        let latest = Arc::new(AtomicU64::new(number));
        Book {
            plan,
            plans,
            exceptions: Arc::default(),
            tightened: Arc::default(),
            beside: None,
            number,
            latest,
        }
    }

    /// What tells which book of a limiter is its latest.
    pub(crate) fn latest(&self) -> &Arc<AtomicU64> {
        &self.latest
    }

    /// Different for every book of a process.
    #[inline]
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// 0 if it is the latest book.
    #[inline]
    pub(crate) fn staleness(&self) -> u64 {
        self.latest.load(Ordering::Relaxed) ^ self.number
    }

    pub(crate) fn is_latest(&self) -> bool {
        self.staleness() == 0
    }

    /// Makes it the latest.
    pub(crate) fn publish(&self) {
        self.latest.store(self.number, Ordering::Release);
    }

    /// The rules that lines are under which say so.
    pub(crate) fn rules(&self, under: Under) -> Option<&TierPlan> {
        let plan = self.plans.get(usize::from(under.plan()))?.as_ref()?;
        plan.tiers.get(usize::from(under.tier()))
    }

    /// The rules in force for a tier; `None` where the policy has it no more.
    #[inline]
    pub(crate) fn tier(&self, tier: u8) -> Option<&TierPlan> {
        self.plan.tiers.get(usize::from(tier)).filter(|rules| !rules.retired)
    }

    /// The number of the plan in force.
    pub(crate) fn current(&self) -> u8 {
        self.plan.tiers.first().map_or(0, |tier| tier.under.plan())
    }

    /// A number that no line is under; `None` if there is none.
    pub(crate) fn free_number(&self) -> Option<u8> {
        self.plans.iter().position(Option::is_none).and_then(|free| u8::try_from(free).ok())
    }

    /// How many plans lines may be under.
    pub(crate) fn plans(&self) -> usize {
        self.plans.iter().flatten().count()
    }

    /// What is different at `now` for whom `scope` is about, and its place among all that are.
    pub(crate) fn exception(&self, scope: &Scope, now: u64) -> Option<(usize, &Exception)> {
        let mut exceptions = self.exceptions.iter().enumerate();
        exceptions.find(|(_, exception)| exception.scope == *scope && now < exception.until)
    }

    /// The next book: with another that decides beside, or none.
    pub(crate) fn beside(&self, beside: Option<Arc<dyn Any + Send + Sync>>) -> Book {
        Book { beside, number: next_number(), ..self.clone() }
    }

    /// The next book: with other exceptions, of which each names rules that there are.
    pub(crate) fn with_exceptions(&self, exceptions: Vec<Exception>) -> Book {
        Book { exceptions: exceptions.into(), number: next_number(), ..self.clone() }
    }

    /// What evidence multiplies costs on the rates of a tier's total by at `now`, in sixteenths, and until when.
    pub(crate) fn tightened(&self, tier: u8, now: u64) -> Option<(u16, u64)> {
        let known = self.tightened.iter().find(|known| known.tier == tier && now < known.until)?;
        Some((known.sixteenths, known.until))
    }

    /// The next book: with so many sixteenths on the total of `tier` until `until`; none of what has ended at `now` is kept.
    pub(crate) fn with_tightened(&self, tier: u8, (sixteenths, until): (u16, u64), now: u64) -> Book {
        let others = self.tightened.iter().filter(|other| other.tier != tier);
        let new = Tightened { tier, sixteenths, until };
        let tightened = others.copied().chain([new]).filter(|known| now < known.until).collect();
        Book { tightened, number: next_number(), ..self.clone() }
    }

    /// Lets exceptions be about the rules of the plan in force: names that it has no more count for nothing.
    fn resolved(mut self) -> Book {
        let mut exceptions = self.exceptions.to_vec();
        exceptions.iter_mut().for_each(|exception| exception.resolve_known(&self.plan));
        self.exceptions = exceptions.into();
        self
    }

    /// The next book: with `plan` in force, which has a number.
    pub(crate) fn with(&self, plan: Plan) -> Book {
        let plan = Arc::new(plan);
        let mut next = Book { plan: Arc::clone(&plan), number: next_number(), beside: None, ..self.clone() };
        let number = next.current();
        if let Some(place) = next.plans.get_mut(usize::from(number)) {
            *place = Some(plan);
        }
        next.resolved()
    }

    /// The next book: with an earlier plan in force again that lines may be under, if one is of the same policy as `plan`
    /// and gives the same places.
    pub(crate) fn with_earlier(&self, plan: &Plan) -> Option<Book> {
        let alike = |known: &&Arc<Plan>| {
            known.policy == plan.policy
                && known.meters.len() == plan.meters.len()
                && known.tiers.len() == plan.tiers.len()
                // What is under later ones may be in windows that it does not know.
                && known.calendars.len() == plan.calendars.len()
                && known.zones == plan.zones
                // What is kept of a tier that the policy lacks is what it had last, not what it had then.
                && known.tiers.iter().zip(&plan.tiers).all(|(known, tier)| known.has_rules_of(tier))
        };
        let earlier = self.plans.iter().flatten().find(alike)?;
        let (plan, number) = (Arc::clone(earlier), next_number());
        Some(Book { plan, number, beside: None, ..self.clone() }.resolved())
    }

    /// The next book: without the plans of `numbers`, which no line is under any more.
    pub(crate) fn without(&self, numbers: impl Fn(u8) -> bool) -> Book {
        let mut next = Book { number: next_number(), ..self.clone() };
        let current = next.current();
        for (number, plan) in (0..).zip(&mut next.plans) {
            if number != current && numbers(number) {
                *plan = None;
            }
        }
        next
    }
}
