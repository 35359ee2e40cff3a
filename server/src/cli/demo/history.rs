//! What the organizations used before the demo began.
//!
//! An event's id follows from its organization, meter and hour, so that a demo that is started again on the same folder
//! adds the hours in between and counts none twice.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use metergate_rules::time::{HOUR, Time};
use serde_json::{Value, json};

use super::super::client::{Client, Repeat};
use super::organizations::{ALL, Profile, Rhythm};
use super::random::Random;

/// Sends the history of every organization; says how many events it has.
pub(super) fn send(client: &Client, now: Time, days: u16, stop: &AtomicBool) -> anyhow::Result<u64> {
    let next = AtomicU64::new(0);
    let sent = AtomicU64::new(0);
    let work = || -> anyhow::Result<()> {
        let take = || usize::try_from(next.fetch_add(1, Ordering::Relaxed)).ok().and_then(|i| ALL.get(i));
        while let Some(profile) = take() {
            let count = send_one(client, profile, now, days, stop)?;
            sent.fetch_add(count, Ordering::Relaxed);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
        let ended =
            threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?);
        ended.collect::<anyhow::Result<Vec<()>>>()
    })?;
    Ok(sent.into_inner())
}

fn send_one(client: &Client, profile: &Profile, now: Time, days: u16, stop: &AtomicBool) -> anyhow::Result<u64> {
    let mut sent = 0;
    let mut batch: Vec<Value> = Vec::new();
    for hour in hours(now, days) {
        batch.extend(events_of(profile, hour, days, now));
        if batch.len() >= 900 {
            sent += send_batch(client, &mut batch)?;
        }
        if stop.load(Ordering::Relaxed) {
            return Ok(sent);
        }
    }
    Ok(sent + send_batch(client, &mut batch)?)
}

#[derive(serde::Deserialize)]
struct Answer {
    rejected: Vec<Value>,
}

fn send_batch(client: &Client, batch: &mut Vec<Value>) -> anyhow::Result<u64> {
    let body = serde_json::to_vec(batch)?;
    let answer = client.post_as("/v1/events", "application/cloudevents-batch+json", &body, Repeat::Safe)?;
    let answer: Answer = client.read("/v1/events", &answer)?;
    anyhow::ensure!(answer.rejected.is_empty(), "the server rejected an event of the history: {}", answer.rejected[0]);
    let sent = u64::try_from(batch.len())?;
    batch.clear();
    Ok(sent)
}

/// The whole hours of the last days, oldest first; the last one has ended.
fn hours(now: Time, days: u16) -> impl Iterator<Item = Time> {
    let end = now.floor(HOUR);
    (0..i64::from(days) * 24).rev().map(move |back| end.plus(-(back + 1) * HOUR))
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
            "specversion": "1.0", "id": format!("{meter}-{name}{}", self.start), "source": "/demo/history", "type": meter,
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
const MODELS: [(&str, u64, u64); 3] = [("gpt-4o", 450, 220), ("gpt-4o-mini", 350, 300), ("claude-sonnet-4", 200, 260)];

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
