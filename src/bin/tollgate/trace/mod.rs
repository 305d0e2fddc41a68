//! Recorded traffic: comma-separated text, plain or gzip, from a file or standard input.
//!
//! The first line names the columns, in any order. `t_ms`, `account`, `org`, `tier`, `model`, `input_tokens` and
//! `output_tokens` must be there; `ip`, `payment`, `client`, `template`, `since_ms` and `label` may be; any
//! other column is ignored. An empty `org` is an account without an organization, an empty evidence column or
//! `since_ms` is unknown, an empty `label` is `unlabelled`. Rows are sorted by `t_ms`.
//!
//! A trace is streamed: memory grows with the number of distinct accounts and organizations, not with rows,
//! and a record is refused once it passes [`RECORD_LIMIT`] bytes, before it is read any further.

mod columns;
mod fields;
mod input;
#[cfg(test)]
mod tests;

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use csv::ByteRecord;

pub(crate) use self::{
    columns::COLUMNS,
    input::{decoded, explained},
};
use self::{
    columns::Columns,
    fields::{Field, Symbols, fingerprint},
    input::{Input, READ_AHEAD},
};
use crate::{
    failure::Failure,
    row::{BATCH_ROWS, Batch, Evidence, Names, Row, Source},
};

/// The longest record, in bytes: some hundred times an ordinary row.
pub(crate) const RECORD_LIMIT: u64 = 64 * 1024;

/// The latest `t_ms`: 30 years, within the range of a limiter's clock.
const LATEST_MS: u64 = 30 * 365 * 24 * 3600 * 1000;

/// A trace being read.
pub(crate) struct Trace {
    name: PathBuf,
    reader: csv::Reader<Input>,
    columns: Columns,
    /// Reused from row to row.
    record: ByteRecord,
    accounts: Symbols,
    organizations: Symbols,
    tiers: Symbols,
    models: Symbols,
    labels: Symbols,
    last_ms: u64,
}

impl Trace {
    /// Opens the trace at `path`, standard input for `-`, and reads its header.
    pub(crate) fn open(path: &Path) -> Result<Trace, Failure> {
        let (name, source) = open(path)?;
        Trace::new(name, source)
    }

    /// A trace that messages call `name`.
    fn new(name: PathBuf, source: Box<dyn Read + Send>) -> Result<Trace, Failure> {
        let input =
            Input::new(source).map_err(|error| Failure::file(&name, format_args!("line 1: {error}")))?;
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .buffer_capacity(READ_AHEAD)
            // Not "\r\n" too: lines would then be counted one behind.
            .terminator(csv::Terminator::Any(b'\n'))
            .from_reader(input);
        let mut header = ByteRecord::new();
        allow_record(&mut reader);
        let found = reader.read_byte_record(&mut header).map_err(|error| broken(&name, 1, &error))?;
        let columns =
            if found { Columns::from_header(&header) } else { Columns::from_header(&ByteRecord::new()) }
                .map_err(|what| Failure::new(format!("{}:1: {what}", name.display())))?;
        Ok(Trace {
            name,
            reader,
            columns,
            record: header,
            accounts: Symbols::default(),
            organizations: Symbols::default(),
            tiers: Symbols::default(),
            models: Symbols::default(),
            labels: Symbols::default(),
            last_ms: 0,
        })
    }

    /// Reads the next record into `self.record` and returns its line; `None` at the end.
    fn advance(&mut self) -> Result<Option<u64>, Failure> {
        loop {
            allow_record(&mut self.reader);
            let start = self.reader.position().line();
            let found = self.reader.read_byte_record(&mut self.record);
            let end = self.reader.position().line();
            match found {
                Ok(true) if self.record.as_slice() == b"\r" => {}
                // Every record ends with a line break. Counted back from there, so as to pass over blank lines in
                // front of it.
                Ok(true) => {
                    let inside = self.record.as_slice().iter().filter(|byte| **byte == b'\n').count() as u64;
                    return Ok(Some(end.saturating_sub(1 + inside).max(start)));
                }
                Ok(false) => return Ok(None),
                Err(error) => return Err(broken(&self.name, end, &error)),
            }
        }
    }

    fn row(&mut self, line: u64, names: &mut Names) -> Result<Row, String> {
        let columns = &self.columns;
        if self.record.len() != columns.count {
            return Err(format!("has {} fields; the header has {}", self.record.len(), columns.count));
        }
        let field = |index| Field { columns, record: &self.record, index };
        let optional = |index: Option<usize>| index.map(field);

        let at_ms = field(columns.at_ms).number(LATEST_MS)?;
        if at_ms < self.last_ms {
            return Err(format!(
                "column t_ms: {at_ms} is before the row above ({}); rows must be sorted by time",
                self.last_ms
            ));
        }
        let organization = match field(columns.organization).text()? {
            "" => None,
            text => Some(self.organizations.number(text, |new| names.organizations.push(new))?),
        };
        let tier = field(columns.tier).required_text()?;
        let label = match optional(columns.label).map(|field| field.text()).transpose()? {
            None | Some("") => "unlabelled",
            Some(label) => label,
        };
        let value =
            |index| optional(index).map_or(Ok(None), |field: Field<'_>| field.text().map(fingerprint));
        let row = Row {
            at_ms,
            account: self
                .accounts
                .number(field(columns.account).required_text()?, |new| names.accounts.push(new))?,
            organization,
            tier: self.tiers.number(tier, |new| names.tiers.push((new, line)))?,
            model: self.models.number(field(columns.model).text()?, |new| names.models.push(new))?,
            input_tokens: field(columns.input_tokens).tokens()?,
            output_tokens: field(columns.output_tokens).tokens()?,
            evidence: Evidence {
                ip: value(columns.ip)?,
                payment: value(columns.payment)?,
                client: value(columns.client)?,
                template: value(columns.template)?,
            },
            since_ms: optional(columns.since_ms).map_or(Ok(None), |field| field.signed())?,
            label: self.labels.number(label, |new| names.labels.push(new))?,
        };
        self.last_ms = at_ms;
        Ok(row)
    }
}

impl Source for Trace {
    fn next_batch(&mut self) -> Result<Batch, Failure> {
        let mut batch = Batch { rows: Vec::with_capacity(BATCH_ROWS), names: Names::default() };
        while batch.rows.len() < BATCH_ROWS {
            let Some(line) = self.advance()? else { break };
            let row = self
                .row(line, &mut batch.names)
                .map_err(|what| Failure::new(format!("{}:{line}: {what}", self.name.display())))?;
            batch.rows.push(row);
        }
        Ok(batch)
    }

    fn name(&self) -> String {
        self.name.display().to_string()
    }

    fn expected_rows(&self) -> Option<u64> {
        None
    }
}

/// The bytes at `path`, those of standard input for `-`, and what messages call them.
pub(crate) fn open(path: &Path) -> Result<(PathBuf, Box<dyn Read + Send>), Failure> {
    if path.as_os_str() == "-" {
        return Ok((PathBuf::from("standard input"), Box::new(std::io::stdin())));
    }
    // Opening a folder succeeds on some systems; the first read then says what it is.
    let file = std::fs::File::open(path).map_err(|error| Failure::file(path, error))?;
    Ok((path.to_path_buf(), Box::new(file)))
}

/// Lets the reader take one more record from its input, and no more than the limit.
fn allow_record(reader: &mut csv::Reader<Input>) {
    let position = reader.position().byte();
    reader.get_mut().allow_until(position + RECORD_LIMIT);
}

/// A message for input that could not be read any further.
fn broken(name: &Path, line: u64, error: &csv::Error) -> Failure {
    match error.kind() {
        csv::ErrorKind::Io(error) => Failure::new(format!("{}:{line}: {error}", name.display())),
        _ => Failure::new(format!("{}:{line}: {error}", name.display())),
    }
}
