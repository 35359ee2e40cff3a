//! The page that replays past usage under other limits.

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
    let page = ops.submit(path, &[("limit.messages.billingPeriod", "1500")]).is(200).text;
    assert!(page.contains("This would have refused 1 request of 1 organization between"), "{page}");
    assert!(page.contains("Acme &#60;Corp&#62;") && page.contains("600 messages"), "{page}");
    assert!(page.contains("value=\"1500\""), "what was typed stays: {page}");
    let page = ops.submit(path, &[]).is(200).text;
    assert!(page.contains("would have refused nothing that was allowed"), "{page}");
    let new = [("moreMeter", "messages"), ("moreWindow", "day"), ("moreMax", "700"), ("organizations", "acme")];
    let page = ops.submit(path, &new).is(200).text;
    assert!(page.contains("This would have refused 2 requests of 1 organization"), "{page}");
    for (name, typed, said) in [
        ("limit.messages.billingPeriod", "many", "invalid"),
        ("organizations", "nobody", "One of these does not exist"),
        ("from", "2200-01-01", "Must lie after from"),
    ] {
        let answer = ops.submit(path, &[(name, typed)]);
        assert!([404, 422].contains(&answer.status), "{name}: {}", answer.text);
        assert!(answer.text.contains("role=\"alert\""), "{name}: {}", answer.text);
        assert!(said == "invalid" || answer.text.contains(said), "{name}: {}", answer.text);
    }
    let asked = "/admin/what-if?plan=pro&job=gone&limit.messages.billingPeriod=77&organizations=acme&from=2026-11-03";
    let page = ops.page(asked);
    for kept in ["name=\"limit.messages.billingPeriod\" value=\"77\"", "value=\"acme\"", "value=\"2026-11-03\""] {
        assert!(page.contains(kept), "{kept} in {page}");
    }
    assert!(ops.page("/admin/what-if?plan=pro&job=gone").contains("no longer knows of it"));
    assert_eq!(ops.get("/admin/what-if?plan=nothing").status, 404);
}
