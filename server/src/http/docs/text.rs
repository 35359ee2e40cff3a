//! Text into HTML, with nothing left that HTML would take for its own.

/// `text` for an element or a quoted attribute.
pub(crate) fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut html, c| {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            c => html.push(c),
        }
        html
    })
}

/// A name or a value.
pub(super) fn code(text: &str) -> String {
    format!("<code>{}</code>", escape(text))
}

/// A description: paragraphs between blank lines, list items after `- ` or `* `, and `code` in backticks. Other
/// Markdown stays as it is written.
pub(super) fn prose(text: Option<&str>) -> String {
    text.unwrap_or("").split("\n\n").map(str::trim).filter(|part| !part.is_empty()).map(paragraph).collect()
}

fn paragraph(part: &str) -> String {
    let item = |line: &str| line.strip_prefix("- ").or(line.strip_prefix("* ")).map(str::to_owned);
    if item(part).is_none() {
        return format!("<p>{}</p>", inline(part));
    }
    let mut items: Vec<String> = Vec::new();
    for line in part.lines() {
        match (item(line.trim()), items.last_mut()) {
            (Some(text), _) => items.push(text),
            (None, Some(last)) => last.extend([" ", line.trim()]),
            (None, None) => {}
        }
    }
    let items: String = items.iter().map(|text| format!("<li>{}</li>", inline(text))).collect();
    format!("<ul>{items}</ul>")
}

/// Every second piece between backticks is code; one backtick alone is a backtick.
pub(super) fn inline(text: &str) -> String {
    let pieces: Vec<&str> = text.split('`').collect();
    let paired = pieces.len() % 2 == 1;
    let piece = |(i, piece): (usize, &&str)| if i % 2 == 1 { code(piece) } else { escape(piece) };
    if paired { pieces.iter().enumerate().map(piece).collect() } else { escape(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_become_paragraphs_lists_and_code_and_nothing_else() {
        #[rustfmt::skip]
        let cases = [
            ("",                                "" ),
            ("One.\nStill one.\n\n\n Two. ",    "<p>One.\nStill one.</p><p>Two.</p>"),
            ("Send `a < b`, not `c`.",          "<p>Send <code>a &lt; b</code>, not <code>c</code>.</p>"),
            ("A lone ` stays.",                 "<p>A lone ` stays.</p>"),
            ("- one\n  more\n- `two`",          "<ul><li>one more</li><li><code>two</code></li></ul>"),
            ("<b onclick='x()'>&amp;\"</b>",    "<p>&lt;b onclick=&#39;x()&#39;&gt;&amp;amp;&quot;&lt;/b&gt;</p>"),
        ];
        for (text, html) in cases {
            assert_eq!(prose(Some(text)), html);
        }
        assert_eq!(prose(None), "");
    }
}
