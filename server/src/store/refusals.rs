//! How often something was refused since others were told so last, by what refused. In memory of the node, as far as it is known
//! there: a refusal without id leaves no trace in the journal, and what a start forgets is not told.

use metergate_rules::id::{MeterId, OrganizationId};
use metergate_rules::notice::{Notice, RefusedBy, refusals};
use metergate_rules::outcome::{Entry, Verdict, What};

use super::ledger::Map;

/// What is counted at most; then it is begun anew.
const MOST: usize = 100_000;

/// Whose use of which meter was refused by what.
type Refused = (OrganizationId, MeterId, RefusedBy);

/// A refusal of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tally {
    /// It is told with a later one.
    Counted(Refused),
    /// It is told, and all before it.
    Told(Refused),
}

/// What is durable of it.
#[derive(Debug, Default)]
pub(super) struct Refusals(Map<Refused, u64>);

impl Refusals {
    /// How often it was refused and not told, by what is durable and what a batch has added.
    fn untold(&self, of: Refused, batch: &[Tally]) -> u64 {
        let told = batch.iter().rposition(|tally| *tally == Tally::Told(of));
        let before = if told.is_some() { 0 } else { self.0.get(&of).copied().unwrap_or(0) };
        let since = &batch[told.map_or(0, |told| told + 1)..];
        before + since.iter().filter(|tally| **tally == Tally::Counted(of)).count() as u64
    }

    /// Takes in what a batch has added, once it is durable.
    pub(super) fn take_in(&mut self, batch: Vec<Tally>) {
        for tally in batch {
            match tally {
                Tally::Told(of) => drop(self.0.remove(&of)),
                Tally::Counted(of) => {
                    if self.0.len() >= MOST && !self.0.contains_key(&of) {
                        self.0.clear();
                    }
                    *self.0.entry(of).or_default() += 1;
                }
            }
        }
    }

    /// Notes the refusals of answers in a batch, and in the entries that tell of them how many there were.
    pub(super) fn tally(
        &self,
        batch: &mut Vec<Tally>,
        organization: OrganizationId,
        verdicts: &[Verdict],
        entries: &mut [Entry],
    ) {
        for (meter, by, _) in verdicts.iter().flat_map(refusals) {
            let of = (organization, meter, by);
            match entries.iter_mut().find_map(|entry| count_of(entry, meter, by)) {
                Some(count) => {
                    *count = self.untold(of, batch) + 1;
                    batch.push(Tally::Told(of));
                }
                None => batch.push(Tally::Counted(of)),
            }
        }
    }
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
        let by = RefusedBy::Before(Reason::NotEntitled);
        let notice = Notice::Refused { meter: MeterId(meter), by, count: 1, figures: None };
        let mut entries = [Entry { at: Time::from_micros(0), what: What::Noticed(notice) }];
        refusals.tally(batch, ORGANIZATION, &[refused(meter)], &mut entries);
        let [Entry { what: What::Noticed(Notice::Refused { count, .. }), .. }] = entries else { unreachable!() };
        count
    }

    #[test]
    fn what_is_told_counts_all_refusals_since_it_was_told_before() {
        let (mut refusals, mut batch) = (Refusals::default(), Vec::new());
        assert_eq!(told(&refusals, &mut batch, 1), 1);
        refusals.tally(&mut batch, ORGANIZATION, &[refused(1), refused(2)], &mut []);
        assert_eq!(told(&refusals, &mut batch, 2), 2, "within a batch");
        refusals.take_in(std::mem::take(&mut batch));
        refusals.tally(&mut batch, ORGANIZATION, &[refused(1)], &mut []);
        assert_eq!(told(&refusals, &mut batch.clone(), 1), 3);
        // A batch that failed is not taken in.
        batch.clear();
        assert_eq!(told(&refusals, &mut batch, 1), 2);
        assert_eq!(told(&refusals, &mut batch, 2), 1);
        refusals.take_in(batch);
        assert!(refusals.0.is_empty(), "{refusals:?}");
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
