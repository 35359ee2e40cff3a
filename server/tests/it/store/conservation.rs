//! `conservation`: what is stored adds up, whoever looks, whenever.

use std::sync::atomic::{AtomicBool, Ordering};

use super::kit::Kit;
use super::random_work::{Random, work};
use crate::invariant::conservation;

#[test]
fn after_random_work_the_rows_are_the_fold_of_the_blocks() {
    let mut random = Random::new("after_random_work_the_rows_are_the_fold_of_the_blocks");
    for _ in 0..4 {
        let mut kit = Kit::new();
        work(&mut kit, &mut random, 120);
        kit.check().unwrap();
    }
}

#[test]
fn every_snapshot_that_can_be_read_adds_up() {
    let mut random = Random::new("every_snapshot_that_can_be_read_adds_up");
    let mut kit = Kit::new();
    let (folder, at_work) = (kit.folder().to_owned(), AtomicBool::new(true));
    let snapshots = std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut snapshots = 0;
            while at_work.load(Ordering::Relaxed) {
                conservation(&folder).unwrap();
                snapshots += 1;
            }
            snapshots
        });
        let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(&mut kit, &mut random, 200)));
        at_work.store(false, Ordering::Relaxed);
        let snapshots = reading.join().unwrap();
        worked.map(|()| snapshots).unwrap()
    });
    assert!(snapshots >= 5, "only {snapshots} snapshots were read");
}
