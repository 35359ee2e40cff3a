//! Mails that wait to be sent (N5): an outbox, written in the commit of what they are about and kept until they are sent.
//!
//! No letter holds a token, nor what a token could be made of: its link is made when it is sent, and only the hash of that is
//! stored. A letter that has to be sent again has another link, and the one before opens nothing any more.

use metergate_rules::time::{DAY, HOUR, SECOND, Time};
use serde::{Deserialize, Serialize};

use super::Opens;
use super::token::TokenHash;

/// Letters that wait at most; what would be written beyond them is asked for again.
pub const MOST_LETTERS: usize = 10_000;
/// For how long one is tried, in microseconds.
const TRIED: i64 = DAY;
/// From the first try to the second, and the longest wait, in microseconds; each is three times as long as the one before.
const FIRST: i64 = 5 * SECOND;
const LONGEST: i64 = HOUR;

/// Which letter: random.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LetterId(pub [u8; 16]);

/// What a letter is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Contents {
    /// A link that opens this.
    Link(Opens),
}

/// A mail that waits to be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// Which it is.
    pub id: LetterId,
    /// What for.
    pub contents: Contents,
    /// Since when it waits.
    pub written_at: Time,
    /// When it is tried next.
    pub due_at: Time,
    /// How often it was tried.
    pub tries: u32,
    /// The link that was in it the last time.
    pub link: Option<TokenHash>,
}

impl Letter {
    /// One that is to be sent at once.
    pub fn new(opens: Opens, now: Time) -> Self {
        let (id, contents) = (LetterId(crate::random::bytes()), Contents::Link(opens));
        Self { id, contents, written_at: now, due_at: now, tries: 0, link: None }
    }

    /// What its link opens.
    pub const fn opens(&self) -> &Opens {
        let Contents::Link(opens) = &self.contents;
        opens
    }

    /// Whether it has been tried for long enough.
    pub fn is_over(&self, now: Time) -> bool {
        self.written_at.plus(TRIED) <= now
    }

    /// The same while it is tried once more, with this link. If that comes to nothing, it is tried again.
    #[must_use]
    pub fn tried(&self, link: TokenHash, now: Time) -> Self {
        let wait = 3_i64.checked_pow(self.tries).and_then(|times| FIRST.checked_mul(times)).unwrap_or(LONGEST);
        let due_at = now.plus(wait.min(LONGEST));
        Self { tries: self.tries.saturating_add(1), due_at, link: Some(link), ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::people::UserId;

    #[test]
    fn a_letter_is_tried_ever_more_seldom_for_a_day() {
        let start = Time::from_micros(0);
        let mut letter = Letter::new(Opens::Reset(UserId([1; 16])), start);
        let mut waits = Vec::new();
        let mut now = start;
        while !letter.is_over(now) {
            letter = letter.tried(TokenHash([0; 32]), now);
            waits.push(letter.due_at.since(now) / SECOND);
            now = letter.due_at;
        }
        assert_eq!(waits[..8], [5, 15, 45, 135, 405, 1215, 3600, 3600]);
        assert_eq!((waits.len(), letter.tries), (30, 30), "some thirty times in all");
        letter.tries = u32::MAX;
        assert_eq!(letter.tried(TokenHash([0; 32]), now).due_at, now.plus(LONGEST));
    }
}
