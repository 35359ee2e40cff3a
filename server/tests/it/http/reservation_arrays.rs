//! Reservations in an array: each element holds, or ends what is held, for itself (D5).

use serde_json::{Value, json};

use super::client::{Answer, Client};
use super::server::Server;

/// 500 units of `tokens` a billing period for each of `acme` and `other`.
fn started() -> (Server, Client) {
    let server = Server::start();
    let admin = server.admin();
    let limit = json!({"meter": "tokens", "window": "billingPeriod", "max": 500});
    admin.put("/v1/plans/small", json!({"name": "Small", "limits": [limit]})).is(201);
    for key in ["acme", "other"] {
        admin.post("/v1/organizations", json!({"key": key, "plan": "small"})).is(201);
    }
    (server, admin)
}

fn hold(organization: &str, quantity: i64) -> Value {
    json!({"organization": organization, "meter": "tokens", "quantity": quantity, "ttlSeconds": 60})
}

fn send(client: &Client, key: &str, elements: &Value) -> Answer {
    client.call("POST", "/v1/reservations").header("idempotency-key", key).json(elements).send()
}

fn data(answer: &Answer) -> Vec<Value> {
    answer.json()["data"].as_array().expect("an array").clone()
}

/// Used, held and remaining of the period limit.
fn standing(client: &Client, organization: &str) -> [i64; 3] {
    let usage = client.get(&format!("/v1/organizations/{organization}/usage")).is(200).json();
    let tokens = usage["meters"].as_array().unwrap().iter().find(|meter| meter["meter"] == "tokens").unwrap();
    ["used", "held", "remaining"].map(|name| tokens[name].as_i64().unwrap())
}

#[test]
fn each_element_holds_or_ends_for_itself_in_their_order() {
    let (_server, admin) = started();
    let held = data(
        &admin.post("/v1/reservations", json!([hold("acme", 300), hold("other", 100), hold("acme", 201)])).is(200),
    );
    let told = |one: &Value| (one["organization"].clone(), one["state"].clone(), one["allowed"].clone());
    assert_eq!(told(&held[0]), (json!("acme"), json!("held"), json!(true)));
    assert_eq!(told(&held[1]), (json!("other"), json!("held"), json!(true)));
    assert_eq!((told(&held[2]), &held[2]["id"]), ((json!("acme"), Value::Null, json!(false)), &Value::Null));
    let calls = json!({"count": 3, "durations": {"5": 3}, "statuses": {"200": 3}});
    let ends = json!([
        {"id": held[0]["id"], "commit": {"quantity": 120, "calls": calls}},
        {"id": held[1]["id"], "release": {}},
        hold("acme", 380),
    ]);
    let ended = data(&admin.post("/v1/reservations", &ends).is(200));
    let states: Vec<&Value> = ended.iter().map(|one| &one["state"]).collect();
    assert_eq!(states, ["committed", "released", "held"], "what is given back is there for what comes behind it");
    assert_eq!(ended[2]["limits"][0]["remaining"], 0);
    assert_eq!((standing(&admin, "acme"), standing(&admin, "other")), ([120, 380, 0], [0, 0, 500]));
    assert_eq!(data(&admin.post("/v1/reservations", json!([])).is(200)), Vec::<Value>::new());
}

#[test]
fn what_is_wrong_with_an_element_stands_in_its_place_and_spoils_no_other() {
    let (_server, admin) = started();
    let id = data(&admin.post("/v1/reservations", json!([hold("acme", 50)])).is(200))[0]["id"].clone();
    let over = data(&admin.post("/v1/reservations", json!([hold("acme", 1)])).is(200))[0]["id"].clone();
    admin.post(&format!("/v1/reservations/{}/release", over.as_str().unwrap()), json!({})).is(200);
    let mut later = hold("acme", 1);
    later["ttlSeconds"] = json!(0);
    let nobody = id.as_str().unwrap().replace(".1", ".9");
    let elements = json!([
        later,
        hold("nobody", 1),
        {"id": id, "commit": {"quantity": "x"}},
        {"id": id, "commit": {"quantity": 1, "calls": {"count": 1, "errors": 2}}},
        {"id": id, "commit": {"quantity": 1, "properties": [1]}},
        {"id": id},
        {"id": id, "commit": {"quantity": 1}, "release": {}},
        {"id": over, "commit": {"quantity": 1}},
        {"id": nobody, "release": {}},
        {"id": "none", "release": {}},
        7,
        hold("acme", 5),
        {"id": id, "commit": {"quantity": 30}},
    ]);
    let answers = data(&admin.post("/v1/reservations", &elements).is(200));
    let told = |one: &Value| {
        (
            one["status"].as_u64(),
            one["code"].as_str().map(str::to_owned),
            one["errors"][0]["pointer"].as_str().map(str::to_owned),
        )
    };
    let expected = [
        (422, "validation", Some("#/0/ttlSeconds")),
        (404, "unknown-organization", None),
        (422, "invalid-quantity", Some("#/2/commit/quantity")),
        (422, "validation", Some("#/3/commit/calls/errors")),
        (422, "validation", Some("#/4/commit/properties")),
        (422, "validation", Some("#/5")),
        (422, "validation", Some("#/6")),
        (409, "reservation-released", None),
        (404, "not-found", None),
        (404, "not-found", None),
        (422, "validation", Some("#/10")),
    ];
    for (index, (status, code, pointer)) in expected.into_iter().enumerate() {
        let expected = (Some(status), Some(code.to_owned()), pointer.map(str::to_owned));
        assert_eq!(told(&answers[index]), expected, "{}", answers[index]);
    }
    assert_eq!((&answers[11]["state"], &answers[12]["state"]), (&json!("held"), &json!("committed")));
    assert_eq!(standing(&admin, "acme"), [30, 5, 465]);
    let many = Value::from(vec![hold("acme", 1); 1001]);
    admin.post("/v1/reservations", &many).expect_problem(413, "payload-too-large");
    admin.call("POST", "/v1/reservations").body("application/json", "[{]").send().expect_problem(400, "malformed-body");
    assert_eq!(standing(&admin, "acme"), [30, 5, 465]);
}

#[test]
fn an_array_under_a_key_is_done_once() {
    let (_server, admin) = started();
    let elements = json!([hold("acme", 100), hold("acme", 100), hold("other", 7)]);
    let first = data(&send(&admin, "a", &elements).is(200));
    assert_ne!(first[0]["id"], first[1]["id"], "the same twice is two");
    assert_eq!(data(&send(&admin, "a", &elements).is(200)), first);
    let other = data(&send(&admin, "a", &json!([hold("acme", 100), hold("acme", 99)])).is(200));
    assert_eq!((&other[0], &other[1]["code"]), (&first[0], &json!("idempotency-mismatch")));
    let commits = json!([{"id": first[0]["id"], "commit": {"quantity": 40}}, {"id": first[2]["id"], "release": {}}]);
    let ended = data(&send(&admin, "b", &commits).is(200));
    assert_eq!(data(&send(&admin, "b", &commits).is(200)), ended);
    assert_eq!(data(&send(&admin, "c", &commits).is(200))[0]["code"], "reservation-committed");
    assert_eq!((standing(&admin, "acme"), standing(&admin, "other")), ([40, 100, 360], [0, 0, 500]));
    let longest = "k".repeat(250);
    assert_eq!(data(&send(&admin, &longest, &json!([hold("other", 1)])).is(200))[0]["state"], "held");
    send(&admin, &format!("{longest}k"), &elements).expect_problem(422, "validation");
}

#[test]
fn a_key_of_one_organization_gets_nothing_of_another() {
    let (server, admin) = started();
    let key = json!({"name": "theirs", "scopes": ["consume"], "organization": "other"});
    let theirs = server.client(admin.post("/v1/api-keys", key).is(201).json()["key"].as_str().unwrap());
    let id = data(&admin.post("/v1/reservations", json!([hold("acme", 50)])).is(200))[0]["id"].clone();
    let elements = json!([hold("acme", 1), {"id": id, "commit": {"quantity": 1}}, hold("other", 2)]);
    let answers = data(&theirs.post("/v1/reservations", &elements).is(200));
    let codes: Vec<&Value> = answers.iter().map(|one| &one["code"]).collect();
    assert_eq!(codes, [&json!("unknown-organization"), &json!("not-found"), &Value::Null]);
    assert_eq!((standing(&admin, "acme"), standing(&admin, "other")), ([0, 50, 450], [0, 2, 498]));
    let reads = json!({"name": "reads", "scopes": ["read"]});
    let reads = server.client(admin.post("/v1/api-keys", reads).is(201).json()["key"].as_str().unwrap());
    reads.post("/v1/reservations", &elements).is(403);
}
