//! What happens when a connection is lost: time, a restart of ICE, another connection, and at last a farewell.

use std::time::Duration;

use rtc_cafe_wire::peer::Frame;

use super::Client;
use crate::{
    connection::Connection,
    event::{Event, SignallerState},
    mailbox::Undelivered,
    output::{ConnectionState, Output},
    peer::Peer,
    report::Phase,
    roster::PeerKey,
    time::Time,
    timers::Timer,
};

/// A timer that comes later than this was kept from it: the machine slept, or a page in the background is throttled. Then
/// what others have said meanwhile is heard before they are judged by it.
const OVERSLEPT: Duration = Duration::from_millis(1500);
const AWAKE: Duration = Duration::from_millis(500);

impl Client {
    /// The state of a peer connection has changed.
    pub(super) fn handle_connection_state(&mut self, now: Time, key: PeerKey, state: ConnectionState) {
        let open = self.roster.get(key).is_some_and(|peer| peer.is_open());
        match state {
            ConnectionState::Failed if !open => self.fail_to_connect(now, key, "no path to the peer was found"),
            ConnectionState::Closed => self.hang_up(now, key),
            ConnectionState::Connected if open => self.probe(now, key),
            ConnectionState::Disconnected | ConnectionState::Failed if open => {
                let grace = if state == ConnectionState::Failed { Duration::ZERO } else { self.config.timing.grace };
                self.doubt_path(now, key, grace);
            }
            _ => {}
        }
    }

    /// The path to a connected peer is there again. What waits in the channel may still stand still: SCTP sends it again
    /// after ever longer pauses, so another connection is quicker.
    fn probe(&mut self, now: Time, key: PeerKey) {
        if self.roster.get(key).is_some_and(|peer| peer.path_lost) {
            self.regain(key);
            self.ping(now, key);
            self.timers.set(key, Timer::Probe, now + self.config.timing.pong);
        }
    }

    /// The ping over a path that is there again was not answered.
    pub(super) fn handle_stuck(&mut self, now: Time, key: PeerKey) {
        // If nothing waits to be confirmed, it may as well sleep.
        let waits = |peer: &Peer| peer.ping.is_some() && peer.mailbox.waiting_bytes() > 0;
        if self.roster.get(key).is_some_and(waits) {
            self.handle_stall(now, key);
        }
    }

    /// What is sent to a peer does not get through, and would not for long. Another connection is quicker, if the peer can
    /// be asked for one.
    pub(super) fn handle_stall(&mut self, now: Time, key: PeerKey) {
        let open = self.roster.get(key).is_some_and(Peer::is_open);
        if open && self.is_reachable(key) {
            if let Some(peer) = self.roster.get_mut(key) {
                peer.history.failure = Some("what was sent did not get through".into());
            }
            self.lose(now, key);
        }
    }

    /// The path to a connected peer is there.
    pub(super) fn regain(&mut self, key: PeerKey) {
        let Some(peer) = self.roster.get_mut(key).filter(|peer| peer.path_lost) else { return };
        peer.path_lost = false;
        peer.restarts = 0;
        peer.by_every_way = false;
        if !peer.restart_due {
            self.timers.cancel(key, Timer::Recover);
        }
        self.timers.cancel(key, Timer::Farewell);
        self.reach(key, Phase::Open);
        self.gossip(key, true);
        if self.state != SignallerState::Connected {
            self.outputs.push(Output::CheckSignaller);
        }
    }

    /// The path to a connected peer seems to be lost.
    fn doubt_path(&mut self, now: Time, key: PeerKey, grace: Duration) {
        let patience = self.patience(key);
        self.lose_path(key);
        if let Some(claim) = self.roster.get_mut(key).and_then(|peer| peer.claim.take()) {
            self.believe(key, claim);
        }
        let Some(peer) = self.roster.get(key) else { return };
        // Who has left its session and has not answered since has most likely ended, if it does not come again soon.
        let ended = peer.ping.is_some() && peer.left;
        let recovery = if ended { self.config.timing.pong } else { self.config.timing.recovery };
        self.expect_farewell(now, key, recovery);
        self.timers.set(key, Timer::Recover, now + grace + patience);
    }

    fn lose_path(&mut self, key: PeerKey) {
        if let Some(peer) = self.roster.get_mut(key)
            && !std::mem::replace(&mut peer.path_lost, true)
        {
            self.reach(key, Phase::Recovering);
            self.gossip(key, false);
            self.outputs.push(Output::CheckSignaller);
        }
    }

    fn expect_farewell(&mut self, now: Time, key: PeerKey, after: Duration) {
        if after.is_zero() || !self.timers.is_set(key, Timer::Farewell) {
            self.timers.set(key, Timer::Farewell, now + after);
        }
    }

    /// The next step of the recovery of a peer whose path is lost.
    pub(super) fn recover(&mut self, now: Time, key: PeerKey) {
        let after = self.config.timing.restart + self.patience(key);
        let Some(peer) = self.roster.get_mut(key).filter(|peer| peer.is_open()) else { return };
        let due = std::mem::take(&mut peer.restart_due);
        if !peer.path_lost {
            if due {
                self.restart(now, key);
            }
            return;
        }
        self.timers.set(key, Timer::Recover, now + after);
        if !self.is_reachable(key) {
            return;
        }
        let Some(peer) = self.roster.get_mut(key) else { return };
        peer.by_every_way = true;
        peer.restarts += 1;
        if peer.restarts == 1 {
            self.restart(now, key);
        } else {
            self.unlink(key);
            self.offer(now, key);
        }
    }

    /// Looks for another path to a connected peer.
    pub(super) fn restart(&mut self, now: Time, key: PeerKey) {
        if let Some(peer) = self.roster.get_mut(key).filter(|peer| peer.is_open()) {
            peer.by_every_way = true;
            peer.history.restarts += 1;
            peer.resent = 0;
            self.timers.set(key, Timer::Resend, now + self.config.timing.resend);
            self.negotiate(key, Connection::restart);
        }
    }

    /// Something has changed that makes it likely that a peer can be reached: what waits is tried at once.
    pub(super) fn hasten(&mut self, now: Time, key: PeerKey) {
        let Some(peer) = self.roster.get_mut(key) else { return };
        peer.failures = 0;
        if peer.is_open() {
            if peer.path_lost && peer.restarts == 0 {
                let patience = self.patience(key);
                self.timers.hasten(key, Timer::Recover, now + patience);
            }
        } else if peer.connection.is_some() {
            self.timers.set(key, Timer::Connect, now + self.config.timing.connect);
            self.negotiate(key, Connection::resend);
        } else if peer.connected {
            self.offer_later(now, key, Duration::ZERO);
        }
    }

    /// The connection is gone. Whoever can still be reached is connected to anew.
    pub(super) fn lose(&mut self, now: Time, key: PeerKey) {
        self.unlink(key);
        let Some(peer) = self.roster.get_mut(key) else { return };
        if peer.connected {
            peer.by_every_way = true;
            let recovery = self.config.timing.recovery;
            self.expect_farewell(now, key, recovery);
        }
        if let Some(claim) = self.roster.get_mut(key).and_then(|peer| peer.claim.take()) {
            self.believe(key, claim);
            self.offer(now, key);
            return;
        }
        let Some(peer) = self.roster.get(key) else { return };
        if self.is_reachable(key) {
            let after = Duration::from_millis(500 << peer.failures.min(6)).min(self.config.timing.backoff);
            self.offer_later(now, key, after);
        } else {
            self.miss(now, key);
        }
    }

    /// The other end has closed the connection.
    pub(super) fn hang_up(&mut self, now: Time, key: PeerKey) {
        if let Some(peer) = self.roster.get_mut(key) {
            peer.left |= !peer.path_lost;
        }
        self.lose(now, key);
    }

    /// A peer without a connection cannot be reached. It may come back by itself, and is waited for, because it is cut off
    /// or because we are; but not for long if it seems to have ended.
    fn miss(&mut self, now: Time, key: PeerKey) {
        let waited_for = |peer: &&Peer| peer.connected && (peer.cut_off || self.state != SignallerState::Connected);
        match self.roster.get(key).filter(waited_for) {
            Some(peer) if peer.left => self.timers.hasten(key, Timer::Farewell, now + self.config.timing.pong),
            Some(_) => {}
            None => self.part(now, key),
        }
    }

    /// A peer that was only reachable by a way that is not there any more, and has no connection nor answers, is gone.
    pub(super) fn reconsider(&mut self, now: Time, key: PeerKey) {
        let unanswered = self.roster.get(key).is_some_and(|peer| !peer.is_open() && !peer.is_bound());
        if unanswered && !self.is_reachable(key) {
            self.miss(now, key);
        }
    }

    /// The time to come back is over.
    pub(super) fn bid_farewell(&mut self, now: Time, key: PeerKey) {
        if self.roster.get(key).is_some_and(|peer| peer.is_well() && !peer.rooms.is_empty()) {
            // It had left, and has come again.
            return;
        }
        self.unlink(key);
        self.tell_farewell(now, key);
        if self.is_reachable(key) {
            self.offer_later(now, key, self.config.timing.backoff);
        } else {
            self.part(now, key);
        }
    }

    /// Ends whatever there is with a peer, and remembers what may be of use when it comes back.
    pub(super) fn part(&mut self, now: Time, key: PeerKey) {
        self.unlink(key);
        self.tell_farewell(now, key);
        self.timers.cancel_connection(key);
        if self.roster.get(key).is_some_and(|peer| peer.id.is_none()) {
            // It cannot be known again.
            self.end_doubt(key);
        }
        self.roster.retire(key);
        self.make_room();
        while let Some(surplus) = self.roster.surplus() {
            self.end_doubt(surplus);
            self.roster.forget(surplus);
        }
    }

    /// Tells the application that a peer is gone, if it believes that it is there.
    fn tell_farewell(&mut self, now: Time, key: PeerKey) {
        self.timers.cancel(key, Timer::Farewell);
        self.timers.cancel(key, Timer::Stuck);
        let Some(peer) = self.roster.get_mut(key).filter(|peer| peer.connected) else { return };
        peer.connected = false;
        peer.stuck = false;
        peer.cut_off = false;
        peer.restarts = 0;
        let sid = peer.sid.clone();
        let undelivered = peer.mailbox.end();
        if peer.mailbox.is_in_doubt() {
            self.timers.set(key, Timer::Doubt, now + self.config.timing.doubt);
        }
        self.disconnect_tracks(key);
        self.tell_undelivered(key, undelivered);
        self.event(Event::DisconnectFromPeer { sid });
    }

    /// Tells the application which messages a peer has not received.
    pub(super) fn tell_undelivered(&mut self, key: PeerKey, undelivered: Vec<Undelivered>) {
        let Some(sid) = self.roster.get(key).map(|peer| peer.sid.clone()) else { return };
        for Undelivered { payload, may_have_arrived } in undelivered {
            self.event(Event::MessageUndelivered { sid: sid.clone(), payload, may_have_arrived });
        }
    }

    /// Nobody waits any longer for a peer that is gone to tell what it has received.
    pub(super) fn end_doubt(&mut self, key: PeerKey) {
        self.timers.cancel(key, Timer::Doubt);
        let undelivered = self.roster.get_mut(key).map(|peer| peer.mailbox.give_up()).unwrap_or_default();
        self.tell_undelivered(key, undelivered);
        self.pump(key);
    }

    /// A peer did not answer. If there is a path, its page sleeps: browsers keep paths alive for pages that do not run.
    pub(super) fn handle_silence(&mut self, now: Time, key: PeerKey) {
        let Some(peer) = self.roster.get_mut(key) else { return };
        peer.silent = true;
        if !peer.path_lost {
            self.reach(key, Phase::Silent);
        }
        self.gossip(key, false);
        let Some(peer) = self.roster.get(key) else { return };
        if peer.claim.is_some() {
            self.lose(now, key);
        } else if peer.path_lost && peer.left {
            self.expect_farewell(now, key, Duration::ZERO);
        }
    }

    /// The addresses of this machine, or the way to others, have changed: every connection looks for a new path. Who is
    /// polite leaves the others some time to do so, for they may have noticed as well.
    pub fn handle_network_change(&mut self, now: Time) {
        self.now = now;
        self.outputs.push(Output::CheckSignaller);
        self.renew_answers();
        self.renew_ready();
        for key in self.roster.keys() {
            let polite = self.is_polite(key);
            let patience = self.patience(key);
            self.forget_detours(now, key);
            let Some(peer) = self.roster.get_mut(key).filter(|peer| peer.connection.is_some()) else { continue };
            if !peer.is_open() {
                // Its candidates are those of the network that was.
                self.unlink(key);
                self.timers.set(key, Timer::Offer, now + patience);
            } else if polite {
                peer.restart_due = true;
                self.timers.set(key, Timer::Recover, now + patience);
            } else {
                self.restart(now, key);
            }
        }
    }

    /// This machine may have slept, or its page: whoever is connected is asked whether it is there, and what waits is
    /// tried at once.
    pub fn handle_wake(&mut self, now: Time) {
        self.now = now;
        self.outputs.push(Output::CheckSignaller);
        for key in self.roster.keys() {
            self.ping(now, key);
            self.hasten(now, key);
        }
    }

    /// Whether timers are to wait a little, because this machine has slept.
    pub(super) fn has_overslept(&mut self, now: Time) -> bool {
        let late = self.timers.next().is_some_and(|next| next + OVERSLEPT < now);
        self.overslept = late && !self.overslept;
        if self.overslept {
            self.timers.postpone(now, now + AWAKE);
        }
        self.overslept
    }

    /// The connection to a peer has reached a phase, or fallen back to one.
    pub(super) fn reach(&mut self, key: PeerKey, phase: Phase) {
        let now = self.now;
        if let Some(peer) = self.roster.get_mut(key) {
            peer.history.reach(now, phase);
        }
    }

    /// Says goodbye to a peer, as far as it can still hear it, and ends the connection. It hears first which messages have
    /// come, for no more will.
    pub(super) fn leave(&mut self, now: Time, key: PeerKey) {
        self.acknowledge_all(key);
        self.push(key, &Frame::Bye);
        self.pump_last(key);
        self.part(now, key);
    }

    /// A peer has said goodbye, and before that which messages have come: the others have not.
    pub(super) fn handle_bye(&mut self, now: Time, key: PeerKey) {
        if let Some(peer) = self.roster.get_mut(key) {
            peer.mailbox.refuse();
        }
        self.part(now, key);
    }
}
