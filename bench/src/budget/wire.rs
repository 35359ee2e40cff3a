//! A connection without a socket: requests are put in, answers are counted. So nothing but the server's own work is done.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

/// Counts the answers that come on all connections.
#[derive(Default)]
pub(crate) struct Post {
    arrived: Cell<usize>,
    notify: Notify,
}

impl Post {
    /// Waits until so many more have come than were waited for before.
    ///
    /// The server writes each whole, in one go, since the connections always take everything.
    pub(crate) async fn answers(&self, count: usize) {
        while self.arrived.get() < count {
            self.notify.notified().await;
        }
        self.arrived.set(self.arrived.get() - count);
    }

    fn arrive(&self) {
        self.arrived.set(self.arrived.get() + 1);
        self.notify.notify_one();
    }
}

/// The near end: what a client would hold.
pub(crate) struct Client(Rc<RefCell<State>>);

/// The far end, for the server.
pub(crate) struct Wire(Rc<RefCell<State>>);

struct State {
    request: Vec<u8>,
    reader: Option<Waker>,
    kept: Option<Vec<u8>>,
    post: Rc<Post>,
}

impl Client {
    /// With nothing sent. `post` counts its answers.
    pub(crate) fn new(post: &Rc<Post>) -> Self {
        let state = State { request: Vec::new(), reader: None, kept: None, post: Rc::clone(post) };
        Self(Rc::new(RefCell::new(state)))
    }

    /// The other end.
    pub(crate) fn wire(&self) -> Wire {
        Wire(Rc::clone(&self.0))
    }

    /// Sends a request.
    pub(crate) fn send(&self, request: &[u8]) {
        let mut state = self.0.borrow_mut();
        state.request.extend_from_slice(request);
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
    }

    /// Whether something was sent that the server has not read yet.
    pub(crate) fn is_unread(&self) -> bool {
        !self.0.borrow().request.is_empty()
    }

    /// From now on answers are kept.
    pub(crate) fn keep(&self) {
        self.0.borrow_mut().kept = Some(Vec::new());
    }

    /// What has been kept; from now on nothing is.
    pub(crate) fn kept(&self) -> Vec<u8> {
        self.0.borrow_mut().kept.take().unwrap_or_default()
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.borrow_mut();
        if state.request.is_empty() {
            state.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        let count = buffer.remaining().min(state.request.len());
        buffer.put_slice(&state.request[..count]);
        state.request.drain(..count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.0.borrow_mut();
        if bytes.starts_with(b"HTTP/1.1 ") {
            state.post.arrive();
        }
        if let Some(kept) = &mut state.kept {
            kept.extend_from_slice(bytes);
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
