//! Pages of an organization's members, and the portal.

use serde_json::json;

use super::super::server::Server;
use super::browser::Browser;
use super::{PASSWORD, administrator, done};

/// Somebody who has made an organization of their own.
pub(super) fn signed_up(server: &Server, email: &str) -> Browser {
    let mut browser = Browser::new(server);
    let name = email.split('@').next().unwrap();
    let typed = [("name", name), ("organizationName", name), ("email", email), ("password", PASSWORD)];
    assert_eq!(browser.submit("/sign-up", &typed).is(303).header("location"), Some("/portal"));
    browser
}

/// A member of an organization with a role.
pub(super) fn joined(server: &Server, organization: &str, email: &str, role: &str) -> Browser {
    let body = json!({"email": email, "role": role});
    let path = format!("/v1/organizations/{organization}/invitations");
    let link = server.admin().post(&path, body).is(201).json()["url"].as_str().unwrap().to_owned();
    let path = link.strip_prefix(&server.url).unwrap();
    let mut browser = Browser::new(server);
    browser.submit(path, &[("name", role), ("email", email), ("password", PASSWORD)]).is(303);
    browser
}

#[test]
fn members_see_their_own_organization_and_of_others_nothing() {
    let server = Server::start();
    let (mut ada, mut eve) = (signed_up(&server, "ada@example.com"), signed_up(&server, "eve@example.com"));
    assert!(ada.page("/portal").contains("<h1>ada</h1>") && eve.page("/portal").contains("<h1>eve</h1>"));
    for tab in ["", "/limits", "/cycle", "/members", "/keys", "/audit", "/explain"] {
        assert!(ada.page(&format!("/organizations/ada/settings{tab}")).contains("<h1>ada</h1>"), "{tab}");
        let of_ada = eve.get(&format!("/organizations/ada/settings{tab}")).is(404);
        let of_nobody = eve.get(&format!("/organizations/nobody/settings{tab}")).is(404);
        assert_eq!(of_ada.text, of_nobody.text, "{tab}");
    }
    for path in ["/portal?org=", "/portal/billing?org=", "/dashboard/settings?org="] {
        assert_eq!(eve.get(&format!("{path}ada")).is(404).text, eve.get(&format!("{path}nobody")).is(404).text);
    }
    let form = ada.form("/organizations/ada/settings/do/profile");
    let of_eve = eve.form("/organizations/eve/settings/do/profile");
    let mut sent = form;
    sent.insert("csrf".to_owned(), of_eve["csrf"].clone());
    sent.insert("name".to_owned(), "taken".to_owned());
    eve.send("/organizations/ada/settings/do/profile", &sent).is(404);
    assert!(ada.page("/portal").contains("<h1>ada</h1>"));
    assert_eq!(ada.led("/dashboard/settings"), "/organizations/ada/settings");
}

#[test]
fn roles_see_and_do_what_is_theirs() {
    let server = Server::start();
    signed_up(&server, "ada@example.com");
    #[rustfmt::skip]
    let cases = [ // role, changes the cycle
        ("viewer", false),
        ("editor", false),
        ("admin",  true),
        ("owner",  true),
    ];
    for (role, may) in cases {
        let mut browser = joined(&server, "ada", &format!("{role}@example.com"), role);
        let page = browser.page("/organizations/ada/settings");
        assert_eq!(page.contains("Change Billing Cycle"), may, "{role}");
        assert!(!page.contains("Reset Quota") && !page.contains("Platform Admin Only"), "{role}");
        let form = browser.get("/organizations/ada/settings/do/cycle");
        assert_eq!(form.status, if may { 200 } else { 403 }, "{role}");
        browser.get("/organizations/ada/settings/do/reset").is(404);
        if !may {
            // The server refuses it too, whatever form was sent.
            let mut form = browser.form("/organizations/ada/settings");
            let proof = browser.page("/organizations/ada/settings");
            let proof = proof.split_once("name=\"csrf\" value=\"").unwrap().1.split_once('"').unwrap().0.to_owned();
            form.extend([("csrf".to_owned(), proof), ("billingCycleStartDate".to_owned(), "2026-01-01".to_owned())]);
            browser.send("/organizations/ada/settings/do/cycle", &form).is(403);
        }
    }
    let mut ops = administrator(&server);
    let page = ops.page("/organizations/ada/settings");
    assert!(
        page.contains("Platform Admin Only") && page.contains("Reset Quota") && page.contains("Change Billing Cycle")
    );
    assert_eq!(ops.led("/dashboard/settings?org=ada"), "/admin/organizations/ada#overrides");
}

#[test]
fn the_billing_cycle_is_previewed_and_moved_and_cards_change_at_once() {
    let server = Server::start();
    let mut ada = signed_up(&server, "ada@example.com");
    let path = "/organizations/ada/settings/do/cycle";
    let dialog = ada.page(path);
    for said in ["Update Billing Cycle", "Current billing period", "The quota counter will not be reset immediately."] {
        assert!(dialog.contains(said), "{said}: {dialog}");
    }
    assert!(dialog.contains("Data shown for"), "the date that it begins with is previewed: {dialog}");
    let preview = ada.page(&format!("{path}?billingCycleStartDate=2026-01-15"));
    assert!(preview.contains("value=\"2026-01-15\"") && preview.contains("Data shown for"), "{preview}");
    assert!(!preview.contains("csrf="), "the proof stands in no address");
    let wrong = ada.page(&format!("{path}?billingCycleStartDate=soon"));
    assert!(wrong.contains("id=\"field-billingCycleStartDate-error\""), "{wrong}");
    let refused = ada.submit(path, &[("billingCycleStartDate", "2999-01-01")]).is(422).text;
    for said in ["id=\"field-billingCycleStartDate-error\"", "value=\"2999-01-01\"", "will not be reset immediately"] {
        assert!(refused.contains(said), "the dialog comes back as it was: {said} in {refused}");
    }
    let decision = json!({"organization": "ada", "meter": "messages", "quantity": 7});
    server.admin().post("/v1/consume", decision).is(200);
    done(&ada.submit(path, &[("billingCycleStartDate", "2026-01-15")]).is(303), "cycle");
    let page = ada.page("/organizations/ada/settings?done=cycle");
    assert!(page.contains("Billing cycle updated"), "{page}");
    let (_, rest) = page.split_once("Data shown for ").unwrap();
    assert!(
        rest.starts_with(|c: char| c.is_ascii_uppercase()) && rest.split('<').next().unwrap().contains(" 15 – "),
        "{rest}"
    );
    assert!(
        page.contains("7 of 1,000") || page.contains("7 messages") || page.contains(">7<"),
        "counters keep their value: {page}"
    );
}

#[test]
fn a_portal_link_opens_by_its_button_once_and_shows_one_organization() {
    let server = Server::start();
    let mut ada = signed_up(&server, "ada@example.com");
    signed_up(&server, "eve@example.com");
    let made = server.admin().post("/v1/organizations/ada/portal-sessions", json!({})).is(201).json();
    let path = made["url"].as_str().unwrap().strip_prefix(&server.url).unwrap().to_owned();
    let mut guest = Browser::new(&server);
    for _ in 0..3 {
        assert!(guest.page(&path).contains("data-at-once"), "looking at it opens nothing");
    }
    assert_eq!(guest.submit(&path, &[]).is(303).header("location"), Some("/portal"));
    assert!(guest.page("/portal").contains("<h1>ada</h1>") && guest.page("/portal/billing").contains("Next reset"));
    guest.get("/portal?org=eve").is(404);
    guest.get("/admin").is(404);
    assert!(Browser::new(&server).submit(&path, &[]).is(409).text.contains("used already"));
    server.admin().put("/v1/organizations/ada/lock", json!({"reason": "unpaid"})).is(200);
    server.admin().patch("/v1/settings", json!({"contact": "billing@initech.example"})).is(200);
    for browser in [&mut guest, &mut ada] {
        let page = browser.page("/portal");
        assert!(page.contains("Account locked") && page.contains("billing@initech.example"), "{page}");
    }
}

#[test]
fn links_for_passwords_and_invitations_are_opened_by_their_buttons() {
    let server = Server::start();
    let mut ada = signed_up(&server, "ada@example.com");
    let made = server.admin().post("/v1/password-resets", json!({"email": "ada@example.com"})).is(201).json();
    let path = made["url"].as_str().unwrap().strip_prefix(&server.url).unwrap().to_owned();
    let mut again = Browser::new(&server);
    assert!(again.submit(&path, &[("password", "short")]).is(422).text.contains("id=\"field-password-error\""));
    again.submit(&path, &[("password", "another horse battery")]).is(303);
    assert_eq!(again.led("/"), "/portal");
    assert!(ada.led("/portal").starts_with("/sign-in"), "other sessions end");
    // Somebody who is signed in joins as themselves.
    let mut eve = signed_up(&server, "eve@example.com");
    let body = json!({"email": "eve@example.com", "role": "admin"});
    let link = server.admin().post("/v1/organizations/ada/invitations", body).is(201).json();
    let path = link["url"].as_str().unwrap().strip_prefix(&server.url).unwrap().to_owned();
    assert!(eve.page(&path).contains("You join as eve@example.com."));
    done(&eve.submit(&path, &[]).is(303), "joined");
    assert!(eve.page("/portal?org=ada").contains("<h1>ada</h1>"));
    let invited =
        again.submit("/organizations/ada/settings/do/invite", &[("email", "new@example.com"), ("role", "viewer")]);
    assert!(invited.is(200).text.contains("/join?token="));
    done(&again.submit("/organizations/ada/settings/do/profile", &[("name", "Ada & Co")]).is(303), "profile");
    assert!(again.page("/portal").contains("<h1>Ada &#38; Co</h1>"));
}
