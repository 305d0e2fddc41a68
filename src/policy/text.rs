//! Policies as TOML text: the lines of problems.
//!
//! The text is parsed once into a tree that knows where each key stands. The plain types of `spec` are read
//! from the tree; a value that does not have their form is noted with its key, taken out, and the rest read
//! again, so that all such problems are told together. What a policy means is checked when its form is right.

use std::ops::Range;

use serde::Deserialize;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    compile::other_version,
    error::{KeyPath, PolicyError, Problem, Step, nearest},
    plan::Plan,
    spec::Policy,
};

/// How many problems of form are told at most: each is found by reading the policy once more.
const MOST_PROBLEMS: usize = 64;

impl Plan {
    /// Reads a policy's TOML text, checks it and compiles it.
    ///
    /// # Errors
    ///
    /// All that is wrong with it, each with its line, its key, and what would be accepted. Where the text has
    /// the wrong form (an unknown key, a rate that cannot be read), what it means is not checked yet.
    pub fn from_toml(text: &str) -> Result<Plan, PolicyError> {
        let tree = DeTable::parse(text).map_err(|error| {
            let line = error.span().map(|span| line_of(text, span.start));
            let message = format!("not valid TOML: {}", error.message().replace('\n', ", "));
            PolicyError::new(vec![Problem { line, path: KeyPath::root(), message }])
        })?;
        let find = |path: &KeyPath| find_line(text, tree.get_ref(), path);
        if let Some(problem) = version_of(tree.get_ref()).and_then(other_version) {
            return Err(PolicyError::new(vec![problem]).located(find));
        }
        let policy = read(tree.clone()).map_err(|problems| PolicyError::new(problems).located(find))?;
        Plan::new(&policy).map_err(|error| error.located(find))
    }
}

/// The version that `tree` says, if it is a number.
fn version_of(tree: &DeTable<'_>) -> Option<u64> {
    let DeValue::Integer(version) = tree.get("version")?.get_ref() else { return None };
    u64::from_str_radix(version.as_str(), version.radix()).ok()
}

/// The policy in `tree`, or every problem of its form.
fn read(mut tree: Spanned<DeTable<'_>>) -> Result<Policy, Vec<Problem>> {
    let mut problems = Vec::new();
    loop {
        let error = match Policy::deserialize(toml::de::Deserializer::from(tree.clone())) {
            Ok(policy) if problems.is_empty() => return Ok(policy),
            Ok(_) => return Err(problems),
            Err(error) => error,
        };
        let path = error.span().and_then(|span| find_path(tree.get_ref(), &span)).unwrap_or_default();
        problems.push(Problem::new(path.clone(), reworded(error.message(), &path)));
        if problems.len() >= MOST_PROBLEMS || !remove(tree.get_mut(), &path.steps) {
            return Err(problems);
        }
    }
}

/// The reader's message as ours: what is wrong, then what would be accepted.
fn reworded(message: &str, path: &KeyPath) -> String {
    // Only the first line: the rest, where there is any, quotes the text again.
    let message = message.lines().next().unwrap_or_default();
    if let Some(rest) = message.strip_prefix("unknown field `") {
        let (key, expected) = rest.split_once("`, expected ").unwrap_or((rest, ""));
        let known: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
        let known_list = known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        return match nearest(key, known.iter().copied()) {
            Some(near) => format!("unknown key; did you mean `{near}`? The keys here are {known_list}"),
            None => format!("unknown key; the keys here are {known_list}"),
        };
    }
    for wrong in ["invalid type: ", "invalid value: "] {
        if let Some((found, expected)) =
            message.strip_prefix(wrong).and_then(|rest| rest.rsplit_once(", expected "))
        {
            // The reader calls a number by the type that holds it.
            let expected = if expected == "u64" { "a whole number" } else { expected };
            return format!("found {found}; expected {expected}");
        }
    }
    if path.steps.is_empty() { format!("not a policy: {message}") } else { message.to_owned() }
}

/// The innermost key whose name or value holds `span`.
fn find_path(tree: &DeTable<'_>, span: &Range<usize>) -> Option<KeyPath> {
    let mut best: Option<(usize, KeyPath)> = None;
    walk_table(tree, &KeyPath::root(), &mut |path, place| {
        let holds = place.start <= span.start && span.end <= place.end;
        // The later of two equal ones is the inner one.
        if holds && best.as_ref().is_none_or(|(length, _)| place.len() <= *length) {
            best = Some((place.len(), path.clone()));
        }
    });
    best.map(|(_, path)| path)
}

fn walk_table(table: &DeTable<'_>, at: &KeyPath, visit: &mut impl FnMut(&KeyPath, Range<usize>)) {
    for (key, value) in table {
        let path = at.key(key.get_ref());
        visit(&path, key.span());
        visit(&path, value.span());
        walk_value(value.get_ref(), &path, visit);
    }
}

fn walk_value(value: &DeValue<'_>, at: &KeyPath, visit: &mut impl FnMut(&KeyPath, Range<usize>)) {
    match value {
        DeValue::Table(table) => walk_table(table, at, visit),
        DeValue::Array(array) => {
            for (index, value) in array.iter().enumerate() {
                let path = at.index(index);
                visit(&path, value.span());
                walk_value(value.get_ref(), &path, visit);
            }
        }
        _ => {}
    }
}

/// Takes out what stands at `steps`; false if nothing does.
fn remove(table: &mut DeTable<'_>, steps: &[Step]) -> bool {
    let Some((Step::Key(first), rest)) = steps.split_first() else { return false };
    if rest.is_empty() {
        return table.remove(first.as_str()).is_some();
    }
    table.get_mut(first.as_str()).is_some_and(|value| remove_within(value.get_mut(), rest))
}

fn remove_within(value: &mut DeValue<'_>, steps: &[Step]) -> bool {
    match (value, steps) {
        (DeValue::Table(table), steps) => remove(table, steps),
        (DeValue::Array(array), [Step::Index(index), rest @ ..]) => match array.get_mut(*index) {
            // In its place an empty table, which reads as any element: the others keep their index.
            Some(element) if rest.is_empty() => {
                let empty = matches!(element.get_ref(), DeValue::Table(table) if table.is_empty());
                *element.get_mut() = DeValue::Table(DeTable::new());
                !empty
            }
            Some(element) => remove_within(element.get_mut(), rest),
            None => false,
        },
        _ => false,
    }
}

/// The line on which the last step of `path` that the text has stands.
fn find_line(text: &str, tree: &DeTable<'_>, path: &KeyPath) -> Option<usize> {
    let mut place = None;
    let mut table: Option<&DeTable<'_>> = Some(tree);
    let mut array: Option<&[Spanned<DeValue<'_>>]> = None;
    for step in &path.steps {
        // A list of one rule is named without an index.
        if let (Step::Key(_), Some([only])) = (step, array) {
            table = if let DeValue::Table(inner) = only.get_ref() { Some(inner) } else { None };
        }
        let value = match step {
            Step::Key(name) => {
                let Some((key, value)) = table.and_then(|table| table.get_key_value(name.as_str())) else {
                    break;
                };
                place = Some(key.span());
                value
            }
            Step::Index(index) => {
                let Some(value) = array.and_then(|array| array.get(*index)) else { break };
                place = Some(value.span());
                value
            }
        };
        (table, array) = match value.get_ref() {
            DeValue::Table(inner) => (Some(inner), None),
            DeValue::Array(inner) => (None, Some(inner.as_ref())),
            _ => (None, None),
        };
    }
    place.map(|place| line_of(text, place.start))
}

/// The line of the byte at `offset`, from 1.
fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}
