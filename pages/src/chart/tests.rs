use super::*;
use crate::format::Amount;

const START: &str = "2026-11-14T23:00:00Z";
const END: &str = "2026-12-14T23:00:00Z";

fn berlin() -> Zone {
    Zone::new("Europe/Berlin")
}

fn frame<'a>(zone: &'a Zone, now: &'a str) -> Frame<'a> {
    Frame { id: "calls", title: "Calls", start: START, end: END, zone, now, unit: "call" }
}

fn row<'a>(start: &'a str, group: &'a str, value: &str) -> Row<'a> {
    Row { start, group, value: Amount::parse(value).unwrap() }
}

fn bars(rows: &[Row<'_>], now: &str, additive: bool) -> String {
    let zone = berlin();
    Bars { frame: frame(&zone, now), step: Step::Day, additive, rows }.markup().to_string()
}

/// The labels that a screen reader says, in order.
fn labels(html: &str) -> Vec<&str> {
    html.split("data-point role=\"img\"").skip(1).map(|point| point.split('"').nth(3).unwrap()).collect()
}

/// Fails unless the markup is well formed, has nothing that a strict content policy forbids, and stays within its frame.
fn is_sound(html: &str) {
    let mut open = Vec::new();
    for tag in html.split('<').skip(1) {
        let (tag, _) = tag.split_once('>').unwrap_or_else(|| panic!("no end of <{tag}"));
        let name = tag.split([' ', '/']).next().unwrap();
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "in {html}");
        } else if !tag.ends_with('/') {
            open.push(name);
        }
        assert!(!tag.contains(" style=") && name != "style" && name != "script" && !tag.contains(" on"), "{tag}");
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        assert!(within(tag, "x", "width", 100.001), "{tag}");
        for height in attribute(tag, "y")
            .zip(attribute(tag, "height"))
            .map(|(y, height)| [y, height, y + height])
            .iter()
            .flatten()
        {
            assert!((0.0..=240.0).contains(height), "{tag}");
        }
    }
    assert!(open.is_empty(), "{open:?} stay open in {html}");
    let mut ids: Vec<_> = html.split(" id=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all, "an id stands twice in {html}");
}

fn attribute(tag: &str, name: &str) -> Option<f64> {
    let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
    rest.split('"').next()?.trim_end_matches('%').parse().ok()
}

fn within(tag: &str, from: &str, size: &str, whole: f64) -> bool {
    let (from, size) = (attribute(tag, from).unwrap_or(0.0), attribute(tag, size).unwrap_or(0.0));
    !tag.contains('%') || (from >= 0.0 && size >= 0.0 && from + size <= whole)
}

#[test]
fn a_short_chart_is_this_markup() {
    let zone = Zone::utc();
    let frame = Frame {
        id: "c",
        title: "Calls",
        start: "2026-11-14T00:00:00Z",
        end: "2026-11-16T00:00:00Z",
        zone: &zone,
        now: "2026-11-15T12:00:00Z",
        unit: "call",
    };
    let rows = [row("2026-11-14T00:00:00Z", "", "3"), row("2026-11-15T00:00:00Z", "", "1")];
    let html = Bars { frame, step: Step::Day, additive: true, rows: &rows }.markup().to_string();
    is_sound(&html);
    let expected = concat!(
        r#"<figure class="chart" id="c"><figcaption class="chart-head"><span class="chart-title" id="c-title">Calls</span> "#,
        r#"<span class="chart-dates">November 14 – November 15 <span class="chart-zone">UTC</span></span></figcaption>"#,
        r#"<p class="chart-figure">4 calls</p>"#,
        r#"<div class="chart-body"><div class="chart-scale" aria-hidden="true"><span>3</span><span>2</span><span>1</span><span>0</span></div>"#,
        r#"<svg class="chart-plot" role="group" aria-labelledby="c-title" width="100%" height="234" data-points>"#,
        r#"<rect class="weekend" x="0%" y="8" width="50%" height="200"/><rect class="weekend" x="50%" y="8" width="50%" height="200"/>"#,
        r#"<line class="grid" x1="0" x2="100%" y1="8" y2="8"/><line class="grid" x1="0" x2="100%" y1="75" y2="75"/>"#,
        r#"<line class="grid" x1="0" x2="100%" y1="141" y2="141"/><line class="axis" x1="0" x2="100%" y1="208" y2="208"/>"#,
        r#"<text class="mark" x="25%" y="227" text-anchor="middle" aria-hidden="true">Nov 14</text>"#,
        r#"<text class="mark" x="75%" y="227" text-anchor="middle" aria-hidden="true">Nov 15</text>"#,
        r#"<g class="chart-point" data-point role="img" tabindex="0" aria-label="November 14: 3 calls"><title>November 14: 3 calls</title>"#,
        r#"<rect class="hit" x="0%" y="0" width="50%" height="208"/><rect x="7%" y="8" width="36%" height="200" class="series-1"/></g>"#,
        r#"<g class="chart-point" data-point role="img" tabindex="-1" aria-label="November 15: 1 call"><title>November 15: 1 call</title>"#,
        r#"<rect class="hit" x="50%" y="0" width="50%" height="208"/><rect x="57%" y="141" width="36%" height="67" class="series-1"/></g>"#,
        r#"</svg></div><details class="chart-table"><summary>Table</summary>"#,
        r#"<div class="chart-scroll" role="region" tabindex="0" aria-labelledby="c-caption"><table>"#,
        r#"<caption id="c-caption">Calls, November 14 – November 15</caption>"#,
        r#"<thead><tr><th scope="col">Day</th><th scope="col">Used</th></tr></thead><tbody>"#,
        r#"<tr><th scope="row">November 14</th><td>3</td></tr><tr><th scope="row">November 15</th><td>1</td></tr></tbody>"#,
        r#"<tfoot><tr><th scope="row">Total</th><td>4</td></tr></tfoot></table></div></details></figure>"#,
    );
    assert_eq!(html, expected);
}

#[test]
fn days_to_come_are_no_zeros() {
    let html = bars(&[row(START, "", "5")], "2026-11-16T12:00:00Z", true);
    is_sound(&html);
    assert_eq!(labels(&html), ["November 15: 5 calls", "November 16: 0 calls"]);
    assert_eq!(html.matches("<th scope=\"row\">November").count(), 2);
}

#[test]
fn a_stack_says_its_sum_and_its_parts() {
    let rows = [row(START, "gpt-4o", "1000"), row(START, "other", "234"), row("2026-11-15T23:00:00Z", "gpt-4o", "0")];
    let html = bars(&rows, "2026-11-16T12:00:00Z", true);
    is_sound(&html);
    assert_eq!(labels(&html), ["November 15: 1,234 calls (gpt-4o 1,000; other 234)", "November 16: 0 calls"]);
    assert!(
        html.contains(r#"fill="url(#calls-series-1)"/><rect"#) && html.contains(r#"fill="url(#calls-series-other)"/>"#),
        "{html}"
    );
    assert!(html.contains("<span>gpt-4o</span> <span class=\"chart-value\">1,000</span>"), "{html}");
    assert!(
        html.contains("<tr><th scope=\"row\">November 15</th><td>1,000</td><td>234</td><td>1,234</td></tr>"),
        "{html}"
    );
    // 1,000 of the 1,500 of the scale, and 234 on top of it without a gap.
    assert!(
        html.contains(r#"y="75" width="2.4%" height="133""#) && html.contains(r#"y="43" width="2.4%" height="32""#),
        "{html}"
    );
}

#[test]
fn what_was_taken_back_hangs_below_zero() {
    let rows = [row(START, "a", "100"), row(START, "b", "-40"), row("2026-11-15T23:00:00Z", "a", "-100")];
    let html = bars(&rows, END, true);
    is_sound(&html);
    assert_eq!(
        labels(&html)[..2],
        ["November 15: 60 calls (a 100; b \u{2212}40)", "November 16: \u{2212}100 calls (a \u{2212}100)"]
    );
    let zero = html.split("class=\"axis\"").nth(1).unwrap();
    assert_eq!(attribute(zero, "y1"), Some(108.0), "the scale goes from -100 to 100");
}

#[test]
fn peaks_stand_side_by_side_without_a_sum() {
    let html = bars(&[row(START, "a", "100"), row(START, "b", "40")], END, false);
    is_sound(&html);
    assert_eq!(labels(&html)[0], "November 15: a 100; b 40");
    assert!(!html.contains("Total") && !html.contains("chart-figure"), "{html}");
    assert!(html.contains(r#"x="0.467%" y="8" width="1.2%""#) && html.contains(r#"x="1.667%""#), "{html}");
}

#[test]
fn the_smallest_use_can_be_seen() {
    let rows = [row(START, "", "1000000"), row("2026-11-15T23:00:00Z", "", "1"), row("2026-11-16T23:00:00Z", "", "-1")];
    let html = bars(&rows, END, true);
    is_sound(&html);
    assert_eq!(html.matches(r#"height="1" class="series-1""#).count(), 2, "{html}");
}

#[test]
fn no_use_is_said_in_words() {
    for rows in [&[][..], &[row(START, "a", "0")][..], &[row("2027-01-01T00:00:00Z", "a", "7")][..]] {
        let html = bars(rows, END, true);
        is_sound(&html);
        assert!(html.contains(r#"<p class="chart-empty">No calls in these days.</p>"#), "{html}");
        assert!(
            html.contains("November 15 – December 14") && !html.contains("<svg") && !html.contains("<table"),
            "{html}"
        );
    }
}

#[test]
fn names_from_outside_are_escaped() {
    let rows = [row(START, "<script>alert(1)</script>\"", "1"), row(START, "b", "2")];
    let html = bars(&rows, END, true);
    is_sound(&html);
    let zone = Zone::utc();
    let frame = Frame { title: "<b>", unit: "<i>", ..frame(&zone, END) };
    is_sound(Bars { frame, step: Step::Day, additive: true, rows: &rows }.markup().as_str());
}

#[test]
fn every_chart_is_sound_whatever_its_figures() {
    let zone = berlin();
    let starts: Vec<String> = (0..30).map(|day| format!("2026-11-{:02}T12:00:00Z", 1 + day % 30)).collect();
    let mut seed = 7_u64;
    let mut random = |most: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % most
    };
    for round in 0..60 {
        let groups = random(12) + 1;
        let size = 10_u64.pow(u32::try_from(random(12)).unwrap());
        let values: Vec<_> = (0..random(120))
            .map(|_| {
                (
                    random(30),
                    random(groups).to_string(),
                    i64::try_from(random(size)).unwrap() - if random(9) == 0 { 500 } else { 0 },
                )
            })
            .collect();
        let rows: Vec<_> = values
            .iter()
            .map(|(day, group, value)| Row {
                start: &starts[usize::try_from(*day).unwrap()],
                group,
                value: Amount::whole(*value),
            })
            .collect();
        let now = &starts[usize::try_from(random(30)).unwrap()];
        let step = [Step::Hour, Step::Day, Step::Month][round % 3];
        let unit = if round % 5 == 0 { "byte" } else { "call" };
        let frame = Frame { start: "2026-11-03T10:00:00Z", end: "2026-12-02T01:00:00Z", unit, ..frame(&zone, now) };
        is_sound(Bars { frame, step, additive: round % 2 == 0, rows: &rows }.markup().as_str());
        let limit = (random(3) > 0).then(|| Amount::whole(i64::try_from(random(size) + 1).unwrap()));
        let forecast = (random(2) > 0).then(|| Forecast {
            at_end: Amount::whole(i64::try_from(random(size)).unwrap()),
            reached_at: Some("2026-11-30T00:00:00Z"),
        });
        is_sound(Cumulative { frame, rows: &rows, limit, forecast, without: "Not yet." }.markup().as_str());
    }
}

fn cumulative(now: &str, limit: Option<i64>, forecast: Option<(i64, Option<&str>)>) -> String {
    let zone = berlin();
    let rows = [row(START, "a", "1000"), row(START, "b", "200"), row("2026-11-15T23:00:00Z", "a", "400")];
    let forecast = forecast.map(|(at_end, reached_at)| Forecast { at_end: Amount::whole(at_end), reached_at });
    let (frame, limit) = (frame(&zone, now), limit.map(Amount::whole));
    let html = Cumulative { frame, rows: &rows, limit, forecast, without: "Not yet." }.markup();
    is_sound(html.as_str());
    html.to_string()
}

fn words(html: &str) -> &str {
    html.split_once("chart-words\">").map_or("", |(_, rest)| rest.split('<').next().unwrap())
}

#[test]
fn use_adds_up_over_the_period() {
    let html = cumulative("2026-11-17T11:00:00Z", Some(10_000), None);
    assert_eq!(
        labels(&html),
        [
            "November 15: 1,200 calls, 1,200 in all",
            "November 16: 400 calls, 1,600 in all",
            "November 17: 0 calls, 1,600 in all"
        ]
    );
    assert!(html.contains(r#"<p class="chart-figure">1,600 of 10,000 calls</p>"#), "{html}");
    // A day is a thirtieth of the width; the third ends at noon, which is now.
    assert!(html.contains(r#"<path class="line" d="M0 208L333 184L666 176L833 176" "#), "{html}");
    assert!(html.contains(r#"<line class="limit" x1="0" x2="100%" y1="8" y2="8"/>"#), "{html}");
    assert!(html.contains("<td>400</td><td>1,600</td><td>16%</td>"), "{html}");
}

#[test]
fn the_day_on_which_the_limit_is_reached_is_said_and_marked() {
    let now = "2026-11-17T11:00:00Z";
    #[rustfmt::skip]
    let cases = [ // limit, forecast, words, whether a day is marked
        (Some(10_000), Some((14_000, Some("2026-12-03T08:00:00Z"))),
         "At the present pace the limit of 10,000 calls will be reached on December 3, 11 days before the period ends.", true),
        (Some(10_000), Some((10_100, Some("2026-12-14T08:00:00Z"))),
         "At the present pace the limit of 10,000 calls will be reached on December 14, on the last day of the period.", true),
        (Some(10_000), Some((8_300, Some("2027-01-03T08:00:00Z"))),
         "At the present pace 8,300 of 10,000 calls will be used by December 14.", false),
        (Some(10_000), Some((8_300, None)), "At the present pace 8,300 of 10,000 calls will be used by December 14.", false),
        (Some(1_600), Some((8_300, None)), "The limit is reached.", false),
        (Some(1_600), Some((8_300, Some("2026-12-03T08:00:00Z"))), "The limit is reached.", false),
        (None, Some((8_300, None)), "At the present pace 8,300 calls will be used by December 14.", false),
        (None, None, "Not yet.", false),
        (Some(10_000), None, "Not yet.", false),
    ];
    for (limit, forecast, expected, is_marked) in cases {
        let html = cumulative(now, limit, forecast);
        assert_eq!(words(&html), expected);
        assert_eq!(html.contains("class=\"reached-mark\""), is_marked, "{expected}");
        assert_eq!(html.contains("December 14, at the present pace"), forecast.is_some(), "{expected}");
    }
    let html = cumulative(now, Some(10_000), Some((14_000, Some("2026-12-03T08:00:00Z"))));
    assert!(
        html.contains(
            r#"<text class="reached-mark" x="61.25%" dx="-6" y="201" text-anchor="end" aria-hidden="true">Dec 3</text>"#
        ),
        "{html}"
    );
}

#[test]
fn a_period_without_use_has_no_line() {
    let zone = berlin();
    let limit = Some(Amount::whole(5));
    let chart = Cumulative { frame: frame(&zone, END), rows: &[], limit, forecast: None, without: "Not yet." };
    assert!(chart.markup().as_str().contains("No calls in these days."));
}

#[test]
fn a_sparkline_is_its_text_and_a_hidden_line() {
    let values = [0, 10, 5].map(Amount::whole);
    let html = Sparkline { values: &values, text: "15 calls" }.markup().to_string();
    assert_eq!(
        html,
        concat!(
            r#"<span class="sparkline"><svg width="96" height="24" viewBox="0 0 96 24" aria-hidden="true" focusable="false">"#,
            r#"<line class="axis" x1="0" x2="96" y1="22" y2="22"/><path class="line" d="M2 22L48 2L94 12"/>"#,
            r#"<circle class="spark-end" cx="94" cy="12" r="2"/></svg><span class="sparkline-text">15 calls</span></span>"#
        )
    );
    for values in [&[][..], &[0, 0], &[5], &[-5, 3]] {
        let values: Vec<_> = values.iter().copied().map(Amount::whole).collect();
        is_sound(Sparkline { values: &values, text: "" }.markup().as_str());
    }
}
