//! The invariants, held against a history.

use std::collections::{BTreeMap, BTreeSet};

use metergate_rules::id::{MeterId, OrganizationId};
use metergate_rules::outcome::{Change, Effect, What};
use metergate_rules::time::MINUTE;

use super::history::{Act, Answer, Operation};
use super::workload::{HELD, MOVING, RATE, TIGHT};
use crate::invariant::{Held, Journal, holds, most_in_any};

/// What a server, or a data folder, says was counted by organization and meter.
pub(super) type Counted = BTreeMap<(String, &'static str), i64>;

/// The organizations that are there, by their keys.
pub(super) type Organizations = BTreeMap<String, OrganizationId>;

/// Every organization and meter that a history names, but those of organizations that somebody has wanted to delete.
pub(super) fn places(history: &[Operation]) -> Vec<(String, &'static str)> {
    let deleted: BTreeSet<&String> =
        history.iter().filter(|one| one.act == Act::Delete).map(|one| &one.organization).collect();
    let living = history.iter().filter(|one| !deleted.contains(&one.organization));
    let named = living.filter_map(|one| Some((one.organization.clone(), one.use_of()?.0)));
    let mut places: Vec<_> = named.collect();
    places.sort_unstable();
    places.dedup();
    places
}

/// `durable_ack`: Σ acknowledged ≤ counter ≤ Σ attempted. Once all that can be repeated has been answered, that leaves
/// room only for decisions without an id.
pub(super) fn durable_ack(history: &[Operation], counted: &Counted) -> Held {
    between("durable_ack", history, history, counted)
}

/// Σ of what was acknowledged in one history ≤ counter ≤ Σ of what was attempted in another, which may go on longer. What
/// takes something off counts the other way round.
pub(super) fn between(
    invariant: &'static str,
    acknowledged: &[Operation],
    attempted: &[Operation],
    counted: &Counted,
) -> Held {
    for place in places(attempted) {
        let sum = |history: &[Operation], more: bool, counts: fn(&Operation) -> bool| {
            let of_place = history.iter().filter(|one| one.organization == place.0 && counts(one));
            let uses = of_place.filter_map(Operation::use_of).filter(|(meter, _)| *meter == place.1);
            uses.map(|(_, quantity)| quantity).filter(|quantity| (*quantity > 0) == more).sum::<i64>()
        };
        let (happened, may_have) = (Operation::happened, Operation::may_have_happened);
        let least = sum(acknowledged, true, happened) + sum(attempted, false, may_have);
        let most = sum(attempted, true, may_have) + sum(acknowledged, false, happened);
        let counted = counted.get(&place).copied().unwrap_or_default();
        let (organization, meter) = place;
        holds(invariant, least <= counted && counted <= most, || {
            format!("{meter} of {organization}: acknowledged {least}, counted {counted}, attempted {most}")
        })?;
    }
    Ok(())
}

/// `hard_limit`: nothing admitted beyond a limit, by what callers were told and by what was counted.
pub(super) fn hard_limit(history: &[Operation], counted: &Counted) -> Held {
    for (organization, meter) in places(history) {
        let most = match meter {
            "tight" => TIGHT,
            "held" => HELD,
            "moving" => moved_limit(history, &organization),
            _ => continue,
        };
        let of_place =
            |one: &&Operation| one.organization == organization && one.use_of().is_some_and(|used| used.0 == meter);
        let told: i64 =
            history.iter().filter(of_place).filter(|one| one.happened()).filter_map(|one| Some(one.use_of()?.1)).sum();
        let counted = counted.get(&(organization.clone(), meter)).copied().unwrap_or_default();
        holds("hard_limit", told <= most && counted <= most, || {
            format!("{meter} of {organization}: told {told}, counted {counted}, limit {most}")
        })?;
    }
    Ok(())
}

/// The most that operators can have allowed: the limit once per reset with the largest extra quota, and every grant.
fn moved_limit(history: &[Operation], organization: &str) -> i64 {
    let (mut periods, mut extra, mut granted) = (1, 0, 0);
    for operation in history.iter().filter(|one| one.organization == organization) {
        match operation.act {
            Act::Extra { quantity, .. } => extra = quantity.max(extra),
            Act::Grant { amount, .. } => granted += amount,
            Act::Reset => periods += 1,
            _ => {}
        }
    }
    periods * (MOVING + extra) + granted
}

/// `hard_limit` in any interval of a minute, by the journal. Answers the most that was admitted in one.
pub(super) fn rate_limit(
    journal: &Journal,
    organizations: &Organizations,
    rate: MeterId,
) -> Result<i64, crate::invariant::Violation> {
    let most =
        organizations.values().map(|id| most_in_any(MINUTE, &journal.decisions(*id, rate))).max().unwrap_or_default();
    holds("hard_limit", most <= RATE, || format!("{most} admitted in a minute, limit {RATE}"))?;
    Ok(most)
}

/// `reset_once`: every day, month and period of an organization began once, and each reset of which somebody was told
/// happened once, if there was something to set to zero.
pub(super) fn reset_once(history: &[Operation], journal: &Journal, organizations: &Organizations) -> Held {
    for (key, id) in organizations {
        let (mut begun, mut resets) = (BTreeSet::new(), 0);
        for record in journal.of_organization(*id) {
            let began = match &record.entry.what {
                What::Due(Effect::DayBegan(span)) => Some(("day", span.start)),
                What::Due(Effect::MonthBegan(span)) => Some(("month", span.start)),
                What::Due(Effect::PeriodBegan(span)) => Some(("period", span.start)),
                What::Changed(change) if matches!(**change, Change::Reset { .. }) => {
                    resets += 1;
                    None
                }
                _ => None,
            };
            let is_first = began.is_none_or(|began| begun.insert(began));
            holds("reset_once", is_first, || format!("of {key} a {began:?} began twice"))?;
        }
        let told = |one: &&Operation| one.organization == *key && one.act == Act::Reset && one.happened();
        let told = history.iter().filter(told).count();
        holds("reset_once", resets <= told, || format!("{resets} resets of {key}, and {told} were asked for"))?;
    }
    Ok(())
}

/// `refusal_is_final`: what was refused was never allowed later.
pub(super) fn refusal_is_final(history: &[Operation]) -> Held {
    for operation in history.iter().filter(|one| one.was_refused() && one.id.is_some()) {
        let allowed = operation.answers.iter().find(|answer| matches!(answer, Answer::Decided { allowed: true, .. }));
        holds("refusal_is_final", allowed.is_none(), || format!("{operation:?}"))?;
    }
    Ok(())
}

/// `idempotent`: whoever repeated an operation got the same answer, and events counted once.
pub(super) fn idempotent(history: &[Operation]) -> Held {
    let body = |answer: &Answer| match answer {
        Answer::Decided { body, .. } | Answer::Made { body, .. } => Some(body.clone()),
        Answer::Recorded { .. } | Answer::Unknown | Answer::Failed { .. } => None,
    };
    for operation in history {
        let mut bodies: Vec<_> = operation.answers.iter().filter_map(body).collect();
        bodies.dedup();
        holds("idempotent", bodies.len() <= 1 || operation.id.is_none(), || format!("{operation:?}"))?;
        if let Act::Events { events, .. } = &operation.act {
            recorded_once(operation, events.len())?;
        }
    }
    Ok(())
}

/// A body of events is one commit: all of them counted, once, and afterwards all are known.
fn recorded_once(operation: &Operation, count: usize) -> Held {
    let recorded = operation.answers.iter().filter_map(|answer| match answer {
        Answer::Recorded { accepted, duplicates } => Some((*accepted, *duplicates)),
        _ => None,
    });
    let recorded: Vec<_> = recorded.collect();
    let whole = recorded.iter().all(|answer| *answer == (count, 0) || *answer == (0, count));
    let accepted = recorded.iter().filter(|(accepted, _)| *accepted > 0).count();
    holds("idempotent", whole && accepted <= 1, || format!("{operation:?}"))
}

/// The states without which a run proves nothing, and how often each was reached.
#[derive(Debug, Default)]
pub(super) struct Reached {
    pub(super) acknowledged: usize,
    pub(super) unknown: usize,
    pub(super) limit_hit_exactly: usize,
    pub(super) refusal_replayed: usize,
    pub(super) crash_between_append_and_answer: usize,
    pub(super) other_body_refused: usize,
    pub(super) late_event: usize,
    pub(super) changes: usize,
    pub(super) committed: usize,
    pub(super) released: usize,
    pub(super) reservation_over: usize,
    pub(super) corrections: usize,
    pub(super) clock_moved: usize,
    pub(super) deleted: usize,
}

impl Reached {
    pub(super) fn by(history: &[Operation], mismatches: usize, counted: &Counted) -> Self {
        let refusal_replayed = |one: &&Operation| {
            one.answers.iter().any(|answer| matches!(answer, Answer::Decided { allowed: false, replayed: true, .. }))
        };
        let late = |one: &&Operation| match &one.act {
            Act::Events { events, .. } => one.happened() && events.iter().any(|event| event.time.is_some()),
            _ => false,
        };
        let change = |one: &&Operation| one.use_of().is_none() && one.happened();
        let happened = |is_it: fn(&Act) -> bool| history.iter().filter(|one| is_it(&one.act) && one.happened()).count();
        let over = |one: &&Operation| {
            matches!(one.act, Act::Commit { .. } | Act::Release { .. } | Act::Extend { .. }) && !one.may_have_happened()
        };
        let exactly = |((_, meter), counted): &(&(String, &str), &i64)| *meter == "tight" && **counted == TIGHT;
        Self {
            acknowledged: history.iter().filter(|one| one.happened()).count(),
            unknown: history.iter().filter(|one| one.answers.contains(&Answer::Unknown)).count(),
            limit_hit_exactly: counted.iter().filter(exactly).count(),
            refusal_replayed: history.iter().filter(refusal_replayed).count(),
            crash_between_append_and_answer: history.iter().filter(|one| one.happened_unanswered()).count(),
            other_body_refused: mismatches,
            late_event: history.iter().filter(late).count(),
            changes: history.iter().filter(change).count(),
            committed: happened(|act| matches!(act, Act::Commit { .. })),
            released: happened(|act| matches!(act, Act::Release { .. })),
            reservation_over: history.iter().filter(over).count(),
            corrections: happened(|act| matches!(act, Act::Void { .. }))
                .min(happened(|act| matches!(act, Act::Adjust { .. }))),
            clock_moved: happened(|act| matches!(act, Act::Clock { .. })),
            deleted: happened(|act| *act == Act::Delete),
        }
    }

    /// # Panics
    /// If a state was never reached.
    pub(super) fn all(&self) {
        println!("{self:?}");
        let Self { acknowledged, unknown, limit_hit_exactly, refusal_replayed, .. } = *self;
        let Self { crash_between_append_and_answer, other_body_refused, late_event, changes, .. } = *self;
        let Self { committed, released, reservation_over, corrections, clock_moved, deleted, .. } = *self;
        let reached = [
            vec![acknowledged, unknown, limit_hit_exactly, refusal_replayed, crash_between_append_and_answer],
            vec![other_body_refused, late_event, changes],
            vec![committed, released, reservation_over, corrections, clock_moved, deleted],
        ];
        assert!(reached.concat().iter().all(|count| *count > 0), "the run proves nothing: {self:?}");
    }
}
