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
            "more than was ever counted; ok period 2/10; more than was ever counted; invalid quantity: must be above zero"),
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
