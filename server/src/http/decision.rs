//! A decision as the caller gets it: the body (§10) and the rate headers (D10).

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap};
use axum::http::{HeaderValue, Response, StatusCode};
use metergate_rules::outcome::{LimitState, Reason, Verdict};
use metergate_rules::plan::{Enforcement, RefusalStatus};
use metergate_rules::price::{self, Cost};
use metergate_rules::quantity::Quantity;
use metergate_rules::time::Time;
use serde::Serialize;
use serde::ser::Serializer;
use utoipa::ToSchema;

use super::error::ApiError;
use super::number::Number;
use super::rate::{self, Policy, Sent};
use crate::catalogue::Snapshot;

mod write;

pub use write::Text;

/// Headers of a decision's answer, about.
const USUAL_HEADERS: usize = 14;

/// The answer to "may this organization use so much now?".
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DecisionBody<'a> {
    /// Whether it was allowed, and recorded; refused means that nothing was used.
    pub allowed: bool,
    /// Why not: `organization-locked`, `trial-expired`, `subscription-inactive`, `not-entitled` or `quota-exceeded`.
    pub reason: Option<&'static str>,
    /// The organization's key.
    pub organization: &'a str,
    /// The meter's key.
    pub meter: &'a str,
    /// The id that was given, else the decision's place in the journal; `null` where nothing was recorded.
    #[serde(serialize_with = "text_or_null")]
    #[schema(value_type = Option<String>)]
    pub id: DecisionRef<'a>,
    /// What was asked for.
    pub quantity: Number,
    /// What of it went beyond a soft limit.
    pub overage: Number,
    /// Of `tokens` with a model: what they cost in US dollars, which is counted on `llm_cost` with them, or held with a
    /// reservation; of a refusal, what they would have cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub cost: Option<Number>,
    /// Why their cost is not known, so that nothing is charged or held: `no-model`, `no-tokens`, `unknown-model`, `no-provider` or
    /// `no-price`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unpriced: Option<&'static str>,
    /// Every limit of the meter after the decision, shortest window first; unlimited ones are left out. After them those of
    /// `llm_cost`, where tokens are priced.
    pub limits: Vec<LimitBody<'a>>,
    /// Present where it could not be decided, and the plan says what is answered then; what is left is not known.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub degraded: bool,
    /// In how many seconds to ask again; absent where waiting cannot help.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<i64>,
}

/// How a decision can be named.
#[derive(Clone, Copy, Debug)]
pub enum DecisionRef<'a> {
    /// By the caller's id.
    Given(&'a str),
    /// By its place in the journal.
    Place(crate::store::Place),
    /// It was not recorded.
    Nowhere,
}

fn text_or_null<S: Serializer>(id: &DecisionRef<'_>, serializer: S) -> Result<S::Ok, S::Error> {
    match id {
        DecisionRef::Given(id) => serializer.serialize_str(id),
        DecisionRef::Place(place) => serializer.collect_str(&format_args!("{}-{}", place.sequence, place.offset)),
        DecisionRef::Nowhere => serializer.serialize_none(),
    }
}

fn time_or_null<S: Serializer>(time: &Option<Time>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serializer.collect_str(time),
        None => serializer.serialize_none(),
    }
}

/// One limit's state.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LimitBody<'a> {
    /// The limit's meter where it is another than the decision's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meter: Option<&'a str>,
    /// `minute`, `hour`, `day`, `month`, `billingPeriod` or `lifetime`.
    pub window: &'static str,
    /// `hard` or `soft`.
    pub enforcement: &'static str,
    /// The limit, with extra quota and credits.
    pub limit: Number,
    /// All use in the window.
    pub used: Number,
    /// What reservations hold.
    pub held: Number,
    /// What is left.
    pub remaining: Number,
    /// When more becomes free; `null` where time frees nothing.
    #[serde(serialize_with = "time_or_null")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub resets_at: Option<Time>,
}

/// A verdict with what the answer needs beside it.
pub struct Answered<'a> {
    /// The organization's key.
    pub organization: &'a str,
    /// The meter's key.
    pub meter: &'a str,
    /// Its decimal places.
    pub decimals: u8,
    /// How the decision can be named.
    pub id: DecisionRef<'a>,
    /// What was asked for, in the meter's smallest units.
    pub quantity: i64,
    /// What was decided.
    pub verdict: &'a Verdict,
    /// When it was decided first: seconds to wait are counted from there, so that a repetition has the same answer.
    pub at: Time,
    /// Whether the whole call was allowed; differs from the verdict in decisions together.
    pub allowed: bool,
    /// Whether it was answered without a decision.
    pub degraded: bool,
}

/// A limit's state as the answer shows it; with its meter's key where that is another than the decision's.
fn limit_body<'a>(meter: Option<&'a str>, state: &LimitState, decimals: u8, text: bool) -> LimitBody<'a> {
    let number = |quantity: Quantity| Number { units: i128::from(quantity.units()), decimals, text };
    LimitBody {
        meter,
        window: state.window.as_str(),
        enforcement: if state.enforcement == Enforcement::Hard { "hard" } else { "soft" },
        limit: number(state.limit),
        used: number(state.used),
        held: number(state.held),
        remaining: number(state.remaining),
        resets_at: state.resets_at,
    }
}

impl<'a> Answered<'a> {
    /// The body. `text`: quantities as strings.
    pub fn body(&self, text: bool) -> DecisionBody<'a> {
        let number = |units: i64| Number { units: i128::from(units), decimals: self.decimals, text };
        let own = self.verdict.limits.iter().map(|state| limit_body(None, state, self.decimals, text));
        let cost = self.verdict.cost.as_deref();
        let of_cost = cost.iter().flat_map(|cost| &cost.limits);
        let of_cost = of_cost.map(|state| limit_body(Some(price::COST), state, price::PLACES, text));
        let (cost, unpriced) = match cost.map(|cost| cost.cost) {
            Some(Cost::Priced(cost)) => {
                (Some(Number { units: i128::from(cost.units()), decimals: price::PLACES, text }), None)
            }
            Some(Cost::Unpriced(why)) => (None, Some(why.as_str())),
            None => (None, None),
        };
        DecisionBody {
            allowed: self.allowed,
            reason: self.verdict.reason.map(Reason::as_str),
            organization: self.organization,
            meter: self.meter,
            id: self.id,
            quantity: number(self.quantity),
            overage: number(self.verdict.overage.units()),
            cost,
            unpriced,
            limits: own.chain(of_cost).collect(),
            degraded: self.degraded,
            retry_after_seconds: self.wait(),
        }
    }

    fn policies(&self) -> Vec<Policy<'a>> {
        let policy = |(meter, state): (&'a str, &LimitState)| Policy {
            meter,
            window: state.window.as_str(),
            limit: state.limit.units(),
            remaining: state.remaining.units(),
            reset_seconds: state.resets_at.map(|at| at.seconds_from(self.at)),
        };
        self.limits().map(policy).collect()
    }

    /// All limits that it was held against, each with its meter's key.
    fn limits(&self) -> impl Iterator<Item = (&'a str, &'a LimitState)> {
        let own = self.verdict.limits.iter().map(|state| (self.meter, state));
        let of_cost = self.verdict.cost.iter().flat_map(|cost| &cost.limits).map(|state| (price::COST, state));
        own.chain(of_cost)
    }

    /// Seconds to wait, from when it was decided, by the organization's own clock.
    fn wait(&self) -> Option<i64> {
        self.verdict.retry_at.map(|at| at.seconds_from(self.at))
    }

    /// Writes the rate headers, which count from the same time as the body.
    pub fn write_headers(&self, headers: &mut HeaderMap, sent: Sent) {
        let retry_after = self.wait().filter(|_| !self.allowed);
        rate::write(headers, sent, self.meter, &self.policies(), retry_after);
    }

    /// The status that gateways give it (D9).
    pub fn status(&self) -> StatusCode {
        match self.verdict.reason {
            None => StatusCode::OK,
            Some(Reason::OrganizationLocked | Reason::NotEntitled) => StatusCode::FORBIDDEN,
            Some(Reason::TrialExpired | Reason::SubscriptionInactive) => StatusCode::PAYMENT_REQUIRED,
            Some(Reason::QuotaExceeded) if self.verdict.status == RefusalStatus::PaymentRequired => {
                StatusCode::PAYMENT_REQUIRED
            }
            Some(Reason::QuotaExceeded) => StatusCode::TOO_MANY_REQUESTS,
        }
    }

    /// A refusal as a problem that contains the decision: what `?status=native` asks for.
    pub fn problem(&self, text: bool) -> ApiError {
        let violated = self.limits().filter(|(_, state)| state.violated);
        let policies = violated.map(|(meter, state)| format!("{meter}-{}", state.window.as_str())).collect();
        let error = match self.verdict.reason {
            Some(Reason::QuotaExceeded) => ApiError::quota_exceeded(self.status(), policies),
            Some(reason) => ApiError::new(self.status(), reason.as_str(), refusal(reason)),
            None => ApiError::internal("an allowed decision is no problem"),
        };
        error.with_member("decision", &self.body(text))
    }

    /// How much of its tightest limit is left: of an array the headers show the item with least.
    pub fn tightness(&self) -> i64 {
        self.verdict.limits.iter().map(|state| state.remaining.units()).min().unwrap_or(i64::MAX)
    }
}

const fn refusal(reason: Reason) -> &'static str {
    match reason {
        Reason::OrganizationLocked => "The organization is locked by an operator.",
        Reason::TrialExpired => "The organization's trial is over.",
        Reason::SubscriptionInactive => "The organization's subscription is not paid.",
        Reason::NotEntitled => "The organization's plan does not have this meter.",
        Reason::QuotaExceeded => "The organization has used what it may of this meter.",
    }
}

/// The names of the meters of verdicts.
pub fn meter_key<'s>(snapshot: &'s Snapshot, verdict: &Verdict) -> &'s str {
    snapshot.meter_key(verdict.meter)
}

/// A JSON answer.
pub fn json(status: StatusCode, body: &impl Serialize) -> Response<Body> {
    let mut text = Text::for_decisions(1);
    let written = text.value(body);
    written_json(status, text, written)
}

/// The JSON answer in `text`, if all of it could be written.
pub fn written_json(status: StatusCode, text: Text, written: serde_json::Result<()>) -> Response<Body> {
    if let Err(error) = written {
        return ApiError::internal(error).response(None);
    }
    let text = text.into_bytes();
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.reserve(USUAL_HEADERS);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
