//! What members are told by mail is what each of them wants, and who got a mail can get no more with one click.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::server::free_address;
use super::{Client, Letter, Person, Server, Smtp, sign_up};

/// Under which others reach the server: it is told to them, and nothing is there.
const PUBLIC: &str = "https://usage.example.com";

fn started(smtp: &Smtp, public: Option<&str>) -> Server {
    let mut settings = vec![("METERGATE_SMTP_URL", smtp.url.as_str()), ("METERGATE_SMTP_FROM", "usage@example.com")];
    let listens_on = free_address();
    if let Some(url) = public {
        settings.extend([("METERGATE_PUBLIC_URL", url), ("METERGATE_LISTEN", &listens_on)]);
    }
    let server = Server::with(&settings);
    let limits = json!([{"meter": "generations", "window": "billingPeriod", "max": 10}]);
    server.admin().put("/v1/plans/small", json!({"limits": limits})).is(201);
    server
}

/// Somebody whose address is known to be theirs, by the letter of this number.
fn known(server: &Server, smtp: &Smtp, number: usize, email: &str) -> Person {
    let person = sign_up(server, email);
    let text = smtp.letter(number).text();
    let token = text.split_once("token=").unwrap().1.split_whitespace().next().unwrap();
    person.client.post("/v1/email-verifications/confirm", json!({"token": token})).is(200);
    person
}

/// Ada with an organization, Bob, who is an editor of it, and Eve, who is a viewer: three letters were sent.
fn three(server: &Server, smtp: &Smtp) -> [Person; 3] {
    let names = ["ada@example.com", "bob@example.com", "eve@example.com"];
    let mut number = 0..;
    let all = names.map(|email| known(server, smtp, number.next().unwrap(), email));
    for (person, role) in all[1..].iter().zip(["editor", "viewer"]) {
        server.admin().post(&all[0].members(), json!({"email": person.email, "role": role})).is(201);
    }
    all
}

fn path(organization: &str, member: &str) -> String {
    format!("/v1/organizations/{organization}/members/{member}/notifications")
}

/// What somebody is told, in the order of the answer.
fn wanted(client: &Client, organization: &str) -> Vec<String> {
    let told = client.get(&path(organization, "me")).is(200).json();
    let names = ["limitNear", "limitReached", "trial", "lock", "payment", "credit"];
    names.into_iter().filter(|name| told[name] == true).map(str::to_owned).collect()
}

fn consume(server: &Server, organization: &str, quantity: u32) {
    let asked = json!({"organization": organization, "meter": "generations", "quantity": quantity});
    assert_eq!(server.admin().post("/v1/consume", asked).is(200).json()["allowed"], true);
}

/// To whom so many letters went after the first ones, and what each is about, in whatever order they came; and that no more come.
fn told(smtp: &Smtp, after: usize, count: usize) -> Vec<(String, &'static str)> {
    let about = |letter: &Letter| {
        let text = letter.text();
        let kinds = [
            ("has used 80 % or more of its", "near"),
            ("has used all of its credit", "credit"),
            ("has used all of its", "reached"),
            ("The trial of", "trial"),
            ("is locked no more", "unlocked"),
            ("is locked:", "locked"),
        ];
        let found = kinds.into_iter().find(|(words, _)| text.contains(words));
        (letter.to.clone(), found.unwrap_or_else(|| panic!("{text}")).1)
    };
    let mut told: Vec<_> = (after..after + count).map(|number| about(&smtp.letter(number))).collect();
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(smtp.count(), after + count, "{told:?} and more");
    told.sort_unstable();
    told
}

#[test]
fn each_member_is_told_what_they_want_and_who_chooses_nothing_what_is_usual_for_their_role() {
    let smtp = Smtp::start();
    let server = started(&smtp, None);
    let [ada, bob, eve] = three(&server, &smtp);
    let (admin, org) = (server.admin(), ada.organization.as_str());
    admin.put(&format!("/v1/organizations/{org}/plan"), json!({"plan": "small"})).is(200);
    let usual = ["limitNear", "limitReached", "trial", "lock", "payment"];
    assert_eq!(wanted(&ada.client, org), usual);
    assert!(wanted(&bob.client, org).is_empty() && wanted(&eve.client, org).is_empty());
    // A plan without a trial has ended the one that ran.
    assert_eq!(told(&smtp, 3, 1), [("ada@example.com".to_owned(), "trial")]);
    let before = 4;

    let changed = ada.client.patch(&path(org, "me"), json!({"limitNear": false, "credit": true})).is(200).json();
    assert_eq!([&changed["email"], &changed["delivered"]], [&json!("ada@example.com"), &json!(true)]);
    bob.client.patch(&path(org, &bob.id), json!({"limitReached": true, "lock": false})).is(200);
    assert_eq!(wanted(&ada.client, org), ["limitReached", "trial", "lock", "payment", "credit"]);
    assert_eq!(wanted(&bob.client, org), ["limitReached"]);
    consume(&server, org, 9);
    consume(&server, org, 1);
    let grant = json!({"meter": "generations", "amount": 5, "reason": "r"});
    admin.post(&format!("/v1/organizations/{org}/grants"), grant).is(201);
    consume(&server, org, 5);
    admin.put(&format!("/v1/organizations/{org}/lock"), json!({"reason": "secret"})).is(200);
    let (to_ada, to_bob) = ("ada@example.com".to_owned(), "bob@example.com".to_owned());
    let expected =
        [(to_ada.clone(), "credit"), (to_ada.clone(), "locked"), (to_ada.clone(), "reached"), (to_bob, "reached")];
    assert_eq!(told(&smtp, before, 4), expected);
    let letters: String = (before..before + 4).map(|number| smtp.letter(number).text()).collect();
    assert!(!letters.contains("secret"), "why an operator locks is for the operator to say");
    // A choice is the organization's log's: who, from what to what.
    admin.delete_because(&format!("/v1/organizations/{org}/lock"), "r").is(204);
    assert_eq!(told(&smtp, before + 4, 1), [(to_ada, "unlocked")]);
    let log = admin.list(&format!("/v1/organizations/{org}/audit-log?action=member.change"));
    let is_of_ada = |entry: &&Value| entry["after"]["user"] == json!(ada.id) && !entry["after"]["mails"].is_null();
    let of_ada: Vec<&Value> = log.iter().filter(is_of_ada).collect();
    let [entry] = of_ada[..] else { panic!("{log:#?}") };
    assert_eq!(entry["before"]["mails"], json!(usual));
    assert_eq!(entry["after"]["mails"], json!(["limitReached", "trial", "lock", "payment", "credit"]));
}

#[test]
fn members_choose_for_themselves_alone_and_operators_for_anybody() {
    let smtp = Smtp::start();
    let server = started(&smtp, None);
    let [ada, bob, eve] = three(&server, &smtp);
    let (admin, org) = (server.admin(), ada.organization.as_str());
    let none = json!({"limitNear": false});
    ada.client.get(&path(org, &bob.id)).expect_problem(403, "forbidden");
    ada.client.patch(&path(org, &bob.id), &none).expect_problem(403, "forbidden");
    eve.client.patch(&path(org, "me"), &none).expect_problem(403, "forbidden");
    assert_eq!(eve.client.get(&path(org, "me")).is(200).json()["delivered"], false);
    let stranger = sign_up(&server, "mallory@example.com").client;
    stranger.get(&path(org, "me")).expect_problem(404, "unknown-organization");
    // A key is nobody who is told anything, but an operator's may name somebody.
    admin.get(&path(org, "me")).expect_problem(404, "not-found");
    assert_eq!(admin.patch(&path(org, &bob.id), json!({"trial": true})).is(200).json()["trial"], true);
    assert_eq!(wanted(&bob.client, org), ["trial"]);
    for (body, status) in
        [(json!({"weather": true}), 422), (json!({"trial": null}), 422), (json!({"trial": "yes"}), 422)]
    {
        assert_eq!(bob.client.patch(&path(org, "me"), body.clone()).status, status, "{body}");
    }
    // What changes nothing is written nowhere.
    let count = || admin.list(&format!("/v1/organizations/{org}/audit-log?action=member.change")).len();
    let before = count();
    bob.client.patch(&path(org, "me"), json!({"trial": true, "lock": false})).is(200);
    bob.client.patch(&path(org, "me"), json!({})).is(200);
    assert_eq!(count(), before);
    // Of a new role they are told what is usual for that, but for what they have chosen; who comes back begins anew.
    admin.patch(&format!("{}/{}", ada.members(), bob.id), json!({"role": "admin"})).is(200);
    bob.client.patch(&path(org, "me"), json!({"lock": false})).is(200);
    assert_eq!(wanted(&bob.client, org), ["limitNear", "limitReached", "trial", "payment"]);
    admin.delete(&format!("{}/{}", ada.members(), bob.id)).is(204);
    admin.post(&ada.members(), json!({"email": bob.email, "role": "admin"})).is(201);
    assert_eq!(wanted(&bob.client, org), ["limitNear", "limitReached", "trial", "lock", "payment"]);
    admin.put(&format!("/v1/organizations/{org}/lock"), json!({"reason": "r"})).is(200);
    bob.client.patch(&path(org, "me"), &none).expect_problem(403, "organization-locked");
}

/// The value of a header of a letter, on one line.
fn header(letter: &Letter, name: &str) -> Option<String> {
    let (head, _) = letter.data.split_once("\r\n\r\n").unwrap();
    let head = head.replace("\r\n ", " ");
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(|value| value.trim().to_owned())
}

/// The path of the link by which its reader gets no more, of a letter that says so to people and to mail programs.
fn refusal(letter: &Letter, org: &str) -> String {
    let named = header(letter, "List-Unsubscribe").unwrap();
    assert_eq!(header(letter, "List-Unsubscribe-Post").as_deref(), Some("List-Unsubscribe=One-Click"));
    let link = named.strip_prefix(&format!("<{PUBLIC}")).and_then(|rest| rest.strip_suffix('>')).unwrap();
    assert!(link.starts_with("/unsubscribe?token=mgu_"), "{named}");
    let text = letter.text();
    assert!(text.contains(&format!("{PUBLIC}{link}")), "{text}");
    assert!(text.contains(&format!("{PUBLIC}/portal/notifications?org={org}")), "{text}");
    link.to_owned()
}

const FORM: &str = "application/x-www-form-urlencoded";
const ONE_CLICK: &str = "List-Unsubscribe=One-Click";

#[test]
fn who_gets_a_mail_gets_no_more_by_one_click_and_its_page_asks_first() {
    let smtp = Smtp::start();
    let mut server = started(&smtp, Some(PUBLIC));
    let ada = known(&server, &smtp, 0, "ada@example.com");
    let org = ada.organization.clone();
    assert_eq!(header(&smtp.letter(0), "List-Unsubscribe"), None, "somebody waits for this one");
    server.admin().put(&format!("/v1/organizations/{org}/plan"), json!({"plan": "small"})).is(200);
    let link = refusal(&smtp.letter(1), &org);
    // Programs that look through mail follow every link.
    let stranger = server.stranger();
    let page = stranger.get(&link).is(200).text;
    assert!(page.contains("Get no more mails") && page.contains(&format!("action=\"{link}\"")), "{page}");
    let other = link.replace("mgu_0", "mgu_1");
    for wrong in ["/unsubscribe", "/unsubscribe?token=", "/unsubscribe?token=mgu_0", other.as_str()] {
        assert_eq!(stranger.call("POST", wrong).body(FORM, ONE_CLICK).send().status, 404, "{wrong}");
    }
    assert_eq!(wanted(&ada.client, &org).len(), 5);
    // Also while it is locked, and after a start: the link says it all.
    server.admin().put(&format!("/v1/organizations/{org}/lock"), json!({"reason": "r"})).is(200);
    // A mail of which it was not noted that it was sent would be sent again.
    assert_eq!(told(&smtp, 2, 1), [("ada@example.com".to_owned(), "locked")]);
    server.kill();
    server.start_again();
    let (stranger, admin) = (server.stranger(), server.admin());
    let multipart = "--b\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--b--\r\n";
    for (kind, body) in [(FORM, ONE_CLICK), ("multipart/form-data; boundary=b", multipart)] {
        let sent =
            stranger.call("POST", &link).header("origin", "https://mail.example").body(kind, body).send().is(200);
        assert!(sent.text.contains("Nothing more is mailed to you"), "{}", sent.text);
    }
    let ada_again = server.client(ada.token());
    assert!(wanted(&ada_again, &org).is_empty());
    admin.delete_because(&format!("/v1/organizations/{org}/lock"), "r").is(204);
    consume(&server, &org, 10);
    assert!(told(&smtp, 3, 0).is_empty());
    refused_once(&admin, &ada_again, &ada, &smtp);
    // Who is no member any more, and who never was, are answered alike.
    admin.delete_because(&format!("/v1/organizations/{org}"), "gone").is(204);
    assert_eq!(stranger.call("POST", &link).body(FORM, ONE_CLICK).send().status, 200);
}

#[test]
fn a_mails_link_says_nothing_of_a_membership_that_begins_anew() {
    let smtp = Smtp::start();
    let server = started(&smtp, Some(PUBLIC));
    let [ada, bob, _] = three(&server, &smtp);
    let (admin, stranger, org) = (server.admin(), server.stranger(), ada.organization.as_str());
    let (lock, member) = (format!("/v1/organizations/{org}/lock"), format!("{}/{}", ada.members(), bob.id));
    let (to_ada, to_bob) = ("ada@example.com".to_owned(), "bob@example.com".to_owned());
    admin.patch(&member, json!({"role": "owner"})).is(200);
    admin.put(&lock, json!({"reason": "r"})).is(200);
    assert_eq!(told(&smtp, 3, 2), [(to_ada.clone(), "locked"), (to_bob.clone(), "locked")]);
    let letter = [3, 4].map(|number| smtp.letter(number)).into_iter().find(|letter| letter.to == to_bob).unwrap();
    let link = refusal(&letter, org);
    let open = || assert_eq!(stranger.call("POST", &link).body(FORM, ONE_CLICK).send().status, 200);
    admin.delete(&member).is(204);
    open();
    admin.post(&ada.members(), json!({"email": bob.email, "role": "owner"})).is(201);
    open();
    assert_eq!(wanted(&bob.client, org).len(), 5, "what is usual for an owner");
    admin.delete_because(&lock, "r").is(204);
    assert_eq!(told(&smtp, 5, 2), [(to_ada, "unlocked"), (to_bob, "unlocked")]);
}

/// What is seen of it afterwards, and that it is not for good.
fn refused_once(admin: &Client, ada_again: &Client, ada: &Person, smtp: &Smtp) {
    let org = ada.organization.as_str();
    let log = admin.list(&format!("/v1/organizations/{org}/audit-log?action=member.change"));
    let by_link: Vec<&Value> = log.iter().filter(|entry| entry["after"]["by"] == "link").collect();
    assert_eq!(by_link.len(), 1, "a second click changes nothing: {log:#?}");
    assert_eq!((&by_link[0]["actor"], &by_link[0]["after"]["mails"]), (&json!("anonymous"), &json!([])));
    // They themselves may want some again.
    ada_again.patch(&path(org, "me"), json!({"lock": true})).is(200);
    assert_eq!(wanted(ada_again, org), ["lock"]);
    admin.put(&format!("/v1/organizations/{org}/lock"), json!({"reason": "r"})).is(200);
    assert_eq!(told(smtp, 3, 1), [("ada@example.com".to_owned(), "locked")]);
}
