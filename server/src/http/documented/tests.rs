use super::*;
use crate::http::error::Fault;
use crate::http::request_id::RequestIds;
use axum::http::header::RETRY_AFTER;

async fn body(response: Response<Body>) -> String {
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn every_error_is_its_text_and_keeps_status_and_headers() {
    let id = RequestIds::new(1).next();
    let two = || ApiError::validation(vec![Fault::new("#/a", "Send a."), Fault::new("?b", "Send b.")]);
    #[rustfmt::skip]
    let cases = [
        (ApiError::unknown_organization(),           404, "Organization not found"),
        (ApiError::unavailable(1),                   503, "Not available now. Repeat the request; what has an id or an Idempotency-Key counts once."),
        (ApiError::internal("password=hunter2"),     500, "Something failed here. The request's id stands in the server's log."),
        (ApiError::invalid("#", "Send an object."),  422, "Send an object."),
        (ApiError::invalid("#/a/0", "Send a."),      422, "a/0: Send a."),
        (two(),                                      422, "a: Send a. b: Send b."),
    ];
    for (error, status, text) in cases {
        let response = refusal(&error, &id);
        assert_eq!(response.status(), status, "{text}");
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
        assert_eq!(response.headers().contains_key(RETRY_AFTER), status == 503, "{text}");
        assert_eq!(body(response).await, serde_json::json!({ "error": text }).to_string());
    }
}

#[tokio::test]
async fn what_a_handler_answers_is_rewritten_only_if_it_is_an_error() {
    use axum::response::IntoResponse;
    let id = RequestIds::new(1).next();
    let error = with_error_text(ApiError::forbidden("Not you.").into_response(), &id);
    assert_eq!((error.status().as_u16(), body(error).await), (403, r#"{"error":"Not you."}"#.to_owned()));
    let fine = with_error_text(Response::new(Body::from("fine")), &id);
    assert_eq!((fine.status().as_u16(), body(fine).await), (200, "fine".to_owned()));
}

#[test]
fn the_paths_are_known_by_how_they_begin() {
    let cases = [
        ("/internal/org/a/usage", true),
        ("/portal/billing/status", true),
        ("/api/admin/usage", true),
        ("/api/auth/login", true),
        ("/api/organizations", true),
        ("/api/v1/events", false),
        ("/v1/usage", false),
        ("/internals", false),
    ];
    for (path, expected) in cases {
        assert_eq!(covers(path), expected, "{path}");
    }
}
