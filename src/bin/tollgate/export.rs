//! `tollgate campaign`: the generated campaign as a trace, for other tools and for changing it by hand.

use std::{
    io::{self, Write},
    path::Path,
};

use crate::{
    failure::Failure,
    row::{Names, Row, Source, Value},
    sink::Sink,
    trace::COLUMNS,
};

/// Writes all of `source` to `path`, compressed if it ends in `.gz`; to standard output for `-`.
pub(crate) fn run(source: &mut dyn Source, path: &Path) -> Result<(), Failure> {
    let mut out = Sink::create(path)?;
    let failed = |error: &io::Error| Sink::failure(path, error);
    write(source, &mut out, &failed)?;
    out.finish().map_err(|error| failed(&error))
}

fn write(
    source: &mut dyn Source,
    out: &mut dyn Write,
    failed: &dyn Fn(&io::Error) -> Failure,
) -> Result<(), Failure> {
    writeln!(out, "{}", COLUMNS.join(",")).map_err(|error| failed(&error))?;
    let mut names = Names::default();
    loop {
        let batch = source.next_batch()?;
        if batch.rows.is_empty() {
            return out.flush().map_err(|error| failed(&error));
        }
        names.extend(batch.names);
        for row in &batch.rows {
            write_row(out, row, &names).map_err(|error| failed(&error))?;
        }
    }
}

fn write_row(out: &mut dyn Write, row: &Row, names: &Names) -> io::Result<()> {
    let text =
        |texts: &[Box<str>], symbol: u32| texts.get(symbol as usize).map_or("", |text| text).to_owned();
    let tier = names.tiers.get(row.tier as usize).map_or("", |(tier, _)| tier);
    write!(out, "{},acct_{},", row.at_ms, row.account)?;
    if let Some(organization) = row.organization {
        write!(out, "org_{organization}")?;
    }
    let (model, label) = (text(&names.models, row.model), text(&names.labels, row.label));
    write!(out, ",{tier},{model},{},{},", row.input_tokens, row.output_tokens)?;
    let evidence = row.evidence;
    if let Some(ip) = evidence.ip {
        let [.., a, b, c, d] = ip.get().to_be_bytes();
        write!(out, "{a}.{b}.{c}.{d}")?;
    }
    for (prefix, value) in [("pm_", evidence.payment), ("fp_", evidence.client), ("", evidence.template)] {
        write_value(out, prefix, value)?;
    }
    match row.since_ms {
        Some(since_ms) => writeln!(out, ",{since_ms},{label}"),
        None => writeln!(out, ",,{label}"),
    }
}

fn write_value(out: &mut dyn Write, prefix: &str, value: Value) -> io::Result<()> {
    match value {
        Some(value) => write!(out, ",{prefix}{value:08x}"),
        None => write!(out, ","),
    }
}
