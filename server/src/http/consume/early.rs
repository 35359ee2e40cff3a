//! Refusals that need not be asked of the record, since it gave them a moment ago (R2): of decisions without id on one meter.

use std::collections::HashMap;

use futures_util::future::join_all;
use metergate_rules::id::{MeterId, OrganizationId, OrganizationRef};
use metergate_rules::meter::Measure;
use metergate_rules::quantity::Quantity;

use super::elsewhere::Ruled;
use super::{Asking, Mode};
use crate::clock::boot;
use crate::http::error::ApiError;
use crate::redis::marks::{Mark, Marks};
use crate::store::{ConsumeRequest, DecidedReceipt, Seen};

type Ruling = Result<Ruled, ApiError>;

/// What is asked for, where a mark may stand for the answer.
struct Markable {
    named: OrganizationRef,
    meter: MeterId,
    quantity: Quantity,
}

impl Asking<'_> {
    /// One decision, as [`Self::each`] makes it.
    pub(super) async fn one(&self, request: ConsumeRequest) -> Ruling {
        self.each(vec![request]).await?.pop().unwrap_or_else(|| Err(ApiError::internal("no answer")))
    }

    /// Decisions, each on its own: of a mark, where one refuses it, else where its meter is counted. A refusal by the record
    /// leaves a mark.
    pub(super) async fn each(&self, requests: Vec<ConsumeRequest>) -> Result<Vec<Ruling>, ApiError> {
        let Some(marks) = &self.app.shared.marks else { return self.decide(requests).await };
        let markable: Vec<_> = requests.iter().map(|request| self.markable(request)).collect();
        let early = self.refused_early(marks, &requests, &markable).await;
        let (mut rest, mut asked) = (Vec::new(), Vec::new());
        for ((request, markable), early) in requests.into_iter().zip(markable).zip(&early) {
            if early.is_none() {
                rest.push(request);
                asked.push(markable);
            }
        }
        let (began, is_all) = (boot(), rest.len() == early.len());
        let decided = match self.decide(rest).await {
            // Those that were refused early have their answer all the same.
            Err(error) if !is_all => asked.iter().map(|_| Err(error.clone())).collect(),
            decided => decided?,
        };
        leave(marks, &asked, &decided, began);
        let mut decided = decided.into_iter();
        let missing = || Err(ApiError::internal("no answer"));
        let early = early.into_iter();
        Ok(early.map(|early| early.map_or_else(|| decided.next().unwrap_or_else(missing), Ok)).collect())
    }

    /// What is asked for, where a mark may stand for the answer: of one meter that adds up, by a call that nobody repeats.
    fn markable(&self, request: &ConsumeRequest) -> Option<Markable> {
        if request.consume.llm.is_some() {
            return None;
        }
        match (&request.consume.items[..], &request.key, self.mode) {
            ([item], None, Mode::Consume) => match item.measure {
                Measure::Add(quantity) => {
                    Some(Markable { named: request.organization.clone(), meter: item.meter, quantity })
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// Of these the ones that a mark refuses. Each mark is asked for once, all of them at the same time.
    async fn refused_early(
        &self,
        marks: &Marks,
        requests: &[ConsumeRequest],
        markable: &[Option<Markable>],
    ) -> Vec<Option<Ruled>> {
        let (shared, now) = (&self.app.shared, self.app.now());
        let people = shared.store.people();
        let whose = |(request, asked): (&ConsumeRequest, &Option<Markable>)| {
            let asked = asked.as_ref()?;
            let organization = marks.known(&asked.named, asked.meter)?;
            request.caller.scope.admits(organization, &people).ok()?;
            Some((organization, asked.meter))
        };
        let whose: Vec<Option<(OrganizationId, MeterId)>> = requests.iter().zip(markable).map(whose).collect();
        let mut found: HashMap<(OrganizationId, MeterId), Option<Mark>> = HashMap::new();
        whose.iter().flatten().for_each(|of| _ = found.insert(*of, None));
        let seek = |of: (OrganizationId, MeterId)| async move { (of, marks.seek(of.0, of.1).await) };
        found = join_all(found.into_keys().map(seek)).await.into_iter().collect();
        let refused = |(of, asked): (&Option<(OrganizationId, MeterId)>, &Option<Markable>)| {
            let (of, asked) = (of.as_ref()?, asked.as_ref()?);
            let mark = found.get(of)?.as_ref()?;
            let is_named = match &asked.named {
                OrganizationRef::Id(_) => true,
                OrganizationRef::Key(key) => *key == mark.organization,
            };
            if !is_named || !mark.refuses(asked.quantity, now) {
                return None;
            }
            shared.store.feed().refused(&[of.0], now);
            metrics::counter!("metergate_early_refusals_total").increment(1);
            Some(DecidedReceipt::new(mark.organization.clone(), vec![mark.verdict.clone()], now).into())
        };
        whose.iter().zip(markable).map(refused).collect()
    }
}

/// Leaves a mark for each organization and meter that the record, asked after `began`, has refused; of several the one that was
/// asked for most, which stands for the others.
fn leave(marks: &Marks, asked: &[Option<Markable>], decided: &[Ruling], began: i64) {
    let mut left: HashMap<(OrganizationId, MeterId), Mark> = HashMap::new();
    for (asked, ruling) in asked.iter().zip(decided) {
        let (Some(asked), Ok(Ruled { receipt, .. })) = (asked, ruling) else { continue };
        if let (Some(Seen { organization, version }), [verdict]) = (receipt.seen, &receipt.verdicts[..])
            && Mark::is_of(verdict)
        {
            marks.learn(asked.named.clone(), asked.meter, organization);
            let of = (organization, asked.meter);
            if left.get(&of).is_some_and(|mark| mark.asked >= asked.quantity) {
                continue;
            }
            let (key, at) = (receipt.organization.clone(), receipt.at);
            let mark = Mark { version, organization: key, asked: asked.quantity, verdict: verdict.clone(), at };
            left.insert(of, mark);
        }
    }
    for ((organization, meter), mark) in left {
        marks.leave(organization, meter, mark, began);
    }
}
