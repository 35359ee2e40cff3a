//! What the rows lack, put together with what they have.

use std::sync::Arc;

use metergate_rules::id::{MeterId, OrganizationId};
use metergate_rules::time::{Span, Time};

use super::{ReadError, View};
use crate::store::dirty::DirtyAccount;
use crate::store::error::EngineError;
use crate::store::rollup::{Day, Rollups, ValueKey};
use crate::store::rows::RollupRange;

impl View<'_> {
    /// What the rows of an organization lacked when this snapshot was taken, or a moment before.
    pub(super) fn dirty(&self, organization: OrganizationId) -> Result<Option<Arc<DirtyAccount>>, EngineError> {
        if !self.dirty.unread().has(organization) {
            return Ok(self.dirty.get(organization).map(Arc::clone));
        }
        if let Some(known) = self.looked_at.borrow().get(&organization) {
            return Ok(known.clone());
        }
        let lacking = self.dirty.unread().read(self.rows, organization)?.map(Arc::new);
        self.looked_at.borrow_mut().insert(organization, lacking.clone());
        Ok(lacking)
    }

    /// What the rows of an organization lack.
    pub(super) fn lacking(&self, organization: OrganizationId) -> Result<Option<Arc<DirtyAccount>>, ReadError> {
        let Some(dirty) = self.dirty(organization)? else { return Ok(None) };
        let held = self.rows.account_sequence(organization)?;
        Ok(held.is_none_or(|held| held < dirty.sequence).then_some(dirty))
    }

    /// What the rows of such a range lack, in order. Dimension sets beyond the cap of a day stand under the name that they
    /// will have.
    ///
    /// # Errors
    /// [`ReadError::Engine`] if it cannot be read.
    pub fn lacking_rollups(&self, range: &RollupRange) -> Result<Vec<(i32, String, Day)>, ReadError> {
        let of = |rollups: &Rollups| rollups.of(range.meter, range.first, range.last);
        let rollups = match self.lacking(range.organization)? {
            Some(dirty) => of(&dirty.derived.rollups),
            None => {
                let carried = self.carried(range.organization)?;
                of(&carried)
            }
        };
        let (mut lacking, mut new) = (Vec::new(), (i32::MIN, 0));
        for (key, slots) in rollups {
            new = if new.0 == key.day { new } else { (key.day, 0) };
            let (dimensions, stored) = self.rows.find_rollup(&key, new.1)?;
            new.1 += i64::from(stored.is_none());
            lacking.push((key.day, dimensions.to_owned(), slots));
        }
        Ok(lacking)
    }

    /// What the row of an account carries.
    fn carried(&self, organization: OrganizationId) -> Result<Arc<Rollups>, ReadError> {
        if let Some((of, known)) = &*self.carried.borrow()
            && *of == organization
        {
            return Ok(Arc::clone(known));
        }
        let carried = Arc::new(self.rows.carried(organization)?);
        *self.carried.borrow_mut() = Some((organization, Arc::clone(&carried)));
        Ok(carried)
    }

    /// The values that a meter saw in a span, each with the bucket in which it was seen, in order of both.
    ///
    /// # Errors
    /// [`ReadError::Engine`] if it cannot be read.
    pub fn values(
        &self,
        organization: OrganizationId,
        meter: MeterId,
        span: Span,
        mut each: impl FnMut(Time, [u8; 16]),
    ) -> Result<(), ReadError> {
        let in_span = |key: &ValueKey| key.meter == meter && span.contains(key.bucket);
        let dirty = self.lacking(organization)?;
        let lacking = dirty.iter().flat_map(|dirty| dirty.derived.values.iter()).filter(|(key, _)| in_span(key));
        let mut lacking: Vec<_> = lacking.map(|(key, count)| ((key.bucket, key.value.0), *count)).collect();
        lacking.sort_unstable();
        let mut lacking = lacking.into_iter().peekable();
        let mut put = |(bucket, value), count: i64| {
            if count > 0 {
                each(bucket, value)
            }
        };
        self.rows.each_value(organization, meter, span, &mut |bucket, value, count| {
            let row = (bucket, value);
            while let Some((key, count)) = lacking.next_if(|(key, _)| *key < row) {
                put(key, count);
            }
            let more = lacking.next_if(|(key, _)| *key == row).map_or(0, |(_, more)| more);
            put(row, count + more);
        })?;
        lacking.for_each(|(key, count)| put(key, count));
        Ok(())
    }

    /// Whether a value was seen in `[from.bucket, to)`.
    ///
    /// # Errors
    /// [`ReadError::Engine`] if it cannot be read.
    pub fn has_value(&self, from: ValueKey, to: Time) -> Result<bool, ReadError> {
        let lacking = self.lacking(from.organization)?;
        let mut beside = lacking.iter().flat_map(|dirty| dirty.derived.counts(from, to));
        Ok(self.rows.is_seen(from, to, &mut beside)?)
    }
}
