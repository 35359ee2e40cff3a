//! All prices, read once however often the team changes something else.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use metergate_rules::price::PriceTable;
use serde::Deserialize;

use super::{PriceSpec, table};
use crate::catalogue::spec::Invalid;

/// The prices as they are written, in the order in which they are shown, and the table that they make. Copies share both.
#[derive(Clone, Default, Deserialize)]
#[serde(from = "Vec<PriceSpec>")]
pub struct PriceList(Arc<List>);

#[derive(Default)]
struct List {
    specs: Vec<PriceSpec>,
    table: OnceLock<Arc<PriceTable>>,
}

impl PriceList {
    /// Their table, made at the first call.
    ///
    /// # Errors
    /// [`Invalid`] as of [`table`](table()).
    pub fn table(&self) -> Result<Arc<PriceTable>, Invalid> {
        if let Some(made) = self.0.table.get() {
            return Ok(Arc::clone(made));
        }
        let made = Arc::new(table(&self.0.specs)?);
        Ok(Arc::clone(self.0.table.get_or_init(|| made)))
    }

    /// The same, sharing what is known of these where they are the same prices.
    #[must_use]
    pub fn or_known(self, known: &Self) -> Self {
        if self == *known { known.clone() } else { self }
    }
}

impl From<Vec<PriceSpec>> for PriceList {
    fn from(specs: Vec<PriceSpec>) -> Self {
        Self(Arc::new(List { specs, table: OnceLock::new() }))
    }
}

impl Deref for PriceList {
    type Target = [PriceSpec];

    fn deref(&self) -> &[PriceSpec] {
        &self.0.specs
    }
}

impl PartialEq for PriceList {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.specs == other.0.specs
    }
}

impl Eq for PriceList {}

impl fmt::Debug for PriceList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.specs.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::{Snapshot, Stored};

    fn list(input: u32) -> PriceList {
        let price = format!(r#"[{{"model": "m", "effectiveFrom": "2026-01-01", "input": {input}}}]"#);
        serde_json::from_str(&price).unwrap()
    }

    #[test]
    fn the_table_is_made_once_for_all_that_have_the_same_prices() {
        let mut stored = Stored::default();
        stored.prices.prices = list(1);
        let made = |stored: &Stored| Snapshot::new(stored.clone()).unwrap();
        let (first, second) = (made(&stored), made(&stored));
        assert!(std::ptr::eq(first.rules.prices(), second.rules.prices()));
        // As where another node has changed something: all is read again.
        stored.prices.prices = list(1).or_known(&first.stored.prices.prices);
        assert!(std::ptr::eq(first.rules.prices(), made(&stored).rules.prices()));
        stored.prices.prices = list(2).or_known(&first.stored.prices.prices);
        assert!(!std::ptr::eq(first.rules.prices(), made(&stored).rules.prices()));
        assert_ne!(list(1), list(2));
    }

    #[test]
    fn prices_that_make_no_table_are_told_each_time() {
        let twice: PriceList = [&list(1)[..], &list(2)[..]].concat().into();
        for _ in 0..2 {
            assert_eq!(twice.table().unwrap_err().pointer, "#/prices/1");
        }
    }
}
