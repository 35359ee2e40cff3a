//! What whole days came to, as the rows have it.

use std::collections::HashMap;

use metergate_rules::id::MeterId;

use super::{ReadError, View};
use crate::store::rollup::Slot;
use crate::store::rows::MeterDays;

/// What each meter's days came to, in order.
pub type DayTotals = HashMap<MeterId, Vec<(i32, Slot)>>;

impl View<'_> {
    /// What meters' days came to by the rows. `None` where the engine keeps no totals, so that the rows of rollups are to be read.
    ///
    /// # Errors
    /// [`ReadError::Engine`] if it cannot be read.
    pub fn day_totals(&self, asked: &MeterDays) -> Result<Option<DayTotals>, ReadError> {
        let mut totals = DayTotals::new();
        let are_kept = self.rows.each_day_total(asked, &mut |meter, day, total| {
            totals.entry(meter).or_default().push((day, total));
        })?;
        Ok(are_kept.then_some(totals))
    }
}
