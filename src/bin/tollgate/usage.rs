//! What a file of checkpoints has counted.

use std::{io::Write, path::Path};

use serde::Serialize;
use tollgate::{FileStore, Usage};

use crate::failure::Failure;

/// The names of what a [`Row`] has, in its order.
const HEAD: [&str; 10] =
    ["level", "id", "tier", "meter", "rule", "period", "from_ms", "to_ms", "used", "limit"];

/// One rule of one account, organization or tier.
#[derive(Serialize)]
struct Row<'a> {
    level: String,
    id: String,
    tier: &'a str,
    meter: &'a str,
    rule: &'a str,
    period: &'a str,
    from_ms: Option<i64>,
    to_ms: Option<i64>,
    used: u64,
    limit: Option<u64>,
}

/// Writes all that `path` has counted, as comma-separated text, or each account, organization and tier as a line of JSON.
pub(crate) fn run(path: &Path, json: bool, out: &mut impl Write) -> Result<(), Failure> {
    if !path.exists() {
        return Err(Failure::file(
            path,
            "there is no such file; expected one that a limiter's store has written",
        ));
    }
    // A store's own messages say which file.
    let mut store = FileStore::open(path).map_err(|error| Failure::new(error.to_string()))?;
    let usage = Usage::read_all(&mut store).map_err(|error| Failure::file(path, error))?;
    if json {
        for one in &usage {
            let line = serde_json::to_string(one).map_err(|error| Failure::new(error.to_string()))?;
            writeln!(out, "{line}").map_err(|error| Failure::output(&error))?;
        }
    } else {
        write_rows(&usage, out)?;
    }
    out.flush().map_err(|error| Failure::output(&error))
}

fn write_rows(usage: &[Usage], out: &mut impl Write) -> Result<(), Failure> {
    let failed = |error: csv::Error| Failure::output(&std::io::Error::from(error));
    // The head is there too where nothing was counted.
    let mut rows = csv::WriterBuilder::new().has_headers(false).from_writer(out);
    rows.write_record(HEAD).map_err(failed)?;
    let milliseconds = |nanos: Option<i64>| nanos.map(|nanos| nanos / 1_000_000);
    for one in usage {
        let id = one.name.clone().or_else(|| one.id.map(|id| id.to_string())).unwrap_or_default();
        for counted in one.counted.iter().filter(|counted| counted.used > 0) {
            rows.serialize(Row {
                level: one.level.to_string(),
                id: id.clone(),
                tier: one.tier.as_str(),
                meter: counted.meter.as_str(),
                rule: counted.rule.as_str(),
                period: counted.period.map_or("", tollgate::Period::name),
                from_ms: milliseconds(counted.from),
                to_ms: milliseconds(counted.to),
                used: counted.used,
                limit: counted.limit,
            })
            .map_err(failed)?;
        }
    }
    rows.flush().map_err(|error| Failure::output(&error))
}
