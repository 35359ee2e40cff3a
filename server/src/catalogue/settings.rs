//! What operators change while the server runs, as it is stored.

use serde::{Deserialize, Serialize};

use super::logo::Logo;

/// In how many months members may bring the next reset forward once, where nobody has said (P3).
const ONCE_IN_MONTHS: u32 = 12;

/// The team's own settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TeamSettings {
    /// The team's name, as its customers see it in the portal.
    pub team_name: Option<String>,
    /// Its logo.
    pub logo: Option<Logo>,
    /// Its colour: `#` and six hexadecimal digits.
    pub color: Option<String>,
    /// Whom customers ask: an address, or a few words.
    pub contact: Option<String>,
    /// In how many months members may bring the next reset forward once.
    pub bring_forward_months: u32,
}

impl Default for TeamSettings {
    fn default() -> Self {
        let (team_name, logo, color, contact) = (None, None, None, None);
        Self { team_name, logo, color, contact, bring_forward_months: ONCE_IN_MONTHS }
    }
}

/// What of them changes: each that is given, `None` within for what is taken away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettingsChange {
    /// See [`TeamSettings`].
    pub team_name: Option<Option<String>>,
    /// See [`TeamSettings`].
    pub logo: Option<Option<Logo>>,
    /// See [`TeamSettings`].
    pub color: Option<Option<String>>,
    /// See [`TeamSettings`].
    pub contact: Option<Option<String>>,
    /// See [`TeamSettings`]; taken away, it is as if nobody had said.
    pub bring_forward_months: Option<Option<u32>>,
}

impl SettingsChange {
    /// The settings after it.
    pub fn on(&self, old: &TeamSettings) -> TeamSettings {
        let text = |new: &Option<Option<String>>, old: &Option<String>| new.clone().unwrap_or_else(|| old.clone());
        let months = self.bring_forward_months.map(|new| new.unwrap_or(ONCE_IN_MONTHS));
        TeamSettings {
            team_name: text(&self.team_name, &old.team_name),
            logo: self.logo.clone().unwrap_or_else(|| old.logo.clone()),
            color: text(&self.color, &old.color),
            contact: text(&self.contact, &old.contact),
            bring_forward_months: months.unwrap_or(old.bring_forward_months),
        }
    }
}
