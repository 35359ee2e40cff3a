//! Notices to members of an organization, as each wants them (N5): the mails among the deliveries of messages. Each was written in the commit of
//! what it tells, and is sent at least once.

use std::time::Duration;

use metergate_pages::format::Zone;
use metergate_rules::id::{OrganizationKey, OrganizationRef};
use metergate_rules::notice::{Kind, Topic};
use metergate_rules::time::{DAY, HOUR, SECOND, Time};

use super::written::{Button, Called, Choices, Words};
use super::{Post, Sent};
use crate::catalogue::settings::TeamSettings;
use crate::clock::boot;
use crate::http::error::ApiError;
use crate::people::choice::Membership;
use crate::people::told::user_of;
use crate::store::outbox::{AttemptRow, DeliveryRow, DeliveryState, Noted, OutboxWork};
use crate::store::reader::ReadError;
use crate::store::{Scope, StoreError};
use serde::Deserialize;

/// Mails that are looked at at once.
const AT_ONCE: usize = 50;
/// For how long one is tried, in microseconds; as a letter.
const TRIED: i64 = DAY;
/// From the first try to the second, and the longest wait, in microseconds; each is three times as long as the one before.
const FIRST: i64 = 5 * SECOND;
const LONGEST: i64 = HOUR;

impl Post {
    /// The mails that are due, as long as they have waited.
    pub(super) async fn notices(&self) -> Result<Vec<DeliveryRow>, StoreError> {
        let now = self.store.now();
        self.store.reader().read(move |view| Ok(view.rows().due_mails(now, AT_ONCE)?)).await
    }

    /// Sends what is due, until a letter is due or the server fails. Whether it did.
    pub(super) async fn send_notices(&self) -> bool {
        loop {
            let due = match self.notices().await {
                Ok(due) if due.is_empty() => return false,
                Ok(due) => due,
                Err(error) => {
                    tracing::warn!(%error, "mails with notices cannot be read; they are looked for again");
                    return true;
                }
            };
            for delivery in due {
                if self.due().is_some() {
                    return false;
                } else if self.send_notice(&delivery).await {
                    return true;
                }
            }
        }
    }

    /// Sends one and notes what came of it. Whether the server fails, or the store.
    async fn send_notice(&self, delivery: &DeliveryRow) -> bool {
        let (began, at) = (boot(), self.store.now());
        let sent = match self.notice(delivery).await {
            Ok(Some(words)) => self.hand_over(&words).await,
            // Nobody is there any more who would be told.
            Ok(None) => Ok(Sent::Done),
            Err(error) => Err(error),
        };
        let sent = sent.unwrap_or_else(|error| Sent::Later(error.to_string()));
        let took = Duration::from_micros((boot() - began).unsigned_abs());
        let noted = noted(delivery, &sent, at, took);
        if let Sent::Never(why) | Sent::Later(why) = &sent {
            tracing::warn!(why, state = noted.state.as_str(), "a mail with a notice could not be sent");
        }
        let kept = self.store.keep_outbox(&self.port, OutboxWork::Note(vec![noted])).await;
        let kept = kept.inspect_err(|error| tracing::warn!(%error, "what came of a mail could not be written"));
        kept.is_err() || matches!(sent, Sent::Later(_))
    }

    /// What it says, and to whom; nothing where they are not to be told any more.
    async fn notice(&self, delivery: &DeliveryRow) -> Result<Option<Words>, StoreError> {
        let (people, catalogue) = (self.store.people(), self.store.catalogue());
        let organization = delivery.key.organization;
        let Some(user) = user_of(delivery.key.endpoint.as_str()) else { return Ok(None) };
        // They may have chosen otherwise since it was written, or be a member no more.
        let Some(member) = people.member(organization, user) else { return Ok(None) };
        let wants = |topic: &Topic| people.is_told(member, *topic);
        let Some(to) = topic_of(delivery).filter(wants).and_then(|_| people.user(user)) else {
            return Ok(None);
        };
        let membership = Membership::of(member);
        let (to, id) = (to.email.clone(), OrganizationRef::Id(organization));
        let found = self.store.reader().read(move |view| match view.account(Scope::Team, &id) {
            Err(ReadError::Store(StoreError::UnknownOrganization)) => Ok(None),
            account => account.map(|account| Some((account.profile.key.clone(), account.profile.zone.clone()))),
        });
        let Some((key, zone)) = found.await? else { return Ok(None) };
        let urls = self.urls(&key, &membership).map_err(|_| StoreError::Unavailable)?;
        let meter = |key: &str| {
            let spec = &catalogue.meter_entry(key)?.spec;
            Some((spec.name.clone().unwrap_or_else(|| key.to_owned()), spec.unit.clone().unwrap_or_default()))
        };
        let plan = |key: &str| catalogue.plan_title(key).map(str::to_owned);
        let TeamSettings { team_name, contact, .. } = catalogue.stored.settings.clone();
        let called = Called { meter: &meter, plan: &plan, zone: Zone::new(zone.name()), contact };
        Ok(Words::notice(to, team_name, urls, &delivery.body, &called))
    }

    /// Where a member sees the use, and where they choose what they are told.
    fn urls(&self, key: &OrganizationKey, membership: &Membership) -> Result<(String, Choices), ApiError> {
        let token = membership.token(self.store.audit_key());
        let button = match self.links.is_public() {
            None => Button::None,
            Some(false) => Button::Page,
            Some(true) => Button::OneClick,
        };
        let settings = self.links.page(&format!("/portal/notifications?org={key}"))?;
        let choices = Choices { settings, refuse: self.links.link("/unsubscribe", &token)?, button };
        Ok((self.links.page(&format!("/portal?org={key}"))?, choices))
    }
}

/// To what a mail belongs of all that a member may be told.
fn topic_of(delivery: &DeliveryRow) -> Option<Topic> {
    let message: Message = serde_json::from_str(&delivery.body).ok()?;
    Topic::of(Kind::from_name(&delivery.kind)?, message.data.threshold)
}

/// What of a message says to what it belongs, beside its type.
#[derive(Deserialize)]
struct Message {
    data: MessageData,
}

#[derive(Deserialize)]
struct MessageData {
    threshold: Option<u8>,
}

/// What came of a try.
fn noted(delivery: &DeliveryRow, sent: &Sent, at: Time, took: Duration) -> Noted {
    let tries = delivery.tries;
    let began_at = tries.began_at.unwrap_or(at);
    let wait = 3_i64.checked_pow(tries.lately).and_then(|times| FIRST.checked_mul(times)).unwrap_or(LONGEST);
    let (state, error) = match sent {
        Sent::Done => (DeliveryState::Delivered, None),
        Sent::Never(why) => (DeliveryState::Failed, Some(why.clone())),
        Sent::Later(why) if began_at.plus(TRIED) <= at => (DeliveryState::Failed, Some(why.clone())),
        Sent::Later(why) => (DeliveryState::Pending, Some(why.clone())),
    };
    let attempt = AttemptRow {
        number: tries.all.saturating_add(1),
        at,
        status: None,
        error,
        duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        response: String::new(),
    };
    let (due_at, lately) = (at.plus(wait.min(LONGEST)), tries.lately.saturating_add(1));
    Noted { key: delivery.key.clone(), attempt, state, due_at, lately, began_at, rests_until: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::endpoint::EndpointId;
    use crate::store::message::MessageId;
    use crate::store::outbox::{DeliveryKey, OF_TEAM, Tries};

    #[test]
    fn a_mail_is_tried_ever_more_seldom_and_given_up_after_a_day() {
        let at = |seconds: i64| Time::from_micros(seconds * SECOND);
        let later = || Sent::Later("the mail server answered 451".to_owned());
        let cases = [
            // tries lately, since, now, what came of it: state, next try after
            (0, None, 0, Sent::Done, DeliveryState::Delivered, None),
            (0, None, 0, Sent::Never(String::new()), DeliveryState::Failed, None),
            (0, None, 0, later(), DeliveryState::Pending, Some(5)),
            (1, Some(0), 5, later(), DeliveryState::Pending, Some(15)),
            (9, Some(0), 80_000, later(), DeliveryState::Pending, Some(3600)),
            (u32::MAX, Some(0), 86_399, later(), DeliveryState::Pending, Some(3600)),
            (20, Some(0), 86_400, later(), DeliveryState::Failed, None),
        ];
        for (lately, since, now, sent, state, next) in cases {
            let key = DeliveryKey {
                organization: OF_TEAM,
                message: MessageId::new(at(0), 0),
                endpoint: EndpointId::named("mail:x"),
            };
            let tries = Tries { all: lately, lately, began_at: since.map(at) };
            let (kind, body) = (String::new(), String::new());
            let (due_at, at_first) = (at(now), at(0));
            let delivery = DeliveryRow { key, kind, at: at_first, body, state: DeliveryState::Pending, due_at, tries };
            let noted = noted(&delivery, &sent, at(now), Duration::from_millis(7));
            assert_eq!((noted.state, noted.began_at), (state, at(since.unwrap_or(now))), "{lately} {now}");
            assert_eq!((noted.attempt.number, noted.attempt.duration_ms), (lately.saturating_add(1), 7));
            if let Some(next) = next {
                assert_eq!(noted.due_at, at(now + next), "{lately} {now}");
            }
        }
    }
}
