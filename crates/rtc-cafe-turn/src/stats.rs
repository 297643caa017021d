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

/// A number that grows.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) bindings: Count,
    pub(crate) allocations: Count,
    /// Data with peers that are not permitted.
    pub(crate) refused_peers: Count,
    /// Packets beyond the bandwidth, or that a socket did not take.
    pub(crate) dropped: Count,
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

    pub(crate) fn stats(&self, allocations: usize, connections: usize) -> Stats {
        let flow = |flow: &Flow| (flow.packets.load(Relaxed), flow.bytes.load(Relaxed));
        let ((packets_to_peers, bytes_to_peers), (packets_from_peers, bytes_from_peers)) =
            (flow(&self.to_peers), flow(&self.from_peers));
        Stats {
            allocations,
            connections,
            allocations_total: self.allocations.0.load(Relaxed),
            bindings_total: self.bindings.0.load(Relaxed),
            packets_to_peers,
            bytes_to_peers,
            packets_from_peers,
            bytes_from_peers,
            packets_refused: self.refused_peers.0.load(Relaxed),
            packets_dropped: self.dropped.0.load(Relaxed),
            refused: self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

/// What a server does now, and has done since it was started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Allocations there are.
    pub allocations: usize,
    /// TCP and TLS connections there are.
    pub connections: usize,
    /// Allocations that were made.
    pub allocations_total: u64,
    /// STUN requests that were answered.
    pub bindings_total: u64,
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
    /// Packets that were dropped because there were too many.
    pub packets_dropped: u64,
    /// Requests that were refused, by the code of STUN (RFC 8656 section 19). A first request without credentials, as every
    /// client makes it, is not among them.
    pub refused: BTreeMap<u16, u64>,
}
