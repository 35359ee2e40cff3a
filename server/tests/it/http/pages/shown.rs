//! How pages show what the API writes for programs: people, sizes, times.

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
    assert!(of_ops.contains(">Ops</span><span class=\"sub\">ops@example.com</span>"), "{of_ops}");
    assert!(of_ops.contains(">owner</span><span class=\"sub\">ada@example.com</span>"), "a member: {of_ops}");
    assert!(of_ops.contains("<span title=\"user:") && !of_ops.contains("not among those you see"), "{of_ops}");
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
