//! Sockets: how they are opened, and many datagrams in one call of the system.

use std::{
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};
use rustix::io::Errno;
use socket2::{Domain, Protocol, Type};
use tokio::{
    io::Interest,
    net::{TcpListener, UdpSocket},
};

/// What the system is asked for: bursts of video come faster than one thread takes them.
const BUFFER: usize = 4 << 20;
/// A key frame of video, and some.
const PEER_BUFFER: usize = 1 << 20;
const BACKLOG: i32 = 1024;
/// Largest datagram, and as much as the system puts together of several.
const MAX_DATAGRAM: usize = 65_536;
/// Largest datagrams that are sent several at a time: beyond the least path of IPv6 the system might refuse all of them.
const MAX_SEGMENT: usize = 1232;
/// What fits into one call; with headers it has to be less than the largest datagram.
const MAX_SEGMENTS_LENGTH: usize = 64_000;

/// A socket for datagrams.
#[derive(Debug)]
pub(crate) struct Socket {
    io: UdpSocket,
    state: UdpSocketState,
    local: SocketAddr,
    /// How many datagrams the system sends in one call.
    at_once: AtomicUsize,
}

/// Datagrams that have come, as many as one call takes.
pub(crate) struct Inbox {
    buffer: Vec<u8>,
    metas: [RecvMeta; BATCH_SIZE],
    filled: usize,
}

/// A datagram that has come.
pub(crate) struct Datagram<'a> {
    pub(crate) from: SocketAddr,
    /// Which address of this machine it was sent to, where the system tells.
    pub(crate) to: Option<IpAddr>,
    pub(crate) data: &'a [u8],
}

impl Socket {
    /// Opens one for clients, who are many, with a large buffer.
    pub(crate) fn listen(address: SocketAddr) -> io::Result<Self> {
        Self::open(address, |socket| {
            // As much as the system gives.
            let _ = socket.set_recv_buffer_size(BUFFER);
            let _ = socket.set_send_buffer_size(BUFFER);
        })
    }

    /// Opens one for the peers of a client, of which there are many.
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        Self::open(address, |socket| {
            let _ = socket.set_recv_buffer_size(PEER_BUFFER);
        })
    }

    fn open(address: SocketAddr, prepare: impl FnOnce(&socket2::Socket)) -> io::Result<Self> {
        let socket = open(address, Type::DGRAM, Protocol::UDP)?;
        prepare(&socket);
        socket.bind(&address.into())?;
        let io = UdpSocket::from_std(socket.into())?;
        let state = UdpSocketState::new((&io).into())?;
        let_fragment(&io, address)?;
        let at_once = AtomicUsize::new(state.max_gso_segments());
        Ok(Self { local: io.local_addr()?, io, state, at_once })
    }

    pub(crate) const fn local(&self) -> SocketAddr {
        self.local
    }

    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.io.readable().await
    }

    /// Takes what is there, in place of what was in the inbox; `WouldBlock` if there is nothing.
    pub(crate) fn receive(&self, inbox: &mut Inbox) -> io::Result<()> {
        inbox.filled = 0;
        let mut parts = inbox.buffer.chunks_exact_mut(MAX_DATAGRAM);
        let mut buffers: [_; BATCH_SIZE] = std::array::from_fn(|_| IoSliceMut::new(parts.next().unwrap_or_default()));
        let receive = || self.state.recv((&self.io).into(), &mut buffers, &mut inbox.metas);
        inbox.filled = self.io.try_io(Interest::READABLE, receive)?;
        Ok(())
    }

    /// Sends datagrams of one length, of which the last may be shorter; how many were lost. `from` is an address of this
    /// machine; without it the system chooses.
    pub(crate) fn send(&self, from: Option<IpAddr>, to: SocketAddr, datagrams: &[u8], length: usize) -> usize {
        if datagrams.len() <= length {
            return usize::from(self.transmit(from, to, datagrams, None).is_err());
        }
        match self.transmit(from, to, datagrams, Some(length)) {
            Ok(()) => 0,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => datagrams.len().div_ceil(length),
            Err(error) => {
                let lost = datagrams.chunks(length).filter(|one| self.transmit(from, to, one, None).is_err()).count();
                // The network card cannot (as Linux says it), rather than the way to this address, or anything at present.
                if lost == 0 && Errno::from_io_error(&error) == Some(Errno::IO) {
                    self.at_once.store(1, Relaxed);
                }
                lost
            }
        }
    }

    /// Whether so many bytes of datagrams of one length may be followed by another, to be sent with them.
    pub(crate) fn takes_another(&self, bytes: usize, length: usize, other: usize) -> bool {
        let is_short = (1..=length).contains(&other) && length <= MAX_SEGMENT;
        let fits = bytes + other <= MAX_SEGMENTS_LENGTH && bytes / length.max(1) < self.at_once.load(Relaxed);
        is_short && fits
    }

    fn transmit(
        &self,
        from: Option<IpAddr>,
        to: SocketAddr,
        contents: &[u8],
        segment_size: Option<usize>,
    ) -> io::Result<()> {
        let transmit = Transmit { destination: to, ecn: None, contents, segment_size, src_ip: from };
        // Nobody waits for it to be writable, and a new one is before the runtime knows.
        self.state.try_send((&self.io).into(), &transmit)
    }
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Self { buffer: vec![0; BATCH_SIZE * MAX_DATAGRAM], metas: [RecvMeta::default(); BATCH_SIZE], filled: 0 }
    }

    /// What has come, in its order.
    pub(crate) fn datagrams(&self) -> impl Iterator<Item = Datagram<'_>> {
        let parts = self.buffer.chunks_exact(MAX_DATAGRAM).zip(&self.metas[..self.filled]);
        parts.flat_map(|(buffer, meta)| {
            let length = meta.stride.max(1);
            (0..meta.len.div_ceil(length).max(1)).map(move |number| {
                let end = meta.len.min((number + 1) * length);
                Datagram { from: meta.addr, to: meta.dst_ip, data: &buffer[number * length..end] }
            })
        })
    }
}

/// Opens a socket for connections.
pub(crate) fn listen_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = open(address, Type::STREAM, Protocol::TCP)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// A socket of one family alone, so that those of the other do not come by it.
fn open(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Long datagrams may go in fragments, as they would without a relay: `UdpSocketState` forbids it for QUIC.
#[cfg(target_os = "linux")]
fn let_fragment(io: &UdpSocket, address: SocketAddr) -> io::Result<()> {
    use nix::sys::socket::{setsockopt, sockopt::Ipv6DontFrag};
    use rustix::net::sockopt::{
        Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ipv6_mtu_discover,
    };
    if address.is_ipv4() {
        return Ok(set_ip_mtu_discover(io, Ipv4PathMtuDiscovery::WANT)?);
    }
    set_ipv6_mtu_discover(io, Ipv6PathMtuDiscovery::WANT)?;
    Ok(setsockopt(io, Ipv6DontFrag, &false)?)
}

#[cfg(not(target_os = "linux"))]
fn let_fragment(_: &UdpSocket, _: SocketAddr) -> io::Result<()> {
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use nix::sys::socket::{getsockopt, sockopt::Ipv6DontFrag};
    use rustix::net::sockopt::{Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, ip_mtu_discover, ipv6_mtu_discover};

    use super::*;

    #[tokio::test]
    async fn long_datagrams_may_go_in_fragments() {
        let v4 = Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        assert_eq!(ip_mtu_discover(&v4.io).unwrap(), Ipv4PathMtuDiscovery::WANT);
        let v6 = Socket::bind("[::1]:0".parse().unwrap()).unwrap();
        assert_eq!(ipv6_mtu_discover(&v6.io).unwrap(), Ipv6PathMtuDiscovery::WANT);
        assert!(!getsockopt(&v6.io, Ipv6DontFrag).unwrap());
    }
}
