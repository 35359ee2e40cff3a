//! Answers that browsers save as a file.

use axum::body::Body;
use axum::http::header::CONTENT_DISPOSITION;
use axum::http::{HeaderValue, Response};
use metergate_rules::id::OrganizationRef;
use metergate_rules::period::{Zone, date_of};
use metergate_rules::time::Time;

/// The answer, which browsers save as `acme-usage-2026-11-28.csv`: whose it is, what it is, and the UTC day.
pub(super) fn saved_as(
    mut response: Response<Body>,
    whose: Option<&OrganizationRef>,
    (what, form): (&str, &str),
    now: Time,
) -> Response<Body> {
    let whose = whose.map_or_else(String::new, |organization| match organization {
        OrganizationRef::Id(id) => format!("{id}-"),
        OrganizationRef::Key(key) => format!("{key}-"),
    });
    // Keys have `:` and `@`, which some file systems do not take.
    let kept = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' };
    let name = format!("{whose}{what}-{}.{form}", date_of(now, &Zone::utc()));
    let name: String = name.trim_start_matches('.').chars().map(kept).collect();
    if let Ok(value) = HeaderValue::try_from(format!("attachment; filename=\"{name}\"")) {
        response.headers_mut().insert(CONTENT_DISPOSITION, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_files_name_says_whose_it_is_what_and_of_which_day() {
        let cases = [
            (Some("acme"), "acme-audit-2026-11-28.csv"),
            (Some(".a:b@c"), "a-b-c-audit-2026-11-28.csv"),
            (Some("0192f3a4-5b6c-7d8e-9f00-112233445566"), "0192f3a4-5b6c-7d8e-9f00-112233445566-audit-2026-11-28.csv"),
            (None, "audit-2026-11-28.csv"),
        ];
        for (whose, expected) in cases {
            let whose: Option<OrganizationRef> = whose.map(|text| text.parse().unwrap());
            let now = "2026-11-28T23:59:59Z".parse().unwrap();
            let answer = saved_as(Response::new(Body::empty()), whose.as_ref(), ("audit", "csv"), now);
            assert_eq!(answer.headers()[CONTENT_DISPOSITION], format!("attachment; filename=\"{expected}\""));
        }
    }
}
