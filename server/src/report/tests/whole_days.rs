use metergate_rules::time::{DAY, MINUTE, Time};

use super::*;
use crate::report::usage::{Granularity, UsageQuery};

/// One organization's year over all meters, in every third quarter hour. Days of UTC are read whole, others are not.
#[test]
fn days_that_are_read_whole_are_the_sum_of_their_hours() {
    let kit = Kit::new();
    kit.create("acme", "free", "UTC");
    let from: Time = "2025-01-01T00:00:00Z".parse().unwrap();
    let meters = ["calls", "cost", "hits", "level", "peak", "tokens", "more_1", "more_2", "more_3", "more_4"];
    let mut events = Vec::new();
    for quarter in (0..60 * 96).step_by(3) {
        let time = from.plus(quarter * 15 * MINUTE + 1);
        events.extend(meters.map(|meter| Happened { meter, time, units: 1 + quarter % 7, dimensions: String::new() }));
    }
    kit.record("acme", 0, &events);
    let by = |granularity, zone: &str| {
        let query = UsageQuery {
            organizations: Some(vec![organization("acme")]),
            from: Some(from),
            to: Some(from.plus(60 * DAY)),
            granularity,
            zone: Some(metergate_rules::period::Zone::new(zone).unwrap()),
            ..UsageQuery::default()
        };
        kit.report(move |report| Ok(report.usage(&query)?.data)).unwrap()
    };
    let sum = |rows: &[crate::report::usage::UsageRow], meter: &str| {
        let of_it = rows.iter().filter(|row| row.meter.as_str() == meter);
        of_it.map(|row| (row.value.units, row.count)).fold((0, 0), |sum, more| (sum.0 + more.0, sum.1 + more.1))
    };
    let (days, hours, elsewhere) =
        (by(Granularity::Day, "UTC"), by(Granularity::Hour, "UTC"), by(Granularity::Day, "Asia/Kathmandu"));
    assert_eq!((days.len(), elsewhere.len()), (60 * meters.len(), 61 * meters.len()));
    for meter in ["calls", "cost", "hits", "tokens", "more_1"] {
        assert_eq!(sum(&days, meter), sum(&hours, meter), "{meter}");
        assert_eq!(sum(&days, meter), sum(&elsewhere, meter), "{meter}");
        assert_eq!(sum(&days, meter).1, 60 * 96 / 3, "{meter}");
    }
}
