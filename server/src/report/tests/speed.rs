use metergate_rules::time::{DAY, MINUTE, Time};

use super::*;
use crate::report::usage::{Granularity, UsageQuery};

/// One organization's year by day over all meters, in every third quarter hour; printed with `--nocapture`.
#[test]
fn a_year_by_day_over_all_meters_is_read_in_few_milliseconds() {
    let kit = Kit::new();
    kit.create("acme", "free", "UTC");
    let from: Time = "2025-01-01T00:00:00Z".parse().unwrap();
    let meters = ["calls", "cost", "hits", "level", "peak", "tokens", "more_1", "more_2", "more_3", "more_4"];
    let mut events = Vec::new();
    for quarter in (0..365 * 96).step_by(3) {
        let time = from.plus(quarter * 15 * MINUTE + 1);
        events.extend(meters.map(|meter| Happened { meter, time, units: 1 + quarter % 7, dimensions: String::new() }));
    }
    kit.record("acme", 0, &events);
    let query = UsageQuery {
        organizations: Some(vec![organization("acme")]),
        from: Some(from),
        to: Some(from.plus(365 * DAY)),
        granularity: Granularity::Day,
        ..UsageQuery::default()
    };
    let mut times: Vec<i64> = (0..20)
        .map(|_| {
            let query = query.clone();
            let timed = kit.report(move |report| {
                let begun = crate::clock::boot();
                Ok((report.usage(&query)?.data.len(), crate::clock::boot() - begun))
            });
            let (rows, micros) = timed.unwrap();
            assert_eq!(rows, 365 * meters.len());
            micros
        })
        .collect();
    times.sort_unstable();
    println!("{} rows in {} µs (median of {}), at best {} µs", 365 * meters.len(), times[10], times.len(), times[0]);
    assert!(times[0] < 500_000, "far too slow: {times:?}");
}
