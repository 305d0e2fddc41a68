//! What a server tells of a request besides who sent it, and how it gets to the correlators.
//!
//! After each decision of an [`Observed`] caller, admitted or denied, an observation is put into the thread's ring: about
//! 20 ns, never a wait. Where the ring is full it is dropped and counted. Of denied requests one in [`SAMPLE`] is
//! observed, so that a flood of these crowds nobody out.

use super::{Caller, Limiter, Places, Shared};
use crate::{
    decision::{Denial, Level},
    evidence::{Member, Observation},
    id::{Id, Identity, Key},
    meter::Cost,
    policy::plan::MAX_ATTRIBUTES,
    sync::thread_number,
};

/// One in this many denied requests is observed.
const SAMPLE: u64 = 8;

/// One of a policy's attributes, found by name once ([`Limiter::attribute`]) and kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Attribute(u8);

/// What a server knows about a request besides who sent it: a keyed hash for each of a few attributes. `Copy`, 32 bytes.
///
/// The hashes mean something only to the limiter that made them ([`Limiter::attribute_value`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    values: [u32; MAX_ATTRIBUTES],
}

impl Attributes {
    /// Nothing but that there was a request.
    pub const NONE: Attributes = Attributes { values: [0; MAX_ATTRIBUTES] };

    /// The same, with the value of `attribute`, as [`Limiter::attribute_value`] hashed it.
    #[must_use]
    pub fn and(mut self, attribute: Attribute, value: AttributeValue) -> Attributes {
        if let Some(place) = self.values.get_mut(usize::from(attribute.0)) {
            *place = value.0;
        }
        self
    }
}

/// A hashed value of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AttributeValue(u32);

/// A caller with what is known about its request: what [`Caller::with`] makes, to be passed to
/// [`check`](Limiter::check) or [`reserve`](Limiter::reserve).
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a, C> {
    caller: &'a C,
    attributes: Attributes,
}

impl<'a, C: Caller> Observed<'a, C> {
    pub(super) fn new(caller: &'a C, attributes: &Attributes) -> Observed<'a, C> {
        Observed { caller, attributes: *attributes }
    }
}

impl<C: Caller> super::sealed::Sealed for Observed<'_, C> {}

impl<C: Caller> Caller for Observed<'_, C> {
    #[inline]
    fn identity(&self) -> &Identity {
        self.caller.identity()
    }

    #[inline]
    fn places(&self) -> Places {
        self.caller.places()
    }

    #[inline]
    fn attributes(&self) -> Option<&Attributes> {
        Some(&self.attributes)
    }
}

impl Limiter {
    /// The attribute that the policy's `evidence.attributes` calls `name`.
    pub fn attribute(&self, name: &str) -> Option<Attribute> {
        let plan = self.plan();
        let index = plan.evidence.as_ref()?.attributes.iter().position(|known| known.as_str() == name)?;
        u8::try_from(index).ok().map(Attribute)
    }

    /// `value` as an attribute's value: a keyed hash of 32 bits, of which the value cannot be told. 10 to 20 ns for a short
    /// text, less for a number; keep it where the value recurs.
    pub fn attribute_value<'a>(&self, value: impl Into<Id<'a>>) -> AttributeValue {
        let hash = self.shared.fingerprints.key(value.into()).hash;
        // 0 stands for none.
        AttributeValue(((hash >> 32) as u32).max(1))
    }
}

/// An organization as observations know it; 0 for none.
pub(super) fn hash_of(organization: Option<&Key>) -> u64 {
    organization.map_or(0, |key| key.hash.max(1))
}

impl Shared {
    /// Observes a decision of `caller` on `cost` at `at`, whose line was at `seat`, or is looked up; `known` where that is
    /// what it took, and no estimate.
    #[inline]
    pub(super) fn observe(
        &self,
        caller: &impl Caller,
        seat: Option<Member>,
        cost: &Cost,
        known: bool,
        at: u64,
        denial: Option<&Denial>,
    ) {
        let (Some(attributes), Some(observer)) = (caller.attributes(), &self.observer) else { return };
        let identity = caller.identity();
        if denial.is_some()
            && (identity.account.hash ^ at).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32 & (SAMPLE - 1) != 0
        {
            return;
        }
        // On an overflow line nobody is told apart.
        let Some(member) = seat.or_else(|| self.seat_of(&identity.account)) else { return };
        observer.rings.push(
            thread_number(),
            &Observation {
                member,
                organization: hash_of(identity.organization.as_ref()),
                tier: identity.tier.as_u8(),
                attributes: attributes.values,
                age_s: self.age_s(identity, at),
                amount: if known { observer.amount_of(cost) } else { 0 },
                crowded: denial.is_some_and(|denial| matches!(denial.level(), Level::Pool | Level::Tier)),
                settled: false,
                at,
            },
        );
    }

    /// How old an account is at `at`, in seconds; `u32::MAX` where unknown.
    #[inline]
    pub(super) fn age_s(&self, identity: &Identity, at: u64) -> u32 {
        let age = identity.since.map(|_| {
            let unix = self.wall.anchor().unix(at);
            u32::try_from(identity.age(unix) / 1_000_000_000).unwrap_or(u32::MAX - 1)
        });
        age.unwrap_or(u32::MAX)
    }

    #[cold]
    #[inline(never)]
    fn seat_of(&self, account: &Key) -> Option<Member> {
        let (slot, head) = self.lines.accounts.find(account)?;
        Some(Member { slot, generation: head.generation() })
    }

    /// Observes what an admitted request of the account in `member`'s slot took in the end.
    pub(super) fn observe_settled(&self, member: Member, organization: u64, actual: &Cost, at: u64) {
        let Some(observer) = &self.observer else { return };
        let amount = observer.amount_of(actual);
        if amount > 0 {
            let observation =
                Observation { member, organization, amount, at, settled: true, ..Observation::default() };
            observer.rings.push(thread_number(), &observation);
        }
    }
}
