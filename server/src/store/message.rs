//! Messages to webhook endpoints as a commit writes them: with what they tell, so that one is there exactly when that is.

use std::fmt;
use std::str::FromStr;

use metergate_rules::id::OrganizationId;
use metergate_rules::time::Time;

use crate::hex::{hex, unhex};

/// What the text of a message's id begins with.
const PREFIX: &str = "msg_";

/// Which message: a UUID of version 7. Of one organization later ones are greater, also within a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub [u8; 16]);

impl MessageId {
    /// The `nth` of a commit, from 0.
    pub fn new(now: Time, nth: usize) -> Self {
        let micros = u64::try_from(now.micros()).unwrap_or_default();
        let [.., of_millisecond_high, of_millisecond_low] = (micros % 1000).to_be_bytes();
        // Fourteen bits count: in a commit with more the last come in the order of chance.
        let [.., nth_high, nth_low] = u64::try_from(nth).unwrap_or(u64::MAX).min(0x3fff).to_be_bytes();
        let [a, b, c, d, e, f] = crate::random::bytes::<6>();
        let bytes = [of_millisecond_high, of_millisecond_low, nth_high, nth_low, a, b, c, d, e, f];
        Self(uuid::Builder::from_unix_timestamp_millis(micros / 1000, &bytes).into_uuid().into_bytes())
    }
}

/// As receivers have it: the header `webhook-id`.
impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", hex(&self.0))
    }
}

/// The text is no id of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the id of a message is msg_ and 32 hexadecimal digits")]
pub struct InvalidMessageId;

impl FromStr for MessageId {
    type Err = InvalidMessageId;

    fn from_str(text: &str) -> Result<Self, InvalidMessageId> {
        text.strip_prefix(PREFIX).and_then(unhex).map(Self).ok_or(InvalidMessageId)
    }
}

/// A message that a commit writes, with to whom it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageRow {
    /// Whose; sixteen zero bytes of one that is the team's own.
    pub organization: OrganizationId,
    /// Which it is.
    pub id: MessageId,
    /// Its type, such as `usage.threshold`.
    pub kind: &'static str,
    /// What is sent, byte for byte.
    pub body: String,
    /// The endpoints that it goes to, at least one.
    pub endpoints: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_uuids_that_rise_with_time_and_within_a_commit_and_are_read_as_they_are_written() {
        let at = Time::from_micros(1_772_000_000_123_456);
        let places = [(0, 0), (0, 1), (0, 255), (0, 256), (0, 9000), (1, 0), (543, 7), (544, 0), (1544, 1)];
        let ids = places.map(|(micros, nth)| MessageId::new(at.plus(micros), nth));
        assert!(ids.windows(2).all(|two| two[0] < two[1]), "{ids:?}");
        for id in ids {
            let uuid = uuid::Uuid::from_bytes(id.0);
            assert_eq!((uuid.get_version_num(), uuid.get_variant()), (7, uuid::Variant::RFC4122), "{uuid}");
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        assert_ne!(MessageId::new(at, 0), MessageId::new(at, 0));
        for other in ["", "msg_", "msg_00", "00000000000000000000000000000000"] {
            assert_eq!(other.parse::<MessageId>(), Err(InvalidMessageId), "{other}");
        }
    }
}
