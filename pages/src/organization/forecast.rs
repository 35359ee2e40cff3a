//! The use of a meter in the billing period against its limit, and where the present pace leads.

use crate::answers::{Forecast, Meter, WindowForecast};
use crate::chart::{self, Cumulative, Row};
use crate::format::{Amount, Markup, Zone};
use crate::range;

/// What is said where the pace cannot be told yet, and where there is none.
const NOT_YET: &str = "A forecast follows once there is an hour of use to go by.";
const LOCKED: &str = "Nothing more can be used while the organization is locked.";

/// The charts of the meters with a period limit of which something was used, the nearest to its limit first. A lock stops all use, so
/// there is no pace that leads anywhere.
pub fn forecasts(forecast: &Forecast, meters: &[Meter], zone: &Zone, now: &str, is_locked: bool) -> Vec<Markup> {
    let mut shown: Vec<_> = forecast
        .meters
        .iter()
        .filter_map(|one| {
            let meter = meters.iter().find(|meter| meter.key == one.meter)?;
            let window =
                one.windows.iter().rev().find(|window| matches!(window.window.as_str(), "billingPeriod" | "month"))?;
            let used = window.points.last()?.used;
            let limit = window.limit.filter(|_| !used.is_zero())?;
            Some((used.percent_of(limit), meter, window))
        })
        .collect();
    shown.sort_by_key(|(percent, ..)| std::cmp::Reverse(*percent));
    shown.into_iter().take(MOST).filter_map(|(_, meter, window)| chart(meter, window, (zone, now), is_locked)).collect()
}

/// Charts on a page at most: the rest is far from its limit.
const MOST: usize = 3;

fn chart(meter: &Meter, window: &WindowForecast, (zone, now): (&Zone, &str), is_locked: bool) -> Option<Markup> {
    let (start, end) = range::whole_days(zone, window.start.as_deref()?, window.end.as_deref()?);
    let adds_up = matches!(meter.aggregation.as_str(), "sum" | "count");
    if !adds_up {
        return None;
    }
    // What was used between one point and the next was used on the day of the first.
    let pairs = window.points.iter().zip(window.points.iter().skip(1));
    let rows: Vec<_> =
        pairs.map(|(from, to)| Row { start: &from.at, group: "", value: to.used.minus(from.used) }).collect();
    let frame = chart::Frame {
        id: &format!("forecast-{}", meter.key.replace('_', "-")),
        title: &format!("{} against the limit", meter.name),
        start: &start,
        end: &end,
        zone,
        now,
        unit: &meter.unit,
    };
    let at_end = |projected: Amount| chart::Forecast { at_end: projected, reached_at: window.reaches_at.as_deref() };
    let forecast = window.projected.filter(|_| !is_locked).map(at_end);
    let without = if is_locked { LOCKED } else { NOT_YET };
    Some(Cumulative { frame, rows: &rows, limit: window.limit, forecast, without }.markup())
}
