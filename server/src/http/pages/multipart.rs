//! A form with a file, as browsers send it (RFC 7578): parts between lines of a boundary, each with a name.

use bytes::Bytes;

use super::sent::{MOST_PAIRS, Pair};

/// The longest boundary (RFC 2046).
const MOST_BOUNDARY: usize = 70;

/// The pairs of a form, and its file where one was chosen. Nothing where it is no such form.
pub(super) fn read(content_type: &str, body: &Bytes) -> Option<(Vec<Pair>, Option<Bytes>)> {
    let boundary = content_type.split(';').find_map(|part| part.trim().strip_prefix("boundary="))?.trim_matches('"');
    if boundary.is_empty() || boundary.len() > MOST_BOUNDARY {
        return None;
    }
    let (line, between) = (format!("--{boundary}"), format!("\r\n--{boundary}"));
    let (mut pairs, mut file) = (Vec::new(), None);
    let mut at = body.starts_with(line.as_bytes()).then_some(line.len())?;
    while !body.get(at..)?.starts_with(b"--") {
        let head = at.checked_add(2).filter(|_| body[at..].starts_with(b"\r\n"))?;
        let content = find(body, head, b"\r\n\r\n")?;
        let end = find(body, content.checked_add(4)?, between.as_bytes())?;
        let part = Part::of(std::str::from_utf8(body.get(head..content)?).ok()?)?;
        let said = body.slice(content.checked_add(4)?..end);
        match part.is_file {
            true if said.is_empty() => {}
            true => file = Some(said),
            false => pairs.push((part.name, std::str::from_utf8(&said).ok()?.replace("\r\n", "\n"))),
        }
        at = end.checked_add(between.len())?;
        if pairs.len() > MOST_PAIRS {
            return None;
        }
    }
    Some((pairs, file))
}

/// Where some bytes stand for the first time, not before a place.
fn find(body: &[u8], from: usize, bytes: &[u8]) -> Option<usize> {
    let found = body.get(from..)?.windows(bytes.len()).position(|window| window == bytes)?;
    from.checked_add(found)
}

/// What the head of a part says.
struct Part {
    name: String,
    is_file: bool,
}

impl Part {
    fn of(head: &str) -> Option<Self> {
        let is_it = |line: &&str| line.to_ascii_lowercase().starts_with("content-disposition:");
        let line = head.split("\r\n").find(is_it)?;
        let (_, rest) = line.split_once("; name=\"")?;
        let name = rest.split('"').next()?.replace("%22", "\"");
        Some(Self { name, is_file: line.contains("; filename=") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: &str = "multipart/form-data; boundary=----xY";

    fn form(parts: &[(&str, &str)]) -> Bytes {
        let part = |(head, said): &(&str, &str)| {
            format!("------xY\r\nContent-Disposition: form-data; {head}\r\n\r\n{said}\r\n")
        };
        Bytes::from(parts.iter().map(part).collect::<String>() + "------xY--\r\n")
    }

    #[test]
    fn fields_are_told_from_the_file_and_a_boundary_within_it_from_its_end() {
        let file = "a\r\n------x\r\n\r\n--xY";
        let picture = "name=\"picture\"; filename=\"a.png\"\r\nContent-Type: image/png";
        let body =
            form(&[("name=\"csrf\"", "p"), (picture, file), ("name=\"reason\"", "one\r\ntwo"), ("name=\"a%22\"", "")]);
        let (pairs, found) = read(TYPE, &body).unwrap();
        let expected = [("csrf", "p"), ("reason", "one\ntwo"), ("a\"", "")];
        assert_eq!(pairs, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(found.as_deref(), Some(file.as_bytes()));
        let none = form(&[("name=\"picture\"; filename=\"\"", ""), ("name=\"csrf\"", "p")]);
        assert_eq!(read(TYPE, &none).unwrap().1, None, "no file was chosen");
        assert_eq!(read("multipart/form-data; boundary=\"----xY\"", &none).unwrap().0.len(), 1);
    }

    #[test]
    fn what_is_no_such_form_is_refused_wherever_it_is_cut() {
        let whole = form(&[("name=\"a\"", "1"), ("name=\"b\"; filename=\"b\"", "2")]);
        let last = whole.len() - 4; // what follows the last boundary says nothing
        for length in 0..last {
            assert!(read(TYPE, &whole.slice(..length)).is_none(), "{length}");
        }
        for content_type in
            ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=other"]
        {
            assert!(read(content_type, &whole).is_none(), "{content_type}");
        }
        assert!(read(TYPE, &form(&[("nothing", "1")])).is_none());
    }
}
