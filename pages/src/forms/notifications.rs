//! What members choose to be told by mail, and the link in a mail by which they are told no more.

use crate::answers::Notifications;
use crate::form::{Field, Form};

/// Names of what one can be told, as the API has them.
pub const NAMES: [&str; 6] = ["limitNear", "limitReached", "trial", "lock", "payment", "credit"];

/// What somebody is told by mail.
pub fn choose(found: &Notifications) -> Form {
    let checks = [
        ("A limit comes close", "80 % or more of it is used, but not all.", found.limit_near),
        ("A limit is used up", "Of limits for a billing period, a month or for good.", found.limit_reached),
        ("The trial ends", "7 days and one day before it does, and when it is over.", found.trial),
        ("The organization is locked", "Or is locked no more.", found.lock),
        ("A payment is due", "", found.payment),
        ("Credit ends", "7 days and one day before it expires, and when it is used up.", found.credit),
    ];
    let mut form = Form::new("Mails to you", "Save").say(format!("Mails go to {}.", found.email));
    if !found.delivered {
        form =
            form.say("None comes there now: either this server sends no mail, or the address is yet to be confirmed.");
    }
    for (name, (label, hint, wanted)) in NAMES.into_iter().zip(checks) {
        let check = Field::check(name, label).value(if wanted { "true" } else { "" }).hint(hint);
        form = form.field(check.group("Send me a mail when", ""));
    }
    form
}

/// A mail's link by which its reader gets no more.
pub fn unsubscribe(token: &str) -> Form {
    Form::new("No more mails", "Get no more mails")
        .say("Nothing more is mailed to you about the organization that the mail was about: no limit, no trial, no lock, no payment.")
        .to(format!("/unsubscribe?token={token}"))
}
