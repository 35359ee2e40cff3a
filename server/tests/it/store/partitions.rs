//! Ids stand in partitions, which go whole when all in them are old: nobody who decides waits for that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use metergate::clock::boot;
use metergate::store::Store;
use metergate_rules::time::SECOND;

use super::asks::ask;
use super::engine::Stranger;
use super::kit::{Kit, Open};

/// One of which everything is old, as the program makes them.
const OLD: &str = "SET search_path = metergate; CREATE TABLE event_ids_0 (LIKE event_ids INCLUDING ALL);
                   ALTER TABLE event_ids ATTACH PARTITION event_ids_0 FOR VALUES FROM (0) TO (2592000000000)";
/// How many there are of it.
const THERE: &str = "SELECT count(*) FROM pg_class WHERE relname = 'event_ids_0' AND relkind = 'r'";

/// Asks under new ids until it is over. How long one took at most, in microseconds, and how many there were.
fn asks_on(store: &Arc<Store>, over: &AtomicBool) -> (i64, usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let port = store.port();
    let receiving = runtime.spawn(port.clone().receive());
    let (mut longest, mut calls) = (0, 0);
    while !over.load(Ordering::Relaxed) {
        let (began, asked) = (boot(), ask("tokens", 1).id(&format!("meanwhile-{calls}")));
        let answers = runtime.block_on(store.execute(&port, vec![(&asked).into()]));
        assert!(answers.as_ref().is_ok_and(|answers| answers.iter().all(Result::is_ok)), "{answers:?}");
        (longest, calls) = (longest.max(boot() - began), calls + 1);
        thread::sleep(Duration::from_millis(2));
    }
    receiving.abort();
    (longest, calls)
}

fn retain(kit: &Kit, node: &Open) {
    kit.runtime.block_on(node.store.retain(&node.port)).unwrap();
}

#[test]
fn an_old_partition_of_ids_goes_once_nobody_reads_it_and_is_in_nobodys_way_until_then() {
    let kit = Kit::new();
    let database = kit.server();
    database.run(OLD);
    let dump = Stranger::come(database.url());
    dump.does("BEGIN; LOCK TABLE metergate.event_ids IN ACCESS SHARE MODE");
    let (store, over) = (Arc::clone(&kit.open().store), Arc::new(AtomicBool::new(false)));
    let calling = thread::spawn({
        let over = Arc::clone(&over);
        move || asks_on(&store, &over)
    });
    // A node starts meanwhile, and looks for partitions that are old.
    let other = kit.another();
    (0..5).for_each(|_| retain(&kit, &other));
    retain(&kit, kit.open());
    over.store(true, Ordering::Relaxed);
    let (longest, calls) = calling.join().unwrap();
    println!("{calls} calls meanwhile, of which the longest took {longest} µs");
    assert!(calls > 10 && longest < SECOND, "{calls} calls, of which one waited for {longest} µs");
    assert_eq!(database.number(THERE), 1, "somebody reads it");
    dump.does("COMMIT");
    retain(&kit, &other);
    assert_eq!(database.number(THERE), 0);
    kit.check().unwrap();
}
