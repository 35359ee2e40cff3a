//! The pages about prices, as a browser without script has them.

use serde_json::{Value, json};

use super::{Server, acme, administrator, done};

fn consume(server: &Server, model: &str) {
    let said = json!({"model": model, "inputTokens": 1000, "outputTokens": 0});
    let body = json!({"organization": "acme", "meter": "tokens", "properties": said});
    server.admin().post("/v1/consume", body).is(200);
}

fn cost(server: &Server) -> Value {
    let usage = server.admin().get("/v1/organizations/acme/usage").is(200).json();
    usage["meters"].as_array().unwrap().iter().find(|one| one["meter"] == "llm_cost").unwrap()["used"].clone()
}

#[test]
fn prices_are_shown_added_changed_and_removed_and_what_has_none_leads_to_a_new_one() {
    let server = Server::start();
    acme(&server);
    let mut browser = administrator(&server);
    let page = browser.page("/admin/prices");
    assert!(page.contains("gpt-4o") && page.contains("claude-haiku-5-5") && page.contains("to come"), "{page}");
    assert!(!page.contains("Unpriced in the last"), "nothing was used yet");
    consume(&server, "my model");
    let page = browser.page("/admin/prices");
    assert!(page.contains("Unpriced in the last 7 days") && page.contains("new=my%20model"), "{page}");

    let typed = [("model", "my-*"), ("input", "2.5"), ("output", "x")];
    let refused = browser.submit("/admin/do/price?new=my-model", &typed).is(422).text;
    assert!(refused.contains("field-output-error") && refused.contains("value=\"my-*\""), "{refused}");
    let typed = [("model", "my-*"), ("effectiveFrom", "2026-01-02"), ("input", "2.5"), ("output", "1")];
    done(&browser.submit("/admin/do/price", &typed), "price-saved");
    let again = browser.submit("/admin/do/price", &[typed[0], typed[1], ("input", "99")]).is(422).text;
    assert!(again.contains("field-effectiveFrom-error") && again.contains("edit that instead"), "{again}");
    let form = browser.form("/admin/do/price?model=my-*&effectiveFrom=2026-01-02");
    assert_eq!((form["input"].as_str(), form["model"].as_str()), ("2.5", "my-*"));
    done(&browser.submit("/admin/do/price?model=my-*&effectiveFrom=2026-01-02", &[("input", "3")]), "price-saved");
    let prices = server.admin().get("/v1/prices").is(200).json()["prices"].clone();
    let mine: Vec<_> = prices.as_array().unwrap().iter().filter(|price| price["model"] == "my-*").collect();
    assert_eq!((mine.len(), &mine[0]["input"]), (1, &json!(3)));
    let removal = "/admin/do/remove-price?model=my-*&effectiveFrom=2026-01-02";
    assert!(browser.page(removal).contains("$3 per million tokens"), "what goes is shown");
    done(&browser.submit(removal, &[("reason", "nobody uses it")]), "price-removed");
    assert!(!browser.page("/admin/prices").contains("my-*"));
}

#[test]
fn prices_are_searched_and_filtered_by_the_address() {
    let server = Server::start();
    let price = |model: &str, provider: Option<&str>, from: &str| json!({"model": model, "provider": provider, "effectiveFrom": from, "input": 1});
    let prices = [
        price("acme-large", Some("acme"), "2020-01-01"),
        price("acme-large", Some("acme"), "2021-01-01"),
        price("acme-small-20*", Some("acme"), "2020-01-01"),
        price("acme-large", Some("bolt"), "2199-01-01"),
        price("house-model", None, "2020-01-01"),
    ];
    server.admin().put("/v1/prices", json!({"prices": prices})).is(200);
    let mut browser = administrator(&server);
    #[rustfmt::skip]
    let cases = [ // address, rows, what is said, what is in the page
        ("",                                   5, ">5 prices<",      "value=\"bolt\""),
        ("?search=LARGE",                      3, ">3 of 5 prices<", "value=\"LARGE\""),
        ("?search=large&state=now",            1, ">1 of 5 prices<", "2021-01-01"),
        ("?search=large&state=before",         1, ">1 of 5 prices<", "2020-01-01"),
        ("?provider=bolt",                     1, ">1 of 5 prices<", "to come"),
        ("?provider=*",                        1, ">1 of 5 prices<", "house-model"),
        ("?search=acme-small-2024-05-05",      1, ">1 of 5 prices<", "acme-small-20*"),
        ("?search=acme-small-2024&state=to-come", 0, ">0 of 5 prices<", "Nothing found"),
    ];
    for (query, rows, said, there) in cases {
        let page = browser.page(&format!("/admin/prices{query}"));
        assert_eq!(page.matches("/admin/do/remove-price?").count(), rows, "{query}: {page}");
        assert!(page.contains(said) && page.contains(there), "{query}: {page}");
        assert_eq!(page.contains(">Clear<"), !query.is_empty(), "{query}");
    }
    let page = browser.page("/admin/prices?search=%22%3E%3Cb%3E");
    assert!(page.contains("Nothing found") && !page.contains("\"><b>"), "what is typed stays text: {page}");
}

#[test]
fn the_past_is_priced_again_after_it_was_shown_what_would_change() {
    let server = Server::start();
    acme(&server);
    let price = |input: &str| {
        let price = json!({"model": "mine", "effectiveFrom": "2020-01-01", "input": input});
        server.admin().patch("/v1/prices", json!({"set": [price]})).is(200);
    };
    price("1000");
    consume(&server, "mine");
    price("400");
    let mut browser = administrator(&server);
    let shown = browser.submit("/admin/prices/recompute", &[("organizations", "acme")]).is(200).text;
    assert!(
        shown.contains("Nothing is changed yet") && shown.contains("−$0.6") && shown.contains("Record the corrections")
    );
    assert_eq!(cost(&server), json!(1));
    let mut fields = browser.form("/admin/prices/recompute");
    fields.insert("organizations".to_owned(), "acme".to_owned());
    fields.insert("apply".to_owned(), "true".to_owned());
    let refused = browser.send("/admin/prices/recompute", &fields).is(422).text;
    assert!(refused.contains("field-reason-error") || refused.contains("Say why"), "{refused}");
    fields.insert("reason".to_owned(), "too dear".to_owned());
    let recorded = browser.send("/admin/prices/recompute", &fields).is(200).text;
    assert!(recorded.contains("Recorded.") && !recorded.contains("Record the corrections"), "{recorded}");
    assert_eq!(cost(&server), json!(0.4));
    let unknown = browser.submit("/admin/prices/recompute", &[("organizations", "nobody")]).is(404).text;
    assert!(unknown.contains("One of these does not exist"), "{unknown}");
}
