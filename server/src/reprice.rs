//! What was charged for language models' tokens, priced again from the records by today's table (M9): first only said, then
//! recorded as adjustments. What earlier runs have adjusted is known from the records too, so that a second run changes nothing.
//!
//! One organization after the other, each read step by step beside everything else. Its corrections count only if nobody has
//! changed anything of it since it was read; else it is read again.

use std::collections::BTreeMap;
use std::sync::Arc;

use metergate_rules::command::{Command, Repriced as Part, Repricing};
use metergate_rules::decide::reprice::MOST_PARTS;
use metergate_rules::id::{OrganizationId, OrganizationKey, OrganizationRef};
use metergate_rules::price::Pattern;
use metergate_rules::time::{MINUTE, Span, Time};

use crate::backup::Watch;
use crate::catalogue::Snapshot;
use crate::store::{Answer, Caller, ChangeRequest, Port, Receipt, Request, Scope, Store, StoreError};

pub mod earlier;
mod figures;
mod plans;
mod scan;

pub use figures::Figures;
pub use scan::Scan;

/// Quarter hours, in which reports are kept.
pub const QUARTER: i64 = 15 * MINUTE;
/// Organizations that are looked up at once.
const STEP: usize = 1000;
/// How often an organization is read again whose account has changed meanwhile.
const TRIES: usize = 20;
/// Organizations that a report shows one by one at most: those with the largest difference.
pub const MOST_SHOWN: usize = 500;

/// Quarter hours of models and of dimension sets that are kept at once of an organization: some 40 MB. Of the time before them it
/// is read again.
pub const MOST_KEPT: usize = 200_000;

/// What is to be priced again.
#[derive(Clone)]
pub struct Asked {
    /// What was used in this time; whole quarter hours.
    pub span: Span,
    /// By whom: all without any.
    pub organizations: Option<Vec<OrganizationId>>,
    /// With which models: all without any.
    pub models: Option<Vec<Pattern>>,
    /// How much is kept at once; [`MOST_KEPT`] outside of tests.
    pub most_kept: usize,
    /// Whether it is only said what would change.
    pub dry_run: bool,
    /// Why.
    pub reason: String,
    /// In whose name.
    pub caller: Caller,
}

/// What was found, or done, of one organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfOrganization {
    /// Which.
    pub id: OrganizationId,
    /// Its key.
    pub key: OrganizationKey,
    /// By model; the empty name is of uses that name none.
    pub models: BTreeMap<String, Figures>,
    /// From when on its records are kept, where older ones of the time have gone: what was used before stays as it is.
    pub complete_from: Option<Time>,
}

impl OfOrganization {
    /// With what was found of another part of the time.
    fn and(mut self, other: Self) -> Self {
        for (model, figures) in &other.models {
            self.models.entry(model.clone()).or_default().add(figures);
        }
        self.complete_from = self.complete_from.max(other.complete_from);
        self
    }

    /// It differs, but nothing of it was corrected.
    fn left_as_it_is(mut self) -> Self {
        self.models.values_mut().for_each(|figures| figures.moved = false);
        self
    }
}

/// What was found, or done, of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repriced {
    /// Organizations that were gone through.
    pub checked: u64,
    /// Those of which something differs; in a run that records, those of which something was corrected.
    pub differing: u64,
    /// Those that could not be priced again, since they changed again and again.
    pub failed: u64,
    /// By model, of all.
    pub models: BTreeMap<String, Figures>,
    /// From when on all records are kept, where some have gone.
    pub complete_from: Option<Time>,
    /// Those with the largest difference.
    pub organizations: Vec<OfOrganization>,
}

impl Repriced {
    fn add(&mut self, of: OfOrganization) {
        for (model, figures) in &of.models {
            self.models.entry(model.clone()).or_default().add(figures);
        }
        self.complete_from = self.complete_from.max(of.complete_from);
        if of.models.values().any(Figures::differs) {
            self.differing += 1;
        }
        if !of.models.is_empty() {
            self.organizations.push(of);
        }
        if self.organizations.len() >= 2 * MOST_SHOWN {
            self.keep_largest();
        }
    }

    fn keep_largest(&mut self) {
        let size = |of: &OfOrganization| of.models.values().map(|figures| figures.difference().abs()).max();
        self.organizations.sort_by(|a, b| size(b).cmp(&size(a)).then_with(|| a.key.cmp(&b.key)));
        self.organizations.truncate(MOST_SHOWN);
    }
}

/// A run of it.
pub struct Repricer<'a> {
    /// Whose records.
    pub store: &'a Store,
    /// The door by which corrections go.
    pub port: &'a Port,
    /// The prices as they are now.
    pub snapshot: &'a dyn Fn() -> Arc<Snapshot>,
    /// What.
    pub asked: &'a Asked,
    /// How far it is, and whether it goes on.
    pub watch: &'a dyn Watch,
}

impl Repricer<'_> {
    /// Prices again.
    ///
    /// # Errors
    /// [`StoreError`] where the store cannot be read, takes nothing now or is being stopped. What was corrected before stays so,
    /// and another run goes on with the rest.
    pub async fn run(&self) -> Result<Repriced, StoreError> {
        let all = match &self.asked.organizations {
            Some(named) => named.clone(),
            None => self.all().await?,
        };
        self.watch.total(all.len() as u64);
        let mut done = Repriced::default();
        for organization in all {
            if !self.watch.goes_on() {
                return Err(StoreError::Unavailable);
            }
            match self.one(organization).await {
                Ok(of) => done.add(of),
                Err(StoreError::Changed) => done.failed += 1,
                // Deleted since it was looked up.
                Err(StoreError::UnknownOrganization) => {}
                Err(error) => return Err(error),
            }
            done.checked += 1;
            self.watch.advance(1);
        }
        done.keep_largest();
        Ok(done)
    }

    async fn all(&self) -> Result<Vec<OrganizationId>, StoreError> {
        let mut all: Vec<OrganizationId> = Vec::new();
        loop {
            let after = all.last().copied();
            let found = self.store.reader().read(move |view| view.organizations_after(after, STEP)).await?;
            if found.is_empty() {
                return Ok(all);
            }
            all.extend(found);
        }
    }

    /// The newest part of the time first, as much as is kept at once, then what lies before it.
    ///
    /// # Errors
    /// [`StoreError::Changed`] where it was read often, and each time was another before it could be corrected.
    async fn one(&self, organization: OrganizationId) -> Result<OfOrganization, StoreError> {
        let (mut found, mut rest) = self.part(organization, self.asked.span).await?;
        while let Some(span) = rest {
            let (part, left) = self.part(organization, span).await?;
            (found, rest) = (found.and(part), left);
        }
        Ok(found)
    }

    /// What was found, or done, of a time, and which part of it is left.
    async fn part(&self, of: OrganizationId, span: Span) -> Result<(OfOrganization, Option<Span>), StoreError> {
        for _ in 0..TRIES {
            let scan = self.scan(of, span).await?;
            let (found, rest) = (scan.found(), scan.rest(span));
            if self.asked.dry_run {
                return Ok((found, rest));
            }
            // Uses since may be charged by another table.
            let corrected = if (self.snapshot)().stored.prices.version == scan.table() {
                self.correct(&scan).await
            } else {
                Err(StoreError::Changed)
            };
            match corrected {
                Ok(is_written) => return Ok((if is_written { found } else { found.left_as_it_is() }, rest)),
                Err(StoreError::Changed) => {}
                Err(error) => return Err(error),
            }
        }
        Err(StoreError::Changed)
    }

    async fn scan(&self, organization: OrganizationId, span: Span) -> Result<Scan, StoreError> {
        let (snapshot, asked) = ((self.snapshot)(), self.asked.clone());
        let begin =
            move |view: &crate::store::reader::View<'_>| Scan::begin(view, organization, snapshot, &asked, span);
        let mut scan = self.store.reader().read(begin).await?;
        while !scan.is_done() {
            if !self.watch.goes_on() {
                return Err(StoreError::Unavailable);
            }
            scan = self.store.reader().read(move |view| scan.step(view)).await?;
        }
        Ok(scan)
    }

    /// Whether anything was written: what an operator has taken off already is not taken off again.
    async fn correct(&self, scan: &Scan) -> Result<bool, StoreError> {
        let mut changes = scan.changes();
        let (parts, mut priced) = (scan.parts(), scan.priced());
        let mut left: Vec<Vec<Part>> = parts.chunks(MOST_PARTS).rev().map(<[Part]>::to_vec).collect();
        if left.is_empty() && priced.is_some() {
            // The sums stay as they are: what a void gives back does not.
            left.push(Vec::new());
        }
        while let Some(parts) = left.pop() {
            let Span { start: from, end: to } = self.asked.span;
            // With the last of them: until then it is not true of all.
            let priced = if left.is_empty() { priced.take() } else { None };
            let repricing = Repricing { meter: scan.meter(), from, to, parts, priced };
            let request = ChangeRequest {
                caller: self.asked.caller.clone(),
                organization: OrganizationRef::Id(scan.organization()),
                reason: self.asked.reason.clone(),
                receipt: None,
                command: Command::Reprice(repricing),
                only_if_changes: Some(changes),
                respond: Arc::new(|after| Answer {
                    status: 204,
                    body: Vec::new(),
                    version: Some(after.account.changes),
                }),
            };
            let answers = self.store.execute(self.port, vec![Request::Change(Box::new(request))]).await?;
            changes = match answers.into_iter().next() {
                Some(Ok(Receipt::Answered { answer, .. })) => answer.version.ok_or(StoreError::Internal)?,
                Some(Err(error)) => return Err(error),
                _ => return Err(StoreError::Internal),
            };
        }
        Ok(changes != scan.changes())
    }
}

/// Whole quarter hours that hold a time.
pub fn whole(from: Time, to: Time) -> Span {
    let end = to.floor(QUARTER);
    Span { start: from.floor(QUARTER), end: if end < to { end.plus(QUARTER) } else { end } }
}

/// By whom it may be done: the caller, to all organizations.
pub fn caller(actor: Arc<str>) -> Caller {
    Caller { scope: Scope::Team, actor }
}
