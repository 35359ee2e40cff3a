//! Early refusals: a decision that was refused a moment ago would be refused again, and need not be asked of the record.
//!
//! For calls without id alone. A mark holds the account's version, what was asked and what was answered. It lives for a second
//! at most, counted from before the record was asked, and never until more is free; it takes the place of a mark of the same
//! or a lower version only. Whatever gives more (a grant, a reset, an unlock) says from which version on marks count: at once on
//! the node that did it, and in Redis for all others. That is remembered for longer than a mark of before may be on its way.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use metergate_rules::id::{MeterId, OrganizationId, OrganizationKey, OrganizationRef};
use metergate_rules::outcome::{LimitState, Reason, Verdict};
use metergate_rules::plan::Enforcement;
use metergate_rules::quantity::Quantity;
use metergate_rules::time::{MINUTE, SECOND, Time};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::link::{Gone, Link};
use super::script::Script;
use super::{TOO_LATE, garbled, key_of};
use crate::clock::boot;
use crate::faults::planted;
use crate::hex::{hex, unhex_all};

/// How long a mark lives at most, in microseconds.
const LIVES: i64 = SECOND;
/// For how long it is remembered from which version on marks count: longer than any of before may be written.
const CLEARED: Duration = Duration::from_secs(2);
/// How long a decision waits for a mark.
const WAIT: Duration = Duration::from_millis(25);
/// For how long nobody waits again after that was not enough, in microseconds.
const REST: i64 = SECOND / 4;
/// For how long it is worth asking for marks after somebody was refused, in microseconds.
const WORTH: i64 = MINUTE;
/// Organizations and meters of which it is known that somebody was refused. Beyond that all are forgotten.
const MOST_KNOWN: usize = 100_000;

/// A refusal that stands for those that follow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The version of the account that refused.
    pub version: u64,
    /// Whose it is.
    pub organization: OrganizationKey,
    /// What was asked for.
    pub asked: Quantity,
    /// What was answered.
    pub verdict: Verdict,
    /// When, by the clock of the record.
    pub at: Time,
}

impl Mark {
    /// Whether an answer leaves a mark. One that was allowed says nothing of those that follow, nor one that was refused for
    /// another reason than a limit, whose end nobody would see in time; nor one that says what tokens would have cost.
    pub fn is_of(verdict: &Verdict) -> bool {
        let by_own_limit = verdict.limits.iter().any(|limit| limit.violated) && verdict.cost.is_none();
        verdict.reason == Some(Reason::QuotaExceeded) && by_own_limit
    }

    /// Whether so much would be refused too, at this time of the record's, in the same words.
    pub fn refuses(&self, quantity: Quantity, now: Time) -> bool {
        (-LIVES..=LIVES).contains(&now.since(self.at)) && (quantity == self.asked || self.refuses_less(quantity))
    }

    /// Whether so much less violates the same limits, and those are free again at the same time: neither do they slide, nor may
    /// reservations lapse that would be enough for less.
    fn refuses_less(&self, quantity: Quantity) -> bool {
        let same = |limit: &LimitState| {
            let violates = limit.enforcement == Enforcement::Hard && quantity > limit.remaining;
            let waits = limit.window.sliding_length().is_none() && limit.held.is_zero();
            violates == limit.violated && (!violates || waits)
        };
        quantity < self.asked && self.verdict.retry_at.is_some() && self.verdict.limits.iter().all(same)
    }

    /// How long it may live, in microseconds: no window that it was refused by may begin anew meanwhile.
    fn lives(&self) -> i64 {
        let violated = self.verdict.limits.iter().filter(|limit| limit.violated);
        let frees = violated.filter_map(|limit| limit.resets_at).map(|frees| frees.since(self.at)).min();
        frees.unwrap_or(LIVES).clamp(0, LIVES)
    }
}

/// The marks of all organizations. Cheap to clone.
#[derive(Clone)]
pub struct Marks(Arc<Shared>);

struct Shared {
    link: Arc<Link>,
    prefix: Box<str>,
    write: Script,
    clear: Script,
    /// What this node has said of the versions from which on marks count, and when that was, since boot.
    cleared: Mutex<HashMap<OrganizationId, (u64, i64)>>,
    /// Who was refused what, as callers name them, and when that was last, since boot.
    known: Mutex<HashMap<(OrganizationRef, MeterId), (OrganizationId, i64)>>,
    /// Nobody waits for a mark until then, since boot.
    rests_until: AtomicI64,
}

impl Marks {
    /// Over a connection, with keys that begin with `prefix`.
    pub fn new(link: Arc<Link>, prefix: &str) -> Self {
        Self(Arc::new(Shared {
            link,
            prefix: prefix.into(),
            write: Script::new(concat!(include_str!("clock.lua"), include_str!("mark.lua"))),
            clear: Script::new(include_str!("clear.lua")),
            cleared: Mutex::default(),
            known: Mutex::default(),
            rests_until: AtomicI64::new(0),
        }))
    }

    /// Whose mark to ask for, if somebody was refused on this node lately.
    pub fn known(&self, named: &OrganizationRef, meter: MeterId) -> Option<OrganizationId> {
        let known = self.0.known.lock();
        let (organization, at) = known.get(&(named.clone(), meter))?;
        (boot() - at <= WORTH).then_some(*organization)
    }

    /// Somebody was refused.
    pub fn learn(&self, named: OrganizationRef, meter: MeterId, organization: OrganizationId) {
        let mut known = self.0.known.lock();
        if known.len() >= MOST_KNOWN {
            known.clear();
        }
        known.insert((named, meter), (organization, boot()));
    }

    /// The mark of a meter, where one is to be had in a moment.
    pub async fn seek(&self, organization: OrganizationId, meter: MeterId) -> Option<Mark> {
        if boot() < self.0.rests_until.load(Ordering::Relaxed) {
            return None;
        }
        if let Ok(read) = tokio::time::timeout(WAIT, self.read(organization, meter)).await {
            return read.ok().flatten();
        }
        self.0.rests_until.store(boot() + REST, Ordering::Relaxed);
        None
    }

    /// The mark of a meter that counts.
    ///
    /// # Errors
    /// [`Gone`] where Redis does not answer in time: then the record is to be asked.
    pub async fn read(&self, organization: OrganizationId, meter: MeterId) -> Result<Option<Mark>, Gone> {
        let mut command = redis::cmd("MGET");
        command.arg(&self.keys(organization, meter));
        let (mark, least): (Option<String>, Option<u64>) = self.0.link.read(&command).await?;
        let Some(mark) = mark else { return Ok(None) };
        let read = mark.split_once(' ').and_then(|(_, mark)| postcard::from_bytes(&unhex_all(mark)?).ok());
        let mark: Mark = read.ok_or_else(|| garbled("a mark"))?;
        let ours = self.0.cleared.lock().get(&organization).map(|(version, _)| *version);
        Ok((Some(mark.version) >= least.max(ours)).then_some(mark))
    }

    /// Writes a mark of which the record was asked after `began`, since boot. Answers whether it was written.
    ///
    /// # Errors
    /// [`Gone`] where Redis does not answer in time, or it is too late.
    pub async fn write(
        &self,
        organization: OrganizationId,
        meter: MeterId,
        mark: &Mark,
        began: i64,
    ) -> Result<bool, Gone> {
        let Ok(text) = postcard::to_stdvec(mark) else { return Ok(false) };
        let (keys, text) = (self.keys(organization, meter), hex(&text));
        let lives = (mark.lives() / 1000).to_string();
        for _ in 0..2 {
            let ends = self.0.link.time_of(began + LIVES).to_string();
            let arguments = [ends, mark.version.to_string(), lives.clone(), text.clone()];
            let (state, text): (i64, String) = self.0.link.run(&self.0.write, &keys, &arguments).await?;
            if state != TOO_LATE {
                return Ok(text == "1");
            }
            self.0.link.told_time(Time::from_micros(text.parse().map_err(|_| garbled(&text))?));
        }
        Err(Gone)
    }

    /// The same, while nobody waits for it.
    pub fn leave(&self, organization: OrganizationId, meter: MeterId, mark: Mark, began: i64) {
        let marks = self.clone();
        self.0.link.beside(async move {
            let _ = marks.write(organization, meter, &mark, began).await;
        });
    }

    /// From this version of the account on marks count: on this node at once, and on the others as soon as Redis has heard.
    pub fn clear(&self, organization: OrganizationId, version: u64) {
        if planted("marks-outlive-grants") {
            return;
        }
        self.note(organization, version);
        let marks = self.clone();
        self.0.link.beside(async move {
            let _ = marks.tell(organization, version).await;
        });
    }

    fn note(&self, organization: OrganizationId, version: u64) {
        let mut cleared = self.0.cleared.lock();
        let (now, remembered) = (boot(), 2 * LIVES);
        if cleared.len() >= MOST_KNOWN {
            cleared.retain(|_, (_, at)| now - *at <= remembered);
        }
        // The others, of which there are too many, are heard of by way of Redis.
        if cleared.len() >= MOST_KNOWN {
            cleared.clear();
        }
        let least = cleared.get(&organization).map_or(version, |(least, _)| version.max(*least));
        cleared.insert(organization, (least, now));
    }

    /// Tells Redis from which version on marks count. Answers whether that was new to it.
    ///
    /// # Errors
    /// [`Gone`] where Redis does not answer in time: a mark that is there lives on for at most a second.
    pub async fn tell(&self, organization: OrganizationId, version: u64) -> Result<bool, Gone> {
        let keys = [self.key_of_least(organization)];
        let arguments = [version.to_string(), CLEARED.as_millis().to_string()];
        let told: i64 = self.0.link.run(&self.0.clear, &keys, &arguments).await?;
        Ok(told == 1)
    }

    fn keys(&self, organization: OrganizationId, meter: MeterId) -> [String; 2] {
        let mark = key_of(&self.0.prefix, organization, format_args!("mark:{}", meter.0));
        [mark, self.key_of_least(organization)]
    }

    fn key_of_least(&self, organization: OrganizationId) -> String {
        key_of(&self.0.prefix, organization, format_args!("marks"))
    }
}
