//! What a message to a webhook endpoint says (N2): the JSON text that is sent, made once, in the commit of what it tells.

use metergate_rules::account::Account;
use metergate_rules::due::status_name;
use metergate_rules::grant::Grant;
use metergate_rules::id::{GrantId, MeterId};
use metergate_rules::notice::{Figures, Notice, OfRefusal, RefusedBy, Terms, Told};
use metergate_rules::outcome::Reason;
use metergate_rules::plan::Enforcement;
use metergate_rules::quantity::Quantity;
use metergate_rules::time::{DAY, HOUR, Span, Time};
use metergate_rules::window::Window;
use serde::Serialize;

use super::grants::GrantBody;
use super::organization::LockBody;
use super::{Period, Timestamp};
use crate::catalogue::Snapshot;
use crate::http::number::Number;

/// As Standard Webhooks has it.
#[derive(Serialize)]
struct MessageBody<'a, D> {
    r#type: &'a str,
    /// When what is told happened.
    timestamp: Timestamp,
    data: D,
}

/// What happened, and to whom.
#[derive(Serialize)]
struct Data<'a> {
    organization: Named<'a>,
    #[serde(flatten)]
    about: About,
}

#[derive(Serialize)]
struct Named<'a> {
    id: String,
    key: &'a str,
    name: &'a str,
    /// Whether it is a test organization: then nobody's money or access should follow from it.
    test: bool,
}

/// What is said beside the organization, by type.
#[derive(Serialize)]
#[serde(untagged)]
enum About {
    Threshold(ThresholdBody),
    Limit(LimitBody),
    Refused(RefusedBody),
    Reset(ResetBody),
    Grant(GrantMessage),
    TrialEnding(TrialEndingBody),
    TrialEnded(TrialEndedBody),
    Subscription(SubscriptionBody),
    Locked(LockedBody),
    Unlocked(UnlockedBody),
    Period(PeriodBody),
}

/// `usage.overage`, and a part of `usage.threshold` and `usage.refused`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LimitBody {
    meter: String,
    window: Window,
    enforcement: Enforcement,
    limit: Number,
    used: Number,
    held: Number,
    remaining: Number,
    overage: Number,
    resets_at: Option<Timestamp>,
    period: Option<Period>,
}

#[derive(Serialize)]
struct ThresholdBody {
    threshold: u8,
    #[serde(flatten)]
    limit: LimitBody,
}

#[derive(Serialize)]
struct RefusedBody {
    reason: Reason,
    /// How often in the hour, as far as it was known.
    count: u64,
    /// The hour, UTC.
    hour: Period,
    /// Whether it is over, so that no more are to come.
    complete: bool,
    #[serde(flatten)]
    of: RefusedOf,
}

#[derive(Serialize)]
#[serde(untagged)]
enum RefusedOf {
    Limit(Box<LimitBody>),
    Window { meter: String, window: Window },
    Meter { meter: String },
}

#[derive(Serialize)]
struct ResetBody {
    counters: Vec<CounterBody>,
}

/// A counter before it was set to zero.
#[derive(Serialize)]
struct CounterBody {
    meter: String,
    window: Window,
    used: Number,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GrantMessage {
    grant: GrantBody,
    #[serde(skip_serializing_if = "Option::is_none")]
    days_left: Option<i64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TrialEndingBody {
    trial_ends_at: Timestamp,
    days_left: i64,
    plan: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TrialEndedBody {
    trial_ends_at: Timestamp,
    plan: String,
    status: &'static str,
    locked: bool,
}

#[derive(Serialize)]
struct SubscriptionBody {
    before: TermsBody,
    after: TermsBody,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TermsBody {
    plan: String,
    plan_version: u32,
    status: &'static str,
    current_period: Period,
    next_reset_date: Timestamp,
}

#[derive(Serialize)]
struct LockedBody {
    lock: LockBody,
    locks: Vec<LockBody>,
}

#[derive(Serialize)]
struct UnlockedBody {
    lifted: Vec<LockBody>,
    locked: bool,
    locks: Vec<LockBody>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PeriodBody {
    period: Period,
    next_reset_date: Timestamp,
    plan: String,
}

/// The text of the message that tells this of an organization, which is in `account` as it is after it. Nothing where it cannot
/// be written, which the log says.
pub fn text(told: &Told, at: Time, account: &Account, catalogue: &Snapshot) -> Option<String> {
    let about = Telling { account, catalogue, at }.about(told)?;
    let profile = &*account.profile;
    let id = account.id.to_string();
    let organization = Named { id, key: profile.key.as_str(), name: &profile.name, test: profile.test };
    written(told.kind().as_str(), at, &Data { organization, about })
}

/// The text of a message of whatever type.
pub fn written(kind: &str, at: Time, data: &impl Serialize) -> Option<String> {
    let body = MessageBody { r#type: kind, timestamp: Timestamp(at), data };
    let text = serde_json::to_string(&body);
    text.inspect_err(|error| tracing::error!(%error, kind, "a message to webhook endpoints cannot be written")).ok()
}

struct Telling<'a> {
    account: &'a Account,
    catalogue: &'a Snapshot,
    at: Time,
}

impl Telling<'_> {
    fn about(&self, told: &Told) -> Option<About> {
        Some(match told {
            Told::Noticed(notice) => self.noticed(notice)?,
            Told::Reset(counters) => About::Reset(ResetBody {
                counters: counters.iter().map(|(meter, window, used)| self.counter(*meter, *window, *used)).collect(),
            }),
            Told::TrialEnded(ended_at) => About::TrialEnded(TrialEndedBody {
                trial_ends_at: Timestamp(*ended_at),
                plan: self.plan(),
                status: status_name(self.account.status),
                locked: !self.account.locks.is_empty(),
            }),
            Told::Subscription { before, after } => {
                About::Subscription(SubscriptionBody { before: self.terms(before), after: self.terms(after) })
            }
            Told::Locked(lock) => About::Locked(LockedBody {
                lock: LockBody::all(std::slice::from_ref(lock)).pop()?,
                locks: LockBody::all(&self.account.locks),
            }),
            Told::Unlocked(lifted) => About::Unlocked(UnlockedBody {
                lifted: LockBody::all(lifted),
                locked: !self.account.locks.is_empty(),
                locks: LockBody::all(&self.account.locks),
            }),
            Told::Granted(grant) => self.grant(grant, None),
            Told::PeriodStarted(period) => About::Period(PeriodBody {
                period: (*period).into(),
                next_reset_date: Timestamp(period.end),
                plan: self.plan(),
            }),
        })
    }

    fn noticed(&self, notice: &Notice) -> Option<About> {
        Some(match notice {
            Notice::Threshold { percent, figures, .. } => {
                About::Threshold(ThresholdBody { threshold: *percent, limit: self.limit(figures) })
            }
            Notice::Overage { figures, .. } => About::Limit(self.limit(figures)),
            Notice::Refused { meter, by, figures } => {
                let of = OfRefusal { meter: *meter, by: *by, hour: self.at.floor(HOUR) };
                self.refused(&of, 1, false, figures.as_ref())
            }
            Notice::RefusedInHour { of, count } => self.refused(of, *count, true, None),
            Notice::GrantExhausted(id) => self.grant(self.find(*id)?, None),
            Notice::GrantExpiring { grant, .. } => {
                let grant = self.find(*grant)?;
                self.grant(grant, grant.expires_at)
            }
            Notice::TrialEnding { ends_at, .. } => About::TrialEnding(TrialEndingBody {
                trial_ends_at: Timestamp(*ends_at),
                days_left: self.days_to(*ends_at),
                plan: self.plan(),
            }),
        })
    }

    fn refused(&self, refusal: &OfRefusal, count: u64, complete: bool, figures: Option<&Figures>) -> About {
        let meter = || self.meter(refusal.meter);
        let hour = Span { start: refusal.hour, end: refusal.hour.plus(HOUR) }.into();
        let of = match (refusal.by, figures) {
            (RefusedBy::Limit(_), Some(figures)) => RefusedOf::Limit(Box::new(self.limit(figures))),
            (RefusedBy::Limit(window), None) => RefusedOf::Window { meter: meter(), window },
            (RefusedBy::Before(_), _) => RefusedOf::Meter { meter: meter() },
        };
        About::Refused(RefusedBody { reason: refusal.by.reason(), count, hour, complete, of })
    }

    fn find(&self, id: GrantId) -> Option<&Grant> {
        self.account.grants.iter().find(|grant| grant.id == id)
    }

    fn grant(&self, grant: &Grant, ends_at: Option<Time>) -> About {
        let body = GrantBody::of(grant, self.catalogue, self.at, false);
        About::Grant(GrantMessage { grant: body, days_left: ends_at.map(|end| self.days_to(end)) })
    }

    /// Days of 24 hours, begun ones too.
    const fn days_to(&self, end: Time) -> i64 {
        let micros = end.since(self.at);
        if micros <= 0 { 0 } else { (micros - 1) / DAY + 1 }
    }

    fn limit(&self, figures: &Figures) -> LimitBody {
        let number = |quantity| self.number(figures.meter, quantity);
        let is_counted = matches!(figures.window, Window::Day | Window::Month | Window::BillingPeriod);
        LimitBody {
            meter: self.meter(figures.meter),
            window: figures.window,
            enforcement: figures.enforcement,
            limit: number(figures.limit),
            used: number(figures.used),
            held: number(figures.held),
            remaining: number(figures.remaining),
            overage: number(figures.overage),
            resets_at: figures.resets_at.map(Timestamp),
            period: is_counted.then(|| self.account.windows.get(figures.window).into()),
        }
    }

    fn counter(&self, meter: MeterId, window: Window, used: Quantity) -> CounterBody {
        CounterBody { meter: self.meter(meter), window, used: self.number(meter, used) }
    }

    fn terms(&self, terms: &Terms) -> TermsBody {
        let plan = self.catalogue.plan_by_id(terms.plan);
        TermsBody {
            plan: plan.map_or_else(String::new, |plan| plan.key.to_string()),
            plan_version: plan.map_or(0, |plan| plan.version),
            status: status_name(terms.status),
            current_period: terms.period.into(),
            next_reset_date: Timestamp(terms.period.end),
        }
    }

    fn plan(&self) -> String {
        self.catalogue.plan_by_id(self.account.plan).map_or_else(String::new, |plan| plan.key.to_string())
    }

    fn meter(&self, meter: MeterId) -> String {
        self.catalogue.meter_key(meter).to_owned()
    }

    fn number(&self, meter: MeterId, quantity: Quantity) -> Number {
        Number { units: i128::from(quantity.units()), decimals: self.catalogue.decimals(meter), text: false }
    }
}
