//! What a measure does to which windows.

use crate::account::{Account, Counter, MeterUse};
use crate::id::MeterId;
use crate::meter::Measure;
use crate::quantity::{InvalidQuantity, Quantity};
use crate::time::{MINUTE, Span, Time};
use crate::window::{Window, WindowSet};

/// Reports are kept in quarter hours; so are the values that are counted once.
const QUARTER: i64 = 15 * MINUTE;

/// The counters that something at a time touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Touch {
    /// Those of the open windows.
    pub(super) windows: WindowSet,
    /// Those of the next windows.
    pub(super) ahead: WindowSet,
}

/// The spans in which a meter's open counters count: from the window's start, or from the last reset.
pub(super) fn spans(account: &Account, meter: MeterId) -> [(Window, Span); 4] {
    let used = account.meter(meter);
    Window::COUNTED.map(|window| {
        let open = account.windows.get(window);
        let reset = used.and_then(|used| used.counter(window)).and_then(|counter| counter.reset_at);
        (window, Span { start: reset.map_or(open.start, |reset| open.start.max(reset)), end: open.end })
    })
}

/// Which counters of `meter` something that happened at `time` touches. Late events touch only the windows that they lie
/// in; events from before a counter's reset do not touch it.
pub(super) fn touch(account: &Account, meter: MeterId, time: Time) -> Touch {
    let spans = spans(account, meter);
    let windows = spans.iter().filter(|(_, span)| span.contains(time)).map(|(window, _)| *window).collect();
    let ahead = spans.iter().filter(|(_, span)| span.end <= time).map(|(window, _)| *window).collect();
    Touch { windows, ahead }
}

/// Where a value that is counted once is remembered: its quarter hour, cut where an open window or a counter begins
/// within it, so that each window's values are whole buckets.
pub(super) fn bucket(account: &Account, meter: MeterId, time: Time) -> Time {
    let begins = spans(account, meter).map(|(_, span)| span.start);
    begins.into_iter().filter(|start| *start <= time).fold(time.floor(QUARTER), Time::max)
}

/// What the measure adds to what a window has used.
pub(super) fn added(used: Option<&MeterUse>, measure: Measure, window: Window, seen: WindowSet) -> Quantity {
    match measure {
        Measure::Add(quantity) => quantity,
        Measure::Level(level) => level,
        Measure::Value(_) if seen.has(window) => Quantity::ZERO,
        Measure::Value(_) => Quantity::ONE,
        Measure::Peak(peak) => {
            peak.minus(used.and_then(|u| u.counter(window)).map_or(Quantity::ZERO, |counter| counter.used))
        }
    }
}

/// The epochs of the four counters, to be named in the entry.
pub(super) fn epochs(used: Option<&MeterUse>) -> [u32; 4] {
    used.map_or([0; 4], |used| used.counters.map(|counter| counter.epoch))
}

/// # Errors
/// [`InvalidQuantity::TooLarge`] if a counter could not hold it.
pub(super) fn check_range(used: Option<&MeterUse>, measure: Measure) -> Result<(), InvalidQuantity> {
    let (Some(used), Measure::Add(more)) = (used, measure) else { return Ok(()) };
    let holds = |counter: &Counter| {
        counter.used.checked_add(more).is_some_and(|used| used.checked_add(counter.ahead).is_some())
    };
    if used.counters.iter().all(holds) { Ok(()) } else { Err(InvalidQuantity::TooLarge) }
}
