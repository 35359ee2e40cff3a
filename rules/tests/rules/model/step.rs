//! What can be done to the model, one step at a time.

use std::collections::{BTreeMap, BTreeSet};

use metergate_rules::account::{LockCause, Status};
use metergate_rules::decide::Problem;
use metergate_rules::id::MeterId;
use metergate_rules::outcome::Reason;
use metergate_rules::time::MINUTE;
use metergate_rules::window::Window;

use super::calendar::Calendar;
use super::{Answer, Credit, Done, End, Exception, Kind, Model, PLANS, Reset, Shown, Told, Verdict, days};
use crate::kit::{API, BYTES, CALLS, COST, OTHER, PEAK, TOKENS, USERS};

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Wait(i64),
    /// To so long before the end of the open window.
    Near(Window, i64),
    Consume(Vec<(MeterId, i64)>),
    /// So many tokens of a model: of one that has a price or of another one.
    Tokens(i64, bool),
    /// The same as an event, so long after now.
    TokensOf(i64, bool, i64),
    /// An event, so long after now.
    Event(MeterId, i64, i64),
    /// Amount, priority, start and end from now.
    Grant(MeterId, i64, i32, i64, Option<i64>),
    Void(usize),
    Extra(MeterId, i64),
    /// With its end from now.
    Override(MeterId, Window, Option<i64>, bool, Option<i64>),
    Clear(MeterId, Window),
    Plan(usize, bool),
    Reset(Option<MeterId>, Vec<Window>),
    Lock(LockCause),
    Unlock,
    /// A quantity, held for so long.
    Reserve(MeterId, i64, i64),
    /// The one made so many ago, for so long from now.
    Extend(usize, i64),
    /// The one made so many ago came to so much.
    Commit(usize, i64),
    Release(usize),
    /// So much more or less, of a time so long after now, or without one.
    Adjust(MeterId, i64, Option<i64>),
    /// What was told so many ago never was.
    Undo(usize),
}

impl Model {
    pub(crate) fn new(begin: i64, (zone, offset): (&'static str, i64), plan: usize) -> Self {
        Self {
            zone,
            calendar: Calendar { offset, begin },
            first_plan: plan,
            now: begin,
            plan,
            status: if PLANS[plan].2.is_some() { Status::Trial } else { Status::Active },
            trial: PLANS[plan].2.map(|(length, _)| (begin + days(length), false)),
            locks: BTreeSet::new(),
            done: Vec::new(),
            told: Vec::new(),
            answered: 0,
            holds: Vec::new(),
            resets: Vec::new(),
            credits: Vec::new(),
            exceptions: Vec::new(),
            extra: BTreeMap::new(),
            answer: Answer::Changed(false),
            reached: BTreeSet::new(),
        }
    }

    pub(crate) fn step(&mut self, step: &Step) {
        self.reached.clear();
        self.answer = Answer::Changed(match step {
            Step::Wait(micros) => self.wait(self.now + micros),
            Step::Near(window, before) => self.wait((self.range(*window).1 - before).max(self.now)),
            Step::Grant(meter, amount, priority, start, end) => {
                let (starts, ends) = (self.now + start, end.map(|end| self.now + end));
                let (meter, amount, priority) = (*meter, *amount, *priority);
                self.credits.push(Credit { meter, amount, priority, starts, ends, ended: false });
                true
            }
            Step::Void(nth) => self.void(*nth),
            Step::Extra(meter, quantity) => self.extra.insert(*meter, *quantity).unwrap_or(0) != *quantity,
            Step::Override(meter, window, max, soft, end) => {
                let (meter, window, max, soft) = (*meter, *window, *max, *soft);
                self.except(Exception { meter, window, max, soft, until: end.map(|end| self.now + end) })
            }
            Step::Clear(meter, window) => self.clear(*meter, *window),
            Step::Plan(plan, keep) => self.change_plan(*plan, *keep),
            Step::Reset(meter, windows) => self.reset(*meter, windows),
            Step::Lock(cause) => self.locks.insert(*cause),
            Step::Unlock => !std::mem::take(&mut self.locks).is_empty(),
            _ => {
                self.answer = self.ask(step);
                return;
            }
        });
    }

    fn ask(&mut self, step: &Step) -> Answer {
        match step {
            Step::Consume(items) => self.consume(items),
            Step::Tokens(n, is_known) => self.tokens(*n, *is_known),
            Step::TokensOf(n, is_known, after) => self.tokens_of(*n, *is_known, *after),
            Step::Event(meter, n, after) => self.event(*meter, *n, *after),
            Step::Reserve(meter, n, ttl) => self.hold(*meter, *n, *ttl),
            Step::Extend(nth, ttl) => self.extend(*nth, *ttl),
            Step::Commit(nth, n) => self.commit(*nth, *n),
            Step::Release(nth) => self.release(*nth),
            Step::Adjust(meter, units, after) => self.adjust(*meter, *units, *after),
            Step::Undo(nth) => self.undo(*nth),
            other => panic!("{other:?} is no question"),
        }
    }

    pub(super) fn reach(&mut self, state: &'static str, reached: bool) {
        if reached {
            self.reached.insert(state);
        }
    }

    /// Time passes; nothing else is done.
    fn wait(&mut self, until: i64) -> bool {
        let before = self.clone();
        self.now = until;
        self.reach("a period began", self.range(Window::BillingPeriod) != before.range(Window::BillingPeriod));
        self.reach("years went by", until > before.now + days(700));
        let expired = |nth: usize| before.available(nth) > 0 && self.available(nth) == 0;
        self.reach("a grant expired with a remainder", (0..self.credits.len()).any(expired));
        let held = |nth: usize| !before.is_over(nth) && self.is_over(nth) && before.held_of(nth) > 0;
        self.reach("a grant expired while it was held", (0..self.credits.len()).any(held));
        self.lapse();
        for nth in 0..self.credits.len() {
            self.credits[nth].ended |= self.is_over(nth) && self.given(nth) < self.credits[nth].amount;
        }
        let over = |exception: &Exception| exception.until.is_some_and(|until| until <= self.now);
        self.reach("an override ended", self.exceptions.iter().any(over));
        self.exceptions.retain(|exception| exception.until.is_none_or(|until| self.now < until));
        if let Some((end, false)) = self.trial
            && end <= self.now
        {
            self.end_trial(end);
        }
        false
    }

    fn end_trial(&mut self, end: i64) {
        self.trial = Some((end, true));
        self.reach("a trial ended", true);
        match PLANS[self.plan].2 {
            Some((_, End::Lock)) => {
                self.locks.insert(LockCause::Trial);
                return;
            }
            Some((_, End::Plan1)) => self.plan = 1,
            Some((_, End::Continue)) | None => {}
        }
        self.status = Status::Active;
    }

    fn void(&mut self, nth: usize) -> bool {
        let Some(Credit { ended, .. }) = self.credits.get(nth).cloned() else { return false };
        self.reach("a grant was taken back", self.available(nth) > 0);
        self.reach("a grant was taken back while it was held", !ended && self.held_of(nth) > 0);
        self.credits[nth].ended = true;
        !ended
    }

    fn except(&mut self, new: Exception) -> bool {
        let same = self.exceptions.contains(&new);
        self.clear(new.meter, new.window);
        self.exceptions.push(new);
        !same
    }

    fn clear(&mut self, meter: MeterId, window: Window) -> bool {
        let before = self.exceptions.len();
        self.exceptions.retain(|exception| exception.meter != meter || exception.window != window);
        self.exceptions.len() < before
    }

    fn change_plan(&mut self, plan: usize, keep: bool) -> bool {
        let gone = !keep && !self.exceptions.is_empty();
        if self.plan == plan && !gone {
            return false;
        }
        self.plan = plan;
        if !keep {
            self.exceptions.clear();
        }
        match (PLANS[plan].2, self.trial) {
            (None, trial) => {
                self.trial = trial.map(|(end, _)| (end.min(self.now), true));
                self.locks.remove(&LockCause::Trial);
                self.status = Status::Active;
            }
            (Some((length, _)), None) => {
                self.trial = Some((self.now + days(length), false));
                self.status = Status::Trial;
            }
            (Some((_, end)), Some((_, true))) if end != End::Lock => {
                let lifted = self.locks.remove(&LockCause::Trial);
                self.reach("a trial's lock lifted by a plan with one", lifted);
                self.status = Status::Active;
            }
            (Some(_), Some(_)) => {}
        }
        true
    }

    fn reset(&mut self, meter: Option<MeterId>, windows: &[Window]) -> bool {
        self.wait(self.now + 1);
        let all = [API, CALLS, PEAK, USERS, OTHER, TOKENS, COST];
        let named = all.into_iter().filter(|it| meter.is_none_or(|meter| meter == *it));
        let holds = |meter: &MeterId| windows.iter().any(|window| self.used(*meter, *window) > 0);
        let holding: Vec<MeterId> = named.filter(holds).collect();
        for meter in &holding {
            let (at, done) = (self.now, self.done.len());
            self.resets.push(Reset { at, done, meter: *meter, windows: windows.to_vec() });
        }
        self.reach("a reset", !holding.is_empty());
        !holding.is_empty()
    }

    pub(super) fn done(&self, meter: MeterId, n: i64, time: i64, kind: Kind) -> Done {
        let n = if meter == CALLS { 1 } else { n };
        Done { at: self.now, time, meter, n, kind, gave: Vec::new(), lost: Vec::new(), follows: false, parts: 1 }
    }

    /// Puts what was answered on the list.
    pub(super) fn tell(&mut self, done: Vec<Done>) {
        self.answered += 1;
        let (nth, at, begin) = (self.answered, self.now, self.done.len());
        self.done.extend(done);
        if begin < self.done.len() {
            self.told.push(Told { nth, at, done: begin..self.done.len(), is_void: false });
        }
    }

    fn event(&mut self, meter: MeterId, n: i64, after: i64) -> Answer {
        if after > 5 * MINUTE {
            self.reach("an event too far ahead", true);
            return Answer::Fails(vec![Problem::FutureEvent]);
        }
        let done = self.done(meter, n, self.now + after, Kind::Fact);
        let begin = self.done.len();
        let overage = self.fact(done);
        let told = self.done.split_off(begin);
        self.tell(told);
        self.reach_drawn();
        Answer::Recorded { overage }
    }

    /// What has happened, whatever the limits say. Answers what goes beyond them.
    pub(super) fn fact(&mut self, mut done: Done) -> i64 {
        let (nth, meter) = (self.done.len(), done.meter);
        let is_latest = meter != BYTES || self.done.iter().all(|it| it.meter != BYTES || it.time <= done.time);
        let touched = |window: Window| if meter == BYTES { is_latest } else { self.counts(nth, &done, window) };
        let counted = |window: &Window| Window::COUNTED.contains(window) && touched(*window);
        let rules = self.rules(meter).into_iter().filter(|rule| counted(&rule.window));
        let takes: Vec<_> = rules.map(|rule| self.takes(&done, &rule)).collect();
        let from_grants = takes.iter().map(|take| take.1).max().unwrap_or(0);
        let overage = takes.iter().map(|take| take.2).max().unwrap_or(0);
        done.gave = self.draw(meter, from_grants);
        let ends = Window::COUNTED.map(|window| self.range(window).1);
        self.reach("an event ahead of a window", ends.iter().any(|end| *end <= done.time));
        self.reach("a late event", done.time < self.now);
        self.reach("an event of a closed period", done.time < self.range(Window::BillingPeriod).0);
        self.reach("an event beyond a limit", overage > 0);
        self.done.push(done);
        overage
    }

    fn consume(&mut self, items: &[(MeterId, i64)]) -> Answer {
        let decision = |(meter, n): &(MeterId, i64)| self.done(*meter, *n, self.now, Kind::Decision);
        let asked: Vec<Done> = items.iter().map(decision).collect();
        let mut verdicts: Vec<Verdict> = asked.iter().map(|done| self.weigh(done)).collect();
        if verdicts.iter().any(|verdict| verdict.reason.is_some()) {
            verdicts.iter_mut().for_each(|verdict| verdict.overage = 0);
            self.reach("a refusal together", verdicts.len() > 1);
            for reason in verdicts.iter().filter_map(|verdict| verdict.reason) {
                self.reached.insert(reason.as_str());
            }
            self.tell(Vec::new());
            return Answer::Decided(verdicts);
        }
        let draws = |done: Done| Done { gave: self.draw(done.meter, self.credit_taken(&done)), ..done };
        let done = asked.into_iter().map(draws).collect();
        self.tell(done);
        for (verdict, (meter, _)) in verdicts.iter_mut().zip(items) {
            verdict.limits = self.all_shown(*meter);
            self.reach("a limit hit exactly", verdict.limits.iter().any(|limit| limit.used == limit.limit));
            self.reach("a soft limit passed", verdict.overage > 0);
        }
        self.reach_overdrawn(&verdicts);
        self.reach_drawn();
        Answer::Decided(verdicts)
    }

    /// What a decision takes from grants.
    pub(super) fn credit_taken(&self, done: &Done) -> i64 {
        self.rules(done.meter).iter().map(|rule| self.takes(done, rule).1).max().unwrap_or(0)
    }

    /// How all limits of a meter stand.
    pub(crate) fn all_shown(&self, meter: MeterId) -> Vec<Shown> {
        self.rules(meter).iter().map(|rule| self.shown(meter, rule)).collect()
    }

    /// One item against all limits, as they stand before.
    pub(super) fn weigh(&mut self, done: &Done) -> Verdict {
        let (mut limits, mut overage) = (Vec::new(), 0);
        for rule in self.rules(done.meter) {
            let (_, _, beyond) = self.takes(done, &rule);
            let passes = if done.meter == PEAK { done.n > rule.base } else { beyond > 0 };
            let mut shown = self.shown(done.meter, &rule);
            shown.violated = passes && !rule.soft;
            overage = overage.max(beyond);
            limits.push(shown);
        }
        let locked = [
            (LockCause::Operator, Reason::OrganizationLocked),
            (LockCause::Trial, Reason::TrialExpired),
            (LockCause::Billing, Reason::SubscriptionInactive),
        ];
        let lock = locked.into_iter().find(|(cause, _)| self.locks.contains(cause)).map(|(_, reason)| reason);
        let entitled = !PLANS[self.plan].1 || self.is_named(done.meter);
        let reason = match lock {
            Some(reason) => Some(reason),
            None if !entitled => Some(Reason::NotEntitled),
            None => limits.iter().any(|limit| limit.violated).then_some(Reason::QuotaExceeded),
        };
        self.reach_overdrawn(&[Verdict { reason, overage, limits: limits.clone(), cost: None }]);
        Verdict { reason, overage, limits, cost: None }
    }

    fn reach_overdrawn(&mut self, verdicts: &[Verdict]) {
        let mut limits = verdicts.iter().flat_map(|verdict| &verdict.limits);
        self.reach("an overdrawn base", limits.any(|limit| limit.limit - limit.used - limit.held < limit.remaining));
    }

    fn reach_drawn(&mut self) {
        let Some(last) = self.done.last() else { return };
        let partial = last.gave.iter().any(|(nth, _)| self.available(*nth) > 0);
        let several = last.gave.len() > 1;
        self.reach("a grant drawn partially", partial);
        self.reach("several grants drawn at once", several);
    }

    /// Whether minutes and hours would let an item pass at a later time, under the limits of now and if nothing else is
    /// done until then.
    pub(crate) fn slides_free(&self, (meter, n): (MeterId, i64), at: i64) -> bool {
        let mut later = Self { now: at, ..self.clone() };
        later.exceptions.iter_mut().for_each(|exception| exception.until = None);
        later.lapse();
        let verdict = later.weigh(&later.done(meter, n, at, Kind::Decision));
        !verdict.limits.iter().any(|limit| limit.violated && limit.window.sliding_length().is_some())
    }

    /// Whether a value of an event still lies ahead.
    pub(crate) fn has_value_ahead(&self) -> bool {
        self.done.iter().any(|done| done.meter == USERS && done.time >= self.now)
    }
}
