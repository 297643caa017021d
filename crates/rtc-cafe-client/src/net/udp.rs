//! A UDP socket on the address of an interface, with a bounded queue for what cannot be sent at once.

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, SocketAddr},
    sync::Once,
    task::Context,
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

/// How much may wait for the kernel; what exceeds it is dropped, as any router on the way would do.
const QUEUE_BYTES: usize = 256 * 1024;
/// So many errors of receiving in a row mean that the socket is gone. Those of ICMP come one by one.
const MOST_ERRORS: u32 = 64;

/// Datagrams that wait, with their destinations.
#[derive(Debug)]
pub(super) struct Queue<A> {
    waiting: VecDeque<(A, Box<[u8]>)>,
    bytes: usize,
}

impl<A: Copy> Queue<A> {
    pub(super) fn new() -> Self {
        Self { waiting: VecDeque::new(), bytes: 0 }
    }

    /// Sends, or lets wait, or drops. `try_send` says `WouldBlock` when the kernel takes no more.
    pub(super) fn send(&mut self, to: A, data: &[u8], try_send: impl Fn(&[u8], A) -> io::Result<usize>) {
        if self.waiting.is_empty() {
            match try_send(data, to) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return tracing::trace!(%error, "a datagram was not sent"),
                Ok(_) => return,
            }
        }
        if self.bytes + data.len() <= QUEUE_BYTES {
            self.bytes += data.len();
            self.waiting.push_back((to, data.into()));
        }
    }

    /// Sends what waits; whether all of it went out.
    pub(super) fn flush(&mut self, try_send: impl Fn(&[u8], A) -> io::Result<usize>) -> bool {
        while let Some((to, data)) = self.waiting.front() {
            match try_send(data, *to) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) => tracing::trace!(%error, "a datagram was not sent"),
                Ok(_) => {}
            }
            self.bytes -= data.len();
            self.waiting.pop_front();
        }
        true
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

/// The socket of one interface address.
#[derive(Debug)]
pub(super) struct HostSocket {
    socket: UdpSocket,
    address: SocketAddr,
    queue: Queue<SocketAddr>,
    errors: u32,
}

impl HostSocket {
    /// Binds a free port of the address.
    pub(super) fn bind(address: IpAddr, receive_buffer: usize) -> io::Result<Self> {
        let socket = socket(SocketAddr::new(address, 0), receive_buffer)?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address, queue: Queue::new(), errors: 0 })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn is_broken(&self) -> bool {
        self.errors >= MOST_ERRORS
    }

    pub(super) fn send(&mut self, to: SocketAddr, data: &[u8]) {
        self.queue.send(to, data, |data, to| self.socket.try_send_to(data, to));
    }

    /// A datagram, if one is there.
    pub(super) fn try_recv(&mut self, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
        // An error of ICMP concerns one datagram that was sent; the next call may well find one that came.
        while !self.is_broken() {
            match self.socket.try_recv_from(buffer) {
                Ok(received) => {
                    self.errors = 0;
                    return Some(received);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) => {
                    self.errors += 1;
                    tracing::trace!(%error, "an error of receiving");
                }
            }
        }
        None
    }

    /// Flushes the queue, and says whether there may be something to receive. Otherwise the task will be woken.
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> bool {
        poll_flush(&self.socket, &mut self.queue, |data, to| self.socket.try_send_to(data, to), cx);
        !self.is_broken() && self.socket.poll_recv_ready(cx).is_ready()
    }
}

/// Flushes a queue, and sees to it that the task is woken when more can go out.
pub(super) fn poll_flush<A: Copy>(
    socket: &UdpSocket,
    queue: &mut Queue<A>,
    try_send: impl Fn(&[u8], A) -> io::Result<usize>,
    cx: &mut Context<'_>,
) {
    while !queue.is_empty() && !queue.flush(&try_send) {
        if socket.poll_send_ready(cx).is_pending() {
            return;
        }
    }
}

/// A socket with a receive buffer of that size, or the largest that the system allows.
pub(super) fn socket(address: SocketAddr, receive_buffer: usize) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if let Err(error) = socket.set_recv_buffer_size(receive_buffer) {
        tracing::debug!(%error, "the receive buffer stays as it is");
    }
    // Linux takes any wish, grants as much as it may, and counts its own needs in.
    static TOLD: Once = Once::new();
    if let Ok(granted) = socket.recv_buffer_size()
        && granted < receive_buffer
    {
        TOLD.call_once(|| {
            tracing::info!(
                granted,
                wanted = receive_buffer,
                "small receive buffers lose bursts; see net.core.rmem_max"
            );
        });
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_keeps_the_order_and_its_bound() {
        let mut queue = Queue::new();
        let full = |_: &[u8], (): ()| Err(io::ErrorKind::WouldBlock.into());
        for n in 0..300_u32 {
            let mut data = vec![0; 1024];
            data[..4].copy_from_slice(&n.to_be_bytes());
            queue.send((), &data, full);
        }
        assert_eq!((queue.waiting.len(), queue.bytes), (256, QUEUE_BYTES));
        assert!(!queue.flush(full));
        let sent = std::cell::RefCell::new(Vec::new());
        let take = |data: &[u8], (): ()| {
            sent.borrow_mut().push(u32::from_be_bytes(data[..4].try_into().unwrap()));
            Ok(data.len())
        };
        queue.flush(take);
        assert_eq!(*sent.borrow(), (0..256).collect::<Vec<_>>());
        assert!(queue.is_empty() && queue.bytes == 0);
    }

    #[test]
    fn an_unreachable_destination_costs_only_its_datagram() {
        let mut queue = Queue::new();
        queue.send((), b"x", |_, ()| Err(io::ErrorKind::NetworkUnreachable.into()));
        assert!(queue.is_empty());
    }
}
