//! Whether there is a path to the peer, as W3C's `RTCPeerConnectionState` has it.
//!
//! str0m gives a path up only when its checks have failed for some 20 seconds, and then takes another one that has worked
//! before, though nothing comes over that either. Peers check each other every 3 seconds and answer that, so silence says
//! it sooner.

use std::time::{Duration, Instant};

use rtc_cafe_core::ConnectionState;
use str0m::IceConnectionState;

/// After so long a silence the path is lost for the time being.
const DISCONNECTED: Duration = Duration::from_secs(5);
/// After so long it has failed: another one is needed.
const FAILED: Duration = Duration::from_secs(15);
/// The same where an address of ours has gone, so that waiting is of little use.
const ADDRESS_LOST: Duration = Duration::from_secs(2);
/// How long it may take that no pair of addresses works, before there was a connection.
const UNCONNECTED: Duration = Duration::from_secs(8);
/// A deadline that is noticed so much later was slept over; then what has come meanwhile is heard first.
const OVERSLEPT: Duration = Duration::from_secs(1);
const AWAKE: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) struct Vitals {
    state: ConnectionState,
    /// Whether there was a connection.
    opened: bool,
    /// Whether str0m has a path.
    path: bool,
    /// Since when it has none.
    pathless: Instant,
    /// When something came from the peer.
    heard: Instant,
    /// When a path was looked for anew, because there was none.
    restarted: Instant,
    /// Whether the address that we sent from is gone.
    address_lost: bool,
    /// Until when nothing is judged, because a deadline was slept over.
    asleep: Option<Instant>,
}

impl Vitals {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            state: ConnectionState::New,
            opened: false,
            path: false,
            pathless: now,
            heard: now,
            restarted: now,
            address_lost: false,
            asleep: None,
        }
    }

    /// Whether the peer can be told something.
    pub(super) fn is_well(&self) -> bool {
        self.state == ConnectionState::Connected
    }

    /// ICE and DTLS are up. The state is to be told.
    pub(super) const fn connect(&mut self, now: Instant) -> ConnectionState {
        self.opened = true;
        self.path = true;
        self.heard = now;
        self.state = ConnectionState::Connected;
        self.state
    }

    /// The address that we send from is gone.
    pub(super) const fn lose_address(&mut self) {
        self.address_lost = true;
    }

    /// Something has come from the peer. Returns the state, if it is another one.
    pub(super) fn hear(&mut self, now: Instant) -> Option<ConnectionState> {
        self.heard = now;
        self.asleep = None;
        if self.opened && self.path { self.set(ConnectionState::Connected) } else { None }
    }

    /// What str0m says of ICE. Returns the state, if it is another one.
    pub(super) fn handle_ice(&mut self, ice: IceConnectionState, now: Instant) -> Option<ConnectionState> {
        let had_path = std::mem::replace(&mut self.path, ice.is_connected());
        if had_path && !self.path {
            self.pathless = now;
        }
        match ice {
            IceConnectionState::New => None,
            IceConnectionState::Checking => {
                // Other pairs are tried, or ICE is restarted. Until that takes too long, nothing is amiss.
                if self.state == ConnectionState::Failed {
                    self.pathless = now;
                    self.restarted = now;
                }
                let begins = matches!(self.state, ConnectionState::New | ConnectionState::Failed);
                if begins { self.set(ConnectionState::Connecting) } else { None }
            }
            IceConnectionState::Connected | IceConnectionState::Completed => {
                self.address_lost = false;
                // The first time DTLS is still to come.
                let heard = self.opened && now < self.heard + DISCONNECTED;
                if heard { self.set(ConnectionState::Connected) } else { None }
            }
            IceConnectionState::Disconnected => match self.state {
                ConnectionState::Failed => None,
                _ => self.set(ConnectionState::Disconnected),
            },
        }
    }

    /// Since when silence counts.
    fn silent(&self) -> Instant {
        self.heard.max(self.restarted)
    }

    /// When to call [`Self::handle_timeout`].
    pub(super) fn deadline(&self) -> Option<Instant> {
        let at = match self.state {
            ConnectionState::Connected | ConnectionState::Connecting if self.opened => {
                let since = if self.path { self.silent() } else { self.silent().max(self.pathless) };
                since + if self.address_lost && !self.path { ADDRESS_LOST } else { DISCONNECTED }
            }
            ConnectionState::Disconnected if self.address_lost => self.pathless + ADDRESS_LOST,
            ConnectionState::Disconnected if self.opened => self.silent() + FAILED,
            ConnectionState::Disconnected => self.pathless + UNCONNECTED,
            _ => return None,
        };
        Some(self.asleep.map_or(at, |asleep| at.max(asleep)))
    }

    /// Returns the state, if it is another one by now.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Option<ConnectionState> {
        let deadline = self.deadline().filter(|deadline| now >= *deadline)?;
        if now > deadline + OVERSLEPT && self.asleep.is_none() {
            self.asleep = Some(now + AWAKE);
            return None;
        }
        self.set(match self.state {
            ConnectionState::Disconnected => ConnectionState::Failed,
            _ => ConnectionState::Disconnected,
        })
    }

    fn set(&mut self, state: ConnectionState) -> Option<ConnectionState> {
        if state == ConnectionState::Disconnected && self.state != state && !self.opened {
            self.pathless = self.pathless.max(self.heard);
        }
        (std::mem::replace(&mut self.state, state) != state).then_some(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connected(now: Instant) -> Vitals {
        let mut vitals = Vitals::new(now);
        assert_eq!(vitals.handle_ice(IceConnectionState::Checking, now), Some(ConnectionState::Connecting));
        assert_eq!(vitals.handle_ice(IceConnectionState::Connected, now), None);
        assert_eq!(vitals.connect(now), ConnectionState::Connected);
        vitals
    }

    #[test]
    fn silence_is_told_and_so_is_its_end() {
        let start = Instant::now();
        let mut vitals = connected(start);
        let first = vitals.deadline().unwrap();
        assert_eq!(first, start + DISCONNECTED);
        assert_eq!(vitals.handle_timeout(first), Some(ConnectionState::Disconnected));
        assert_eq!(vitals.hear(first), Some(ConnectionState::Connected));
        assert_eq!(vitals.handle_timeout(first + DISCONNECTED), Some(ConnectionState::Disconnected));
        let last = vitals.deadline().unwrap();
        assert_eq!(last, first + FAILED);
        assert_eq!(vitals.handle_timeout(last), Some(ConnectionState::Failed));
        assert_eq!(vitals.deadline(), None);
        assert_eq!(vitals.handle_ice(IceConnectionState::Checking, last), Some(ConnectionState::Connecting));
        assert_eq!(vitals.handle_ice(IceConnectionState::Completed, last), None, "nothing has come as yet");
        assert_eq!(vitals.hear(last), Some(ConnectionState::Connected));
    }

    #[test]
    fn a_path_over_which_nothing_comes_is_none() {
        let start = Instant::now();
        let mut vitals = connected(start);
        let mut told = Vec::new();
        while let Some(deadline) = vitals.deadline() {
            told.extend(vitals.handle_timeout(deadline));
        }
        assert_eq!(told, [ConnectionState::Disconnected, ConnectionState::Failed]);
        let later = start + FAILED + Duration::from_secs(5);
        assert_eq!(vitals.handle_ice(IceConnectionState::Completed, later), None, "str0m takes another pair");
        assert_eq!(vitals.handle_ice(IceConnectionState::Disconnected, later), None);
        assert_eq!(vitals.handle_ice(IceConnectionState::Completed, later), None);
        assert_eq!(vitals.hear(later), Some(ConnectionState::Connected));
    }

    #[test]
    fn a_restart_that_leads_nowhere_fails_as_well() {
        let start = Instant::now();
        let mut vitals = connected(start);
        assert_eq!(vitals.handle_ice(IceConnectionState::Checking, start), None, "it is well as yet");
        let mut told = Vec::new();
        while let Some(deadline) = vitals.deadline() {
            told.extend(vitals.handle_timeout(deadline));
        }
        assert_eq!(told, [ConnectionState::Disconnected, ConnectionState::Failed]);
    }

    #[test]
    fn who_has_slept_listens_first() {
        let start = Instant::now();
        let mut vitals = connected(start);
        let woken = start + Duration::from_secs(3600);
        assert_eq!(vitals.handle_timeout(woken), None);
        assert_eq!(vitals.deadline(), Some(woken + AWAKE));
        assert_eq!(vitals.handle_timeout(woken + AWAKE), Some(ConnectionState::Disconnected));
    }
}
