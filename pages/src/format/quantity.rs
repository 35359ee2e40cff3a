//! Quantities as text.

use super::Amount;
use super::amount::ONE;

/// The sign of what is below zero: as wide as a plus, and read out as "minus".
const MINUS: &str = "\u{2212}";

/// The whole quantity, grouped by thousands and without zeros at its end: `1234567.50` is "1,234,567.5".
pub fn quantity(text: &str) -> String {
    shown(text, exact)
}

/// A short form for axes and lists, such as "1.2M".
///
/// One decimal up to 100 of a step (K, M, B, T), none above, and two digits below one. **Cut off, never rounded up**, so that
/// 999,999 of 1,000,000 is "999K" and no use ever looks like a limit that it has not reached. Where the exact figure matters,
/// [`quantity`] stands beside it.
pub fn compact(text: &str) -> String {
    shown(text, compact_amount)
}

/// Bytes in the steps of plans and limits: an MB is 1,048,576 bytes, a KB 1,024, a GB 1,024 MB.
///
/// Whole bytes below 1 KB, and MB up to 99,999 of them, as plans write them ("5,000 MB", which is no round number of GB; what is one
/// is said in GB). One
/// decimal below 1,000, none above; cut off like [`compact`].
pub fn bytes(text: &str) -> String {
    shown(text, bytes_amount)
}

/// A quantity with its unit, the unit's name given in the singular: "1 call", "2.5 calls", "12 USD", "48.2 MB".
pub fn in_unit(text: &str, unit: &str) -> String {
    shown(text, |amount| amount.in_unit(unit))
}

/// Like [`in_unit`], in the form of [`compact`]: "1.2M calls".
pub fn compact_in_unit(text: &str, unit: &str) -> String {
    shown(text, |amount| with_unit(&amount.compact(unit), amount, unit))
}

/// How much of a limit was used, in whole per cent and rounded down: 100 only when the limit is reached. `None` where one is no
/// number.
pub fn percent(used: &str, limit: &str) -> Option<u32> {
    Some(Amount::parse(used)?.percent_of(Amount::parse(limit)?))
}

fn shown(text: &str, form: impl FnOnce(Amount) -> String) -> String {
    Amount::parse(text).map_or_else(|| text.to_owned(), form)
}

impl Amount {
    /// With its unit, given in the singular; bytes in the steps of [`bytes`].
    pub fn in_unit(self, unit: &str) -> String {
        let number = if is_bytes(unit) { bytes_amount(self) } else { exact(self) };
        with_unit(&number, self, unit)
    }

    /// The short form without the unit's name, except for bytes, whose steps are part of the number.
    pub fn compact(self, unit: &str) -> String {
        if is_bytes(unit) { bytes_amount(self) } else { compact_amount(self) }
    }

    /// The whole figure without the unit's name, except for bytes.
    pub(crate) fn bare(self, unit: &str) -> String {
        if is_bytes(unit) { bytes_amount(self) } else { exact(self) }
    }
}

/// Whether a meter's unit is the byte.
pub(crate) fn is_bytes(unit: &str) -> bool {
    matches!(unit, "byte" | "bytes")
}

fn with_unit(number: &str, amount: Amount, unit: &str) -> String {
    if unit.is_empty() || is_bytes(unit) {
        return number.to_owned();
    }
    let one = amount.magnitude() == Amount::whole(1);
    format!("{number} {}", if one { unit.to_owned() } else { plural(unit) })
}

/// The plural of a unit's name in English. Abbreviations ("USD", "ms", "%") and what ends with an s stay as they are.
pub fn plural(unit: &str) -> String {
    let word = unit.chars().all(|c| c.is_lowercase() || c == ' ' || c == '-') && unit.len() > 2;
    if !word || (unit.ends_with('s') && !unit.ends_with("ss")) {
        return unit.to_owned();
    }
    if ["ss", "x", "ch", "sh"].iter().any(|end| unit.ends_with(end)) {
        return format!("{unit}es");
    }
    match unit.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{stem}ies"),
        _ => format!("{unit}s"),
    }
}

/// Grouped and whole.
pub(crate) fn exact(amount: Amount) -> String {
    let plain = amount.magnitude().plain();
    let (whole, fraction) = plain.split_once('.').map_or((plain.as_str(), None), |(whole, rest)| (whole, Some(rest)));
    let grouped = grouped(whole);
    signed(
        amount,
        match fraction {
            Some(fraction) => format!("{grouped}.{fraction}"),
            None => grouped,
        },
    )
}

/// Digits in groups of three.
fn grouped(digits: &str) -> String {
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

fn signed(amount: Amount, magnitude: String) -> String {
    if amount.is_negative() { format!("{MINUS}{magnitude}") } else { magnitude }
}

/// The short form; see [`compact`].
fn compact_amount(amount: Amount) -> String {
    const STEPS: [(&str, i128); 5] =
        [("T", 1_000_000_000_000), ("B", 1_000_000_000), ("M", 1_000_000), ("K", 1_000), ("", 1)];
    let magnitude = amount.billionths().abs();
    let step = STEPS.into_iter().find(|(_, size)| magnitude >= size * ONE);
    let text = match step {
        Some((name, size)) => format!("{}{name}", tenths(magnitude * 10 / (size * ONE), 100)),
        None => below_one(magnitude),
    };
    signed(amount, text)
}

/// A number of tenths, without its decimal from `whole_from` on and where it is zero.
fn tenths(tenths: i128, whole_from: i128) -> String {
    let (whole, tenth) = (tenths / 10, tenths % 10);
    let text = grouped(&whole.to_string());
    if whole >= whole_from || tenth == 0 { text } else { format!("{text}.{tenth}") }
}

/// Two digits of what is less than one.
fn below_one(billionths: i128) -> String {
    let digits = format!("{billionths:09}");
    let zeros = digits.len() - digits.trim_start_matches('0').len();
    let kept = digits[..(zeros + 2).min(digits.len())].trim_end_matches('0');
    if kept.is_empty() { "0".to_owned() } else { format!("0.{kept}") }
}

fn bytes_amount(amount: Amount) -> String {
    /// The largest whole number that each step shows before the next one takes over.
    const STEPS: [(&str, i128); 5] = [("KB", 1_023), ("MB", 99_999), ("GB", 99_999), ("TB", 99_999), ("PB", i128::MAX)];
    let whole = amount.billionths().abs() / ONE;
    if whole < 1_024 {
        return signed(
            amount,
            format!("{} {}", grouped(&whole.to_string()), if whole == 1 { "byte" } else { "bytes" }),
        );
    }
    let mut size = 1;
    for (name, most) in STEPS {
        size *= 1_024;
        // What is a round number of the next step is said in that: 10 GB, and not 10,240 MB.
        if whole / size <= most && (name == "PB" || whole % (size * 1_024) != 0) {
            return signed(amount, format!("{} {name}", tenths(whole * 10 / size, 1_000)));
        }
    }
    signed(amount, grouped(&whole.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_forms_are_cut_off_and_never_rounded_up() {
        #[rustfmt::skip]
        let cases = [
            ("0", "0"), ("7", "7"), ("12.34", "12.3"), ("123.9", "123"), ("999.9", "999"),
            ("1000", "1K"), ("1234", "1.2K"), ("8200", "8.2K"), ("12345", "12.3K"), ("123456", "123K"), ("999999", "999K"),
            ("1000000", "1M"), ("1234567.5", "1.2M"), ("1999999", "1.9M"), ("2500000000", "2.5B"), ("7000000000000", "7T"),
            ("9223372036854775807", "9,223,372T"),
            ("0.5", "0.5"), ("0.999", "0.99"), ("0.001234", "0.0012"), ("0.000000001", "0.000000001"),
            ("-1234", "\u{2212}1.2K"), ("-0.05", "\u{2212}0.05"),
            ("n/a", "n/a"),
        ];
        for (text, expected) in cases {
            assert_eq!(compact(text), expected, "{text}");
        }
    }

    #[test]
    fn a_mebibyte_is_an_mb_as_plans_write_it() {
        #[rustfmt::skip]
        let cases = [
            ("0", "0 bytes"), ("1", "1 byte"), ("1023", "1,023 bytes"), ("1024", "1 KB"), ("1048575", "1,023 KB"),
            ("1048576", "1 MB"), ("50593792", "48.2 MB"), ("524288000", "500 MB"), ("524287999", "499.9 MB"),
            ("5242880000", "5,000 MB"), ("52428800000", "50,000 MB"), ("104857600000", "97.6 GB"), ("10737418240", "10 GB"), ("1125899906842624", "1 PB"),
            ("9223372036854775807", "8,191 PB"), ("-1048576", "\u{2212}1 MB"),
        ];
        for (text, expected) in cases {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }

    #[test]
    fn units_follow_their_number() {
        #[rustfmt::skip]
        let cases = [
            ("1", "call", "1 call"), ("0", "call", "0 calls"), ("1.5", "call", "1.5 calls"), ("-1", "call", "\u{2212}1 call"),
            ("12.30", "USD", "12.3 USD"), ("2", "query", "2 queries"), ("2", "day", "2 days"), ("3", "batch", "3 batches"),
            ("3", "credits", "3 credits"), ("3", "ms", "3 ms"), ("3", "", "3"), ("2048", "byte", "2 KB"), ("?", "call", "?"),
        ];
        for (text, unit, expected) in cases {
            assert_eq!(in_unit(text, unit), expected);
        }
        assert_eq!(compact_in_unit("1234567", "call"), "1.2M calls");
        assert_eq!(compact_in_unit("1048576", "byte"), "1 MB");
    }

    #[test]
    fn per_cent_of_texts() {
        assert_eq!(percent("999999", "1000000"), Some(99));
        assert_eq!(percent("1000000", "1000000"), Some(100));
        assert_eq!(percent("1", "unlimited"), None);
    }
}
