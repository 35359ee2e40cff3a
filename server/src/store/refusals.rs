//! How often something was refused since others were told so last, by what refused. In memory of the node: a refusal without id
//! leaves no trace in the journal. Where several nodes share a record each hands over what it has counted
//! (`shared/handing.rs`), and who tells takes that; on the embedded store a start forgets what was not told.

use metergate_rules::id::{MeterId, OrganizationId};
use metergate_rules::notice::{Notice, RefusedBy, refusals};
use metergate_rules::outcome::{Entry, Verdict, What};

use super::error::EngineError;
use super::ledger::Map;

/// What is counted at most; then it is begun anew.
const MOST: usize = 100_000;

/// Whose use of which meter was refused by what.
pub(super) type Refused = (OrganizationId, MeterId, RefusedBy);

/// What stands for it in a row: the window of a limit, or a reason that stands before limits.
pub(super) const fn name_of(by: RefusedBy) -> &'static str {
    match by {
        RefusedBy::Limit(window) => window.as_str(),
        RefusedBy::Before(reason) => reason.as_str(),
    }
}

/// Where its row stands among others.
pub(super) type Row = (OrganizationId, MeterId, &'static str);

/// Where the row of a refusal stands.
pub(super) const fn row_of((organization, meter, by): &Refused) -> Row {
    (*organization, *meter, name_of(*by))
}

/// A refusal of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tally {
    /// It is told with a later one.
    Counted(Refused),
    /// It is told, and all before it, and so many with it that were handed over.
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

/// What is durable of it.
#[derive(Debug, Default)]
pub(super) struct Refusals(Map<Refused, u64>);

impl Refusals {
    /// How often it was refused and not told, by what is durable and what a batch has added.
    fn untold(&self, of: Refused, batch: &[Tally]) -> u64 {
        let told = batch.iter().rposition(|tally| tells(tally, of));
        let before = if told.is_some() { 0 } else { self.0.get(&of).copied().unwrap_or(0) };
        let since = &batch[told.map_or(0, |told| told + 1)..];
        before + since.iter().filter(|tally| **tally == Tally::Counted(of)).count() as u64
    }

    /// Takes in what a batch has added, once it is durable.
    pub(super) fn take_in(&mut self, batch: Vec<Tally>) {
        for tally in batch {
            match tally {
                Tally::Told(of, _) => drop(self.0.remove(&of)),
                Tally::Counted(of) => {
                    if self.0.len() >= MOST && !self.0.contains_key(&of) {
                        self.0.clear();
                    }
                    *self.0.entry(of).or_default() += 1;
                }
            }
        }
    }

    /// Those that a batch tells are not told again.
    pub(super) fn forget_told(&mut self, batch: &[Tally]) {
        for tally in batch {
            if let Tally::Told(of, _) = tally {
                self.0.remove(of);
            }
        }
    }

    /// Whether nothing is counted.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Of what is counted so many behind a row, in the order of the rows; where there are none behind it, from the first on.
    pub(super) fn some_after(&self, after: Option<Row>, most: usize) -> Vec<(Refused, u64)> {
        let all = || self.0.iter().map(|(of, count)| (*of, *count));
        let mut some: Vec<_> = all().filter(|(of, _)| Some(row_of(of)) > after).collect();
        if some.is_empty() {
            some = all().collect();
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
        handed.iter().for_each(|(of, _)| _ = self.0.remove(of));
    }

    /// Notes the refusals of answers in a batch, and in the entries that tell of them how many there were. `handed_over` says how
    /// many of a kind stand where all nodes see them.
    pub(super) fn tally(
        &self,
        batch: &mut Vec<Tally>,
        organization: OrganizationId,
        verdicts: &[Verdict],
        entries: &mut [Entry],
        handed_over: impl Fn(Refused) -> Result<u64, EngineError>,
    ) -> Result<(), EngineError> {
        for (meter, by, _) in verdicts.iter().flat_map(refusals) {
            let of = (organization, meter, by);
            match entries.iter_mut().find_map(|entry| count_of(entry, meter, by)) {
                Some(count) => {
                    let is_taken = batch.iter().any(|tally| tells(tally, of));
                    let others = if is_taken { 0 } else { handed_over(of)? };
                    *count = self.untold(of, batch) + others + 1;
                    batch.push(Tally::Told(of, others));
                }
                None => batch.push(Tally::Counted(of)),
            }
        }
        Ok(())
    }
}

fn tells(tally: &Tally, of: Refused) -> bool {
    matches!(tally, Tally::Told(told, _) if *told == of)
}

/// The count in an entry that tells of this.
fn count_of(entry: &mut Entry, meter: MeterId, by: RefusedBy) -> Option<&mut u64> {
    match &mut entry.what {
        What::Noticed(Notice::Refused { meter: of, by: why, count, .. }) if (*of, *why) == (meter, by) => Some(count),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use metergate_rules::outcome::Reason;
    use metergate_rules::time::Time;

    const ORGANIZATION: OrganizationId = OrganizationId([7; 16]);

    fn refused(meter: u32) -> Verdict {
        Verdict { reason: Some(Reason::NotEntitled), ..Verdict::undecided(MeterId(meter)) }
    }

    /// What an entry says that tells of a refusal of the meter.
    fn told(refusals: &Refusals, batch: &mut Vec<Tally>, meter: u32) -> u64 {
        told_with(refusals, batch, meter, 0)
    }

    /// The same where so many were handed over.
    fn told_with(refusals: &Refusals, batch: &mut Vec<Tally>, meter: u32, handed_over: u64) -> u64 {
        let by = RefusedBy::Before(Reason::NotEntitled);
        let notice = Notice::Refused { meter: MeterId(meter), by, count: 1, figures: None };
        let mut entries = [Entry { at: Time::from_micros(0), what: What::Noticed(notice) }];
        refusals.tally(batch, ORGANIZATION, &[refused(meter)], &mut entries, |_| Ok(handed_over)).unwrap();
        let [Entry { what: What::Noticed(Notice::Refused { count, .. }), .. }] = entries else { unreachable!() };
        count
    }

    #[test]
    fn what_is_told_counts_all_refusals_since_it_was_told_before() {
        let (mut refusals, mut batch) = (Refusals::default(), Vec::new());
        assert_eq!(told(&refusals, &mut batch, 1), 1);
        refusals.tally(&mut batch, ORGANIZATION, &[refused(1), refused(2)], &mut [], |_| Ok(9)).unwrap();
        assert_eq!(told(&refusals, &mut batch, 2), 2, "within a batch");
        refusals.take_in(std::mem::take(&mut batch));
        refusals.tally(&mut batch, ORGANIZATION, &[refused(1)], &mut [], |_| Ok(9)).unwrap();
        assert_eq!(told(&refusals, &mut batch.clone(), 1), 3);
        // A batch that failed is not taken in.
        batch.clear();
        assert_eq!(told(&refusals, &mut batch, 1), 2);
        assert_eq!(told(&refusals, &mut batch, 2), 1);
        refusals.take_in(batch);
        assert!(refusals.0.is_empty(), "{refusals:?}");
    }

    #[test]
    fn what_was_handed_over_is_told_and_taken_once() {
        let (mut refusals, mut batch) = (Refusals::default(), Vec::new());
        refusals.tally(&mut batch, ORGANIZATION, &[refused(1)], &mut [], |_| Ok(9)).unwrap();
        refusals.take_in(std::mem::take(&mut batch));
        assert_eq!(refusals.some_after(None, 10).len(), 1);
        assert_eq!(told_with(&refusals, &mut batch, 1, 5), 7, "one here, five there, and this one");
        assert_eq!(told_with(&refusals, &mut batch, 1, 5), 1, "within the same commit they are told already");
        let by = RefusedBy::Before(Reason::NotEntitled);
        let taken: Vec<_> = batch.iter().filter_map(Tally::taken).collect();
        assert_eq!(taken, [((ORGANIZATION, MeterId(1), by), 5)]);
        refusals.take_in(batch);
        assert!(refusals.is_empty());
        assert!(refusals.tally(&mut Vec::new(), ORGANIZATION, &[refused(1)], &mut [], |_| Ok(9)).is_ok());
    }

    #[test]
    fn what_is_handed_over_goes_on_behind_what_was_and_begins_anew_at_the_end() {
        let (mut refusals, by) = (Refusals::default(), RefusedBy::Before(Reason::NotEntitled));
        refusals.take_in([4, 1, 5, 3, 2].map(|meter| Tally::Counted((ORGANIZATION, MeterId(meter), by))).into());
        let after = |meter| row_of(&(ORGANIZATION, MeterId(meter), by));
        let meters = |refusals: &Refusals, row| -> Vec<u32> {
            refusals.some_after(row, 2).iter().map(|((_, meter, _), _)| meter.0).collect()
        };
        assert_eq!(meters(&refusals, None), [1, 2]);
        assert_eq!(meters(&refusals, Some(after(2))), [3, 4]);
        assert_eq!(meters(&refusals, Some(after(4))), [5]);
        assert_eq!(meters(&refusals, Some(after(5))), [1, 2], "those that could not be handed over come again");
        refusals.forget(&refusals.some_after(Some(after(1)), 3));
        assert_eq!(refusals.some_after(None, 9).iter().map(|((_, meter, _), _)| meter.0).collect::<Vec<_>>(), [1, 5]);
    }

    #[test]
    fn what_is_counted_is_bounded() {
        let mut refusals = Refusals::default();
        let by = RefusedBy::Before(Reason::NotEntitled);
        let many = u32::try_from(MOST).unwrap() + 1;
        refusals.take_in((0..many).map(|meter| Tally::Counted((ORGANIZATION, MeterId(meter), by))).collect());
        assert_eq!(refusals.0.len(), 1);
    }
}
