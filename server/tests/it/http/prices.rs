//! What language models' tokens cost, over HTTP: the table, decisions and events that are priced by it, and the past priced
//! again (M9).

use metergate_rules::time::{HOUR, MINUTE, Time};
use serde_json::{Value, json};

use super::client::{Answer, Client};
use super::server::Server;

#[path = "prices/again.rs"]
mod again;
#[path = "prices/held.rs"]
mod held;
#[path = "prices/trace.rs"]
mod trace;

const ALWAYS: &str = "from=2020-01-01T00:00:00Z&to=2190-01-01T00:00:00Z";

/// `acme` on a plan with at most so many dollars in a billing period.
fn started(dollars: &str) -> (Server, Client) {
    let server = Server::start();
    let admin = server.admin();
    let limits = json!([{"meter": "llm_cost", "window": "billingPeriod", "max": dollars, "status": 402},
        {"meter": "tokens", "window": "billingPeriod", "max": 1_000_000}]);
    admin.put("/v1/plans/priced", json!({"limits": limits})).is(201);
    admin.post("/v1/organizations", json!({"key": "acme", "plan": "priced"})).is(201);
    (server, admin)
}

fn consume(client: &Client, id: &str, properties: &Value) -> Answer {
    let body = json!({"organization": "acme", "meter": "tokens", "id": id, "properties": properties});
    client.post("/v1/consume", body).is(200)
}

fn record(client: &Client, events: &[Value]) -> Value {
    let body = Value::from(events).to_string();
    client.call("POST", "/v1/events").body("application/cloudevents-batch+json", body).send().is(200).json()
}

fn event(id: &str, time: &str, data: &Value) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "/api", "type": "tokens", "subject": "acme", "time": time, "data": data})
}

/// What reports hold of a meter, exactly as it is written; nothing where there is no row.
fn reported(client: &Client, query: &str) -> String {
    let answer = client.get(&format!("/v1/usage?organization=acme&{ALWAYS}&{query}")).is(200);
    if answer.json()["data"].as_array().unwrap().is_empty() { "0".to_owned() } else { answer.raw("/data/0/value") }
}

fn used(client: &Client, meter: &str) -> String {
    let answer = client.get("/v1/organizations/acme/usage").is(200);
    let body = answer.json();
    let at = body["meters"].as_array().unwrap().iter().position(|one| one["meter"] == meter);
    at.map_or_else(|| "0".to_owned(), |at| answer.raw(&format!("/meters/{at}/used")))
}

fn patch(client: &Client, prices: &Value) -> Answer {
    client.patch("/v1/prices", json!({"set": prices}))
}

fn price(model: &str, from: &str, input: &str, output: &str) -> Value {
    json!({"model": model, "effectiveFrom": from, "input": input, "output": output})
}

fn recompute(client: &Client, body: &Value) -> Answer {
    client.post("/v1/prices/recompute?wait=25", body)
}

/// When `acme` was created.
fn created(client: &Client) -> String {
    client.get("/v1/organizations/acme").is(200).json()["createdAt"].as_str().unwrap().to_owned()
}

/// Some hours before that, in the middle of a quarter hour.
fn hours_ago(client: &Client, hours: i64) -> String {
    let quarter = 15 * MINUTE;
    created(client).parse::<Time>().unwrap().plus(-hours * HOUR).floor(quarter).plus(quarter / 2).to_string()
}

#[test]
fn the_table_is_replaced_and_changed_price_by_price_with_one_entry_each() {
    let server = Server::start();
    let admin = server.admin();
    let shipped = admin.get("/v1/prices").is(200);
    assert_eq!((shipped.json()["version"].clone(), shipped.header("etag")), (json!(1), Some("\"v1\"")));
    let count = shipped.json()["prices"].as_array().unwrap().len();
    assert!(count > 50, "the shipped catalogue has prices");
    let same = admin.put("/v1/prices", shipped.text.as_str()).is(200);
    assert_eq!(same.json(), shipped.json(), "what was read is taken back, and changes nothing");

    let entries = admin.list("/v1/audit-log").len();
    let stale = admin.call("PATCH", "/v1/prices").header("if-match", "\"v7\"").json(json!({"set": []})).send();
    stale.expect_problem(412, "precondition-failed");
    admin.put("/v1/prices", json!({"prices": [], "version": 3})).expect_problem(412, "precondition-failed");
    let new = price("mine-*", "2026-01-01", "1.5", "2.000000001");
    let changed = patch(&admin, &json!([new])).is(200);
    assert_eq!((changed.json()["version"].clone(), changed.header("etag")), (json!(2), Some("\"v2\"")));
    assert_eq!(changed.raw(&format!("/prices/{count}/output")), "2.000000001", "exactly");
    let log = admin.list("/v1/audit-log");
    assert_eq!(
        (log.len(), &log[0]["action"], &log[0]["category"]),
        (entries + 1, &json!("price.change"), &json!("config"))
    );
    assert_eq!(log[0]["before"], json!({"version": 1, "prices": []}));
    let line = "mine-* from 2026-01-01: input 1.5, output 2.000000001";
    assert_eq!(log[0]["after"], json!({"version": 2, "prices": [line]}));

    let named = json!({"model": "mine-*", "effectiveFrom": "2026-01-01T00:00:00Z"});
    let gone = admin.patch("/v1/prices", json!({"remove": [named]})).is(200).json();
    assert_eq!(gone["prices"].as_array().unwrap().len(), count);
    admin.patch("/v1/prices", json!({"remove": [named]})).expect_problem(404, "unknown-price");
    let wrong = patch(&admin, &json!([price("a b", "2026-01-01", "1", "1")])).expect_problem(422, "invalid-catalogue");
    assert_eq!(wrong["errors"][0]["pointer"], "#/set/0/model");
    let twice = json!({"prices": [price("m", "2026-01-01", "1", "1"), price("m", "2026-01-01", "2", "1")]});
    let wrong = admin.put("/v1/prices", twice).expect_problem(422, "invalid-catalogue");
    assert_eq!(wrong["errors"][0]["pointer"], "#/prices/1");
    admin.put("/v1/prices", json!({"prices": []})).is(200);
    assert_eq!(admin.get("/v1/prices").is(200).json()["prices"], json!([]));
}

#[test]
fn a_catalogue_file_adds_and_changes_prices_and_leaves_the_others() {
    let mut server = Server::start();
    let admin = server.admin();
    let file = "[[prices]]\nmodel = \"gpt-4o\"\nprovider = \"openai\"\neffectiveFrom = \"2024-10-02\"\ninput = \"3\"\noutput = \"10\"\n\
                [[prices]]\nmodel = \"new\"\neffectiveFrom = \"2026-01-01\"\ninput = \"1\"\n";
    let call = |path: &str| admin.call("POST", path).body("application/toml", file).send().is(200).json();
    let before = admin.get("/v1/prices").is(200).json()["prices"].as_array().unwrap().len();
    let told = call("/v1/catalog/diff");
    assert_eq!((&told["prices"][0]["change"], &told["prices"][1]["change"]), (&json!("changed"), &json!("added")));
    let details = told["prices"][0]["details"].to_string();
    assert!(details.contains("input: 2.5") && details.contains("→ 3"), "{details}");
    call("/v1/catalog/apply");
    assert_eq!(call("/v1/catalog/diff")["prices"][0]["change"], "unchanged");
    let log = admin.list("/v1/audit-log");
    assert_eq!(log[0]["action"], "catalog.apply");
    assert_eq!(log[0]["after"]["prices"][1], "new from 2026-01-01: input 1");
    server.kill();
    server.start_again();
    let after = server.admin().get("/v1/prices").is(200).json();
    assert_eq!(after["prices"].as_array().unwrap().len(), before + 1, "one was changed, one added, also after a kill");
    assert_eq!(after["version"], 2);
}

#[test]
fn a_decision_on_tokens_is_refused_by_a_limit_of_what_they_cost_and_records_neither() {
    let (mut server, admin) = started("0.01");
    let said = json!({"model": "gpt-4o", "inputTokens": 1000, "outputTokens": 200, "cachedInputTokens": 400});
    let first = consume(&admin, "one", &said);
    assert_eq!(first.raw("/cost"), "0.004", "600 × 2.5 + 400 × 1.25 + 200 × 10, by the million");
    let limits = first.json()["limits"].clone();
    let meters: Vec<_> = limits.as_array().unwrap().iter().map(|limit| (&limit["meter"], &limit["window"])).collect();
    assert_eq!(meters, [(&Value::Null, &json!("billingPeriod")), (&json!("llm_cost"), &json!("billingPeriod"))]);
    assert_eq!(
        ["limit", "used", "remaining"].map(|name| first.raw(&format!("/limits/1/{name}"))),
        ["0.01", "0.004", "0.006"]
    );
    assert_eq!(first.header("ratelimit").map(|value| value.contains("\"llm_cost-billingPeriod\"")), Some(true));

    consume(&admin, "two", &said);
    let refused = consume(&admin, "three", &said);
    let body = refused.json();
    assert_eq!(
        (&body["allowed"], &body["reason"], refused.raw("/cost")),
        (&json!(false), &json!("quota-exceeded"), "0.004".to_owned())
    );
    let check = |client: &Client| {
        assert_eq!((used(client, "tokens"), used(client, "llm_cost")), ("2400".to_owned(), "0.008".to_owned()));
        let by_model = reported(client, "meter=llm_cost&groupBy=model");
        assert_eq!((reported(client, "meter=tokens"), by_model), ("2400".to_owned(), "0.008".to_owned()));
        assert_eq!(consume(client, "three", &said).text, refused.text, "a refused id stays refused, in the same words");
        assert_eq!(consume(client, "one", &said).text, first.text);
    };
    check(&admin);
    let path = "/v1/consume?status=native";
    let body = json!({"organization": "acme", "meter": "tokens", "properties": said});
    let native = admin.post(path, &body).expect_problem(402, "quota-exceeded");
    assert_eq!(native["violated-policies"], json!(["llm_cost-billingPeriod"]));
    let checked = admin.post("/v1/check", &body).is(200).json();
    assert_eq!((&checked["allowed"], &checked["cost"]), (&json!(false), &json!(0.004)));
    server.kill();
    server.start_again();
    check(&server.admin());
}

#[test]
fn what_has_no_price_is_allowed_and_said_to_be_unpriced() {
    let (_server, admin) = started("0.000000001");
    // Nothing may cost anything here, and what nobody can price does not.
    let cases = [
        ("a", json!({"model": "unheard-of", "inputTokens": 10, "outputTokens": 5}), "unknown-model"),
        ("b", json!({"inputTokens": 10, "outputTokens": 5}), "no-model"),
        ("c", json!({"model": "gpt-4o", "quantity": 15}), "no-tokens"),
        ("d", json!({"model": "text-embedding-3-small", "inputTokens": 10, "outputTokens": 5}), "no-price"),
    ];
    for (id, properties, why) in &cases {
        let body = consume(&admin, id, properties).json();
        assert_eq!(
            (&body["allowed"], &body["unpriced"], &body["cost"]),
            (&json!(true), &json!(why), &Value::Null),
            "{id}"
        );
    }
    let rows =
        admin.get(&format!("/v1/usage?organization=acme&meter=llm_cost&groupBy=unpriced&{ALWAYS}")).is(200).json();
    let mut told: Vec<_> =
        rows["data"].as_array().unwrap().iter().map(|row| row["group"]["unpriced"].to_string()).collect();
    told.sort();
    assert_eq!(told, ["\"no-model\"", "\"no-price\"", "\"no-tokens\"", "\"unknown-model\""]);
    let plain =
        admin.post("/v1/consume", json!({"organization": "acme", "meter": "tokens", "quantity": 5})).is(200).json();
    assert_eq!((&plain["allowed"], plain.get("unpriced"), plain.get("cost")), (&json!(true), None, None));
    let body =
        json!({"organization": "acme", "meter": "tokens", "properties": {"inputTokens": 3, "cachedInputTokens": 4}});
    let wrong = admin.post("/v1/consume", &body).expect_problem(422, "validation");
    assert_eq!(wrong["errors"][0]["pointer"], "#/properties/cachedInputTokens");
}

#[test]
fn a_trace_is_priced_exactly_as_by_hand() {
    let (_server, admin) = started("1000000");
    patch(
        &admin,
        &json!([{"model": "gpt-4o", "provider": "openai", "effectiveFrom": "2023-11-01", "input": 2.5,
        "cachedInput": 1.25, "output": 10}]),
    )
    .is(200);
    // The totals of the real trace (data/README.md): 22,361,870 × 2.5 + 4,088,665 × 10, by the million.
    let whole = json!({"model": "gpt-4o", "inputTokens": 22_361_870, "outputTokens": 4_088_665});
    assert_eq!(record(&admin, &[event("whole", "2023-11-16T18:00:00Z", &whole)])["accepted"], 1);
    assert_eq!(reported(&admin, "meter=llm_cost"), "96.791325");

    // Requests like those of the real one, each priced by itself: their numbers come from a fixed sequence.
    let (mut state, mut billionths) = (2023_u64, 96_791_325_000_u64);
    let mut requests = Vec::new();
    for row in 0..3000_u64 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (context, generated) = (1 + (state >> 33) % 4000, 1 + (state >> 20) % 500);
        let cached = (state >> 45) % (context + 1);
        let data =
            json!({"model": "gpt-4o", "inputTokens": context, "outputTokens": generated, "cachedInputTokens": cached});
        let time = format!("2023-11-16T{:02}:{:02}:{:02}Z", 19 + row / 3600, row / 60 % 60, row % 60);
        requests.push(event(&format!("row-{row}"), &time, &data));
        billionths += (context - cached) * 2500 + cached * 1250 + generated * 10_000;
    }
    for some in requests.chunks(1000) {
        assert_eq!(record(&admin, some)["accepted"], 1000);
    }
    let (dollars, rest) = (billionths / 1_000_000_000, billionths % 1_000_000_000);
    let by_hand = format!("{dollars}.{rest:09}");
    assert_eq!(reported(&admin, "meter=llm_cost&groupBy=model"), by_hand.trim_end_matches('0'));
    let more = json!({"inputTokens": 3, "cachedInputTokens": 2, "cacheWriteTokens": 2, "model": "gpt-4o"});
    let answer = record(&admin, &[event("odd", "2023-11-16T20:00:00Z", &more)]);
    assert_eq!((&answer["accepted"], &answer["rejected"][0]["reason"]), (&json!(0), &json!("invalid-property")));
}

#[test]
fn a_void_of_tokens_takes_back_what_they_cost() {
    let (_server, admin) = started("1");
    let said = json!({"model": "gpt-4o", "inputTokens": 1000, "outputTokens": 100});
    consume(&admin, "one", &said);
    record(&admin, &[event("e-1", &created(&admin), &said)]);
    assert_eq!((used(&admin, "llm_cost"), used(&admin, "tokens")), ("0.007".to_owned(), "2200".to_owned()));
    let events = admin.list("/v1/events?organization=acme");
    assert_eq!(events.len(), 2, "a decision with what it cost is one event");
    let costs: Vec<_> = events.iter().map(|event| &event["uses"][1]["meter"]).collect();
    assert_eq!(costs, ["llm_cost", "llm_cost"]);
    let void = |id: &str, source: &str| {
        let path = format!("/v1/events/{id}?organization=acme&source={source}");
        admin.call("DELETE", &path).json(json!({"reason": "twice"})).send()
    };
    void("one", "metergate:consume/llm_cost").is(404);
    void("one", "metergate:consume/tokens").is(204);
    assert_eq!((used(&admin, "llm_cost"), used(&admin, "tokens")), ("0.0035".to_owned(), "1100".to_owned()));
    void("e-1", "/api").is(204);
    assert_eq!((used(&admin, "llm_cost"), reported(&admin, "meter=llm_cost")), ("0".to_owned(), "0".to_owned()));
}

#[test]
fn a_reservation_is_priced_when_its_true_tokens_are_known() {
    let (_server, admin) = started("1");
    let estimate = json!({"model": "gpt-4o", "inputTokens": 1000, "outputTokens": 1000});
    let hold = json!({"organization": "acme", "meter": "tokens", "ttlSeconds": 60, "properties": estimate});
    let made = || admin.post("/v1/reservations", &hold).is(201).json();
    let (first, second) = (made(), made());
    assert_eq!((used(&admin, "llm_cost"), &first["cost"]), ("0".to_owned(), &json!(0.0125)), "it is held");
    let commit = |made: &Value, body: Value| {
        admin.post(&format!("/v1/reservations/{}/commit", made["id"].as_str().unwrap()), body)
    };
    let wrong = json!({"quantity": 5, "properties": {"inputTokens": 1, "outputTokens": 4, "cachedInputTokens": 2}});
    commit(&first, wrong).expect_problem(422, "validation");
    let said = json!({"inputTokens": 1000, "outputTokens": 200});
    let done = commit(&first, json!({"quantity": 1200, "properties": said})).is(200);
    assert_eq!((done.raw("/cost"), done.raw("/limits/1/used")), ("0.0045".to_owned(), "0.0045".to_owned()));
    let done = commit(&second, json!({"quantity": 1300})).is(200).json();
    assert_eq!(done["unpriced"], "no-tokens", "what was estimated is not what was used");
    assert_eq!(reported(&admin, "meter=llm_cost"), "0.0045");
}
