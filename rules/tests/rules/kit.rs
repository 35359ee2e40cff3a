//! A small world: one catalogue, one organization, and a store as simple as can be.

use std::collections::BTreeMap;
use std::sync::Arc;

use metergate_rules::account::{Account, Profile};
use metergate_rules::apply;
use metergate_rules::audit::Draft;
use metergate_rules::catalogue::Catalogue;
use metergate_rules::command::{
    Adjustment, Command, Completion, Consume, Event, Item, NewOrganization, Room, Void, Voiding,
};
use metergate_rules::decide::{self, Problem, Question};
use metergate_rules::id::{
    EventId, EventSource, EventType, MeterId, MeterKey, OrganizationId, OrganizationKey, PlanId,
};
use metergate_rules::limits::use_in;
use metergate_rules::meter::{Aggregation, Measure, Meter, ValueHash};
use metergate_rules::outcome::{Entry, Hold, Outcome, Reply, Use, Verdict, VoidedEvent, What};
use metergate_rules::period::Zone;
use metergate_rules::plan::{Cycle, Plan, Trial, TrialEnd};
use metergate_rules::price::Markup;
use metergate_rules::quantity::Quantity;
use metergate_rules::time::{MINUTE, Time};
use metergate_rules::window::{Window, WindowSet};

pub(crate) mod script;
pub(crate) mod show;

pub(crate) const API: MeterId = MeterId(1);
pub(crate) const CALLS: MeterId = MeterId(2);
pub(crate) const PEAK: MeterId = MeterId(3);
pub(crate) const BYTES: MeterId = MeterId(4);
pub(crate) const USERS: MeterId = MeterId(5);
pub(crate) const OTHER: MeterId = MeterId(6);
/// Tokens, and what they cost.
pub(crate) const TOKENS: MeterId = MeterId(7);
pub(crate) const COST: MeterId = MeterId(8);

/// Name and aggregation of every meter, in order of their numbers.
const METERS: [(&str, Aggregation); 8] = [
    ("api", Aggregation::Sum),
    ("calls", Aggregation::Count),
    ("peak", Aggregation::Max),
    ("bytes", Aggregation::Last),
    ("users", Aggregation::UniqueCount),
    ("other", Aggregation::Sum),
    ("tokens", Aggregation::Sum),
    ("llm_cost", Aggregation::Sum),
];

/// The time at which an organization is created unless a test says otherwise: a Sunday, within a quarter hour.
pub(crate) const BEGIN: &str = "2026-11-22T11:06:00Z";

pub(crate) fn time(text: &str) -> Time {
    text.parse().unwrap()
}

pub(crate) fn q(units: i64) -> Quantity {
    Quantity::new(units).unwrap()
}

pub(crate) fn meters() -> Vec<Meter> {
    let meter = |(number, (key, aggregation)): (u32, &(&str, Aggregation))| Meter {
        id: MeterId(number),
        key: MeterKey::new(key).unwrap(),
        name: (*key).to_owned(),
        unit: String::new(),
        event_type: EventType::new(key).unwrap(),
        aggregation: *aggregation,
        decimals: if *key == "llm_cost" { 9 } else { 0 },
        value_property: "quantity".to_owned(),
        dimensions: Vec::new(),
        record: true,
    };
    (1..).zip(&METERS).map(meter).collect()
}

pub(crate) fn meter_named(name: &str) -> MeterId {
    let at = METERS.iter().position(|(key, _)| *key == name).unwrap_or_else(|| panic!("no meter {name}"));
    MeterId(u32::try_from(at).unwrap() + 1)
}

/// A plan with these limits, as [`script::limit`] reads them, separated by spaces.
pub(crate) fn plan(id: u32, limits: &str) -> Plan {
    Plan {
        id: PlanId(id),
        key: format!("plan-{id}").parse().unwrap(),
        version: 1,
        meters: script::meter_limits(limits),
        other_meters: true,
        trial: None,
        cycle: Cycle::SignUp,
        degraded: Vec::new(),
        llm_markup: Markup::NONE,
        grace_days: 7,
        stripe_prices: vec![format!("price-{id}").parse().unwrap()],
        fallback: "free".parse().unwrap(),
    }
}

pub(crate) fn trial(days: u16, on_end: TrialEnd) -> Option<Trial> {
    Some(Trial { days, on_end })
}

pub(crate) fn new_organization(zone: &str, plan: PlanId) -> NewOrganization {
    let profile = Profile {
        key: OrganizationKey::new("acme").unwrap(),
        name: "Acme".to_owned(),
        zone: Zone::new(zone).unwrap(),
        test: false,
        metadata: String::new(),
        created_at: Time::MIN,
    };
    NewOrganization { profile, plan, first_used: None }
}

/// One organization with its catalogue, its clock and all that was ever recorded of it.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) catalogue: Catalogue,
    pub(crate) account: Account,
    pub(crate) now: Time,
    pub(crate) entries: Vec<Entry>,
    pub(crate) audit: Vec<Draft>,
    /// Values that were counted once, by the bucket in which they are remembered.
    pub(crate) seen: BTreeMap<(MeterId, ValueHash, Time), i64>,
}

impl World {
    /// An organization on the first of these plans, in UTC.
    pub(crate) fn new(plans: impl Into<Vec<Plan>>) -> Self {
        Self::at(BEGIN, "UTC", plans)
    }

    pub(crate) fn at(begin: &str, zone: &str, plans: impl Into<Vec<Plan>>) -> Self {
        let (plans, now) = (plans.into(), time(begin));
        let first = plans[0].id;
        let catalogue = Catalogue::new(meters(), plans);
        let created = decide::create(&new_organization(zone, first), &catalogue, now).unwrap();
        let account = apply::create(OrganizationId([7; 16]), &created.entries[0]).unwrap();
        Self { catalogue, account, now, entries: created.entries, audit: created.audit, seen: BTreeMap::new() }
    }

    /// What a store would be told, without telling it.
    pub(crate) fn ask(&self, command: &Command) -> Result<Outcome, Problem> {
        let now = decide::time_of(&self.account, command, self.now);
        let settled = self.account.at(&self.catalogue, now)?;
        let mut seen = vec![WindowSet::NONE; 100];
        for question in decide::questions(&settled.account, command) {
            seen[question.item] = self.windows_of(&question);
        }
        let command = &self.informed(command, now);
        let outcome = decide::decide(&settled.account, command, &seen, true, &self.catalogue, now)?;
        Ok(Outcome {
            entries: settled.entries.into_iter().chain(outcome.entries).collect(),
            audit: settled.audit.into_iter().chain(outcome.audit).collect(),
            ..outcome
        })
    }

    /// What reports hold of a meter by quarter hour, from all that was recorded.
    pub(crate) fn reported(&self, meter: MeterId) -> BTreeMap<Time, i64> {
        let mut sums: BTreeMap<Time, i64> = BTreeMap::new();
        for used in self.entries.iter().flat_map(uses).filter(|used| used.meter == meter) {
            *sums.entry(used.time.floor(15 * MINUTE)).or_default() += match used.measure {
                Measure::Add(quantity) => quantity.units(),
                Measure::Void(quantity) => -quantity.units(),
                Measure::Adjust(units) => units,
                _ => 0,
            };
        }
        sums
    }

    /// The command with what a store would look up for it.
    fn informed(&self, command: &Command, now: Time) -> Command {
        let Command::Adjust(asked) = command else { return command.clone() };
        let within = asked.within(&self.settled(), now);
        let room = self.reported(asked.meter).into_iter().filter(|(quarter, _)| within.contains(*quarter));
        let room = room.map(|(quarter, sum)| Room { quarter, dimensions: String::new(), sum: q(sum) }).collect();
        Command::Adjust(Adjustment { room, ..asked.clone() })
    }

    /// The void of what was the `nth` to be recorded, from 1.
    pub(crate) fn void(&self, nth: usize) -> Command {
        let is_event = |entry: &&Entry| match &entry.what {
            What::Decided(_) | What::Recorded(_) => true,
            What::Reservation(hold) => matches!(**hold, Hold::Settled(_)),
            What::Due(_) | What::Changed(_) | What::Image(_) | What::Completed(_) | What::Noticed(_) => false,
        };
        let entry = self.entries.iter().filter(is_event).nth(nth - 1).unwrap();
        let uses = uses(entry).to_vec();
        let held = |used: &Use| self.reported(used.meter).get(&used.time.floor(15 * MINUTE)).copied();
        let room = uses.iter().map(|used| q(held(used).unwrap_or(0))).collect();
        let event =
            VoidedEvent { sequence: 1, offset: u32::try_from(nth).unwrap(), meter: None, recorded_at: entry.at };
        let (source, id) = ("/test".to_owned(), "e-1".to_owned());
        Command::Void(Voiding::Found(Void {
            source,
            id,
            event,
            uses,
            outcome: Completion::default(),
            calls: None,
            room,
            charged: None,
        }))
    }

    /// A value is seen in a span if one of its buckets begins in it.
    fn windows_of(&self, question: &Question) -> WindowSet {
        let (meter, value) = (question.meter, question.value);
        let buckets = self.seen.range((meter, value, Time::MIN)..=(meter, value, Time::MAX));
        let but = |at: Time| i64::from(question.except == Some(at));
        let remembered: Vec<Time> =
            buckets.filter(|((_, _, at), count)| **count > but(*at)).map(|((_, _, at), _)| *at).collect();
        let seen = question.spans.iter().filter(|(_, span)| remembered.iter().any(|at| span.contains(*at)));
        seen.map(|(window, _)| *window).collect()
    }

    pub(crate) fn run(&mut self, command: &Command) -> Result<Reply, Problem> {
        let outcome = self.ask(command)?;
        for entry in &outcome.entries {
            apply::apply(&mut self.account, entry);
            for (value, count) in entry.what.uses().iter().filter_map(remembered) {
                *self.seen.entry(value).or_default() += count;
            }
        }
        self.entries.extend(outcome.entries);
        self.audit.extend(outcome.audit);
        match &outcome.reply {
            Reply::Decided(verdicts) => verdicts.iter().for_each(show::assert_adds_up),
            Reply::Reserved(reserved) => show::assert_adds_up(&reserved.verdict),
            Reply::Granted(_) | Reply::Recorded | Reply::Completed { .. } | Reply::Done => {}
        }
        Ok(outcome.reply)
    }

    /// Folding all entries from the creation on gives the same account: nothing is kept beside them.
    pub(crate) fn assert_folds(&self) {
        let mut folded = apply::create(self.account.id, &self.entries[0]).unwrap();
        self.entries[1..].iter().for_each(|entry| apply::apply(&mut folded, entry));
        assert_eq!(folded, self.account);
    }

    pub(crate) fn measure(&self, meter: MeterId, quantity: i64) -> Measure {
        let value = ValueHash(i128::from(quantity).to_be_bytes());
        let meter = self.catalogue.meter(meter).unwrap();
        meter.measure(if quantity < 0 { Quantity::ZERO } else { q(quantity) }, Some(value)).unwrap()
    }

    pub(crate) fn item(&self, meter: MeterId, quantity: i64) -> Item {
        Item { meter, measure: self.measure(meter, quantity), dimensions: String::new() }
    }

    pub(crate) fn consumption(&self, items: &[(MeterId, i64)]) -> Command {
        let items = items.iter().map(|(meter, quantity)| self.item(*meter, *quantity)).collect();
        Command::Consume(Consume { items, properties: String::new(), outcome: Completion::default(), llm: None })
    }

    pub(crate) fn event(&self, meter: MeterId, quantity: i64, time: Option<Time>) -> Command {
        Command::Record(Event {
            id: EventId::new("e-1").unwrap(),
            source: EventSource::new("/test").unwrap(),
            event_type: self.catalogue.meter(meter).unwrap().event_type.clone(),
            time,
            data: String::new(),
            items: vec![self.item(meter, quantity)],
            outcome: Completion::default(),
            calls: None,
            llm: None,
        })
    }

    pub(crate) fn consume(&mut self, meter: MeterId, quantity: i64) -> Verdict {
        let command = self.consumption(&[(meter, quantity)]);
        let Ok(Reply::Decided(mut verdicts)) = self.run(&command) else { panic!("not decided: {command:?}") };
        verdicts.remove(0)
    }

    /// The account with all that has fallen due by now.
    pub(crate) fn settled(&self) -> Account {
        self.account.at(&self.catalogue, self.account.own_time(self.now)).unwrap().account.into_owned()
    }

    pub(crate) fn used(&self, meter: MeterId, window: Window) -> i64 {
        let meter = self.catalogue.meter(meter).unwrap();
        use_in(self.settled().meter(meter.id), meter, window, self.now).units()
    }

    /// What was used last: what it has others told stands behind it.
    pub(crate) fn last_use(&self) -> &Use {
        let entry = self.entries.iter().rfind(|entry| !matches!(entry.what, What::Noticed(_)));
        &uses(entry.unwrap())[0]
    }

    pub(crate) fn profile(&self) -> &Arc<Profile> {
        &self.account.profile
    }
}

fn remembered(used: &Use) -> Option<((MeterId, ValueHash, Time), i64)> {
    match used.measure {
        Measure::Value(value) => Some(((used.meter, value, used.bucket?), 1)),
        Measure::VoidValue(value) => Some(((used.meter, value, used.bucket?), -1)),
        _ => None,
    }
}

/// What an entry used.
pub(crate) fn uses(entry: &Entry) -> &[Use] {
    entry.what.uses()
}
