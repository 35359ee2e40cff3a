//! The organization that its first use creates, where the setting allows it.

use metergate_rules::account::Profile;
use metergate_rules::command::NewOrganization;
use metergate_rules::decide::Problem;
use metergate_rules::id::OrganizationKey;
use metergate_rules::period::Zone;
use metergate_rules::time::Time;

use super::{SIGN_UP_PLAN, Snapshot};

/// What it would be, of this key; `first_used` is when what is reported of it began, where that is known.
///
/// # Errors
/// [`Problem::UnknownPlan`] where there is no plan for those who sign up.
pub fn first_use(
    key: &OrganizationKey,
    catalogue: &Snapshot,
    first_used: Option<Time>,
) -> Result<NewOrganization, Problem> {
    let plan = catalogue.plan_entry(SIGN_UP_PLAN).ok_or(Problem::UnknownPlan)?.id;
    let profile = Profile {
        key: key.clone(),
        name: key.to_string(),
        zone: Zone::utc(),
        test: false,
        metadata: "{}".to_owned(),
        created_at: Time::MIN,
    };
    Ok(NewOrganization { profile, plan, first_used })
}
