//! Long lists on pages: page by page, and what is looked for in them.

use serde_json::{Value, json};

use super::super::server::Server;
use super::browser::Browser;
use super::members::{joined, signed_up};
use super::{acme, administrator, done};

/// Where a link of a page leads, by its words.
fn link(page: &str, words: &str) -> Option<String> {
    let (before, _) = page.split_once(&format!(">{words}</a>"))?;
    let (_, href) = before.rsplit_once("href=\"")?;
    href.split_once('"').map(|(href, _)| href.replace("&#38;", "&").replace("&amp;", "&"))
}

/// How often a text stands on each page of a list, from the first to the last.
fn counted(browser: &mut Browser, path: &str, text: &str) -> Vec<usize> {
    let (mut counts, mut next) = (Vec::new(), Some(path.to_owned()));
    while let Some(path) = next {
        let page = browser.page(&path);
        counts.push(page.matches(text).count());
        assert_eq!(link(&page, "First page").is_some(), counts.len() > 1, "{path}");
        next = link(&page, "Next page");
        assert!(counts.len() < 10, "{path} never ends");
    }
    counts
}

#[test]
fn grants_and_keys_are_shown_page_by_page() {
    let server = Server::start();
    acme(&server);
    let mut ops = administrator(&server);
    let top = "/admin/organizations/acme";
    for number in 0..52 {
        let grant = json!({"meter": "tokens", "amount": 5, "reason": format!("reason {number}")});
        server.admin().post("/v1/organizations/acme/grants", grant).is(201);
        let key = json!({"name": format!("service {number}"), "scopes": ["read"]});
        server.admin().post("/v1/organizations/acme/api-keys", key).is(201);
    }
    assert_eq!(counted(&mut ops, &format!("{top}/limits"), "row\">reason "), [50, 2]);
    assert_eq!(counted(&mut ops, &format!("{top}/keys"), "row\">service "), [50, 2]);
    assert_eq!(counted(&mut ops, "/admin/keys", "row\">service "), [50, 2]);
    assert_eq!(counted(&mut ops, &format!("{top}/keys?search=SERVICE%204"), "row\">service "), [11]);
    let keys = server.admin().get("/v1/organizations/acme/api-keys?search=service%2051").is(200).json();
    let id = keys["data"][0]["id"].as_str().unwrap();
    assert_eq!(counted(&mut ops, &format!("/admin/keys?search={id}"), "row\">service "), [1]);
    assert!(ops.page(&format!("{top}/do/revoke-key?key={id}")).contains("service 51"), "what is revoked is named");
    assert!(ops.page("/admin/keys?search=nothing").contains("Nothing found"));
    server.admin().get("/v1/api-keys?search=a&sort=b").is(422);
}

#[test]
fn members_are_found_by_name_and_address() {
    let server = Server::start();
    acme(&server);
    for (email, role) in [("ada@example.com", "viewer"), ("bob@example.org", "owner")] {
        joined(&server, "acme", email, role);
    }
    let mut ops = administrator(&server);
    let top = "/admin/organizations/acme/members";
    #[rustfmt::skip]
    let cases = [ // looked for, who is found
        ("",            vec!["ada@example.com", "bob@example.org"]),
        ("EXAMPLE.ORG", vec!["bob@example.org"]),
        ("viewer",      vec!["ada@example.com"]), // the name that they gave
        ("zoe",         vec![]),
    ];
    for (search, expected) in cases {
        let page = ops.page(&format!("{top}?search={search}"));
        let found: Vec<_> = ["ada@example.com", "bob@example.org"].into_iter().filter(|it| page.contains(it)).collect();
        assert_eq!(found, expected, "{search}: {page}");
        let listed = server.admin().get(&format!("/v1/organizations/acme/members?search={search}")).is(200).json();
        let emails: Vec<&Value> = listed["data"].as_array().unwrap().iter().map(|one| &one["email"]).collect();
        assert_eq!(emails.len(), expected.len(), "{search}: {emails:?}");
    }
    assert!(ops.page(&format!("{top}?search=zoe")).contains("No member matches"));
}

#[test]
fn who_is_known_becomes_a_member_and_anybody_else_is_invited() {
    let server = Server::start();
    server.admin().post("/v1/organizations", json!({"key": "globex"})).is(201);
    // Whoever opens a link that was sent to their address is known to have it.
    let mut ada = signed_up(&server, "ada@example.com");
    let link = server.admin().post("/v1/email-verifications", json!({"email": "ada@example.com"})).is(201).json();
    let path = link["url"].as_str().unwrap().strip_prefix(&server.url).unwrap().to_owned();
    done(&ada.submit(&path, &[]).is(303), "verified");
    let mut ops = administrator(&server);
    let invite = "/admin/organizations/globex/do/invite";
    let added = ops.submit(invite, &[("email", "ada@example.com"), ("role", "editor")]).is(303);
    let page = ops.page(added.header("location").unwrap());
    assert!(page.contains("they are a member now") && page.contains("ada@example.com"), "{page}");
    let mut form = ops.form(invite);
    form.extend([("email".to_owned(), "new@example.com".to_owned()), ("role".to_owned(), "viewer".to_owned())]);
    let shown = ops.send(invite, &form).is(200).text;
    assert!(shown.contains("/join?token=") && shown.contains("No mail is sent here"), "{shown}");
    let again = ops.send(invite, &form).is(303);
    assert!(again.header("location").unwrap().contains("done=invited"), "the link is shown once");
}
