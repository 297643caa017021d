//! Notices that the peer sends from another address than the one we send to.
//!
//! A peer whose address is gone has found another path, but str0m keeps to the best one that was valid, for some 20 seconds
//! until its checks have failed. Nothing of ours arrives there meanwhile, so SCTP is stuck in both directions.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use str0m::{
    Candidate,
    net::{Protocol, Transmit},
};

/// For so long nothing at all may come from where we send to, while content comes from elsewhere.
const PATIENCE: Duration = Duration::from_secs(2);
/// The same while only checks of ICE come, which come from every address of the peer: longer than it takes the address that
/// we send to to answer the next of ours.
const PATIENCE_WITH_CHECKS: Duration = Duration::from_secs(7);
/// The peer's addresses that are remembered.
const MOST: usize = 128;

#[derive(Debug, Default)]
pub(super) struct Moved {
    remote: Vec<Candidate>,
    destination: Option<SocketAddr>,
    /// When what belongs to the connection began to come from elsewhere only.
    elsewhere: Option<Instant>,
}

impl Moved {
    /// The peer has this address.
    pub(super) fn learn(&mut self, candidate: Candidate) {
        if self.remote.len() < MOST && !self.remote.contains(&candidate) {
            self.remote.push(candidate);
        }
    }

    /// The peer's addresses.
    pub(super) fn remote(&self) -> &[Candidate] {
        &self.remote
    }

    /// A datagram goes out. Only what is no check shows where str0m sends to.
    pub(super) fn sent(&mut self, transmit: &Transmit) {
        if is_content(&transmit.contents) && self.destination != Some(transmit.destination) {
            self.destination = Some(transmit.destination);
            self.elsewhere = None;
        }
    }

    /// A datagram has come. Returns the candidate of the peer that is gone, as it seems; others take its place only if
    /// they have passed the checks of ICE.
    pub(super) fn received(&mut self, source: SocketAddr, data: &[u8], now: Instant) -> Option<Candidate> {
        let destination = self.destination?;
        if source == destination {
            self.elsewhere = None;
            return None;
        }
        let patience = if is_content(data) { PATIENCE } else { PATIENCE_WITH_CHECKS };
        let since = *self.elsewhere.get_or_insert(now);
        if now < since + patience {
            return None;
        }
        self.elsewhere = None;
        let gone = |candidate: &&Candidate| candidate.addr() == destination && candidate.proto() == Protocol::Udp;
        let gone = self.remote.iter().find(gone).cloned();
        self.remote.retain(|candidate| Some(candidate) != gone.as_ref());
        gone
    }
}

/// Whether a datagram is anything but STUN (RFC 7983 section 7).
pub(super) fn is_content(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| *first >= 20)
}
