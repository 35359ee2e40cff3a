//! The team's settings, and who its administrators are.

use askama::Template;

use crate::answers::{Administrator, Settings as Stored};
use crate::format::{self, Markup, Zone};
use crate::frame::{Frame, Place};
use crate::organizations::in_query;
use crate::who::Names;

/// The page.
#[derive(Template)]
#[template(path = "settings.html")]
pub struct Settings {
    frame: Frame,
    settings: Stored,
    administrators: Vec<Administrator>,
    names: Names,
}

impl Settings {
    /// The page.
    pub fn new(frame: Frame, settings: Stored, administrators: Vec<Administrator>) -> Self {
        let names = Names::default().with_users(administrators.iter().map(|one| &one.user));
        Self { frame: frame.at("Settings", Place::Settings), settings, administrators, names }
    }

    /// Whether it is whoever looks.
    fn is_me(&self, administrator: &Administrator) -> bool {
        let me = self.frame.me.as_ref().and_then(|me| me.user.as_ref());
        me.is_some_and(|me| me.id == administrator.user.id)
    }

    fn moment(&self, time: &str) -> Markup {
        format::moment_tag(time, &Zone::utc())
    }

    fn query(&self, text: &str) -> String {
        in_query(text)
    }

    fn date(&self, time: &str) -> Markup {
        format::date_tag(time, &Zone::utc())
    }

    fn or_none<'a>(&self, text: &'a Option<String>) -> &'a str {
        text.as_deref().unwrap_or("–")
    }
}
