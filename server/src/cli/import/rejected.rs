//! Rows that were rejected, in a file of their own: each as it stands in the file that is imported, with its line and why.
//! Mended there, they are imported from it.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use csv::ByteRecord;

/// What stands before the columns of the file itself.
const ADDED: [&str; 2] = ["rejectedLine", "rejectedReason"];

/// The file of rejected rows. It is there only where there are any.
pub(super) struct Rejected {
    path: PathBuf,
    headings: ByteRecord,
    writer: Option<csv::Writer<File>>,
}

impl Rejected {
    /// The file beside the one that is imported, where no other is named.
    pub(super) fn beside(file: &Path) -> PathBuf {
        file.with_extension("rejected.csv")
    }

    /// What earlier runs have put there of lines up to `last` stays; what comes after is sent once more.
    ///
    /// # Errors
    /// Where another file has this name, or the file cannot be read or written.
    pub(super) fn begin(path: PathBuf, columns: &[String], last: u64) -> anyhow::Result<Self> {
        let headings = ADDED.into_iter().chain(columns.iter().map(String::as_str)).collect();
        let rejected = Self { path, headings, writer: None };
        let name = rejected.path.display().to_string();
        match File::open(&rejected.path) {
            Ok(old) => rejected.keep(old, last).with_context(|| name)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).context(name),
        }
        Ok(rejected)
    }

    /// A process that ends in between leaves the file as it was.
    fn keep(&self, old: File, last: u64) -> anyhow::Result<()> {
        let mut old = csv::ReaderBuilder::new().flexible(true).from_reader(old);
        anyhow::ensure!(
            *old.byte_headers()? == self.headings,
            "this is no list of rows of this file that were rejected: move it away, or name another with --rejected"
        );
        let part = self.path.with_extension("part");
        let (mut kept, mut writer) = (0, writer(File::create(&part)?));
        writer.write_byte_record(&self.headings)?;
        for row in old.byte_records() {
            let row = row?;
            if line(&row).is_some_and(|line| line <= last) {
                writer.write_byte_record(&row)?;
                kept += 1;
            }
        }
        writer.flush()?;
        if kept == 0 {
            fs::remove_file(&part)?;
            fs::remove_file(&self.path)?;
        } else {
            fs::rename(&part, &self.path)?;
        }
        Ok(())
    }

    /// Adds a row.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub(super) fn add(&mut self, line: u64, reason: &str, cells: &ByteRecord) -> anyhow::Result<()> {
        let name = || format!("{}: name a file for rejected rows with --rejected", self.path.display());
        let writer = match &mut self.writer {
            Some(writer) => writer,
            None => {
                let file = OpenOptions::new().append(true).create(true).open(&self.path).with_context(name)?;
                let is_new = file.metadata().with_context(name)?.len() == 0;
                let writer = self.writer.insert(writer(file));
                if is_new {
                    writer.write_byte_record(&self.headings)?;
                }
                writer
            }
        };
        let mut row = ByteRecord::new();
        row.push_field(line.to_string().as_bytes());
        row.push_field(reason.as_bytes());
        cells.iter().for_each(|cell| row.push_field(cell));
        Ok(writer.write_byte_record(&row)?)
    }

    /// What was added is on disk, before the server hears that the rows are done.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub(super) fn save(&mut self) -> anyhow::Result<()> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        writer.flush().and_then(|()| writer.get_ref().sync_data()).with_context(|| self.path.display().to_string())
    }

    /// Where the rows are.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

fn writer(file: File) -> csv::Writer<File> {
    csv::WriterBuilder::new().flexible(true).from_writer(file)
}

/// The line of a rejected row.
fn line(row: &ByteRecord) -> Option<u64> {
    std::str::from_utf8(row.get(0)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_earlier_runs_stay_up_to_where_this_one_begins() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("trace.csv");
        let path = Rejected::beside(&file);
        assert_eq!(path, folder.path().join("trace.rejected.csv"));
        let columns = ["A".to_owned(), "B".to_owned()];
        let begin = |last: u64| Rejected::begin(path.clone(), &columns, last).unwrap();
        let read = || std::fs::read_to_string(&path).ok();
        let mut first = begin(0);
        first.save().unwrap();
        assert_eq!(read(), None, "nothing was rejected");
        first.add(3, "no time, or \"none\"", &ByteRecord::from(vec!["x,y"])).unwrap();
        first.add(5, "too much", &ByteRecord::from(vec!["1", "2", "3"])).unwrap();
        first.save().unwrap();
        let three = "3,\"no time, or \"\"none\"\"\",\"x,y\"\n";
        let whole = format!("rejectedLine,rejectedReason,A,B\n{three}5,too much,1,2,3\n");
        assert_eq!(read(), Some(whole.clone()));
        // Killed after these were written, and before the server heard of them: line 5 is sent once more.
        let mut second = begin(4);
        second.add(5, "too much", &ByteRecord::from(vec!["1", "2", "3"])).unwrap();
        second.save().unwrap();
        assert_eq!(read(), Some(whole));
        drop(begin(0));
        assert_eq!(read(), None, "all rows are sent again");
        std::fs::write(&path, "mine\n1\n").unwrap();
        let error = format!("{:#}", Rejected::begin(path.clone(), &columns, 0).err().unwrap());
        assert!(error.contains("--rejected"), "{error}");
        assert_eq!(read().as_deref(), Some("mine\n1\n"));
    }
}
