//! An embedded store moves into a PostgreSQL: everything is there afterwards, and goes on.

use metergate::catalogue::change::{EndpointCommand, NewEndpoint, NewKey, TeamCommand};
use metergate::catalogue::key::KeyScope;
use metergate::clock::Clock;
use metergate::config::Secret;
use metergate::store::block::Record;
use metergate::store::moving::move_store;
use metergate::store::stripe::{Applied, EventList, EventRow, EventState, StripeWork};
use metergate::store::{Key, Pace, Receipt, StoreError};
use metergate_rules::account::LockCause;
use metergate_rules::command::{Command, EventName, Voiding};
use metergate_rules::id::{CustomerId, DecisionId, OrganizationId, SubscriptionId};
use metergate_rules::outcome::What;
use metergate_rules::subscription::News;
use metergate_rules::time::{DAY, HOUR, Time};
use metergate_rules::window::Window;

use super::asks::{METERS, ask, create, make, meter, tell};
use super::engine::Database;
use super::kit::{Kit, LONG};
use super::random_work::{Random, work};
use crate::invariant::{Image, all_hold};

fn lock() -> Command {
    Command::Lock { cause: LockCause::Operator, reason: None }
}

/// Something that Stripe told of a subscription.
fn stripe_event(kit: &Kit, id: &str, subscription: &str, state: EventState) -> EventRow {
    let payload = if state == EventState::Done { String::new() } else { format!("{{\"id\": \"{id}\"}}") };
    EventRow {
        id: id.to_owned(),
        kind: "customer.subscription.updated".to_owned(),
        created_at: kit.now().plus(-HOUR),
        state,
        attempts: 2,
        note: "n".to_owned(),
        payload,
        ..EventRow::sync(subscription, kit.now())
    }
}

fn take(kit: &Kit, events: Vec<EventRow>) {
    let open = kit.open();
    kit.runtime.block_on(open.store.stripe(&open.port, StripeWork::Take(events))).unwrap();
}

/// What is the money's: two versions of the prices, events of Stripe's in every state, and an organization that one is about.
fn pay(kit: &Kit) {
    for input in ["1", "2"] {
        let json = format!(r#"{{"model": "m", "effectiveFrom": "2020-01-01", "input": {input}}}"#);
        kit.change_team(TeamCommand::PutPrices(vec![serde_json::from_str(&json).unwrap()], None)).unwrap();
    }
    let states = EventState::ALL.into_iter().enumerate();
    let events = states.map(|(i, state)| stripe_event(kit, &format!("evt_{i}"), &format!("sub_{i}"), state)).collect();
    take(kit, events);
    let id = SubscriptionId::new("sub_9").unwrap();
    let news = News::Linked { id, customer: Some(CustomerId::new("cus_9").unwrap()) };
    let (kind, hint) = ("checkout.session.completed".to_owned(), Some("acme".to_owned()));
    let applied = Applied { events: Vec::new(), kind, news, hint, seen: None };
    let open = kit.open();
    kit.runtime.block_on(open.store.stripe(&open.port, StripeWork::Apply(Box::new(applied)))).unwrap();
}

/// Its events of Stripe's as they are kept, the newest first; whose the subscription and the customer are.
fn paid(kit: &Kit) -> (Vec<EventRow>, Option<OrganizationId>, Vec<OrganizationId>) {
    let read = kit.read(|view, _| {
        let (rows, list) = (view.rows(), EventList::default());
        let whose = (rows.organization_of_subscription("sub_9")?, rows.organizations_of_customer("cus_9")?);
        Ok((rows.stripe_events(&list, 100)?, whose.0, whose.1))
    });
    read.unwrap()
}

/// A store in which something of everything is, some of it in closed slices.
fn full(random: &mut Random) -> Kit {
    let mut kit = Kit::with_slices(60, LONG);
    let new = NewEndpoint { url: "https://example.com".to_owned(), types: Vec::new(), description: String::new() };
    kit.change_team(TeamCommand::Endpoint(EndpointCommand::Create(new))).unwrap();
    work(&mut kit, random, 60);
    pay(&kit);
    kit.made(&create("gone"));
    kit.allows(&ask("hits", 1).of("gone").id("a"));
    kit.delete(&make(Command::Delete).of("gone")).unwrap();
    let (name, scopes) = ("k".to_owned(), vec![KeyScope::Read]);
    kit.change_team(TeamCommand::CreateKey(NewKey { name, scopes, organization: None, expires_at: None })).unwrap();
    work(&mut kit, random, 60);
    kit.wait_until("slices are closed", |kit| kit.count("slices") >= 2);
    kit
}

/// Tells all events of lately again, and asks under all ids of lately for something else: how many there were of each.
fn told_again(kit: &Kit, before: &Image, now: Time) -> (u32, u32) {
    let (mut events, mut decisions) = (0, 0);
    // Ids of what was refused are known for a day alone.
    let lately = |(_, _, record): &&(u64, OrganizationId, Record)| {
        let is_refused = matches!(&record.entry.what, What::Decided(decided) if decided.uses.is_empty());
        record.entry.at > now.plus(if is_refused { -20 * HOUR } else { -20 * DAY })
    };
    for (_, organization, record) in before.journal.records.iter().filter(lately) {
        let of = organization.to_string();
        match (&record.entry.what, &record.key) {
            (What::Recorded(recorded), _) if kit.exists(&of) => {
                let again = tell("hits", 1, recorded.event.id.as_str()).of(&of);
                assert_eq!(kit.send(&again), Ok(Receipt::Recorded { duplicate: true }), "{:?}", recorded.event.id);
                events += 1;
            }
            (What::Decided(_), Some(Key::Decision(meter, id))) if kit.exists(&of) => {
                let name = METERS[usize::try_from(meter.0).unwrap() - 1].0;
                let again = ask(name, 997).of(&of).id(id.as_str());
                assert_eq!(kit.send(&again), Err(StoreError::Mismatch), "{id:?}");
                decisions += 1;
            }
            _ => {}
        }
    }
    (events, decisions)
}

#[test]
fn figures_ids_and_chains_are_what_they_were_and_the_store_goes_on() {
    let mut random = Random::new("figures_ids_and_chains_are_what_they_were_and_the_store_goes_on");
    let mut kit = full(&mut random);
    kit.made(&create("last"));
    let unnamed = kit.decide(&ask("hits", 1).of("last")).unwrap().place.expect("it was recorded");
    let locked = kit.made(&make(lock()).of("last").under("k"));
    let now = kit.now();
    kit.wait_until("nothing is left of what was deleted", |kit| kit.count("deletions") == 0);
    let outbox = ["messages", "deliveries", "webhook_endpoints", "prices", "stripe_events"];
    let told = outbox.map(|table| kit.count(table));
    let (prices, paid_before) = (kit.open().store.catalogue().stored.prices.clone(), paid(&kit));
    assert_eq!((prices.version > 2, paid_before.0.len(), paid_before.2.len()), (true, 5, 1));
    kit.close();
    let database = Database::new();
    let moved = move_store(kit.settings(), &database.secret(), Clock::starting_at(now), &|_, _, _| ()).unwrap();
    let before = Image::of_folder(kit.folder());
    assert_eq!((moved.organizations, moved.audit_chains > 4, moved.ids > 10), (4, true, true), "{moved:?}");

    kit.go_on_in(database, now);
    let after = Image::of_moved_store(&kit.open().store, &kit.runtime);
    before.same_as(&after).unwrap();
    all_hold(&after).unwrap();
    assert_eq!((outbox.map(|table| kit.count(table)), moved.messages), (told, told[0]));
    assert!(told[0] > 3, "{told:?}");
    assert_eq!(paid(&kit), paid_before);
    let again = stripe_event(&kit, "evt_3", "sub_3", EventState::Waiting);
    take(&kit, vec![again]);
    assert_eq!(paid(&kit), paid_before, "what Stripe told is known for good");
    let catalogue = kit.open().store.catalogue();
    assert_eq!(catalogue.stored.prices, prices);
    assert_eq!((catalogue.stored.keys.len(), catalogue.stored.endpoints.len()), (1, 1));
    let (events, decisions) = told_again(&kit, &before, now);
    assert!(events > 0 && decisions > 0, "{events} events, {decisions} decisions");
    assert_eq!(kit.made(&make(lock()).of("last").under("k")), (locked.0, true), "a kept answer is given again");
    let named = DecisionId::new(&format!("{}-{}", unnamed.sequence, unnamed.offset)).unwrap();
    let asked = Voiding::Asked(String::new(), String::new(), EventName::Decision(meter("hits"), named));
    assert_eq!(kit.used("last", "hits", Window::Lifetime), 1);
    kit.made(&make(Command::Void(asked)).of("last"));
    assert_eq!(kit.used("last", "hits", Window::Lifetime), 0, "a place is what it was");
    kit.made(&make(Command::Unlock).of("last"));
    assert!(kit.allows(&ask("hits", 1).of("last").id("new")));
    all_hold(&Image::of_moved_store(&kit.open().store, &kit.runtime)).unwrap();
}

#[test]
fn it_is_moved_whole_or_not_at_all_and_never_into_another_store() {
    let mut kit = Kit::new();
    kit.allows(&ask("calls", 3).id("a"));
    let (now, database) = (kit.now(), Database::new());
    kit.close();
    let moves = |url: &Secret| move_store(kit.settings(), url, Clock::starting_at(now), &|_, _, _| ());
    // In the middle somebody ends it.
    let ends = std::cell::Cell::new(true);
    let ended = |_: &'static str, _: u64, _: u64| {
        let ours = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                    WHERE application_name = 'metergate' AND datname = current_database()";
        if ends.get() && database.number(ours) > 0 {
            ends.set(false);
        }
    };
    let cut = move_store(kit.settings(), &database.secret(), Clock::starting_at(now), &ended);
    assert!(cut.is_err() && !ends.get(), "{cut:?}");
    assert_eq!(database.number("SELECT count(*) FROM metergate.settings"), 0);
    moves(&database.secret()).expect("it is tried again");
    let again = moves(&database.secret()).unwrap_err().to_string();
    assert!(again.contains("already"), "{again}");
    assert_eq!(database.number("SELECT count(*) FROM metergate.accounts"), 1);
}

#[test]
fn a_damaged_store_whose_rows_are_behind_is_refused_and_not_waited_for() {
    let mut kit = Kit::new();
    kit.allows(&ask("calls", 3).id("a"));
    kit.set_pace(Pace::Accounts(0));
    kit.reopen();
    kit.allows(&ask("calls", 3).id("b"));
    let (now, database) = (kit.now(), Database::new());
    kit.close();
    kit.sql("UPDATE accounts SET data = x'0200'");
    kit.set_pace(Pace::Tenth);
    let moved = move_store(kit.settings(), &database.secret(), Clock::starting_at(now), &|_, _, _| ());
    let why = moved.unwrap_err().to_string();
    assert!(why.contains("damaged") && why.contains("the account of organization"), "{why}");
    assert_eq!(database.number("SELECT count(*) FROM pg_namespace WHERE nspname = 'metergate'"), 0);
}
