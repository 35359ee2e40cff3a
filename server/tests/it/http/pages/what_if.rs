//! The page that replays past usage under other limits.

use serde_json::json;

use super::super::server::Server;
use super::{acme, administrator, use_up};

#[test]
fn past_usage_is_replayed_under_the_limits_that_are_typed() {
    let server = Server::start();
    acme(&server);
    for quantity in [800, 700, 600] {
        use_up(&server, quantity);
    }
    let mut ops = administrator(&server);
    assert!(ops.page("/admin/what-if").contains("Choose a plan"));
    assert!(ops.page("/admin/plans/pro").contains("/admin/what-if?plan=pro"));
    assert!(ops.page("/admin/do/plan?key=pro").contains("/admin/what-if?plan=pro"));
    let path = "/admin/what-if?plan=pro";
    let form = ops.page(path);
    assert!(form.contains("name=\"limit.messages.billingPeriod\" value=\"100000\""), "{form}");
    let mut replayed = |typed: &[(&str, &str)]| {
        let sent = ops.submit(path, typed).is(303);
        let address = sent.header("location").unwrap().to_owned();
        (ops.page(&address), address)
    };
    let (page, address) = replayed(&[("limit.messages.billingPeriod", "1,500")]);
    assert!(page.contains("This would have refused 1 request of 1 organization between"), "{page}");
    assert!(page.contains("<span class=\"before\">100000</span> → <strong>1,500</strong>"), "what was tried: {page}");
    assert!(page.contains("Acme &#60;Corp&#62;") && page.contains("600 messages"), "{page}");
    assert!(page.contains("value=\"1,500\""), "what was typed stays: {page}");
    let (page, _) = replayed(&[]);
    assert!(page.contains("would have refused nothing that was allowed"), "{page}");
    let new = [("moreMeter", "messages"), ("moreWindow", "day"), ("moreMax", "700"), ("organizations", "acme")];
    let (page, _) = replayed(&new);
    assert!(page.contains("This would have refused 2 requests of 1 organization"), "{page}");
    for (name, typed, said, at) in [
        ("limit.messages.billingPeriod", "many", "not a decimal number", "limit.messages.billingPeriod"),
        ("organizations", "nobody", "One of these does not exist", "organizations"),
        ("from", "2200-01-01", "Must lie after from", "to"),
    ] {
        let answer = ops.submit(path, &[(name, typed), ("limit.messages.day", "77")]);
        assert!([404, 422].contains(&answer.status), "{name}: {}", answer.text);
        assert!(answer.text.contains(&format!("id=\"field-{at}-error\">")), "{name}: {}", answer.text);
        let kept = format!("name=\"{name}\" value=\"{typed}\"");
        assert!(answer.text.contains(said) && answer.text.contains(&kept), "{name}: {}", answer.text);
    }
    let more = [("moreMeter", "messages"), ("moreWindow", "hour"), ("moreMax", "many")];
    let answer = ops.submit(path, &more).is(422).text;
    assert!(answer.contains("id=\"field-moreMax-error\">"), "{answer}");
    // The address asks the same again, for whoever opens it, and without the job.
    let (shared, _) = address.split_once("&job=").unwrap();
    let worked_out = ops.led(shared);
    assert!(worked_out.starts_with(&format!("{shared}&job=")), "{worked_out}");
    let page = ops.page(&worked_out);
    assert!(page.contains("This would have refused 1 request of 1 organization between"), "{page}");
    assert!(page.contains(&shared.replace('&', "&#38;")), "the link to it: {page}");
    let worked_out = ops.led(&format!("{shared}&job=of-somebody-else"));
    let page = ops.page(&worked_out);
    assert!(page.contains("This would have refused 1 request of 1 organization between"), "{page}");
}

#[test]
fn an_address_with_a_question_fills_the_form() {
    let server = Server::start();
    acme(&server);
    let mut ops = administrator(&server);
    let asked = "/admin/what-if?plan=pro&job=gone&limit.messages.billingPeriod=77&organizations=acme&from=2026-11-03";
    let page = ops.page(asked);
    for kept in ["name=\"limit.messages.billingPeriod\" value=\"77\"", "value=\"acme\"", "value=\"2026-11-03\""] {
        assert!(page.contains(kept), "{kept} in {page}");
    }
    assert!(ops.page("/admin/what-if?plan=pro&job=gone").contains("no longer knows of it"));
    assert_eq!(ops.get("/admin/what-if?plan=nothing").status, 404);
}

#[test]
fn what_it_would_have_cost_stands_by_organization_with_the_sum_of_all() {
    let server = Server::start();
    let admin = server.admin();
    acme(&server);
    let price = json!({"model": "mine", "effectiveFrom": "2020-01-01", "input": "1000", "output": "1000"});
    admin.patch("/v1/prices", json!({"set": [price]})).is(200);
    for tokens in [1500, 1250] {
        let said = json!({"model": "mine", "inputTokens": tokens, "outputTokens": 0});
        let body = json!({"organization": "acme", "meter": "tokens", "properties": said});
        assert_eq!(admin.post("/v1/consume", body).is(200).json()["allowed"], true);
    }
    let mut ops = administrator(&server);
    let typed = [("moreMeter", "tokens"), ("moreWindow", "day"), ("moreMax", "1500")];
    let sent = ops.submit("/admin/what-if?plan=pro", &typed).is(303);
    let page = ops.page(sent.header("location").unwrap());
    let cost = |label: &str, dollars: &str| format!("data-label=\"{label}\">{dollars}</td>");
    for (label, dollars) in [("Refused calls", "$1.25"), ("Charged", "$2.75"), ("Would be charged", "$1.5")] {
        assert_eq!(page.matches(&cost(label, dollars)).count(), 2, "{label}, of acme and of all: {page}");
    }
    let nothing = ops.submit("/admin/what-if?plan=free", &[]).is(303);
    assert!(!ops.page(nothing.header("location").unwrap()).contains("Would be charged"), "nobody is on it");
}

#[test]
fn before_a_plan_is_saved_one_hears_what_it_would_have_refused() {
    let server = Server::start();
    acme(&server);
    for quantity in [800, 700, 600] {
        use_up(&server, quantity);
    }
    let mut ops = administrator(&server);
    let json = json!({"limits": [{"meter": "messages", "window": "day", "max": 1000}]}).to_string();
    let path = "/admin/do/plan?key=pro&as=json";
    let page = ops.submit(path, &[("definition", &json), ("check", "yes")]).is(200).text;
    assert!(page.contains("This would have refused 2 requests of 1 organization last month, between"), "{page}");
    assert!(page.contains("&#34;max&#34;:1000"), "what was typed stays: {page}");
    assert_eq!(server.admin().get("/v1/plans/pro").is(200).json()["version"], 1, "nothing is saved");
    let fields = "/admin/do/plan?key=pro";
    let page = ops.submit(fields, &[("check", "yes")]).is(200).text;
    assert!(page.contains("This would have refused nothing that was allowed last month"), "{page}");
    let wrong = ops.submit(fields, &[("limits.0.max", "many"), ("check", "yes")]).is(422).text;
    assert!(wrong.contains("id=\"field-limits.0.max-error\">"), "{wrong}");
    assert!(!ops.page("/admin/do/plan").contains("name=\"check\""), "nobody is on a plan that is new");
}
