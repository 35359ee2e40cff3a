//! Brings the records of a slice from the order of blocks into that of organizations, without decoding them and with
//! bounded memory: what fits is sorted and spilled to a file without a name, then all that was spilled is merged.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::records::{RUN_HEADER, RunKey, run_header, store_run};
use crate::paced::Paced;
use crate::store::block::Block;

/// Bytes of records that are sorted at once.
pub(super) const MEMORY: usize = 64 << 20;
/// Bytes that are read at once of each spilled part.
const BUFFER: usize = 256 << 10;

/// Runs on their way into order.
pub(super) struct Sorter {
    memory: usize,
    stored: Vec<u8>,
    /// Key, begin and end of each run in `stored`.
    runs: Vec<(RunKey, usize, usize)>,
    spilled: Arc<File>,
    /// Where each spilled part ends.
    ends: Vec<u64>,
}

impl Sorter {
    /// Spills at `path` what has more than `memory` bytes.
    pub(super) fn new(path: &Path, memory: usize) -> io::Result<Self> {
        let file = File::options().read(true).write(true).create(true).truncate(true).open(path)?;
        fs::remove_file(path)?;
        Ok(Self { memory, stored: Vec::new(), runs: Vec::new(), spilled: Arc::new(file), ends: Vec::new() })
    }

    /// Takes the runs of a block.
    pub(super) fn add(&mut self, sequence: u64, block: &Block<'_>) -> io::Result<()> {
        for run in block.runs() {
            let start = self.stored.len();
            store_run(sequence, &run, &mut self.stored);
            self.runs.push(((run.organization, sequence), start, self.stored.len()));
        }
        if self.stored.len() >= self.memory { self.spill() } else { Ok(()) }
    }

    fn spill(&mut self) -> io::Result<()> {
        self.runs.sort_unstable();
        let mut out = BufWriter::with_capacity(BUFFER, Paced::new(&*self.spilled));
        for (_, start, end) in &self.runs {
            out.write_all(&self.stored[*start..*end])?;
        }
        out.flush()?;
        drop(out);
        let before = self.ends.last().copied().unwrap_or_default();
        self.ends.push(before + self.stored.len() as u64);
        self.stored.clear();
        self.runs.clear();
        Ok(())
    }

    /// Hands out all runs in order, each as it is stored.
    pub(super) fn finish(mut self, mut each: impl FnMut(RunKey, &[u8]) -> io::Result<()>) -> io::Result<()> {
        self.spill()?;
        self.stored = Vec::new();
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let part = |(at, end)| Part::new(Range { file: Arc::clone(&self.spilled), at, end });
        let mut parts: Vec<Part> = starts.zip(self.ends.iter().copied()).map(part).collect();
        let mut next = BinaryHeap::new();
        for (number, part) in parts.iter_mut().enumerate() {
            next.extend(part.advance()?.map(|key| Reverse((key, number))));
        }
        while let Some(Reverse((key, number))) = next.pop() {
            each(key, &parts[number].run)?;
            next.extend(parts[number].advance()?.map(|key| Reverse((key, number))));
        }
        Ok(())
    }
}

/// A part that was spilled, in order.
struct Part {
    source: BufReader<Range>,
    /// The run at which it stands, as it is stored.
    run: Vec<u8>,
}

impl Part {
    fn new(range: Range) -> Self {
        Self { source: BufReader::with_capacity(BUFFER, range), run: Vec::new() }
    }

    /// Goes to the next run. Its key; `None` after the last.
    fn advance(&mut self) -> io::Result<Option<RunKey>> {
        if self.source.buffer().is_empty() && self.source.get_ref().is_at_end() {
            return Ok(None);
        }
        let mut header = [0; RUN_HEADER];
        self.source.read_exact(&mut header)?;
        let (key, _, length) = run_header(&header);
        self.run.clear();
        self.run.extend_from_slice(&header);
        self.run.resize(RUN_HEADER + length, 0);
        self.source.read_exact(&mut self.run[RUN_HEADER..])?;
        Ok(Some(key))
    }
}

/// A part of a file that several read at once.
struct Range {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Range {
    const fn is_at_end(&self) -> bool {
        self.at >= self.end
    }
}

impl Read for Range {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let most = left.min(buffer.len());
        let read = self.file.read_at(&mut buffer[..most], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
