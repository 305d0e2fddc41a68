//! A policy text with a comment beside each number.

use std::fmt::Write;

/// One limit on one meter, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    /// What kind of limit it is: `rate`, `budget`, `in_flight`, or a quota by its window, such as `quota/day`.
    pub(super) kind: String,
    pub(super) text: String,
    pub(super) comment: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// Any TOML value, and what to say about it.
    Plain(String, String),
    Rules(Vec<Rule>),
}

/// A table of the policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Section {
    /// Empty at the root.
    pub(super) path: Vec<String>,
    /// Comment lines above it.
    pub(super) notes: Vec<String>,
    pub(super) entries: Vec<(String, Value)>,
}

impl Section {
    pub(super) fn new<const N: usize>(path: [&str; N]) -> Section {
        Section { path: path.map(str::to_owned).to_vec(), ..Section::default() }
    }

    pub(super) fn plain(&mut self, key: &str, value: impl Into<String>, comment: impl Into<String>) {
        self.entries.push((key.to_owned(), Value::Plain(value.into(), comment.into())));
    }

    pub(super) fn rules(&mut self, key: &str, rules: Vec<Rule>) {
        if !rules.is_empty() {
            self.entries.push((key.to_owned(), Value::Rules(rules)));
        }
    }
}

/// The column at which comments begin, where there is room.
const COMMENT_COLUMN: usize = 52;

/// The longest line; longer notes are broken.
const WIDTH: usize = 110;

/// All of a policy, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Document {
    pub(super) sections: Vec<Section>,
}

impl Document {
    pub(super) fn section_mut(&mut self, path: &[String]) -> Option<&mut Section> {
        self.sections.iter_mut().find(|section| section.path == path)
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for section in &self.sections {
            if !text.is_empty() {
                text.push('\n');
            }
            for note in &section.notes {
                wrap(&mut text, note);
            }
            if section.entries.is_empty() {
                continue;
            }
            if !section.path.is_empty() {
                let path: Vec<String> = section.path.iter().map(|step| key(step)).collect();
                line(&mut text, &format!("[{}]", path.join(".")), "");
            }
            for (name, value) in &section.entries {
                match value {
                    Value::Plain(value, comment) => {
                        line(&mut text, &format!("{} = {value}", key(name)), comment);
                    }
                    Value::Rules(rules) => {
                        line(&mut text, &format!("{} = [", key(name)), "");
                        for rule in rules {
                            line(&mut text, &format!("    {},", rule.text), &rule.comment);
                        }
                        line(&mut text, "]", "");
                    }
                }
            }
        }
        text
    }
}

fn line(text: &mut String, content: &str, comment: &str) {
    text.push_str(content);
    if !comment.is_empty() {
        let room = COMMENT_COLUMN.saturating_sub(content.chars().count()).max(2);
        // Writing to a string cannot fail.
        let _ = write!(text, "{:room$}# {}", "", one_line(comment));
    }
    text.push('\n');
}

fn wrap(text: &mut String, note: &str) {
    let note = one_line(note);
    let mut length = 0;
    for word in note.split(' ') {
        if length > 0 && length + 1 + word.chars().count() > WIDTH {
            text.push('\n');
            length = 0;
        }
        if length == 0 {
            text.push('#');
            length = 1;
        }
        text.push(' ');
        text.push_str(word);
        length += 1 + word.chars().count();
    }
    text.push('\n');
}

/// A comment ends with its line, whatever a name in it holds.
fn one_line(comment: &str) -> String {
    comment.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// A key as TOML takes it.
fn key(name: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !name.is_empty() && name.bytes().all(bare) { name.to_owned() } else { string(name) }
}

/// A string as TOML takes it.
pub(super) fn string(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut root = Section::new([]);
        root.notes.push("a note ".repeat(40));
        root.plain("version", "1", "");
        let mut tier = Section::new(["tiers", "a \"b\"\n", "account"]);
        let rule = |text: &str| Rule {
            kind: "rate".to_owned(),
            text: text.to_owned(),
            comment: "said\nof it".to_owned(),
        };
        tier.rules("requests", vec![rule("\"5/min\""), rule("{ quota = \"9/day\" }")]);
        tier.rules("none", Vec::new());
        let text = Document { sections: vec![root, tier] }.text();
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH + 1), "{text}");
        let table: toml::Table = text.parse().unwrap();
        let rules = &table["tiers"]["a \"b\"\n"]["account"]["requests"];
        assert_eq!(rules[1]["quota"].as_str(), Some("9/day"));
        assert!(text.contains("# said of it"));
    }
}
