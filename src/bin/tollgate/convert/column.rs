//! Which of a log's fields make a column of a trace.

use std::str::FromStr;

use super::line::Line;

/// Where a column's values come from: the first of some fields that says something, or always the same text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    from: From,
    /// What a number is divided by, rounded up.
    divisor: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum From {
    Fields(Vec<String>),
    Text(String),
}

impl FromStr for Column {
    type Err = String;

    fn from_str(text: &str) -> Result<Column, String> {
        if let Some(text) = text.strip_prefix('=') {
            return Ok(Column { from: From::Text(text.to_owned()), divisor: 1 });
        }
        let (names, divisor) = match text.rsplit_once('/') {
            Some((names, divisor)) => {
                let divisor = divisor.parse().ok().filter(|divisor| *divisor > 0);
                (names, divisor.ok_or("what stands after the / is a whole number, as in bytes/4")?)
            }
            None => (text, 1),
        };
        let names: Vec<String> = names.split(',').map(|name| name.trim().to_owned()).collect();
        if names.iter().any(String::is_empty) {
            return Err("expected a field, several with commas between, or = and a text".to_owned());
        }
        Ok(Column { from: From::Fields(names), divisor })
    }
}

impl Column {
    /// Its value in `line`; `None` where no field says anything.
    pub(super) fn text(&self, line: &Line<'_>) -> Option<String> {
        match &self.from {
            From::Text(text) => Some(text.clone()),
            From::Fields(names) => {
                names.iter().find_map(|name| line.field(name)).map(|text| text.into_owned())
            }
        }
    }

    /// Its value as a number of tokens; 0 where no field says anything.
    pub(super) fn tokens(&self, line: &Line<'_>) -> Result<Option<u64>, String> {
        let Some(text) = self.text(line) else { return Ok(None) };
        let number = text.parse::<u64>().ok().map(|number| number.div_ceil(self.divisor));
        match number.filter(|number| *number <= u64::from(u32::MAX)) {
            Some(number) => Ok(Some(number)),
            None => {
                let shown: String = text.chars().take(40).collect();
                Err(format!("{shown:?} is not a whole number from 0 to {}", u32::MAX))
            }
        }
    }

    /// What it is looked for in, for messages.
    pub(super) fn said(&self) -> String {
        match &self.from {
            From::Text(text) => format!("={text}"),
            From::Fields(names) => names.join(", "),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_written_in_a_word() {
        let line = Line::json(r#"{"a":null,"b":"x","bytes":9}"#).unwrap();
        let column = |text: &str| text.parse::<Column>().unwrap();
        assert_eq!(column("a,b").text(&line).as_deref(), Some("x"));
        assert_eq!(column("a").text(&line), None);
        assert_eq!(column("=free").text(&line).as_deref(), Some("free"));
        assert_eq!(column("bytes/4").tokens(&line), Ok(Some(3)));
        assert_eq!(column("a").tokens(&line), Ok(None));
        assert!(column("b").tokens(&line).is_err());
        for wrong in ["", "a,,b", "a/0", "a/x"] {
            assert!(wrong.parse::<Column>().is_err(), "{wrong}");
        }
    }
}
