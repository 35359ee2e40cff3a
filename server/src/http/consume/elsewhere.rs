//! Decisions on meters of which nothing is recorded, where there is a Redis that counts their minutes and hours (R2), and what
//! is answered where it cannot be asked (D13).

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use metergate_rules::account::Account;
use metergate_rules::command::Item;
use metergate_rules::decide::rate::Rate;
use metergate_rules::id::{MeterId, OrganizationId, OrganizationRef};
use metergate_rules::outcome::Verdict;
use metergate_rules::plan::Degraded;
use metergate_rules::quantity::Quantity;
use metergate_rules::time::SECOND;
use sha2::{Digest, Sha256};

use super::super::error::ApiError;
use super::super::state::App;
use super::{Asking, Mode};
use crate::catalogue::Snapshot;
use crate::clock;
use crate::redis::accounts::{FRESH, STALE};
use crate::redis::rates::{Decision, Once, Rates};
use crate::store::{Caller, ConsumeRequest, DecidedReceipt, Key, StoreError};

/// Seconds after which to ask again where it could not be decided.
pub(super) const ASK_AGAIN: u64 = 1;
/// How long a call waits at most for accounts of which nothing is known, all of them together, in microseconds.
const READING: i64 = 5 * SECOND / 2;
/// How long it waits for an account that was read a while ago.
const SOON: Duration = Duration::from_millis(100);
/// Items of an array that are asked for together: each has a tenth of a second, from when it is sent, and all of them together
/// less than the deadline of a call.
const AT_ONCE: usize = 40;

/// An account, or why it cannot be had.
type Known = Result<Arc<Account>, ApiError>;

/// A decision with how it came about.
pub(super) struct Ruled {
    /// The decision.
    pub(super) receipt: DecidedReceipt,
    /// It could not be decided, and the meter's policy let it pass.
    pub(super) degraded: bool,
}

impl From<DecidedReceipt> for Ruled {
    fn from(receipt: DecidedReceipt) -> Self {
        Self { degraded: receipt.degraded, receipt }
    }
}

impl Asking<'_> {
    /// Decides each where its meter is counted.
    pub(super) async fn decide(&self, requests: Vec<ConsumeRequest>) -> Result<Vec<Result<Ruled, ApiError>>, ApiError> {
        let Some(rates) = &self.app.shared.rates else { return self.run(requests).await };
        let until = clock::boot() + READING;
        let accounts: Vec<_> = requests.iter().map(|request| self.account_of(rates, request, until)).collect();
        let accounts = in_pieces(accounts).await;
        // In their order: those of one organization stand so in the line to its server, too.
        let asked = requests.iter().zip(accounts);
        let asked: Vec<_> = asked.map(|(request, account)| self.elsewhere(rates, request, account)).collect();
        let found = in_pieces(asked).await;
        let (mut answers, mut rest) = (Vec::with_capacity(requests.len()), Vec::new());
        for (request, answer) in requests.into_iter().zip(found) {
            if answer.is_none() {
                rest.push(request);
            }
            answers.push(answer);
        }
        let mut stored = if rest.is_empty() { Vec::new() } else { self.run(rest).await? }.into_iter();
        let missing = || Err(ApiError::internal("no answer"));
        let answers = answers.into_iter();
        Ok(answers.map(|answer| answer.unwrap_or_else(|| stored.next().unwrap_or_else(missing))).collect())
    }

    /// The account whose limits are asked; `None` where it is no decision in Redis.
    async fn account_of(&self, rates: &Rates, request: &ConsumeRequest, until: i64) -> Option<Known> {
        if request.consume.items.iter().all(|item| is_recorded(self.snapshot, item)) {
            return None;
        }
        match account(self.app, rates, &request.caller, &request.organization, until).await {
            Ok(account) => Some(Ok(account)),
            Err(error @ (StoreError::Unavailable | StoreError::Unreached)) => Some(Err(error.into())),
            // Whoever is unknown may be created by the store, or is answered by it.
            Err(_) => None,
        }
    }

    /// The decision in Redis; `None` where it is the account's.
    async fn elsewhere(
        &self,
        rates: &Rates,
        request: &ConsumeRequest,
        account: Option<Known>,
    ) -> Option<Result<Ruled, ApiError>> {
        let account = match account? {
            Ok(account) => account,
            Err(error) => return Some(Err(error)),
        };
        let items = &request.consume.items;
        let settled = match account.at(&self.snapshot.rules, account.own_time(self.app.now())) {
            Ok(settled) => settled.account,
            Err(problem) => return Some(Err(problem.into())),
        };
        let mut asked = items.iter().map(|item| Rate::of(&settled, item, &self.snapshot.rules));
        if let [_] = items[..] {
            let rate = match asked.next()? {
                Ok(rate) => rate?,
                Err(problem) => return Some(Err(problem.into())),
            };
            return Some(self.ask(rates, &settled, &rate, request).await);
        }
        asked.any(|rate| matches!(rate, Ok(Some(_)))).then(|| Err(alone("#/together")))
    }

    async fn ask(
        &self,
        rates: &Rates,
        account: &Account,
        rate: &Rate,
        request: &ConsumeRequest,
    ) -> Result<Ruled, ApiError> {
        let decided = match self.mode {
            Mode::Consume => {
                let id = request.key.as_ref().map(id_of);
                let once = id.map(|id| Once { id, fingerprint: request.fingerprint });
                rates.consume(account.id, rate, once).await
            }
            Mode::Check => rates.check(account.id, rate).await,
        };
        let organization = account.profile.key.clone();
        let receipt = |verdict, replayed, at| {
            let receipt = DecidedReceipt::new(organization, vec![verdict], at);
            DecidedReceipt { replayed, ..receipt }
        };
        match decided {
            Ok(Decision::Decided { verdict, at, replayed }) => Ok(receipt(verdict, replayed, at).into()),
            Ok(Decision::Mismatch) => Err(ApiError::idempotency_mismatch()),
            Err(_) if rate.is_refused() => {
                // A lock needs nobody to count.
                Ok(Ruled {
                    receipt: receipt(rate.verdict(&[], self.app.now(), false), false, self.app.now()),
                    degraded: true,
                })
            }
            Err(_) if self.passes(account.id, rate.meter, rate.policy, rate.quantity) => {
                Ok(Ruled { receipt: receipt(Verdict::undecided(rate.meter), false, self.app.now()), degraded: true })
            }
            Err(_) => Err(self.denied(rate)),
        }
    }

    /// Whether so much passes undecided. A check takes nothing of what is safe.
    pub(super) fn passes(
        &self,
        organization: OrganizationId,
        meter: MeterId,
        policy: Degraded,
        quantity: Quantity,
    ) -> bool {
        let degradation = &self.app.shared.degradation;
        match self.mode {
            Mode::Consume => degradation.allows(organization, meter, policy, quantity),
            Mode::Check => degradation.would_allow(organization, meter, policy, quantity),
        }
    }

    fn denied(&self, rate: &Rate) -> ApiError {
        let meter = self.snapshot.meter_key(rate.meter);
        let policies = rate.bounds().map(|bound| format!("{meter}-{}", bound.window.as_str()));
        ApiError::reduced_capacity(policies.collect(), ASK_AGAIN)
    }
}

/// What cannot be held, nor be decided together with others, since it is counted elsewhere than those.
///
/// # Errors
/// 422 where an item is such; what the store says of the organization.
pub(in crate::http) async fn refuse_elsewhere(
    app: &App,
    snapshot: &Snapshot,
    caller: &Caller,
    organization: &OrganizationRef,
    item: &Item,
) -> Result<(), ApiError> {
    let Some(rates) = app.shared.rates.as_ref().filter(|_| !is_recorded(snapshot, item)) else { return Ok(()) };
    // Who is unknown may be created by the store, and whatever else is wrong is said by it.
    let until = clock::boot() + READING;
    let Ok(account) = account(app, rates, caller, organization, until).await else { return Ok(()) };
    let settled = account.at(&snapshot.rules, account.own_time(app.now()))?.account;
    match Rate::of(&settled, item, &snapshot.rules)? {
        Some(_) => Err(alone("#/meter")),
        None => Ok(()),
    }
}

fn alone(pointer: &str) -> ApiError {
    let detail = "Of this meter nothing is recorded and only minutes and hours are limited, so it is counted apart: it can \
                  neither be held nor be decided together with other meters.";
    ApiError::invalid(pointer, detail)
}

fn is_recorded(snapshot: &Snapshot, item: &Item) -> bool {
    snapshot.rules.meter(item.meter).is_none_or(|meter| meter.record)
}

/// The account, as of a moment ago; until a time since boot, in microseconds, it is waited for where there is none at all.
async fn account(
    app: &App,
    rates: &Rates,
    caller: &Caller,
    organization: &OrganizationRef,
    until: i64,
) -> Result<Arc<Account>, StoreError> {
    let account = match rates.accounts.get(organization, FRESH) {
        Some(account) => account,
        None => newer_account(app, rates, organization, until).await?,
    };
    caller.scope.admits(account.id, &app.shared.store.people())?;
    Ok(account)
}

/// Reads it, for all who ask: who may have it is looked at behind this. Where that does not succeed soon, what is known serves.
async fn newer_account(
    app: &App,
    rates: &Rates,
    organization: &OrganizationRef,
    until: i64,
) -> Result<Arc<Account>, StoreError> {
    let known = rates.accounts.get(organization, STALE);
    let left = Duration::from_micros(u64::try_from(until - clock::boot()).unwrap_or(0));
    let patience = if known.is_some() { left.min(SOON) } else { left };
    let store = Arc::clone(&app.shared.store);
    let read = move |named| {
        let store = Arc::clone(&store);
        async move { store.reader().accounts(named).await }
    };
    let read = match rates.accounts.read(organization, read) {
        Some(reading) => reading.within(patience).await,
        None => None,
    };
    match read {
        None | Some(Err(StoreError::Unavailable | StoreError::Unreached)) => known.ok_or(StoreError::Unavailable),
        Some(read) => read,
    }
}

/// Waits for all of them, so many at a time that the last of these still has its answer in time.
pub(super) async fn in_pieces<F: Future>(mut all: Vec<F>) -> Vec<F::Output> {
    // Most calls ask for one thing.
    if all.len() == 1
        && let Some(only) = all.pop()
    {
        return vec![only.await];
    }
    let (mut all, mut done) = (all.into_iter(), Vec::new());
    loop {
        let piece: Vec<F> = all.by_ref().take(AT_ONCE).collect();
        if piece.is_empty() {
            return done;
        }
        done.extend(join_all(piece).await);
    }
}

/// Each kind of id is a space of its own.
fn id_of(key: &Key) -> [u8; 16] {
    let mut hash = Sha256::new();
    match key {
        Key::Decision(_, id) => hash.update(format!("decision {}", id.as_str())),
        Key::Together(id) => hash.update(format!("together {}", id.as_str())),
        Key::Header(route, key) => hash.update(format!("header {route} {}", key.as_str())),
        Key::Reservation(id) => hash.update(format!("reservation {}", id.0)),
        Key::Ended(id) => hash.update(format!("ended {}", id.0)),
        Key::Completed(place, step) => hash.update(format!("completed {} {} {step}", place.sequence, place.offset)),
    }
    let digest = hash.finalize();
    std::array::from_fn(|i| digest[i])
}
