use super::*;
use crate::report::events::{EventBody, EventFilter};
use metergate_rules::time::DAY;

fn pages(kit: &Kit, filter: &EventFilter, limit: usize) -> Vec<EventBody> {
    let (mut all, mut after) = (Vec::new(), None::<Vec<u8>>);
    loop {
        let (asked, from) = (filter.clone(), after.clone());
        let page =
            kit.report(move |report| report.events(&organization("acme"), &asked, limit, from.as_deref())).unwrap();
        assert!(page.data.len() <= limit);
        all.extend(page.data);
        after = page.next;
        if after.is_none() {
            return all;
        }
    }
}

fn ids(events: &[EventBody]) -> Vec<String> {
    events.iter().map(|event| format!("{} {}", event.source, event.id)).collect()
}

fn filled() -> Kit {
    let kit = Kit::new();
    kit.create("acme", "free", "UTC");
    kit.create("beta", "free", "UTC");
    kit.record(
        "acme",
        0,
        &[happened("calls", "2025-01-01T10:00:00Z", 2), happened("users", "2025-01-02T10:00:00Z", 9)],
    );
    kit.record("beta", 0, &[happened("calls", "2025-01-01T10:00:00Z", 2)]);
    kit.consume("acme", &[("tokens", 60)], Some("d-1"));
    kit.consume("acme", &[("tokens", 60)], Some("refused"));
    kit.consume("acme", &[("tokens", 7), ("cost", 1), ("hits", 1)], Some("t-1"));
    kit.consume("acme", &[("calls", 1)], None);
    kit
}

#[test]
fn events_and_decisions_stand_newest_first_in_pages_of_any_size() {
    let kit = filled();
    let all = pages(&kit, &EventFilter::default(), 200);
    let place = all[0].id.clone();
    assert!(
        place
            .split_once('-')
            .is_some_and(|(block, offset)| block.parse::<u64>().is_ok() && offset.parse::<u32>().is_ok())
    );
    let expected = [
        &format!("metergate:consume/calls {place}"),
        "metergate:consume/tokens t-1",
        "metergate:consume/cost t-1",
        "metergate:consume/hits t-1",
        "metergate:consume/tokens d-1",
        "/test e-1",
        "/test e-0",
    ];
    assert_eq!(ids(&all), expected, "refusals and another organization's events are not among them");
    for limit in 1..=7 {
        assert_eq!(ids(&pages(&kit, &EventFilter::default(), limit)), expected, "pages of {limit}");
    }
    let bad = kit.report(|report| report.events(&organization("acme"), &EventFilter::default(), 5, Some(b"x")));
    assert!(refusal(bad).starts_with("cursor: "));
}

#[test]
fn a_page_ends_after_many_blocks_and_the_next_goes_on() {
    let kit = Kit::new();
    kit.create("acme", "free", "UTC");
    kit.record("acme", 0, &[happened("hits", "2025-01-01T10:00:00Z", 1)]);
    for _ in 0..520 {
        kit.consume("acme", &[("peak", 1)], None);
    }
    let hits = EventFilter { event_type: Some("hits".to_owned()), ..EventFilter::default() };
    let asked = hits.clone();
    let page = kit.report(move |report| report.events(&organization("acme"), &asked, 5, None)).unwrap();
    assert!(page.data.is_empty() && page.next.is_some(), "nothing in the first 500 blocks, but there are more");
    assert_eq!(ids(&pages(&kit, &hits, 5)), ["/test e-0"]);
    assert_eq!(pages(&kit, &EventFilter::default(), 200).len(), 521);
}

#[test]
fn an_event_shows_what_it_said_and_what_it_did() {
    let kit = filled();
    let all = pages(&kit, &EventFilter::default(), 200);
    let first = json(all.last().unwrap());
    assert_eq!((&first["time"], &first["type"]), (&"2025-01-01T10:00:00Z".into(), &"calls".into()));
    assert_eq!(
        (&first["data"], &first["durationMs"], &first["status"]),
        (&serde_json::json!({"quantity": 2}), &12.into(), &200.into())
    );
    assert_eq!(first["uses"], serde_json::json!([{"meter": "calls", "quantity": 2, "overage": 0, "fromGrants": 0}]));
    assert!(first["recordedAt"].as_str().unwrap() > "2025-01-02");
    let user = json(&all[5]);
    assert_eq!(user["uses"][0]["value"], format!("{:032x}", 9));
    let cost = serde_json::to_string(&all[2]).unwrap();
    assert!(cost.contains(r#""uses":[{"meter":"cost","quantity":0.000000001,"overage":0,"fromGrants":0}]"#), "{cost}");
    assert_eq!(json(&all[2])["data"], serde_json::json!({"user": "u"}));
}

#[test]
fn events_are_filtered_by_meter_type_source_and_time() {
    let kit = filled();
    let none = EventFilter::default;
    let time = |text: &str| Some(text.parse::<Time>().unwrap());
    let text = |text: &str| Some(text.to_owned());
    #[rustfmt::skip]
    let cases = [
        (EventFilter { meter: Some(kit.meter("tokens")), ..none() }, vec!["metergate:consume/tokens t-1", "metergate:consume/tokens d-1"]),
        (EventFilter { event_type: text("users"), ..none() }, vec!["/test e-1"]),
        (EventFilter { source: text("metergate:consume/hits"), ..none() }, vec!["metergate:consume/hits t-1"]),
        (EventFilter { source: text("/test"), from: time("2025-01-02T00:00:00Z"), ..none() }, vec!["/test e-1"]),
        (EventFilter { to: time("2025-01-02T10:00:00Z"), ..none() }, vec!["/test e-0"]),
        (EventFilter { from: Some(kit.store.now().plus(600_000_000)), ..none() }, vec![]),
    ];
    for (filter, expected) in cases {
        for limit in [1, 2, 50] {
            assert_eq!(ids(&pages(&kit, &filter, limit)), expected, "{filter:?}");
        }
    }
}

#[test]
fn records_are_gone_through_for_one_that_is_older_than_ids_only_where_there_can_be_such() {
    let kit = Kit::new();
    kit.create("acme", "free", "UTC");
    kit.record("acme", 7, &[happened("tokens", "2025-01-01T00:00:00Z", 4)]);
    let now = kit.store.now();
    let older = move |before: Time| move |report: &Report<'_>| report.has_older(&organization("acme"), before);
    assert!(!kit.report(older(now.plus(-DAY))).unwrap(), "whatever the time of the event, it came today");
    assert!(kit.report(older(now.plus(DAY))).unwrap());
    let place = |before: Time, id: &'static str| {
        kit.report(move |report| report.place_of(&organization("acme"), before, ("/test", id))).unwrap()
    };
    assert!(place(now, "e-7").is_some_and(|event| event.recorded_at <= now));
    assert!(place(now, "e-8").is_none());
    assert!(place(now.plus(-DAY), "e-7").is_none(), "what came later is found by its id");
}
