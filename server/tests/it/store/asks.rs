//! Requests in a few words.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use metergate::store::{
    After, Answer, Caller, ChangeRequest, ConsumeRequest, Key, ReceiptKey, RecordRequest, Request, Respond, Scope,
};
use metergate_rules::account::Profile;
use metergate_rules::command::{Command, Completion, Consume, Event, Item, NewOrganization};
use metergate_rules::id::{
    DecisionId, EventId, EventSource, EventType, IdempotencyKey, MeterId, OrganizationKey, OrganizationRef, PlanId,
};
use metergate_rules::meter::{Aggregation, Measure, ValueHash};
use metergate_rules::outcome::Reply;
use metergate_rules::period::Zone;
use metergate_rules::quantity::Quantity;
use metergate_rules::time::Time;

/// The meters of the tests in the order of their numbers, from 1.
pub(super) const METERS: [(&str, Aggregation); 7] = [
    ("calls", Aggregation::Sum),
    ("credits", Aggregation::Sum),
    ("hits", Aggregation::Count),
    ("peak", Aggregation::Max),
    ("storage", Aggregation::Last),
    ("tokens", Aggregation::Sum),
    ("users", Aggregation::UniqueCount),
];

/// Meters and plans of the tests. Other meters of a plan are without limit.
pub(super) const CATALOGUE: &str = r#"
[meters]
calls = { aggregation = "sum" }
credits = { aggregation = "sum", decimals = 3 }
hits = { aggregation = "count" }
peak = { aggregation = "max" }
storage = { aggregation = "last" }
tokens = { aggregation = "sum", dimensions = ["model"] }
users = { aggregation = "uniqueCount" }

[plans.free]
limits = [
  { meter = "calls", window = "billingPeriod", max = 10 },
  { meter = "credits", window = "lifetime", max = "5.000", enforcement = "soft" },
  { meter = "peak", window = "day", max = 50 },
  { meter = "storage", window = "billingPeriod", max = 100 },
  { meter = "tokens", window = "minute", max = 20 },
  { meter = "tokens", window = "hour", max = 60 },
  { meter = "tokens", window = "day", max = 300 },
  { meter = "tokens", window = "billingPeriod", max = 1000 },
  { meter = "users", window = "billingPeriod", max = 3 },
]

[plans.large]
limits = [{ meter = "calls", window = "billingPeriod", max = 1000 }]
"#;

/// The plans' numbers.
pub(super) const FREE: PlanId = PlanId(1);
pub(super) const LARGE: PlanId = PlanId(2);

pub(super) fn meter(name: &str) -> MeterId {
    let place = METERS.iter().position(|(key, _)| *key == name).expect("a meter of the tests");
    MeterId(u32::try_from(place).unwrap() + 1)
}

pub(super) fn quantity(units: i64) -> Quantity {
    Quantity::new(units).unwrap()
}

pub(super) fn organization(key: &str) -> OrganizationRef {
    key.parse().unwrap()
}

/// On a meter that counts values a quantity stands for a value.
pub(super) fn item((name, units): &(&'static str, i64)) -> Item {
    let aggregation = METERS.iter().find(|(key, _)| key == name).expect("a meter of the tests").1;
    let measure = match aggregation {
        Aggregation::Sum => Measure::Add(quantity(*units)),
        Aggregation::Count => Measure::Add(Quantity::ONE),
        Aggregation::Max => Measure::Peak(quantity(*units)),
        Aggregation::Last => Measure::Level(quantity(*units)),
        Aggregation::UniqueCount => Measure::Value(ValueHash(i128::from(*units).to_be_bytes())),
    };
    let dimensions = if *name == "tokens" { format!("{{\"model\":\"m{}\"}}", units % 3) } else { String::new() };
    Item { meter: meter(name), measure, dimensions }
}

fn caller() -> Caller {
    Caller { scope: Scope::Team, actor: Arc::from("key:test") }
}

fn hash(of: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// A decision to ask for.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) organization: String,
    pub(super) items: Vec<(&'static str, i64)>,
    pub(super) id: Option<String>,
    header: bool,
}

/// So much of a meter for the organization `acme`.
pub(super) fn ask(meter: &'static str, quantity: i64) -> Ask {
    Ask { organization: "acme".to_owned(), items: vec![(meter, quantity)], id: None, header: false }
}

impl Ask {
    pub(super) fn of(self, organization: &str) -> Self {
        Self { organization: organization.to_owned(), ..self }
    }

    pub(super) fn and(mut self, meter: &'static str, quantity: i64) -> Self {
        self.items.push((meter, quantity));
        self
    }

    pub(super) fn id(self, id: &str) -> Self {
        Self { id: Some(id.to_owned()), ..self }
    }

    /// The id is that of the header.
    pub(super) fn by_header(self) -> Self {
        Self { header: true, ..self }
    }

    fn key(&self) -> Option<Key> {
        let id = self.id.as_ref()?;
        if self.header {
            return Some(Key::Header("POST /v1/consume".into(), IdempotencyKey::new(id).unwrap()));
        }
        let id = DecisionId::new(id).unwrap();
        Some(if self.items.len() > 1 { Key::Together(id) } else { Key::Decision(meter(self.items[0].0), id) })
    }
}

impl From<&Ask> for Request {
    fn from(ask: &Ask) -> Self {
        let items = ask.items.iter().map(item).collect();
        Self::Consume(Box::new(ConsumeRequest {
            caller: caller(),
            organization: organization(&ask.organization),
            key: ask.key(),
            fingerprint: hash(&ask.items),
            consume: Consume { items, properties: String::new(), outcome: Completion::default(), llm: None },
        }))
    }
}

/// An event to record.
#[derive(Clone, Debug)]
pub(super) struct Tell {
    organization: String,
    pub(super) meter: &'static str,
    pub(super) quantity: i64,
    id: String,
    source: &'static str,
    time: Option<Time>,
}

/// So much on a meter for the organization `acme`.
pub(super) fn tell(meter: &'static str, quantity: i64, id: &str) -> Tell {
    Tell { organization: "acme".to_owned(), meter, quantity, id: id.to_owned(), source: "/test", time: None }
}

impl Tell {
    pub(super) fn of(self, organization: &str) -> Self {
        Self { organization: organization.to_owned(), ..self }
    }

    pub(super) fn from(self, source: &'static str) -> Self {
        Self { source, ..self }
    }

    pub(super) fn at(self, time: Time) -> Self {
        Self { time: Some(time), ..self }
    }
}

impl From<&Tell> for Request {
    fn from(tell: &Tell) -> Self {
        let event = Event {
            id: EventId::new(&tell.id).unwrap(),
            source: EventSource::new(tell.source).unwrap(),
            event_type: EventType::new(tell.meter).unwrap(),
            time: tell.time,
            data: String::new(),
            items: vec![item(&(tell.meter, tell.quantity))],
            outcome: Completion::default(),
            calls: None,
            llm: None,
        };
        Self::Record(Box::new(RecordRequest {
            caller: caller(),
            organization: organization(&tell.organization),
            event,
            under: None,
        }))
    }
}

/// A change to make.
#[derive(Clone, Debug)]
pub(super) struct Make {
    organization: String,
    command: Command,
    key: Option<(&'static str, String)>,
    only_if: Option<u64>,
    respond: fn(&After<'_>) -> Answer,
}

/// A change of the organization `acme`. The answer's body is the number of changes behind it.
pub(super) fn make(command: Command) -> Make {
    Make { organization: "acme".to_owned(), command, key: None, only_if: None, respond: counted }
}

/// A new organization on the plan `free`.
pub(super) fn create(key: &str) -> Make {
    let profile = Profile {
        key: OrganizationKey::new(key).unwrap(),
        name: key.to_owned(),
        zone: Zone::utc(),
        test: false,
        metadata: "{}".to_owned(),
        created_at: Time::MIN,
    };
    make(Command::Create(NewOrganization { profile, plan: FREE, first_used: None })).of(key)
}

fn counted(after: &After<'_>) -> Answer {
    let grant = if let Reply::Granted(id) = after.reply { format!(" grant {}", id.0) } else { String::new() };
    Answer { status: 200, body: format!("{}{grant}", after.account.changes).into_bytes(), version: None }
}

impl Make {
    pub(super) fn of(self, organization: &str) -> Self {
        Self { organization: organization.to_owned(), ..self }
    }

    /// As a test organization.
    pub(super) fn test(mut self) -> Self {
        if let Command::Create(new) = &mut self.command {
            new.profile.test = true;
        }
        self
    }

    /// Under an idempotency key.
    pub(super) fn under(self, key: &str) -> Self {
        self.on("POST /change", key)
    }

    /// Under an idempotency key of a route.
    pub(super) fn on(self, route: &'static str, key: &str) -> Self {
        Self { key: Some((route, key.to_owned())), ..self }
    }

    pub(super) fn only_if(self, changes: u64) -> Self {
        Self { only_if: Some(changes), ..self }
    }

    /// With a defect in its answer.
    pub(super) fn poisoned(self) -> Self {
        Self { respond: |_| panic!("a planted defect"), ..self }
    }
}

impl From<&Make> for Request {
    fn from(make: &Make) -> Self {
        let fingerprint = hash(format!("{:?} {:?}", make.organization, make.command));
        let receipt = make.key.as_ref().map(|(route, key)| {
            let key = IdempotencyKey::new(key).unwrap();
            ReceiptKey { route, key, fingerprint }
        });
        let respond: Respond = Arc::new(make.respond);
        Self::Change(Box::new(ChangeRequest {
            caller: caller(),
            organization: organization(&make.organization),
            reason: "a test".to_owned(),
            receipt,
            command: make.command.clone(),
            only_if_changes: make.only_if,
            respond,
        }))
    }
}
