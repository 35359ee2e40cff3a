//! Writing a commit: one statement a table, all sent together, on the accounts that the turn holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use metergate_rules::account::Account;
use metergate_rules::due::status_name;
use metergate_rules::id::OrganizationId;
use metergate_rules::time::Time;
use uuid::Uuid;

use super::accounts::{Accounts, INSERT_ACCOUNTS};
use super::at_once::values_of_totals;
use super::lock::Believed;
use super::remade::INSERT as INSERT_ROLLUPS;
use super::{Owned, Postgres, Value, at, uuid};
use crate::catalogue::change::TeamRow;
use crate::faults::planted;
use crate::people::PersonRow;
use crate::store::KeptAnswer;
use crate::store::audit::AuditRow;
use crate::store::block::Place;
use crate::store::error::EngineError;
use crate::store::ledger::Head;
use crate::store::message::MessageRow;
use crate::store::receipt::ReceiptRow;
use crate::store::rollup::{Carried, Day, RollupKey, ValueKey};
use crate::store::stripe::StripeRow;
use crate::store::totals::Totals;

/// What a commit makes of one organization.
pub(in crate::store) struct Changed {
    /// The account after it.
    pub(in crate::store) account: Arc<Account>,
    /// What its row carries then.
    pub(in crate::store) carried: Arc<Carried>,
    /// The version on which was decided; none where the organization is new.
    pub(in crate::store) seen: Option<i64>,
    /// Its last block.
    pub(in crate::store) sequence: u64,
    /// The end of its audit chain.
    pub(in crate::store) head: Head,
    /// What happened, unless that is nothing that its journal keeps.
    pub(in crate::store) block: Option<Vec<u8>>,
    /// Whether it changes what organizations are listed by.
    pub(in crate::store) listed: bool,
}

impl Changed {
    /// The version that the row has after the commit.
    pub(in crate::store) fn version(&self) -> i64 {
        self.seen.unwrap_or(0) + 1
    }
}

/// Everything that one commit writes.
#[derive(Default)]
pub(in crate::store) struct Commit<'a> {
    /// Its time.
    pub(in crate::store) at: Time,
    /// The organizations, by id.
    pub(in crate::store) changed: Vec<Changed>,
    /// Accounts that were not locked and do not change, which must have these versions still.
    pub(in crate::store) trusted: Vec<(OrganizationId, i64)>,
    /// Ids with the hash and the place under which they are found.
    pub(in crate::store) ids: Vec<(OrganizationId, u64, Place)>,
    /// What is added to rollups and values.
    pub(in crate::store) rollups: BTreeMap<RollupKey, Day>,
    /// How often values were seen.
    pub(in crate::store) values: BTreeMap<ValueKey, i64>,
    /// What is added to use of all organizations together, in which part.
    pub(in crate::store) totals: (i16, Totals),
    /// What the audit log keeps.
    pub(in crate::store) audit: &'a [AuditRow],
    /// Answers that were kept before are not given any more.
    pub(in crate::store) forgotten: Time,
    /// Answers to keep.
    pub(in crate::store) receipts: &'a [KeptAnswer],
    /// What is the team's.
    pub(in crate::store) team: &'a [TeamRow],
    /// People.
    pub(in crate::store) people: &'a [PersonRow],
    /// What webhook endpoints are told.
    pub(in crate::store) messages: &'a [MessageRow],
    /// What Stripe told.
    pub(in crate::store) stripe: &'a [StripeRow],
    /// The end of the team's audit chain, if that moves.
    pub(in crate::store) team_head: Option<Head>,
    /// The organization that it deletes.
    pub(in crate::store) deleted: Option<OrganizationId>,
    /// What nobody has looked at before it was decided.
    pub(in crate::store) believed: Option<Believed>,
}

/// What PostgreSQL told of a commit.
#[derive(Debug, Default)]
pub(in crate::store) struct Told {
    /// What the team's row says after it of catalogue and people, if that has changed.
    pub(in crate::store) epochs: Option<(i64, i64)>,
    /// What the time was, if nobody had asked for it before.
    pub(in crate::store) now: Option<Time>,
}

macro_rules! insert_blocks {
    ($conflict:literal) => {
        concat!(
            "INSERT INTO blocks (organization, sequence, at, data)
             SELECT k.organization, k.sequence, $3::bigint, k.data
             FROM unnest($1::uuid[], $2::bigint[], $4::bytea[]) AS k(organization, sequence, data) ",
            $conflict
        )
    };
}
const INSERT_BLOCKS: &str = insert_blocks!("");
/// Where another node has written one, its own is not seen to be missing: what a planted bug does.
const INSERT_SOME_BLOCKS: &str = insert_blocks!("ON CONFLICT DO NOTHING");
const INSERT_IDS: &str = "
    INSERT INTO event_ids (organization, hash, sequence, place, at)
    SELECT k.organization, k.hash, k.sequence, k.place, $5::bigint
    FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[]) AS k(organization, hash, sequence, place)";
const ADD_VALUES: &str = "
    INSERT INTO unique_values AS v (organization, meter, value, bucket, count)
    SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bytea[], $4::bigint[], $5::bigint[])
    ON CONFLICT (organization, meter, value, bucket) DO UPDATE SET count = v.count + excluded.count";
const ADD_TOTALS: &str = "
    INSERT INTO fleet_usage AS f (part, meter, day, count, sum, max)
    SELECT $1::smallint, k.meter, k.day, k.count, k.sum, k.max
    FROM unnest($2::bigint[], $3::integer[], $4::bigint[], $5::bigint[], $6::bigint[]) AS k(meter, day, count, sum, max)
    ORDER BY k.meter, k.day
    ON CONFLICT (part, meter, day) DO UPDATE
    SET count = f.count + excluded.count, sum = f.sum + excluded.sum, max = greatest(f.max, excluded.max)";
const DELETE_LISTED: &str = "DELETE FROM organizations WHERE organization = ANY($1)";
/// In the order of their keys, so that two nodes that make several wait for each other one way only.
const INSERT_LISTED: &str = "
    INSERT INTO organizations (organization, key, name, plan, status, locked, created_at, subscription, customer)
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::boolean[], $7::bigint[], $8::text[],
                         $9::text[])
        AS k(organization, key, name, plan, status, locked, created_at, subscription, customer) ORDER BY k.key";

impl Postgres {
    /// Writes a commit, and makes it durable.
    ///
    /// # Errors
    /// [`EngineError::Contended`] where another node was in the way, [`EngineError::Unknown`] where the end of the commit
    /// cannot be known.
    pub(in crate::store) fn write(&self, commit: &Commit<'_>) -> Result<Told, EngineError> {
        let locked = commit.changed.iter().map(|changed| (changed.account.id, changed.seen.unwrap_or(0))).collect();
        if let Some(believed) = &commit.believed {
            if let Some(now) = self.write_at_once(commit, believed, &locked)? {
                return Ok(Told { epochs: None, now: Some(now) });
            }
            self.is_as_believed(believed)?;
        }
        let changed = commit.changed.iter().map(|changed| changed.account.id);
        let noted = commit.audit.iter().map(|row| OrganizationId(row.chain));
        let answered = commit.receipts.iter().map(|kept| OrganizationId(kept.scope));
        let told = commit.messages.iter().map(|message| message.organization);
        let trusted = commit.trusted.iter().map(|(id, _)| *id);
        self.name(changed.chain(noted).chain(answered).chain(told).chain(commit.deleted).chain(trusted));
        let rollups = self.grown(&commit.rollups, &locked)?;
        self.are_same(&commit.trusted);
        self.write_old(&commit.changed)?;
        self.write_listed(&commit.changed);
        self.write_new(commit)?;
        if !rollups.is_empty() {
            self.later(INSERT_ROLLUPS, rollups.clone().into_values());
        }
        self.write_derived(commit);
        self.write_audit(commit);
        self.write_messages(commit.messages, commit.at);
        commit.people.iter().try_for_each(|row| self.write_person(row, commit.at))?;
        commit.stripe.iter().for_each(|row| self.write_stripe(row));
        commit.team.iter().try_for_each(|row| self.write_team(row, commit.at))?;
        if changed_of_team(commit) != (0, 0) {
            self.tell_nodes();
        }
        let epochs = self.write_guarded(commit)?;
        if let Some(organization) = commit.deleted {
            self.delete(organization, commit.at)?;
        }
        fail_here()?;
        self.commit()?;
        self.kept.borrow_mut().take_in(&locked, rollups);
        Ok(Told { epochs, now: None })
    }

    /// New accounts, and of all accounts blocks and ids.
    pub(super) fn write_new(&self, commit: &Commit<'_>) -> Result<(), EngineError> {
        let mut new = Accounts::default();
        let (mut owners, mut sequences, mut blocks) = (Vec::new(), Vec::new(), Vec::new());
        for changed in &commit.changed {
            if changed.seen.is_none() {
                new.push(changed)?;
            }
            if let Some(block) = &changed.block {
                owners.push(uuid(changed.account.id));
                sequences.push(changed.sequence.cast_signed());
                blocks.push(block.clone());
            }
        }
        let at = commit.at.micros();
        if !new.ids.is_empty() {
            self.later(INSERT_ACCOUNTS, new.into_values());
        }
        if !blocks.is_empty() {
            let sql = if planted("lock-not-taken") { INSERT_SOME_BLOCKS } else { INSERT_BLOCKS };
            self.later(sql, owned![owners, sequences, at, blocks]);
        }
        if !commit.ids.is_empty() {
            let ids: Vec<Uuid> = commit.ids.iter().map(|(id, ..)| uuid(*id)).collect();
            let hashes: Vec<i64> = commit.ids.iter().map(|(_, hash, _)| hash.cast_signed()).collect();
            let in_blocks: Vec<i64> = commit.ids.iter().map(|(.., place)| place.sequence.cast_signed()).collect();
            let offsets: Vec<i64> = commit.ids.iter().map(|(.., place)| i64::from(place.offset)).collect();
            self.later(INSERT_IDS, owned![ids, hashes, in_blocks, offsets, at]);
        }
        Ok(())
    }

    /// What is looked at once it is written: answers that nobody else has kept meanwhile. Everything that waits goes out with it.
    fn write_guarded(&self, commit: &Commit<'_>) -> Result<Option<(i64, i64)>, EngineError> {
        let kept: Vec<_> = commit.receipts.iter().map(|kept| kept_values(kept, commit)).collect();
        let team = team_values(commit);
        let mut asked: Vec<(&'static str, Vec<Value<'_>>)> = Vec::new();
        asked.extend(
            kept.iter().map(|values| (KEEP_ANSWER, values.iter().map(|value| &**value as Value<'_>).collect())),
        );
        asked.extend(
            team.iter().map(|values| (UPDATE_TEAM, values.iter().map(|value| &**value as Value<'_>).collect())),
        );
        let mut rows = self.together(&asked)?.into_iter();
        if rows.by_ref().take(kept.len()).any(|rows| rows.is_empty()) {
            return Err(EngineError::Contended("an answer was kept under the same key".to_owned()));
        }
        let team = rows.next().and_then(|mut rows| rows.pop());
        team.map(|row| Ok((at(&row, 0)?, at(&row, 1)?))).transpose()
    }

    pub(super) fn write_derived(&self, commit: &Commit<'_>) {
        if !commit.values.is_empty() {
            let keys = || commit.values.keys();
            let ids: Vec<Uuid> = keys().map(|key| uuid(key.organization)).collect();
            let meters: Vec<i64> = keys().map(|key| i64::from(key.meter.0)).collect();
            let values: Vec<Vec<u8>> = keys().map(|key| key.value.0.to_vec()).collect();
            let buckets: Vec<i64> = keys().map(|key| key.bucket.micros()).collect();
            let counts: Vec<i64> = commit.values.values().copied().collect();
            self.later(ADD_VALUES, owned![ids, meters, values, buckets, counts]);
        }
        if commit.totals.1.iter().next().is_some() {
            self.later(ADD_TOTALS, values_of_totals(commit.totals.0, &commit.totals.1));
        }
    }

    /// All old rows go first: one organization may take the key that another leaves in the same commit.
    pub(super) fn write_listed(&self, changed: &[Changed]) {
        let listed = || changed.iter().filter(|changed| changed.listed).map(|changed| &changed.account);
        let ids: Vec<Uuid> = listed().map(|account| uuid(account.id)).collect();
        if ids.is_empty() {
            return;
        }
        let keys: Vec<String> = listed().map(|account| account.profile.key.to_string()).collect();
        let names: Vec<String> = listed().map(|account| account.profile.name.clone()).collect();
        let plans: Vec<i64> = listed().map(|account| i64::from(account.plan.0)).collect();
        let statuses: Vec<&'static str> = listed().map(|account| status_name(account.status)).collect();
        let locked: Vec<bool> = listed().map(|account| !account.locks.is_empty()).collect();
        let created: Vec<i64> = listed().map(|account| account.profile.created_at.micros()).collect();
        self.later(DELETE_LISTED, owned![ids.clone()]);
        let known = || listed().map(|account| account.subscription.as_deref());
        let subscriptions: Vec<Option<String>> = known().map(|known| Some(known?.id.as_ref()?.to_string())).collect();
        let customers: Vec<Option<String>> = known().map(|known| Some(known?.customer.as_ref()?.to_string())).collect();
        self.later(INSERT_LISTED, owned![ids, keys, names, plans, statuses, locked, created, subscriptions, customers]);
    }

    fn write_audit(&self, commit: &Commit<'_>) {
        for row in commit.audit {
            let sql = "INSERT INTO audit (organization, sequence, at, actor, action, category, before, after, details, reason,
                           salt, hash) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
            let (chain, sequence, at) = (uuid(OrganizationId(row.chain)), row.sequence.cast_signed(), row.at.micros());
            let AuditRow { actor, action, category, before, after, details, reason, .. } = row.clone();
            let (salt, hash) = (row.salt.to_vec(), row.hash.to_vec());
            let values =
                owned![chain, sequence, at, actor, action, category, before, after, details, reason, salt, hash];
            self.later(sql, values);
            if let Some(resolved) = row.resolves() {
                let sql = "INSERT INTO audit_resolutions (organization, sequence, resolution) VALUES ($1, $2, $3)
                           ON CONFLICT (organization, sequence) DO UPDATE SET resolution = $3";
                self.later(sql, owned![chain, resolved.cast_signed(), sequence]);
            }
            if let Some((cut, _)) = row.dropped() {
                let sql =
                    "INSERT INTO audit_checkpoints (organization, sequence, entry, dropping) VALUES ($1, $2, $3, true)
                           ON CONFLICT (organization) DO UPDATE SET sequence = $2, entry = $3, dropping = true";
                self.later(sql, owned![chain, cut.sequence.cast_signed(), sequence]);
            }
        }
    }
}

/// A row that is there is too old to be given again; else another node has just made it, and this one finds no row.
const KEEP_ANSWER: &str = "
    INSERT INTO receipts (organization, route, key, at, fingerprint, status, body, about)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (organization, route, key) DO UPDATE
    SET at = $4, fingerprint = $5, status = $6, body = $7, about = $8 WHERE receipts.at < $9 RETURNING 1";

fn kept_values(kept: &KeptAnswer, commit: &Commit<'_>) -> Vec<Owned> {
    let row = ReceiptRow::keeping(kept, commit.at);
    let (scope, about, body) = (uuid(OrganizationId(row.scope)), kept.about.map(uuid), row.sealed());
    let (fingerprint, status) = (row.fingerprint.cast_signed(), i32::from(row.answer.status));
    let (at, forgotten) = (row.at.micros(), commit.forgotten.micros());
    owned![scope, row.route, row.key, at, fingerprint, status, body, about, forgotten]
}

/// Tells all nodes what has changed.
const UPDATE_TEAM: &str = "
    UPDATE team SET catalogue = catalogue + $1::bigint, people = people + $2::bigint,
        audit_sequence = coalesce($3::bigint, audit_sequence), audit_hash = coalesce($4::bytea, audit_hash)
    RETURNING catalogue, people";

/// By how much a commit raises the numbers of the catalogue and of people, which nodes compare.
fn changed_of_team(commit: &Commit<'_>) -> (i64, i64) {
    let is_of_catalogue = |row: &TeamRow| !matches!(row, TeamRow::Import(_) | TeamRow::Resent(_));
    (i64::from(commit.team.iter().any(is_of_catalogue)), i64::from(!commit.people.is_empty()))
}

/// What changes in the team's row, if anything does.
fn team_values(commit: &Commit<'_>) -> Option<Vec<Owned>> {
    let (catalogue, people) = changed_of_team(commit);
    let end = commit.team_head.map(|head| head.sequence.cast_signed());
    let hash = commit.team_head.map(|head| head.hash.to_vec());
    (catalogue + people > 0 || end.is_some()).then(|| owned![catalogue, people, end, hash])
}

/// Where the tests make a commit fail.
pub(super) fn fail_here() -> Result<(), EngineError> {
    fail::fail_point!("commit-fails", |_| Err(EngineError::Unusable("a planted failure".to_owned())));
    Ok(())
}
