//! Text that is HTML already.

use std::fmt;

use askama::filters::HtmlSafe;

/// HTML that was made here and escaped where it was made, so templates write it as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Markup(String);

impl Markup {
    /// What is HTML. The caller has escaped everything in it that came from elsewhere.
    pub(crate) fn of(html: String) -> Self {
        Self(html)
    }

    /// The HTML.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Markup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl HtmlSafe for Markup {}

/// Text as it may stand in HTML, between tags and in quoted attributes.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_escapes_its_place() {
        assert_eq!(
            escape(r#"</title><script>alert("a" & 'b')"#),
            "&lt;/title&gt;&lt;script&gt;alert(&quot;a&quot; &amp; &#39;b&#39;)"
        );
        assert_eq!(escape("Größe – 5"), "Größe – 5");
    }
}
