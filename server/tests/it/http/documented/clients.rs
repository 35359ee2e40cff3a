//! `/api/admin/clients`.

use serde_json::{Value, json};

use super::{log, logged, organization, started, used};
use crate::http::client::Client;

const PATH: &str = "/api/admin/clients/acme/quota";

/// The quota as it is answered, with what differs from that of a new organization on the free plan.
fn quota(client: &Client, differs: Value) -> Value {
    let mut quota = json!({
        "clientId": "acme", "plan": "free", "monthlyGenerationLimit": 50, "storageQuotaMb": 500, "extra": 0, "granted": 0,
        "effectiveLimit": 50, "used": 0, "remaining": 50, "nextResetDate": organization(client)["nextResetDate"],
    });
    quota.as_object_mut().unwrap().extend(differs.as_object().unwrap().clone());
    quota
}

fn put(client: &Client, body: &Value) -> Value {
    client.put(PATH, body).is(200).json()
}

#[test]
fn a_quota_is_set_in_one_call_and_one_entry() {
    let (_server, admin) = started();
    used(&admin, "generations", 8);
    let limits = json!({"monthlyGenerationLimit": 20, "storageQuotaMb": 3, "reason": "asked for"});
    let (answer, entry) = logged(&admin, || put(&admin, &limits));
    let expected =
        json!({"monthlyGenerationLimit": 20, "storageQuotaMb": 3, "effectiveLimit": 20, "used": 8, "remaining": 12});
    assert_eq!(answer, quota(&admin, expected));
    assert_eq!(entry["action"], "limit.change");
    let bytes = admin.get("/v1/organizations/acme/quota").is(200).json()["limits"].clone();
    let bytes = bytes.as_array().unwrap().iter().find(|limit| limit["meter"] == "storage_bytes").unwrap().clone();
    assert_eq!(
        (&bytes["limit"], &bytes["source"], &bytes["window"]),
        (&json!(3_145_728), &json!("override"), &json!("billingPeriod"))
    );

    // A plan pulls its limits; what the call gives stands on top of it.
    let plan = json!({"plan": "pro", "monthlyGenerationLimit": null});
    let (answer, entry) = logged(&admin, || put(&admin, &plan));
    let unlimited = json!({"plan": "pro", "monthlyGenerationLimit": null, "storageQuotaMb": 50_000, "effectiveLimit": null, "used": 8, "remaining": null});
    assert_eq!(answer, quota(&admin, unlimited));
    assert_eq!(entry["action"], "plan.change");
    let (answer, _) = logged(&admin, || put(&admin, &json!({"plan": "starter"})));
    let starter = json!({"plan": "starter", "monthlyGenerationLimit": 500, "storageQuotaMb": 5000, "effectiveLimit": 500, "used": 8, "remaining": 492});
    assert_eq!(answer, quota(&admin, starter));
    for nothing in ["", "{}", r#"{"plan": null}"#] {
        assert_eq!(admin.put(PATH, nothing).is(200).json(), answer);
    }
    assert_eq!(log(&admin).len(), 4);
}

#[test]
fn a_client_is_shown_with_its_last_ten_changes() {
    let (_server, admin) = started();
    used(&admin, "generations", 8);
    used(&admin, "storage_bytes", 1_572_864);
    put(&admin, &json!({"plan": "pro", "reason": "paid"}));
    put(&admin, &json!({"monthlyGenerationLimit": 100}));
    admin.put("/v1/organizations/acme/extra/generations", json!({"quantity": 10})).is(200);
    admin.post("/api/admin/clients/acme/credits", json!({"action": "grant", "amount": 5, "reason": "sorry"})).is(200);
    admin.delete_because("/v1/organizations/acme/grants/1", "r").is(204);
    admin.post("/api/admin/clients/acme/credits", json!({"action": "reset"})).is(200);
    admin.post("/internal/org/acme/billing/lock", "").is(200);
    let shown = admin.get(PATH).is(200).json();
    let expected = json!({"plan": "pro", "monthlyGenerationLimit": 100, "storageQuotaMb": 50_000, "extra": 10, "effectiveLimit": 110, "remaining": 110});
    assert_eq!(shown["quota"], quota(&admin, expected));
    assert_eq!(shown["usage"], json!({"generations": 0, "storageBytes": 1_572_864}));
    assert_eq!(shown.as_object().unwrap().len(), 3);
    let entries = shown["auditLog"].as_array().unwrap();
    let actions: Vec<_> = entries.iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    let expected = [
        "billing.lock",
        "usage_reset",
        "credit_void",
        "credit_grant",
        "limit_change",
        "limit_change",
        "plan_change",
        "organization.create",
    ];
    assert_eq!(actions, expected);
    let limit = json!({
        "id": 3, "clientId": "acme", "adminId": "key:administrator", "action": "limit_change", "details": {},
        "previousValue": {"generations.billingPeriod": 5000, "overridden": []},
        "newValue": {"generations.billingPeriod": 100, "overridden": ["generations.billingPeriod"]},
        "createdAt": entries[5]["createdAt"],
    });
    assert_eq!(entries[5], limit);
    let plan = &entries[6];
    let values = (&plan["previousValue"]["plan"], &plan["newValue"]["plan"], &plan["details"]);
    assert_eq!(values, (&json!("free"), &json!("pro"), &json!({"reason": "paid"})));
    for extra in 1..=5 {
        admin.post("/internal/org/acme/usage/grant-quota", json!({"extraMessages": extra})).is(200);
    }
    assert_eq!(admin.get(PATH).is(200).json()["auditLog"].as_array().unwrap().len(), 10);
}

#[test]
fn credit_is_given_until_the_period_ends_and_use_is_reset() {
    let (_server, admin) = started();
    used(&admin, "generations", 40);
    used(&admin, "messages", 4);
    let credits = |body: Value| admin.post("/api/admin/clients/acme/credits", body).is(200).json();
    let before = log(&admin).len();
    let answer = credits(json!({"action": "grant", "amount": 25, "reason": "sorry"}));
    assert_eq!(answer, json!({"used": 40, "limit": 75, "remaining": 35}));
    let grants = admin.list("/v1/organizations/acme/grants");
    let ends = organization(&admin)["nextResetDate"].clone();
    assert_eq!((grants.len(), &grants[0]["expiresAt"], &grants[0]["reason"]), (1, &ends, &json!("sorry")));
    used(&admin, "generations", 20);
    let (answer, entry) = logged(&admin, || credits(json!({"action": "reset", "reason": null})));
    assert_eq!(answer, json!({"used": 0, "limit": 65, "remaining": 65}), "what credit has given stays given");
    assert_eq!(entry["details"]["before"], json!({"generations.month": 60, "generations.billingPeriod": 60}));
    assert_eq!(log(&admin).len(), before + 2);
    let messages = admin.get("/internal/org/acme/usage").is(200).json()["usage"]["messages"].clone();
    assert_eq!(messages, 4, "only generations are reset");
}
