//! What webhook endpoints are told of an entry: written with it, so that a message is there exactly when its entry is.

use metergate_rules::account::Account;
use metergate_rules::notice::told;
use metergate_rules::outcome::Entry;
use metergate_rules::time::Time;

use crate::catalogue::Snapshot;
use crate::people::People;
use crate::people::told::delivered_to;
use crate::report::notice;
use crate::store::message::{MessageId, MessageRow};

/// Adds what an entry tells to those who want to be told, where mail is sent also to people: the account is as it was before and as
/// it is after it.
pub(super) fn tell(
    messages: &mut Vec<MessageRow>,
    (entry, before, after): (&Entry, &Account, &Account),
    (catalogue, mailed): (&Snapshot, Option<&People>),
    now: Time,
) {
    for told in told(entry, before, after) {
        let kind = told.kind().as_str();
        let wanting = catalogue.stored.wanting(kind).map(|endpoint| endpoint.id.to_string());
        let topic = || told.topic(after, &catalogue.rules);
        let by_mail = mailed.filter(|_| !after.profile.test).and_then(|people| Some((people, topic()?)));
        let people = by_mail.into_iter().flat_map(|(people, topic)| people.told_by_mail(after.id, topic));
        let people = people.map(delivered_to);
        let endpoints: Vec<String> = wanting.chain(people).collect();
        if endpoints.is_empty() {
            continue;
        }
        let Some(body) = notice::text(&told, entry.at, after, catalogue) else { continue };
        let id = MessageId::new(now, messages.len());
        messages.push(MessageRow { organization: after.id, id, kind, body, endpoints });
    }
}
