//! Sockets: one a core, all on the same address.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Socket, Type};

/// Connections that wait in the kernel to be accepted, for each socket.
const BACKLOG: i32 = 1_024;

/// As many sockets as asked for. With port 0 the first takes a free one, the others the same.
pub(super) fn bind(address: SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    refuse_if_in_use(address)?;
    let first = shared(address)?;
    let address = first.local_addr()?;
    let others = (1..count).map(|_| shared(address));
    std::iter::once(Ok(first)).chain(others).collect()
}

/// `SO_REUSEPORT` would let a second Metergate take half of the connections of the first without a word.
fn refuse_if_in_use(address: SocketAddr) -> io::Result<()> {
    let probe = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    probe.set_reuse_address(true)?;
    probe.bind(&address.into())
}

fn shared(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
