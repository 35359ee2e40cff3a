//! Scripts: steps between `;`, one answer each. Steps that only move the clock answer nothing.
//!
//! ```text
//! api 3            asks for 3             api 3 + calls 1     asks for both together
//! event api 3 @-2h an event, 2 hours old  wait 1h             clock 2026-12-01T00:00:00Z
//! grant api 5 prio=1 from=+1d until=+2d   void 1              extra api 5
//! extras api=5 calls=7  limits api=5 calls=inf  limits plan=2 api=5
//! override api.day=5!soft until=+1d       clear api.day       plan 2 (overrides stay), plan 2 fresh
//! lock operator    unlock                 reset, reset api, reset * day month
//! zone Europe/Berlin
//! cycle 2026-11-01 (member)  trial +9d   plan 2 later     own 2026-12-01T00:00:00Z (a test organization's clock)
//! adjust api -3 @-2h  undo 2 (the second decision or event)
//! reserve api 75 60s; extend 1 60s; commit 1 40; release 1
//! ```

use metergate_rules::account::ExtraQuota;
use metergate_rules::account::LockCause;
use metergate_rules::command::{
    Adjustment, Command, Commit, Completion, CycleStart, NewGrant, PeriodLimit, ProfileChange, Reserve,
};
use metergate_rules::id::{GrantId, MeterId, PlanId, ReservationId};
use metergate_rules::plan::{Enforcement, Limit, Max, MeterLimits, RefusalStatus};
use metergate_rules::time::{DAY, HOUR, MINUTE, SECOND, Time};
use metergate_rules::window::{Window, WindowSet};

use super::{World, meter_named, q, show, time};

impl World {
    /// Runs a script; the answers between `; `.
    pub(crate) fn play(&mut self, script: &str) -> String {
        let steps = script.split(';').map(|step| self.step(step.trim()));
        let answers: Vec<String> = steps.filter(|answer| !answer.is_empty()).collect();
        self.assert_folds();
        answers.join("; ")
    }

    fn step(&mut self, step: &str) -> String {
        let words: Vec<&str> = step.split_whitespace().collect();
        match words[0] {
            "wait" => self.now = self.now.plus(micros(words[1])),
            "clock" => self.now = time(words[1]),
            _ => {
                let command = self.command(&words);
                return self.run(&command).map_or_else(|problem| problem.to_string(), |reply| show::reply(&reply));
            }
        }
        String::new()
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let option = |name: &str| words.iter().find_map(|word| word.strip_prefix(name)).map(|text| self.moment(text));
        let meter = || meter_named(words[1]);
        match words[0] {
            "event" => self.event(meter(), number(words[2]), option("@")),
            "grant" => Command::Grant(NewGrant {
                meter: meter(),
                amount: q(number(words[2])),
                priority: words.iter().find_map(|word| word.strip_prefix("prio=")).map_or(0, |p| p.parse().unwrap()),
                starts_at: option("from="),
                expires_at: option("until="),
                reason: String::new(),
            }),
            "void" => Command::VoidGrant(GrantId(words[1].parse().unwrap())),
            "extra" => Command::extra(meter(), q(number(words[2]))),
            "extras" => Command::SetExtra(words[1..].iter().map(|word| extra(word)).collect()),
            "limits" => {
                let (plan, limits) = words[1..].iter().partition::<Vec<&str>, _>(|word| word.starts_with("plan="));
                let plan = plan.first().map(|word| PlanId(word["plan=".len()..].parse().unwrap()));
                Command::SetLimits { plan, limits: limits.into_iter().map(period_limit).collect() }
            }
            "override" => {
                let (meter, window, Limit { max, enforcement, .. }) = limit(words[1]);
                Command::SetOverride { meter, window, max, enforcement, until: option("until=") }
            }
            "clear" => {
                let (meter, window) = place(words[1]);
                Command::ClearOverride { meter, window }
            }
            "plan" => {
                let keep_overrides = words.get(2) != Some(&"fresh");
                let at_period_end = words.get(2) == Some(&"later");
                Command::ChangePlan { plan: PlanId(words[1].parse().unwrap()), keep_overrides, at_period_end }
            }
            "reserve" | "extend" | "commit" | "release" => self.on_reservation(words),
            "cycle" => {
                let start = words[1].parse().map_or_else(|_| CycleStart::Instant(time(words[1])), CycleStart::Civil);
                Command::MoveCycle { start, by_member: words.get(2) == Some(&"member") }
            }
            "adjust" => {
                let (units, time) = (number(words[2]), option("@"));
                Command::Adjust(Adjustment { meter: meter(), units, time, room: Vec::new() })
            }
            "undo" => self.void(words[1].parse().unwrap()),
            "trial" => Command::SetTrial { ends_at: self.moment(words[1]) },
            "own" => Command::SetClock(time(words[1])),
            "lock" => Command::Lock { cause: cause(words[1]), reason: None },
            "unlock" => Command::Unlock,
            "reset" => reset(&words[1..]),
            "zone" => Command::Update(ProfileChange { zone: Some(words[1].parse().unwrap()), ..Default::default() }),
            "touch" => Command::Touch,
            _ => self.consumption(&items(words)),
        }
    }

    fn on_reservation(&self, words: &[&str]) -> Command {
        match words[0] {
            "reserve" => Command::Reserve(Reserve {
                item: self.item(meter_named(words[1]), number(words[2])),
                ttl: micros(words[3]),
                properties: String::new(),
                llm: None,
            }),
            "extend" => Command::Extend { id: reservation(words[1]), ttl: micros(words[2]) },
            "commit" => {
                let (outcome, properties) = (Completion::default(), String::new());
                let (id, quantity) = (reservation(words[1]), words[2].into());
                Command::Commit(Commit { id, quantity, outcome, calls: None, properties, llm: None })
            }
            _ => Command::Release(reservation(words[1])),
        }
    }

    /// `-2h` and `+2h` from now, else a time.
    fn moment(&self, text: &str) -> Time {
        if text.starts_with(['+', '-']) { self.now.plus(micros(text)) } else { time(text) }
    }
}

fn items(words: &[&str]) -> Vec<(MeterId, i64)> {
    words.split(|word| *word == "+").map(|item| (meter_named(item[0]), number(item[1]))).collect()
}

fn reset(words: &[&str]) -> Command {
    let named = words.first().filter(|name| **name != "*").map(|name| vec![meter_named(name)]);
    let windows: WindowSet = words.iter().skip(1).map(|name| window(name)).collect();
    let usual = || WindowSet::NONE.with(Window::Month).with(Window::BillingPeriod);
    Command::Reset { meters: named, windows: if windows.is_empty() { usual() } else { windows } }
}

fn reservation(number: &str) -> ReservationId {
    ReservationId(number.parse().unwrap())
}

fn number(text: &str) -> i64 {
    if text == "MAX" { i64::MAX } else { text.parse().unwrap_or_else(|_| panic!("not a number: {text}")) }
}

/// `90s`, `-2h`, `+1d`, `500us` in microseconds.
pub(crate) fn micros(text: &str) -> i64 {
    let at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap();
    let unit = match &text[at..] {
        "us" => 1,
        "ms" => 1000,
        "s" => SECOND,
        "m" => MINUTE,
        "h" => HOUR,
        "d" => DAY,
        unit => panic!("not a unit: {unit}"),
    };
    number(text[..at].trim_start_matches('+')) * unit
}

fn cause(name: &str) -> LockCause {
    match name {
        "operator" => LockCause::Operator,
        "trial" => LockCause::Trial,
        _ => LockCause::Billing,
    }
}

fn window(name: &str) -> Window {
    Window::ALL.into_iter().find(|window| show::name(*window) == name).unwrap_or_else(|| panic!("no window {name}"))
}

fn extra(text: &str) -> ExtraQuota {
    let (meter, units) = text.split_once('=').unwrap();
    ExtraQuota { meter: meter_named(meter), quantity: q(number(units)) }
}

fn period_limit(text: &str) -> PeriodLimit {
    let (meter, max) = text.split_once('=').unwrap();
    let max = if max == "inf" { Max::Unlimited } else { Max::Units(q(number(max))) };
    PeriodLimit { meter: meter_named(meter), max }
}

fn place(text: &str) -> (MeterId, Window) {
    let (meter, name) = text.split_once('.').unwrap();
    (meter_named(meter), window(name))
}

/// `api.day=5`, `api.day=5!soft`, `api.month=inf`, `api.period=5!402`, `api.period=5!@80,100` (thresholds).
pub(crate) fn limit(text: &str) -> (MeterId, Window, Limit) {
    let (at, value) = text.split_once('=').unwrap();
    let mut parts = value.split('!');
    let max = match parts.next().unwrap() {
        "inf" => Max::Unlimited,
        units => Max::Units(q(number(units))),
    };
    let mut limit = Limit { max, enforcement: Enforcement::Hard, status: RefusalStatus::default(), thresholds: vec![] };
    for flag in parts {
        match flag {
            "soft" => limit.enforcement = Enforcement::Soft,
            _ if flag.starts_with('@') => {
                limit.thresholds = flag[1..].split(',').map(|percent| percent.parse().unwrap()).collect();
            }
            _ => limit.status = RefusalStatus::PaymentRequired,
        }
    }
    let (meter, window) = place(at);
    (meter, window, limit)
}

pub(crate) fn meter_limits(text: &str) -> Vec<MeterLimits> {
    let mut all: Vec<MeterLimits> = Vec::new();
    for (meter, window, limit) in text.split_whitespace().map(limit) {
        if !all.iter().any(|limits| limits.meter == meter) {
            all.push(MeterLimits::new(meter));
        }
        all.iter_mut().find(|limits| limits.meter == meter).unwrap().set(window, limit);
    }
    all
}

/// Plays each script in a world of its own and compares the answers.
pub(crate) fn table(cases: &[(&str, &str, &str)]) {
    for (limits, script, answers) in cases {
        let mut world = World::new([super::plan(1, limits)]);
        assert_eq!(world.play(script), *answers, "{limits}: {script}");
    }
}
