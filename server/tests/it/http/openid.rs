//! Signing in by an identity provider: npm's `oidc-provider`, and one that says what it is told.

use metergate_rules::time::{DAY, Time};
use serde_json::{Value, json};

use super::people::{Person, actions, sign_up, verify};
use super::server::{Server, free_address};

#[path = "openid/browser.rs"]
mod browser;
#[path = "openid/fake.rs"]
mod fake;
#[path = "openid/node.rs"]
mod node;

use browser::{Browser, PUBLIC_URL, Page};
use node::Node;

const CALLBACK: &str = "/auth/oidc/callback";

/// A server that knows a provider.
fn server_of(issuer: &str) -> Server {
    Server::with(&[
        ("METERGATE_LISTEN", &free_address()),
        // Each browser says that it has an address of its own, so that failures of one do not stop another.
        ("METERGATE_TRUSTED_PROXIES", "127.0.0.1"),
        ("METERGATE_PUBLIC_URL", PUBLIC_URL),
        ("METERGATE_OIDC_ISSUER", issuer),
        ("METERGATE_OIDC_CLIENT_ID", "metergate"),
        ("METERGATE_OIDC_CLIENT_SECRET", "a-secret-of-these-tests"),
    ])
}

fn started() -> (Node, Server) {
    let provider = Node::provider(&format!("{PUBLIC_URL}{CALLBACK}"));
    let server = server_of(&provider.issuer);
    (provider, server)
}

fn start_for(next: &str) -> String {
    format!("{PUBLIC_URL}/auth/oidc/start?next={next}")
}

/// Signs in from a browser that is new, and shows who that is.
fn signed_in(server: &Server, name: &str) -> Value {
    let page = Browser::new(&server.url).sign_in(&start_for("/v1/me"), name);
    assert_eq!((page.status, page.url.as_str()), (200, "http://metergate.test/v1/me"), "{}", page.text);
    serde_json::from_str(&page.text).unwrap()
}

/// A problem, and nobody is signed in.
fn is_refused(page: &Page, status: u16, code: &str) {
    let problem: Value = serde_json::from_str(&page.text).unwrap_or_else(|error| panic!("{error}: {}", page.text));
    assert_eq!((page.status, &problem["code"]), (status, &json!(code)), "{}: {problem}", page.url);
    assert!(page.set.is_empty(), "{:?}", page.set);
}

/// The newest entry of the team's audit log.
fn newest(server: &Server) -> Value {
    server.admin().get("/v1/audit-log?limit=1").is(200).json()["data"][0].clone()
}

#[test]
fn who_comes_by_a_provider_signs_up_with_a_trial_of_exactly_30_days_and_is_known_again() {
    let (_provider, mut server) = started();
    let ada = signed_in(&server, "ada");
    let user = &ada["user"];
    assert_eq!((&user["email"], &user["emailVerified"]), (&json!("ada@example.com"), &json!(true)));
    assert_eq!((&user["name"], &user["administrator"]), (&json!("ada"), &json!(false)));
    assert_eq!((&ada["organizations"][0]["name"], &ada["organizations"][0]["role"]), (&json!("ada"), &json!("owner")));
    let path = format!("/v1/organizations/{}", ada["organization"].as_str().unwrap());
    let organization = server.admin().get(&path).is(200).json();
    let time = |name: &str| organization[name].as_str().unwrap().parse::<Time>().unwrap();
    assert_eq!(time("trialEndsAt").since(time("createdAt")), 30 * DAY);
    assert_eq!((&organization["status"], &organization["plan"]), (&json!("trial"), &json!("free")));
    // The same again, also after a crash, and another one is another.
    server.kill();
    server.start_again();
    assert_eq!(signed_in(&server, "ada"), ada);
    assert_ne!(signed_in(&server, "eve")["user"]["id"], user["id"]);
    assert_eq!(server.admin().list("/v1/organizations").len(), 2);
    let log = format!("{path}/audit-log");
    assert_eq!(actions(&server.admin(), &log), ["session.sign_in", "organization.create"]);
    let entry = server.admin().list(&log)[0].clone();
    assert_eq!(entry["actor"], format!("user:{}", user["id"].as_str().unwrap()));
    assert_eq!((&entry["after"]["by"], &entry["after"]["linked"]), (&json!("provider"), &json!(false)));
    // There is no password.
    let login = json!({"email": "ada@example.com", "password": "correct horse battery"});
    server.stranger().post("/api/auth/login", login).expect_error_text(401);
    // With her only organization she goes, and what the provider knows of her is nobody's.
    server.admin().delete(&path).is(204);
    assert_ne!(signed_in(&server, "ada")["user"]["id"], user["id"]);
}

#[test]
fn an_account_is_linked_only_to_whom_its_address_is_known_to_belong() {
    let (_provider, server) = started();
    // Somebody has registered with an address before the one whose it is comes.
    let squatter = sign_up(&server, "ada@example.com");
    let page = Browser::new(&server.url).sign_in(&start_for("/v1/me"), "ada");
    is_refused(&page, 409, "email-not-verified");
    assert_eq!(
        (&newest(&server)["action"], &newest(&server)["after"]["why"]),
        (&json!("session.sign_in_failed"), &json!("email-not-verified"))
    );
    squatter.client.get("/v1/me").is(200);
    // An address of which the provider says nothing is nobody's proof, even where it is known here.
    let bob = sign_up(&server, "bob@example.com");
    verify(&server, &bob);
    is_refused(&Browser::new(&server.url).sign_in(&start_for("/v1/me"), "bob:unverified"), 409, "email-taken");
    // Where both say that it is theirs, it is one account; the other's name at the provider stays nobody's.
    assert_eq!(signed_in(&server, "bob")["user"]["id"], bob.id.as_str());
    is_refused(&Browser::new(&server.url).sign_in(&start_for("/v1/me"), "bob:unverified"), 409, "email-taken");
    let again = Person::signed_in(&server, "bob@example.com", "correct horse battery");
    assert_eq!(again.id, bob.id, "the password stays");
    let linked = server.admin().list(&format!("/v1/organizations/{}/audit-log", bob.organization));
    assert!(linked.iter().any(|entry| entry["after"]["linked"] == true), "{linked:?}");
}

#[test]
fn who_is_signed_in_links_their_own_account() {
    let (_provider, server) = started();
    let (eve, bob) = (sign_up(&server, "eve@example.com"), sign_up(&server, "bob@example.com"));
    let mut browser = Browser::new(&server.url);
    browser.keep(&format!("metergate_session={}", bob.token()));
    is_refused(&browser.sign_in(&start_for("/v1/me"), "eve"), 409, "email-not-verified");
    browser.keep(&format!("metergate_session={}", eve.token()));
    let page = browser.sign_in(&start_for("/v1/me"), "eve");
    let me: Value = serde_json::from_str(&page.text).unwrap();
    assert_eq!((&me["user"]["id"], &me["user"]["emailVerified"]), (&json!(eve.id), &json!(true)));
    assert_eq!(signed_in(&server, "eve")["user"]["id"], eve.id.as_str());
}

#[test]
fn who_becomes_an_administrator_or_chooses_another_password_leaves_the_doors_of_others_behind() {
    let (_provider, server) = started();
    // By a provider that says nothing of the address, anybody may have come.
    let intruder = signed_in(&server, "root:unverified");
    assert_eq!(intruder["user"]["emailVerified"], false);
    server.admin().post("/v1/administrators", json!({"email": "root@example.com"})).is(201);
    is_refused(&Browser::new(&server.url).sign_in(&start_for("/v1/me"), "root:unverified"), 409, "email-taken");
    let root = signed_in(&server, "root");
    assert_eq!((&root["user"]["id"], &root["operator"]), (&intruder["user"]["id"], &json!(true)));
    let intruder = signed_in(&server, "grace:unverified");
    let link = server.admin().post("/v1/password-resets", json!({"email": "grace@example.com"})).is(201).json();
    let reset = json!({"token": link["token"], "password": "another password"});
    server.stranger().post("/v1/sessions", reset).is(200);
    is_refused(&Browser::new(&server.url).sign_in(&start_for("/v1/me"), "grace:unverified"), 409, "email-taken");
    assert_eq!(signed_in(&server, "grace")["user"]["id"], intruder["user"]["id"]);
}

#[test]
fn who_allows_nothing_at_the_provider_is_not_signed_in() {
    let (_provider, server) = started();
    let page = Browser::new(&server.url).refuse(&start_for("/v1/me"));
    is_refused(&page, 403, "access-denied");
    let entry = newest(&server);
    assert_eq!(entry["action"], "session.sign_in_failed");
    assert_eq!(entry["after"], json!({"user": null, "by": "provider", "why": "access-denied"}));
    assert_eq!(server.admin().list("/v1/organizations").len(), 0);
}

#[test]
fn a_browser_is_told_on_a_page_what_failed_and_a_program_by_a_problem() {
    let server = server_of(&format!("http://{}", free_address()));
    let stranger = server.stranger();
    for (path, status, code, words) in [
        ("/auth/oidc/callback?state=x&code=y", 409, "sign-in-over", "begun in another browser"),
        ("/auth/oidc/start?next=//evil.example", 422, "validation", "Send a path of this server"),
        ("/auth/oidc/start?next=/portal", 503, "provider-unavailable", "Try again later"),
    ] {
        stranger.get(path).expect_problem(status, code);
        let browser = stranger.call("GET", path).header("accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8");
        let page = browser.send().is(status);
        assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"), "{path}");
        assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'; style-src 'self';"));
        assert_eq!(
            (page.header("cache-control"), page.header("referrer-policy")),
            (Some("no-store"), Some("no-referrer")),
            "{path}"
        );
        assert_eq!(page.header("retry-after").is_some(), status == 503, "{path}");
        assert!(page.text.contains(words) && page.text.contains("href=\"/auth/oidc/start\""), "{}", page.text);
        assert!(!page.text.contains("<script") && page.header("set-cookie").is_none(), "{}", page.text);
    }
}

#[test]
fn half_of_the_settings_is_refused_at_the_start() {
    let folder = tempfile::TempDir::new().unwrap();
    let mut command = super::server::metergate(folder.path());
    let started = command.arg("serve").env("METERGATE_OIDC_ISSUER", "https://id.example.com").output().unwrap();
    assert!(!started.status.success());
    let said = String::from_utf8(started.stderr).unwrap();
    assert!(said.contains("METERGATE_OIDC_CLIENT_SECRET, or none"), "{said}");
}
