//! What is wrong with a policy: every problem, where it is, and what would be accepted.

use std::fmt;

/// One step into a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Key(String),
    Index(usize),
}

/// Where in a policy something is, such as `tiers.free.account.requests[1].burst`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeyPath {
    pub(crate) steps: Vec<Step>,
}

impl KeyPath {
    pub(crate) fn root() -> KeyPath {
        KeyPath::default()
    }

    pub(crate) fn key(&self, key: &str) -> KeyPath {
        self.step(Step::Key(key.to_owned()))
    }

    pub(crate) fn index(&self, index: usize) -> KeyPath {
        self.step(Step::Index(index))
    }

    fn step(&self, step: Step) -> KeyPath {
        let mut steps = self.steps.clone();
        steps.push(step);
        KeyPath { steps }
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.steps.iter().enumerate() {
            match step {
                Step::Index(index) => write!(out, "[{index}]")?,
                Step::Key(key) => {
                    if at > 0 {
                        out.write_str(".")?;
                    }
                    // As TOML would have it: a key of other characters stands in quotes.
                    if !key.is_empty()
                        && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
                    {
                        out.write_str(key)?;
                    } else {
                        write!(out, "{key:?}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// One thing that is wrong with a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub(crate) line: Option<usize>,
    pub(crate) path: KeyPath,
    pub(crate) message: String,
}

impl Problem {
    pub(crate) fn new(path: KeyPath, message: impl Into<String>) -> Problem {
        Problem { line: None, path, message: message.into() }
    }

    /// The line of the policy's text, from 1; `None` where there was no text.
    pub fn line(&self) -> Option<usize> {
        self.line
    }

    /// The key that is wrong, such as `tiers.free.account.requests[1].burst`; empty for the policy as a whole.
    pub fn path(&self) -> String {
        self.path.to_string()
    }

    /// What is wrong, and what would be accepted.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(out, "line {line}: ")?;
        }
        if !self.path.steps.is_empty() {
            write!(out, "{}: ", self.path)?;
        }
        out.write_str(&self.message)
    }
}

/// Why a policy is refused: all that is wrong with it, one problem a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError {
    problems: Vec<Problem>,
}

impl PolicyError {
    /// Sorts `problems` by line; those without one keep their order.
    pub(crate) fn new(mut problems: Vec<Problem>) -> PolicyError {
        problems.sort_by_key(|problem| problem.line);
        PolicyError { problems }
    }

    /// Everything that is wrong, in the order of the text.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Gives each problem the line that `find` knows for its path.
    #[cfg(feature = "toml")]
    pub(crate) fn located(self, find: impl Fn(&KeyPath) -> Option<usize>) -> PolicyError {
        let mut problems = self.problems;
        for problem in &mut problems {
            problem.line = find(&problem.path);
        }
        PolicyError::new(problems)
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.problems.iter().enumerate() {
            if at > 0 {
                out.write_str("\n")?;
            }
            problem.fmt(out)?;
        }
        Ok(())
    }
}

impl std::error::Error for PolicyError {}

/// The one of `known` that `wrong` was probably meant to be.
pub(crate) fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Names are short; a long one is not a slip of the hand.
    let most = (wrong.chars().take(32).count() / 3).max(1);
    known
        .into_iter()
        .map(|name| (edits(wrong, name), name))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// How many characters to insert, remove or replace to make `to` of `from` (Wagner and Fischer 1974); a long
/// `from` counts as unlike anything.
fn edits(from: &str, to: &str) -> usize {
    if from.len() > 64 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (at, c) in from.chars().enumerate() {
        let mut diagonal = at;
        let mut left = at + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, d) in row.iter_mut().skip(1).zip(to.chars()) {
            let replaced = diagonal + usize::from(c != d);
            diagonal = *cell;
            left = replaced.min(diagonal + 1).min(left + 1);
            *cell = left;
        }
    }
    row.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_names() {
        let known = ["requests", "input_tokens", "output_tokens"];
        assert_eq!(nearest("request", known), Some("requests"));
        assert_eq!(nearest("output_token", known), Some("output_tokens"));
        assert_eq!(nearest("outputtokens", known), Some("output_tokens"));
        assert_eq!(nearest("dollars", known), None);
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("", "abc"), 3);
    }

    #[test]
    fn paths_quote_odd_keys() {
        let path = KeyPath::root().key("tiers").key("opus.x").key("a").index(2).key("burst");
        assert_eq!(path.to_string(), "tiers.\"opus.x\".a[2].burst");
    }
}
