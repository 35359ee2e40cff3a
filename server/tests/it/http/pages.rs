//! Pages: the dashboard, an organization's settings, the portal, as a browser without script has them.

use serde_json::{Value, json};

use super::client::Answer;
use super::server::{ADMIN_KEY, Server};

#[path = "pages/browser.rs"]
mod browser;
#[path = "pages/edits.rs"]
mod edits;
#[path = "pages/lists.rs"]
mod lists;
#[path = "pages/members.rs"]
mod members;
#[path = "pages/notifications.rs"]
mod notifications;
#[path = "pages/prices.rs"]
mod prices;
#[path = "pages/removals.rs"]
mod removals;
#[path = "pages/shown.rs"]
mod shown;
#[path = "pages/webhooks.rs"]
mod webhooks;
#[path = "pages/what_if.rs"]
mod what_if;

use browser::Browser;

const PASSWORD: &str = "correct horse battery";

/// The first administrator, signed in.
fn administrator(server: &Server) -> Browser {
    let mut browser = Browser::new(server);
    let typed = [("key", ADMIN_KEY), ("name", "Ops"), ("email", "ops@example.com"), ("password", PASSWORD)];
    assert_eq!(browser.submit("/setup", &typed).is(303).header("location"), Some("/admin"));
    browser
}

fn acme(server: &Server) -> Value {
    let body = json!({"key": "acme", "name": "Acme <Corp>", "plan": "pro", "timeZone": "Europe/Berlin"});
    server.admin().post("/v1/organizations", body).is(201).json()
}

fn use_up(server: &Server, quantity: i64) {
    let decision = json!({"organization": "acme", "meter": "messages", "quantity": quantity});
    assert_eq!(server.admin().post("/v1/consume", decision).is(200).json()["allowed"], true);
}

fn done(answer: &Answer, word: &str) {
    let location = answer.header("location").unwrap_or_else(|| panic!("not done: {}", answer.text));
    assert!(location.contains(&format!("done={word}")), "{location}");
}

/// The actions of the last entries of an organization's audit log, newest first.
fn last_actions(server: &Server, count: usize) -> Vec<String> {
    let entries = server.admin().get("/v1/organizations/acme/audit-log").is(200).json();
    let action = |entry: &Value| entry["action"].as_str().unwrap().to_owned();
    entries["data"].as_array().unwrap().iter().take(count).map(action).collect()
}

#[test]
fn the_first_administrator_is_made_by_set_up_and_nobody_after_that() {
    let server = Server::start();
    let mut browser = Browser::new(&server);
    assert_eq!((browser.led("/"), browser.led("/admin")), ("/setup".to_owned(), "/sign-in?next=%2Fadmin".to_owned()));
    // Members sign in whether there is an administrator or not.
    assert!(browser.page("/sign-in").contains("I forgot my password"));
    let wrong = [("key", "guessed"), ("name", "Eve"), ("email", "eve@example.com"), ("password", PASSWORD)];
    let refused = browser.submit("/setup", &wrong).is(401).text;
    assert!(refused.contains("This is not the administrator key.") && refused.contains("eve@example.com"), "{refused}");
    assert!(!refused.contains(PASSWORD) && !refused.contains("guessed"), "a secret comes back: {refused}");
    let short = [("key", ADMIN_KEY), ("name", "Ops"), ("email", "ops@example.com"), ("password", "short")];
    assert!(browser.submit("/setup", &short).is(422).text.contains("id=\"field-password-error\""));
    let mut ops = administrator(&server);
    assert_eq!(ops.led("/"), "/admin");
    assert_eq!((browser.led("/setup"), browser.led("/")), ("/sign-in".to_owned(), "/sign-in".to_owned()));
    let typed = wrong.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    assert_eq!(browser.send("/setup", &typed).is(303).header("location"), Some("/sign-in"));
    assert_eq!(server.admin().list("/v1/administrators").len(), 1);
}

#[test]
fn one_signs_in_where_one_wanted_to_go_and_out_again() {
    let server = Server::start();
    acme(&server);
    let mut ops = administrator(&server);
    done_out(&mut ops);
    assert_eq!(ops.led("/admin/organizations/acme"), "/sign-in?next=%2Fadmin%2Forganizations%2Facme");
    let wrong = ops.submit("/sign-in", &[("email", "ops@example.com"), ("password", "wrong horse")]).is(401).text;
    assert!(wrong.contains("E-mail address or password is wrong.") && wrong.contains("ops@example.com"), "{wrong}");
    let typed = [("email", "ops@example.com"), ("password", PASSWORD)];
    let next = ops.submit("/sign-in?next=%2Fadmin%2Forganizations%2Facme", &typed).is(303);
    assert_eq!(next.header("location"), Some("/admin/organizations/acme"));
    assert!(ops.page("/admin/organizations/acme").contains("Acme &#60;Corp&#62;"));
    let elsewhere = ops.submit("/sign-in?next=%2F%2Fevil.example", &typed).is(303);
    assert_eq!(elsewhere.header("location"), Some("/"));
}

fn done_out(browser: &mut Browser) {
    let page = browser.page("/admin");
    let (_, rest) = page.split_once("name=\"csrf\" value=\"").unwrap();
    let csrf = rest.split_once('"').unwrap().0.to_owned();
    let fields = [("csrf".to_owned(), csrf)].into();
    assert_eq!(browser.send("/sign-out", &fields).is(303).header("location"), Some("/sign-in"));
    assert_eq!(browser.cookie(), "");
}

/// Every page of the dashboard.
const PAGES: [&str; 18] = [
    "/admin",
    "/admin?meter=tokens",
    "/admin/organizations",
    "/admin/organizations?search=ac&status=active&locked=false&plan=pro",
    "/admin/organizations/acme",
    "/admin/organizations/acme?meter=tokens&by=model&range=12m",
    "/admin/organizations/acme/limits",
    "/admin/organizations/acme/cycle",
    "/admin/organizations/acme/members",
    "/admin/organizations/acme/keys",
    "/admin/organizations/acme/audit",
    "/admin/organizations/acme/explain?meter=messages",
    "/admin/plans/pro",
    "/admin/audit/verify",
    "/admin/keys",
    "/admin/webhooks",
    "/admin/settings",
    "/organizations/acme/settings",
];

#[test]
fn every_page_is_shown_to_operators_alone() {
    let server = Server::start();
    acme(&server);
    use_up(&server, 8_200);
    let mut ops = administrator(&server);
    for page in PAGES.into_iter().chain([
        "/admin/plans",
        "/admin/meters",
        "/admin/prices",
        "/admin/prices/recompute",
        "/admin/audit",
        "/portal?org=acme",
        "/portal/billing?org=acme",
    ]) {
        let text = ops.page(page);
        assert!(text.contains("<h1>") && text.contains("</html>"), "{page}: {text}");
    }
    let usage = ops.page("/admin/organizations/acme");
    assert!(usage.contains("8,200") && usage.contains("Usage &amp; Admin Overrides"), "{usage}");
    let mut stranger = Browser::new(&server);
    let mut eve = members::signed_up(&server, "eve@example.com");
    for page in PAGES.iter().filter(|page| page.starts_with("/admin")) {
        assert!(stranger.led(page).starts_with("/sign-in?next="), "{page}");
        assert!(eve.get(page).is(404).text.contains("Not found"), "{page}");
    }
}

#[test]
fn every_form_has_a_page_and_what_does_not_exist_says_so() {
    let server = Server::start();
    acme(&server);
    let mut ops = administrator(&server);
    #[rustfmt::skip]
    let of_acme = [
        "reset", "extra", "grant", "void-grant?grant=1", "plan", "plan?plan=free", "override", "lock", "unlock", "trial",
        "adjust", "clock", "portal", "profile", "cycle", "delete", "invite", "member?member=x", "remove-member?member=x",
        "key", "revoke-key?key=x", "rotate-key?key=x", "clear-override?meter=tokens&window=day", "resolve?entry=1",
        "invite-again?invitation=x", "withdraw-invitation?invitation=x",
    ];
    #[rustfmt::skip]
    let of_team = [
        "new-organization", "plan", "plan?key=pro", "delete-plan?key=pro", "meter", "meter?key=tokens",
        "delete-meter?key=tokens", "key", "revoke-key?key=x", "rotate-key?key=x", "settings", "administrator",
        "remove-administrator?administrator=x", "password-link", "resolve?organization=acme&entry=1",
    ];
    #[rustfmt::skip]
    let nothing = [
        "/admin/nothing", "/admin/organizations/nobody", "/admin/organizations/acme/nothing",
        "/admin/organizations/acme/do/nothing", "/admin/do/nothing", "/admin/plans/nothing", "/portal/nothing",
        "/admin/do/delete-plan?key=nothing", "/admin/do/delete-meter?key=nothing", "/admin/do/price?model=nothing",
        "/admin/do/remove-price?model=nothing&effectiveFrom=2026-01-02",
    ];
    for word in of_acme {
        let text = ops.page(&format!("/admin/organizations/acme/do/{word}"));
        assert!(text.contains("data-dialog-content") && text.contains("name=\"csrf\""), "{word}: {text}");
        assert!(!text.contains("form is-danger") || text.contains("name=\"reason\""), "{word} asks for no reason");
    }
    for word in of_team {
        let text = ops.page(&format!("/admin/do/{word}"));
        assert!(text.contains("name=\"csrf\""), "{word}");
        assert!(!text.contains("form is-danger") || text.contains("name=\"reason\""), "{word} asks for no reason");
    }
    for path in nothing {
        assert!(ops.get(path).is(404).text.contains("Not found"), "{path}");
    }
}

#[test]
fn what_operators_do_is_done_by_forms_with_their_reason_in_the_audit_log() {
    let server = Server::start();
    acme(&server);
    use_up(&server, 400);
    let mut ops = administrator(&server);
    let at = "/admin/organizations/acme/do";
    const REASON: (&str, &str) = ("reason", "asked by\r\nmail");
    type Pairs = &'static [(&'static str, &'static str)];
    #[rustfmt::skip]
    let cases: [(&str, Pairs, &str, &str); 9] = [ // form, typed, word, action
        ("extra",    &[("meter", "messages"), ("quantity", "500"), REASON],                                  "extra",    "quota.grant"),
        ("grant",    &[("meter", "messages"), ("amount", "250"), ("expiresAt", "2030-01-01T00:00"), REASON], "granted",  "credit.grant"),
        ("override?meter=messages&window=billingPeriod", &[("max", "20000"), REASON],                        "override", "limit.change"),
        ("clear-override?meter=messages&window=billingPeriod", &[REASON],                                    "override-cleared", "limit.change"),
        ("adjust",   &[("meter", "messages"), ("quantity", "-100"), REASON],                                 "adjusted", "usage.adjust"),
        ("plan?plan=enterprise", &[REASON],                                                                  "plan",     "plan.change"),
        ("lock",     &[REASON],                                                                              "locked",   "billing.lock"),
        ("unlock",   &[REASON],                                                                              "unlocked", "billing.unlock"),
        ("reset",    &[REASON],                                                                              "reset",    "usage.reset"),
    ];
    for (form, typed, word, action) in cases {
        let answer = ops.submit(&format!("{at}/{form}"), typed);
        done(&answer.is(303), word);
        assert_eq!(last_actions(&server, 1), [action], "{form}");
    }
    let entry = &server.admin().get("/v1/organizations/acme/audit-log").is(200).json()["data"][0];
    assert_eq!(
        (&entry["reason"], &entry["actor"].as_str().unwrap().starts_with("user:")),
        (&json!("asked by\nmail"), &true)
    );
    let grants = server.admin().get("/v1/organizations/acme/grants").is(200).json();
    assert_eq!(grants["data"][0]["expiresAt"], "2029-12-31T23:00:00Z", "a time is the organization's own");
    let quota = server.admin().get("/v1/organizations/acme/quota").is(200).json();
    assert_eq!((&quota["plan"], &quota["extra"][0]["quantity"]), (&json!("enterprise"), &json!(500)));
}

#[test]
fn a_form_that_is_refused_keeps_what_was_typed_and_points_at_the_field() {
    let server = Server::start();
    acme(&server);
    let mut ops = administrator(&server);
    let typed = [("meter", "tokens"), ("amount", "12.5"), ("reason", "half a \"token\"")];
    let page = ops.submit("/admin/organizations/acme/do/grant", &typed).is(422).text;
    assert!(page.contains("id=\"field-amount-error\"") && page.contains("aria-invalid=\"true\""), "{page}");
    assert!(page.contains("value=\"12.5\"") && page.contains("half a &#34;token&#34;</textarea>"), "{page}");
    assert!(page.contains("<option value=\"tokens\" selected>"), "{page}");
    assert!(server.admin().list("/v1/organizations/acme/grants").is_empty());
    let page = ops.submit("/admin/organizations/acme/do/lock", &[("reason", " ")]).is(422).text;
    assert!(page.contains("id=\"field-reason-error\""), "{page}");
    let page = ops.submit("/admin/organizations/acme/do/delete", &[("confirm", "acne"), ("reason", " ")]).is(422).text;
    assert!(page.contains("Type acme to go on.") && page.contains("id=\"field-reason-error\""), "{page}");
    let page = ops.submit("/admin/do/plan?key=pro", &[("definition", "{\"limits\": [")]).is(422).text;
    assert!(page.contains("This is no JSON") && page.contains("{&#34;limits&#34;: ["), "{page}");
}

#[test]
fn a_form_that_is_sent_twice_is_done_once() {
    let server = Server::start();
    acme(&server);
    let mut ops = administrator(&server);
    let mut form = ops.form("/admin/organizations/acme/do/grant");
    for (name, value) in [("meter", "messages"), ("amount", "5"), ("reason", "sorry")] {
        form.insert(name.to_owned(), value.to_owned());
    }
    for _ in 0..2 {
        done(&ops.send("/admin/organizations/acme/do/grant", &form).is(303), "granted");
    }
    assert_eq!(server.admin().list("/v1/organizations/acme/grants").len(), 1);
}

#[test]
fn what_another_site_or_another_session_sends_changes_nothing() {
    let server = Server::start();
    acme(&server);
    let mut ops = administrator(&server);
    let mut form = ops.form("/admin/organizations/acme/do/lock");
    form.insert("reason".to_owned(), "evil".to_owned());
    ops.sent_elsewhere("/admin/organizations/acme/do/lock", &form).is(403);
    let mut without = form.clone();
    without.remove("csrf");
    assert!(ops.send("/admin/organizations/acme/do/lock", &without).is(403).text.contains("another session"));
    // A second session of the same user has another proof.
    let mut again = Browser::new(&server);
    again.submit("/sign-in", &[("email", "ops@example.com"), ("password", PASSWORD)]).is(303);
    again.send("/admin/organizations/acme/do/lock", &form).is(403);
    assert_eq!(server.admin().get("/v1/organizations/acme").is(200).json()["locked"], false);
    done(&ops.send("/admin/organizations/acme/do/lock", &form).is(303), "locked");
    // An administrator by key alone has no session, and so no pages.
    assert_eq!(server.admin().call("GET", "/admin").send().is(303).header("location"), Some("/sign-in?next=%2Fadmin"));
}

#[test]
fn what_is_the_teams_is_changed_by_forms() {
    let server = Server::start();
    let mut ops = administrator(&server);
    let new = [("name", "Globex"), ("key", "globex"), ("plan", "pro"), ("timeZone", "America/New_York")];
    let made = ops.submit("/admin/do/new-organization", &new).is(303);
    assert_eq!(made.header("location"), Some("/admin/organizations/globex?done=created"));
    assert!(ops.page("/admin/organizations/globex?done=created").contains("role=\"status\">Organization created<"));
    assert!(!ops.page("/admin?done=%3Cb%3Eowned").contains("owned"), "an address says nothing of its own");
    let meter = [("key", "pages"), ("name", "Pages"), ("unit", "page"), ("dimensions", "format, region")];
    done(&ops.submit("/admin/do/meter", &meter).is(303), "meter-saved");
    assert_eq!(server.admin().get("/v1/meters/pages").is(200).json()["dimensions"], json!(["format", "region"]));
    let definition = r#"{"name": "Team", "limits": [{"meter": "pages", "window": "day", "max": 10}]}"#;
    done(&ops.submit("/admin/do/plan", &[("key", "team"), ("definition", definition)]).is(303), "plan-saved");
    assert!(ops.page("/admin/plans").contains(">10<"), "plans stand side by side");
    // What is meant as new replaces nothing.
    for (form, typed) in
        [("plan", [("key", "pro"), ("definition", "{}")]), ("meter", [("key", "tokens"), ("name", "x")])]
    {
        let page = ops.submit(&format!("/admin/do/{form}"), &typed).is(422).text;
        assert!(page.contains("There is one with this key"), "{form}: {page}");
    }
    assert_eq!(server.admin().get("/v1/plans/pro").is(200).json()["version"], 1);
    let shown = ops.submit("/admin/do/key", &[("name", "backend"), ("scope.read", "true")]).is(200).text;
    let (_, rest) = shown.split_once("id=\"secret\" value=\"").unwrap();
    let key = rest.split_once('"').unwrap().0;
    let me = server.client(key).get("/v1/me").is(200).json();
    assert_eq!((&me["name"], &me["scopes"]), (&json!("backend"), &json!(["consume", "read"])));
    assert!(!ops.page("/admin/keys").contains(key), "a key is shown once");
    let id = me["keyId"].as_str().unwrap();
    done(&ops.submit(&format!("/admin/do/revoke-key?key={id}"), &[("reason", "it leaked")]).is(303), "key-revoked");
    server.client(key).get("/v1/me").is(401);
    let face = [("teamName", "Initech"), ("color", "#0a7f5a"), ("contact", "help@initech.example")];
    done(&ops.submit("/admin/do/settings", &face).is(303), "settings");
    assert!(ops.page("/admin/settings").contains("Initech") && ops.get("/assets/team.css").text.contains("#0a7f5a"));
    let link = ops.submit("/admin/do/administrator", &[("email", "two@example.com")]).is(200).text;
    let (_, rest) = link.split_once("/sign-in?token=").unwrap();
    let token = rest.split_once('"').unwrap().0;
    let mut two = Browser::new(&server);
    two.page(&format!("/sign-in?token={token}"));
    two.submit(&format!("/sign-in?token={token}"), &[]).is(303);
    assert_eq!(two.led("/"), "/admin");
}
