//! An organization's billing cycle: the tab, and the dialog that moves it.

use askama::Template;

use crate::answers::Cycle;
use crate::form::Form;
use crate::format::{self, Markup};
use crate::frame::{Frame, Place};
use crate::organization::Head;
use crate::typed::instant;

/// The tab.
#[derive(Template)]
#[template(path = "organization/cycle.html")]
pub struct CycleTab {
    frame: Frame,
    head: Head,
    cycle: Cycle,
}

impl CycleTab {
    /// The page.
    pub fn new(frame: Frame, head: Head, cycle: Cycle, place: Place) -> Self {
        let title = format!("{} · Billing cycle", head.organization.name);
        Self { frame: frame.at(title, place), head, cycle }
    }

    /// From when periods are counted: the API says it as a civil time in the organization's zone.
    fn counted_from(&self) -> Markup {
        self.head.moment(&instant(&self.cycle.billing_cycle_start_date, &self.cycle.time_zone))
    }
}

/// The dialog "Update Billing Cycle": a date, and what the next resets would be.
#[derive(Template)]
#[template(path = "organization/cycle_dialog.html")]
pub struct CycleDialog {
    frame: Frame,
    head: Head,
    form: Form,
    preview: Option<Cycle>,
}

impl CycleDialog {
    /// The page; `preview` is what a move to the date in the form would do, where it can be made.
    pub fn new(frame: Frame, head: Head, form: Form, preview: Option<Cycle>, place: Place) -> Self {
        let frame = frame.at(form.title.clone(), place);
        Self { frame, head, form, preview }
    }

    /// The days of the period that would contain now.
    fn shown(&self, cycle: &Cycle) -> String {
        let zone = self.head.zone();
        format::days(&cycle.current_period.start, &cycle.current_period.end, &zone, zone.year(self.head.now()))
    }
}
