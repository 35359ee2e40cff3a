//! What others are told: once, of what use came to, before what ends, and of what somebody changed.

use metergate_rules::apply;
use metergate_rules::notice::{Figures, Notice, RefusedBy, told};
use metergate_rules::outcome::{Entry, What};
use metergate_rules::plan::{Plan, TrialEnd};

use crate::kit::{World, plan, show, time, trial};

mod maxima;
mod refused;

/// `80% period 80/100`, `period over by 5`, `day refused`, `grant 1 used up`, `grant 1 in 7`, `trial in 7`.
fn shown(notice: &Notice) -> String {
    let limit = |figures: &Figures| {
        let held = if figures.held.is_zero() { String::new() } else { format!("+{}", figures.held.units()) };
        format!("{} {}{held}/{}", show::name(figures.window), figures.used.units(), figures.limit.units())
    };
    match notice {
        Notice::Threshold { percent, figures, .. } => format!("{percent}% {}", limit(figures)),
        Notice::Overage { figures, .. } => {
            format!("{} over by {}", show::name(figures.window), figures.overage.units())
        }
        Notice::Refused { by: RefusedBy::Limit(window), figures, .. } => {
            assert_eq!(figures.map(|figures| figures.window), Some(*window));
            format!("{} refused", show::name(*window))
        }
        Notice::Refused { by, .. } => by.reason().as_str().to_owned(),
        Notice::RefusedInHour { of, count } => format!("{count} {} in the hour", of.by.reason().as_str()),
        Notice::GrantExhausted(grant) => format!("grant {} used up", grant.0),
        Notice::GrantExpiring { grant, days } => format!("grant {} in {days}", grant.0),
        Notice::TrialEnding { days, .. } => format!("trial in {days}"),
    }
}

fn all_notices(world: &World) -> impl Iterator<Item = (&Entry, &Notice)> {
    world.entries.iter().filter_map(|entry| match &entry.what {
        What::Noticed(notice) => Some((entry, notice)),
        _ => None,
    })
}

/// But for those that tell how often something was refused in an hour that is over.
fn notices(world: &World) -> Vec<(&Entry, &Notice)> {
    all_notices(world).filter(|(_, notice)| !matches!(notice, Notice::RefusedInHour { .. })).collect()
}

/// Plays each script in a world of its own and compares what others are told.
fn table(cases: &[(&str, &str, &str)]) {
    for (limits, script, expected) in cases {
        let mut world = World::new([plan(1, limits), plan(2, "api.period=1000!@50")]);
        world.play(script);
        let told: Vec<String> = notices(&world).into_iter().map(|(_, notice)| shown(notice)).collect();
        assert_eq!(told.join("; "), *expected, "{limits}: {script}");
    }
}

/// The days of notices that time brings about.
fn days(world: &World) -> String {
    let shown = |(entry, notice): (&Entry, &Notice)| format!("{} {}", shown(notice), &entry.at.to_string()[..16]);
    notices(world).into_iter().map(shown).collect::<Vec<_>>().join("; ")
}

#[test]
fn a_threshold_is_told_once_when_use_comes_to_it() {
    #[rustfmt::skip]
    table(&[
        ("api.period=100!@80,100", "api 79; api 1; api 19; api 1",        "80% period 80/100; 100% period 100/100"),
        ("api.period=100!@80,100", "api 80; api 1; api 0; api 18",        "80% period 80/100"),
        ("api.period=100!@80,100", "api 100",                             "80% period 100/100; 100% period 100/100"),
        ("api.period=100!@1,2,50", "api 1; api 1; api 50",                "1% period 1/100; 2% period 2/100; 50% period 52/100"),
        ("api.period=100!@80,80",  "api 90",                              "80% period 90/100"),
        ("api.period=100",         "api 100",                             ""),
        ("api.period=inf!@80",     "api 1000",                            ""),
        ("calls.period=5",         "api 1000",                            ""),
        ("api.day=10!@100 api.period=20!@50", "api 10",                   "100% day 10/10; 50% period 10/20"),
        ("api.month=10!@80 api.life=20!@80",  "api 8; api 2", "80% month 8/10"),
        ("api.period=10!@80 calls.period=1!@100", "api 8 + calls 1",      "80% period 8/10; 100% period 1/1"),
        ("api.period=10!@80 calls.period=1!@100", "api 8 + calls 1; calls 1", "80% period 8/10; 100% period 1/1; period refused"),
        ("api.period=100!@80",     "override api.period=10; api 8",       "80% period 8/10"),
        ("calls.period=9",         "override api.period=10; api 8; api 2", "80% period 8/10; 100% period 10/10"),
    ]);
}

#[test]
fn facts_holds_and_corrections_come_to_a_threshold_as_decisions_do() {
    #[rustfmt::skip]
    table(&[
        ("api.period=100!@80,100", "event api 79; event api 1",           "80% period 80/100"),
        ("api.period=100!@80,100", "event api 130; event api 10",         "80% period 130/100; 100% period 130/100; period over by 30"),
        ("api.period=100!@80,100", "reserve api 80 60s",                  "80% period 0+80/100"),
        ("api.period=100!@80,100", "api 40; reserve api 40 60s; commit 1 70", "80% period 40+40/100; 100% period 110/100; period over by 10"),
        ("api.period=100!@80",     "reserve api 80 60s; release 1; api 80",   "80% period 0+80/100"),
        ("api.period=100!@80",     "reserve api 80 60s; wait 2m; api 80",     "80% period 0+80/100"),
        ("api.period=100!@80",     "adjust api 90",                       "80% period 90/100"),
        ("api.period=100!@80",     "adjust api 90; adjust api -80; api 80",   "80% period 90/100"),
        ("api.period=100!@80",     "api 80; undo 1; api 80",              "80% period 80/100"),
        ("bytes.period=100!@80",   "event bytes 85; event bytes 10; event bytes 90", "80% period 85/100"),
        ("bytes.life=100!@80",     "bytes 85; adjust bytes 90",           "80% life 85/100"),
        ("bytes.life=100!@80",     "adjust bytes 90",                     "80% life 90/100"),
        ("peak.period=10!@100",    "peak 9; peak 10; event peak 12",      "100% period 10/10; period over by 2"),
        ("users.period=2!@50,100", "users 1; users 1; users 2",           "50% period 1/2; 100% period 2/2"),
        ("api.period=100!@80",     "wait 40d; event api 90 @-35d",        ""),
        ("api.day=100!@80",        "clock 2026-11-22T23:58:00Z; event api 90 @+4m; wait 5m; api 1", "80% day 91/100"),
    ]);
}

#[test]
fn a_counter_that_begins_anew_comes_to_its_thresholds_anew() {
    #[rustfmt::skip]
    table(&[
        ("api.period=100!@80", "api 80; reset api; api 80",         "80% period 80/100; 80% period 80/100"),
        ("api.period=100!@80", "api 80; reset calls; api 1",        "80% period 80/100"),
        ("api.period=100!@80", "api 80; wait 40d; api 80; api 1",   "80% period 80/100; 80% period 80/100"),
        ("api.day=10!@100",    "api 10; wait 1d; api 10",           "100% day 10/10; 100% day 10/10"),
        ("api.day=10!@100 api.period=30!@50", "api 10; reset api day; api 5", "100% day 10/10; 50% period 15/30"),
        ("bytes.period=10!@80", "event bytes 9; wait 40d; api 1; event bytes 9", "80% period 9/10; 80% period 9/10"),
    ]);
}

#[test]
fn another_maximum_by_plan_or_override_is_another_limit() {
    #[rustfmt::skip]
    table(&[
        ("api.period=100!@80", "api 80; plan 2; api 420; api 1",    "80% period 80/100; 50% period 500/1000"),
        ("api.period=100!@40", "api 40; plan 2; api 460; api 1",    "40% period 40/100; 50% period 500/1000"),
        ("api.period=100!@80", "api 80; override api.period=200; api 79; api 1; api 1", "80% period 80/100; 80% period 160/200"),
        ("api.period=100!@80", "api 80; override api.period=90; api 1; api 1", "80% period 80/100; 80% period 81/90"),
        // The same maximum is the same limit, whoever sets it.
        ("api.period=100!@80", "api 80; override api.period=100; api 1", "80% period 80/100"),
        ("api.period=100!@80", "api 80; override api.period=200; api 1; clear api.period; api 1", "80% period 80/100"),
        ("api.period=100!@80", "api 80; override api.period=inf; api 1; clear api.period; api 1", "80% period 80/100"),
        ("api.period=10!soft", "api 12; override api.period=20!soft; api 9; api 1", "period over by 2; period over by 1"),
        ("api.period=100!@80,100", "api 100; override api.period=120; api 20", "80% period 100/100; 100% period 100/100; 80% period 120/120; 100% period 120/120"),
        ("api.day=10!@80 api.period=100!@80", "api 8; override api.period=50; api 1", "80% day 8/10"),
    ]);
}

#[test]
fn extra_quota_and_grants_move_a_threshold_and_never_fire_it_twice() {
    #[rustfmt::skip]
    table(&[
        ("api.period=100!@80,100", "extra api 100; api 159; api 1",           "80% period 160/200"),
        ("api.period=100!@80,100", "grant api 100; api 150; api 10",          "80% period 160/200"),
        ("api.period=100!@80,100", "api 80; grant api 100; api 79; api 1; api 40", "80% period 80/100; 100% period 200/200; grant 1 used up"),
        ("api.period=100!@80",     "api 80; extra api 100; extra api 0; api 1",    "80% period 80/100"),
        ("api.day=10!@80 api.period=20!@50", "grant api 20; api 8; api 2; wait 1d; api 10", "80% day 8/10; 80% day 10/10; 50% period 20/40"),
    ]);
}

#[test]
fn a_limit_that_comes_down_to_use_is_told_at_the_next_use_or_refusal() {
    #[rustfmt::skip]
    table(&[
        ("api.period=100!@80,100", "api 50; override api.period=40; api 1; api 1", "80% period 50/40; 100% period 50/40; period over by 10; period refused"),
        ("api.period=100!@80,100", "api 40; override api.period=50; api 11; api 1", "80% period 40/50; period refused"),
        ("api.period=100!@80,100", "api 40; override api.period=50; reserve api 11 60s", "80% period 40/50; period refused"),
        ("api.period=100!@80,100", "api 40; override api.period=40; event api 1", "80% period 41/40; 100% period 41/40; period over by 1"),
        ("api.period=100!@80,100", "extra api 100; api 90; extra api 0; api 11; api 1", "80% period 90/100; period refused"),
        ("api.period=100!@80,100", "grant api 100; api 90; void 1; api 11",   "80% period 90/100; period refused"),
        ("api.period=100!@80,100", "grant api 100 until=+2d; api 90; wait 3d; api 11", "grant 1 in 1; 80% period 90/100; period refused"),
    ]);
}

#[test]
fn nothing_is_told_of_minutes_and_hours_but_refusals() {
    #[rustfmt::skip]
    table(&[
        ("api.minute=10!@50,100 api.hour=20!@50", "api 10; wait 2m; api 10",  ""),
        ("api.minute=10!soft!@50",                "api 30",                   ""),
        ("api.minute=10!@50",                     "api 10; api 1; api 1",     "minute refused"),
    ]);
}

#[test]
fn that_use_goes_beyond_a_limit_is_told_once() {
    #[rustfmt::skip]
    table(&[
        ("api.period=10!soft", "api 10; api 5; api 5",                 "period over by 5"),
        ("api.period=10!soft", "api 15; reset api; api 11",            "period over by 5; period over by 1"),
        ("api.period=10!soft!@100", "grant api 5; api 15; api 1",      "100% period 15/15; grant 1 used up; period over by 1"),
        ("api.period=10",      "event api 9; event api 9; wait 40d; event api 11", "period over by 8; period over by 1"),
        ("api.day=10!soft api.period=20!soft", "api 30",               "day over by 20; period over by 10"),
        ("api.period=10",      "reserve api 10 60s; commit 1 12",      "period over by 2"),
        ("api.period=10!soft", "reserve api 12 60s",                   ""),
        ("api.period=10!soft", "reserve api 12 60s; commit 1 12",      "period over by 2"),
        ("api.period=10",      "adjust api 12",                        "period over by 2"),
    ]);
}

#[test]
fn a_grant_that_is_used_up_is_told_once() {
    #[rustfmt::skip]
    table(&[
        ("api.period=10", "grant api 5; api 14; api 1",                      "grant 1 used up"),
        ("api.period=10", "grant api 5; api 15; undo 1; api 15",             "grant 1 used up"),
        ("api.period=10", "grant api 5; grant api 5; api 20",                "grant 1 used up; grant 2 used up"),
        ("api.period=10", "grant api 5; event api 30",                       "period over by 15; grant 1 used up"),
        ("api.period=10", "grant api 5; reserve api 15 60s",                 ""),
        ("api.period=10", "grant api 5; reserve api 15 60s; commit 1 15",    "grant 1 used up"),
        ("api.period=10", "grant api 5; reserve api 15 60s; commit 1 14",    ""),
        ("api.period=10", "grant api 5; void 1; event api 30",               "period over by 20"),
    ]);
}

#[test]
fn that_a_grant_will_expire_is_told_seven_days_and_one_day_before() {
    #[rustfmt::skip]
    let cases = [
        ("grant api 5 until=+10d; wait 11d; calls 1",         "grant 1 in 7 2026-11-25T11:06; grant 1 in 1 2026-12-01T11:06"),
        ("grant api 5 until=+10d; wait 5d; calls 1; wait 1d; calls 1", "grant 1 in 7 2026-11-25T11:06"),
        ("grant api 5 until=+7d; wait 8d; calls 1",           "grant 1 in 1 2026-11-28T11:06"),
        ("grant api 5 until=+1d; wait 8d; calls 1",           ""),
        ("grant api 5; wait 60d; calls 1",                    ""),
        ("grant api 5 until=+10d; void 1; wait 11d; calls 1", ""),
        ("grant api 5 until=+10d; event api 15; wait 11d; calls 1", "grant 1 used up 2026-11-22T11:06"),
        ("grant api 5 until=+10d; wait 8d; event api 15; wait 3d; calls 1",
            "grant 1 in 7 2026-11-25T11:06; grant 1 used up 2026-11-30T11:06"),
        // Used up when the seventh day came, and given back on the last.
        ("grant api 5 until=+10d; event api 15; wait 225h; undo 1; calls 1", "grant 1 used up 2026-11-22T11:06; grant 1 in 1 2026-12-01T20:06"),
    ];
    for (script, expected) in cases {
        let mut world = World::new([plan(1, "api.period=10")]);
        world.play(script);
        assert_eq!(days(&world), expected, "{script}");
    }
}

#[test]
fn that_a_trial_will_end_is_told_seven_days_and_one_day_before() {
    #[rustfmt::skip]
    let cases = [ // days of the trial, script, told
        (30, "wait 40d; api 1",                  "trial in 7 2026-12-15T11:06; trial in 1 2026-12-21T11:06"),
        (30, "wait 25d; api 1; api 1; wait 1d; api 1", "trial in 7 2026-12-15T11:06"),
        (30, "wait 25d; trial +19d; wait 60d; api 1",
            "trial in 7 2026-12-15T11:06; trial in 7 2026-12-29T11:06; trial in 1 2027-01-04T11:06"),
        (30, "wait 1d; trial +12h; api 1",       "trial in 1 2026-11-23T11:06"),
        (3,  "api 1; api 1; wait 5d; api 1",     "trial in 7 2026-11-22T11:06; trial in 1 2026-11-24T11:06"),
        (30, "plan 2; wait 60d; api 1",          ""),
    ];
    for (length, script, expected) in cases {
        let first = Plan { trial: trial(length, TrialEnd::Lock), ..plan(1, "") };
        let mut world = World::new([first, plan(2, "")]);
        world.play(script);
        let told: Vec<String> =
            days(&world).split("; ").filter(|told| told.starts_with("trial ")).map(str::to_owned).collect();
        assert_eq!(told.join("; "), expected, "{length} days: {script}");
    }
}

#[test]
fn what_is_to_be_told_before_a_time_is_due_then() {
    let mut world = World::new([Plan { trial: trial(30, TrialEnd::Continue), ..plan(1, "") }]);
    world.play("grant api 5 until=+12d");
    for expected in ["2026-11-27T11:06:00Z", "2026-12-03T11:06:00Z", "2026-12-04T11:06:00Z", "2026-12-15T11:06:00Z"] {
        assert_eq!(world.settled().next_notable(), time(expected));
        world.now = time(expected);
    }
}

/// The kinds of what others are told, of every entry from the creation on.
fn kinds(world: &World) -> String {
    let mut account = apply::create(world.account.id, &world.entries[0]).unwrap();
    let mut kinds = Vec::new();
    for entry in &world.entries[1..] {
        let before = account.clone();
        apply::apply(&mut account, entry);
        kinds.extend(told(entry, &before, &account).into_iter().map(|told| told.kind().as_str()));
    }
    kinds.join(" ")
}

#[test]
fn what_somebody_or_time_changes_is_told_by_its_kind() {
    #[rustfmt::skip]
    let cases = [
        ("lock operator; lock operator",     "organization.locked"),
        ("lock operator; lock billing; unlock; unlock", "organization.locked organization.locked organization.unlocked"),
        ("plan 2; plan 2",                   "subscription.changed"),
        ("plan 2 later",                     ""),
        ("plan 2 later; wait 40d; api 1",    "period.started subscription.changed"),
        ("cycle 2026-11-01",                 "subscription.changed"),
        ("grant api 5",                      "grant.created"),
        ("grant api 5; void 1",              "grant.created"),
        ("reset",                            ""),
        ("api 5; reset",                     "usage.reset"),
        ("zone Europe/Berlin",               ""),
        ("extra api 5; override api.day=5; clear api.day; limits api=7", ""),
        ("wait 70d; api 1",                  "period.started period.started"),
        ("api 10; event api 1; api 1",       "usage.overage usage.refused"),
        ("api 1; adjust api 3; undo 1",      ""),
        ("grant api 5 until=+10d; wait 9d; api 15", "grant.created grant.expiring grant.expiring grant.exhausted"),
    ];
    for (script, expected) in cases {
        let mut world = World::new([plan(1, "api.period=10"), plan(2, "")]);
        world.play(script);
        assert_eq!(kinds(&world), expected, "{script}");
    }
}

#[test]
fn the_end_of_a_trial_tells_of_all_that_it_changes() {
    #[rustfmt::skip]
    let cases = [
        (TrialEnd::Continue,                          "trial.ended subscription.changed"),
        (TrialEnd::Lock,                              "trial.ended organization.locked"),
        (TrialEnd::Plan("plan-2".parse().unwrap()),   "trial.ended subscription.changed"),
    ];
    for (end, expected) in cases {
        let mut world = World::new([Plan { trial: trial(3, end.clone()), ..plan(1, "") }, plan(2, "")]);
        world.play("wait 4d; extra api 5");
        assert_eq!(kinds(&world), format!("trial.ending trial.ending {expected}"), "{end:?}");
    }
    let mut world = World::new([Plan { trial: trial(30, TrialEnd::Lock), ..plan(1, "") }, plan(2, "")]);
    world.play("plan 2");
    assert_eq!(kinds(&world), "trial.ended subscription.changed", "a plan without trial ends it");
}
