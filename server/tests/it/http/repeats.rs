//! Decisions that are asked for again, by their id or by an `Idempotency-Key` (D4).

use serde_json::{Value, json};

use super::consume::{ask, started};

#[test]
fn a_repeated_id_has_its_first_answer_and_counts_once() {
    let (_server, admin) = started();
    ask(&admin, "api_calls", 9).is(200);
    #[rustfmt::skip]
    let cases = [
        json!({"organization": "acme", "meter": "tokens", "quantity": 600, "id": "allowed"}),
        json!({"organization": "acme", "meter": "tokens", "quantity": 600, "id": "refused"}),
        json!({"organization": "acme", "meter": "api_calls", "quantity": 2, "id": "allowed"}),
        json!({"organization": "acme", "together": [{"meter": "embeddings", "quantity": 2}, {"meter": "messages"}], "id": "allowed"}),
        json!({"organization": "acme", "together": [{"meter": "embeddings", "quantity": 4}, {"meter": "messages"}], "id": "refused"}),
    ];
    let first: Vec<_> = cases.iter().map(|body| admin.post("/v1/consume", body).is(200)).collect();
    let allowed: Vec<_> = first.iter().map(|answer| answer.json()["allowed"].as_bool().unwrap()).collect();
    assert_eq!(allowed, [true, false, false, true, false], "equal ids on other meters and together are apart");
    // Room is made: a refused id stays refused all the same.
    admin.post("/v1/organizations/acme/usage/reset", json!({"reason": "test"})).is(200);
    for (body, first) in cases.iter().zip(&first) {
        assert_eq!(first.header("idempotent-replayed"), None);
        let again = admin.post("/v1/consume", body).is(200);
        assert_eq!(again.text, first.text);
        assert_eq!(again.header("idempotent-replayed"), Some("true"), "{body}");
    }
    let other = json!({"organization": "acme", "meter": "tokens", "quantity": 600, "id": "another"});
    assert_eq!(admin.post("/v1/consume", other).json()["limits"][0]["used"], 600);
}

#[test]
fn another_body_under_a_known_id_is_422() {
    let (_server, admin) = started();
    let with = |changes: Value| {
        let mut body =
            json!({"organization": "acme", "meter": "tokens", "quantity": 5, "id": "a", "properties": {"model": "m"}});
        body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        body
    };
    admin.post("/v1/consume", with(json!({}))).is(200);
    #[rustfmt::skip]
    let others = [
        json!({"quantity": 6}), json!({"properties": {"model": "n"}}), json!({"properties": null}), json!({"durationMs": 5}),
        json!({"status": 500}),
    ];
    for changes in others {
        admin.post("/v1/consume", with(changes)).expect_problem(422, "idempotency-mismatch");
    }
    // In an array it is that item's problem only.
    let items = json!([with(json!({"quantity": 6})), with(json!({})), with(json!({"id": "b"}))]);
    let data = admin.post("/v1/consume", items).is(200).json()["data"].clone();
    assert_eq!((&data[0]["code"], &data[1]["limits"][0]["used"]), (&json!("idempotency-mismatch"), &json!(5)));
    assert_eq!(data[2]["limits"][0]["used"], 10);
    // The same number, otherwise written, is the same request.
    assert_eq!(
        admin.post("/v1/consume", with(json!({"quantity": "5"}))).is(200).header("idempotent-replayed"),
        Some("true")
    );
    let spaced = with(json!({})).to_string().replace("\"model\":", "\"model\" :  ");
    assert_eq!(admin.post("/v1/consume", spaced).is(200).header("idempotent-replayed"), Some("true"));
    // Another organization's equal id is its own.
    admin.post("/v1/organizations", json!({"key": "other", "plan": "small"})).is(201);
    let other = admin.post("/v1/consume", with(json!({"organization": "other", "quantity": 7}))).is(200);
    assert_eq!(other.json()["limits"][0]["used"], 7);
}

#[test]
fn an_idempotency_key_counts_where_the_body_has_no_id() {
    let (_server, admin) = started();
    let send =
        |key: &str, body: &Value| admin.call("POST", "/v1/consume").header("idempotency-key", key).json(body).send();
    let body = json!({"organization": "acme", "meter": "tokens", "quantity": 10});
    let first = send("\"k-1\"", &body).is(200);
    let again = send("k-1", &body).is(200);
    assert_eq!((again.text.as_str(), again.header("idempotent-replayed")), (first.text.as_str(), Some("true")));
    send("k-1", &json!({"organization": "acme", "meter": "tokens", "quantity": 11}))
        .expect_problem(422, "idempotency-mismatch");
    send("k-1", &json!({"organization": "acme", "meter": "messages", "quantity": 10}))
        .expect_problem(422, "idempotency-mismatch");
    // With an id of its own the body goes by that.
    let named = json!({"organization": "acme", "meter": "tokens", "quantity": 10, "id": "k-1"});
    assert_eq!(send("k-1", &named).is(200).json()["limits"][0]["used"], 20);
    send("", &body).expect_problem(422, "validation");
    send(&"k".repeat(256), &body).expect_problem(422, "validation");
}

#[test]
fn an_idempotency_key_counts_for_each_decision_of_an_array() {
    let (_server, admin) = started();
    let send = |body: &Value| admin.call("POST", "/v1/consume").header("idempotency-key", "k").json(body).send();
    let two = json!({"organization": "acme", "meter": "tokens", "quantity": 2});
    let body = json!([two, two]);
    let first = send(&body).is(200);
    assert_eq!(first.json()["data"][1]["limits"][0]["used"], 4, "each element counts");
    assert_eq!(send(&body).is(200).text, first.text);
    assert_eq!(admin.post("/v1/check", &two).json()["limits"][0]["used"], 6, "the repetition counted nothing");
    // One decision alone is another request than several together.
    admin.call("POST", "/v1/consume").header("idempotency-key", "one").json(&two).send().is(200);
    let together = json!({"organization": "acme", "together": [{"meter": "tokens", "quantity": 2}]});
    let answer = admin.call("POST", "/v1/consume").header("idempotency-key", "one").json(together).send();
    answer.expect_problem(422, "idempotency-mismatch");
}

#[test]
fn the_record_of_an_import_is_put_once_under_a_key() {
    let (_server, admin) = started();
    let path = "/v1/imports/march.csv";
    let put = |rows: u32| {
        let body = json!({"rowsDone": rows, "digest": "d"});
        admin.call("PUT", path).header("idempotency-key", "k-1").json(body).send()
    };
    let first = put(1).is(200);
    admin.put(path, json!({"rowsDone": 2, "digest": "e"})).is(200);
    let again = put(1).is(200);
    assert_eq!((again.text.as_str(), again.header("idempotent-replayed")), (first.text.as_str(), Some("true")));
    assert_eq!(admin.get(path).is(200).json()["rowsDone"], 2, "the repeated call has put nothing back");
    put(3).expect_problem(422, "idempotency-mismatch");
}
