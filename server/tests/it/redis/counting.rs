//! The script against the rules.

use std::sync::Arc;

use metergate::clock;
use metergate::redis::accounts::{Accounts, FRESH, STALE};
use metergate::redis::rates::{Decision, Once, Rates};
use metergate_rules::id::{OrganizationId, OrganizationRef};
use metergate_rules::outcome::Reason;
use metergate_rules::plan::Enforcement::{Hard, Soft};
use metergate_rules::time::{MINUTE, SECOND};
use metergate_rules::window::Window::{Hour, Minute};

use super::kit::{World, link, runtime, verdict};
use crate::servers::{OwnRedis, prefix, redis};

#[cfg(feature = "faults")]
mod hours {
    use metergate_rules::command::{Command, Completion, Consume};
    use metergate_rules::outcome::{Reply, Verdict};
    use metergate_rules::time::{HOUR, Time};
    use metergate_rules::{apply, decide};

    use super::*;
    use crate::invariant::most_in_any;
    use crate::store::Random;

    /// What the account answers to the same.
    fn in_account(world: &mut World, quantity: i64, now: Time) -> Verdict {
        let account = world.account.at(&world.catalogue, now).unwrap().account.into_owned();
        let (items, properties) = (vec![world.item(quantity)], String::new());
        let consume = Consume { items, properties, outcome: Completion::default(), llm: None };
        let outcome = decide::decide(&account, &Command::Consume(consume), &[], false, &world.catalogue, now).unwrap();
        world.account = account;
        outcome.entries.iter().for_each(|entry| apply::apply(&mut world.account, entry));
        let Reply::Decided(mut verdicts) = outcome.reply else { panic!("it was not decided") };
        verdicts.remove(0)
    }

    #[test]
    fn the_script_answers_as_the_account_does_over_hours() {
        let mut random = Random::new("the_script_answers_as_the_account_does_over_hours");
        let limits: [&[_]; 3] =
            [&[(Minute, 10, Hard), (Hour, 40, Hard)], &[(Hour, 25, Hard)], &[(Minute, 5, Soft), (Hour, 40, Hard)]];
        runtime().block_on(async {
            for limits in limits {
                let (prefix, mut world) = (prefix(), World::new(limits));
                let rates = Rates::new(link(&redis(), &prefix), &prefix).by_told_time();
                let (mut now, mut admitted, mut refused) = (world.account.time, Vec::new(), 0);
                for _ in 0..400 {
                    let span = *random.one_of(&[2, SECOND, 40 * SECOND, 90 * SECOND]);
                    now = now.plus(random.below(span));
                    rates.tell_time(now);
                    let quantity = random.below(8);
                    let told = world.consume(&rates, quantity).await.unwrap();
                    assert_eq!(told, in_account(&mut world, quantity, now), "{quantity} at {now}");
                    match told.reason {
                        None => admitted.push((now, quantity)),
                        Some(_) => refused += 1,
                    }
                }
                let hard = |window| {
                    limits.iter().find(|limit| limit.0 == window && limit.2 == Hard).map_or(i64::MAX, |limit| limit.1)
                };
                let (minute, hour) = (most_in_any(MINUTE, &admitted), most_in_any(HOUR, &admitted));
                assert!(minute <= hard(Minute) && hour <= hard(Hour), "{minute} in a minute, {hour} in an hour");
                assert!(refused > 20 && hour >= 20, "the limits were reached: {refused}, {hour}");
            }
        });
    }

    #[test]
    fn a_refused_id_stays_refused_when_quota_is_free_again() {
        runtime().block_on(async {
            let (prefix, world) = (prefix(), World::minute(10));
            let rates = Rates::new(link(&redis(), &prefix), &prefix).by_told_time();
            let begin = world.account.time;
            rates.tell_time(begin);
            assert_eq!(world.consume(&rates, 8).await.unwrap().reason, None);
            let (refused, other) = ([7; 16], [8; 16]);
            let once = |id| Once { id, fingerprint: 1 };
            let first = world.under(&rates, 5, once(refused)).await;
            assert_eq!(verdict(first.clone()).reason, Some(Reason::QuotaExceeded));
            rates.tell_time(begin.plus(2 * MINUTE));
            let Decision::Decided { verdict: again, replayed: true, .. } = world.under(&rates, 5, once(refused)).await
            else {
                panic!("it was decided anew");
            };
            assert_eq!(again, verdict(first));
            assert_eq!(verdict(world.under(&rates, 5, once(other)).await).reason, None);
        });
    }
}

#[test]
fn an_id_has_its_first_answer_and_counts_once_whatever_the_limits_are_by_then() {
    runtime().block_on(async {
        let (prefix, mut world) = (prefix(), World::minute(10));
        let rates = Rates::new(link(&redis(), &prefix), &prefix);
        let once = Once { id: [1; 16], fingerprint: 5 };
        let first = verdict(world.under(&rates, 6, once).await);
        let (id, lowered) = (world.account.id, World::minute(3));
        world.catalogue = lowered.catalogue;
        for _ in 0..3 {
            let Decision::Decided { verdict, replayed: true, .. } = world.under(&rates, 6, once).await else {
                panic!("it was decided anew");
            };
            assert_eq!(verdict, first);
        }
        assert_eq!((world.used(&rates).await, id), (6, world.account.id));
        assert_eq!(world.under(&rates, 7, Once { fingerprint: 6, ..once }).await, Decision::Mismatch);
    });
}

#[test]
fn an_account_is_believed_for_a_second_and_for_minutes_where_none_can_be_read() {
    let (accounts, account) = (Accounts::default(), Arc::new(World::minute(1).account));
    let named = |i: u128| OrganizationRef::Id(OrganizationId(i.to_be_bytes()));
    for (age, fresh, serves) in [(0, true, true), (2 * SECOND, false, true), (6 * MINUTE, false, false)] {
        accounts.put(named(0), Arc::clone(&account), clock::boot() - age);
        let is_kept = |most| accounts.get(&named(0), most).is_some();
        assert_eq!((is_kept(FRESH), is_kept(STALE)), (fresh, serves), "{age} µs");
    }
    for i in 1..=20_000 {
        accounts.put(named(i), Arc::clone(&account), clock::boot());
    }
    let kept = (0..=20_000).filter(|i| accounts.get(&named(*i), FRESH).is_some()).count();
    assert!((1..=10_000).contains(&kept), "{kept} are kept");
    accounts.forget(&named(20_000));
    assert!(accounts.get(&named(20_000), STALE).is_none());
}

#[test]
fn a_check_counts_nothing_and_organizations_are_apart() {
    runtime().block_on(async {
        let (prefix, one, other) = (prefix(), World::minute(10), World::minute(10));
        let rates = Rates::new(link(&redis(), &prefix), &prefix);
        let checked = verdict(rates.check(one.account.id, &one.rate(10)).await.unwrap());
        assert_eq!((checked.reason, checked.limits[0].remaining.units()), (None, 10));
        assert_eq!(one.consume(&rates, 10).await.unwrap().reason, None);
        assert_eq!(one.consume(&rates, 1).await.unwrap().reason, Some(Reason::QuotaExceeded));
        assert_eq!(other.consume(&rates, 10).await.unwrap().reason, None);
    });
}

#[test]
fn a_script_that_redis_has_forgotten_is_sent_again_and_what_was_used_stays() {
    runtime().block_on(async {
        let (own, prefix, world) = (OwnRedis::start(), prefix(), World::new(&[(Minute, 10, Hard), (Hour, 20, Soft)]));
        let rates = Rates::new(link(&own.url(), &prefix), &prefix);
        assert_eq!(world.consume(&rates, 4).await.unwrap().reason, None);
        assert_eq!(own.ask(&["SCRIPT", "FLUSH"]), "OK");
        assert_eq!(world.consume(&rates, 4).await.unwrap().limits[0].used.units(), 8);
        let keys = own.ask(&["KEYS", &format!("{prefix}:*")]);
        for key in keys.lines() {
            // One that was to live for a moment may have ended since: that is -2, and one that lives for ever -1.
            let lives: i64 = own.ask(&["PTTL", key]).parse().unwrap();
            assert!(lives == -2 || (0..2 * 3_600_000).contains(&lives), "{key} lives for {lives} ms");
            assert!(key.contains(&format!(":{{{}}}:", world.account.id)) || key.contains(":probe:"), "{key}");
        }
        assert_eq!(own.ask(&["FLUSHALL"]), "OK");
        assert_eq!(world.consume(&rates, 10).await.unwrap().limits[0].used.units(), 10, "it is counted anew");
    });
}
