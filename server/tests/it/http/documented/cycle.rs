//! `PATCH /api/organizations/{id}/billing-cycle`.

use serde_json::{Value, json};

use super::super::server::Server;
use crate::http::client::{Answer, Client};

const PATH: &str = "/api/organizations/acme/billing-cycle";

/// A test organization in New York whose clock shows 22 November.
fn started() -> (Server, Client) {
    let server = Server::start();
    let admin = server.admin();
    let acme = json!({"key": "acme", "plan": "pro", "timeZone": "America/New_York", "test": true});
    admin.post("/v1/organizations", acme).is(201);
    admin.put("/v1/organizations/acme/clock", json!({"now": "2024-11-22T11:06:00.5Z"})).is(200);
    (server, admin)
}

fn moved(client: &Client, start: &str) -> Value {
    let answer = client.patch(PATH, json!({"billingCycleStartDate": start})).is(200).json();
    assert_eq!(answer["message"], "Billing cycle updated successfully");
    answer["billingCycle"].clone()
}

#[test]
fn a_start_moves_the_bounds_and_midnight_is_a_date_of_the_organizations_zone() {
    let (_server, admin) = started();
    let expected = |last: &str, next: &str| json!({"lastReset": last, "nextReset": next, "updatedAt": "2024-11-22T11:06:00.500Z", "updatedBy": "key:administrator"});
    let past = moved(&admin, "2024-11-01T00:00:00.000Z");
    assert_eq!(past, expected("2024-11-01T04:00:00.000Z", "2024-12-01T05:00:00.000Z"), "summer time ends between");
    let shown = admin.get("/portal/billing/status?org=acme").is(200).json();
    assert_eq!(shown["currentPeriod"], json!({"start": "2024-11-01T04:00:00Z", "end": "2024-12-01T05:00:00Z"}));
    let future = moved(&admin, "2024-12-15T00:00:00.000Z");
    assert_eq!(future, expected("2024-12-15T05:00:00.000Z", "2025-01-15T05:00:00.000Z"));
    assert_eq!(admin.get("/v1/organizations/acme").is(200).json()["nextResetDate"], "2024-12-15T05:00:00Z");
    let instant = moved(&admin, "2024-11-10T08:30:00.000Z");
    assert_eq!(instant, expected("2024-11-10T08:30:00.000Z", "2024-12-10T08:30:00.000Z"));
    let log = admin.list("/v1/organizations/acme/audit-log?action=billing.cycle");
    assert_eq!(log.len(), 3, "one entry each");
}

#[test]
fn errors_are_exactly_their_text() {
    let (server, admin) = started();
    let says = |answer: Answer, status: u16, text: &str| assert_eq!(answer.is(status).json(), json!({"error": text}));
    let required = "billingCycleStartDate is required (ISO string)";
    says(admin.patch(PATH, "{}"), 400, required);
    says(admin.call("PATCH", PATH).send(), 400, required);
    for unread in [json!("soon"), json!(""), json!(null), json!(1_730_419_200), json!(["2024-11-01"])] {
        says(admin.patch(PATH, json!({"billingCycleStartDate": unread})), 400, required);
    }
    let body = json!({"billingCycleStartDate": "2024-11-01T00:00:00.000Z"});
    says(admin.patch("/api/organizations/nobody/billing-cycle", &body), 404, "Organization not found");
    let key = json!({"name": "reader", "scopes": ["read"]});
    let reader = server.client(admin.post("/v1/api-keys", key).is(201).json()["key"].as_str().unwrap());
    let forbidden = "Only platform administrators or organization admin/owner can update billing cycle";
    says(reader.patch(PATH, &body), 403, forbidden);
    let far = admin.patch(PATH, json!({"billingCycleStartDate": "2029-01-01T00:00:00.000Z"})).is(422).json();
    assert!(far["error"].as_str().unwrap().contains("at most a year ahead"), "{far}");
}
