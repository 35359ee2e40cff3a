//! PostgreSQL or Redis stands still or is slow, and decisions on meters of which nothing is recorded go on.

use std::thread;
use std::time::Duration;

use metergate::clock::boot;
use metergate_rules::time::SECOND;
use serde_json::{Value, json};

use super::kit::{ask, becomes, server};
use crate::proxy::Proxy;
use crate::servers::redis;
use crate::store::Database;

/// An answer comes within so many microseconds: a tenth of a second for Redis or an account, and what the machine needs. On a busy
/// one there is now and then one that takes longer, or that Redis does not decide in time: of so many not more than one.
const SOON: i64 = 7 * SECOND / 10;
const OF: usize = 20;
/// How long PostgreSQL stands still: longer than a read waits for it, and than nobody tries to read after that.
const STANDS: i64 = 4 * SECOND;
/// Callers at the same time.
const CALLERS: usize = 4;

#[test]
fn what_redis_counts_is_answered_at_once_while_postgresql_stands_still() {
    let database = Database::new();
    let (_, rest) = database.url().split_once('@').expect("a user");
    let host = rest.split('/').next().expect("a host").to_owned();
    let proxy = Proxy::before(&host);
    let url = database.url().replace(&host, &proxy.address());
    let (server, admin) = server(&redis(), &[("METERGATE_DATABASE_URL", &url)]);
    ask(&admin, "hits", 1).is(200);
    // Its account is one that was read a while ago.
    thread::sleep(Duration::from_millis(1_100));
    proxy.hold();
    let until = boot() + STANDS;
    let calls = || {
        let (client, mut late, mut calls) = (server.admin(), 0, 0);
        while boot() < until {
            let began = boot();
            let answer = ask(&client, "hits", 1);
            let is_decided = answer.status == 200 && answer.json().get("degraded").is_none();
            (late, calls) = (late + usize::from(!is_decided || boot() - began >= SOON), calls + 1);
        }
        (late, calls)
    };
    let asked: Vec<(usize, usize)> = thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS).map(|_| scope.spawn(calls)).collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).collect()
    });
    println!("late ones and calls of each: {asked:?}");
    assert!(asked.iter().all(|(late, calls)| late * OF <= *calls && *calls > 50), "{asked:?}");
    proxy.heal();
    becomes("a lock is seen again", || {
        let locked = admin.put("/v1/organizations/acme/lock", json!({"reason": "late"}));
        (locked.status < 300).then_some(())
    });
    becomes("it refuses", || {
        let answer = ask(&admin, "hits", 0).is(200).json();
        (answer["reason"] == "organization-locked").then_some(())
    });
}

#[test]
fn an_array_on_a_slow_redis_waits_for_all_of_its_items_together() {
    let proxy = Proxy::before(redis().strip_prefix("redis://").unwrap());
    let (_server, admin) = server(&format!("redis://{}", proxy.address()), &[]);
    ask(&admin, "polls", 1).is(200);
    proxy.delay(Duration::from_millis(20));
    let item = json!({"organization": "acme", "meter": "polls", "quantity": 0});
    let began = boot();
    let answers = admin.post("/v1/consume", Value::Array(vec![item; 200])).is(200).json();
    let took = boot() - began;
    println!("200 items took {took} µs");
    assert_eq!(answers["data"].as_array().map(Vec::len), Some(200), "{answers}");
    assert!(took < 3 * SECOND, "one after the other would take eight seconds; it took {took} µs");
}
