//! A pooler between the program and PostgreSQL: one that lends sessions for as long as connections last does no harm, any other is
//! refused, before anything is made and after anything was done.

use std::thread;
use std::time::Duration;

use metergate::store::StoreError;
use metergate_rules::window::Window;

use super::asks::{Ask, ask};
use super::engine::{Database, Stranger};
use super::kit::Kit;
use super::nodes::each_on;
use super::tls::refused;
use crate::servers::OwnPooler;

/// What whoever runs it is to do.
const ADVICE: &str = "pool_mode = session";
/// Ways in which a pooler chooses the session that it lends next, or cleans one that it was given back.
const WAYS: [&str; 4] = ["", "server_round_robin = 1", "default_pool_size = 1", "server_reset_query_always = 1"];
/// Sessions that it has before the program comes.
const OTHERS: usize = 3;
/// Calls after which a node must have seen what is between, and how long is rested after each.
const CALLS: usize = 500;
const REST: Duration = Duration::from_millis(20);

#[test]
fn a_pooler_that_lends_by_the_transaction_or_the_statement_is_refused_before_anything_is_made() {
    let database = Database::new();
    for lends_by in ["transaction", "statement"] {
        for way in WAYS {
            let pooler = OwnPooler::start(database.url(), lends_by, way);
            let why = refused(&pooler.url(database.url()));
            assert!(why.as_ref().is_some_and(|why| why.contains(ADVICE)), "{lends_by} {way}: {why:?}");
        }
    }
    assert_eq!(database.number("SELECT count(*) FROM pg_namespace WHERE nspname = 'metergate'"), 0);
}

#[test]
fn a_pooler_that_has_many_sessions_to_lend_is_refused_as_well() {
    let database = Database::new();
    for way in ["", "server_round_robin = 1"] {
        let pooler = OwnPooler::start(database.url(), "transaction", way);
        let url = pooler.url(database.url());
        let others: Vec<_> = (0..OTHERS).map(|_| Stranger::come(&url)).collect();
        others.iter().for_each(|other| other.does("BEGIN; SELECT 1"));
        others.iter().for_each(|other| other.does("COMMIT"));
        let why = refused(&url);
        assert!(why.as_ref().is_some_and(|why| why.contains(ADVICE)), "{way}: {why:?}");
    }
}

#[test]
fn a_pooler_that_lends_for_as_long_as_connections_last_is_as_good_as_none() {
    let database = Database::new();
    let mut pooler = OwnPooler::start(database.url(), "session", "");
    assert_eq!(refused(&pooler.url(database.url())), None, "it makes the schema through it");
    let kit = Kit::new();
    let node = kit.another_by(pooler.url(kit.server().url()));
    let asks: Vec<Ask> = (0..20).map(|number| ask("hits", 1).id(&number.to_string())).collect();
    let answers = each_on(&kit, &[&node, kit.open()], &asks);
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(kit.used("acme", "hits", Window::Lifetime), 20);
    // It has fewer sessions than a node needs.
    pooler.lends_by("session", "default_pool_size = 1");
    let why = refused(&pooler.url(database.url())).expect("one session is too few");
    assert!(why.contains("its pool is too small"), "{why}");
}

#[test]
fn a_node_under_which_a_pooler_begins_to_lend_by_the_transaction_stops_and_has_lost_nothing() {
    let kit = Kit::new();
    let mut pooler = OwnPooler::start(kit.server().url(), "session", "");
    let node = kit.another_by(pooler.url(kit.server().url()));
    let answered = |number: usize| each_on(&kit, &[&node], [&ask("hits", 1).id(&number.to_string())]).pop().unwrap();
    answered(0).expect("it works");
    assert_eq!(node.store.is_outdated(), None);
    pooler.lends_by("transaction", "");
    let mut asked = 1;
    while node.store.is_outdated().is_none() && asked < CALLS {
        match answered(asked) {
            Ok(_) | Err(StoreError::Unavailable | StoreError::Unreached) => asked += 1,
            Err(error) => panic!("{error}"),
        }
        thread::sleep(REST);
    }
    println!("{asked} calls until it stopped");
    let why = node.store.is_outdated();
    assert!(why.as_ref().is_some_and(|why| why.contains(ADVICE)), "{why:?}");
    assert!(answered(asked).is_err(), "it decides nothing any more");
    let repeated: Vec<Ask> = (0..asked).map(|number| ask("hits", 1).id(&number.to_string())).collect();
    let answers = each_on(&kit, &[kit.open()], &repeated);
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(kit.used("acme", "hits", Window::Lifetime), i64::try_from(asked).unwrap(), "each id counts once");
    kit.check().unwrap();
}
