//! What a core knows of one connection, and how it learns it: from the bytes, from the service, from the answer.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use hyper::Response;
use hyper::body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::core::Core;

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Accepted, and nothing came yet.
    New,
    /// A header is coming.
    Header,
    /// A request is with the service, or its answer is being made.
    Busy,
    /// Answered; the next request may come.
    Idle,
}

/// What a core knows of one connection. Times are ticks of the core.
#[derive(Debug)]
pub(super) struct Watch {
    core: Rc<Core>,
    phase: Cell<Phase>,
    since: Cell<u32>,
    /// When the client stopped taking bytes that wait to be sent.
    stalled: Cell<Option<u32>>,
    cut: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Watch {
    pub(super) fn new(core: Rc<Core>) -> Self {
        let since = Cell::new(core.now());
        let (phase, stalled, cut) = (Cell::new(Phase::New), Cell::new(None), Cell::new(false));
        Self { core, phase, since, stalled, cut, waker: RefCell::new(None) }
    }

    fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.since.set(self.core.now());
    }

    /// A request goes to the service; it ends when the guard and what was made from it is dropped.
    pub(super) fn begin(self: &Rc<Self>) -> Running {
        self.enter(Phase::Busy);
        Running(self.clone())
    }

    fn bytes_came(&self) {
        if matches!(self.phase.get(), Phase::New | Phase::Idle) {
            self.enter(Phase::Header);
        }
    }

    fn bytes_left(&self, sent: bool) {
        match (sent, self.stalled.get()) {
            (true, Some(_)) => self.stalled.set(None),
            (false, None) => self.stalled.set(Some(self.core.now())),
            _ => {}
        }
    }

    /// Looks whether the connection has had its time, and wakes it to its end if so.
    pub(super) fn look(&self) {
        let limits = &self.core.limits;
        let limit = match self.phase.get() {
            Phase::New | Phase::Header => Some(limits.header),
            Phase::Idle => Some(limits.idle),
            Phase::Busy => None,
        };
        let over = |since: u32, limit: u32| self.core.now().wrapping_sub(since) > limit;
        let late = limit.is_some_and(|limit| over(self.since.get(), limit));
        if late || self.stalled.get().is_some_and(|since| over(since, limits.write)) {
            self.cut.set(true);
        }
        if self.cut.get() || self.core.is_draining() {
            self.wake();
        }
    }

    fn wake(&self) {
        let waker = self.waker.borrow_mut().take();
        waker.into_iter().for_each(Waker::wake);
    }

    fn remember(&self, waker: &Waker) {
        let mut kept = self.waker.borrow_mut();
        if !kept.as_ref().is_some_and(|kept| kept.will_wake(waker)) {
            *kept = Some(waker.clone());
        }
    }

    /// Whether to end after the running request. What was only just accepted may have sent a request that the kernel
    /// still holds, so it gets a moment.
    fn must_finish(&self) -> bool {
        self.core.is_draining() && (self.phase.get() != Phase::New || self.core.has_drained_a_moment())
    }
}

/// Runs a connection until it is done or cut off.
pub(super) async fn drive<C>(connection: C, watch: &Watch, finish: impl Fn(Pin<&mut C>))
where
    C: Future,
{
    let mut connection = pin!(connection);
    let mut told = false;
    std::future::poll_fn(|context| {
        watch.remember(context.waker());
        if watch.cut.get() {
            return Poll::Ready(());
        }
        if !told && watch.must_finish() {
            told = true;
            finish(connection.as_mut());
        }
        connection.as_mut().poll(context).map(|_| ())
    })
    .await;
}

/// A request that is with the service.
#[derive(Debug)]
pub(super) struct Running(Rc<Watch>);

impl Running {
    /// The answer; the request runs until its body is sent or dropped.
    pub(super) fn answer<B>(self, response: Response<B>) -> Response<Answer<B>> {
        response.map(|body| Answer { body, _running: self })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.enter(Phase::Idle);
    }
}

/// An answer's body that ends the request with itself.
#[derive(Debug)]
pub(super) struct Answer<B> {
    body: B,
    _running: Running,
}

impl<B: Body + Unpin> Body for Answer<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A connection's bytes, with notes of when they move.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) stream: TcpStream,
    pub(super) watch: Rc<Watch>,
}

impl Watched {
    fn note<T>(&self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.watch.bytes_left(written.is_ready());
        written
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, into);
        if into.filled().len() > before {
            self.watch.bytes_came();
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
