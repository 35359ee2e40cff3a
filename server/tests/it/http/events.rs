//! `POST /v1/events`, and that what was acknowledged is read everywhere at once (M1, M2, M4, M5, M11).

use serde_json::{Value, json};

use super::client::{Answer, Client};
use super::server::Server;

#[path = "events/clients.rs"]
mod clients;

const BATCH: &str = "application/cloudevents-batch+json";

fn started() -> (Server, Client) {
    let server = Server::start();
    let admin = server.admin();
    admin.post("/v1/organizations", json!({"key": "acme", "plan": "pro"})).is(201);
    (server, admin)
}

fn event(id: &str, data: Value) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "/tests", "type": "tokens", "subject": "acme", "data": data})
}

/// The same with other attributes; `null` takes one away.
fn with(mut event: Value, changes: Value) -> Value {
    let members = event.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(members.remove(name)),
            value => drop(members.insert(name.clone(), value.clone())),
        }
    }
    event
}

fn send(client: &Client, media_type: &str, body: impl ToString) -> Answer {
    client.call("POST", "/v1/events").body(media_type, body.to_string()).send()
}

/// How many were accepted, were duplicates, were rejected.
fn counts(answer: &Answer) -> [i64; 3] {
    let body = answer.clone().is(200).json();
    let rejected = body["rejected"].as_array().unwrap().len();
    [body["accepted"].as_i64().unwrap(), body["duplicates"].as_i64().unwrap(), i64::try_from(rejected).unwrap()]
}

/// So many minutes from now.
fn minutes_from_now(minutes: i64) -> String {
    metergate::clock::wall().plus(minutes * metergate_rules::time::MINUTE).to_string()
}

fn used(client: &Client, meter: &str) -> i64 {
    let usage = client.get("/v1/organizations/acme/usage").is(200).json();
    let found = usage["meters"].as_array().unwrap().iter().find(|one| one["meter"] == meter).cloned();
    found.map_or(0, |one| one["used"].as_i64().unwrap())
}

#[test]
fn every_content_type_carries_events() {
    let (_server, admin) = started();
    let one = |id: &str| event(id, json!({"quantity": 10}));
    let lines = format!("{}\n\n{}\r\n{}", one("l-1"), one("l-2"), one("l-3"));
    #[rustfmt::skip]
    let cases = [
        ("application/cloudevents+json",                        one("s-1").to_string(),                          1),
        ("application/cloudevents+json; charset=utf-8",         one("s-2").to_string(),                          1),
        ("Application/CloudEvents+JSON",                        one("s-3").to_string(),                          1),
        (BATCH,                                                 json!([one("b-1"), one("b-2")]).to_string(),     2),
        (BATCH,                                                 "[]".to_owned(),                                 0),
        ("application/json",                                    one("j-1").to_string(),                          1),
        ("application/json;charset=UTF-8",                      json!([one("j-2"), one("j-3")]).to_string(),     2),
        ("application/x-ndjson",                                lines,                                           3),
    ];
    let mut sum = 0;
    for (media_type, body, accepted) in cases {
        let answer = send(&admin, media_type, &body);
        assert_eq!(counts(&answer), [accepted, 0, 0], "{media_type}: {}", answer.text);
        sum += 10 * accepted;
        assert_eq!(used(&admin, "tokens"), sum, "{media_type}");
    }
}

#[test]
fn an_event_in_binary_mode_has_its_attributes_in_headers() {
    let (_server, admin) = started();
    let binary = |id: &str, media_type: &str, body: &str| {
        let call = admin.call("POST", "/v1/events").header("ce-specversion", "1.0").header("ce-id", id);
        let call = call.header("ce-source", "/tests").header("ce-type", "tokens").header("ce-subject", "acme");
        call.body(media_type, body).send()
    };
    assert_eq!(counts(&binary("a%20b", "application/json", r#"{"quantity": 7, "model": "m"}"#)), [1, 0, 0]);
    assert_eq!(counts(&binary("c", "text/plain", r#"{"quantity": 5}"#)), [1, 0, 0]);
    assert_eq!(counts(&binary("c", "text/plain", r#"{"quantity": 5}"#)), [0, 1, 0]);
    // The percent-encoded id is the same as the plain one in another mode.
    assert_eq!(counts(&send(&admin, BATCH, json!([event("a b", json!({}))]))), [0, 1, 0]);
    assert_eq!(counts(&binary("d", "text/plain", "no JSON")), [0, 0, 1]);
    assert_eq!(used(&admin, "tokens"), 12);
    let events = admin.get("/v1/events?organization=acme").is(200).json();
    assert_eq!((&events["data"][1]["id"], &events["data"][1]["data"]["model"]), (&json!("a b"), &json!("m")));
}

#[test]
fn an_event_counts_once_for_its_source_and_id() {
    let (mut server, admin) = started();
    let batch = json!([
        event("a", json!({"quantity": 1})),
        event("a", json!({"quantity": 1000})),
        with(event("a", json!({"quantity": 10})), json!({"source": "/others"})),
        event("b", json!({"quantity": 100})),
    ]);
    assert_eq!(counts(&send(&admin, BATCH, &batch)), [3, 1, 0]);
    assert_eq!(counts(&send(&admin, BATCH, &batch)), [0, 4, 0]);
    assert_eq!(used(&admin, "tokens"), 111);
    // Another organization's equal id is its own; a decision's equal id is apart.
    admin.post("/v1/organizations", json!({"key": "other", "plan": "pro"})).is(201);
    assert_eq!(
        counts(&send(&admin, BATCH, json!([with(event("a", json!({})), json!({"subject": "other"}))]))),
        [1, 0, 0]
    );
    let decision =
        admin.post("/v1/consume", json!({"organization": "acme", "meter": "tokens", "quantity": 1, "id": "a"}));
    assert_eq!(decision.is(200).json()["limits"][0]["used"], 112);
    // Also after a crash.
    server.kill();
    server.start_again();
    let admin = server.admin();
    assert_eq!(counts(&send(&admin, BATCH, &batch)), [0, 4, 0]);
    assert_eq!(used(&admin, "tokens"), 112);
}

#[test]
fn a_bad_event_is_rejected_by_index_and_reason_and_never_loses_the_good_ones() {
    let (_server, admin) = started();
    let plain = |id: &str| event(id, json!({"quantity": 1}));
    #[rustfmt::skip]
    let cases = [
        (with(plain("x"), json!({"type": "nothing"})),                      "unknown-meter"),
        (with(plain("x"), json!({"subject": "nobody"})),                    "unknown-organization"),
        (with(plain("x"), json!({"subject": "not a key"})),                 "unknown-organization"),
        (with(plain("x"), json!({"subject": null})),                        "invalid-event"),
        (with(plain("x"), json!({"id": null})),                             "invalid-event"),
        (with(plain("x"), json!({"id": 5})),                                "invalid-event"),
        (with(plain("x"), json!({"source": ""})),                           "invalid-event"),
        (with(plain("x"), json!({"specversion": "0.3"})),                   "invalid-event"),
        (with(plain("x"), json!({"time": "yesterday"})),                    "invalid-event"),
        (with(plain("x"), json!({"source": "metergate:consume/tokens"})),   "reserved-source"),
        (with(plain("x"), json!({"time": minutes_from_now(6)})),            "future-event"),
        (event("x", json!({"quantity": -1})),                               "invalid-quantity"),
        (event("x", json!({"quantity": 0.5})),                              "invalid-quantity"),
        (event("x", json!({"quantity": "NaN"})),                            "invalid-quantity"),
        (event("x", json!({"quantity": u64::MAX})),                         "invalid-quantity"),
        (event("x", json!([1])),                                            "invalid-property"),
        (event("x", json!({"filling": "x".repeat(64 * 1024)})),             "too-large"),
        (with(event("x", json!({})), json!({"type": "active_users"})),      "invalid-property"),
        (json!("no event"),                                                 "invalid-event"),
    ];
    let mut batch = vec![plain("first")];
    batch.extend(cases.iter().map(|(bad, _)| bad.clone()));
    batch.push(plain("last"));
    let answer = send(&admin, BATCH, Value::from(batch)).is(200).json();
    assert_eq!((&answer["accepted"], &answer["duplicates"]), (&json!(2), &json!(0)), "{answer}");
    let rejected = answer["rejected"].as_array().unwrap();
    assert_eq!(rejected.len(), cases.len());
    for (i, (rejection, (bad, reason))) in rejected.iter().zip(&cases).enumerate() {
        assert_eq!((&rejection["index"], &rejection["reason"]), (&json!(i + 1), &json!(reason)), "{bad}: {rejection}");
        let id = bad.get("id").filter(|id| id.is_string()).cloned().unwrap_or_default();
        assert_eq!(rejection["id"], id, "{bad}");
        assert!(rejection["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{rejection}");
    }
    assert_eq!(used(&admin, "tokens"), 2);
    // A number that no float can hold spoils only its own event.
    let poisoned =
        format!("[{}, {}]", plain("p"), plain("q").to_string().replace("\"quantity\":1", "\"quantity\":1e999"));
    assert_eq!(counts(&send(&admin, BATCH, poisoned)), [1, 0, 1]);
    // A line that is no JSON spoils only itself.
    assert_eq!(
        counts(&send(&admin, "application/x-ndjson", format!("{}\n{{\n{}\n", plain("n"), plain("o")))),
        [2, 0, 1]
    );
}

#[test]
fn only_a_body_that_cannot_be_read_is_refused_as_a_whole() {
    let (_server, admin) = started();
    let many = format!("[{}]", vec!["{}"; 10_001].join(","));
    #[rustfmt::skip]
    let cases = [
        (BATCH,                          "[{".to_owned(),         400, "malformed-body"),
        (BATCH,                          "5".to_owned(),          400, "malformed-body"),
        ("application/json",             "nonsense".to_owned(),   400, "malformed-body"),
        ("application/cloudevents+json", "{} {}".to_owned(),      400, "malformed-body"),
        (BATCH,                          many,                    413, "payload-too-large"),
        ("text/plain",                   "{}".to_owned(),         415, "unsupported-media-type"),
        ("application/xml",              "<event/>".to_owned(),   415, "unsupported-media-type"),
    ];
    for (media_type, body, status, code) in cases {
        send(&admin, media_type, body).expect_problem(status, code);
    }
    let not_utf8 = admin.call("POST", "/v1/events").body(BATCH, b"[\"\xff\"]".to_vec()).send();
    not_utf8.expect_problem(400, "malformed-body");
    // All bad is still 200.
    assert_eq!(counts(&send(&admin, BATCH, "[1, {}, null]")), [0, 0, 3]);
}

#[test]
fn what_was_acknowledged_is_read_everywhere_at_once() {
    let (_server, admin) = started();
    let model = |id: &str, model: &str, quantity: u64| event(id, json!({"quantity": quantity, "model": model}));
    let mut sum = 0;
    for round in 0..5_u64 {
        let batch: Vec<_> = (0..10_u64)
            .map(|i| model(&format!("{round}-{i}"), if i % 2 == 0 { "even" } else { "odd" }, 100 * round + i))
            .collect();
        assert_eq!(counts(&send(&admin, BATCH, Value::from(batch))), [10, 0, 0]);
        let body = json!({"organization": "acme", "meter": "tokens", "quantity": 3, "properties": {"model": "odd"}});
        admin.post("/v1/consume", body).is(200);
        sum += 10 * 100 * round + 45 + 3;
        assert_eq!(u64::try_from(used(&admin, "tokens")).unwrap(), sum);
        let usage = admin.get("/v1/usage?organization=acme&meter=tokens&groupBy=model").is(200).json();
        let by_model: Vec<_> =
            usage["data"].as_array().unwrap().iter().map(|row| row["group"]["model"].clone()).collect();
        assert_eq!(by_model, ["even", "odd"]);
        let total: u64 = usage["data"].as_array().unwrap().iter().map(|row| row["value"].as_u64().unwrap()).sum();
        assert_eq!(total, sum);
        let events = admin.list("/v1/events?organization=acme&limit=7");
        assert_eq!(events.len(), 11 * usize::try_from(round + 1).unwrap());
        let listed: u64 = events.iter().map(|one| one["uses"][0]["quantity"].as_u64().unwrap()).sum();
        assert_eq!(listed, sum);
    }
    let csv = admin.get("/v1/usage?organization=acme&meter=tokens&format=csv").is(200);
    assert_eq!(csv.header("content-type"), Some("text/csv"));
    assert!(csv.text.lines().nth(1).is_some_and(|line| line.contains(&format!(",{sum},"))), "{}", csv.text);
}

#[test]
fn what_end_users_name_their_things_is_no_formula_in_a_table() {
    let (_server, admin) = started();
    let named = |id: usize, model: &str| event(&id.to_string(), json!({"quantity": 1, "model": model}));
    let events: Vec<_> = ["=1+1", "@x", "+cmd|'/C calc'!A0", "gpt-5"].into_iter().enumerate().collect();
    let events: Vec<_> = events.into_iter().map(|(id, model)| named(id, model)).collect();
    assert_eq!(counts(&send(&admin, BATCH, Value::from(events))), [4, 0, 0]);
    let csv = admin.get("/v1/usage?organization=acme&meter=tokens&groupBy=model&format=csv").is(200);
    let mut models: Vec<_> = csv.text.lines().skip(1).filter_map(|line| line.rsplit(',').next()).collect();
    models.sort_unstable();
    assert_eq!(models, ["'+cmd|'/C calc'!A0", "'=1+1", "'@x", "gpt-5"]);
    let saved = csv.header("content-disposition").unwrap();
    assert!(saved.starts_with("attachment; filename=\"acme-usage-20") && saved.ends_with(".csv\""), "{saved}");
    let json = admin.get("/v1/usage?organization=acme&meter=tokens&groupBy=model").is(200).json();
    assert!(json["data"].as_array().unwrap().iter().any(|row| row["group"]["model"] == "=1+1"), "{json}");
}

#[test]
fn late_events_count_where_their_time_belongs_and_not_in_the_open_period() {
    let (_server, admin) = started();
    let at =
        |id: &str, time: &str, quantity: u64| with(event(id, json!({"quantity": quantity})), json!({"time": time}));
    let batch = json!([
        at("late", "2026-01-15T10:07:30.123Z", 40),
        at("late too", "2026-01-15T12:00:00+02:00", 2),
        at("next hour", "2026-01-15T11:00:00Z", 7),
        at("now", &minutes_from_now(0), 1),
        at("soon", &minutes_from_now(4), 1),
    ]);
    assert_eq!(counts(&send(&admin, BATCH, batch)), [5, 0, 0]);
    assert_eq!(used(&admin, "tokens"), 2, "of the open period only what happened in it");
    let path =
        "/v1/usage?organization=acme&meter=tokens&from=2026-01-15T00:00:00Z&to=2026-01-16T00:00:00Z&granularity=hour";
    let rows = admin.get(path).is(200).json()["data"].clone();
    let row = |i: usize| (rows[i]["start"].clone(), rows[i]["value"].clone(), rows[i]["count"].clone());
    assert_eq!(row(0), (json!("2026-01-15T10:00:00Z"), json!(42), json!(2)));
    assert_eq!(row(1), (json!("2026-01-15T11:00:00Z"), json!(7), json!(1)));
    assert_eq!(rows.as_array().unwrap().len(), 2);
}

#[test]
fn events_are_recorded_whatever_the_limits_and_locks_say() {
    let (_server, admin) = started();
    admin.put("/v1/organizations/acme/lock", json!({"reason": "test"})).is(200);
    assert_eq!(counts(&send(&admin, BATCH, json!([event("a", json!({"quantity": 500_001}))]))), [1, 0, 0]);
    admin.delete_because("/v1/organizations/acme/lock", "r").is(204);
    let usage = admin.get("/v1/organizations/acme/usage").json();
    let tokens = usage["meters"].as_array().unwrap().iter().find(|one| one["meter"] == "tokens").unwrap().clone();
    assert_eq!((&tokens["used"], &tokens["overage"], &tokens["remaining"]), (&json!(500_001), &json!(1), &json!(0)));
    let refused = admin.post("/v1/consume", json!({"organization": "acme", "meter": "tokens"})).is(200).json();
    assert_eq!(refused["allowed"], false, "beyond the limit nothing more is admitted");
}

#[test]
fn meters_that_share_an_event_type_each_count_the_event() {
    let (_server, admin) = started();
    let meter = |key: &str, aggregation: &str, property: &str| {
        let body = json!({"aggregation": aggregation, "eventType": "upload", "valueProperty": property});
        admin.put(&format!("/v1/meters/{key}"), body).is(201);
    };
    meter("uploads", "count", "quantity");
    meter("uploaded_bytes", "sum", "bytes");
    meter("largest_upload", "max", "bytes");
    meter("uploaders", "uniqueCount", "user");
    let upload = |id: &str, user: &str, bytes: u64| {
        with(event(id, json!({"user": user, "bytes": bytes})), json!({"type": "upload"}))
    };
    let batch = json!([upload("1", "ann", 10), upload("2", "bob", 30), upload("3", "ann", 20)]);
    assert_eq!(counts(&send(&admin, BATCH, batch)), [3, 0, 0]);
    for (meter, expected) in [("uploads", 3), ("uploaded_bytes", 60), ("largest_upload", 30), ("uploaders", 2)] {
        assert_eq!(used(&admin, meter), expected, "{meter}");
        let usage = admin.get(&format!("/v1/usage?organization=acme&meter={meter}")).is(200).json();
        assert_eq!(usage["data"][0]["value"], expected, "{meter}");
    }
    // One event that one of them cannot read counts on none.
    assert_eq!(counts(&send(&admin, BATCH, json!([upload("4", "", 5)]))), [0, 0, 1]);
    assert_eq!(used(&admin, "uploads"), 3);
    // A decision counts on its own meter alone.
    admin.post("/v1/consume", json!({"organization": "acme", "meter": "uploaded_bytes", "quantity": 5})).is(200);
    assert_eq!((used(&admin, "uploads"), used(&admin, "uploaded_bytes")), (3, 65));
}

#[test]
fn events_can_be_sought_by_meter_type_source_and_time() {
    let (_server, admin) = started();
    let batch = json!([
        with(event("a", json!({})), json!({"time": "2026-01-01T00:00:00Z"})),
        with(event("b", json!({})), json!({"time": "2026-01-02T00:00:00Z", "source": "/others"})),
        with(event("c", json!({})), json!({"time": "2026-01-03T00:00:00Z", "type": "messages"})),
    ]);
    assert_eq!(counts(&send(&admin, BATCH, batch)), [3, 0, 0]);
    #[rustfmt::skip]
    let cases = [
        ("",                                                    vec!["c", "b", "a"]),
        ("&meter=messages",                                     vec!["c"]),
        ("&type=tokens",                                        vec!["b", "a"]),
        ("&source=%2Fothers",                                   vec!["b"]),
        ("&from=2026-01-02T00:00:00Z",                          vec!["c", "b"]),
        ("&from=2026-01-01T00:00:00Z&to=2026-01-03T00:00:00Z",  vec!["b", "a"]),
        ("&type=nothing",                                       vec![]),
    ];
    for (query, expected) in cases {
        let found = admin.list(&format!("/v1/events?organization=acme{query}"));
        let ids: Vec<_> = found.iter().map(|one| one["id"].as_str().unwrap()).collect();
        assert_eq!(ids, expected, "{query}");
    }
    admin.get("/v1/events?organization=acme&meter=nothing").expect_problem(404, "unknown-meter");
    admin.get("/v1/events").expect_problem(422, "validation");
    admin.get("/v1/events?organization=acme&form=2026").expect_problem(422, "validation");
}

#[test]
fn a_duration_or_status_that_is_no_number_does_not_lose_the_usage() {
    let (_server, admin) = started();
    let odd = [
        event("a", json!({"quantity": 1, "durationMs": 12.5, "status": "ok"})),
        event("b", json!({"quantity": 1, "durationMs": -1, "status": 1e9})),
    ];
    let answer = send(&admin, BATCH, Value::from(odd.to_vec())).is(200).json();
    assert_eq!(answer["accepted"], 2, "{answer}");
    let listed = admin.list("/v1/events?organization=acme");
    assert_eq!((&listed[1]["durationMs"], &listed[1]["status"]), (&json!(12), &Value::Null), "{listed:?}");
}

#[test]
fn an_organization_that_events_create_begins_with_the_first_of_them_and_so_they_all_count() {
    let server = Server::with(&[("METERGATE_AUTO_CREATE_ORGANIZATIONS", "true")]);
    let admin = server.admin();
    let ago = |seconds: i64| metergate::clock::wall().plus(-seconds * metergate_rules::time::SECOND).to_string();
    let first = ago(90);
    let told =
        |id: &str, time: &str, quantity: i64| with(event(id, json!({"quantity": quantity})), json!({"time": time}));
    // As a client sends what several requests left in its queue: late, and not in order.
    let batch = json!([told("e-1", &ago(60), 4000), told("e-2", &first, 5000), told("e-3", &ago(30), 1000)]);
    assert_eq!(counts(&send(&admin, BATCH, batch)), [3, 0, 0]);
    let made = admin.get("/v1/organizations/acme").is(200).json();
    assert_eq!(made["currentPeriod"]["start"], first);
    assert!(made["createdAt"].as_str().unwrap() > ago(30).as_str(), "{made}");
    assert_eq!(used(&admin, "tokens"), 10_000);
    let asked = json!({"organization": "acme", "meter": "tokens", "quantity": 1});
    assert_eq!(admin.post("/v1/consume", asked).is(200).json()["reason"], "quota-exceeded");
    let before = send(&admin, BATCH, json!([told("e-0", &ago(600), 7)]));
    assert_eq!(counts(&before), [1, 0, 0]);
    assert_eq!(used(&admin, "tokens"), 10_000, "what lies before it is in reports alone");
    let usage = "/v1/usage?organization=acme&meter=tokens&from=2026-01-01T00:00:00Z&granularity=total";
    assert_eq!(admin.get(usage).is(200).json()["data"][0]["value"], 10_007);
}
