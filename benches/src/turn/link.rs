//! A client's way to the server.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use super::{PATIENCE, READY};

#[derive(Debug, Clone, Copy)]
pub(super) enum Transport {
    Udp,
    Tcp,
}

pub(super) enum Link {
    Udp(UdpSocket),
    /// With what has come of the next messages.
    Tcp(TcpStream, Vec<u8>),
}

impl Link {
    /// Waits for the server to listen, if that can be seen.
    pub(super) fn open(transport: Transport, server: SocketAddr) -> io::Result<Self> {
        match transport {
            Transport::Udp => {
                let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
                socket.set_read_timeout(Some(PATIENCE))?;
                socket.connect(server)?;
                Ok(Self::Udp(socket))
            }
            Transport::Tcp => {
                let end = Instant::now() + READY;
                let stream = loop {
                    match TcpStream::connect(server) {
                        Err(_) if Instant::now() < end => thread::sleep(Duration::from_millis(20)),
                        connected => break connected?,
                    }
                };
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_nodelay(true)?;
                Ok(Self::Tcp(stream, Vec::new()))
            }
        }
    }

    pub(super) fn send(&mut self, message: &[u8]) -> io::Result<()> {
        match self {
            Self::Udp(socket) => socket.send(message).map(drop),
            Self::Tcp(stream, _) => stream.write_all(message),
        }
    }

    /// The next message; an error if none has come for a while.
    pub(super) fn receive(&mut self, buffer: &mut [u8; 2048]) -> io::Result<usize> {
        let (stream, come) = match self {
            Self::Udp(socket) => return socket.recv(buffer),
            Self::Tcp(stream, come) => (stream, come),
        };
        loop {
            if let Some(length) = message(come) {
                buffer[..length].copy_from_slice(&come[..length]);
                come.drain(..length);
                return Ok(length);
            }
            let length = stream.read(buffer)?;
            if length == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            come.extend_from_slice(&buffer[..length]);
        }
    }
}

/// The length of the first message, if it has come: STUN (RFC 8489 section 5), or of a channel (RFC 8656 section 12.5).
fn message(come: &[u8]) -> Option<usize> {
    let header = come.first_chunk::<4>()?;
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let length = if header[0] < 0x40 { 20 + length } else { (4 + length).next_multiple_of(4) };
    (come.len() >= length && length <= 2048).then_some(length)
}
