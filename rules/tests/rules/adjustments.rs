//! Corrections by an amount (M6): counters follow, never below zero, and grants get back what they gave last.

use crate::kit::script::table;
use crate::kit::{World, plan, show};

#[test]
fn an_adjustment_counts_like_an_event_of_its_time_and_below_zero_nothing_does() {
    #[rustfmt::skip]
    table(&[
        ("api.day=10 api.period=10", "api 4; adjust api 3; api 0; adjust api -5; api 0",
            "ok day 4/10, period 4/10; done; ok day 7/10, period 7/10; done; ok day 2/10, period 2/10"),
        // Of yesterday it does not touch today.
        ("api.day=10 api.period=10", "api 4; wait 1d; api 1; adjust api -3 @-1d; api 0",
            "ok day 4/10, period 4/10; ok day 1/10, period 5/10; done; ok day 1/10, period 2/10"),
        // What today has not counted cannot go from it.
        ("api.day=10 api.period=10", "api 4; wait 1d; api 1; adjust api -3; api 0",
            "ok day 4/10, period 4/10; ok day 1/10, period 5/10; done; ok day 0/10, period 2/10"),
        ("api.period=10", "adjust api -1; api 2; adjust api -3; adjust api 0",
            "at most 0 can be taken off here; ok period 2/10; at most 2 can be taken off here; invalid quantity: must be above zero"),
        // A fact, so a limit does not stop it, and a lock neither.
        ("api.period=10", "lock operator; adjust api 12; unlock; api 1", "done; done; done; quota-exceeded period 12/10 left 0"),
        ("bytes.period=50", "bytes 40; adjust bytes 10; bytes 51", "ok period 40/50; done; quota-exceeded period 10/50"),
        ("peak.period=5", "peak 3; adjust peak 1; adjust users 1; adjust api 1 @+1h",
            "ok period 3/5; only sum and count meters are adjusted by an amount; of a level the level is set; \
             only sum and count meters are adjusted by an amount; of a level the level is set; \
             an adjustment cannot lie in the future"),
        // Before a reset it no longer touches the counter.
        ("api.period=10", "api 4; wait 1h; reset; api 2; adjust api -1 @-30m; api 0", "ok period 4/10; done; ok period 2/10; done; ok period 2/10"),
    ]);
}

#[test]
fn grants_get_back_what_they_gave_last_unless_they_have_ended() {
    let cases = [
        ("grant api 3; grant api 3; api 15; adjust api -2", "3/3 0/3"),
        ("grant api 3; grant api 3; api 15; adjust api -4", "1/3 0/3"),
        ("grant api 3; grant api 3; api 15; adjust api -9", "0/3 0/3"),
        ("grant api 3 until=+1h; grant api 3; api 15; wait 1h; adjust api -4", "3/3 0/3"),
        ("grant api 3; api 12; adjust api 2", "3/3"),
        // What the counter that is open has drawn, not what another had.
        ("grant api 5 prio=1; api 12; clock 2026-12-23T00:00:00Z; grant api 5; api 13; adjust api -4", "2/5 0/5"),
        ("grant api 5; api 12; clock 2026-12-23T00:00:00Z; api 3; adjust api -3", "2/5"),
        // What went beyond the limit goes first.
        ("grant api 5; event api 20; adjust api -5", "5/5"),
        ("grant api 5; event api 20; adjust api -7", "3/5"),
    ];
    for (script, grants) in cases {
        let mut world = World::new([plan(1, "api.period=10")]);
        world.play(script);
        assert_eq!(show::grants(&world), grants, "{script}");
    }
}

/// The part of a grant that has ended leaves the counter and comes back to nobody: not to the base either.
#[test]
fn what_came_from_an_ended_grant_does_not_come_back_as_base() {
    #[rustfmt::skip]
    table(&[
        ("api.period=10", "grant api 3 until=+1h; api 13; wait 1h; adjust api -4; api 1; api 1",
            "grant 1; ok period 13/13; done; ok period 10/10; quota-exceeded period 10/10"),
        ("api.period=10", "grant api 3 until=+1h; api 13; wait 1h; adjust api -2; api 1",
            "grant 1; ok period 13/13; done; quota-exceeded period 11/11"),
    ]);
}

/// Reports follow, and no quarter hour falls below zero.
#[test]
fn what_is_taken_off_is_taken_from_what_was_counted() {
    #[rustfmt::skip]
    let cases = [ // script, its last answer, what reports hold by day and hour
        ("api 4; wait 1h; api 2; adjust api -3",      "done",   "22T11:3"),
        ("api 4; wait 1h; api 2; adjust api -7",      "at most 6 can be taken off here", "22T11:4 22T12:2"),
        ("api 4; wait 1d; api 2; adjust api -3",      "done",   "22T11:3"),
        ("api 4; wait 1d; api 2; adjust api -3 @-1d", "done",   "22T11:1 23T11:2"),
        ("api 4; wait 1d; api 2; adjust api -5 @-1d", "at most 4 can be taken off here", "22T11:4 23T11:2"),
        ("api 4; wait 2h; api 3; adjust api -5 @-1h", "done",   "22T13:2"),
        ("api 4; wait 40d; adjust api -3",            "done",   "22T11:1"),
        ("event api 4 @-1h; api 1; undo 1; adjust api -2", "at most 1 can be taken off here", "22T11:1"),
        // What came early for a quarter hour that has not begun is not taken from the one before it.
        ("clock 2026-11-22T11:13:00Z; event api 4 @+3m; adjust api -3 @-1m", "at most 0 can be taken off here", "22T11:4"),
    ];
    for (script, answer, holds) in cases {
        let mut world = World::new([plan(1, "api.period=10")]);
        assert_eq!(world.play(script).rsplit("; ").next(), Some(answer), "{script}");
        let held = world.reported(crate::kit::API).into_iter().filter(|(_, sum)| *sum != 0);
        let held: Vec<String> = held.map(|(at, sum)| format!("{}:{sum}", &at.to_string()[8..13])).collect();
        assert_eq!(held.join(" "), holds, "{script}");
    }
}

#[test]
fn a_level_that_stands_already_is_no_change() {
    let mut world = World::new([plan(1, "bytes.period=50")]);
    world.play("bytes 40; wait 1h; adjust bytes 10");
    let (entries, audit) = (world.entries.len(), world.audit.len());
    assert_eq!(world.play("adjust bytes 10; wait 1m; adjust bytes 10"), "done; done");
    assert_eq!((world.entries.len(), world.audit.len()), (entries, audit));
}
