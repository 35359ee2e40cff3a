//! A sign-in that failed, as a page: a browser on its way to the provider or back shows whatever is answered.

use axum::body::Body;
use axum::http::Response;
use axum::http::header::{ACCEPT, CACHE_CONTROL, HeaderMap, HeaderValue, REFERRER_POLICY, RETRY_AFTER};

use crate::http::docs::{self, escape};
use crate::http::error::ApiError;

/// The page where a browser asks, with the status and when to come again; the problem itself for everybody else.
///
/// # Errors
/// The problem.
pub(super) fn instead(headers: &HeaderMap, error: ApiError) -> Result<Response<Body>, ApiError> {
    if !is_asked(headers) {
        return Err(error);
    }
    // Logs the cause of a 500.
    let problem = error.response(None);
    let mut page = docs::page(html(error.detail()));
    *page.status_mut() = problem.status();
    let headers = page.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // The address may have a code in it.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.extend(problem.headers().get(RETRY_AFTER).map(|wait| (RETRY_AFTER, wait.clone())));
    Ok(page)
}

/// Whether `Accept` names HTML, as browsers do and programs do not.
fn is_asked(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut types = accepted.flat_map(|value| value.split(',')).filter_map(|range| range.split(';').next());
    types.any(|one| one.trim().eq_ignore_ascii_case("text/html"))
}

fn html(detail: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>You are not signed in</title>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><link rel=\"stylesheet\" href=\"/docs/style.css\"></head>\
         <body><main><h1>You are not signed in</h1><p>{}</p>\
         <p><a href=\"/auth/oidc/start\">Begin again</a>. If you were invited, open the link of the invitation again.</p>\
         </main></body></html>\n",
        escape(detail)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_names_html_gets_a_page_and_nothing_on_it_is_taken_for_a_tag() {
        let cases = [
            ("text/html,application/xhtml+xml;q=0.9,*/*;q=0.8", true),
            ("application/json, Text/HTML;q=0.5", true),
            ("*/*", false),
            ("application/json", false),
            ("", false),
        ];
        for (accept, expected) in cases {
            let headers = HeaderMap::from_iter([(ACCEPT, accept.parse().unwrap())]);
            assert_eq!(is_asked(&headers), expected, "{accept}");
        }
        assert!(!is_asked(&HeaderMap::new()));
        assert!(html("<script>alert(1)</script>").contains("<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>"));
    }
}
