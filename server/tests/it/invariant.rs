//! What must never break, each as a check that says what it saw. The store's suite and the crash tests share them, and
//! so do the tests of the tests, which plant a bug and want to see the check of that name turn red.

use std::fmt;
use std::path::Path;

mod audit;
mod clock;
mod conservation;
mod image;
mod journal;
mod reservation;
mod told;

use audit::audit;
pub(crate) use clock::clock;
pub(crate) use conservation::{conservation, folded};
pub(crate) use image::{Image, stored_rollups};
pub(crate) use journal::{Journal, most_in_any};
pub(crate) use reservation::reservation;
pub(crate) use told::told;

/// An invariant that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// Its name.
    pub(crate) invariant: &'static str,
    /// What was seen, and what should have been.
    pub(crate) detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} does not hold: {}", self.invariant, self.detail)
    }
}

/// A violation of an invariant, or nothing.
pub(crate) type Held = Result<(), Violation>;

/// Everything that must hold in what is stored, seen in a snapshot of a data folder.
pub(crate) fn stored(folder: &Path) -> Held {
    all_hold(&Image::of_folder(folder))
}

/// The same of what was read.
pub(crate) fn all_hold(image: &Image) -> Held {
    conservation::conservation_of(image)?;
    audit(image)?;
    reservation::reservation_of(image)?;
    clock::clock_of(image)
}

/// Holds `invariant` unless the two are equal.
pub(crate) fn equal<T: PartialEq + fmt::Debug>(
    invariant: &'static str,
    what: impl fmt::Display,
    seen: &T,
    expected: &T,
) -> Held {
    if seen == expected {
        return Ok(());
    }
    Err(Violation { invariant, detail: format!("{what}: {seen:?}, should be {expected:?}") })
}

/// A violation of `invariant` unless `holds`.
pub(crate) fn holds(invariant: &'static str, holds: bool, detail: impl FnOnce() -> String) -> Held {
    if holds { Ok(()) } else { Err(Violation { invariant, detail: detail() }) }
}
