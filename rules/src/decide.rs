//! `(&Account, &Command, now) -> Outcome`: the only place with rules.
//!
//! The account is [settled](Account::at) first, so that whatever fell due by time has happened. Everything is checked
//! before the first entry is made; after that nothing can fail.

use crate::account::Account;
use crate::apply::apply;
use crate::catalogue::Catalogue;
use crate::command::{Command, Completing, Item, NewGrant, Voiding};
use crate::id::{InvalidId, MeterId};
use crate::meter::{Measure, ValueHash};
use crate::notice::{Notice, triggered};
use crate::outcome::{Entry, Outcome, Reply, Use, What};
use crate::price::NotAPart;
use crate::quantity::{Decimal, InvalidQuantity};
use crate::reservation::State;
use crate::time::{Span, Time};
use crate::window::{Window, WindowSet};

pub(crate) mod adjust;
pub(crate) mod charged;
pub mod complete;
mod consume;
pub(crate) mod correct;
pub mod cost;
mod create;
pub mod cycle;
mod grants;
mod note;
mod operate;
pub mod rate;
mod record;
pub mod reprice;
mod reserve;
pub(crate) mod subscription;
mod tally;
pub mod undecided;

pub use create::create;
pub(crate) use operate::{counted, is_reset, kept, locks_fields, plan_after, plan_change};

/// Why a command cannot be decided at all. Nothing happens, and the same command fails again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A quantity is out of range, alone or with what is counted already.
    #[error("invalid quantity: {0}")]
    InvalidQuantity(#[from] InvalidQuantity),
    /// What is said of a language model's tokens does not add up.
    #[error(transparent)]
    TokenKinds(#[from] NotAPart),
    /// A name is not of its kind.
    #[error(transparent)]
    InvalidId(#[from] InvalidId),
    /// The meter is not in the catalogue.
    #[error("there is no such meter")]
    UnknownMeter,
    /// The plan, or the version of it, is not in the catalogue.
    #[error("there is no such plan or version of it")]
    UnknownPlan,
    /// The organization has no grant of that number.
    #[error("there is no such grant")]
    UnknownGrant,
    /// Two items of one decision or event name the same meter.
    #[error("a meter can stand only once in what is decided together")]
    MeterTwice,
    /// An event lies too far in the future.
    #[error("the time is more than 5 minutes in the future")]
    FutureEvent,
    /// A level or a peak is not used up, so credit cannot lift it.
    #[error("grants lift what is used up: sum, count and uniqueCount, not max or last")]
    NotGrantable,
    /// A period that ends before it begins, or has ended already.
    #[error("the end must lie in the future and after the start")]
    EndsTooEarly,
    /// The window does not fit the meter.
    #[error("minute and hour limits need a meter that adds up: sum or count")]
    NotARate,
    /// A cycle begins too far in the future.
    #[error("the billing cycle can begin at most a year ahead")]
    CycleTooFar,
    /// A member has brought the next reset forward lately.
    #[error("the next reset was brought forward within the last {0} months")]
    CycleMovedRecently(u32),
    /// A subscription rules the dates.
    #[error("the billing cycle is that of the organization's subscription: change it there")]
    CycleOwnedBySubscription,
    /// The organization has never been in a trial.
    #[error("the organization has never had a trial")]
    NoTrial,
    /// A member of a locked organization cannot change it.
    #[error("the organization is locked")]
    Locked,
    /// A peak or distinct values cannot be corrected by an amount.
    #[error("only sum and count meters are adjusted by an amount; of a level the level is set")]
    NotAdjustable,
    /// So much was not counted; what can be taken off.
    #[error("at most {0} can be taken off here")]
    AdjustsTooMuch(Decimal),
    /// There is no such event, or it is not kept any more.
    #[error("there is no such event")]
    UnknownEvent,
    /// The event is void already.
    #[error("the event is void already")]
    AlreadyVoid,
    /// Too many events of the last year are void.
    #[error("10,000 events of the last 366 days are void already: correct by an amount")]
    TooManyVoids,
    /// A peak or a level cannot be taken back.
    #[error(
        "an event on a max or last meter cannot be void: record the true level, which takes the place of a last one, \
         and a max starts anew at its next window or a reset"
    )]
    NotVoidable,
    /// A correction is of the past.
    #[error("an adjustment cannot lie in the future")]
    FutureAdjustment,
    /// Only test organizations have a clock.
    #[error("only a test organization has a clock of its own")]
    NotATest,
    /// Something was recorded, and time does not run back.
    #[error("the clock can only be moved forward once something is recorded")]
    ClockRunsBack,
    /// More falls due on the way than is done at once.
    #[error("too much falls due until then: move the clock in smaller steps, such as ten years at a time")]
    TooMuchDue,
    /// A level, a peak or a distinct value cannot be held.
    #[error("reservations hold what adds up: sum and count meters")]
    NotReservable,
    /// A reservation is too short or too long.
    #[error("a reservation holds for 1 second to 24 hours at a time")]
    InvalidTtl,
    /// The organization has never had a reservation of that number.
    #[error("there is no such reservation")]
    UnknownReservation,
    /// The reservation is committed, released or lapsed; which of them, where that is known.
    #[error("the reservation is over")]
    ReservationOver(Option<State>),
    /// More than [`MOST_OPEN`](crate::reservation::MOST_OPEN) would be open, or with more dimension values than
    /// [`MOST_DIMENSION_BYTES`](crate::reservation::MOST_DIMENSION_BYTES).
    #[error("the organization has too many open reservations")]
    TooManyReservations,
    /// The application cannot write what only Metergate does.
    #[error("this action is one of Metergate's own; name yours otherwise")]
    OwnAction,
    /// The name of an action has another form.
    #[error("an action is 1 to 128 letters, digits, dots, colons, underscores and hyphens")]
    InvalidAction,
    /// The category is none that the application may use.
    #[error("the category must be trial, quota, billing, usage, knowledge_base, chat, config, auth, webhook or error")]
    UnknownCategory,
    /// The organization's audit log has no entry of that number.
    #[error("there is no such entry in the audit log")]
    UnknownEntry,
    /// The record says already how long it took, or how it ended, and says something else.
    #[error("the record says already how long it took or how it ended, and something else")]
    AlreadyComplete,
    /// The state contradicts itself: a defect.
    #[error("inconsistent state: {0}")]
    Inconsistent(&'static str),
}

/// What deciding needs to know beyond the account: for each item with a value to count once, the windows in which that
/// value has been seen. The others' are empty. See [`questions`].
pub type Seen = Vec<WindowSet>;

/// Where a value has to be looked for: in these spans of these windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// The item of the command.
    pub item: usize,
    /// The meter.
    pub meter: MeterId,
    /// The value.
    pub value: ValueHash,
    /// The open windows, each from its start or its counter's last reset; where an event lies ahead of one, what
    /// follows it.
    pub spans: [(Window, Span); 4],
    /// The bucket in which it is looked for once less: that of the event that is to be void.
    pub except: Option<Time>,
}

/// The values that `command` counts once and where to look for each.
pub fn questions(account: &Account, command: &Command) -> Vec<Question> {
    let (items, time) = match command {
        Command::Consume(consume) => (&consume.items, None),
        Command::Record(event) => (&event.items, event.time),
        Command::Void(Voiding::Found(void)) => return void.questions(account),
        _ => return Vec::new(),
    };
    let values = items.iter().enumerate().filter_map(|(item, asked)| match asked.measure {
        Measure::Value(value) => Some((item, asked.meter, value)),
        _ => None,
    });
    let ask = |(item, meter, value)| Question {
        item,
        meter,
        value,
        spans: tally::spans_at(account, meter, time),
        except: None,
    };
    values.map(ask).collect()
}

/// Decides `command` on an account that is settled at `now`. A time before the account's last entry counts as that
/// entry's: time never runs back.
///
/// `with_receipt`: the caller gave an id, so the answer is kept, also a refusal.
///
/// # Errors
/// [`Problem`] where the command makes no sense; a refusal is no error but an answer.
pub fn decide(
    account: &Account,
    command: &Command,
    seen: &[WindowSet],
    with_receipt: bool,
    catalogue: &Catalogue,
    now: Time,
) -> Result<Outcome, Problem> {
    let now = account.moment(now);
    match command {
        Command::Consume(asked) => consume::consume(account, asked, seen, with_receipt, catalogue, now),
        Command::Record(event) => record::record(account, event, seen, catalogue, now),
        Command::Reserve(asked) => reserve::hold(account, asked, catalogue, now),
        Command::Extend { id, ttl } => reserve::extend(account, *id, *ttl, catalogue, now),
        Command::Commit(asked) => reserve::commit(account, asked, catalogue, now),
        Command::Release(id) => reserve::release(account, *id, catalogue, now),
        Command::Grant(new) => grants::give(account, new, catalogue, now),
        Command::GrantForPeriod(new) => {
            let expires_at = Some(account.windows.period.end);
            grants::give(account, &NewGrant { expires_at, ..new.clone() }, catalogue, now)
        }
        Command::VoidGrant(id) => grants::void(account, *id, catalogue, now),
        Command::Append(entry) => note::append(entry, now),
        Command::Resolve { seq, note, before } => Ok(note::resolve(*seq, note, before.as_deref(), now)),
        Command::Adjust(_) | Command::Reprice(_) => {
            with_notices(account, operate::operate(account, command, catalogue, now)?, catalogue, now)
        }
        Command::Void(Voiding::Found(void)) => {
            Ok(operate::outcome(correct::void(account, void, seen, catalogue, now)?, now))
        }
        Command::Complete(Completing::Found(found)) => complete::complete(account, found, now),
        Command::Complete(Completing::Asked(..)) => Err(Problem::UnknownEvent),
        Command::Create(_) => Err(Problem::Inconsistent("the organization exists already")),
        Command::Touch => Ok(Outcome { entries: Vec::new(), reply: Reply::Done, audit: Vec::new() }),
        other => operate::operate(account, other, catalogue, now),
    }
}

/// With what others are told of a correction, which is of one meter: as the account stands after all of its parts.
fn with_notices(account: &Account, outcome: Outcome, catalogue: &Catalogue, now: Time) -> Result<Outcome, Problem> {
    let plan = catalogue.plan(account.plan).ok_or(Problem::UnknownPlan)?;
    let (mut notices, mut outcome) = (Vec::new(), outcome);
    let uses = outcome.entries.iter().flat_map(|entry| entry.what.uses());
    let more: Vec<&Use> = uses.filter(|used| !used.measure.is_less()).collect();
    if let Some(first) = more.first() {
        let meter = catalogue.meter(first.meter).ok_or(Problem::UnknownMeter)?;
        let is_touched = |window: &Window| more.iter().any(|used| used.windows.has(*window));
        let windows: WindowSet = Window::COUNTED.into_iter().filter(is_touched).collect();
        let mut after = account.clone();
        outcome.entries.iter().for_each(|entry| apply(&mut after, entry));
        triggered::of_meter(&after, plan, meter, windows, now, &mut notices);
        triggered::of_drawn(&after, &more, &mut notices);
    }
    outcome.entries.extend(noticed(notices, now));
    Ok(outcome)
}

/// The time at which a command happens that is asked at `now`: by the organization's own clock, where it has one. What is due
/// until a clock is moved to happens before the move.
pub fn time_of(account: &Account, command: &Command, now: Time) -> Time {
    match command {
        Command::SetClock(to) if account.profile.test && account.goes_forward(*to) => (*to).max(account.time),
        _ => account.own_time(now),
    }
}

/// All items are weighed against the same state, so that two on one meter would each be given what is left.
fn refuse_meter_twice(items: &[Item]) -> Result<(), Problem> {
    let twice = items.iter().enumerate().any(|(i, item)| items[..i].iter().any(|other| other.meter == item.meter));
    if twice { Err(Problem::MeterTwice) } else { Ok(()) }
}

/// What others are told, as entries.
fn noticed(notices: Vec<Notice>, now: Time) -> impl Iterator<Item = Entry> {
    notices.into_iter().map(move |notice| entry(now, What::Noticed(notice)))
}

/// An entry about what the command did.
fn entry(at: Time, what: What) -> Entry {
    Entry { at, what }
}
