//! `tollgate convert`: an access log as a trace.
//!
//! A log is read line by line. Servers write a line when a request ends, so that lines are only nearly in order; rows wait in
//! a heap until none that is earlier can come, for [`LATEST_MS`] of the log's own time. A line that can't be used is
//! counted, and the first few are named: one broken line is no reason to lose a week.

mod column;
mod line;
mod moment;

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashSet},
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
};

use clap::ValueEnum;

use self::{column::Column, line::Line};
use crate::{
    failure::Failure,
    report::grouped,
    sink::Sink,
    trace::{self, COLUMNS, RECORD_LIMIT},
};

/// How much later than a line that follows it a line may have begun.
const LATEST_MS: i64 = 10 * 60_000;
/// Rows that wait for earlier ones at most.
const MOST_WAITING: usize = 1 << 20;
/// Bad lines that are named.
const NAMED: usize = 5;

/// Turns an access log into a trace that `replay` and `suggest` read.
///
/// Each column of the trace is told where it comes from: a FIELD of the log; several with commas between, of which the first
/// that says something counts; or = and a text that is the same in every row. A field of numbers may be divided, as in bytes/4.
///
/// Fields of a common log are addr, ident, user, time, request, method, path, status, bytes, and of a combined one referer and
/// agent; what follows has its number, from 1. Fields of JSON are keys, and paths such as user.id. A field that is empty or - says
/// nothing. t_ms counts from the Monday, 00:00 UTC, before the log's first line, so that days and weeks stay what they were. Lines
/// may be up to ten minutes out of order.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The log, plain or gzip; `-` for standard input.
    #[arg(value_name = "LOG")]
    log: PathBuf,
    /// The form of its lines.
    #[arg(long, value_enum)]
    format: Format,
    /// Where the trace goes, compressed if it ends in .gz; `-` for standard output.
    #[arg(long, value_name = "T.csv.gz")]
    out: PathBuf,
    /// When a request came: RFC 3339, as in common logs, or a Unix time in any unit. [default: time,timestamp,ts,@timestamp]
    #[arg(long, value_name = "FIELD")]
    time: Option<Column>,
    /// Who asked: what holds the credential. [default of a common log: user,addr]
    #[arg(long, value_name = "FIELD")]
    account: Option<Column>,
    /// Its tier, such as =free.
    #[arg(long, value_name = "FIELD")]
    tier: Column,
    /// Its organization.
    #[arg(long, value_name = "FIELD")]
    org: Option<Column>,
    /// The model that was asked.
    #[arg(long, value_name = "FIELD")]
    model: Option<Column>,
    /// What the request brought, in tokens; 0 where it isn't known.
    #[arg(long, value_name = "FIELD")]
    input_tokens: Option<Column>,
    /// What the answer took, in tokens. [default of a common log: bytes/4]
    #[arg(long, value_name = "FIELD")]
    output_tokens: Option<Column>,
    /// The network address. [default of a common log: addr]
    #[arg(long, value_name = "FIELD")]
    ip: Option<Column>,
    /// What identifies how the account pays.
    #[arg(long, value_name = "FIELD")]
    payment: Option<Column>,
    /// What identifies the client program. [default of a common log: agent]
    #[arg(long, value_name = "FIELD")]
    client: Option<Column>,
    /// What identifies the prompt's template.
    #[arg(long, value_name = "FIELD")]
    template: Option<Column>,
    /// When the account was made.
    #[arg(long, value_name = "FIELD")]
    since: Option<Column>,
    /// What is known of the request afterwards, such as legit or attack:name.
    #[arg(long, value_name = "FIELD")]
    label: Option<Column>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// The common or combined log format, as nginx and Apache write it.
    #[value(alias = "combined")]
    Common,
    /// A JSON object a line.
    Json,
}

/// The columns that are texts, or empty: name, where from, whether it must be there.
type Texts = Vec<(&'static str, Option<Column>, bool)>;

/// Where each column comes from.
struct Columns {
    format: Format,
    time: Column,
    /// account, org, tier, model.
    names: Texts,
    /// input_tokens, output_tokens.
    tokens: [(&'static str, Option<Column>); 2],
    /// ip, payment, client, template.
    evidence: Texts,
    since: Option<Column>,
    label: Option<Column>,
}

impl Columns {
    fn new(arguments: &Arguments) -> Result<Columns, Failure> {
        let format = arguments.format;
        let or = |column: &Option<Column>, default: &str| {
            let default = (format == Format::Common).then(|| default.parse().ok()).flatten();
            column.clone().or(default)
        };
        let account = or(&arguments.account, "user,addr").ok_or_else(|| {
            Failure::new(
                "--account is missing: which field of a line says who asked, such as --account user.id",
            )
        })?;
        let time = arguments.time.clone().or_else(|| "time,timestamp,ts,@timestamp".parse().ok());
        Ok(Columns {
            format,
            time: time.ok_or_else(|| Failure::new("--time is missing"))?,
            names: vec![
                ("account", Some(account), true),
                ("org", arguments.org.clone(), false),
                ("tier", Some(arguments.tier.clone()), true),
                ("model", arguments.model.clone(), false),
            ],
            tokens: [
                ("input_tokens", arguments.input_tokens.clone()),
                ("output_tokens", or(&arguments.output_tokens, "bytes/4")),
            ],
            evidence: vec![
                ("ip", or(&arguments.ip, "addr"), false),
                ("payment", arguments.payment.clone(), false),
                ("client", or(&arguments.client, "agent"), false),
                ("template", arguments.template.clone(), false),
            ],
            since: arguments.since.clone(),
            label: arguments.label.clone(),
        })
    }

    /// The row of a line. Which columns said something goes to `seen`.
    fn row(&self, text: &str, seen: &mut HashSet<&'static str>) -> Result<Row, String> {
        let line = match self.format {
            Format::Common => Line::common(text)?,
            Format::Json => Line::json(text)?,
        };
        let moment =
            |name: &str, text: &str| moment::unix_ms(text).map_err(|error| format!("{name}: {error}"));
        let time = self.time.text(&line).ok_or_else(|| format!("time: nothing in {}", self.time.said()))?;
        let at_ms = moment("time", &time)?;
        let mut cells = Vec::with_capacity(COLUMNS.len() - 1);
        let mut texts = |columns: &Texts, cells: &mut Vec<String>| -> Result<(), String> {
            for (name, column, is_required) in columns {
                let text = column.as_ref().and_then(|column| column.text(&line));
                match (text, column) {
                    (Some(text), _) if !(text.is_empty() && *is_required) => {
                        seen.insert(name);
                        cells.push(text);
                    }
                    (_, Some(column)) if *is_required => {
                        return Err(format!("{name}: nothing in {}", column.said()));
                    }
                    _ => cells.push(String::new()),
                }
            }
            Ok(())
        };
        texts(&self.names, &mut cells)?;
        let mut tokens = [None; 2];
        for ((name, column), tokens) in self.tokens.iter().zip(&mut tokens) {
            let found = column.as_ref().map_or(Ok(None), |column| column.tokens(&line));
            *tokens = found.map_err(|error| format!("{name}: {error}"))?;
            cells.push(tokens.unwrap_or(0).to_string());
        }
        texts(&self.evidence, &mut cells)?;
        for ((name, _), tokens) in self.tokens.iter().zip(tokens) {
            if tokens.is_some() {
                seen.insert(name);
            }
        }
        let since = self.since.as_ref().and_then(|column| column.text(&line));
        let since_ms = since.map(|text| moment("since", &text)).transpose()?;
        if since_ms.is_some() {
            seen.insert("since");
        }
        let label = self.label.as_ref().and_then(|column| column.text(&line));
        if label.is_some() {
            seen.insert("label");
        }
        Ok(Row { at_ms, cells, since_ms, label: label.unwrap_or_default() })
    }

    /// Columns that have a field which no line had.
    fn unseen(&self, seen: &HashSet<&'static str>) -> Vec<(&'static str, String)> {
        let texts = self.names.iter().chain(&self.evidence).map(|(name, column, _)| (*name, column));
        let others = self.tokens.iter().map(|(name, column)| (*name, column));
        let all = texts.chain(others).chain([("since", &self.since), ("label", &self.label)]);
        all.filter_map(|(name, column)| Some((name, column.as_ref()?.said())))
            .filter(|(name, _)| !seen.contains(name))
            .collect()
    }
}

/// A row of the trace, which still lacks its times.
struct Row {
    at_ms: i64,
    /// All between t_ms and since_ms.
    cells: Vec<String>,
    since_ms: Option<i64>,
    label: String,
}

/// A row that waits for earlier ones, with the number of its line: the earliest is the greatest.
struct Waiting(u64, Row);

impl Waiting {
    fn key(&self) -> Reverse<(i64, u64)> {
        Reverse((self.1.at_ms, self.0))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Waiting) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Waiting) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Waiting) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Waiting {}

/// What came of a log.
#[derive(Default)]
struct Tally {
    lines: u64,
    rows: u64,
    bad: u64,
    named: Vec<String>,
    /// The trace's time 0, and the times of its first and last row.
    origin_ms: Option<i64>,
    first_ms: i64,
    last_ms: i64,
}

impl Tally {
    fn bad(&mut self, name: &Path, line: u64, what: &str) {
        self.bad += 1;
        if self.named.len() < NAMED {
            self.named.push(format!("{}:{line}: {what}", name.display()));
        }
    }
}

/// Converts a log, and tells what came of it.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let columns = Columns::new(arguments)?;
    let (name, source) = trace::open(&arguments.log)?;
    let unreadable = |line: u64, error: io::Error| {
        Failure::new(format!("{}:{line}: {}", name.display(), trace::explained(error)))
    };
    let mut source = BufReader::new(trace::decoded(source).map_err(|error| unreadable(1, error))?);
    let failed = |error: csv::Error| match error.into_kind() {
        csv::ErrorKind::Io(error) => Sink::failure(&arguments.out, &error),
        _ => Failure::file(&arguments.out, "a row could not be written"),
    };
    let mut out = csv::Writer::from_writer(Sink::create(&arguments.out)?);
    out.write_record(COLUMNS).map_err(failed)?;
    let (mut tally, mut seen) = (Tally::default(), HashSet::new());
    let mut waiting: BinaryHeap<Waiting> = BinaryHeap::new();
    let (mut line, mut newest_ms) = (Vec::new(), i64::MIN);
    loop {
        let number = tally.lines + 1;
        let read = read_line(&mut source, &mut line).map_err(|error| unreadable(number, error))?;
        if read == Read::End {
            break;
        }
        tally.lines = number;
        let row = match (read, str::from_utf8(&line)) {
            (Read::TooLong, _) => Err(format!("the line is longer than {RECORD_LIMIT} bytes")),
            (_, Ok(text)) if text.trim().is_empty() => continue,
            (_, Ok(text)) => columns.row(text, &mut seen),
            (_, Err(_)) => Err("is not UTF-8 text".to_owned()),
        };
        match row {
            Ok(row) if tally.origin_ms.is_some() && row.at_ms < tally.last_ms => {
                let late = (newest_ms - row.at_ms) / 60_000;
                tally.bad(
                    &name,
                    number,
                    &format!("is {late} minutes before a line above it; sort the log by time"),
                );
            }
            Ok(row) => {
                newest_ms = newest_ms.max(row.at_ms);
                waiting.push(Waiting(number, row));
            }
            Err(what) => tally.bad(&name, number, &what),
        }
        while waiting.peek().is_some_and(|Waiting(_, row)| row.at_ms < newest_ms - LATEST_MS)
            || waiting.len() > MOST_WAITING
        {
            write_next(&mut waiting, &mut tally, &mut out).map_err(failed)?;
        }
    }
    while !waiting.is_empty() {
        write_next(&mut waiting, &mut tally, &mut out).map_err(failed)?;
    }
    let out = out.into_inner().map_err(|error| Sink::failure(&arguments.out, error.error()))?;
    out.finish().map_err(|error| Sink::failure(&arguments.out, &error))?;
    if tally.rows == 0 && tally.bad > 0 {
        let first = tally.named.first().map_or("", String::as_str);
        return Err(Failure::new(format!(
            "none of {} lines could be converted; the first: {first}",
            tally.bad
        )));
    }
    let told = |out: &mut dyn Write| tell(out, arguments, &tally, &columns.unseen(&seen));
    // Where the trace goes to standard output, that is taken.
    let told = if arguments.out.as_os_str() == "-" {
        told(&mut io::stderr())
    } else {
        told(&mut io::stdout().lock())
    };
    told.map_err(|error| Failure::output(&error))
}

/// Writes the earliest row that waits.
fn write_next(
    waiting: &mut BinaryHeap<Waiting>,
    tally: &mut Tally,
    out: &mut csv::Writer<Sink>,
) -> Result<(), csv::Error> {
    let Some(Waiting(_, row)) = waiting.pop() else { return Ok(()) };
    let origin_ms = *tally.origin_ms.get_or_insert_with(|| {
        tally.first_ms = row.at_ms;
        moment::monday(row.at_ms)
    });
    tally.rows += 1;
    tally.last_ms = row.at_ms;
    let since = row.since_ms.map(|since_ms| (since_ms - origin_ms).to_string()).unwrap_or_default();
    let t_ms = (row.at_ms - origin_ms).to_string();
    let record = std::iter::once(&t_ms).chain(&row.cells).chain([&since, &row.label]);
    out.write_record(record.map(|cell| cell.as_str()))
}

fn tell(
    out: &mut dyn Write,
    arguments: &Arguments,
    tally: &Tally,
    unseen: &[(&'static str, String)],
) -> io::Result<()> {
    let number = |number: u64| grouped(u128::from(number));
    writeln!(out, "{} rows of {} lines", number(tally.rows), number(tally.lines))?;
    if let Some(origin_ms) = tally.origin_ms {
        let (first, last) = (moment::said(tally.first_ms), moment::said(tally.last_ms));
        writeln!(out, "  from {first} to {last}; t_ms counts from {}", moment::said(origin_ms))?;
    }
    for (column, field) in unseen {
        writeln!(out, "  {column} is empty in every row: no line has {field}")?;
    }
    if tally.bad > 0 {
        writeln!(out, "{} lines were left out", number(tally.bad))?;
        for named in &tally.named {
            writeln!(out, "  {named}")?;
        }
        let more = tally.bad - tally.named.len() as u64;
        if more > 0 {
            writeln!(out, "  and {} more", number(more))?;
        }
    }
    if arguments.out.as_os_str() != "-" {
        writeln!(out, "Next: tollgate suggest --trace {} --out policy.toml", arguments.out.display())?;
    }
    out.flush()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Read {
    Line,
    TooLong,
    End,
}

/// Reads a line into `line`, without its end; of one that is too long nothing is kept.
fn read_line(source: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Read> {
    line.clear();
    let mut read = Read::End;
    loop {
        let bytes = match source.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            bytes => bytes?,
        };
        if bytes.is_empty() {
            return Ok(read);
        }
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let part = &bytes[..end.unwrap_or(bytes.len())];
        if read != Read::TooLong {
            read = Read::Line;
            line.extend_from_slice(part);
            if line.len() as u64 > RECORD_LIMIT {
                read = Read::TooLong;
                line.clear();
            }
        }
        let used = part.len() + usize::from(end.is_some());
        source.consume(used);
        if end.is_some() {
            return Ok(read);
        }
    }
}
