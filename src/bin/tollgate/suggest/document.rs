//! A policy text with a comment beside each number.

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

/// A line of the text and, if it is a rule, the section, the entry and the place in it.
type Line = (String, Option<(usize, usize, usize)>);

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
        self.lines().into_iter().map(|(line, _)| line + "\n").collect()
    }

    /// Takes out the rule that stands on line `number` of the text, from 1, and tells it; none if none stands there.
    pub(super) fn remove(&mut self, number: usize) -> Option<String> {
        let (_, origin) = self.lines().into_iter().nth(number.checked_sub(1)?)?;
        let (section, entry, rule) = origin?;
        let section = self.sections.get_mut(section)?;
        let (meter, value) = section.entries.get_mut(entry)?;
        let Value::Rules(rules) = value else { return None };
        if rule >= rules.len() {
            return None;
        }
        let removed = rules.remove(rule);
        let told = format!("{}.{meter} {}", section.path.join("."), removed.text);
        if rules.is_empty() {
            section.entries.remove(entry);
        }
        Some(told)
    }

    fn lines(&self) -> Vec<Line> {
        let mut lines: Vec<Line> = Vec::new();
        for (section_index, section) in self.sections.iter().enumerate() {
            if !lines.is_empty() {
                lines.push((String::new(), None));
            }
            for note in &section.notes {
                lines.extend(wrap(note).into_iter().map(|line| (line, None)));
            }
            if section.entries.is_empty() {
                continue;
            }
            if !section.path.is_empty() {
                let path: Vec<String> = section.path.iter().map(|step| key(step)).collect();
                lines.push((format!("[{}]", path.join(".")), None));
            }
            for (entry_index, (name, value)) in section.entries.iter().enumerate() {
                match value {
                    Value::Plain(value, comment) => {
                        lines.push((line(&format!("{} = {value}", key(name)), comment), None));
                    }
                    Value::Rules(rules) => {
                        lines.push((format!("{} = [", key(name)), None));
                        for (index, rule) in rules.iter().enumerate() {
                            let text = line(&format!("    {},", rule.text), &rule.comment);
                            lines.push((text, Some((section_index, entry_index, index))));
                        }
                        lines.push(("]".to_owned(), None));
                    }
                }
            }
        }
        lines
    }
}

fn line(content: &str, comment: &str) -> String {
    if comment.is_empty() {
        return content.to_owned();
    }
    let room = COMMENT_COLUMN.saturating_sub(content.chars().count()).max(2);
    format!("{content}{:room$}# {}", "", one_line(comment))
}

fn wrap(note: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut current = "#".to_owned();
    for word in one_line(note).split(' ') {
        if current.len() > 1 && current.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push(std::mem::replace(&mut current, "#".to_owned()));
        }
        current.push(' ');
        current.push_str(word);
    }
    lines.push(current);
    lines
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
    let mut quoted = String::from('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            letter if letter.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(letter))),
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tier_of() -> Section {
        let rule = |text: &str| Rule { kind: String::new(), text: text.to_owned(), comment: String::new() };
        let mut tier = Section::new(["tiers", "t"]);
        tier.rules("requests", vec![rule("\"5/min\""), rule("{ quota = \"9/day\" }")]);
        tier
    }

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
        let document = || Document { sections: vec![tier_of(), Section::new(["x"])] };
        let number = 1 + document().text().lines().position(|line| line.contains("9/day")).unwrap();
        let mut shorter = document();
        assert_eq!(shorter.remove(number).unwrap(), "tiers.t.requests { quota = \"9/day\" }");
        assert_eq!(shorter.remove(number), None);
        assert_eq!(shorter.remove(number - 1).unwrap(), "tiers.t.requests \"5/min\"");
        assert!(!shorter.text().contains("requests"));
        assert_eq!(shorter.remove(0), None);
    }
}
