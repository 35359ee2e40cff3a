//! What every handler of a core has at hand.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode};
use governor::DefaultKeyedRateLimiter;
use governor::clock::Clock as _;
use metergate_rules::decide::Problem;
use metergate_rules::id::MeterId;
use metergate_rules::meter::Meter;
use metergate_rules::role::Right;
use metergate_rules::time::Time;

use super::attempts::Attempts;
use super::auth::cookie::Cookies;
use super::auth::{self, Credential};
use super::error::{ApiError, Fault};
use super::rate::Sent;
use super::reports::{organization, report_to};
use crate::catalogue::{Snapshot, TeamRequest};
use crate::config::Networks;
use crate::degraded::Degradation;
use crate::fleet::Fleet;
use crate::jobs::Jobs;
use crate::live::Live;
use crate::openid::Provider;
use crate::outbox::address::Guard;
use crate::people::change::PeopleRequest;
use crate::people::password::Passwords;
use crate::redis::marks::Marks;
use crate::redis::rates::Rates;
use crate::spool::Spool;
use crate::store::reader::{ReadError, View};
use crate::store::{Answer, Caller, ChangeRequest, Port, Receipt, Request, Store, StoreError};
use crate::stripe::Stripe;

/// What all cores share.
pub struct Shared {
    /// The store.
    pub store: Arc<Store>,
    /// What all organizations look like, while somebody asks.
    pub fleet: Arc<Fleet>,
    /// Those who follow events.
    pub live: Live,
    /// The hash of the administrator's key.
    pub admin_key: [u8; 32],
    /// The hash of the timer's secret, where one is set.
    pub cron_secret: Option<[u8; 32]>,
    /// How the cookies of sessions are written and read.
    pub cookies: Cookies,
    /// Where passwords are hashed.
    pub passwords: Passwords,
    /// Sign-ins and registrations of late.
    pub attempts: Attempts,
    /// Proxies that say from where a request comes.
    pub trusted_proxies: Networks,
    /// Whether mail is sent to people.
    pub mails: bool,
    /// Where webhooks may go.
    pub webhooks: Guard,
    /// By what people sign in, apart from passwords.
    pub provider: Option<Provider>,
    /// What is configured of Stripe.
    pub stripe: Option<Arc<Stripe>>,
    /// What is decided in Redis, where there is one.
    pub rates: Option<Rates>,
    /// Refusals that the record need not give again, where a Redis stands beside a PostgreSQL.
    pub marks: Option<Marks>,
    /// What has passed without a decision.
    pub degradation: Degradation,
    /// Where that is kept until it can be recorded, where the record is a PostgreSQL.
    pub spool: Option<Arc<Spool>>,
    /// Whether an organization that nobody has created is created when it is first used.
    pub creates_organizations: bool,
    /// Which rate headers decisions carry.
    pub rate_headers: Sent,
    /// The bound of every key's own request rate.
    pub key_rate: Option<DefaultKeyedRateLimiter<Arc<str>>>,
    /// The same bound, to show.
    pub key_rate_per_second: Option<u32>,
    /// The largest body in bytes.
    pub max_body_bytes: usize,
    /// From the first to the last byte of a body.
    pub body_timeout: Duration,
    /// Whether the server is being stopped.
    pub draining: tokio::sync::watch::Receiver<bool>,
    /// Long work that goes on or has ended.
    pub jobs: Arc<Jobs>,
    /// One export goes on at a time: each holds a snapshot.
    pub exporting: Arc<tokio::sync::Semaphore>,
    /// One aggregation goes on at a time.
    pub aggregating: Arc<tokio::sync::Semaphore>,
    /// Older entries of the audit log go into one file at a time.
    pub pruning: Arc<tokio::sync::Semaphore>,
    /// Records whose ids are not known any more are looked for by one at a time.
    pub looking: Arc<tokio::sync::Semaphore>,
    /// For how long ids are known, in microseconds.
    pub keep_ids: i64,
    /// The folder of those files.
    pub audit_dir: PathBuf,
    /// The data folder.
    pub data_dir: PathBuf,
    /// The folder below which backups are written.
    pub backup_dir: PathBuf,
    /// What `/metrics` shows.
    pub metrics: metrics_exporter_prometheus::PrometheusHandle,
}

/// One core's share: cheap to clone.
#[derive(Clone)]
pub struct App {
    /// What all cores share.
    pub shared: Arc<Shared>,
    /// This core's door to the store.
    pub port: Port,
}

impl App {
    /// Meters, plans and keys in force.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.shared.store.catalogue()
    }

    /// The same. Where something is missing in them that another node may have made a moment ago, as they are after a look.
    pub async fn snapshot_with(&self, has_all: impl FnOnce(&Snapshot) -> bool) -> Arc<Snapshot> {
        let snapshot = self.snapshot();
        if has_all(&snapshot) {
            return snapshot;
        }
        self.shared.store.catch_up().await;
        self.snapshot()
    }

    /// A meter.
    ///
    /// # Errors
    /// 404 where there is none of this key.
    pub async fn meter(&self, key: &str) -> Result<Arc<Meter>, ApiError> {
        let snapshot = self.snapshot_with(|known| known.meter(key).is_some()).await;
        snapshot.meter(key).cloned().ok_or_else(ApiError::unknown_meter)
    }

    /// The number of a meter that may be named.
    ///
    /// # Errors
    /// As [`Self::meter`].
    pub async fn meter_if_any(&self, key: Option<&str>) -> Result<Option<MeterId>, ApiError> {
        let Some(key) = key else { return Ok(None) };
        Ok(Some(self.meter(key).await?.id))
    }

    /// The time by which the store decides.
    pub fn now(&self) -> Time {
        self.shared.store.now()
    }

    /// Finds who calls, within its own request rate.
    ///
    /// # Errors
    /// As [`Self::known`], and 429 above the key's rate.
    pub async fn identify(&self, headers: &HeaderMap, method: &Method) -> Result<Credential, ApiError> {
        let credential = self.known(headers, method).await?;
        if let (Some(limiter), Some(id)) = (&self.shared.key_rate, &credential.key_id)
            && let Err(early) = limiter.check_key(id)
        {
            let wait = early.wait_time_from(governor::clock::DefaultClock::default().now());
            return Err(ApiError::too_many_requests(wait.as_secs() + 1));
        }
        Ok(credential)
    }

    /// Finds who calls, also by a key or a session that another node has made a moment ago.
    ///
    /// # Errors
    /// 401 without a credential in force.
    pub async fn known(&self, headers: &HeaderMap, method: &Method) -> Result<Credential, ApiError> {
        let find = || auth::authenticate(headers, method, &self.shared, &self.snapshot(), self.now());
        match find() {
            Err(error) if error.status() == StatusCode::UNAUTHORIZED && auth::may_be_known(headers, &self.shared) => {
                self.shared.store.catch_up().await;
                find()
            }
            known => known,
        }
    }

    /// Runs one command.
    ///
    /// # Errors
    /// The command's own, or the store's.
    pub async fn execute_one(&self, request: Request) -> Result<Receipt, ApiError> {
        let answers = self.shared.store.execute(&self.port, vec![request]).await;
        let answer = answers.and_then(|mut answers| answers.pop().unwrap_or(Err(StoreError::Internal)));
        answer.map_err(ApiError::from)
    }

    /// Runs commands that are answered together.
    ///
    /// # Errors
    /// The store's. Each command's own are in the answers.
    pub async fn execute(&self, requests: Vec<Request>) -> Result<Vec<Result<Receipt, StoreError>>, ApiError> {
        Ok(self.shared.store.execute(&self.port, requests).await?)
    }

    /// Changes what is the team's.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn change_team(&self, request: TeamRequest) -> Result<(Answer, bool), ApiError> {
        match self.shared.store.change_team(&self.port, request).await? {
            Receipt::Answered { answer, replayed } => Ok((answer, replayed)),
            _ => Err(ApiError::internal("a change of the team's was answered with something else")),
        }
    }

    /// Deletes an organization.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn delete(&self, request: ChangeRequest) -> Result<(Answer, bool), ApiError> {
        match self.shared.store.delete(&self.port, request).await? {
            Receipt::Answered { answer, replayed } => Ok((answer, replayed)),
            _ => Err(ApiError::internal("a deletion was answered with something else")),
        }
    }

    /// Changes people.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn change_people(&self, request: PeopleRequest) -> Result<(Answer, bool), ApiError> {
        match self.shared.store.change_people(&self.port, request).await? {
            Receipt::Answered { answer, replayed } => Ok((answer, replayed)),
            _ => Err(ApiError::internal("a change of people was answered with something else")),
        }
    }

    /// Lets a caller to an organization who has a right there, before anything else is looked at. The writer asks again.
    ///
    /// # Errors
    /// 404 where the organization does not exist for the caller, 403 where their role does not suffice or a lock holds.
    pub async fn admit(&self, credential: &Credential, right: Right, org: &str) -> Result<Caller, ApiError> {
        let caller = credential.may(right)?;
        if caller.is_member() {
            let (org, scope) = (organization(org)?, caller.scope);
            let locked = report_to(self, scope, false, move |report| report.is_locked(&org)).await?;
            if locked && right.changes() {
                return Err(Problem::Locked.into());
            }
        }
        Ok(caller)
    }

    /// Reads at one snapshot.
    ///
    /// # Errors
    /// What `read` answers, or 503.
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&View<'_>) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ApiError> {
        Ok(self.shared.store.reader().read(read).await?)
    }
}

/// For handlers: who calls.
impl FromRequestParts<App> for Credential {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        app.identify(&parts.headers, &parts.method).await
    }
}

/// For handlers: an operator. Anybody else is 403 before anything else is looked at.
pub struct Operator {
    /// In whose name it is done.
    pub caller: Caller,
    /// As whom it begins long work.
    pub beginner: Option<Arc<str>>,
}

impl FromRequestParts<App> for Operator {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let credential = app.identify(&parts.headers, &parts.method).await?;
        let caller = credential.may(Right::Operate)?;
        Ok(Self { caller, beginner: credential.beginner() })
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable | StoreError::Unreached => Self::unavailable(1),
            StoreError::DiskFull => Self::disk_full(),
            StoreError::Damaged => Self::damaged(),
            StoreError::UnknownOrganization => Self::unknown_organization(),
            StoreError::Forbidden => Self::forbidden("Your role in this organization does not allow this."),
            StoreError::OrganizationKeyTaken => {
                Self::conflict("organization-key-taken", "Another organization has this key.")
            }
            StoreError::SubscriptionTaken => Self::conflict(
                "subscription-taken",
                "Another organization has this subscription: take it from there first.",
            ),
            StoreError::Mismatch => Self::idempotency_mismatch(),
            StoreError::Changed => Self::precondition_failed(),
            StoreError::Problem(problem) => problem.into(),
            StoreError::Catalogue { code, status, detail } => {
                let status = axum::http::StatusCode::from_u16(status).unwrap_or_default();
                let fault = detail.split_once(": ").filter(|(pointer, _)| pointer.starts_with(['#', '?']));
                let fault = fault.map(|(pointer, detail)| Fault::new(pointer, detail));
                let error = Self::new(status, code, detail);
                fault.into_iter().fold(error, Self::with_fault)
            }
            StoreError::Internal => Self::internal("the writer reported a defect, see the log above"),
        }
    }
}

impl From<Problem> for ApiError {
    fn from(problem: Problem) -> Self {
        match problem {
            Problem::InvalidQuantity(why) => Self::invalid_quantity("#/quantity", why),
            Problem::TokenKinds(why) => Self::invalid("#/properties/cachedInputTokens", why.to_string()),
            Problem::UnknownMeter => Self::unknown_meter(),
            Problem::UnknownPlan => Self::unknown_plan(),
            Problem::NotAdjustable => Self::invalid("#/meter", problem.to_string()),
            Problem::AdjustsTooMuch(_) => Self::invalid("#/quantity", problem.to_string()),
            Problem::FutureAdjustment => Self::invalid("#/time", problem.to_string()),
            Problem::CycleTooFar => Self::invalid("#/billingCycleStartDate", problem.to_string()),
            Problem::CycleMovedRecently(months) => Self::conflict(
                "cycle-moved-recently",
                format!(
                    "The next reset was brought forward within the last {months} months. Ask an operator of the platform to do it."
                ),
            ),
            Problem::CycleOwnedBySubscription => Self::conflict(
                "cycle-owned-by-subscription",
                "The billing cycle is that of the organization's subscription: change it there.",
            ),
            Problem::NoTrial => Self::conflict("no-trial", "The organization has never had a trial."),
            Problem::Locked => Self::new(
                axum::http::StatusCode::FORBIDDEN,
                "organization-locked",
                "The organization is locked: until an operator unlocks it, its members can only read.",
            ),
            Problem::NotATest => Self::conflict(
                "not-a-test-organization",
                "Only a test organization has a clock of its own: create one with \"test\": true.",
            ),
            Problem::TooMuchDue => Self::invalid("#/now", problem.to_string()),
            Problem::ClockRunsBack => Self::conflict(
                "clock-runs-back",
                "Something was recorded already, so the clock can only be moved forward.",
            ),
            Problem::UnknownGrant | Problem::UnknownReservation | Problem::UnknownEntry | Problem::UnknownEvent => {
                Self::not_found()
            }
            Problem::AlreadyVoid => Self::conflict("already-void", "The event is void already: nothing of it counts."),
            Problem::AlreadyComplete => Self::conflict("already-complete", problem.to_string()),
            Problem::TooManyVoids => Self::conflict("too-many-voids", problem.to_string()),
            Problem::NotVoidable => Self::conflict("not-voidable", problem.to_string()),
            Problem::OwnAction | Problem::InvalidAction => Self::invalid("#/action", problem.to_string()),
            Problem::UnknownCategory => Self::invalid("#/category", problem.to_string()),
            Problem::NotReservable => Self::invalid("#/meter", problem.to_string()),
            Problem::InvalidTtl => Self::invalid("#/ttlSeconds", problem.to_string()),
            Problem::ReservationOver(_) => Self::conflict("reservation-over", "The reservation is over."),
            Problem::TooManyReservations => Self::conflict(
                "too-many-reservations",
                "The organization has as many open reservations as it may. Commit or release some first.",
            ),
            Problem::Inconsistent(what) => Self::internal(what),
            Problem::MeterTwice => Self::invalid("#/together", problem.to_string()),
            Problem::FutureEvent => Self::invalid("#/time", problem.to_string()),
            Problem::NotGrantable => Self::invalid("#/meter", problem.to_string()),
            Problem::NotARate => Self::invalid("#/window", problem.to_string()),
            Problem::EndsTooEarly | Problem::InvalidId(_) => Self::invalid("#", problem.to_string()),
        }
    }
}
