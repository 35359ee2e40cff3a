//! What operators change while the server runs.

use std::borrow::Cow;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::decision::json as json_answer;
use super::error::ApiError;
use super::json;
use super::operation::Operation;
use super::state::{App, Operator};
use super::team::answer;
use crate::catalogue::change::TeamCommand;
use crate::catalogue::logo::{Logo, Picture};
use crate::catalogue::settings::{SettingsChange, TeamSettings};

/// The longest text of a setting, and the longest address, in bytes.
const MOST_TEXT: usize = 255;
const MOST_URL: usize = 2048;
/// In how many months members may bring the next reset forward once.
const MONTHS: std::ops::RangeInclusive<i64> = 1..=120;

/// The team's own settings.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SettingsBody {
    /// The team's name, as its customers see it in the portal.
    pub team_name: Option<String>,
    /// The address of its logo; of a picture that is kept here, where this server has it.
    pub logo_url: Option<String>,
    /// Its colour, such as `#0a7f5a`.
    pub color: Option<String>,
    /// Whom customers ask.
    pub contact: Option<String>,
    /// In how many months members may bring the next reset forward once.
    pub bring_forward_months: u32,
}

impl SettingsBody {
    /// As they are said; `address` says where a picture is.
    pub(super) fn of(settings: &TeamSettings, address: impl Fn(&Picture) -> String) -> Self {
        let logo_url = shown(settings, address);
        let TeamSettings { team_name, color, contact, bring_forward_months, .. } = settings;
        let (team_name, color, contact) = (team_name.clone(), color.clone(), contact.clone());
        Self { team_name, logo_url, color, contact, bring_forward_months: *bring_forward_months }
    }
}

/// The address of the logo.
fn shown(settings: &TeamSettings, address: impl Fn(&Picture) -> String) -> Option<String> {
    settings.logo.as_ref().map(|logo| match logo {
        Logo::Address(address) => address.clone(),
        Logo::Picture(picture) => address(picture),
    })
}

/// Where others find a picture on this server.
fn on(base: &str) -> impl Fn(&Picture) -> String {
    move |picture| format!("{base}{}", picture.path())
}

/// The team as its customers see it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TeamFace {
    /// Its name.
    pub name: Option<String>,
    /// The address of its logo.
    pub logo_url: Option<String>,
    /// Its colour, such as `#0a7f5a`.
    pub color: Option<String>,
    /// Whom to ask.
    pub contact: Option<String>,
}

impl TeamFace {
    /// As it is said to a server's callers, who reach it at `base`.
    pub(super) fn of(settings: &TeamSettings, base: &str) -> Self {
        let logo_url = shown(settings, on(base));
        let TeamSettings { team_name, color, contact, .. } = settings;
        Self { name: team_name.clone(), logo_url, color: color.clone(), contact: contact.clone() }
    }
}

/// What of the settings changes: what is absent stays, and `null` takes away.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SettingsChangeBody {
    /// 1 to 255 bytes without control characters.
    #[serde(default, deserialize_with = "json::present")]
    #[schema(value_type = Option<String>)]
    pub team_name: Option<Option<String>>,
    /// An https address of at most 2,048 bytes, or the picture itself as `data:image/png;base64,…`: a PNG, JPEG or WebP of at most
    /// 256 KiB. That is kept here, and the answer says where it is.
    #[serde(default, deserialize_with = "json::present")]
    #[schema(value_type = Option<String>)]
    pub logo_url: Option<Option<String>>,
    /// `#` and six hexadecimal digits.
    #[serde(default, deserialize_with = "json::present")]
    #[schema(value_type = Option<String>, example = "#0a7f5a")]
    pub color: Option<Option<String>>,
    /// 1 to 255 bytes without control characters: an address, or a few words.
    #[serde(default, deserialize_with = "json::present")]
    #[schema(value_type = Option<String>)]
    pub contact: Option<Option<String>>,
    /// 1 to 120; 12 where it is `null`.
    #[serde(default, deserialize_with = "json::present")]
    #[schema(value_type = Option<i64>)]
    pub bring_forward_months: Option<Option<i64>>,
}

/// The team's settings.
#[utoipa::path(get, operation_id = "get_settings", path = "/v1/settings", tag = "server", responses((status = 200, body = SettingsBody)))]
pub async fn get(State(app): State<App>, _operator: Operator) -> Result<Response<Body>, ApiError> {
    let base = app.shared.cookies.base()?;
    Ok(json_answer(StatusCode::OK, &SettingsBody::of(&app.snapshot().stored.settings, on(&base))))
}

/// Changes the team's settings, at once and for everybody.
#[utoipa::path(patch, operation_id = "update_settings", path = "/v1/settings", tag = "server", request_body = SettingsChangeBody,
    responses((status = 200, body = SettingsBody), (status = 422, description = "Not valid")))]
pub async fn update(operation: Operation<Operator, ()>) -> Result<Response<Body>, ApiError> {
    let asked: SettingsChangeBody = operation.json()?;
    let base = operation.app.shared.cookies.base()?;
    // What was read may be sent back: the picture stays the one that it is.
    let now = shown(&operation.app.snapshot().stored.settings, on(&base));
    let logo_url = asked.logo_url.filter(|asked| asked.is_none() || *asked != now);
    let change = SettingsChange {
        team_name: checked("#/teamName", asked.team_name, text)?,
        logo: checked("#/logoUrl", logo_url, logo)?,
        color: checked("#/color", asked.color, color)?,
        contact: checked("#/contact", asked.contact, text)?,
        bring_forward_months: checked("#/bringForwardMonths", asked.bring_forward_months, months)?,
    };
    let respond = move |after: &crate::catalogue::TeamAfter<'_>| {
        answer(200, &SettingsBody::of(&after.snapshot.stored.settings, on(&base)), None)
    };
    let command = TeamCommand::ChangeSettings(change);
    operation.change_team("PATCH /v1/settings", &[&operation.body], command, respond).await
}

/// # Errors
/// 422 where what is given is not valid.
fn checked<T, U>(
    pointer: &str,
    given: Option<Option<T>>,
    check: fn(T) -> Result<U, Cow<'static, str>>,
) -> Result<Option<Option<U>>, ApiError> {
    let check = |value: T| check(value).map_err(|why| ApiError::invalid(pointer, why));
    given.map(|value| value.map(check).transpose()).transpose()
}

fn text(text: String) -> Result<String, Cow<'static, str>> {
    let fits = !text.trim().is_empty() && text.len() <= MOST_TEXT && !text.chars().any(char::is_control);
    if fits { Ok(text) } else { Err("Send 1 to 255 bytes without control characters.".into()) }
}

/// An address only of https: a page that is secure loads nothing else. Or the picture itself, which is all that pages of ours show.
fn logo(text: String) -> Result<Logo, Cow<'static, str>> {
    if text.starts_with("data:") {
        return Picture::in_address(&text).map(Logo::Picture).map_err(|why| why.to_string().into());
    }
    let rest = text.strip_prefix("https://").unwrap_or_default();
    let is_plain = rest.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"'<>\\^`{|}".contains(&byte));
    let has_host = rest.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '[');
    if text.len() <= MOST_URL && is_plain && has_host {
        return Ok(Logo::Address(text));
    }
    let why = "Send an address such as https://example.com/logo.svg, of at most 2,048 ASCII characters, or the picture itself: \
               data:image/png;base64,… of at most 256 KiB (PNG, JPEG, WebP).";
    Err(why.into())
}

fn color(text: String) -> Result<String, Cow<'static, str>> {
    let digits = text.strip_prefix('#').unwrap_or_default();
    let valid = digits.len() == 6 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    if valid {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("Send # and six hexadecimal digits, such as #0a7f5a.".into())
    }
}

fn months(number: i64) -> Result<u32, Cow<'static, str>> {
    let valid = u32::try_from(number).ok().filter(|_| MONTHS.contains(&number));
    valid.ok_or_else(|| "Send a whole number of months from 1 to 120.".into())
}
