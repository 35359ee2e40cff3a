//! What a loop knows of the team's row, and by it of PostgreSQL's clock: enough to begin a turn on, where the turn asks for
//! nothing else. Whether it is so still is seen when the turn is written; where it is not, nothing has happened.

use metergate_rules::time::{SECOND, Time};

use crate::clock::boot;
use crate::store::postgres::lock::Believed;

/// For so long after PostgreSQL said the time it is known without asking, in microseconds: a little longer than the first loop
/// goes without a look.
const KNOWN: i64 = SECOND / 4;
/// What took longer to come may be too late by as much.
const PROMPT: i64 = SECOND / 20;

/// The team's row.
#[derive(Default)]
pub(super) struct Team {
    /// As it was when catalogue and people were read. Not known of a server to which the loop has just connected.
    pub(super) epochs: Option<(i64, i64)>,
    /// The same of any server.
    pub(super) highest: (i64, i64),
    /// What the time was, and when that was heard, since boot.
    said: Option<(Time, i64)>,
}

impl Team {
    pub(super) fn new(epochs: (i64, i64)) -> Self {
        Self { epochs: Some(epochs), highest: epochs, said: None }
    }

    /// Another server may stand behind the next connection.
    pub(super) const fn doubt(&mut self) {
        (self.epochs, self.said) = (None, None);
    }

    /// It is not as it was believed to be: it is read before anything else is decided.
    pub(super) const fn ask(&mut self) {
        self.said = None;
    }

    /// PostgreSQL has just said the time, asked at this one, since boot.
    pub(super) fn said(&mut self, now: Time, asked: i64) {
        self.said_at(boot(), now, asked);
    }

    fn said_at(&mut self, heard: i64, now: Time, asked: i64) {
        self.said = (heard - asked < PROMPT).then_some((now, heard));
    }

    /// Catalogue, people and the time, where they are known well enough. The time is late by what its message took: never ahead,
    /// and never before the one that was said.
    pub(super) fn believed(&self) -> Option<Believed> {
        self.believed_at(boot())
    }

    fn believed_at(&self, now: i64) -> Option<Believed> {
        let (epochs, (said, heard)) = (self.epochs?, self.said?);
        (now - heard < KNOWN).then(|| Believed { epochs, now: said.plus(now - heard) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_goes_on_from_what_was_said_and_is_asked_for_again_soon() {
        let mut team = Team::new((3, 4));
        assert_eq!(team.believed_at(0), None, "nobody has said it");
        let said = Time::from_micros(1_000_000);
        let at = |micros| Some(Believed { epochs: (3, 4), now: said.plus(micros) });
        team.said_at(500, said, 100);
        assert_eq!((team.believed_at(500), team.believed_at(1_200)), (at(0), at(700)));
        assert_eq!((team.believed_at(499 + KNOWN), team.believed_at(500 + KNOWN)), (at(KNOWN - 1), None));
        team.ask();
        assert_eq!((team.believed_at(500), team.epochs), (None, Some((3, 4))));
        team.said_at(500, said, 500 - PROMPT);
        assert_eq!(team.believed_at(500), None, "it took too long to come");
        team.said_at(500, said, 100);
        team.doubt();
        assert_eq!((team.believed_at(500), team.highest), (None, (3, 4)));
    }
}
