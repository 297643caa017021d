//! How the connection to a peer is doing: what the core knows, and what the sockets do.

use std::{collections::VecDeque, time::Instant};

use rtc_cafe_core::{ConnectionId, Sid};

use super::Driver;
use crate::report::{CandidatePair, ConnectionReport};

/// Connections that have ended and are remembered.
const MAX_ENDED: usize = 64;

/// What was tried by connections that have ended: that is asked for when they have.
#[derive(Debug, Default)]
pub(super) struct Ended(VecDeque<(ConnectionId, Vec<CandidatePair>)>);

impl Ended {
    pub(super) fn keep(&mut self, id: ConnectionId, mut pairs: Vec<CandidatePair>) {
        if self.0.len() >= MAX_ENDED {
            self.0.pop_front();
        }
        pairs.iter_mut().for_each(|pair| pair.selected = false);
        self.0.push_back((id, pairs));
    }

    fn pairs(&self, id: ConnectionId) -> Option<Vec<CandidatePair>> {
        self.0.iter().rev().find(|(other, _)| *other == id).map(|(_, pairs)| pairs.clone())
    }
}

impl Driver {
    /// `None` for a peer that is not discovered.
    pub(super) fn report(&self, sid: &Sid, now: Instant) -> Option<ConnectionReport> {
        let state = self.shared.lock();
        let core = state.core.connection_report(state.time(now), sid)?;
        let id = state.core.connection_of(sid);
        drop(state);
        let present = |id| self.connections.get(&id).map(|connection| connection.pairs(now));
        let pairs = id.and_then(|id| present(id).or_else(|| self.ended.pairs(id))).unwrap_or_default();
        let selected = pairs.first().filter(|pair| pair.selected);
        Some(ConnectionReport {
            phase: core.phase,
            phases: core.phases,
            route: core.route,
            attempts: core.attempts,
            restarts: core.restarts,
            failure: core.failure,
            relay: selected.and_then(|pair| self.endpoint.relay_of(pair.local.address)),
            pairs,
            failed_servers: self.endpoint.failed_servers(),
        })
    }
}
