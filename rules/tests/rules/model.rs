//! A second model of the rules, in another style: one flat list of all that was ever used, and every figure counted
//! anew by going through it. It keeps no counter, no epoch, no bucket and no open window.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use metergate_rules::account::{LockCause, Status};
use metergate_rules::decide::Problem;
use metergate_rules::id::MeterId;
use metergate_rules::outcome::Reason;
use metergate_rules::plan::{Enforcement, Max};
use metergate_rules::time::DAY;
use metergate_rules::window::Window;

use crate::kit::{BYTES, script};
use calendar::Calendar;
use holds::Hold;

pub(crate) mod calendar;
mod corrections;
mod holds;
pub(crate) mod step;
mod tally;
pub(crate) mod tokens;

/// Limits, whether meters that are not named are refused, and how many days of trial with what at the end.
pub(crate) type Terms = (&'static str, bool, Option<(i64, End)>);

pub(crate) const PLANS: [Terms; 4] = [
    (
        "api.minute=12 api.day=30 api.period=60 calls.hour=4 calls.month=9 peak.day=40 bytes.period=50 users.day=3 \
         users.period=6 other.period=25!soft tokens.day=60 llm_cost.hour=70 llm_cost.period=120",
        false,
        Some((30, End::Lock)),
    ),
    (
        "api.month=40 calls.month=12 peak.period=60 bytes.life=80 users.period=4!soft users.day=9 tokens.month=90 \
         llm_cost.month=110!soft",
        false,
        None,
    ),
    ("api.hour=20 api.period=inf api.day=25 users.period=5 bytes.day=30!soft", true, Some((30, End::Continue))),
    ("api.minute=5!soft api.period=30!soft api.life=1000 calls.day=3 users.period=6", false, Some((30, End::Plan1))),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Lock,
    Continue,
    Plan1,
}

/// How much of which grant, in order.
pub(crate) type Draws = Vec<(usize, i64)>;

/// One thing that counts on one meter.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    pub(crate) at: i64,
    pub(crate) time: i64,
    pub(crate) meter: MeterId,
    /// A quantity, a peak, a level or a value, by the meter; below zero what a correction takes off.
    pub(crate) n: i64,
    pub(crate) kind: Kind,
    /// How much of which grant, in order; below zero what returns to it.
    pub(crate) gave: Draws,
    /// What came from grants that have ended, and returns to none.
    pub(crate) lost: Draws,
    /// It is what the tokens before it cost.
    pub(crate) follows: bool,
    /// It is the last of so many of one correction: `lost` leaves all windows that one of them counts in.
    pub(crate) parts: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Counts in minutes and hours, too.
    Decision,
    /// An event, or a correction by an amount.
    Fact,
    /// What a reservation came to. Its time is when it was made, and a reset since then leaves it.
    Settled,
    /// That this never was.
    Void(usize),
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
    /// What was left of it has expired or was taken back.
    pub(crate) ended: bool,
}

/// An answered decision, a recorded event or a settled reservation: what can be void.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    /// Its place among all answers, events and settlements, from 1.
    pub(crate) nth: usize,
    pub(crate) at: i64,
    pub(crate) done: Range<usize>,
    pub(crate) is_void: bool,
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
    pub(crate) held: i64,
    pub(crate) remaining: i64,
    pub(crate) violated: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) reason: Option<Reason>,
    pub(crate) overage: i64,
    pub(crate) limits: Vec<Shown>,
    /// Of tokens that are priced: what of their cost goes beyond a limit, and the limits of that.
    pub(crate) cost: Option<(i64, Vec<Shown>)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Decided(Vec<Verdict>),
    Recorded {
        overage: i64,
    },
    Changed(bool),
    Adjusted {
        overage: i64,
    },
    /// One of these.
    Fails(Vec<Problem>),
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
    pub(crate) told: Vec<Told>,
    /// How many answers, events and settlements there were, refusals among them.
    pub(crate) answered: usize,
    pub(crate) holds: Vec<Hold>,
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
    pub(crate) fn range(&self, window: Window) -> calendar::Range {
        match window {
            Window::Day => self.calendar.day(self.now),
            Window::Month => self.calendar.month(self.now),
            Window::BillingPeriod => self.calendar.period(self.now),
            _ => (i64::MIN, i64::MAX),
        }
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
        let tally = self.tally(meter, rule.window);
        let (used, held) = (tally.used, self.held(meter, rule.window));
        let (drawn, held_drawn, credit) = match rule.is_period {
            true => (tally.drawn(), self.held_of_grants(meter, rule.window), self.credit(meter)),
            false => (0, 0, 0),
        };
        let of_base = (rule.base - (used - drawn) - (held - held_drawn)).max(0);
        Shown {
            window: rule.window,
            limit: rule.base + drawn + held_drawn + credit,
            used,
            held,
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
    fn draw(&self, meter: MeterId, units: i64) -> Draws {
        let mut gave: Draws = Vec::new();
        for _ in 0..units {
            let so_far = |nth: usize| gave.iter().find(|(of, _)| *of == nth).map_or(0, |(_, n)| *n);
            let mine = (0..self.credits.len()).filter(|nth| self.credits[*nth].meter == meter);
            let left = mine.filter(|nth| self.available(*nth) > so_far(*nth));
            let best = left.min_by_key(|nth| self.order(*nth)).unwrap();
            match gave.iter_mut().find(|(of, _)| *of == best) {
                Some((_, n)) => *n += 1,
                None => gave.push((best, 1)),
            }
        }
        gave
    }

    /// The order in which grants are drawn.
    fn order(&self, nth: usize) -> (i32, i64, usize) {
        (self.credits[nth].priority, self.credits[nth].ends.unwrap_or(i64::MAX), nth)
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

pub(crate) const fn days(n: i64) -> i64 {
    n * DAY
}
