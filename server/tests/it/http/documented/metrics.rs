//! `POST /api/admin/metrics/aggregate` (M12).

use serde_json::{Value, json};

use super::{started, started_with, used};
use crate::http::client::Client;

const PATH: &str = "/api/admin/metrics/aggregate";
const SECRET: &str = "tick-tock-0123";

fn done(client: &Client, secret: &str, body: &str) -> Value {
    client.call("POST", PATH).header("x-cron-secret", secret).json(body).send().is(200).json()
}

#[test]
fn a_timer_with_its_secret_has_rollups_made_again_and_hears_what_was_done() {
    let (server, admin) = started_with(&[("CRON_SECRET", SECRET)]);
    used(&admin, "tokens", 5);
    used(&admin, "messages", 2);
    let stranger = server.stranger();
    let expected = json!({
        "from": null, "to": null, "organizations": 1, "rollups": 2, "rebuilt": 0,
        "kept": {"rollups": 0, "until": null}, "retention": {"filesRemoved": 0},
    });
    // The rows follow the journal, and only what is in them is compared.
    let settled = || {
        (0..500).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            done(&stranger, SECRET, "{}") == expected
        })
    };
    assert!(settled(), "{}", done(&stranger, SECRET, "{}"));
    let range = done(&stranger, SECRET, r#"{"from": "2020-01-01", "to": "2020-12-31"}"#);
    assert_eq!(
        (&range["from"], &range["to"], &range["rollups"]),
        (&json!("2020-01-01"), &json!("2020-12-31"), &json!(0))
    );
    assert_eq!(admin.post(PATH, "").is(200).json(), expected, "an administrator needs no secret");
    assert_eq!(done(&admin, "another-0123", "{}"), expected, "nor the right one");
}

#[test]
fn without_the_secret_it_is_refused() {
    let (server, _) = started_with(&[("METERGATE_CRON_SECRET", SECRET)]);
    let with =
        |client: &Client, secret: &str| client.call("POST", PATH).header("x-cron-secret", secret).json("{}").send();
    for wrong in ["", "tick-tock-0124", "tick-tock-01234", "tick-tock-012"] {
        with(&server.stranger(), wrong).expect_error_text(401);
    }
    server.stranger().post(PATH, "").expect_error_text(401);
    let (server, admin) = started();
    with(&server.stranger(), SECRET).expect_error_text(403);
    with(&server.stranger(), "").expect_error_text(403);
    let reader = admin.post("/v1/api-keys", json!({"name": "r", "scopes": ["read"]})).is(201).json();
    server.client(reader["key"].as_str().unwrap()).post(PATH, "").expect_error_text(403);
}

#[test]
fn what_is_wrong_is_named() {
    let (_server, admin) = started();
    #[rustfmt::skip]
    let cases = [
        (r#"{"from": "yesterday"}"#, "from: "),
        (r#"{"to": "2024-02-30"}"#, "to: "),
        (r#"{"from": "2024-02-02", "to": "2024-02-01"}"#, "to: Must not be before from."),
        (r#"{"since": "2024-02-02"}"#, "since"),
    ];
    for (body, expected) in cases {
        let error = admin.post(PATH, body).expect_error_text(422);
        assert!(error.contains(expected), "{body}: {error}");
    }
}
