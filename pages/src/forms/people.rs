//! What is done about an organization's members and keys.

use super::{About, ROLES};
use crate::answers::{Invitation, Key, Member};
use crate::form::{Change, Field, Form, Kind};

/// What keys may be used for, and what that is.
const SCOPES: [(&str, &str); 3] = [
    ("consume", "Decide and record use (consume)"),
    ("ingest", "Record use that has happened (ingest)"),
    ("read", "Read use and limits (read)"),
];

/// Somebody who is to join.
pub fn invite(about: &About) -> Form {
    Form::new("Invite somebody", "Invite")
        .say(format!(
            "They join {} by a link. It is mailed to this address, or, where this server sends no mail, shown to you to pass on.",
            about.organization.name
        ))
        .field(Field::new("email", "E-mail address", Kind::Line("email")).most(254))
        .field(Field::select("role", "Role", ROLES).value("viewer").hint(
            "Viewers read. Editors also append to the audit log. Admins also change members, keys and the billing cycle. Owners also \
             change owners, and delete the organization.",
        ))
}

/// What a member may do.
pub fn member(about: &About, members: &[Member]) -> Form {
    let id = about.chosen("member");
    let mut form = Form::new("Change member", "Save");
    let found = members.iter().find(|member| member.id == id);
    if let Some(member) = found {
        form = form.say(format!("{} ({})", member.name, member.email));
    }
    let role = found.map_or("viewer", |member| &member.role);
    let is_active = found.is_none_or(|member| member.active);
    form.field(Field::hidden("member", id)).field(Field::select("role", "Role", ROLES).value(role)).field(
        Field::check("active", "Active")
            .value(if is_active { "true" } else { "" })
            .hint("Who is not active stays a member, and can neither see nor change anything."),
    )
}

/// Somebody who is to leave.
pub fn remove_member(about: &About, members: &[Member]) -> Form {
    let id = about.chosen("member");
    let mut form = Form::new("Remove member", "Remove member").danger();
    if let Some(member) = members.iter().find(|member| member.id == id) {
        form =
            form.change(Change::new(format!("{} ({})", member.name, member.email), member.role.clone(), "no member"));
        form = form.say("They can no longer see the organization. What they did stays in the audit log.");
    }
    form.field(Field::hidden("member", id)).field(Field::reason())
}

/// Another link for somebody who is invited already.
pub fn invite_again(about: &About, invitations: &[Invitation]) -> Form {
    let id = about.chosen("invitation");
    let mut form = Form::new("Send the invitation again", "Send again");
    if let Some(invitation) = invitations.iter().find(|invitation| invitation.id == id) {
        form = form.say(format!(
            "{} gets another link, for seven days from now. It is mailed, or, where this server sends no mail, shown to you to pass \
             on. The link before opens nothing any more.",
            invitation.email
        ));
    }
    form.field(Field::hidden("invitation", id))
}

/// Somebody who is invited no more.
pub fn withdraw(about: &About, invitations: &[Invitation]) -> Form {
    let id = about.chosen("invitation");
    let mut form = Form::new("Withdraw invitation", "Withdraw invitation").danger();
    if let Some(invitation) = invitations.iter().find(|invitation| invitation.id == id) {
        form = form.say("The link that they have opens nothing any more. Nobody tells them so.").change(Change::new(
            invitation.email.clone(),
            format!("invited as {}", invitation.role),
            "not invited",
        ));
    }
    form.field(Field::hidden("invitation", id)).field(Field::reason())
}

/// A key: the team's, or an organization's own, which can never do what operators do.
pub fn new_key(of: Option<&About>) -> Form {
    let mut form = Form::new("Make an API key", "Make key")
        .say("The key is shown once. Your application sends it in the header Authorization, after the word Bearer.")
        .field(Field::text("name", "Name").hint("What uses it, such as backend: the audit log names it so.").most(100));
    let scope = |name: &str, label: &str| Field::check(&format!("scope.{name}"), label).group("It may", "");
    for (name, label) in SCOPES {
        let begins = if name == "consume" { "true" } else { "" };
        form = form.field(scope(name, label).value(begins));
    }
    if of.is_none() {
        let admin = scope("admin", "Everything that operators do (admin)");
        form = form.field(admin.hint("Whoever has the key can change plans, limits, people and other keys.")).field(
            Field::text("organization", "Only for the organization")
                .hint("Its id or key. Leave empty for all organizations.")
                .optional(),
        );
    }
    let zone = of.map_or("UTC", |about| &about.organization.time_zone);
    form.field(
        Field::new("expiresAt", "Expires", Kind::Line("datetime-local"))
            .hint(format!("In {zone}. Leave empty for a key that never expires."))
            .optional(),
    )
}

/// A key that is to be refused.
pub fn revoke_key(id: &str, keys: &[Key]) -> Form {
    let mut form = Form::new("Revoke API key", "Revoke key")
        .say("It is refused everywhere within five seconds. Whatever still uses it stops working.")
        .danger();
    if let Some(key) = keys.iter().find(|key| key.id == id) {
        form = form.change(Change::new(key.name.clone(), key.scopes.join(", "), "refused"));
    }
    form.field(Field::hidden("key", id)).field(Field::reason())
}

/// A key in place of another.
pub fn rotate_key(id: &str, keys: &[Key]) -> Form {
    let mut form = Form::new("Rotate API key", "Make the new key").say(
        "The new key has the same name and scopes. The old one goes on for 24 hours, so that both work meanwhile.",
    );
    if let Some(key) = keys.iter().find(|key| key.id == id) {
        form = form.change(Change::new(key.name.clone(), format!("{}…", key.id), "a new key beside it"));
    }
    form.field(Field::hidden("key", id))
}
