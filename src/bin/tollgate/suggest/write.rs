//! The sizes as a policy, each number with where it comes from.

use super::{
    document::{Document, Rule, Section, string},
    observe::{MEASURES, Observed, Tier},
    size::{
        COHORT, DAY, FEW, FEW_MARGIN, FIRST_WEEK, FLOOR, KEYS, LIGHT, Limits, ORGANIZATION, PACE, RAMP_WEEKS,
        SETTLED, Sizes, TOTAL, TOTAL_OVER_PEAK, WEEK, Young,
    },
    statistics::{readable, readable_below, said},
};

/// The meters that a trace measures.
pub(super) const METERS: [&str; MEASURES] = ["requests", "input_tokens", "output_tokens"];

/// Names of tiers from the least known identity to the best, where a trace uses these.
const LADDER: [&str; 7] = ["anonymous", "free", "unverified", "verified", "pro", "business", "enterprise"];

/// The kinds of evidence that a trace may have, as a policy names them.
const EVIDENCE: [&str; 4] = ["address", "payment", "client", "template"];

/// The policy for `tiers`, which are sorted from the least known identity to the best.
pub(super) fn policy(observed: &Observed, tiers: &[(&Tier, Sizes)], source: &str) -> Document {
    let mut document = Document { sections: vec![root(observed, tiers, source)] };
    let evidence = evidence(observed);
    for (index, (tier, sizes)) in tiers.iter().enumerate() {
        let place = Place {
            rank: index,
            next: tiers.get(index + 1).map(|(next, _)| &*next.name),
            observes: evidence.is_some(),
        };
        write_tier(&mut document, tier, sizes, place);
    }
    document.sections.extend(evidence);
    document
}

/// Sorts tiers by their names where these are known, else by what their accounts use.
pub(super) fn rank(tiers: &mut [(&Tier, Sizes)]) {
    tiers.sort_by(|(one, sizes), (other, others)| {
        let place = |tier: &Tier| LADDER.iter().position(|name| **name == *tier.name);
        let requests = |sizes: &Sizes| sizes.account.first().map_or(0, |limits| limits.day);
        match (place(one), place(other)) {
            (Some(one), Some(other)) => one.cmp(&other),
            _ => requests(sizes).cmp(&requests(others)).then_with(|| one.name.cmp(&other.name)),
        }
    });
}

fn root(observed: &Observed, tiers: &[(&Tier, Sizes)], source: &str) -> Section {
    let mut root = Section::new([]);
    let accounts: usize = tiers.iter().map(|(tier, _)| tier.accounts.len()).sum();
    let organizations: usize = tiers.iter().map(|(tier, _)| tier.organizations.len()).sum();
    root.notes.push(format!(
        "Suggested by `tollgate suggest` from {source}: {} requests of {accounts} accounts in {:.1} days.",
        observed.rows,
        observed.span_days()
    ));
    root.notes.push(
        "Beside each number: what it was taken from, and the margin. A percentile is over accounts (or \
         organizations); of three or more the largest is left out, so that no single one sets a limit. Read it, \
         replay it on other days, and change what you know better."
            .to_owned(),
    );
    root.plain("version", "1", "");
    root.plain("zone", "\"UTC\"", "the calendar of all quotas");
    let meters: Vec<String> = METERS.iter().map(|meter| string(meter)).collect();
    root.plain("meters", format!("[{}]", meters.join(", ")), "");
    if tiers.iter().any(|(tier, _)| &*tier.name == "anonymous") {
        root.plain("anonymous", "\"anonymous\"", "callers without a credential");
    }
    let room = |seen: usize, least: f64| readable((seen as f64 * 10.0).max(least));
    let (accounts_room, organizations_room) = (room(accounts, 10_000.0), room(organizations, 1_000.0));
    root.plain(
        "capacity",
        format!("{{ accounts = {accounts_room}, organizations = {organizations_room} }}"),
        format!("ten times the {accounts} and {organizations} seen"),
    );
    root
}

fn evidence(observed: &Observed) -> Option<Section> {
    let known: Vec<&str> = EVIDENCE
        .into_iter()
        .zip(observed.evidence)
        .filter_map(|(name, seen)| seen.then_some(name))
        .chain((observed.models > 1).then_some("model"))
        .collect();
    // A model alone ties nobody to anybody.
    if !observed.evidence.contains(&true) {
        return None;
    }
    let mut section = Section::new(["evidence"]);
    let names: Vec<String> = known.into_iter().map(string).collect();
    section.plain("attributes", format!("[{}]", names.join(", ")), "the columns that the trace has");
    section.plain("meter", "\"output_tokens\"", "what is harvested: compared among accounts");
    section.plain("half_life", "\"24h\"", "not sized: the trace does not say who is hostile");
    section.plain("shadow", "false", "true: judged and told, but nothing tightened");
    Some(section)
}

fn percent(share: f64) -> String {
    let number = format!("{:.1}", share * 100.0);
    format!("p{}", number.strip_suffix(".0").unwrap_or(&number))
}

/// How a level's numbers came about.
struct Sources {
    day: String,
    week: String,
    rate: String,
    burst: String,
}

fn quota(window: &str, limit: u64, comment: &str) -> Rule {
    Rule {
        kind: format!("quota/{window}"),
        text: format!("{{ quota = \"{}/{window}\" }}", said(limit)),
        comment: comment.to_owned(),
    }
}

fn rate(limits: &Limits, sources: &Sources) -> Rule {
    Rule {
        kind: "rate".to_owned(),
        text: format!("{{ rate = \"{}/min\", burst = \"{}\" }}", said(limits.rate), said(limits.burst)),
        comment: format!("{}; {}", sources.rate, sources.burst),
    }
}

/// The rules of one meter, those left out that a tighter one makes pointless.
fn rules(limits: &Limits, sources: &Sources, with_rate: bool) -> Vec<Rule> {
    let mut rules = Vec::new();
    if with_rate {
        rules.push(rate(limits, sources));
    }
    if limits.week.is_none_or(|week| limits.day < week) {
        rules.push(quota("day", limits.day, &sources.day));
    }
    if let Some(week) = limits.week.filter(|week| *week < limits.day.saturating_mul(7)) {
        rules.push(quota("week", week, &sources.week));
    }
    if let Some(month) = limits.month {
        rules.push(quota("month", month, &sources.week));
    }
    rules
}

/// Where a tier stands among the others.
#[derive(Clone, Copy)]
struct Place<'a> {
    rank: usize,
    /// The next better tier.
    next: Option<&'a str>,
    /// Whether the policy observes evidence; without it there are no cohorts.
    observes: bool,
}

fn write_tier(document: &mut Document, tier: &Tier, sizes: &Sizes, place: Place<'_>) {
    let name = &*tier.name;
    let mut head = Section::new(["tiers", name]);

    head.notes.push(format!(
        "{name}: {} accounts, {} organizations ({} with several accounts).",
        tier.accounts.len(),
        tier.organizations.len(),
        sizes.shared_organizations
    ));
    if sizes.few {
        head.notes.push(format!(
            "Fewer than {FEW} accounts: percentiles would say nothing, so their limits are {FEW_MARGIN} times the \
             busiest (of three or more, the busiest but one)."
        ));
    }
    if sizes.scale > 1.0 {
        head.notes.push(format!(
            "The trace is shorter than a day: what it has is taken {:.1} times for a day, and there are no weeks.",
            sizes.scale
        ));
    }
    head.notes.extend(sizes.no_pool.clone());
    let (accounts, share) = sizes.beyond;
    head.notes.push(format!(
        "Of what was offered, {accounts} accounts would miss requests by their own quotas: {:.1}% of the tier's. {}",
        share * 100.0,
        match (place.next, accounts) {
            (_, 0) => "",
            (Some(_), _) => "The way out is a better tier; if those are customers to keep, raise `week` or `start`.",
            (None, _) => "If those are customers to keep, raise `day` and `week`.",
        }
    ));
    tier_keys(&mut head, sizes, place);
    document.sections.push(head);
    let mut account = Section::new(["tiers", name, "account"]);
    let sources = account_sources(sizes);
    for (meter, limits) in METERS.iter().zip(&sizes.account) {
        account.rules(meter, rules(limits, &sources, true));
    }
    document.sections.push(account);
    let mut organization = Section::new(["tiers", name, "organization"]);
    for ((measure, meter), limits) in METERS.iter().enumerate().zip(&sizes.organization) {
        let sources = organization_sources(sizes, measure);
        let mut limits = *limits;
        if sizes.shared_organizations == 0 {
            // Beside the accounts' own, one window and two meters are enough.
            if *meter == "input_tokens" {
                continue;
            }
            limits.week = None;
        }
        organization.rules(meter, rules(&limits, &sources, *meter == "requests"));
    }
    document.sections.push(organization);
    let mut total = Section::new(["tiers", name, "total"]);
    for ((meter, limits), days) in METERS.iter().zip(&sizes.total).zip(sizes.days) {
        let sources = total_sources(limits, sizes, days);
        total.rules(meter, rules(limits, &sources, *meter == "requests"));
    }
    document.sections.push(total);
    if let Some(young) = &sizes.young {
        document.sections.extend(young_sections(name, young, sizes));
    }
    if place.observes {
        document.sections.extend(cohort_sections(name, sizes));
    }
}

fn tier_keys(head: &mut Section, sizes: &Sizes, place: Place<'_>) {
    if let Some(next) = place.next {
        head.plain("step_up", string(next), "the next better tier");
    }
    if sizes.light_share > 0.0 {
        head.plain(
            "light_reserve",
            format!("{{ share = {:.2}, below = {:.2} }}", sizes.light_share, sizes.light_below),
            format!(
                "share: a tenth, or what the busiest day left; below: {} of accounts' busiest day",
                percent(LIGHT)
            ),
        );
    }
    if place.observes {
        let sensitivity = 1.0 - 0.2 * (place.rank.min(3) as f64);
        head.plain("sensitivity", format!("{sensitivity:.1}"), "a better known identity needs more evidence");
    }
}

fn account_sources(sizes: &Sizes) -> Sources {
    let of = |what: &str, (share, margin): (f64, f64)| {
        if sizes.few {
            format!("{FEW_MARGIN} x the busiest account's {what}")
        } else {
            format!("{margin} x {} of accounts' busiest {what}", percent(share))
        }
    };
    let (day, week) = if sizes.persons { (DAY, WEEK) } else { (KEYS, KEYS) };
    let start = match sizes.young {
        Some(young) => format!(", or {} of new accounts' at {:.2} of it", percent(young.fit), young.start),
        None => String::new(),
    };
    Sources {
        day: of("day", day) + &start,
        week: of("week", week) + &start,
        rate: of("ten minutes", PACE),
        burst: "burst: of minutes".to_owned(),
    }
}

fn organization_sources(sizes: &Sizes, measure: usize) -> Sources {
    let (share, margins) = ORGANIZATION;
    let margin = margins.get(measure).copied().unwrap_or(FEW_MARGIN);
    let of = |what: &str| {
        if sizes.shared_organizations == 0 {
            return "no organization had several accounts: twice an account's".to_owned();
        }
        format!("{margin} x {} of organizations' busiest {what}, at least an account's", percent(share))
    };
    Sources {
        day: of("day"),
        week: of("week"),
        rate: if sizes.shared_organizations == 0 {
            of("")
        } else {
            format!("{} x {} of organizations' busiest ten minutes", PACE.1, percent(PACE.0))
        },
        burst: "burst: of minutes".to_owned(),
    }
}

fn total_sources(limits: &Limits, sizes: &Sizes, (high, peak): (u64, u64)) -> Sources {
    let (high, peak) = (high as f64 * sizes.scale, peak as f64 * sizes.scale);
    let sized = readable_below(high * TOTAL).max(readable(peak * TOTAL_OVER_PEAK));
    let day = if limits.day > sized {
        "an organization's own: the days offered less".to_owned()
    } else if high * TOTAL >= peak * TOTAL_OVER_PEAK {
        format!("{TOTAL} x the busiest day but one ({})", said(readable(high)))
    } else {
        format!("{TOTAL_OVER_PEAK} x the busiest day ({})", said(readable(peak)))
    };
    Sources {
        day,
        week: format!("{TOTAL} x the days' sum, the busiest counted as the next"),
        rate: "twice the day's pace".to_owned(),
        burst: "burst: 1.5 x what the busiest hours need".to_owned(),
    }
}

fn young_sections(name: &str, young: &Young, sizes: &Sizes) -> [Section; 2] {
    let mut pool = Section::new(["tiers", name, "pool"]);
    for ((meter, limit), (high, peak)) in METERS.iter().zip(young.pool).zip(young.offered) {
        let comment = format!(
            "the total less {SETTLED} x the others' busiest day but one; the new offered {} and {}",
            said(readable(peak as f64)),
            said(readable(high as f64))
        );
        pool.rules(meter, vec![quota("day", limit, &comment)]);
    }
    let mut ramp = Section::new(["tiers", name, "ramp"]);
    ramp.plain(
        "age",
        format!("\"{}d\"", young.age_days),
        format!(
            "the oldest of 45 to 180 days below which accounts offer under a sixth ({} did)",
            young.accounts
        ),
    );
    let weeks = sizes.account.first().is_some_and(|limits| limits.week.is_some());
    let (what, windows) = if weeks { ("week", "weeks'") } else { ("day", "days'") };
    if young.start < 1.0 {
        let comment = format!(
            "{FIRST_WEEK} x {} of new accounts' busiest {what}, as a share of the whole",
            percent(young.fit)
        );
        ramp.plain("start", format!("{:.2}", young.start), comment);
        ramp.plain(
            "use",
            format!("{{ requests = {} }}", young.use_requests),
            format!("{RAMP_WEEKS} whole {windows} quotas"),
        );
    }
    [pool, ramp]
}

fn cohort_sections(name: &str, sizes: &Sizes) -> [Section; 2] {
    let (accounts, share) = COHORT;
    let mut cohort = Section::new(["tiers", name, "cohort"]);
    for (meter, limit) in METERS.iter().zip(sizes.cohort).filter(|(meter, _)| **meter != "input_tokens") {
        let comment = format!("{accounts} accounts at {} of accounts' busiest day", percent(share));
        cohort.rules(meter, vec![quota("day", limit, &comment)]);
    }
    let mut floor = Section::new(["tiers", name, "floor"]);
    let window =
        if sizes.account.first().is_some_and(|limits| limits.week.is_some()) { "week" } else { "day" };
    let comment = format!("a {FLOOR}th of p50 of accounts' busiest {window}, 2 at least");
    floor.plain("requests", format!("\"{}/{window}\"", said(sizes.floor)), comment);
    [cohort, floor]
}
