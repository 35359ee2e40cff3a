//! Several nodes on one record: they decide as one would.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use metergate::catalogue::change::{NewKey, TeamCommand};
use metergate::catalogue::file::CatalogueFile;
use metergate::catalogue::key::KeyScope;
use metergate::clock::Clock;
use metergate::store::postgres::SCHEMA;
use metergate::store::{Answers, Receipt, Request, Settings, Store, StoreError};
use metergate_rules::command::Command;
use metergate_rules::id::PlanId;
use metergate_rules::plan::{Enforcement, Max};
use metergate_rules::window::Window;

use super::asks::{Ask, CATALOGUE, LARGE, ask, create, make, meter, quantity, tell};
use super::engine::Database;
use super::kit::{Kit, Open, allowed, decided, start};
use super::random_work::Random;

/// How often it is looked whether another node knows, every 10 ms: for five seconds.
const LOOKS: u32 = 500;

/// Rounds of calls while connections end, at most.
const MOST_ROUNDS: i64 = 2000;

pub(super) type Answered = Vec<Result<Receipt, StoreError>>;

/// One call of each, to all nodes in turn.
pub(super) fn each_on<R: Into<Request>>(kit: &Kit, nodes: &[&Open], requests: impl IntoIterator<Item = R>) -> Answered {
    let calls = requests.into_iter().map(|request| vec![request.into()]).collect();
    let alone = |answers: Answers| answers.and_then(|mut answers| answers.pop().unwrap());
    kit.at_once_on(nodes, calls).into_iter().map(alone).collect()
}

/// Whether it becomes so within five seconds.
fn soon(holds: impl Fn() -> bool) -> bool {
    (0..LOOKS).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        holds()
    })
}

#[test]
fn calls_on_three_nodes_are_admitted_to_one_limit_exactly() {
    let kit = Kit::new();
    kit.made(&make(Command::ChangePlan { plan: LARGE, keep_overrides: false, at_period_end: false }));
    let (second, third) = (kit.another(), kit.another());
    let nodes = [kit.open(), &second, &third];
    let answers = each_on(&kit, &nodes, vec![&ask("calls", 1); 1500]);
    assert_eq!(allowed(&answers), 1000);
    assert_eq!(kit.used("acme", "calls", Window::BillingPeriod), 1000);
    kit.check().unwrap();
}

/// An organization named by its key and by its id is in the hands of several loops.
#[test]
fn the_loops_of_one_node_admit_to_one_limit_exactly() {
    let kit = Kit::new();
    kit.made(&make(Command::ChangePlan { plan: LARGE, keep_overrides: false, at_period_end: false }));
    let others: Vec<String> = (0..20).map(|number| format!("other-{number}")).collect();
    others.iter().for_each(|key| _ = kit.made(&create(key)));
    let (node, id) = (kit.another_of(4), kit.account("acme").id.to_string());
    let mut asks: Vec<Ask> = (0..1500).map(|i| ask("calls", 1).of(if i % 2 == 0 { "acme" } else { &id })).collect();
    asks.extend((0..400).map(|i| ask("hits", 1).of(&others[i % 20]).id(&format!("{}", i / 40))));
    let answers = each_on(&kit, &[&node], &asks);
    assert_eq!(allowed(&answers[..1500]), 1000);
    assert_eq!(allowed(&answers[1500..]), 400);
    assert_eq!(kit.used("acme", "calls", Window::BillingPeriod), 1000);
    assert!(others.iter().all(|key| kit.used(key, "hits", Window::Lifetime) == 10), "each id counts once");
    kit.check().unwrap();
}

/// A call that names organizations of several loops goes to one of them.
#[test]
fn calls_that_name_organizations_of_several_loops_are_decided_whole() {
    let kit = Kit::new();
    let keys: Vec<String> = (0..12).map(|number| format!("other-{number}")).collect();
    keys.iter().for_each(|key| _ = kit.made(&create(key)));
    let node = kit.another_of(3);
    let call = |turn: usize| (0..12).map(|i| Request::from(&ask("hits", 1).of(&keys[(turn + i) % 12]))).collect();
    let answers = kit.at_once_on(&[&node], (0..60).map(call).collect());
    assert!(answers.iter().all(|answers| answers.as_ref().is_ok_and(|answers| allowed(answers) == 12)));
    assert!(keys.iter().all(|key| kit.used(key, "hits", Window::Lifetime) == 60));
    kit.check().unwrap();
}

#[test]
fn what_the_first_loop_has_changed_holds_for_the_next_call_of_each() {
    let kit = Kit::new();
    let keys: Vec<String> = (0..12).map(|number| format!("other-{number}")).collect();
    keys.iter().for_each(|key| _ = kit.made(&create(key)));
    let node = kit.another_of(3);
    for plan in [3, 4] {
        let file = format!(
            "{CATALOGUE}\n[plans.new-{plan}]\nlimits = [{{ meter = \"calls\", window = \"day\", max = {plan} }}]"
        );
        kit.change_team_on(&node, TeamCommand::Apply(CatalogueFile::parse(&file).unwrap())).unwrap();
        let change = Command::ChangePlan { plan: PlanId(plan), keep_overrides: false, at_period_end: false };
        let moved = each_on(&kit, &[&node], keys.iter().map(|key| Request::from(&make(change.clone()).of(key))));
        assert!(moved.iter().all(Result::is_ok), "all loops know the plan: {moved:?}");
    }
    let asks: Vec<Ask> = (0..60).map(|i| ask("calls", 1).of(&keys[i % 12])).collect();
    assert_eq!(allowed(&each_on(&kit, &[&node], &asks)), 48, "four of five for each");
}

#[test]
fn one_id_on_all_nodes_counts_once_and_has_one_answer() {
    let kit = Kit::new();
    let (second, third) = (kit.another(), kit.another());
    let nodes = [kit.open(), &second, &third];
    let same = ask("calls", 3).id("a");
    let answers: Vec<_> =
        each_on(&kit, &nodes, vec![&same; 60]).into_iter().map(|answer| decided(answer.unwrap())).collect();
    assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), 1);
    assert!(answers.iter().all(|answer| (answer.place, &answer.verdicts) == (answers[0].place, &answers[0].verdicts)));
    let events = each_on(&kit, &nodes, vec![&tell("hits", 1, "e"); 60]);
    let new = events.iter().filter(|answer| **answer == Ok(Receipt::Recorded { duplicate: false })).count();
    assert_eq!(
        (new, kit.used("acme", "hits", Window::Lifetime), kit.used("acme", "calls", Window::Lifetime)),
        (1, 1, 3)
    );
    kit.check().unwrap();
}

#[test]
fn a_limit_that_one_node_lowers_holds_on_the_others() {
    let kit = Kit::new();
    let second = kit.another();
    let on_second = |ask: &Ask| allowed(&each_on(&kit, &[&second], [ask])) == 1;
    assert!(kit.allows(&ask("calls", 4)) && on_second(&ask("calls", 4)));
    let lowered = Command::SetOverride {
        meter: meter("calls"),
        window: Window::BillingPeriod,
        max: Max::Units(quantity(8)),
        enforcement: Enforcement::Hard,
        until: None,
    };
    kit.made(&make(lowered));
    assert!(!on_second(&ask("calls", 1)) && !kit.allows(&ask("calls", 1)));
    kit.check().unwrap();
}

#[test]
fn a_key_that_is_revoked_on_one_node_is_gone_on_the_others() {
    let kit = Kit::new();
    let second = kit.another();
    let (name, scopes) = ("k".to_owned(), vec![KeyScope::Read]);
    kit.change_team(TeamCommand::CreateKey(NewKey { name, scopes, organization: None, expires_at: None })).unwrap();
    let id = kit.open().store.catalogue().stored.keys.keys().next().unwrap().clone();
    let of_second = || second.store.catalogue().stored.keys.get(&id).map(|key| key.revoked_at.is_some());
    assert!(soon(|| of_second() == Some(false)), "the other node knows it");
    kit.change_team(TeamCommand::RevokeKey(id.clone())).unwrap();
    assert!(soon(|| of_second() == Some(true)), "and knows that it is revoked");
}

#[test]
fn one_organization_comes_of_creations_that_race() {
    let kit = Kit::new();
    let (second, third) = (kit.another(), kit.another());
    let nodes = [kit.open(), &second, &third];
    for key in ["one", "two", "three", "four"] {
        let answers = each_on(&kit, &nodes, vec![&create(key); 12]);
        let made = answers.iter().filter(|answer| answer.is_ok()).count();
        assert_eq!(made, 1, "{answers:?}");
        let taken = answers.iter().filter(|answer| **answer == Err(StoreError::OrganizationKeyTaken)).count();
        assert_eq!(taken, 11, "{answers:?}");
    }
    let retried = each_on(&kit, &nodes, vec![&create("five").under("k"); 12]);
    assert!(retried.iter().all(Result::is_ok), "{retried:?}");
    assert_eq!(kit.server().number("SELECT count(*) FROM metergate.organizations"), 6);
    kit.check().unwrap();
}

#[test]
fn nothing_that_was_acknowledged_is_lost_when_connections_end_at_any_time() {
    let mut random = Random::new("nothing_that_was_acknowledged_is_lost_when_connections_end_at_any_time");
    let kit = Kit::new();
    let second = kit.another();
    let nodes = [kit.open(), &second];
    let (mut rounds, mut acknowledged, mut unknown) = (0, 0, Vec::new());
    let (over, server) = (AtomicBool::new(false), kit.server());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let ends = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                        WHERE application_name = 'metergate' AND datname = current_database()";
            while !over.load(Ordering::Relaxed) {
                server.number(ends);
                std::thread::sleep(Duration::from_millis(250));
            }
        });
        let _ending = Ending(&over);
        while rounds < MOST_ROUNDS && (acknowledged < 200 || unknown.is_empty()) {
            let round = rounds;
            rounds += 1;
            let asks: Vec<_> = (0..8).map(|i| ask("hits", 1).id(&format!("{round}-{i}"))).collect();
            for (ask, answer) in asks.iter().zip(each_on(&kit, &nodes, asks.iter())) {
                match answer {
                    Ok(_) => acknowledged += 1,
                    Err(StoreError::Unavailable | StoreError::Unreached) => unknown.push(ask.clone()),
                    Err(error) => panic!("{error}"),
                }
            }
            std::thread::sleep(Duration::from_millis(random.below(5).unsigned_abs()));
        }
    });
    assert!(acknowledged >= 200 && !unknown.is_empty(), "both happened: {acknowledged}, {}", unknown.len());
    let answers = soon_answered(&kit, &nodes, &unknown);
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(kit.used("acme", "hits", Window::Lifetime), 8 * rounds);
    kit.check().unwrap();
}

/// Whoever ends connections stops when this goes, also where a test fails.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Sends them until none is unknown any more.
fn soon_answered(kit: &Kit, nodes: &[&Open], asks: &[Ask]) -> Answered {
    let mut answers = each_on(kit, nodes, asks);
    for _ in 0..LOOKS {
        if answers.iter().all(Result::is_ok) {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
        answers = each_on(kit, nodes, asks);
    }
    answers
}

#[test]
fn nodes_that_start_at_once_on_an_empty_database_migrate_it_once() {
    let (database, folder) = (Database::new(), tempfile::tempdir().unwrap());
    let settings = Settings { database: Some(database.secret()), ..Settings::in_folder(folder.path()) };
    let opened = std::thread::scope(|scope| {
        let open = || scope.spawn(|| Store::open(settings.clone(), Clock::starting_at(start())).map(Arc::new));
        let opening: Vec<_> = (0..4).map(|_| open()).collect();
        opening.into_iter().map(|one| one.join().unwrap().expect("the store opens")).collect::<Vec<_>>()
    });
    assert!(opened.iter().all(|store| store.values_key() == opened[0].values_key()), "one installation has one key");
    assert_eq!(database.number("SELECT version::bigint FROM metergate.schema_version"), i64::from(SCHEMA));
    opened.iter().for_each(|store| store.close());
}
