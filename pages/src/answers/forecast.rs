//! When limits will be reached at the present pace.

use serde::Deserialize;

use crate::format::Amount;

/// Use up to a time.
#[derive(Clone, Debug, Deserialize)]
pub struct Point {
    pub(crate) at: String,
    pub(crate) used: Amount,
}

/// Where the pace leads in one window.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WindowForecast {
    pub(crate) window: String,
    pub(crate) start: Option<String>,
    pub(crate) end: Option<String>,
    pub(crate) limit: Option<Amount>,
    pub(crate) projected: Option<Amount>,
    pub(crate) reaches_at: Option<String>,
    pub(crate) points: Vec<Point>,
}

/// One meter's pace.
#[derive(Clone, Debug, Deserialize)]
pub struct MeterForecast {
    pub(crate) meter: String,
    pub(crate) windows: Vec<WindowForecast>,
}

/// Of all meters.
#[derive(Clone, Debug, Deserialize)]
pub struct Forecast {
    pub(crate) meters: Vec<MeterForecast>,
}
