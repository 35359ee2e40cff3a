//! What people do, and what is done about them.

use super::{Body, Told, from_to, joined, words};

/// A role as the sentence has it: "an editor", "a viewer".
fn role(role: &str) -> String {
    match role {
        "editor" | "admin" | "owner" => format!("an {role}"),
        other => format!("a {other}"),
    }
}

impl Told<'_> {
    /// Whom one side names: by name, by address, or as far as they are known.
    fn person(&self, body: Body<'_>) -> String {
        let known = body.text("name").or_else(|| body.text("email")).map(str::to_owned);
        known.or_else(|| body.text("user").map(|id| self.names.user(id))).unwrap_or_else(|| "somebody".to_owned())
    }

    /// Whether one side names the one who did it.
    fn is_own(&self, body: Body<'_>) -> bool {
        body.text("user").is_some_and(|id| self.entry.subject() == format!("user:{id}"))
    }
}

pub(super) fn add(told: &Told<'_>) -> String {
    let Some(as_what) = told.is.text("role") else { return "added a member".to_owned() };
    match as_what {
        "administrator" => format!("made {} a platform administrator", told.person(told.is)),
        as_what if told.is_own(told.is) => format!("joined as {}", role(as_what)),
        as_what => format!("added {} as {}", told.person(told.is), role(as_what)),
    }
}

pub(super) fn change(told: &Told<'_>) -> String {
    let is_own = told.is_own(told.is);
    if told.is.is("emailVerified") {
        let whose = if is_own { "their".to_owned() } else { format!("{}'s", told.person(told.is)) };
        return format!("confirmed {whose} e-mail address");
    }
    if told.is.get("mails").is_some() {
        return mails(told, is_own);
    }
    let whom = if told.is.is_empty() { told.was } else { told.is };
    let mut parts = Vec::new();
    if told.was.get("role") != told.is.get("role") {
        let named = |body: Body<'_>| body.text("role").map(str::to_owned);
        parts.push(format!("the role of {}{}", told.person(whom), from_to(named(told.was), named(told.is))));
    }
    match (told.was.is("active"), told.is.get("active").is_some(), told.is.is("active")) {
        (true, true, false) => format!("suspended {}", told.person(whom)),
        (false, _, true) if !told.was.is_empty() => format!("let {} in again", told.person(whom)),
        _ if parts.is_empty() => {
            format!("changed {}", if whom.is_empty() { "a member".to_owned() } else { told.person(whom) })
        }
        _ => format!("changed {}", joined(&parts)),
    }
}

/// What a mail can be about, as people call it.
fn topic(topic: &str) -> String {
    let words = match topic {
        "limitNear" => "limits that come close",
        "limitReached" => "limits that are used up",
        "trial" => "the end of the trial",
        "lock" => "locks",
        "payment" => "payments",
        other => return words(other),
    };
    words.to_owned()
}

/// Which mails about the organization somebody gets from now on.
fn mails(told: &Told<'_>, is_own: bool) -> String {
    let wanted: Vec<String> = told.is.list("mails").into_iter().map(topic).collect();
    if told.is.text("by") == Some("link") {
        return format!(
            "opened the link of a mail: {} gets no more mails about the organization",
            told.person(told.is)
        );
    }
    let whom = if is_own { "to get".to_owned() } else { format!("that {} gets", told.person(told.is)) };
    match wanted.is_empty() {
        true => format!("chose {whom} no mails about the organization"),
        false => format!("chose {whom} mails about {}", joined(&wanted)),
    }
}

pub(super) fn remove(told: &Told<'_>) -> String {
    match told.was.text("role") {
        Some("administrator") => format!("took the platform administration from {}", told.person(told.was)),
        Some(_) if told.is_own(told.was) => "left".to_owned(),
        Some(was) => format!("removed {}, who was {}", told.person(told.was), role(was)),
        None => "removed a member".to_owned(),
    }
}

/// An invitation: made, sent once more, or withdrawn.
fn invited(told: &Told<'_>) -> String {
    let body = if told.is.is_empty() { told.was } else { told.is };
    let email = body.text("email").unwrap_or("somebody");
    let as_what = body.text("role").map_or_else(String::new, |as_what| format!(" as {}", role(as_what)));
    if told.is.is_empty() && !told.was.is_empty() {
        return format!("withdrew the invitation of {email}{as_what}");
    }
    let again = if told.is.is("again") { " once more" } else { "" };
    format!("invited {email}{as_what}{again}")
}

/// An invitation; or a link by which somebody who has an account shows who they are.
pub(super) fn invite(told: &Told<'_>) -> String {
    let what = match told.is.text("link") {
        None => return invited(told),
        Some("password-reset") => "a link to choose another password",
        Some("email-verification") => "a link to confirm the e-mail address",
        Some(_) => "a link",
    };
    match told.is.text("by") {
        Some("mail") if told.is_own(told.is) => format!("asked for {what}"),
        Some("mail") => format!("asked for {what} for {}", told.person(told.is)),
        _ => format!("made {what} for {}", told.person(told.is)),
    }
}

pub(super) fn sign_in(told: &Told<'_>) -> String {
    if told.is.get("portalSession").is_some() {
        return "opened the portal by a link".to_owned();
    }
    match told.is.text("by") {
        Some("provider") => {
            let issuer = told.is.text("issuer").map_or_else(String::new, |issuer| format!(" {issuer}"));
            let first = if told.is.is("linked") { " for the first time" } else { "" };
            format!("signed in by the provider{issuer}{first}")
        }
        Some("password-reset") => "chose another password and signed in".to_owned(),
        Some("link") => "signed in by a link".to_owned(),
        _ => "signed in".to_owned(),
    }
}

pub(super) fn sign_in_failed(told: &Told<'_>) -> String {
    let is_provided = told.is.text("by") == Some("provider");
    let way = if is_provided { " by the provider" } else { "" };
    let whom = match told.is.fields().and_then(|fields| fields.get("user")) {
        Some(user) if user.is_string() => format!(" as {}", told.person(told.is)),
        Some(_) if !is_provided => " with an address that nobody has".to_owned(),
        _ => String::new(),
    };
    format!("could not sign in{way}{whom}")
}

pub(super) fn sign_out(_: &Told<'_>) -> String {
    "signed out".to_owned()
}

pub(super) fn portal(told: &Told<'_>) -> String {
    let is_made = !told.is.is_empty();
    let body = if is_made { told.is } else { told.was };
    let whom = body.text("member").map_or_else(String::new, |id| format!(" for {}", told.names.user(id)));
    let until = told.until("expiresAt");
    let open = if until.is_empty() { until } else { format!(", open{until}") };
    match is_made {
        true => format!("made a link into the portal{whom}{open}"),
        false if body.is_empty() => "changed a link into the portal".to_owned(),
        false => format!("took back the link into the portal{whom}"),
    }
}
