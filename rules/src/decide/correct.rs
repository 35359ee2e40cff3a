//! What corrections give back: the void of an event, and what returns to grants (M6).

use crate::account::{Account, Counter, MeterUse};
use crate::apply;
use crate::audit::Fields;
use crate::catalogue::Catalogue;
use crate::command::Completion;
use crate::grant::{self, Draw};
use crate::id::MeterId;
use crate::limits::{Limits, use_in};
use crate::meter::Measure;
use crate::outcome::{Change, Correction, Entry, Use, VoidedEvent, What};
use crate::plan::Plan;
use crate::quantity::Quantity;
use crate::time::{DAY, Time};
use crate::timing::{Calls, Timed};
use crate::window::{Window, WindowSet};

use super::charged::{self, Charged};
use super::operate::Told;
use super::{Problem, Question, tally};

/// How long ago an event was recorded that can be void, at most.
pub(crate) const OLDEST_VOID: i64 = 366 * DAY;
/// Events of an organization that were recorded in that time and are void, at most.
const MOST_VOID: usize = 10_000;

/// What returns to grants, and what was drawn from grants that have ended.
#[derive(Debug, Default)]
pub(super) struct Returning {
    pub(super) returned: Vec<Draw>,
    pub(super) stays: Vec<Draw>,
}

impl Returning {
    /// Of what leaves a counter, in order.
    pub(super) fn of(account: &Account, leaves: Vec<Draw>, now: Time) -> Self {
        let is_over = |draw: &Draw| account.grants.iter().all(|grant| grant.id != draw.grant || grant.is_over(now));
        let (stays, returned) = leaves.into_iter().partition(is_over);
        Self { returned, stays }
    }
}

/// An event that is to be void, as the store found it.
#[derive(Clone, Debug)]
pub struct Void {
    /// Its source.
    pub source: String,
    /// Its id.
    pub id: String,
    /// Where it stands.
    pub event: VoidedEvent,
    /// What it did to each meter.
    pub uses: Vec<Use>,
    /// What is known of how long it took.
    pub outcome: Completion,
    /// The calls that it stands for, where they are several.
    pub calls: Option<Box<Calls>>,
    /// What reports hold in the quarter hour of each use, under its dimension values.
    pub room: Vec<Quantity>,
    /// What it is charged for its tokens, where they were priced again since.
    pub charged: Option<Charged>,
}

impl Void {
    /// Where its values have to be looked for, once it is gone.
    pub(super) fn questions(&self, account: &Account) -> Vec<Question> {
        let values = self.uses.iter().enumerate().filter_map(|(item, used)| match used.measure {
            Measure::Value(value) => Some((item, used, value)),
            _ => None,
        });
        let ask = |(item, used, value): (usize, &Use, _)| Question {
            item,
            meter: used.meter,
            value,
            spans: tally::spans_at(account, used.meter, Some(used.time)),
            except: used.bucket,
        };
        values.map(ask).collect()
    }
}

/// How a counter holds a use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    /// Among what is used.
    Used,
    /// Among what came early for the next window.
    Ahead,
    /// Not, or not any more.
    Not,
}

/// Gives back exactly what an event used, where it still counts. One that stands for several calls goes with all of them: what each
/// of them used is not known, so none goes alone. Minutes and hours slide on: what was asked was asked.
pub(super) fn void(
    account: &Account,
    asked: &Void,
    seen: &[WindowSet],
    catalogue: &Catalogue,
    now: Time,
) -> Result<Option<Told>, Problem> {
    let plan = catalogue.plan(account.plan).ok_or(Problem::UnknownPlan)?;
    let event = asked.event;
    let place = |event: &VoidedEvent| (event.sequence, event.offset, event.meter);
    if account.voided.iter().any(|voided| place(voided) == place(&event)) {
        return Err(Problem::AlreadyVoid);
    } else if event.recorded_at.plus(OLDEST_VOID) <= now {
        return Err(Problem::UnknownEvent);
    } else if account.voided.len() >= MOST_VOID {
        return Err(Problem::TooManyVoids);
    }
    let mut correction = Correction {
        uses: Vec::new(),
        stays: Vec::new(),
        voided: Some(asked.event),
        untimed: Timed::of(asked.outcome, &asked.uses),
        calls: asked.calls.clone(),
        ..Correction::of(Vec::new(), Vec::new())
    };
    for (i, used) in asked.uses.iter().enumerate() {
        if asked.charged.is_some() && used.follows.is_some() {
            continue;
        }
        let given = match used.measure {
            Measure::Add(quantity) => {
                let room = asked.room.get(i).copied().unwrap_or_default();
                amount(account, plan, used, quantity.min(room), catalogue, now)?
            }
            Measure::Value(_) => value(account, plan, used, seen.get(i).copied().unwrap_or_default(), catalogue, now)?,
            Measure::Peak(_) | Measure::Level(_) => return Err(Problem::NotVoidable),
            Measure::Adjust(_) | Measure::Void(_) | Measure::VoidValue(_) => {
                return Err(Problem::Inconsistent("a correction is no event"));
            }
        };
        let (used, stays) = given;
        correction.uses.push(used);
        correction.stays.extend(stays);
    }
    if let Some(charged) = &asked.charged {
        let (uses, stays) = charged::give_back(account, plan, asked, charged, catalogue, now)?;
        correction.uses.extend(uses);
        correction.stays.extend(stays);
    }
    Ok(Some(told(account, asked, correction, catalogue, now)))
}

/// The part of an event that adds up, without what returns to grants.
pub(super) fn voided(account: &Account, used: &Use, quantity: Quantity) -> Use {
    let which = |wanted| {
        Window::COUNTED.into_iter().filter(|window| held(account, used, *window) == wanted).collect::<WindowSet>()
    };
    let (windows, ahead) = (which(Held::Used), which(Held::Ahead));
    Use { measure: Measure::Void(quantity), windows, ahead, ..base(account, used) }
}

/// The void of so much of a use, with what returns to grants of it, and what came from grants that have ended.
///
/// # Errors
/// [`Problem::UnknownMeter`] of a meter that is not in the catalogue.
pub(crate) fn amount(
    account: &Account,
    plan: &Plan,
    used: &Use,
    quantity: Quantity,
    catalogue: &Catalogue,
    now: Time,
) -> Result<(Use, Vec<Draw>), Problem> {
    let voided = voided(account, used, quantity);
    let returning = returning(account, plan, used, &voided, catalogue, now)?;
    Ok((Use { draws: returning.returned, ..voided }, returning.stays))
}

/// What returns to grants of a use with its void.
pub(super) fn returning(
    account: &Account,
    plan: &Plan,
    used: &Use,
    voided: &Use,
    catalogue: &Catalogue,
    now: Time,
) -> Result<Returning, Problem> {
    let lifted = lifted(account, plan, used, catalogue)?;
    Ok(Returning::of(account, returns(account, used, lifted, voided.windows.has(lifted)), now))
}

/// A value leaves only the windows in which nobody else has brought it; `seen` are those in which somebody has. With what returns to
/// grants, and what came from grants that have ended, as [`amount`].
///
/// # Errors
/// [`Problem::UnknownMeter`] of a meter that is not in the catalogue; [`Problem::Inconsistent`] of what is no value.
pub(crate) fn value(
    account: &Account,
    plan: &Plan,
    used: &Use,
    seen: WindowSet,
    catalogue: &Catalogue,
    now: Time,
) -> Result<(Use, Vec<Draw>), Problem> {
    let Measure::Value(value) = used.measure else { return Err(Problem::Inconsistent("not a value")) };
    let meter = catalogue.meter(used.meter).ok_or(Problem::UnknownMeter)?;
    let spans = tally::open_spans(account, used.meter);
    let chosen = |ahead: bool| {
        let is_in = move |(window, span): &&(Window, crate::time::Span)| match ahead {
            true => span.end <= used.time,
            false => span.contains(used.time) && !was_reset(account, used, *window),
        };
        spans.iter().filter(is_in).map(|(window, _)| *window).collect::<WindowSet>().without(seen)
    };
    let (windows, ahead) = (chosen(false), chosen(true));
    let (limits, lifted) = (Limits::new(account, plan, meter), lifted(account, plan, used, catalogue)?);
    let leaves = match (windows.has(lifted), limits.standing(lifted, now)) {
        (true, Some(standing)) => {
            let counter = account.meter(used.meter).and_then(|used| used.counter(lifted));
            let drawn = counter.map_or(&[][..], |counter| &counter.draws);
            grant::last_of(&account.grants, drawn, Quantity::ONE.minus(standing.overage()))
        }
        (true, None) => returns(account, used, lifted, true),
        (false, _) if held(account, used, lifted) == Held::Not => returns(account, used, lifted, false),
        (false, _) => Vec::new(),
    };
    let returning = Returning::of(account, leaves, now);
    let measure = Measure::VoidValue(value);
    let voided = Use { measure, windows, ahead, bucket: used.bucket, ..base(account, used) };
    Ok((Use { draws: returning.returned, ..voided }, returning.stays))
}

/// Whether a counter was set to zero after a use, at the very time of the use.
fn was_reset(account: &Account, used: &Use, window: Window) -> bool {
    let counter = account.meter(used.meter).and_then(|used| used.counter(window));
    let is_then = |counter: &Counter| counter.reset_at == Some(used.time);
    counter.is_some_and(|counter| is_then(counter) && used.epochs[place(window)] != counter.epoch)
}

/// Where a window's counter stands among those of a meter.
const fn place(window: Window) -> usize {
    window as usize - Window::Day as usize
}

/// The window that grants lift, or would.
fn lifted(account: &Account, plan: &Plan, used: &Use, catalogue: &Catalogue) -> Result<Window, Problem> {
    let meter = catalogue.meter(used.meter).ok_or(Problem::UnknownMeter)?;
    Ok(Limits::new(account, plan, meter).period_window().unwrap_or(Window::BillingPeriod))
}

fn base(account: &Account, used: &Use) -> Use {
    Use {
        meter: used.meter,
        measure: used.measure,
        time: used.time,
        windows: WindowSet::NONE,
        ahead: WindowSet::NONE,
        epochs: account.meter(used.meter).map_or([0; 4], MeterUse::epochs),
        sliding: false,
        draws: Vec::new(),
        overage: Quantity::ZERO,
        dimensions: used.dimensions.clone(),
        bucket: None,
        follows: used.follows,
    }
}

/// What it drew and has not been given back: of an open counter what this still has from the grant, of closed ones what the
/// grant gave beside it. The last comes first.
fn returns(account: &Account, used: &Use, lifted: Window, is_open: bool) -> Vec<Draw> {
    let counter = account.meter(used.meter).and_then(|used| used.counter(lifted));
    let most = |draw: &Draw| {
        let of_counter = counter.map_or(Quantity::ZERO, |counter| counter.drawn_from(draw.grant));
        let given = account.grants.iter().find(|grant| grant.id == draw.grant).map(|grant| grant.used);
        if is_open { of_counter } else { given.unwrap_or_default().minus(of_counter) }
    };
    let draws = used.draws.iter().rev().map(|draw| Draw { quantity: draw.quantity.min(most(draw)), ..*draw });
    draws.filter(|draw| !draw.quantity.is_zero()).collect()
}

/// Whether a counter still has it: at the same beginning, or carried into the window that it came early for.
fn held(account: &Account, used: &Use, window: Window) -> Held {
    let Some(counter) = account.meter(used.meter).and_then(|used| used.counter(window)) else { return Held::Not };
    let is_same = used.epochs[place(window)] == counter.epoch;
    if used.windows.has(window) {
        return if is_same { Held::Used } else { Held::Not };
    } else if !used.ahead.has(window) {
        return Held::Not;
    }
    let open = account.windows.get(window);
    match () {
        () if is_same || open.end <= used.time => Held::Ahead,
        () if open.contains(used.time) && counter.reset_at.is_none() => Held::Used,
        () => Held::Not,
    }
}

fn told(account: &Account, asked: &Void, correction: Correction, catalogue: &Catalogue, now: Time) -> Told {
    let time = correction.uses.first().map(|used| used.time);
    let mut touched: Vec<MeterId> = correction.uses.iter().map(|used| used.meter).collect();
    touched.dedup();
    let meters: Vec<_> = touched.into_iter().filter_map(|meter| catalogue.meter(meter)).collect();
    let change = Change::Corrected(correction);
    let mut after = account.clone();
    apply::apply(&mut after, &Entry { at: now, what: What::Changed(Box::new(change.clone())) });
    let described = |account: &Account| {
        let named = Fields::default().with("source", asked.source.as_str()).with("id", asked.id.as_str());
        let mut fields = named.with("time", time);
        if let [only] = &meters[..] {
            fields = fields.with("meter", only.key.as_str());
        }
        for meter in &meters {
            let counted = use_in(account.meter(meter.id), meter, Window::BillingPeriod, now);
            let name = if meters.len() == 1 { "used".to_owned() } else { format!("{}.used", meter.key) };
            fields = fields.with(&name, counted.display(meter.decimals));
        }
        fields
    };
    let (before, after) = (described(account), described(&after));
    Told { change, action: "usage.void", category: "usage", before, after }
}
