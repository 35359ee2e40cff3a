//! What went wrong, as a page.

use axum::body::Body;
use axum::http::header::{LOCATION, RETRY_AFTER};
use axum::http::{HeaderValue, Response, StatusCode};
use axum::response::IntoResponse;
use metergate_pages::alone::ProblemPage;
use metergate_pages::answers::Problem;
use metergate_pages::frame::{Frame, Place};

use super::html;

/// Why a page is not shown.
pub(super) enum Trouble {
    /// Somebody has to sign in first, and then goes on to where they wanted.
    SignIn(Option<String>),
    /// Another page is to be shown.
    Go(String),
    /// The API refuses.
    Refused(StatusCode, Problem),
}

impl Trouble {
    pub(super) fn refused(status: StatusCode, problem: Problem) -> Self {
        if status == StatusCode::UNAUTHORIZED { Self::SignIn(None) } else { Self::Refused(status, problem) }
    }

    fn said(status: StatusCode, detail: &str) -> Self {
        Self::Refused(status, Problem { detail: detail.to_owned(), ..Problem::default() })
    }

    pub(super) fn not_found() -> Self {
        Self::Refused(StatusCode::NOT_FOUND, Problem::default())
    }

    pub(super) fn broken() -> Self {
        Self::said(
            StatusCode::INTERNAL_SERVER_ERROR,
            "This page could not be made. Nothing was changed; the log says why.",
        )
    }

    /// A form that is not from a page of this session.
    pub(super) fn stale() -> Self {
        Self::said(
            StatusCode::FORBIDDEN,
            "This form is from another session. Nothing was changed: go back, load the page anew, and send it again.",
        )
    }

    pub(super) fn unreadable() -> Self {
        Self::said(StatusCode::BAD_REQUEST, "This is no form that a page of ours has sent.")
    }

    /// More than one page should make the server go through.
    pub(super) fn too_long() -> Self {
        let detail = "The log is too long to be verified for one page. Use metergate audit verify.";
        Self::said(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    pub(super) fn too_large() -> Self {
        Self::said(StatusCode::PAYLOAD_TOO_LARGE, "This form is too large. Nothing was changed.")
    }

    const fn title(status: StatusCode) -> &'static str {
        match status {
            StatusCode::NOT_FOUND => "Not found",
            StatusCode::FORBIDDEN => "Not allowed",
            StatusCode::SERVICE_UNAVAILABLE => "Not available now",
            StatusCode::TOO_MANY_REQUESTS => "Too many requests",
            StatusCode::INTERNAL_SERVER_ERROR => "Something went wrong",
            _ => "That is not possible",
        }
    }
}

/// To another page. 303: whatever was sent before, it is read.
pub(super) fn see_other(path: &str) -> Response<Body> {
    let mut response = StatusCode::SEE_OTHER.into_response();
    if let Ok(value) = HeaderValue::from_str(path) {
        response.headers_mut().insert(LOCATION, value);
    }
    response
}

impl IntoResponse for Trouble {
    fn into_response(self) -> Response<Body> {
        let (status, problem) = match self {
            Self::SignIn(None) => return see_other("/sign-in"),
            Self::SignIn(Some(next)) => {
                let next = percent_encoding::utf8_percent_encode(&next, percent_encoding::NON_ALPHANUMERIC);
                return see_other(&format!("/sign-in?next={next}"));
            }
            Self::Go(path) => return see_other(&path),
            Self::Refused(status, problem) => (status, problem),
        };
        let frame = Frame::nobody().at(Self::title(status), Place::None);
        // Of what does not exist, and of what is another's, the same bytes.
        let detail = match status {
            StatusCode::NOT_FOUND => "There is no such page, or it is not yours to see.".to_owned(),
            _ if problem.detail.is_empty() => "The server cannot do this now. Try again in a moment.".to_owned(),
            _ => problem.detail,
        };
        let can_retry = matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS);
        let mut response = html(&ProblemPage::new(frame, detail, can_retry));
        *response.status_mut() = status;
        if can_retry {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
