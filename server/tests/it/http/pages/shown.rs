//! How pages show what the API writes for programs: people, sizes, times.

use metergate_rules::audit::actions;
use serde_json::json;

use super::super::server::Server;
use super::members::joined;
use super::{acme, administrator, done};

#[test]
fn whoever_did_something_is_shown_by_name_where_the_reader_may_see_them() {
    let server = Server::start();
    acme(&server);
    let mut ops = administrator(&server);
    let mut owner = joined(&server, "acme", "ada@example.com", "owner");
    done(&ops.submit("/admin/organizations/acme/do/lock", &[("reason", "An open invoice")]), "locked");
    done(&ops.submit("/admin/organizations/acme/do/unlock", &[("reason", "It is paid")]), "unlocked");
    done(&owner.submit("/organizations/acme/settings/do/profile", &[("name", "Acme II")]), "profile");
    let of_ops = ops.page("/admin/organizations/acme/audit");
    let told = |page: &str, sentence: &str, whose: &str, action: &str| {
        let expected = format!("{sentence}<span class=\"sub\">{whose} · <span class=\"mono\">{action}</span>");
        assert!(page.contains(&expected), "{expected} in {page}");
    };
    told(&of_ops, ">Ops</strong> locked the organization", "ops@example.com", "billing.lock");
    told(
        &of_ops,
        ">owner</strong> changed its name from “Acme &lt;Corp&gt;” to “Acme II”",
        "ada@example.com",
        "organization.update",
    );
    assert!(of_ops.contains("<strong title=\"user:") && !of_ops.contains("not among those you see"), "{of_ops}");
    // Members do not see who runs the platform.
    let of_owner = owner.page("/organizations/acme/settings/audit");
    assert!(of_owner.contains("ada@example.com") && of_owner.contains("not among those you see"), "{of_owner}");
    assert!(!of_owner.contains("ops@example.com"), "{of_owner}");
    // An address stands for whoever has it.
    for (who, shown, other) in [
        ("ops@example.com", "An open invoice", "profile.change"),
        ("ada@example.com", "ada@example.com", "An open invoice"),
    ] {
        let found = ops.page(&format!("/admin/audit?organization=acme&actor={who}"));
        assert!(found.contains(shown) && !found.contains(other), "{who}: {found}");
    }
    assert!(ops.page("/admin/audit?actor=nobody%40example.com").contains("Nothing found"));
    let key =
        server.admin().post("/v1/organizations/acme/api-keys", json!({"name": "App", "scopes": ["read"]})).is(201);
    assert!(key.json()["key"].is_string());
    let keys = ops.page("/admin/organizations/acme/keys");
    assert!(keys.contains("title=\"key:administrator\">by administrator<"), "{keys}");
}

#[test]
fn cards_say_what_was_used_on_the_dates_they_show_and_what_counts_apart_from_it() {
    let server = Server::start();
    let admin = server.admin();
    admin.post("/v1/organizations", json!({"key": "acme", "plan": "pro", "test": true})).is(201);
    let at = |now: &str, used: u64| {
        admin.put("/v1/organizations/acme/clock", json!({"now": now})).is(200);
        let ask = json!({"organization": "acme", "meter": "messages", "quantity": used});
        admin.post("/v1/consume", ask).is(200);
    };
    let mut ops = administrator(&server);
    let page = "/admin/organizations/acme";
    at("2026-03-01T00:00:00Z", 1);
    at("2026-03-02T12:00:00Z", 69);
    at("2026-03-20T12:00:00Z", 30);
    let whole = ops.page(page);
    assert!(whole.contains("100 of 100,000 messages used") && !whole.contains("on these dates"), "{whole}");
    admin.patch("/v1/organizations/acme/billing-cycle", json!({"billingCycleStartDate": "2026-03-15"})).is(200);
    for page in [page, "/portal?org=acme"] {
        let moved = ops.page(page);
        let (before, counter) = moved.split_once("data-meter=\"messages\"").unwrap();
        let (_, dates) = before.rsplit_once("Data shown for ").unwrap();
        assert!(dates.starts_with("March 15 – April 14<"), "{dates}");
        assert!(dates.contains("<strong>30 messages</strong> on these dates."), "{dates}");
        assert!(counter.contains("100 of 100,000 messages used"), "{counter}");
    }
    admin.post("/v1/organizations/acme/usage/reset", json!({"reason": "a gift"})).is(200);
    let reset = ops.page(page);
    assert!(
        reset.contains("<strong>30 messages</strong> on these dates.") && reset.contains("0 of 100,000 messages used"),
        "{reset}"
    );
}

#[test]
fn storage_is_typed_and_shown_with_its_unit() {
    let server = Server::start();
    acme(&server);
    let mut ops = administrator(&server);
    let max = || {
        let quota = server.admin().get("/v1/organizations/acme/quota").is(200).json();
        let limits = quota["limits"].as_array().unwrap();
        limits.iter().find(|limit| limit["meter"] == "storage_bytes").unwrap()["limit"].clone()
    };
    let form = "/admin/organizations/acme/do/override";
    let typed = |size| [("meter", "storage_bytes"), ("max", size), ("reason", "They asked")];
    done(&ops.submit(form, &typed("10 GB")), "override");
    assert_eq!(max(), json!(10_737_418_240_i64));
    assert!(ops.page("/admin/organizations/acme/limits").contains("10 GB"));
    let shown = ops.page(&format!("{form}?meter=storage_bytes&window=billingPeriod"));
    assert!(shown.contains("name=\"max\" value=\"10 GB\""), "{shown}");
    let wrong = ops.submit(form, &typed("ten")).is(422).text;
    assert!(wrong.contains("id=\"field-max-error\"") && wrong.contains("value=\"ten\""), "{wrong}");
    // Of what is not counted in bytes a size is none.
    ops.submit(form, &[("meter", "messages"), ("max", "10 GB"), ("reason", "They asked")]).is(422);
    // A plan comes back from its form as it was, and with the size that is typed.
    let plan = || server.admin().get("/v1/plans/free").is(200).json();
    let before = plan();
    done(&ops.submit("/admin/do/plan?key=free", &[]), "plan-saved");
    assert_eq!(plan(), before);
    let page = ops.page("/admin/do/plan?key=free");
    let (row, _) = page.split_once("value=\"500 MB\"").unwrap().0.rsplit_once(".max\"").unwrap();
    let name = format!("limits.{}.max", row.rsplit_once("limits.").unwrap().1);
    done(&ops.submit("/admin/do/plan?key=free", &[(&name, "1.5 gb")]), "plan-saved");
    let limits = plan()["limits"].as_array().unwrap().clone();
    let storage = limits.iter().find(|limit| limit["meter"] == "storage_bytes").unwrap();
    assert_eq!(storage["max"], json!(1_610_612_736_i64));
}

#[test]
fn thousands_may_be_grouped_in_every_form_and_what_could_be_two_numbers_is_refused_there() {
    let server = Server::start();
    acme(&server);
    let mut ops = administrator(&server);
    let why = ("reason", "They asked");
    let form = "/admin/organizations/acme/do/extra?meter=messages";
    for (typed, expected) in [("1,000,000", 1_000_000), ("2 000", 2_000), ("3_000", 3_000), ("4\u{2009}000", 4_000)] {
        done(&ops.submit(form, &[("quantity", typed), why]), "extra");
        let extras = server.admin().get("/v1/organizations/acme/usage").is(200).json();
        let messages = extras["meters"].as_array().unwrap().iter().find(|meter| meter["meter"] == "messages");
        assert_eq!(messages.unwrap()["extra"], json!(expected), "{typed}");
    }
    let refused = |browser: &mut super::browser::Browser, form: &str, name: &str, typed: &[(&str, &str)]| {
        let page = browser.submit(form, typed).is(422).text;
        let error = format!("id=\"field-{name}-error\">It is not clear whether this comma");
        assert!(page.contains(&error) && page.contains("value=\"1,5\""), "{form}: {page}");
    };
    refused(&mut ops, form, "quantity", &[("quantity", "1,5"), why]);
    let grant = "/admin/organizations/acme/do/grant";
    refused(&mut ops, grant, "priority", &[("meter", "messages"), ("amount", "5"), ("priority", "1,5"), why]);
    refused(&mut ops, "/admin/do/plan?key=free", "graceDays", &[("graceDays", "1,5")]);
    refused(&mut ops, "/admin/do/plan?key=free", "limits.0.max", &[("limits.0.max", "1,5")]);
    let price = [("model", "mine"), ("effectiveFrom", "2026-01-01"), ("input", "1,5"), ("output", "1")];
    refused(&mut ops, "/admin/do/price", "input", &price);
    refused(&mut ops, "/admin/what-if?plan=free", "moreMax", &[("moreMeter", "messages"), ("moreMax", "1,5")]);
}

#[test]
fn no_page_of_an_organization_shows_an_instant_as_programs_write_it() {
    let server = Server::start();
    acme(&server);
    let mut ops = administrator(&server);
    for tab in ["", "/limits", "/cycle", "/subscription", "/members", "/keys", "/explain"] {
        let page = ops.page(&format!("/admin/organizations/acme{tab}"));
        // Between tags, and not in attributes.
        let texts = page.split('>').filter_map(|part| part.split_once('<')).map(|(text, _)| text);
        let is_raw = |bytes: &[u8]| matches!(bytes, [b'T', b'0'..=b'9', b'0'..=b'9', b':', ..]);
        let raw: Vec<_> = texts.filter(|text| text.as_bytes().windows(4).any(is_raw)).collect();
        assert!(raw.is_empty(), "{tab}: {raw:?}");
    }
}

#[test]
fn every_action_of_the_audit_log_has_words_for_people() {
    let unsaid: Vec<_> = actions::own().filter(|action| metergate_pages::audit::label(action).is_none()).collect();
    assert!(unsaid.is_empty(), "{unsaid:?} would be shown by their names alone");
}

#[test]
fn entries_are_sentences_with_the_names_and_values_that_their_reader_knows() {
    let server = Server::start();
    acme(&server);
    let mut ops = administrator(&server);
    let mut owner = joined(&server, "acme", "ada@example.com", "owner");
    let act = |ops: &mut super::browser::Browser, word: &str, typed: &[(&str, &str)], said: &str| {
        done(&ops.submit(&format!("/admin/organizations/acme/do/{word}"), typed).is(303), said);
    };
    let why = ("reason", "A campaign");
    act(&mut ops, "extra", &[("meter", "messages"), ("quantity", "2000"), why], "extra");
    act(
        &mut ops,
        "override",
        &[("meter", "storage_bytes"), ("window", "billingPeriod"), ("max", "10 GB"), why],
        "override",
    );
    act(&mut ops, "plan", &[("plan", "starter"), ("keepOverrides", "true"), why], "plan");
    let of_ops = ops.page("/admin/organizations/acme/audit");
    for sentence in [
        ">Ops</strong> set the extra quota of Messages from 0 messages to 2,000 messages<",
        ">Ops</strong> set the limit of Storage to 10 GB<",
        ">Ops</strong> changed the plan from Pro to Starter<",
        ">owner</strong> joined as an owner<",
        ">administrator</strong> invited ada@example.com as an owner<",
        ">administrator</strong> created the organization “Acme &lt;Corp&gt;”, on plan Pro<",
    ] {
        assert!(of_ops.contains(sentence), "{sentence} in {of_ops}");
    }
    // Members see no plan but their own, and yet what the former one is called; where that was deleted, what it was called last.
    let mut names_both = || {
        for page in ["/organizations/acme/settings/audit", "/organizations/acme/settings/explain"] {
            let shown = owner.page(page);
            assert!(shown.contains("</strong> changed the plan from Pro to Starter<"), "{page}: {shown}");
        }
    };
    names_both();
    server.admin().delete_because("/v1/plans/pro", "Nobody is on it").is(204);
    names_both();
    // What the application writes is told by its name.
    let own = json!({"action": "document.upload", "category": "knowledge_base"});
    server.admin().post("/v1/organizations/acme/audit-log", own).is(201);
    let of_ops = ops.page("/admin/audit?organization=acme&action=document.upload");
    assert!(of_ops.contains("</strong>: <span class=\"mono\">document.upload</span>"), "{of_ops}");
    assert!(of_ops.contains("Knowledge base"), "{of_ops}");
    assert!(ops.page("/admin/audit").contains("</strong> signed in<"), "who signs in is known by then");
}

#[test]
fn people_read_the_names_of_plans() {
    let server = Server::start();
    server.admin().put("/v1/plans/crew_2", json!({"name": "The crew"})).is(201);
    let organization = json!({"key": "acme", "name": "Acme", "plan": "crew_2"});
    let made = server.admin().post("/v1/organizations", organization).is(201).json();
    assert_eq!((made["plan"].as_str(), made["planName"].as_str()), (Some("crew_2"), Some("The crew")));
    let mut ops = administrator(&server);
    let mut viewer = joined(&server, "acme", "eve@example.com", "viewer");
    for page in ["/portal?org=acme", "/portal/billing?org=acme", "/organizations/acme/settings"] {
        let shown = viewer.page(page);
        assert!(shown.contains("The crew") && !shown.contains("crew_2"), "{page}: {shown}");
    }
    assert!(viewer.page("/organizations/acme/settings/explain").contains("<span>Plan The crew, version 1</span>"));
    for page in ["/admin", "/admin/organizations", "/admin/organizations/acme", "/admin/organizations/acme/do/plan"] {
        assert!(ops.page(page).contains("The crew"), "{page}");
    }
    let plan = json!({"plan": "pro", "at": "periodEnd", "reason": "They asked"});
    server.admin().put("/v1/organizations/acme/plan", plan).is(200);
    assert!(viewer.page("/organizations/acme/settings").contains("Moves to plan Pro (version 1)"));
}

#[test]
fn what_a_plan_changes_is_shown_before_it_is_sent() {
    let server = Server::start();
    acme(&server);
    let mut ops = administrator(&server);
    let form = "/admin/organizations/acme/do/plan";
    assert!(ops.page(form).contains("Choose another plan to see what it changes."));
    let page = ops.page(&format!("{form}?plan=starter&preview=1&reason=They%20asked&at=periodEnd"));
    let (_, shown) = page.split_once("data-form").unwrap();
    let change = |what: &str, before: &str, after: &str| {
        let row = format!("<dt>{what}</dt><dd><span class=\"before\">{before}</span> → <strong>{after}</strong>");
        assert!(shown.contains(&row), "{row} in {shown}");
    };
    change("Plan", "Pro, version 1", "Starter, version 1");
    change("Messages, billing period", "100,000 messages", "10,000 messages");
    assert!(shown.contains("They asked</textarea>") && shown.contains("value=\"periodEnd\" selected"), "{shown}");
    // The preview is asked for by a GET: what proves the form goes with the button that sends it.
    assert!(!shown.contains("type=\"hidden\" name=\"csrf\"") && shown.contains("formmethod=\"get\""), "{shown}");
    // What is overridden stays as it is, unless that is not wanted any more.
    let limit = json!({"max": 7, "reason": "They asked"});
    server.admin().put("/v1/organizations/acme/overrides/messages/billingPeriod", limit).is(200);
    let row = "<dt>Messages, billing period</dt>";
    let kept = ops.page(&format!("{form}?plan=starter&preview=1&keepOverrides=true"));
    assert!(!kept.contains(row) && kept.contains("Starter, version 1"), "{kept}");
    assert!(ops.page(&format!("{form}?plan=starter&preview=1")).contains(row));
    // Of the plan that it has, nothing changes.
    assert!(
        ops.page(&format!("{form}?plan=pro")).contains("It is the plan that the organization has, in this version.")
    );
    let reset = "/admin/organizations/acme/do/reset?preview=1";
    super::use_up(&server, 5);
    assert!(ops.page(reset).contains("<strong>0</strong>"));
    assert!(ops.page(&format!("{reset}&meter=tokens")).contains("there is nothing to reset"));
}

#[test]
fn a_logo_is_a_file_that_is_chosen_and_shown_on_every_page() {
    let server = Server::start();
    let mut ops = administrator(&server);
    let picture = b"RIFF\x0c\0\0\0WEBPVP8 logo";
    let form = "/admin/do/logo";
    assert!(!ops.page(form).contains("No logo"), "there is none to take away");
    for (file, why) in [(&b"<svg/>"[..], "Send a PNG, a JPEG or a WebP picture"), (&b""[..], "Choose a picture.")] {
        let page = ops.submit_file(form, "logoUrl", file).is(422).text;
        let error = format!("id=\"field-logoUrl-error\">{why}");
        assert!(page.contains(&error), "{error} in {page}");
    }
    let large = [&picture[..], vec![b'x'; 256 * 1024].as_slice()].concat();
    assert!(ops.submit_file(form, "logoUrl", &large).is(422).text.contains("at most 256 KiB"));
    done(&ops.submit_file(form, "logoUrl", picture).is(303), "settings");
    // On the pages of those who are not signed in, too; what a form about something else sends leaves it as it is.
    done(&ops.submit("/admin/do/settings", &[("teamName", "Initech")]).is(303), "settings");
    for page in [ops.page("/admin/settings"), super::browser::Browser::new(&server).page("/sign-in")] {
        let (_, rest) = page.split_once("<img src=\"/assets/logo?v=").unwrap_or_else(|| panic!("{page}"));
        let version = rest.split_once('"').unwrap().0;
        assert_eq!(server.stranger().get(&format!("/assets/logo?v={version}")).is(200).text.as_bytes(), picture);
    }
    assert!(ops.page("/admin/audit").contains("</strong> changed the logo<"));
    done(&ops.submit(form, &[("remove", "true")]).is(303), "settings");
    assert!(!ops.page("/admin/settings").contains("/assets/logo"));
}
