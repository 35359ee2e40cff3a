//! How long it may take, and who watches it.

use std::sync::atomic::{AtomicU64, Ordering};

use super::replayed::Looked;
use crate::backup::Watch;
use crate::clock::boot;
use crate::store::StoreError;
use crate::store::reader::ReadError;

/// A second, in microseconds.
const SECOND: i64 = 1_000_000;

/// A watch that also ends when the time is over that was given.
pub(super) struct Budget<'a> {
    watch: &'a dyn Watch,
    /// When it ends, by the boot clock.
    ends: Option<i64>,
    total: AtomicU64,
    done: AtomicU64,
}

impl<'a> Budget<'a> {
    pub(super) fn new(watch: &'a dyn Watch, seconds: Option<u32>) -> Self {
        let ends = seconds.map(|seconds| boot().saturating_add(i64::from(seconds) * SECOND));
        Self { watch, ends, total: AtomicU64::new(0), done: AtomicU64::new(0) }
    }

    /// Whether the time is over.
    pub(super) fn is_over(&self) -> bool {
        self.ends.is_some_and(|ends| ends <= boot())
    }

    /// Whether what was looked at counts: not what was broken off since the time was over.
    pub(super) fn takes(&self, looked: &Result<Looked, ReadError>) -> bool {
        let is_stopped = matches!(looked, Err(ReadError::Store(StoreError::Unavailable)));
        !(is_stopped && self.watch.goes_on() && self.is_over())
    }

    /// How many were to be done and are not, if the time is over.
    pub(super) fn left(&self) -> u64 {
        let left = self.total.load(Ordering::Relaxed).saturating_sub(self.done.load(Ordering::Relaxed));
        if self.is_over() { left } else { 0 }
    }
}

impl Watch for Budget<'_> {
    fn total(&self, organizations: u64) {
        self.total.store(organizations, Ordering::Relaxed);
        self.watch.total(organizations);
    }

    fn advance(&self, more: u64) {
        self.done.fetch_add(more, Ordering::Relaxed);
        self.watch.advance(more);
    }

    fn goes_on(&self) -> bool {
        self.watch.goes_on() && !self.is_over()
    }
}
