//! When a delivery is tried again, and when it is given up.

use jiff::fmt::rfc2822;
use metergate_rules::time::{DAY, HOUR, MINUTE, SECOND, Time};

use crate::store::outbox::Tries;

/// From each try to the next, in microseconds; the last goes on.
const WAITS: [i64; 9] =
    [5 * SECOND, 30 * SECOND, 2 * MINUTE, 10 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 4 * HOUR, 6 * HOUR];
/// A delivery is given up so long after its first try, in microseconds.
pub const TRIED: i64 = DAY;
/// The longest wait that a receiver may ask for, in microseconds.
const LONGEST_ASKED: i64 = 6 * HOUR;
/// A wait is up to a fifth shorter or longer, so that what failed together does not come back together.
const SPREAD: i64 = 5;
/// How long an endpoint rests that cannot keep up, at first and at most, in microseconds; each time twice as long.
const FIRST_REST: i64 = 5 * SECOND;
const LONGEST_REST: i64 = 10 * MINUTE;

/// What follows a try that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Another one, then.
    Again(Time),
    /// Nothing.
    GivenUp,
}

/// When a delivery is tried again that began a try at `began` and failed at `now`. `asked` is how long the receiver wants to be
/// left alone, in microseconds; `luck` any number.
pub fn next(tries: Tries, began: Time, now: Time, asked: Option<i64>, luck: u64) -> Next {
    let first = tries.began_at.unwrap_or(began);
    let place = usize::try_from(tries.lately).unwrap_or(usize::MAX).min(WAITS.len() - 1);
    let wait = spread(WAITS[place], luck).max(asked.unwrap_or(0).min(LONGEST_ASKED));
    let due = now.plus(wait);
    if due.since(first) <= TRIED { Next::Again(due) } else { Next::GivenUp }
}

/// From four to six fifths of a wait.
fn spread(wait: i64, luck: u64) -> i64 {
    let more = luck % (2 * wait / SPREAD).unsigned_abs().saturating_add(1);
    wait - wait / SPREAD + more.cast_signed()
}

/// How long an endpoint that cannot keep up is left alone, in microseconds: what it asks for, else twice as long as before.
pub fn rest(before: Option<i64>, asked: Option<i64>) -> i64 {
    let own = before.map_or(FIRST_REST, |before| before.saturating_mul(2)).min(LONGEST_REST);
    asked.map_or(own, |asked| asked.clamp(own.min(SECOND), LONGEST_ASKED))
}

/// What `Retry-After` asks for, in microseconds: seconds, or a time (RFC 9110).
pub fn asked_for(header: &str, now: Time) -> Option<i64> {
    let text = header.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(text.parse::<i64>().ok().and_then(|seconds| seconds.checked_mul(SECOND)).unwrap_or(LONGEST_ASKED));
    }
    let at = rfc2822::parse(text).ok()?.timestamp().as_microsecond();
    Some(Time::from_micros(at).since(now).max(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A luck by which each wait is exactly as long as it says.
    fn even(wait: i64) -> u64 {
        (wait / SPREAD).unsigned_abs()
    }

    #[test]
    fn a_delivery_is_tried_ever_more_seldom_for_a_day() {
        let first = Time::from_micros(0);
        let (mut tries, mut now, mut waits) = (Tries::default(), first, Vec::new());
        loop {
            let wait = WAITS[usize::try_from(tries.lately).unwrap().min(WAITS.len() - 1)];
            match next(tries, now, now, None, even(wait)) {
                Next::Again(due) => {
                    waits.push(due.since(now) / SECOND);
                    tries = Tries { all: tries.all + 1, lately: tries.lately + 1, began_at: Some(first) };
                    now = due;
                }
                Next::GivenUp => break,
            }
        }
        assert_eq!(waits, [5, 30, 120, 600, 1800, 3600, 7200, 14_400, 21_600, 21_600]);
        assert!((18 * HOUR..TRIED).contains(&now.since(first)), "it is tried for most of the day");
    }

    #[test]
    fn a_wait_is_within_a_fifth_of_what_it_is_whatever_the_luck() {
        for wait in WAITS {
            for luck in [0, 1, 7_919, u64::MAX / 2, u64::MAX] {
                let spread = spread(wait, luck);
                assert!(spread >= wait - wait / 5 && spread <= wait + wait / 5, "{wait} {luck}: {spread}");
            }
        }
        assert_ne!(spread(MINUTE, 1), spread(MINUTE, 2));
    }

    #[test]
    fn a_receiver_may_ask_for_more_time_but_not_for_more_than_six_hours_nor_beyond_the_day() {
        let (first, tries) = (Time::from_micros(0), |lately| Tries { all: lately, lately, began_at: None });
        let asked = |asked| next(tries(0), first, first, Some(asked), 0);
        assert_eq!(asked(0), Next::Again(first.plus(4 * SECOND)), "less than the wait is no wait");
        assert_eq!(asked(MINUTE), Next::Again(first.plus(MINUTE)));
        assert_eq!(asked(48 * HOUR), Next::Again(first.plus(6 * HOUR)));
        let late = Tries { all: 9, lately: 9, began_at: Some(first) };
        let at = |hours: i64| next(late, first.plus(hours * HOUR), first.plus(hours * HOUR), None, 0);
        assert_eq!(at(19), Next::Again(first.plus(19 * HOUR + 6 * HOUR * 4 / 5)));
        assert_eq!(at(20), Next::GivenUp);
    }

    #[test]
    fn an_endpoint_that_cannot_keep_up_rests_twice_as_long_each_time() {
        let mut rests = Vec::new();
        let mut before = None;
        for _ in 0..9 {
            before = Some(rest(before, None));
            rests.push(before.unwrap() / SECOND);
        }
        assert_eq!(rests, [5, 10, 20, 40, 80, 160, 320, 600, 600]);
        assert_eq!(rest(None, Some(60 * SECOND)), 60 * SECOND);
        assert_eq!(rest(None, Some(0)), SECOND, "it rests in any case");
        assert_eq!(rest(Some(LONGEST_REST), Some(DAY)), LONGEST_ASKED);
    }

    #[test]
    fn retry_after_is_read_in_both_its_forms() {
        let now: Time = "1994-11-06T08:49:00Z".parse().unwrap();
        #[rustfmt::skip]
        let cases = [
            ("120", Some(120 * SECOND)), (" 0 ", Some(0)), ("99999999999999999999", Some(LONGEST_ASKED)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(37 * SECOND)), ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("", None), ("-5", None), ("soon", None), ("1.5", None),
        ];
        for (header, expected) in cases {
            assert_eq!(asked_for(header, now), expected, "{header:?}");
        }
    }
}
