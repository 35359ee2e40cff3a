//! The demo's history, sent to a fake server.

use std::collections::BTreeMap;

use serde_json::json;

use super::super::fake::{Fake, Paper};
use super::*;

fn fill_fake(days: u16) -> Fake {
    let fake = Fake::start();
    fake.answer("POST /v1/organizations", 201, &json!({}));
    let now: Time = "2026-11-22T11:06:00Z".parse().unwrap();
    let never = AtomicBool::new(false);
    fill(&fake.client(), now, days, &never, &Paper::default()).unwrap();
    fake
}

#[test]
fn a_history_is_the_same_every_time_and_of_a_believable_size() {
    let (one, two) = (fill_fake(90), fill_fake(90));
    let (one, two) = (one.state(), two.state());
    assert_eq!(one.events, two.events);
    assert!((80_000..200_000).contains(&one.events.len()), "{}", one.events.len());
    let mut totals: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for event in one.events.values() {
        let [subject, kind] = ["subject", "type"].map(|name| event[name].as_str().unwrap());
        *totals.entry((subject, kind)).or_default() += event["data"]["quantity"].as_u64().unwrap_or(1);
    }
    for profile in organizations::ALL {
        for meter in ["api_calls", "conversations", "messages", "tokens", "storage_bytes", "active_users"] {
            assert!(totals.get(&(profile.key, meter)).is_some_and(|total| *total > 0), "{} {meter}", profile.key);
        }
        // Between the half and the whole of a usual day at the end, ninety times over.
        let calls = totals[&(profile.key, "api_calls")];
        assert!((profile.calls * 90 / 3..profile.calls * 90 * 12 / 10).contains(&calls), "{} {calls}", profile.key);
    }
}

#[test]
fn the_history_ends_before_now_and_creates_each_organization() {
    let fake = fill_fake(3);
    assert_eq!(fake.count("POST /v1/organizations"), organizations::ALL.len());
    let state = fake.state();
    let times = || state.events.values().map(|event| event["time"].as_str().unwrap());
    assert!(times().max() < Some("2026-11-22T11:00:00Z") && times().min() >= Some("2026-11-19T11:00:00Z"));
}

#[test]
fn a_temporary_folder_goes_with_the_demo() {
    let folder = Folder::of(None).unwrap();
    let path = folder.path.clone();
    assert!(path.is_dir());
    drop(folder);
    assert!(!path.exists());
}
