//! What uses of tokens are charged that were priced again before: each by the last table and markup by which it was.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use metergate_rules::account::Account;
use metergate_rules::outcome::PricedAgain;
use metergate_rules::price::{Cost, LlmUse, PriceTable};
use metergate_rules::time::{Span, Time};

use crate::catalogue::Snapshot;
use crate::catalogue::price::table;
use crate::store::error::{EngineError, unreadable};
use crate::store::rows::Rows;

/// A use of tokens, as far as it decides by which prices it was priced again.
#[derive(Clone, Copy)]
pub struct Priced<'a> {
    /// Where it stands in the journal: block and offset.
    pub place: (u64, u32),
    /// When it was recorded.
    pub recorded_at: Time,
    /// When it was used.
    pub time: Time,
    /// What was said of it.
    pub llm: &'a LlmUse,
}

/// How a time was priced again, with the tables by which that was done and that are not in force any more.
pub struct Earlier {
    /// In order: the last that has a use counts.
    all: Vec<PricedAgain>,
    tables: BTreeMap<u64, PriceTable>,
}

impl Earlier {
    /// What concerns a time.
    ///
    /// # Errors
    /// [`EngineError`] where a table cannot be read.
    pub fn of(account: &Account, span: Span, snapshot: &Snapshot, rows: &dyn Rows) -> Result<Self, EngineError> {
        let concerns = |one: &&PricedAgain| one.span.start < span.end && span.start < one.span.end;
        let all: Vec<PricedAgain> = account.priced_again.iter().filter(concerns).cloned().collect();
        let mut tables = BTreeMap::new();
        for version in all.iter().map(|one| one.table).filter(|version| *version != snapshot.stored.prices.version) {
            if let Entry::Vacant(place) = tables.entry(version) {
                let missing = |why: &str| unreadable(format!("version {version} of the prices"), why);
                let stored = rows.prices(version)?.ok_or_else(|| missing("it is not there"))?;
                place.insert(table(&stored.prices).map_err(|error| missing(&error.detail))?);
            }
        }
        Ok(Self { all, tables })
    }

    /// What a use is charged since it was last priced again; `None` where it never was.
    pub fn cost(&self, of: Priced<'_>, snapshot: &Snapshot) -> Option<Cost> {
        let last = self.all.iter().rfind(|one| one.has(of.time, &of.llm.model, of.recorded_at))?;
        let table = self.tables.get(&last.table).unwrap_or_else(|| snapshot.rules.prices());
        // A cost that is out of range was not recorded.
        table.cost(of.llm, of.time, last.markup(of.place)).ok()
    }
}
