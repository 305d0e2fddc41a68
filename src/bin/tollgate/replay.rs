//! `tollgate replay`: what a policy would have done.

use std::{
    fs::File,
    io::{self, BufWriter, IsTerminal, Read, Write},
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use tollgate::{Description, Plan, Policy};

use crate::{
    ablate,
    baseline::Baseline,
    compare,
    decisions::Decisions,
    drive::{Admitted, Driven, Driver},
    failure::Failure,
    page,
    pipeline::{self, DEPTH},
    record::{Difference, Labelled, RuleKey, Watched},
    report,
    row::{Batch, Source},
    score::{Score, Verdict},
};

/// The policy that is used where none is named.
const EXAMPLE_POLICY: &str = include_str!("../../../examples/policy.toml");

/// What to replay, and how.
#[derive(Debug)]
pub(crate) struct Options {
    /// The example policy if none.
    pub(crate) policy: Option<PathBuf>,
    pub(crate) json: Option<PathBuf>,
    pub(crate) decisions: Option<PathBuf>,
    pub(crate) secret: u64,
    /// Whether evidence counts.
    pub(crate) evidence: bool,
    pub(crate) html: Option<PathBuf>,
    /// Another policy, to tell what it would do otherwise.
    pub(crate) compare: Option<PathBuf>,
    pub(crate) baseline: bool,
    pub(crate) output_estimate: u32,
}

/// The outcome as data.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) requests: u64,
    pub(crate) simulated_seconds: f64,
    pub(crate) wall_seconds: f64,
    pub(crate) policy: Verdict,
    /// `null` where it was not asked for.
    pub(crate) baseline: Option<Verdict>,
}

/// The policy at `path`, or the example.
pub(crate) fn read_policy(path: Option<&Path>) -> Result<Plan, Failure> {
    compile_policy(&policy_text(path)?, path.unwrap_or(Path::new("the example policy")))
}

/// The text of the policy at `path`, or of the example.
pub(crate) fn policy_text(path: Option<&Path>) -> Result<String, Failure> {
    path.map_or_else(|| Ok(EXAMPLE_POLICY.to_owned()), read_policy_text)
}

/// Compiles the text of the policy at `path`.
pub(crate) fn compile_policy(text: &str, path: &Path) -> Result<Plan, Failure> {
    Plan::from_toml(text).map_err(|error| Failure::file(path, error))
}

/// The text of the policy at `path`.
pub(crate) fn read_policy_text(path: &Path) -> Result<String, Failure> {
    // Not every file that is named by mistake is small; no policy is larger than this.
    const LARGEST: u64 = 16 << 20;
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|error| Failure::file(path, error))?;
    if bytes.len() as u64 > LARGEST {
        return Err(Failure::file(path, "line 1: larger than 16 MiB; a policy is a short text"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes().iter().take(valid).filter(|byte| **byte == b'\n').count();
        Failure::file(path, format_args!("line {line}: not UTF-8 text; a policy is TOML"))
    })
}

/// Replays `source` and tells the outcome.
pub(crate) fn run(
    options: &Options,
    source: Box<dyn Source + Send>,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let start = Instant::now();
    let (first, plan) = Side::read(options.policy.as_deref(), options.evidence)?;
    let other =
        options.compare.as_deref().map(|path| Side::read(Some(path), options.evidence)).transpose()?;
    for path in options.json.iter().chain(&options.html) {
        // A path that cannot be written to is better known now; an earlier outcome stays until there is a new one.
        let opened = File::options().create(true).append(true).open(path);
        opened.map_err(|error| Failure::file(path, error))?;
    }
    let name = source.name();
    let progress = progress(source.expected_rows());
    let mut baseline = options.baseline.then(|| Baseline::new(&first.description));
    let drive = |plan| {
        let mut driver = Driver::new(plan, name.clone(), options.output_estimate, options.secret)?;
        if options.html.is_some() {
            driver.watch();
        }
        Ok(driver)
    };
    let decisions = options.decisions.as_deref().map(Decisions::create).transpose()?;
    let driver = drive(plan)?.with_decisions(decisions);
    let (other, other_driver) = match other {
        Some((side, plan)) => (Some(side), Some(drive(plan)?)),
        None => (None, None),
    };
    if let (Some(baseline), true) = (&mut baseline, options.html.is_some()) {
        baseline.record_traffic();
    }
    let run = replay(driver, other_driver, baseline, source, &progress);
    progress.finish_and_clear();
    let run = run?;
    let (requests, end_ms) = (run.requests, run.end_ms);
    let policy = Told::of(run.policy, &first.description, end_ms);
    let mut baseline = run.baseline;
    let baseline_traffic = baseline.as_mut().map(Score::take_traffic);
    let outcome = Outcome {
        requests,
        simulated_seconds: end_ms as f64 / 1000.0,
        wall_seconds: start.elapsed().as_secs_f64(),
        policy: policy.verdict.clone(),
        baseline: baseline.map(Score::finish),
    };
    let other = other.zip(run.other).map(|(side, (driven, difference))| {
        let told = Told::of(driven, &side.description, end_ms);
        let settings = compare::settings(&first.policy, &side.policy);
        Compared { name: side.name, settings, difference, told }
    });
    if let Some(path) = &options.json {
        write_json(path, &outcome).map_err(|error| Failure::file(path, error))?;
    }
    let story = Story {
        source: name,
        policy_name: first.name,
        description: first.description,
        outcome,
        policy,
        baseline_traffic,
        other,
        end_ms,
    };
    if let Some(path) = &options.html {
        page::write(path, &story).map_err(|error| Failure::file(path, error))?;
    }
    report::write(out, &story).map_err(|error| Failure::output(&error))
}

/// One of the policies that a trace is replayed under.
struct Side {
    name: String,
    policy: Policy,
    description: Description,
}

impl Side {
    /// The policy at `path`, without its evidence if that is not wanted.
    fn read(path: Option<&Path>, evidence: bool) -> Result<(Side, Plan), Failure> {
        let text = policy_text(path)?;
        let named = path.unwrap_or(Path::new("the example policy"));
        // All its problems, with their lines.
        let plan = compile_policy(&text, named)?;
        let mut policy: Policy = toml::from_str(&text).map_err(|error| Failure::file(named, error))?;
        let plan = if evidence {
            plan
        } else {
            ablate::evidence(&mut policy);
            Plan::new(&policy).map_err(|error| Failure::file(named, error))?
        };
        Ok((Side { name: named.display().to_string(), policy, description: plan.describe() }, plan))
    }
}

/// What `plan` does with `source`, and nothing beside it.
pub(crate) fn verdict_of(
    plan: Plan,
    source: Box<dyn Source + Send>,
    output_estimate: u32,
) -> Result<Verdict, Failure> {
    let driver = Driver::new(plan, source.name(), output_estimate, 0)?;
    Ok(verdict(replay(driver, None, None, source, &ProgressBar::hidden())?.policy))
}

fn write_json(path: &Path, outcome: &Outcome) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    serde_json::to_writer_pretty(&mut file, outcome)?;
    writeln!(file)?;
    file.flush()
}

/// A bar on a terminal, silence elsewhere.
fn progress(rows: Option<u64>) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (bar, style) = match rows {
        Some(rows) => (ProgressBar::new(rows), "{wide_bar} {human_pos} of {human_len} requests, {eta} left"),
        None => (ProgressBar::no_length(), "{spinner} {human_pos} requests, {per_sec}"),
    };
    bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(5));
    // The templates are fixed; a wrong one would only make the bar plain.
    bar.with_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()))
}

struct Run {
    requests: u64,
    end_ms: u64,
    policy: Driven,
    other: Option<(Driven, Difference)>,
    baseline: Option<Score>,
}

/// What came of one policy.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) verdict: Verdict,
    /// What each tier could be admitted at most, and was.
    pub(crate) bounds: Vec<report::Bound>,
    /// By time and label, where the replay was watched.
    pub(crate) traffic: Vec<Labelled>,
    pub(crate) watched: Watched,
}

impl Told {
    fn of(mut driven: Driven, description: &Description, end_ms: u64) -> Told {
        let bounds = bounds(&driven.limiter.plan(), description, &driven.admitted, end_ms);
        let traffic = driven.score.take_traffic();
        let mut watched = driven.watched.take().unwrap_or_default();
        watched.widen(traffic.first().map_or(0, |labelled| labelled.counts.width_ms()));
        Told { bounds, traffic, watched, verdict: verdict(driven) }
    }
}

fn verdict(driven: Driven) -> Verdict {
    let cohorts = driven.limiter.statistics().evidence.map_or(0, |evidence| evidence.cohorts);
    Verdict { cohorts, ..driven.score.finish() }
}

/// Another policy over the same trace.
#[derive(Debug)]
pub(crate) struct Compared {
    pub(crate) name: String,
    /// What it says otherwise.
    pub(crate) settings: Vec<compare::Setting>,
    pub(crate) difference: Difference,
    pub(crate) told: Told,
}

/// All that there is to tell about a replay.
#[derive(Debug)]
pub(crate) struct Story {
    pub(crate) source: String,
    pub(crate) policy_name: String,
    pub(crate) description: Description,
    pub(crate) outcome: Outcome,
    pub(crate) policy: Told,
    pub(crate) baseline_traffic: Option<Vec<Labelled>>,
    pub(crate) other: Option<Compared>,
    pub(crate) end_ms: u64,
}

/// Reads on one thread, decides by the baseline on another, by another policy on a third, and by the policy on this
/// one.
fn replay(
    mut driver: Driver,
    other: Option<Driver>,
    baseline: Option<Baseline>,
    source: Box<dyn Source + Send>,
    progress: &ProgressBar,
) -> Result<Run, Failure> {
    let (to_policy, parcels) = mpsc::sync_channel(DEPTH);
    let mut others = Vec::new();
    let baseline = baseline.map(|mut baseline| {
        let (to_baseline, batches) = mpsc::sync_channel(DEPTH);
        others.push(to_baseline);
        thread::spawn(move || {
            pipeline::consume(&batches, |batch: &Batch| baseline.decide(batch));
            baseline.finish()
        })
    });
    let mut other = other.map(|driver| {
        let (to_other, batches) = mpsc::sync_channel(DEPTH);
        others.push(to_other);
        compare::Beside::start(driver, batches)
    });
    // Not scoped: after a failure nobody waits for a reader whose input may never come.
    thread::spawn(move || pipeline::produce(source, &to_policy, &others));
    let (mut requests, mut end_ms) = (0, 0);
    let mut decisions = Vec::new();
    for parcel in parcels {
        let batch = parcel?;
        decisions.clear();
        let is_compared = other.is_some();
        driver.decide(&batch, |denial| {
            if is_compared {
                decisions.push(denial.map(RuleKey::of));
            }
        })?;
        if let Some(other) = &mut other {
            other.compare(&batch, &decisions)?;
        }
        requests += batch.rows.len() as u64;
        end_ms = batch.rows.last().map_or(end_ms, |row| row.at_ms);
        progress.set_position(requests);
    }
    let policy = driver.finish()?;
    let other = other.map(compare::Beside::finish).transpose()?;
    let baseline = baseline.map(thread::JoinHandle::join).transpose();
    // The baseline has no panic of its own; were there one, this would still say which half is missing.
    let baseline = baseline.map_err(|_| Failure::new("the baseline stopped unexpectedly"))?;
    Ok(Run { requests, end_ms, policy, other, baseline })
}

/// What each tier could be admitted at most while the trace lasted, beside what it was admitted.
fn bounds(plan: &Plan, policy: &Description, admitted: &[Admitted], end_ms: u64) -> Vec<report::Bound> {
    let span = Duration::from_millis(end_ms + 1);
    let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
    let rows = admitted.iter().flat_map(|admitted| {
        let amounts = admitted.amounts.iter().zip(&admitted.honest);
        policy.meters.iter().zip(amounts).map(|(meter, (amount, honest))| report::Bound {
            tier: admitted.tier.to_string(),
            meter: meter.name.as_str().to_owned(),
            most: plan.tier_bound(&admitted.tier, meter.name.as_str(), nanos),
            honest: *honest,
            admitted: *amount,
        })
    });
    rows.collect()
}
