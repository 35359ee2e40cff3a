//! What a measure does to which counters.

use crate::account::{Account, Counter, MeterUse};
use crate::command::Item;
use crate::grant::{self, Grant};
use crate::id::MeterId;
use crate::limits::{Claim, Standing};
use crate::meter::Measure;
use crate::outcome::Use;
use crate::quantity::{InvalidQuantity, Quantity};
use crate::time::{MINUTE, Span, Time};
use crate::window::{Window, WindowSet};

/// Reports are kept in quarter hours; so are the values that are counted once.
pub(super) const QUARTER: i64 = 15 * MINUTE;

/// The spans in which a meter's open counters count: from the window's start, or from the last reset.
pub(super) fn open_spans(account: &Account, meter: MeterId) -> [(Window, Span); 4] {
    let used = account.meter(meter);
    Window::COUNTED.map(|window| {
        let open = account.windows.get(window);
        let reset = used.and_then(|used| used.counter(window)).and_then(|counter| counter.reset_at);
        (window, Span { start: reset.map_or(open.start, |reset| open.start.max(reset)), end: open.end })
    })
}

/// The spans in which a value at `time` counts once: those of the open counters, or what follows where it lies ahead.
pub(super) fn spans_at(account: &Account, meter: MeterId, time: Option<Time>) -> [(Window, Span); 4] {
    open_spans(account, meter).map(|(window, open)| {
        let is_ahead = time.is_some_and(|time| open.end <= time);
        (window, if is_ahead { Span { start: open.end, end: Time::MAX } } else { open })
    })
}

/// Where a value that is counted once is remembered: its quarter hour, cut where a window or a counter begins within
/// it, so that each window's values are whole buckets.
fn bucket(spans: &[(Window, Span); 4], time: Time) -> Time {
    let begins = spans.iter().flat_map(|(_, span)| [span.start, span.end]);
    begins.filter(|begin| *begin <= time).fold(time.floor(QUARTER), Time::max)
}

/// One item of a decision or an event, and the counters of its meter that it touches.
///
/// Late events touch only the windows that they lie in; events from before a counter's reset do not touch it; a value
/// touches only the windows in which it is new. A level is in every window, and the latest one in none.
#[derive(Debug)]
pub(super) struct Touch<'a> {
    item: &'a Item,
    used: Option<&'a MeterUse>,
    time: Time,
    /// Counters of open windows.
    windows: WindowSet,
    /// Counters of the next windows.
    ahead: WindowSet,
    /// Where a value is remembered.
    bucket: Option<Time>,
}

impl<'a> Touch<'a> {
    /// What `item` touches that happened at `time`; `seen` are the windows in which its value is not new.
    ///
    /// # Errors
    /// [`InvalidQuantity::TooLarge`] if a counter could not hold it.
    pub(super) fn new(
        account: &'a Account,
        item: &'a Item,
        seen: WindowSet,
        time: Time,
    ) -> Result<Self, InvalidQuantity> {
        let used = account.meter(item.meter);
        check_range(used, item.measure)?;
        let spans = open_spans(account, item.meter);
        let chosen = |touches: fn(&Span, Time) -> bool| {
            spans.iter().filter(|(_, span)| touches(span, time)).map(|(window, _)| *window).collect::<WindowSet>()
        };
        let (open, next) = (chosen(|span, time| span.contains(time)), chosen(|span, time| span.end <= time));
        let (windows, ahead, bucket) = match item.measure {
            Measure::Add(_) | Measure::Peak(_) | Measure::Adjust(_) | Measure::Void(_) | Measure::VoidValue(_) => {
                (open, next, None)
            }
            Measure::Value(_) => (open.without(seen), next.without(seen), Some(bucket(&spans, time))),
            Measure::Level(_) if used.and_then(|used| used.level).is_some_and(|level| time < level.time) => {
                (WindowSet::NONE, WindowSet::NONE, None)
            }
            Measure::Level(_) => (Window::COUNTED.into_iter().collect(), WindowSet::NONE, None),
        };
        Ok(Self { item, used, time, windows, ahead, bucket })
    }

    /// Whether it counts in an open window.
    pub(super) const fn has(&self, window: Window) -> bool {
        self.windows.has(window)
    }

    /// What the window would hold if it held nothing else.
    pub(super) const fn alone(&self) -> Quantity {
        match self.item.measure {
            Measure::Add(quantity) | Measure::Peak(quantity) | Measure::Level(quantity) => quantity,
            Measure::Value(_) => Quantity::ONE,
            Measure::Adjust(units) => Quantity::at_least_zero(units),
            Measure::Void(_) | Measure::VoidValue(_) => Quantity::ZERO,
        }
    }

    /// What it adds to what a window has used; a level takes the place of what is there.
    pub(super) fn added(&self, window: Window) -> Quantity {
        match self.item.measure {
            Measure::Value(_) if !self.has(window) => Quantity::ZERO,
            Measure::Peak(peak) => {
                let counter = self.used.and_then(|used| used.counter(window));
                peak.minus(counter.map_or(Quantity::ZERO, |counter| counter.used))
            }
            _ => self.alone(),
        }
    }

    /// What it takes from a limit.
    pub(super) fn claim(&self, standing: &Standing) -> Claim {
        let used = if self.is_level() { Quantity::ZERO } else { standing.used };
        Standing { used, ..*standing }.claim(self.added(standing.window))
    }

    /// Whether a decision on it would pass the limit. A peak does even where a higher one was recorded as a fact.
    pub(super) fn passes(&self, standing: &Standing) -> bool {
        match self.item.measure {
            Measure::Peak(peak) => peak > standing.base,
            _ => !self.claim(standing).beyond.is_zero(),
        }
    }

    /// What a window has used after it.
    pub(super) fn used_after(&self, standing: &Standing) -> Quantity {
        match self.item.measure {
            Measure::Level(level) if self.has(Window::Lifetime) => level,
            Measure::Level(_) => standing.used,
            _ => standing.used.saturating_add(self.added(standing.window)),
        }
    }

    /// Where a limit stands once this much of it is used.
    pub(super) fn standing_after(&self, before: &Standing, claim: Claim) -> Standing {
        Standing {
            used: self.used_after(before),
            drawn: before.drawn.saturating_add(claim.from_grants),
            available: before.available.minus(claim.from_grants),
            ..*before
        }
    }

    /// Whether it takes the place of what is there.
    pub(super) const fn is_level(&self) -> bool {
        matches!(self.item.measure, Measure::Level(_))
    }

    /// What is written about it. `sliding`: it counts in minutes and hours too.
    pub(super) fn written(&self, claim: Claim, grants: &[Grant], now: Time, sliding: bool) -> Use {
        Use {
            meter: self.item.meter,
            measure: self.item.measure,
            time: self.time,
            windows: self.windows,
            ahead: self.ahead,
            epochs: self.used.map_or([0; 4], crate::account::MeterUse::epochs),
            sliding: sliding && matches!(self.item.measure, Measure::Add(_)),
            draws: grant::draw(grants, self.item.meter, claim.from_grants, now),
            overage: claim.beyond,
            dimensions: self.item.dimensions.clone(),
            bucket: self.bucket,
            follows: None,
        }
    }
}

/// # Errors
/// [`InvalidQuantity::TooLarge`] if a counter could not hold it.
fn check_range(used: Option<&MeterUse>, measure: Measure) -> Result<(), InvalidQuantity> {
    let (Some(used), Measure::Add(more)) = (used, measure) else { return Ok(()) };
    let holds = |counter: &Counter| {
        counter.used.checked_add(more).is_some_and(|used| used.checked_add(counter.ahead).is_some())
    };
    if used.counters.iter().all(holds) { Ok(()) } else { Err(InvalidQuantity::TooLarge) }
}
