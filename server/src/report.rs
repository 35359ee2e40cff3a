//! The reading side: what callers see of what is stored. Each report is made from one snapshot of what is durable, writes
//! nothing, and has its time as a parameter.
//!
//! A report is a method of [`Report`], so that none can forget whose data its caller may see.

use metergate_rules::account::Account;
use metergate_rules::id::{MeterId, OrganizationRef};
use metergate_rules::plan::Plan;
use metergate_rules::quantity::Quantity;
use metergate_rules::time::{Span, Time};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::catalogue::Snapshot;
use crate::http::number::Number;
use crate::store::reader::{ReadError, View};
use crate::store::{Scope, StoreError};

pub mod audit;
pub mod cycle;
pub mod documented;
pub mod entitlements;
pub mod events;
pub mod explain;
pub mod export;
mod figures;
pub mod fleet;
pub mod forecast;
pub mod grants;
pub mod notice;
pub mod organization;
pub mod organizations;
pub mod quota;
pub mod reservations;
pub mod standing;
pub mod subscription;
#[cfg(test)]
mod tests;
pub mod usage;
pub mod void;
pub mod what_if;

/// From what a report is made, for whom, and when.
#[derive(Clone, Copy)]
pub struct Report<'a> {
    /// The snapshot.
    pub view: &'a View<'a>,
    /// Meters and plans.
    pub catalogue: &'a Snapshot,
    /// What the caller may see.
    pub scope: Scope,
    /// The time of the report.
    pub now: Time,
    /// Whether quantities are written as strings: `?numbers=string`.
    pub text: bool,
}

/// An organization as it is at the time of the report, with everything applied that has fallen due.
#[derive(Clone, Debug)]
pub(crate) struct Current<'a> {
    pub(crate) account: Account,
    pub(crate) plan: &'a Plan,
    /// Never before the organization's last entry: its time does not run back.
    pub(crate) now: Time,
}

impl<'a> Current<'a> {
    /// Of an account on which everything has been applied that has fallen due.
    ///
    /// # Errors
    /// Where the catalogue does not have its plan.
    pub(crate) fn of(account: Account, catalogue: &'a Snapshot, now: Time) -> Result<Self, StoreError> {
        let unknown = StoreError::Problem(metergate_rules::decide::Problem::UnknownPlan);
        let plan = catalogue.rules.plan(account.plan).ok_or(unknown)?;
        Ok(Self { account, plan, now })
    }
}

impl<'a> Report<'a> {
    /// # Errors
    /// [`StoreError::UnknownOrganization`] where there is none for this caller.
    pub(crate) fn current(&self, organization: &OrganizationRef) -> Result<Current<'a>, ReadError> {
        let account = self.view.account(self.scope, organization)?;
        let now = account.own_time(self.now);
        self.settled(account, now)
    }

    /// An account with everything applied that has fallen due by `now`.
    fn settled(&self, account: Account, now: Time) -> Result<Current<'a>, ReadError> {
        let settled = account.at(&self.catalogue.rules, now).map_err(StoreError::Problem)?;
        let account = settled.account.into_owned();
        Ok(Current::of(account, self.catalogue, now)?)
    }

    /// A quantity of a meter as it goes out.
    pub(crate) fn number(&self, meter: MeterId, quantity: Quantity) -> Number {
        let units = i128::from(quantity.units());
        Number { units, decimals: self.catalogue.decimals(meter), text: self.text }
    }
}

/// Some entries of a list.
#[derive(Clone, Debug)]
pub struct Listed<T> {
    /// The entries.
    pub data: Vec<T>,
    /// Where the next page goes on, the bytes for a cursor; `None` on the last page.
    pub next: Option<Vec<u8>>,
}

/// A time on the wire: RFC 3339 in UTC with `Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub Time);

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl ToSchema for Timestamp {}
impl PartialSchema for Timestamp {
    fn schema() -> RefOr<Schema> {
        let format = SchemaFormat::KnownFormat(KnownFormat::DateTime);
        ObjectBuilder::new().schema_type(Type::String).format(Some(format)).into()
    }
}

/// A half-open span of time on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Period {
    /// The first instant in it.
    pub start: Timestamp,
    /// The first instant after it.
    pub end: Timestamp,
}

impl From<Span> for Period {
    fn from(span: Span) -> Self {
        Self { start: Timestamp(span.start), end: Timestamp(span.end) }
    }
}

/// What is asked makes no sense: 422, with the parameter and what to do in words.
pub(crate) fn refuse<T>(detail: impl Into<String>) -> Result<T, ReadError> {
    Err(StoreError::Catalogue { code: "invalid-query", status: 422, detail: detail.into() }.into())
}

/// What is asked for is no cursor of the list.
pub(crate) fn bad_cursor<T>() -> Result<T, ReadError> {
    refuse("cursor: this is not a cursor of this list; leave it out to begin with the first page")
}

/// The text in a cursor; nothing where there is none that a list can have in it.
pub(crate) fn text_of(cursor: &[u8]) -> Option<&str> {
    std::str::from_utf8(cursor).ok().filter(|text| !text.contains('\0'))
}

/// A stored JSON object as it stands, `{}` where none was stored.
pub(crate) fn stored_object(text: &str) -> Box<RawValue> {
    let text = if text.starts_with('{') { text } else { "{}" };
    RawValue::from_string(text.to_owned()).unwrap_or_default()
}
