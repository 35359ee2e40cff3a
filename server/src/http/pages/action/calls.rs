//! The actions on an organization: which form each shows, and which call of the API it becomes.

use axum::http::Method;
use metergate_pages::form::Form;
use metergate_pages::forms::{organization as form, people};
use metergate_pages::subscription;
use metergate_pages::typed::instant;
use serde_json::{Value, json};

use super::super::api::Call;
use super::super::sent::Typed;
use super::about::{About, Needs};

/// Whose an action is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// Operators' alone.
    Operators,
    /// Also that of members whose role suffices.
    Members,
}

/// An action on an organization.
pub(super) struct Action {
    /// Its word in the address.
    pub(super) word: &'static str,
    /// The tab on which its effect is seen.
    pub(super) tab: &'static str,
    pub(super) done: &'static str,
    pub(super) whose: Whose,
    pub(super) needs: Needs,
    /// Whether it puts something in the place of what its form shows: then it is done to that alone.
    pub(super) edits: bool,
    pub(super) form: fn(&About) -> Form,
    pub(super) call: fn(&About, &Typed) -> Call,
}

const fn by_operators(
    word: &'static str,
    tab: &'static str,
    done: &'static str,
    form: fn(&About) -> Form,
    call: fn(&About, &Typed) -> Call,
) -> Action {
    Action { word, tab, done, whose: Whose::Operators, needs: Needs::Limits, edits: false, form, call }
}

const fn by_members(
    word: &'static str,
    tab: &'static str,
    done: &'static str,
    needs: Needs,
    form: fn(&About) -> Form,
    call: fn(&About, &Typed) -> Call,
) -> Action {
    Action { word, tab, done, whose: Whose::Members, needs, edits: false, form, call }
}

impl Action {
    /// That needs something else than is usual.
    const fn that_needs(self, needs: Needs) -> Self {
        Self { needs, ..self }
    }

    /// That puts something in the place of what its form shows.
    const fn that_edits(self) -> Self {
        Self { edits: true, ..self }
    }

    /// Its form, with what it is about.
    pub(super) fn shown(&self, about: &About) -> Form {
        (self.form)(about).of(about.name()).of_version(about.version.clone().filter(|_| self.edits))
    }

    /// The call that it becomes: an edit only of the version that it was shown with.
    pub(super) fn asked(&self, about: &About, typed: &Typed) -> Call {
        let call = (self.call)(about, typed);
        if self.edits { call.only_if(typed.word("version")) } else { call }
    }
}

pub(super) const ACTIONS: [Action; 26] = [
    by_operators("reset", "", "reset", |about| form::reset(about), reset),
    by_operators(
        "extra",
        "limits",
        "extra",
        |about| form::extra(about),
        |about, typed| {
            let body = json!({"quantity": typed.word("quantity"), "reason": typed.word("reason")});
            Call::new(Method::PUT, about.path(&format!("/extra/{}", about.chosen("meter"))), body)
        },
    )
    .that_edits(),
    by_operators("grant", "limits", "granted", |about| form::grant(about), grant),
    by_operators(
        "void-grant",
        "limits",
        "grant-voided",
        |about| form::void_grant(about),
        |about, typed| {
            let path = about.path(&format!("/grants/{}", about.chosen("grant")));
            Call::new(Method::DELETE, path, json!({"reason": typed.word("reason")}))
        },
    )
    .that_needs(Needs::Grants),
    by_operators(
        "plan",
        "limits",
        "plan",
        |about| form::plan(about),
        |about, typed| {
            let body = json!({"plan": typed.word("plan"), "at": typed.word("at"),
            "keepOverrides": typed.is_checked("keepOverrides"), "reason": typed.word("reason")});
            Call::new(Method::PUT, about.path("/plan"), body)
        },
    )
    .that_edits(),
    by_operators("override", "limits", "override", |about| form::set_override(about), set_override).that_edits(),
    by_operators(
        "clear-override",
        "limits",
        "override-cleared",
        |about| form::clear_override(about),
        |about, typed| {
            let path = about.path(&format!("/overrides/{}/{}", about.chosen("meter"), about.chosen("window")));
            Call::new(Method::DELETE, path, json!({"reason": typed.word("reason")}))
        },
    )
    .that_edits(),
    by_operators(
        "lock",
        "",
        "locked",
        |about| form::lock(about),
        |about, typed| Call::new(Method::PUT, about.path("/lock"), json!({"reason": typed.word("reason")})),
    ),
    by_operators(
        "unlock",
        "",
        "unlocked",
        |about| form::unlock(about),
        |about, typed| Call::new(Method::DELETE, about.path("/lock"), json!({"reason": typed.word("reason")})),
    ),
    by_operators(
        "trial",
        "",
        "trial",
        |about| form::trial(about),
        |about, typed| {
            let body = json!({"endsAt": about.instant(typed, "endsAt"), "reason": typed.word("reason")});
            Call::new(Method::PUT, about.path("/trial"), body)
        },
    )
    .that_edits(),
    by_operators("adjust", "", "adjusted", |about| form::adjust(about), adjust),
    by_operators(
        "clock",
        "",
        "clock",
        |about| form::clock(about),
        |about, typed| {
            let body = json!({"now": about.instant(typed, "now"), "reason": typed.word("reason")});
            Call::new(Method::PUT, about.path("/clock"), body)
        },
    )
    .that_edits(),
    by_operators(
        "link-subscription",
        "subscription",
        "linked",
        |about| subscription::link(about),
        |about, typed| {
            let body = json!({"subscription": typed.value("subscription"), "customer": typed.value("customer"),
                "reason": typed.word("reason")});
            Call::new(Method::PUT, about.path("/subscription"), body)
        },
    ),
    by_operators(
        "portal",
        "",
        "profile",
        |about| form::portal(about),
        |about, _| Call::new(Method::POST, about.path("/portal-sessions"), json!({})),
    ),
    by_operators(
        "resolve",
        "audit",
        "resolved",
        |about| form::resolve(about),
        |about, typed| {
            let path = about.path(&format!("/audit-log/{}/resolve", about.chosen("entry")));
            Call::new(Method::POST, path, json!({"note": typed.word("note")}))
        },
    ),
    by_members("profile", "", "profile", Needs::Nothing, |about| form::profile(about), profile).that_edits(),
    by_members(
        "cycle",
        "cycle",
        "cycle",
        Needs::Nothing,
        |about| form::cycle(about),
        |about, typed| {
            let body = json!({"billingCycleStartDate": typed.word("billingCycleStartDate")});
            Call::new(Method::PATCH, about.path("/billing-cycle"), body)
        },
    )
    .that_edits(),
    by_members(
        "delete",
        "",
        "deleted",
        Needs::Nothing,
        |about| form::delete(about),
        |about, typed| Call::new(Method::DELETE, about.path(""), json!({"reason": typed.word("reason")})),
    )
    .that_edits(),
    by_members(
        "invite",
        "members",
        "member-added",
        Needs::Nothing,
        |about| people::invite(about),
        |about, typed| {
            let body = json!({"email": typed.word("email"), "role": typed.word("role")});
            Call::new(Method::POST, about.path("/members"), body)
        },
    ),
    by_members(
        "member",
        "members",
        "member",
        Needs::Member,
        |about| people::member(about, &about.members),
        |about, typed| {
            let body = json!({"role": typed.word("role"), "active": typed.is_checked("active")});
            Call::new(Method::PATCH, about.path(&format!("/members/{}", about.chosen("member"))), body)
        },
    ),
    by_members(
        "remove-member",
        "members",
        "member-removed",
        Needs::Member,
        |about| people::remove_member(about, &about.members),
        |about, typed| removal(about, typed, "/members", "member"),
    ),
    by_members(
        "invite-again",
        "members",
        "invited",
        Needs::Invitations,
        |about| people::invite_again(about, &about.invitations),
        |about, _| {
            let path = about.path(&format!("/invitations/{}/resend", about.chosen("invitation")));
            Call::new(Method::POST, path, Value::Null)
        },
    ),
    by_members(
        "withdraw-invitation",
        "members",
        "invitation-withdrawn",
        Needs::Invitations,
        |about| people::withdraw(about, &about.invitations),
        |about, typed| removal(about, typed, "/invitations", "invitation"),
    ),
    by_members(
        "key",
        "keys",
        "profile",
        Needs::Nothing,
        |about| people::new_key(Some(about)),
        |about, typed| Call::new(Method::POST, about.path("/api-keys"), new_key(typed, &about.organization.time_zone)),
    ),
    by_members(
        "revoke-key",
        "keys",
        "key-revoked",
        Needs::Key,
        |about| people::revoke_key(about.named("key"), &about.keys),
        |about, typed| removal(about, typed, "/api-keys", "key"),
    ),
    by_members(
        "rotate-key",
        "keys",
        "profile",
        Needs::Key,
        |about| people::rotate_key(about.named("key"), &about.keys),
        |about, _| {
            Call::new(Method::POST, about.path(&format!("/api-keys/{}/rotate", about.chosen("key"))), Value::Null)
        },
    ),
];

/// The end of what an address names, with a reason.
fn removal(about: &About, typed: &Typed, list: &str, name: &str) -> Call {
    let path = about.path(&format!("{list}/{}", about.chosen(name)));
    Call::new(Method::DELETE, path, json!({"reason": typed.word("reason")}))
}

/// Without what is `null`: what is absent stays as it is, or has its usual value.
pub(super) fn present(mut body: Value) -> Value {
    if let Some(object) = body.as_object_mut() {
        object.retain(|_, value| !value.is_null());
    }
    body
}

fn reset(about: &About, typed: &Typed) -> Call {
    let meters = typed.text("meter").map_or(Value::Null, |meter| json!([meter]));
    let windows = typed.is_checked("withDay").then(|| json!(["billingPeriod", "month", "day"]));
    let body = json!({"meters": meters, "windows": windows, "reason": typed.word("reason")});
    Call::new(Method::POST, about.path("/usage/reset"), present(body))
}

fn grant(about: &About, typed: &Typed) -> Call {
    let priority = typed.text("priority").map(|text| text.parse::<i64>().map_or_else(|_| text.into(), Value::from));
    let body = json!({"meter": typed.word("meter"), "amount": typed.word("amount"), "reason": typed.word("reason"),
        "priority": priority, "expiresAt": about.instant(typed, "expiresAt")});
    Call::new(Method::POST, about.path("/grants"), present(body))
}

fn set_override(about: &About, typed: &Typed) -> Call {
    let is_unlimited = typed.is_checked("unlimited");
    let max = if is_unlimited { Value::Null } else { typed.value("max") };
    let body = json!({"max": max, "unlimited": is_unlimited, "enforcement": typed.word("enforcement"),
        "until": about.instant(typed, "until"), "reason": typed.word("reason")});
    let path = about.path(&format!("/overrides/{}/{}", about.chosen("meter"), about.chosen("window")));
    Call::new(Method::PUT, path, present(body))
}

fn adjust(about: &About, typed: &Typed) -> Call {
    let body = json!({"meter": typed.word("meter"), "quantity": typed.word("quantity"),
        "time": about.instant(typed, "time"), "reason": typed.word("reason")});
    Call::new(Method::POST, about.path("/adjustments"), present(body))
}

fn profile(about: &About, typed: &Typed) -> Call {
    let body = json!({"name": typed.value("name"), "key": typed.value("key"), "timeZone": typed.value("timeZone")});
    Call::new(Method::PATCH, about.path(""), present(body))
}

/// The body of a new key, whose end is typed as a time of a zone.
pub(super) fn new_key(typed: &Typed, zone: &str) -> Value {
    let expires = typed.text("expiresAt").map(|text| instant(text, zone));
    present(json!({"name": typed.word("name"), "scopes": typed.chosen("scope."), "expiresAt": expires}))
}
