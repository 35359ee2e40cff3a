//! Reads the sources and fails on what a reviewer would otherwise have to see. STYLE.md has the reasons.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

mod source;

/// Lines of one source file, and of one function.
const FILE_LIMIT: usize = 400;
const FUNCTION_LIMIT: usize = 60;

/// What is made by tools or is no part of the sources.
const SKIPPED: [&str; 7] = [".git", "target", "node_modules", "dist", "generated", "metergate-data", "Cargo.lock"];
const SOURCES: [&str; 10] = ["rs", "sh", "py", "js", "mjs", "ts", "css", "html", "sql", "proto"];

/// One text file of the checkout.
struct File {
    /// From the top of the checkout, with `/`.
    path: String,
    text: String,
}

impl File {
    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    fn is_source(&self) -> bool {
        matches!(self.path.as_str(), "check" | ".ci/run")
            || self.path.rsplit_once('.').is_some_and(|(_, extension)| SOURCES.contains(&extension))
    }

    /// Whether all of it is for tests: in a folder of tests, or the `tests.rs` of a module.
    fn is_test(&self) -> bool {
        self.path.split('/').any(|part| part == "tests" || part == "tests.rs")
    }

    /// The Rust code that runs in production.
    fn production_code(&self) -> String {
        source::without_tests(&source::code_of(&self.text))
    }
}

fn files() -> Vec<File> {
    let top = Path::new("..");
    let mut files = Vec::new();
    collect(top, "", &mut files);
    assert!(files.iter().any(|file| file.path == "Cargo.toml"), "the walk did not find the checkout");
    files
}

fn collect(folder: &Path, prefix: &str, files: &mut Vec<File>) {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(Result::unwrap).collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().into_string().unwrap();
        if SKIPPED.contains(&name.as_str()) {
            continue;
        }
        let path = format!("{prefix}{name}");
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            collect(&entry.path(), &format!("{path}/"), files);
        } else if kind.is_file() {
            // What is not text has no lines to judge.
            files.extend(fs::read_to_string(entry.path()).ok().map(|text| File { path, text }));
        }
    }
}

/// Fails with every complaint on a line of its own.
fn none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn files_and_functions_stay_short() {
    let mut lengths = BTreeMap::new();
    for file in files().iter().filter(|file| file.is_source()) {
        lengths.insert(file.path.clone(), file.text.lines().count());
        if file.is_rust() {
            for function in source::functions(&source::code_of(&file.text)) {
                let longest = lengths.entry(format!("{} fn {}", file.path, function.name)).or_default();
                *longest = function.lines.max(*longest);
            }
        }
    }
    none(&ratchet(&lengths, &known_lengths(include_str!("tidy.txt"))));
}

fn known_lengths(list: &str) -> BTreeMap<String, usize> {
    let entries = list.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    let split = |line: &str| {
        let (what, lines) = line.rsplit_once(' ').unwrap_or_default();
        (what.to_owned(), lines.parse().unwrap_or_else(|_| panic!("tidy.txt: no length at the end of {line:?}")))
    };
    entries.map(split).collect()
}

/// What is longer than allowed or than known, and which known lengths have become too generous.
fn ratchet(lengths: &BTreeMap<String, usize>, known: &BTreeMap<String, usize>) -> Vec<String> {
    let mut complaints = Vec::new();
    for (what, &lines) in lengths {
        let (limit, remedy) = match what.contains(" fn ") {
            true => (FUNCTION_LIMIT, "split it by what it does: parse, decide, write"),
            false => (FILE_LIMIT, "make it a folder with a file per matter"),
        };
        match known.get(what) {
            None if lines > limit => complaints.push(format!("{what}: {lines} lines, more than {limit}: {remedy}")),
            Some(&was) if lines > was => complaints.push(format!("{what}: grew from {was} to {lines} lines: {remedy}")),
            Some(_) if lines <= limit => {
                complaints.push(format!("{what}: {lines} lines: remove its entry from tidy.txt"))
            }
            Some(&was) if lines < was => complaints.push(format!("{what}: lower its entry in tidy.txt to {lines}")),
            _ => {}
        }
    }
    let gone = known.keys().filter(|what| !lengths.contains_key(*what));
    complaints.extend(gone.map(|what| format!("{what}: is gone: remove its entry from tidy.txt")));
    complaints
}

#[test]
fn lengths_only_go_down() {
    let cases = [
        ("a.rs 400\na.rs fn f 60", "", ""),
        ("a.rs 401", "", "a.rs: 401 lines, more than 400"),
        ("a.rs fn f 61", "", "a.rs fn f: 61 lines, more than 60"),
        ("a.rs 450", "a.rs 450", ""),
        ("a.rs 451", "a.rs 450", "a.rs: grew from 450 to 451"),
        ("a.rs 449", "# known\n\na.rs 450", "a.rs: lower its entry in tidy.txt to 449"),
        ("a.rs 400", "a.rs 450", "a.rs: 400 lines: remove its entry"),
        ("", "a.rs fn f 61", "a.rs fn f: is gone"),
    ];
    for (lengths, known, complaint) in cases {
        let complaints = ratchet(&known_lengths(lengths), &known_lengths(known)).join("\n");
        let as_expected = if complaint.is_empty() { complaints.is_empty() } else { complaints.starts_with(complaint) };
        assert!(as_expected, "{lengths:?} with {known:?} gave {complaints:?}");
    }
}

/// What the rules may be made of; everything else would bring the world in.
const RULES_DEPENDENCIES: [&str; 4] = ["jiff", "serde", "sha2", "thiserror"];
/// What a pure rule does not touch, also without a `use`.
const IMPURE: [&str; 10] = [
    "std::fs",
    "std::io",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "std::time",
    "f32",
    "f64",
    "async fn",
];

#[test]
fn rules_depend_on_nothing_that_touches_the_world() {
    let files = files();
    let manifest = files.iter().find(|file| file.path == "rules/Cargo.toml").unwrap();
    let (needed, for_tests) = dependencies(&manifest.text);
    let mut complaints = Vec::new();
    for name in needed.iter().filter(|name| !RULES_DEPENDENCIES.contains(&name.as_str())) {
        complaints.push(format!(
            "rules/Cargo.toml: {name}: the rules are pure; do this in the server and pass the result in"
        ));
    }
    let code = files.iter().filter(|file| file.path.starts_with("rules/src/") && file.is_rust());
    let code: Vec<_> = code.map(|file| (file, source::code_of(&file.text))).collect();
    let modules: Vec<_> = code.iter().flat_map(|(_, code)| modules(code)).collect();
    for (file, code) in &code {
        for import in source::imports(code) {
            let root = import.split("::").next().unwrap_or_default();
            let ours = ["std", "core", "crate", "$crate", "self", "super"].contains(&root)
                || root.starts_with(char::is_uppercase)
                || modules.iter().any(|module| module == root);
            // Cargo lets only tests import what only tests depend on.
            let theirs = RULES_DEPENDENCIES.contains(&root) || for_tests.iter().any(|name| name == root);
            if !ours && !theirs {
                complaints
                    .push(format!("{}: use {import}: the rules import only {RULES_DEPENDENCIES:?} and std", file.path));
            }
        }
        if !file.is_test() {
            complaints.extend(impurities(&file.path, &source::without_tests(code)));
        }
    }
    none(&complaints);
}

fn impurities(path: &str, code: &str) -> Vec<String> {
    let imported = source::imports(code).into_iter();
    let mut found: Vec<_> = imported.filter(|import| IMPURE.contains(&import.as_str())).collect();
    found.extend(IMPURE.iter().filter(|word| has_word(code, word)).map(|word| (*word).to_owned()));
    found.sort();
    found.dedup();
    found
        .iter()
        .map(|word| format!("{path}: {word}: a rule is pure and exact; the server does this, or an integer"))
        .collect()
}

/// The crates that a manifest depends on as code names them: always, and only in tests.
fn dependencies(manifest: &str) -> (Vec<String>, Vec<String>) {
    let (mut always, mut in_tests) = (Vec::new(), Vec::new());
    let mut section = "";
    for line in manifest.lines().map(str::trim) {
        let name = if let Some(header) = line.strip_prefix('[') {
            section = header.trim_end_matches(']');
            section.split_once("dependencies.").map(|(_, name)| name)
        } else {
            let entry = section.ends_with("dependencies") && !line.is_empty() && !line.starts_with('#');
            entry.then(|| line.split(['.', '=', ' ']).next().unwrap_or_default())
        };
        let list = if section.contains("dev-") { &mut in_tests } else { &mut always };
        list.extend(name.map(|name| name.replace('-', "_")));
    }
    (always, in_tests)
}

#[test]
fn only_clock_rs_reads_the_time() {
    let readings = ["SystemTime::now", "Instant::now", "Timestamp::now", "Zoned::now", "clock_gettime"];
    let mut complaints = Vec::new();
    for file in files().iter().filter(|file| file.is_rust() && !file.is_test()) {
        if file.path == "server/src/clock.rs" || file.path.starts_with("bench/") {
            continue;
        }
        for (number, line) in file.production_code().lines().enumerate() {
            for reading in readings.iter().filter(|reading| has_word(line, reading)) {
                let path = &file.path;
                complaints.push(format!("{path}:{}: {reading}: take the time as a parameter, or a Clock", number + 1));
            }
        }
    }
    none(&complaints);
}

#[test]
fn modules_are_named_after_what_they_are_about() {
    let empty = ["util", "utils", "helper", "helpers", "common", "manager", "managers", "misc"];
    let says_nothing = |name: &str| name.split(['_', '-', '.']).any(|word| empty.contains(&word));
    let mut complaints = Vec::new();
    for file in files().iter().filter(|file| file.is_source()) {
        let inline = if file.is_rust() { modules(&source::code_of(&file.text)) } else { Vec::new() };
        let names = file.path.split('/').map(str::to_owned).chain(inline);
        let bad = names.filter(|name| says_nothing(name));
        complaints.extend(bad.map(|name| format!("{}: {name}: name it after the domain word it is about", file.path)));
    }
    none(&complaints);
}

fn modules(code: &str) -> Vec<String> {
    let declared = code.lines().filter_map(|line| line.split_once("mod "));
    let declared = declared.filter(|(before, _)| before.trim().is_empty() || before.trim().starts_with("pub"));
    declared.map(|(_, name)| name.trim_end_matches([';', '{', ' ', '}']).to_owned()).collect()
}

#[test]
fn nothing_is_left_for_later_without_an_issue() {
    let ignored = concat!("#[ign", "ore");
    let mut complaints = Vec::new();
    for file in &files() {
        for (number, line) in file.text.lines().enumerate() {
            let place = format!("{}:{}", file.path, number + 1);
            let later = [concat!("TO", "DO"), concat!("FIX", "ME")];
            if later.iter().any(|word| has_word(line, word)) && !names_an_issue(line) {
                complaints.push(format!("{place}: say which issue on the same line, as in (#12), or do it now"));
            }
            if file.is_rust() && line.contains(ignored) {
                complaints
                    .push(format!("{place}: an ignored test is no test: make it fast, or put it in a `crash` module"));
            }
        }
    }
    none(&complaints);
}

fn names_an_issue(line: &str) -> bool {
    line.split('#').skip(1).any(|after| after.starts_with(|c: char| c.is_ascii_digit()))
}

#[test]
fn no_path_of_a_machine_is_written_down() {
    let folders = ["work", "root", "home"].map(|folder| format!("/{folder}/"));
    let mut complaints = Vec::new();
    for file in &files() {
        for (number, line) in file.text.lines().enumerate() {
            if folders.iter().any(|folder| begins_a_path(line, folder)) {
                complaints.push(format!("{}:{}: a path of one machine: make it relative", file.path, number + 1));
            }
        }
    }
    none(&complaints);
}

/// Whether `folder` stands in `line` as the start of an absolute path: not as `a/home/`, `$HOME/root/` or `https://a/srv/`.
fn begins_a_path(line: &str, folder: &str) -> bool {
    let goes_on = |c: char| c.is_alphanumeric() || "_-./~*})>".contains(c);
    line.match_indices(folder).any(|(at, _)| !line[..at].chars().next_back().is_some_and(goes_on))
}

/// Whether `word` stands in `text` and is not part of a longer word.
fn has_word(text: &str, word: &str) -> bool {
    let in_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    text.match_indices(word)
        .any(|(at, _)| !in_word(text[..at].chars().next_back()) && !in_word(text[at + word.len()..].chars().next()))
}
