//! What is asked of the server, and what its answers say.

use clap::ValueEnum;
use memchr::memmem;
use serde::Serialize;

use crate::answer::{Answer, decimal};

/// The kinds of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// `POST /v1/consume`, one decision a request.
    Consume,
    /// `POST /v1/consume` with an array of decisions.
    ConsumeArray,
    /// `POST /v1/events`, a CloudEvents batch with ids that are never used twice.
    Events,
    /// `POST /v1/check`, one decision a request, nothing recorded.
    Check,
}

impl Kind {
    /// The path of its requests.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Consume | Self::ConsumeArray => "/v1/consume",
            Self::Events => "/v1/events",
            Self::Check => "/v1/check",
        }
    }

    /// The content type of its requests.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Events => "application/cloudevents-batch+json",
            Self::Consume | Self::ConsumeArray | Self::Check => "application/json",
        }
    }

    /// Decisions or events in a request, unless told otherwise.
    pub const fn usual_batch(self) -> u64 {
        match self {
            Self::Consume | Self::Check => 1,
            Self::ConsumeArray => 100,
            Self::Events => 1000,
        }
    }
}

/// What is asked of the server.
#[derive(Clone, Debug)]
pub struct Workload {
    /// The kind of request.
    pub kind: Kind,
    /// Decisions or events in a request; 1 for single ones.
    pub batch: u64,
    /// Organizations over which requests are spread evenly, at random: `org-00000` and on.
    pub organizations: u64,
    /// Percent of the operations that go to `org-00000` alone; the rest is spread.
    pub hot: u64,
    /// The meter consumed, and the type of events.
    pub meter: String,
    /// Whether every decision carries an id of its own. Events always do.
    pub ids: bool,
    /// The key sent as `Authorization: Bearer`.
    pub key: String,
}

/// What one answer says about the operations (decisions or events) in its request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Operations allowed or accepted.
    pub accepted: u64,
    /// Decisions refused; events called duplicates or rejected.
    pub refused: u64,
    /// Operations that were not answered: an error stood in their place, or in the place of all.
    pub failed: u64,
    /// Whether the status was 2xx.
    pub success: bool,
}

/// Reads answers to one workload. The searched words are prepared once: a generator must be cheap.
pub struct Judge {
    kind: Kind,
    batch: u64,
    allowed: memmem::Finder<'static>,
    refused: memmem::Finder<'static>,
}

impl Judge {
    /// For answers to requests of `kind` with `batch` operations each.
    pub fn new(kind: Kind, batch: u64) -> Self {
        let allowed = memmem::Finder::new(br#""allowed":true"#);
        let refused = memmem::Finder::new(br#""allowed":false"#);
        Self { kind, batch, allowed, refused }
    }

    /// What `answer` says.
    pub fn verdict(&self, answer: Answer<'_>) -> Verdict {
        if !(200..300).contains(&answer.status) {
            return Verdict { failed: self.batch, ..Verdict::default() };
        }
        let (accepted, refused) = match self.kind {
            Kind::Consume | Kind::Check => self.single_decision(answer.body),
            Kind::ConsumeArray => (count(&self.allowed, answer.body), count(&self.refused, answer.body)),
            Kind::Events => self.events(answer.body),
        };
        Verdict { accepted, refused, failed: self.batch.saturating_sub(accepted + refused), success: true }
    }

    fn single_decision(&self, body: &[u8]) -> (u64, u64) {
        if self.allowed.find(body).is_some() { (1, 0) } else { (0, u64::from(self.refused.find(body).is_some())) }
    }

    /// Events are durable and answered whether accepted or not, so what is not accepted is refused.
    fn events(&self, body: &[u8]) -> (u64, u64) {
        let Some(accepted) = number_after(br#""accepted":"#, body) else { return (0, 0) };
        (accepted, self.batch.saturating_sub(accepted))
    }
}

fn count(word: &memmem::Finder<'_>, body: &[u8]) -> u64 {
    word.find_iter(body).count() as u64
}

/// The decimal number right after the first `word`.
fn number_after(word: &[u8], body: &[u8]) -> Option<u64> {
    let rest = &body[memmem::find(body, word)? + word.len()..];
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    decimal(&rest[..digits]).map(|number| number as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_operation() {
        let (no, yes) = (r#"{"allowed":false,"reason":"quota-exceeded"}"#, r#"{"allowed":true,"reason":null}"#);
        let mixed = format!(r#"{{"data":[{yes},{no},{yes},{{"code":"unknown-meter"}}]}}"#);
        #[rustfmt::skip]
        let cases = [ // kind, batch, status, body, (accepted, refused, failed, success)
            (Kind::Consume,      1, 200, yes,                                              (1, 0, 0, true)),
            (Kind::Consume,      1, 200, no,                                               (0, 1, 0, true)),
            (Kind::Check,        1, 200, "{}",                                             (0, 0, 1, true)),
            (Kind::Consume,      1, 503, yes,                                              (0, 0, 1, false)),
            (Kind::ConsumeArray, 4, 200, &mixed,                                           (2, 1, 1, true)),
            (Kind::ConsumeArray, 4, 422, "{}",                                             (0, 0, 4, false)),
            (Kind::Events,       9, 200, r#"{"accepted":7,"duplicates":2,"rejected":[]}"#, (7, 2, 0, true)),
            (Kind::Events,       9, 200, r#"{"accepted":}"#,                               (0, 0, 9, true)),
            (Kind::Events,       9, 200, "",                                               (0, 0, 9, true)),
        ];
        for (kind, batch, status, body, (accepted, refused, failed, success)) in cases {
            let body = body.as_bytes();
            let verdict = Judge::new(kind, batch).verdict(Answer { status, body, size: 0 });
            assert_eq!(verdict, Verdict { accepted, refused, failed, success }, "{kind:?} {status}");
        }
    }
}
