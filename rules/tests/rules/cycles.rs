//! What time brings about, moved: billing cycles (P3), trials (P5), plans at the period's end (P6), test clocks (P10).

use metergate_rules::account::{Account, Status};
use metergate_rules::decide::cycle::moved;
use metergate_rules::outcome::{Effect, What};
use metergate_rules::plan::TrialEnd;

use crate::kit::{API, World, plan, show, time, trial};

/// The open period with the start that is shown, as `22 Nov 11:06 to 22 Dec 11:06`.
fn period(account: &Account) -> String {
    let day = |at: metergate_rules::time::Time| at.to_string()[..16].replace('T', " ");
    let (shown, stored) = (account.shown_period(), account.windows.period);
    let start = if shown == stored { String::new() } else { format!("{} shown as ", day(stored.start)) };
    format!("{start}{} to {}", day(shown.start), day(shown.end))
}

#[test]
fn a_move_of_the_cycle_moves_dates_only() {
    #[rustfmt::skip]
    let cases = [ // cycle, the open period, the next one; created 2026-11-22T11:06, moved on 30 November
        ("2026-11-01",           "2026-11-22 11:06 shown as 2026-11-01 00:00 to 2026-12-01 00:00", "2026-12-01 00:00 to 2027-01-01 00:00"),
        ("2024-01-31",           "2026-11-22 11:06 shown as 2026-11-30 00:00 to 2026-12-31 00:00", "2026-12-31 00:00 to 2027-01-31 00:00"),
        ("2026-12-15",           "2026-11-22 11:06 to 2026-12-15 00:00", "2026-12-15 00:00 to 2027-01-15 00:00"),
        ("2027-11-30",           "2026-11-22 11:06 to 2027-11-30 00:00", "2027-11-30 00:00 to 2027-12-30 00:00"),
        ("2026-11-10T08:30:00Z", "2026-11-22 11:06 shown as 2026-11-10 08:30 to 2026-12-10 08:30", "2026-12-10 08:30 to 2027-01-10 08:30"),
    ];
    for (cycle, open, next) in cases {
        let mut world = World::new([plan(1, "api.period=10")]);
        let answers = world.play(&format!("api 4; clock 2026-11-30T12:00:00Z; cycle {cycle}; api 1"));
        assert_eq!(answers, "ok period 4/10; done; ok period 5/10", "{cycle}: the counter keeps its value");
        assert_eq!(period(&world.settled()), open, "{cycle}");
        world.now = world.account.windows.period.end;
        assert_eq!(world.play("api 1"), "ok period 1/10", "{cycle}");
        assert_eq!(period(&world.settled()), next, "{cycle}");
    }
}

#[test]
fn a_date_is_midnight_in_the_organizations_zone() {
    let mut world = World::at("2026-11-22T11:06:00Z", "America/New_York", [plan(1, "api.period=10")]);
    world.play("cycle 2026-12-15");
    assert_eq!(world.account.windows.period.end, time("2026-12-15T05:00:00Z"));
}

#[test]
fn a_preview_is_what_the_move_makes() {
    let mut world = World::new([plan(1, "api.period=10")]);
    for cycle in ["2026-11-01", "2027-03-31", "2020-02-29"] {
        let foreseen = moved(&world.settled(), cycle.parse().unwrap(), world.now).unwrap();
        world.play(&format!("cycle {cycle}"));
        let made = (world.account.windows.period, world.account.shown_start);
        assert_eq!((foreseen.period, foreseen.shown_start), made, "{cycle}");
    }
}

#[test]
fn a_member_brings_the_next_reset_forward_once_a_year() {
    let cases = [
        (
            "cycle 2026-12-01 member; cycle 2026-11-25 member",
            "done; the next reset was brought forward within the last 12 months",
        ),
        ("cycle 2026-12-01 member; cycle 2027-06-01 member", "done; done"), // later is no advantage
        ("cycle 2026-12-01 member; cycle 2026-11-25", "done; done"),        // an operator may
        ("cycle 2026-12-01; cycle 2026-11-25 member", "done; done"),
        ("cycle 2026-12-01 member; wait 365d; cycle 2027-11-25 member", "done; done"),
        ("lock billing; cycle 2026-12-01 member; cycle 2026-12-01", "done; the organization is locked; done"),
        (
            "cycle 2027-11-23; cycle 2026-12-22T11:06:00Z; cycle 2026-12-22T11:06:00Z",
            "the billing cycle can begin at most a year ahead; done; done",
        ),
    ];
    for (script, answers) in cases {
        assert_eq!(World::new([plan(1, "")]).play(script), answers, "{script}");
    }
}

#[test]
fn a_cycle_begins_a_year_ahead_at_most_by_the_calendar_of_its_zone() {
    let far = "the billing cycle can begin at most a year ahead";
    #[rustfmt::skip]
    let cases = [ // now, zone, cycle, answer
        ("2026-11-22T11:06:00Z", "UTC",        "2027-11-22",              "done"),
        ("2026-11-22T11:06:00Z", "UTC",        "2027-11-22T11:06:00Z",    "done"),
        ("2026-11-22T11:06:00Z", "UTC",        "2027-11-22T11:06:00.1Z",  far),
        ("2026-11-22T11:06:00Z", "UTC",        "2027-11-23",              far),
        ("2027-06-01T00:00:00Z", "UTC",        "2028-06-01",              "done"), // 366 days
        ("2028-02-29T12:00:00Z", "UTC",        "2029-02-28",              "done"),
        ("2028-02-29T12:00:00Z", "UTC",        "2029-03-01",              far),
        ("2026-11-22T20:00:00Z", "Asia/Tokyo", "2027-11-23",              "done"), // it is the 23rd there
        ("2026-11-22T20:00:00Z", "Asia/Tokyo", "2027-11-24",              far),
    ];
    for (now, zone, cycle, answer) in cases {
        let mut world = World::at(now, zone, [plan(1, "")]);
        assert_eq!(world.play(&format!("cycle {cycle}")), answer, "{now} {zone} {cycle}");
    }
}

#[test]
fn what_is_moved_tells_the_audit_log_and_its_repetition_does_not() {
    let mut world =
        World::new([metergate_rules::plan::Plan { trial: trial(30, TrialEnd::Lock), ..plan(1, "") }, plan(2, "")]);
    world.play("touch");
    for (change, action) in [
        ("cycle 2026-11-01", "billing.cycle"),
        ("trial 2027-03-01T00:00:00Z", "trial.extend"),
        ("plan 2 later", "plan.change"),
    ] {
        for (times, more) in [(1, 1), (2, 0)] {
            let (entries, audit) = (world.entries.len(), world.audit.len());
            assert_eq!(world.play(change), "done");
            let now = (world.entries.len() - entries, world.audit.len() - audit);
            assert_eq!(now, (more, more), "{change}, time {times}");
        }
        let told = world.audit.last().unwrap();
        assert_eq!(told.action, action);
        assert_ne!(told.before, told.after);
    }
}

#[test]
fn an_extended_trial_goes_on_and_lifts_its_lock() {
    let mut world =
        World::new([metergate_rules::plan::Plan { trial: trial(30, TrialEnd::Lock), ..plan(1, "api.period=9") }]);
    let answers = world.play("wait 30d; api 1; trial +10d; api 1; wait 10d; api 1; trial -1d");
    let expected = "trial-expired period 0/9; done; ok period 1/9; trial-expired period 1/9; \
                    the end must lie in the future and after the start";
    assert_eq!(answers, expected);
    assert_eq!(World::new([plan(1, "")]).play("trial +10d"), "the organization has never had a trial");
}

#[test]
fn a_plan_at_the_periods_end_waits_for_it() {
    let mut world = World::new([plan(1, "api.period=5"), plan(2, "api.period=9")]);
    let answers = world.play("api 5; plan 2 later; api 1; clock 2026-12-22T11:06:00Z; api 9");
    assert_eq!(answers, "ok period 5/5; done; quota-exceeded period 5/5; ok period 9/9");
    let told = world.audit.last().unwrap();
    assert_eq!((&*told.action, told.by_system, told.at), ("plan.change", true, time("2026-12-22T11:06:00Z")));
    // A change now takes its place, and a move of the cycle takes it along.
    let mut world = World::new([plan(1, "api.period=5"), plan(2, "api.period=9")]);
    world.play("plan 2 later; plan 1; clock 2026-12-22T11:06:00Z; touch");
    assert_eq!((world.account.plan.0, world.account.scheduled), (1, None));
    let mut world = World::new([plan(1, "api.period=5"), plan(2, "api.period=9")]);
    world.play("plan 2 later; cycle 2026-12-01; clock 2026-12-01T00:00:00Z; touch");
    assert_eq!(world.account.plan.0, 2);
}

/// The boundary of the new zone that stands for the stored end makes no period of its own.
#[test]
fn a_change_of_zone_makes_no_period_of_hours() {
    #[rustfmt::skip]
    let cases = [ // zones, the open period, the next one; created 2026-11-22T11:06
        ("UTC", "America/New_York",          "2026-11-22 11:06 to 2026-12-22 11:06", "2026-12-22 11:06 to 2027-01-22 16:06"),
        ("UTC", "Asia/Tokyo",                "2026-11-22 11:06 to 2026-12-22 11:06", "2026-12-22 11:06 to 2027-01-22 02:06"),
        ("Pacific/Kiritimati", "Etc/GMT+12", "2026-11-22 11:06 to 2026-12-22 11:06", "2026-12-22 11:06 to 2027-01-23 13:06"),
        ("Etc/GMT+12", "Pacific/Kiritimati", "2026-11-22 11:06 to 2026-12-22 11:06", "2026-12-22 11:06 to 2027-01-21 09:06"),
    ];
    for (from, to, open, next) in cases {
        let mut world = World::at(crate::kit::BEGIN, from, [plan(1, "api.period=10")]);
        world.play(&format!("api 4; zone {to}"));
        assert_eq!(period(&world.settled()), open, "{from} to {to}");
        world.now = world.account.windows.period.end;
        assert_eq!(world.play("api 1"), "ok period 1/10", "{from} to {to}");
        assert_eq!(period(&world.settled()), next, "{from} to {to}");
    }
}

/// Nor does it make a month of hours, where the new zone's month has yet to begin.
#[test]
fn a_change_of_zone_makes_no_month_of_hours() {
    let mut world = World::at("2026-11-22T11:06:00Z", "Asia/Tokyo", [plan(1, "api.month=10")]);
    let answers = world.play("clock 2026-11-30T16:00:00Z; api 4; zone UTC; api 1; clock 2026-12-01T00:00:00Z; api 1");
    assert_eq!(answers, "ok month 4/10; done; ok month 5/10; ok month 6/10", "1 December has come in Tokyo before");
    assert_eq!(world.account.windows.month.end, time("2027-01-01T00:00:00Z"));
}

proptest::proptest! {
    #[test]
    fn no_period_is_shorter_than_a_month_by_more_than_the_zones_are_apart(
        begin in time("2024-01-01T00:00:00Z").micros()..time("2030-01-01T00:00:00Z").micros(),
        zones in proptest::collection::vec((proptest::sample::select(ZONES.to_vec()), 0..50_i64), 1..12),
    ) {
        let begin = metergate_rules::time::Time::from_micros(begin);
        let mut world = World::at(&begin.to_string(), "UTC", [plan(1, "api.period=10")]);
        for (zone, days) in zones {
            world.play(&format!("wait {days}d; zone {zone}"));
            let account = world.settled();
            let foreseen: Vec<_> = account.grid().resets_after(account.windows.period.end).take(3).collect();
            let mut end = account.windows.period.end;
            for expected in foreseen {
                world.now = world.now.max(end);
                let next = world.settled().windows.period;
                proptest::prop_assert_eq!((next.start, next.end), (end, expected), "as foreseen");
                end = expected;
            }
            world.now = begin.max(world.account.time);
        }
        world.now = world.now.plus(400 * metergate_rules::time::DAY);
        world.play("touch");
        let spans = world.entries.iter().filter_map(|entry| match &entry.what {
            What::Due(Effect::PeriodBegan(span)) => Some(*span),
            _ => None,
        });
        for span in spans {
            // 28 days, less 26 hours, less an hour of summer time.
            let least = 28 * metergate_rules::time::DAY - 27 * metergate_rules::time::HOUR;
            proptest::prop_assert!(span.end.since(span.start) >= least, "{span:?}");
        }
    }
}

const ZONES: [&str; 8] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Pacific/Kiritimati",
    "Etc/GMT+12",
    "Etc/GMT-14",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
];

/// A test organization, untouched.
fn test_world() -> World {
    let mut world = World::new([
        metergate_rules::plan::Plan { trial: trial(30, TrialEnd::Lock), ..plan(1, "api.day=3 api.period=9") },
        plan(2, "api.period=5"),
    ]);
    let mut profile = (**world.profile()).clone();
    profile.test = true;
    world.account.profile = profile.into();
    world.entries.clear();
    world
}

#[test]
fn a_test_organization_lives_in_its_own_time() {
    let mut world = test_world();
    let mut step = |script: &str| {
        let words: Vec<&str> = script.split(' ').collect();
        let command = world.command(&words);
        let answer = world.run(&command).map_or_else(|problem| problem.to_string(), |reply| show::reply(&reply));
        (answer, world.account.clone())
    };
    let (answer, account) = step("own 2020-01-31T10:00:00Z");
    assert_eq!((answer.as_str(), period(&account).as_str()), ("done", "2020-01-31 10:00 to 2020-02-29 10:00"));
    assert_eq!(account.trial.map(|trial| trial.ends_at), Some(time("2020-03-01T10:00:00Z")), "30 times 24 hours");
    assert_eq!(step("api 3").0, "ok day 3/3, period 3/9");
    assert_eq!(step("own 2020-01-31T09:00:00Z").0, "the clock can only be moved forward once something is recorded");
    assert_eq!(step("own 2020-02-29T10:00:00Z").0, "done");
    assert_eq!(step("api 1").0, "ok day 1/3, period 1/9", "a period has begun");
    let (_, account) = step("own 2020-05-01T00:00:00Z");
    assert_eq!((account.status, account.locks.len()), (Status::Trial, 1), "the trial is over");
    assert_eq!(step("api 1").0, "trial-expired day 0/3, period 0/9");
    let due: Vec<String> = world
        .entries
        .iter()
        .filter_map(|entry| match &entry.what {
            What::Due(Effect::PeriodBegan(_)) => Some(format!("period {}", &entry.at.to_string()[..10])),
            What::Due(Effect::TrialEnded { .. }) => Some(format!("trial {}", &entry.at.to_string()[..10])),
            _ => None,
        })
        .collect();
    assert_eq!(due, ["period 2020-02-29", "trial 2020-03-01", "period 2020-03-31", "period 2020-04-30"]);
    assert_eq!(world.used(API, metergate_rules::window::Window::Lifetime), 4);
}

/// As if it had been created then: with what its present plan begins with.
#[test]
fn the_first_setting_of_a_clock_begins_anew() {
    let set = |script: &str| {
        let mut world = test_world();
        for step in script.split("; ") {
            match step.strip_prefix("wait ") {
                Some(days) => world.now = world.now.plus(days.parse::<i64>().unwrap() * metergate_rules::time::DAY),
                None => drop(world.run(&world.command(&step.split(' ').collect::<Vec<_>>())).unwrap()),
            }
        }
        world.account.clone()
    };
    let account = set("plan 2; own 2020-01-31T10:00:00Z");
    assert_eq!((account.status, account.trial), (Status::Active, None), "a plan without trial");
    let account = set("wait 31; touch; own 2020-01-31T10:00:00Z");
    assert_eq!((account.status, account.locks.len()), (Status::Trial, 0), "its lock went with the trial that was over");
    assert_eq!(period(&account), "2020-01-31 10:00 to 2020-02-29 10:00", "counted from sign-up still");
    let account = set("cycle 2026-11-05; own 2020-01-31T10:00:00Z");
    assert_eq!(
        period(&account),
        "2020-01-31 10:00 shown as 2020-01-05 00:00 to 2020-02-05 00:00",
        "the cycle that it was moved to"
    );
    let account = set("plan 2 later; own 2020-01-31T10:00:00Z");
    assert_eq!(account.scheduled.map(|scheduled| scheduled.at), Some(account.windows.period.end));
}

#[test]
fn only_test_organizations_have_a_clock() {
    let answer = World::new([plan(1, "")]).play("own 2020-01-31T10:00:00Z");
    assert_eq!(answer, "only a test organization has a clock of its own");
}
