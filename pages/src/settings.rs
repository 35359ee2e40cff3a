//! The team's settings, and who its administrators are.

use askama::Template;

use crate::answers::{Settings as Stored, User};
use crate::format::{self, Markup, Zone};
use crate::frame::{Frame, Place};

/// The page.
#[derive(Template)]
#[template(path = "settings.html")]
pub struct Settings {
    frame: Frame,
    settings: Stored,
    administrators: Vec<User>,
}

impl Settings {
    /// The page.
    pub fn new(frame: Frame, settings: Stored, administrators: Vec<User>) -> Self {
        Self { frame: frame.at("Settings", Place::Settings), settings, administrators }
    }

    fn date(&self, time: &str) -> Markup {
        format::date_tag(time, &Zone::utc())
    }

    fn or_none<'a>(&self, text: &'a Option<String>) -> &'a str {
        text.as_deref().unwrap_or("–")
    }
}
