//! The document of the API, its reader, and what tells that a server lives (F6).

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::matrix::RULES;
use super::server::Server;

/// The committed document, from the top of the checkout.
const COMMITTED: &str = "../openapi.json";
const METHODS: [&str; 8] = ["get", "put", "post", "delete", "patch", "options", "head", "trace"];

fn document() -> Value {
    serde_json::to_value(metergate::http::routes::openapi()).unwrap()
}

/// Every operation, as `GET /v1/x` with what the document says of it.
fn operations(document: &Value) -> Vec<(String, Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    let operations = paths.flat_map(|(path, item)| {
        let present = METHODS.into_iter().filter_map(|method| Some((method, item.get(method)?)));
        present.map(move |(method, operation)| (format!("{} {path}", method.to_ascii_uppercase()), operation.clone()))
    });
    operations.collect()
}

#[test]
fn the_committed_document_is_the_one_that_the_code_makes() {
    let made = serde_json::to_string_pretty(&document()).unwrap() + "\n";
    if std::env::var_os("METERGATE_BLESS").is_some() {
        std::fs::write(COMMITTED, &made).unwrap();
    }
    let committed = std::fs::read_to_string(Path::new(COMMITTED)).unwrap_or_default();
    assert!(
        committed == made,
        "openapi.json is not what the code makes. Look at what changed, then write it:\n\
         METERGATE_BLESS=1 cargo test -p metergate --features faults --test it http::openapi"
    );
}

#[test]
fn the_served_document_is_the_same_and_needs_no_credential() {
    let answer = Server::start().stranger().get("/openapi.json").is(200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.json(), document());
}

#[test]
fn the_document_is_openapi_3_1_and_whole() {
    let document = document();
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1.")), "{}", document["openapi"]);
    assert!(document["info"]["title"].is_string() && document["info"]["version"].is_string());
    assert_eq!(document["components"]["securitySchemes"]["bearer"]["scheme"], "bearer");
    let mut references = Vec::new();
    collect_references(&document, &mut references);
    assert!(references.len() > 20);
    for reference in references {
        let target = reference.strip_prefix('#').and_then(|pointer| document.pointer(pointer));
        assert!(target.is_some(), "{reference} leads nowhere");
    }
}

fn collect_references(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            references.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
            members.values().for_each(|member| collect_references(member, references));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_references(item, references)),
        _ => {}
    }
}

#[test]
fn every_operation_is_named_once_says_who_may_call_it_and_what_it_answers() {
    let document = document();
    let mut names = BTreeSet::new();
    for (route, operation) in operations(&document) {
        let name = operation["operationId"].as_str().unwrap_or_else(|| panic!("{route} has no operationId"));
        assert!(names.insert(name.to_owned()), "{route}: another operation is named {name} too");
        let security = operation.get("security").or_else(|| document.get("security")).unwrap();
        let requirements = security.as_array().unwrap();
        assert!(!requirements.is_empty(), "{route}: say who may call it");
        for scheme in requirements.iter().flat_map(|one| one.as_object().unwrap().keys()) {
            assert!(document["components"]["securitySchemes"].get(scheme).is_some(), "{route}: {scheme}");
        }
        assert!(
            operation["summary"].is_string() || operation["description"].is_string(),
            "{route} says nothing of itself"
        );
        let responses = operation["responses"].as_object().unwrap();
        let answers = |status: &String| status.starts_with('2') || status == "303";
        assert!(responses.keys().any(answers), "{route}: no answer");
        // What stands in braces in a path is a parameter, and no other is one.
        let in_path: BTreeSet<_> =
            route.split('{').skip(1).map(|rest| rest.split('}').next().unwrap().to_owned()).collect();
        let parameters = operation["parameters"].as_array().into_iter().flatten().filter(|one| one["in"] == "path");
        let declared: BTreeSet<_> = parameters.map(|one| one["name"].as_str().unwrap().to_owned()).collect();
        assert_eq!(declared, in_path, "{route}");
    }
    assert!(names.len() > 40, "{}", names.len());
}

/// Who reads a key refuses one that is none: seen of every call that comes so far with what the matrix sends.
#[test]
fn the_document_says_which_calls_take_an_idempotency_key() {
    let document = document();
    let parameter = &document["components"]["parameters"]["IdempotencyKey"];
    assert_eq!((&parameter["name"], &parameter["in"]), (&"Idempotency-Key".into(), &"header".into()));
    let takes = |operation: &Value| operation["parameters"].to_string().contains("/IdempotencyKey");
    let said: BTreeSet<String> =
        operations(&document).into_iter().filter(|(_, operation)| takes(operation)).map(|(route, _)| route).collect();
    let (server, long) = (Server::start(), "k".repeat(256));
    let admin = server.admin();
    admin.post("/v1/organizations", serde_json::json!({"key": "acme", "plan": "pro"})).is(201);
    let mut seen = 0;
    for rule in RULES {
        let answer = rule.call_with(&admin, "acme", &[("idempotency-key", &long)]);
        if answer.status == 422 && answer.text.contains("Idempotency-Key") {
            assert!(said.contains(rule.route), "{} takes a key", rule.route);
            seen += 1;
        } else {
            let has_id = rule.body.contains(r#""id""#);
            assert!(answer.status >= 400 || has_id || !said.contains(rule.route), "{} takes none", rule.route);
        }
    }
    assert!(seen > 50 && said.len() > 65, "{seen} seen of {}", said.len());
}

#[test]
fn the_document_says_which_headers_a_decision_has() {
    let server = Server::start();
    let admin = server.admin();
    admin.post("/v1/organizations", serde_json::json!({"key": "acme", "plan": "pro"})).is(201);
    let asked = serde_json::json!({"organization": "acme", "meter": "api_calls", "ttlSeconds": 60});
    let held = admin.post("/v1/reservations", asked).is(201);
    let asked = serde_json::json!({"organization": "acme", "meter": "api_calls"});
    let answers = [
        ("/v1/consume", "post", admin.post("/v1/consume", asked).is(200)),
        ("/gateway/authorize", "get", admin.get("/gateway/authorize?organization=acme").is(200)),
        ("/v1/reservations", "post", held),
    ];
    let document = document();
    for (path, method, answer) in answers {
        let said = &document["paths"][path][method]["responses"][answer.status.to_string()]["headers"];
        let has = |name: &str| answer.header(&name.to_ascii_lowercase()).is_some();
        let named: Vec<_> = said.as_object().unwrap().keys().filter(|name| name.contains("RateLimit")).collect();
        assert!(named.len() == 6 && named.iter().all(|name| has(name)), "{path}: {named:?}");
    }
    let waits = &document["paths"]["/v1/me"]["get"]["responses"]["429"]["headers"]["Retry-After"];
    assert_eq!(waits["$ref"], "#/components/headers/Retry-After");
    let gateway = document["paths"]["/gateway/authorize"]["get"].to_string();
    for name in ["X-Metergate-Key", "X-Quota-Authorize", "X-Quota-Degraded", "X-Quota-Problem", "X-Quota-Status"] {
        assert!(gateway.contains(&format!("\"{name}\"")), "{name}");
    }
}

#[test]
fn the_reader_loads_nothing_from_elsewhere() {
    let server = Server::start();
    let client = server.stranger();
    let page = client.get("/docs").is(200);
    assert!(page.header("content-type").is_some_and(|kind| kind.starts_with("text/html")));
    assert!(
        page.header("content-security-policy")
            .is_some_and(|policy| policy.contains("default-src 'none'") || policy.contains("default-src 'self'"))
    );
    assert!(page.text.contains("/v1/consume"));
    let attributes = ["src=\"", "href=\""].iter().flat_map(|name| page.text.split(name).skip(1));
    let (mut styles, mut pages) = (0, std::collections::BTreeMap::new());
    for target in attributes.map(|rest| rest.split('"').next().unwrap()) {
        assert!(!target.contains("//"), "{target}");
        let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
        if path.is_empty() {
            continue;
        }
        let loaded = pages.entry(path).or_insert_with(|| client.get(path).is(200));
        styles += usize::from(loaded.header("content-type").is_some_and(|kind| kind.starts_with("text/css")));
        assert!(!loaded.text.contains("@import") && !loaded.text.contains("url("), "{target}");
        assert!(anchor.is_empty() || loaded.text.contains(&format!("id=\"{anchor}\"")), "{target}");
    }
    assert!(styles > 0 && pages.len() > 10, "{:?}", pages.keys());
    assert!(pages.values().all(|page| !page.text.contains("<script")), "the pages work without script");
    client.get("/docs/nothing").is(404);
    assert!(!page.text.contains("<script"), "the page works without script");
}

#[test]
fn a_server_says_that_it_lives_is_ready_and_what_it_counts() {
    let server = Server::start();
    let client = server.stranger();
    for path in ["/livez", "/readyz"] {
        assert_eq!(client.get(path).is(200).json()["status"], "ok", "{path}");
    }
    server.admin().get("/v1/organizations/nobody").is(404);
    client.get("/no/such/path").is(404);
    let metrics = client.get("/metrics").is(200);
    assert!(metrics.header("content-type").is_some_and(|kind| kind.starts_with("text/plain; version=0.0.4")));
    let lines = |wanted: &[&str]| metrics.text.lines().any(|line| wanted.iter().all(|part| line.contains(part)));
    let seconds = "http_server_request_duration_seconds_bucket";
    assert!(
        lines(&[seconds, "route=\"/v1/organizations/{org}\"", "method=\"GET\"", "status=\"404\""]),
        "{}",
        metrics.text
    );
    assert!(lines(&[seconds, "route=\"unknown\""]), "{}", metrics.text);
    assert!(!metrics.text.contains("/no/such/path") && !metrics.text.contains("nobody"));
}
