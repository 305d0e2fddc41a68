//! The correlators: from observations to evidence, from evidence to changes.
//!
//! One observation costs a handful of look-ups in tables of fixed size: its values, its account, a few habits. `maintain`
//! takes a bounded number of observations and then looks at a bounded number of accounts, round and round, to let
//! evidence fade where nothing happens.
//!
//! Memory is fixed by [`Settings::subjects`], some 1.0 kB for each ([`Correlators::bytes`]); a new account takes the place of
//! the one of its set that was silent longest and is in no cohort.

use super::{
    ATTRIBUTES, Change, KINDS, Kind, Member, Observation, Rings, Role, Settings, TIERS,
    cohort::{Groups, Standing},
    factors::{FACTORS, Factors},
    habit::{ACTIVE, Habits, LONG, RUN, SETTLED_S, Trait, look},
    judge::{Base, MOST, ODD, company, tie, traits, turn_values},
    parents::Parents,
    past::Pasts,
    signal::Sources,
    subject::{BEAT, COLUMNS, Column, Evidence, Subject, columns},
    values::{Seen, Values, key},
};
use crate::adapt::Tightening;

/// Accounts that a new one may take the place of.
const WAYS: usize = 8;
pub(super) const NANOS: u64 = 1_000_000_000;
/// Values for each account.
const VALUES: usize = 16;
/// Keys remembered for each account.
const KEYS: usize = 32;
/// Between two steps of a factor, in seconds.
pub(super) const STEP_S: u32 = 600;
/// Bounds of the half-life of what a run shows: in seconds, and times the policy's.
const LEAST_FADE_S: u32 = 1800;
const MOST_FADES: u32 = 4;
/// Half-lives that a membership lasts after the last evidence.
const STAY: u32 = 4;

/// All correlators and what they remember.
#[derive(Debug)]
pub(crate) struct Correlators {
    pub(super) settings: Settings,
    columns: [Column; COLUMNS],
    pub(super) subjects: Box<[Subject]>,
    values: Values,
    seen: Seen,
    habits: Habits,
    pasts: Pasts,
    groups: Groups,
    pub(super) sources: Sources,
    pub(super) parents: Parents,
    /// By column, how many of all accounts are against its values.
    bases: [Base; COLUMNS],
    pub(super) factors: Factors,
    /// By tier, until when it counts as crowded: a half-life from the last refusal by its total or pool.
    crowded_until_s: [u32; TIERS],
    /// How full the fullest ring was when it was last emptied.
    filled: u64,
    /// Where the round of all accounts goes on.
    next: usize,
}

pub(super) fn seconds(nanos: u64) -> u32 {
    (nanos / NANOS).min(u64::from(u32::MAX)) as u32
}

impl Correlators {
    pub(crate) fn new(settings: Settings) -> Correlators {
        let subjects = settings.subjects.max(WAYS).checked_next_power_of_two().unwrap_or(WAYS);
        Correlators {
            columns: columns(&settings.roles),
            subjects: vec![Subject::default(); subjects].into_boxed_slice(),
            values: Values::new(subjects * VALUES),
            seen: Seen::new(subjects * KEYS),
            habits: Habits::new(),
            pasts: Pasts::new(subjects),
            groups: Groups::new(),
            sources: Sources::new(),
            parents: Parents::new(),
            bases: [Base::default(); COLUMNS],
            factors: Factors::default(),
            crowded_until_s: [0; TIERS],
            filled: 0,
            next: 0,
            settings,
        }
    }

    /// Takes at most `most_observations` out of `rings`, looks at `most_subjects` accounts, and adds to `changes` what
    /// follows. How many observations it took.
    pub(crate) fn maintain(
        &mut self,
        now: u64,
        rings: &Rings,
        most_observations: usize,
        most_subjects: usize,
        changes: &mut Vec<Change>,
    ) -> usize {
        self.filled = rings.filled();
        let taken = rings.drain(most_observations, |observation| self.observe(&observation, changes));
        let now_s = seconds(now);
        for _ in 0..most_subjects.min(self.subjects.len()) {
            let index = self.next;
            self.next = (index + 1) % self.subjects.len();
            if self.subjects.get(index).is_some_and(|subject| subject.known) {
                self.review(index, now_s, changes);
            }
        }
        self.parents.maintain(&self.settings, now_s, changes);
        taken
    }

    /// Judges by other settings from now on, of the same attributes and signals.
    pub(crate) fn retune(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// How many cohorts have members.
    pub(crate) fn cohorts(&self) -> usize {
        self.groups.alive()
    }

    /// How many of the accounts that are followed have which factor, as
    /// [`EvidenceStatistics`](crate::EvidenceStatistics) has it.
    pub(crate) fn factors(&self) -> [u64; FACTORS] {
        self.factors.counts()
    }

    /// How many observations the fullest ring had when it was last emptied.
    pub(crate) fn filled(&self) -> u64 {
        self.filled
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of::<Correlators>()
            + size_of_val(&*self.subjects)
            + self.values.bytes()
            + self.seen.bytes()
            + self.habits.bytes()
            + self.pasts.bytes()
            + self.sources.bytes()
            + self.parents.bytes()
    }

    fn set_of(&self, account: Member) -> usize {
        super::values::mix(u64::from(account.slot)) as usize & (self.subjects.len() - 1) & !(WAYS - 1)
    }

    pub(super) fn find(&self, account: Member) -> Option<usize> {
        let first = self.set_of(account);
        let set = self.subjects.get(first..first + WAYS)?;
        let way = set.iter().position(|subject| subject.known && subject.member == account)?;
        Some(first + way)
    }

    /// Whether the account of `observation` is there for long, by the policy too.
    fn is_settled(&self, observation: &Observation) -> bool {
        let new_s = self.settings.new_s.get(usize::from(observation.tier)).copied().unwrap_or(0);
        observation.age_s >= SETTLED_S.max(new_s)
    }

    /// The place of the account of `observation`, made for it where it has none.
    pub(super) fn follow(
        &mut self,
        observation: &Observation,
        now_s: u32,
        changes: &mut Vec<Change>,
    ) -> Option<usize> {
        let account = observation.member;
        let first = self.set_of(account);
        let set = self.subjects.get(first..first + WAYS)?;
        let of_slot = set.iter().position(|subject| subject.known && subject.member.slot == account.slot);
        let way = of_slot.unwrap_or_else(|| {
            let keep = |subject: &Subject| (subject.known, subject.cohort != 0, subject.seen_s);
            set.iter().enumerate().min_by_key(|(_, subject)| keep(subject)).map_or(0, |(way, _)| way)
        });
        let index = first + way;
        let subject = self.subjects.get(index)?;
        let same = subject.known && subject.member == account;
        if same && subject.tier == observation.tier && subject.organization == observation.organization {
            return Some(index);
        }
        self.forget(index, changes);
        self.bases.iter_mut().for_each(|base| base.add(false));
        let settled = self.is_settled(observation);
        let subject = self.subjects.get_mut(index)?;
        *subject = Subject {
            member: account,
            organization: observation.organization,
            tier: observation.tier,
            known: true,
            seen_s: now_s,
            settled,
            ..Subject::default()
        };
        Some(index)
    }

    fn forget(&mut self, index: usize, changes: &mut Vec<Change>) {
        let Some(subject) = self.subjects.get_mut(index) else { return };
        let subject = std::mem::take(subject);
        if !subject.known {
            return;
        }
        for (column_index, column) in self.columns.iter().enumerate() {
            let against = subject.is_against(column_index);
            for link in subject.links.iter().skip(column.start).take(column.len) {
                if let Some(link) = link.checked_sub(1) {
                    self.values.unlink(link, subject.organization, against);
                }
            }
        }
        self.bases.iter_mut().enumerate().for_each(|(column, base)| base.remove(subject.is_against(column)));
        self.factors.recount(subject.tightening, Tightening::default());
        if subject.cohort != 0 {
            changes.push(Change::Leave { account: subject.member, cohort: subject.cohort });
        }
        if self.groups.recount(subject.tier, subject.standing, Standing::default()) {
            changes.push(Change::Dissolved { cohort: subject.cohort });
        }
    }

    fn observe(&mut self, observation: &Observation, changes: &mut Vec<Change>) {
        if observation.settled {
            let index = self.find(observation.member);
            if let Some(subject) = index.and_then(|index| self.subjects.get_mut(index)) {
                subject.run.took(observation.amount);
            }
            self.pasts.took(past_key(observation.member, observation.organization), observation.amount);
            return;
        }
        let now_s = seconds(observation.at);
        let tier = usize::from(observation.tier).min(TIERS - 1);
        if let Some(until_s) = self.crowded_until_s.get_mut(tier).filter(|_| observation.crowded) {
            *until_s = now_s.saturating_add(self.settings.half_life_s);
        }
        let Some(index) = self.follow(observation, now_s, changes) else { return };
        let (new, shared) = self.link_all(index, observation);
        let settled = self.is_settled(observation);
        let Some(subject) = self.subjects.get_mut(index) else { return };
        subject.settled = settled;
        let rest_s = now_s.saturating_sub(subject.seen_s);
        subject.seen_s = now_s.max(subject.seen_s);
        subject.run.add(observation, now_s, rest_s);
        subject.run.fresh(new, shared);
        if let Some(at) = look(subject.run.count) {
            self.compare(index, at, now_s);
            self.keep_company(index, now_s);
        }
        let template = self.columns.iter().position(|column| column.role == Some(Role::Template));
        let prompt = template.and_then(|column| observation.attributes.get(column)).copied().unwrap_or(0);
        let key = past_key(observation.member, observation.organization);
        let half_life_s = self.settings.half_life_s;
        self.pasts.add(key, prompt, observation.amount, now_s, &mut self.habits, half_life_s);
        self.review(index, now_s, changes);
    }

    /// Links the account to the values of `observation`; whether its prompt is new, and whether it is shared.
    fn link_all(&mut self, index: usize, observation: &Observation) -> (bool, bool) {
        let mut prompt = (false, false);
        for column in 0..ATTRIBUTES {
            let value = observation.attributes.get(column).copied().unwrap_or(0);
            if value == 0 {
                continue;
            }
            let key = key(column, value);
            let is_template =
                self.columns.get(column).is_some_and(|column| column.role == Some(Role::Template));
            let new = is_template && !self.seen.insert(key);
            let link = self.link(index, column, key);
            if is_template {
                prompt = (new, link.is_some_and(|link| self.values.users(link).all > 1));
            }
        }
        prompt
    }

    /// Links the account to the value of `key` in `column`, in place of its oldest one there.
    fn link(&mut self, index: usize, column_index: usize, key: u64) -> Option<u32> {
        let column = self.columns.get(column_index)?;
        let subject = self.subjects.get_mut(index)?;
        let against = subject.is_against(column_index);
        let links = subject.links.get_mut(column.start..column.start + column.len)?;
        let there =
            links.iter().filter_map(|link| link.checked_sub(1)).find(|link| self.values.key_of(*link) == key);
        if there.is_some() {
            return there;
        }
        let next = subject.next.get_mut(column_index)?;
        let place = links.get_mut(usize::from(*next))?;
        if let Some(old) = place.checked_sub(1) {
            self.values.unlink(old, subject.organization, against);
            *place = 0;
        }
        let link = self.values.link(key, subject.organization, against)?;
        *place = link + 1;
        *next = if usize::from(*next) + 1 < column.len { *next + 1 } else { 0 };
        Some(link)
    }

    /// Looks at the run among the habits of the account's tier, and counts it there.
    fn compare(&mut self, index: usize, at: usize, now_s: u32) {
        if let Some(beat) =
            self.subjects.get(index).filter(|_| at >= ACTIVE).and_then(|subject| subject.run.beat())
        {
            self.link(index, BEAT, key(BEAT, beat));
        }
        let Some(subject) = self.subjects.get_mut(index) else { return };
        let tier = usize::from(subject.tier);
        let traits = traits(subject, &self.columns, &self.values, now_s);
        let day = (now_s / 86_400 + 1).min(u32::from(u16::MAX)) as u16;
        let teaches = subject.settled
            && subject.cohort == 0
            && subject.taught.get_mut(at).is_some_and(|taught| std::mem::replace(taught, day) != day);
        // What a run shows lasts about as long as the run: who makes many has many chances to look odd.
        let length = now_s.saturating_sub(subject.run.began_s);
        let fade_s = (4 * length).clamp(LEAST_FADE_S, MOST_FADES * self.settings.half_life_s);
        let before = subject.own.map(|evidence| evidence.points(now_s));
        let counted = || {
            let known = Trait::ALL.into_iter().zip(traits).filter_map(|(which, value)| Some((which, value?)));
            known.filter(|(_, (kind, _))| self.settings.counts(*kind))
        };
        // Of a kind of which too little was seen to tell, nothing.
        let mut odd = [None; KINDS];
        for (which, (kind, value)) in counted() {
            let points = self.habits.surprise(tier, at, which, value).map(|points| points.min(MOST));
            if let Some(odd) = odd.get_mut(kind as usize) {
                *odd = points.max(*odd);
            }
        }
        if teaches {
            let most = before.into_iter().zip(odd).map(|(before, now)| before.max(now.unwrap_or(0)));
            let suspect = Kind::ALL.into_iter().zip(most).filter(|(_, points)| *points >= ODD);
            let suspect = suspect.fold(0, |kinds, (kind, _)| kinds | kind.bit());
            for (which, (_, value)) in counted().filter(|(_, (kind, _))| suspect & !kind.bit() == 0) {
                self.habits.learn(tier, at, which, value);
            }
        }
        let first = subject.pace_s == 0;
        let part = subject.run.part(now_s, self.settings.half_life_s);
        // Signals, which come last, are no account's doing.
        for (evidence, points) in subject.own.iter_mut().zip(odd).take(Kind::Signal as usize) {
            let Some(points) = points else { continue };
            if first && points >= evidence.points(now_s) {
                evidence.raise(points, now_s, fade_s);
            } else if first || at >= LONG {
                // A longer look at the same run knows better than a shorter one.
                evidence.follow(points, part, now_s, fade_s);
            }
        }
        if subject.run.count == RUN {
            let length = now_s.saturating_sub(subject.run.began_s).max(1);
            subject.pace_s =
                if subject.pace_s == 0 { length } else { subject.pace_s / 4 * 3 + length / 4 }.max(1);
        }
    }

    /// Evidence of each kind by the company that the account keeps: who else uses its values.
    fn keep_company(&mut self, index: usize, now_s: u32) {
        let Some(subject) = self.subjects.get_mut(index) else { return };
        let mut points = [0; KINDS];
        for ((column_index, column), base) in self.columns.iter().enumerate().zip(self.bases) {
            let links = subject.links.get(column.start..column.start + column.len).unwrap_or_default();
            let counts = self.settings.counts(column.kind);
            if let Some(points) = points.get_mut(column.kind as usize).filter(|_| counts) {
                let against = subject.is_against(column_index);
                *points = company(links, against, &self.values, column.role, base).max(*points);
            }
        }
        // A new account has no other company to outweigh.
        let first = subject.pace_s == 0;
        let part = subject.run.part(now_s, self.settings.half_life_s);
        for (evidence, points) in subject.company.iter_mut().zip(points) {
            if first {
                evidence.set(points, now_s, self.settings.half_life_s);
            } else {
                evidence.follow(points, part, now_s, self.settings.half_life_s);
            }
        }
    }

    /// Points of the kinds that count.
    fn counted(&self, evidence: &[Evidence; KINDS], now_s: u32) -> [u16; KINDS] {
        let mut points = evidence.map(|evidence| evidence.points(now_s));
        for (points, _) in points.iter_mut().zip(Kind::ALL).filter(|(_, kind)| !self.settings.counts(*kind)) {
            *points = 0;
        }
        points
    }

    /// Points by kind of what the account did, of what those did who share its values, and of these and its organization's
    /// past the most.
    pub(super) fn points(&self, subject: &Subject, now_s: u32) -> [[u16; KINDS]; 3] {
        let own = self.counted(&subject.own, now_s);
        let company = self.counted(&subject.company, now_s);
        let past = self.pasts.find(past_key(subject.member, subject.organization));
        let past = past.map_or([0; KINDS], |past| past.points(now_s));
        let mut all = own;
        for (((all, company), past), kind) in all.iter_mut().zip(company).zip(past).zip(Kind::ALL) {
            let past = if self.settings.counts(kind) { past.min(MOST) } else { 0 };
            *all = past.max(company).max(*all);
        }
        [own, company, all]
    }

    /// Draws the conclusions: turns its values, joins or leaves, steps its factor.
    pub(super) fn review(&mut self, index: usize, now_s: u32, changes: &mut Vec<Change>) {
        let half_life_s = self.settings.half_life_s;
        let judged = self.subjects.get(index).map(|subject| self.points(subject, now_s));
        let Some([own, company, points]) = judged else {
            return;
        };
        let Some(subject) = self.subjects.get_mut(index) else { return };
        turn_values(subject, now_s, &self.columns, &mut self.values, &mut self.bases);

        let tier = usize::from(subject.tier).min(TIERS - 1);
        let sensitivity = self.settings.sensitivity.get(tier).copied().unwrap_or(16);
        let pardoned = subject.pardoned_until_s > now_s;
        // An organization that changed is no tie to another: its past makes a factor alone.
        let tie = tie(&own, &company, sensitivity).filter(|_| !pardoned);
        let odd = Kind::ALL.into_iter().zip(points).filter(|(_, points)| *points >= ODD);
        let odd = odd.fold(0, |odd, (kind, _)| odd | kind.bit());
        let before = subject.standing;
        let mut after =
            Standing { followed: true, settled: subject.settled, odd, tie, member: subject.cohort != 0 };
        self.groups.recount(subject.tier, before, after);
        let is_crowded = self.crowded_until_s.get(tier).is_some_and(|until_s| *until_s > now_s);
        let has_cohorts = self.settings.cohorts.get(tier).copied().unwrap_or(false);
        if let Some(tie) = tie
            && has_cohorts
            && (subject.cohort != 0 && tie.strong || self.groups.forms(subject.tier, tie, is_crowded))
        {
            let until_s = now_s.saturating_add(STAY.saturating_mul(half_life_s));
            let renewed = until_s.saturating_sub(subject.until_s) >= half_life_s / 4;
            if subject.cohort == 0 || renewed {
                subject.cohort = Groups::cohort(subject.tier);
                subject.until_s = until_s;
                changes.push(Change::Join {
                    account: subject.member,
                    cohort: subject.cohort,
                    until: u64::from(until_s) * NANOS,
                    kinds: tie.pair.bits(),
                });
            }
        } else if subject.cohort != 0 && (pardoned || subject.until_s <= now_s) {
            changes.push(Change::Leave { account: subject.member, cohort: subject.cohort });
            subject.cohort = 0;
        }
        let counted = after;
        after.member = subject.cohort != 0;
        if self.groups.recount(subject.tier, counted, after) {
            changes.push(Change::Dissolved { cohort: Groups::cohort(subject.tier) });
        }
        subject.standing = after;

        if now_s.saturating_sub(subject.stepped_s) >= STEP_S {
            subject.stepped_s = now_s;
            // What one in 16 does in some way or other is nothing to add up.
            let odd = points.into_iter().filter(|points| !pardoned && *points >= ODD);
            let sum = odd.fold(0, |sum, points| sum + u32::from(points)) * u32::from(sensitivity) / 16;
            let sum = u16::try_from(sum).unwrap_or(u16::MAX);
            let next = subject.tightening.step(sum, &self.settings.curve);
            let lasts_s = subject.tight_until_s.saturating_sub(now_s);
            // Said again before it ends, as long as evidence lasts.
            if next != subject.tightening || next != Tightening::default() && lasts_s < half_life_s / 2 {
                self.factors.recount(subject.tightening, next);
                subject.tightening = next;
                subject.tight_until_s = now_s.saturating_add(half_life_s);
                changes.push(Change::Factor {
                    account: subject.member,
                    sixteenths: next.sixteenths(),
                    until: u64::from(subject.tight_until_s) * NANOS,
                });
            }
        }
    }
}

/// Whose past an account's is.
fn past_key(account: Member, organization: u64) -> u64 {
    let alone = u64::from(account.generation) << 32 | u64::from(account.slot) | 1 << 63;
    if organization == 0 { alone } else { organization }
}
