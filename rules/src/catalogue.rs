//! The meters and plans in force: what every decision is made against.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::id::{EventType, MeterId, MeterKey, PlanId, PlanKey};
use crate::meter::{Aggregation, Meter};
use crate::plan::Plan;
use crate::price::{self, PriceTable};

/// All meters, and every version of every plan. Never changed: a new one takes its place.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    meters: HashMap<MeterId, Arc<Meter>>,
    meter_keys: HashMap<MeterKey, Arc<Meter>>,
    deleted: HashSet<MeterId>,
    event_types: HashMap<EventType, Vec<Arc<Meter>>>,
    plans: HashMap<PlanId, Arc<Plan>>,
    versions: HashMap<(PlanKey, u32), PlanId>,
    newest: HashMap<PlanKey, PlanId>,
    bring_forward_months: Option<u32>,
    prices: Arc<PriceTable>,
}

impl Catalogue {
    /// A catalogue of these meters and plan versions.
    pub fn new(meters: Vec<Meter>, plans: Vec<Plan>) -> Self {
        let mut catalogue = Self::default();
        for meter in meters.into_iter().map(Arc::new) {
            catalogue.event_types.entry(meter.event_type.clone()).or_default().push(Arc::clone(&meter));
            catalogue.meter_keys.insert(meter.key.clone(), Arc::clone(&meter));
            catalogue.meters.insert(meter.id, meter);
        }
        for same_type in catalogue.event_types.values_mut() {
            same_type.sort_by_key(|meter| meter.id);
        }
        for plan in plans {
            catalogue.add_plan(plan);
        }
        catalogue
    }

    /// The same catalogue, which also knows meters that were deleted: by number alone, for what was recorded on them.
    #[must_use]
    pub fn with_deleted(mut self, meters: Vec<Meter>) -> Self {
        self.deleted.extend(meters.iter().map(|meter| meter.id));
        self.meters.extend(meters.into_iter().map(|meter| (meter.id, Arc::new(meter))));
        self
    }

    /// The same catalogue, by which members may bring the next reset forward once in so many months (P3).
    #[must_use]
    pub fn with_bring_forward_months(mut self, months: u32) -> Self {
        self.bring_forward_months = Some(months);
        self
    }

    /// The same catalogue, by which the tokens of language models cost this.
    #[must_use]
    pub fn with_prices(mut self, prices: impl Into<Arc<PriceTable>>) -> Self {
        self.prices = prices.into();
        self
    }

    /// What the tokens of language models cost.
    pub fn prices(&self) -> &PriceTable {
        &self.prices
    }

    /// The meter that counts what tokens cost, if there is one that can: a sum with nine places.
    pub fn cost_meter(&self) -> Option<&Arc<Meter>> {
        let can = |meter: &&Arc<Meter>| meter.aggregation == Aggregation::Sum && meter.decimals == price::PLACES;
        self.meter_by_key(price::COST).filter(can)
    }

    /// In how many months members may bring the next reset forward once.
    pub fn bring_forward_months(&self) -> u32 {
        self.bring_forward_months.unwrap_or(12)
    }

    fn add_plan(&mut self, plan: Plan) {
        self.versions.insert((plan.key.clone(), plan.version), plan.id);
        let newer = |id: &PlanId| self.plans.get(id).is_none_or(|known| known.version < plan.version);
        if self.newest.get(&plan.key).is_none_or(newer) {
            self.newest.insert(plan.key.clone(), plan.id);
        }
        self.plans.insert(plan.id, Arc::new(plan));
    }

    /// The meter of a number.
    pub fn meter(&self, id: MeterId) -> Option<&Arc<Meter>> {
        self.meters.get(&id)
    }

    /// Whether a meter was deleted.
    pub fn is_deleted(&self, id: MeterId) -> bool {
        self.deleted.contains(&id)
    }

    /// The meter of a key.
    pub fn meter_by_key(&self, key: &str) -> Option<&Arc<Meter>> {
        self.meter_keys.get(key)
    }

    /// The meters that count events of a type, in order of creation.
    pub fn meters_of_type(&self, event_type: &str) -> &[Arc<Meter>] {
        self.event_types.get(event_type).map_or(&[], Vec::as_slice)
    }

    /// All meters, by key.
    pub fn meters(&self) -> Vec<&Arc<Meter>> {
        let mut meters: Vec<_> = self.meters.values().collect();
        meters.sort_by(|a, b| a.key.cmp(&b.key));
        meters
    }

    /// One version of a plan, by its number.
    pub fn plan(&self, id: PlanId) -> Option<&Arc<Plan>> {
        self.plans.get(&id)
    }

    /// The newest version of a plan.
    pub fn newest_plan(&self, key: &str) -> Option<&Arc<Plan>> {
        self.plans.get(self.newest.get(key)?)
    }

    /// One version of a plan.
    pub fn plan_version(&self, key: &PlanKey, version: u32) -> Option<&Arc<Plan>> {
        self.plans.get(self.versions.get(&(key.clone(), version))?)
    }

    /// The plan that a price of Stripe's stands for: of those whose newest version lists it the first by key, else the newest
    /// version that ever did.
    pub fn plan_of_price(&self, price: &str) -> Option<&Arc<Plan>> {
        let lists = |plan: &&Arc<Plan>| plan.stripe_prices.iter().any(|listed| listed.as_str() == price);
        let newest =
            self.newest.values().filter_map(|id| self.plans.get(id)).filter(lists).min_by(|a, b| a.key.cmp(&b.key));
        newest.or_else(|| self.plans.values().filter(lists).max_by_key(|plan| plan.id))
    }

    /// The newest version of every plan, by key.
    pub fn plans(&self) -> Vec<&Arc<Plan>> {
        let mut plans: Vec<_> = self.newest.values().filter_map(|id| self.plans.get(id)).collect();
        plans.sort_by(|a, b| a.key.cmp(&b.key));
        plans
    }
}
