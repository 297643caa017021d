//! What the server has done, for metrics.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// Packets, and the bytes in them.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    packets: AtomicU64,
    bytes: AtomicU64,
}

/// How clients reach the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Udp,
    Tcp,
    Tls,
}

impl Transport {
    pub(crate) const fn is_stream(self) -> bool {
        !matches!(self, Self::Udp)
    }
}

/// A number for each transport by which clients reach the server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PerTransport<T> {
    /// Over UDP.
    pub udp: T,
    /// Over TCP.
    pub tcp: T,
    /// Over TLS.
    pub tls: T,
}

impl<T> PerTransport<T> {
    pub(crate) const fn of_mut(&mut self, transport: Transport) -> &mut T {
        match transport {
            Transport::Udp => &mut self.udp,
            Transport::Tcp => &mut self.tcp,
            Transport::Tls => &mut self.tls,
        }
    }
}

impl<T: Copy + std::iter::Sum> PerTransport<T> {
    /// All together.
    #[must_use]
    pub fn sum(&self) -> T {
        [self.udp, self.tcp, self.tls].into_iter().sum()
    }
}

/// A number that grows.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) bindings: Count,
    allocations: Mutex<PerTransport<u64>>,
    /// Requests without credentials beyond what an address may ask.
    pub(crate) unanswered: Count,
    /// Data with peers that are not permitted.
    pub(crate) refused_peers: Count,
    /// Packets beyond the bandwidth, or that did not fit into what waits for a client.
    pub(crate) dropped: Count,
    /// Datagrams that a socket did not take.
    pub(crate) unsent: Count,
    pub(crate) to_peers: Flow,
    pub(crate) from_peers: Flow,
    refused: Mutex<BTreeMap<u16, u64>>,
}

impl Flow {
    pub(crate) fn add(&self, bytes: usize) {
        self.packets.fetch_add(1, Relaxed);
        self.bytes.fetch_add(bytes as u64, Relaxed);
    }
}

impl Count {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Relaxed);
    }
}

impl Counters {
    /// A request was refused with this code of STUN.
    pub(crate) fn refuse(&self, code: u16) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner).entry(code).or_default() += 1;
    }

    /// An allocation was made.
    pub(crate) fn allocate(&self, transport: Transport) {
        *self.allocations.lock().unwrap_or_else(PoisonError::into_inner).of_mut(transport) += 1;
    }

    pub(crate) fn stats(&self, allocations: PerTransport<usize>, connections: PerTransport<usize>) -> Stats {
        let flow = |flow: &Flow| (flow.packets.load(Relaxed), flow.bytes.load(Relaxed));
        let ((packets_to_peers, bytes_to_peers), (packets_from_peers, bytes_from_peers)) =
            (flow(&self.to_peers), flow(&self.from_peers));
        Stats {
            allocations,
            connections,
            allocations_total: *self.allocations.lock().unwrap_or_else(PoisonError::into_inner),
            bindings_total: self.bindings.0.load(Relaxed),
            unanswered_total: self.unanswered.0.load(Relaxed),
            packets_to_peers,
            bytes_to_peers,
            packets_from_peers,
            bytes_from_peers,
            packets_refused: self.refused_peers.0.load(Relaxed),
            packets_dropped: self.dropped.0.load(Relaxed),
            packets_unsent: self.unsent.0.load(Relaxed),
            refused: self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

/// What a server does now, and has done since it was started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Allocations there are.
    pub allocations: PerTransport<usize>,
    /// TCP and TLS connections there are.
    pub connections: PerTransport<usize>,
    /// Allocations that were made.
    pub allocations_total: PerTransport<u64>,
    /// STUN requests that were answered.
    pub bindings_total: u64,
    /// Requests without credentials that were not answered, because an address had as many answers as it gets
    /// ([`Limits::answers_per_address`](crate::Limits::answers_per_address)).
    pub unanswered_total: u64,
    /// Packets that clients have sent to peers.
    pub packets_to_peers: u64,
    /// The bytes in them.
    pub bytes_to_peers: u64,
    /// Packets that peers have sent to clients.
    pub packets_from_peers: u64,
    /// The bytes in them.
    pub bytes_from_peers: u64,
    /// Packets that were dropped because client and peer may not exchange them.
    pub packets_refused: u64,
    /// Packets that were dropped because there were too many for the client.
    pub packets_dropped: u64,
    /// Datagrams, answers among them, that the system did not send: it had too much to do, or knows no way there.
    pub packets_unsent: u64,
    /// Requests that were refused, by the code of STUN (RFC 8656 section 19). A first request without credentials, as every
    /// client makes it, is not among them.
    pub refused: BTreeMap<u16, u64>,
}
