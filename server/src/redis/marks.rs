//! Early refusals: a decision that was refused a moment ago would be refused again, and need not be asked of the record.
//!
//! For calls without id alone. A mark holds the account's version and what of a meter was left, and lives for a second at most,
//! and never until more is free. It takes the place of a mark of a lower version only: whatever gives more (a grant, a reset, an
//! unlock) writes one of its own version that refuses nothing, and an older one that is still on its way changes nothing.

use std::sync::Arc;
use std::time::Duration;

use metergate_rules::id::{MeterId, OrganizationId};
use metergate_rules::outcome::{Reason, Verdict};
use metergate_rules::quantity::Quantity;
use metergate_rules::time::{SECOND, Time};
use serde::{Deserialize, Serialize};

use super::link::{Gone, Link};
use super::script::Script;
use super::{TOO_LATE, garbled, key_of};
use crate::hex::{hex, unhex_all};

/// How long a mark lives at most.
pub const LIVES: Duration = Duration::from_secs(1);
/// How long a mark that refuses nothing lives: longer than any other may be on its way.
const CLEARED: Duration = Duration::from_secs(2);

/// A refusal that stands for those that follow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The version of the account that refused.
    pub version: u64,
    /// More than this is refused.
    pub left: Quantity,
    /// What was answered.
    pub verdict: Verdict,
    /// When.
    pub at: Time,
}

impl Mark {
    /// The mark of an answer; `None` where it says nothing of those that follow: it was allowed, or refused for another reason
    /// than a limit, whose end nobody would see in time.
    pub fn of(version: u64, verdict: &Verdict, at: Time) -> Option<Self> {
        let violated = verdict.limits.iter().filter(|limit| limit.violated);
        let left = violated.map(|limit| limit.remaining).min().unwrap_or(Quantity::ZERO);
        (verdict.reason == Some(Reason::QuotaExceeded)).then(|| Self { version, left, verdict: verdict.clone(), at })
    }

    /// Whether so much would be refused too.
    pub fn refuses(&self, quantity: Quantity) -> bool {
        quantity > self.left
    }

    /// How long it may live: no window that it was refused by may begin anew meanwhile.
    fn lives(&self) -> Duration {
        let violated = self.verdict.limits.iter().filter(|limit| limit.violated);
        let frees = violated.filter_map(|limit| limit.resets_at).map(|frees| frees.since(self.at)).min();
        let micros = frees.unwrap_or(SECOND).clamp(0, SECOND).unsigned_abs();
        Duration::from_micros(micros).min(LIVES)
    }
}

/// The marks of all organizations.
pub struct Marks {
    link: Arc<Link>,
    prefix: Box<str>,
    script: Script,
}

impl Marks {
    /// Over a connection, with keys that begin with `prefix`.
    pub fn new(link: Arc<Link>, prefix: &str) -> Self {
        Self {
            link,
            prefix: prefix.into(),
            script: Script::new(concat!(include_str!("clock.lua"), include_str!("mark.lua"))),
        }
    }

    /// The mark of a meter.
    ///
    /// # Errors
    /// [`Gone`] where Redis does not answer in time: then the record is to be asked.
    pub async fn read(&self, organization: OrganizationId, meter: MeterId) -> Result<Option<Mark>, Gone> {
        let mut command = redis::cmd("GET");
        command.arg(self.key(organization, meter));
        let text: Option<String> = self.link.read(&command).await?;
        let mark = text.as_deref().and_then(|text| text.split_once(' ')).map_or("", |(_, mark)| mark);
        if mark.is_empty() {
            return Ok(None);
        }
        let mark = unhex_all(mark).and_then(|mark| postcard::from_bytes(&mark).ok());
        mark.map(Some).ok_or_else(|| garbled("a mark"))
    }

    /// Writes a mark, unless there is one of the same or a higher version. Answers whether it was written.
    ///
    /// # Errors
    /// [`Gone`] where Redis does not answer in time.
    pub async fn write(&self, organization: OrganizationId, meter: MeterId, mark: &Mark) -> Result<bool, Gone> {
        let lives = mark.lives();
        let Ok(text) = postcard::to_stdvec(mark) else { return Ok(false) };
        if lives < Duration::from_millis(1) {
            return Ok(false);
        }
        self.put(organization, meter, mark.version, lives, hex(&text)).await
    }

    /// From this version of the account on nothing of a meter is refused early, until another mark is written.
    ///
    /// # Errors
    /// [`Gone`] where Redis does not answer in time: a mark that is there lives on for at most a second.
    pub async fn clear(&self, organization: OrganizationId, meter: MeterId, version: u64) -> Result<bool, Gone> {
        self.put(organization, meter, version, CLEARED, String::new()).await
    }

    async fn put(
        &self,
        organization: OrganizationId,
        meter: MeterId,
        version: u64,
        lives: Duration,
        mark: String,
    ) -> Result<bool, Gone> {
        let keys = [self.key(organization, meter)];
        for _ in 0..2 {
            let latest = self.link.latest().to_string();
            let arguments = [latest, version.to_string(), lives.as_millis().to_string(), mark.clone()];
            let (state, text): (i64, String) = self.link.run(&self.script, &keys, &arguments).await?;
            if state != TOO_LATE {
                return Ok(text == "1");
            }
            self.link.told_time(Time::from_micros(text.parse().map_err(|_| garbled(&text))?));
        }
        Err(Gone)
    }

    fn key(&self, organization: OrganizationId, meter: MeterId) -> String {
        key_of(&self.prefix, organization, format_args!("mark:{}", meter.0))
    }
}
