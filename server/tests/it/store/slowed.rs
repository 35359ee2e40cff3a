//! A PostgreSQL that is too slow for all who call at once is asked for fewer at a time, until it can.

use std::thread;
use std::time::Duration;

use metergate::clock::boot;
use metergate::store::{Request, StoreError};
use metergate_rules::time::SECOND;
use metergate_rules::window::Window;

use super::asks::{Ask, ask, create};
use super::kit::Kit;
use super::nodes::each_on;

/// Organizations, of which each costs PostgreSQL so long in a commit: together much more than the time of a turn.
const MANY: usize = 100;
const SLOW: &str = "CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql
                    AS $$ BEGIN PERFORM pg_sleep(0.08); RETURN NEW; END $$;
                    CREATE TRIGGER slow BEFORE INSERT ON metergate.blocks FOR EACH ROW EXECUTE FUNCTION public.slow()";
/// Rounds in which all have an answer, and the longest that one takes: the deadline of a call, and what a busy machine needs.
const ROUNDS: usize = 12;
const ROUND: i64 = 8 * SECOND;

#[test]
fn a_batch_that_does_not_fit_into_its_time_is_tried_in_halves_until_it_does() {
    let kit = Kit::new();
    let keys: Vec<String> = (0..MANY).map(|number| format!("other-{number}")).collect();
    let made = kit.in_one_batch(keys.iter().map(|key| Request::from(&create(key))).collect());
    assert!(made.iter().all(Result::is_ok), "{made:?}");
    let node = kit.another_of(1);
    kit.server().run(SLOW);
    let mut waiting: Vec<Ask> = keys.iter().map(|key| ask("hits", 1).of(key).id("first")).collect();
    let mut sizes = Vec::new();
    while !waiting.is_empty() && sizes.len() < ROUNDS {
        let began = boot();
        let answers = each_on(&kit, &[&node], &waiting);
        assert!(boot() - began < ROUND, "callers are answered in time");
        let all = waiting.len();
        let left = waiting.into_iter().zip(answers).filter(|(_, answer)| match answer {
            Ok(_) => false,
            Err(StoreError::Unavailable | StoreError::Unreached) => true,
            Err(error) => panic!("{error}"),
        });
        waiting = left.map(|(ask, _)| ask).collect();
        sizes.push(all - waiting.len());
        thread::sleep(Duration::from_millis(300));
    }
    println!("answered in each round: {sizes:?}");
    assert!(waiting.is_empty(), "{} are without an answer", waiting.len());
    assert!(sizes[0] < MANY / 2, "all at once do not fit");
    // It is quick again.
    kit.server().run("DROP TRIGGER slow ON metergate.blocks");
    let again = each_on(&kit, &[&node], keys.iter().map(|key| Request::from(&ask("hits", 1).of(key).id("again"))));
    assert!(again.iter().all(Result::is_ok), "{again:?}");
    assert!(keys.iter().all(|key| kit.used(key, "hits", Window::Lifetime) == 2), "each id counts once");
    kit.check().unwrap();
}
