//! Sign-ins that failed of late, by account and address, so that nobody can try many passwords.

use std::collections::HashMap;
use std::net::IpAddr;

use metergate_rules::time::{MINUTE, SECOND, Time};
use parking_lot::Mutex;

/// For how long a failure counts, in microseconds.
const WINDOW: i64 = 15 * MINUTE;
/// Failures in it: of one account from one address, of one account from anywhere, from one address.
const MOST: [u32; 3] = [10, 100, 200];
/// What is remembered at most. Beyond it what is over goes, and if nothing is, everything.
const MOST_KEPT: usize = 100_000;

/// Whose failures are counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Whose {
    Both(String, IpAddr),
    Account(String),
    Address(IpAddr),
}

/// Failures, with when the first of them was.
type Counted = HashMap<Whose, (u32, Time)>;

/// Sign-ins that failed of late.
#[derive(Debug, Default)]
pub struct Attempts(Mutex<Counted>);

impl Attempts {
    /// Notes a failure, and before that whether there were too many: then it is not to be looked at whether the password is
    /// right. A success takes it back by [`Self::forget`].
    ///
    /// # Errors
    /// The seconds to wait where there were too many.
    pub fn begin(&self, account: &str, address: IpAddr, now: Time) -> Result<(), u64> {
        let mut counted = self.0.lock();
        if counted.len() + 3 > MOST_KEPT {
            counted.retain(|_, (_, since)| now < since.plus(WINDOW));
            if counted.len() + 3 > MOST_KEPT {
                counted.clear();
            }
        }
        let whose = whose(account, address);
        for (whose, most) in whose.iter().zip(MOST) {
            if let Some((failures, since)) = counted.get(whose)
                && now < since.plus(WINDOW)
                && *failures >= most
            {
                let wait = since.plus(WINDOW).since(now).max(0);
                return Err(u64::try_from(wait / SECOND).unwrap_or_default() + 1);
            }
        }
        for whose in whose {
            let (failures, since) = counted.entry(whose).or_insert((0, now));
            if since.plus(WINDOW) <= now {
                (*failures, *since) = (0, now);
            }
            *failures = failures.saturating_add(1);
        }
        Ok(())
    }

    /// It was no failure.
    pub fn forget(&self, account: &str, address: IpAddr) {
        let mut counted = self.0.lock();
        for whose in whose(account, address) {
            if let Some((failures, _)) = counted.get_mut(&whose) {
                *failures = failures.saturating_sub(1);
            }
        }
    }
}

fn whose(account: &str, address: IpAddr) -> [Whose; 3] {
    [Whose::Both(account.to_owned(), address), Whose::Account(account.to_owned()), Whose::Address(address)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_ten_failures_an_account_waits_and_others_do_not() {
        let (attempts, now) = (Attempts::default(), Time::from_micros(0));
        let [here, there] = [IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2])];
        attempts.begin("a", here, now).unwrap();
        attempts.forget("a", here);
        (0..10).for_each(|_| attempts.begin("a", here, now).unwrap());
        assert_eq!(attempts.begin("a", here, now.plus(WINDOW - 1)), Err(1));
        assert_eq!(attempts.begin("b", here, now), Ok(()));
        assert_eq!(attempts.begin("a", there, now), Ok(()), "nobody locks another out");
        assert_eq!(attempts.begin("a", here, now.plus(WINDOW)), Ok(()));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (attempts, here) = (Attempts::default(), IpAddr::from([127, 0, 0, 1]));
        for i in 0..i64::try_from(MOST_KEPT).unwrap() {
            let address = IpAddr::from(u32::try_from(i).unwrap().to_be_bytes());
            attempts.begin(&i.to_string(), address, Time::from_micros(i)).unwrap();
        }
        assert!(attempts.0.lock().len() <= MOST_KEPT);
        assert_eq!(attempts.begin("a", here, Time::from_micros(0)), Ok(()));
    }
}
