//! The page on which members choose what they are told by mail.

use super::super::server::Server;
use super::members::{joined, signed_up};

const PATH: &str = "/portal/notifications?org=ada";

#[test]
fn members_choose_on_a_page_of_the_portal_what_they_are_told_and_viewers_do_not() {
    let server = Server::start();
    let mut ada = signed_up(&server, "ada@example.com");
    assert!(ada.page("/portal").contains(&format!("href=\"{PATH}\"")));
    let page = ada.page(PATH);
    assert!(page.contains("Mails go to ada@example.com.") && page.contains("None comes there now"), "{page}");
    let mut form = ada.form(PATH);
    let chosen = |form: &std::collections::BTreeMap<String, String>| {
        let names = ["credit", "limitNear", "limitReached", "lock", "payment", "trial"];
        names.into_iter().filter(|name| form.contains_key(*name)).collect::<Vec<_>>()
    };
    assert_eq!(chosen(&form), ["limitNear", "limitReached", "lock", "payment", "trial"]);
    form.remove("limitNear");
    form.insert("credit".to_owned(), "true".to_owned());
    let sent = ada.send(PATH, &form).is(303);
    assert_eq!(sent.header("location"), Some("/portal?org=ada&done=profile"));
    let form = ada.form(PATH);
    assert_eq!(chosen(&form), ["credit", "limitReached", "lock", "payment", "trial"]);
    assert_eq!(ada.sent_elsewhere(PATH, &form).status, 403, "of another site");
    let mut vera = joined(&server, "ada", "vera@example.com", "viewer");
    assert!(!vera.page("/portal").contains("/portal/notifications"));
    let form = vera.form(PATH);
    assert_eq!(vera.send(PATH, &form).status, 403);
    let mut eve = signed_up(&server, "eve@example.com");
    assert_eq!(eve.get(PATH).status, 404);
}
