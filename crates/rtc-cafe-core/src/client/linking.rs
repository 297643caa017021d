//! Connections to peers: made, replaced and closed, and the handshakes that it takes.

use std::time::Duration;

use rtc_cafe_wire::{
    PermanentId, Sid,
    peer::{Frame, Mids},
    signal::{ConnectionId, Handshake, HandshakeBody},
};

use super::Client;
use crate::{
    connection::{Action, Connection},
    event::ErrorCode,
    output::Command,
    peer::Peer,
    report::{Phase, Route},
    roster::PeerKey,
    time::Time,
    timers::Timer,
};

/// How often a handshake is sent again, after ever longer times.
const MAX_RESENT: u32 = 5;

impl Client {
    /// Opens a connection and offers it, unless there is one.
    pub(super) fn offer(&mut self, now: Time, key: PeerKey) {
        if self.roster.get(key).is_some_and(|peer| peer.connection.is_none() && !peer.absent) {
            self.link(now, key);
            self.negotiate(key, Connection::offer);
        }
    }

    /// Offers a connection after a while, if the peer does not do so first. Jitter keeps two from doing so at once.
    pub(super) fn offer_later(&mut self, now: Time, key: PeerKey, after: Duration) {
        let at = now + after + self.patience(key);
        self.timers.set(key, Timer::Offer, at);
    }

    /// What the polite one waits longer than the other, and some jitter.
    pub(super) fn patience(&mut self, key: PeerKey) -> Duration {
        let jitter = Duration::from_millis(self.rng.below(500));
        if self.is_polite(key) { Duration::from_secs(1) + jitter } else { jitter }
    }

    /// Opens a connection.
    fn link(&mut self, now: Time, key: PeerKey) {
        let connection = self.open_connection();
        self.bind(now, key, connection);
        // A peer takes no offer of a connection that has a lower number than one that it has seen.
        self.renew_ready();
    }

    /// Opens a connection, for a peer that is yet to come or for one that is there.
    pub(super) fn open_connection(&mut self) -> Connection {
        let id = ConnectionId(self.next_connection);
        self.next_connection += 1;
        self.command(id, Command::Open);
        Connection::new(id, false, self.config.limits.candidates)
    }

    /// Makes a connection that of a peer.
    pub(super) fn bind(&mut self, now: Time, key: PeerKey, mut connection: Connection) {
        connection.set_polite(self.is_polite(key));
        let id = connection.id();
        self.roster.set_connection(key, connection);
        self.timers.cancel(key, Timer::Offer);
        self.timers.set(key, Timer::Connect, now + self.config.timing.connect);
        self.timers.set(key, Timer::Resend, now + self.config.timing.resend);
        if let Some(peer) = self.roster.get_mut(key) {
            peer.history.attempts += 1;
            peer.history.connection = Some(id);
            peer.resent = 0;
        }
        self.reach(key, Phase::Signalling);
    }

    /// Of two peers the one with the lower id takes back its offer when both offer at once.
    pub(super) fn is_polite(&self, key: PeerKey) -> bool {
        let peer = self.roster.get(key);
        match peer.and_then(|peer| peer.id.as_ref()) {
            Some(id) => self.permanent_id < *id,
            None => self.sid.as_ref() < peer.map(|peer| &peer.sid),
        }
    }

    /// Closes the connection to a peer. Whether another one follows is the caller's business.
    pub(super) fn unlink(&mut self, key: PeerKey) {
        let well = self.roster.get(key).is_some_and(|peer| peer.is_well());
        let Some(connection) = self.roster.take_connection(key) else { return };
        if well {
            self.gossip(key, false);
        }
        self.unplug_tracks(key);
        self.timers.cancel_connection(key);
        self.timers.cancel(key, Timer::Shortcut);
        self.command(connection.id(), Command::Close);
        if let Some(peer) = self.roster.get_mut(key) {
            peer.mailbox.rewind();
            peer.informed = false;
            peer.acquaintances.clear();
            peer.cut_off |= std::mem::take(&mut peer.path_lost) && peer.connected;
            peer.silent = false;
            peer.ping = None;
            peer.restart_due = false;
            let phase = if peer.connected { Phase::Recovering } else { Phase::Discovered };
            self.reach(key, phase);
        }
    }

    /// The connection is of no use: the application is told why, unless it believes that the peer is connected, and
    /// another one is tried.
    pub(super) fn fail(&mut self, now: Time, key: PeerKey, reason: String) {
        if let Some(peer) = self.roster.get_mut(key) {
            peer.failures += 1;
            peer.history.failure = Some(reason.clone());
            if !peer.connected {
                let sid = peer.sid.clone();
                self.error(ErrorCode::ConnectFailed, reason, Some(sid));
            }
        }
        self.lose(now, key);
    }

    /// No connection came of the handshake.
    pub(super) fn fail_to_connect(&mut self, now: Time, key: PeerKey, reason: &str) {
        let only_offered = |peer: &Peer| peer.rooms.is_empty() && !peer.connected;
        if self.is_told_rooms() && self.roster.get(key).is_some_and(only_offered) {
            // Who is there says so when somebody joins. This one has most likely ended since it left its offer.
            self.part(now, key);
        } else {
            self.fail(now, key, reason.to_owned());
        }
    }

    /// A handshake that has led to nothing yet is sent again, by every way.
    pub(super) fn resend(&mut self, now: Time, key: PeerKey) {
        let Some(peer) = self.roster.get_mut(key) else { return };
        if !peer.connection.as_ref().is_some_and(Connection::is_routed) {
            return;
        }
        peer.by_every_way = true;
        if peer.resent < MAX_RESENT {
            peer.resent += 1;
            let after = self.config.timing.resend * (1 << peer.resent);
            self.timers.set(key, Timer::Resend, now + after);
        }
        self.negotiate(key, Connection::resend);
    }

    /// A step of the handshake from a peer, by way of the server.
    pub(super) fn handle_signalled(&mut self, now: Time, sid: &Sid, id: Option<PermanentId>, handshake: Handshake) {
        let is_offer = matches!(handshake.body, HandshakeBody::Offer(_)) && !handshake.restart;
        let by_id = id.as_ref().and_then(|id| self.roster.by_id(id));
        let known = self.roster.by_sid(sid).or(by_id);
        let there = known.and_then(|key| self.roster.get(key)).is_some_and(|peer| !peer.absent);
        // What comes late to somebody who has left, or from somebody who has, introduces nobody.
        let follows = handshake.peer_connection.is_some() || matches!(handshake.body, HandshakeBody::Answer(_));
        if !there && (self.rooms.is_empty() || !is_offer && (known.is_some() || follows)) {
            return;
        }
        let Some(key) = self.recognise(now, sid, id, None) else { return };
        self.arrive(key);
        if let Some(peer) = self.roster.get_mut(key)
            && is_offer
        {
            peer.newest_remote = peer.newest_remote.max(handshake.connection);
        }
        self.handle_handshake(now, key, handshake, Route::Server);
        let waits = self.roster.get(key).is_some_and(|peer| peer.connection.is_none());
        if !there && waits {
            // A candidate has outrun its offer, or has come too late: then the server says that nobody is there.
            self.offer_later(now, key, self.config.timing.offer);
        }
    }

    /// A step of the handshake from a peer, which has come by this way.
    pub(super) fn handle_handshake(&mut self, now: Time, key: PeerKey, handshake: Handshake, route: Route) {
        let from = handshake.connection;
        if self.roster.get(key).is_some_and(|peer| from >= peer.newest_remote) {
            self.take_foretold(now, key, &handshake);
        }
        let Some(peer) = self.roster.get_mut(key) else { return };
        let ours = peer.connection.as_ref().map(Connection::id);
        // What came over others counts only while its connection is there: anybody could have made it up.
        let bound = peer.connection.as_ref().and_then(Connection::remote);
        let late = from < peer.newest_remote || bound.is_some_and(|bound| from < bound);
        let astray = handshake.peer_connection.is_some() && handshake.peer_connection != ours;
        if late || astray {
            return;
        }
        self.hear_of(key);
        let Some(peer) = self.roster.get_mut(key) else { return };
        match handshake.body.clone() {
            HandshakeBody::Offer(sdp) if handshake.restart => {
                if peer.is_open() && peer.connection.as_ref().and_then(Connection::remote) == Some(from) {
                    let mut taken = false;
                    self.negotiate_by(key, route, |c, actions| {
                        taken = c.handle_restart(handshake.negotiation, sdp, actions);
                    });
                    self.take_restart(key, taken);
                    self.take_mids(key, taken, handshake.mids);
                }
            }
            HandshakeBody::Offer(sdp) => {
                let replaced = peer.connection.as_ref().and_then(Connection::remote).is_some_and(|old| old != from);
                if replaced {
                    self.unlink(key);
                }
                if ours.is_none() || replaced {
                    self.link(now, key);
                }
                self.negotiate_by(key, route, |c, actions| c.handle_offer(&handshake, sdp, actions));
            }
            HandshakeBody::Answer(sdp) => {
                self.negotiate_by(key, route, |c, actions| c.handle_answer(&handshake, sdp, actions));
            }
            HandshakeBody::Candidate(candidate) => peer.keep_early(from, candidate, self.config.limits.candidates),
        }
        self.add_candidates(key);
    }

    /// The peer looks for another path, so we need not.
    pub(super) fn take_restart(&mut self, key: PeerKey, taken: bool) {
        if let Some(peer) = self.roster.get_mut(key) {
            peer.restart_due &= !taken;
        }
        if taken && self.timers.is_set(key, Timer::Shortcut) {
            self.count_detour(self.now, key);
        }
    }

    /// An offer over the channel or beside it sends these tracks.
    pub(super) fn take_mids(&mut self, key: PeerKey, taken: bool, mids: Mids) {
        if taken {
            self.handle_mids(key, mids);
        }
    }

    /// Hands on the candidates of the connection that ours is bound to.
    fn add_candidates(&mut self, key: PeerKey) {
        let Some(peer) = self.roster.get_mut(key) else { return };
        let Some(remote) = peer.connection.as_ref().and_then(Connection::remote) else { return };
        let (open, early) = (peer.is_open(), peer.take_early(remote));
        if !open {
            self.reach(key, Phase::Connecting);
        }
        for candidate in early {
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

    /// The same for a description of the peer. If it is taken, this way works.
    fn negotiate_by(&mut self, key: PeerKey, route: Route, step: impl FnOnce(&mut Connection, &mut Vec<Action>)) {
        let mut taken = false;
        self.negotiate(key, |connection, actions| {
            step(connection, actions);
            let accepts =
                |action: &Action| matches!(action, Action::Do(Command::AcceptOffer(_) | Command::AcceptAnswer(_)));
            taken = actions.iter().any(accepts);
        });
        if let Some(peer) = self.roster.get_mut(key).filter(|_| taken) {
            peer.history.route = Some(route);
        }
    }

    fn carry_out(&mut self, key: PeerKey, actions: Vec<Action>) {
        let Some(id) = self.roster.get(key).and_then(|peer| peer.connection.as_ref()).map(Connection::id) else {
            return;
        };
        for action in actions {
            match action {
                Action::Do(command) => self.command(id, command),
                Action::Signal(handshake) => self.send_handshake(key, handshake),
                Action::Frame(frame) => self.push(key, &frame),
                Action::Offer { negotiation, restart, mids, sdp } => {
                    let mids = || mids.clone();
                    self.push_parts(key, &sdp, &|more, body| Frame::Offer {
                        more,
                        negotiation,
                        restart,
                        mids: mids(),
                        body,
                    });
                }
                Action::Answer { negotiation, offers, sdp } => {
                    self.push_parts(key, &sdp, &|more, body| Frame::Answer { more, negotiation, offers, body });
                }
            }
        }
    }
}
