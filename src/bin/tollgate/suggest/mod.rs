//! `tollgate suggest`: a policy sized from one's own traffic.
//!
//! Labels play no part. The text is the same every time it is made from the same trace.

mod base;
mod document;
mod observe;
mod size;
mod statistics;
mod write;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use tollgate::Plan;

use self::{document::Document, observe::Observed};
use crate::{failure::Failure, row::Source};

/// What to size, and where to put it.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) out: PathBuf,
    pub(crate) base: Option<PathBuf>,
    /// The share of new accounts whose first week fits.
    pub(crate) new_fit: f64,
}

/// Writes the policy that fits `source`, and says on `out` what came of it.
pub(crate) fn run(options: &Options, mut source: impl Source, out: &mut impl Write) -> Result<(), Failure> {
    let base = options.base.as_deref().map(base::read).transpose()?;
    let name = source.name();
    let mut observed = Observed::default();
    loop {
        let batch = source.next_batch()?;
        if batch.rows.is_empty() {
            break;
        }
        observed.add(&batch);
    }
    if observed.rows == 0 {
        return Err(Failure::new(format!(
            "{name}: has no requests, so there is nothing to size from; a trace of a week or more is best"
        )));
    }
    let mut tiers: Vec<_> =
        observed.tiers.iter().map(|tier| (tier, size::size(&observed, tier, options.new_fit))).collect();
    write::rank(&mut tiers);
    let shown = Path::new(&name).file_name().map_or(name.clone(), |name| name.to_string_lossy().into_owned());
    let mut document = write::policy(&observed, &tiers, &shown);
    if let Some(base) = &base {
        base::keep(&mut document, base);
    }
    // Nothing is written that `lint` would refuse.
    let (plan, left_out) = settle(&mut document)?;
    let text = document.text();
    fs::write(&options.out, &text).map_err(|error| Failure::file(&options.out, error))?;
    summary(options, &observed, &tiers, (&plan, &left_out), out).map_err(|error| Failure::output(&error))
}

/// Takes out rules that could never bind, one after another, until the rest is a policy.
///
/// A limit that a base policy sets by hand may be wider than what was sized beside it, or tighter.
fn settle(document: &mut Document) -> Result<(Plan, Vec<String>), Failure> {
    let mut left_out = Vec::new();
    loop {
        let error = match Plan::from_toml(&document.text()) {
            Ok(plan) => return Ok((plan, left_out)),
            Err(error) => error,
        };
        let pointless = |problem: &&tollgate::Problem| problem.message().contains("can never bind");
        let line = error.problems().iter().filter(pointless).find_map(tollgate::Problem::line);
        match line.and_then(|line| document.remove(line)) {
            Some(rule) => left_out.push(rule),
            None => {
                let message = format!("the suggested policy is not valid: {error}; try it without a base");
                return Err(Failure::new(message));
            }
        }
    }
}

fn summary(
    options: &Options,
    observed: &Observed,
    tiers: &[(&observe::Tier, size::Sizes)],
    (plan, left_out): (&Plan, &[String]),
    out: &mut impl Write,
) -> std::io::Result<()> {
    let (rows, days) = (observed.rows, observed.span_days());
    writeln!(out, "{}: sized from {rows} requests in {days:.1} days", options.out.display())?;
    for (tier, sizes) in tiers {
        write!(out, "  {}: {} accounts", tier.name, tier.accounts.len())?;
        if sizes.few {
            write!(out, "; too few for percentiles: {} times the busiest", size::FEW_MARGIN)?;
        }
        if sizes.scale > 1.0 {
            write!(out, "; shorter than a day, taken {:.1} times", sizes.scale)?;
        }
        let (beyond, share) = sizes.beyond;
        write!(out, "; {beyond} beyond their own quotas, by {:.1}% of the tier's requests", share * 100.0)?;
        match (&sizes.young, &sizes.no_pool) {
            (Some(young), _) => {
                write!(out, "; a pool for {} accounts younger than {} days", young.accounts, young.age_days)?;
            }
            (None, Some(why)) => write!(out, ". {why}")?,
            (None, None) => {}
        }
        writeln!(out)?;
    }
    for rule in left_out {
        writeln!(out, "  left out, for others always refuse first: {rule}")?;
    }
    for warning in plan.describe().warnings {
        writeln!(out, "  warning: {warning}")?;
    }
    out.flush()
}
