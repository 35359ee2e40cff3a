//! A cheap HTTP/1.1 client connection: finished request bytes out, whole answers in.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::answer::{Answer, find_answer};
use crate::error::BenchError;

/// Larger than a decision, so that one read takes it whole and leaves room: the runtime then knows that the socket is
/// empty and does not ask again.
const FIRST_BUFFER: usize = 16 * 1024;

/// A kept-alive connection to a server on loopback.
pub struct Connection {
    target: SocketAddr,
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Bytes of `buffer` already handed out as answers.
    taken: usize,
    /// Bytes of `buffer` that hold something read.
    filled: usize,
    closing: bool,
}

impl Connection {
    /// Connects to `target`.
    ///
    /// # Errors
    /// [`BenchError::NotLoopback`] for any other machine, [`BenchError::Io`] where nothing listens.
    pub async fn open(target: SocketAddr) -> Result<Self, BenchError> {
        require_loopback(target)?;
        let stream = connect(target).await?;
        Ok(Self { target, stream, buffer: vec![0; FIRST_BUFFER], taken: 0, filled: 0, closing: false })
    }

    /// Sends a whole request and waits for its answer, on a new stream if the server closed the last one.
    ///
    /// # Errors
    /// [`BenchError::Io`] when the connection breaks, [`BenchError::Answer`] for what is not read here. Afterwards only
    /// [`Self::reopen`] makes sense.
    pub async fn exchange(&mut self, request: &[u8]) -> Result<Answer<'_>, BenchError> {
        if self.closing {
            self.reopen().await?;
        }
        self.send(request).await?;
        self.receive().await
    }

    /// Sends bytes without waiting for an answer.
    ///
    /// # Errors
    /// [`BenchError::Io`] when the connection breaks.
    pub async fn send(&mut self, request: &[u8]) -> Result<(), BenchError> {
        self.stream.write_all(request).await.map_err(BenchError::io("sending a request"))
    }

    /// Waits for the next answer; several may come in one read, or one in several.
    ///
    /// # Errors
    /// As [`Self::exchange`].
    pub async fn receive(&mut self) -> Result<Answer<'_>, BenchError> {
        let layout = loop {
            if let Some(layout) = find_answer(&self.buffer[self.taken..self.filled])? {
                break layout;
            }
            self.read_more().await?;
        };
        let (start, size) = (self.taken, layout.size());
        self.taken += size;
        self.closing = layout.close;
        Ok(Answer { status: layout.status, body: &self.buffer[start + layout.head..start + size], size })
    }

    /// Gives up the stream, with whatever was under way, and connects again.
    ///
    /// # Errors
    /// [`BenchError::Io`] where nothing listens.
    pub async fn reopen(&mut self) -> Result<(), BenchError> {
        self.stream = connect(self.target).await?;
        (self.taken, self.filled, self.closing) = (0, 0, false);
        Ok(())
    }

    async fn read_more(&mut self) -> Result<(), BenchError> {
        self.make_room();
        let what = "reading an answer";
        match self.stream.read(&mut self.buffer[self.filled..]).await.map_err(BenchError::io(what))? {
            0 => Err(BenchError::io(what)(io::ErrorKind::UnexpectedEof.into())),
            count => {
                self.filled += count;
                Ok(())
            }
        }
    }

    /// Moves what is left to the front, and doubles a buffer that an answer has filled.
    fn make_room(&mut self) {
        self.buffer.copy_within(self.taken..self.filled, 0);
        (self.taken, self.filled) = (0, self.filled - self.taken);
        if self.filled == self.buffer.len() {
            self.buffer.resize(self.filled * 2, 0);
        }
    }
}

/// Refuses every address that is not this machine's loopback: what this crate sends would be an attack elsewhere.
///
/// # Errors
/// [`BenchError::NotLoopback`].
pub fn require_loopback(target: SocketAddr) -> Result<(), BenchError> {
    if target.ip().is_loopback() { Ok(()) } else { Err(BenchError::NotLoopback(target)) }
}

async fn connect(target: SocketAddr) -> Result<TcpStream, BenchError> {
    let what = || format!("connecting to {target}");
    let stream = TcpStream::connect(target).await.map_err(BenchError::io(what()))?;
    stream.set_nodelay(true).map_err(BenchError::io(what()))?;
    Ok(stream)
}
