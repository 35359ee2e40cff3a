//! Refusals that need not be asked of the record, since it gave them a moment ago (R2): of decisions without id on one meter.

use metergate_rules::id::OrganizationRef;
use metergate_rules::meter::Measure;
use metergate_rules::quantity::Quantity;

use super::elsewhere::Ruled;
use super::{Asking, Mode};
use crate::clock::boot;
use crate::http::error::ApiError;
use crate::redis::marks::{Mark, Marks};
use crate::store::{ConsumeRequest, DecidedReceipt, Seen};

impl Asking<'_> {
    /// One decision: of a mark, where one refuses it, else where its meter is counted. A refusal by the record leaves a mark.
    pub(super) async fn one(&self, request: ConsumeRequest) -> Result<Ruled, ApiError> {
        let marked = self.app.shared.marks.as_ref().zip(self.markable(&request));
        let Some((marks, quantity)) = marked else { return self.record(request).await };
        if let Some(receipt) = self.refused_early(marks, &request, quantity).await {
            return Ok(receipt.into());
        }
        let (named, meter, began) = (request.organization.clone(), request.consume.items[0].meter, boot());
        let ruled = self.record(request).await?;
        if let (Some(Seen { organization, version }), [verdict]) = (ruled.receipt.seen, &ruled.receipt.verdicts[..])
            && Mark::is_of(verdict)
        {
            let (key, at) = (ruled.receipt.organization.clone(), ruled.receipt.at);
            let mark = Mark { version, organization: key, asked: quantity, verdict: verdict.clone(), at };
            marks.learn(named, meter, organization);
            marks.leave(organization, meter, mark, began);
        }
        Ok(ruled)
    }

    async fn record(&self, request: ConsumeRequest) -> Result<Ruled, ApiError> {
        self.decide(vec![request]).await?.pop().unwrap_or_else(|| Err(ApiError::internal("no answer")))
    }

    /// How much is asked for, where a mark may stand for the answer: of one meter that adds up, by a call that nobody repeats.
    fn markable(&self, request: &ConsumeRequest) -> Option<Quantity> {
        match (&request.consume.items[..], &request.key, self.mode) {
            ([item], None, Mode::Consume) => match item.measure {
                Measure::Add(quantity) => Some(quantity),
                _ => None,
            },
            _ => None,
        }
    }

    async fn refused_early(
        &self,
        marks: &Marks,
        request: &ConsumeRequest,
        quantity: Quantity,
    ) -> Option<DecidedReceipt> {
        let (shared, now) = (&self.app.shared, self.app.now());
        let meter = request.consume.items[0].meter;
        let organization = marks.known(&request.organization, meter)?;
        request.caller.scope.admits(organization, &shared.store.people()).ok()?;
        let mark = marks.seek(organization, meter).await?;
        let is_named = match &request.organization {
            OrganizationRef::Id(_) => true,
            OrganizationRef::Key(key) => *key == mark.organization,
        };
        if !is_named || !mark.refuses(quantity, now) {
            return None;
        }
        shared.store.feed().refused(&[organization], now);
        metrics::counter!("metergate_early_refusals_total").increment(1);
        let Mark { organization, verdict, .. } = mark;
        Some(DecidedReceipt::new(organization, vec![verdict], now))
    }
}
