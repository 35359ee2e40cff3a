//! A seed's worth of disturbances.

use super::Cluster;
use super::disturbances::disturb;
use crate::store::Database;

/// Rounds of all disturbances.
const ROUNDS: usize = 2;

#[test]
fn nodes_that_are_killed_and_cut_off_at_random_decide_as_one_and_lose_nothing() {
    let database = Database::new();
    let test = "nodes_that_are_killed_and_cut_off_at_random_decide_as_one_and_lose_nothing";
    let mut cluster = Cluster::new(test, 3, database.url(), None);
    for _ in 0..ROUNDS {
        cluster.work(disturb);
    }
    cluster.finish().unwrap_or_else(|violation| panic!("{violation}")).all();
    cluster.elsewhere.reached();
    cluster.locks.reached();
}
