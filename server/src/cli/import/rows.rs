//! The rows of a CSV file, one after another, and the digest of those that were read.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::rc::Rc;

use anyhow::Context as _;
use csv::ByteRecord;
use sha2::{Digest, Sha256};

use super::quotes::Quotes;
use crate::hex::hex;

/// Reads rows in order. The heading line is none of them; blank lines are none either.
pub(super) struct Rows {
    reader: csv::Reader<Bounded<File>>,
    since_row: Rc<Cell<usize>>,
    record: ByteRecord,
    headings: Vec<String>,
    done: u64,
    line: u64,
    digest: Sha256,
    size: u64,
}

/// One row of the file.
pub(super) struct Row<'a> {
    /// Counted from 1, without the headings.
    pub(super) number: u64,
    /// The line on which it begins, counted from 1, with the headings.
    pub(super) line: u64,
    /// Its cells.
    pub(super) cells: &'a ByteRecord,
    /// SHA-256 of its cells.
    pub(super) hash: [u8; 32],
}

impl Rows {
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let name = || format!("cannot read {}", path.display());
        let file = File::open(path).with_context(name)?;
        let size = file.metadata().with_context(name)?.len();
        let since_row = Rc::new(Cell::new(0));
        let bounded = Bounded { inner: file, since_row: Rc::clone(&since_row), quotes: Quotes::default() };
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(bounded);
        let headings = reader.byte_headers().with_context(name)?;
        let headings: Vec<String> =
            headings.iter().map(|cell| String::from_utf8_lossy(cell).trim().to_owned()).collect();
        anyhow::ensure!(!headings.is_empty(), "{} is empty: its first line must name the columns", path.display());
        let (record, digest) = (ByteRecord::new(), Sha256::new());
        Ok(Self { reader, since_row, record, headings, done: 0, line: 0, digest, size })
    }

    /// The names of the columns.
    pub(super) fn headings(&self) -> &[String] {
        &self.headings
    }

    /// The next row; nothing at the end of the file.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<Row<'_>>> {
        self.since_row.set(0);
        let line = self.reader.position().line();
        if !self.reader.read_byte_record(&mut self.record).with_context(|| format!("line {line}"))? {
            return Ok(None);
        }
        let hash = hash(&self.record);
        self.digest.update(hash);
        self.done += 1;
        self.line = self.record.position().map_or(line, csv::Position::line);
        Ok(Some(Row { number: self.done, line: self.line, cells: &self.record, hash }))
    }

    /// The line on which the last row that was read begins; 0 before the first.
    pub(super) const fn line(&self) -> u64 {
        self.line
    }

    /// How many rows were read.
    pub(super) const fn done(&self) -> u64 {
        self.done
    }

    /// SHA-256 over the hashes of the rows that were read, in lower-case hex.
    pub(super) fn digest(&self) -> String {
        hex(&self.digest.clone().finalize())
    }

    /// The file's size when it was opened, and how much of it was read, both in bytes.
    pub(super) fn progress(&self) -> (u64, u64) {
        (self.size, self.reader.position().byte())
    }
}

/// Over each cell's length and bytes: cells cannot be split otherwise and give the same. How a cell is quoted and how a
/// line ends is not in it, so that a last line without a newline stays the same row when the file grows.
fn hash(cells: &ByteRecord) -> [u8; 32] {
    let mut hash = Sha256::new();
    for cell in cells {
        hash.update(u64::try_from(cell.len()).unwrap_or(u64::MAX).to_le_bytes());
        hash.update(cell);
    }
    hash.finalize().into()
}

/// The longest row in bytes, beyond what the reader has read ahead.
const LONGEST_ROW: usize = 1 << 20;

/// Ends where a single row grows without bound, or has a quote that is not closed at the end of the file: that would have taken
/// the rest of the file.
struct Bounded<R> {
    inner: R,
    since_row: Rc<Cell<usize>>,
    quotes: Quotes,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.since_row.get() > LONGEST_ROW {
            return Err(io::Error::other("the row that begins here is longer than 1 MiB; is a quote not closed?"));
        }
        let read = self.inner.read(buffer)?;
        if read == 0 && self.quotes.is_open() {
            return Err(io::Error::other("in the row that begins here a quote is not closed"));
        }
        self.quotes.take(&buffer[..read]);
        self.since_row.set(self.since_row.get() + read);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Number, line and cells.
    type Read = (u64, u64, Vec<String>);

    /// Every row, and the digest.
    fn read(content: &[u8]) -> anyhow::Result<(Vec<Read>, String)> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        let mut rows = Rows::open(file.path())?;
        let mut read = Vec::new();
        while let Some(row) = rows.next()? {
            let cells = row.cells.iter().map(|cell| String::from_utf8_lossy(cell).into_owned()).collect();
            read.push((row.number, row.line, cells));
        }
        Ok((read, rows.digest()))
    }

    #[test]
    fn marks_quotes_and_line_ends_are_no_part_of_a_row() {
        let plain = read(b"a,b\n1,2\n\"x\ny\",4\n5,6\n").unwrap();
        let cells = |texts: [&str; 2]| texts.map(str::to_owned).to_vec();
        assert_eq!(plain.0, [(1, 2, cells(["1", "2"])), (2, 3, cells(["x\ny", "4"])), (3, 5, cells(["5", "6"]))]);
        for other in
            [b"\xef\xbb\xbfa,b\r\n\"1\",2\r\n\"x\ny\",4\r\n5,6".as_slice(), b"a,b\n\n1,2\n\n\"x\ny\",4\n5,6\n\n"]
        {
            let other = read(other).unwrap();
            assert_eq!(other.1, plain.1);
            assert_eq!(
                other.0.iter().map(|row| &row.2).collect::<Vec<_>>(),
                plain.0.iter().map(|row| &row.2).collect::<Vec<_>>()
            );
        }
        assert_ne!(read(b"a,b\n12,\n").unwrap().1, read(b"a,b\n1,2\n").unwrap().1);
    }

    #[test]
    fn the_mark_at_the_start_is_no_part_of_the_first_heading() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"\xef\xbb\xbfTIMESTAMP, Tokens\r\n").unwrap();
        assert_eq!(Rows::open(file.path()).unwrap().headings(), ["TIMESTAMP", "Tokens"]);
    }

    #[test]
    fn a_quote_that_is_never_closed_ends_the_reading() {
        let content = format!("a,b\n1,2\n\"{}", "x,y\n".repeat(1 << 20));
        let error = format!("{:#}", read(content.as_bytes()).unwrap_err());
        assert!(error.contains("line 3") && error.contains("is a quote not closed?"), "{error}");
        assert!(read(b"").is_err());
    }

    #[test]
    fn no_row_is_lost_behind_a_quote_that_is_not_closed() {
        for (content, line) in [("a,b\n1,\"x\n2,y\n3,z\n", 2), ("a,b\n1,2\n3,\"5", 3), ("a,b\n1,\"\"\"\n2,y\n", 2)] {
            let error = format!("{:#}", read(content.as_bytes()).unwrap_err());
            assert!(error.contains(&format!("line {line}")) && error.contains("a quote is not closed"), "{error}");
        }
        assert_eq!(read(b"a,b\n1,x\"y\n2,\"z\"").unwrap().0.len(), 2);
    }
}
