//! The team's logo: an address, or a picture that is kept here.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest, Sha256};

use crate::hex::hex;

/// The most bytes of a picture.
pub const MOST_PICTURE: usize = 256 * 1024;
/// The kinds of picture there can be, by what each begins with. No SVG, which can hold more than a picture.
const KINDS: [(&str, &[u8]); 2] = [("image/png", b"\x89PNG\r\n\x1a\n"), ("image/jpeg", b"\xff\xd8\xff")];

/// The logo that customers see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Logo {
    /// An https address, for pages of the application's own: ours load nothing from elsewhere.
    Address(String),
    /// A picture.
    Picture(Picture),
}

/// A picture that pages show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "Stored")]
pub struct Picture {
    kind: &'static str,
    data: Bytes,
    digest: String,
}

/// As it is stored.
#[derive(Serialize, Deserialize)]
struct Stored {
    /// Its bytes in base64.
    data: String,
}

/// The bytes are no picture that can be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPicture {
    /// It begins as none of the known kinds does.
    #[error("Send a PNG, a JPEG or a WebP picture. SVG is not taken, since it can hold more than a picture.")]
    Kind,
    /// It has more than [`MOST_PICTURE`] bytes.
    #[error("Send a picture of at most 256 KiB (262,144 bytes).")]
    Size,
}

impl Picture {
    /// A picture; its kind is what its bytes say, whatever it is called.
    ///
    /// # Errors
    /// [`NoPicture`] where the bytes are none.
    pub fn new(data: Bytes) -> Result<Self, NoPicture> {
        if data.len() > MOST_PICTURE {
            return Err(NoPicture::Size);
        }
        let is_webp = data.starts_with(b"RIFF") && data.get(8..12) == Some(b"WEBP");
        let known = KINDS.iter().find(|(_, begins)| data.starts_with(begins)).map(|(kind, _)| *kind);
        let kind = known.or(is_webp.then_some("image/webp")).ok_or(NoPicture::Kind)?;
        let digest = hex(&Sha256::digest(&data));
        Ok(Self { kind, data, digest })
    }

    /// The same of a `data:` address in base64 (RFC 2397).
    ///
    /// # Errors
    /// [`NoPicture`] where it is none.
    pub fn in_address(text: &str) -> Result<Self, NoPicture> {
        let data =
            text.strip_prefix("data:image/").and_then(|rest| rest.split_once(";base64,")).ok_or(NoPicture::Kind)?;
        if data.1.len() > MOST_PICTURE.div_ceil(3) * 4 {
            return Err(NoPicture::Size);
        }
        Self::new(STANDARD.decode(data.1).map_err(|_| NoPicture::Kind)?.into())
    }

    /// Its media type.
    pub const fn kind(&self) -> &'static str {
        self.kind
    }

    /// Its bytes.
    pub fn data(&self) -> Bytes {
        self.data.clone()
    }

    /// SHA-256 of its bytes, in hexadecimal digits.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Where pages have it: under another address when it is another.
    pub fn path(&self) -> String {
        format!("/assets/logo?v={}", self.digest.get(..16).unwrap_or_default())
    }

    /// The picture itself as an address, as it is taken, too.
    pub fn address(&self) -> String {
        format!("data:{};base64,{}", self.kind, STANDARD.encode(&self.data))
    }

    /// What the audit log says of it.
    pub fn described(&self) -> String {
        format!("{}, {} bytes, SHA-256 {}", self.kind, self.data.len(), self.digest)
    }
}

impl<'de> Deserialize<'de> for Picture {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let data = STANDARD.decode(Stored::deserialize(deserializer)?.data).map_err(D::Error::custom)?;
        Self::new(data.into()).map_err(D::Error::custom)
    }
}

impl From<Picture> for Stored {
    fn from(picture: Picture) -> Self {
        Self { data: STANDARD.encode(&picture.data) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_what_its_bytes_say_and_comes_back_as_it_was() {
        let long = [b"\x89PNG\r\n\x1a\n".to_vec(), vec![0; MOST_PICTURE - 8]].concat();
        let longer = [&long[..], b"0"].concat();
        #[rustfmt::skip]
        let cases: [(&[u8], Result<&str, NoPicture>); 8] = [
            (b"\x89PNG\r\n\x1a\nrest",       Ok("image/png")),
            (b"\xff\xd8\xff\xe0rest",         Ok("image/jpeg")),
            (b"RIFF\x04\0\0\0WEBPrest",       Ok("image/webp")),
            (b"RIFF\x04\0\0\0WAVErest",       Err(NoPicture::Kind)),
            (b"<svg xmlns='http://a'/>",       Err(NoPicture::Kind)),
            (b"",                              Err(NoPicture::Kind)),
            (&long,                            Ok("image/png")),
            (&longer,                          Err(NoPicture::Size)),
        ];
        for (data, expected) in cases {
            let made = Picture::new(Bytes::copy_from_slice(data));
            assert_eq!(made.as_ref().map(Picture::kind).map_err(|why| *why), expected, "{data:?}");
            let Ok(picture) = made else { continue };
            assert_eq!(Picture::in_address(&picture.address()).as_ref(), Ok(&picture));
            let stored = serde_json::to_string(&Logo::Picture(picture.clone())).unwrap();
            assert_eq!(serde_json::from_str::<Logo>(&stored).unwrap(), Logo::Picture(picture));
        }
        let of_long = format!("data:image/png;base64,{}", "A".repeat(MOST_PICTURE * 4 / 3 + 8));
        assert_eq!(Picture::in_address(&of_long), Err(NoPicture::Size));
        for none in ["data:image/png;base64,!", "data:text/html;base64,AAAA", "data:image/png,abc", ""] {
            assert_eq!(Picture::in_address(none), Err(NoPicture::Kind), "{none}");
        }
    }
}
