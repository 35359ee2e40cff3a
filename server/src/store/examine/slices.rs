//! Going through the files of closed slices.

use super::{Examination, Halt};
use crate::store::known::Id;
use crate::store::slice::{Extent, IdFile, Records, SliceError};

impl Examination<'_> {
    /// Every file that the database names: whether it is there, whole, and follows the one before it.
    pub(super) fn slices(&mut self) -> Result<(), Halt> {
        let slices = self.sqlite.slices()?;
        self.sliced_to = slices.last().map_or(0, |extent| extent.last);
        for extent in slices {
            self.go_on()?;
            self.follow(extent.first, extent.last);
            match self.records(extent) {
                Ok(ids) => self.seen.census.ids += ids,
                Err(error) => self.find(error.to_string()),
            }
        }
        for extent in self.sqlite.slice_ids()? {
            self.go_on()?;
            if let Err(error) = self.ids(extent) {
                self.find(error.to_string());
            }
        }
        Ok(())
    }

    /// How many of the records have an id.
    fn records(&self, extent: Extent) -> Result<u64, SliceError> {
        let mut ids = 0;
        Records::open(&extent.records_in(self.folder))?.each(|_, _, records| {
            ids += records.iter().filter(|(_, record)| Id::of(record).is_some()).count() as u64;
            Ok::<_, SliceError>(())
        })?;
        Ok(ids)
    }

    fn ids(&self, extent: Extent) -> Result<(), SliceError> {
        let file = IdFile::open(&extent.ids_in(self.folder))?;
        let mut entries = file.entries();
        while entries.next()?.is_some() {}
        Ok(())
    }
}
