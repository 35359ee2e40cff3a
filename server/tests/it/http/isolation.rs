//! The invariant `isolation`: for all routes, credentials of A and ids of B: answered as if B did not exist. The matrix is
//! made from the OpenAPI document, so that a new route without a rule here fails.

use std::collections::BTreeMap;

use metergate_rules::role;
use serde_json::{Value, json};

use super::client::{Answer, Client, comparable};
use super::server::Server;
use crate::invariant::{Held, equal, holds};

/// What stands in B's things and may stand nowhere else.
const CANARY: &str = "canary-7f3a";
/// An organization that nobody has made.
pub(super) const NOBODY: &str = "nobody-9c1e";
const NOBODYS_ID: &str = "01890000-0000-7000-8000-0123456789ab";

/// Who may call a route, and how it names an organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    /// Everybody, also without a credential.
    Open,
    /// Every credential.
    Any,
    /// Who has this right by the table of the rules.
    Of(role::Right),
    /// The same of the operators' right.
    Operator,
}

/// One route: who may, and a request that is right but for what it names. `{org}` is the organization.
pub(super) struct Rule {
    pub(super) route: &'static str,
    pub(super) right: Right,
    query: &'static str,
    body: &'static str,
}

const READ: Right = Right::Of(role::Right::Read);
const RECORD: Right = Right::Of(role::Right::Record);
const CONSUME: Right = Right::Of(role::Right::Consume);
const CATALOGUE: Right = Right::Of(role::Right::Catalogue);
const ADMINISTER: Right = Right::Of(role::Right::Administer);
const MEMBERS: Right = Right::Of(role::Right::ReadMembers);
const PERSON: Right = Right::Of(role::Right::Person);

const fn rule(route: &'static str, right: Right, query: &'static str, body: &'static str) -> Rule {
    Rule { route, right, query, body }
}

#[rustfmt::skip]
pub(super) const RULES: &[Rule] = &[
    rule("POST /v1/consume", CONSUME, "", r#"{"organization": "{org}", "meter": "tokens", "id": "asked"}"#),
    rule("POST /v1/check", CONSUME, "", r#"{"organization": "{org}", "meter": "tokens", "id": "asked"}"#),
    rule("POST /v1/reservations", CONSUME, "", r#"{"organization": "{org}", "meter": "tokens", "ttlSeconds": 60}"#),
    rule("GET /v1/reservations/{id}", CONSUME, "", ""),
    rule("POST /v1/reservations/{id}/extend", CONSUME, "", r#"{"ttlSeconds": 60}"#),
    rule("POST /v1/reservations/{id}/commit", CONSUME, "", r#"{"quantity": 1}"#),
    rule("POST /v1/reservations/{id}/release", CONSUME, "", ""),
    rule("POST /v1/events", RECORD, "", r#"{"specversion": "1.0", "id": "asked", "source": "/asked", "type": "tokens", "subject": "{org}"}"#),
    rule("GET /v1/events", READ, "?organization={org}", ""),
    rule("DELETE /v1/events/{id}", Right::Operator, "?organization={org}&source=/canary", r#"{"reason": "r"}"#),
    rule("GET /v1/usage", READ, "?organization={org}", ""),
    rule("GET /v1/imports/{source}", RECORD, "", ""),
    rule("PUT /v1/imports/{source}", RECORD, "", r#"{"rowsDone": 1, "digest": "d"}"#),
    rule("GET /v1/organizations", Right::Operator, "", ""),
    rule("POST /v1/organizations", Right::Operator, "", r#"{"key": "{org}"}"#),
    rule("GET /v1/organizations/{org}", READ, "", ""),
    rule("PATCH /v1/organizations/{org}", ADMINISTER, "", r#"{"name": "Changed"}"#),
    rule("GET /v1/organizations/{org}/usage", READ, "", ""),
    rule("GET /v1/organizations/{org}/entitlements", READ, "", ""),
    rule("GET /v1/organizations/{org}/explain", READ, "", ""),
    rule("GET /v1/organizations/{org}/quota", READ, "", ""),
    rule("PATCH /api/organizations/{org}/billing-cycle", ADMINISTER, "", r#"{"billingCycleStartDate": "2026-11-01"}"#),
    rule("GET /v1/organizations/{org}/billing-cycle", READ, "", ""),
    rule("PATCH /v1/organizations/{org}/billing-cycle", ADMINISTER, "", r#"{"billingCycleStartDate": "2026-11-01"}"#),
    rule("PUT /v1/organizations/{org}/trial", Right::Operator, "", r#"{"endsAt": "2199-01-01T00:00:00Z"}"#),
    rule("PUT /v1/organizations/{org}/clock", Right::Operator, "", r#"{"now": "2026-11-01T00:00:00Z"}"#),
    rule("PUT /v1/organizations/{org}/lock", Right::Operator, "", "{}"),
    rule("DELETE /v1/organizations/{org}/lock", Right::Operator, "", ""),
    rule("PUT /v1/organizations/{org}/plan", Right::Operator, "", r#"{"plan": "pro"}"#),
    rule("PUT /v1/organizations/{org}/overrides/{meter}/{window}", Right::Operator, "", r#"{"max": 5}"#),
    rule("DELETE /v1/organizations/{org}/overrides/{meter}/{window}", Right::Operator, "", ""),
    rule("PUT /v1/organizations/{org}/extra/{meter}", Right::Operator, "", r#"{"quantity": 5}"#),
    rule("POST /v1/organizations/{org}/grants", Right::Operator, "", r#"{"meter": "tokens", "amount": 5, "reason": "r"}"#),
    rule("GET /v1/organizations/{org}/grants", READ, "", ""),
    rule("DELETE /v1/organizations/{org}/grants/{id}", Right::Operator, "", ""),
    rule("POST /v1/organizations/{org}/usage/reset", Right::Operator, "", "{}"),
    rule("POST /v1/organizations/{org}/adjustments", Right::Operator, "", r#"{"meter": "tokens", "quantity": 5, "reason": "r"}"#),
    rule("GET /v1/organizations/{org}/audit-log", Right::Of(role::Right::ReadAudit), "", ""),
    rule("POST /v1/organizations/{org}/audit-log", Right::Of(role::Right::Append), "", r#"{"action": "document.upload", "category": "chat"}"#),
    rule("POST /v1/organizations/{org}/audit-log/{seq}/resolve", Right::Operator, "", r#"{"note": "n"}"#),
    rule("GET /v1/audit-log", Right::Operator, "?organization={org}", ""),
    rule("GET /v1/audit-log/verify", Right::Operator, "", ""),
    rule("GET /v1/audit-log/head", Right::Operator, "", ""),
    rule("GET /v1/meters", CATALOGUE, "", ""),
    rule("GET /v1/meters/{key}", CATALOGUE, "", ""),
    rule("PUT /v1/meters/{key}", Right::Operator, "", r#"{"aggregation": "sum"}"#),
    rule("DELETE /v1/meters/{key}", Right::Operator, "", ""),
    rule("GET /v1/plans", CATALOGUE, "", ""),
    rule("GET /v1/plans/{key}", CATALOGUE, "", ""),
    rule("PUT /v1/plans/{key}", Right::Operator, "", "{}"),
    rule("DELETE /v1/plans/{key}", Right::Operator, "", ""),
    rule("POST /v1/catalog/diff", Right::Operator, "", " "),
    rule("POST /v1/catalog/apply", Right::Operator, "", " "),
    rule("POST /v1/api-keys", Right::Operator, "", r#"{"name": "made", "scopes": ["read"], "organization": "{org}"}"#),
    rule("GET /v1/api-keys", Right::Operator, "", ""),
    rule("DELETE /v1/api-keys/{id}", Right::Operator, "", ""),
    rule("POST /v1/api-keys/{id}/rotate", Right::Operator, "", ""),
    rule("POST /v1/backups", Right::Operator, "", "{}"),
    rule("GET /v1/export", Right::Operator, "", ""),
    rule("GET /v1/jobs/{id}", Right::Any, "", ""),
    rule("GET /v1/limits", Right::Any, "", ""),
    rule("GET /v1/me", Right::Any, "", ""),
    rule("GET /v1/organizations/{org}/members", MEMBERS, "", ""),
    rule("POST /v1/organizations/{org}/members", ADMINISTER, "", r#"{"email": "new@example.com", "role": "viewer"}"#),
    rule("GET /v1/organizations/{org}/members/{id}", MEMBERS, "", ""),
    rule("PATCH /v1/organizations/{org}/members/{id}", ADMINISTER, "", r#"{"role": "viewer"}"#),
    rule("DELETE /v1/organizations/{org}/members/{id}", ADMINISTER, "", ""),
    rule("POST /v1/organizations/{org}/invitations", ADMINISTER, "", r#"{"email": "new@example.com", "role": "viewer"}"#),
    rule("POST /v1/invitations/accept", PERSON, "", r#"{"token": "mgs_"}"#),
    rule("POST /v1/sessions", Right::Open, "", "{}"),
    rule("GET /v1/administrators", Right::Operator, "", ""),
    rule("POST /v1/administrators", Right::Operator, "", r#"{"email": "root@example.com"}"#),
    rule("DELETE /v1/administrators/{id}", Right::Operator, "", ""),
    rule("POST /api/auth/register", Right::Open, "", "{}"),
    rule("POST /api/auth/login", Right::Open, "", "{}"),
    rule("POST /api/organizations", PERSON, "", r#"{"name": "Made"}"#),
    rule("GET /internal/org/{org}/usage", Right::Operator, "", ""),
    rule("POST /internal/org/{org}/usage/reset", Right::Operator, "", ""),
    rule("POST /internal/org/{org}/usage/grant-quota", Right::Operator, "", r#"{"extraMessages": 5}"#),
    rule("POST /internal/org/{org}/billing/lock", Right::Operator, "", ""),
    rule("POST /internal/org/{org}/billing/unlock", Right::Operator, "", ""),
    rule("GET /internal/org/{org}/audit-log", Right::Operator, "", ""),
    rule("GET /portal/billing/status", READ, "?org={org}", ""),
    rule("GET /api/admin/usage", Right::Operator, "?tenant={org}", ""),
    rule("GET /api/admin/usage/{org}", Right::Operator, "", ""),
    rule("PUT /api/admin/clients/{org}/quota", Right::Operator, "", r#"{"plan": "pro"}"#),
    rule("GET /api/admin/clients/{org}/quota", Right::Operator, "", ""),
    rule("POST /api/admin/clients/{org}/credits", Right::Operator, "", r#"{"action": "grant", "amount": 5}"#),
    // The last, since nobody is signed in after it.
    rule("POST /api/auth/logout", PERSON, "", ""),
    rule("GET /livez", Right::Open, "", ""),
    rule("GET /readyz", Right::Open, "", ""),
    rule("GET /metrics", Right::Open, "", ""),
];

impl Rule {
    pub(super) fn call(&self, client: &Client, organization: &str) -> Answer {
        let (method, path) = self.route.split_once(' ').unwrap();
        // Things of B: its key's id, the name of its import; of the team's: what there is.
        let path =
            path.replace("{org}", organization).replace("{meter}", "tokens").replace("{window}", "billingPeriod");
        let path =
            path.replace("{source}", CANARY).replace("{id}", "1").replace("{key}", "tokens").replace("{seq}", "1");
        let path = format!("{path}{}", self.query.replace("{org}", organization));
        // One id for all, so that equal answers have equal bytes.
        let call = client.call(method, &path).header("x-request-id", "asked");
        match self.body.replace("{org}", organization) {
            body if body.is_empty() => call.send(),
            body => call.json(body).send(),
        }
    }

    /// An error in the form of the route's errors.
    pub(super) fn expect_refusal(&self, answer: Answer, status: u16, code: &str) {
        if ["/internal/", "/portal/", "/api/"].iter().any(|prefix| self.route.contains(prefix)) {
            answer.expect_error_text(status);
        } else {
            answer.expect_problem(status, code);
        }
    }

    /// The right by the table of the rules; none for what everybody may.
    pub(super) fn of_table(&self) -> Option<role::Right> {
        match self.right {
            Right::Open => None,
            Right::Any => Some(role::Right::Any),
            Right::Of(right) => Some(right),
            Right::Operator => Some(role::Right::Operate),
        }
    }

    fn allows(&self, scopes: &[&str], bound: bool) -> bool {
        let scopes: Vec<_> = scopes.iter().filter_map(|name| role::KeyScope::from_name(name)).collect();
        self.of_table().is_none_or(|right| right.is_of_key(&scopes, bound))
    }

    /// Whether the key that is bound to A may, where it names A.
    fn allows_bound(&self) -> bool {
        self.allows(&["consume", "read", "ingest"], true)
    }

    pub(super) fn names_an_organization(&self) -> bool {
        [self.route, self.query, self.body].iter().any(|text| text.contains("{org}"))
    }
}

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
                if rule.right == Right::Open {
                    // Where something is sent, it is not enough.
                    answer.is(if rule.body.is_empty() { 200 } else { 422 });
                } else {
                    assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{}", rule.route);
                    rule.expect_refusal(answer, 401, "unauthorized");
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
