//! Minutes and hours of meters of which nothing is recorded: counted in Redis by one script, decided as in the account.

use std::sync::Arc;
use std::time::Duration;

use metergate_rules::decide::rate::{Counted, Rate};
use metergate_rules::id::OrganizationId;
use metergate_rules::outcome::Verdict;
use metergate_rules::quantity::Quantity;
use metergate_rules::time::{SECOND, Time};
use metergate_rules::window::Window;

use super::accounts::Accounts;
use super::link::{Gone, Link};
use super::script::Script;
use super::{TOO_LATE, garbled, key_of};
use crate::hex::{hex, unhex_all};
use crate::random;

/// The script that counts.
const SCRIPT: &str = concat!(include_str!("clock.lua"), include_str!("rate.lua"));
/// The script knew the operation.
const KNOWN: i64 = 1;
/// What counts in one window: sixty sub-buckets.
const BUCKETS: i64 = 60;
/// How long an answer is kept after it can count no more, where the caller gave no id.
const KEPT: Duration = Duration::from_secs(1);
/// How long an answer is kept where the caller gave an id: as long as what it counted may count, an hour and a sixtieth.
const KEPT_UNDER_ID: Duration = Duration::from_secs(3660);

/// An id that the caller gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Once {
    /// A hash of the id and of what kind of id it is.
    pub id: [u8; 16],
    /// A hash of what is asked, to tell another request under the same id.
    pub fingerprint: u64,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It was decided.
    Decided {
        /// The answer.
        verdict: Verdict,
        /// When, by the clock of Redis.
        at: Time,
        /// Whether it was decided before, under the same id.
        replayed: bool,
    },
    /// The id was used for another request.
    Mismatch,
}

/// The meters that are counted in Redis.
pub struct Rates {
    link: Arc<Link>,
    prefix: Box<str>,
    script: Script,
    /// Whose limits they are.
    pub accounts: Arc<Accounts>,
    #[cfg(feature = "faults")]
    told: Option<std::sync::atomic::AtomicI64>,
}

/// What is to become of what is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// It is counted if it is allowed.
    Use,
    /// It is refused, and that is remembered.
    Refuse,
    /// It is not asked in earnest.
    Ask,
}

impl Rates {
    /// Over a connection, with keys that begin with `prefix`.
    pub fn new(link: Arc<Link>, prefix: &str) -> Self {
        let (script, accounts) = (Script::new(SCRIPT), Arc::<Accounts>::default());
        Self {
            link,
            prefix: prefix.into(),
            script,
            accounts,
            #[cfg(feature = "faults")]
            told: None,
        }
    }

    /// Decides, and counts what is allowed.
    ///
    /// # Errors
    /// [`Gone`] where Redis does not answer in time: it may have counted. Under the same id it counts once.
    pub async fn consume(
        &self,
        organization: OrganizationId,
        rate: &Rate,
        once: Option<Once>,
    ) -> Result<Decision, Gone> {
        let mode = if rate.is_refused() { Mode::Refuse } else { Mode::Use };
        let mut decided = self.run(organization, rate, once, mode).await;
        if crate::faults::planted("redis-client-retries") {
            // As clients do that ask again by themselves: under another number, since they know none.
            for _ in 0..100 {
                if decided.is_ok() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
                decided = self.run(organization, rate, once, mode).await;
            }
        }
        decided
    }

    /// The answer that a decision would have; nothing is counted.
    ///
    /// # Errors
    /// [`Gone`] where Redis does not answer in time.
    pub async fn check(&self, organization: OrganizationId, rate: &Rate) -> Result<Decision, Gone> {
        self.run(organization, rate, None, Mode::Ask).await
    }

    async fn run(
        &self,
        organization: OrganizationId,
        rate: &Rate,
        once: Option<Once>,
        mode: Mode,
    ) -> Result<Decision, Gone> {
        let keys = self.keys(organization, rate, once);
        // A second time where Redis says that its clock is another than we thought: then nothing was counted.
        for _ in 0..2 {
            let arguments = self.arguments(rate, once, mode);
            let (state, text): (i64, String) = self.link.run(&self.script, &keys, &arguments).await?;
            if state == TOO_LATE {
                self.link.told_time(Time::from_micros(text.parse().map_err(|_| garbled(&text))?));
                continue;
            }
            let answer = Answer::read(&text).ok_or_else(|| garbled(&text))?;
            let replayed = state == KNOWN && once.is_some();
            if once.is_some_and(|once| once.fingerprint != answer.fingerprint) {
                return Ok(Decision::Mismatch);
            }
            // Limits may have changed since, and the answer stays the first one.
            let first = if replayed { answer.asked.as_ref().ok_or_else(|| garbled(&text))? } else { rate };
            let in_earnest = mode != Mode::Ask && !first.is_refused();
            let verdict = first.verdict(&answer.found, answer.at, in_earnest);
            return Ok(Decision::Decided { verdict, at: answer.at, replayed });
        }
        tracing::warn!("the clock of Redis jumps");
        Err(Gone)
    }

    fn keys(&self, organization: OrganizationId, rate: &Rate, once: Option<Once>) -> Vec<String> {
        let (kind, id) = once.map_or_else(|| ("operation", random::bytes()), |once| ("id", once.id));
        let meter = rate.meter.0;
        let operation = key_of(&self.prefix, organization, format_args!("{kind}:{meter}:{}", hex(&id)));
        let use_in = |window: Window| key_of(&self.prefix, organization, format_args!("{}:{meter}", window.as_str()));
        std::iter::once(operation).chain(rate.bounds().map(|bound| use_in(bound.window))).collect()
    }

    fn arguments(&self, rate: &Rate, once: Option<Once>, mode: Mode) -> Vec<String> {
        let (told, kept) = (self.told(), if once.is_some() { KEPT_UNDER_ID } else { KEPT });
        let asked = once.and_then(|_| postcard::to_stdvec(rate).ok()).map_or_else(|| "-".to_owned(), |rate| hex(&rate));
        let mut arguments = vec![
            told.map_or_else(|| self.link.latest(), |now| now.plus(SECOND).micros()).to_string(),
            kept.as_millis().to_string(),
            rate.quantity.units().to_string(),
            mode.as_str().to_owned(),
            once.map_or(0, |once| once.fingerprint).to_string(),
            asked,
        ];
        for bound in rate.bounds() {
            arguments.push((bound.length / BUCKETS).to_string());
            arguments.push(bound.most.map_or(-1, Quantity::units).to_string());
        }
        let parts = told.map(|now| [now.micros() / SECOND, now.micros() % SECOND]);
        arguments.extend(parts.into_iter().flatten().map(|part| part.to_string()));
        arguments
    }

    /// The time by which the script counts: that of Redis.
    #[cfg(not(feature = "faults"))]
    const fn told(&self) -> Option<Time> {
        None
    }
}

/// For tests of hours: the script counts by a time that it is told.
#[cfg(feature = "faults")]
impl Rates {
    /// The same, by the time of [`Self::tell_time`].
    #[must_use]
    pub fn by_told_time(self) -> Self {
        let script = SCRIPT.replace("redis.call('TIME')", "{ARGV[#ARGV - 1], ARGV[#ARGV]}");
        Self { script: Script::new(script), told: Some(std::sync::atomic::AtomicI64::new(0)), ..self }
    }

    /// From now on this is the time.
    pub fn tell_time(&self, now: Time) {
        if let Some(told) = &self.told {
            told.store(now.micros(), std::sync::atomic::Ordering::SeqCst);
        }
    }

    fn told(&self) -> Option<Time> {
        self.told.as_ref().map(|told| Time::from_micros(told.load(std::sync::atomic::Ordering::SeqCst)))
    }
}

impl Mode {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Use => "use",
            Self::Refuse => "refuse",
            Self::Ask => "ask",
        }
    }
}

/// What the script said.
struct Answer {
    fingerprint: u64,
    /// What was asked under the id, where there is one.
    asked: Option<Rate>,
    at: Time,
    found: Vec<Counted>,
}

impl Answer {
    fn read(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let fingerprint = words.next()?.parse().ok()?;
        let asked = unhex_all(words.next()?).and_then(|asked| postcard::from_bytes(&asked).ok());
        let numbers: Vec<i64> = words.map(|word| word.parse().ok()).collect::<Option<_>>()?;
        let (at, found) = numbers.split_first()?;
        let time = |micros: i64| (micros > 0).then(|| Time::from_micros(micros));
        let found = found.chunks_exact(3).map(|found| Counted {
            used: Quantity::at_least_zero(found[0]),
            next_free: time(found[1]),
            fits_at: time(found[2]),
        });
        Some(Self { fingerprint, asked, at: Time::from_micros(*at), found: found.collect() })
    }
}
