"""Billing boundaries and calendar windows, worked out slowly with Python's zoneinfo.

    python3 zoneinfo_oracle.py SEED COUNT

prints a line with the release of the zone data, a line with the names of its zones, then COUNT cases, one a line:

    B zone anchor k flags boundary          the anchor and k months
    P zone anchor time flags k start end    the billing period that contains a time
    D zone time flags date start end        the calendar day
    M zone time flags start end             the calendar month
    H zone time flags start end             the clock hour

Times are microseconds since 1970 in UTC, anchors civil. Flags: g, o = the boundary, or the span's start, falls in a gap
or in an overlap; c = clamped; w = the wall shows another date than the day's; s = the date before was skipped; - = none.

Nothing here is written as in the program under test. Only zoneinfo's step from UTC to the wall is used; the way back is
found by looking at the wall around, and then compared with zoneinfo's own (utcoffset with fold=0). Months are walked one by one,
windows are found by listing boundaries around and taking the neighbours, hours by walking in steps of five minutes.
"""

import random
import sys
from datetime import date, datetime, time, timedelta
from functools import lru_cache

try:
    import tzdata
except ImportError:
    sys.exit("the Python package tzdata is missing")

import zoneinfo

zoneinfo.reset_tzpath(to=[])  # the data of the package tzdata, never the machine's

CIVIL_EPOCH = datetime(1970, 1, 1)
SECOND = 1_000_000
HOUR = 3600 * SECOND
DAY = 24 * HOUR
MICROSECOND = timedelta(microseconds=1)
FIRST_YEAR, LAST_YEAR = 1990, 2100

# Zones with something odd in them; every third case is about one of these, in the year of the oddity where there is one.
ODD = [
    ("Australia/Lord_Howe", None), ("Pacific/Apia", 2011), ("Pacific/Fakaofo", 2011), ("Pacific/Kiritimati", 1994),
    ("Pacific/Enderbury", 1994), ("Pacific/Kwajalein", 1993), ("America/St_Johns", None), ("America/St_Johns", 2009),
    ("America/Sao_Paulo", 2018), ("America/Havana", None), ("Asia/Beirut", None), ("Asia/Gaza", None), ("Africa/Cairo", None),
    ("America/Asuncion", 2015), ("America/Santiago", None), ("America/Nuuk", None), ("America/Scoresbysund", None),
    ("Antarctica/Troll", None), ("Africa/Casablanca", 2027), ("Asia/Tehran", 2016), ("Asia/Pyongyang", 2018),
    ("America/Caracas", 2016), ("Asia/Kathmandu", None), ("Europe/Dublin", None), ("Atlantic/Azores", None),
]


def civil_micros(civil):
    return (civil - CIVIL_EPOCH) // MICROSECOND


class Zone:
    def __init__(self, name):
        self.name = name
        self.zone = zoneinfo.ZoneInfo(name)

    def offset(self, micros):
        """Microseconds that the wall is ahead of UTC."""
        ahead = datetime.fromtimestamp(micros // SECOND, self.zone).utcoffset()
        return (ahead.days * 86400 + ahead.seconds) * SECOND

    def wall(self, micros):
        return CIVIL_EPOCH + timedelta(microseconds=micros + self.offset(micros))

    def change_between(self, low, high):
        """The first instant of the offset in force at high, given another one at low and one change, at a whole second."""
        new = self.offset(high)
        low, high = low // SECOND * SECOND, high // SECOND * SECOND + SECOND
        while high - low > SECOND:
            middle = (low + high) // SECOND // 2 * SECOND
            if self.offset(middle) == new:
                high = middle
            else:
                low = middle
        return high

    def first_instant(self, civil):
        """The instant of a civil date-time and whether it is plain (-), in a gap (g) or in an overlap (o)."""
        wanted = civil_micros(civil)
        looks = [(at, self.offset(at)) for at in range(wanted - 16 * HOUR, wanted + 17 * HOUR, 8 * HOUR)]
        offsets = {offset for _, offset in looks}
        shown = sorted(wanted - offset for offset in offsets if self.offset(wanted - offset) == offset)
        if shown:
            found, kind = shown[0], "-" if len(shown) == 1 else "o"
        else:
            found, kind = self.after_gap(wanted, looks), "g"
        own = civil.replace(tzinfo=self.zone, fold=0)
        assert wanted - own.utcoffset() // MICROSECOND == found, f"{self.name} {civil}: zoneinfo disagrees with itself"
        return found, kind

    def after_gap(self, wanted, looks):
        for (low, before), (high, after) in zip(looks, looks[1:]):
            if after > before:
                change = self.change_between(low, high)
                if change + before <= wanted < change + after:
                    return wanted - before
        raise AssertionError(f"{self.name}: {wanted} is neither shown nor skipped")

    @lru_cache(maxsize=None)
    def changes(self, year):
        """All changes of the offset in a year as (instant, before, after), looking at the wall every fifth day."""
        found = []
        low = civil_micros(datetime(year, 1, 1))
        end = civil_micros(datetime(year + 1, 1, 1))
        while low < end:
            high = low + 5 * DAY
            before, after = self.offset(low), self.offset(high)
            if before != after:
                found.append((self.change_between(low, high), before, after))
            low = high
        return found


def is_leap(year):
    return year % 400 == 0 or (year % 4 == 0 and year % 100 != 0)


def length_of(year, month):
    if month == 2:
        return 29 if is_leap(year) else 28
    return 30 if month in (4, 6, 9, 11) else 31


def walk_months(civil, k):
    """The same day k months on, or the last one there is; and whether that was clamped."""
    year, month = civil.year, civil.month
    for _ in range(abs(k)):
        month += 1 if k > 0 else -1
        if month == 13:
            year, month = year + 1, 1
        elif month == 0:
            year, month = year - 1, 12
    day = civil.day
    while day > length_of(year, month):
        day -= 1
    return datetime.combine(date(year, month, day), civil.time()), day < civil.day


def around(boundaries, micros):
    """Of (instant, label, …), the last that is not after micros (of equals the last), and the first instant after it."""
    passed = [b for b in boundaries if b[0] <= micros]
    ahead = [b for b in boundaries if b[0] > micros]
    start = max(passed, key=lambda b: (b[0], b[1]))
    return start, min(ahead)[0]


def boundary(zone, anchor, k):
    civil, clamped = walk_months(anchor, k)
    instant, kind = zone.first_instant(civil)
    return instant, k, kind, clamped


def period(zone, anchor, micros):
    wall = zone.wall(micros)
    k = -3
    while (anchor.year + (anchor.month + k + 2) // 12, (anchor.month + k + 2) % 12) < (wall.year, wall.month - 1):
        k += 1
    while (anchor.year + (anchor.month + k + 2) // 12, (anchor.month + k + 2) % 12) > (wall.year, wall.month - 1):
        k -= 1
    return around([boundary(zone, anchor, j) for j in range(k, k + 7)], micros)


def day(zone, micros):
    wall = zone.wall(micros).date()
    midnights = []
    for shift in (-2, -1, 0, 1, 2):
        label = wall + timedelta(days=shift)
        instant, kind = zone.first_instant(datetime.combine(label, time()))
        midnights.append((instant, label, kind))
    (start, label, kind), end = around(midnights, micros)
    skipped = sum(1 for m in midnights if m[0] == start) > 1
    return label, start, end, kind, label != wall, skipped


def month(zone, micros):
    first = zone.wall(micros).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    firsts = []
    for shift in (-2, -1, 0, 1, 2):
        civil, _ = walk_months(first, shift)
        instant, kind = zone.first_instant(civil)
        firsts.append((instant, civil, kind))
    (start, _, kind), end = around(firsts, micros)
    return start, end, kind


def hour(zone, micros):
    step = 300 * SECOND
    full = lambda at: (at + zone.offset(at)) % HOUR == 0
    start = micros // step * step
    while not full(start):
        start -= step
    end = micros // step * step + step
    while not full(end):
        end += step
    return start, end


class Cases:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.zones = {name: Zone(name) for name in sorted(zoneinfo.available_timezones())}
        self.order = []

    def anywhere(self):
        """A zone and a year: every zone in turn, and every third time an odd one."""
        if self.random.randrange(3) == 0:
            name, year = self.random.choice(ODD)
            if year is None or self.random.randrange(4) == 0:
                year = self.random.randint(FIRST_YEAR, LAST_YEAR)
            return self.zones[name], year
        if not self.order:
            self.order = list(self.zones.values())
            self.random.shuffle(self.order)
        # A third in the years before 2038, in which most of what is odd has happened.
        last = 2037 if self.random.randrange(3) == 0 else LAST_YEAR
        return self.order.pop(), self.random.randint(FIRST_YEAR, last)

    def civil_near(self, zone, year):
        """A civil date-time: in what a change skips or repeats, at the end of a month, or anywhere."""
        pick = self.random.random()
        changes = zone.changes(year)
        if changes and pick < 0.5:
            instant, before, after = self.random.choice(changes)
            low, high = sorted((instant + before, instant + after))
            edge = self.random.choice((low - 1, low, high - 1, high, self.random.randrange(low, high)))
            return CIVIL_EPOCH + timedelta(microseconds=edge)
        month = self.random.choice((1, 2, 2, 2, 3, 4, 12, self.random.randint(1, 12)))
        last = length_of(year, month)
        dom = self.random.choice((1, last - 2, last - 1, last, last, self.random.randint(1, last)))
        clock = self.random.choice((0, 0, DAY - 1, self.random.randrange(24) * HOUR, self.random.randrange(DAY)))
        return datetime(year, month, dom) + timedelta(microseconds=clock)

    def time_near(self, zone, year):
        """An instant: at or near a change of the offset, or at or near a civil date-time picked as above."""
        changes = zone.changes(year)
        if changes and self.random.randrange(2) == 0:
            instant = self.random.choice(changes)[0]
        else:
            instant = zone.first_instant(self.civil_near(zone, year))[0]
        near = (-1, 0, 1, self.random.randint(-HOUR, HOUR), self.random.randint(-2 * DAY, 2 * DAY))
        return instant + self.random.choice(near)

    def anchor_for(self, target):
        """An anchor and k, so that boundary k is target, or the target's month's end for a later day of the month."""
        k = self.random.choice((0, 1, 1, 2, 3, 6, 12, 13, 48, -1, -5, -12, self.random.randint(-1332, 1332)))
        start, _ = walk_months(target.replace(day=1), -k)
        if not FIRST_YEAR <= start.year <= LAST_YEAR:
            return target, 0
        last = length_of(start.year, start.month)
        dom = min(target.day, last)
        if target.day == length_of(target.year, target.month):
            dom = self.random.randint(dom, last)
        return start.replace(day=dom), k

    def cases(self):
        while True:
            zone, year = self.anywhere()
            for _ in range(3):
                anchor, k = self.anchor_for(self.civil_near(zone, year))
                instant, _, kind, clamped = boundary(zone, anchor, k)
                yield f"B {zone.name} {anchor.isoformat()} {k} {flags(kind, c=clamped)} {instant}"
            for _ in range(2):
                anchor, k = self.anchor_for(self.civil_near(zone, year))
                near = self.random.choice((-1, 0, 1, self.random.randint(-40 * DAY, 40 * DAY)))
                micros = boundary(zone, anchor, k)[0] + near if self.random.randrange(2) else self.time_near(zone, year)
                (start, k, kind, clamped), end = period(zone, anchor, micros)
                yield f"P {zone.name} {anchor.isoformat()} {micros} {flags(kind, c=clamped)} {k} {start} {end}"
            for _ in range(2):
                micros = self.time_near(zone, year)
                label, start, end, kind, other, skipped = day(zone, micros)
                yield f"D {zone.name} {micros} {flags(kind, w=other, s=skipped)} {label} {start} {end}"
            micros = self.time_near(zone, year)
            start, end, kind = month(zone, micros)
            yield f"M {zone.name} {micros} {flags(kind)} {start} {end}"
            micros = self.time_near(zone, year)
            start, end = hour(zone, micros)
            yield f"H {zone.name} {micros} - {start} {end}"


def flags(kind, **more):
    letters = kind.strip("-") + "".join(letter for letter, holds in more.items() if holds)
    return letters or "-"


def main():
    seed, count = int(sys.argv[1]), int(sys.argv[2])
    cases = Cases(seed)
    print("tzdata", tzdata.IANA_VERSION)
    print("zones", *cases.zones)
    for _, line in zip(range(count), cases.cases()):
        print(line)


main()
