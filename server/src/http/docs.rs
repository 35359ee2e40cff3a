//! `/docs`: the OpenAPI document as pages for people, made on the server: a start that lists everything, a page for each tag and for
//! each schema. No script, nothing from elsewhere.

mod schema;
mod text;

use axum::body::Body;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, Response};
use serde_json::Value;

use self::schema::{Document, example, listed, name};
pub(crate) use self::text::escape;
use self::text::{code, inline, prose};

/// The page's style sheet, served as `/docs/style.css`.
pub const STYLE: &str = include_str!("docs/style.css");

const POLICY: &str =
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const METHODS: [&str; 7] = ["get", "post", "put", "patch", "delete", "head", "options"];

/// The answer to `GET /docs`: a page from [`render`].
pub fn page(html: String) -> Response<Body> {
    let mut response = typed("text/html; charset=utf-8", html.into());
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}

/// The answer to `GET /docs/style.css`.
pub fn style() -> Response<Body> {
    typed("text/css; charset=utf-8", STYLE.into())
}

fn typed(content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// One method of one path.
struct Operation<'a> {
    method: &'a str,
    path: &'a str,
    tag: &'a str,
    /// Of the path and of the operation.
    parameters: Vec<&'a Value>,
    body: &'a Value,
}

impl Operation<'_> {
    /// What stands after `#` in a link to this operation.
    fn anchor(&self) -> String {
        let name = match self.body["operationId"].as_str() {
            Some(id) => id.to_owned(),
            None => format!("{}{}", self.method, self.path),
        };
        slug(&name)
    }

    /// The first sentence of what it does.
    fn summary(&self) -> &str {
        let text = self.body["summary"].as_str().or(self.body["description"].as_str()).unwrap_or("");
        let paragraph = text.split("\n\n").next().unwrap_or("").trim();
        let ends = [". ", ".\n"].into_iter().filter_map(|end| paragraph.find(end)).min();
        ends.map_or(paragraph, |at| &paragraph[..=at])
    }
}

/// What the list of all schemas is called, below `/docs/`; each is below it.
const SCHEMAS: &str = "schemas";

/// The page of a name below `/docs/`: the start where it is empty, the list of schemas, one of them, or the operations of a tag;
/// `None` where there is no such page. What the document lacks is left out; what it refers to in vain is shown as its name.
pub fn render(openapi: &Value, name: &str) -> Option<String> {
    let operations = operations(openapi);
    let tags = tags(openapi, &operations);
    let (document, linked) =
        (Document { root: openapi, is_linked: false }, Document { root: openapi, is_linked: true });
    // What of the pages is shown, its heading, and what is on it.
    let (place, heading, main) = match (name, name.split_once('/')) {
        ("", _) => (None, None, start(openapi, &tags, &operations)),
        (SCHEMAS, _) => (Some("Schemas"), Some("Schemas"), schemas(&linked)),
        (_, Some((SCHEMAS, asked))) => {
            let (name, schema) = linked.schemas().find(|(name, _)| slug(name) == asked)?;
            (Some("Schemas"), Some(name.as_str()), format!("<section>{}</section>", linked.tree(schema)))
        }
        _ => {
            let tag = *tags.iter().find(|tag| page_of(tag) == name)?;
            (Some(tag), Some(tag), section(&document, tag, &operations))
        }
    };
    Some(framed(openapi, heading, &contents(&tags, &operations, place), &main))
}

/// A page around what it shows; `heading` is its own, and the start has none but the document's.
fn framed(openapi: &Value, heading: Option<&str>, contents: &str, main: &str) -> String {
    let info = &openapi["info"];
    let title = escape(info["title"].as_str().unwrap_or("API"));
    let version = escape(info["version"].as_str().unwrap_or(""));
    let whole = heading.map_or_else(|| title.clone(), |heading| format!("{} · {title}", escape(heading)));
    let head = match heading {
        None => format!("<h1>{title} <small>{version}</small></h1>{}", prose(info["description"].as_str())),
        Some(heading) => format!("<p><a href=\"/docs\">{title}</a> {version}</p><h1>{}</h1>", escape(heading)),
    };
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{whole}</title>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><link rel=\"stylesheet\" href=\"/docs/style.css\"></head>\
         <body><a class=\"skip\" href=\"#operations\">Skip to the content</a>\
         <header>{head}<p><a href=\"/openapi.json\">openapi.json</a></p></header>\
         <div class=\"columns\">{contents}<main id=\"operations\" tabindex=\"-1\">{main}</main></div></body></html>\n",
    )
}

/// The name of a tag's page.
fn page_of(tag: &str) -> String {
    slug(tag).to_ascii_lowercase()
}

/// Every operation with what it does, below its tag. Each has the anchor that it has on the page of its tag, so that a link to the
/// start leads to it as well.
fn start(openapi: &Value, tags: &[&str], operations: &[Operation<'_>]) -> String {
    let row = |operation: &Operation<'_>| {
        let (anchor, page) = (operation.anchor(), page_of(operation.tag));
        let (badge, path) = (badge(operation.method), escape(operation.path));
        let summary = prose(Some(operation.summary()));
        format!("<li id=\"{anchor}\"><a href=\"/docs/{page}#{anchor}\">{badge} <code>{path}</code></a>{summary}</li>")
    };
    let group = |tag: &&str| {
        let rows: String = operations.iter().filter(|operation| operation.tag == *tag).map(row).collect();
        let heading = format!("<h2><a href=\"/docs/{}\">{}</a></h2>", page_of(tag), escape(tag));
        format!("<section>{heading}{}<ul class=\"index\">{rows}</ul></section>", about(openapi, tag))
    };
    tags.iter().map(group).collect()
}

/// What the document says of a tag.
fn about(openapi: &Value, tag: &str) -> String {
    let about = listed(&openapi["tags"]).find(|listed| listed["name"] == tag);
    prose(about.and_then(|tag| tag["description"].as_str()))
}

fn operations(openapi: &Value) -> Vec<Operation<'_>> {
    let mut operations = Vec::new();
    for (path, item) in openapi["paths"].as_object().into_iter().flatten() {
        for method in METHODS {
            let Some(body) = item.get(method) else { continue };
            let tag = body["tags"][0].as_str().unwrap_or("Other");
            let parameters = [&item["parameters"], &body["parameters"]].into_iter().flat_map(listed).collect();
            operations.push(Operation { method, path, tag, parameters, body });
        }
    }
    operations
}

/// Tags in the order in which the document lists them, then those that only operations name.
fn tags<'a>(openapi: &'a Value, operations: &[Operation<'a>]) -> Vec<&'a str> {
    let listed = listed(&openapi["tags"]).filter_map(|tag| tag["name"].as_str());
    let mut tags = Vec::new();
    for tag in listed.chain(operations.iter().map(|operation| operation.tag)) {
        if !tags.contains(&tag) && operations.iter().any(|operation| operation.tag == tag) {
            tags.push(tag);
        }
    }
    tags
}

/// All pages, and below the one that is shown its operations.
fn contents(tags: &[&str], operations: &[Operation<'_>], shown: Option<&str>) -> String {
    let link = |operation: &Operation<'_>| {
        let (method, path) = (operation.method, escape(operation.path));
        format!("<li><a href=\"#{}\">{} <span>{path}</span></a></li>", operation.anchor(), badge(method))
    };
    let page = |href: &str, name: &str, below: String| {
        let below = if below.is_empty() { below } else { format!("<ul>{below}</ul>") };
        let current = if shown == Some(name) { " aria-current=\"page\"" } else { "" };
        format!("<li><a href=\"/docs/{href}\"{current}>{}</a>{below}</li>", escape(name))
    };
    let tag = |tag: &&str| {
        let own = operations.iter().filter(|operation| operation.tag == *tag && shown == Some(*tag));
        page(&page_of(tag), tag, own.map(link).collect())
    };
    let pages: String = tags.iter().map(tag).chain([page(SCHEMAS, "Schemas", String::new())]).collect();
    format!("<nav aria-label=\"Pages\"><ul>{pages}</ul></nav>")
}

/// Text that can stand in an `id` and after `#`.
fn slug(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' || c == '.' { c } else { '-' };
    text.chars().map(plain).collect()
}

fn badge(method: &str) -> String {
    format!("<b class=\"method {method}\">{}</b>", method.to_ascii_uppercase())
}

fn section(document: &Document<'_>, tag: &str, operations: &[Operation<'_>]) -> String {
    let articles = operations.iter().filter(|operation| operation.tag == tag);
    let articles: String = articles.map(|operation| article(document, operation)).collect();
    format!("<section>{}{articles}</section>", about(document.root, tag))
}

fn article(document: &Document<'_>, operation: &Operation<'_>) -> String {
    let anchor = operation.anchor();
    let description = operation.body["description"].as_str();
    let summary = operation.summary();
    let repeated = description.is_some_and(|text| text.starts_with(summary));
    let lead = if summary.is_empty() || repeated { String::new() } else { prose(Some(summary)) };
    let deprecated = operation.body["deprecated"].as_bool().unwrap_or(false);
    let mark = if deprecated { "<span class=\"deprecated\">deprecated</span>" } else { "" };
    format!(
        "<article id=\"{anchor}\"><h2>{} <a href=\"#{anchor}\"><code>{}</code></a> {mark}</h2>{lead}{}{}{}{}</article>",
        badge(operation.method),
        escape(operation.path),
        prose(description),
        parameters(document, operation),
        request(document, operation),
        responses(document, operation),
    )
}

fn parameters(document: &Document<'_>, operation: &Operation<'_>) -> String {
    let row = |parameter: &&Value| {
        let parameter = document.resolved(parameter);
        let place = escape(parameter["in"].as_str().unwrap_or(""));
        let name = code(parameter["name"].as_str().unwrap_or(""));
        let required = required(parameter["required"].as_bool().unwrap_or(false));
        let words = document.words(&parameter["schema"]);
        let about = prose(parameter["description"].as_str().or(parameter["schema"]["description"].as_str()));
        let facts = schema::facts(&parameter["schema"]);
        format!(
            "<li>{name} <span class=\"type\">{words}</span> <span class=\"place\">{place}</span>{required}{about}{facts}</li>"
        )
    };
    let rows: String = operation.parameters.iter().map(row).collect();
    if rows.is_empty() { rows } else { format!("<h3>Parameters</h3><ul class=\"schema\">{rows}</ul>") }
}

fn required(required: bool) -> &'static str {
    if required { " <span class=\"required\">required</span>" } else { "" }
}

fn request(document: &Document<'_>, operation: &Operation<'_>) -> String {
    let Some(body) = operation.body.get("requestBody") else { return String::new() };
    let body = document.resolved(body);
    let mark = required(body["required"].as_bool().unwrap_or(false));
    format!("<h3>Body{mark}</h3>{}{}", prose(body["description"].as_str()), content(document, body))
}

fn responses(document: &Document<'_>, operation: &Operation<'_>) -> String {
    let one = |(status, response): (&String, &Value)| {
        let response = document.resolved(response);
        let about = inline(response["description"].as_str().unwrap_or(""));
        let open = if status.starts_with('2') { " open" } else { "" };
        let summary =
            format!("<summary><b class=\"status s{}\">{}</b> {about}</summary>", first(status), escape(status));
        // Errors look alike everywhere: their schemas stand once, at the end.
        let content = if open.is_empty() { references(document, response) } else { content(document, response) };
        format!("<details{open}>{summary}{}{content}</details>", headers(document, response))
    };
    let all: String = operation.body["responses"].as_object().into_iter().flatten().map(one).collect();
    if all.is_empty() { all } else { format!("<h3>Answers</h3>{all}") }
}

/// The class of a status, fit for an attribute.
fn first(status: &str) -> char {
    status.chars().next().filter(char::is_ascii_alphanumeric).unwrap_or('x')
}

fn headers(document: &Document<'_>, response: &Value) -> String {
    let row = |(name, header): (&String, &Value)| {
        let about = prose(document.resolved(header)["description"].as_str());
        format!("<li>{} <span class=\"place\">header</span>{about}</li>", code(name))
    };
    let rows: String = response["headers"].as_object().into_iter().flatten().map(row).collect();
    if rows.is_empty() { rows } else { format!("<ul class=\"schema\">{rows}</ul>") }
}

/// The content types of a body or an answer, each with its schema and examples.
fn content(document: &Document<'_>, body: &Value) -> String {
    let one = |(media_type, content): (&String, &Value)| {
        let tree = document.tree(&content["schema"]);
        format!("<p class=\"media\">{}</p>{tree}{}", code(media_type), examples(document, content))
    };
    body["content"].as_object().into_iter().flatten().map(one).collect()
}

/// The content types of an error, with links to their schemas.
fn references(document: &Document<'_>, response: &Value) -> String {
    let one = |(media_type, content): (&String, &Value)| {
        let words = match content["schema"]["$ref"].as_str().map(name) {
            Some(name) => schema::link(name),
            None => document.words(&content["schema"]),
        };
        format!("<p class=\"media\">{} {words}</p>", code(media_type))
    };
    response["content"].as_object().into_iter().flatten().map(one).collect()
}

/// Every named schema with the beginning of what is said of it.
fn schemas(document: &Document<'_>) -> String {
    let one = |(name, schema): (&String, &Value)| {
        let about = schema["description"].as_str().and_then(|text| text.lines().next());
        format!("<li>{}{}</li>", schema::link(name), prose(about))
    };
    let all: String = document.schemas().map(one).collect();
    format!("<section><ul class=\"index\">{all}</ul></section>")
}

fn examples(document: &Document<'_>, content: &Value) -> String {
    let named = |(name, value): (&String, &Value)| {
        let value = document.resolved(value);
        example(value["summary"].as_str().unwrap_or(name), &value["value"])
    };
    let several: String = content["examples"].as_object().into_iter().flatten().map(named).collect();
    let one = content.get("example").map(|value| example("Example", value));
    format!("{}{several}", one.unwrap_or_default())
}

#[cfg(test)]
mod tests;
