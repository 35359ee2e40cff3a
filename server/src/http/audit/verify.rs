//! Whether the audit log is as it was written, and its head to keep elsewhere (O7).

use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, Uri};
use metergate_rules::audit::Hash;
use metergate_rules::role::Right;
use metergate_rules::time::Time;

use super::{Format, format, lines};
use crate::hex::unhex;
use crate::http::auth::Credential;
use crate::http::decision::json;
use crate::http::error::ApiError;
use crate::http::page::{PageQuery, encode};
use crate::http::query::Pairs;
use crate::http::reports::report;
use crate::http::state::App;
use crate::report::audit::{HeadBody, Noted, VerificationBody};
use crate::store::audit::{Signed, chain_owned_by};

/// Ends of chains that one call compares at most.
const MOST_NOTED: usize = 100;

/// Goes through every chain of the audit log and names the first entry of each that was changed, dropped or moved, 10,000
/// entries a call. With `head`, compares instead whether the chains still have the entries that were their last ones: that
/// shows what was cut off or written anew. With `time`, `chains`, `root` and `signature`, says whether this server signed
/// such a head.
#[utoipa::path(get, operation_id = "verify_audit_log", path = "/v1/audit-log/verify", tag = "audit log",
    params(("cursor" = Option<String>, Query, description = "The `nextCursor` of the part before"), ("head" = Option<Vec<String>>, Query, description = "`team:seq:hash` or `id:seq:hash`, at most 100"),
        ("time" = Option<String>, Query), ("chains" = Option<u64>, Query), ("root" = Option<String>, Query), ("signature" = Option<String>, Query)),
    responses((status = 200, body = VerificationBody)))]
pub async fn verify(State(app): State<App>, credential: Credential, uri: Uri) -> Result<Response<Body>, ApiError> {
    credential.may(Right::Operate)?;
    let pairs = Pairs::of(&uri, &["cursor", "head", "time", "chains", "root", "signature"])?;
    let signed = signed(&pairs)?.map(|(signed, signature)| signed.is_signed(app.shared.store.audit_key(), &signature));
    let noted = pairs.all("head").iter().map(|text| noted(text)).collect::<Result<Vec<_>, _>>()?;
    if noted.len() > MOST_NOTED {
        return Err(ApiError::invalid("?head", format!("Send at most {MOST_NOTED} in one call.")));
    }
    let cursor = pairs.one("cursor")?.map(str::to_owned);
    let page = PageQuery { limit: None, cursor }.page()?;
    let only_compares = signed.is_some() || !noted.is_empty();
    let made = report(&app, &credential, false, move |report| {
        if only_compares {
            return Ok((report.audit_compared(&noted)?, None));
        }
        report.audit_walk(page.after.as_deref())
    });
    let (body, next) = made.await?;
    let body = VerificationBody { signed, next_cursor: next.as_deref().map(encode), ..body };
    Ok(json(StatusCode::OK, &VerificationBody { well: body.well && signed != Some(false), ..body }))
}

/// The end of a chain, as `team:seq:hash`.
fn noted(text: &str) -> Result<Noted, ApiError> {
    let read = || {
        let mut parts = text.split(':');
        let (chain, seq, hash) = (parts.next()?, parts.next()?, parts.next()?);
        let noted = Noted { chain: chain_owned_by(chain)?, seq: seq.parse().ok()?, hash: unhex(hash)? };
        parts.next().is_none().then_some(noted)
    };
    read().ok_or_else(|| ApiError::invalid("?head", "Send team or an organization's id, :, seq, :, and hash."))
}

fn signed(pairs: &Pairs) -> Result<Option<(Signed, Hash)>, ApiError> {
    let hash = |name| {
        let wrong = || ApiError::invalid(format!("?{name}"), "Send 64 hexadecimal digits.");
        pairs.one(name)?.map(|text| unhex(text).ok_or_else(wrong)).transpose()
    };
    let (at, chains) = (pairs.parsed::<Time>("time")?, pairs.parsed("chains")?);
    match (at, chains, hash("root")?, hash("signature")?) {
        (Some(at), Some(chains), Some(root), Some(signature)) => Ok(Some((Signed { at, chains, root }, signature))),
        (None, None, None, None) => Ok(None),
        _ => Err(ApiError::invalid("?signature", "Send time, chains, root and signature together.")),
    }
}

/// The ends of all chains in one hash, signed: kept elsewhere, it shows later what was cut off or written anew. With
/// `Accept: application/x-ndjson` or `?format=jsonl` a line for every chain follows.
#[utoipa::path(get, operation_id = "get_audit_head", path = "/v1/audit-log/head", tag = "audit log",
    params(("format" = Option<String>, Query, description = "json or jsonl")), responses((status = 200, body = HeadBody)))]
pub async fn head(
    State(app): State<App>,
    credential: Credential,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response<Body>, ApiError> {
    credential.may(Right::Operate)?;
    let with_chains = match format(&Pairs::of(&uri, &["format"])?, &headers)? {
        Format::Json => false,
        Format::Lines => true,
        Format::Csv => return Err(ApiError::invalid("?format", "Send json or jsonl.")),
    };
    let key = *app.shared.store.audit_key();
    let (head, chains) = report(&app, &credential, false, move |report| report.audit_head(&key)).await?;
    if !with_chains {
        return Ok(json(StatusCode::OK, &head));
    }
    let text = [lines(std::slice::from_ref(&head))?, lines(&chains)?].concat();
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    Ok(response)
}
