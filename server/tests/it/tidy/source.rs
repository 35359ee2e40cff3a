//! As much Rust syntax as the tidy tests need: what is code, where functions and blocks end, what `use` names.

/// The source with every comment and the content of every literal blanked, so that what is left is code. Lines stay
/// where they are.
pub(super) fn code_of(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(next) = rest.chars().next() {
        let in_word = code.chars().next_back().is_some_and(is_word);
        let length = match next {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment(rest),
            '"' => string(rest),
            '\'' => character(rest),
            'r' | 'b' | 'c' if !in_word => raw_string(rest),
            _ => 0,
        };
        if length == 0 {
            code.push(next);
            rest = &rest[next.len_utf8()..];
        } else {
            code.extend(rest[..length].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = &rest[length..];
        }
    }
    code
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The length of the comment that `rest` begins with. Block comments nest.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        match &rest.as_bytes()[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// The length of the string literal that `rest` begins with, quotes included.
fn string(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// The length of the character literal that `rest` begins with; 0 for a lifetime.
fn character(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    let first = chars.next().map(|(_, c)| c);
    let second = chars.next();
    match (first, second) {
        // What is escaped may itself be a quote.
        (Some('\\'), Some(_)) => chars.find(|(_, c)| *c == '\'').map_or(0, |(at, _)| at + 1),
        (_, Some((at, '\''))) => at + 1,
        _ => 0,
    }
}

/// The length of the raw string that `rest` begins with (`r"…"`, `br#"…"#`); 0 if it is none.
fn raw_string(rest: &str) -> usize {
    let Some(after) = rest.strip_prefix("br").or(rest.strip_prefix("cr")).or(rest.strip_prefix('r')) else { return 0 };
    let content = after.trim_start_matches('#');
    let hashes = after.len() - content.len();
    if !content.starts_with('"') {
        return 0;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let start = rest.len() - content.len() + 1;
    rest[start..].find(&end).map_or(rest.len(), |at| start + at + end.len())
}

/// A function with its first line and its length in lines, from `fn` to the closing brace.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Function {
    pub(super) name: String,
    pub(super) line: usize,
    pub(super) lines: usize,
}

/// The functions that have a body, nested ones included.
pub(super) fn functions(code: &str) -> Vec<Function> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let name: String = code[at + 3..].trim_start().chars().take_while(|c| is_word(*c)).collect();
        let begins = !code[..at].chars().next_back().is_some_and(|c| is_word(c) || c == '#');
        if !begins || name.is_empty() {
            continue; // A pointer's type, or the end of a longer word.
        }
        let item = &code[at..at + item_length(&code[at..])];
        if item.ends_with('}') {
            let line = 1 + code[..at].matches('\n').count();
            found.push(Function { name, line, lines: 1 + item.matches('\n').count() });
        }
    }
    found
}

/// How far the item goes that `code` begins with: to its `;`, or to the brace that closes its body.
fn item_length(code: &str) -> usize {
    let mut brackets = 0_i32;
    let mut braces = 0_i32;
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets -= 1,
            '{' => braces += 1,
            '}' => braces -= 1,
            _ => {}
        }
        if brackets == 0 && braces == 0 && (c == ';' || c == '}') {
            return at + 1;
        }
    }
    code.len()
}

/// The code without what is compiled only for tests: each item under `#[cfg(test)]`.
pub(super) fn without_tests(code: &str) -> String {
    let mut kept = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        kept.push_str(&rest[..at]);
        let tests = &rest[at..];
        let end = item_length(tests);
        kept.extend(tests[..end].chars().filter(|c| *c == '\n'));
        rest = &tests[end..];
    }
    kept + rest
}

/// What the code's `use` items name, each to its second step: `use std::{fs, io::Read};` is `std::fs` and `std::io`.
pub(super) fn imports(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("use ") {
        if code[..at].chars().next_back().is_some_and(|c| is_word(c) || c == '#') {
            continue;
        }
        let item = code[at + 4..].split(';').next().unwrap_or_default().replace(" as ", "::as::");
        let item: String = item.chars().filter(|c| !c.is_whitespace()).collect();
        let item = item.trim_start_matches("::");
        match item.split_once("::") {
            None => found.push(item.to_owned()),
            Some((root, group)) => found.extend(branches(group).into_iter().map(|next| format!("{root}::{next}"))),
        }
    }
    found
}

/// The first names of a `use` tree: of `{a, b::{c, d}}` they are `a` and `b`, of `a::{b, c}` it is `a`.
fn branches(tree: &str) -> Vec<String> {
    if !tree.starts_with('{') {
        return vec![tree.split("::").next().unwrap_or_default().to_owned()];
    }
    let mut names = vec![String::new()];
    let mut depth = 0;
    for c in tree.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => names.push(String::new()),
            _ if depth <= 1 => names.last_mut().unwrap().push(c),
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names.iter().map(|name| name.split("::").next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn comments_and_literals_are_no_code() {
    let cases = [
        ("a // fn b() {", "a"),
        ("a /* { /* { */ } */ b", "a b"),
        (r#"a("{ \" {", b)"#, "a( , b)"),
        (r###"r#"{"# + br##"}"#{"## + radius"###, "+ + radius"),
        (r"['{', '\'', '\\', '\u{7b}', b'}']", "[ , , , , b ]"),
        ("&'a str, 'outer: loop {", "&'a str, 'outer: loop {"),
        ("r#fn + 'ä' + \"ä{\"", "r#fn + +"),
    ];
    for (source, code) in cases {
        let words: Vec<_> = code_of(source).split_whitespace().map(str::to_owned).collect();
        assert_eq!(words.join(" "), code, "{source}");
    }
    assert_eq!(code_of("\"a\nb\" /*\n*/ c").matches('\n').count(), 2, "lines stay where they are");
}

#[test]
fn functions_are_counted_from_fn_to_the_closing_brace() {
    let source = "\
impl A {
    pub const fn one(x: [u8; 2]) -> u8 { x[0] }
    fn declared(&self);
    async fn outer(
        f: fn(u8) -> u8,
    ) -> String
    where
        A: Sized,
    {
        fn inner() {
            let text = \"}}}\"; // }}}
        }
        match '}' { _ => format!(\"{{\") }
    }
}
let defn = 1;
";
    let found = functions(&code_of(source));
    let found: Vec<_> = found.iter().map(|f| (f.name.as_str(), f.line, f.lines)).collect();
    assert_eq!(found, [("one", 2, 1), ("outer", 4, 11), ("inner", 10, 3)]);
}

#[test]
fn what_is_compiled_for_tests_only_is_left_out() {
    let code = "#[cfg(test)]\nmod a;\nfn b() {}\n#[cfg(test)]\nmod tests {\n    fn c() { {} }\n}\nfn d() {}\n";
    let words: Vec<_> = without_tests(code).split_whitespace().map(str::to_owned).collect();
    assert_eq!(words.join(" "), "fn b() {} fn d() {}");
    assert_eq!(without_tests(code).matches('\n').count(), code.matches('\n').count());
}

#[test]
fn imports_are_named_to_their_second_step() {
    let cases = [
        ("use a;", "a"),
        ("pub use std::fmt;", "std::fmt"),
        ("pub(crate) use ::std::{\n    fs::File,\n    io::{self, Read},\n};", "std::fs std::io"),
        ("use std::io::{Read, Write};", "std::io"),
        ("use std::net as n;", "std::net"),
        ("let reuse = 1;", ""),
    ];
    for (code, names) in cases {
        assert_eq!(imports(code).join(" "), names, "{code}");
    }
}
