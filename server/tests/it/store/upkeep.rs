//! What goes by itself, and what may take long, is in nobody's way who decides.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use metergate::clock::boot;
use metergate::store::Store;

use super::asks::ask;
use super::kit::Kit;
use super::told::FailPoint;

/// Old blocks, of organizations that nobody knows: two steps of a thousand.
const OLD: &str = "INSERT INTO metergate.blocks (organization, sequence, at, data)
                   SELECT gen_random_uuid(), 1, 0, '' FROM generate_series(1, 2000)";
/// How many there are of them.
const THERE: &str = "SELECT count(*) FROM blocks WHERE at = 0";
/// Milliseconds that a step takes here: longer than a caller waits.
const STEP: i64 = 5500;

/// Asks until it is over. How long each took, in microseconds.
fn asks(store: &Arc<Store>, over: &AtomicBool, begun: &mpsc::Sender<()>) -> Vec<i64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let port = store.port();
    let receiving = runtime.spawn(port.clone().receive());
    let mut took = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let (began, asked) = (boot(), ask("hits", 1));
        let answers = runtime.block_on(store.execute(&port, vec![(&asked).into()]));
        assert!(answers.as_ref().is_ok_and(|answers| answers.iter().all(Result::is_ok)), "{answers:?}");
        took.push(boot() - began);
        let _ = begun.send(());
        thread::sleep(Duration::from_millis(5));
    }
    receiving.abort();
    took
}

/// Callers stop when this goes, also where a test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn nobody_who_decides_waits_while_old_blocks_go_and_other_upkeep_waits_for_one_step_at_most() {
    let kit = Kit::alone();
    // All of its calls would be in one line.
    let node = kit.another_of(1);
    thread::sleep(Duration::from_secs(1));
    kit.server().run(OLD);
    let _slow = FailPoint::set("retain-step", &format!("sleep({STEP})"));
    let (over, (begun, begins)) = (AtomicBool::new(false), mpsc::channel());
    let (gone, retained, kept, took) = thread::scope(|scope| {
        let _over = Over(&over);
        let calling = scope.spawn(|| asks(&node.store, &over, &begun));
        begins.recv().unwrap();
        let began = boot();
        let (retained, kept) = kit.runtime.block_on(async {
            let keep = async {
                tokio::time::sleep(Duration::from_millis(200)).await;
                node.store.put_setting(&node.port, "beside", "it".to_owned()).await.unwrap();
                boot() - began
            };
            tokio::join!(async { (node.store.retain(&node.port).await.unwrap(), boot() - began) }, keep)
        });
        over.store(true, Ordering::Relaxed);
        (retained.0, retained.1, kept, calling.join().unwrap())
    });
    let longest = took.iter().max().unwrap();
    println!("{} calls beside {retained} µs of it, of which one took {longest} µs; other upkeep {kept} µs", took.len());
    assert_eq!((gone, kit.server().number(THERE)), (2, 0));
    assert!(retained >= 3 * STEP * 1000, "each step took its time: {retained} µs");
    assert!(took.len() > 20 && *longest < STEP * 1000, "one waited for {longest} µs");
    assert!(kept < retained - STEP * 1000, "it came between two steps: {kept} µs of {retained}");
}
