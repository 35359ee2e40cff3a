//! A browser without script: it keeps the cookie, sends forms with what stands in them, and says from where.

use std::collections::BTreeMap;

use super::super::client::{Answer, Client};
use super::super::server::Server;

/// What of the world a page may load, and what of it is checked on every page that is seen.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     form-action 'self' https://billing.stripe.com https://checkout.stripe.com; base-uri 'none'; frame-ancestors 'none'";

pub(super) struct Browser {
    client: Client,
    origin: String,
    cookie: Option<String>,
}

/// The characters of a form that stand as they are.
fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
        b' ' => "+".to_owned(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// The value of an attribute in a tag, which begins with its name.
fn attribute(tag: &str, name: &str) -> Option<String> {
    let tag = format!(" {tag}");
    let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
    rest.split_once('"').map(|(value, _)| unescaped(value))
}

fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&#39;", "'")
        .replace("&#34;", "\"")
        .replace("&amp;", "&")
        .replace("&#38;", "&")
        .replace("&#60;", "<")
        .replace("&#62;", ">")
}

/// What the form of a page sends that nobody typed: hidden fields, and the button's own.
pub(super) fn standing(page: &str) -> BTreeMap<String, String> {
    let form =
        page.split_once("data-form").map_or("", |(_, rest)| rest.split_once("</form>").map_or(rest, |(form, _)| form));
    let mut fields = BTreeMap::new();
    for tag in form.split('<').filter(|tag| tag.starts_with("input ") || tag.starts_with("button ")) {
        let is_sent = tag.contains("type=\"hidden\"") || (tag.starts_with("button ") && tag.contains("name=\"csrf\""));
        let is_shown = tag.starts_with("input ") && !tag.contains("type=\"checkbox\"");
        let is_checked = tag.contains("type=\"checkbox\"") && tag.contains(" checked");
        if let (true, Some(name)) = (is_sent || is_shown || is_checked, attribute(tag, "name")) {
            fields.insert(name, attribute(tag, "value").unwrap_or_default());
        }
    }
    for select in form.split("<select ").skip(1) {
        let (select, _) = select.split_once("</select>").unwrap();
        let options: Vec<_> = select.split("<option ").skip(1).collect();
        let chosen = options.iter().find(|option| option.split('>').next().unwrap().contains("selected"));
        if let Some(option) = chosen.or(options.first()) {
            let value = attribute(option, "value").unwrap_or_default();
            fields.insert(attribute(select, "name").unwrap(), value);
        }
    }
    fields
}

impl Browser {
    pub(super) fn new(server: &Server) -> Self {
        Self { client: server.stranger(), origin: server.url.clone(), cookie: None }
    }

    /// A page, whatever it answers.
    pub(super) fn get(&mut self, path: &str) -> Answer {
        let mut call =
            self.client.call("GET", path).header("accept", "text/html").header("sec-fetch-site", "same-origin");
        if let Some(cookie) = &self.cookie {
            call = call.header("cookie", cookie);
        }
        let answer = call.send();
        self.seen(&answer);
        answer
    }

    /// A page that is there.
    pub(super) fn page(&mut self, path: &str) -> String {
        self.get(path).is(200).text
    }

    /// The path that a page leads to.
    pub(super) fn led(&mut self, path: &str) -> String {
        self.get(path).is(303).header("location").unwrap().to_owned()
    }

    /// Opens a form, types, and sends it.
    pub(super) fn submit(&mut self, path: &str, typed: &[(&str, &str)]) -> Answer {
        let page = self.page(path);
        let mut fields = standing(&page);
        for (name, value) in typed {
            fields.insert((*name).to_owned(), (*value).to_owned());
        }
        let action = page.split_once("data-form").map_or("", |(before, _)| before.rsplit_once("<form ").unwrap().1);
        let action = attribute(action, "action").filter(|action| !action.is_empty());
        self.send(action.as_deref().unwrap_or(path), &fields)
    }

    /// Sends a form as it is.
    pub(super) fn send(&mut self, path: &str, fields: &BTreeMap<String, String>) -> Answer {
        let pairs: Vec<_> =
            fields.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
        let call = self.client.call("POST", path).body("application/x-www-form-urlencoded", pairs.join("&"));
        let mut call = call.header("accept", "text/html").header("origin", &self.origin);
        call = call.header("sec-fetch-site", "same-origin");
        if let Some(cookie) = &self.cookie {
            call = call.header("cookie", cookie);
        }
        let answer = call.send();
        self.seen(&answer);
        answer
    }

    /// Opens a form, chooses a file for one of its fields, and sends it in parts.
    pub(super) fn submit_file(&mut self, path: &str, name: &str, file: &[u8]) -> Answer {
        let page = self.page(path);
        assert!(page.contains("enctype=\"multipart/form-data\""), "{page}");
        let mut body = Vec::new();
        let mut part = |head: String, said: &[u8]| {
            body.extend(format!("--xYz\r\nContent-Disposition: form-data; {head}\r\n\r\n").into_bytes());
            body.extend([said, b"\r\n"].concat());
        };
        for (field, value) in standing(&page).iter().filter(|(field, _)| *field != name) {
            part(format!("name=\"{field}\""), value.as_bytes());
        }
        part(format!("name=\"{name}\"; filename=\"a picture.png\"\r\nContent-Type: image/png"), file);
        body.extend(b"--xYz--\r\n");
        let call = self.client.call("POST", path).body("multipart/form-data; boundary=xYz", body);
        let call = call.header("accept", "text/html").header("origin", &self.origin);
        let answer = call.header("sec-fetch-site", "same-origin").header("cookie", self.cookie()).send();
        self.seen(&answer);
        answer
    }

    /// The form of a page with what stands in it.
    pub(super) fn form(&mut self, path: &str) -> BTreeMap<String, String> {
        standing(&self.page(path))
    }

    /// As another site would have it send a form.
    pub(super) fn sent_elsewhere(&self, path: &str, fields: &BTreeMap<String, String>) -> Answer {
        let pairs: Vec<_> =
            fields.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
        let call = self.client.call("POST", path).body("application/x-www-form-urlencoded", pairs.join("&"));
        let call = call.header("origin", "https://evil.example").header("sec-fetch-site", "cross-site");
        call.header("cookie", self.cookie.as_deref().unwrap_or("")).send()
    }

    pub(super) fn cookie(&self) -> &str {
        self.cookie.as_deref().unwrap_or("")
    }

    /// Keeps the cookie, and looks at what must hold of every page.
    fn seen(&mut self, answer: &Answer) {
        if let Some(cookie) = answer.header("set-cookie") {
            let cookie = cookie.split(';').next().unwrap();
            self.cookie = cookie.split_once('=').filter(|(_, value)| !value.is_empty()).map(|_| cookie.to_owned());
        }
        if answer.header("content-type").is_some_and(|kind| kind.starts_with("text/html")) {
            assert_eq!(answer.header("content-security-policy"), Some(POLICY));
            assert_eq!(answer.header("cache-control"), Some("no-store"));
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
            for inline in [" style=\"", "<style", " onclick=", "javascript:", "<script>"] {
                assert!(!answer.text.contains(inline), "{inline} in {}", answer.text);
            }
            let loaded = answer.text.split(" src=\"").skip(1);
            for address in loaded.filter_map(|rest| rest.split('"').next()) {
                assert!(address.starts_with('/'), "{address} is loaded");
            }
        }
    }
}
