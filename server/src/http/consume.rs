//! `POST /v1/consume` and `POST /v1/check`: the hot route (D1, D2, D4, D9, D10).

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use metergate_rules::command::Item;
use metergate_rules::id::IdempotencyKey;
use metergate_rules::role::Right;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::decision::{Answered, DecisionBody, DecisionRef, Text, json, meter_key, written_json};
use super::error::ApiError;
use super::request_id::RequestId;
use super::state::App;
use super::{idempotency, json as json_body};
use crate::catalogue::Snapshot;
use crate::store::{Answers, Caller, ConsumeRequest, Receipt, Request, StoreError};

use ask::quantity_of;
pub(super) use ask::unmeasured;
pub(super) use elsewhere::refuse_elsewhere;
use elsewhere::{Ruled, in_pieces};

pub(super) mod apart;
mod ask;
mod check;
mod early;
mod elsewhere;
mod undecided;

/// Decisions in one array at most.
pub const MOST_ITEMS: usize = 1000;
/// Meters in one decision together at most.
pub const MOST_TOGETHER: usize = 100;
/// The longest `properties` in bytes.
pub(super) const MOST_PROPERTIES: usize = 16 * 1024;

/// What is asked: one decision on one meter, or with `together` one on several.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConsumeBody<'a> {
    #[serde(borrow)]
    organization: Cow<'a, str>,
    #[serde(borrow, default)]
    meter: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    quantity: Option<&'a RawValue>,
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    properties: Option<&'a RawValue>,
    #[serde(borrow, default)]
    together: Option<Vec<TogetherItem<'a>>>,
    #[serde(default)]
    duration_ms: Option<u32>,
    #[serde(default)]
    status: Option<u16>,
}

/// So much of one of several meters.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TogetherItem<'a> {
    #[serde(borrow)]
    meter: Cow<'a, str>,
    #[serde(borrow, default)]
    quantity: Option<&'a RawValue>,
    #[serde(borrow, default)]
    properties: Option<&'a RawValue>,
}

/// How the answer is to be written: `?status=native`, `?numbers=string`.
#[derive(Clone, Copy, Default)]
struct Manner {
    native: bool,
    text: bool,
}

impl Manner {
    fn of(query: Option<&str>) -> Result<Self, ApiError> {
        let mut manner = Self::default();
        for pair in query.unwrap_or("").split('&').filter(|pair| !pair.is_empty()) {
            match pair {
                "status=native" => manner.native = true,
                "numbers=string" => manner.text = true,
                _ => {
                    return Err(ApiError::invalid(format!("?{pair}"), "Known here: status=native and numbers=string."));
                }
            }
        }
        Ok(manner)
    }
}

/// Whether use is recorded or only asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `POST /v1/consume`.
    Consume,
    /// `POST /v1/check`.
    Check,
}

/// A call as it came in.
pub struct Call<'a> {
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Its query.
    pub query: Option<&'a str>,
    /// Its body.
    pub body: &'a [u8],
    /// Its id, for problems.
    pub request: RequestId,
}

/// Answers a decision, an array of them, or one on several meters together.
///
/// # Errors
/// What is wrong with the call as a whole; an item's own error stands in its place.
pub async fn consume(app: &App, mode: Mode, call: Call<'_>) -> Result<Response<Body>, ApiError> {
    let Call { headers, query, body, request } = call;
    let caller = app.identify(headers, &Method::POST).await?.may(Right::Consume)?;
    let manner = Manner::of(query)?;
    if body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
        let (elements, header) = (elements(body)?, idempotency::key(headers)?);
        let snapshot = app.snapshot_with(|known| elements.iter().flatten().all(|asked| asked.is_of(known))).await;
        return Asking { app, mode, snapshot: &snapshot, caller, manner, request }.array(&elements, header).await;
    }
    let asked: ConsumeBody<'_> = json_body::parse(body)?;
    let header = if asked.id.is_none() { idempotency::key(headers)? } else { None };
    let header = header.map(|key| (key, None));
    let snapshot = app.snapshot_with(|known| asked.is_of(known)).await;
    Asking { app, mode, snapshot: &snapshot, caller, manner, request }.single(&asked, header).await
}

impl ConsumeBody<'_> {
    /// Whether all meters that it names are there.
    fn is_of(&self, snapshot: &Snapshot) -> bool {
        let together = self.together.iter().flatten().map(|one| &one.meter);
        self.meter.iter().chain(together).all(|meter| snapshot.meter(meter).is_some())
    }
}

/// The header's key, with the place in an array.
type HeaderKey = (IdempotencyKey, Option<usize>);

type Element<'a> = Result<ConsumeBody<'a>, ApiError>;

/// The elements of an array, read at once where all are good; else one by one, so that a wrong one spoils only itself.
fn elements(body: &[u8]) -> Result<Vec<Element<'_>>, ApiError> {
    if let Ok(all) = serde_json::from_slice::<Vec<ConsumeBody<'_>>>(body) {
        return Ok(all.into_iter().map(Ok).collect());
    }
    Ok(json_body::elements(body)?.into_iter().map(|element| json_body::parse(element.get().as_bytes())).collect())
}

/// A decision of an array, with what was asked.
struct Decided<'a> {
    asked: &'a ConsumeBody<'a>,
    ruled: Ruled,
    items: Vec<Item>,
}

struct Asking<'a> {
    app: &'a App,
    mode: Mode,
    snapshot: &'a Arc<Snapshot>,
    caller: Caller,
    manner: Manner,
    request: RequestId,
}

#[derive(Serialize)]
struct TogetherBody<'a> {
    allowed: bool,
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    data: Vec<DecisionBody<'a>>,
}

impl<'s> Asking<'s> {
    async fn single(&self, asked: &ConsumeBody<'_>, header: Option<HeaderKey>) -> Result<Response<Body>, ApiError> {
        let request = self.prepare(asked, header)?;
        let items = request.consume.items.clone();
        let ruled = self.one(request).await?;
        if asked.together.is_some() {
            return Ok(self.together(asked, &ruled, &items));
        }
        let Some(answered) = self.answered(asked, &ruled, &items).pop() else {
            return Err(ApiError::internal("a decision without a verdict"));
        };
        let mut response = if self.manner.native && !answered.allowed {
            answered.problem(self.manner.text).response(Some(&self.request))
        } else {
            let mut text = Text::for_decisions(1);
            let written = text.decision(&answered.body(self.manner.text));
            written_json(StatusCode::OK, text, written)
        };
        answered.write_headers(response.headers_mut(), self.app.shared.rate_headers);
        mark_replayed(&mut response, ruled.receipt.replayed);
        Ok(response)
    }

    async fn array(
        &self,
        elements: &[Element<'_>],
        header: Option<IdempotencyKey>,
    ) -> Result<Response<Body>, ApiError> {
        if elements.len() > MOST_ITEMS {
            return Err(ApiError::payload_too_large(format!(
                "An array has at most {MOST_ITEMS} decisions. Send several."
            )));
        }
        let mut requests = Vec::with_capacity(elements.len());
        let prepared: Vec<_> = elements
            .iter()
            .enumerate()
            .map(|(index, element)| {
                let asked = element.as_ref().map_err(Clone::clone)?;
                if asked.together.is_some() {
                    return Err(ApiError::invalid(
                        "#/together",
                        "Decisions together cannot stand in an array: send them apart.",
                    ));
                }
                // Each element is a decision of its own, so the header's key has a place for each.
                let header = header.clone().filter(|_| asked.id.is_none()).map(|key| (key, Some(index)));
                let request = self.prepare(asked, header)?;
                let items = request.consume.items.clone();
                requests.push(request);
                Ok((asked, items))
            })
            .collect();
        let mut rulings = self.each(requests).await?.into_iter();
        let decided: Vec<Result<Decided<'_>, ApiError>> = prepared
            .into_iter()
            .map(|prepared| {
                let (asked, items) = prepared?;
                let ruled = rulings.next().unwrap_or_else(|| Err(ApiError::internal("no answer")))?;
                Ok(Decided { asked, ruled, items })
            })
            .collect();
        Ok(self.write_array(&decided))
    }

    fn write_array(&self, decided: &[Result<Decided<'_>, ApiError>]) -> Response<Body> {
        let (mut text, mut tightest) = (Text::for_decisions(decided.len()), None::<Answered<'_>>);
        text.raw("{\"data\":[");
        let mut written = Ok(());
        for (index, result) in decided.iter().enumerate() {
            text.raw(if index == 0 { "" } else { "," });
            let one = match result {
                Ok(Decided { asked, ruled, items }) => {
                    let answered = self.answered(asked, ruled, items).pop();
                    answered.ok_or_else(|| ApiError::internal("a decision without a verdict"))
                }
                Err(error) => Err(error.clone()),
            };
            let one = match one {
                Ok(answered) => {
                    let one = text.decision(&answered.body(self.manner.text));
                    if tightest.as_ref().is_none_or(|least| answered.tightness() < least.tightness()) {
                        tightest = Some(answered);
                    }
                    one
                }
                Err(error) => text.value(&error.in_element(index).to_value(None)),
            };
            written = written.and(one);
        }
        text.raw("]}");
        let mut response = written_json(StatusCode::OK, text, written);
        if let Some(answered) = tightest {
            answered.write_headers(response.headers_mut(), self.app.shared.rate_headers);
        }
        response
    }

    fn together(&self, asked: &ConsumeBody<'_>, ruled: &Ruled, items: &[Item]) -> Response<Body> {
        let answered = self.answered(asked, ruled, items);
        let refused = answered.iter().filter(|one| one.verdict.reason.is_some()).min_by_key(|one| one.verdict.reason);
        let body = TogetherBody {
            allowed: refused.is_none(),
            reason: refused.and_then(|one| one.verdict.reason).map(|reason| reason.as_str()),
            id: asked.id.as_deref(),
            data: answered.iter().map(|one| one.body(self.manner.text)).collect(),
        };
        let mut response = match refused {
            Some(one) if self.manner.native => {
                one.problem(self.manner.text).with_member("decision", &body).response(Some(&self.request))
            }
            _ => json(StatusCode::OK, &body),
        };
        if let Some(least) = answered.iter().min_by_key(|one| (one.allowed, one.tightness())) {
            least.write_headers(response.headers_mut(), self.app.shared.rate_headers);
        }
        mark_replayed(&mut response, ruled.receipt.replayed);
        response
    }

    /// Each verdict with what its answer needs.
    fn answered<'a>(&'a self, asked: &'a ConsumeBody<'_>, ruled: &'a Ruled, items: &[Item]) -> Vec<Answered<'a>> {
        let receipt = &ruled.receipt;
        let allowed = receipt.verdicts.iter().all(|verdict| verdict.reason.is_none());
        let id = match (&asked.id, receipt.place) {
            (Some(id), _) => DecisionRef::Given(id),
            (None, Some(place)) => DecisionRef::Place(place),
            (None, None) => DecisionRef::Nowhere,
        };
        let answer = |(verdict, item): (&'a metergate_rules::outcome::Verdict, &Item)| Answered {
            organization: receipt.organization.as_str(),
            meter: meter_key(self.snapshot, verdict),
            decimals: self.snapshot.decimals(verdict.meter),
            id,
            quantity: quantity_of(item).units(),
            verdict,
            at: receipt.at,
            allowed,
            degraded: ruled.degraded,
        };
        receipt.verdicts.iter().zip(items).map(answer).collect()
    }

    /// Decides, or for a check only asks.
    async fn run(&self, requests: Vec<ConsumeRequest>) -> Result<Vec<Result<Ruled, ApiError>>, ApiError> {
        let (mut answers, mut passable, mut asked) = (Vec::new(), Vec::new(), Vec::new());
        for request in requests {
            let before = self.passed_before(&request);
            if before.is_none() {
                passable.push(self.passable(&request));
                asked.push(request);
            }
            answers.push(before);
        }
        let (is_all, mut is_answered) = (asked.len() == answers.len(), asked.is_empty());
        let receipts = if asked.is_empty() { Vec::new() } else { self.recorded(asked).await? };
        let (mut decided, mut passing) = (Vec::with_capacity(receipts.len()), Vec::new());
        for (receipt, request) in receipts.into_iter().zip(passable) {
            is_answered |= receipt != Err(StoreError::Unreached) || request.is_some();
            decided.push(match receipt {
                Ok(Receipt::Decided(decided)) => Some(Ok(decided.into())),
                Ok(_) => Some(Err(ApiError::internal("a decision was answered with something else"))),
                Err(StoreError::Unreached) => {
                    passing.push(self.undecided(request));
                    None
                }
                Err(error) => Some(Err(error.into())),
            });
        }
        // Those that pass undecided wait for the disk together.
        let mut passed = in_pieces(passing).await.into_iter();
        // Where nothing of it can be answered the call has failed, not each of its items.
        if is_all && !is_answered {
            return Err(StoreError::Unavailable.into());
        }
        let mut decided = decided.into_iter().map(|answer| answer.or_else(|| passed.next()));
        let missing = || Err(ApiError::internal("no answer"));
        Ok(answers
            .into_iter()
            .map(|before| before.unwrap_or_else(|| decided.next().flatten().unwrap_or_else(missing)))
            .collect())
    }

    /// What the record says of each.
    async fn recorded(&self, asked: Vec<ConsumeRequest>) -> Answers {
        let count = asked.len();
        let answers = match self.mode {
            Mode::Check => self.check(asked).await,
            Mode::Consume => {
                let requests = asked.into_iter().map(|request| Request::Consume(Box::new(request))).collect();
                self.app.shared.store.execute(&self.app.port, requests).await
            }
        };
        match answers {
            Err(StoreError::Unreached) => Ok(vec![Err(StoreError::Unreached); count]),
            answers => answers,
        }
    }
}

fn mark_replayed(response: &mut Response<Body>, replayed: bool) {
    if replayed {
        response.headers_mut().insert("idempotent-replayed", HeaderValue::from_static("true"));
    }
}
