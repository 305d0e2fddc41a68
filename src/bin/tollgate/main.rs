//! The `tollgate` command: what a rate-limiting policy means, and what it would have done.
#![forbid(unsafe_code)]

mod ablate;
mod baseline;
mod campaign;
mod compare;
mod contain;
mod convert;
mod decisions;
mod drive;
mod export;
mod failure;
mod meters;
mod page;
mod pipeline;
mod record;
mod replay;
mod report;
mod row;
mod score;
mod sink;
mod suggest;
mod trace;
mod usage;

use std::{
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};

use crate::{
    campaign::{Campaign, Settings},
    failure::Failure,
    replay::Options,
    row::Source,
    trace::Trace,
};

/// Rate limits, quotas and budgets: read a policy, and see what it would have done.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Replay(ReplayArguments),
    Lint(LintArguments),
    Suggest(SuggestArguments),
    Ablate(AblateArguments),
    Campaign(CampaignArguments),
    Usage(UsageArguments),
    Convert(Box<convert::Arguments>),
}

/// Runs a policy over recorded traffic, or over a generated campaign, on a simulated clock.
///
/// A trace is comma-separated text, plain or gzip, sorted by time. Its first line names the columns, in any
/// order: t_ms, account, org, tier, model, input_tokens and output_tokens, and where known ip, payment, client,
/// template, since_ms and label; others are ignored. t_ms is in milliseconds since the trace's start, which is
/// taken to be Monday, 2026-01-05T00:00:00Z; since_ms is when the account was made, on the same clock. A
/// request reserves its input and an estimate of its output; it settles its real output after half a second
/// and a second for each 60 tokens. Labels are for the score alone: legit* is honest, attack:* a campaign.
#[derive(Args)]
struct ReplayArguments {
    /// The policy (TOML); left out, the example policy.
    #[arg(long, value_name = "P.toml")]
    policy: Option<PathBuf>,
    /// The trace, `-` for standard input; left out, the generated campaign.
    #[arg(long, value_name = "T.csv.gz", conflicts_with_all = ["accounts", "exchanges", "days", "seed"])]
    trace: Option<PathBuf>,
    /// Writes the outcome as JSON.
    #[arg(long, value_name = "OUT.json")]
    json: Option<PathBuf>,
    /// Writes what became of each request, a word a line: `admitted`, or what refused; compressed if it ends in .gz.
    #[arg(long, value_name = "OUT.txt")]
    decisions: Option<PathBuf>,
    /// Writes the outcome as a page: what got in over time, how full totals were, whom evidence tied together, who was
    /// hurt. One file, that opens without a network.
    #[arg(long, value_name = "OUT.html")]
    html: Option<PathBuf>,
    /// Another policy over the same trace: what it would admit and deny otherwise, and to whom.
    #[arg(long, value_name = "OTHER.toml")]
    compare: Option<PathBuf>,
    /// Leaves out all evidence: what limits, totals, pools and ramps do with every detector blind.
    #[arg(long)]
    no_evidence: bool,
    /// Leaves out the comparison with the same account rates alone.
    #[arg(long)]
    no_baseline: bool,
    /// Output tokens that a request reserves before its answer is known.
    #[arg(long, value_name = "TOKENS", default_value_t = 512)]
    output_estimate: u32,
    /// The limiter's secret: which hashes of ids and attributes fall together is another with each, and decides little.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    secret: u64,
    #[command(flatten)]
    scale: ScaleArguments,
}

/// Prints what a policy means, resolved: limits, what they come to, warnings.
#[derive(Args)]
struct LintArguments {
    /// The policy (TOML).
    #[arg(value_name = "P.toml")]
    policy: PathBuf,
    /// Writes it as a page too.
    #[arg(long, value_name = "OUT.html")]
    html: Option<PathBuf>,
}

/// Sizes a policy from recorded traffic.
///
/// Limits of accounts and organizations, totals of tiers, the pool of new accounts and how they grow, each with a
/// comment that says which percentile of what was offered it is, and with what margin. A trace of a week or more
/// is best; see `replay` for its columns. Labels play no part.
#[derive(Args)]
struct SuggestArguments {
    /// The trace, `-` for standard input.
    #[arg(long, value_name = "T.csv.gz")]
    trace: PathBuf,
    /// Where the policy goes.
    #[arg(long, value_name = "P.toml")]
    out: PathBuf,
    /// A policy of which all is kept that the trace says nothing about.
    #[arg(long, value_name = "B.toml")]
    base: Option<PathBuf>,
    /// The share of new accounts, from 0.5 to 1, that is to fit into what the ramp leaves them: the more, the more a
    /// fleet of new accounts takes.
    #[arg(long, value_name = "SHARE", default_value_t = 0.9, value_parser = share)]
    new_fit: f64,
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.5..=1.0).contains(share));
    share.ok_or_else(|| "expected a number from 0.5 to 1, such as 0.95".to_owned())
}

/// Shows what each mechanism of a policy buys: replays parts of it, from accounts' rates alone to the whole.
#[derive(Args)]
struct AblateArguments {
    /// The policy (TOML); left out, the example policy.
    #[arg(long, value_name = "P.toml")]
    policy: Option<PathBuf>,
    /// The trace; left out, the generated campaign.
    #[arg(long, value_name = "T.csv.gz", conflicts_with_all = ["accounts", "exchanges", "days", "seed"])]
    trace: Option<PathBuf>,
    /// Output tokens that a request reserves before its answer is known.
    #[arg(long, value_name = "TOKENS", default_value_t = 512)]
    output_estimate: u32,
    #[command(flatten)]
    scale: ScaleArguments,
}

/// Prints what a file of checkpoints has counted: of each account, organization and tier, every quota in its window and every
/// budget, as comma-separated text.
///
/// Texts were kept as fingerprints (`text:...`), which `Limiter::fingerprint` makes of a name; organizations have their names. A
/// file that a limiter has open is locked: copy it, and read the copy.
#[derive(Args)]
struct UsageArguments {
    /// The file.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// A line of JSON for each account, organization and tier.
    #[arg(long)]
    json: bool,
}

/// Writes the generated campaign as a trace.
#[derive(Args)]
struct CampaignArguments {
    /// Where to, compressed if it ends in .gz; `-` for standard output.
    #[arg(long, value_name = "T.csv.gz", default_value = "-")]
    out: PathBuf,
    #[command(flatten)]
    scale: ScaleArguments,
}

/// The size of the generated campaign.
#[derive(Args)]
struct ScaleArguments {
    /// Accounts of the generated campaign's fleets.
    #[arg(long, default_value_t = 24_000, value_parser = clap::value_parser!(u32).range(3..=1_000_000))]
    accounts: u32,
    /// Requests of the generated campaign's fleets; there are as many honest ones.
    #[arg(long, default_value_t = 16_000_000, value_parser = clap::value_parser!(u64).range(100..=10_000_000_000))]
    exchanges: u64,
    /// Days of the generated campaign.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=366))]
    days: u32,
    /// What decides everything in the generated campaign.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl ScaleArguments {
    fn campaign(&self) -> Campaign {
        let ScaleArguments { accounts, exchanges, days, seed } = *self;
        Campaign::new(Settings { accounts, exchanges, days, seed })
    }
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if failure.is_quiet() => ExitCode::SUCCESS,
        Err(failure) => {
            // If even this cannot be written, the exit code still says it.
            let _ = writeln!(std::io::stderr(), "tollgate: {failure}");
            ExitCode::from(2)
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Replay(arguments) => {
            let source = source(arguments.trace.as_deref(), &arguments.scale)?;
            let options = Options {
                policy: arguments.policy,
                json: arguments.json,
                decisions: arguments.decisions,
                secret: arguments.secret,
                evidence: !arguments.no_evidence,
                html: arguments.html,
                compare: arguments.compare,
                baseline: !arguments.no_baseline,
                output_estimate: arguments.output_estimate,
            };
            replay::run(&options, source, &mut BufWriter::new(std::io::stdout().lock()))
        }
        Command::Lint(arguments) => lint(&arguments.policy, arguments.html.as_deref()),
        Command::Suggest(SuggestArguments { trace, out, base, new_fit }) => suggest::run(
            &suggest::Options { out, base, new_fit },
            Trace::open(&trace)?,
            &mut BufWriter::new(std::io::stdout().lock()),
        ),
        Command::Ablate(AblateArguments { policy, trace, output_estimate, scale }) => ablate::run(
            policy.as_deref(),
            output_estimate,
            || source(trace.as_deref(), &scale),
            &mut BufWriter::new(std::io::stdout().lock()),
        ),
        Command::Convert(arguments) => convert::run(&arguments),
        Command::Usage(UsageArguments { file, json }) => {
            usage::run(&file, json, &mut BufWriter::new(std::io::stdout().lock()))
        }
        Command::Campaign(arguments) => export::run(&mut arguments.scale.campaign(), &arguments.out),
    }
}

/// The trace at `path`, or the generated campaign.
fn source(path: Option<&Path>, scale: &ScaleArguments) -> Result<Box<dyn Source + Send>, Failure> {
    Ok(match path {
        Some(path) => Box::new(Trace::open(path)?),
        None => Box::new(scale.campaign()),
    })
}

fn lint(path: &Path, html: Option<&Path>) -> Result<(), Failure> {
    let description = replay::read_policy(Some(path))?.describe();
    if let Some(html) = html {
        page::write_policy(html, &path.display().to_string(), &description)
            .map_err(|error| Failure::file(html, error))?;
    }
    let mut out = BufWriter::new(std::io::stdout().lock());
    write!(out, "{description}").and_then(|()| out.flush()).map_err(|error| Failure::output(&error))
}
