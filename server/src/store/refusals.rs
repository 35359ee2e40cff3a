//! How often something was refused in each hour, by what refused, until others are told of it when the hour is over. In memory of
//! the node: a refusal without id leaves no trace in the journal. Where several nodes share a record each hands over what it has
//! counted (`shared/handing.rs`), and who tells takes that; on the embedded store a start forgets what was not told.

use std::collections::BTreeMap;

use metergate_rules::id::{MeterId, OrganizationId};
use metergate_rules::notice::{Notice, OfRefusal, RefusedBy, refusals};
use metergate_rules::outcome::{Entry, Verdict, What};
use metergate_rules::time::{HOUR, Time};

use super::error::EngineError;
use super::ledger::Map;

/// Kinds that are counted at most, each of an organization, a meter, what refused and an hour. What comes beyond them is not counted.
const MOST: usize = 100_000;
/// How long after its end an hour may go where there are so many, in microseconds: of all that are asked about it has been told.
const OVER: i64 = 2 * HOUR;

/// Whose use of which meter was refused by what, and in which hour.
pub(super) type Refused = (OrganizationId, OfRefusal);

/// What stands for it in a row: the window of a limit, or a reason that stands before limits.
pub(super) const fn name_of(by: RefusedBy) -> &'static str {
    match by {
        RefusedBy::Limit(window) => window.as_str(),
        RefusedBy::Before(reason) => reason.as_str(),
    }
}

/// Where its row stands among others.
pub(super) type Row = (OrganizationId, MeterId, &'static str, Time);

/// Where the row of a refusal stands.
pub(super) const fn row_of((organization, of): &Refused) -> Row {
    (*organization, of.meter, name_of(of.by), of.hour)
}

/// A refusal of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tally {
    /// It is told when its hour is over.
    Counted(Refused),
    /// Those of this hour are told, and so many with them that were handed over.
    Told(Refused, u64),
}

impl Tally {
    /// What is to be taken of what was handed over.
    pub(super) fn taken(&self) -> Option<(Refused, u64)> {
        match self {
            Self::Told(of, handed_over) if *handed_over > 0 => Some((*of, *handed_over)),
            Self::Told(..) | Self::Counted(_) => None,
        }
    }
}

/// What is durable of it, by hour.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    hours: BTreeMap<Time, Map<Refused, u64>>,
    /// Kinds in all hours together.
    kinds: usize,
    /// Refusals that were not counted, since there were so many kinds.
    left_out: u64,
}

impl Refusals {
    fn all(&self) -> impl Iterator<Item = (Refused, u64)> {
        self.hours.values().flatten().map(|(of, count)| (*of, *count))
    }

    fn remove(&mut self, of: &Refused) {
        let Some(hour) = self.hours.get_mut(&of.1.hour) else { return };
        self.kinds -= usize::from(hour.remove(of).is_some());
        if hour.is_empty() {
            self.hours.remove(&of.1.hour);
        }
    }

    fn count(&mut self, of: Refused, now: Time) {
        let known = self.hours.get_mut(&of.1.hour).and_then(|hour| hour.get_mut(&of));
        if let Some(count) = known {
            *count += 1;
        } else if self.has_room(now) {
            self.hours.entry(of.1.hour).or_default().insert(of, 1);
            self.kinds += 1;
        } else {
            self.left_out += 1;
            if self.left_out.is_power_of_two() {
                let left_out = self.left_out;
                tracing::warn!(
                    left_out,
                    "refusals of more than {MOST} kinds at once: some are not in the count of usage.refused"
                );
            }
        }
    }

    /// Whether there is room for one more kind, once hours are gone that are long over. One that is not is not told yet, and would be
    /// lost whole.
    fn has_room(&mut self, now: Time) -> bool {
        while self.kinds >= MOST {
            let Some(oldest) = self.hours.first_entry().filter(|hour| hour.key().plus(HOUR + OVER) <= now) else {
                return false;
            };
            self.kinds -= oldest.remove().len();
        }
        true
    }

    /// How often it was refused and not told, by what is durable and what a batch has added.
    fn untold(&self, of: Refused, batch: &[Tally]) -> u64 {
        let told = batch.iter().rposition(|tally| tells(tally, of));
        let durable = || self.hours.get(&of.1.hour).and_then(|hour| hour.get(&of)).copied().unwrap_or(0);
        let before = if told.is_some() { 0 } else { durable() };
        let since = &batch[told.map_or(0, |told| told + 1)..];
        before + since.iter().filter(|tally| **tally == Tally::Counted(of)).count() as u64
    }

    /// Takes in what a batch has added, once it is durable.
    pub(super) fn take_in(&mut self, batch: Vec<Tally>, now: Time) {
        for tally in batch {
            match tally {
                Tally::Told(of, _) => self.remove(&of),
                Tally::Counted(of) => self.count(of, now),
            }
        }
    }

    /// Those that a batch tells are not told again.
    pub(super) fn forget_told(&mut self, batch: &[Tally]) {
        for tally in batch {
            if let Tally::Told(of, _) = tally {
                self.remove(of);
            }
        }
    }

    /// Whether nothing is counted.
    pub(super) fn is_empty(&self) -> bool {
        self.kinds == 0
    }

    /// Of what is counted so many behind a row, in the order of the rows; where there are none behind it, from the first on.
    pub(super) fn some_after(&self, after: Option<Row>, most: usize) -> Vec<(Refused, u64)> {
        let mut some: Vec<_> = self.all().filter(|(of, _)| Some(row_of(of)) > after).collect();
        if some.is_empty() {
            some = self.all().collect();
        }
        if some.len() > most {
            // There may be a hundred thousand: all of them are not sorted for some.
            some.select_nth_unstable_by_key(most, |(of, _)| row_of(of));
            some.truncate(most);
        }
        some.sort_unstable_by_key(|(of, _)| row_of(of));
        some
    }

    /// These were handed over.
    pub(super) fn forget(&mut self, handed: &[(Refused, u64)]) {
        handed.iter().for_each(|(of, _)| self.remove(of));
    }

    /// Notes the refusals of a call's answers in a batch, each limit or reason once however many of the answers name it, but for the first
    /// of an hour, of which the entries tell: the account knows that.
    pub(super) fn tally(
        batch: &mut Vec<Tally>,
        organization: OrganizationId,
        (verdicts, now): (&[Verdict], Time),
        entries: &[Entry],
    ) {
        let (hour, begun) = (now.floor(HOUR), batch.len());
        for (meter, by, _) in verdicts.iter().flat_map(refusals) {
            let counted = Tally::Counted((organization, OfRefusal { meter, by, hour }));
            // Tokens and what they cost, asked for together, may be refused by the same limit.
            if !batch[begun..].contains(&counted) && !entries.iter().any(|entry| tells_first(entry, meter, by)) {
                batch.push(counted);
            }
        }
    }

    /// Puts into entries that tell of an hour how often something was refused in it. `handed_over` says how many of a kind stand where
    /// all nodes see them.
    pub(super) fn tell(
        &self,
        batch: &mut Vec<Tally>,
        organization: OrganizationId,
        entries: &mut [Entry],
        handed_over: impl Fn(&OfRefusal) -> Result<u64, EngineError>,
    ) -> Result<(), EngineError> {
        for entry in entries {
            let What::Noticed(Notice::RefusedInHour { of, count }) = &mut entry.what else { continue };
            let others = handed_over(of)?;
            // The first of them was told at once, and is not counted here.
            *count = 1 + self.untold((organization, *of), batch) + others;
            batch.push(Tally::Told((organization, *of), others));
        }
        Ok(())
    }
}

fn tells(tally: &Tally, of: Refused) -> bool {
    matches!(tally, Tally::Told(told, _) if *told == of)
}

/// Whether an entry tells of the first of these in an hour.
fn tells_first(entry: &Entry, meter: MeterId, by: RefusedBy) -> bool {
    matches!(&entry.what, What::Noticed(Notice::Refused { meter: of, by: why, .. }) if (*of, *why) == (meter, by))
}

#[cfg(test)]
mod tests {
    use super::*;
    use metergate_rules::outcome::Reason;

    const ORGANIZATION: OrganizationId = OrganizationId([7; 16]);
    const BY: RefusedBy = RefusedBy::Before(Reason::NotEntitled);

    fn refused(meter: u32) -> Verdict {
        Verdict { reason: Some(Reason::NotEntitled), ..Verdict::undecided(MeterId(meter)) }
    }

    fn at(hours: i64) -> Time {
        Time::from_micros(hours * HOUR + 5)
    }

    fn of(meter: u32, hours: i64) -> OfRefusal {
        OfRefusal { meter: MeterId(meter), by: BY, hour: Time::from_micros(hours * HOUR) }
    }

    fn entry(notice: Notice) -> Entry {
        Entry { at: at(0), what: What::Noticed(notice) }
    }

    fn count(batch: &mut Vec<Tally>, meter: u32, hours: i64) {
        Refusals::tally(batch, ORGANIZATION, (&[refused(meter)], at(hours)), &[]);
    }

    fn counted(meters: impl IntoIterator<Item = u32>, hours: i64) -> Vec<Tally> {
        meters.into_iter().map(|meter| Tally::Counted((ORGANIZATION, of(meter, hours)))).collect()
    }

    /// What an entry says of an hour, where so many were handed over.
    fn told(refusals: &Refusals, batch: &mut Vec<Tally>, of: OfRefusal, handed_over: u64) -> u64 {
        let mut entries = [entry(Notice::RefusedInHour { of, count: 1 })];
        refusals.tell(batch, ORGANIZATION, &mut entries, |_| Ok(handed_over)).unwrap();
        let [Entry { what: What::Noticed(Notice::RefusedInHour { count, .. }), .. }] = entries else { unreachable!() };
        count
    }

    #[test]
    fn an_hour_counts_its_own_refusals_and_the_first_of_them_by_what_told_it() {
        let (mut refusals, mut batch) = (Refusals::default(), Vec::new());
        let first = entry(Notice::Refused { meter: MeterId(1), by: BY, figures: None });
        Refusals::tally(&mut batch, ORGANIZATION, (&[refused(1), refused(2)], at(0)), &[first]);
        assert_eq!(batch, [Tally::Counted((ORGANIZATION, of(2, 0)))]);
        (0..3).for_each(|_| count(&mut batch, 1, 0));
        count(&mut batch, 1, 1);
        assert_eq!(told(&refusals, &mut batch.clone(), of(1, 0), 0), 4, "within a batch");
        refusals.take_in(std::mem::take(&mut batch), at(0));
        count(&mut batch, 1, 0);
        assert_eq!(told(&refusals, &mut batch, of(1, 0), 0), 5);
        // A batch that failed is not taken in.
        batch.clear();
        assert_eq!(told(&refusals, &mut batch, of(1, 0), 0), 4);
        assert_eq!([told(&refusals, &mut batch, of(1, 1), 0), told(&refusals, &mut batch, of(2, 0), 0)], [2, 2]);
        refusals.take_in(batch, at(0));
        assert!(refusals.is_empty(), "{refusals:?}");
        assert_eq!(told(&refusals, &mut Vec::new(), of(1, 0), 0), 1);
    }

    #[test]
    fn what_was_handed_over_is_told_and_taken_once() {
        let (mut refusals, mut batch) = (Refusals::default(), Vec::new());
        count(&mut batch, 1, 0);
        refusals.take_in(std::mem::take(&mut batch), at(0));
        assert_eq!(refusals.some_after(None, 10).len(), 1);
        assert_eq!(told(&refusals, &mut batch, of(1, 0), 5), 7, "the first, one here, and five there");
        let taken: Vec<_> = batch.iter().filter_map(Tally::taken).collect();
        assert_eq!(taken, [((ORGANIZATION, of(1, 0)), 5)]);
        refusals.take_in(batch, at(0));
        assert!(refusals.is_empty());
    }

    #[test]
    fn what_is_handed_over_goes_on_behind_what_was_and_begins_anew_at_the_end() {
        let mut refusals = Refusals::default();
        refusals.take_in(counted([4, 1, 5, 3, 2], 0), at(0));
        let after = |meter| row_of(&(ORGANIZATION, of(meter, 0)));
        let meters = |refusals: &Refusals, row| -> Vec<u32> {
            refusals.some_after(row, 2).iter().map(|((_, of), _)| of.meter.0).collect()
        };
        assert_eq!(meters(&refusals, None), [1, 2]);
        assert_eq!(meters(&refusals, Some(after(2))), [3, 4]);
        assert_eq!(meters(&refusals, Some(after(4))), [5]);
        assert_eq!(meters(&refusals, Some(after(5))), [1, 2], "those that could not be handed over come again");
        refusals.forget(&refusals.some_after(Some(after(1)), 3));
        assert_eq!(refusals.some_after(None, 9).iter().map(|((_, of), _)| of.meter.0).collect::<Vec<_>>(), [1, 5]);
    }

    #[test]
    fn beyond_the_bound_no_more_kinds_are_counted_until_hours_are_long_over() {
        let mut refusals = Refusals::default();
        let most = u32::try_from(MOST).unwrap();
        refusals.take_in(counted(0..most - 1, 5), at(5));
        refusals.take_in(counted([1, 2, 3], 4), at(5));
        assert_eq!((refusals.kinds, refusals.left_out), (MOST, 2));
        // What was counted is counted on, and told.
        refusals.take_in(counted([7, 7], 5), at(6));
        assert_eq!((refusals.kinds, refusals.left_out), (MOST, 2));
        let mut batch = Vec::new();
        assert_eq!([told(&refusals, &mut batch, of(7, 5), 0), told(&refusals, &mut batch, of(1, 4), 0)], [4, 2]);
        refusals.take_in(batch, at(6));
        refusals.take_in(counted([1, 2, 3], 6), at(6));
        assert_eq!((refusals.kinds, refusals.left_out), (MOST, 3), "for two that were told");
        // The oldest hour goes whole, but not before it is long over.
        refusals.take_in(counted([4], 7), at(7));
        assert_eq!((refusals.kinds, refusals.left_out), (MOST, 4));
        refusals.take_in(counted([4], 8), at(8));
        assert_eq!((refusals.kinds, refusals.left_out), (3, 4));
        assert_eq!(refusals.hours.keys().copied().collect::<Vec<_>>(), [of(0, 6).hour, of(0, 8).hour]);
    }

    #[test]
    fn a_call_that_a_limit_refuses_twice_is_one_refusal() {
        let (refusals, mut batch) = (Refusals::default(), Vec::new());
        let twice = [refused(1), refused(1), refused(2)];
        let first = entry(Notice::Refused { meter: MeterId(1), by: BY, figures: None });
        Refusals::tally(&mut batch, ORGANIZATION, (&twice, at(0)), &[first]);
        Refusals::tally(&mut batch, ORGANIZATION, (&twice, at(0)), &[]);
        Refusals::tally(&mut batch, ORGANIZATION, (&twice, at(0)), &[]);
        assert_eq!(
            [1, 2].map(|meter| told(&refusals, &mut batch, of(meter, 0), 0)),
            [3, 4],
            "2 counts its first, too, as nothing told it"
        );
    }
}
