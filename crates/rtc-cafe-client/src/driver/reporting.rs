//! How the connection to a peer is doing: what the core knows, and what the sockets do.

use std::time::Instant;

use rtc_cafe_core::Sid;

use super::Driver;
use crate::report::ConnectionReport;

impl Driver {
    /// `None` for a peer that is not discovered.
    pub(super) fn report(&self, sid: &Sid, now: Instant) -> Option<ConnectionReport> {
        let state = self.shared.lock();
        let core = state.core.connection_report(state.time(now), sid)?;
        let connection = state.core.connection_of(sid).and_then(|id| self.connections.get(&id));
        drop(state);
        let pairs = connection.map(|connection| connection.pairs(now)).unwrap_or_default();
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
