//! A turn that is written by one call: it only adds to accounts that are there, and nobody has asked PostgreSQL anything before.
//!
//! What such a turn believes (versions, the team's row, the time) the function `write_turn` looks at behind its writes, and
//! raises an error where it is not so. A statement alone is a transaction, so nothing of it has happened then.

use std::collections::HashMap;

use metergate_rules::id::OrganizationId;
use metergate_rules::time::Time;
use uuid::Uuid;

use super::accounts::Accounts;
use super::lock::{Believed, STEPPED};
use super::patience::TURN;
use super::rollups::Written;
use super::write::{Commit, fail_here};
use super::{BEGIN, Owned, Postgres, SCHEMA, Value, at, uuid};
use crate::faults::planted;
use crate::store::error::EngineError;
use crate::store::totals::Totals;

const WRITE: &str = "
    SELECT write_turn($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24,
                      $25, $26, $27, $28, $29, $30)";
/// What it raises where the team's row, the session or the time is not what was believed.
pub(super) const OUTRUN: &str = "MG001";
/// These are seen in what the longer way does.
const LONGER: [&str; 2] = ["lock-not-taken", "epochs-unseen"];

impl Commit<'_> {
    /// Whether it only adds to accounts that are there.
    fn only_adds(&self) -> bool {
        let of_accounts =
            self.ids.is_empty() && self.values.is_empty() && self.audit.is_empty() && self.receipts.is_empty();
        let of_others =
            self.messages.is_empty() && self.stripe.is_empty() && self.team.is_empty() && self.people.is_empty();
        let is_usual = self.changed.iter().all(|changed| changed.seen.is_some() && !changed.listed);
        of_accounts && of_others && is_usual && self.team_head.is_none() && self.deleted.is_none()
    }

    /// The accounts that it changes or trusts, comma-separated.
    fn named(&self) -> String {
        let changed = self.changed.iter().map(|changed| changed.account.id);
        let mut named = String::new();
        for id in changed.chain(self.trusted.iter().map(|(id, _)| *id)) {
            if !named.is_empty() {
                named.push(',');
            }
            named.push_str(&id.to_string());
        }
        named
    }
}

impl Postgres {
    /// Writes a commit at once and makes it durable. What PostgreSQL's clock said then; nothing where it takes more than that.
    ///
    /// # Errors
    /// [`EngineError::Outrun`] where what was believed is not so, else as [`Self::write`].
    pub(super) fn write_at_once(
        &self,
        commit: &Commit<'_>,
        believed: &Believed,
        locked: &HashMap<OrganizationId, i64>,
    ) -> Result<Option<Time>, EngineError> {
        let has_asked = !matches!(&self.waiting.borrow()[..], [only] if only.sql == BEGIN);
        if has_asked || !commit.only_adds() || LONGER.iter().any(|bug| planted(bug)) {
            return Ok(None);
        }
        let mut rollups = Written::default();
        if !self.added_to_kept(&commit.rollups, locked, &mut rollups)?.is_empty() {
            return Ok(None);
        }
        fail_here()?;
        let values = self.values_of(commit, believed, &rollups)?;
        let now = match self.call(&values) {
            Err(EngineError::Unknown(_)) if planted("answer-before-commit") => believed.now,
            called => called?,
        };
        self.waiting.borrow_mut().clear();
        self.kept.borrow_mut().take_in(locked, rollups);
        Ok(Some(now))
    }

    fn values_of(
        &self,
        commit: &Commit<'_>,
        believed: &Believed,
        rollups: &Written,
    ) -> Result<Vec<Owned>, EngineError> {
        let mut accounts = Accounts::default();
        commit.changed.iter().try_for_each(|changed| accounts.push(changed))?;
        let blocks: Vec<Option<Vec<u8>>> = commit.changed.iter().map(|changed| changed.block.clone()).collect();
        let trusted = if planted("trusted-unseen") { &[][..] } else { &commit.trusted };
        let (same, versions): (Vec<Uuid>, Vec<i64>) = trusted.iter().map(|(id, version)| (uuid(*id), *version)).unzip();
        let mut values = owned![commit.named()];
        values.extend(accounts.into_values());
        values.extend(owned![blocks, same, versions]);
        values.extend(rollups.clone().into_values());
        values.extend(values_of_totals(commit.totals.0, &commit.totals.1));
        let (catalogue, people) = believed.epochs;
        let (at, decided) = (commit.at.micros(), believed.now.micros());
        values.extend(owned![at, decided, TURN, STEPPED, catalogue, people, SCHEMA.cast_signed(), self.mark.clone()]);
        Ok(values)
    }

    fn call(&self, values: &[Owned]) -> Result<Time, EngineError> {
        let statement = self.prepared(WRITE)?;
        if self.has_ended() {
            return Err(EngineError::Unreachable("the connection has ended".to_owned()));
        }
        self.leave_time_to_commit();
        let values: Vec<Value<'_>> = values.iter().map(|value| &**value as Value<'_>).collect();
        let row = self.end_of(self.answered(self.client.query_one(&statement, &values)))?;
        at(&row, 0).map(Time::from_micros)
    }
}

/// What is added to use of all organizations together, in which part.
pub(super) fn values_of_totals(part: i16, totals: &Totals) -> Vec<Owned> {
    let meters: Vec<i64> = totals.iter().map(|((meter, _), _)| i64::from(meter.0)).collect();
    let days: Vec<i32> = totals.iter().map(|((_, day), _)| day).collect();
    let counts: Vec<i64> = totals.iter().map(|(_, slot)| slot.count).collect();
    let sums: Vec<i64> = totals.iter().map(|(_, slot)| slot.sum).collect();
    let peaks: Vec<i64> = totals.iter().map(|(_, slot)| slot.max).collect();
    owned![part, meters, days, counts, sums, peaks]
}
