//! When each limit will be reached at the present pace (O11). The arithmetic is [`metergate_rules::forecast`]'s.

use metergate_rules::forecast::{PACE_SPAN, Pace};
use metergate_rules::id::{MeterId, MeterKey, OrganizationRef};
use metergate_rules::meter::{Aggregation, Meter};
use metergate_rules::plan::Enforcement;
use metergate_rules::quantity::Quantity;
use metergate_rules::time::Time;
use metergate_rules::window::Window;
use serde::Serialize;
use utoipa::ToSchema;

use super::figures::Figures;
use super::usage::{Granularity, UsageQuery, UsageRow};
use super::{Current, Report, Timestamp};
use crate::http::number::Number;
use crate::store::reader::ReadError;
use crate::store::rollup::QUARTER;

mod points;

pub use points::PointBody;

/// When each limit of an organization will be reached.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Forecast {
    /// The organization's key.
    pub organization: String,
    /// The time that this is said at.
    pub as_of: Timestamp,
    /// The zone of its days, months and billing periods.
    pub time_zone: String,
    /// By key: the meters that have a limit on a day, a month, a billing period or the lifetime.
    pub meters: Vec<MeterForecast>,
}

/// One meter's pace, and where it leads.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MeterForecast {
    /// The meter's key.
    pub meter: String,
    /// `sum`, `count`, `max`, `last` or `uniqueCount`.
    #[schema(value_type = String, example = "sum")]
    pub aggregation: Aggregation,
    /// How fast it is used; `null` where nothing honest can be said.
    pub pace: Option<PaceBody>,
    /// Why there is no pace: `tooYoung`, less than an hour to tell it from; `peak`, a `max` meter does not add up; `distinct`,
    /// on a `uniqueCount` meter the values that are still new get rarer, so no slope holds. `null` with a pace.
    pub no_pace: Option<NoPace>,
    /// Each window that has a limit, but `minute` and `hour`, shortest first.
    pub windows: Vec<WindowForecast>,
}

/// What was used lately: of a `last` meter by how much the level rose, below zero where it fell.
///
/// Over the last 7 × 24 hours, so that every hour of the week counts once; of an organization that is younger, and used
/// nothing earlier, since it was created. A reset or a new period does not change it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PaceBody {
    /// Since when.
    pub from: Timestamp,
    /// Until when: the time of the report.
    pub to: Timestamp,
    /// How much in this time.
    pub quantity: Number,
    /// How much that is in 24 hours, cut to the meter's smallest unit.
    pub per_day: Number,
}

/// Why nothing honest can be said of a meter's pace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum NoPace {
    /// There is less than an hour to tell it from.
    TooYoung,
    /// A peak does not add up.
    Peak,
    /// New values get rarer.
    Distinct,
}

/// Where the pace leads in one window. `limit`, `used`, `held` and `remaining` are those of the quota, as of now: credit that
/// is yet to begin or to expire in the window is not foreseen.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WindowForecast {
    /// `day`, `month`, `billingPeriod` or `lifetime`.
    #[schema(value_type = String, example = "billingPeriod")]
    pub window: Window,
    /// Where it begins; `null` for the lifetime.
    pub start: Option<Timestamp>,
    /// Where it ends; `null` for the lifetime.
    pub end: Option<Timestamp>,
    /// `hard` refuses, `soft` allows and counts overage.
    #[schema(value_type = String, example = "hard")]
    pub enforcement: Enforcement,
    /// Whether it never refuses, and so is never reached.
    pub unlimited: bool,
    /// The limit with extra quota and credit; `null` if unlimited.
    pub limit: Option<Number>,
    /// All use in the window.
    pub used: Number,
    /// What reservations hold.
    pub held: Number,
    /// What may still be used; `null` if unlimited.
    pub remaining: Option<Number>,
    /// What will have been used at the window's end at this pace, if nothing refuses it; `null` without a pace, and for the
    /// lifetime.
    pub projected: Option<Number>,
    /// When nothing will remain at this pace: the time of the report where nothing does now, `null` where that is not before
    /// the window's end, or not known.
    pub reaches_at: Option<Timestamp>,
    /// Use so far, added up: where a day of the window ended (of a `day` an hour), and now. The first one is at the window's
    /// start; for the lifetime at that of the billing period. Of a `last` meter the levels, without a first one. The last one is
    /// `used`. None for the lifetime of a `max` or `uniqueCount` meter.
    pub points: Vec<PointBody>,
}

/// What was used, or by how much a level rose, since a time.
#[derive(Clone, Copy, Debug)]
struct Lately {
    meter: MeterId,
    from: Time,
    units: i64,
}

/// The windows that a forecast is of.
fn is_foreseen(figures: &Figures) -> bool {
    figures.window.sliding_length().is_none()
}

impl Report<'_> {
    /// `GET /v1/organizations/{org}/forecast`: one meter, or all that have a limit.
    ///
    /// # Errors
    /// [`ReadError::Store`] where there is no such organization for this caller, or no such meter.
    pub fn forecast(&self, organization: &OrganizationRef, meter: Option<&MeterKey>) -> Result<Forecast, ReadError> {
        let current = self.current(organization)?;
        let meters = match meter {
            Some(key) => vec![self.meter(key)?],
            None => self.meters_of(&current),
        };
        let limited = meters.into_iter().map(|meter| (meter, Figures::limited(&current, meter)));
        let limited = limited.map(|(meter, all)| (meter, all.into_iter().filter(is_foreseen).collect::<Vec<_>>()));
        let limited: Vec<_> = limited.filter(|(_, windows)| meter.is_some() || !windows.is_empty()).collect();
        let all: Vec<&Meter> = limited.iter().map(|(meter, _)| *meter).collect();
        let lately = self.lately(&current, &all)?;
        let lines = self.lines(&current, &limited)?;
        let account = &current.account;
        let mut meters = Vec::with_capacity(limited.len());
        for (meter, windows) in &limited {
            let found = lately.iter().find(|it| it.meter == meter.id);
            let pace = found.and_then(|it| Some((*it, Pace::new(it.units, current.now.since(it.from))?)));
            let windows = windows.iter().map(|figures| {
                let points = self.points(&current, meter, figures, &lines)?;
                Ok(self.window_forecast(current.now, meter, figures, pace.map(|(_, pace)| pace), points))
            });
            meters.push(MeterForecast {
                meter: meter.key.to_string(),
                aggregation: meter.aggregation,
                pace: pace.map(|(lately, pace)| self.pace_body(current.now, lately, pace)),
                no_pace: why_none(meter.aggregation).or_else(|| pace.is_none().then_some(NoPace::TooYoung)),
                windows: windows.collect::<Result<_, ReadError>>()?,
            });
        }
        Ok(Forecast {
            organization: account.profile.key.to_string(),
            as_of: Timestamp(current.now),
            time_zone: account.profile.zone.name().to_owned(),
            meters,
        })
    }

    fn pace_body(&self, now: Time, lately: Lately, pace: Pace) -> PaceBody {
        let number = |units| Number { units, ..self.number(lately.meter, Quantity::ZERO) };
        PaceBody {
            from: Timestamp(lately.from),
            to: Timestamp(now),
            quantity: number(lately.units.into()),
            per_day: number(pace.a_day()),
        }
    }

    fn window_forecast(
        &self,
        now: Time,
        meter: &Meter,
        figures: &Figures,
        pace: Option<Pace>,
        points: Vec<PointBody>,
    ) -> WindowForecast {
        let number = |quantity| self.number(meter.id, quantity);
        let (end, bounded) = (figures.span.end, figures.window != Window::Lifetime);
        let remaining = figures.remaining();
        let reaches_at = match (remaining, pace) {
            (Some(remaining), Some(pace)) => pace.reaches(remaining, now, end),
            (Some(remaining), None) => remaining.is_zero().then_some(now),
            (None, _) => None,
        };
        let projected = pace.filter(|_| bounded).map(|pace| pace.projected(figures.used, now, end));
        WindowForecast {
            window: figures.window,
            start: bounded.then_some(Timestamp(figures.span.start)),
            end: bounded.then_some(Timestamp(end)),
            enforcement: figures.in_force.map_or(Enforcement::Hard, |in_force| in_force.enforcement),
            unlimited: figures.is_unlimited(),
            limit: figures.limit().map(number),
            used: number(figures.used),
            held: number(figures.held),
            remaining: remaining.map(number),
            projected: projected.map(|units| Number { units, ..number(Quantity::ZERO) }),
            reaches_at: reaches_at.map(Timestamp),
            points,
        }
    }

    /// What the meters that have a pace did lately.
    fn lately(&self, current: &Current<'_>, meters: &[&Meter]) -> Result<Vec<Lately>, ReadError> {
        let (account, now) = (&current.account, current.now);
        let week = now.plus(-PACE_SPAN).floor(QUARTER);
        let created = account.profile.created_at;
        let is_old = created <= week;
        let of = |last: bool| {
            let paced = meters.iter().filter(|meter| why_none(meter.aggregation).is_none());
            paced.copied().filter(move |meter| (meter.aggregation == Aggregation::Last) == last).collect::<Vec<_>>()
        };
        // What whole days came to suffices for one that was there all week.
        let by = if is_old { Granularity::Total } else { Granularity::Hour };
        let rows = self.rows_since(current, &of(false), week, (by, false))?;
        let mut lately: Vec<Lately> = of(false)
            .into_iter()
            .map(|meter| {
                let own = || rows.iter().filter(|row| row.meter == meter.key);
                // Use from before it was created was imported: then it was there all week.
                let is_imported = own().any(|row| row.end.0 <= created);
                let units = own().map(|row| row.value.units).sum::<i128>().max(0);
                let from = if is_old || is_imported { week } else { created };
                Lately { meter: meter.id, from, units: i64::try_from(units).unwrap_or(i64::MAX) }
            })
            .collect();
        let rows = self.rows_since(current, &of(true), week, (Granularity::Hour, false))?;
        lately.extend(of(true).into_iter().filter_map(|meter| {
            // A row has the level at its end.
            let first = rows.iter().find(|row| row.meter == meter.key)?;
            let level = metergate_rules::limits::use_in(account.meter(meter.id), meter, Window::BillingPeriod, now);
            let before = i64::try_from(first.value.units).unwrap_or(i64::MAX);
            Some(Lately { meter: meter.id, from: first.end.0, units: level.units() - before })
        }));
        Ok(lately)
    }

    /// What some meters did from a quarter hour until now, in such buckets, those in which nothing happened too if they are
    /// dense.
    fn rows_since(
        &self,
        current: &Current<'_>,
        meters: &[&Meter],
        from: Time,
        (granularity, dense): (Granularity, bool),
    ) -> Result<Vec<UsageRow>, ReadError> {
        if meters.is_empty() {
            return Ok(Vec::new());
        }
        let query = UsageQuery {
            organizations: Some(vec![OrganizationRef::Id(current.account.id)]),
            meters: Some(meters.iter().map(|meter| meter.key.clone()).collect()),
            from: Some(from),
            to: Some(current.now.floor(QUARTER).plus(QUARTER)),
            granularity,
            dense,
            ..UsageQuery::default()
        };
        Ok(self.usage(&query)?.data)
    }
}

/// Why a meter can have no pace.
const fn why_none(aggregation: Aggregation) -> Option<NoPace> {
    match aggregation {
        Aggregation::Sum | Aggregation::Count | Aggregation::Last => None,
        Aggregation::Max => Some(NoPace::Peak),
        Aggregation::UniqueCount => Some(NoPace::Distinct),
    }
}
