//! How far the connection to a peer got, and by which way: for whoever asks why it did not connect.

use std::{net::SocketAddr, time::Duration};

pub use rtc_cafe_core::{Phase, Route};

/// What is known of the connection to one peer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionReport {
    /// The phase that was reached.
    pub phase: Phase,
    /// The last phases with the time spent in each, the oldest first; the present one is the last.
    pub phases: Vec<(Phase, Duration)>,
    /// By which way the peer's offer or answer for the present connection came; until one has, what was tried last.
    pub route: Option<Route>,
    /// Connections that were tried.
    pub attempts: u32,
    /// Restarts of ICE.
    pub restarts: u32,
    /// Why the last one failed, if one did.
    pub failure: Option<String>,
    /// The pairs of addresses that the present connection has tried, the one in use first.
    pub pairs: Vec<CandidatePair>,
    /// The TURN server of ours over which the pair in use goes, as a URL; `None` if it goes over none of ours.
    pub relay: Option<String>,
    /// The STUN and TURN servers that cannot be used at present.
    pub failed_servers: Vec<FailedServer>,
}

impl ConnectionReport {
    /// The pair that is in use.
    pub fn selected(&self) -> Option<&CandidatePair> {
        self.pairs.first().filter(|pair| pair.selected)
    }

    /// How datagrams leave this machine: by `udp`, or to a TURN server by `tcp` or `tls`. `None` while no pair is in use.
    pub fn protocol(&self) -> Option<&'static str> {
        self.selected()?;
        Some(match self.relay.as_deref() {
            Some(url) if url.starts_with("turns:") => "tls",
            Some(url) if url.ends_with("transport=tcp") => "tcp",
            _ => "udp",
        })
    }
}

/// An address of ours and one of the peer's, between which ICE has tried to find a path.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CandidatePair {
    /// Ours: that of the socket, or of the TURN server.
    pub local: CandidateEnd,
    /// The peer's.
    pub remote: CandidateEnd,
    /// How that went.
    pub state: PairState,
    /// Whether it is the one in use.
    pub selected: bool,
    /// How long the last check took there and back.
    pub round_trip: Option<Duration>,
}

impl CandidatePair {
    /// Whether a TURN server lies between, ours or the peer's.
    pub fn is_relayed(&self) -> bool {
        [self.local.kind, self.remote.kind].contains(&CandidateKind::Relayed)
    }
}

/// One end of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CandidateEnd {
    /// The address.
    pub address: SocketAddr,
    /// What it is.
    pub kind: CandidateKind,
}

/// What an address is (RFC 8445 section 5.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CandidateKind {
    /// That of an interface.
    Host,
    /// That of a NAT, as a STUN server sees it.
    ServerReflexive,
    /// One that was found by its checks only.
    PeerReflexive,
    /// That of a TURN server.
    Relayed,
}

impl CandidateKind {
    /// Its name in descriptions and in W3C's statistics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::ServerReflexive => "srflx",
            Self::PeerReflexive => "prflx",
            Self::Relayed => "relay",
        }
    }
}

/// How the checks of a pair went (W3C's `RTCStatsIceCandidatePairState`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PairState {
    /// No answer has come as yet.
    InProgress,
    /// Checks are answered.
    Succeeded,
    /// No answer comes.
    Failed,
}

impl PairState {
    /// Its name in W3C's statistics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "in-progress",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }
}

/// A STUN or TURN server that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FailedServer {
    /// Its URL.
    pub url: String,
    /// What is wrong.
    pub reason: String,
}
