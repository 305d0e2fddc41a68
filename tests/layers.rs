//! The rooms of the crate, kept by a test: a module names only modules of an earlier line of [`ROOMS`], and
//! no file passes [`MOST_LINES`] lines.
//!
//! Sources are read as tokens, so that a path counts wherever it stands: in a `use`, an expression, a type,
//! an attribute, a visibility, the arguments of a macro. Comments and documentation do not count. `super` is
//! resolved by the file's place, names that the root re-exports by the root's `use` lines. Tests inside `src`
//! are held to the same rule as the code beside them.
//!
//! The root, `src/lib.rs`, is the map and may name everything. The command in `src/bin` is another crate and
//! can name what is public; for it, as for all others, there are no `#[path]` and no `include!`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

const ROOMS: [&[&str]; 10] = [
    &["sync", "time", "meter", "id", "decision"],
    &["calendar", "adapt"],
    &["policy"],
    &["bucket"],
    &["line"],
    &["table", "lease"],
    &["path"],
    &["evidence", "checkpoint"],
    &["limiter"],
    &["upkeep", "wait", "http", "telemetry", "guide", "fleets", "performance", "restarts"],
];
const MOST_LINES: usize = 500;

fn line_of(module: &str) -> Option<usize> {
    ROOMS.iter().position(|line| line.contains(&module))
}

/// A path that starts at the root of the crate; empty where the root itself is named.
#[derive(Debug)]
struct Naming {
    line: usize,
    path: Vec<String>,
}

/// Finds what one file names.
#[derive(Default)]
struct Reader {
    namings: Vec<Naming>,
    /// Ways around the module tree, as what they are and where.
    detours: Vec<(usize, &'static str)>,
}

impl Reader {
    fn read(source: &str, module: &[String]) -> Result<Reader, String> {
        let file: TokenStream = source.parse().map_err(|error| format!("does not parse: {error}"))?;
        let mut reader = Reader::default();
        reader.walk(&file.into_iter().collect::<Vec<_>>(), module);
        Ok(reader)
    }

    fn walk(&mut self, tokens: &[TokenTree], module: &[String]) {
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            let line = token.span().start().line;
            at += 1;
            match token {
                TokenTree::Group(group) => {
                    let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                    let mark = at.checked_sub(2).and_then(|before| tokens.get(before));
                    if group.delimiter() == Delimiter::Bracket && is_mark(mark, '#') && sets_path(&inner) {
                        self.detours.push((line, "`#[path]`"));
                    }
                    self.walk(&inner, module);
                }
                TokenTree::Ident(word) if word == "mod" => {
                    if let [TokenTree::Ident(name), TokenTree::Group(body), ..] = &tokens[at..] {
                        let inner = [module, &[plain(&name.to_string())]].concat();
                        self.walk(&body.stream().into_iter().collect::<Vec<_>>(), &inner);
                        at += 2;
                    }
                }
                // `pub(crate)` and `pub(super)` name nothing; `pub(in path)` does.
                TokenTree::Ident(word) if word == "pub" => {
                    if let Some(TokenTree::Group(group)) = tokens.get(at) {
                        let lone = group.stream().into_iter().count() == 1;
                        at += usize::from(group.delimiter() == Delimiter::Parenthesis && lone);
                    }
                }
                TokenTree::Ident(word) if word == "crate" => {
                    // Not the `extern crate` of another crate.
                    let before = at.checked_sub(2).and_then(|before| tokens.get(before));
                    if !before.is_some_and(|before| is_word(before, "extern")) {
                        at = self.follow(tokens, at, Vec::new(), line);
                    } else if tokens.get(at).is_some_and(|name| is_word(name, "self")) {
                        self.namings.push(Naming { line, path: Vec::new() });
                    }
                }
                TokenTree::Ident(word) if word == "super" => {
                    let parent = module[..module.len().saturating_sub(1)].to_vec();
                    at = self.follow(tokens, at, parent, line);
                }
                TokenTree::Ident(word) if word == "include" && is_mark(tokens.get(at), '!') => {
                    self.detours.push((line, "`include!`"));
                }
                TokenTree::Ident(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
        }
    }

    /// Records where the rest of a path leads from `base`; answers where the path ends.
    fn follow(&mut self, tokens: &[TokenTree], at: usize, base: Vec<String>, line: usize) -> usize {
        if !(is_mark(tokens.get(at), ':') && is_mark(tokens.get(at + 1), ':')) {
            self.namings.push(Naming { line, path: base });
            return at;
        }
        self.branch(tokens, at + 2, base, line)
    }

    /// What may stand after `::` on the way: one more `super`, a group of a `use`, a name.
    fn branch(&mut self, tokens: &[TokenTree], at: usize, mut base: Vec<String>, line: usize) -> usize {
        match tokens.get(at) {
            Some(TokenTree::Ident(word)) if word == "super" => {
                base.pop();
                self.follow(tokens, at + 1, base, line)
            }
            Some(TokenTree::Ident(word)) if word != "self" => {
                base.push(plain(&word.to_string()));
                self.namings.push(Naming { line: word.span().start().line, path: base });
                at + 1
            }
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                for tree in inner.split(|token| is_mark(Some(token), ',')).filter(|tree| !tree.is_empty()) {
                    let line = tree[0].span().start().line;
                    self.branch(tree, 0, base.clone(), line);
                }
                at + 1
            }
            // `self` and `*`: the base itself.
            _ => {
                self.namings.push(Naming { line, path: base });
                at + 1
            }
        }
    }
}

/// Whether an attribute, or one within a `cfg_attr`, is `path = ..`.
fn sets_path(attribute: &[TokenTree]) -> bool {
    attribute.iter().enumerate().any(|(at, token)| match token {
        TokenTree::Group(group) => sets_path(&group.stream().into_iter().collect::<Vec<_>>()),
        _ => is_word(token, "path") && is_mark(attribute.get(at + 1), '='),
    })
}

fn plain(word: &str) -> String {
    word.strip_prefix("r#").unwrap_or(word).to_owned()
}

fn is_word(token: &TokenTree, expected: &str) -> bool {
    matches!(token, TokenTree::Ident(word) if word == expected)
}

fn is_mark(token: Option<&TokenTree>, expected: char) -> bool {
    matches!(token, Some(TokenTree::Punct(mark)) if mark.as_char() == expected)
}

/// What the root's `use` lines call by which path: `Plan` by `policy::plan::Plan`.
type Exports = BTreeMap<String, Vec<String>>;

fn exports_of(root: &str) -> Result<Exports, String> {
    let file = syn::parse_file(root).map_err(|error| format!("does not parse: {error}"))?;
    let mut exports = Exports::new();
    for item in &file.items {
        if let syn::Item::Use(item) = item {
            export(&item.tree, Vec::new(), &mut exports)?;
        }
    }
    Ok(exports)
}

fn export(tree: &syn::UseTree, mut path: Vec<String>, exports: &mut Exports) -> Result<(), String> {
    match tree {
        syn::UseTree::Path(step) => {
            if step.ident != "self" && step.ident != "crate" {
                path.push(step.ident.to_string());
            }
            export(&step.tree, path, exports)?;
        }
        syn::UseTree::Name(name) => {
            path.push(name.ident.to_string());
            exports.insert(name.ident.to_string(), path);
        }
        syn::UseTree::Rename(name) => {
            path.push(name.ident.to_string());
            exports.insert(name.rename.to_string(), path);
        }
        syn::UseTree::Group(group) => {
            for tree in &group.items {
                export(tree, path.clone(), exports)?;
            }
        }
        _ => return Err("re-exports by `*`, which hides what is public: name each".to_owned()),
    }
    Ok(())
}

/// Every fault of one file. `module` is where it stands in the crate, empty for the root and the command.
fn faults_of(source: &str, module: &[String], exports: &Exports) -> Vec<String> {
    let mut faults = Vec::new();
    let length = source.lines().count();
    if length > MOST_LINES {
        faults.push(format!("{length} lines; at most {MOST_LINES} would do"));
    }
    let reader = match Reader::read(source, module) {
        Ok(reader) => reader,
        Err(fault) => return vec![fault],
    };
    for (line, detour) in reader.detours {
        faults.push(format!("{line}: {detour} goes around the module tree"));
    }
    if let Some(own) = module.first() {
        let namings = reader.namings.into_iter();
        faults.extend(namings.filter_map(|naming| {
            let fault = fault_of(own, &naming.path, exports)?;
            Some(format!("{}: {fault}", naming.line))
        }));
    }
    faults
}

fn fault_of(own: &str, path: &[String], exports: &Exports) -> Option<String> {
    let Some(own_line) = line_of(own) else {
        return Some(format!("module `{own}` has no line: put it in the table of tests/layers.rs"));
    };
    let Some(named) = path.first() else {
        return Some("names the root as a whole: name the module that is meant".to_owned());
    };
    if named == own {
        return None;
    }
    if let Some(line) = line_of(named) {
        return (line >= own_line).then(|| {
            format!("`{own}` (line {own_line}) names `{named}` (line {line}), which is no earlier")
        });
    }
    match exports.get(named).and_then(|path| path.first()) {
        Some(first) if first == own => None,
        Some(first) => match line_of(first) {
            Some(line) if line >= own_line => Some(format!(
                "`{own}` (line {own_line}) names `{named}` of `{first}` (line {line}), which is no earlier"
            )),
            // An earlier module of ours, or another crate.
            _ => None,
        },
        None => Some(format!(
            "`{named}` is neither a module of the table of tests/layers.rs nor a name that the root \
             re-exports: put it in the table"
        )),
    }
}

fn sources_in(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            sources_in(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Where a file under `src` stands: `policy/mod.rs` is `[policy]`, `policy/plan.rs` is `[policy, plan]`.
fn module_of(file: &Path) -> Vec<String> {
    let parts = file.with_extension("");
    let mut parts: Vec<String> = parts.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    parts.pop_if(|last| last == "mod");
    if parts.first().is_some_and(|first| first == "bin") || parts == ["lib"] { Vec::new() } else { parts }
}

#[test]
fn modules_name_earlier_lines_only() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let root = fs::read_to_string(folder.join("lib.rs")).expect("a root");
    let exports = exports_of(&root).unwrap_or_else(|fault| panic!("src/lib.rs: {fault}"));
    let mut files = Vec::new();
    sources_in(&folder, &mut files);
    let mut faults = Vec::new();
    for file in &files {
        let place = file.strip_prefix(&folder).expect("a file of the folder");
        let source = fs::read_to_string(file).expect("a readable file");
        let found = faults_of(&source, &module_of(place), &exports);
        faults.extend(found.into_iter().map(|fault| format!("src/{}:{fault}", place.display())));
    }
    for item in &syn::parse_file(&root).expect("a root").items {
        if let syn::Item::Mod(module) = item
            && line_of(&module.ident.to_string()).is_none()
        {
            faults.push(format!("src/lib.rs: module `{}` has no line: put it in the table", module.ident));
        }
    }
    assert!(files.len() > 8, "only {} files were read", files.len());
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

/// A root like ours, for the tests of the checker itself.
fn seeded_exports() -> Exports {
    exports_of(
        "mod limiter; pub use limiter::{Limiter, permit::Permit as Held}; pub use crate::meter::Cost; \
         pub use self::policy::plan::Plan; pub use serde::Serialize;",
    )
    .expect("a root")
}

fn seeded(module: &str, source: &str) -> Vec<String> {
    let module: Vec<String> = module.split("::").map(str::to_owned).collect();
    faults_of(source, &module, &seeded_exports())
}

#[test]
fn each_form_of_a_violation_is_found() {
    let violations = [
        ("bucket", "use crate::limiter::Limiter;"),
        ("bucket", "use crate::limiter;"),
        ("bucket", "use crate::limiter as l;"),
        ("bucket", "use crate::{meter::Cost, limiter::Limiter};"),
        ("bucket", "use crate::{meter::{self, Cost}, r#limiter::{self}};"),
        ("bucket", "use {crate::meter::Cost, crate::limiter::Limiter};"),
        ("bucket", "pub(crate) use crate::limiter::*;"),
        ("bucket", "use super::limiter::Limiter;"),
        ("bucket", "use self::super::limiter::Limiter;"),
        ("bucket", "use super::{meter::Cost, limiter::Limiter};"),
        ("bucket::rate", "use super::super::limiter::Limiter;"),
        ("bucket::rate", "use super::{step, super::limiter::Limiter};"),
        ("bucket::rate", "use super::super::{meter, limiter};"),
        ("bucket::rate", "mod tests { use super::super::super::limiter::Limiter; }"),
        ("bucket", "mod tests { fn f() { use super::super::limiter::Limiter; } }"),
        ("bucket", "#[cfg(test)] mod tests { use crate::limiter::Limiter; }"),
        ("bucket", "fn f() { crate::limiter::build(); }"),
        ("bucket", "fn f() { let _ = <u8 as crate::limiter::Caller>::find; }"),
        ("bucket", "fn f(limiter: &crate::limiter::Limiter) {}"),
        ("bucket", "impl From<Vec<crate::limiter::Limiter>> for A {}"),
        ("bucket", "#[serde(with = crate::limiter::text)] struct A;"),
        ("bucket", "#[derive(crate::limiter::Derive)] struct A;"),
        ("bucket", "fn f() { assert_eq!(1, crate::limiter::ONE); }"),
        ("bucket", "fn f() { vec![vec![super::limiter::ONE]]; }"),
        ("bucket", "macro_rules! m { () => { $crate::limiter::ONE }; }"),
        ("bucket", "pub(in crate::limiter) struct A;"),
        ("bucket", "use crate::Limiter;"),
        ("bucket", "use crate::{Cost, Held};"),
        ("bucket", "fn f(limiter: &super::Limiter) {}"),
        ("bucket", "use crate as root;"),
        ("bucket", "use crate::{self as root};"),
        ("bucket", "use crate::*;"),
        ("bucket", "use super::*;"),
        ("bucket", "use super as root;"),
        ("bucket", "extern crate self as root;"),
        ("bucket", "use crate::drawer::Odds;"),
        ("bucket", "use crate::Unknown;"),
        ("bucket", "use crate::line::Line;"),
        ("policy", "use crate::Limiter;"),
        ("calendar", "use crate::Plan;"),
        ("table", "use crate::lease::Lease;"),
        ("time", "use crate::Cost;"),
        ("bucket", "#[path = \"../limiter/mod.rs\"] mod copy;"),
        ("bucket", "#[cfg_attr(all(), path = \"../limiter/mod.rs\")] mod copy;"),
        ("bucket", "include!(\"../limiter/mod.rs\");"),
        ("drawer", "use crate::meter::Cost;"),
        ("bucket", "fn f( {"),
    ];
    for (module, source) in violations {
        let faults = seeded(module, source);
        assert_eq!(faults.len(), 1, "in `{module}`: {source}\n{faults:?}");
    }
    let faults = seeded("drawer", "use crate::meter::Cost;");
    assert!(faults[0].contains("put it in the table"), "{faults:?}");
    let faults = seeded("bucket", "\n\nuse crate::{\n    meter,\n    limiter,\n};");
    assert!(faults[0].starts_with("5:"), "the line of the name itself: {faults:?}");
}

#[test]
fn what_is_allowed_is_not_found() {
    let allowed = [
        (
            "bucket",
            "//! [`crate::limiter::Limiter`]\n/// See [`Limiter`](crate::Limiter).\npub(crate) struct A;",
        ),
        ("bucket", "// crate::limiter\nconst A: &str = \"crate::limiter::Limiter\";"),
        ("bucket", "use crate::{meter::Cost, policy::plan::{Plan, Quota}, bucket::rate, Cost, Plan};"),
        ("bucket", "mod rate; use self::rate::Step; use rate::Other; use std::sync::Arc;"),
        ("bucket", "pub(super) struct A; pub(crate) struct B; pub(in crate::bucket) struct C;"),
        ("bucket", "mod tests { use super::*; use super::rate::*; fn f() { super::rate::step(); } }"),
        ("bucket::rate", "use super::*; use super::quota::Step; use super::super::meter::Cost;"),
        ("bucket::rate", "use super::{quota::Step, super::{meter, policy::plan}};"),
        ("limiter::permit", "use crate::Held; use super::Limiter; extern crate std;"),
        ("bucket", "struct limiter; fn f(limiter: limiter) { let path = limiter; }"),
        ("bucket", "use crate::Serialize;"),
    ];
    for (module, source) in allowed {
        assert_eq!(seeded(module, source), Vec::<String>::new(), "in `{module}`: {source}");
    }
    assert!(exports_of("pub use limiter::*;").is_err(), "a re-export by `*` hides its names");
}

#[test]
fn long_files_are_found() {
    let long = "// line\n".repeat(MOST_LINES + 1);
    assert_eq!(seeded("bucket", &long), ["501 lines; at most 500 would do"]);
    let full = "// line\n".repeat(MOST_LINES);
    assert_eq!(seeded("bucket", &full), Vec::<String>::new());
}

#[test]
fn files_have_their_place() {
    let place = |file: &str| module_of(Path::new(file)).join("::");
    assert_eq!(place("time.rs"), "time");
    assert_eq!(place("policy/mod.rs"), "policy");
    assert_eq!(place("policy/compile/rules.rs"), "policy::compile::rules");
    assert_eq!(place("lib.rs"), "");
    assert_eq!(place("bin/tollgate/main.rs"), "");
}
