//! How a figure came about (D11).

use askama::Template;

use super::Head;
use crate::answers::{Explanation, Meter, MeterExplanation, WindowExplanation, name_of, unit_of};
use crate::audit::Entry;
use crate::format::{Amount, Markup};
use crate::forms::window_name;
use crate::frame::{Frame, Place};
use crate::typed::civil;
use crate::who::Names;

/// Whether plan or override say something of a window.
const fn is_limited(window: &WindowExplanation) -> bool {
    window.max.is_some() || window.limit.is_some() || window.unlimited || window.source.is_some()
}

/// The page.
#[derive(Template)]
#[template(path = "organization/explain.html")]
pub struct Explain {
    frame: Frame,
    head: Head,
    explanation: Explanation,
    meters: Vec<Meter>,
    entries: Vec<Entry>,
    names: Names,
    is_past: bool,
}

impl Explain {
    /// The page; `is_past` where another time than now was asked for.
    pub fn new(
        frame: Frame,
        head: Head,
        (explanation, names): (Explanation, Names),
        meters: Vec<Meter>,
        is_past: bool,
        place: Place,
    ) -> Self {
        let title = format!("{} · How figures came about", head.organization.name);
        let entries = explanation.audit.iter().map(|entry| Entry::new(entry.clone(), head.zone())).collect();
        Self { frame: frame.at(title, place), head, explanation, meters, entries, names, is_past }
    }

    fn name<'a>(&'a self, key: &'a str) -> &'a str {
        name_of(&self.meters, key)
    }

    fn amount(&self, meter: &str, amount: &Amount) -> String {
        let unit = unit_of(&self.meters, meter);
        amount.in_unit(unit)
    }

    fn optional(&self, meter: &str, amount: &Option<Amount>) -> String {
        amount.as_ref().map_or_else(|| "unlimited".to_owned(), |amount| self.amount(meter, amount))
    }

    /// The windows in which something holds for a meter.
    fn limited<'a>(&self, meter: &'a MeterExplanation) -> Vec<&'a WindowExplanation> {
        meter.windows.iter().filter(|window| is_limited(window)).collect()
    }

    /// Those in which it is only counted.
    fn counted<'a>(&self, meter: &'a MeterExplanation) -> Vec<&'a WindowExplanation> {
        meter.windows.iter().filter(|window| !is_limited(window)).collect()
    }

    fn window<'a>(&self, window: &'a WindowExplanation) -> &'a str {
        window_name(&window.window)
    }

    fn span(&self, window: &WindowExplanation) -> Markup {
        match (&window.reset_at, &window.start) {
            (Some(reset), _) => self.head.moment(reset),
            (None, Some(start)) => self.head.moment(start),
            (None, None) => Markup::default(),
        }
    }

    /// What of the limit credit gave and can still give.
    fn credit(&self, meter: &str, window: &WindowExplanation) -> String {
        let base = window.max.unwrap_or_default().plus(window.extra);
        self.amount(meter, &window.limit.unwrap_or_default().minus(base))
    }

    fn entries(&self) -> &[Entry] {
        &self.entries
    }

    const fn names(&self) -> &Names {
        &self.names
    }

    /// Entries are resolved in the log itself.
    const fn resolves(&self) -> Option<&str> {
        None
    }

    fn at(&self) -> String {
        civil(&self.explanation.at, &self.head.organization.time_zone)
    }
}
