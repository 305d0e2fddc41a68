//! One line of a log as fields with names.

use std::borrow::Cow;

use serde_json::Value;

/// What the fields of a common or combined line are called, in their order; those that follow have their numbers alone.
const NAMES: [&str; 9] = ["addr", "ident", "user", "time", "request", "status", "bytes", "referer", "agent"];

/// A line that has been taken apart.
pub(super) enum Line<'a> {
    Common(Vec<&'a str>),
    Json(Value),
}

impl<'a> Line<'a> {
    /// A line in the common log format, with whatever follows: fields between spaces, quotes or brackets.
    pub(super) fn common(text: &'a str) -> Result<Line<'a>, String> {
        const LEAST: usize = 7;
        let mut fields = Vec::with_capacity(NAMES.len());
        let mut rest = text.trim();
        while !rest.is_empty() {
            let (field, after) = match rest.as_bytes().first() {
                Some(b'"') => quoted(rest).ok_or("a quote is not closed")?,
                Some(b'[') => rest[1..].split_once(']').ok_or("a bracket is not closed")?,
                _ => rest.split_once(' ').unwrap_or((rest, "")),
            };
            fields.push(field);
            rest = after.trim_start();
        }
        if fields.len() < LEAST {
            return Err(format!(
                "has {} fields; the common log format has at least {LEAST}: {}",
                fields.len(),
                NAMES[..LEAST].join(" ")
            ));
        }
        Ok(Line::Common(fields))
    }

    /// A line that is a JSON object.
    pub(super) fn json(text: &str) -> Result<Line<'a>, String> {
        match serde_json::from_str(text) {
            Ok(value @ Value::Object(_)) => Ok(Line::Json(value)),
            Ok(_) => Err("is JSON, and no object".to_owned()),
            Err(error) => Err(format!("is not JSON: {error}")),
        }
    }

    /// The field called `name`; `None` where it isn't there, or says nothing.
    pub(super) fn field(&self, name: &str) -> Option<Cow<'_, str>> {
        let text: Cow<'_, str> = match self {
            Line::Common(fields) => Cow::Borrowed(common_field(fields, name)?),
            Line::Json(value) => match json_field(value, name)? {
                Value::String(text) => Cow::Borrowed(text),
                Value::Number(number) => Cow::Owned(number.to_string()),
                Value::Bool(is) => Cow::Borrowed(if *is { "true" } else { "false" }),
                Value::Null | Value::Array(_) | Value::Object(_) => return None,
            },
        };
        Some(text).filter(|text| !text.is_empty() && text != "-")
    }
}

/// What stands between the quote that `text` begins with and the next that no backslash is in front of.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let mut is_escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return Some((&text[1..at], &text[at + 1..])),
            _ => {}
        }
    }
    None
}

fn common_field<'a>(fields: &[&'a str], name: &str) -> Option<&'a str> {
    let request = || fields.get(4).copied().unwrap_or_default().split(' ');
    match name {
        "method" => request().next(),
        // Without what is asked: it tells requests apart that are of one kind.
        "path" => request().nth(1)?.split('?').next(),
        _ => {
            let number = || name.parse::<usize>().ok()?.checked_sub(1);
            let place = NAMES.iter().position(|known| *known == name).or_else(number);
            fields.get(place?).copied()
        }
    }
}

/// The value at a path such as `user.id`; a key with dots in it comes first.
fn json_field<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    match value {
        Value::Object(members) => members.get(name).or_else(|| {
            let (first, rest) = name.split_once('.')?;
            json_field(members.get(first)?, rest)
        }),
        Value::Array(items) => {
            let (first, rest) = name.split_once('.').unwrap_or((name, ""));
            let item = items.get(first.parse::<usize>().ok()?)?;
            if rest.is_empty() { Some(item) } else { json_field(item, rest) }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_lines_are_taken_apart() {
        let line = "10.0.0.1 - bob [10/Oct/2026:13:55:36 +0000] \"POST /v1/x?q=1 HTTP/1.1\" 200 512 \"-\" \"a \\\"b\\\" c\" 0.5";
        let line = Line::common(line).unwrap();
        let fields =
            ["addr", "user", "time", "method", "path", "bytes", "agent", "10", "referer", "11", "nothing"];
        let found = fields.map(|name| line.field(name).map(Cow::into_owned));
        let expected = [
            Some("10.0.0.1"),
            Some("bob"),
            Some("10/Oct/2026:13:55:36 +0000"),
            Some("POST"),
            Some("/v1/x"),
            Some("512"),
            Some("a \\\"b\\\" c"),
            Some("0.5"),
            None,
            None,
            None,
        ];
        assert_eq!(found, expected.map(|text| text.map(str::to_owned)));
        assert!(Line::common("10.0.0.1 - - [10/Oct").is_err());
        assert!(Line::common("a b c").is_err_and(|error| error.contains("has 3 fields")));
    }

    #[test]
    fn json_is_found_by_its_path() {
        let line =
            Line::json(r#"{"user":{"id":7,"tags":["x",{"y":true}]},"a.b":"c","none":null,"dash":"-"}"#)
                .unwrap();
        let names = ["user.id", "user.tags.0", "user.tags.1.y", "a.b", "none", "dash", "user", "user.id.x"];
        let found = names.map(|name| line.field(name).map(Cow::into_owned));
        let expected = [Some("7"), Some("x"), Some("true"), Some("c"), None, None, None, None];
        assert_eq!(found, expected.map(|text| text.map(str::to_owned)));
        assert!(Line::json("[1]").is_err() && Line::json("{").is_err());
    }
}
