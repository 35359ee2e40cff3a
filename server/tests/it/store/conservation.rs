//! `conservation`: what is stored adds up, whoever looks, whenever.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::kit::Kit;
use super::random_work::{Random, work};
use crate::invariant::conservation;

const SNAPSHOTS: usize = 20;

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
    let (folder, snapshots) = (kit.folder().to_owned(), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            while snapshots.fetch_add(1, Ordering::Relaxed) < SNAPSHOTS {
                conservation(&folder).unwrap();
            }
        });
        while !reading.is_finished() {
            work(&mut kit, &mut random, 10);
        }
    });
}
