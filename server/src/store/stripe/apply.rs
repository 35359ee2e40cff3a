//! Taking events in, and applying what came of them: the event and what it changes in one commit.

use metergate_rules::account::Account;
use metergate_rules::audit::{Fields, Object};
use metergate_rules::command::Command;
use metergate_rules::decide::Problem;
use metergate_rules::id::{OrganizationId, OrganizationKey, OrganizationRef};
use metergate_rules::subscription::News;
use metergate_rules::time::{DAY, MINUTE, Time};

use super::{Again, Applied, EventRow, EventState, Outcome, SYNC, StripeRow, StripeWork};
use crate::store::alone::{Alone, Force};
use crate::store::audit::TEAM;
use crate::store::batch::{Batch, Stop};
use crate::store::decided::Decided;
use crate::store::{Answer, KeptAnswer, ReceiptKey, StoreError};

/// Who changes what Stripe tells, in the audit log.
const ACTOR: &str = "stripe";
/// An event of which nobody knows whose it is, is tried again after so long, and each time after twice that, up to a day, for
/// three days: a link wakes it later, too, and so does an organization that comes to be called as it says.
const FIRST_RETRY: i64 = MINUTE;
const MOST_DOUBLINGS: u32 = 11;
const GIVE_UP: i64 = 3 * DAY;

/// Decides work on what Stripe tells.
pub(in crate::store) fn decide_stripe(mut batch: Batch<'_>, work: &StripeWork) -> Result<Alone, Stop> {
    let (outcome, rows) = match work {
        StripeWork::Take(events) => (Outcome::Unchanged, batch.unknown(events)?),
        StripeWork::Note(rows) => (Outcome::Unchanged, rows.clone()),
        StripeWork::Apply(applied) => batch.apply_news(applied)?,
        StripeWork::Again(again) => return decide_again(batch, again),
    };
    let answer = Answer { status: outcome.status(), body: Vec::new(), version: None };
    if rows.is_empty() && outcome != Outcome::Changed {
        return Ok(Alone::Before(answer));
    }
    let mut decided = Decided::of(batch);
    decided.stripe.extend(rows);
    Ok(Alone::now(decided, Force::default(), answer))
}

/// Decides that an event is tried again, under its key once.
fn decide_again(mut batch: Batch<'_>, again: &Again) -> Result<Alone, Stop> {
    if let Some(answer) = batch.kept(TEAM, again.receipt.as_ref())? {
        return Ok(Alone::Before(answer));
    }
    let unknown = ("not-found", 404, "There is no such event.");
    let over = ("event-done", 409, "It is done: there is nothing to try again.");
    let refused =
        |(code, status, detail): (_, _, &str)| StoreError::Catalogue { code, status, detail: detail.to_owned() };
    let found = batch.rows.stripe_event(&again.id)?.ok_or_else(|| refused(unknown))?;
    if matches!(found.state, EventState::Done | EventState::Ignored) {
        return Err(refused(over).into());
    }
    let now = batch.now;
    let (state, note) = (EventState::Waiting, String::new());
    let event = EventRow { state, received_at: now, due_at: now, attempts: 0, note, ..found };
    let answer = (again.respond)(event);
    let keep = |key: &ReceiptKey| KeptAnswer { scope: TEAM, about: None, key: key.clone(), answer: answer.clone() };
    batch.receipts.extend(again.receipt.as_ref().map(keep));
    let mut decided = Decided::of(batch);
    decided.stripe.push(StripeRow::Again { id: again.id.clone(), now });
    Ok(Alone::now(decided, Force::default(), answer))
}

impl Batch<'_> {
    /// Those events that were never there, as of now.
    fn unknown(&self, events: &[EventRow]) -> Result<Vec<StripeRow>, Stop> {
        let mut rows: Vec<StripeRow> = Vec::new();
        for event in events {
            let again = |row: &StripeRow| matches!(row, StripeRow::Event(earlier) if earlier.id == event.id);
            if rows.iter().any(again) || self.rows.stripe_event(&event.id)?.is_some() {
                continue;
            }
            let event = EventRow { received_at: self.now, due_at: self.now, ..event.clone() };
            rows.push(StripeRow::Event(Box::new(event)));
        }
        Ok(rows)
    }

    fn apply_news(&mut self, applied: &Applied) -> Result<(Outcome, Vec<StripeRow>), Stop> {
        let Some(organization) = self.meant(&applied.news, applied.hint.as_deref())? else {
            return Ok((Outcome::Unmatched, self.unmatched(&applied.events)?));
        };
        let before = self.account(organization)?;
        if applied.seen.is_some_and(|seen| seen != revision(&before, applied.news.id().as_str())) {
            return Ok((Outcome::Stale, Vec::new()));
        }
        let command = Command::SetSubscription(Box::new(applied.news.clone()));
        let (_, mut outcome) = match self.run(organization, &command, false) {
            // Nobody can mend that by telling it again.
            Err(Stop::Request(StoreError::Problem(problem))) => return Ok(refused(applied, problem)),
            ran => ran?,
        };
        let details = told(applied);
        outcome.audit.iter_mut().for_each(|draft| draft.details = Object::Fields(details.clone()));
        let has_changed = !outcome.audit.is_empty();
        self.write_audit(organization, &outcome.audit, ACTOR, "")?;
        self.keep(organization, outcome.entries, None, 0)?;
        let after = self.account(organization)?;
        let note = if has_changed { "applied" } else { "nothing to change" };
        let mut rows = over(&applied.events, organization, note);
        rows.extend(matched(&before, &after, self.now));
        Ok((if has_changed { Outcome::Changed } else { Outcome::Unchanged }, rows))
    }

    /// The organization that is meant: the one with the subscription, else the only one with the customer, else the one that the
    /// metadata names, unless that has another customer.
    fn meant(&mut self, news: &News, hint: Option<&str>) -> Result<Option<OrganizationId>, Stop> {
        if let Some(linked) = self.rows.organization_of_subscription(news.id().as_str())? {
            return Ok(Some(linked));
        }
        if let Some(customer) = news.customer()
            && let [only] = self.rows.organizations_of_customer(customer.as_str())?[..]
        {
            return Ok(Some(only));
        }
        let Some(Ok(named)) = hint.map(str::parse::<OrganizationRef>) else { return Ok(None) };
        let Some(named) = self.resolve(&named)? else { return Ok(None) };
        let account = match self.account(named) {
            Err(Stop::Request(StoreError::UnknownOrganization)) => return Ok(None),
            account => account?,
        };
        let known = account.subscription.as_ref().and_then(|known| known.customer.as_ref());
        let is_other = known.is_some_and(|known| news.customer().is_some_and(|customer| customer != known));
        Ok((!is_other).then_some(named))
    }

    fn unmatched(&self, events: &[String]) -> Result<Vec<StripeRow>, Stop> {
        let mut rows = Vec::new();
        for id in events {
            let Some(event) = self.rows.stripe_event(id)? else { continue };
            rows.push(unmatched(&event, self.now));
        }
        Ok(rows)
    }

    /// Links an organization by an operator's command: what waited for it is applied, and no other may have the subscription.
    pub(in crate::store) fn refuse_if_linked(
        &self,
        organization: OrganizationId,
        command: &Command,
    ) -> Result<(), Stop> {
        let Command::LinkSubscription { id: Some(id), .. } = command else { return Ok(()) };
        let has_it =
            |account: &Account| account.subscription.as_ref().is_some_and(|known| known.id.as_ref() == Some(id));
        let in_rows = self.rows.organization_of_subscription(id.as_str())?;
        // What was decided in this batch is not in the rows yet.
        let left = in_rows.and_then(|other| self.working.get(&other)).is_some_and(|other| !has_it(other));
        let in_batch = self.working.values().find(|account| has_it(account)).map(|account| account.id);
        match in_batch.or(in_rows.filter(|_| !left)) {
            Some(other) if other != organization => Err(StoreError::SubscriptionTaken.into()),
            _ => Ok(()),
        }
    }

    /// After a link: events that waited for one are tried now.
    pub(in crate::store) fn tell_linked(&mut self, before: &Account, organization: OrganizationId) -> Result<(), Stop> {
        let after = self.account(organization)?;
        let matched = matched(before, &after, self.now);
        self.stripe.extend(matched);
        Ok(())
    }

    /// After an organization was created or got another key: events that name it so are tried now.
    pub(in crate::store) fn tell_named(&mut self, organization: OrganizationId, key: &OrganizationKey) {
        self.stripe.push(StripeRow::Named { organization, key: key.clone(), now: self.now });
    }

    /// The organization is not there after all.
    pub(in crate::store) fn untell_named(&mut self, organization: OrganizationId) {
        let is_its_own =
            |row: &StripeRow| matches!(row, StripeRow::Named { organization: of, .. } if *of == organization);
        self.stripe.retain(|row| !is_its_own(row));
    }
}

/// What becomes of an event for which no organization is found.
pub fn unmatched(event: &EventRow, now: Time) -> StripeRow {
    if event.id.starts_with(SYNC) {
        // Whoever had the subscription has it no more.
        return StripeRow::Gone(event.id.clone());
    }
    let wait = (FIRST_RETRY << event.attempts.min(MOST_DOUBLINGS)).min(DAY);
    let gives_up = now.since(event.received_at) > GIVE_UP;
    StripeRow::Later {
        id: event.id.clone(),
        state: EventState::Unmatched,
        due_at: if gives_up { Time::MAX } else { now.plus(wait) },
        note: "no organization has this subscription or customer, or is named by its metadata".to_owned(),
    }
}

/// How often what an organization knows of a subscription has changed; 0 of one that it does not have.
pub fn revision(account: &Account, subscription: &str) -> u64 {
    let known = account.subscription.as_ref();
    let known = known.filter(|known| known.id.as_ref().is_some_and(|id| id.as_str() == subscription));
    known.map_or(0, |known| known.revision)
}

/// It is over with these events. One that nobody told leaves nothing.
fn over(events: &[String], organization: OrganizationId, note: &str) -> Vec<StripeRow> {
    let over = |id: &String| {
        if id.starts_with(SYNC) {
            return StripeRow::Gone(id.clone());
        }
        let (id, note, organization) = (id.clone(), note.to_owned(), Some(organization));
        StripeRow::Over { id, state: EventState::Done, organization, note }
    };
    events.iter().map(over).collect()
}

/// What an account has come to have, or has left to another one, by which events are matched.
fn matched(before: &Account, after: &Account, now: Time) -> Vec<StripeRow> {
    let of = |account: &Account| {
        let known = account.subscription.as_deref();
        let subscription = known.and_then(|known| known.id.as_ref()).map(ToString::to_string);
        (subscription, known.and_then(|known| known.customer.as_ref()).map(ToString::to_string))
    };
    let (old, new) = (of(before), of(after));
    if old == new {
        return Vec::new();
    }
    let names = [new, old].into_iter().filter(|(subscription, customer)| subscription.is_some() || customer.is_some());
    names.map(|(subscription, customer)| StripeRow::Matched { subscription, customer, now }).collect()
}

/// What the audit log says of what was told.
fn told(applied: &Applied) -> Fields {
    Fields::default().with("type", applied.kind.as_str()).with("events", applied.events.clone())
}

/// Rows that say why nothing came of it.
fn refused(applied: &Applied, problem: Problem) -> (Outcome, Vec<StripeRow>) {
    let failed = |id: &String| StripeRow::Later {
        id: id.clone(),
        state: EventState::Failed,
        due_at: Time::MAX,
        note: problem.to_string(),
    };
    (Outcome::Unchanged, applied.events.iter().map(failed).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_is_found_for_is_tried_ever_more_seldom_and_after_three_days_not_at_all() {
        let mut event = EventRow { id: "evt_1".to_owned(), ..EventRow::sync("sub_1", Time::from_micros(0)) };
        let (mut now, mut tries) = (event.received_at, 0);
        loop {
            let StripeRow::Later { state: EventState::Unmatched, due_at, .. } = unmatched(&event, now) else {
                panic!()
            };
            if due_at == Time::MAX {
                break;
            }
            assert!((MINUTE..=DAY).contains(&due_at.since(now)), "try {tries}");
            (now, tries, event.attempts) = (due_at, tries + 1, event.attempts + 1);
        }
        assert!(now.since(event.received_at) > 3 * DAY && tries < 16, "{tries}");
        let sync = EventRow::sync("sub_1", now);
        assert_eq!(unmatched(&sync, now), StripeRow::Gone(sync.id.clone()), "nobody looks at it any more");
    }
}
