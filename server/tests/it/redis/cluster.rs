//! A cluster whose slots move.

use std::time::Duration;

use metergate::redis::rates::Rates;

use super::kit::{HITS, World, link, runtime};
use crate::servers::{cluster, prefix, redis_cli};

/// Moves what is in a slot from one master to another.
fn move_slot(masters: &[&str], slot: &str, from: &str, to: &str) {
    let id = |master: &str| redis_cli(master, &["CLUSTER", "MYID"]);
    assert_eq!(redis_cli(to, &["CLUSTER", "SETSLOT", slot, "IMPORTING", &id(from)]), "OK");
    assert_eq!(redis_cli(from, &["CLUSTER", "SETSLOT", slot, "MIGRATING", &id(to)]), "OK");
    let (host, port) = to.rsplit_once(':').unwrap();
    loop {
        let keys = redis_cli(from, &["CLUSTER", "GETKEYSINSLOT", slot, "100"]);
        let keys: Vec<&str> = keys.lines().filter(|key| !key.is_empty()).collect();
        if keys.is_empty() {
            break;
        }
        let migrate = [&["MIGRATE", host, port, "", "0", "5000", "KEYS"], &keys[..]].concat();
        assert!(["OK", "NOKEY"].contains(&redis_cli(from, &migrate).as_str()));
    }
    for master in [to, from].iter().chain(masters.iter().filter(|master| **master != to && **master != from)) {
        assert_eq!(redis_cli(master, &["CLUSTER", "SETSLOT", slot, "NODE", &id(to)]), "OK");
    }
}

#[test]
fn what_was_used_stays_when_its_slot_moves() {
    let url = cluster();
    let masters: Vec<&str> = url.strip_prefix("redis+cluster://").unwrap().split(',').collect();
    runtime().block_on(async {
        let (prefix, world) = (prefix(), World::minute(100));
        let rates = Rates::new(link(&url, &prefix), &prefix);
        assert_eq!(world.consume(&rates, 5).await.unwrap().reason, None);
        let key = format!("{prefix}:{{{}}}:minute:{}", world.account.id, HITS.0);
        let slot = redis_cli(masters[0], &["CLUSTER", "KEYSLOT", &key]);
        let has_it = |master: &&&str| redis_cli(master, &["CLUSTER", "COUNTKEYSINSLOT", &slot]) != "0";
        let from = masters.iter().find(has_it).expect("a master has the key");
        let to = masters.iter().find(|master| *master != from).unwrap();
        move_slot(&masters, &slot, from, to);
        let (mut told, mut attempted) = (5, 5);
        while attempted < 25 {
            attempted += 1;
            if let Ok(verdict) = world.consume(&rates, 1).await {
                told += i64::from(verdict.reason.is_none());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let used = world.used_again(&rates).await;
        assert!(told <= used && used <= attempted, "told {told}, counted {used}, attempted {attempted}");
        assert!(told > 15, "the client finds the slot: {told} of {attempted} were answered");
        let verdict = world.consume(&rates, 1).await.expect("the new master answers");
        assert_eq!(verdict.limits[0].used.units(), used + 1);
        assert_eq!(redis_cli(to, &["EXISTS", &key]), "1");
    });
}
