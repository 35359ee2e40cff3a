//! A master that gives way to its replica. One test alone: the failover would disturb others.

use std::time::Duration;

use metergate::redis::rates::Rates;

use super::hard_limit::callers_at_once;
use super::kit::{World, becomes, link, runtime};
use crate::servers::{prefix, redis_cli, replica_has_all, sentinel};

/// Where the master is, as a Sentinel says.
fn master(watcher: &str) -> String {
    let answer = redis_cli(watcher, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "metergate"]);
    answer.lines().collect::<Vec<_>>().join(":")
}

#[test]
fn after_a_failover_the_new_master_counts_and_nothing_restarts() {
    let url = sentinel();
    let (nodes, _) = url.strip_prefix("redis+sentinel://").unwrap().split_once('/').unwrap();
    let watcher = nodes.split(',').next().unwrap();
    callers_at_once(&url);
    runtime().block_on(async {
        let (prefix, world, before) = (prefix(), World::minute(100), master(watcher));
        let rates = Rates::new(link(&url, &prefix), &prefix);
        assert_eq!(world.consume(&rates, 5).await.unwrap().reason, None);
        // The replica has it too before anybody asks for the failover.
        becomes("the replica has it", || replica_has_all(&before).then_some(()));
        // Not while another is under way.
        let begins = || (redis_cli(watcher, &["SENTINEL", "FAILOVER", "metergate"]) == "OK").then_some(());
        becomes("the failover begins", begins);
        let (mut told, mut attempted) = (5, 5);
        for _ in 0..600 {
            if master(watcher) != before && world.consume(&rates, 0).await.is_ok() {
                break;
            }
            if let Ok(verdict) = world.consume(&rates, 1).await {
                told += i64::from(verdict.reason.is_none());
            }
            attempted += 1;
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        assert_ne!(master(watcher), before, "there was a failover");
        // The old master was not told of what the new one counts; what it admitted last may be lost with it.
        let used = world.used_again(&rates).await;
        assert!(used >= 5 && used <= attempted, "told {told}, counted {used}, attempted {attempted}");
        for more in 1..=3 {
            let verdict = world.consume(&rates, 1).await.expect("the new master answers");
            assert_eq!(verdict.limits[0].used.units(), used + more);
        }
    });
}
