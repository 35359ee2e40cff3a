//! Every chart, bar and state on one page, in light and dark, to be looked at:
//!
//!     cargo run -p metergate-pages --example gallery gallery.html

use std::fmt::Write;

use metergate_pages::chart::{Bars, Cumulative, Forecast, Frame, Row, Sparkline, Step};
use metergate_pages::format::{Amount, Zone};
use metergate_pages::progress::{Progress, Standing};

const NOW: &str = "2026-12-03T14:20:00Z";
const TOKENS: [&str; 8] = [
    "--surface: light-dark(#ffffff, #161a20); --surface-raised: light-dark(#ffffff, #1d222a)",
    "--ink: light-dark(#181c21, #e8ebef); --ink-muted: light-dark(#59626e, #a1abb8)",
    "--line: light-dark(#e2e5e9, #2a303a); --line-strong: light-dark(#868f9b, #6c7684); --accent: light-dark(#1d56c9, #82b1ff)",
    "--good: light-dark(#17713f, #6dd19a); --warn: light-dark(#8a5200, #f0b95b); --bad: light-dark(#b3261e, #ff9d93)",
    "--series-1: light-dark(#2a66d9, #6ea3f7); --series-2: light-dark(#b2816a, #f2be8e); --radius: 8px",
    "--series-3: light-dark(#1b6055, #578774); --series-4: light-dark(#9d4791, #e97fb6)",
    "--series-5: light-dark(#3994c9, #99d0f6); --series-6: light-dark(#727038, #b1a361)",
    "--series-7: light-dark(#5e317f, #9668c6); --series-8: light-dark(#7f3c03, #bf5c20)",
];
const AROUND: &str = "
  * { box-sizing: border-box; }
  body { margin: 0; font: 0.875rem/1.5 system-ui, sans-serif; }
  section { background: light-dark(#f6f7f8, #0e1115); color: var(--ink); padding: 1rem; }
  .light { color-scheme: light; } .dark { color-scheme: dark; }
  .cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 34rem), 1fr)); gap: 1rem; max-width: 80rem; }
  .card { background: var(--surface); border: 1px solid var(--line); border-radius: var(--radius); padding: 1rem; min-width: 0; }
  .meter + .meter { margin-top: 1rem; }
  .list { border-spacing: 1rem 0.25rem; }";

fn main() -> std::io::Result<()> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "gallery.html".to_owned());
    let (css, js) = (include_str!("../assets/chart.css"), include_str!("../assets/chart.js"));
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>Gallery</title><style>:root {{ {} }} {AROUND} {css}</style><body>",
        TOKENS.join("; ")
    );
    for theme in ["light", "dark"] {
        let cards: String = cards(theme).iter().map(|card| format!("<div class=\"card\">{card}</div>")).collect();
        let _ = write!(page, "<section class=\"{theme}\"><div class=\"cards\">{cards}</div></section>");
    }
    let _ = write!(page, "<script type=\"module\">{js}\ncharts(document);</script></body></html>");
    std::fs::write(path, page)
}

fn cards(theme: &str) -> Vec<String> {
    let berlin = Zone::new("Europe/Berlin");
    let id = |name: &str| format!("{theme}-{name}");
    let mut cards = grouped(&berlin, &id);
    cards.extend(single(&berlin, &id));
    cards.extend(cumulative(&berlin, &id));
    cards.push(meters());
    cards.push(sparklines());
    cards
}

fn month<'a>(id: &'a str, title: &'a str, unit: &'a str, zone: &'a Zone) -> Frame<'a> {
    Frame { id, title, start: "2026-11-14T23:00:00Z", end: "2026-12-14T23:00:00Z", zone, now: NOW, unit }
}

/// A made-up course of use, the same at each run.
fn course(days: u32, base: i64, seed: u64) -> Vec<(String, Amount)> {
    let mut state = seed;
    let day = |number: u32| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let swing = i64::try_from(state >> 57).unwrap_or(0);
        let weekday = if number % 7 < 2 { 2 } else { 5 };
        let (month, date) = if number < 16 { (11, 15 + number) } else { (12, number - 15) };
        (format!("2026-{month:02}-{date:02}T00:00:00+01:00"), Amount::whole(base * weekday * (60 + swing) / 500))
    };
    (0..days).map(day).collect()
}

fn rows<'a>(courses: &'a [(&'a str, Vec<(String, Amount)>)]) -> Vec<Row<'a>> {
    let row = |group: &'a str| move |(start, value): &'a (String, Amount)| Row { start, group, value: *value };
    courses.iter().flat_map(|(group, course)| course.iter().map(row(group))).collect()
}

fn grouped(zone: &Zone, id: &dyn Fn(&str) -> String) -> Vec<String> {
    let models = [
        "gpt-4o",
        "claude-sonnet",
        "gpt-4o-mini",
        "gemini-flash",
        "mistral-large",
        "llama-70b",
        "embed-3",
        "haiku",
        "rest-a",
        "rest-b",
    ];
    let all: Vec<_> = models
        .iter()
        .zip(1_u32..)
        .map(|(model, at)| (*model, course(19, 24_000 / i64::from(at), u64::from(at))))
        .collect();
    let chart = |name: &str, title: &str, courses: &[(&str, Vec<(String, Amount)>)], additive: bool| {
        let id = id(name);
        let rows = rows(courses);
        Bars { frame: month(&id, title, "token", zone), step: Step::Day, additive, rows: &rows }.markup().to_string()
    };
    vec![
        chart("three", "Tokens by model", &all[..3], true),
        chart("many", "Tokens by model", &all, true),
        chart("peaks", "Peak of tokens by model", &all[..3], false),
    ]
}

fn single(zone: &Zone, id: &dyn Fn(&str) -> String) -> Vec<String> {
    let (ids, mut calls) = (["days", "taken", "empty", "hours", "months", "bytes"].map(id), course(19, 9_000, 99));
    let plain = [("", calls.clone())];
    let draw = |at: usize, title: &str, step: Step, rows: &[Row<'_>], change: &dyn Fn(&mut Frame<'_>)| {
        let mut frame = month(&ids[at], title, "call", zone);
        change(&mut frame);
        Bars { frame, step, additive: true, rows }.markup().to_string()
    };
    let mut cards = vec![draw(0, "API calls", Step::Day, &rows(&plain), &|_| {})];
    calls[8].1 = Amount::whole(-4_200);
    let taken = [("", calls)];
    cards.push(draw(1, "API calls, corrected", Step::Day, &rows(&taken), &|_| {}));
    cards.push(draw(2, "Generations", Step::Day, &[], &|frame| frame.unit = "generation"));
    let hours: Vec<_> = (0..15)
        .map(|hour| (format!("2026-12-03T{hour:02}:00:00+01:00"), Amount::whole(hour * hour * 7 + 40)))
        .collect();
    let hours = [("", hours)];
    cards.push(draw(3, "API calls today", Step::Hour, &rows(&hours), &|frame| {
        (frame.start, frame.end) = ("2026-12-02T23:00:00Z", "2026-12-03T23:00:00Z");
    }));
    let months: Vec<_> =
        (1..=12).map(|month| (format!("2026-{month:02}-01T00:00:00+01:00"), Amount::whole(month * 91_000))).collect();
    let months = [("", months)];
    cards.push(draw(4, "API calls by month", Step::Month, &rows(&months), &|frame| {
        (frame.start, frame.end) = ("2025-12-31T23:00:00Z", "2026-12-31T23:00:00Z");
    }));
    let bytes = [("", course(19, 800_000_000, 5))];
    cards.push(draw(5, "Bytes sent", Step::Day, &rows(&bytes), &|frame| frame.unit = "byte"));
    cards
}

fn cumulative(zone: &Zone, id: &dyn Fn(&str) -> String) -> Vec<String> {
    let used = [("", course(19, 900, 3))];
    let chart = |name: &str, limit: Option<i64>, forecast: Option<(i64, Option<&str>)>| {
        let (id, rows) = (id(name), rows(&used));
        let forecast = forecast.map(|(at_end, reached_at)| Forecast { at_end: Amount::whole(at_end), reached_at });
        let limit = limit.map(Amount::whole);
        Cumulative { frame: month(&id, "Messages", "message", zone), rows: &rows, limit, forecast, without: "" }
            .markup()
            .to_string()
    };
    vec![
        chart("reached", Some(24_000), Some((29_600, Some("2026-12-08T22:00:00Z")))),
        chart("enough", Some(50_000), Some((29_600, None))),
        chart("full", Some(8_000), None),
        chart("endless", None, Some((29_600, None))),
    ]
}

fn meters() -> String {
    let standing = |used: i64, held: i64, (base, extra, granted): (i64, i64, i64)| {
        let limit = base + extra + granted;
        Standing {
            meter: "messages".to_owned(),
            window: "billingPeriod".to_owned(),
            used: Amount::whole(used),
            held: Amount::whole(held),
            overage: None,
            base: Some(Amount::whole(base)),
            extra: Amount::whole(extra),
            granted: Amount::whole(granted),
            limit: Some(Amount::whole(limit)),
            remaining: Some(Amount::whole((limit - used - held).max(0))),
            unlimited: false,
            entitled: true,
        }
    };
    let unlimited = Standing { unlimited: true, limit: None, base: None, ..standing(8_200, 0, (0, 0, 0)) };
    let absent = Standing { entitled: false, ..standing(0, 0, (0, 0, 0)) };
    let all = [
        standing(8_200, 300, (10_000, 2_000, 500)),
        standing(1_200, 0, (10_000, 0, 0)),
        standing(8_600, 400, (10_000, 0, 0)),
        standing(10_000, 0, (10_000, 0, 0)),
        standing(11_200, 300, (10_000, 0, 0)),
        standing(11_200, 300, (8_000, 1_000, 0)),
        unlimited,
        absent,
    ];
    let bar = |standing: &Standing| {
        Progress { standing, name: "Messages", unit: "message", is_level: false, is_distinct: false }
            .markup()
            .to_string()
    };
    let mut stored = standing(327_680_000, 0, (524_288_000, 0, 0));
    stored.meter = "storage_bytes".to_owned();
    let level = Progress { standing: &stored, name: "Storage", unit: "byte", is_level: true, is_distinct: false }
        .markup()
        .to_string();
    all.iter().map(bar).chain([level]).collect()
}

fn sparklines() -> String {
    let row = |name: &str, seed: u64, base: i64| {
        let values: Vec<_> = course(19, base, seed).into_iter().map(|(_, value)| value).collect();
        let text = values.iter().copied().sum::<Amount>().in_unit("call");
        format!("<tr><th>{name}</th><td>{}</td></tr>", Sparkline { values: &values, text: &text }.markup())
    };
    let idle = Sparkline { values: &[Amount::ZERO; 9], text: "0 calls" }.markup();
    format!(
        "<table class=\"list\">{}{}<tr><th>Idle</th><td>{idle}</td></tr></table>",
        row("Acme", 4, 7_000),
        row("Globex", 8, 120)
    )
}
