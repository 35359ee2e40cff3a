//! What pages load.

/// The style sheet.
pub const STYLE: &str = concat!(
    include_str!("../assets/base.css"),
    include_str!("../assets/parts.css"),
    include_str!("../assets/chart.css")
);
/// The module that adds to pages what they can do without.
pub const SCRIPT: &str = include_str!("../assets/metergate.js");
/// Its part for charts.
pub const CHARTS: &str = include_str!("../assets/chart.js");
/// The icons of the navigation.
pub const ICONS: &str = include_str!("../assets/icons.svg");
/// The icon of a browser's tab.
pub const ICON: &str = include_str!("../assets/icon.svg");
