//! The demo's history, sent to a fake server.

use std::collections::BTreeMap;

use metergate_rules::time::Time;
use serde_json::json;

use super::super::fake::{Fake, Paper};
use super::story::What;
use super::*;

const NOW: &str = "2026-11-22T11:06:00Z";

fn fill_fake(days: u16) -> Fake {
    let fake = Fake::start();
    let (client, stop) = (fake.client(), AtomicBool::new(false));
    let history = History { client: &client, now: NOW.parse().unwrap(), days, stop: &stop };
    fake.answer("POST /v1/organizations", 201, &json!({}));
    fake.answer("POST /api/auth/register", 201, &json!({}));
    for act in story::acts(&history) {
        match act.what {
            What::Asks(method, path, _) => fake.answer(&format!("{method} {path}"), 200, &json!({})),
            What::Joins(path, ..) => fake.answer(&format!("POST {path}"), 201, &json!({"token": "t"})),
            What::SignsUp(_) => {}
        }
    }
    let (_, hand) = Clock::by_hand(history.begins());
    fill(&history, Some(hand), &Paper::default()).unwrap();
    fake
}

#[test]
fn a_history_is_the_same_every_time_and_of_a_believable_size() {
    let (one, two) = (fill_fake(90), fill_fake(90));
    let (one, two) = (one.state(), two.state());
    assert_eq!(one.events, two.events);
    assert!((60_000..200_000).contains(&one.events.len()), "{}", one.events.len());
    let mut totals: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for event in one.events.values() {
        let [subject, kind] = ["subject", "type"].map(|name| event[name].as_str().unwrap());
        *totals.entry((subject, kind)).or_default() += event["data"]["quantity"].as_u64().unwrap_or(1);
    }
    for profile in organizations::ALL {
        for meter in ["api_calls", "conversations", "messages", "tokens", "storage_bytes", "active_users"] {
            assert!(totals.get(&(profile.key, meter)).is_some_and(|total| *total > 0), "{} {meter}", profile.key);
        }
        // Between the tenth and the whole of a usual day at the end, for each of its days.
        let (calls, lived) = (totals[&(profile.key, "api_calls")], u64::from(profile.since - profile.until));
        assert!(
            (profile.calls * lived / 10..profile.calls * lived * 12 / 10).contains(&calls),
            "{} {calls}",
            profile.key
        );
    }
}

#[test]
fn a_short_history_has_everybody_too_and_ends_before_now() {
    let fake = fill_fake(3);
    assert_eq!(fake.count("POST /v1/organizations") - fake.count("POST /v1/organizations/"), organizations::ALL.len());
    let state = fake.state();
    let times = || state.events.values().map(|event| event["time"].as_str().unwrap());
    assert!(times().max() < Some("2026-11-22T11:00:00Z") && times().min() >= Some("2026-11-19T11:00:00Z"));
}

#[test]
fn everybody_signs_up_before_anything_happens_to_them() {
    let fake = fill_fake(90);
    let state = fake.state();
    let at = |wanted: &dyn Fn(&str, &str) -> bool| {
        state.requests.iter().position(|(request, body)| wanted(request, body)).unwrap()
    };
    for profile in organizations::ALL {
        let named = format!("\"key\":\"{}\"", profile.key);
        let created = at(&|request, body| request == "POST /v1/organizations" && body.contains(&named));
        let (below, subject) =
            (format!("/v1/organizations/{}/", profile.key), format!("\"subject\":\"{}\"", profile.key));
        let first = at(&|request, body| request.contains(&below) || body.contains(&subject));
        assert!(created < first, "{}", profile.key);
    }
    let begins: Time = "2026-08-24T11:00:00Z".parse().unwrap();
    let (client, stop) = (fake.client(), AtomicBool::new(false));
    let history = History { client: &client, now: NOW.parse().unwrap(), days: 90, stop: &stop };
    assert_eq!(history.begins(), begins);
    assert!(story::acts(&history).iter().all(|act| (begins..history.now).contains(&act.at)));
}

#[test]
fn a_temporary_folder_goes_with_the_demo() {
    let folder = Folder::of(None).unwrap();
    let path = folder.path.clone();
    assert!(path.is_dir() && is_empty(&path));
    drop(folder);
    assert!(!path.exists() && is_empty(&path));
}
