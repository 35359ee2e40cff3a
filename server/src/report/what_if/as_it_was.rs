//! What the changed plans say otherwise of trials, periods, days of grace and the plan after a subscription; and what of it happens in
//! a replay as it did, since the records from which it could be told are gone: the answer names it.

use serde::Serialize;
use utoipa::ToSchema;

use super::Moved;
use crate::catalogue::Snapshot;
use crate::catalogue::spec::PlanSpec;

/// Something that a plan says, and that may not be replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum AsItWas {
    /// How long a trial is and what becomes of an organization at its end: trials end when they did.
    Trial,
    /// From when billing periods are counted: they begin when they did.
    Cycle,
    /// Days of grace for a missing payment: locks come when they did.
    GraceDays,
    /// The plan after a subscription: organizations move to the plans to which they did.
    FallbackPlan,
}

impl AsItWas {
    const fn words(self) -> &'static str {
        match self {
            Self::Trial => "trials",
            Self::Cycle => "the beginnings of billing periods",
            Self::GraceDays => "days of grace",
            Self::FallbackPlan => "plans after a subscription",
        }
    }

    /// Whether two plans say different things of it.
    fn differs(self, one: &PlanSpec, other: &PlanSpec) -> bool {
        match self {
            Self::Trial => one.trial != other.trial,
            Self::Cycle => one.cycle != other.cycle,
            Self::GraceDays => one.grace_days != other.grace_days,
            Self::FallbackPlan => one.fallback_plan != other.fallback_plan,
        }
    }

    /// In what the changed plans differ from what they are now, or where organizations are moved to another plan, from any plan that
    /// they may be on: who is on one plan all the time falls back to no other.
    pub(super) fn differing(now: &Snapshot, changed: &Snapshot, plans: &[String], moved: &Moved) -> Vec<Self> {
        let all = [Self::Trial, Self::Cycle, Self::GraceDays, Self::FallbackPlan];
        let differs = |what: &Self| {
            plans.iter().filter_map(|key| changed.plan_entry(key)).any(|plan| match moved {
                Moved::Followers(_) => {
                    let own = now.stored.plans.values().filter(|own| own.key == plan.key);
                    own.into_iter().any(|own| what.differs(&own.spec, &plan.spec))
                }
                Moved::To(_) if *what == Self::FallbackPlan => false,
                Moved::To(_) => now.stored.plans.values().any(|other| what.differs(&other.spec, &plan.spec)),
            })
        };
        all.into_iter().filter(differs).collect()
    }

    /// A sentence for people; nothing where everything is replayed.
    pub(super) fn sentence(all: &[Self]) -> Option<String> {
        let words: Vec<_> = all.iter().map(|what| what.words()).collect();
        let (last, others) = words.split_last()?;
        let joined = if others.is_empty() { (*last).to_owned() } else { format!("{} and {last}", others.join(", ")) };
        Some(format!(
            "Where older records are gone it is not replayed that the plans differ in them: {joined} are as they were."
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_replayed_is_named_in_a_sentence() {
        assert_eq!(AsItWas::sentence(&[]), None);
        let all = [AsItWas::Trial, AsItWas::Cycle, AsItWas::GraceDays];
        let said = AsItWas::sentence(&all).unwrap();
        assert!(
            said.ends_with("trials, the beginnings of billing periods and days of grace are as they were."),
            "{said}"
        );
        assert_eq!(serde_json::to_string(&all).unwrap(), r#"["trial","cycle","graceDays"]"#);
    }
}
