//! What surrounds an action on an organization: who may see its form, what is confirmed before it, what follows it.

use axum::http::StatusCode;
use metergate_pages::answers::{Fault, Problem};
use metergate_pages::form::Form;

use super::super::sent::Typed;
use super::super::trouble::Trouble;
use super::super::visit::{Visit, in_path};
use super::Then;
use super::about::About;
use super::calls::Action;

/// Shows a form to those alone who could send it; the API decides once more.
pub(super) fn may(visit: &Visit, about: &About, action: &Action) -> Result<(), Trouble> {
    let role = visit.frame.role_in(about.key());
    let least = if action.word == "delete" { &["owner"][..] } else { &["owner", "admin"] };
    if visit.me().operator || role.is_some_and(|role| least.contains(&role)) {
        return Ok(());
    }
    let detail = "Your role in this organization does not allow this.".to_owned();
    Err(Trouble::refused(StatusCode::FORBIDDEN, Problem { detail, ..Problem::default() }))
}

/// Why an action is not asked of the API at all: what cannot be undone is confirmed by name, and a reason is said.
pub(super) fn unconfirmed(action: &Action, form: &Form, about: &About, typed: &Typed) -> Option<Problem> {
    let mut errors = Vec::new();
    if action.word == "delete" && typed.text("confirm") != Some(about.key()) {
        errors.push(Fault { detail: format!("Type {} to go on.", about.key()), pointer: "#/confirm".to_owned() });
    }
    errors.extend(unsaid(form, typed));
    (!errors.is_empty()).then(|| Problem { errors, ..Problem::default() })
}

/// A reason that is missing. In the API it may be left out of some calls; a page always asks for it.
pub(super) fn unsaid(form: &Form, typed: &Typed) -> Option<Fault> {
    let is_missing = form.requires("reason") && typed.text("reason").is_none();
    is_missing.then(|| Fault { detail: "Say why.".to_owned(), pointer: "#/reason".to_owned() })
}

/// Where a form leads back to.
pub(super) fn back(base: &str, action: &Action) -> String {
    let tab = if action.tab == "cycle" && base.ends_with("/settings") { "" } else { action.tab };
    if tab.is_empty() { base.to_owned() } else { format!("{base}/{tab}") }
}

/// What follows once it is done.
pub(super) fn then(action: &Action, about: &About, typed: &Typed) -> Then {
    let back = back(&about.base, action);
    match action.word {
        "invite" | "invite-again" => Then::Show {
            title: "Invitation",
            intro: match about.sends_mail {
                true => "This link was sent to the address, and is for whom you invited alone. It is shown once.",
                false => {
                    "No mail is sent here: pass this link on to whom you invited, and to nobody else. It is shown once."
                }
            },
            secret: "url",
            back,
            // Without a link they are a member already.
            done: action.done,
        },
        "key" | "rotate-key" => Then::Show {
            title: "The API key",
            intro: "Copy it now: it is kept as a hash, and cannot be shown again.",
            secret: "key",
            back,
            done: action.done,
        },
        "portal" => Then::Show {
            title: "Link into the portal",
            intro: "It opens once, within 15 minutes.",
            secret: "url",
            back,
            done: action.done,
        },
        "delete" if about.is_admin() => Then::Go("/admin/organizations".to_owned(), action.done),
        "delete" => Then::Go("/".to_owned(), action.done),
        // The page is at the new key.
        "profile" => {
            let key = in_path(typed.text("key").unwrap_or_else(|| about.key()));
            let base = if about.is_admin() {
                format!("/admin/organizations/{key}")
            } else {
                format!("/organizations/{key}/settings")
            };
            Then::Go(base, action.done)
        }
        _ => Then::Go(back, action.done),
    }
}
