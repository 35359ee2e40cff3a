//! A thread that asks Redis has a connection of its own, beside the one that is known to work.

use std::time::Duration;

use metergate::redis::rates::Rates;

use super::kit::{World, link, runtime};
use crate::servers::{OwnRedis, prefix};

/// Calls one after the other; and looks until something must be so.
const CALLS: i64 = 50;
const LOOKS: usize = 500;

/// The connections of others than whoever looks, oldest first.
fn connections(redis: &OwnRedis) -> Vec<u64> {
    let told = redis.ask(&["CLIENT", "LIST"]);
    let others = told.lines().filter(|line| !line.contains("cmd=client"));
    let id = |line: &str| line.split([' ', '=']).nth(1).and_then(|id| id.parse().ok());
    let mut ids: Vec<u64> = others.map(|line| id(line).unwrap_or_else(|| panic!("no id: {line}"))).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn who_asks_has_a_connection_of_its_own_and_one_that_redis_closes_costs_no_answer() {
    let (redis, prefix, world) = (OwnRedis::start(), prefix(), World::minute(10_000));
    runtime().block_on(async {
        let rates = Rates::new(link(&redis.url(), &prefix), &prefix);
        let mut asked = 0;
        for closed in 0..3 {
            // It is made beside the calls, which go over the other meanwhile.
            let mut looks = 0;
            while connections(&redis).len() != 2 {
                world.consume(&rates, 1).await.expect("Redis answers");
                tokio::time::sleep(Duration::from_millis(10)).await;
                (asked, looks) = (asked + 1, looks + 1);
                assert!(looks < LOOKS, "after {closed} were closed: {:?}", connections(&redis));
            }
            let before = connections(&redis);
            redis.ask(&["CLIENT", "KILL", "ID", &before[1].to_string()]);
            for _ in 0..CALLS {
                world.consume(&rates, 1).await.expect("it is asked over the other");
                asked += 1;
            }
            assert_eq!(connections(&redis)[0], before[0], "the other is as it was");
        }
        assert_eq!(world.used(&rates).await, asked, "each counts once");
    });
}
