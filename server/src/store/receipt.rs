//! Answers that are kept under idempotency keys, as they are stored.

use metergate_rules::time::Time;

use super::error::{EngineError, unreadable};
use super::seal::{seal, unseal};
use super::{Answer, KeptAnswer};

/// A kept answer as it is stored. All of it is in its checksum.
pub(super) struct ReceiptRow {
    pub(super) scope: [u8; 16],
    pub(super) route: String,
    pub(super) key: String,
    pub(super) at: Time,
    pub(super) fingerprint: u64,
    pub(super) answer: Answer,
}

impl ReceiptRow {
    /// What is kept of an answer.
    pub(super) fn keeping(kept: &KeptAnswer, at: Time) -> Self {
        let KeptAnswer { scope, key, answer, .. } = kept;
        Self {
            scope: *scope,
            route: key.route.to_owned(),
            key: key.key.as_str().to_owned(),
            at,
            fingerprint: key.fingerprint,
            answer: answer.clone(),
        }
    }

    fn with_columns<T>(&self, with: impl FnOnce(&[&[u8]]) -> T) -> T {
        let (at, fingerprint) = (self.at.micros().to_le_bytes(), self.fingerprint.to_le_bytes());
        let (route, key) = (self.route.as_bytes(), self.key.as_bytes());
        with(&[&self.scope, route, key, &at, &fingerprint, &self.answer.status.to_le_bytes()])
    }

    /// What stands in the column `body`.
    pub(super) fn sealed(&self) -> Vec<u8> {
        self.with_columns(|columns| seal(columns, &self.answer.body))
    }

    /// With the body that was sealed.
    pub(super) fn checked(mut self) -> Result<Self, EngineError> {
        let body = self.with_columns(|columns| unseal(columns, &self.answer.body).map(<[u8]>::to_vec));
        self.answer.body = body.map_err(|error| unreadable("an answer under an idempotency key", error))?;
        Ok(self)
    }
}
