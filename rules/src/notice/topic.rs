//! What people are told by mail, each as they want (N5).

use serde::{Deserialize, Serialize};

use super::Kind;
use crate::role::Role;

/// What a mail is about, as a member chooses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Topic {
    /// A limit comes close.
    LimitNear,
    /// All of a limit is used.
    LimitReached,
    /// A trial ends soon, or is over.
    Trial,
    /// A lock was put, or all were lifted.
    Lock,
    /// A payment is due.
    Payment,
    /// Credit will expire, or is used up.
    Credit,
}

impl Topic {
    /// Every topic, as they are shown.
    pub const ALL: [Self; 6] =
        [Self::LimitNear, Self::LimitReached, Self::Trial, Self::Lock, Self::Payment, Self::Credit];

    /// Its name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LimitNear => "limitNear",
            Self::LimitReached => "limitReached",
            Self::Trial => "trial",
            Self::Lock => "lock",
            Self::Payment => "payment",
            Self::Credit => "credit",
        }
    }

    /// To which a message of this kind belongs, and of this percentage where it is about a threshold; `None` of what is told to
    /// nobody by mail.
    pub const fn of(kind: Kind, percent: Option<u8>) -> Option<Self> {
        match (kind, percent) {
            (Kind::UsageThreshold, Some(..100)) => Some(Self::LimitNear),
            (Kind::UsageThreshold, _) => Some(Self::LimitReached),
            (Kind::TrialEnding | Kind::TrialEnded, _) => Some(Self::Trial),
            (Kind::OrganizationLocked | Kind::OrganizationUnlocked, _) => Some(Self::Lock),
            (Kind::SubscriptionChanged, _) => Some(Self::Payment),
            (Kind::GrantExpiring | Kind::GrantExhausted, _) => Some(Self::Credit),
            (
                Kind::UsageRefused | Kind::UsageOverage | Kind::UsageReset | Kind::GrantCreated | Kind::PeriodStarted,
                _,
            ) => None,
        }
    }

    /// Whether a member is told of it who has chosen nothing: owners and admins are of what stops or may soon stop their use,
    /// editors of nothing.
    pub fn is_usual(self, role: Role) -> bool {
        role >= Role::Admin && self != Self::Credit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_of_all_of_a_limit_is_another_topic_than_one_before_it() {
        for (percent, topic) in [(80, Topic::LimitNear), (99, Topic::LimitNear), (100, Topic::LimitReached)] {
            assert_eq!(Topic::of(Kind::UsageThreshold, Some(percent)), Some(topic), "{percent}");
        }
        assert_eq!(Topic::of(Kind::UsageRefused, None), None);
        let usual = |role| Topic::ALL.into_iter().filter(|topic| topic.is_usual(role)).count();
        assert_eq!([Role::Viewer, Role::Editor, Role::Admin, Role::Owner].map(usual), [0, 0, 5, 5]);
    }
}
