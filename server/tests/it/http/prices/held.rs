//! Reservations of tokens against limits of what they cost (M9, D3, D5).

use serde_json::{Value, json};

use super::{Answer, Client, consume, created, event, record, reported, started, used};

fn reserve(client: &Client, quantity: Option<i64>, properties: &Value) -> Answer {
    let meter = json!({"organization": "acme", "meter": "tokens", "quantity": quantity});
    let mut body = meter.as_object().unwrap().clone();
    body.extend([("ttlSeconds".to_owned(), json!(600)), ("properties".to_owned(), properties.clone())]);
    client.post("/v1/reservations", Value::from(body))
}

fn end(client: &Client, made: &Answer, how: &str, body: Value) -> Answer {
    client.post(&format!("/v1/reservations/{}/{how}", made.json()["id"].as_str().expect("it holds")), body).is(200)
}

/// What is held of dollars, by the organization's usage.
fn held(client: &Client) -> String {
    let answer = client.get("/v1/organizations/acme/usage").is(200);
    let body = answer.json();
    let at = body["meters"].as_array().unwrap().iter().position(|one| one["meter"] == "llm_cost").unwrap();
    answer.raw(&format!("/meters/{at}/held"))
}

#[test]
fn a_hard_limit_of_dollars_that_is_used_up_stops_reservations_of_tokens() {
    let (_server, admin) = started("0.01");
    let used_up = json!({"model": "gpt-4o", "inputTokens": 10_000, "outputTokens": 300});
    record(&admin, &[event("e-1", &created(&admin), &used_up)]);
    assert_eq!(used(&admin, "llm_cost"), "0.028");
    let said = json!({"model": "gpt-4o", "inputTokens": 90_000, "outputTokens": 10_000});
    assert_eq!(consume(&admin, "one", &said).json()["allowed"], false);
    let without_kinds = json!({"model": "gpt-4o"});
    for (properties, why) in [(said, None), (json!({}), Some("no-model")), (without_kinds, Some("no-tokens"))] {
        let refused = reserve(&admin, Some(100_000), &properties).is(200);
        let body = refused.json();
        let told = (&body["allowed"], &body["reason"], &body["id"], &body["state"]);
        assert_eq!(told, (&json!(false), &json!("quota-exceeded"), &Value::Null, &Value::Null), "{properties}");
        assert_eq!(body.get("unpriced"), why.map(Value::from).as_ref());
        let limit = (&body["limits"][1]["meter"], refused.raw("/limits/1/remaining"));
        assert_eq!(limit, (&json!("llm_cost"), "0".to_owned()));
        // The next period has dollars again, but none has so many.
        assert_eq!(refused.header("retry-after").is_some(), why.is_some(), "{properties}");
    }
    assert_eq!((used(&admin, "llm_cost"), held(&admin)), ("0.028".to_owned(), "0".to_owned()));
}

#[test]
fn what_tokens_are_to_cost_is_held_with_them_until_the_true_cost_is_known() {
    let (mut server, admin) = started("0.02");
    let estimate = json!({"model": "gpt-4o", "inputTokens": 1000, "outputTokens": 1000});
    let first = reserve(&admin, None, &estimate).is(201);
    let limit = ["used", "held", "remaining"].map(|name| first.raw(&format!("/limits/1/{name}")));
    assert_eq!((first.raw("/cost"), limit), ("0.0125".to_owned(), ["0", "0.0125", "0.0075"].map(str::to_owned)));
    let second = reserve(&admin, None, &estimate).is(200).json();
    assert_eq!((&second["allowed"], &second["reason"]), (&json!(false), &json!("quota-exceeded")));
    assert_eq!(consume(&admin, "one", &estimate).json()["allowed"], false, "of what is held nothing is free");

    server.kill();
    server.start_again();
    let admin = server.admin();
    assert_eq!((held(&admin), used(&admin, "llm_cost")), ("0.0125".to_owned(), "0".to_owned()));
    let said = json!({"inputTokens": 1000, "outputTokens": 200});
    let done = end(&admin, &first, "commit", json!({"quantity": 1200, "properties": said}));
    let limit = ["used", "held", "remaining"].map(|name| done.raw(&format!("/limits/1/{name}")));
    assert_eq!((done.raw("/cost"), limit), ("0.0045".to_owned(), ["0.0045", "0", "0.0155"].map(str::to_owned)));
    let third = reserve(&admin, None, &estimate).is(201);
    assert_eq!(held(&admin), "0.0125");
    end(&admin, &third, "release", json!({}));
    assert_eq!((held(&admin), used(&admin, "llm_cost")), ("0".to_owned(), "0.0045".to_owned()));
    assert_eq!(reported(&admin, "meter=llm_cost&groupBy=model"), "0.0045");
}
