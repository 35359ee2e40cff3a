//! The end of a connection on which a body was left unread. Whoever still sends it would have the connection reset under them,
//! with the answer in it: so the answer says that it is the last one, and once it is out the rest is read for a while.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Response};
use bytes::{Buf, Bytes};
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::oneshot;

/// For how long the rest of a body is read.
const LONGEST: Duration = Duration::from_secs(10);

/// An answer after which the connection is closed, and up to `most` bytes of the body that was left are read and dropped.
pub(super) fn closing<B>(mut response: Response<Body>, left: B, most: u64) -> Response<Body>
where
    B: HttpBody<Data = Bytes> + Unpin + 'static,
{
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    let (sent, when_sent) = oneshot::channel();
    tokio::task::spawn_local(async move {
        // Before the answer is out nothing is read: a client that waits to be told to go on is not told so.
        let _ = when_sent.await;
        let _ = tokio::time::timeout(LONGEST, drain(left, most)).await;
    });
    response.map(|body| Body::new(Last { body, _sent: sent }))
}

async fn drain<B: HttpBody<Data = Bytes> + Unpin>(mut left: B, most: u64) {
    let mut bytes = 0;
    while bytes < most
        && let Some(Ok(frame)) = left.frame().await
    {
        bytes += frame.data_ref().map_or(0, |data| data.remaining() as u64);
    }
}

/// The last answer's body: gone once it is written out.
struct Last {
    body: Body,
    _sent: oneshot::Sender<()>,
}

impl HttpBody for Last {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
