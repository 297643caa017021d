//! How far the connection to a peer got, and by which way: for whoever asks why it did not connect.

use std::time::Duration;

use rtc_cafe_wire::signal::ConnectionId;

use crate::{map::take, time::Time};

/// What a connection to a peer is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The peer is known to be there; nothing has been offered yet, or not again.
    Discovered,
    /// A connection was offered and the answer has not come.
    Signalling,
    /// Both sides have each other's description: paths are tried.
    Connecting,
    /// Messages flow.
    Open,
    /// There is a path, and the peer does not answer, as a page that sleeps; what is said to it waits. That is noticed within
    /// 23 seconds, though nobody says anything.
    Silent,
    /// Messages flowed, and the path is lost; another one is looked for.
    Recovering,
}

impl Phase {
    /// The phase's name in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Discovered => "discovered",
            Self::Signalling => "signalling",
            Self::Connecting => "connecting",
            Self::Open => "open",
            Self::Silent => "silent",
            Self::Recovering => "recovering",
        }
    }
}

/// The way of a handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Over the signalling server.
    Server,
    /// Over a peer to which both are connected.
    Peer,
    /// Over both at once, and nothing has come back yet.
    Both,
}

impl Route {
    /// The route's name in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Peer => "peer",
            Self::Both => "both",
        }
    }
}

/// What the core knows of the connection to one peer. What its driver knows (candidate pairs, direct or relayed) it adds.
#[derive(Debug, Clone, PartialEq, Eq)]
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
}

/// Phases that are kept.
const MAX_PHASES: usize = 16;

/// What has happened to the connections with one peer.
#[derive(Debug, Default)]
pub(crate) struct History {
    phases: Vec<(Phase, Time)>,
    pub(crate) route: Option<Route>,
    pub(crate) attempts: u32,
    pub(crate) restarts: u32,
    pub(crate) failure: Option<String>,
    /// The last of them.
    pub(crate) connection: Option<ConnectionId>,
}

impl History {
    /// A phase has been reached, or left for an earlier one.
    pub(crate) fn reach(&mut self, now: Time, phase: Phase) {
        if self.phases.last().is_some_and(|&(last, _)| last == phase) {
            return;
        }
        if self.phases.len() >= MAX_PHASES {
            take(&mut self.phases, 0);
        }
        self.phases.push((phase, now));
    }

    pub(crate) fn report(&self, now: Time) -> ConnectionReport {
        let mut phases = Vec::new();
        for (at, &(phase, since)) in self.phases.iter().enumerate() {
            let until = self.phases.get(at + 1).map_or(now, |&(_, until)| until);
            phases.push((phase, Duration::from_millis(until.as_millis().saturating_sub(since.as_millis()))));
        }
        ConnectionReport {
            phase: self.phases.last().map_or(Phase::Discovered, |&(phase, _)| phase),
            phases,
            route: self.route,
            attempts: self.attempts,
            restarts: self.restarts,
            failure: self.failure.clone(),
        }
    }
}
