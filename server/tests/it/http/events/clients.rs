//! What Metergate's own clients tell as events: several calls together, and what came too late to be a decision.

use serde_json::{Value, json};

use super::super::client::Client;
use super::{BATCH, counts, event, send, started, used, with};

/// Such as what a client held, and could settle only when its reservation had lapsed.
#[test]
fn an_event_of_several_calls_counts_as_so_many_with_their_durations() {
    let (mut server, admin) = started();
    admin.put("/v1/meters/hits", json!({"aggregation": "count"})).is(201);
    let calls = json!({"count": 16, "durations": {"12": 14, "50": 2}, "statuses": {"200": 15, "500": 1}});
    let ours = |id: &str, data: Value| with(event(id, data), json!({"source": "@metergate/tests"}));
    let several = ours("several", json!({"quantity": 40, "calls": calls, "durationMs": 7}));
    let counted = with(ours("hits", json!({"calls": {"count": 5}})), json!({"type": "hits"}));
    for expected in [[2, 0, 0], [0, 2, 0]] {
        assert_eq!(counts(&send(&admin, BATCH, json!([several, counted]))), expected);
    }
    // What cannot be counted is one call, as is what others mean by that name: the usage must not be lost.
    for (n, calls) in [json!(16), json!({"count": 0}), json!({"count": 2, "other": 1})].iter().enumerate() {
        assert_eq!(counts(&send(&admin, BATCH, json!([ours(&n.to_string(), json!({"calls": calls}))]))), [1, 0, 0]);
    }
    assert_eq!(counts(&send(&admin, BATCH, json!([event("other", json!({"calls": {"count": 3}}))]))), [1, 0, 0]);
    let check = |client: &Client| {
        for (meter, value, count, durations) in [("tokens", 44, 20, 16), ("hits", 5, 5, 0)] {
            let path = format!("/v1/usage?organization=acme&meter={meter}&granularity=total&from=2020-01-01T00:00:00Z");
            let path = format!("{path}&to=2100-01-01T00:00:00Z&durations=true");
            let row = client.get(&path).is(200).json()["data"][0].clone();
            assert_eq!((&row["value"], &row["count"]), (&json!(value), &json!(count)), "{row}");
            assert_eq!(row["durations"]["count"].as_i64().unwrap_or(0), durations, "{row}");
        }
    };
    check(&admin);
    let listed = admin.get("/v1/events?organization=acme&type=tokens").is(200).json();
    let found = listed["data"].as_array().unwrap().iter().find(|event| event["id"] == "several").cloned().unwrap();
    assert_eq!((&found["calls"], &found["durationMs"]), (&calls, &Value::Null));
    assert_eq!(admin.post("/api/admin/metrics/aggregate", json!({})).is(200).json()["rebuilt"], 0);
    server.kill();
    server.start_again();
    let admin = server.admin();
    check(&admin);
    // Void it is gone with all of its calls, and those of others stay.
    for (id, meter) in [("several", "tokens"), ("hits", "hits")] {
        let event = format!("/v1/events/{id}?organization=acme&source=@metergate/tests");
        admin.delete_because(&event, "counted twice").is(204);
        let path = format!("/v1/usage?organization=acme&meter={meter}&granularity=total&from=2020-01-01T00:00:00Z");
        let rows = admin.get(&format!("{path}&to=2100-01-01T00:00:00Z&durations=true")).is(200).json()["data"].clone();
        match meter {
            "hits" => assert_eq!(rows, json!([]), "nothing is left to report"),
            _ => assert_eq!((&rows[0]["value"], &rows[0]["count"]), (&json!(4), &json!(4)), "{rows}"),
        }
        assert_eq!(rows[0]["durations"]["count"].as_i64().unwrap_or(0), 0, "{rows}");
    }
    assert_eq!(admin.post("/api/admin/metrics/aggregate", json!({})).is(200).json()["rebuilt"], 0);
}

/// Its meter's type need not be its key, and others may count that type, too.
#[test]
fn what_a_client_tells_late_counts_as_the_decision_or_the_commit_would_have() {
    let (_server, admin) = started();
    let pages =
        json!({"aggregation": "sum", "eventType": "document", "valueProperty": "pages", "dimensions": ["kind"]});
    admin.put("/v1/meters/pages", pages).is(201);
    admin.put("/v1/meters/documents", json!({"aggregation": "count", "eventType": "document"})).is(201);
    let late = |id: &str, kind: &str, data: Value| {
        with(event(id, data), json!({"source": "@metergate/tests#late", "type": kind}))
    };
    let several = json!({"quantity": 12, "calls": {"count": 3, "durations": {"5": 3}}});
    #[rustfmt::skip]
    let events = [ // and what is used of pages and of documents after it
        (late("a", "metergate:commit/pages",      json!({"quantity": 7, "kind": "pdf"})), [7, 0]),
        (late("b", "metergate:consume/pages",     json!({"quantity": "5"})),              [12, 0]),
        (late("c", "metergate:commit/documents",  json!({"quantity": 4})),                [12, 4]),
        (late("d", "metergate:consume/documents", json!({"quantity": 4})),                [12, 5]), // a decision is one
        (late("e", "metergate:commit/pages",      several),                               [24, 5]),
        (late("f", "document",                    json!({"pages": 1})),                   [25, 6]),
    ];
    for (event, expected) in &events {
        assert_eq!(counts(&send(&admin, BATCH, json!([event]))), [1, 0, 0], "{event}");
        assert_eq!([used(&admin, "pages"), used(&admin, "documents")], *expected, "{event}");
    }
    let again: Vec<_> = events.iter().map(|(event, _)| event.clone()).collect();
    assert_eq!(counts(&send(&admin, BATCH, json!(again))), [0, 6, 0]);
    let listed = admin.list("/v1/events?organization=acme&type=document");
    assert_eq!(listed.len(), 6, "each has its meter's type: {listed:?}");
    let path = "/v1/usage?organization=acme&meter=pages&granularity=total&from=2020-01-01T00:00:00Z\
                &to=2100-01-01T00:00:00Z&durations=true";
    let row = admin.get(path).is(200).json()["data"][0].clone();
    assert_eq!((&row["value"], &row["count"], &row["durations"]["count"]), (&json!(25), &json!(6), &json!(3)), "{row}");
    // There is no such meter, and of others' events it is a type like any that nobody counts.
    for (source, kind) in [("@metergate/tests", "metergate:commit/none"), ("/tests", "metergate:commit/pages")] {
        let refused = with(event("g", json!({"quantity": 1})), json!({"source": source, "type": kind}));
        let answer = send(&admin, BATCH, json!([refused])).is(200).json();
        assert_eq!(answer["rejected"][0]["reason"], "unknown-meter", "{answer}");
    }
}
