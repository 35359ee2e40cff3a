//! What was found of all that were replayed.

use std::collections::BTreeSet;

use metergate_rules::id::{MeterId, OrganizationRef};
use metergate_rules::time::Time;

use super::late::ToldLate;
use super::replayed::Looked;
use super::tally::Tally;
use super::{AsItWas, Question, WhatIfOrganization};
use crate::store::StoreError;
use crate::store::error::EngineError;
use crate::store::reader::ReadError;

/// Organizations that are listed at most: those of which most would have been refused.
const MOST_LISTED: usize = 500;

/// What was found so far.
#[derive(Default)]
pub(super) struct Found {
    pub(super) exact: Tally,
    pub(super) guessed: Tally,
    /// Until when it is estimated, of whom the latest.
    pub(super) until: Option<Time>,
    pub(super) left_out: BTreeSet<MeterId>,
    /// What is not replayed of somebody.
    pub(super) as_it_was: BTreeSet<AsItWas>,
    pub(super) replayed: u64,
    /// Of whom something would have been refused that was not.
    pub(super) refusing: u64,
    /// Of whom calls of language models would have cost more, or less.
    pub(super) charged_otherwise: u64,
    /// Of whom it cannot be said.
    pub(super) failed: u64,
    /// Who was not replayed, since the time was over; about.
    pub(super) unreplayed: u64,
    pub(super) late: ToldLate,
    pub(super) listed: Vec<WhatIfOrganization>,
    pub(super) unlisted: u64,
}

impl Found {
    /// Takes what was found of one. One that cannot be read, or does not fit the terms, holds up no other.
    pub(super) fn note(
        &mut self,
        question: &Question,
        looked: Result<Looked, ReadError>,
        organization: &OrganizationRef,
    ) -> Result<(), ReadError> {
        match looked {
            Ok(looked) => self.add(question, &looked),
            Err(
                error @ (ReadError::Engine(EngineError::Unreadable { .. }) | ReadError::Store(StoreError::Problem(_))),
            ) => {
                tracing::error!(%error, ?organization, "what would have been cannot be said of it");
                self.failed += 1;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn add(&mut self, question: &Question, looked: &Looked) {
        self.replayed += 1;
        self.exact.merge(&looked.exact);
        let mut all = looked.exact.clone();
        if let Some(guess) = &looked.guess {
            self.guessed.merge(&guess.tally);
            self.until = self.until.max(Some(guess.until));
            self.left_out.extend(&guess.left_out);
            self.as_it_was.extend(&question.differing);
            all.merge(&guess.tally);
        }
        if looked.keeps_periods {
            self.as_it_was.insert(AsItWas::Cycle);
        }
        self.late.merge(&looked.late);
        self.charged_otherwise += u64::from(all.charged.was != all.charged.is);
        self.refusing += u64::from(all.counts.refused > 0);
        let differs = all.counts.refused + all.counts.allowed > 0
            || all.beyond != all.beyond_before
            || all.charged.was != all.charged.is
            || looked.late.beyond > 0;
        let is_cut = looked.guess.is_some();
        if differs || all.counts.refused_before > 0 || is_cut || question.organizations.is_some() {
            self.listed.push(WhatIfOrganization::of(question, looked));
        }
        if self.listed.len() >= 2 * MOST_LISTED {
            self.shorten();
        }
    }

    /// Keeps those of which most would have been refused.
    pub(super) fn shorten(&mut self) {
        self.listed.sort_by(|a, b| b.weight().cmp(&a.weight()).then_with(|| a.organization.cmp(&b.organization)));
        self.unlisted += u64::try_from(self.listed.len().saturating_sub(MOST_LISTED)).unwrap_or(u64::MAX);
        self.listed.truncate(MOST_LISTED);
    }
}
