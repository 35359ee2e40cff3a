use super::*;
use serde_json::json;

fn document() -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {"title": "Metergate <API>", "version": "1.2", "description": "Ask `first`."},
        "tags": [{"name": "Deciding", "description": "Before work."}, {"name": "Unused"}],
        "paths": {
            "/v1/organizations/{org}": {
                "parameters": [{"$ref": "#/components/parameters/Org"}],
                "get": {"tags": ["Organizations"], "responses": {"200": {"description": "It.", "content":
                    {"application/json": {"schema": {"$ref": "#/components/schemas/Node"}}}}}},
            },
            "/v1/consume": {
                "post": {
                    "tags": ["Deciding"], "operationId": "consume", "summary": "Checks and records.",
                    "description": "Checks and records.\n\nAll or nothing.", "deprecated": true,
                    "parameters": [{"name": "status", "in": "query", "schema": {"type": "string", "enum": ["native"]}}],
                    "requestBody": {"required": true, "content": {"application/json": {
                        "schema": {"$ref": "#/components/schemas/Consume"},
                        "example": {"organization": "</pre><script>alert(1)</script>"}}}},
                    "responses": {
                        "200": {"description": "Decided.", "headers": {"RateLimit": {"description": "What is left."}}},
                        "429": {"$ref": "#/components/responses/Full"},
                        "503": {"description": "Later.", "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}},
                    },
                }
            }
        },
        "components": {
            "parameters": {"Org": {"name": "org", "in": "path", "required": true, "schema": {"type": "string"}, "description": "Id or key."}},
            "responses": {"Full": {"description": "Used up.", "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Lost"}}}}},
            "schemas": {
                "Consume": {"type": "object", "required": ["organization"], "properties": {
                    "organization": {"type": "string", "description": "Who."},
                    "at": {"type": ["string", "null"], "format": "date-time"},
                    "limits": {"type": "array", "items": {"$ref": "#/components/schemas/Limit"}},
                    "either": {"oneOf": [{"type": "null"}, {"$ref": "#/components/schemas/Limit"}]},
                }},
                "Problem": {"type": "object", "properties": {"code": {"type": "string"}}},
                "Limit": {"type": "object", "properties": {"max": {"type": "integer", "minimum": 0, "default": 5}}},
                "Node": {"type": "object", "properties": {"children": {"type": "array", "items": {"$ref": "#/components/schemas/Node"}}}},
            }
        }
    })
}

fn page(name: &str) -> String {
    render(&document(), name).unwrap_or_else(|| panic!("there is no page {name}"))
}

/// All pages, one after the other.
fn all(openapi: &Value) -> String {
    let operations = operations(openapi);
    let tags = tags(openapi, &operations).into_iter().map(page_of);
    let linked = Document { root: openapi, is_linked: true };
    let schemas = linked.schemas().map(|(name, _)| format!("{SCHEMAS}/{}", slug(name)));
    let names = [String::new(), SCHEMAS.to_owned()].into_iter().chain(schemas).chain(tags);
    names.map(|name| render(openapi, &name).unwrap_or_else(|| panic!("there is no page {name}"))).collect()
}

#[test]
fn every_operation_stands_once_on_the_page_of_its_tag_and_the_start_leads_there() {
    let start = page("");
    for (tag, anchor) in [("deciding", "consume"), ("organizations", "get-v1-organizations--org-")] {
        let html = page(tag);
        assert_eq!(html.matches(&format!("<article id=\"{anchor}\">")).count(), 1, "{anchor}");
        assert!(html.contains(&format!("<li><a href=\"#{anchor}\">")), "{anchor}");
        assert!(html.contains(&format!("<a href=\"/docs/{tag}\" aria-current=\"page\">")), "{html}");
        assert!(start.contains(&format!("<li id=\"{anchor}\"><a href=\"/docs/{tag}#{anchor}\">")), "{start}");
        assert_eq!(all(&document()).matches(&format!("<article id=\"{anchor}\">")).count(), 1, "{anchor}");
    }
    let place = |tag: &str| start.find(&format!("<h2><a href=\"/docs/{tag}\">")).unwrap();
    assert!(place("deciding") < place("organizations"), "the order of the tags");
    assert!(!all(&document()).contains("Unused") && start.contains("<p>Before work.</p>"));
    for unknown in ["unused", "Deciding", "nothing", "style.css"] {
        assert!(render(&document(), unknown).is_none(), "{unknown}");
    }
}

#[test]
fn schemas_are_shown_through_references_with_types_required_marks_and_facts() {
    let html = all(&document());
    let shown = [
        "<li><code>organization</code> <span class=\"type\">string</span> <span class=\"required\">required</span><p>Who.</p></li>",
        "<li><code>at</code> <span class=\"type\">string (date-time) or null</span></li>",
        "<li><code>limits</code> <span class=\"type\">array of Limit</span>",
        "<li><code>either</code> <span class=\"type\">null or Limit</span><details><summary>Limit</summary>",
        "<code>max</code> <span class=\"type\">integer</span><p class=\"facts\">default <code>5</code>; at least <code>0</code></p>",
        "<li><code>org</code> <span class=\"type\">string</span> <span class=\"place\">path</span> <span class=\"required\">required</span><p>Id or key.</p></li>",
        "<p class=\"facts\">one of <code>native</code></p>",
        "<b class=\"status s4\">429</b> Used up.",
        "<li><code>RateLimit</code> <span class=\"place\">header</span><p>What is left.</p></li>",
        "<span class=\"deprecated\">deprecated</span>",
        "<p>Checks and records.</p><p>All or nothing.</p>",
        "<p>Ask <code>first</code>.</p>",
    ];
    for part in shown {
        assert!(html.contains(part), "{part}\nis not in\n{html}");
    }
}

#[test]
fn a_schema_in_itself_ends_and_a_reference_to_nothing_is_its_name() {
    let html = page("organizations");
    assert!(html.contains("array of Node</span><p class=\"facts\">as above</p>"), "{html}");
    assert!(page("deciding").contains("<a href=\"/docs/schemas/Lost\">Lost</a>"));
    for odd in [
        json!(null),
        json!({}),
        json!([]),
        json!({"paths": {"/x": {"get": 5}}}),
        json!({"paths": {"/x": {"get": {"tags": "a"}}}}),
    ] {
        assert!(all(&odd).starts_with("<!doctype html>"), "{odd}");
    }
}

#[test]
fn errors_and_schemas_link_to_schemas_which_have_a_page_each() {
    let (deciding, schemas, consume) = (page("deciding"), page("schemas"), page("schemas/Consume"));
    let link = "<code>application/problem+json</code> <a href=\"/docs/schemas/Problem\">Problem</a>";
    assert!(deciding.contains(link), "{deciding}");
    assert!(schemas.contains("<li><a href=\"/docs/schemas/Consume\">Consume</a>"), "{schemas}");
    assert!(page("schemas/Problem").contains("<li><code>code</code>"));
    assert_eq!(all(&document()).matches("<li><code>code</code>").count(), 1);
    let linked = [
        "<h1>Consume</h1>",
        "<li><code>limits</code> <span class=\"type\">array of <a href=\"/docs/schemas/Limit\">Limit</a></span></li>",
        "<li><code>either</code> <span class=\"type\">null or <a href=\"/docs/schemas/Limit\">Limit</a></span></li>",
    ];
    for part in linked {
        assert!(consume.contains(part), "{part}\nis not in\n{consume}");
    }
    assert!(!consume.contains("<code>max</code>"), "{consume}");
    assert!(render(&document(), "schemas/Lost").is_none() && render(&document(), "deciding/Consume").is_none());
}

#[test]
fn nothing_in_the_document_becomes_markup_and_nothing_is_loaded_from_elsewhere() {
    let html = all(&document());
    assert!(html.contains("Metergate &lt;API&gt;") && html.contains("&lt;/pre&gt;&lt;script&gt;"));
    for absent in ["<script", "style=", "http://", "https://", "<img"] {
        assert!(!html.contains(absent), "{absent}");
    }
    assert!(!STYLE.contains("url(") && !STYLE.contains("@import"));
    let hostile = json!({"paths": {"/\"><script>": {"get": {"operationId": "\"><script>", "tags": ["<x>"],
        "parameters": [{"name": "<x>", "in": "<x>", "description": "<x>", "schema": {"type": "<x>", "format": "<x>", "default": "<x>"}}],
        "responses": {"<x>": {"description": "<x>", "content": {"<x>": {"schema": {"properties": {"<x>": {"$ref": "<x>"}}}}}}}}}}});
    let html = all(&hostile);
    assert!(!html.contains("<x>") && !html.contains("<script"), "{html}");
}

#[test]
fn every_element_that_is_opened_is_closed() {
    let html = all(&document());
    for element in [
        "ul", "li", "details", "summary", "article", "section", "div", "span", "p", "code", "pre", "figure", "nav",
        "main",
    ] {
        let opened = html.matches(&format!("<{element}>")).count() + html.matches(&format!("<{element} ")).count();
        assert_eq!(opened, html.matches(&format!("</{element}>")).count(), "{element}");
    }
}

#[test]
fn the_page_may_use_its_own_style_and_nothing_else() {
    let page = super::page(page(""));
    let policy = page.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'self';"), "{policy}");
    assert_eq!(style().headers()[CONTENT_TYPE], "text/css; charset=utf-8");
}
