//! The invariant `isolation`: for all routes, credentials of A and ids of B: answered as if B did not exist. The matrix is
//! made from the OpenAPI document, so that a new route without a rule here fails.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::client::{Answer, Client, comparable};
use super::matrix::{RULES, Right};
use super::server::Server;
use crate::invariant::{Held, equal, holds};

/// What stands in B's things and may stand nowhere else.
pub(super) const CANARY: &str = "canary-7f3a";
/// An organization that nobody has made.
pub(super) const NOBODY: &str = "nobody-9c1e";
const NOBODYS_ID: &str = "01890000-0000-7000-8000-0123456789ab";

/// Organizations A and B, B full of canaries, and a key for every kind of credential.
struct World {
    server: Server,
    ids_of_b: Vec<String>,
    bound_to_a: Client,
    keys: Vec<(&'static [&'static str], Client)>,
}

const SINGLE_SCOPES: [&[&str]; 4] = [&["ingest"], &["consume"], &["read"], &["admin"]];

fn made(settings: &[(&str, &str)]) -> World {
    let server = Server::with(settings);
    let admin = server.admin();
    admin.post("/v1/organizations", json!({"key": "a", "plan": "pro"})).is(201);
    let b = json!({"key": "org-b", "name": CANARY, "plan": "pro", "metadata": {"secret": CANARY}});
    let id = admin.post("/v1/organizations", b).is(201).json()["id"].as_str().unwrap().to_owned();
    let key = |name: &str, scopes: &[&str], organization: Option<&str>| {
        let body = json!({"name": name, "scopes": scopes, "organization": organization});
        let made = admin.post("/v1/api-keys", body).is(201).json();
        server.client(made["key"].as_str().unwrap())
    };
    let of_b = key(CANARY, &["consume", "read", "ingest"], Some("org-b"));
    let event = json!({"specversion": "1.0", "id": CANARY, "source": format!("/{CANARY}"), "type": "tokens", "subject": "org-b",
        "data": {"model": CANARY, "quantity": 5}});
    assert_eq!(of_b.post("/v1/events", event).is(200).json()["accepted"], 1);
    // What the rules send is known of B, so that an answer that looked there would say so.
    let asked = json!({"specversion": "1.0", "id": "asked", "source": "/asked", "type": "tokens", "subject": "org-b"});
    assert_eq!(of_b.post("/v1/events", asked).is(200).json()["accepted"], 1);
    let decision = json!({"organization": "org-b", "meter": "tokens", "id": "asked", "properties": {"model": CANARY}});
    assert_eq!(of_b.post("/v1/consume", decision).is(200).json()["allowed"], true);
    of_b.put(&format!("/v1/imports/{CANARY}"), json!({"rowsDone": 77, "digest": CANARY})).is(200);
    let grant = json!({"meter": "tokens", "amount": 5, "reason": CANARY});
    admin.post("/v1/organizations/org-b/grants", grant).is(201);
    let bound_to_a = key("of a", &["consume", "read", "ingest"], Some("a"));
    let keys = SINGLE_SCOPES.map(|scopes| (scopes, key(scopes[0], scopes, None))).into();
    World { server, ids_of_b: vec!["org-b".to_owned(), id], bound_to_a, keys }
}

/// Every operation of the document, as `GET /v1/x`.
fn routes(document: &Value) -> Vec<String> {
    let paths = document["paths"].as_object().unwrap().iter();
    let operations = paths.flat_map(|(path, item)| {
        let methods = ["get", "put", "post", "delete", "patch", "options", "head", "trace"];
        let present = methods.into_iter().filter(|method| item.get(method).is_some());
        present.map(move |method| format!("{} {path}", method.to_ascii_uppercase()))
    });
    operations.collect()
}

#[test]
fn every_route_of_the_document_has_a_rule_here() {
    let document = Server::start().stranger().get("/openapi.json").is(200).json();
    let mut rules: BTreeMap<&str, usize> = BTreeMap::new();
    RULES.iter().for_each(|rule| *rules.entry(rule.route).or_default() += 1);
    let routes = routes(&document);
    let without: Vec<_> = routes.iter().filter(|route| !rules.contains_key(route.as_str())).collect();
    assert!(without.is_empty(), "give these a rule in RULES: {without:#?}");
    let gone: Vec<_> = rules.keys().filter(|known| !routes.iter().any(|route| route == *known)).collect();
    assert!(gone.is_empty(), "these routes are gone: {gone:#?}");
    assert!(rules.values().all(|count| *count == 1));
}

#[test]
fn without_a_credential_in_force_everything_but_the_open_routes_is_401() {
    let world = made(&[]);
    let bad = ["", "mg_", "mg_000000000000000000000000000000000000", "the-key-of-the-administrator-in-these-testS"];
    let clients = bad.map(|key| world.server.client(key)).into_iter().chain([world.server.stranger()]);
    for client in clients {
        for rule in RULES {
            for organization in ["a", "org-b", NOBODY] {
                let answer = rule.call(&client, organization);
                match rule.right {
                    // Where something is sent, it is not enough.
                    Right::Open => drop(answer.is(if rule.body.is_empty() { 200 } else { 422 })),
                    Right::Unset => rule.expect_refusal(answer, 404, "not-found"),
                    _ => {
                        assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{}", rule.route);
                        rule.expect_refusal(answer, 401, "unauthorized");
                    }
                }
            }
        }
    }
    let basic = world.server.stranger().call("GET", "/v1/me").header("authorization", "Basic YTpi").send();
    basic.expect_problem(401, "unauthorized");
}

#[test]
fn a_key_may_what_its_scopes_say_and_nothing_else() {
    let world = made(&[]);
    for (scopes, client) in &world.keys {
        for rule in RULES {
            let answer = rule.call(client, NOBODY);
            if rule.allows(scopes, false) {
                assert!(![401, 403].contains(&answer.status), "{scopes:?} {}: {}", rule.route, answer.text);
            } else {
                rule.expect_refusal(answer, 403, "forbidden");
            }
        }
    }
}

#[test]
fn what_no_bound_key_may_is_403_whatever_it_names() {
    let world = made(&[]);
    for rule in RULES.iter().filter(|rule| !rule.allows_bound()) {
        let mut answers: Vec<_> = Vec::new();
        for organization in ["a", &world.ids_of_b[0], &world.ids_of_b[1], NOBODY] {
            let answer = rule.call(&world.bound_to_a, organization);
            answers.push(comparable(&answer));
            rule.expect_refusal(answer, 403, "forbidden");
        }
        assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{}: {answers:#?}", rule.route);
    }
    let bound_admin = json!({"name": "x", "scopes": ["admin"], "organization": "a"});
    world.server.admin().post("/v1/api-keys", bound_admin).expect_problem(422, "validation");
}

/// Whether a credential of A is answered for B, on every route that names an organization, as for one that does not exist.
fn isolation(world: &World) -> Held {
    let mut compared = 0;
    for rule in RULES.iter().filter(|rule| rule.names_an_organization() && rule.allows_bound()) {
        let of_nobody = comparable(&rule.call(&world.bound_to_a, NOBODY));
        let others = [NOBODYS_ID, &world.ids_of_b[0], &world.ids_of_b[1]];
        for id in others {
            let what = format!("{} of {id}", rule.route);
            equal("isolation", what, &comparable(&rule.call(&world.bound_to_a, id)), &of_nobody)?;
            compared += 1;
        }
        if rule.route != "POST /v1/events" {
            equal("isolation", rule.route, &of_nobody.0, &404)?;
        }
    }
    holds("isolation", compared >= 30, || format!("only {compared} pairs were compared"))
}

#[test]
fn another_organization_is_answered_as_if_it_did_not_exist() {
    let world = made(&[]);
    isolation(&world).unwrap_or_else(|violation| panic!("{violation}"));
    // Named beside its own, in an array and in a query.
    for other in ["org-b", NOBODY] {
        let path = format!("/v1/usage?organization=a&organization={other}");
        world.bound_to_a.get(&path).expect_problem(404, "unknown-organization");
        let items = json!([{"organization": "a", "meter": "tokens"}, {"organization": other, "meter": "tokens"}]);
        let data = world.bound_to_a.post("/v1/consume", items).is(200).json()["data"].clone();
        assert_eq!((&data[0]["allowed"], &data[1]["code"]), (&json!(true), &json!("unknown-organization")));
    }
    // Nothing of that counted on B.
    let of_b = world.server.admin().get("/v1/organizations/org-b/usage").is(200).json();
    let tokens = of_b["meters"].as_array().unwrap().iter().find(|meter| meter["meter"] == "tokens").unwrap();
    assert_eq!(tokens["used"], 7);
}

#[cfg(feature = "faults")]
#[test]
fn a_report_without_its_organization_is_seen() {
    let world = made(&[("METERGATE_PLANTED", "report-without-organization")]);
    let violation = isolation(&world).expect_err("the planted bug was not seen");
    assert_eq!(violation.invariant, "isolation");
}

#[test]
fn equal_names_of_two_organizations_are_apart() {
    let world = made(&[]);
    let a = &world.bound_to_a;
    // The id of B's event, decision and import are free for A.
    let event =
        json!({"specversion": "1.0", "id": CANARY, "source": format!("/{CANARY}"), "type": "tokens", "subject": "a"});
    assert_eq!(a.post("/v1/events", event).is(200).json()["accepted"], 1);
    let decision = json!({"organization": "a", "meter": "tokens", "id": "asked", "quantity": 2});
    let answer = a.post("/v1/consume", decision).is(200);
    assert_eq!((answer.header("idempotent-replayed"), answer.json()["limits"][0]["used"].clone()), (None, json!(3)));
    a.get(&format!("/v1/imports/{CANARY}")).expect_problem(404, "not-found");
    a.put(&format!("/v1/imports/{CANARY}"), json!({"rowsDone": 1, "digest": "of a"})).is(200);
    assert_eq!(a.get(&format!("/v1/imports/{CANARY}")).is(200).json()["rowsDone"], 1);
}

#[test]
fn what_is_in_an_organization_never_appears_to_another_nor_in_the_metrics() {
    let world = made(&[]);
    let secrets = [CANARY, "org-b", world.ids_of_b[1].as_str()];
    let see = |answer: &Answer, asked: &str, what: &str| {
        let said = format!("{}\n{:?}", answer.text, answer.headers);
        for secret in secrets.iter().filter(|secret| **secret != asked) {
            assert!(!said.contains(secret), "{what}: {secret} in {said}");
        }
    };
    for rule in RULES.iter().filter(|rule| rule.route != "PUT /v1/imports/{source}") {
        for organization in ["a", NOBODY, &world.ids_of_b[0], &world.ids_of_b[1]] {
            see(&rule.call(&world.bound_to_a, organization), organization, rule.route);
        }
    }
    for path in
        ["/v1/usage", "/v1/events", "/v1/usage?groupBy=model&meter=tokens", "/v1/organizations/a/explain", "/metrics"]
    {
        see(&world.bound_to_a.get(path), "", path);
    }
    // But B's own key sees them all, and so does the administrator.
    let admin = world.server.admin();
    for path in ["/v1/organizations/org-b", "/v1/events?organization=org-b", "/v1/organizations/org-b/grants"] {
        assert!(admin.get(path).is(200).text.contains(CANARY), "{path}");
    }
}
