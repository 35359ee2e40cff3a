//! Request bodies: bounded in size and in time, read as bytes or as JSON.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use bytes::{Buf, Bytes};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, Sleep, sleep};

use super::error::ApiError;
use super::json;

/// A body that comes slower than this for longer than the timeout is cut: bytes a second.
const SLOWEST: u64 = 16 * 1024;

/// What a body may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes.
    pub bytes: u64,
    /// How long a body may take, and a second more for each 16 KiB that has come.
    pub timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 8 * 1024 * 1024, timeout: Duration::from_secs(30) }
    }
}

/// Why a body was not read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// More than [`Limits::bytes`], which it holds.
    #[error("the body has more than {0} bytes")]
    TooLarge(u64),
    /// It did not come in time.
    #[error("the body did not arrive in time")]
    TimedOut,
    /// The connection broke, or the framing is wrong.
    #[error("the body broke off")]
    Broken,
}

impl From<Unread> for ApiError {
    fn from(why: Unread) -> Self {
        match why {
            Unread::TooLarge(bytes) => Self::payload_too_large(format!("A body has at most {bytes} bytes here.")),
            Unread::TimedOut => Self::request_timeout(),
            Unread::Broken => Self::malformed("The body broke off before its end."),
        }
    }
}

/// A body within [`Limits`]: it fails with [`Unread`] instead of going beyond them.
#[derive(Debug)]
pub struct Limited<B = Incoming> {
    body: B,
    limits: Limits,
    received: u64,
    /// Begins when the body first had to be waited for: most are there at once and need no timer.
    waiting: Option<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    since: Instant,
    alarm: Pin<Box<Sleep>>,
}

impl<B> Limited<B> {
    /// `body` within `limits`.
    pub const fn new(body: B, limits: Limits) -> Self {
        Self { body, limits, received: 0, waiting: None }
    }

    /// Ready when the body's time is over.
    fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let allowed = self.limits.timeout + Duration::from_secs(self.received / SLOWEST);
        let waiting = self.waiting.get_or_insert_with(|| {
            let alarm = Box::pin(sleep(allowed));
            Waiting { since: alarm.deadline() - allowed, alarm }
        });
        let end = waiting.since + allowed;
        while waiting.alarm.deadline() < end {
            ready!(waiting.alarm.as_mut().poll(context));
            waiting.alarm.as_mut().reset(end);
        }
        waiting.alarm.as_mut().poll(context)
    }
}

impl<B: Body + Unpin> Body for Limited<B> {
    type Data = B::Data;
    type Error = Unread;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, Unread>>> {
        let this = self.get_mut();
        if this.body.size_hint().lower().saturating_add(this.received) > this.limits.bytes {
            return Poll::Ready(Some(Err(Unread::TooLarge(this.limits.bytes))));
        }
        let frame = match Pin::new(&mut this.body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => frame,
            Poll::Ready(Some(Err(_))) => return Poll::Ready(Some(Err(Unread::Broken))),
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => return this.poll_late(context).map(|()| Some(Err(Unread::TimedOut))),
        };
        this.received += frame.data_ref().map_or(0, |data| data.remaining() as u64);
        let fits = this.received <= this.limits.bytes;
        Poll::Ready(Some(if fits { Ok(frame) } else { Err(Unread::TooLarge(this.limits.bytes)) }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// All bytes of a body; of one that came in one piece no byte is copied.
///
/// # Errors
/// 408, 413 or 400 as [`Unread`] says, also where other layers wrapped it.
pub async fn read<B>(body: B) -> Result<Bytes, ApiError>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    match body.collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) => Err(unread(&*error.into()).into()),
    }
}

fn unread(error: &(dyn Error + 'static)) -> Unread {
    match error.downcast_ref() {
        Some(why) => *why,
        None => error.source().map_or(Unread::Broken, unread),
    }
}

/// For handlers: the body as bytes.
#[derive(Clone, Debug)]
pub struct Raw(pub Bytes);

impl<S: Sync> FromRequest<S> for Raw {
    type Rejection = ApiError;
    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        read(request.into_body()).await.map(Self)
    }
}

/// For handlers: a body of `application/json`, read as [`json::parse`] does.
#[derive(Clone, Copy, Debug)]
pub struct Json<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = ApiError;
    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        if !is_json(request.headers()) {
            return Err(ApiError::unsupported_media_type("Send JSON with Content-Type: application/json."));
        }
        json::parse(&read(request.into_body()).await?).map(Self)
    }
}

/// Whether the content type is `application/json` or ends in `+json`, with any parameters.
pub fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let media_type = value.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    media_type == "application/json" || (media_type.starts_with("application/") && media_type.ends_with("+json"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body as AxumBody;
    use http_body_util::Full;

    /// A body of so many pieces, each after a pause.
    fn slow(
        pieces: u32,
        bytes: usize,
        pause: Duration,
    ) -> impl Body<Data = Bytes, Error = std::io::Error> + Send + Unpin + 'static {
        Slow { pieces, bytes, pause, alarm: Box::pin(tokio::time::sleep(pause)) }
    }

    struct Slow {
        pieces: u32,
        bytes: usize,
        pause: Duration,
        alarm: Pin<Box<Sleep>>,
    }

    impl Body for Slow {
        type Data = Bytes;
        type Error = std::io::Error;
        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
            if self.pieces == 0 {
                return Poll::Ready(None);
            }
            ready!(self.alarm.as_mut().poll(context));
            let next = self.alarm.deadline() + self.pause;
            self.alarm.as_mut().reset(next);
            self.pieces -= 1;
            Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![b'x'; self.bytes])))))
        }
    }

    fn limits(bytes: u64, seconds: u64) -> Limits {
        Limits { bytes, timeout: Duration::from_secs(seconds) }
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_bound_and_no_further() {
        for (bytes, bound, expected) in [(0, 0, Ok(0)), (5, 5, Ok(5)), (6, 5, Err(413))] {
            let full = Limited::new(Full::new(Bytes::from(vec![b'x'; bytes])), limits(bound, 1));
            let read = read(full).await.map(|bytes| bytes.len()).map_err(|error| error.status().as_u16());
            assert_eq!(read, expected, "{bytes} of {bound}");
        }
        let unknown_length = Limited::new(slow(3, 2, Duration::ZERO), limits(5, 1));
        assert_eq!(read(unknown_length).await.unwrap_err().status(), 413);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_comes_too_slowly_is_408_and_a_steady_large_one_is_not() {
        #[rustfmt::skip]
        let cases = [ // pieces, bytes, seconds between, outcome
            (2,  1,      20, Err(408)),
            (1,  1,      29, Ok(1)),
            (1,  1,      31, Err(408)),
            (40, 32_768, 1,  Ok(40 * 32_768)),
            (40, 8_192,  1,  Ok(40 * 8_192)),
            (99, 8_192,  1,  Err(408)),
        ];
        for (pieces, bytes, seconds, expected) in cases {
            let body = Limited::new(slow(pieces, bytes, Duration::from_secs(seconds)), limits(1 << 30, 30));
            let read =
                read(AxumBody::new(body)).await.map(|bytes| bytes.len()).map_err(|error| error.status().as_u16());
            assert_eq!(read, expected, "{pieces} of {bytes} each {seconds} s");
        }
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_400() {
        struct Broken;
        impl Body for Broken {
            type Data = Bytes;
            type Error = std::io::Error;
            fn poll_frame(
                self: Pin<&mut Self>,
                _: &mut Context<'_>,
            ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
                Poll::Ready(Some(Err(std::io::ErrorKind::UnexpectedEof.into())))
            }
        }
        assert_eq!(read(Limited::new(Broken, Limits::default())).await.unwrap_err().status(), 400);
    }

    #[tokio::test]
    async fn handlers_take_json_of_its_content_type_only() {
        let cases = [
            (Some("application/json"), "[1]", Ok(vec![1])),
            (Some("application/merge-patch+json; charset=utf-8"), "[]", Ok(vec![])),
            (Some("text/plain"), "[1]", Err(415)),
            (None, "[1]", Err(415)),
            (Some("application/json"), "[", Err(400)),
            (Some("application/json"), "[true]", Err(422)),
        ];
        for (content_type, body, expected) in cases {
            let mut request = Request::new(AxumBody::from(body));
            content_type.map(|value| request.headers_mut().insert(CONTENT_TYPE, value.parse().unwrap()));
            let read = Json::<Vec<u8>>::from_request(request, &()).await;
            assert_eq!(
                read.map(|json| json.0).map_err(|error| error.status().as_u16()),
                expected,
                "{content_type:?} {body}"
            );
        }
    }
}
