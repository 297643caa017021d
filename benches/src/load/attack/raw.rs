//! A websocket or HTTP connection by hand: it sends what no library would.

use std::{io, time::Duration};

use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::super::dial::dial;
use super::Attacker;

/// The head of a response is not longer.
const HEAD: usize = 4096;

/// The request of a websocket handshake.
pub(super) const HANDSHAKE: &str = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\n\
    Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";

pub(super) const TEXT: u8 = 1;
pub(super) const BINARY: u8 = 2;

/// A connection that is reset when it is dropped, so that it leaves no port behind.
pub(super) async fn connect(attacker: &Attacker) -> io::Result<TcpStream> {
    let stream = dial(attacker.address).await?;
    stream.set_nodelay(true)?;
    SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    Ok(stream)
}

/// A websocket on which nothing was said yet.
pub(super) async fn websocket(attacker: &Attacker) -> io::Result<TcpStream> {
    let mut stream = connect(attacker).await?;
    stream.write_all(HANDSHAKE.as_bytes()).await?;
    head(&mut stream).await?;
    Ok(stream)
}

/// Reads the head of a response.
pub(super) async fn head(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > HEAD {
            return Err(io::ErrorKind::InvalidData.into());
        }
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// The head of a frame with so many bytes, which are masked by nothing.
pub(super) fn frame_head(first: u8, length: u64) -> Vec<u8> {
    let mut head = vec![first];
    match length {
        0..126 => head.push(0x80 | length as u8),
        126..65_536 => {
            head.push(0x80 | 126);
            head.extend((length as u16).to_be_bytes());
        }
        _ => {
            head.push(0x80 | 127);
            head.extend(length.to_be_bytes());
        }
    }
    head.extend([0; 4]);
    head
}

/// Adds a whole frame.
pub(super) fn add_frame(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    out.extend(frame_head(0x80 | opcode, payload.len() as u64));
    out.extend(payload);
}

/// Reads until the server ends the connection.
pub(super) async fn drain(stream: &mut TcpStream) -> io::Result<()> {
    let mut waste = [0; 4096];
    while stream.read(&mut waste).await? > 0 {}
    Ok(())
}
