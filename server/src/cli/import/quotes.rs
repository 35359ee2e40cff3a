//! Where a quote is open in the bytes of a CSV file: who reads it as records is not told where the file ends within one.

const MARK: &[u8; 3] = b"\xef\xbb\xbf";

/// What has been read so far.
#[derive(Debug, Default)]
pub(super) struct Quotes {
    place: Place,
    /// Bytes of the mark at the start of the file that have come; more than it has once anything else has.
    marked: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// A cell begins here.
    #[default]
    Start,
    /// Within a cell without quotes around it, in which they stand for themselves.
    Plain,
    Quoted,
    /// After a quote within quotes: it ends them, unless another follows.
    Ended,
}

impl Quotes {
    /// Takes the next bytes of the file.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if MARK.get(self.marked) == Some(&byte) {
                self.marked += 1;
                continue;
            }
            self.marked = MARK.len();
            self.place = match (self.place, byte) {
                (Place::Quoted, b'"') => Place::Ended,
                (Place::Quoted, _) | (Place::Start | Place::Ended, b'"') => Place::Quoted,
                (_, b',' | b'\r' | b'\n') => Place::Start,
                _ => Place::Plain,
            };
        }
    }

    /// Whether the file may not end here.
    pub(super) fn is_open(&self) -> bool {
        self.place == Place::Quoted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_is_open_where_nothing_has_closed_it() {
        #[rustfmt::skip]
        let cases = [
            ("", false), ("a,b\n1,2\n", false), ("a,\"b\"", false), ("a,\"b\"\r\n", false), ("a\"b,c", false), ("\"a\"\"b\"", false),
            ("\"a,\nb\"\n", false), ("\"a\"x\"y", false), ("\u{feff}\"a\",b\n", false),
            ("\"", true), ("a,\"b\n1,2\n", true), ("\"a\"\"", true), ("\u{feff}\"a,b\n", true), ("a,\"b\",\"c", true),
        ];
        for (text, expected) in cases {
            let mut quotes = Quotes::default();
            text.as_bytes().chunks(2).for_each(|some| quotes.take(some));
            assert_eq!(quotes.is_open(), expected, "{text:?}");
        }
    }
}
