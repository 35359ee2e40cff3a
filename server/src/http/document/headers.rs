//! What stands in headers: the key under which a call may be repeated, and where a caller stands against its limits (D10).

use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{Components, Ref, RefOr, Required};

/// Calls that would change something, and take no key, by their `operationId`: they change nothing, have ids of their own, do
/// the same when they are repeated, or take a token that is good for one time.
const WITHOUT_KEY: [&str; 11] = [
    "aggregate",
    "ask_password_reset",
    "check",
    "diff_catalogue",
    "login",
    "logout",
    "open_portal_session",
    "receive_stripe_webhook",
    "record_events",
    "use_sign_in_link",
    "what_if",
];
/// Calls whose answers say where the organization stands.
const DECIDING: [&str; 7] = [
    "authorize",
    "check",
    "commit_reservation",
    "consume",
    "create_reservation",
    "extend_reservation",
    "release_reservation",
];
/// The statuses with which they do: allowed, or refused.
const DECIDED: [&str; 5] = ["200", "201", "402", "403", "429"];
const RETRY_AFTER: &str = "Retry-After";
/// What each header of the answers says, and of which type it is.
const HEADERS: [(&str, Type, &str); 8] = [
    (
        "Idempotent-Replayed",
        Type::Boolean,
        "`true`: this is the first answer to the same `Idempotency-Key` or `id`, once more.",
    ),
    (
        "RateLimit",
        Type::String,
        "What is left under each limit: `\"api_calls-minute\";r=295;t=37`, with the seconds until it is renewed.",
    ),
    (
        "RateLimit-Policy",
        Type::String,
        "The limits: `\"api_calls-minute\";q=300;w=60`, with the seconds of their windows.",
    ),
    (RETRY_AFTER, Type::Integer, "In how many seconds to ask again, where waiting helps."),
    ("X-RateLimit-Limit-Day", Type::Integer, "The meter's limit a day, if it has one."),
    ("X-RateLimit-Limit-Minute", Type::Integer, "The meter's limit a minute, if it has one."),
    ("X-RateLimit-Remaining-Day", Type::Integer, "What is left of the limit a day."),
    ("X-RateLimit-Remaining-Minute", Type::Integer, "What is left of the limit a minute."),
];
const KEY: &str = "IdempotencyKey";
const REPLAYED: &str = "Idempotent-Replayed";

/// Describes the headers, once for all.
pub(super) fn describe(components: &mut Components) {
    components.parameters.insert(KEY.to_owned(), RefOr::T(key()));
    for (name, of_type, description) in HEADERS {
        let schema = ObjectBuilder::new().schema_type(of_type).build();
        let header = HeaderBuilder::new().schema(Some(schema)).description(Some(description)).build();
        components.headers.insert(name.to_owned(), RefOr::T(header));
    }
}

fn key() -> Parameter {
    let description = "A name for this call, 1 to 255 characters: repeated with it, it has its effect once and gets its first answer.";
    ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String).max_length(Some(255)).build()))
        .build()
}

/// Adds the key to an operation that changes something and takes one.
pub(super) fn add_key(operation: &mut Operation) {
    if is_one_of(operation, &WITHOUT_KEY) {
        return;
    }
    let parameters = operation.parameters.get_or_insert_default();
    parameters.push(RefOr::Ref(Ref::new(format!("#/components/parameters/{KEY}"))));
    add(operation, &[REPLAYED], |status| status.starts_with('2'));
}

/// Adds the headers that answers of an operation have.
pub(super) fn add_to_answers(operation: &mut Operation) {
    add(operation, &[RETRY_AFTER], |status| matches!(status, "429" | "503"));
    if is_one_of(operation, &DECIDING) {
        let rates = HEADERS.map(|(name, ..)| name).into_iter().filter(|name| name.contains("RateLimit"));
        add(operation, &rates.collect::<Vec<_>>(), |status| DECIDED.contains(&status));
    }
}

fn is_one_of(operation: &Operation, names: &[&str]) -> bool {
    operation.operation_id.as_deref().is_some_and(|id| names.contains(&id))
}

fn add(operation: &mut Operation, names: &[&str], of: impl Fn(&str) -> bool) {
    for (status, response) in &mut operation.responses.responses {
        let (true, RefOr::T(response)) = (of(status), response) else { continue };
        for name in names {
            let header: RefOr<Header> = RefOr::Ref(Ref::new(format!("#/components/headers/{name}")));
            response.headers.insert((*name).to_owned(), header);
        }
    }
}
