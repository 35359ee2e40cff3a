//! Signing in and up, and links that are opened.

use crate::form::{Field, Form, Kind};

fn email() -> Field {
    Field::new("email", "E-mail address", Kind::Line("email")).autocomplete("username").most(254)
}

fn password(name: &str, label: &str) -> Field {
    Field::new(name, label, Kind::Line("password"))
}

fn new_password() -> Field {
    password("password", "Password").autocomplete("new-password").hint("At least 8 characters.")
}

/// By address and password.
pub fn sign_in(next: &str) -> Form {
    Form::new("Sign in", "Sign in")
        .field(email())
        .field(password("password", "Password").autocomplete("current-password"))
        .field(Field::hidden("next", next))
        .link("/sign-up", "Create an organization")
        .link("/reset", "I forgot my password")
}

/// By a link that an administrator passed on.
pub fn sign_in_link(token: &str) -> Form {
    Form::new("Sign in", "Sign in")
        .say("This link signs you in, once.")
        .field(Field::hidden("token", token))
        .field(new_password().optional().hint("At least 8 characters, to sign in with from now on."))
}

/// A user and their organization.
pub fn sign_up() -> Form {
    Form::new("Create an organization", "Start the trial")
        .say("With a trial of 30 days.")
        .field(Field::text("name", "Your name").autocomplete("name").most(255))
        .field(Field::text("organizationName", "Organization").autocomplete("organization").most(255))
        .field(email())
        .field(new_password())
        .link("/sign-in", "I have an account")
}

/// The first administrator.
pub fn setup() -> Form {
    Form::new("Set up Metergate", "Create the first administrator")
        .say("The administrator key proves that this installation is yours: it is METERGATE_ADMIN_KEY, or was printed when the server first started.")
        .field(password("key", "Administrator key"))
        .field(Field::text("name", "Your name").autocomplete("name").most(255))
        .field(email())
        .field(new_password())
        .link("/sign-in", "I have an account")
}

/// Another password, by a link.
pub fn reset(token: &str) -> Form {
    Form::new("Choose another password", "Save and sign in")
        .say("Your other sessions end.")
        .field(Field::hidden("token", token))
        .field(new_password())
}

/// A link for another password.
pub fn forgot() -> Form {
    Form::new("Forgot your password?", "Send a link")
        .say("If there is an account with this address, and mail is configured here, a link is sent to it. Else ask whoever runs this installation.")
        .field(email())
        .link("/sign-in", "Back to signing in")
}

/// An invitation, for who is signed in.
pub fn join(token: &str, email: &str) -> Form {
    Form::new("You are invited", "Join").say(format!("You join as {email}.")).field(Field::hidden("token", token))
}

/// An invitation, for who is new.
pub fn join_new(token: &str) -> Form {
    Form::new("You are invited", "Create account and join")
        .field(Field::hidden("token", token))
        .field(Field::text("name", "Your name").autocomplete("name").most(255))
        .field(email().hint("The address that was invited."))
        .field(new_password())
        .link(format!("/sign-in?next=/join?token={token}"), "I have an account")
}

/// That an address is one's own.
pub fn verify(token: &str) -> Form {
    Form::new("Confirm your address", "Confirm").field(Field::hidden("token", token))
}

/// A link into the portal. Somebody who is signed in already is asked: what it opens takes the place of their session.
pub fn open_portal(token: &str, is_signed_in: bool) -> Form {
    let form = Form::new("Usage and billing", "Open")
        .say("This link opens your usage and billing, once.")
        .field(Field::hidden("token", token));
    if is_signed_in { form.say("You are signed in here: opening it signs you out.") } else { form.at_once() }
}
