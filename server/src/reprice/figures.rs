//! What came of the uses of a model, added up.

use std::collections::BTreeMap;

/// What came of the uses of a model. Costs are in billionths of a dollar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// How many there were.
    pub uses: u64,
    /// Those of which nobody knows what they cost.
    pub unpriced: u64,
    /// What was charged, with earlier corrections of this kind.
    pub before: i128,
    /// What they cost by today's table.
    pub after: i128,
    /// Whether it differs in some quarter hour, though it may come to the same.
    pub moved: bool,
}

impl Figures {
    /// How much more is charged, or less.
    pub const fn difference(&self) -> i128 {
        self.after - self.before
    }

    /// Whether anything of it is to be corrected.
    pub const fn differs(&self) -> bool {
        self.moved
    }

    pub(super) const fn add(&mut self, other: &Self) {
        self.uses += other.uses;
        self.unpriced += other.unpriced;
        self.before += other.before;
        self.after += other.after;
        self.moved |= other.moved;
    }
}

/// The model among dimension values; empty where it is not among them.
pub(super) fn model_of(dimensions: &str) -> String {
    let values: Option<BTreeMap<String, String>> = serde_json::from_str(dimensions).ok();
    values.and_then(|mut values| values.remove("model")).unwrap_or_default()
}
