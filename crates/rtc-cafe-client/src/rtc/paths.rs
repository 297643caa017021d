//! The pairs of addresses that ICE has tried, for whoever asks why there is no path, or which.
//!
//! str0m does not tell them, so they are read off its checks: which went out, and which were answered.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    time::{Duration, Instant},
};

use str0m::{Candidate, CandidateKind as Kind, net::Transmit};

use crate::report::{CandidateEnd, CandidateKind, CandidatePair, PairState};

/// Pairs that are remembered; the oldest is forgotten first.
const MOST: usize = 64;
/// Checks of one pair that wait for an answer.
const MOST_CHECKS: usize = 8;
/// So long the answer to a first check takes where it takes long.
const FIRST: Duration = Duration::from_secs(1);
/// So long without an answer, a pair has failed.
const FAILED: Duration = Duration::from_secs(8);

type Transaction = [u8; 12];

#[derive(Debug, Default)]
pub(super) struct Paths {
    pairs: VecDeque<Path>,
    /// What is in use.
    selected: Option<(SocketAddr, SocketAddr)>,
}

#[derive(Debug)]
struct Path {
    local: SocketAddr,
    remote: SocketAddr,
    checks: VecDeque<(Transaction, Instant)>,
    /// The first check since the last answer.
    unanswered: Option<Instant>,
    round_trip: Option<Duration>,
}

impl Paths {
    /// A datagram goes out. Returns whether that shows that another path is in use.
    pub(super) fn sent(&mut self, transmit: &Transmit, now: Instant) -> bool {
        let (local, remote) = (transmit.source, transmit.destination);
        if transmit.contents.first().is_some_and(|first| *first >= 20) {
            return self.selected.replace((local, remote)) != Some((local, remote));
        }
        if let Some(transaction) = message(&transmit.contents, 0x0001) {
            let at = self.find(local, remote).unwrap_or_else(|| {
                if self.pairs.len() >= MOST {
                    self.pairs.pop_front();
                }
                self.pairs.push_back(Path::new(local, remote));
                self.pairs.len() - 1
            });
            let path = &mut self.pairs[at];
            path.unanswered.get_or_insert(now);
            if path.checks.len() >= MOST_CHECKS {
                path.checks.pop_front();
            }
            path.checks.push_back((transaction, now));
        }
        false
    }

    /// Whether the path that is in use leads through a TURN server, as far as the candidates say so.
    pub(super) fn is_relayed(&self, local: &[Candidate], remote: &[Candidate]) -> Option<bool> {
        let (own, peers) = self.selected?;
        let ends = [end(own, local, CandidateKind::Host), end(peers, remote, CandidateKind::PeerReflexive)];
        Some(ends.iter().any(|end| end.kind == CandidateKind::Relayed))
    }

    /// A datagram of the peer has come.
    pub(super) fn received(&mut self, local: SocketAddr, remote: SocketAddr, data: &[u8], now: Instant) {
        let Some(transaction) = message(data, 0x0101) else { return };
        let Some(at) = self.find(local, remote) else { return };
        let path = &mut self.pairs[at];
        if let Some(check) = path.checks.iter().position(|(other, _)| *other == transaction)
            && let Some((_, sent)) = path.checks.remove(check)
        {
            path.round_trip = Some(now.saturating_duration_since(sent));
            path.unanswered = None;
        }
    }

    /// Whether the first check to an address of the peer waits for its answer.
    pub(super) fn is_first_check(&self, remote: SocketAddr, now: Instant) -> bool {
        let waits = |path: &Path| path.unanswered.is_some_and(|since| now < since + FIRST) && path.round_trip.is_none();
        self.pairs.iter().any(|path| path.remote == remote && waits(path))
    }

    /// The checks to an address of the peer are begun anew.
    pub(super) fn forget(&mut self, remote: SocketAddr) {
        self.pairs.retain(|path| path.remote != remote);
    }

    /// The pairs, the one in use first.
    pub(super) fn report(&self, local: &[Candidate], remote: &[Candidate], now: Instant) -> Vec<CandidatePair> {
        let pair = |path: &Path| CandidatePair {
            local: end(path.local, local, CandidateKind::Host),
            remote: end(path.remote, remote, CandidateKind::PeerReflexive),
            state: path.state(now),
            selected: self.selected == Some((path.local, path.remote)),
            round_trip: path.round_trip,
        };
        let mut pairs: Vec<_> = self.pairs.iter().map(pair).collect();
        pairs.sort_by_key(|pair| !pair.selected);
        pairs
    }

    fn find(&self, local: SocketAddr, remote: SocketAddr) -> Option<usize> {
        self.pairs.iter().position(|path| path.local == local && path.remote == remote)
    }
}

impl Path {
    const fn new(local: SocketAddr, remote: SocketAddr) -> Self {
        Self { local, remote, checks: VecDeque::new(), unanswered: None, round_trip: None }
    }

    fn state(&self, now: Instant) -> PairState {
        match self.unanswered {
            Some(since) if now.saturating_duration_since(since) >= FAILED => PairState::Failed,
            _ if self.round_trip.is_some() => PairState::Succeeded,
            _ => PairState::InProgress,
        }
    }
}

/// What an address is, if the candidates say so.
fn end(address: SocketAddr, candidates: &[Candidate], otherwise: CandidateKind) -> CandidateEnd {
    let known = candidates.iter().find(|candidate| candidate.addr() == address);
    let kind = known.map_or(otherwise, |candidate| match candidate.kind() {
        Kind::Host => CandidateKind::Host,
        Kind::ServerReflexive => CandidateKind::ServerReflexive,
        Kind::PeerReflexive => CandidateKind::PeerReflexive,
        Kind::Relayed => CandidateKind::Relayed,
    });
    CandidateEnd { address, kind }
}

/// The transaction of a message of STUN with this type (RFC 8489 section 5).
fn message(data: &[u8], kind: u16) -> Option<Transaction> {
    let (header, _) = data.split_first_chunk::<20>()?;
    let is_stun = header[4..8] == [0x21, 0x12, 0xA4, 0x42];
    (is_stun && header[..2] == kind.to_be_bytes()).then(|| header[8..].try_into().ok())?
}

#[cfg(test)]
mod tests {
    use str0m::net::Protocol;

    use super::*;

    fn stun(kind: u16, transaction: u8) -> Vec<u8> {
        let mut message = vec![0; 20];
        message[..2].copy_from_slice(&kind.to_be_bytes());
        message[4..8].copy_from_slice(&[0x21, 0x12, 0xA4, 0x42]);
        message[8..].fill(transaction);
        message
    }

    #[test]
    fn checks_and_their_answers_tell_the_pairs() {
        let (local, near, far) = ("10.0.0.1:1", "10.0.0.2:2", "192.0.2.9:9");
        let [local, near, far] = [local, near, far].map(|address| address.parse::<SocketAddr>().unwrap());
        let start = Instant::now();
        let mut paths = Paths::default();
        let send = |paths: &mut Paths, destination, contents: Vec<u8>| {
            paths
                .sent(&Transmit { proto: Protocol::Udp, source: local, destination, contents: contents.into() }, start);
        };
        send(&mut paths, far, stun(0x0001, 1));
        send(&mut paths, near, stun(0x0001, 2));
        send(&mut paths, near, vec![23; 30]);
        paths.received(local, near, &stun(0x0101, 1), start);
        paths.received(local, near, &stun(0x0101, 2), start + Duration::from_millis(7));
        let remote = [Candidate::host(near, "udp").unwrap()];
        let [first, second] = &paths.report(&[], &remote, start + FAILED)[..] else { panic!("{paths:?}") };
        assert_eq!((first.remote.address, first.remote.kind), (near, CandidateKind::Host));
        assert_eq!((first.state, first.selected), (PairState::Succeeded, true));
        assert_eq!(first.round_trip, Some(Duration::from_millis(7)));
        assert_eq!(paths.is_relayed(&[], &remote), Some(false));
        let relay = [Candidate::relayed(near, near, "udp").unwrap()];
        assert_eq!(paths.is_relayed(&[], &relay), Some(true), "of the other side as well");
        assert_eq!((second.remote.kind, second.state), (CandidateKind::PeerReflexive, PairState::Failed));
    }
}
