//! Early refusals: marks alone. `early.rs` has them with nodes.

use std::time::Duration;

use metergate::clock::boot;
use metergate::redis::marks::{Mark, Marks};
use metergate_rules::outcome::{Reason, Verdict};
use metergate_rules::time::SECOND;
use metergate_rules::window::Window;

use super::kit::{HITS, World, link, q, runtime};
use crate::proxy::Proxy;
use crate::servers::{OwnRedis, cluster, prefix, redis};

/// The answer where so much of ten was used, and three more were asked for.
fn answer(world: &World, used: i64) -> Verdict {
    let found = metergate_rules::decide::rate::Counted { used: q(used), ..Default::default() };
    world.rate(3).verdict(&[found], world.account.time, true)
}

fn mark(world: &World, version: u64, used: i64) -> Mark {
    let (organization, verdict) = (world.account.profile.key.clone(), answer(world, used));
    assert!(Mark::is_of(&verdict), "it was refused");
    Mark { version, organization, asked: q(3), verdict, at: world.account.time }
}

#[test]
fn only_a_limit_that_refused_leaves_a_mark() {
    let world = World::minute(10);
    assert!(!Mark::is_of(&answer(&world, 7)), "three were left");
    let mut locked = answer(&world, 8);
    locked.reason = Some(Reason::OrganizationLocked);
    assert!(!Mark::is_of(&locked));
}

#[test]
fn a_mark_refuses_what_was_asked_and_less_that_violates_the_same_for_a_second() {
    let world = World::minute(10);
    let (refused, now) = (mark(&world, 1, 8), world.account.time);
    let refuses = |mark: &Mark| [1, 2, 3, 4].map(|quantity| mark.refuses(q(quantity), now));
    assert_eq!(refuses(&refused), [false, false, true, false], "a minute slides: less is free earlier");
    let mut of_day = mark(&world, 1, 9);
    of_day.verdict.limits[0].window = Window::Day;
    assert_eq!(refuses(&of_day), [false, false, true, false], "it never fits, and less may");
    of_day.verdict.retry_at = Some(now.plus(SECOND));
    assert_eq!(refuses(&of_day), [false, true, true, false], "one was left");
    of_day.verdict.limits[0].held = q(1);
    assert_eq!(refuses(&of_day), [false, false, true, false], "a reservation that lapses may be enough for less");
    let after = |micros| refused.refuses(q(3), now.plus(micros));
    assert_eq!([-SECOND - 1, -SECOND, SECOND, SECOND + 1].map(after), [false, true, true, false]);
}

#[test]
fn a_mark_gives_way_to_no_lower_version_and_is_gone_within_a_second() {
    for url in [redis(), cluster()] {
        runtime().block_on(async {
            let (prefix, world, other) = (prefix(), World::minute(10), World::minute(10));
            let nodes = [0, 1].map(|_| Marks::new(link(&url, &prefix), &prefix));
            let (of, id) = (|version, used| mark(&world, version, used), world.account.id);
            assert_eq!(nodes[0].read(id, HITS).await, Ok(None));
            assert_eq!(nodes[0].write(id, HITS, &of(5, 10), boot()).await, Ok(true));
            assert_eq!(nodes[1].read(id, HITS).await, Ok(Some(of(5, 10))));
            assert_eq!(nodes[1].read(other.account.id, HITS).await, Ok(None));
            assert_eq!(nodes[1].write(id, HITS, &of(4, 9), boot()).await, Ok(false));
            assert_eq!(nodes[1].write(id, HITS, &of(6, 9), boot()).await, Ok(true));
            assert_eq!(nodes[0].read(id, HITS).await, Ok(Some(of(6, 9))));
            assert_eq!(nodes[0].tell(id, 7).await, Ok(true));
            assert_eq!(nodes[1].read(id, HITS).await, Ok(None), "a grant has cleared it");
            assert_eq!(nodes[0].write(id, HITS, &of(6, 10), boot()).await, Ok(false));
            assert_eq!(nodes[0].tell(id, 6).await, Ok(false));
            assert_eq!(nodes[0].write(id, HITS, &of(7, 10), boot()).await, Ok(true), "it knew of the grant");
            assert_eq!(nodes[1].read(id, HITS).await, Ok(Some(of(7, 10))));
            tokio::time::sleep(Duration::from_millis(1050)).await;
            assert_eq!(nodes[1].read(id, HITS).await, Ok(None), "it lives for a second");
            let before = boot() - 11 * SECOND / 10;
            assert!(nodes[1].write(id, HITS, &of(8, 10), before).await.is_err(), "the record was asked before that");
            assert_eq!(nodes[0].read(id, HITS).await, Ok(None));
        });
    }
}

#[test]
fn what_a_node_has_given_holds_there_at_once() {
    runtime().block_on(async {
        let (own, prefix, world) = (OwnRedis::start(), prefix(), World::minute(10));
        let proxy = Proxy::before(own.url().strip_prefix("redis://").unwrap());
        let marks = Marks::new(link(&own.url(), &prefix), &prefix);
        let far = Marks::new(link(&format!("redis://{}", proxy.address()), &prefix), &prefix);
        let id = world.account.id;
        assert_eq!(marks.write(id, HITS, &mark(&world, 1, 10), boot()).await, Ok(true));
        assert_eq!(far.read(id, HITS).await, Ok(Some(mark(&world, 1, 10))));
        proxy.hold_one_way(crate::proxy::Way::ToServer);
        far.clear(id, 2);
        assert!(marks.read(id, HITS).await.unwrap().is_some(), "Redis has not heard of it");
        proxy.heal();
        marks.clear(id, 2);
        assert_eq!(marks.read(id, HITS).await, Ok(None));
    });
}

#[test]
fn a_mark_is_gone_before_more_is_free() {
    runtime().block_on(async {
        let (prefix, world) = (prefix(), World::minute(10));
        let marks = Marks::new(link(&redis(), &prefix), &prefix);
        let id = world.account.id;
        let mut soon = mark(&world, 1, 10);
        soon.verdict.limits[0].resets_at = Some(soon.at.plus(SECOND / 4));
        assert_eq!(marks.write(id, HITS, &soon, boot()).await, Ok(true));
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(marks.read(id, HITS).await, Ok(None));
        soon.verdict.limits[0].resets_at = Some(soon.at);
        assert_eq!(
            marks.write(id, HITS, &Mark { version: 2, ..soon }, boot()).await,
            Ok(false),
            "it would refuse nothing"
        );
    });
}

#[test]
fn a_mark_that_arrives_late_refuses_nobody() {
    runtime().block_on(async {
        let (prefix, world) = (prefix(), World::minute(10));
        let proxy = Proxy::before(redis().strip_prefix("redis://").unwrap());
        let slow = Marks::new(link(&format!("redis://{}", proxy.address()), &prefix), &prefix);
        let (marks, id) = (Marks::new(link(&redis(), &prefix), &prefix), world.account.id);
        assert_eq!(slow.write(id, HITS, &mark(&world, 1, 10), boot()).await, Ok(true));
        proxy.hold();
        assert!(slow.write(id, HITS, &mark(&world, 2, 10), boot()).await.is_err());
        assert_eq!(marks.tell(id, 3).await, Ok(true));
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
        assert_eq!(marks.write(world.account.id, HITS, &mark(&world, 1, 10), boot()).await, Ok(true));
        own.kill();
        assert!(marks.read(world.account.id, HITS).await.is_err());
        assert_eq!(marks.seek(world.account.id, HITS).await, None);
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
