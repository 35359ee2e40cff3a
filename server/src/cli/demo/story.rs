//! What operators did meanwhile: each act is a call of the API, at its time.

use jiff::tz::TimeZone;
use metergate_rules::time::{DAY, HOUR, Time};
use serde_json::{Value, json};

use super::super::client::{Client, of_organization};
use super::super::row::{Row, cell};
use super::history::History;
use super::organizations::{ALL, Profile};
use crate::hex::hex;

/// Something that happens at a time.
pub(super) struct Act {
    pub(super) at: Time,
    pub(super) what: What,
}

/// What happens.
pub(super) enum What {
    /// An organization signs up.
    SignsUp(&'static Profile),
    /// A call of the API: method, path, body.
    Asks(&'static str, String, Value),
    /// Somebody joins an organization: by which path one is invited, their name, their role.
    Joins(String, &'static str, &'static str),
}

impl Act {
    pub(super) fn happen(&self, client: &Client) -> anyhow::Result<()> {
        let asked = match &self.what {
            What::SignsUp(profile) => return profile.create(client),
            What::Joins(path, name, role) => return joins(client, path, name, role),
            What::Asks("PUT", path, body) => client.put(path, body),
            What::Asks("PATCH", path, body) => client.patch(path, body),
            What::Asks("DELETE", path, body) => client.delete_with(path, body),
            What::Asks(_, path, body) => client.post(path, body),
        };
        asked?;
        Ok(())
    }
}

fn joins(client: &Client, path: &str, name: &str, role: &str) -> anyhow::Result<()> {
    let email = format!("{}@example.com", name.to_lowercase().replace(' ', "."));
    let invited: Row = client.read(path, &client.post(path, &json!({"email": email, "role": role}))?)?;
    let mut password = [0; 16];
    getrandom::fill(&mut password).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
    let body = json!({"email": email, "name": name, "password": hex(&password), "invitation": cell(&invited, "token")});
    client.post("/api/auth/register", &body)?;
    Ok(())
}

/// A call: how many hours ago, of which organization, method, what is below it, and the body, given its time and zone.
struct Told(i64, &'static str, &'static str, &'static str, fn(Time, &TimeZone) -> Value);

#[rustfmt::skip]
const CALLS: &[Told] = &[
    Told(70 * 24 + 4, "saltmarsh",  "PUT",    "/lock",                       |_, _| json!({"reason": "The card was declined three times"})),
    Told(69 * 24 + 7, "saltmarsh",  "DELETE", "/lock",                       |_, _| json!({"reason": "Paid by transfer"})),
    Told(61 * 24 + 2, "northwind",  "POST",   "/api-keys",                   |_, _| json!({"name": "checkout service", "scopes": ["consume"]})),
    Told(52 * 24 + 6, "northwind",  "POST",   "/api-keys",                   |_, _| json!({"name": "monthly report", "scopes": ["read"]})),
    Told(50 * 24 + 3, "globex",     "PUT",    "/overrides/tokens/day",       |_, _| json!({"max": 420_000, "enforcement": "hard", "reason": "A guard against the loop in their import"})),
    Told(40 * 24 + 3, "kestrel",    "PUT",    "/plan",                       |_, _| json!({"plan": "starter", "reason": "Upgrade, ticket 1182"})),
    Told(25 * 24 + 5, "helios",     "PATCH",  "/billing-cycle",              |at, zone| json!({"billingCycleStartDate": first_of_month(at, zone), "reason": "Bills go out on the first"})),
    Told(24 * 24 + 8, "brightside", "POST",   "/adjustments",                |_, _| json!({"meter": "tokens", "quantity": 1_500, "reason": "Counted by hand while their proxy was down"})),
    Told(20 * 24 + 1, "lumen",      "PUT",    "/extra/messages",             |_, _| json!({"quantity": 5_000, "reason": "Agreed in the renewal"})),
    Told(13 * 24 + 2, "tandem",     "PUT",    "/overrides/conversations/billingPeriod", |_, _| json!({"max": 2_600, "enforcement": "soft", "reason": "Overage is billed until the new contract is signed"})),
    Told(12 * 24 + 5, "lumen",      "POST",   "/grants",                     |at, _| json!({"meter": "tokens", "amount": 100_000, "reason": "Apology for the outage of search", "expiresAt": at.plus(60 * DAY).to_string()})),
    Told(9 * 24 + 2,  "brightside", "POST",   "/usage/reset",                |_, _| json!({"reason": "Their script had imported a course twice"})),
    Told(6 * 24 + 4,  "northwind",  "POST",   "/grants",                     |_, _| json!({"meter": "messages", "amount": 2_500, "reason": "Thanks for the case study"})),
    Told(5 * 24 + 3,  "pixelpress", "POST",   "/grants",                     |at, _| json!({"meter": "conversations", "amount": 20, "reason": "Trying the new assistant", "expiresAt": at.plus(9 * DAY).to_string()})),
    Told(2 * 24 + 6,  "orchard",    "PUT",    "/lock",                       |_, _| json!({"reason": "The invoice of last month is open"})),
];

/// Who joins Northwind, in its first hours.
const PEOPLE: [(&str, &str); 3] = [("Ingrid Sommer", "owner"), ("Tom Ribeiro", "admin"), ("Aiko Tanaka", "viewer")];

/// Everything that happens in a history, in no order. What lies before it, or before its organization, happens as that signs up.
pub(super) fn acts(history: &History<'_>) -> Vec<Act> {
    let signs_up = |profile: &Profile| profile.signs_up(history.now.floor(HOUR), history.days);
    let mut acts: Vec<Act> =
        ALL.iter().map(|profile| Act { at: signs_up(profile), what: What::SignsUp(profile) }).collect();
    for Told(ago, key, method, below, body) in CALLS {
        let Some(profile) = ALL.iter().find(|profile| profile.key == *key) else { continue };
        let at = history.now.plus(-ago * HOUR).max(signs_up(profile).plus(HOUR));
        let zone = TimeZone::get(profile.zone).unwrap_or(TimeZone::UTC);
        let what = What::Asks(method, of_organization(key, below), body(at, &zone));
        acts.push(Act { at, what });
    }
    if let Some(northwind) = ALL.first() {
        for (hours, (name, role)) in (2..).zip(PEOPLE) {
            let what = What::Joins(of_organization(northwind.key, "/invitations"), name, role);
            acts.push(Act { at: signs_up(northwind).plus(hours * HOUR), what });
        }
    }
    acts
}

fn first_of_month(at: Time, zone: &TimeZone) -> String {
    at.timestamp().to_zoned(zone.clone()).date().first_of_month().to_string()
}
