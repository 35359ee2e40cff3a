//! How many instructions an operation may take: a committed file, held against what was counted.

use std::collections::BTreeMap;

use crate::spread::thousands;

/// How far a count may be from its budget, in percent.
pub const TOLERANCE: f64 = 5.0;
/// What the arithmetic may add to exactly that.
const ROUNDING: f64 = 1e-9;

/// Instructions an operation, by the operation's name.
pub type Counts = BTreeMap<String, u64>;

/// The budgets in a file: lines of a name and a number; what follows `#` is not read.
///
/// # Errors
/// The line that is neither.
pub fn read(text: &str) -> Result<Counts, String> {
    let mut budgets = Counts::new();
    for line in text.lines() {
        let said = line.split('#').next().unwrap_or("").trim();
        if said.is_empty() {
            continue;
        }
        let budget = said.split_once(char::is_whitespace).and_then(|(name, n)| Some((name, n.trim().parse().ok()?)));
        let (name, instructions) = budget.ok_or_else(|| format!("not a name and a number: {line}"))?;
        budgets.insert(name.to_owned(), instructions);
    }
    Ok(budgets)
}

/// A file with these budgets, counted with `tools`.
pub fn written(counts: &Counts, tools: &str) -> String {
    let mut text = format!(
        "# Instructions that one operation takes, everything in the process counted. `./check budgets` fails where one is more than\n\
         # {TOLERANCE} % above this; `./check write_budgets` writes this file anew, to be committed with what changed it.\n\
         # Counted with {tools}.\n"
    );
    for (name, count) in counts {
        text.push_str(&format!("{name} {count}\n"));
    }
    text
}

/// Every operation with its count, its budget and the difference; and whether all are within.
pub fn verdict(budgets: &Counts, counts: &Counts) -> (String, bool) {
    let (mut text, mut within) = (String::new(), true);
    for (name, count) in counts {
        let Some(budget) = budgets.get(name) else {
            text.push_str(&format!("✗ {name}: {} instructions, and no budget\n", thousands(*count)));
            within = false;
            continue;
        };
        let change = (*count as f64 / *budget as f64 - 1.0) * 100.0;
        let (mark, remark) = match change {
            _ if change > TOLERANCE + ROUNDING => ("✗", ": find what grew, or write a larger budget and say why"),
            // A budget that is too generous would let the next growth pass; but nothing is worse than it was.
            _ if change < -TOLERANCE - ROUNDING => ("✓", ": good; write the smaller budget, so that it stays so"),
            _ => ("✓", ""),
        };
        within &= mark == "✓";
        let (count, budget) = (thousands(*count), thousands(*budget));
        text.push_str(&format!("{mark} {name}: {count} instructions, budget {budget}, {change:+.2} %{remark}\n"));
    }
    for name in budgets.keys().filter(|name| !counts.contains_key(*name)) {
        text.push_str(&format!("✗ {name}: a budget for nothing that is counted\n"));
        within = false;
    }
    (text, within)
}

/// The instructions that a run took, by the file that `callgrind` wrote.
pub fn total(callgrind: &str) -> Option<u64> {
    let line = callgrind.lines().rev().find_map(|line| line.strip_prefix("totals:"))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_it_was_written() {
        let counts = Counts::from([("consume".into(), 40_000), ("check".into(), 9)]);
        assert_eq!(read(&written(&counts, "rustc 1")), Ok(counts));
        assert_eq!(read("# only this\n\n a \t 12 # twelve\n"), Ok(Counts::from([("a".into(), 12)])));
        for wrong in ["a", "a b", "a -1", "a 1 2"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_count_too_far_above_its_budget_fails_and_one_too_far_below_asks_for_a_smaller_one() {
        #[rustfmt::skip]
        let cases = [ // budget, count, within, said
            (Some(1000), Some(1050), true,  "✓ a: 1,050 instructions, budget 1,000, +5.00 %\n"),
            (Some(1000), Some(1051), false, "✗ a: 1,051 instructions, budget 1,000, +5.10 %: find"),
            (Some(1000), Some(950),  true,  "✓ a: 950 instructions, budget 1,000, -5.00 %\n"),
            (Some(1000), Some(949),  true,  "✓ a: 949 instructions, budget 1,000, -5.10 %: good"),
            (None,       Some(1),    false, "✗ a: 1 instructions, and no budget"),
            (Some(1),    None,       false, "✗ a: a budget for nothing"),
        ];
        for (budget, count, within, said) in cases {
            let counts = |count: Option<u64>| count.map(|count| ("a".to_owned(), count)).into_iter().collect();
            let (text, verdict) = verdict(&counts(budget), &counts(count));
            assert_eq!(verdict, within, "{text}");
            assert!(text.starts_with(said), "{text}");
        }
    }

    #[test]
    fn the_total_is_the_last_line_that_says_so() {
        assert_eq!(total("events: Ir\nfn=(1)\n1 5\ntotals: 4711\n"), Some(4711));
        assert_eq!(total("events: Ir\n"), None);
    }
}
