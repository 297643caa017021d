//! Connects from many addresses, so that the ports of one do not run out.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicU8, Ordering},
};

use tokio::net::{TcpSocket, TcpStream};

/// Opens a connection from the next loopback address.
pub(super) async fn dial(address: SocketAddr) -> io::Result<TcpStream> {
    static NEXT: AtomicU8 = AtomicU8::new(0);
    let socket = TcpSocket::new_v4()?;
    let from = Ipv4Addr::new(127, 0, 1, NEXT.fetch_add(1, Ordering::Relaxed));
    socket.bind((from, 0).into())?;
    socket.connect(address).await
}
