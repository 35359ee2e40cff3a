//! A second model of the rules, in another style: one flat list of all that was ever used, and every figure counted
//! anew by going through it. It keeps no counter, no epoch, no bucket and no open window.

use std::collections::{BTreeMap, BTreeSet};

use metergate_rules::account::{LockCause, Status};
use metergate_rules::id::MeterId;
use metergate_rules::outcome::Reason;
use metergate_rules::plan::{Enforcement, Max};
use metergate_rules::time::{DAY, HOUR, MINUTE};
use metergate_rules::window::Window;

use crate::kit::{BYTES, PEAK, USERS, script};
use calendar::{Calendar, Range};

pub(crate) mod calendar;
pub(crate) mod step;

/// Limits, whether meters that are not named are refused, and how many days of trial with what at the end.
pub(crate) type Terms = (&'static str, bool, Option<(i64, End)>);

pub(crate) const PLANS: [Terms; 4] = [
    (
        "api.minute=12 api.day=30 api.period=60 calls.hour=4 calls.month=9 peak.day=40 bytes.period=50 users.day=3 \
         users.period=6 other.period=25!soft",
        false,
        Some((30, End::Lock)),
    ),
    ("api.month=40 calls.month=12 peak.period=60 bytes.life=80 users.period=4!soft users.day=9", false, None),
    ("api.hour=20 api.period=inf api.day=25 users.period=5 bytes.day=30!soft", true, Some((30, End::Continue))),
    ("api.minute=5!soft api.period=30!soft api.life=1000 calls.day=3 users.period=6", false, Some((30, End::Plan1))),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Lock,
    Continue,
    Plan1,
}

/// One accepted use of one meter.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    pub(crate) at: i64,
    pub(crate) time: i64,
    pub(crate) meter: MeterId,
    /// A quantity, a peak, a level or a value, by the meter.
    pub(crate) n: i64,
    pub(crate) is_decision: bool,
    /// How much of which grant.
    pub(crate) gave: Vec<(usize, i64)>,
}

#[derive(Clone, Debug)]
pub(crate) struct Reset {
    at: i64,
    /// What had been done by then.
    done: usize,
    meter: MeterId,
    windows: Vec<Window>,
}

#[derive(Clone, Debug)]
pub(crate) struct Credit {
    pub(crate) meter: MeterId,
    pub(crate) amount: i64,
    pub(crate) priority: i32,
    pub(crate) starts: i64,
    pub(crate) ends: Option<i64>,
    pub(crate) voided: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exception {
    pub(crate) meter: MeterId,
    pub(crate) window: Window,
    pub(crate) max: Option<i64>,
    pub(crate) soft: bool,
    pub(crate) until: Option<i64>,
}

/// One limit against all that was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) window: Window,
    pub(crate) limit: i64,
    pub(crate) used: i64,
    pub(crate) remaining: i64,
    pub(crate) violated: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) reason: Option<Reason>,
    pub(crate) overage: i64,
    pub(crate) limits: Vec<Shown>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Decided(Vec<Verdict>),
    Recorded { overage: i64 },
    Changed(bool),
    Problem,
}

#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) zone: &'static str,
    pub(crate) calendar: Calendar,
    pub(crate) first_plan: usize,
    pub(crate) now: i64,
    pub(crate) plan: usize,
    pub(crate) status: Status,
    /// Its end, and whether that is past.
    pub(crate) trial: Option<(i64, bool)>,
    pub(crate) locks: BTreeSet<LockCause>,
    pub(crate) done: Vec<Done>,
    pub(crate) resets: Vec<Reset>,
    pub(crate) credits: Vec<Credit>,
    pub(crate) exceptions: Vec<Exception>,
    pub(crate) extra: BTreeMap<MeterId, i64>,
    pub(crate) answer: Answer,
    /// The noteworthy states that the last step reached.
    pub(crate) reached: BTreeSet<&'static str>,
}

/// A limit of a meter: most, soft, whether it is the one that credit lifts.
struct Rule {
    window: Window,
    base: i64,
    soft: bool,
    is_period: bool,
}

impl Model {
    /// When a window that contains now began and when it ends.
    pub(crate) fn range(&self, window: Window) -> Range {
        match window {
            Window::Day => self.calendar.day(self.now),
            Window::Month => self.calendar.month(self.now),
            Window::BillingPeriod => self.calendar.period(self.now),
            _ => (i64::MIN, i64::MAX),
        }
    }

    /// Whether something counts in a window now. `nth` is its place among all that was done.
    fn counts(&self, nth: usize, done: &Done, window: Window) -> bool {
        let (from, until) = self.range(window);
        let was_reset = |reset: &Reset| {
            let concerns = reset.meter == done.meter && reset.windows.contains(&window) && from <= reset.at;
            concerns && (nth < reset.done || done.time < reset.at)
        };
        let slides = done.is_decision && ![PEAK, BYTES, USERS].contains(&done.meter);
        let is_in = match window {
            // Until the sub-bucket of the decision lies wholly outside.
            Window::Minute => slides && bucket_end(done.at, MINUTE) > self.now - MINUTE,
            Window::Hour => slides && bucket_end(done.at, HOUR) > self.now - HOUR,
            _ => from <= done.time && done.time < until,
        };
        is_in && !self.resets.iter().any(was_reset)
    }

    fn counted(&self, meter: MeterId, window: Window) -> Vec<&Done> {
        let mine = self.done.iter().enumerate().filter(|(_, done)| done.meter == meter);
        mine.filter(|(nth, done)| self.counts(*nth, done, window)).map(|(_, done)| done).collect()
    }

    pub(crate) fn level(&self) -> Option<i64> {
        let levels = self.done.iter().enumerate().filter(|(_, done)| done.meter == BYTES);
        levels.max_by_key(|(nth, done)| (done.time, *nth)).map(|(_, done)| done.n)
    }

    /// What a window holds.
    pub(crate) fn used(&self, meter: MeterId, window: Window) -> i64 {
        let counted = self.counted(meter, window).into_iter().map(|done| done.n);
        match meter {
            BYTES => self.level().unwrap_or(0),
            PEAK => counted.max().unwrap_or(0),
            USERS => i64::try_from(counted.collect::<BTreeSet<_>>().len()).unwrap(),
            _ => counted.sum(),
        }
    }

    fn drawn(&self, meter: MeterId, window: Window) -> i64 {
        self.counted(meter, window).iter().flat_map(|done| &done.gave).map(|(_, n)| n).sum()
    }

    /// What a grant has given so far.
    pub(crate) fn given(&self, credit: usize) -> i64 {
        self.done.iter().flat_map(|done| &done.gave).filter(|(from, _)| *from == credit).map(|(_, n)| n).sum()
    }

    /// What a grant can still give.
    pub(crate) fn available(&self, nth: usize) -> i64 {
        let credit = &self.credits[nth];
        let open = !credit.voided && credit.starts <= self.now && credit.ends.is_none_or(|end| self.now < end);
        if open { credit.amount - self.given(nth) } else { 0 }
    }

    pub(crate) fn credit(&self, meter: MeterId) -> i64 {
        (0..self.credits.len()).filter(|nth| self.credits[*nth].meter == meter).map(|nth| self.available(nth)).sum()
    }

    fn exceptions_now(&self) -> impl Iterator<Item = &Exception> {
        self.exceptions.iter().filter(|exception| exception.until.is_none_or(|until| self.now < until))
    }

    /// Most and softness of a limit, `None` inside where it is unlimited.
    fn limit(&self, meter: MeterId, window: Window) -> Option<(Option<i64>, bool)> {
        let planned = script_limits(PLANS[self.plan].0).into_iter().find(|limit| limit.0 == meter && limit.1 == window);
        let exception = self.exceptions_now().find(|it| it.meter == meter && it.window == window);
        exception.map(|it| (it.max, it.soft)).or(planned.map(|(_, _, max, soft)| (max, soft)))
    }

    pub(crate) fn is_named(&self, meter: MeterId) -> bool {
        let planned = script_limits(PLANS[self.plan].0).iter().any(|limit| limit.0 == meter);
        planned || self.exceptions_now().any(|exception| exception.meter == meter)
    }

    fn rules(&self, meter: MeterId) -> Vec<Rule> {
        let period = Window::PERIOD.into_iter().find(|window| self.limit(meter, *window).is_some());
        let mut rules = Vec::new();
        for window in Window::ALL {
            let Some((Some(max), soft)) = self.limit(meter, window) else { continue };
            let is_period = period == Some(window);
            let extra = if is_period { self.extra.get(&meter).copied().unwrap_or(0) } else { 0 };
            rules.push(Rule { window, base: max + extra, soft, is_period });
        }
        rules
    }

    /// How a limit stands, whatever is asked.
    fn shown(&self, meter: MeterId, rule: &Rule) -> Shown {
        let used = self.used(meter, rule.window);
        let (drawn, credit) =
            if rule.is_period { (self.drawn(meter, rule.window), self.credit(meter)) } else { (0, 0) };
        let of_base = (rule.base - (used - drawn)).max(0);
        Shown {
            window: rule.window,
            limit: rule.base + drawn + credit,
            used,
            remaining: of_base + credit,
            violated: false,
        }
    }

    /// What `done` would take from a limit: in all, from grants, beyond it.
    fn takes(&self, done: &Done, rule: &Rule) -> (i64, i64, i64) {
        let with = { Self { done: self.done.iter().cloned().chain([done.clone()]).collect(), ..self.clone() } };
        let shown = self.shown(done.meter, rule);
        let credit = if rule.is_period { self.credit(done.meter) } else { 0 };
        let (more, of_base) = match done.meter {
            BYTES => (done.n, rule.base),
            _ => (with.used(done.meter, rule.window) - shown.used, shown.remaining - credit),
        };
        let from_grants = (more - of_base).clamp(0, credit);
        (more, from_grants, (more - of_base - from_grants).max(0))
    }

    /// Takes so much from the open grants, one unit after another, each from the best.
    fn draw(&self, meter: MeterId, units: i64) -> Vec<(usize, i64)> {
        let mut gave: BTreeMap<usize, i64> = BTreeMap::new();
        for _ in 0..units {
            let left = |nth: &usize| self.available(*nth) > gave.get(nth).copied().unwrap_or(0);
            let mine = (0..self.credits.len()).filter(|nth| self.credits[*nth].meter == meter);
            let order = |nth: &usize| (self.credits[*nth].priority, self.credits[*nth].ends.unwrap_or(i64::MAX), *nth);
            let best = mine.filter(left).min_by_key(order).unwrap();
            *gave.entry(best).or_default() += 1;
        }
        gave.into_iter().collect()
    }
}

/// Meter, window, most and softness of every limit of a text.
fn script_limits(text: &str) -> Vec<(MeterId, Window, Option<i64>, bool)> {
    let most = |max| match max {
        Max::Units(units) => Some(units.units()),
        Max::Unlimited => None,
    };
    let limits = text.split_whitespace().map(script::limit);
    limits.map(|(m, w, limit)| (m, w, most(limit.max), limit.enforcement == Enforcement::Soft)).collect()
}

/// The end of the sixtieth in which something happened.
fn bucket_end(at: i64, length: i64) -> i64 {
    (at.div_euclid(length / 60) + 1) * (length / 60)
}

pub(crate) const fn days(n: i64) -> i64 {
    n * DAY
}
