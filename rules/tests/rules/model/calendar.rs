//! Days, months and periods by plain counting, in zones that keep one offset.

const DAY: i64 = 86_400_000_000;

/// A zone's offset and an organization's beginning, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Calendar {
    pub(crate) offset: i64,
    pub(crate) begin: i64,
}

/// From when and until when.
pub(crate) type Range = (i64, i64);

impl Calendar {
    pub(crate) fn day(&self, now: i64) -> Range {
        let start = (now + self.offset).div_euclid(DAY) * DAY - self.offset;
        (start, start + DAY)
    }

    pub(crate) fn month(&self, now: i64) -> Range {
        let (year, month, _) = date((now + self.offset).div_euclid(DAY));
        (self.first_of(year, month), self.first_of(year, month + 1))
    }

    pub(crate) fn period(&self, now: i64) -> Range {
        let mut months = 0;
        while self.boundary(months + 1) <= now {
            months += 1;
        }
        (self.boundary(months), self.boundary(months + 1))
    }

    fn first_of(&self, year: i64, month: i64) -> i64 {
        days_until(year, month, 1) * DAY - self.offset
    }

    /// So many months after the beginning, or the last day of that month.
    fn boundary(&self, months: i64) -> i64 {
        let local = self.begin + self.offset;
        let (year, month, day) = date(local.div_euclid(DAY));
        let (year, month) = (year + (month - 1 + months) / 12, (month - 1 + months) % 12 + 1);
        days_until(year, month, day.min(length(year, month))) * DAY + local.rem_euclid(DAY) - self.offset
    }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn length(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01; month 13 is the next January.
fn days_until(year: i64, month: i64, day: i64) -> i64 {
    let years: i64 = (1970..year).map(|year| 365 + i64::from(is_leap(year))).sum();
    years + (1..month).map(|month| length(year, month)).sum::<i64>() + day - 1
}

fn date(mut days: i64) -> (i64, i64, i64) {
    let (mut year, mut month) = (1970, 1);
    while days >= 365 + i64::from(is_leap(year)) {
        days -= 365 + i64::from(is_leap(year));
        year += 1;
    }
    while days >= length(year, month) {
        days -= length(year, month);
        month += 1;
    }
    (year, month, days + 1)
}

#[test]
fn dates_are_counted_as_people_do() {
    let utc = Calendar { offset: 0, begin: crate::kit::time("2027-01-31T12:00:00Z").micros() };
    let periods = ["2027-02-28T12:00:00Z", "2027-03-31T12:00:00Z", "2028-02-29T12:00:00Z", "2031-12-31T12:00:00Z"];
    for start in periods {
        let start = crate::kit::time(start).micros();
        assert_eq!(utc.period(start).0, start);
        assert_eq!(utc.period(start - 1).1, start);
    }
    let december =
        (crate::kit::time("2027-12-01T00:00:00Z").micros(), crate::kit::time("2028-01-01T00:00:00Z").micros());
    assert_eq!((utc.month(december.0), utc.month(december.1 - 1)), (december, december));
}
