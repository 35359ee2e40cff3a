//! A limit that changes within a window, and comes back.

use metergate_rules::notice::Notice;
use metergate_rules::outcome::Entry;

use super::{World, notices, plan, table};

#[test]
fn a_maximum_that_comes_back_is_the_limit_that_it_was() {
    #[rustfmt::skip]
    table(&[
        ("api.period=100!@80,100", "api 100; override api.period=50; api 1; clear api.period; api 1",
            "80% period 100/100; 100% period 100/100; 80% period 100/50; 100% period 100/50; period over by 50; period refused"),
        ("api.period=100!@80", "api 80; override api.period=200; api 80; clear api.period; event api 1; override api.period=200; api 1",
            "80% period 80/100; 80% period 160/200; period over by 61"),
        ("api.period=100!@80", "api 80; plan 2; api 420; plan 1; event api 1; plan 2; api 1",
            "80% period 80/100; 50% period 500/1000; period over by 401"),
        ("api.period=10!soft", "api 12; override api.period=20!soft; api 9; clear api.period; api 1", "period over by 2; period over by 1"),
        // Until the counter begins anew.
        ("api.period=100!@80", "api 80; override api.period=200; api 80; clear api.period; reset api; api 80",
            "80% period 80/100; 80% period 160/200; 80% period 80/100"),
        ("api.day=100!@80", "api 80; override api.day=50; event api 1; clear api.day; wait 1d; api 80; override api.day=50; event api 1",
            "80% day 80/100; 80% day 81/50; day over by 31; 80% day 80/100; 80% day 81/50; day over by 31"),
    ]);
}

#[test]
fn of_more_maxima_than_are_remembered_nothing_is_told_twice() {
    let mut world = World::new([plan(1, "api.period=1000!@50")]);
    world.play("api 500");
    for _ in 0..2 {
        for max in 500..600 {
            world.play(&format!("override api.period={max}; event api 1"));
        }
        world.play("clear api.period; event api 1");
    }
    let of = |(_, notice): (&Entry, &Notice)| match notice {
        Notice::Threshold { percent, max, .. } => (*percent, *max),
        Notice::Overage { max, .. } => (0, *max),
        other => panic!("{other:?}"),
    };
    let mut told: Vec<_> = notices(&world).into_iter().map(of).collect();
    assert!(told.len() > 20 && world.account.maxima.len() <= 32, "{told:?}");
    told.sort_unstable();
    assert!(told.windows(2).all(|pair| pair[0] != pair[1]), "{told:?}");
}
