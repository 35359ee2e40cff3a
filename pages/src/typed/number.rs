//! Numbers as people type them: thousands grouped by a comma, a blank of whatever width, an underscore or an apostrophe, and a
//! point before decimals. What could mean two numbers is none.

/// What is said of a comma that may be meant as a point.
pub(crate) const COMMA: &str = "It is not clear whether this comma stands before decimals or between thousands. Write \
    decimals with a point, as in 1.5, and thousands in groups of three digits, as in 1,500.";
/// What is said of other groups.
pub(crate) const GROUPS: &str = "Group digits by threes and with one sign alone, as in 1,500,000 or 1 500 000, or do not \
    group them. A point stands before decimals.";

/// The sign of what is below zero as pages write it.
const MINUS: char = '\u{2212}';

/// Whether it may stand between groups of digits.
fn is_between(c: char) -> bool {
    matches!(c, ',' | '_' | '\'' | '\u{2019}') || c.is_whitespace()
}

/// A number without what groups its thousands: `1,234.5` is `1234.5`. What is no number at all, and what is not grouped, comes
/// back as it is, for others to refuse or to take.
///
/// # Errors
/// Why it is not clear which number is meant.
pub fn ungrouped(text: &str) -> Result<String, &'static str> {
    let trimmed = text.trim();
    let (sign, digits) = match trimmed.strip_prefix(['-', MINUS]) {
        Some(rest) => ("-", rest.trim_start()),
        None => ("", trimmed),
    };
    let is_number = digits.starts_with(|c: char| c.is_ascii_digit() || is_between(c))
        && digits.chars().all(|c| c.is_ascii_digit() || c == '.' || is_between(c));
    let is_plain = !digits.chars().any(is_between) && digits.matches('.').count() < 2;
    if !is_number {
        return Ok(text.to_owned());
    } else if is_plain {
        return Ok(format!("{sign}{digits}"));
    }
    let (whole, fraction) = digits.split_once('.').map_or((digits, None), |(whole, rest)| (whole, Some(rest)));
    if fraction.is_some_and(|fraction| !fraction.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err(GROUPS);
    }
    let whole = joined(whole)?;
    Ok(fraction.map_or_else(|| format!("{sign}{whole}"), |fraction| format!("{sign}{whole}.{fraction}")))
}

/// Digits without what stands between their groups, all of which but the first have three.
fn joined(whole: &str) -> Result<String, &'static str> {
    let mut signs = whole.chars().filter(|c| is_between(*c));
    let Some(between) = signs.next() else { return Ok(whole.to_owned()) };
    let is_one_comma = between == ',' && signs.clone().next().is_none();
    let why = if is_one_comma { COMMA } else { GROUPS };
    let groups: Vec<&str> = whole.split(between).collect();
    let (first, rest) = groups.split_first().ok_or(why)?;
    // Nobody groups what is less than a thousand: 0,500 is half of one.
    let is_first = (1..=3).contains(&first.len()) && !first.starts_with('0');
    let is_grouped = is_first && signs.all(|sign| sign == between) && rest.iter().all(|group| group.len() == 3);
    if is_grouped { Ok(groups.concat()) } else { Err(why) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_may_be_grouped_by_one_sign_alone() {
        #[rustfmt::skip]
        let cases = [ // typed, what it is
            ("1,000,000",           "1000000"),
            ("1 000 000",           "1000000"),
            ("1_000_000",           "1000000"),
            ("1\u{2009}000\u{2009}000", "1000000"),
            ("1\u{a0}500",          "1500"),
            ("12\u{202f}345",       "12345"),
            ("1'500'000",           "1500000"),
            ("1\u{2019}500",        "1500"),
            ("1,500.25",            "1500.25"),
            ("-2,500",              "-2500"),
            ("\u{2212}2 500",       "-2500"),
            ("\u{2212}3",           "-3"),
            (" 1500 ",              "1500"),
            ("1.5",                 "1.5"),
            ("0.000000001",         "0.000000001"),
            ("999",                 "999"),
            ("many",                "many"),
            ("10 GB",               "10 GB"),
            ("unlimited",           "unlimited"),
            ("1e3",                 "1e3"),
            ("",                    ""),
        ];
        for (typed, expected) in cases {
            assert_eq!(ungrouped(typed).as_deref(), Ok(expected), "{typed}");
        }
    }

    #[test]
    fn what_could_be_two_numbers_is_none() {
        #[rustfmt::skip]
        let cases = [ // typed, why not
            ("1,5",         COMMA),
            ("12,50",       COMMA),
            ("0,500",       COMMA),
            ("1500,5",      COMMA),
            (",500",        COMMA),
            ("1,5000",      COMMA),
            ("1,500,2",     GROUPS),
            ("1,500 000",   GROUPS),
            ("1.000.000",   GROUPS),
            ("1.500,00",    GROUPS),
            ("1,,000",      GROUPS),
            ("1  000",      GROUPS),
            ("12,34,567",   GROUPS),
            ("1 00",        GROUPS),
            ("1.500 000",   GROUPS),
            ("-1,5",        COMMA),
        ];
        for (typed, why) in cases {
            assert_eq!(ungrouped(typed), Err(why), "{typed}");
        }
    }
}
