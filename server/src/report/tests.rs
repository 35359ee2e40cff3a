//! Tests of reports on a real store in a temporary folder.

use std::sync::Arc;

use metergate_rules::account::Profile;
use metergate_rules::command::{Command, Completion, Consume, Event, Item, NewOrganization};
use metergate_rules::id::{DecisionId, EventId, EventSource, MeterId, OrganizationKey, OrganizationRef};
use metergate_rules::meter::{Measure, ValueHash};
use metergate_rules::outcome::Verdict;
use metergate_rules::period::Zone;
use metergate_rules::quantity::Quantity;
use metergate_rules::time::Time;
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::Report;
use crate::catalogue::file::CatalogueFile;
use crate::catalogue::{TeamCommand, TeamRequest};
use crate::clock::Clock;
use crate::store::reader::ReadError;
use crate::store::{
    Answer, Caller, ChangeRequest, ConsumeRequest, Key, Port, Receipt, RecordRequest, Request, Scope, Settings, Store,
    StoreError,
};

mod events;
mod explain;
mod forecast;
mod organizations;
mod standing;
mod usage;
mod whole_days;

/// One meter of each aggregation, and three plans.
const CATALOGUE: &str = r#"
    [meters.calls]
    aggregation = "sum"
    [meters.cost]
    aggregation = "sum"
    decimals = 9
    [meters.hits]
    aggregation = "count"
    [meters.level]
    aggregation = "last"
    dimensions = ["disk"]
    [meters.peak]
    aggregation = "max"
    [meters.tokens]
    aggregation = "sum"
    dimensions = ["model", "region"]
    [meters.users]
    aggregation = "uniqueCount"
    dimensions = ["region"]
    [meters.more_1]
    aggregation = "sum"
    [meters.more_2]
    aggregation = "sum"
    [meters.more_3]
    aggregation = "sum"
    [meters.more_4]
    aggregation = "sum"

    [plans.free]
    limits = [
        { meter = "calls", window = "minute", max = 100 },
        { meter = "calls", window = "day", max = 1000 },
        { meter = "tokens", window = "billingPeriod", max = 100 },
        { meter = "cost", window = "month", max = "1.5", enforcement = "soft" },
        { meter = "level", window = "billingPeriod", max = 50 },
    ]
    features = { sso = false, seats = 3 }
    [plans.closed]
    otherMeters = "none"
    limits = [{ meter = "tokens", window = "billingPeriod", unlimited = true }]
    [plans.trial]
    trial = { days = 30, onEnd = "lock" }
"#;

/// A store with the catalogue, and one core that calls it.
struct Kit {
    store: Store,
    port: Port,
    runtime: Runtime,
    _folder: TempDir,
}

/// An event as the tests write it.
#[derive(Clone, Debug)]
struct Happened {
    meter: &'static str,
    time: Time,
    units: i64,
    dimensions: String,
}

fn happened(meter: &'static str, time: &str, units: i64) -> Happened {
    Happened { meter, time: time.parse().unwrap(), units, dimensions: String::new() }
}

fn organization(key: &str) -> OrganizationRef {
    key.parse().unwrap()
}

fn caller() -> Caller {
    Caller { scope: Scope::Team, actor: Arc::from("key:test") }
}

/// What a body is on the wire.
fn json(body: &impl serde::Serialize) -> Value {
    serde_json::from_str(&serde_json::to_string(body).unwrap()).unwrap()
}

impl Kit {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(Settings::in_folder(folder.path()), Clock::start()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let port = store.port();
        runtime.spawn(port.clone().receive());
        let kit = Self { store, port, runtime, _folder: folder };
        let command = TeamCommand::Apply(CatalogueFile::parse(CATALOGUE).unwrap());
        let respond =
            Arc::new(|_: &crate::catalogue::TeamAfter<'_>| Answer { status: 200, body: Vec::new(), version: None });
        let (actor, reason) = (Arc::from("system"), String::new());
        let request = TeamRequest { actor, reason, receipt: None, command, only_if_version: None, respond };
        kit.runtime.block_on(kit.store.change_team(&kit.port, request)).unwrap();
        kit
    }

    fn meter(&self, key: &str) -> MeterId {
        self.store.catalogue().meter(key).unwrap().id
    }

    fn execute(&self, requests: Vec<Request>) -> Vec<Receipt> {
        let answers = self.runtime.block_on(self.store.execute(&self.port, requests)).unwrap();
        answers.into_iter().map(Result::unwrap).collect()
    }

    fn create(&self, key: &str, plan: &str, zone: &str) {
        let plan = self.store.catalogue().rules.newest_plan(plan).unwrap().id;
        let profile = Profile {
            key: OrganizationKey::new(key).unwrap(),
            name: format!("Name of {key}"),
            zone: Zone::new(zone).unwrap(),
            test: false,
            metadata: "{\"crm\": 7}".to_owned(),
            created_at: Time::default(),
        };
        self.change(key, Command::Create(NewOrganization { profile, plan, first_used: None }));
    }

    fn change(&self, key: &str, command: Command) {
        let respond = Arc::new(|_: &crate::store::After<'_>| Answer { status: 200, body: Vec::new(), version: None });
        let change = ChangeRequest {
            caller: caller(),
            organization: organization(key),
            reason: "a test".to_owned(),
            receipt: None,
            command,
            only_if_changes: None,
            respond,
        };
        self.execute(vec![Request::Change(Box::new(change))]);
    }

    fn item(&self, meter: &str, units: i64, dimensions: &str) -> Item {
        let catalogue = self.store.catalogue();
        let meter = catalogue.meter(meter).unwrap();
        let value = ValueHash(u128::from(units.unsigned_abs()).to_be_bytes());
        let measure: Measure = meter.measure(Quantity::new(units).unwrap(), Some(value)).unwrap();
        Item { meter: meter.id, measure, dimensions: dimensions.to_owned() }
    }

    /// Records events in commits of a thousand. Their ids are numbered from `first`.
    fn record(&self, key: &str, first: usize, all: &[Happened]) {
        let request = |(i, it): (usize, &Happened)| {
            let event = Event {
                id: EventId::new(&format!("e-{i}")).unwrap(),
                source: EventSource::new("/test").unwrap(),
                event_type: self.store.catalogue().meter(it.meter).unwrap().event_type.clone(),
                time: Some(it.time),
                data: format!("{{\"quantity\": {}}}", it.units),
                items: vec![self.item(it.meter, it.units, &it.dimensions)],
                outcome: Completion { duration_ms: Some(12), status: Some(200) },
                calls: None,
                llm: None,
            };
            let record = RecordRequest { caller: caller(), organization: organization(key), event, under: None };
            Request::Record(Box::new(record))
        };
        for (chunk, events) in all.chunks(1000).enumerate() {
            let numbered = events.iter().enumerate().map(|(i, it)| (first + chunk * 1000 + i, it));
            self.execute(numbered.map(request).collect());
        }
    }

    fn consume(&self, key: &str, items: &[(&str, i64)], id: Option<&str>) -> Vec<Verdict> {
        let items: Vec<Item> = items.iter().map(|(meter, units)| self.item(meter, *units, "")).collect();
        let id = id.map(|id| DecisionId::new(id).unwrap());
        let request = ConsumeRequest {
            caller: caller(),
            organization: organization(key),
            key: id.map(|id| if items.len() == 1 { Key::Decision(items[0].meter, id) } else { Key::Together(id) }),
            fingerprint: 1,
            consume: Consume {
                items,
                properties: "{\"user\": \"u\"}".to_owned(),
                outcome: Completion::default(),
                llm: None,
            },
        };
        match self.execute(vec![Request::Consume(Box::new(request))]).pop() {
            Some(Receipt::Decided(decided)) => decided.verdicts,
            other => panic!("{other:?}"),
        }
    }

    /// A report as it is at `now`, for a caller who may see everything.
    fn report_at<T: Send + 'static>(
        &self,
        now: Time,
        make: impl FnOnce(&Report<'_>) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let catalogue = self.store.catalogue();
        let read = self
            .store
            .reader()
            .read(move |view| make(&Report { view, catalogue: &catalogue, scope: Scope::Team, now, text: false }));
        self.runtime.block_on(read)
    }

    fn report<T: Send + 'static>(
        &self,
        make: impl FnOnce(&Report<'_>) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.report_at(self.store.now(), make)
    }
}

/// Numbers that look random and are the same in every run: xorshift64*.
struct Random(u64);

impl Random {
    /// Below `bound`.
    fn below(&mut self, bound: i64) -> i64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let mixed = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        i64::try_from(mixed).unwrap() % bound
    }
}

/// The words with which a question was refused.
fn refusal<T: std::fmt::Debug>(result: Result<T, StoreError>) -> String {
    match result {
        Err(StoreError::Catalogue { code: "invalid-query", status: 422, detail }) => detail,
        other => panic!("not refused: {other:?}"),
    }
}
