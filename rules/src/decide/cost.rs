//! What tokens cost: a use of the meter of costs that goes with the use of tokens (M9).

use crate::account::Account;
use crate::catalogue::Catalogue;
use crate::command::Item;
use crate::id::MeterId;
use crate::limits::Limits;
use crate::meter::{Measure, Meter};
use crate::notice::Notice;
use crate::outcome::{Asked, CostVerdict, Reason, Use, Verdict};
use crate::plan::{Plan, RefusalStatus};
use crate::price::{Cost, LlmUse, TOKENS, UNPRICED, Unpriced};
use crate::quantity::Quantity;
use crate::time::Time;
use crate::window::WindowSet;

use super::consume::{Taken, Weighed};
use super::tally::Touch;
use super::{Problem, record};

/// The item that goes with a use of tokens.
#[derive(Debug)]
pub(super) struct Costed {
    /// On the meter of costs: what is charged, nothing where nobody knows.
    pub(super) item: Item,
    /// The cost.
    pub(super) cost: Cost,
    /// The meter that counts the tokens.
    tokens: MeterId,
}

impl Costed {
    /// `None` where nothing was said of a model's tokens, where no meter counts what they cost, or where that is among the
    /// `items`: then the caller has said it.
    ///
    /// # Errors
    /// [`Problem::InvalidQuantity`] of a cost that is out of range.
    pub(super) fn of(
        llm: Option<&LlmUse>,
        items: &[Item],
        plan: &Plan,
        catalogue: &Catalogue,
        at: Time,
    ) -> Result<Option<Self>, Problem> {
        let Some(llm) = llm else { return Ok(None) };
        let Some(meter) = catalogue.cost_meter() else { return Ok(None) };
        if items.iter().any(|item| item.meter == meter.id) {
            return Ok(None);
        }
        let (cost, dimensions) = match llm.charged {
            Some(charged) => (Cost::Priced(charged), llm.dimensions.clone()),
            None => {
                let cost = catalogue.prices().cost(llm, at, plan.llm_markup)?;
                (cost, dimensions(llm, cost, meter))
            }
        };
        let measure = Measure::Add(cost.charged());
        let item = Item { meter: meter.id, measure, dimensions };
        Ok(Some(Self { item, cost, tokens: llm.meter }))
    }

    /// The same of a reservation. Where it does not say enough for its cost to be known, something must be left for that: it is
    /// asked for the smallest quantity there is, of which nothing is [held](Self::holds).
    ///
    /// # Errors
    /// As [`Self::of`].
    pub(super) fn held(
        llm: Option<&LlmUse>,
        meter: &Meter,
        plan: &Plan,
        catalogue: &Catalogue,
        at: Time,
    ) -> Result<Option<Self>, Problem> {
        let Some(cost_meter) = catalogue.cost_meter().filter(|_| meter.key.as_str() == TOKENS) else { return Ok(None) };
        let said = Self::of(llm, &[], plan, catalogue, at)?;
        let cost = said.as_ref().map_or(Cost::Unpriced(Unpriced::NoModel), |costed| costed.cost);
        let least = Item { meter: cost_meter.id, measure: Measure::Add(Quantity::ONE), dimensions: String::new() };
        let unsaid = Self { item: least, cost, tokens: meter.id };
        Ok(Some(said.filter(Self::holds).unwrap_or(unsaid)))
    }

    /// Whether a reservation holds it: what is not said cannot be held. What has no price in the table holds nothing, as it is
    /// charged nothing.
    pub(super) const fn holds(&self) -> bool {
        !matches!(self.cost, Cost::Unpriced(Unpriced::NoModel | Unpriced::NoTokens | Unpriced::NoProvider))
    }

    /// Held against the limits of the meter of costs.
    pub(super) fn weighed<'a>(
        &'a self,
        account: &'a Account,
        plan: &'a Plan,
        catalogue: &'a Catalogue,
        now: Time,
    ) -> Result<Weighed<'a>, Problem> {
        let meter = catalogue.meter(self.item.meter).ok_or(Problem::UnknownMeter)?;
        Weighed::new(account, plan, meter, &self.item, WindowSet::NONE, now)
    }

    /// What would have been used, of a decision that is refused.
    pub(super) fn asked(&self) -> Asked {
        Asked { item: self.item.clone(), seen: WindowSet::NONE, follows: Some(self.tokens) }
    }

    /// What it used, as what goes with the tokens.
    pub(super) const fn follow(&self, mut used: Use) -> Use {
        used.follows = Some(self.tokens);
        used
    }

    /// What it used as a fact, at the time of the first of these.
    pub(super) fn fact(
        &self,
        account: &Account,
        plan: &Plan,
        catalogue: &Catalogue,
        (at, now): (Time, Time),
        notices: &mut Vec<Notice>,
    ) -> Result<Use, Problem> {
        let meter = catalogue.meter(self.item.meter).ok_or(Problem::UnknownMeter)?;
        let touch = Touch::new(account, &self.item, WindowSet::NONE, at)?;
        Ok(self.follow(record::fact(&Limits::new(account, plan, meter), &touch, now, notices)))
    }

    /// Adds it to the verdict about tokens that have been recorded, by the account after that.
    pub(super) fn tell_recorded(
        &self,
        verdict: &mut Verdict,
        after: &Account,
        plan: &Plan,
        catalogue: &Catalogue,
        overage: Quantity,
        now: Time,
    ) -> Result<(), Problem> {
        let nothing = Self { item: Item { measure: Measure::Add(Quantity::ZERO), ..self.item.clone() }, ..*self };
        let weighed = nothing.weighed(after, plan, catalogue, now)?;
        let Verdict { meter, limits, .. } = weighed.verdict(self.item.meter, Taken::Nothing, now);
        verdict.cost = Some(Box::new(CostVerdict { meter, cost: self.cost, overage, limits }));
        Ok(())
    }

    /// Adds it to the verdict about the tokens. A plan need not name what tokens cost: only its limits stop them.
    pub(super) fn tell(&self, verdicts: &mut [Verdict], weighed: &Weighed<'_>, taken: Taken, now: Time) {
        let Some(verdict) = verdicts.iter_mut().find(|verdict| verdict.meter == self.tokens) else { return };
        if weighed.is_exceeded() {
            let retry_at = weighed.retry_at(now);
            verdict.retry_at = match verdict.reason {
                None => retry_at,
                Some(Reason::QuotaExceeded) => verdict.retry_at.zip(retry_at).map(|(one, other)| one.max(other)),
                Some(_) => None,
            };
            let reason = *verdict.reason.get_or_insert(Reason::QuotaExceeded);
            if reason == Reason::QuotaExceeded && weighed.pays() {
                verdict.status = RefusalStatus::PaymentRequired;
            }
        }
        let Verdict { meter, overage, limits, .. } = weighed.verdict(self.item.meter, taken, now);
        verdict.cost = Some(Box::new(CostVerdict { meter, cost: self.cost, overage, limits }));
    }
}

/// The values of the dimensions, with why there is no price where there is none.
fn dimensions(llm: &LlmUse, cost: Cost, meter: &Meter) -> String {
    match cost {
        Cost::Unpriced(why) if meter.dimensions.iter().any(|name| name == UNPRICED) => {
            let why = why.as_str();
            match llm.dimensions.strip_suffix('}') {
                Some(others) => format!("{others},\"{UNPRICED}\":\"{why}\"}}"),
                None => format!("{{\"{UNPRICED}\":\"{why}\"}}"),
            }
        }
        _ => llm.dimensions.clone(),
    }
}

/// The dimensions under which a use counts that costs this much.
pub fn dimensions_of(llm: &LlmUse, cost: Cost, catalogue: &Catalogue) -> String {
    catalogue.cost_meter().map_or_else(String::new, |meter| dimensions(llm, cost, meter))
}
