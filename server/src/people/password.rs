//! Passwords: Argon2id with the parameters that OWASP names, off the threads that answer, and only a few at a time, so that
//! sign-ins cannot starve decisions.

use std::sync::Arc;

use argon2::{Algorithm, Argon2, Params, Version};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

/// Memory in KiB, passes and lanes (OWASP Password Storage Cheat Sheet).
const COST: (u32, u32, u32) = (19_456, 2, 1);
/// The shortest and the longest password in bytes.
const LENGTHS: std::ops::RangeInclusive<usize> = 8..=1024;
/// Hashes that are made at a time: each has a core and 19 MiB to itself for some tens of milliseconds.
const AT_ONCE: usize = 2;
/// Callers that may wait for theirs. Beyond it they hear at once that it is not possible now.
const MOST_WAITING: usize = 64;

/// A password that is neither too short nor too long. It is shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

/// A text is no password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Send 8 to 1024 bytes.")]
pub struct InvalidPassword;

impl Password {
    /// The password, checked.
    ///
    /// # Errors
    /// [`InvalidPassword`] unless it has 8 to 1,024 bytes.
    pub fn new(text: String) -> Result<Self, InvalidPassword> {
        if LENGTHS.contains(&text.len()) { Ok(Self(text)) } else { Err(InvalidPassword) }
    }

    /// What somebody signs in with. A text that can be nobody's password is compared like any other.
    pub fn tried(text: String) -> Self {
        if text.len() <= *LENGTHS.end() { Self(text) } else { Self(String::new()) }
    }
}

/// A password as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordHash {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: [u8; 16],
    hash: [u8; 32],
}

impl PasswordHash {
    fn make(password: &str, cost: (u32, u32, u32), salt: [u8; 16]) -> Option<Self> {
        let params = Params::new(cost.0, cost.1, cost.2, Some(32)).ok()?;
        let mut hash = [0; 32];
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        argon.hash_password_into(password.as_bytes(), &salt, &mut hash).ok()?;
        Some(Self { memory_kib: cost.0, passes: cost.1, lanes: cost.2, salt, hash })
    }

    /// One that no password has: a sign-in without a user compares with it, and takes as long.
    fn of_nobody() -> Self {
        Self { memory_kib: COST.0, passes: COST.1, lanes: COST.2, salt: [0; 16], hash: crate::random::bytes() }
    }

    fn is_of(&self, password: &str) -> bool {
        let made = Self::make(password, (self.memory_kib, self.passes, self.lanes), self.salt);
        made.is_some_and(|made| made.hash.ct_eq(&self.hash).into())
    }
}

/// A password could not be hashed now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many sign in at a time")]
pub struct Busy;

/// Where passwords are hashed.
#[derive(Debug)]
pub struct Passwords {
    running: Arc<Semaphore>,
    waiting: Semaphore,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { running: Arc::new(Semaphore::new(AT_ONCE)), waiting: Semaphore::new(MOST_WAITING) }
    }
}

impl Passwords {
    /// The hash of a password.
    ///
    /// # Errors
    /// [`Busy`] where too many wait, or there is no memory for it.
    pub async fn hash(&self, password: Password) -> Result<PasswordHash, Busy> {
        let salt = crate::random::bytes();
        self.run(move || PasswordHash::make(&password.0, COST, salt)).await?.ok_or(Busy)
    }

    /// Whether a password is the one of a hash. Without a hash it takes as long, and is not.
    ///
    /// # Errors
    /// [`Busy`] where too many wait.
    pub async fn is_of(&self, hash: Option<PasswordHash>, password: Password) -> Result<bool, Busy> {
        self.run(move || {
            let known = hash.is_some();
            hash.unwrap_or_else(PasswordHash::of_nobody).is_of(&password.0) && known
        })
        .await
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Busy> {
        let _waiting = self.waiting.try_acquire().map_err(|_| Busy)?;
        let running = Arc::clone(&self.running).acquire_owned().await.map_err(|_| Busy)?;
        // The place is given back when the work ends, also where its caller has hung up meanwhile.
        let task = move || {
            let _running = running;
            work()
        };
        tokio::task::spawn_blocking(task).await.map_err(|_| Busy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password::new(text.to_owned()).unwrap()
    }

    #[tokio::test]
    async fn a_password_is_known_by_its_hash_and_another_is_not() {
        let passwords = Passwords::default();
        let hash = passwords.hash(password("pässword \u{1f511}")).await.unwrap();
        assert_ne!(hash, passwords.hash(password("pässword \u{1f511}")).await.unwrap(), "each has a salt of its own");
        assert_eq!((hash.memory_kib, hash.passes, hash.lanes), COST);
        let cases = [
            (Some(hash.clone()), "pässword \u{1f511}", true),
            (Some(hash), "password \u{1f511}", false),
            (None, "anything", false),
        ];
        for (hash, tried, expected) in cases {
            assert_eq!(passwords.is_of(hash, password(tried)).await, Ok(expected), "{tried}");
        }
    }

    #[tokio::test]
    async fn beyond_the_bound_nobody_waits() {
        let passwords = Passwords { waiting: Semaphore::new(0), ..Passwords::default() };
        assert_eq!(passwords.hash(password("password")).await, Err(Busy));
    }

    #[test]
    fn a_password_has_8_to_1024_bytes() {
        for (length, valid) in [(0, false), (7, false), (8, true), (1024, true), (1025, false)] {
            assert_eq!(Password::new("x".repeat(length)).is_ok(), valid, "{length}");
        }
    }
}
