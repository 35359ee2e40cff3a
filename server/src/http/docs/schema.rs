//! Schemas as nested lists, with references followed.

use serde_json::Value;

use super::text::{code, escape, prose};

/// How deep lists are nested; below that a name says enough.
const DEEPEST: usize = 8;

/// An OpenAPI document, for what refers into it.
pub(super) struct Document<'a> {
    pub(super) root: &'a Value,
    /// Whether what is referred to is linked, and not shown once more.
    pub(super) is_linked: bool,
}

/// The elements of an array; none of anything else.
pub(super) fn listed(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// An example as indented JSON, or as it is where it is text.
pub(super) fn example(title: &str, value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => serde_json::to_string_pretty(other).unwrap_or_default(),
    };
    format!("<figure><figcaption>{}</figcaption><pre>{}</pre></figure>", escape(title), escape(&text))
}

/// The last part of a reference: the name of what it refers to.
pub(super) fn name(reference: &str) -> &str {
    reference.rsplit('/').next().unwrap_or(reference)
}

/// A link to a named schema.
pub(super) fn link(name: &str) -> String {
    format!("<a href=\"/docs/{}/{}\">{}</a>", super::SCHEMAS, super::slug(name), escape(name))
}

/// Bounds, values and defaults, as one line.
pub(super) fn facts(schema: &Value) -> String {
    #[rustfmt::skip]
    let known = [
        ("default", "default"), ("const", "always"), ("minimum", "at least"), ("exclusiveMinimum", "above"),
        ("maximum", "at most"), ("exclusiveMaximum", "below"), ("minLength", "characters at least"),
        ("maxLength", "characters at most"), ("minItems", "items at least"), ("maxItems", "items at most"),
        ("pattern", "pattern"), ("example", "for example"),
    ];
    let shown = |value: &Value| code(&value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    let mut facts: Vec<String> = Vec::new();
    let values: Vec<String> = listed(&schema["enum"]).map(shown).collect();
    if !values.is_empty() {
        facts.push(format!("one of {}", values.join(", ")));
    }
    let single = |(key, words): (&str, &str)| schema.get(key).map(|value| format!("{words} {}", shown(value)));
    facts.extend(known.into_iter().filter_map(single));
    if facts.is_empty() { String::new() } else { format!("<p class=\"facts\">{}</p>", facts.join("; ")) }
}

impl Document<'_> {
    /// All named schemas.
    pub(super) fn schemas(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.root["components"]["schemas"].as_object().into_iter().flatten()
    }

    /// What a `$ref` refers to, through several if need be; the value itself where it is none or leads nowhere.
    pub(super) fn resolved<'v>(&'v self, value: &'v Value) -> &'v Value {
        let mut value = value;
        for _ in 0..DEEPEST {
            let target = value["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
            match target.and_then(|pointer| self.root.pointer(pointer)) {
                Some(target) => value = target,
                None => break,
            }
        }
        value
    }

    /// A schema's type in a few words, escaped.
    pub(super) fn words(&self, schema: &Value) -> String {
        if let Some(name) = schema["$ref"].as_str().map(name) {
            let is_there = self.root["components"]["schemas"].get(name).is_some();
            return if self.is_linked && is_there { link(name) } else { escape(name) };
        }
        let choices: Vec<String> =
            ["oneOf", "anyOf"].iter().flat_map(|key| listed(&schema[*key])).map(|choice| self.words(choice)).collect();
        if !choices.is_empty() {
            return choices.join(" or ");
        }
        let parts: Vec<String> = listed(&schema["allOf"]).map(|part| self.words(part)).collect();
        if !parts.is_empty() {
            return parts.join(" and ");
        }
        match &schema["type"] {
            Value::String(kind) => self.typed(kind, schema),
            Value::Array(kinds) => {
                let kinds: Vec<String> =
                    kinds.iter().filter_map(Value::as_str).map(|kind| self.typed(kind, schema)).collect();
                kinds.join(" or ")
            }
            _ if schema.get("properties").is_some() => "object".to_owned(),
            _ => "any".to_owned(),
        }
    }

    fn typed(&self, kind: &str, schema: &Value) -> String {
        match (kind, schema["format"].as_str()) {
            ("array", _) => format!("array of {}", self.words(&schema["items"])),
            ("object", _) if schema["additionalProperties"].is_object() => {
                format!("object with values of {}", self.words(&schema["additionalProperties"]))
            }
            ("string", Some(format)) => format!("string ({})", escape(format)),
            (kind, _) => escape(kind),
        }
    }

    /// A schema with everything below it.
    pub(super) fn tree(&self, schema: &Value) -> String {
        if schema.is_null() {
            return String::new();
        }
        format!(
            "<div class=\"tree\"><span class=\"type\">{}</span>{}</div>",
            self.words(schema),
            self.below(schema, &mut Vec::new())
        )
    }

    /// What stands below a schema. `path` has the references that led here, so that a cycle ends.
    fn below(&self, schema: &Value, path: &mut Vec<String>) -> String {
        let reference = schema["$ref"].as_str().map(str::to_owned);
        let seen = reference.as_ref().is_some_and(|reference| path.contains(reference));
        if self.is_linked && reference.is_some() {
            return String::new();
        }
        if seen || path.len() >= DEEPEST {
            return "<p class=\"facts\">as above</p>".to_owned();
        }
        path.push(reference.unwrap_or_default());
        let html = self.members(self.resolved(schema), path);
        path.pop();
        html
    }

    fn members(&self, schema: &Value, path: &mut Vec<String>) -> String {
        let mut html = format!("{}{}", prose(schema["description"].as_str()), facts(schema));
        if schema["properties"].as_object().is_some_and(|properties| !properties.is_empty()) {
            html.push_str(&self.properties(schema, path));
        }
        for key in ["items", "additionalProperties"] {
            if is_deep(&schema[key]) {
                html.push_str(&self.below(&schema[key], path));
            }
        }
        for part in listed(&schema["allOf"]) {
            html.push_str(&self.below(part, path));
        }
        html.push_str(&self.choices(schema, path));
        html.extend(listed(&schema["examples"]).map(|value| example("Example", value)));
        html
    }

    fn properties(&self, schema: &Value, path: &mut Vec<String>) -> String {
        let mut rows = String::new();
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let required = super::required(listed(&schema["required"]).any(|required| required == name));
            let (name, words) = (code(name), self.words(property));
            let below = self.below(property, path);
            rows.push_str(&format!("<li>{name} <span class=\"type\">{words}</span>{required}{below}</li>"));
        }
        format!("<ul class=\"schema\">{rows}</ul>")
    }

    /// The alternatives, folded, each with what is below it; plain types are named in the words already, and so is what is linked.
    fn choices(&self, schema: &Value, path: &mut Vec<String>) -> String {
        let mut html = String::new();
        let is_shown = |choice: &&Value| is_deep(choice) && !(self.is_linked && choice["$ref"].is_string());
        for choice in ["oneOf", "anyOf"].iter().flat_map(|key| listed(&schema[*key])).filter(is_shown) {
            let (words, below) = (self.words(choice), self.below(choice, path));
            // A link cannot stand in what unfolds.
            html.push_str(&match self.is_linked {
                true => format!("<div class=\"choice\"><span class=\"type\">{words}</span>{below}</div>"),
                false => format!("<details><summary>{words}</summary>{below}</details>"),
            });
        }
        html
    }
}

/// Whether there is more to say of a schema than its type.
fn is_deep(schema: &Value) -> bool {
    let keys =
        ["$ref", "properties", "items", "additionalProperties", "allOf", "oneOf", "anyOf", "enum", "description"];
    keys.iter().any(|key| schema[*key] != Value::Null)
}
