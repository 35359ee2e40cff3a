//! Changes of the team's settings.

use metergate_rules::audit::{Fields, Value};

use super::{Changing, Decided, TeamReply, TeamRow};
use crate::catalogue::logo::Logo;
use crate::catalogue::settings::{SettingsChange, TeamSettings};

impl Changing<'_> {
    /// The entry has what has changed, before and after.
    pub(super) fn change_settings(&mut self, change: &SettingsChange) -> Decided {
        let (old, new) = (self.stored.settings.clone(), change.on(&self.stored.settings));
        if old == new {
            return Ok((TeamReply::Settings, None));
        }
        let changed = |of: Vec<(&'static str, Value)>, other: Vec<(&'static str, Value)>| {
            let differs = of.into_iter().zip(other).filter(|(value, other)| value != other);
            differs.fold(Fields::default(), |fields, ((name, value), _)| fields.with(name, value))
        };
        let before = changed(fields(&old), fields(&new));
        let after = changed(fields(&new), fields(&old));
        self.stored.settings = new.clone();
        self.rows.push(TeamRow::Settings(new));
        Ok((TeamReply::Settings, self.draft("setting.change", "config", before, after)))
    }
}

fn fields(settings: &TeamSettings) -> Vec<(&'static str, Value)> {
    let TeamSettings { team_name, logo, color, contact, bring_forward_months } = settings;
    // A picture by what tells it from others: the log need not hold it.
    let logo = logo.as_ref().map(|logo| match logo {
        Logo::Address(address) => address.clone(),
        Logo::Picture(picture) => picture.described(),
    });
    vec![
        ("teamName", team_name.clone().into()),
        ("logoUrl", logo.into()),
        ("color", color.clone().into()),
        ("contact", contact.clone().into()),
        ("bringForwardMonths", (*bring_forward_months).into()),
    ]
}
