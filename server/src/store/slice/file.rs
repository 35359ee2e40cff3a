//! A file that is written once, read at any place, and says so when its bytes are no longer those that were written.
//!
//! Sections follow each other; a tail, a postcard value, tells where they are; a trailer of 24 bytes tells where the tail
//! is. Sections and tail have a CRC-32, so that every byte that is read is checked.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::SliceError;
use crate::paced::Paced;

/// Bytes of the trailer: what kind of file it is, the length of the tail, its CRC-32, and as many zeros.
const TRAILER: usize = 24;
/// Bytes that are written to the disk at once.
const BUFFER: usize = 1 << 20;

/// What kind of file it is, and the version of its format.
pub(super) type Kind = [u8; 8];

/// A part of a file, as the tail knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Section {
    at: u64,
    length: u64,
    checksum: u32,
}

/// Why a part of a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// The disk failed, or the file ends too early.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The bytes are not those that were written.
    #[error("the checksum does not match at byte {0}: the stored bytes have changed")]
    Checksum(u64),
    /// Another program, or a later one, wrote it.
    #[error("it is no file of this kind, or of a version that this program does not know")]
    Kind,
    /// It does not hold what its kind says.
    #[error("it is malformed: {0}")]
    Malformed(&'static str),
    /// A record in it cannot be read.
    #[error("a record in it: {0}")]
    Record(#[from] crate::store::block::Unreadable),
}

/// Writes a file from its beginning to its end.
pub(super) struct Writing {
    out: BufWriter<Paced<File>>,
    path: PathBuf,
    position: u64,
}

impl Writing {
    /// Makes the file, in place of what a start before has left there.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        let file = File::options().write(true).create(true).truncate(true).open(path)?;
        let out = BufWriter::with_capacity(BUFFER, Paced::new(file));
        Ok(Self { out, path: path.to_owned(), position: 0 })
    }

    /// Writes bytes that carry their checksum themselves. Answers where they begin.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<u64> {
        self.out.write_all(bytes)?;
        let at = self.position;
        self.position += bytes.len() as u64;
        Ok(at)
    }

    /// Writes a section of several parts.
    pub(super) fn section<P: AsRef<[u8]>>(&mut self, parts: impl IntoIterator<Item = P>) -> io::Result<Section> {
        let (at, mut hasher) = (self.position, crc32fast::Hasher::new());
        for part in parts {
            hasher.update(part.as_ref());
            self.write(part.as_ref())?;
        }
        Ok(Section { at, length: self.position - at, checksum: hasher.finalize() })
    }

    /// Ends the file with its tail, and returns once it and its name are on the disk.
    pub(super) fn finish<T: Serialize>(mut self, kind: Kind, tail: &T) -> io::Result<()> {
        let tail = postcard::to_allocvec(tail).map_err(io::Error::other)?;
        self.write(&tail)?;
        self.write(&kind)?;
        self.write(&(tail.len() as u64).to_le_bytes())?;
        self.write(&crc32fast::hash(&tail).to_le_bytes())?;
        self.write(&[0; 4])?;
        self.out.into_inner().map_err(io::IntoInnerError::into_error)?.into_inner().sync_all()?;
        let folder = self.path.parent().ok_or(io::ErrorKind::NotADirectory)?;
        File::open(folder)?.sync_all()
    }
}

/// A finished file. It can be read for as long as this lives, also after its name has gone.
#[derive(Debug)]
pub(super) struct Finished {
    file: File,
    path: PathBuf,
}

impl Finished {
    /// Opens a file and reads its tail.
    pub(super) fn open<T: DeserializeOwned>(path: &Path, kind: Kind) -> Result<(Self, T), SliceError> {
        let path = path.to_owned();
        let file = match File::open(&path) {
            Ok(file) => Self { file, path },
            Err(error) => return Err(SliceError::of(&path, error.into())),
        };
        let tail = read_tail(&file.file, kind).map_err(|damage| file.error(damage))?;
        Ok((file, tail))
    }

    /// An error of this file.
    pub(super) fn error(&self, damage: impl Into<Damage>) -> SliceError {
        SliceError::of(&self.path, damage.into())
    }

    /// So many bytes from a place.
    pub(super) fn bytes(&self, at: u64, length: usize) -> Result<Vec<u8>, Damage> {
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, at)?;
        Ok(bytes)
    }

    /// The bytes of a section, checked.
    pub(super) fn read(&self, section: Section) -> Result<Vec<u8>, Damage> {
        let length = usize::try_from(section.length).map_err(|_| Damage::Malformed("a section is too long"))?;
        let bytes = self.bytes(section.at, length)?;
        if crc32fast::hash(&bytes) == section.checksum { Ok(bytes) } else { Err(Damage::Checksum(section.at)) }
    }

    /// Takes the name away. Those who still read it are not disturbed.
    pub(super) fn unlink(&self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(file = %self.path.display(), %error, "a slice file that is needed no more cannot be removed");
        }
    }
}

fn read_tail<T: DeserializeOwned>(file: &File, kind: Kind) -> Result<T, Damage> {
    let end = file.metadata()?.len();
    let start = end.checked_sub(TRAILER as u64).ok_or(Damage::Malformed("it is cut short"))?;
    let mut trailer = [0; TRAILER];
    file.read_exact_at(&mut trailer, start)?;
    let (found, rest) = trailer.split_at(kind.len());
    let (length, rest) = rest.split_at(8);
    let (checksum, zeros) = rest.split_at(4);
    if found != kind || zeros != [0; 4] {
        return Err(Damage::Kind);
    }
    let length = length.try_into().map_or(u64::MAX, u64::from_le_bytes);
    let at = start.checked_sub(length).ok_or(Damage::Checksum(start))?;
    let mut tail = vec![0; usize::try_from(length).map_err(|_| Damage::Malformed("the tail is too long"))?];
    file.read_exact_at(&mut tail, at)?;
    if crc32fast::hash(&tail).to_le_bytes() != checksum {
        return Err(Damage::Checksum(at));
    }
    postcard::from_bytes(&tail).map_err(|_| Damage::Malformed("its tail"))
}
