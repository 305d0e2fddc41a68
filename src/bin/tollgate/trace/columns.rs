//! The header: which field of a record is which column.

use csv::ByteRecord;

const REQUIRED: &str = "t_ms, account, org, tier, model, input_tokens, output_tokens";
const OPTIONAL: &str = "ip, payment, client, template, since_ms, label";

/// The columns of a trace, in the order in which they are written.
pub(crate) const COLUMNS: [&str; 13] = [
    "t_ms",
    "account",
    "org",
    "tier",
    "model",
    "input_tokens",
    "output_tokens",
    "ip",
    "payment",
    "client",
    "template",
    "since_ms",
    "label",
];

/// The index of each known column.
#[derive(Debug)]
pub(super) struct Columns {
    /// Fields in a record.
    pub(super) count: usize,
    pub(super) at_ms: usize,
    pub(super) account: usize,
    pub(super) organization: usize,
    pub(super) tier: usize,
    pub(super) model: usize,
    pub(super) input_tokens: usize,
    pub(super) output_tokens: usize,
    pub(super) ip: Option<usize>,
    pub(super) payment: Option<usize>,
    pub(super) client: Option<usize>,
    pub(super) template: Option<usize>,
    pub(super) since_ms: Option<usize>,
    pub(super) label: Option<usize>,
    /// What the header calls each field, for messages.
    names: Vec<String>,
}

impl Columns {
    pub(super) fn from_header(header: &ByteRecord) -> Result<Columns, String> {
        if header.is_empty() {
            return Err(format!("the trace is empty; its first line must name the columns {REQUIRED}"));
        }
        let names = header
            .iter()
            .map(|name| match str::from_utf8(name) {
                Ok(name) => Ok(name.trim().to_owned()),
                Err(_) => {
                    Err("the header is not UTF-8 text; it must be comma-separated column names".to_owned())
                }
            })
            .collect::<Result<Vec<_>, _>>()?;
        let optional = |wanted: &str| {
            let mut found = names.iter().enumerate().filter(|(_, name)| *name == wanted);
            let first = found.next().map(|(index, _)| index);
            match found.next() {
                Some(_) => Err(format!("column {wanted} is there twice; each column may be there once")),
                None => Ok(first),
            }
        };
        let required = |wanted: &str| {
            optional(wanted)?.ok_or_else(|| {
                format!("column {wanted} is missing; required are {REQUIRED}; optional are {OPTIONAL}")
            })
        };
        Ok(Columns {
            count: names.len(),
            at_ms: required("t_ms")?,
            account: required("account")?,
            organization: required("org")?,
            tier: required("tier")?,
            model: required("model")?,
            input_tokens: required("input_tokens")?,
            output_tokens: required("output_tokens")?,
            ip: optional("ip")?,
            payment: optional("payment")?,
            client: optional("client")?,
            template: optional("template")?,
            since_ms: optional("since_ms")?,
            label: optional("label")?,
            names,
        })
    }

    pub(super) fn name(&self, index: usize) -> &str {
        self.names.get(index).map_or("", String::as_str)
    }
}
