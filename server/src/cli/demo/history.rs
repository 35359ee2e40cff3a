//! What happened before the demo began: the server's own clock goes through it, so that periods, trials and credit stand where
//! they would.
//!
//! An event's id follows from its organization, meter and hour, so that a demo that is started again on the same folder
//! adds the hours in between and counts none twice.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use metergate_rules::time::{DAY, HOUR, Time};
use serde_json::{Value, json};

use super::super::client::{Client, Repeat, with_query};
use super::organizations::{ALL, Profile, Rhythm};
use super::random::Random;
use super::story;
use crate::clock::Hand;

/// A history of so many days that ends at a time.
#[derive(Clone, Copy)]
pub(super) struct History<'a> {
    pub(super) client: &'a Client,
    pub(super) now: Time,
    pub(super) days: u16,
    pub(super) stop: &'a AtomicBool,
}

impl History<'_> {
    /// The hour in which it begins.
    pub(super) fn begins(&self) -> Time {
        self.now.floor(HOUR).plus(-i64::from(self.days) * DAY)
    }

    /// Lets all of it happen to a server whose clock stands where it begins: organizations sign up, operators act, and each day
    /// is recorded at its end. Says how many events it has.
    pub(super) fn happen(&self, hand: Hand) -> anyhow::Result<u64> {
        let (mut acts, mut sent) = (story::acts(self), 0);
        acts.sort_by_key(|act| act.at);
        let mut acts = acts.into_iter().peekable();
        let (begins, ends) = (self.begins(), self.now.floor(HOUR));
        let mut day = begins;
        while day < ends && !self.is_stopped() {
            let next = day.plus(DAY).min(ends);
            while let Some(act) = acts.next_if(|act| act.at < next) {
                hand.move_to(act.at);
                act.happen(self.client)?;
            }
            hand.move_to(next);
            sent += self.send(|_| Some(day), next)?;
            day = next;
        }
        for act in acts {
            hand.move_to(act.at);
            act.happen(self.client)?;
        }
        hand.catch_up();
        Ok(sent)
    }

    /// Adds what is missing since the demo ran last on this folder.
    pub(super) fn go_on(&self) -> anyhow::Result<u64> {
        let mut known = BTreeMap::new();
        for profile in ALL.iter().filter(|profile| profile.until == 0) {
            profile.create(self.client)?;
            known.insert(profile.key, self.last(profile)?);
        }
        self.send(|profile| known.get(profile.key).copied(), self.now.floor(HOUR))
    }

    /// The hour behind the last one that is recorded.
    fn last(&self, profile: &Profile) -> anyhow::Result<Time> {
        let query = [("organization", profile.key), ("source", SOURCE), ("limit", "1")];
        let path = with_query("/v1/events", &query);
        let found: Events = self.client.read(&path, &self.client.get(&path)?)?;
        let last = found.data.first().map(|event| event.time.parse::<Time>()).transpose()?;
        Ok(last.map_or_else(|| self.begins(), |last| last.floor(HOUR).plus(HOUR)))
    }

    /// Sends the hours of all organizations from where each begins, those of which none is told left out, to `end`.
    fn send(&self, begins: impl Fn(&Profile) -> Option<Time>, end: Time) -> anyhow::Result<u64> {
        let (mut sent, mut batch) = (0, Vec::new());
        for profile in ALL {
            let mut hour = begins(profile).unwrap_or(end);
            while hour < end && !self.is_stopped() {
                if profile.is_there(hour, self.now, self.days) {
                    batch.extend(events_of(profile, hour, self.days, self.now));
                }
                if batch.len() >= BATCH {
                    sent += send_batch(self.client, &mut batch)?;
                }
                hour = hour.plus(HOUR);
            }
        }
        Ok(sent + send_batch(self.client, &mut batch)?)
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Events in a request, about.
const BATCH: usize = 1_500;
/// What the history's events come from.
const SOURCE: &str = "/demo/history";

#[derive(serde::Deserialize)]
struct Events {
    data: Vec<Known>,
}

#[derive(serde::Deserialize)]
struct Known {
    time: String,
}

#[derive(serde::Deserialize)]
struct Answer {
    rejected: Vec<Value>,
}

fn send_batch(client: &Client, batch: &mut Vec<Value>) -> anyhow::Result<u64> {
    if batch.is_empty() {
        return Ok(0);
    }
    let body = serde_json::to_vec(batch)?;
    let answer = client.post_as("/v1/events", "application/cloudevents-batch+json", &body, Repeat::Safe)?;
    let answer: Answer = client.read("/v1/events", &answer)?;
    anyhow::ensure!(answer.rejected.is_empty(), "the server rejected an event of the history: {}", answer.rejected[0]);
    let sent = u64::try_from(batch.len())?;
    batch.clear();
    Ok(sent)
}

/// An hour of an organization's life, as its people see it.
struct Hour<'a> {
    profile: &'a Profile,
    start: Time,
    /// Thousandths of a usual day's use that fall in it.
    share: u64,
    /// The hour of the local day, 0 to 23.
    of_day: u64,
}

impl<'a> Hour<'a> {
    fn of(profile: &'a Profile, start: Time, days: u16, now: Time) -> Self {
        let zone = TimeZone::get(profile.zone).unwrap_or(TimeZone::UTC);
        let local = start.timestamp().to_zoned(zone);
        let weekend = matches!(local.weekday(), Weekday::Saturday | Weekday::Sunday);
        let of_day = u64::try_from(local.hour()).unwrap_or_default();
        let share = shape(profile.rhythm, of_day) * weekday(profile.rhythm, weekend) / 1000;
        Self { profile, start, share: share * growth(profile.began, start, days, now) / 1000, of_day }
    }

    fn random(&self, meter: &str) -> Random {
        Random::of(&[self.profile.key, meter, &self.start.to_string()])
    }

    /// A whole number whose mean is this hour's part of a usual day's amount.
    fn part(&self, daily: u64, random: &mut Random) -> u64 {
        random.around(daily * self.share)
    }

    fn event(&self, meter: &str, name: &str, minute: i64, data: &Value) -> Value {
        let time = self.start.plus(minute * HOUR / 60);
        json!({
            "specversion": "1.0", "id": format!("{meter}-{name}{}", self.start), "source": SOURCE, "type": meter,
            "subject": self.profile.key, "time": time.to_string(), "data": data,
        })
    }
}

/// Thousandths of a day's use in each hour of the local day; each line adds up to about 1000.
fn shape(rhythm: Rhythm, hour: u64) -> u64 {
    #[rustfmt::skip]
    let day: [u64; 24] = match rhythm {
        Rhythm::Office => [2, 1, 1, 1, 2, 5, 15, 40, 80, 105, 110, 100, 70, 85, 100, 95, 80, 50, 25, 13, 8, 6, 4, 2],
        Rhythm::Evening => [20, 10, 6, 4, 4, 6, 14, 25, 30, 32, 35, 40, 48, 45, 42, 45, 52, 65, 85, 105, 110, 90, 57, 30],
        Rhythm::Steady => [38, 36, 35, 34, 35, 37, 40, 43, 45, 47, 47, 46, 44, 44, 45, 46, 46, 45, 44, 43, 42, 41, 40, 37],
    };
    usize::try_from(hour).ok().and_then(|hour| day.get(hour)).copied().unwrap_or_default()
}

const fn weekday(rhythm: Rhythm, weekend: bool) -> u64 {
    match (rhythm, weekend) {
        (Rhythm::Office, true) => 180,
        (Rhythm::Evening, true) => 1300,
        (Rhythm::Office, false) => 1100,
        (Rhythm::Evening, false) => 900,
        (Rhythm::Steady, _) => 1000,
    }
}

/// A straight line from `began` to 1000 over the history.
fn growth(began: u64, start: Time, days: u16, now: Time) -> u64 {
    let whole = u64::from(days) * 24;
    let back = u64::try_from(now.since(start) / HOUR).unwrap_or_default().min(whole);
    (1000 * (whole - back) + began * back) / whole
}

fn events_of(profile: &Profile, start: Time, days: u16, now: Time) -> Vec<Value> {
    let hour = Hour::of(profile, start, days, now);
    let mut events = Vec::new();
    calls(&hour, &mut events);
    conversations(&hour, &mut events);
    tokens(&hour, &mut events);
    users(&hour, &mut events);
    storage(&hour, growth(profile.began, start, days, now), &mut events);
    events
}

/// Two events an hour for calls, and one for the errors among them.
fn calls(hour: &Hour<'_>, events: &mut Vec<Value>) {
    let mut random = hour.random("api_calls");
    for (name, minute) in [("a-", 12), ("b-", 43)] {
        let calls = hour.part(hour.profile.calls / 2, &mut random);
        if calls > 0 {
            events.push(hour.event("api_calls", name, minute, &json!({ "quantity": calls })));
        }
    }
    let errors = hour.part(hour.profile.calls / 150, &mut random);
    if errors > 0 {
        events.push(hour.event("errors", "", 44, &json!({ "quantity": errors })));
    }
}

/// Conversations, and five to nine messages in each.
fn conversations(hour: &Hour<'_>, events: &mut Vec<Value>) {
    let mut random = hour.random("conversations");
    let conversations = hour.part(hour.profile.conversations, &mut random);
    if conversations > 0 {
        let messages = conversations * random.between(5, 9);
        events.push(hour.event("conversations", "", 20, &json!({ "quantity": conversations })));
        events.push(hour.event("messages", "", 21, &json!({ "quantity": messages })));
    }
}

/// The models in use, with the thousandths of all tokens that each takes and of its own that it writes.
const MODELS: [(&str, u64, u64); 3] =
    [("gpt-4o", 450, 220), ("gpt-4o-mini", 350, 300), ("claude-sonnet-4-5", 200, 260)];

fn tokens(hour: &Hour<'_>, events: &mut Vec<Value>) {
    for (model, part, written) in MODELS {
        let mut random = hour.random(model);
        let tokens = hour.part(hour.profile.tokens * part / 1000, &mut random);
        let output = tokens * random.between(written - 40, written + 40) / 1000;
        if tokens > 0 {
            let data =
                json!({"quantity": tokens, "model": model, "inputTokens": tokens - output, "outputTokens": output});
            events.push(hour.event("tokens", &format!("{model}-"), 33, &data));
        }
    }
}

/// Who signed in: most people on most days, some twice.
fn users(hour: &Hour<'_>, events: &mut Vec<Value>) {
    let mut random = hour.random("active_users");
    for i in 0..hour.part(hour.profile.users, &mut random) {
        let user = format!("{}-user-{}", hour.profile.key, random.below(hour.profile.users * 3 / 2) + 1);
        events.push(hour.event("active_users", &format!("{i}-"), 5, &json!({ "userId": user, "value": user })));
    }
}

/// The level of what is stored, once a day.
fn storage(hour: &Hour<'_>, growth: u64, events: &mut Vec<Value>) {
    if hour.of_day == 6 {
        let mut random = hour.random("storage_bytes");
        let kilobytes = hour.profile.megabytes * 1024 * growth / 1000 * random.between(985, 1000) / 1000;
        events.push(hour.event("storage_bytes", "", 0, &json!({ "quantity": kilobytes * 1024 })));
    }
}
