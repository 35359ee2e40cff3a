//! `conservation`: what is stored adds up, whoever looks, whenever.

use super::kit::Kit;
use super::random_work::{Random, work};

#[test]
fn after_random_work_the_rows_are_the_fold_of_the_blocks() {
    let mut random = Random::new("after_random_work_the_rows_are_the_fold_of_the_blocks");
    for _ in 0..4 {
        let mut kit = Kit::new();
        work(&mut kit, &mut random, 120);
        kit.check().unwrap();
    }
}
