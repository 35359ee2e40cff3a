//! `hard_limit`, of what is counted in Redis: nothing beyond the limit is admitted, and nothing counts twice.

use std::sync::Arc;
use std::time::Duration;

use metergate::redis::rates::Rates;

use super::kit::{World, ask, becomes, link, runtime, server, used};
use crate::invariant::{Held, holds};
use crate::proxy::Proxy;
use crate::servers::{cluster, prefix, redis};

/// Fifty callers on two nodes ask for three times the limit.
pub(super) fn callers_at_once(url: &str) {
    runtime().block_on(async {
        let (prefix, world) = (prefix(), Arc::new(World::minute(301)));
        let nodes = [0, 1].map(|_| Arc::new(Rates::new(link(url, &prefix), &prefix)));
        let call = |i: usize| {
            let (rates, world) = (Arc::clone(&nodes[i % 2]), Arc::clone(&world));
            tokio::spawn(async move {
                let mut admitted = 0;
                for _ in 0..10 {
                    let verdict = world.consume(&rates, 3).await.expect("Redis answers");
                    admitted += i64::from(verdict.reason.is_none());
                }
                admitted
            })
        };
        let callers: Vec<_> = (0..50).map(call).collect();
        let mut admitted = 0;
        for caller in callers {
            admitted += caller.await.unwrap();
        }
        assert_eq!((admitted, world.used(&nodes[0]).await), (100, 300), "{url}");
        assert_eq!(world.consume(&nodes[1], 1).await.unwrap().reason, None, "one is left");
    });
}

#[test]
fn fifty_callers_over_two_nodes_are_admitted_to_the_limit_exactly() {
    callers_at_once(&redis());
    callers_at_once(&cluster());
}

/// Nine calls of which every third loses its reply: each counts once, whether its caller was told so or not.
pub(super) fn replies_are_lost(planted: Option<&str>) -> Held {
    let proxy = Proxy::before(redis().strip_prefix("redis://").unwrap());
    let bug: Vec<_> = planted.map(|bug| ("METERGATE_PLANTED", bug)).into_iter().collect();
    let (_server, admin) = server(&format!("redis://{}", proxy.address()), &bug);
    let answers = |quantity| {
        let answer = ask(&admin, "hits", quantity);
        (answer.status == 200).then(|| answer.json())
    };
    let (mut told, mut attempted) = (0, 0);
    for i in 0..9 {
        becomes("Redis answers", || answers(0));
        if i % 3 == 1 {
            proxy.lose_reply_of(&[b"EVALSHA"]);
        }
        told += i64::from(answers(1).is_some_and(|answer| answer["allowed"] == true));
        attempted += 1;
    }
    let counted = used(&becomes("Redis answers", || answers(0)));
    holds("hard_limit", proxy.sprung() == 3, || format!("{} replies were lost, should be 3", proxy.sprung()))?;
    let detail = || format!("told {told}, counted {counted}, attempted {attempted}");
    holds("hard_limit", told <= counted && counted <= attempted, detail)?;
    let more =
        std::iter::repeat_with(|| answers(1)).take(5).flatten().filter(|answer| answer["allowed"] == true).count();
    holds("hard_limit", i64::try_from(more) == Ok(10 - counted), || format!("{more} more after {counted} of 10"))
}

#[test]
fn a_call_whose_reply_is_lost_counts_once() {
    replies_are_lost(None).unwrap_or_else(|violation| panic!("{violation}"));
}

#[test]
fn a_request_that_arrives_twice_counts_once() {
    // The second time while its answer is kept, and when that is gone, and the request too old.
    for after in [Duration::from_millis(50), Duration::from_millis(2500)] {
        runtime().block_on(async {
            let (prefix, world) = (prefix(), World::minute(10));
            let proxy = Proxy::before(redis().strip_prefix("redis://").unwrap());
            let rates = Rates::new(link(&format!("redis://{}", proxy.address()), &prefix), &prefix);
            assert_eq!(world.consume(&rates, 1).await.unwrap().reason, None, "Redis knows the script");
            proxy.repeat(b"EVALSHA", after);
            assert_eq!(world.consume(&rates, 4).await.unwrap().reason, None);
            for _ in 0..500 {
                if proxy.repeated() == 1 {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            assert_eq!((proxy.sprung(), proxy.repeated()), (1, 1), "it arrived again");
            assert_eq!(world.used(&rates).await, 5);
        });
    }
}

#[test]
fn what_arrives_after_its_caller_has_long_given_up_does_not_count() {
    runtime().block_on(async {
        let (prefix, world) = (prefix(), World::minute(10));
        let proxy = Proxy::before(redis().strip_prefix("redis://").unwrap());
        let rates = Rates::new(link(&format!("redis://{}", proxy.address()), &prefix), &prefix);
        assert_eq!(world.consume(&rates, 1).await.unwrap().reason, None);
        proxy.hold();
        assert!(world.consume(&rates, 4).await.is_err());
        tokio::time::sleep(Duration::from_millis(1300)).await;
        proxy.heal();
        assert_eq!(world.used_again(&rates).await, 1);
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(world.used(&rates).await, 1);
    });
}
