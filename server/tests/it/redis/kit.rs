//! Nodes that count in a Redis, and a server that does.

use std::sync::Arc;
use std::time::Duration;

use metergate::clock;
use metergate::random;
use metergate::redis::address::Address;
use metergate::redis::rates::{Decision, Once, Rates};
use metergate::redis::{Gone, Link};
use metergate_rules::account::{Account, Profile};
use metergate_rules::catalogue::Catalogue;
use metergate_rules::command::{Item, NewOrganization};
use metergate_rules::decide::rate::Rate;
use metergate_rules::id::{MeterId, OrganizationId, PlanId};
use metergate_rules::meter::{Aggregation, Measure, Meter};
use metergate_rules::outcome::Verdict;
use metergate_rules::period::Zone;
use metergate_rules::plan::{Cycle, Enforcement, Limit, Max, MeterLimits, Plan, RefusalStatus};
use metergate_rules::price::Markup;
use metergate_rules::quantity::Quantity;
use metergate_rules::time::{SECOND, Time};
use metergate_rules::window::Window;
use metergate_rules::{apply, decide};
use serde_json::{Value, json};

use crate::http::client::{Answer, Client};
use crate::http::server::Server;
use crate::servers::prefix;

pub(super) const HITS: MeterId = MeterId(1);

pub(super) fn q(units: i64) -> Quantity {
    Quantity::new(units).unwrap()
}

pub(super) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

pub(super) fn link(url: &str, prefix: &str) -> Arc<Link> {
    let address = Address::parse(url).unwrap_or_else(|why| panic!("{url}: {why}"));
    Arc::new(Link::start(address, prefix).unwrap())
}

/// One organization with limits on `hits`, of which nothing is recorded.
pub(super) struct World {
    pub(super) catalogue: Catalogue,
    pub(super) account: Account,
}

impl World {
    pub(super) fn new(limits: &[(Window, i64, Enforcement)]) -> Self {
        let mut of_meter = MeterLimits::new(HITS);
        for (window, max, enforcement) in limits {
            let (max, status) = (Max::Units(q(*max)), RefusalStatus::default());
            of_meter.set(*window, Limit { max, enforcement: *enforcement, status, thresholds: Vec::new() });
        }
        let meter = Meter {
            id: HITS,
            key: "hits".parse().unwrap(),
            name: String::new(),
            unit: String::new(),
            event_type: "hits".parse().unwrap(),
            aggregation: Aggregation::Sum,
            decimals: 0,
            value_property: "quantity".to_owned(),
            dimensions: Vec::new(),
            record: false,
        };
        let plan = Plan {
            id: PlanId(1),
            key: "plan".parse().unwrap(),
            version: 1,
            meters: vec![of_meter],
            other_meters: true,
            trial: None,
            cycle: Cycle::SignUp,
            degraded: Vec::new(),
            grace_days: 7,
            stripe_prices: Vec::new(),
            fallback: "free".parse().unwrap(),
            llm_markup: Markup::NONE,
        };
        let profile = Profile {
            key: "acme".parse().unwrap(),
            name: "Acme".to_owned(),
            zone: Zone::utc(),
            test: false,
            metadata: String::new(),
            created_at: Time::MIN,
        };
        let catalogue = Catalogue::new(vec![meter], vec![plan]);
        let new = NewOrganization { profile, plan: PlanId(1), first_used: None };
        let created = decide::create(&new, &catalogue, "2026-11-22T11:06:00Z".parse().unwrap()).unwrap();
        let account = apply::create(OrganizationId(random::bytes()), &created.entries[0]).unwrap();
        Self { catalogue, account }
    }

    /// At most so much a minute.
    pub(super) fn minute(max: i64) -> Self {
        Self::new(&[(Window::Minute, max, Enforcement::Hard)])
    }

    pub(super) fn item(&self, quantity: i64) -> Item {
        Item { meter: HITS, measure: Measure::Add(q(quantity)), dimensions: String::new() }
    }

    pub(super) fn rate(&self, quantity: i64) -> Rate {
        Rate::of(&self.account, &self.item(quantity), &self.catalogue).unwrap().expect("it is counted elsewhere")
    }

    pub(super) async fn consume(&self, rates: &Rates, quantity: i64) -> Result<Verdict, Gone> {
        rates.consume(self.account.id, &self.rate(quantity), None).await.map(verdict)
    }

    pub(super) async fn under(&self, rates: &Rates, quantity: i64, once: Once) -> Decision {
        rates.consume(self.account.id, &self.rate(quantity), Some(once)).await.unwrap()
    }

    /// What was used in the shortest window.
    pub(super) async fn used(&self, rates: &Rates) -> i64 {
        let decision = rates.check(self.account.id, &self.rate(0)).await.expect("Redis answers");
        verdict(decision).limits[0].used.units()
    }

    /// The same, as soon as Redis answers again.
    pub(super) async fn used_again(&self, rates: &Rates) -> i64 {
        for _ in 0..500 {
            if rates.check(self.account.id, &self.rate(0)).await.is_ok() {
                return self.used(rates).await;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("Redis does not answer again within ten seconds");
    }
}

pub(super) fn verdict(decision: Decision) -> Verdict {
    match decision {
        Decision::Decided { verdict, .. } => verdict,
        Decision::Mismatch => panic!("no id was given"),
    }
}

/// How often the first call is made until it is decided.
const FIRST: usize = 10;

/// A server that counts in this Redis; `hits` and `polls` have 10 a minute on plan `small`, and nothing is recorded of them.
pub(super) fn server(url: &str, more: &[(&str, &str)]) -> (Server, Client) {
    let prefix = prefix();
    let settings = [("METERGATE_REDIS_URL", url), ("METERGATE_REDIS_PREFIX", &prefix)];
    let server = Server::with(&[&settings, more].concat());
    let admin = server.admin();
    for meter in ["hits", "polls", "pings"] {
        admin.put(&format!("/v1/meters/{meter}"), json!({"aggregation": "sum", "record": false})).is(201);
    }
    let limit = |meter: &str| json!({"meter": meter, "window": "minute", "max": 10});
    let plan = json!({
        "limits": [limit("hits"), limit("polls"), limit("pings"), {"meter": "api_calls", "window": "minute", "max": 10}],
        "degraded": {"polls": "allow", "pings": {"safe": 3}, "hits": "deny"},
    });
    admin.put("/v1/plans/small", plan).is(201);
    admin.post("/v1/organizations", json!({"key": "acme", "name": "Acme", "plan": "small"})).is(201);
    // The first call brings the script there and reads the account, which a busy machine does not always do in time. Where there is no
    // Redis, nothing helps.
    let is_decided = || {
        let answer = ask(&admin, "hits", 0);
        answer.status == 200 && answer.json().get("degraded").is_none()
    };
    for _ in 0..FIRST {
        if is_decided() {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    (server, admin)
}

pub(super) fn ask(client: &Client, meter: &str, quantity: u64) -> Answer {
    client.post("/v1/consume", json!({"organization": "acme", "meter": meter, "quantity": quantity}))
}

/// What was used of the first limit, by an answer.
pub(super) fn used(answer: &Value) -> i64 {
    answer["limits"][0]["used"].as_i64().unwrap_or_else(|| panic!("no use in {answer}"))
}

/// What `holds` answers, once it does, within twenty seconds.
pub(super) fn becomes<T>(what: &str, holds: impl Fn() -> Option<T>) -> T {
    let began = clock::boot();
    loop {
        if let Some(value) = holds() {
            return value;
        }
        assert!(clock::boot() - began < 20 * SECOND, "{what}: not within twenty seconds");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The first decision again that Redis makes.
pub(super) fn decided_again(client: &Client, meter: &str) -> Value {
    let decided = || {
        let answer = ask(client, meter, 1);
        (answer.status == 200 && answer.json().get("degraded").is_none()).then(|| answer.json())
    };
    becomes("Redis decides again", decided)
}
