//! Ids stand in partitions, which go whole when all in them are old: nobody who decides waits for that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
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

/// Whoever waits for what the dump holds waits for longer; on a busy machine a commit takes a while by itself.
const WAITED: i64 = 2 * SECOND;
/// Calls that there are meanwhile at least, and how often is tried to let it go, at least and at most.
const CALLS: usize = 10;
const TRIES: std::ops::Range<usize> = 5..200;

/// Asks under new ids until it is over, and counts. How long one took at most, in microseconds.
fn asks_on(store: &Arc<Store>, over: &AtomicBool, calls: &AtomicUsize) -> i64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let port = store.port();
    let receiving = runtime.spawn(port.clone().receive());
    let mut longest = 0;
    while !over.load(Ordering::Relaxed) {
        let number = calls.load(Ordering::Relaxed);
        let (began, asked) = (boot(), ask("tokens", 1).id(&format!("meanwhile-{number}")));
        let answers = runtime.block_on(store.execute(&port, vec![(&asked).into()]));
        assert!(answers.as_ref().is_ok_and(|answers| answers.iter().all(Result::is_ok)), "{answers:?}");
        longest = longest.max(boot() - began);
        calls.store(number + 1, Ordering::Relaxed);
        thread::sleep(Duration::from_millis(2));
    }
    receiving.abort();
    longest
}

/// The caller stops when this goes, also where a test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
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
    let (store, over, calls) = (Arc::clone(&kit.open().store), AtomicBool::new(false), AtomicUsize::new(0));
    let (other, longest) = thread::scope(|scope| {
        let _over = Over(&over);
        let calling = scope.spawn(|| asks_on(&store, &over, &calls));
        // A node starts meanwhile, and looks for partitions that are old.
        let other = kit.another();
        for tries in 0..TRIES.end {
            retain(&kit, &other);
            if tries >= TRIES.start && calls.load(Ordering::Relaxed) > CALLS {
                break;
            }
        }
        retain(&kit, kit.open());
        over.store(true, Ordering::Relaxed);
        (other, calling.join().unwrap())
    });
    let calls = calls.into_inner();
    println!("{calls} calls meanwhile, of which the longest took {longest} µs");
    assert!(calls > CALLS && longest < WAITED, "{calls} calls, of which one waited for {longest} µs");
    assert_eq!(database.number(THERE), 1, "somebody reads it");
    dump.does("COMMIT");
    retain(&kit, &other);
    assert_eq!(database.number(THERE), 0);
    kit.check().unwrap();
}
