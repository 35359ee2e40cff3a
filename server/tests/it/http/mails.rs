//! Mail to people (N5), by a mail server that takes it, refuses it for now or for good, or says nothing.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::client::Client;
use super::people::{Person, sign_up, verify};
use super::server::Server;

#[path = "mails/choices.rs"]
mod choices;
#[path = "mails/smtp.rs"]
mod smtp;

use smtp::{How, Letter, Smtp};

const PASSWORD: &str = "another password";

fn started(smtp: &Smtp) -> Server {
    Server::with(&[("METERGATE_SMTP_URL", &smtp.url), ("METERGATE_SMTP_FROM", "usage@example.com")])
}

fn ask_reset(server: &Server, email: &str) {
    let answer = server.stranger().post("/v1/password-resets/request", json!({"email": email})).is(202);
    assert_eq!(answer.text, "");
}

fn choose(server: &Server, token: &str) -> u16 {
    server.stranger().post("/v1/sessions", json!({"token": token, "password": PASSWORD})).status
}

fn is_verified(person: &Person) -> Value {
    person.client.get("/v1/me").is(200).json()["user"]["emailVerified"].clone()
}

fn confirm(client: &Client, letter: &Letter) -> u16 {
    client.post("/v1/email-verifications/confirm", json!({"token": letter.token()})).status
}

/// Whether a text stands anywhere in a folder.
fn stands_in(folder: &Path, text: &str) -> bool {
    fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return stands_in(&path, text);
        }
        // What was there a moment ago may have gone.
        let bytes = fs::read(&path).unwrap_or_default();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}

#[test]
fn who_registers_is_sent_a_link_that_confirms_their_address() {
    let smtp = Smtp::start();
    let server = started(&smtp);
    server.admin().patch("/v1/settings", json!({"teamName": "Grace & Söhne"})).is(200);
    let ada = sign_up(&server, "ada@example.com");
    let letter = smtp.letter(0);
    assert_eq!((letter.from.as_str(), letter.to.as_str()), ("usage@example.com", "ada@example.com"));
    assert!(letter.link().starts_with(&format!("{}/verify?token=mgs_", server.url)), "{}", letter.data);
    assert!(
        letter.text().contains("Grace & Söhne") && letter.text().contains("Grace &amp; Söhne"),
        "{}",
        letter.text()
    );
    assert!(!stands_in(server.folder(), &letter.token()), "no token stands in the store, or in the log");
    assert_eq!(confirm(&ada.client, &letter), 200);
    assert_eq!(is_verified(&ada), true);
    ada.client.call("POST", "/v1/email-verifications/request").send().expect_problem(409, "already-verified");
}

#[test]
fn a_password_is_chosen_anew_by_a_mail_and_nobody_learns_who_is_there() {
    let smtp = Smtp::start();
    let server = started(&smtp);
    let ada = sign_up(&server, "ada@example.com");
    let verification = smtp.letter(0);
    ask_reset(&server, "nobody@example.com");
    ask_reset(&server, "ADA@example.com");
    let letter = smtp.letter(1);
    assert_eq!(letter.to, "ada@example.com");
    assert!(letter.link().starts_with(&format!("{}/reset?token=mgs_", server.url)), "{}", letter.data);
    assert_eq!((choose(&server, &verification.token()), choose(&server, &letter.token())), (409, 200));
    assert_eq!(choose(&server, &letter.token()), 409);
    let login = json!({"email": "ada@example.com", "password": PASSWORD});
    let again = server.stranger().post("/api/auth/login", login).is(200).json();
    assert_eq!(again["user"]["emailVerified"], true, "who reads what is sent there has the address");
    ada.client.get("/v1/me").is(401);
    let team = server.admin().list("/v1/audit-log?category=auth");
    let asked: Vec<_> = team.iter().filter(|entry| entry["after"]["by"] == "mail").collect();
    assert_eq!(
        (asked.len(), &asked[0]["actor"], &asked[0]["after"]["link"]),
        (1, &"anonymous".into(), &"password-reset".into())
    );
    assert_eq!(smtp.count(), 2, "nothing for whom there is not");
    let ask = |_| server.stranger().post("/v1/password-resets/request", json!({"email": "x@example.com"})).status;
    let statuses: Vec<u16> = (0..12).map(ask).collect();
    assert_eq!((statuses[0], statuses[11]), (202, 429));
    server.stranger().post("/v1/password-resets/request", json!({"email": "x"})).expect_problem(422, "validation");
}

#[test]
fn who_is_invited_is_sent_a_link_and_joins_by_one_alone() {
    let smtp = Smtp::start();
    let server = started(&smtp);
    let ada = sign_up(&server, "ada@example.com");
    assert_eq!(confirm(&ada.client, &smtp.letter(0)), 200);
    let path = format!("/v1/organizations/{}/invitations", ada.organization);
    let passed_on = ada.client.post(&path, json!({"email": "bob@example.com", "role": "viewer"})).is(201).json();
    let letter = smtp.letter(1);
    assert_eq!(letter.to, "bob@example.com");
    assert!(letter.link().starts_with(&format!("{}/join?token=mgs_", server.url)), "{}", letter.data);
    assert_ne!(letter.token(), passed_on["token"].as_str().unwrap());
    let register = |token: &str, email: &str| {
        let form = json!({"email": email, "password": PASSWORD, "name": "Bob", "invitation": token});
        server.stranger().post("/api/auth/register", form)
    };
    assert_eq!(register(&letter.token(), "eve@example.com").status, 403);
    let bob = register(&letter.token(), "bob@example.com").is(201).json();
    assert_eq!(bob["organizations"].as_array().unwrap().len(), 1);
    ada.client.delete(&format!("{}/{}", ada.members(), bob["user"]["id"].as_str().unwrap())).is(204);
    let bob = server.client(bob["token"].as_str().unwrap());
    let again = bob.post("/v1/invitations/accept", json!({"token": passed_on["token"]}));
    again.expect_problem(409, "link-spent");
}

#[test]
fn who_cannot_be_reached_invites_nobody_by_mail_and_nobody_has_many_strangers_written_to() {
    let smtp = Smtp::start();
    let server = started(&smtp);
    let ada = sign_up(&server, "ada@example.com");
    let verification = smtp.letter(0);
    let path = format!("/v1/organizations/{}/invitations", ada.organization);
    let invite =
        |client: &Client, path: &str, email: &str| client.post(path, json!({"email": email, "role": "viewer"}));
    for path in [&path, &ada.members()] {
        invite(&ada.client, path, "bob@example.com").expect_problem(403, "email-not-verified");
    }
    assert_eq!(confirm(&ada.client, &verification), 200);
    let statuses: Vec<u16> = (0..20).map(|i| invite(&ada.client, &path, &format!("{i}@example.com")).status).collect();
    // Those two that were refused count.
    assert_eq!(statuses[..18], [201; 18]);
    assert_eq!(statuses[18..], [429; 2]);
    invite(&ada.client, &ada.members(), "bob@example.com").expect_problem(429, "too-many-requests");
    // An operator is free, but what they have mailed is open, too.
    for i in 20..102 {
        invite(&server.admin(), &path, &format!("{i}@example.com")).is(201);
    }
    let eve = sign_up(&server, "eve@example.com");
    verify(&server, &eve);
    server.admin().post(&ada.members(), json!({"email": "eve@example.com", "role": "admin"})).is(201);
    invite(&eve.client, &path, "new@example.com").expect_problem(409, "too-many-invitations");
    invite(&eve.client, &path, "3@example.com").is(201);
}

#[test]
fn a_mail_that_is_refused_for_now_is_sent_again_with_another_link() {
    let smtp = Smtp::start();
    let server = started(&smtp);
    smtp.next([How::Later]);
    let ada = sign_up(&server, "ada@example.com");
    let (first, second) = (smtp.letter(0), smtp.letter(1));
    assert_eq!((first.to.as_str(), second.to.as_str()), ("ada@example.com", "ada@example.com"));
    assert_eq!((confirm(&ada.client, &first), confirm(&ada.client, &second)), (409, 200));
}

#[test]
fn a_mail_that_is_refused_for_good_is_not_tried_again_and_holds_up_no_other() {
    let smtp = Smtp::start();
    let server = started(&smtp);
    smtp.next([How::Never]);
    let ada = sign_up(&server, "ada@example.com");
    smtp.letter(0);
    let bob = sign_up(&server, "bob@example.com");
    assert_eq!(smtp.letter(1).to, "bob@example.com");
    // One that still waited would be the one that is sent.
    ada.client.call("POST", "/v1/email-verifications/request").send().is(202);
    let letter = smtp.letter(2);
    assert_eq!((letter.to.as_str(), confirm(&ada.client, &letter)), ("ada@example.com", 200));
    assert!(!is_verified(&bob).as_bool().unwrap());
    assert!(!server.log().contains("ada@example.com"), "{}", server.log());
}

#[test]
fn a_mail_server_that_says_nothing_holds_up_nobody() {
    let smtp = Smtp::start();
    let server = started(&smtp);
    smtp.next([How::Hang]);
    let ada = sign_up(&server, "ada@example.com");
    smtp.hung();
    let bob = sign_up(&server, "bob@example.com");
    let letters = [smtp.letter(0), smtp.letter(1)];
    for person in [&ada, &bob] {
        assert!(letters.iter().any(|letter| confirm(&person.client, letter) == 200));
    }
}

#[test]
fn a_mail_that_waits_outlives_its_server() {
    let smtp = Smtp::start();
    let mut server = started(&smtp);
    smtp.next([How::Hang]);
    let ada = sign_up(&server, "ada@example.com");
    smtp.hung();
    server.kill();
    server.start_again();
    let letter = smtp.letter(0);
    assert_eq!(confirm(&server.client(ada.token()), &letter), 200);
}

#[test]
fn owners_and_admins_whose_address_is_theirs_are_told_that_a_limit_is_used_up_and_that_a_trial_is_over() {
    let smtp = Smtp::start();
    let server = started(&smtp);
    let [ada, bob, eve] =
        ["ada@example.com", "bob@example.com", "eve@example.com"].map(|email| sign_up(&server, email));
    for person in [&ada, &bob] {
        let letters = [0, 1, 2].map(|number| smtp.letter(number));
        let own = letters.iter().find(|letter| letter.to == person.email).unwrap();
        assert_eq!(confirm(&person.client, own), 200);
    }
    ada.client.post(&ada.members(), json!({"email": "bob@example.com", "role": "viewer"})).is(201);
    let admin = server.admin();
    let limits = json!([
        {"meter": "generations", "window": "billingPeriod", "max": 10},
        {"meter": "api_calls", "window": "day", "max": 10},
    ]);
    admin.put("/v1/plans/small", json!({"limits": limits})).is(201);
    smtp.next([How::Later]);
    // A plan without a trial ends the one that runs. Of Eve's address nobody knows that it is hers.
    for organization in [&eve.organization, &ada.organization] {
        admin.put(&format!("/v1/organizations/{organization}/plan"), json!({"plan": "small"})).is(200);
    }
    for (meter, quantity) in [("api_calls", 10), ("generations", 9), ("generations", 1), ("generations", 1)] {
        let asked = json!({"organization": ada.organization, "meter": meter, "quantity": quantity});
        admin.post("/v1/consume", asked).is(200);
    }
    let about = |letter: &Letter| {
        assert_eq!(letter.to, "ada@example.com", "neither a viewer nor who may be somebody else");
        assert_eq!(letter.link(), format!("{}/portal?org={}", server.url, ada.organization));
        let text = letter.text();
        ["The trial of", "has used 80 % or more of its", "has used all of its"].map(|words| text.contains(words))
    };
    // What is refused for now is tried again.
    let letters = [3, 4, 5, 6].map(|number| about(&smtp.letter(number)));
    for expected in [[true, false, false], [false, true, false], [false, false, true]] {
        assert!(letters.contains(&expected), "{letters:?}");
    }
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!(smtp.count(), 7, "each is told once");
}

#[test]
fn a_notice_has_the_organizations_zone_names_whom_to_ask_and_leads_to_the_organization_it_is_about() {
    let smtp = Smtp::start();
    let server = started(&smtp);
    let ada = sign_up(&server, "ada@example.com");
    assert_eq!(confirm(&ada.client, &smtp.letter(0)), 200);
    let (admin, path) = (server.admin(), format!("/v1/organizations/{}", ada.organization));
    admin.patch("/v1/settings", json!({"contact": "help@northwind.example"})).is(200);
    admin.patch(&path, json!({"timeZone": "Europe/Berlin"})).is(200);
    let limits = json!([{"meter": "generations", "window": "billingPeriod", "max": 10_000}]);
    admin.put("/v1/plans/small", json!({"limits": limits})).is(201);
    admin.put(&format!("{path}/plan"), json!({"plan": "small"})).is(200);
    assert!(smtp.letter(1).text().contains("is over"));
    let asked = json!({"organization": ada.organization, "meter": "generations", "quantity": 8_000});
    admin.post("/v1/consume", asked).is(200);
    let near = smtp.letter(2);
    assert!(near.text().contains("of 10,000 generations. Beyond it more is refused until"), "{}", near.text());
    assert!(near.text().contains(" (Europe/Berlin).") && !near.text().contains("UTC"), "{}", near.text());
    admin.put(&format!("{path}/lock"), json!({"reason": "r"})).is(200);
    let locked = smtp.letter(3);
    assert!(locked.text().contains("Contact help@northwind.example to have it unlocked."), "{}", locked.text());
    for letter in [near, locked] {
        assert_eq!(letter.link(), format!("{}/portal?org={}", server.url, ada.organization));
    }
}

#[test]
fn a_letter_somebody_waits_for_goes_before_notices_that_were_due_already() {
    let smtp = Smtp::start();
    let server = started(&smtp);
    let ada = sign_up(&server, "ada@example.com");
    assert_eq!(confirm(&ada.client, &smtp.letter(0)), 200);
    let (admin, meters) = (server.admin(), ["api_calls", "generations"]);
    let windows = ["billingPeriod", "month", "lifetime"];
    let limit = |meter, window| json!({"meter": meter, "window": window, "max": 1});
    let limits: Vec<Value> = meters.iter().flat_map(|meter| windows.map(|window| limit(meter, window))).collect();
    admin.put("/v1/plans/tiny", json!({"limits": limits})).is(201);
    smtp.next([How::Slow; 8]);
    admin.put(&format!("/v1/organizations/{}/plan", ada.organization), json!({"plan": "tiny"})).is(200);
    for meter in meters {
        admin.post("/v1/consume", json!({"organization": ada.organization, "meter": meter, "quantity": 1})).is(200);
    }
    smtp.letter(1);
    ask_reset(&server, "ada@example.com");
    let next = [2, 3].map(|number| smtp.letter(number).text());
    assert!(next.iter().any(|text| text.contains("/reset?token=")), "{next:?}");
    // What gave way comes after it: the end of the trial and six limits.
    (4..9).for_each(|number| drop(smtp.letter(number)));
}

#[test]
fn without_a_mail_server_operators_pass_links_on() {
    let server = Server::start();
    let ada = sign_up(&server, "ada@example.com");
    let asked = json!({"email": "ada@example.com"});
    server.stranger().post("/v1/password-resets/request", &asked).expect_problem(409, "no-mail");
    ada.client.call("POST", "/v1/email-verifications/request").send().expect_problem(409, "no-mail");
    let made = server.admin().post("/v1/password-resets", asked).is(201).json();
    assert_eq!(choose(&server, made["token"].as_str().unwrap()), 200);
}
