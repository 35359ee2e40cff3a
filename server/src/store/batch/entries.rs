//! Entries of the audit log that a change is about: those of this batch, and those that are durable.

use std::borrow::Cow;

use metergate_rules::command::{Command, Completing, Voiding};
use metergate_rules::decide::Problem;
use metergate_rules::id::OrganizationId;

use super::{Batch, Stop};
use crate::store::audit::{AuditRow, chain_of};
use crate::store::error::EngineError;

impl Batch<'_> {
    /// The command with what the store knows of what it is about.
    pub(super) fn informed<'c>(
        &mut self,
        organization: OrganizationId,
        command: &'c Command,
    ) -> Result<Cow<'c, Command>, Stop> {
        match command {
            Command::Resolve { seq, note, .. } => self.with_note(organization, *seq, note).map(Cow::Owned),
            Command::Commit(asked) => self.with_what_was_said(organization, asked).map(Command::Commit).map(Cow::Owned),
            Command::Adjust(asked) if asked.units < 0 => self.with_room(organization, asked).map(Cow::Owned),
            Command::Reprice(asked) => self.with_room_of_parts(organization, asked).map(Cow::Owned),
            Command::Void(Voiding::Asked(source, id, name)) => {
                let found = self.find_event(organization, source, id, name)?;
                Ok(Cow::Owned(Command::Void(Voiding::Found(found))))
            }
            Command::Complete(Completing::Asked(name, said)) => {
                self.with_record(organization, name, *said).map(Cow::Owned)
            }
            command => Ok(Cow::Borrowed(command)),
        }
    }

    fn with_note(&self, organization: OrganizationId, seq: u64, note: &str) -> Result<Command, Stop> {
        let chain = chain_of(organization);
        if self.audit_entry(chain, seq)?.is_none() {
            return Err(Problem::UnknownEntry.into());
        }
        let before = self.audit_resolution(chain, seq)?.and_then(|row| row.note());
        Ok(Command::Resolve { seq, note: note.to_owned(), before })
    }

    /// The entry that a change is about: the one that was dealt with, and then the one that says so; else the last that it
    /// wrote, where `first` of this batch's were there before.
    pub(super) fn entries_of(
        &self,
        organization: OrganizationId,
        command: &Command,
        first: usize,
    ) -> Result<Vec<AuditRow>, EngineError> {
        let Command::Resolve { seq, .. } = command else {
            return Ok(self.audit[first..].last().cloned().into_iter().collect());
        };
        let chain = chain_of(organization);
        let both = [self.audit_entry(chain, *seq)?, self.audit_resolution(chain, *seq)?];
        Ok(both.into_iter().flatten().collect())
    }

    fn audit_entry(&self, chain: [u8; 16], sequence: u64) -> Result<Option<AuditRow>, EngineError> {
        let is_it = |row: &&AuditRow| row.chain == chain && row.sequence == sequence;
        match self.audit.iter().find(is_it) {
            Some(row) => Ok(Some(row.clone())),
            None => self.rows.audit_entry(chain, sequence),
        }
    }

    fn audit_resolution(&self, chain: [u8; 16], sequence: u64) -> Result<Option<AuditRow>, EngineError> {
        let is_it = |row: &&AuditRow| row.chain == chain && row.resolves() == Some(sequence);
        match self.audit.iter().rfind(is_it) {
            Some(row) => Ok(Some(row.clone())),
            None => self.rows.audit_resolution(chain, sequence),
        }
    }
}
