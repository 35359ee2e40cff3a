//! Forms that take something away ask why; who is invited is seen, and is invited again or no more.

use serde_json::{Value, json};

use super::super::client::Client;
use super::super::server::Server;
use super::browser::Browser;
use super::members::{joined, signed_up};
use super::{PASSWORD, administrator, done};

fn id_of(value: &Value) -> String {
    value["id"].as_str().unwrap_or_else(|| panic!("no id in {value}")).to_owned()
}

/// Sent without a reason it is shown again; with one it is done, and the log tells the reason.
fn taken_away(browser: &mut Browser, path: &str, word: &str, log: &str) {
    for typed in [&[][..], &[("reason", " ")]] {
        let refused = browser.submit(path, typed).is(422).text;
        assert!(refused.contains("id=\"field-reason-error\"") && refused.contains("Say why."), "{path}: {refused}");
    }
    // Also where the field is not sent at all.
    let mut form = browser.form(path);
    form.remove("reason");
    browser.send(path, &form).is(422);
    let reason = format!("for {word}, with <care>");
    done(&browser.submit(path, &[("reason", &reason)]).is(303), word);
    let shown = browser.page(log);
    assert!(shown.contains(&format!("for {word}, with &#60;care&#62;")), "{path}: {shown}");
}

fn link(admin: &Client, path: &str, email: &str) -> String {
    admin.post(path, json!({"email": email, "role": "viewer"})).is(201).json()["url"].as_str().unwrap().to_owned()
}

#[test]
fn what_is_taken_away_is_taken_away_with_a_reason_that_the_log_shows() {
    let server = Server::with(&[("METERGATE_WEBHOOK_ALLOW", "127.0.0.0/8")]);
    let (mut ops, admin) = (administrator(&server), server.admin());
    signed_up(&server, "ada@example.com");
    joined(&server, "ada", "eve@example.com", "viewer");
    admin.put("/v1/meters/gone", json!({"aggregation": "sum"})).is(201);
    admin.put("/v1/plans/gone", json!({"name": "Gone"})).is(201);
    let price = json!({"model": "gone", "effectiveFrom": "2026-01-02", "input": "1"});
    admin.patch("/v1/prices", json!({"set": [price]})).is(200);
    let endpoint =
        id_of(&admin.post("/v1/webhook-endpoints", json!({"url": "https://127.0.0.1:8443/"})).is(201).json());
    let key = id_of(&admin.post("/v1/api-keys", json!({"name": "k", "scopes": ["read"]})).is(201).json());
    let own = admin.post("/v1/organizations/ada/api-keys", json!({"name": "k", "scopes": ["read"]})).is(201).json();
    let root = json!({"email": "root@example.com", "password": PASSWORD});
    let root = id_of(&admin.post("/v1/administrators", root).is(201).json());
    let members = admin.list("/v1/organizations/ada/members");
    let eve = id_of(members.iter().find(|member| member["email"] == "eve@example.com").unwrap());
    let at = "/admin/organizations/ada/do";
    let (team, of_ada) = ("/admin/audit", "/admin/organizations/ada/audit");
    let cases = [
        ("/admin/do/delete-meter?key=gone".to_owned(), "meter-deleted", team),
        ("/admin/do/delete-plan?key=gone".to_owned(), "plan-deleted", team),
        ("/admin/do/remove-price?model=gone&effectiveFrom=2026-01-02".to_owned(), "price-removed", team),
        (format!("/admin/do/disable-webhook?endpoint={endpoint}"), "webhook-disabled", team),
        (format!("/admin/do/delete-webhook?endpoint={endpoint}"), "webhook-deleted", team),
        (format!("/admin/do/revoke-key?key={key}"), "key-revoked", team),
        (format!("/admin/do/remove-administrator?administrator={root}"), "administrator-removed", team),
        (format!("{at}/revoke-key?key={}", id_of(&own)), "key-revoked", of_ada),
        (format!("{at}/remove-member?member={eve}"), "member-removed", of_ada),
    ];
    for (path, word, log) in &cases {
        taken_away(&mut ops, path, word, log);
    }
    admin.get("/v1/meters/gone").is(404);
    admin.get("/v1/plans/gone").is(404);
    assert_eq!(admin.list("/v1/organizations/ada/members").len(), 1);
}

#[test]
fn the_last_administrator_is_told_so_and_whoever_removes_themselves_that_they_do() {
    let server = Server::start();
    let (mut ops, admin) = (administrator(&server), server.admin());
    let me = id_of(&admin.list("/v1/administrators")[0]);
    let path = format!("/admin/do/remove-administrator?administrator={me}");
    let form = ops.page(&path);
    assert!(form.contains("This is you") && form.contains("Nobody else can sign in as an administrator"), "{form}");
    let refused = ops.submit(&path, &[("reason", "tired")]).is(409).text;
    assert!(refused.contains("Not done.") && refused.contains("add another one first"), "{refused}");
    assert!(refused.contains("tired"), "what was typed is kept");
    // Somebody else is invited, and is seen so until they come.
    let made = ops.submit("/admin/do/administrator", &[("email", "eve@example.com")]).is(200).text;
    let token = made.split_once("/sign-in?token=").unwrap().1.split_once('"').unwrap().0.to_owned();
    let settings = ops.page("/admin/settings");
    for said in
        [">invited<", "by Ops; the link works until", ">you<", "password-link?email=eve%40example.com", ">Withdraw<"]
    {
        assert!(settings.contains(said), "{said}: {settings}");
    }
    assert!(ops.page("/admin/do/password-link?email=eve%40example.com").contains("value=\"eve@example.com\""));
    let mut eve = Browser::new(&server);
    eve.submit(&format!("/sign-in?token={token}"), &[("password", PASSWORD)]).is(303);
    assert!(!ops.page("/admin/settings").contains(">invited<"));
    assert!(!ops.page(&path).contains("Nobody else can sign in"));
    done(&ops.submit(&path, &[("reason", "tired")]).is(303), "administrator-removed");
    assert!(ops.led("/admin").starts_with("/sign-in"));
    assert!(eve.page("/admin/audit").contains("tired"));
}

#[test]
fn who_is_invited_is_seen_at_the_members_invited_again_and_withdrawn() {
    let server = Server::start();
    let (mut ops, admin) = (administrator(&server), server.admin());
    let mut ada = signed_up(&server, "ada@example.com");
    let mut viewer = joined(&server, "ada", "viewer@example.com", "viewer");
    let (page, own) = ("/admin/organizations/ada/members", "/organizations/ada/settings/members");
    assert!(!ops.page(page).contains("Link works until"));
    let invited =
        ada.submit("/organizations/ada/settings/do/invite", &[("email", "bob@example.com"), ("role", "admin")]);
    let first = invited.is(200).text.split_once("/join?token=").unwrap().1.split_once('"').unwrap().0.to_owned();
    link(&admin, "/v1/organizations/ada/invitations", "carl@example.com");
    for (browser, page, may) in [(&mut ops, page, true), (&mut ada, own, true), (&mut viewer, own, false)] {
        let shown = browser.page(page);
        for said in ["Link works until", "bob@example.com", "carl@example.com", "by ada", "by administrator"] {
            assert!(shown.contains(said), "{said}: {shown}");
        }
        assert_eq!((shown.contains("Send again"), shown.contains("withdraw-invitation")), (may, may), "{shown}");
        let found = browser.page(&format!("{page}?search=carl"));
        assert!(found.contains("carl@example.com") && !found.contains("bob@example.com"), "{found}");
    }
    let all = admin.list("/v1/organizations/ada/invitations");
    let [bob, carl] = [id_of(&all[0]), id_of(&all[1])];
    let again = format!("/organizations/ada/settings/do/invite-again?invitation={bob}");
    assert!(ada.page(&again).contains("bob@example.com gets another link"));
    let sent = ada.submit(&again, &[]).is(200).text;
    let second = sent.split_once("/join?token=").unwrap().1.split_once('"').unwrap().0.to_owned();
    assert_ne!(first, second);
    assert_eq!(admin.list("/v1/organizations/ada/invitations").len(), 2);
    let withdrawn = format!("/admin/organizations/ada/do/withdraw-invitation?invitation={carl}");
    assert!(ops.page(&withdrawn).contains("carl@example.com"));
    taken_away(&mut ops, &withdrawn, "invitation-withdrawn", "/admin/organizations/ada/audit");
    assert!(!ops.page(page).contains("carl@example.com"));
    viewer.get(&format!("/organizations/ada/settings/do/withdraw-invitation?invitation={bob}")).is(403);
    let gone = ops.submit(&withdrawn, &[("reason", "again")]).is(404).text;
    assert!(gone.contains("Not done."), "{gone}");
    let mut late = Browser::new(&server);
    let typed = [("name", "Bob"), ("email", "bob@example.com"), ("password", PASSWORD)];
    late.submit(&format!("/join?token={second}"), &typed).is(303);
    assert!(!ada.page(own).contains("Link works until"));
}
