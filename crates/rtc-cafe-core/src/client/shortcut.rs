//! A connection that goes through a TURN server looks for a direct path now and then: at a quiet moment, and less and less
//! often, for on many networks there is none.

use std::time::Duration;

use super::Client;
use crate::{connection::Connection, peer::Peer, roster::PeerKey, time::Time, timers::Timer};

/// How long a moment that is not quiet is let pass, and how often. Some are never quiet.
const PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSES: u32 = 30;

impl Client {
    /// A connection has found its path, or another one.
    pub(super) fn handle_path(&mut self, now: Time, key: PeerKey, relayed: bool) {
        if !relayed {
            self.timers.cancel(key, Timer::Shortcut);
            if let Some(peer) = self.roster.get_mut(key) {
                peer.detours = 0;
            }
            // A browser that does not choose the path stays on the one over which it heard us last.
            self.ping(now, key);
        } else if !self.timers.is_set(key, Timer::Shortcut) {
            self.await_shortcut(now, key);
        }
    }

    /// The polite one leaves it to the other, as long as that one looks.
    fn await_shortcut(&mut self, now: Time, key: PeerKey) {
        let patience = self.patience(key);
        let polite = self.is_polite(key);
        let Some(peer) = self.roster.get_mut(key) else { return };
        peer.pauses = 0;
        let timing = &self.config.timing;
        let after = timing.shortcut.saturating_mul(1 << peer.detours.min(16)).min(timing.shortcut_backoff);
        self.timers.set(key, Timer::Shortcut, now + after.saturating_mul(if polite { 2 } else { 1 }) + patience);
    }

    /// It is time to look for a direct path.
    pub(super) fn seek_shortcut(&mut self, now: Time, key: PeerKey) {
        let Some(peer) = self.roster.get_mut(key) else { return };
        if !is_quiet(peer) && peer.pauses < MAX_PAUSES {
            peer.pauses += 1;
            self.timers.set(key, Timer::Shortcut, now + PAUSE);
            return;
        }
        if peer.is_well() {
            self.restart(now, key);
        }
        self.count_detour(now, key);
    }

    /// All paths have been tried once more, by either side.
    pub(super) fn count_detour(&mut self, now: Time, key: PeerKey) {
        if let Some(peer) = self.roster.get_mut(key) {
            peer.detours += 1;
        }
        self.await_shortcut(now, key);
    }

    /// In another network everything may be possible.
    pub(super) fn forget_detours(&mut self, now: Time, key: PeerKey) {
        if let Some(peer) = self.roster.get_mut(key) {
            peer.detours = 0;
        }
        if self.timers.is_set(key, Timer::Shortcut) {
            self.await_shortcut(now, key);
        }
    }
}

/// Whether nothing is under way that would have to wait until there is a path again.
fn is_quiet(peer: &Peer) -> bool {
    let settled = peer.connection.as_ref().is_some_and(Connection::is_settled);
    peer.is_well() && settled && peer.mailbox.waiting_bytes() == 0
}
