//! A PostgreSQL that is stopped, stands still or takes no more connections, under nodes at work.

use std::thread;
use std::time::Duration;

use serde_json::json;

use super::super::http::Call;
use super::super::process::Server;
use super::Cluster;
use super::locked::is_put_off;
use crate::servers::OwnPostgres;
use crate::store::Stranger;

fn wait(milliseconds: u64) {
    thread::sleep(Duration::from_millis(milliseconds));
}

/// How often it happens, with callers at work all the while.
const TIMES: usize = 1;

#[test]
fn a_postgresql_that_is_stopped_and_comes_again_has_lost_nothing() {
    let mut postgres = OwnPostgres::start(&[]);
    let test = "a_postgresql_that_is_stopped_and_comes_again_has_lost_nothing";
    let mut cluster = Cluster::new(test, 2, &postgres.url(), None);
    for stop in [OwnPostgres::stop_fast as fn(&mut OwnPostgres), OwnPostgres::stop_at_once] {
        for _ in 0..TIMES {
            cluster.work(|_, _, random| {
                wait(1500);
                stop(&mut postgres);
                wait(random.below(2000).unsigned_abs());
                postgres.start_again();
                wait(1500);
            });
            cluster.serve().unwrap_or_else(|violation| panic!("{violation}"));
        }
    }
    let reached = cluster.finish().unwrap_or_else(|violation| panic!("{violation}"));
    assert!(reached.acknowledged > 100 && reached.unknown > 0, "the run proves nothing: {reached:?}");
}

#[test]
fn a_postgresql_that_stands_still_holds_nobody_up_beyond_the_deadline() {
    let postgres = OwnPostgres::start(&[]);
    let test = "a_postgresql_that_stands_still_holds_nobody_up_beyond_the_deadline";
    let mut cluster = Cluster::new(test, 2, &postgres.url(), None);
    cluster.work(|nodes, history, _| {
        wait(1000);
        postgres.freeze();
        history.note(&json!({"postgres": "stands still"}));
        let calls = [
            Call::json("POST", "/v1/consume", json!({"organization": "probe", "meter": "calls", "quantity": 1})),
            Call::json("POST", "/v1/check", json!({"organization": "moved-0", "meter": "calls"})),
            Call::json("PUT", "/v1/meters/seats", json!({"aggregation": "sum"})),
            Call::get("/v1/organizations/moved-0"),
            Call::get("/readyz"),
        ];
        thread::scope(|scope| {
            for node in &nodes.all {
                for call in &calls {
                    let mut client = node.with(Server::client);
                    // The first ones wait for what does not come, those after them find out that nothing does.
                    scope.spawn(move || (0..2).for_each(|_| is_put_off(&mut client, call)));
                }
            }
        });
        postgres.thaw();
        history.note(&json!({"postgres": "goes on"}));
        wait(1000);
    });
    let reached = cluster.finish().unwrap_or_else(|violation| panic!("{violation}"));
    assert!(reached.acknowledged > 50 && reached.unknown > 0, "the run proves nothing: {reached:?}");
}

#[test]
fn a_postgresql_without_a_connection_to_spare_is_used_again_once_it_has_one() {
    let mut postgres = OwnPostgres::start(&["max_connections=25", "superuser_reserved_connections=0"]);
    let test = "a_postgresql_without_a_connection_to_spare_is_used_again_once_it_has_one";
    let mut cluster = Cluster::new(test, 1, &postgres.url(), None);
    cluster.work(|nodes, _, _| {
        wait(500);
        let node = &nodes.all[0];
        // Others are quicker than the node, which is away: none is left.
        node.postgres.refuse();
        node.postgres.cut();
        postgres.stop_fast();
        postgres.start_again();
        let others: Vec<_> = std::iter::from_fn(|| Stranger::try_to_come(&postgres.url())).take(30).collect();
        assert!((20..30).contains(&others.len()), "{} connections were to be had", others.len());
        node.postgres.heal();
        let consume = json!({"organization": "probe", "meter": "calls", "quantity": 1});
        for _ in 0..3 {
            is_put_off(&mut node.with(Server::client), &Call::json("POST", "/v1/consume", consume.clone()));
            is_put_off(&mut node.with(Server::client), &Call::get("/v1/organizations/moved-0"));
        }
        drop(others);
        wait(1000);
    });
    assert!(cluster.nodes.all[0].log().contains("53300"), "PostgreSQL has sent nobody away");
    let reached = cluster.finish().unwrap_or_else(|violation| panic!("{violation}"));
    assert!(reached.acknowledged > 20 && reached.unknown > 0, "the run proves nothing: {reached:?}");
}
