//! Connections to peers: made, replaced, lost and tried again.

use std::time::Duration;

use rtc_cafe_wire::{
    PermanentId, Sid,
    peer::Frame,
    signal::{ClientSignal, ConnectionId, Handshake, HandshakeBody},
};

use super::Client;
use crate::{
    connection::{Action, Connection},
    event::{ErrorCode, Event, SignallerState},
    mailbox::Mailbox,
    output::Command,
    roster::PeerKey,
    time::Time,
    timers::Timer,
};

impl Client {
    /// Opens a connection and offers it, unless there is one.
    pub(super) fn offer(&mut self, now: Time, key: PeerKey) {
        if self.roster.get(key).is_some_and(|peer| peer.connection.is_none()) {
            self.link(now, key);
            self.negotiate(key, Connection::offer);
        }
    }

    /// Offers a connection after a while, if the peer does not do so first. Jitter keeps two from doing so at once.
    pub(super) fn offer_later(&mut self, now: Time, key: PeerKey, after: Duration) {
        let jitter = Duration::from_millis(self.rng.below(500));
        let patience = if self.is_polite(key) { Duration::from_secs(1) } else { Duration::ZERO };
        self.timers.set(key, Timer::Offer, now + after + patience + jitter);
    }

    /// Opens a connection.
    fn link(&mut self, now: Time, key: PeerKey) {
        let id = ConnectionId(self.next_connection);
        self.next_connection += 1;
        let connection = Connection::new(id, self.is_polite(key), self.config.limits.candidates);
        self.roster.set_connection(key, connection);
        self.timers.cancel(key, Timer::Offer);
        self.timers.set(key, Timer::Connect, now + self.config.timing.connect);
        self.command(id, Command::Open);
    }

    /// Of two peers the one with the lower id takes back its offer when both offer at once.
    fn is_polite(&self, key: PeerKey) -> bool {
        let peer = self.roster.get(key);
        match peer.and_then(|peer| peer.id.as_ref()) {
            Some(id) => self.permanent_id < *id,
            None => self.sid.as_ref() < peer.map(|peer| &peer.sid),
        }
    }

    /// Closes the connection to a peer. If it was open, the application is told that the peer is gone.
    pub(super) fn unlink(&mut self, key: PeerKey) {
        if self.roster.get(key).is_some_and(|peer| peer.is_connected()) {
            self.disconnect_tracks(key);
        }
        let Some(connection) = self.roster.take_connection(key) else { return };
        self.timers.cancel_all(key);
        self.command(connection.id(), Command::Close);
        let Some(peer) = self.roster.get_mut(key) else { return };
        let waiting = std::mem::take::<Mailbox>(&mut peer.mailbox).waiting_bytes();
        let sid = peer.sid.clone();
        if connection.is_open() {
            if waiting > 0 {
                let message = String::from("the connection was lost before everything was sent");
                self.error(ErrorCode::Undelivered, message, Some(sid.clone()));
            }
            self.event(Event::DisconnectFromPeer { sid });
        }
    }

    /// The connection is of no use: the application is told why, and another one is tried.
    pub(super) fn fail(&mut self, now: Time, key: PeerKey, reason: String) {
        if let Some(peer) = self.roster.get_mut(key) {
            peer.failures += 1;
            let sid = peer.sid.clone();
            self.error(ErrorCode::ConnectFailed, reason, Some(sid));
        }
        self.lose(now, key);
    }

    /// The connection is gone. Whoever can still be reached over the server is connected to anew.
    pub(super) fn lose(&mut self, now: Time, key: PeerKey) {
        self.unlink(key);
        let reachable = self.state == SignallerState::Connected;
        let Some(peer) = self.roster.get_mut(key) else { return };
        if let Some(claim) = peer.claim.take().filter(|claim| self.sid.as_ref() != Some(claim)) {
            peer.present = true;
            self.roster.rename(key, claim);
            self.offer(now, key);
        } else if !(reachable && peer.present) {
            self.remove(key);
        } else if peer.failures < self.config.timing.attempts {
            let after = Duration::from_millis(500 << peer.failures.min(6));
            self.offer_later(now, key, after);
        }
    }

    /// A step of the handshake from a peer.
    pub(super) fn handle_handshake(&mut self, now: Time, sid: &Sid, id: Option<PermanentId>, handshake: Handshake) {
        let Some(key) = self.recognise(now, sid, id, None) else { return };
        let Some(peer) = self.roster.get_mut(key) else { return };
        peer.present = true;
        let ours = peer.connection.as_ref().map(Connection::id);
        let late = handshake.connection < peer.newest_remote;
        let astray = handshake.peer_connection.is_some() && handshake.peer_connection != ours;
        if late || astray {
            return;
        }
        let from = handshake.connection;
        match handshake.body.clone() {
            HandshakeBody::Offer(sdp) => {
                peer.newest_remote = from;
                let replaced = peer.connection.as_ref().and_then(Connection::remote).is_some_and(|old| old != from);
                if replaced {
                    self.unlink(key);
                }
                if ours.is_none() || replaced {
                    self.link(now, key);
                }
                self.negotiate(key, |connection, actions| connection.handle_offer(&handshake, sdp, actions));
            }
            HandshakeBody::Answer(sdp) => {
                peer.newest_remote = from;
                self.negotiate(key, |connection, actions| connection.handle_answer(&handshake, sdp, actions));
            }
            HandshakeBody::Candidate(candidate) => peer.keep_early(from, candidate, self.config.limits.candidates),
        }
        self.add_candidates(key);
    }

    /// Hands on the candidates of the connection that ours is bound to.
    fn add_candidates(&mut self, key: PeerKey) {
        let Some(peer) = self.roster.get_mut(key) else { return };
        let Some(remote) = peer.connection.as_ref().and_then(Connection::remote) else { return };
        for candidate in peer.take_early(remote) {
            self.negotiate(key, |connection, actions| connection.handle_candidate(candidate, actions));
        }
    }

    /// Lets the connection to a peer take a step, and does what comes of it.
    pub(super) fn negotiate(&mut self, key: PeerKey, step: impl FnOnce(&mut Connection, &mut Vec<Action>)) {
        let Some(connection) = self.roster.get_mut(key).and_then(|peer| peer.connection.as_mut()) else { return };
        let mut actions = Vec::new();
        step(connection, &mut actions);
        self.carry_out(key, actions);
    }

    fn carry_out(&mut self, key: PeerKey, actions: Vec<Action>) {
        let Some(peer) = self.roster.get(key) else { return };
        let Some(id) = peer.connection.as_ref().map(Connection::id) else { return };
        let recipient = peer.sid.clone();
        for action in actions {
            match action {
                Action::Do(command) => self.command(id, command),
                Action::Signal(handshake) => {
                    let (recipient, id) = (recipient.clone(), self.permanent_id.clone());
                    self.signal(ClientSignal::Handshake { recipient, id, handshake });
                }
                Action::Frame(frame) => self.push(key, &frame),
                Action::Offer { negotiation, mids, sdp } => {
                    let mids = || mids.clone();
                    self.push_parts(key, &sdp, &|more, body| Frame::Offer { more, negotiation, mids: mids(), body });
                }
                Action::Answer { negotiation, sdp } => {
                    self.push_parts(key, &sdp, &|more, body| Frame::Answer { more, negotiation, body });
                }
            }
        }
    }
}
