//! Policy to plan: every check, in one pass that tells all it finds.
//!
//! Invariant: what comes out is valid as a whole. The request path looks nothing up by name, divides nothing
//! by the replicas, and meets no limit that could not admit a single token, but for a budget of 0.

use std::sync::Arc;

use super::{
    error::{KeyPath, PolicyError, Problem, nearest},
    plan::{Capacity, GuardPlan, LevelPlan, MAX_PATH_RULES, MAX_RULES, MAX_TIERS, MeterPlan, Plan, TierPlan},
    quantity::{Amount, ByteSize},
    spec::{Policy, PolicyTier, PolicyTotal, VERSION},
};
use crate::{
    calendar::{Calendar, Period},
    decision::{Level, Name},
    meter::{MAX_METERS, Meter},
};

mod bind;
mod guard;
mod rules;
mod zones;

pub(super) use bind::{has_fixed_days, shortest};
use guard::Levels;
use rules::Placed;

/// The most that tightening may be allowed to multiply a cost by.
const LARGEST_FACTOR: u64 = 64;
/// The most that answers may add to when to come back, in nanoseconds.
const LARGEST_JITTER: u64 = 3_600_000_000_000;
/// How many parked subjects there are to each one in the table, where the policy does not say.
const PARKED_TIMES: usize = 4;

impl Plan {
    /// Checks `policy` and compiles it.
    ///
    /// # Errors
    ///
    /// All that is wrong with it, each with its key and what would be accepted. Problems have no line here;
    /// [`Plan::from_toml`] gives them one.
    pub fn new(policy: &Policy) -> Result<Plan, PolicyError> {
        if let Some(problem) = other_version(policy.version) {
            return Err(PolicyError::new(vec![problem]));
        }
        let mut compiler = Compiler::new(policy);
        let plan = compiler.plan();
        if compiler.problems.is_empty() { Ok(plan) } else { Err(PolicyError::new(compiler.problems)) }
    }
}

/// The problem of a policy of another version, whose keys need not be ours; it is told alone.
pub(super) fn other_version(version: u64) -> Option<Problem> {
    // 0 is a version that is missing, in a policy that may else be ours.
    (version != VERSION && version != 0).then(|| {
        let message = format!("version {version} is not known; this release reads `version = {VERSION}`");
        Problem::new(KeyPath::root().key("version"), message)
    })
}

/// What a pass over a policy has found so far.
struct Compiler<'a> {
    policy: &'a Policy,
    problems: Vec<Problem>,
    warnings: Vec<String>,
    /// Valid from here on: 1 where the policy's are not.
    replicas: u64,
    largest_factor: u32,
    /// The zone that quotas follow at this point of the pass.
    zone: &'a str,
    /// Whether there is such a zone, as far as was asked.
    zone_is_known: bool,
    /// The zones that organizations may be in.
    zones: Vec<&'a str>,
    /// How many calendars there are at most, where organizations may be in zones, else 0; and whether the rules at this point
    /// of the pass follow those.
    most_calendars: u8,
    follows: bool,
    calendars: Vec<Calendar>,
}

impl<'a> Compiler<'a> {
    fn new(policy: &'a Policy) -> Compiler<'a> {
        Compiler {
            policy,
            problems: Vec::new(),
            warnings: Vec::new(),
            replicas: policy.replicas.max(1),
            largest_factor: u32::try_from(policy.largest_factor.clamp(1, LARGEST_FACTOR)).unwrap_or(1),
            zone: &policy.zone,
            zone_is_known: true,
            zones: Vec::new(),
            most_calendars: 0,
            follows: false,
            calendars: Vec::new(),
        }
    }

    fn problem(&mut self, path: &KeyPath, message: impl Into<String>) {
        self.problems.push(Problem::new(path.clone(), message));
    }

    fn plan(&mut self) -> Plan {
        let root = KeyPath::root();
        if self.policy.version == 0 {
            self.problem(&root.key("version"), format!("missing; write `version = {VERSION}`"));
        }
        self.check_numbers(&root);
        let meters = self.meters(&root.key("meters"));
        self.check_zones(&root.key("zones"));
        let tiers = self.tiers(&root.key("tiers"), &meters);
        let (zones, tiers) = self.zones(&root.key("zones"), tiers, &meters);
        let anonymous = self.anonymous(&root.key("anonymous"), &tiers);
        let mut plan = Plan {
            policy: self.policy.clone(),
            meters,
            tiers,
            calendars: std::mem::take(&mut self.calendars).into_iter().map(Arc::new).collect(),
            zones,
            capacity: Capacity::default(),
            anonymous,
            replicas: self.replicas,
            zone: self.policy.zone.clone(),
            week_start: self.policy.week_start,
            on_drop: self.policy.on_drop,
            retry_jitter: self.policy.retry_jitter.map_or(0, |span| span.nanos),
            memory: self.policy.memory.0,
            largest_factor: self.largest_factor,
            evidence: self.evidence(&root.key("evidence")),
            warnings: Vec::new(),
        };
        self.capacity(&root.key("capacity"), &mut plan);
        plan.warnings = std::mem::take(&mut self.warnings);
        plan.number(0);
        plan
    }

    fn check_numbers(&mut self, root: &KeyPath) {
        self.zone_is_known = self.is_zone(&root.key("zone"), self.zone);
        if self.policy.replicas == 0 {
            self.problem(&root.key("replicas"), "there must be at least 1 process");
        }
        if self.policy.retry_jitter.is_some_and(|span| span.nanos > LARGEST_JITTER) {
            self.problem(&root.key("retry_jitter"), "expected at most `1h`");
        }
        if !(1..=LARGEST_FACTOR).contains(&self.policy.largest_factor) {
            let message =
                format!("{} is out of range; expected 1 to {LARGEST_FACTOR}", self.policy.largest_factor);
            self.problem(&root.key("largest_factor"), message);
        }
    }

    /// `text` as a name, with a problem at `path` if it is not one.
    fn name<const N: usize>(&mut self, path: &KeyPath, what: &str, text: &str) -> Option<Name<N>> {
        if text.is_empty() {
            self.problem(path, format!("a {what} needs a name that is not empty"));
            return None;
        }
        if let Some(odd) = text.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')))
        {
            let message = format!(
                "the name of a {what} has the character {odd:?}; expected letters a to z, digits, `_`, `-`, `.`"
            );
            self.problem(path, message);
            return None;
        }
        let name = Name::new(text);
        if name.is_none() {
            let message = format!("the name of a {what} has {} bytes; at most {N} fit", text.len());
            self.problem(path, message);
        }
        name
    }

    fn meters(&mut self, path: &KeyPath) -> Vec<MeterPlan> {
        let written = &self.policy.meters;
        if written.is_empty() {
            self.problem(path, "names no meter; expected 1 to 8, such as `meters = [\"requests\"]`");
        }
        if written.len() > MAX_METERS {
            let message = format!("names {} meters; at most {MAX_METERS} fit", written.len());
            self.problem(path, message);
        }
        let mut meters = Vec::new();
        for (index, meter) in written.iter().enumerate() {
            let path = path.index(index);
            let name = self.name(&path, "meter", &meter.name);
            if written.iter().take(index).any(|earlier| earlier.name == meter.name) {
                self.problem(&path, format!("the meter `{}` is named twice", meter.name));
            }
            if meter.least.0 == 0 {
                self.problem(&path.key("least"), "a request that spends any spends at least 1");
            }
            meters.extend(name.map(|name| MeterPlan { name, retired: false, least: meter.least.0 }));
        }
        meters
    }

    /// The meter that a policy calls `name`, or a problem at `path`.
    fn meter(&mut self, path: &KeyPath, name: &str) -> Option<(Meter, u64)> {
        let written = &self.policy.meters;
        let index = written.iter().position(|meter| meter.name == name);
        let Some(index) = index else {
            let known = written.iter().map(|meter| meter.name.as_str());
            let hint = match nearest(name, known.clone()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("expected one of {}", listed(known)),
            };
            self.problem(path, format!("there is no such meter; {hint}"));
            return None;
        };
        let least = written.get(index).map_or(1, |meter| meter.least.0);
        // None for a ninth meter, of which there is a problem already.
        Meter::from_index(index).map(|meter| (meter, least))
    }

    fn tiers(&mut self, path: &KeyPath, meters: &[MeterPlan]) -> Vec<TierPlan> {
        let written = &self.policy.tiers;
        if written.is_empty() {
            self.problem(path, "there is no tier; expected at least one, such as `[tiers.free.account]`");
        }
        if written.len() > MAX_TIERS {
            let message = format!("there are {} tiers; at most {MAX_TIERS} fit", written.len());
            self.problem(path, message);
        }
        let mut tiers = Vec::new();
        for (name, tier) in written {
            let path = path.key(name);
            let plan_name = self.name(&path, "tier", name);
            let (levels, guard) = self.tier(&path, name, tier);
            if let Some(name) = plan_name {
                tiers.push(TierPlan::new(name, levels, guard, meters));
            }
        }
        tiers
    }

    /// Whether there is a `zone`, or a problem at `path`.
    fn is_zone(&mut self, path: &KeyPath, zone: &str) -> bool {
        let found = Calendar::new(Period::Day, zone, self.policy.week_start);
        found.map_err(|error| self.problem(path, error.to_string())).is_ok()
    }

    fn tier(&mut self, path: &KeyPath, name: &str, tier: &'a PolicyTier) -> ([LevelPlan; 3], GuardPlan) {
        let of_policy = self.zone;
        match &tier.zone {
            // Told where it is wrong; the other checks go on.
            Some(zone) if self.is_zone(&path.key("zone"), zone) => self.zone = zone,
            _ => {}
        }
        self.follows = true;
        let mut account = self.level(&path.key("account"), &tier.account);
        let organization = self.level(&path.key("organization"), &tier.organization);
        self.follows = false;
        let pool = self.level(&path.key("pool"), &tier.pool);
        let cohort = self.level(&path.key("cohort"), &tier.cohort);
        self.zone = of_policy;
        let mut total = match &tier.total {
            None => {
                self.problem(
                    path,
                    "has no `total`, so nothing would bound what the tier as a whole can take; give it rules, \
                     or say `total = \"unlimited\"`",
                );
                Vec::new()
            }
            Some(PolicyTotal::Unlimited) => {
                self.warnings.push(format!(
                    "tier {name}: the total is unlimited, so nothing bounds what all of its accounts take together"
                ));
                Vec::new()
            }
            Some(PolicyTotal::Rules(rules)) => {
                if rules.is_empty() {
                    let message = "is empty; give it rules, or say `total = \"unlimited\"`";
                    self.problem(&path.key("total"), message);
                }
                self.level(&path.key("total"), rules)
            }
        };
        self.check_binding(&[&account, &organization, &total], 3);
        self.warn_of_open_meters(name, tier, [&account, &organization, &total]);
        self.count_the_rest([&account, &organization], &mut total);
        let shared = pool.len() + cohort.len();
        let (account_rules, total_rules) = (&mut account, &mut total);
        let guard =
            self.guard(path, tier, Levels { account: account_rules, total: total_rules, pool, cohort });
        let levels = [(Level::Account, account), (Level::Organization, organization), (Level::Tier, total)];
        let rules = levels.iter().map(|(_, rules)| rules.len()).sum::<usize>() + shared;
        if rules > MAX_PATH_RULES {
            let message = format!(
                "an account, its organization, the total, the pool and the cohort have {rules} rules together \
                 (meters that are only counted take one each in the total); at most {MAX_PATH_RULES} fit"
            );
            self.problem(path, message);
        }
        let levels = levels.map(|(level, rules)| {
            let key = if level == Level::Tier { "total".to_owned() } else { level.to_string() };
            self.finish_level(&path.key(&key), rules)
        });
        (levels, guard)
    }

    /// Says which meters a total with rules leaves open: the sum over a tier's accounts is then not bounded.
    fn warn_of_open_meters(&mut self, name: &str, tier: &PolicyTier, levels: [&Vec<Placed>; 3]) {
        if !matches!(tier.total, Some(PolicyTotal::Rules(_))) {
            return;
        }
        let [account, organization, total] = levels;
        for (index, meter) in self.policy.meters.iter().enumerate() {
            let on_meter = |placed: &&Placed| placed.rule.meter.index() == index;
            let bounded = total.iter().filter(on_meter).any(|placed| placed.rule.is_bounding());
            let limited = account.iter().chain(organization).chain(total).any(|placed| on_meter(&placed));
            if limited && !bounded {
                self.warnings.push(format!(
                    "tier {name}: the total does not bound {}, so many accounts together have no limit on it",
                    meter.name
                ));
            }
        }
    }

    fn anonymous(&mut self, path: &KeyPath, tiers: &[TierPlan]) -> Option<usize> {
        let name = self.policy.anonymous.as_deref()?;
        if !self.policy.tiers.contains_key(name) {
            let known = self.policy.tiers.keys().map(String::as_str);
            let hint = match nearest(name, known.clone()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("expected one of {}", listed(known)),
            };
            self.problem(path, format!("there is no tier {name:?}; {hint}"));
        }
        tiers.iter().position(|tier| tier.name.as_str() == name)
    }

    fn capacity(&mut self, path: &KeyPath, plan: &mut Plan) {
        let written = &self.policy.capacity;
        let lasting = |level: Level| {
            plan.tiers
                .iter()
                .any(|tier| tier.level(level).rules.iter().any(|rule| rule.limit.outlives_idling()))
        };
        let (accounts_last, organizations_last) = (lasting(Level::Account), lasting(Level::Organization));
        let accounts = self.subjects(&path.key("accounts"), written.accounts, 1);
        let organizations = self.subjects(&path.key("organizations"), written.organizations, 1);
        let mut parked = |key: &str, written: Option<Amount>, last: bool, of: usize| match written {
            Some(count) => {
                if !last && count.0 > 0 {
                    self.warnings.push(format!(
                        "capacity.{key}: no tier has a quota or a budget there, so nothing is ever parked"
                    ));
                }
                self.subjects(&path.key(key), count, 0)
            }
            None if last => of.saturating_mul(PARKED_TIMES).min(u32::MAX as usize),
            None => 0,
        };
        let parked_accounts = parked("parked_accounts", written.parked_accounts, accounts_last, accounts);
        let parked_organizations =
            parked("parked_organizations", written.parked_organizations, organizations_last, organizations);
        let spare_rules = self.most_of(&path.key("spare_rules"), written.spare_rules, MAX_RULES);
        let spare_tiers = self.most_of(&path.key("spare_tiers"), written.spare_tiers, MAX_TIERS);
        plan.capacity = Capacity {
            accounts,
            organizations,
            parked_accounts,
            parked_organizations,
            spare_rules,
            spare_tiers: spare_tiers.min(MAX_TIERS - plan.tiers.len().min(MAX_TIERS)),
        };
        let bytes = plan.table_bytes();
        let all = bytes.total.saturating_add(bytes.evidence);
        if all > plan.memory {
            let evidence = match bytes.evidence {
                0 => String::new(),
                bytes => format!(" and evidence {bytes} more"),
            };
            let message = format!(
                "the tables would take {} bytes (an account {}, an organization {}, parked {} and {}){evidence}, more \
                 than the memory of {}; lower the capacity, or say `memory = \"{}\"`",
                bytes.total,
                bytes.account,
                bytes.organization,
                bytes.parked_account,
                bytes.parked_organization,
                ByteSize(plan.memory),
                ByteSize(all.div_ceil(1 << 20).saturating_mul(1 << 20)),
            );
            self.problem(path, message);
        }
    }

    /// A number of at most `most`.
    fn most_of(&mut self, path: &KeyPath, written: Amount, most: usize) -> usize {
        match usize::try_from(written.0) {
            Ok(count) if count <= most => count,
            _ => {
                self.problem(path, format!("{written} is out of range; expected 0 to {most}"));
                0
            }
        }
    }

    /// A number of subjects that a table can hold.
    fn subjects(&mut self, path: &KeyPath, written: Amount, least: u64) -> usize {
        let most = u64::from(u32::MAX);
        if !(least..=most).contains(&written.0) {
            self.problem(path, format!("{written} is out of range; expected {least} to {most}"));
        }
        usize::try_from(written.0.clamp(least, most)).unwrap_or(usize::MAX)
    }
}

/// Names in back quotes, with commas; not all of a great many.
fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    const SHOWN: usize = 12;
    let quoted: Vec<String> = names.take(SHOWN + 1).map(|name| format!("`{name}`")).collect();
    match quoted.get(..SHOWN) {
        Some(shown) if quoted.len() > SHOWN => format!("{} and others", shown.join(", ")),
        _ if quoted.is_empty() => "none (there are none)".to_owned(),
        _ => quoted.join(", "),
    }
}
