//! The zones that organizations may be in: their calendars, and the room that words have for saying which.

use super::Compiler;
use crate::{
    calendar::Period,
    decision::Level,
    policy::{
        error::KeyPath,
        plan::{Calendars, Limit, MeterPlan, TierPlan, ZonePlan},
        spec::{PolicyLevel, PolicyTotal},
    },
};

/// The most calendars that words can tell apart.
const MOST_CALENDARS: usize = u8::MAX as usize;

impl Compiler<'_> {
    /// Checks the list of zones, and leaves out what is wrong in it.
    pub(super) fn check_zones(&mut self, path: &KeyPath) {
        let written = &self.policy.zones;
        for (index, zone) in written.iter().enumerate() {
            let path = path.index(index);
            if written.iter().take(index).any(|earlier| earlier == zone) {
                self.problem(&path, format!("the zone `{zone}` is named twice"));
            } else if self.is_zone(&path, zone) {
                self.zones.push(zone);
            }
        }
        let tiers = || self.policy.tiers.values();
        let own = tiers().flat_map(|tier| [&tier.account, &tier.organization]);
        let mut periods: Vec<Period> = own.flat_map(periods_of).collect();
        if !written.is_empty() && periods.is_empty() {
            self.problem(
                path,
                "no account and no organization has a quota, so nothing follows a zone; remove the list",
            );
        }
        periods.extend(tiers().flat_map(|tier| [&tier.pool, &tier.cohort]).flat_map(periods_of));
        periods.extend(tiers().filter_map(|tier| tier.total.as_ref()).flat_map(|total| match total {
            PolicyTotal::Rules(rules) => periods_of(rules).collect(),
            PolicyTotal::Unlimited => Vec::new(),
        }));
        let periods = Period::ALL.into_iter().filter(|period| periods.contains(period)).count();
        let zones = tiers().filter_map(|tier| tier.zone.as_deref()).chain([self.zone]);
        let mut zones: Vec<&str> = zones.chain(self.zones.iter().copied()).collect();
        zones.sort_unstable();
        zones.dedup();
        // At most so many; how many it comes to is known when all rules are.
        let calendars = (zones.len() * periods).min(MOST_CALENDARS);
        self.most_calendars = if self.zones.is_empty() { 0 } else { calendars as u8 };
    }

    /// The zones with their calendars, and `tiers` whose words can tell these apart.
    pub(super) fn zones(
        &mut self,
        path: &KeyPath,
        tiers: Vec<TierPlan>,
        meters: &[MeterPlan],
    ) -> (Vec<ZonePlan>, Vec<TierPlan>) {
        if self.zones.is_empty() {
            return (Vec::new(), tiers);
        }
        let of_policy = self.zone;
        let mut zones = Vec::new();
        for zone in self.zones.clone() {
            self.zone = zone;
            let mut calendars = Calendars::default();
            for (place, period) in calendars.iter_mut().zip(Period::ALL) {
                if self.calendars.len() <= MOST_CALENDARS && tiers.iter().any(|tier| follows(tier, period)) {
                    *place = self.calendar(path, period);
                }
            }
            zones.push(ZonePlan { name: zone.to_owned(), retired: false, calendars });
        }
        self.zone = of_policy;
        let Some(count) = u8::try_from(self.calendars.len()).ok() else {
            self.problem(path, format!("there are more than {MOST_CALENDARS} zones and windows; use fewer"));
            return (zones, tiers);
        };
        (zones, tiers.iter().map(|tier| tier.among(count, meters)).collect())
    }
}

/// Whether a quota of `period` is at a level that follows the zone of an organization.
fn follows(tier: &TierPlan, period: Period) -> bool {
    [Level::Account, Level::Organization].into_iter().any(|level| {
        let mut rules = tier.level(level).rules.iter();
        rules.any(|rule| matches!(&rule.limit, Limit::Quota(quota) if quota.period == period))
    })
}

/// The periods of a level's quotas.
fn periods_of(level: &PolicyLevel) -> impl Iterator<Item = Period> + '_ {
    level.values().flat_map(|rules| &rules.0).filter_map(|rule| rule.quota).map(|quota| quota.period)
}
