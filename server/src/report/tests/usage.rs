use std::collections::{BTreeMap, HashSet};

use metergate_rules::id::MeterKey;
use metergate_rules::period::{self, Zone};
use metergate_rules::time::{DAY, HOUR, MINUTE, Span, Time};

use super::*;
use crate::report::usage::{Granularity, UsageQuery, UsageRow, csv};

fn time(text: &str) -> Time {
    text.parse().unwrap()
}

fn query(from: &str, to: &str) -> UsageQuery {
    UsageQuery {
        organizations: Some(vec![organization("acme")]),
        from: Some(time(from)),
        to: Some(time(to)),
        limit: 50,
        ..UsageQuery::default()
    }
}

fn meters(keys: &[&str]) -> Option<Vec<MeterKey>> {
    Some(keys.iter().map(|key| MeterKey::new(key).unwrap()).collect())
}

fn rows(kit: &Kit, query: UsageQuery) -> Vec<UsageRow> {
    kit.report(move |report| report.usage(&query)).unwrap().data
}

/// `start value count` of each row.
fn shown(rows: &[UsageRow]) -> Vec<String> {
    rows.iter().map(|row| format!("{} {} {}", row.start.0, row.value, row.count)).collect()
}

/// What a bucket should show, from the events in order of arrival.
fn expected(events: &[Happened], meter: &str, span: Span) -> (i128, u64) {
    let of_meter = || events.iter().filter(move |event| event.meter == meter);
    let within: Vec<&Happened> = of_meter().filter(|event| span.contains(event.time)).collect();
    let value = match meter {
        "hits" => within.len() as i128,
        "peak" => within.iter().map(|event| i128::from(event.units)).max().unwrap_or(0),
        "users" => within.iter().map(|event| event.units).collect::<HashSet<_>>().len() as i128,
        "level" => {
            let last = of_meter().filter(|event| event.time < span.end).max_by_key(|event| event.time);
            last.map_or(0, |event| i128::from(event.units))
        }
        _ => within.iter().map(|event| i128::from(event.units)).sum(),
    };
    (value, within.len() as u64)
}

const METERS: [&str; 7] = ["calls", "cost", "hits", "level", "peak", "tokens", "users"];

fn random_events(random: &mut Random, from: Time, days: i64, many: usize) -> Vec<Happened> {
    let event = |_| Happened {
        meter: METERS[usize::try_from(random.below(7)).unwrap()],
        // To the microsecond, often exactly on a quarter hour.
        time: from.plus(random.below(days * 96) * 15 * MINUTE + random.below(2) * random.below(15 * MINUTE)),
        units: random.below(40),
        dimensions: String::new(),
    };
    (0..many).map(event).collect()
}

#[test]
fn every_bucket_of_every_zone_holds_exactly_what_happened_in_it() {
    let kit = Kit::new();
    kit.create("acme", "free", "Australia/Lord_Howe");
    let seed = 0x5eed_0001;
    let mut random = Random(seed);
    // Lord Howe's and New York's changes of 2024 lie in these days; arrival is in no order, so most events are late.
    let (from, days) = (time("2024-03-05T00:00:00Z"), 40);
    let events = random_events(&mut random, from, days, 4_000);
    kit.record("acme", 0, &events);
    let asked = Span { start: from.plus(7 * HOUR + 15 * MINUTE), end: from.plus(37 * DAY + 30 * MINUTE) };
    for zone in ["Australia/Lord_Howe", "Asia/Kathmandu", "America/New_York", "UTC", "Pacific/Chatham"] {
        for granularity in [Granularity::Hour, Granularity::Day, Granularity::Month, Granularity::Total] {
            for dense in [false, true] {
                let query = UsageQuery {
                    granularity,
                    dense,
                    zone: Some(Zone::new(zone).unwrap()),
                    meters: meters(&METERS),
                    ..query(&asked.start.to_string(), &asked.end.to_string())
                };
                let rows = rows(&kit, query);
                check(&rows, &events, asked, granularity, zone, dense);
            }
        }
    }
}

fn check(rows: &[UsageRow], events: &[Happened], asked: Span, granularity: Granularity, zone: &str, dense: bool) {
    let case = format!("{granularity:?} in {zone}, dense: {dense}");
    let zone = Zone::new(zone).unwrap();
    let mut spans = Vec::new();
    let mut start = asked.start;
    while start < asked.end {
        let end = match granularity {
            Granularity::Hour => period::hour(start, &zone).end,
            Granularity::Day => period::day(start, &zone).end,
            Granularity::Month => period::month(start, &zone).end,
            Granularity::Total => asked.end,
        };
        spans.push(Span { start, end: end.min(asked.end) });
        start = end;
    }
    let mut left = rows.iter().peekable();
    for meter in METERS {
        for span in &spans {
            let (value, count) = expected(events, meter, *span);
            let row = left.next_if(|row| row.meter.as_str() == meter && row.start.0 == span.start);
            let is_level = meter == "level" && events.iter().any(|e| e.meter == meter && e.time < span.end);
            assert_eq!(row.is_some(), dense || count > 0 || is_level, "{meter} at {}: {case}", span.start);
            if let Some(row) = row {
                assert_eq!(
                    (row.value.units, row.count, row.end.0),
                    (value, count, span.end),
                    "{meter} {span:?}: {case}"
                );
            }
        }
    }
    assert!(left.next().is_none(), "{case}: {:?}", left.next());
}

#[test]
fn days_of_a_change_of_the_clock_have_23_to_25_hours() {
    let kit = Kit::new();
    kit.create("acme", "free", "America/New_York");
    let at = |text| happened("calls", text, 1);
    kit.record("acme", 0, &[at("2024-03-10T04:59:59.999999Z"), at("2024-03-10T05:00:00Z"), at("2024-03-11T03:59:00Z")]);
    kit.record("acme", 3, &[at("2024-03-11T04:00:00Z")]);
    let day = UsageQuery { granularity: Granularity::Day, ..query("2024-03-09T05:00:00Z", "2024-03-13T00:00:00Z") };
    assert_eq!(
        shown(&rows(&kit, day.clone())),
        ["2024-03-09T05:00:00Z 1 1", "2024-03-10T05:00:00Z 2 2", "2024-03-11T04:00:00Z 1 1"],
        "in the organization's zone without another"
    );
    let utc = UsageQuery { zone: Some(Zone::utc()), ..day };
    assert_eq!(shown(&rows(&kit, utc)), ["2024-03-10T00:00:00Z 2 2", "2024-03-11T00:00:00Z 2 2"]);
    // On Lord Howe the hour of the half hour's shift has 90 minutes.
    let shift = UsageQuery {
        granularity: Granularity::Hour,
        zone: Some(Zone::new("Australia/Lord_Howe").unwrap()),
        dense: true,
        meters: meters(&["calls"]),
        ..query("2024-04-06T13:00:00Z", "2024-04-06T17:00:00Z")
    };
    let starts: Vec<String> = rows(&kit, shift).iter().map(|row| row.start.0.to_string()).collect();
    assert_eq!(
        starts,
        ["2024-04-06T13:00:00Z", "2024-04-06T14:00:00Z", "2024-04-06T15:30:00Z", "2024-04-06T16:30:00Z"]
    );
}

#[test]
fn a_level_is_carried_from_before_the_time_asked_for() {
    let kit = Kit::new();
    kit.create("acme", "free", "UTC");
    let of = |disk: &str, time: &str, units| Happened {
        dimensions: format!("{{\"disk\":\"{disk}\"}}"),
        ..happened("level", time, units)
    };
    kit.record("acme", 0, &[of("a", "2023-01-05T10:00:00Z", 40), of("b", "2023-06-05T10:07:00Z", 7)]);
    kit.record("acme", 2, &[of("a", "2024-05-03T12:00:00Z", 9), of("a", "2023-01-06T10:00:00Z", 30)]);
    let days = UsageQuery { granularity: Granularity::Day, ..query("2024-05-01T00:00:00Z", "2024-05-05T00:00:00Z") };
    assert_eq!(
        shown(&rows(&kit, days.clone())),
        [
            "2024-05-01T00:00:00Z 7 0",
            "2024-05-02T00:00:00Z 7 0",
            "2024-05-03T00:00:00Z 9 1",
            "2024-05-04T00:00:00Z 9 0"
        ]
    );
    let within_a_day = query("2023-06-05T10:00:00Z", "2023-06-05T10:15:00Z");
    assert_eq!(shown(&rows(&kit, within_a_day)), ["2023-06-05T10:00:00Z 7 1"]);
    let before = query("2023-06-05T09:45:00Z", "2023-06-05T10:00:00Z");
    assert_eq!(shown(&rows(&kit, before)), ["2023-06-05T09:45:00Z 30 0"], "not the level of later the same day");
    let grouped = UsageQuery { group_by: vec!["disk".into()], meters: meters(&["level"]), ..days };
    let disks: Vec<String> =
        rows(&kit, grouped).iter().map(|row| format!("{} {}", json(&*row.group)["disk"], row.value)).collect();
    assert_eq!(disks, ["\"a\" 30", "\"b\" 7", "\"a\" 30", "\"b\" 7", "\"a\" 9", "\"b\" 7", "\"a\" 9", "\"b\" 7"]);
    let none = query("2022-05-01T00:00:00Z", "2022-05-05T00:00:00Z");
    assert!(rows(&kit, none).is_empty(), "before its first event there is no level");
}

#[test]
fn levels_go_on_until_now_and_dense_ones_to_the_end() {
    let kit = Kit::new();
    kit.create("acme", "free", "UTC");
    kit.record("acme", 0, &[happened("level", "2024-05-01T10:00:00Z", 40)]);
    let days = UsageQuery {
        granularity: Granularity::Day,
        meters: meters(&["level"]),
        ..query("2200-01-01T00:00:00Z", "2200-01-01T00:00:00Z")
    };
    let now = kit.store.now();
    let (from, to) = (now.floor(DAY).plus(-DAY), now.floor(DAY).plus(3 * DAY));
    let days = UsageQuery { from: Some(from), to: Some(to), ..days };
    assert_eq!(rows(&kit, days.clone()).len(), 2, "yesterday and today");
    let dense = rows(&kit, UsageQuery { dense: true, ..days });
    assert_eq!(dense.iter().map(|row| row.value.units).collect::<Vec<_>>(), [40; 4]);
}

#[test]
fn groups_add_up_to_the_total_and_name_what_an_event_did_not_have() {
    let kit = Kit::new();
    kit.create("acme", "free", "UTC");
    let mut random = Random(0x5eed_0002);
    let sets = [
        "",
        r#"{"model":"a"}"#,
        r#"{"model":"a","region":"eu"}"#,
        r#"{"model":"b","region":"us"}"#,
        r#"{"region":"eu"}"#,
    ];
    let mut events = random_events(&mut random, time("2025-01-01T00:00:00Z"), 20, 900);
    for event in &mut events {
        event.meter = "tokens";
        event.dimensions = sets[usize::try_from(random.below(5)).unwrap()].to_owned();
    }
    kit.record("acme", 0, &events);
    let days = UsageQuery {
        granularity: Granularity::Day,
        meters: meters(&["tokens"]),
        ..query("2025-01-01T00:00:00Z", "2025-01-21T00:00:00Z")
    };
    let totals: BTreeMap<Time, i128> =
        rows(&kit, days.clone()).iter().map(|row| (row.start.0, row.value.units)).collect();
    for names in [&["model"][..], &["region"], &["region", "model", "region"]] {
        let grouped = UsageQuery { group_by: names.iter().map(|name| (*name).to_owned()).collect(), ..days.clone() };
        let rows = rows(&kit, grouped);
        let mut sums: BTreeMap<Time, i128> = BTreeMap::new();
        for row in &rows {
            *sums.entry(row.start.0).or_default() += row.value.units;
            assert_eq!(json(&*row.group).as_object().unwrap().len(), names.len().min(2));
        }
        assert_eq!(sums, totals);
        let order: Vec<String> = rows.iter().map(|row| format!("{} {}", row.start.0, json(&*row.group))).collect();
        assert!(order.windows(2).all(|pair| pair[0] != pair[1]), "a group stands once a bucket");
    }
    let total = UsageQuery { group_by: vec!["model".into()], granularity: Granularity::Total, ..days };
    let rows = rows(&kit, total);
    let models: Vec<Value> = rows.iter().map(|row| json(&*row.group)["model"].clone()).collect();
    assert_eq!(models, ["a".into(), "b".into(), Value::Null]);
    let text = String::from_utf8(csv(&rows, &["model".to_owned()]).unwrap()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "organization,meter,start,end,value,count,model");
    assert!(lines[1].starts_with("acme,tokens,2025-01-01T00:00:00Z,2025-01-21T00:00:00Z,") && lines[1].ends_with(",a"));
    assert!(lines[3].ends_with(','), "{}", lines[3]);
}

#[test]
fn beyond_a_thousand_dimension_sets_the_rest_is_a_marked_group_and_totals_stay_exact() {
    let kit = Kit::new();
    kit.create("acme", "free", "UTC");
    let event = |i: i64| Happened {
        dimensions: format!("{{\"model\":\"m-{i}\"}}"),
        ..happened("tokens", "2025-01-01T10:00:00Z", i)
    };
    let mut events: Vec<Happened> = (1..=1_004).map(event).collect();
    events.extend((1..=3).map(event));
    events.push(Happened {
        dimensions: "{\"model\":\"other\"}".into(),
        time: time("2025-01-02T10:00:00Z"),
        ..event(5)
    });
    kit.record("acme", 0, &events);
    let total: i64 = events.iter().map(|event| event.units).sum();
    let all = UsageQuery { meters: meters(&["tokens"]), ..query("2025-01-01T00:00:00Z", "2025-01-03T00:00:00Z") };
    assert_eq!(shown(&rows(&kit, all.clone())), [format!("2025-01-01T00:00:00Z {total} {}", events.len())]);
    let grouped = rows(&kit, UsageQuery { group_by: vec!["model".into(), "region".into()], ..all });
    assert_eq!(grouped.iter().map(|row| row.value.units).sum::<i128>(), i128::from(total));
    let (other, named): (Vec<_>, Vec<_>) = grouped.iter().partition(|row| row.other);
    assert_eq!((other.len(), named.len()), (1, 1_001), "a model that is called other is not the rest");
    assert_eq!(other[0].count, 4);
    let last = json(grouped.last().unwrap());
    assert_eq!(
        (&last["other"], &last["group"]),
        (&true.into(), &serde_json::json!({"model": "other", "region": "other"}))
    );
    assert!(json(named[0]).get("other").is_none());
}

#[test]
fn what_makes_no_sense_is_refused_with_words() {
    let kit = Kit::new();
    kit.create("acme", "free", "UTC");
    kit.create("beta", "free", "UTC");
    let year = query("2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z");
    let groups = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<String>>();
    let two = Some(vec![organization("acme"), organization("beta")]);
    #[rustfmt::skip]
    let cases = [
        (query("2025-01-01T00:00:01Z", "2025-01-02T00:00:00Z"), "from: must be at a quarter hour, such as 2025-01-01T00:00:00Z"),
        (query("2025-01-01T00:00:00Z", "2025-01-02T00:14:59Z"), "to: must be at a quarter hour"),
        (query("2025-01-02T00:00:00Z", "2025-01-02T00:00:00Z"), "to: must be after from"),
        (UsageQuery { organizations: two.clone(), from: None, ..year.clone() }, "from, to: both are needed"),
        (UsageQuery { organizations: None, to: None, ..year.clone() }, "from, to: both are needed"),
        (UsageQuery { organizations: Some(Vec::new()), ..year.clone() }, "organization: name 1 to 100"),
        (UsageQuery { organizations: None, after: Some(vec![0xff]), ..year.clone() }, "cursor: "),
        (UsageQuery { group_by: groups(&["model"]), ..year.clone() }, "groupBy: model is no dimension of meter calls"),
        (UsageQuery { group_by: groups(&["region"]), meters: meters(&["users"]), ..year.clone() }, "groupBy: meter users counts distinct values"),
        (UsageQuery { organizations: two, granularity: Granularity::Hour, ..year.clone() }, "granularity: this would be 192720 rows, at most 100000"),
        (UsageQuery { granularity: Granularity::Hour, ..query("1900-01-01T00:00:00Z", "2200-01-01T00:00:00Z") }, "granularity: this would be more rows"),
    ];
    for (query, words) in cases {
        let shown = format!("{query:?}");
        let detail = refusal(kit.report(move |report| report.usage(&query)));
        assert!(detail.starts_with(words), "{detail}: {shown}");
    }
    let unknown = UsageQuery { meters: meters(&["nope"]), ..year.clone() };
    let problem = kit.report(move |report| report.usage(&unknown)).unwrap_err();
    assert_eq!(problem, StoreError::Problem(metergate_rules::decide::Problem::UnknownMeter));
    let stranger = UsageQuery { organizations: Some(vec![organization("nobody")]), ..year };
    assert_eq!(kit.report(move |report| report.usage(&stranger)).unwrap_err(), StoreError::UnknownOrganization);
}

#[test]
fn organizations_stand_by_key_in_pages_and_one_sees_only_itself() {
    let kit = Kit::new();
    for key in ["zeta", "acme", "beta"] {
        kit.create(key, "free", "UTC");
        kit.record(
            key,
            0,
            &[happened("calls", "2025-01-01T10:00:00Z", 2), happened("cost", "2025-01-01T10:00:00Z", 1)],
        );
    }
    let all = UsageQuery { organizations: None, limit: 2, ..query("2025-01-01T00:00:00Z", "2025-01-02T00:00:00Z") };
    let keys =
        |rows: &[UsageRow]| rows.iter().map(|row| format!("{} {}", row.organization, row.meter)).collect::<Vec<_>>();
    let asked = all.clone();
    let first = kit.report(move |report| report.usage(&asked)).unwrap();
    assert_eq!(keys(&first.data), ["acme calls", "acme cost", "beta calls", "beta cost"]);
    let asked = UsageQuery { after: first.next, ..all.clone() };
    let second = kit.report(move |report| report.usage(&asked)).unwrap();
    assert_eq!((keys(&second.data), second.next), (vec!["zeta calls".into(), "zeta cost".into()], None));
    let named = Some(["zeta", "acme", "acme"].map(organization).to_vec());
    let asked = UsageQuery { organizations: named, ..all.clone() };
    assert_eq!(keys(&rows(&kit, asked)), ["acme calls", "acme cost", "zeta calls", "zeta cost"]);
    let one = kit.report(move |report| {
        let own = report.view.account(Scope::Team, &organization("beta"))?.id;
        let bound = Report { scope: Scope::Organization(own), ..*report };
        assert!(bound.usage(&UsageQuery { organizations: Some(vec![organization("acme")]), ..all.clone() }).is_err());
        bound.usage(&all)
    });
    let one = one.unwrap();
    assert_eq!(keys(&one.data), ["beta calls", "beta cost"]);
    let row = serde_json::to_string(&one.data[1]).unwrap();
    let expected = r#"{"organization":"beta","meter":"cost","start":"2025-01-01T00:00:00Z","end":"2025-01-02T00:00:00Z","value":0.000000001,"count":1,"group":{}}"#;
    assert_eq!(row, expected);
}

#[test]
fn without_times_it_is_the_current_billing_period_so_far() {
    let kit = Kit::new();
    kit.create("acme", "free", "UTC");
    kit.consume("acme", &[("tokens", 7)], None);
    kit.record("acme", 0, &[happened("tokens", "2025-01-01T10:00:00Z", 2)]);
    let asked = UsageQuery { from: None, to: None, ..query("2025-01-01T00:00:00Z", "2025-01-01T00:00:00Z") };
    let rows = rows(&kit, asked);
    assert_eq!(rows.iter().map(|row| (row.meter.as_str(), row.value.units)).collect::<Vec<_>>(), [("tokens", 7)]);
    let now = kit.store.now();
    assert!(rows[0].start.0 <= now && now < rows[0].end.0);
}
