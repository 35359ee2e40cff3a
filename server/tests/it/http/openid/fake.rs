//! What a provider could say that is not true, and what could be sent in its name.

use serde_json::{Value, json};

use super::super::server::{Server, free_address};
use super::browser::{Browser, PUBLIC_URL, Page};
use super::node::Node;
use super::{CALLBACK, is_refused, newest, server_of};
use crate::http::people::sign_up;

/// A sign-in that has been begun, as the provider sees it.
struct Begun {
    browser: Browser,
    state: String,
    nonce: String,
    challenge: String,
}

fn begin(server: &Server, query: &str) -> Begun {
    let mut browser = Browser::new(&server.url);
    let page = browser.get(&format!("{PUBLIC_URL}/auth/oidc/start{query}"));
    assert_eq!(page.status, 303, "{}", page.text);
    let to = page.to.unwrap();
    let asked = |name: &str| {
        let parts = to.split(['?', '&']).find_map(|part| part.strip_prefix(&format!("{name}=")));
        parts.unwrap_or_else(|| panic!("no {name} in {to}")).to_owned()
    };
    assert_eq!((asked("response_type"), asked("code_challenge_method")), ("code".to_owned(), "S256".to_owned()));
    assert_eq!(asked("redirect_uri"), "http%3A%2F%2Fmetergate.test%2Fauth%2Foidc%2Fcallback");
    Begun { browser, state: asked("state"), nonce: asked("nonce"), challenge: asked("code_challenge") }
}

impl Begun {
    /// Comes back with a code for which the provider answers a token with these claims beside and over what is right.
    fn end(mut self, provider: &Node, signed: &str, claims: Value) -> Page {
        let mut all = json!({"sub": "s-1", "email": "ada@example.com", "email_verified": true, "nonce": self.nonce});
        all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        let said = json!({"code": "c", "challenge": self.challenge, "claims": all, "signed": signed});
        provider.told("/say", &said);
        self.come_back(&format!("code=c&state={}", self.state.clone()))
    }

    fn come_back(&mut self, query: &str) -> Page {
        self.browser.get(&format!("{PUBLIC_URL}{CALLBACK}?{query}"))
    }
}

fn is_signed_in(page: &Page) {
    assert_eq!(page.status, 303, "{}", page.text);
    let cookie = page.set.iter().find(|cookie| cookie.starts_with("metergate_session=mgs_"));
    let cookie = cookie.unwrap_or_else(|| panic!("{:?}", page.set));
    assert!(cookie.ends_with("; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax"), "{cookie}");
}

/// The half of the hash of the access token that the fake provider gives, and of another one (OpenID Connect Core, 3.1.3.6).
const OF_ACCESS_TOKEN: &str = "YiHPD2T9DaX5B837XJXtow";
const OF_ANOTHER: &str = "rkSKyGxOjk3sZFcpcI70GA";

#[test]
fn a_token_that_is_not_of_this_provider_for_us_for_this_sign_in_and_in_time_proves_nothing() {
    let provider = Node::fake();
    let server = server_of(&provider.issuer);
    #[rustfmt::skip]
    let cases = [ // what is wrong, who has signed, claims, what the log says
        ("the nonce of another sign-in", "known", json!({"nonce": "another"}), "nonce mismatch"),
        ("no nonce",                     "known", json!({"nonce": null}), "missing nonce"),
        ("for somebody else",            "known", json!({"aud": "another"}), "must contain `metergate`"),
        ("for somebody else, too",       "known", json!({"aud": ["metergate", "another"]}), "not a trusted audience"),
        ("for nobody",                   "known", json!({"aud": null}), "audience"),
        ("asked for by somebody else",   "known", json!({"azp": "another"}), "made for another party"),
        ("of another provider",          "known", json!({"iss": "https://id.example.com"}), "found `https://id.example.com`"),
        ("over",                         "known", json!({"exp": -1}), "expired"),
        ("of long ago",                  "known", json!({"iat": -1000}), "issued long ago"),
        ("of the future",                "known", json!({"iat": 1000, "exp": 2000}), "or in the future"),
        ("with another access token",    "known", json!({"at_hash": OF_ANOTHER}), "another one's"),
        ("of nobody",                    "known", json!({"sub": ""}), "subject is empty"),
        ("signed by another key",        "stranger", json!({}), "Signature verification failed"),
        ("signed by our own secret",     "secret", json!({}), "HS256"),
        ("signed by nobody",             "nobody", json!({}), "No signature"),
    ];
    for (what, signed, claims, why) in cases {
        let page = begin(&server, "").end(&provider, signed, claims);
        assert_eq!(page.status, 403, "{what}: {}", page.text);
        is_refused(&page, 403, "provider-refused");
        assert_eq!(newest(&server)["after"]["why"], "provider-refused", "{what}");
        let log = server.log();
        let last = log.lines().rev().find(|line| line.contains("sign-in by the identity provider failed"));
        assert!(last.is_some_and(|line| line.contains(why)), "{what}: {last:?}");
    }
    assert_eq!(server.admin().list("/v1/organizations").len(), 0);
    is_signed_in(&begin(&server, "").end(&provider, "known", json!({"at_hash": OF_ACCESS_TOKEN})));
    assert_eq!(server.admin().list("/v1/organizations").len(), 1);
}

#[test]
fn a_sign_in_ends_once_in_the_browser_in_which_it_began() {
    let provider = Node::fake();
    let server = server_of(&provider.issuer);
    let (mut ada, mut eve) = (begin(&server, ""), begin(&server, ""));
    let said = json!({"code": "c", "challenge": ada.challenge, "signed": "known",
        "claims": {"sub": "s-1", "email": "ada@example.com", "email_verified": true, "nonce": ada.nonce}});
    provider.told("/say", &said);
    let (of_ada, of_eve) = (ada.state.clone(), eve.state.clone());
    // Another's state, none, and hers in another browser: none of it ends hers.
    for query in [format!("code=c&state={of_eve}"), "code=c".to_owned(), "code=c&state=x".to_owned()] {
        is_refused(&ada.come_back(&query), 409, "sign-in-over");
    }
    is_refused(&eve.come_back(&format!("code=c&state={of_ada}")), 409, "sign-in-over");
    let stranger = Browser::new(&server.url).get(&format!("{PUBLIC_URL}{CALLBACK}?code=c&state={of_ada}"));
    is_refused(&stranger, 409, "sign-in-over");
    assert_eq!(newest(&server)["after"]["why"], "sign-in-over");
    is_signed_in(&ada.come_back(&format!("code=c&state={of_ada}")));
    provider.told("/say", &said);
    is_refused(&ada.come_back(&format!("code=c&state={of_ada}")), 409, "sign-in-over");
    // A code that the provider does not know, and an answer in the name of another provider.
    is_refused(&eve.come_back(&format!("code=unknown&state={of_eve}")), 403, "provider-refused");
    let mut bob = begin(&server, "");
    let state = bob.state.clone();
    let page = bob.come_back(&format!("code=c&state={state}&iss=https%3A%2F%2Fid.example.com"));
    is_refused(&page, 403, "provider-refused");
}

#[test]
fn a_key_that_the_provider_has_changed_is_asked_for() {
    let provider = Node::fake();
    let server = server_of(&provider.issuer);
    is_signed_in(&begin(&server, "").end(&provider, "known", json!({})));
    for _ in 0..2 {
        provider.told("/rotate", &json!({}));
        is_signed_in(&begin(&server, "").end(&provider, "known", json!({})));
    }
    assert_eq!(server.admin().list("/v1/organizations").len(), 1);
}

#[test]
fn a_provider_that_is_down_stops_nothing_else() {
    let address = free_address();
    let server = server_of(&format!("http://{address}"));
    let start = || Browser::new(&server.url).get(&format!("{PUBLIC_URL}/auth/oidc/start"));
    is_refused(&start(), 503, "provider-unavailable");
    let answer = server.stranger().get("/auth/oidc/start").is(503);
    assert_eq!(answer.header("retry-after"), Some("5"));
    server.stranger().get("/readyz").is(200);
    sign_up(&server, "bob@example.com");
    let provider = Node::fake_on(address.rsplit(':').next().unwrap());
    // It is asked again, a while after it could not be.
    let came_back = (0..1000).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        start().status == 303
    });
    assert!(came_back);
    is_signed_in(&begin(&server, "").end(&provider, "known", json!({})));
    // What it answers cannot be understood, is too long, or does not come.
    for (status, padding) in [(500, 0), (200, 1 << 20)] {
        let mut begun = begin(&server, "");
        let said = json!({"code": "c", "challenge": begun.challenge, "status": status, "padding": padding});
        provider.told("/say", &said);
        let state = begun.state.clone();
        is_refused(&begun.come_back(&format!("code=c&state={state}")), 503, "provider-unavailable");
    }
    let mut begun = begin(&server, "");
    drop(provider);
    let state = begun.state.clone();
    is_refused(&begun.come_back(&format!("code=c&state={state}")), 503, "provider-unavailable");
    assert_eq!(newest(&server)["after"]["why"], "provider-unavailable");
}

#[test]
fn somebody_new_who_was_invited_joins_instead_of_having_an_organization() {
    let provider = Node::fake();
    let server = server_of(&provider.issuer);
    let bob = sign_up(&server, "bob@example.com");
    let invited = json!({"email": "ada@example.com", "role": "editor"});
    let path = format!("/v1/organizations/{}/invitations", bob.organization);
    let invitation = bob.client.post(&path, invited).is(201).json();
    let query = format!("?invitation={}", invitation["token"].as_str().unwrap());
    let other = begin(&server, &query).end(&provider, "known", json!({"sub": "s-2", "email": "eve@example.com"}));
    is_refused(&other, 403, "not-invited");
    let nobody = begin(&server, "").end(&provider, "known", json!({"sub": "s-3", "email": null}));
    is_refused(&nobody, 403, "no-email");
    is_signed_in(&begin(&server, &query).end(&provider, "known", json!({})));
    let members = bob.client.list(&bob.members());
    let roles: Vec<_> = members.iter().map(|member| (&member["email"], &member["role"])).collect();
    assert_eq!(roles, [(&json!("bob@example.com"), &json!("owner")), (&json!("ada@example.com"), &json!("editor"))]);
    assert_eq!(server.admin().list("/v1/organizations").len(), 1);
    // She is known again without an address, and under another one.
    for claims in [json!({"email": null}), json!({"email": "ada@elsewhere.example"})] {
        is_signed_in(&begin(&server, "").end(&provider, "known", claims));
    }
    assert_eq!(bob.client.list(&bob.members()).len(), 2);
}

#[test]
fn one_who_comes_by_two_browsers_at_once_becomes_one_user() {
    let provider = Node::fake();
    let server = server_of(&provider.issuer);
    let begun: Vec<Begun> = (0..4).map(|_| begin(&server, "")).collect();
    for (i, begun) in begun.iter().enumerate() {
        let claims = json!({"sub": "s-1", "email": "ada@example.com", "email_verified": true, "nonce": begun.nonce});
        let said = json!({"code": i.to_string(), "challenge": begun.challenge, "signed": "known", "claims": claims});
        provider.told("/say", &said);
    }
    std::thread::scope(|scope| {
        for (i, mut begun) in begun.into_iter().enumerate() {
            scope.spawn(move || {
                let query = format!("code={i}&state={}", begun.state);
                is_signed_in(&begun.come_back(&query));
            });
        }
    });
    assert_eq!(server.admin().list("/v1/organizations").len(), 1);
}

#[test]
fn only_a_path_of_the_server_is_gone_on_to() {
    let provider = Node::fake();
    let server = server_of(&provider.issuer);
    for next in ["//evil.example", "https://evil.example", "%5Cevil.example", "/%5Cevil.example", "/a%0Ab", ""] {
        let path = format!("/auth/oidc/start?next={next}");
        let problem = server.stranger().get(&path).expect_problem(422, "validation");
        assert_eq!(problem["errors"][0]["pointer"], "?next", "{next}");
    }
    Server::start().stranger().get("/auth/oidc/start?next=//evil.example").expect_problem(404, "not-found");
    server.stranger().get("/auth/oidc/start?unknown=1").expect_problem(422, "validation");
    let page = begin(&server, "?next=/portal?a=b").end(&provider, "known", json!({}));
    assert_eq!(page.to.as_deref(), Some("http://metergate.test/portal?a=b"));
}
