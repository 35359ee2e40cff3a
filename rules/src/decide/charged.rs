//! What a void gives back of what tokens cost that were priced again: what is charged for them now, which later calls of the
//! repricing then find made right (M9).
//!
//! What was charged at first is given back where it still counts, as of any event. What was charged more since, or under other
//! dimension values, is taken off as it was charged: in its quarter hour.

use crate::account::Account;
use crate::catalogue::Catalogue;
use crate::command::Item;
use crate::grant::Draw;
use crate::id::MeterId;
use crate::limits::{Claim, Limits};
use crate::meter::Measure;
use crate::outcome::Use;
use crate::plan::Plan;
use crate::quantity::Quantity;
use crate::time::Time;
use crate::window::WindowSet;

use super::correct::{Void, returning, voided};
use super::tally::{QUARTER, Touch};
use super::{Problem, adjust, reprice};

/// What an event is charged for its tokens since they were priced again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charged {
    /// The meter that counts the tokens.
    pub tokens: MeterId,
    /// The time of their use.
    pub time: Time,
    /// What is charged now, in billionths of a dollar.
    pub cost: Quantity,
    /// Under which dimension values.
    pub dimensions: String,
    /// What reports hold in the quarter hour under these, which the store looks up: no more can be taken off.
    pub room: Quantity,
}

/// What is given back of it, and what came from grants that have ended.
pub(super) fn give_back(
    account: &Account,
    plan: &Plan,
    asked: &Void,
    charged: &Charged,
    catalogue: &Catalogue,
    now: Time,
) -> Result<(Vec<Use>, Vec<Draw>), Problem> {
    let meter = catalogue.cost_meter().ok_or(Problem::UnknownMeter)?;
    let first = asked.uses.iter().find(|used| used.follows == Some(charged.tokens) && used.meter == meter.id);
    let most = charged.cost.min(charged.room);
    let of_first = match first {
        Some(Use { measure: Measure::Add(at_first), dimensions, .. }) if *dimensions == charged.dimensions => {
            most.min(*at_first)
        }
        _ => Quantity::ZERO,
    };
    let mut uses: Vec<Use> = first.map(|used| voided(account, used, of_first)).into_iter().collect();
    let since = most.minus(of_first);
    if !since.is_zero() {
        uses.push(less(account, meter.id, charged, since, now)?);
    }
    let lifted = Limits::new(account, plan, meter).period_window();
    let stays = match (first, lifted) {
        // The draws of all uses of the counter together, of which this one's share is not known: the last return first.
        (_, Some(window)) if uses.iter().any(|used| used.windows.has(window)) => {
            adjust::give_back(account, plan, meter, &mut uses, now)
        }
        (Some(used), _) => {
            let returning = returning(account, plan, used, &uses[0], catalogue, now)?;
            uses[0].draws = returning.returned;
            returning.stays
        }
        (None, _) => Vec::new(),
    };
    Ok((uses, stays))
}

/// What was charged since, taken off as it was charged.
fn less(account: &Account, meter: MeterId, charged: &Charged, since: Quantity, now: Time) -> Result<Use, Problem> {
    let item = Item { meter, measure: Measure::Adjust(-since.units()), dimensions: charged.dimensions.clone() };
    let at = reprice::moment(charged.time.floor(QUARTER), now);
    let touch = Touch::new(account, &item, WindowSet::NONE, at)?;
    let less = touch.written(Claim::default(), &account.grants, now, false);
    Ok(Use { follows: Some(charged.tokens), ..less })
}
