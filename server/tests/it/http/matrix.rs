//! Every route: who may call it, and a request to it that is right but for what it names.

use metergate_rules::role;

use super::client::{Answer, Client};
use super::isolation::CANARY;

/// Who may call a route, and how it names an organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    /// Everybody, also without a credential.
    Open,
    /// Nobody here, since what it needs is not set: there is no such thing.
    Unset,
    /// Every credential.
    Any,
    /// Who has this right by the table of the rules.
    Of(role::Right),
    /// The same of the operators' right.
    Operator,
}

/// One route: who may, and a request that is right but for what it names. `{org}` is the organization.
pub(super) struct Rule {
    pub(super) route: &'static str,
    pub(super) right: Right,
    query: &'static str,
    pub(super) body: &'static str,
}

const READ: Right = Right::Of(role::Right::Read);
const RECORD: Right = Right::Of(role::Right::Record);
const CONSUME: Right = Right::Of(role::Right::Consume);
const CATALOGUE: Right = Right::Of(role::Right::Catalogue);
const ADMINISTER: Right = Right::Of(role::Right::Administer);
const MEMBERS: Right = Right::Of(role::Right::ReadMembers);
const PERSON: Right = Right::Of(role::Right::Person);
const REASON: &str = r#"{"reason": "r"}"#;

const fn rule(route: &'static str, right: Right, query: &'static str, body: &'static str) -> Rule {
    Rule { route, right, query, body }
}

#[rustfmt::skip]
pub(super) const RULES: &[Rule] = &[
    rule("POST /v1/consume", CONSUME, "", r#"{"organization": "{org}", "meter": "tokens", "id": "asked"}"#),
    rule("POST /v1/check", CONSUME, "", r#"{"organization": "{org}", "meter": "tokens", "id": "asked"}"#),
    rule("GET /gateway/authorize", CONSUME, "?organization={org}&meter=tokens", ""),
    rule("POST /v1/reservations", CONSUME, "", r#"{"organization": "{org}", "meter": "tokens", "ttlSeconds": 60}"#),
    rule("GET /v1/reservations/{id}", CONSUME, "", ""),
    rule("POST /v1/reservations/{id}/extend", CONSUME, "", r#"{"ttlSeconds": 60}"#),
    rule("POST /v1/reservations/{id}/commit", CONSUME, "", r#"{"quantity": 1}"#),
    rule("POST /v1/reservations/{id}/release", CONSUME, "", ""),
    rule("POST /v1/events", RECORD, "", r#"{"specversion": "1.0", "id": "asked", "source": "/asked", "type": "tokens", "subject": "{org}"}"#),
    rule("GET /v1/events", READ, "?organization={org}", ""),
    rule("GET /v1/events/stream", READ, "?organization={org}", ""),
    rule("PATCH /v1/events/{id}", RECORD, "?organization={org}", r#"{"source": "/canary", "durationMs": 5}"#),
    rule("DELETE /v1/events/{id}", Right::Operator, "?organization={org}&source=/canary", REASON),
    rule("GET /v1/usage", READ, "?organization={org}", ""),
    rule("GET /v1/imports/{source}", RECORD, "", ""),
    rule("PUT /v1/imports/{source}", RECORD, "", r#"{"rowsDone": 1, "digest": "d"}"#),
    rule("GET /v1/organizations", Right::Operator, "", ""),
    rule("POST /v1/organizations", Right::Operator, "", r#"{"key": "{org}"}"#),
    rule("GET /v1/organizations/{org}", READ, "", ""),
    rule("PATCH /v1/organizations/{org}", ADMINISTER, "", r#"{"name": "Changed"}"#),
    rule("GET /v1/organizations/{org}/usage", READ, "", ""),
    rule("GET /v1/organizations/{org}/entitlements", READ, "", ""),
    rule("GET /v1/organizations/{org}/explain", READ, "", ""),
    rule("GET /v1/organizations/{org}/forecast", READ, "", ""),
    rule("GET /v1/organizations/{org}/quota", READ, "", ""),
    rule("PATCH /api/organizations/{org}/billing-cycle", ADMINISTER, "", r#"{"billingCycleStartDate": "2026-11-01"}"#),
    rule("GET /v1/organizations/{org}/billing-cycle", READ, "", ""),
    rule("PATCH /v1/organizations/{org}/billing-cycle", ADMINISTER, "", r#"{"billingCycleStartDate": "2026-11-01"}"#),
    rule("PUT /v1/organizations/{org}/trial", Right::Operator, "", r#"{"endsAt": "2199-01-01T00:00:00Z", "reason": "r"}"#),
    rule("PUT /v1/organizations/{org}/clock", Right::Operator, "", r#"{"now": "2026-11-01T00:00:00Z"}"#),
    rule("PUT /v1/organizations/{org}/lock", Right::Operator, "", REASON),
    rule("DELETE /v1/organizations/{org}/lock", Right::Operator, "", REASON),
    rule("PUT /v1/organizations/{org}/plan", Right::Operator, "", r#"{"plan": "pro"}"#),
    rule("PUT /v1/organizations/{org}/overrides/{meter}/{window}", Right::Operator, "", r#"{"max": 5}"#),
    rule("DELETE /v1/organizations/{org}/overrides/{meter}/{window}", Right::Operator, "", ""),
    rule("PUT /v1/organizations/{org}/extra/{meter}", Right::Operator, "", r#"{"quantity": 5}"#),
    rule("POST /v1/organizations/{org}/grants", Right::Operator, "", r#"{"meter": "tokens", "amount": 5, "reason": "r"}"#),
    rule("GET /v1/organizations/{org}/grants", READ, "", ""),
    rule("DELETE /v1/organizations/{org}/grants/{id}", Right::Operator, "", REASON),
    rule("POST /v1/organizations/{org}/usage/reset", Right::Operator, "", REASON),
    rule("POST /v1/organizations/{org}/adjustments", Right::Operator, "", r#"{"meter": "tokens", "quantity": 5, "reason": "r"}"#),
    rule("GET /v1/organizations/{org}/audit-log", Right::Of(role::Right::ReadAudit), "", ""),
    rule("POST /v1/organizations/{org}/audit-log", Right::Of(role::Right::Append), "", r#"{"action": "document.upload", "category": "chat"}"#),
    rule("POST /v1/organizations/{org}/audit-log/{seq}/resolve", Right::Operator, "", r#"{"note": "n"}"#),
    rule("GET /v1/audit-log", Right::Operator, "?organization={org}", ""),
    rule("GET /v1/audit-log/verify", Right::Operator, "", ""),
    rule("POST /v1/audit-log/prune", Right::Operator, "", r#"{"until": "2020-01-01T00:00:00Z", "reason": "r"}"#),
    rule("GET /v1/audit-log/head", Right::Operator, "", ""),
    rule("GET /v1/meters", CATALOGUE, "", ""),
    rule("GET /v1/meters/{key}", CATALOGUE, "", ""),
    rule("PUT /v1/meters/{key}", Right::Operator, "", r#"{"aggregation": "sum"}"#),
    rule("DELETE /v1/meters/{key}", Right::Operator, "", REASON),
    rule("GET /v1/plans", CATALOGUE, "", ""),
    rule("GET /v1/plans/{key}", CATALOGUE, "", ""),
    rule("PUT /v1/plans/{key}", Right::Operator, "", "{}"),
    rule("DELETE /v1/plans/{key}", Right::Operator, "", REASON),
    rule("GET /v1/prices", CATALOGUE, "", ""),
    rule("PUT /v1/prices", Right::Operator, "", r#"{"prices": []}"#),
    rule("PATCH /v1/prices", Right::Operator, "", r#"{"set": [], "reason": "r"}"#),
    rule("POST /v1/prices/recompute", Right::Operator, "", r#"{"from": "2026-11-01T00:00:00Z", "to": "2026-11-02T00:00:00Z"}"#),
    rule("POST /v1/catalog/diff", Right::Operator, "", " "),
    rule("POST /v1/catalog/apply", Right::Operator, "", " "),
    rule("POST /v1/what-if", Right::Operator, "", r#"{"plan": "pro"}"#),
    rule("POST /v1/api-keys", Right::Operator, "", r#"{"name": "made", "scopes": ["read"], "organization": "{org}"}"#),
    rule("GET /v1/api-keys", Right::Operator, "", ""),
    rule("DELETE /v1/api-keys/{id}", Right::Operator, "", REASON),
    rule("POST /v1/api-keys/{id}/rotate", Right::Operator, "", ""),
    rule("GET /v1/organizations/{org}/api-keys", Right::Of(role::Right::ReadKeys), "", ""),
    rule("POST /v1/organizations/{org}/api-keys", ADMINISTER, "", r#"{"name": "made", "scopes": ["read"]}"#),
    rule("DELETE /v1/organizations/{org}/api-keys/{id}", ADMINISTER, "", REASON),
    rule("POST /v1/organizations/{org}/api-keys/{id}/rotate", ADMINISTER, "", ""),
    rule("GET /v1/organizations/{org}/subscription", READ, "", ""),
    rule("PUT /v1/organizations/{org}/subscription", Right::Operator, "", r#"{"reason": "r"}"#),
    rule("POST /v1/organizations/{org}/subscription/portal", Right::Of(role::Right::Pay), "", ""),
    rule("POST /v1/organizations/{org}/subscription/checkout", Right::Of(role::Right::Pay), "", r#"{"plan": "pro"}"#),
    rule("GET /v1/stripe-events", Right::Operator, "", ""),
    rule("POST /v1/stripe-events/{id}/retry", Right::Operator, "", ""),
    rule("POST /webhooks/stripe", Right::Unset, "", "{}"),
    // To this machine, which is refused: nothing is sent anywhere by these.
    rule("POST /v1/webhook-endpoints", Right::Operator, "", r#"{"url": "https://127.0.0.1/"}"#),
    rule("GET /v1/webhook-endpoints", Right::Operator, "", ""),
    rule("GET /v1/webhook-endpoints/{id}", Right::Operator, "", ""),
    rule("PATCH /v1/webhook-endpoints/{id}", Right::Operator, "", r#"{"enabled": false}"#),
    rule("DELETE /v1/webhook-endpoints/{id}", Right::Operator, "", REASON),
    rule("POST /v1/webhook-endpoints/{id}/rotate-secret", Right::Operator, "", ""),
    rule("GET /v1/webhook-endpoints/{id}/deliveries", Right::Operator, "", ""),
    rule("POST /v1/webhook-endpoints/{id}/deliveries/{delivery}/resend", Right::Operator, "", ""),
    rule("POST /v1/webhook-endpoints/{id}/test", Right::Operator, "", ""),
    rule("POST /v1/backups", Right::Operator, "", "{}"),
    rule("GET /v1/export", Right::Operator, "", ""),
    rule("GET /v1/fleet", Right::Operator, "", ""),
    rule("GET /v1/fleet/stream", Right::Operator, "", ""),
    rule("GET /v1/jobs/{id}", Right::Any, "", ""),
    rule("GET /v1/limits", Right::Any, "", ""),
    rule("GET /v1/me", Right::Any, "", ""),
    rule("GET /v1/organizations/{org}/members", MEMBERS, "", ""),
    rule("POST /v1/organizations/{org}/members", ADMINISTER, "", r#"{"email": "new@example.com", "role": "viewer"}"#),
    rule("GET /v1/organizations/{org}/members/{id}", MEMBERS, "", ""),
    rule("PATCH /v1/organizations/{org}/members/{id}", ADMINISTER, "", r#"{"role": "viewer"}"#),
    rule("DELETE /v1/organizations/{org}/members/{id}", ADMINISTER, "", REASON),
    rule("GET /v1/organizations/{org}/members/{id}/notifications", MEMBERS, "", ""),
    rule("PATCH /v1/organizations/{org}/members/{id}/notifications", Right::Of(role::Right::Notify), "", r#"{"lock": true}"#),
    rule("POST /v1/notifications/unsubscribe", Right::Open, "", "{}"),
    rule("POST /v1/organizations/{org}/invitations", ADMINISTER, "", r#"{"email": "new@example.com", "role": "viewer"}"#),
    rule("GET /v1/organizations/{org}/invitations", MEMBERS, "", ""),
    rule("DELETE /v1/organizations/{org}/invitations/{id}", ADMINISTER, "", REASON),
    rule("POST /v1/organizations/{org}/invitations/{id}/resend", ADMINISTER, "", ""),
    rule("POST /v1/invitations/accept", PERSON, "", r#"{"token": "mgs_"}"#),
    rule("POST /v1/sessions", Right::Open, "", "{}"),
    rule("GET /auth/oidc/start", Right::Unset, "", ""),
    rule("GET /auth/oidc/callback", Right::Unset, "", ""),
    rule("POST /v1/password-resets", Right::Operator, "", r#"{"email": "new@example.com"}"#),
    rule("POST /v1/password-resets/request", Right::Open, "", "{}"),
    rule("POST /v1/email-verifications/request", PERSON, "", ""),
    rule("POST /v1/email-verifications", Right::Operator, "", r#"{"email": "new@example.com"}"#),
    rule("POST /v1/email-verifications/confirm", PERSON, "", r#"{"token": "mgs_"}"#),
    rule("GET /v1/settings", Right::Operator, "", ""),
    rule("PATCH /v1/settings", Right::Operator, "", r#"{"teamName": "Team"}"#),
    rule("POST /v1/organizations/{org}/portal-sessions", Right::Of(role::Right::Link), "", "{}"),
    rule("DELETE /v1/organizations/{org}/portal-sessions/{id}", Right::Of(role::Right::Link), "", REASON),
    rule("POST /v1/portal-sessions", Right::Open, "", "{}"),
    rule("GET /v1/administrators", Right::Operator, "", ""),
    rule("POST /v1/administrators", Right::Operator, "", r#"{"email": "root@example.com"}"#),
    rule("DELETE /v1/administrators/{id}", Right::Operator, "", REASON),
    rule("POST /api/auth/register", Right::Open, "", "{}"),
    rule("POST /api/auth/login", Right::Open, "", "{}"),
    rule("POST /api/organizations", PERSON, "", r#"{"name": "Made"}"#),
    rule("GET /internal/org/{org}/usage", Right::Operator, "", ""),
    rule("POST /internal/org/{org}/usage/reset", Right::Operator, "", ""),
    rule("POST /internal/org/{org}/usage/grant-quota", Right::Operator, "", r#"{"extraMessages": 5}"#),
    rule("POST /internal/org/{org}/billing/lock", Right::Operator, "", ""),
    rule("POST /internal/org/{org}/billing/unlock", Right::Operator, "", ""),
    rule("GET /internal/org/{org}/audit-log", Right::Operator, "", ""),
    rule("GET /portal/billing/status", READ, "?org={org}", ""),
    rule("GET /api/admin/usage", Right::Operator, "?tenant={org}", ""),
    rule("GET /api/admin/usage/{org}", Right::Operator, "", ""),
    rule("PUT /api/admin/clients/{org}/quota", Right::Operator, "", r#"{"plan": "pro"}"#),
    rule("GET /api/admin/clients/{org}/quota", Right::Operator, "", ""),
    rule("POST /api/admin/clients/{org}/credits", Right::Operator, "", r#"{"action": "grant", "amount": 5}"#),
    rule("POST /api/admin/metrics/aggregate", Right::Operator, "", "{}"),
    // Not valid, so that whoever may does not take it from the others.
    rule("DELETE /v1/organizations/{org}", Right::Of(role::Right::Delete), "", r#"{"unknown": 1}"#),
    // The last, since nobody is signed in after it.
    rule("POST /api/auth/logout", PERSON, "", ""),
    rule("GET /livez", Right::Open, "", ""),
    rule("GET /readyz", Right::Open, "", ""),
    rule("GET /metrics", Right::Open, "", ""),
];

impl Rule {
    pub(super) fn call(&self, client: &Client, organization: &str) -> Answer {
        self.call_with(client, organization, &[])
    }

    /// The same with more headers.
    pub(super) fn call_with(&self, client: &Client, organization: &str, headers: &[(&str, &str)]) -> Answer {
        let (method, path) = self.route.split_once(' ').unwrap();
        // Things of B: its key's id, the name of its import; of the team's: what there is.
        let path =
            path.replace("{org}", organization).replace("{meter}", "tokens").replace("{window}", "billingPeriod");
        let path = path
            .replace("{source}", CANARY)
            .replace("{id}", "1")
            .replace("{key}", "tokens")
            .replace("{seq}", "1")
            .replace("{delivery}", "1");
        let path = format!("{path}{}", self.query.replace("{org}", organization));
        // One id for all, so that equal answers have equal bytes.
        let call = client.call(method, &path).header("x-request-id", "asked");
        let call = headers.iter().fold(call, |call, (name, value)| call.header(name, value));
        match self.body.replace("{org}", organization) {
            body if body.is_empty() => call.send(),
            body => call.json(body).send(),
        }
    }

    /// An error in the form of the route's errors.
    pub(super) fn expect_refusal(&self, answer: Answer, status: u16, code: &str) {
        if ["/internal/", "/portal/", "/api/"].iter().any(|prefix| self.route.contains(prefix)) {
            answer.expect_error_text(status);
        } else {
            answer.expect_problem(status, code);
        }
    }

    /// The right by the table of the rules; none for what everybody may.
    pub(super) fn of_table(&self) -> Option<role::Right> {
        match self.right {
            Right::Open | Right::Unset => None,
            Right::Any => Some(role::Right::Any),
            Right::Of(right) => Some(right),
            Right::Operator => Some(role::Right::Operate),
        }
    }

    pub(super) fn allows(&self, scopes: &[&str], bound: bool) -> bool {
        let scopes: Vec<_> = scopes.iter().filter_map(|name| role::KeyScope::from_name(name)).collect();
        self.of_table().is_none_or(|right| right.is_of_key(&scopes, bound))
    }

    /// Whether the key that is bound to A may, where it names A.
    pub(super) fn allows_bound(&self) -> bool {
        self.allows(&["consume", "read", "ingest"], true)
    }

    pub(super) fn names_an_organization(&self) -> bool {
        [self.route, self.query, self.body].iter().any(|text| text.contains("{org}"))
    }
}
