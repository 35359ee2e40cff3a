//! Plans: defined, and deleted where nobody needs them.

use metergate_rules::id::{PlanId, PlanKey};
use metergate_rules::plan::TrialEnd;

use super::{Changing, Decided, TeamReply, TeamRow, conflict, refuse, spec_fields, unknown, unprocessable};
use crate::catalogue::spec::PlanSpec;
use crate::catalogue::{PlanEntry, SIGN_UP_PLAN, Snapshot};
use crate::store::StoreError;

impl Changing<'_> {
    pub(super) fn put_plan(&mut self, snapshot: &Snapshot, key: &PlanKey, spec: &PlanSpec) -> Decided {
        let old = snapshot.plan_entry(key.as_str());
        let reply = TeamReply::Plan(key.clone(), old.is_none());
        if old.is_some_and(|old| old.spec == *spec) {
            return Ok((reply, None));
        }
        self.write_plan(key, spec)?;
        self.check()?;
        let (before, after) = (spec_fields(key.as_str(), old.map(|o| &o.spec)), spec_fields(key.as_str(), Some(spec)));
        Ok((reply, self.draft("catalog.apply", "config", before, after)))
    }

    /// A trial that ended in the plan that it is of would never end: that is what `continue` says.
    pub(super) fn write_plan(&mut self, key: &PlanKey, spec: &PlanSpec) -> Result<(), StoreError> {
        if spec.trial_leads_to(key) {
            return refuse("#/trial/onEnd: Name another plan, or send \"continue\" to stay on this one.");
        }
        let versions = self.stored.plans.values().filter(|plan| plan.key == *key).map(|plan| plan.version);
        let entry = PlanEntry {
            id: PlanId(self.stored.plans.keys().next_back().map_or(1, |last| last.0 + 1)),
            key: key.clone(),
            version: versions.max().unwrap_or(0) + 1,
            spec: spec.clone(),
            created_at: self.now,
            deleted_at: None,
        };
        self.stored.plans.insert(entry.id, entry.clone());
        self.rows.push(TeamRow::Plan(entry));
        Ok(())
    }

    pub(super) fn delete_plan(&mut self, snapshot: &Snapshot, key: &PlanKey, is_used: bool) -> Decided {
        let Some(old) = snapshot.plan_entry(key.as_str()) else { return unknown("unknown-plan", "plan") };
        let leads = |plan: &&PlanEntry| plan.key != *key && plan.spec.leads_to(key);
        if key.as_str() == SIGN_UP_PLAN {
            return conflict("plan-in-use", "new organizations begin on it: define it otherwise instead");
        } else if let Some(plan) = snapshot.newest_plans().find(leads) {
            let detail = format!("plan {} leads to it, by its trial or as its fallback: take that out first", plan.key);
            return conflict("plan-in-use", &detail);
        } else if is_used {
            return conflict(
                "plan-in-use",
                "organizations are on it or will come to it: move them to another plan first",
            );
        }
        let mut versions: Vec<PlanEntry> = snapshot
            .stored
            .plans
            .values()
            .filter(|plan| plan.key == *key && plan.deleted_at.is_none())
            .cloned()
            .collect();
        for entry in &mut versions {
            entry.deleted_at = Some(self.now);
            self.stored.plans.insert(entry.id, entry.clone());
            self.rows.push(TeamRow::Plan(entry.clone()));
        }
        let before = spec_fields(key.as_str(), Some(&old.spec));
        let after = spec_fields::<PlanSpec>(key.as_str(), None);
        Ok((TeamReply::Gone, self.draft("catalog.apply", "config", before, after)))
    }

    /// Of plans only their newest versions: what leads to a plan that was deleted is nobody's any more, or of an organization on
    /// an older version, on account of which it was not deleted.
    ///
    /// # Errors
    /// If what would be stored cannot be used: the last good catalogue stays.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let snapshot = Snapshot::new(self.stored.clone()).map_err(unprocessable)?;
        for plan in snapshot.newest_plans() {
            if let Some(TrialEnd::Plan(key)) = plan.spec.trial.as_ref().map(|trial| &trial.on_end)
                && snapshot.plan_entry(key.as_str()).is_none()
            {
                return refuse(&format!("plan {}: its trial ends in plan {key}, which does not exist", plan.key));
            }
            if let Some(key) = plan.spec.fallback_plan.as_deref()
                && snapshot.plan_entry(key).is_none()
            {
                return refuse(&format!("plan {}: its fallback is plan {key}, which does not exist", plan.key));
            }
            let other = |price: &&String| {
                snapshot.newest_plans().any(|other| other.key < plan.key && other.spec.stripe_prices.contains(price))
            };
            if let Some(price) = plan.spec.stripe_prices.iter().find(other) {
                return refuse(&format!("plan {}: its price {price} stands for another plan already", plan.key));
            }
        }
        Ok(())
    }
}
