//! Sign-ins, registrations and invitations of late, so that nobody can try many passwords, nor make many users, nor have many
//! strangers written to.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use metergate_rules::time::{MINUTE, SECOND, Time};
use parking_lot::Mutex;

use crate::people::UserId;

/// For how long one counts, in microseconds.
const WINDOW: i64 = 15 * MINUTE;
/// Failures in it: of one account from one address, of one account from anywhere, from one address.
const FAILURES: [u32; 3] = [10, 100, 200];
/// Sign-ins in it from one address, those that succeed too: each of a password costs tens of milliseconds.
const SIGN_INS: u32 = 600;
/// Registrations in it from one address: each makes an organization.
const REGISTRATIONS: u32 = 100;
/// Invitations in it that are mailed: of one member, and to one address, whoever invites.
const INVITATIONS: [u32; 2] = [20, 5];
/// What is remembered at most. Beyond it what is over goes, and if nothing is, everything.
const MOST_KEPT: usize = 100_000;

/// What is counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum What {
    FailuresOfBoth(String, IpAddr),
    FailuresOfAccount(String),
    FailuresFrom(IpAddr),
    SignInsFrom(IpAddr),
    RegistrationsFrom(IpAddr),
    InvitationsBy(UserId),
    InvitationsTo(String),
}

/// How many, with when the first of them was.
type Counted = HashMap<What, (u32, Time)>;

/// Sign-ins and registrations of late.
#[derive(Debug, Default)]
pub struct Attempts(Mutex<Counted>);

impl Attempts {
    /// Notes a sign-in as a failure, and before that whether there were too many: then it is not to be looked at whether the
    /// password is right. A success takes the failure back by [`Self::forget`]. Without an account, such as of who has a link,
    /// the address alone counts.
    ///
    /// # Errors
    /// The seconds to wait where there were too many.
    pub fn begin(&self, account: &str, address: IpAddr, now: Time) -> Result<(), u64> {
        let address = subscriber(address);
        let failures = failures(account, address);
        let sign_ins = (What::SignInsFrom(address), SIGN_INS);
        self.count(&failures.into_iter().chain([sign_ins]).collect::<Vec<_>>(), now)
    }

    /// Notes that somebody begins to sign in, of whom it is not known yet whether they fail.
    ///
    /// # Errors
    /// The seconds to wait where there were too many.
    pub fn sign_in(&self, address: IpAddr, now: Time) -> Result<(), u64> {
        self.count(&[(What::SignInsFrom(subscriber(address)), SIGN_INS)], now)
    }

    /// Notes a registration, whether it succeeds or not.
    ///
    /// # Errors
    /// The seconds to wait where there were too many.
    pub fn register(&self, address: IpAddr, now: Time) -> Result<(), u64> {
        self.count(&[(What::RegistrationsFrom(subscriber(address)), REGISTRATIONS)], now)
    }

    /// Notes an invitation by a member that is mailed.
    ///
    /// # Errors
    /// The seconds to wait where there were too many.
    pub fn invite(&self, by: UserId, to: &str, now: Time) -> Result<(), u64> {
        let of_member = (What::InvitationsBy(by), INVITATIONS[0]);
        self.count(&[of_member, (What::InvitationsTo(to.to_owned()), INVITATIONS[1])], now)
    }

    /// It was no failure.
    pub fn forget(&self, account: &str, address: IpAddr) {
        let mut counted = self.0.lock();
        for (what, _) in failures(account, subscriber(address)) {
            if let Some((failures, _)) = counted.get_mut(&what) {
                *failures = failures.saturating_sub(1);
            }
        }
    }

    fn count(&self, all: &[(What, u32)], now: Time) -> Result<(), u64> {
        let mut counted = self.0.lock();
        if counted.len() + all.len() > MOST_KEPT {
            counted.retain(|_, (_, since)| now < since.plus(WINDOW));
            if counted.len() + all.len() > MOST_KEPT {
                counted.clear();
            }
        }
        for (what, most) in all {
            if let Some((number, since)) = counted.get(what)
                && now < since.plus(WINDOW)
                && number >= most
            {
                let wait = since.plus(WINDOW).since(now).max(0);
                return Err(u64::try_from(wait / SECOND).unwrap_or_default() + 1);
            }
        }
        for (what, _) in all {
            let (number, since) = counted.entry(what.clone()).or_insert((0, now));
            if since.plus(WINDOW) <= now {
                (*number, *since) = (0, now);
            }
            *number = number.saturating_add(1);
        }
        Ok(())
    }
}

fn failures(account: &str, address: IpAddr) -> Vec<(What, u32)> {
    let mut all = vec![(What::FailuresFrom(address), FAILURES[2])];
    // No account is everybody's: some who fail must not stop all others. Nobody guesses a link, and many who are no attackers open
    // one that is over, behind one address.
    if !account.is_empty() {
        all.push((What::FailuresOfBoth(account.to_owned(), address), FAILURES[0]));
        all.push((What::FailuresOfAccount(account.to_owned()), FAILURES[1]));
    }
    all
}

/// One subscriber has 2^64 addresses of IPv6: they count as one.
fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_invites_so_many_and_an_address_is_invited_so_often() {
        let (attempts, now) = (Attempts::default(), Time::from_micros(0));
        let (ada, bob) = (UserId([1; 16]), UserId([2; 16]));
        for i in 0..20 {
            attempts.invite(ada, &format!("{i}@example.com"), now).unwrap();
        }
        assert_eq!(attempts.invite(ada, "20@example.com", now.plus(WINDOW - 1)), Err(1));
        (0..5).for_each(|_| attempts.invite(bob, "eve@example.com", now).unwrap());
        assert_eq!(attempts.invite(bob, "eve@example.com", now), Err(901));
        assert_eq!(attempts.invite(bob, "20@example.com", now), Ok(()));
        assert_eq!(attempts.invite(ada, "eve@example.com", now.plus(WINDOW)), Ok(()));
    }

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
    fn an_account_waits_after_a_hundred_failures_from_anywhere_and_nobody_else_does() {
        let (attempts, now) = (Attempts::default(), Time::from_micros(0));
        let address = |i: u32| IpAddr::from(i.to_be_bytes());
        for i in 0..100 {
            attempts.begin("a", address(i), now).unwrap();
            attempts.begin("", address(i), now).unwrap();
        }
        assert!(attempts.begin("a", address(100), now).is_err());
        assert_eq!(attempts.begin("", address(100), now), Ok(()), "who has no account waits for nobody");
    }

    #[test]
    fn links_that_are_over_shut_out_nobody_behind_their_address_before_there_are_very_many() {
        let (attempts, now) = (Attempts::default(), Time::from_micros(0));
        let here = IpAddr::from([127, 0, 0, 1]);
        (0..FAILURES[2]).for_each(|_| attempts.begin("", here, now).unwrap());
        assert_eq!(attempts.begin("", here, now), Err(901));
        assert_eq!(attempts.begin("", here, now.plus(WINDOW)), Ok(()));
    }

    #[test]
    fn what_succeeds_is_bounded_from_one_address_too() {
        let (attempts, now) = (Attempts::default(), Time::from_micros(0));
        let [here, there] = ["2001:db8::1", "2001:db8:0:1::1"].map(|text| text.parse::<IpAddr>().unwrap());
        let beside = "2001:db8::ffff:2".parse().unwrap();
        for i in 0..SIGN_INS {
            let account = format!("a{i}");
            attempts.begin(&account, here, now).unwrap();
            attempts.forget(&account, here);
        }
        assert_eq!(attempts.begin("b", beside, now), Err(901));
        assert_eq!(attempts.begin("b", there, now), Ok(()));
        (0..REGISTRATIONS).for_each(|_| attempts.register(here, now).unwrap());
        assert_eq!(attempts.register(beside, now), Err(901));
        assert_eq!(attempts.register(there, now), Ok(()));
        assert_eq!(attempts.register(here, now.plus(WINDOW)), Ok(()));
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
