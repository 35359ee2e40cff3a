//! What a replay found, added up.

use std::collections::BTreeMap;

use metergate_rules::id::MeterId;
use metergate_rules::meter::Measure;
use metergate_rules::outcome::Reason;
use metergate_rules::period::{self, Zone};
use metergate_rules::time::Time;
use metergate_rules::what_if::{Charged, Estimated, Fate, Finding, Kind, Part};
use metergate_rules::window::Window;

/// So much in so many calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) count: u64,
    /// In the meter's smallest unit; of peaks and levels, which do not add up, the highest.
    pub(super) units: i128,
}

impl Amount {
    fn add(&mut self, measure: Measure) {
        self.count += 1;
        match measure {
            Measure::Add(quantity) => self.units += i128::from(quantity.units()),
            Measure::Peak(quantity) | Measure::Level(quantity) => self.units = self.units.max(quantity.units().into()),
            Measure::Value(_) => self.units += 1,
            Measure::Adjust(_) | Measure::Void(_) | Measure::VoidValue(_) => {}
        }
    }

    pub(super) fn merge(&mut self, other: Self, adds_up: bool) {
        self.count += other.count;
        self.units = if adds_up { self.units + other.units } else { self.units.max(other.units) };
    }
}

/// What was refused then and would be, and the other way about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts<T> {
    /// Allowed then, and would have been refused.
    pub(super) refused: T,
    /// Refused then.
    pub(super) refused_before: T,
    /// Refused then, and would have been allowed.
    pub(super) allowed: T,
}

/// One meter.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OfMeter {
    pub(super) counts: Counts<Amount>,
    /// Whether its quantities add up.
    pub(super) adds_up: bool,
    pub(super) overage: i128,
    pub(super) overage_before: i128,
}

/// A limit, or what else refuses: a lock, or that the plan has not the meter.
pub(super) type Limit = (MeterId, Option<Window>, Reason);

/// What was found.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// Decisions and reservations.
    pub(super) calls: u64,
    /// Events, and true quantities of reservations.
    pub(super) facts: u64,
    pub(super) counts: Counts<u64>,
    /// Facts that would have gone beyond a limit, and those that did.
    pub(super) beyond: u64,
    pub(super) beyond_before: u64,
    /// What was charged for language models' tokens, and what would have been.
    pub(super) charged: Charged,
    /// The first and the last that would have been refused.
    pub(super) span: Option<(Time, Time)>,
    pub(super) meters: BTreeMap<MeterId, OfMeter>,
    pub(super) limits: BTreeMap<Limit, Counts<Amount>>,
    /// By the start of the day.
    pub(super) days: BTreeMap<Time, Counts<u64>>,
}

impl Tally {
    /// Adds what was charged and would have been.
    pub(super) const fn charge(&mut self, more: Charged) {
        self.charged.was += more.was;
        self.charged.is += more.is;
    }

    /// Adds what was found of a call or a fact.
    pub(super) fn take(&mut self, found: &Finding, zone: &Zone) {
        if found.kind == Kind::Fact {
            self.facts += 1;
            let any = |fate: fn(&Part) -> Fate| found.parts.iter().any(|part| !fate(part).overage.is_zero());
            self.beyond += u64::from(any(|part| part.is));
            self.beyond_before += u64::from(any(|part| part.was));
        } else {
            self.calls += 1;
        }
        found.parts.iter().for_each(|part| self.overage(part));
        if found.is_undone {
            // What was reserved was refused, and counts there; what it cost was only known here.
            for part in found.parts.iter().skip(1) {
                let counts = &mut self.meter(part.meter, part.measure).counts;
                let count = counts.refused.count;
                counts.refused.add(part.measure);
                counts.refused.count = count;
            }
        }
        if found.was_allowed && found.is_allowed {
            return;
        }
        let day = self.days.entry(period::day(found.at, zone).start).or_default();
        let counts = [&mut self.counts, day];
        for counts in counts {
            counts.refused += u64::from(found.was_allowed);
            counts.refused_before += u64::from(!found.was_allowed);
            counts.allowed += u64::from(found.is_allowed);
        }
        if found.was_allowed {
            self.span = Some((self.span.map_or(found.at, |(first, _)| first), found.at));
        }
        found.parts.iter().for_each(|part| self.part(found, part));
    }

    fn overage(&mut self, part: &Part) {
        if part.was.overage.is_zero() && part.is.overage.is_zero() {
            return;
        }
        let meter = self.meter(part.meter, part.measure);
        meter.overage += i128::from(part.is.overage.units());
        meter.overage_before += i128::from(part.was.overage.units());
    }

    fn meter(&mut self, meter: MeterId, measure: Measure) -> &mut OfMeter {
        let found = self.meters.entry(meter).or_default();
        found.adds_up = !matches!(measure, Measure::Peak(_) | Measure::Level(_));
        found
    }

    fn part(&mut self, found: &Finding, part: &Part) {
        let counts = &mut self.meter(part.meter, part.measure).counts;
        match (found.was_allowed, found.is_allowed) {
            (true, _) => counts.refused.add(part.measure),
            (false, is_allowed) => {
                counts.refused_before.add(part.measure);
                if is_allowed {
                    counts.allowed.add(part.measure);
                }
            }
        }
        let (measure, is_new) = (part.measure, found.was_allowed);
        for limit in limits(part.meter, &part.is).filter(|_| is_new) {
            self.limits.entry(limit).or_default().refused.add(measure);
        }
        for limit in limits(part.meter, &part.was) {
            let counts = self.limits.entry(limit).or_default();
            counts.refused_before.add(measure);
            if found.is_allowed {
                counts.allowed.add(measure);
            }
        }
    }

    /// Adds what is estimated of a quarter hour.
    pub(super) fn estimate(&mut self, quarter: Time, meter: MeterId, found: &Estimated, zone: &Zone) {
        let amount = Amount { count: found.count, units: found.refused.units().into() };
        if !found.overage.is_zero() {
            let of_meter = self.meters.entry(meter).or_default();
            (of_meter.adds_up, of_meter.overage) = (true, of_meter.overage + i128::from(found.overage.units()));
        }
        let Some(reason) = found.reason else { return };
        let of_meter = self.meters.entry(meter).or_default();
        of_meter.adds_up = true;
        of_meter.counts.refused.merge(amount, true);
        self.counts.refused += found.count;
        self.days.entry(period::day(quarter, zone).start).or_default().refused += found.count;
        let fate = Fate { reason: Some(reason), passed: found.passed, ..Fate::default() };
        for limit in limits(meter, &fate) {
            self.limits.entry(limit).or_default().refused.merge(amount, true);
        }
        self.span = Some((self.span.map_or(quarter, |(first, _)| first.min(quarter)), quarter));
    }

    /// Takes off so many calls of a quarter hour that two of their meters have counted.
    pub(super) fn count_once(&mut self, quarter: Time, calls: u64, zone: &Zone) {
        self.counts.refused = self.counts.refused.saturating_sub(calls);
        if let Some(day) = self.days.get_mut(&period::day(quarter, zone).start) {
            day.refused = day.refused.saturating_sub(calls);
        }
    }

    /// Adds what was found of another organization.
    pub(super) fn merge(&mut self, other: &Self) {
        self.calls += other.calls;
        self.facts += other.facts;
        self.beyond += other.beyond;
        self.beyond_before += other.beyond_before;
        self.charge(other.charged);
        add(&mut self.counts, other.counts);
        self.span = match (self.span, other.span) {
            (Some((first, last)), Some((from, to))) => Some((first.min(from), last.max(to))),
            (one, other) => one.or(other),
        };
        for (meter, found) in &other.meters {
            let known = self.meters.entry(*meter).or_default();
            known.adds_up = found.adds_up;
            merge(&mut known.counts, found.counts, found.adds_up);
            known.overage += found.overage;
            known.overage_before += found.overage_before;
        }
        for (limit, found) in &other.limits {
            let adds_up = other.meters.get(&limit.0).is_none_or(|meter| meter.adds_up);
            merge(self.limits.entry(*limit).or_default(), *found, adds_up);
        }
        other.days.iter().for_each(|(day, found)| add(self.days.entry(*day).or_default(), *found));
    }

    /// So much of a meter in calls that would have been refused, in its smallest unit.
    pub(super) fn refused_of(&self, meter: MeterId) -> i128 {
        self.meters.get(&meter).map_or(0, |found| found.counts.refused.units)
    }
}

/// By what it is refused: each limit that it passes, or the other reason.
fn limits(meter: MeterId, fate: &Fate) -> impl Iterator<Item = Limit> + use<> {
    let (reason, passed) = (fate.reason, fate.passed);
    let by_limit = reason == Some(Reason::QuotaExceeded);
    let windows =
        passed.iter().filter(move |_| by_limit).map(move |window| (meter, Some(window), Reason::QuotaExceeded));
    let other = reason.filter(|reason| *reason != Reason::QuotaExceeded).map(|reason| (meter, None, reason));
    windows.chain(other)
}

fn add(into: &mut Counts<u64>, more: Counts<u64>) {
    into.refused += more.refused;
    into.refused_before += more.refused_before;
    into.allowed += more.allowed;
}

fn merge(into: &mut Counts<Amount>, more: Counts<Amount>, adds_up: bool) {
    into.refused.merge(more.refused, adds_up);
    into.refused_before.merge(more.refused_before, adds_up);
    into.allowed.merge(more.allowed, adds_up);
}
