//! The OpenAPI document: to what the routes say of themselves come who may call, and the errors that are the same for all.

use serde::Serialize;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::schema::{AllOf, Schema};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Components, Content, OpenApi, Ref, RefOr, Response};
use utoipa::{PartialSchema, ToSchema};

use super::documented;
use super::error::Fault;

mod headers;

/// An error (RFC 9457).
#[derive(Serialize, ToSchema)]
pub(super) struct Problem {
    /// `about:blank`, or what names the kind of problem.
    pub r#type: String,
    /// The status in words.
    pub title: String,
    /// The status.
    pub status: u16,
    /// What is wrong, and what to do.
    pub detail: String,
    /// The request: `urn:request:<id>`.
    pub instance: Option<String>,
    /// The kind of error, for programs.
    pub code: String,
    /// What is wrong where.
    pub errors: Option<Vec<Fault>>,
}

/// Completes what the routes say.
pub(super) fn completed(mut document: OpenApi) -> OpenApi {
    document.info.title = "Metergate".to_owned();
    document.info.version = env!("CARGO_PKG_VERSION").to_owned();
    document.info.description = Some("Usage metering, quotas and entitlements.".to_owned());
    document.info.license = None;
    document.info.contact = None;
    let bearer = "An API key, or the token of somebody who is signed in.";
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(bearer)).build();
    let components = document.components.get_or_insert_default();
    components.security_schemes.insert("bearer".to_owned(), SecurityScheme::Http(bearer).into());
    components.schemas.insert("Problem".to_owned(), Problem::schema());
    components.schemas.insert("Fault".to_owned(), Fault::schema());
    open_parts(components);
    headers::describe(components);
    document.security = Some(vec![SecurityRequirement::new("bearer", Vec::<String>::new())]);
    for (path, item) in &mut document.paths.paths {
        for operation in operations(item) {
            add_errors(path, operation);
            headers::add_to_answers(operation);
        }
        for operation in changes(item) {
            headers::add_key(operation);
        }
    }
    document
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch].into_iter().flatten()
}

/// Those that may change something.
fn changes(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.put, &mut item.post, &mut item.delete, &mut item.patch].into_iter().flatten()
}

/// A part of a larger object says nothing of the members that the other parts have.
fn open_parts(components: &mut Components) {
    let parts = |schema: &RefOr<Schema>| match schema {
        RefOr::T(Schema::AllOf(AllOf { items, .. })) => items.iter().filter_map(name).collect(),
        _ => Vec::new(),
    };
    let parts: Vec<String> = components.schemas.values().flat_map(parts).collect();
    for part in parts {
        if let Some(RefOr::T(Schema::Object(object))) = components.schemas.get_mut(&part) {
            object.additional_properties = None;
        }
    }
}

fn name(schema: &RefOr<Schema>) -> Option<String> {
    let RefOr::Ref(reference) = schema else { return None };
    reference.ref_location.rsplit('/').next().map(str::to_owned)
}

/// Adds the errors that any operation of this kind may answer, and to each error its body.
fn add_errors(path: &str, operation: &mut Operation) {
    let is_open = operation
        .security
        .as_ref()
        .is_some_and(|required| required.iter().all(|one| *one == SecurityRequirement::default()));
    let takes_body = operation.request_body.is_some();
    let takes_parameters = operation.parameters.as_ref().is_some_and(|parameters| !parameters.is_empty());
    let is_probe = is_open && !takes_body && !takes_parameters;
    let usual = [
        ("400", takes_body, "The body cannot be read"),
        ("401", !is_open, "No credential that is in force"),
        ("403", !is_probe, "A credential without the right, or a change that another site may have asked for"),
        ("404", path.contains('{'), "There is no such thing, or not for this caller"),
        ("409", takes_body, "It is so already, or something else is in the way"),
        ("413", takes_body, "The body is too large"),
        ("415", takes_body, "A body of another type"),
        ("422", !is_probe || takes_parameters, "Not valid: `errors` says where"),
        ("429", !is_probe, "Too often: ask again after `Retry-After`"),
        ("503", path != "/livez", "Not now: ask again after `Retry-After`"),
    ];
    for (status, applies, description) in usual {
        if applies && !operation.responses.responses.contains_key(status) {
            operation.responses.responses.insert(status.to_owned(), Response::new(description).into());
        }
    }
    for (status, response) in &mut operation.responses.responses {
        if let (true, RefOr::T(response)) = (status.starts_with(['4', '5']), response)
            && response.content.is_empty()
            && !is_probe
        {
            let (content_type, schema) = match documented::covers(path) {
                true => ("application/json", "ErrorText"),
                false => ("application/problem+json", "Problem"),
            };
            let content = Content::new(Some(Ref::from_schema_name(schema)));
            response.content.insert(content_type.to_owned(), content.into());
        }
    }
}
