//! What is edited in forms: plans in rows, and whatever somebody else may have changed meanwhile.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::server::Server;
use super::browser::standing;
use super::{acme, administrator, done};

fn team(server: &Server) -> Value {
    let plan = json!({
        "name": "Team", "features": {"sso": true, "tier": "gold"}, "degraded": {"tokens": "allow"}, "graceDays": 5,
        "limits": [{"meter": "tokens", "window": "billingPeriod", "max": 1000, "thresholds": [50, 100], "status": 402}],
        "trial": {"days": 14, "onEnd": {"plan": "free"}},
    });
    server.admin().put("/v1/plans/team", plan).is(201).json()
}

fn with(mut form: BTreeMap<String, String>, typed: &[(&str, &str)]) -> BTreeMap<String, String> {
    form.extend(typed.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    form
}

#[test]
fn a_plan_is_edited_in_rows_without_script_and_keeps_what_has_no_field() {
    let server = Server::start();
    let made = team(&server);
    let mut ops = administrator(&server);
    let at = "/admin/do/plan?key=team";
    // Nobody touches it: nothing is a new version.
    done(&ops.submit(at, &[]).is(303), "plan-saved");
    assert_eq!(server.admin().get("/v1/plans/team").is(200).json(), made);
    // A row more: what was typed is kept, and nothing is saved.
    let page = ops.submit(at, &[("add", "limits"), ("name", "Crew")]).is(200).text;
    assert!(page.contains("name=\"limits.1.meter\"") && page.contains("value=\"Crew\""), "{page}");
    let page = ops.send(at, &with(standing(&page), &[("add", "features")])).is(200).text;
    assert!(page.contains("name=\"features.2.name\"") && page.contains("value=\"Crew\""), "{page}");
    assert_eq!(server.admin().get("/v1/plans/team").is(200).json()["version"], 1);
    let typed = [
        ("limits.1.meter", "messages"),
        ("limits.1.window", "day"),
        ("limits.1.max", "10"),
        ("limits.1.enforcement", "soft"),
        ("features.2.name", "seats"),
        ("features.2.value", "25"),
        ("features.0.name", ""),
    ];
    let saved = ops.send(at, &with(standing(&page), &typed)).is(303);
    assert_eq!(saved.header("location"), Some("/admin/plans/team?done=plan-saved"));
    let plan = server.admin().get("/v1/plans/team").is(200).json();
    let limits = json!([
        {"meter": "tokens", "window": "billingPeriod", "max": 1000, "enforcement": "hard", "thresholds": [50, 100], "status": 402},
        {"meter": "messages", "window": "day", "max": 10, "enforcement": "soft"},
    ]);
    assert_eq!((&plan["limits"], &plan["features"]), (&limits, &json!({"tier": "gold", "seats": 25})));
    assert_eq!((&plan["name"], &plan["version"], &plan["graceDays"]), (&json!("Crew"), &json!(2), &json!(5)));
    assert_eq!((&plan["degraded"], &plan["trial"]["onEnd"]), (&json!({"tokens": "allow"}), &json!({"plan": "free"})));
}

#[test]
fn a_form_that_is_refused_says_what_to_do_at_the_page_and_not_what_a_program_has_to_send() {
    let server = Server::start();
    acme(&server);
    let mut ops = administrator(&server);
    let reason = ("reason", "why");
    let page =
        ops.submit("/admin/organizations/acme/do/override", &[("meter", "tokens"), ("max", ""), reason]).is(422).text;
    assert!(page.contains("check “Unlimited”") && !page.contains("true."), "{page}");
}

#[test]
fn extra_quota_is_set_on_storage_too_and_a_form_without_it_says_nothing_of_its_units() {
    let server = Server::start();
    acme(&server);
    let mut ops = administrator(&server);
    let at = |word: &str| format!("/admin/organizations/acme/do/{word}");
    let typed = [("meter", "storage_bytes"), ("quantity", "10 GB"), ("reason", "more")];
    done(&ops.submit(&at("extra"), &typed), "extra");
    let quota = server.admin().get("/v1/organizations/acme/quota").is(200).json();
    let extra = quota["extra"].as_array().unwrap().iter().find(|extra| extra["meter"] == "storage_bytes");
    assert_eq!(extra.unwrap()["quantity"], 10_737_418_240_i64);
    let grant = ops.page(&at("grant"));
    assert!(!grant.contains("storage_bytes") && !grant.contains("Of storage with its unit"), "{grant}");
}

#[test]
fn of_settings_meters_and_endpoints_nobody_overwrites_what_another_has_changed_meanwhile() {
    let server = Server::start();
    let (admin, mut ops) = (server.admin(), administrator(&server));
    admin.patch("/v1/settings", json!({"contact": "old@example.com"})).is(200);
    admin.put("/v1/meters/jobs", json!({"name": "Jobs", "unit": "job", "aggregation": "sum"})).is(201);
    let made = json!({"url": "https://hooks.example.com/a", "description": "One"});
    let made = admin.post("/v1/webhook-endpoints", made).is(201).json();
    let endpoint = format!("/v1/webhook-endpoints/{}", made["id"].as_str().unwrap());
    let edit = format!("/admin/do/webhook?endpoint={}", made["id"].as_str().unwrap());
    let others = |path: &str| match path {
        "/v1/settings" => admin.patch(path, json!({"contact": "new@example.com"})).is(200),
        "/v1/meters/jobs" => admin.put(path, json!({"name": "Jobs", "unit": "task", "aggregation": "sum"})).is(200),
        path => admin.patch(path, json!({"url": "https://hooks.example.com/b"})).is(200),
    };
    #[rustfmt::skip]
    let cases = [ // the form, what it is about, what is typed, what another has changed meanwhile
        ("/admin/do/settings",       "/v1/settings",    ("color", "#0a7f5a"), "contact", "new@example.com"),
        ("/admin/do/meter?key=jobs", "/v1/meters/jobs", ("name", "Work"),     "unit",    "task"),
        (edit.as_str(),              endpoint.as_str(), ("description", "2"), "url",     "https://hooks.example.com/b"),
    ];
    for (form, path, typed, changed, to) in cases {
        let fields = ops.form(form);
        others(path);
        let page = ops.send(form, &with(fields, &[typed])).is(412).text;
        assert!(page.contains("Somebody changed this") && page.contains(to), "{form}: {page}");
        assert_eq!(admin.get(path).is(200).json()[changed], to, "{form}");
        // Seen and typed anew it is done; sent twice it is done once.
        let again = with(standing(&page), &[(changed, to)]);
        for _ in 0..2 {
            assert!(ops.send(form, &again).is(303).header("location").unwrap().contains("done="), "{form}");
        }
        let now = admin.get(path).is(200).json();
        assert_eq!((&now[changed], &now[typed.0]), (&json!(to), &json!(typed.1)), "{form}");
    }
}

#[test]
fn what_is_wrong_with_a_plan_is_said_at_its_field() {
    let server = Server::start();
    team(&server);
    let mut ops = administrator(&server);
    #[rustfmt::skip]
    let cases: [(&[(&str, &str)], &str); 6] = [ // typed, the field
        (&[("limits.0.max", "many")],                                       "limits.0.max"),
        (&[("limits.0.max", "")],                                           "limits.0.meter"), // neither a maximum nor unlimited
        (&[("limits.0.thresholds", "120")],                                 "limits.0.thresholds"),
        (&[("limits.4.meter", "messages"), ("limits.4.window", "day"), ("limits.4.max", "1.5"), ("limits.4.enforcement", "hard")], "limits.1.max"),
        (&[("trial.days", "0")],                                            "trial.days"),
        (&[("graceDays", "a week")],                                        "graceDays"),
    ];
    for (typed, field) in cases {
        let page = ops.submit("/admin/do/plan?key=team", typed).is(422).text;
        assert!(page.contains(&format!("id=\"field-{field}-error\"")), "{field}: {page}");
        let last = typed.last().unwrap().1;
        assert!(last == "hard" || last.is_empty() || page.contains(&format!("value=\"{last}\"")), "{last}: {page}");
    }
    let new = ops.submit("/admin/do/plan", &[("key", "pro"), ("name", "Another")]).is(422).text;
    assert!(new.contains("id=\"field-key-error\"") && new.contains("value=\"Another\""), "{new}");
    let made = [("key", "crew"), ("limits.0.meter", "tokens"), ("limits.0.max", "5")];
    done(&ops.submit("/admin/do/plan", &made).is(303), "plan-saved");
    assert_eq!(server.admin().get("/v1/plans/crew").is(200).json()["limits"][0]["max"], 5);
    let json = ops.page("/admin/do/plan?key=team&as=json");
    assert!(json.contains("name=\"definition\"") && json.contains("name=\"version\""), "{json}");
}

#[test]
fn what_somebody_else_changed_meanwhile_is_shown_and_not_overwritten() {
    let server = Server::start();
    let admin = server.admin();
    acme(&server);
    team(&server);
    let mut ops = administrator(&server);
    let profile = "/admin/organizations/acme/do/profile";
    let form = ops.form(profile);
    admin.patch("/v1/organizations/acme", json!({"name": "Acme Two"})).is(200);
    let page = ops.send(profile, &with(form, &[("name", "Acme Three")])).is(412).text;
    for said in ["Somebody changed this", "Acme Two", "value=\"Acme Three\""] {
        assert!(page.contains(said), "{said}: {page}");
    }
    assert_eq!(admin.get("/v1/organizations/acme").is(200).json()["name"], "Acme Two");
    done(&ops.send(profile, &standing(&page)).is(303), "profile");
    assert_eq!(admin.get("/v1/organizations/acme").is(200).json()["name"], "Acme Three");

    let plan = "/admin/do/plan?key=team";
    let form = ops.form(plan);
    let mut other = admin.get("/v1/plans/team").is(200).json();
    let spec = other.as_object_mut().unwrap();
    spec.retain(|name, _| !["key", "version", "createdAt"].contains(&name.as_str()));
    spec["limits"][0]["max"] = json!(2000);
    admin.put("/v1/plans/team", other.clone()).is(200);
    let page = ops.send(plan, &with(form, &[("limits.0.max", "3000")])).is(412).text;
    for said in ["Somebody changed this", "2000 hard", "3000 hard", "value=\"3000\""] {
        assert!(page.contains(said), "{said}: {page}");
    }
    done(&ops.send(plan, &standing(&page)).is(303), "plan-saved");
    assert_eq!(admin.get("/v1/plans/team").is(200).json()["limits"][0]["max"], 3000);

    // A form of before there were versions is none that was shown with this one.
    let mut form = ops.form(profile);
    form.remove("version");
    ops.send(profile, &form).is(412);
    // What only adds is done whatever else was changed.
    let grant = "/admin/organizations/acme/do/grant";
    let form = ops.form(grant);
    admin.patch("/v1/organizations/acme", json!({"name": "Acme Four"})).is(200);
    let typed = [("meter", "tokens"), ("amount", "5"), ("reason", "sorry")];
    done(&ops.send(grant, &with(form, &typed)).is(303), "granted");
}
