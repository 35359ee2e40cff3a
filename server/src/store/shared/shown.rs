//! Catalogue and people as those who ask see them. Several loops of a node load them, and the last that does may have read
//! them first: what is shown only goes forward.

use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::catalogue::Snapshot;
use crate::people::People;

/// What the node shows.
pub(super) struct Shown {
    pub(super) catalogue: Arc<ArcSwap<Snapshot>>,
    pub(super) people: Arc<ArcSwap<People>>,
    /// The epochs of which they are.
    epochs: Mutex<(i64, i64)>,
}

impl Shown {
    pub(super) fn new(catalogue: &Arc<Snapshot>, people: &Arc<People>, epochs: (i64, i64)) -> Self {
        let catalogue = Arc::new(ArcSwap::new(Arc::clone(catalogue)));
        let people = Arc::new(ArcSwap::new(Arc::clone(people)));
        Self { catalogue, people, epochs: Mutex::new(epochs) }
    }

    /// The record is not the one of before, where its epochs are lower than those that a loop knew: a standby has taken its
    /// place, or a backup. What is shown from now on are its epochs.
    pub(super) fn begin_anew(&self) {
        *self.epochs.lock() = (i64::MIN, i64::MIN);
    }

    /// Shows a catalogue, unless a newer one is shown.
    pub(super) fn show_catalogue(&self, epoch: i64, snapshot: &Arc<Snapshot>) {
        let mut epochs = self.epochs.lock();
        if epoch >= epochs.0 {
            epochs.0 = epoch;
            self.catalogue.store(Arc::clone(snapshot));
        }
    }

    /// Shows people, unless they are shown as they were later.
    pub(super) fn show_people(&self, epoch: i64, people: &Arc<People>) {
        let mut epochs = self.epochs.lock();
        if epoch >= epochs.1 {
            epochs.1 = epoch;
            self.people.store(Arc::clone(people));
        }
    }

    /// Whether what is shown was replaced by what has these epochs.
    pub(super) fn is_before(&self, epochs: (i64, i64)) -> bool {
        let shown = *self.epochs.lock();
        shown.0 < epochs.0 || shown.1 < epochs.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Stored;

    #[test]
    fn what_was_read_earlier_and_is_shown_later_takes_nothing_back() {
        let snapshot = || Arc::new(Snapshot::new(Stored::default()).unwrap());
        let people = || Arc::new(People::default());
        let (newest, everybody) = (snapshot(), people());
        let shown = Shown::new(&snapshot(), &people(), (3, 3));
        shown.show_catalogue(5, &newest);
        shown.show_people(4, &everybody);
        for epoch in [2, 3] {
            shown.show_catalogue(epoch, &snapshot());
            shown.show_people(epoch, &people());
        }
        assert!(Arc::ptr_eq(&shown.catalogue.load(), &newest));
        assert!(Arc::ptr_eq(&shown.people.load(), &everybody));
        assert_eq!([(5, 4), (5, 5), (6, 0)].map(|epochs| shown.is_before(epochs)), [false, true, true]);
        shown.show_catalogue(6, &snapshot());
        assert!(!Arc::ptr_eq(&shown.catalogue.load(), &newest));
        shown.begin_anew();
        shown.show_catalogue(2, &newest);
        assert!(Arc::ptr_eq(&shown.catalogue.load(), &newest), "of a record that went back it is what holds");
    }
}
