//! Reservations: they count against every window, settle once in the windows in which they were held, and lapse (D5).

use metergate_rules::id::{GrantId, ReservationId};
use metergate_rules::outcome::{Effect, Hold, What};
use metergate_rules::time::DAY;
use metergate_rules::window::Window;

use crate::kit::script::table;
use crate::kit::{API, World, plan, q, show};

#[test]
fn a_hold_counts_as_used_until_it_is_committed_or_given_back() {
    #[rustfmt::skip]
    table(&[
        ("api.day=9 api.period=10", "reserve api 7 60s; api 3; api 2; commit 1 4; api 4; api 3",
            "held 1: ok day 0+7/9, period 0+7/10; quota-exceeded day 0+7/9, period 0+7/10; \
             ok day 2+7/9, period 2+7/10; committed 1: ok day 6/9, period 6/10; quota-exceeded day 6/9, period 6/10; \
             ok day 9/9, period 9/10"),
        ("api.period=10", "reserve api 7 60s; release 1; api 10",
            "held 1: ok period 0+7/10; released 1: ok period 0/10; ok period 10/10"),
        ("api.period=10", "reserve api 11 60s; reserve api 10 60s; reserve api 1 60s",
            "quota-exceeded period 0/10; held 1: ok period 0+10/10; quota-exceeded period 0+10/10"),
        ("api.period=10", "lock operator; reserve api 1 60s", "done; organization-locked period 0/10"),
        // A reservation of nothing is one, and costs nothing.
        ("api.period=10", "reserve api 0 60s; commit 1 3", "held 1: ok period 0/10; committed 1: ok period 3/10"),
        ("api.period=10!soft", "reserve api 12 60s; commit 1 12; api 1",
            "held 1: ok period 0+12/10 over 2; committed 1: ok period 12/10 left 0 over 2; ok period 13/10 left 0 over 1"),
    ]);
}

#[test]
fn what_exceeds_the_hold_takes_what_is_free_and_the_rest_is_overage() {
    #[rustfmt::skip]
    table(&[
        ("api.period=10", "reserve api 4 60s; commit 1 6", "held 1: ok period 0+4/10; committed 1: ok period 6/10"),
        ("api.period=10", "reserve api 4 60s; api 6; commit 1 7; api 1",
            "held 1: ok period 0+4/10; ok period 6+4/10; committed 1: ok period 13/10 left 0 over 3; \
             quota-exceeded period 13/10 left 0"),
        ("api.period=10 api.day=8", "reserve api 4 60s; commit 1 9",
            "held 1: ok day 0+4/8, period 0+4/10; committed 1: ok day 9/8 left 0, period 9/10 over 1"),
        // What is held is nobody else's: facts that came meanwhile are beyond, and it is not.
        ("api.period=10", "reserve api 10 60s; event api 5; grant api 5; commit 1 10; api 1",
            "held 1: ok period 0+10/10; done; grant 1; committed 1: ok period 15/15 left 5; ok period 16/15 left 4"),
        // A lock does not stop it.
        ("api.period=10", "reserve api 4 60s; lock operator; commit 1 4",
            "held 1: ok period 0+4/10; done; committed 1: ok period 4/10"),
    ]);
}

#[test]
fn a_reservation_ends_once() {
    #[rustfmt::skip]
    table(&[
        ("api.period=10", "reserve api 4 60s; commit 1 4; commit 1 4; release 1; extend 1 60s",
            "held 1: ok period 0+4/10; committed 1: ok period 4/10; the reservation is over; the reservation is over; \
             the reservation is over"),
        ("api.period=10", "reserve api 4 60s; release 1; commit 1 4",
            "held 1: ok period 0+4/10; released 1: ok period 0/10; the reservation is over"),
        ("api.period=10", "reserve api 4 60s; wait 60s; commit 1 4; api 10",
            "held 1: ok period 0+4/10; the reservation is over; ok period 10/10"),
        ("api.period=10", "reserve api 4 60s; wait 59s; extend 1 60s; wait 59s; api 7; commit 1 1",
            "held 1: ok period 0+4/10; held 1: ok period 0+4/10; quota-exceeded period 0+4/10; committed 1: ok period 1/10"),
        ("api.period=10", "reserve api 4 1h; extend 1 1s; wait 59m; commit 1 4",
            "held 1: ok period 0+4/10; held 1: ok period 0+4/10; committed 1: ok period 4/10"),
        ("api.period=10", "commit 1 4; release 2", "there is no such reservation; there is no such reservation"),
        ("api.period=10", "reserve api 1 999ms; reserve api 1 25h; reserve peak 1 60s; reserve users 1 60s",
            "a reservation holds for 1 second to 24 hours at a time; a reservation holds for 1 second to 24 hours at a time; \
             reservations hold what adds up: sum and count meters; reservations hold what adds up: sum and count meters"),
    ]);
}

#[test]
fn it_lapses_at_its_own_time_without_anything_running() {
    let mut world = World::new([plan(1, "api.period=10")]);
    world.play("reserve api 4 90s; wait 5m");
    let due = world.account.next_notable();
    assert_eq!(due, world.account.reservations[0].ends_at, "the sweep finds it");
    assert_eq!(show::verdict(&world.consume(API, 10)), "ok period 10/10");
    let lapsed = world.entries.iter().find(|entry| matches!(entry.what, What::Due(Effect::ReservationLapsed(_))));
    assert_eq!(lapsed.unwrap().at, due);
}

/// A hold was admitted, so it stays in every interval that it touches.
#[test]
fn minutes_and_hours_hold_it_until_their_length_after_its_end() {
    #[rustfmt::skip]
    table(&[
        ("api.minute=10", "reserve api 6 30s; wait 20s; release 1; wait 60s; api 5; wait 1s; api 10",
            "held 1: ok minute 0+6/10; released 1: ok minute 6/10; quota-exceeded minute 6/10; ok minute 10/10"),
        ("api.minute=10", "reserve api 6 10m; wait 5m; api 5; api 4; commit 1 2; api 1; wait 61s; api 10",
            "held 1: ok minute 0+6/10; quota-exceeded minute 0+6/10; ok minute 4+6/10; committed 1: ok minute 10/10; \
             quota-exceeded minute 10/10; ok minute 10/10"),
        // What exceeds it takes what is free there as well, and the rest is overage.
        ("api.minute=10", "reserve api 4 10m; wait 5m; api 5; commit 1 7; wait 2m; api 10",
            "held 1: ok minute 0+4/10; ok minute 5+4/10; committed 1: ok minute 12/10 left 0 over 2; ok minute 10/10"),
        ("api.hour=10!soft", "reserve api 15 60s; commit 1 15; api 1",
            "held 1: ok hour 0+15/10 over 5; committed 1: ok hour 15/10 left 0 over 5; ok hour 16/10 left 0 over 1"),
    ]);
}

#[test]
fn it_settles_in_the_windows_in_which_it_was_held() {
    #[rustfmt::skip]
    table(&[
        // The day ends before the commit: yesterday has it, and the period.
        ("api.day=10 api.period=20", "reserve api 6 24h; clock 2026-11-23T00:00:00Z; api 10; commit 1 6",
            "held 1: ok day 0+6/10, period 0+6/20; ok day 10/10, period 10+6/20; committed 1: ok day 10/10, period 16/20"),
        // So does the period: nothing of the new one is touched.
        ("api.period=10", "clock 2026-12-22T11:05:00Z; reserve api 6 1h; clock 2026-12-22T11:06:00Z; api 10; commit 1 6",
            "held 1: ok period 0+6/10; ok period 10/10; committed 1: ok period 10/10"),
        // What exceeds it there is as of then, and what the closed period had left nobody knows: it is not overage.
        ("api.period=10", "clock 2026-12-22T11:05:00Z; reserve api 6 1h; clock 2026-12-22T11:06:00Z; api 10; commit 1 9",
            "held 1: ok period 0+6/10; ok period 10/10; committed 1: ok period 10/10"),
        ("api.period=10!soft", "clock 2026-12-22T11:05:00Z; reserve api 12 1h; clock 2026-12-22T11:06:00Z; commit 1 15",
            "held 1: ok period 0+12/10 over 2; committed 1: ok period 0/10 over 2"),
        ("api.period=10", "grant api 5; clock 2026-12-22T11:05:00Z; reserve api 12 1h; clock 2026-12-22T11:06:00Z; commit 1 15",
            "grant 1; held 1: ok period 0+12/15; committed 1: ok period 0/13"),
        // Without a limit there is nothing beyond.
        ("api.period=inf", "clock 2026-12-22T11:05:00Z; reserve api 6 1h; clock 2026-12-22T11:06:00Z; commit 1 9",
            "held 1: ok; committed 1: ok"),
        // A reset leaves what is held.
        ("api.period=10", "reserve api 6 1h; api 4; reset; api 5; commit 1 6; api 4",
            "held 1: ok period 0+6/10; ok period 4+6/10; done; quota-exceeded period 0+6/10; committed 1: ok period 6/10; \
             ok period 10/10"),
    ]);
}

#[test]
fn grants_hold_their_part_and_keep_it_past_their_end() {
    #[rustfmt::skip]
    table(&[
        ("api.period=10", "grant api 5; reserve api 12 60s; api 3; api 4; commit 1 11; api 1",
            "grant 1; held 1: ok period 0+12/15; ok period 3+12/15; quota-exceeded period 3+12/15; \
             committed 1: ok period 14/15; ok period 15/15"),
        ("api.period=10", "grant api 5 until=+1h; reserve api 12 2h; wait 1h; commit 1 12; api 1",
            "grant 1; held 1: ok period 0+12/15; committed 1: ok period 12/12; quota-exceeded period 12/12"),
        // What is given back to a grant that has ended is gone.
        ("api.period=10", "grant api 5 until=+1h; reserve api 12 2h; wait 1h; release 1; api 11",
            "grant 1; held 1: ok period 0+12/15; released 1: ok period 0/10; quota-exceeded period 0/10"),
        ("api.period=10", "grant api 5; reserve api 12 60s; void 1; commit 1 13",
            "grant 1; held 1: ok period 0+12/15; done; committed 1: ok period 13/12 left 0 over 1"),
    ]);
}

#[test]
fn a_grant_that_expires_loses_only_what_nobody_holds() {
    let mut world = World::new([plan(1, "api.period=10")]);
    world.play("grant api 5 until=+1h; reserve api 12 2h; wait 1h; api 0");
    let lost = world.entries.iter().find_map(|entry| match entry.what {
        What::Due(Effect::GrantExpired { grant: GrantId(1), lost }) => Some(lost),
        _ => None,
    });
    assert_eq!(lost, Some(q(3)));
}

#[test]
fn twenty_callers_on_five_hundred_free_units_get_six_holds_of_seventy_five() {
    let mut world = World::new([plan(1, "api.period=500")]);
    let answers: Vec<String> = (0..20).map(|_| world.play("reserve api 75 60s")).collect();
    assert_eq!(answers.iter().filter(|answer| answer.starts_with("held")).count(), 6);
    assert_eq!(world.settled().held_in(API, Window::BillingPeriod).count(), 6);
}

/// A refusal says when enough will be free at the latest, as if every hold lasted to its end.
#[test]
fn a_refusal_waits_for_holds_to_lapse() {
    let cases = [
        ("api.life=10", "reserve api 6 90s", 5, Some(90)),
        ("api.life=10", "reserve api 6 90s; api 4", 7, None), // never, even without the hold
        ("api.period=10", "reserve api 6 90s", 5, Some(90)),
        ("api.minute=10", "reserve api 6 90s", 5, Some(90 + 61)),
    ];
    for (limits, script, quantity, seconds) in cases {
        let mut world = World::new([plan(1, limits)]);
        world.play(script);
        let verdict = world.consume(API, quantity);
        assert_eq!(verdict.retry_at.map(|at| at.seconds_from(world.now)), seconds, "{limits}: {script}");
    }
}

#[test]
fn so_many_are_open_at_most() {
    let mut world = World::new([plan(1, "")]);
    for _ in 0..1000 {
        assert!(world.play("reserve api 1 60s").starts_with("held"));
    }
    assert_eq!(world.play("reserve api 1 60s"), "the organization has too many open reservations");
    assert!(world.play("release 7; reserve api 1 60s").contains("held 1001"));
    let made = world.entries.iter().filter_map(|entry| match &entry.what {
        What::Reservation(hold) => Some(hold),
        _ => None,
    });
    assert!(made.into_iter().any(|hold| **hold == Hold::Released(ReservationId(7))));
    assert!(world.account.reservations.iter().all(|held| held.ends_at.since(held.at) <= DAY));
}
