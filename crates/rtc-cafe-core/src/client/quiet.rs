//! Peers that say nothing are asked now and then whether they are there: the path to a page that sleeps stays, so nothing else
//! would tell.

use super::Client;
use crate::{roster::PeerKey, time::Time, timers::Timer};

impl Client {
    /// There is somebody who may fall quiet.
    pub(super) fn watch_for_quiet(&mut self) {
        if !self.timers.is_set(PeerKey::NOBODY, Timer::Quiet) {
            self.timers.set(PeerKey::NOBODY, Timer::Quiet, self.now + self.config.timing.quiet);
        }
    }

    /// Asks those who have said nothing since the last time. One timer does for all, and whoever is asked has heard of us, and
    /// need not ask.
    pub(super) fn ask_quiet(&mut self, now: Time) {
        let mut open = false;
        for key in self.roster.keys() {
            let Some(peer) = self.roster.get(key).filter(|peer| peer.is_open()) else { continue };
            open = true;
            if peer.is_well() && peer.heard + self.config.timing.quiet <= now {
                self.ping(now, key);
            }
        }
        if open {
            self.watch_for_quiet();
        }
    }
}
