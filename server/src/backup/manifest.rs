//! What a backup says of itself: `backup.json`.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Name, SLICES};
use crate::hex::hex;
use crate::store::examine::Census;
use crate::store::sqlite;

/// Its name.
pub const FILE: &str = "backup.json";
/// The format that is written.
const FORMAT: u32 = 1;

/// What was backed up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    /// The version of this form.
    pub format: u32,
    /// The version of the program that made it.
    pub program: String,
    /// The version of the database's schema.
    pub schema: u32,
    /// When it was begun.
    pub created_at: String,
    /// Up to which block everything stands in the rows; a start folds the rest.
    pub folded_to: u64,
    /// What the store held.
    pub counts: Census,
    /// Every file but this one, in order of path.
    pub files: Vec<FileEntry>,
}

/// A file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FileEntry {
    /// From the backup's folder, with `/`.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256 in lower-case hex.
    pub sha256: String,
}

/// As it is written: with a digest of itself, so that a changed figure is no other truth.
#[derive(Serialize, Deserialize)]
struct Written {
    #[serde(flatten)]
    manifest: Manifest,
    sha256: String,
}

/// The only thing that every format says.
#[derive(Deserialize)]
struct AnyFormat {
    format: u32,
    program: String,
}

/// Why a folder's manifest does not say what to restore.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// It is not there.
    #[error("it has no {FILE}: this is no backup, or not the whole of one")]
    Missing,
    /// It cannot be read as what it should be.
    #[error("{FILE} is not what was written: {0}")]
    Changed(String),
    /// A later program wrote it.
    #[error("{FILE} has format {format}, written by metergate {program}: use that version or a newer one")]
    Newer {
        /// Its format.
        format: u32,
        /// Who wrote it.
        program: String,
    },
}

impl Manifest {
    /// Of a backup that was made now, by this program.
    pub(super) fn new(created_at: String, folded_to: u64, counts: Census, files: Vec<FileEntry>) -> Self {
        let program = env!("CARGO_PKG_VERSION").to_owned();
        Self { format: FORMAT, program, schema: sqlite::SCHEMA, created_at, folded_to, counts, files }
    }

    /// The text of [`FILE`].
    ///
    /// # Errors
    /// None: every part has a JSON form.
    pub(super) fn text(&self) -> serde_json::Result<String> {
        let written = Written { manifest: self.clone(), sha256: self.digest()? };
        Ok(serde_json::to_string_pretty(&written)? + "\n")
    }

    /// Reads that of a backup.
    ///
    /// # Errors
    /// `Unusable` where it is not there, not what was written, or of a later format.
    pub fn read(folder: &Path) -> Result<Self, Unusable> {
        let text = fs::read_to_string(folder.join(FILE)).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Unusable::Missing,
            _ => Unusable::Changed(error.to_string()),
        })?;
        let changed = |error: serde_json::Error| Unusable::Changed(error.to_string());
        let AnyFormat { format, program } = serde_json::from_str(&text).map_err(changed)?;
        if format > FORMAT {
            return Err(Unusable::Newer { format, program });
        }
        let Written { manifest, sha256 } = serde_json::from_str(&text).map_err(changed)?;
        if manifest.digest().map_err(changed)? != sha256 {
            return Err(Unusable::Changed("its digest does not match".to_owned()));
        }
        match manifest.files.iter().find(|file| !is_ours(&file.path)) {
            Some(foreign) => Err(Unusable::Changed(format!("it names {:?}, which no backup has", foreign.path))),
            None => Ok(manifest),
        }
    }

    /// Bytes of all its files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    fn digest(&self) -> serde_json::Result<String> {
        Ok(hex(&Sha256::digest(serde_json::to_vec(self)?)))
    }
}

/// Whether a backup can have such a file: a manifest may come from anywhere, and must not lead anywhere else.
fn is_ours(path: &str) -> bool {
    let name = |rest: &str| rest.strip_prefix('/').is_some_and(|name| Name::new(name).is_ok());
    path == sqlite::FILE || path.strip_prefix(SLICES).is_some_and(name)
}
