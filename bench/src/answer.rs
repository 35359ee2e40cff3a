//! Reading an HTTP/1.1 answer: no more than a load generator needs of it.

use memchr::memmem;

use crate::error::BenchError;

/// Heads beyond this are not a decision's: the server is something else.
const LARGEST_HEAD: usize = 64 * 1024;

/// One whole answer, borrowed from the connection's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer<'a> {
    /// The status code.
    pub status: u16,
    /// The body, without the head.
    pub body: &'a [u8],
    /// Bytes of head and body together.
    pub size: usize,
}

/// Where an answer lies in the bytes read so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The status code.
    pub status: u16,
    /// Bytes of the head, with the empty line.
    pub head: usize,
    /// Bytes of the body.
    pub body: usize,
    /// Whether the server closes the connection after it.
    pub close: bool,
}

impl Layout {
    /// Bytes of head and body together.
    pub const fn size(&self) -> usize {
        self.head + self.body
    }
}

/// Finds the first answer in `bytes`, or `None` while it is incomplete.
///
/// # Errors
/// [`BenchError::Answer`] for what is not HTTP/1.x, has no length, or is chunked: a decision has a known length.
pub fn find_answer(bytes: &[u8]) -> Result<Option<Layout>, BenchError> {
    let Some(end) = memmem::find(bytes, b"\r\n\r\n") else {
        return if bytes.len() > LARGEST_HEAD { Err(BenchError::Answer("its head has no end")) } else { Ok(None) };
    };
    let layout = read_head(&bytes[..end])?;
    Ok((bytes.len() >= layout.size()).then_some(layout))
}

/// Reads a head, given without its final empty line.
fn read_head(head: &[u8]) -> Result<Layout, BenchError> {
    let mut lines = head.split(|byte| *byte == b'\n');
    let status = read_status(lines.next().unwrap_or_default())?;
    let mut length = if status == 204 || status == 304 { Some(0) } else { None };
    let mut close = false;
    for line in lines {
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            length = Some(decimal(value).ok_or(BenchError::Answer("its content-length is not a number"))?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            return Err(BenchError::Answer("it is chunked"));
        } else if name.eq_ignore_ascii_case(b"connection") {
            close = value.eq_ignore_ascii_case(b"close");
        }
    }
    let body = length.ok_or(BenchError::Answer("it has no content-length"))?;
    Ok(Layout { status, head: head.len() + 4, body, close })
}

/// The code in `HTTP/1.1 200 OK`.
fn read_status(line: &[u8]) -> Result<u16, BenchError> {
    let code = line.strip_prefix(b"HTTP/1.").and_then(|rest| rest.get(2..5)).and_then(decimal);
    code.and_then(|code| u16::try_from(code).ok()).ok_or(BenchError::Answer("it is not HTTP/1.x"))
}

/// An unsigned decimal number that takes up all of `digits`.
pub(crate) fn decimal(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nx-other: 9\r\n\r\nhello";

    #[test]
    fn an_answer_is_found_only_when_its_last_byte_has_come() {
        for end in 0..ANSWER.len() {
            assert_eq!(find_answer(&ANSWER[..end]).unwrap(), None, "{end} bytes");
        }
        let whole = find_answer(ANSWER).unwrap().unwrap();
        assert_eq!(whole, Layout { status: 200, head: ANSWER.len() - 5, body: 5, close: false });
    }

    #[test]
    fn heads_are_read_or_refused() {
        #[rustfmt::skip]
        let cases = [ // head, then status and body and close, or why not
            ("HTTP/1.1 429 Too Many\r\ncontent-length:0",                 "429 0 false"),
            ("HTTP/1.0 200 OK\r\nCONTENT-LENGTH: 12\r\nConnection: Close", "200 12 true"),
            ("HTTP/1.1 204 No Content",                                   "204 0 false"),
            ("HTTP/1.1 200 OK",                                           "it has no content-length"),
            ("HTTP/1.1 200 OK\r\ncontent-length: -1",                     "its content-length is not a number"),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked",             "it is chunked"),
            ("SSH-2.0-OpenSSH",                                           "it is not HTTP/1.x"),
            ("HTTP/1.1 ",                                                 "it is not HTTP/1.x"),
        ];
        for (head, expected) in cases {
            let read = match read_head(head.as_bytes()) {
                Ok(layout) => format!("{} {} {}", layout.status, layout.body, layout.close),
                Err(BenchError::Answer(why)) => why.to_owned(),
                Err(other) => panic!("{other}"),
            };
            assert_eq!(read, expected, "{head}");
        }
    }
}
