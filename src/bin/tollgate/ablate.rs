//! `tollgate ablate`: what each mechanism of a policy buys, by running it without and with.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use tollgate::{Plan, Policy, PolicyEvidence, PolicyLevel, PolicyTier, PolicyTotal};

use crate::{
    failure::Failure,
    replay,
    report::{Table, percent},
    row::Source,
    score::Verdict,
};

/// Kinds of evidence that a trace can show.
const KINDS: [&str; 8] = ["place", "payment", "prompt", "model", "rhythm", "movement", "lockstep", "other"];

/// Takes something out of a policy.
type Strip = Box<dyn Fn(&mut Policy)>;

/// Replays `open()` under parts of the policy at `path`, from the least to the whole, and prints a line for each.
pub(crate) fn run(
    path: Option<&Path>,
    output_estimate: u32,
    open: impl Fn() -> Result<Box<dyn Source + Send>, Failure>,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let text = replay::policy_text(path)?;
    let named = path.map_or_else(|| PathBuf::from("the example policy"), Path::to_path_buf);
    // All its problems, with their lines.
    replay::compile_policy(&text, &named)?;
    let policy: Policy = toml::from_str(&text).map_err(|error| Failure::file(&named, error))?;
    let mut table: Option<Table> = None;
    for (name, strip) in steps() {
        let mut policy = policy.clone();
        strip(&mut policy);
        let plan = Plan::new(&policy)
            .map_err(|error| Failure::file(&named, format_args!("with {name}: {error}")))?;
        let verdict = replay::verdict_of(plan, open()?, output_estimate)?;
        let table = table.get_or_insert_with(|| Table::new(&header(&verdict)));
        table.row(row(name, &verdict));
    }
    let write = |out: &mut dyn Write| -> io::Result<()> {
        writeln!(
            out,
            "Each line has what the lines above it have, up to the pool; a kind of evidence stands alone."
        )?;
        writeln!(
            out,
            "Attacks: requests admitted. Honest: requests denied by anything but their own account's and"
        )?;
        writeln!(out, "organization's untightened rules, and accounts that lost over 1% that way.\n")?;
        table.map_or(Ok(()), |table| table.write(out, 1))?;
        out.flush()
    };
    write(out).map_err(|error| Failure::output(&error))
}

/// From the least to the whole.
fn steps() -> Vec<(&'static str, Strip)> {
    let mut steps: Vec<(&'static str, Strip)> = vec![
        (
            "accounts' rates",
            Box::new(|policy| {
                [quotas, organizations, totals, newcomers, evidence].iter().for_each(|strip| strip(policy))
            }),
        ),
        (
            "+ organizations' rates",
            Box::new(|policy| [quotas, totals, newcomers, evidence].iter().for_each(|strip| strip(policy))),
        ),
        (
            "+ quotas, tier totals",
            Box::new(|policy| [newcomers, evidence].iter().for_each(|strip| strip(policy))),
        ),
        ("+ ramp, pool, light reserve", Box::new(evidence)),
    ];
    for kind in KINDS {
        steps.push((
            kind,
            Box::new(move |policy| {
                if let Some(evidence) = &mut policy.evidence {
                    evidence.kinds = vec![kind.to_owned()];
                }
            }),
        ));
    }
    steps.push(("all evidence", Box::new(|_| {})));
    steps
}

fn each_tier(policy: &mut Policy, strip: impl Fn(&mut PolicyTier)) {
    policy.tiers.values_mut().for_each(strip);
}

fn without_quotas(level: &mut PolicyLevel) {
    level.values_mut().for_each(|rules| rules.0.retain(|rule| rule.quota.is_none()));
    level.retain(|_, rules| !rules.0.is_empty());
}

fn quotas(policy: &mut Policy) {
    each_tier(policy, |tier| {
        without_quotas(&mut tier.account);
        without_quotas(&mut tier.organization);
    });
}

fn organizations(policy: &mut Policy) {
    each_tier(policy, |tier| tier.organization.clear());
}

fn totals(policy: &mut Policy) {
    each_tier(policy, |tier| tier.total = Some(PolicyTotal::Unlimited));
}

fn newcomers(policy: &mut Policy) {
    each_tier(policy, |tier| {
        tier.pool.clear();
        (tier.ramp, tier.light_reserve) = (None, None);
    });
}

/// Takes out all evidence, and what it leads to.
pub(crate) fn evidence(policy: &mut Policy) {
    policy.evidence = None::<PolicyEvidence>;
    each_tier(policy, |tier| {
        tier.cohort.clear();
        tier.floor.clear();
        tier.sensitivity = None;
    });
}

fn header(verdict: &Verdict) -> Vec<&str> {
    let attacks = verdict.labels.keys().filter(|label| is_attack(label)).map(|label| &**label);
    let mut header: Vec<&str> = std::iter::once("limits").chain(attacks).collect();
    header.extend(["honest denied", "honest hurt", "cohorts"]);
    header
}

fn row(name: &str, verdict: &Verdict) -> Vec<String> {
    let mut row = vec![name.to_owned()];
    let attacks = verdict.labels.iter().filter(|(label, _)| is_attack(label));
    row.extend(attacks.map(|(_, score)| percent(score.admitted, score.offered)));
    let (mut offered, mut denied, mut accounts, mut hurt) = (0, 0, 0, 0);
    for (_, score) in verdict.labels.iter().filter(|(label, _)| label.starts_with("legit")) {
        offered += score.offered;
        denied += score.denied - score.denied_by.account - score.denied_by.organization;
        accounts += score.accounts;
        hurt += score.accounts_hurt;
    }
    row.extend([percent(denied, offered), percent(hurt, accounts), verdict.cohorts.to_string()]);
    row
}

fn is_attack(label: &str) -> bool {
    label.starts_with("attack:")
}
