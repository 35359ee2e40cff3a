//! Early refusals.

use std::time::Duration;

use metergate::redis::marks::{Mark, Marks};
use metergate_rules::outcome::Verdict;
use metergate_rules::time::SECOND;

use super::kit::{HITS, World, link, q, runtime};
use crate::proxy::Proxy;
use crate::servers::{OwnRedis, cluster, prefix, redis};

/// The answer where so much of ten was used, and three more were asked for.
fn answer(world: &World, used: i64) -> Verdict {
    let found = metergate_rules::decide::rate::Counted { used: q(used), ..Default::default() };
    world.rate(3).verdict(&[found], world.account.time, true)
}

fn mark(world: &World, version: u64, used: i64) -> Mark {
    Mark::of(version, &answer(world, used), world.account.time).expect("it was refused")
}

#[test]
fn only_a_limit_that_refused_leaves_a_mark_and_it_refuses_what_is_more_than_was_left() {
    let world = World::minute(10);
    let refused = mark(&world, 1, 8);
    assert_eq!([1, 2, 3, 9].map(|quantity| refused.refuses(q(quantity))), [false, false, true, true]);
    assert_eq!(Mark::of(1, &answer(&world, 7), world.account.time), None, "three were left");
    let mut locked = answer(&world, 8);
    locked.reason = Some(metergate_rules::outcome::Reason::OrganizationLocked);
    assert_eq!(Mark::of(1, &locked, world.account.time), None);
}

#[test]
fn a_mark_gives_way_to_a_higher_version_alone_and_is_gone_within_a_second() {
    for url in [redis(), cluster()] {
        runtime().block_on(async {
            let (prefix, world, other) = (prefix(), World::minute(10), World::minute(10));
            let nodes = [0, 1].map(|_| Marks::new(link(&url, &prefix), &prefix));
            let of = |version, used| mark(&world, version, used);
            let id = world.account.id;
            assert_eq!(nodes[0].read(id, HITS).await, Ok(None));
            assert_eq!(nodes[0].write(id, HITS, &of(5, 10)).await, Ok(true));
            assert_eq!(nodes[1].read(id, HITS).await, Ok(Some(of(5, 10))));
            assert_eq!(nodes[1].read(other.account.id, HITS).await, Ok(None));
            assert_eq!(nodes[1].write(id, HITS, &of(4, 9)).await, Ok(false));
            assert_eq!(nodes[1].write(id, HITS, &of(5, 9)).await, Ok(false));
            assert_eq!(nodes[1].write(id, HITS, &of(6, 9)).await, Ok(true));
            assert_eq!(nodes[0].read(id, HITS).await, Ok(Some(of(6, 9))));
            assert_eq!(nodes[0].clear(id, HITS, 7).await, Ok(true));
            assert_eq!(nodes[0].write(id, HITS, &of(6, 10)).await, Ok(false), "a grant has cleared it");
            assert_eq!(nodes[1].read(id, HITS).await, Ok(None));
            assert_eq!(nodes[0].write(id, HITS, &of(8, 10)).await, Ok(true));
            tokio::time::sleep(Duration::from_millis(1050)).await;
            assert_eq!(nodes[1].read(id, HITS).await, Ok(None), "it lives for a second");
        });
    }
}

#[test]
fn a_mark_is_gone_before_more_is_free() {
    runtime().block_on(async {
        let (prefix, world) = (prefix(), World::minute(10));
        let marks = Marks::new(link(&redis(), &prefix), &prefix);
        let id = world.account.id;
        let mut soon = mark(&world, 1, 10);
        soon.verdict.limits[0].resets_at = Some(soon.at.plus(SECOND / 4));
        assert_eq!(marks.write(id, HITS, &soon).await, Ok(true));
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(marks.read(id, HITS).await, Ok(None));
        soon.verdict.limits[0].resets_at = Some(soon.at);
        assert_eq!(marks.write(id, HITS, &Mark { version: 2, ..soon }).await, Ok(false), "it would refuse nothing");
    });
}

#[test]
fn a_mark_that_arrives_late_refuses_nobody() {
    runtime().block_on(async {
        let (prefix, world) = (prefix(), World::minute(10));
        let proxy = Proxy::before(redis().strip_prefix("redis://").unwrap());
        let slow = Marks::new(link(&format!("redis://{}", proxy.address()), &prefix), &prefix);
        let (marks, id) = (Marks::new(link(&redis(), &prefix), &prefix), world.account.id);
        assert_eq!(slow.write(id, HITS, &mark(&world, 1, 10)).await, Ok(true));
        proxy.hold();
        assert!(slow.write(id, HITS, &mark(&world, 2, 10)).await.is_err());
        assert_eq!(marks.clear(id, HITS, 3).await, Ok(true));
        // What cleared it is forgotten by now.
        tokio::time::sleep(Duration::from_millis(2200)).await;
        proxy.heal();
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(marks.read(id, HITS).await, Ok(None));
    });
}

#[test]
fn without_redis_nothing_is_refused_early() {
    runtime().block_on(async {
        let (mut own, prefix, world) = (OwnRedis::start(), prefix(), World::minute(10));
        let marks = Marks::new(link(&own.url(), &prefix), &prefix);
        assert_eq!(marks.write(world.account.id, HITS, &mark(&world, 1, 10)).await, Ok(true));
        own.kill();
        assert!(marks.read(world.account.id, HITS).await.is_err());
        own.start_again();
        for _ in 0..500 {
            if marks.read(world.account.id, HITS).await == Ok(None) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("it does not go on by itself");
    });
}
