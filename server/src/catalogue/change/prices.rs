//! Prices of language models' tokens: the whole table in one version after the other.

use metergate_rules::audit::Fields;
use metergate_rules::time::Span;

use super::{Changing, Decided, TeamReply, TeamRow, unknown, unprocessable};
use crate::catalogue::price::{self, PriceList, PriceSpec, StoredPrices};
use crate::store::StoreError;

/// Pricing again what was charged for tokens.
#[derive(Clone, Debug)]
pub struct Recompute {
    /// What was used in this time.
    pub span: Span,
    /// By whom, as they were named: by all where nobody is.
    pub organizations: Vec<String>,
    /// With which models: all where none is named.
    pub models: Vec<String>,
    /// Why it cannot be begun, unless it was before.
    pub refused: Option<StoreError>,
}

impl Changing<'_> {
    /// What it changes stands in the audit logs of the organizations.
    pub(super) fn recompute(&self, begun: &Recompute) -> Decided {
        if let Some(error) = &begun.refused {
            return Err(error.clone());
        }
        let mut after =
            Fields::default().with("recompute", true).with("from", begun.span.start).with("to", begun.span.end);
        if !begun.organizations.is_empty() {
            after = after.with("organizations", begun.organizations.clone());
        }
        if !begun.models.is_empty() {
            after = after.with("models", begun.models.clone());
        }
        Ok((TeamReply::RecomputeBegun, self.draft("price.change", "config", Fields::default(), after)))
    }

    /// `version`: only if it still is this one.
    pub(super) fn put_prices(&mut self, prices: &[PriceSpec], version: Option<u64>) -> Decided {
        let old = self.stored.prices.clone();
        if version.is_some_and(|version| version != old.version) {
            return Err(StoreError::Changed);
        }
        if *old.prices == *prices {
            return Ok((TeamReply::Prices, None));
        }
        self.write_prices(prices.to_vec())?;
        let without = |some: &[PriceSpec], others: &[PriceSpec]| {
            some.iter().filter(|price| !others.contains(price)).map(PriceSpec::line).collect::<Vec<_>>()
        };
        let told = |version: u64, lines: Vec<String>| {
            Fields::default().with("version", i64::try_from(version).unwrap_or(i64::MAX)).with("prices", lines)
        };
        let before = told(old.version, without(&old.prices, prices));
        let after = told(self.stored.prices.version, without(prices, &old.prices));
        Ok((TeamReply::Prices, self.draft("price.change", "config", before, after)))
    }

    pub(super) fn patch_prices(&mut self, set: &[PriceSpec], remove: &[PriceSpec]) -> Decided {
        let mut all = self.stored.prices.prices.to_vec();
        for (i, gone) in remove.iter().enumerate() {
            gone.price(&format!("#/remove/{i}")).map_err(unprocessable)?;
            let Some(place) = all.iter().position(|price| price.names_the_same(gone)) else {
                return unknown("unknown-price", "price");
            };
            all.remove(place);
        }
        price::checked(set).map_err(|error| unprocessable(error.below("#/prices", "#/set")))?;
        let all = price::merged(&all, set).map_err(unprocessable)?;
        if let Err(mut error) = price::table(&all) {
            // What is wrong with the whole of it comes of what is set, or of what is removed.
            let place = set.iter().position(|price| error.detail.starts_with(&price.label()));
            error.pointer = place.map_or_else(|| "#/remove".to_owned(), |i| format!("#/set/{i}/inputAbove"));
            return Err(unprocessable(error));
        }
        self.put_prices(&all, None)
    }

    /// Adds the prices of a file, each in the place of the one that it changes. What differs, a line each.
    pub(super) fn merge_prices(&mut self, more: &[PriceSpec]) -> Result<Vec<String>, StoreError> {
        let old = &self.stored.prices.prices;
        let differing: Vec<String> = more.iter().filter(|price| !old.contains(price)).map(PriceSpec::line).collect();
        if !differing.is_empty() {
            price::checked(more).map_err(unprocessable)?;
            let all = price::merged(old, more).map_err(unprocessable)?;
            self.write_prices(all)?;
        }
        Ok(differing)
    }

    fn write_prices(&mut self, prices: Vec<PriceSpec>) -> Result<(), StoreError> {
        let prices = PriceList::from(prices);
        prices.table().map_err(unprocessable)?;
        let version = self.stored.prices.version + 1;
        self.stored.prices = StoredPrices { version, prices, changed_at: Some(self.now) };
        self.rows.push(TeamRow::Prices(self.stored.prices.clone()));
        Ok(())
    }
}
