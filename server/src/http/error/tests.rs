use super::*;
use crate::http::request_id::RequestIds;

async fn read(response: Response<Body>) -> (StatusCode, HeaderMap, String) {
    let (head, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    (head.status, head.headers, String::from_utf8(bytes.to_vec()).unwrap())
}

#[tokio::test]
async fn a_problem_has_the_members_of_rfc_9457_in_order_and_a_bare_content_type() {
    let id = RequestIds::new(1).next();
    let (status, headers, body) = read(ApiError::unknown_meter().response(Some(&id))).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(headers[CONTENT_TYPE], "application/problem+json");
    let expected = r#"{"type":"about:blank","title":"Not Found","status":404,"detail":"There is no such meter; GET /v1/meters lists them.","instance":"urn:request:0000000000000001-0","code":"unknown-meter"}"#;
    assert_eq!(body, expected);
}

#[tokio::test]
async fn each_problem_has_its_status_code_and_headers() {
    let header = |name: HeaderName, value: &'static str| (name, HeaderValue::from_static(value));
    let (no_store, close) = (header(CACHE_CONTROL, "no-store"), header(CONNECTION, "close"));
    #[rustfmt::skip]
    let cases = [
        (ApiError::unauthorized(),             401, "unauthorized",           vec![header(WWW_AUTHENTICATE, "Bearer")]),
        (ApiError::forbidden("no"),            403, "forbidden",              vec![]),
        (ApiError::not_found(),                404, "not-found",              vec![]),
        (ApiError::unknown_organization(),     404, "unknown-organization",   vec![]),
        (ApiError::unknown_plan(),             404, "unknown-plan",           vec![]),
        (ApiError::method_not_allowed("GET"),  405, "method-not-allowed",     vec![header(ALLOW, "GET")]),
        (ApiError::request_timeout(),          408, "request-timeout",        vec![close]),
        (ApiError::conflict("key-taken", "x"), 409, "key-taken",              vec![]),
        (ApiError::precondition_failed(),      412, "precondition-failed",    vec![]),
        (ApiError::payload_too_large("x"),     413, "payload-too-large",      vec![]),
        (ApiError::unsupported_media_type(""), 415, "unsupported-media-type", vec![]),
        (ApiError::malformed("x"),             400, "malformed-body",         vec![]),
        (ApiError::invalid("#/a", "x"),        422, "validation",             vec![]),
        (ApiError::idempotency_mismatch(),     422, "idempotency-mismatch",   vec![]),
        (ApiError::too_many_requests(3),       429, "too-many-requests",      vec![no_store.clone(), header(RETRY_AFTER, "3")]),
        (ApiError::unavailable(1),             503, "unavailable",            vec![no_store.clone(), header(RETRY_AFTER, "1")]),
        (ApiError::disk_full(),                503, "disk-full",              vec![no_store, header(RETRY_AFTER, "10")]),
        (ApiError::damaged(),                  500, "damaged",                vec![]),
        (ApiError::internal("x"),              500, "internal",               vec![]),
    ];
    for (error, status, code, expected) in cases {
        assert_eq!(error.code(), code);
        let (answered, headers, body) = read(error.into_response()).await;
        let problem: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((answered.as_u16(), &problem["status"], &problem["code"]), (status, &status.into(), &code.into()));
        for (name, value) in &expected {
            assert_eq!(headers.get(name), Some(value), "{code}");
        }
        assert_eq!(headers.len(), expected.len() + 1, "{code} has headers of no use");
    }
}

#[tokio::test]
async fn what_failed_inside_never_leaves() {
    let (_, _, body) = read(ApiError::internal("password=hunter2 at 10.0.0.1").response(None)).await;
    assert!(!body.contains("hunter2") && !body.contains("10.0.0.1"), "{body}");
}

#[tokio::test]
async fn the_response_that_leaves_names_its_request_and_is_otherwise_the_same() {
    let id = RequestIds::new(7).next();
    let (status, headers, named) = read(with_instance(ApiError::unavailable(2).into_response(), &id)).await;
    let (_, same_headers, plain) = read(ApiError::unavailable(2).into_response()).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(headers, same_headers);
    assert_eq!(named.replace(&format!(r#""instance":"urn:request:{id}","#), ""), plain);
    let (_, _, other) = read(with_instance("fine".into_response(), &id)).await;
    assert_eq!(other, "fine");
}

#[tokio::test]
async fn a_problem_carries_faults_policies_and_members_of_its_own() {
    let error = ApiError::quota_exceeded(StatusCode::TOO_MANY_REQUESTS, vec!["tokens-billingPeriod".to_owned()])
        .with_member("decision", &serde_json::json!({"allowed": false}))
        .with_fault(Fault::new("#/3/data/tokens", "too many"));
    let (_, headers, body) = read(error.into_response()).await;
    let problem: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(problem["type"], "https://iana.org/assignments/http-problem-types#quota-exceeded");
    assert_eq!(problem["violated-policies"], serde_json::json!(["tokens-billingPeriod"]));
    assert_eq!(problem["errors"], serde_json::json!([{"detail": "too many", "pointer": "#/3/data/tokens"}]));
    assert_eq!(problem["decision"], serde_json::json!({"allowed": false}));
    assert_eq!(headers[CACHE_CONTROL], "no-store");
    let busy = ApiError::reduced_capacity(vec![], 1).to_value(None);
    assert_eq!(busy["type"], "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity");
}

#[test]
fn a_wrong_quantity_says_what_is_wrong_with_it() {
    let problem = ApiError::invalid_quantity("#/quantity", InvalidQuantity::TooFine(2)).to_value(None);
    assert_eq!(problem["code"], "invalid-quantity");
    assert_eq!(problem["errors"][0]["detail"], "Not a quantity of this meter: more decimal places than the meter's 2.");
}
