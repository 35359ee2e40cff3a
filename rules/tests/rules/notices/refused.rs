//! What others are told of refusals: the first of an hour at once, and how many there were once it is over.

use metergate_rules::apply;
use metergate_rules::notice::{Notice, told};
use metergate_rules::outcome::What;
use metergate_rules::plan::Plan;

use super::{World, all_notices, days, plan, table, time};

#[test]
fn a_refusal_is_told_once_an_hour_for_each_limit_or_reason() {
    #[rustfmt::skip]
    table(&[
        ("api.period=10",            "api 11; api 11; wait 53m; api 11",         "period refused"),
        ("api.period=10",            "api 11; wait 54m; api 11; api 12",         "period refused; period refused"),
        ("api.minute=5 api.day=8",   "api 9; api 6",                             "minute refused; day refused"),
        ("api.minute=5 api.day=8",   "api 6; api 9",                             "minute refused; day refused"),
        ("api.period=1 calls.period=1", "api 2; calls 1; calls 1",               "period refused; period refused"),
        ("api.period=1 calls.period=1", "api 1 + calls 1; api 1 + calls 1",      "period refused; period refused"),
        ("api.period=10",            "reserve api 11 60s; reserve api 11 60s",   "period refused"),
        ("api.period=10",            "lock operator; api 1; api 11; lock billing; api 1", "organization-locked"),
        ("api.period=10",            "lock billing; api 1; unlock; lock operator; api 1", "subscription-inactive; organization-locked"),
        ("api.period=10",            "api 11; api 10; api 1",                    "period refused"),
    ]);
    let mut world = World::new([Plan { other_meters: false, ..plan(1, "api.period=10") }]);
    world.play("calls 1; calls 1; other 1; wait 3h; calls 1");
    assert_eq!(
        days(&world),
        "not-entitled 2026-11-22T11:06; not-entitled 2026-11-22T11:06; not-entitled 2026-11-22T14:06"
    );
    assert_eq!(world.account.refusals.len(), 1, "what was told in an hour that is over is forgotten");
}

#[test]
fn how_often_something_was_refused_in_an_hour_is_told_once_it_is_over() {
    let mut world = World::new([plan(1, "api.period=10")]);
    world.play("api 11; api 11; lock operator; api 1; unlock");
    assert_eq!(
        world.settled().next_notable(),
        time("2026-11-22T12:00:10Z"),
        "when all nodes have said what they counted"
    );
    world.play("wait 54m; calls 1; api 11; wait 5h; calls 1; wait 5h; calls 1");
    let in_hours: Vec<(String, String)> = all_notices(&world)
        .filter_map(|(entry, notice)| match notice {
            Notice::RefusedInHour { of, .. } => Some((entry.at.to_string(), of.hour.to_string())),
            _ => None,
        })
        .collect();
    let [first, second] =
        [("2026-11-22T12:00:10Z", "2026-11-22T11:00:00Z"), ("2026-11-22T13:00:10Z", "2026-11-22T12:00:00Z")]
            .map(|(at, hour)| (at.to_owned(), hour.to_owned()));
    assert_eq!(in_hours, [first.clone(), first, second], "of the limit and the lock, then of the limit");
    assert!(world.account.refusals.is_empty());
    // Of one refusal they were told when it was.
    let (entry, _) = all_notices(&world).find(|(_, notice)| matches!(notice, Notice::RefusedInHour { .. })).unwrap();
    let mut entry = entry.clone();
    for (many, is_told) in [(1, false), (2, true)] {
        let What::Noticed(Notice::RefusedInHour { count, .. }) = &mut entry.what else { unreachable!() };
        *count = many;
        assert_eq!(told(&entry, &world.account, &world.account).len(), usize::from(is_told), "{many}");
    }
}

#[test]
fn a_refusal_without_id_writes_what_is_told_and_nothing_else() {
    let mut world = World::new([plan(1, "api.period=10!@80,100")]);
    for expected in [1, 0, 0] {
        let command = world.consumption(&[(crate::kit::API, 11)]);
        let outcome = metergate_rules::decide::decide(
            &world.account,
            &command,
            &[Default::default()],
            false,
            &world.catalogue,
            world.now,
        )
        .unwrap();
        assert!(outcome.entries.iter().all(|entry| matches!(entry.what, What::Noticed(_))), "{outcome:?}");
        assert_eq!(outcome.entries.len(), expected);
        outcome.entries.iter().for_each(|entry| apply::apply(&mut world.account, entry));
    }
}
