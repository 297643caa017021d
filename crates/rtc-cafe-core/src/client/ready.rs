//! Connections that are made ready before the peer is there: an offer that the server holds for the next newcomer, and
//! answers that go with our own join.

use rtc_cafe_wire::{
    ApiVersion,
    signal::{ClientSignal, ConnectionId, Handshake, HandshakeBody},
};

use super::Client;
use crate::{
    connection::{Action, Connection},
    event::SignallerState,
    map::Map,
    output::{Command, ConnectionEvent},
    report::Route,
    roster::PeerKey,
    time::Time,
    timers::Timer,
};

/// What waits for somebody.
#[derive(Debug, Default)]
pub(super) struct Ready {
    /// Whether the server holds offers.
    held: bool,
    /// Whether the server has told of relays.
    relayed: bool,
    /// The connection whose offer it holds, or is about to.
    offering: Option<Connection>,
    /// Those that are to answer, each with its answer until that has gone out with a join.
    answering: Map<ConnectionId, (Connection, Option<Handshake>)>,
}

impl Client {
    /// Makes answers for those whom we shall meet in our first room.
    pub(super) fn foretell(&mut self) {
        let first = !self.closed && self.roster.len() == 0 && self.previous.is_none();
        let most = if self.ready.relayed { self.config.ready_relayed } else { usize::MAX };
        while first && self.ready.answering.len() < self.config.ready.min(most) {
            let connection = self.open_connection();
            self.command(connection.id(), Command::ForetellAnswer);
            self.ready.answering.insert(connection.id(), (connection, None));
            self.timers.set(PeerKey::NOBODY, Timer::Unused, self.now + self.config.timing.unused);
        }
    }

    /// The answers that there are, to go with a join. Who comes back has no use for them.
    pub(super) fn take_answers(&mut self, back: bool) -> Vec<Handshake> {
        let mut answers = Vec::new();
        for (_, foretold) in self.ready.answering.values_mut() {
            answers.extend(foretold.take().filter(|_| !back));
        }
        if !self.ready.answering.is_empty() {
            self.timers.set(PeerKey::NOBODY, Timer::Unused, self.now + self.config.timing.connect);
        }
        answers
    }

    /// The server has told of these servers, which answers from before know nothing of.
    pub(super) fn handle_ice_servers(&mut self, ice_servers: &str) {
        // Not `contains`, which is a kilobyte of WebAssembly.
        self.ready.relayed = ice_servers.as_bytes().windows(5).any(|five| five == b"\"turn");
        if ice_servers != "[]" && self.sid.is_none() {
            self.renew_answers();
        }
    }

    /// Nobody has offered what the answers that are left were made for.
    pub(super) fn forget_answers(&mut self) {
        for &id in std::mem::take(&mut self.ready.answering).keys() {
            self.command(id, Command::Close);
        }
    }

    /// The answers that nobody has are of no use any more; others take their place if we have not joined yet.
    pub(super) fn renew_answers(&mut self) {
        let mut stale = Vec::new();
        for (&id, (_, foretold)) in self.ready.answering.iter() {
            if foretold.is_some() || self.rooms.is_empty() {
                stale.push(id);
            }
        }
        for &id in &stale {
            self.ready.answering.remove(&id);
            self.command(id, Command::Close);
        }
        if !stale.is_empty() {
            self.foretell();
        }
    }

    /// Takes the connection that answers an offer, if the offer is for one that was foretold.
    pub(super) fn take_foretold(&mut self, now: Time, key: PeerKey, handshake: &Handshake) {
        let Some(meant) = handshake.peer_connection else { return };
        let free = self.roster.get(key).is_some_and(|peer| peer.connection.is_none());
        if free
            && matches!(handshake.body, HandshakeBody::Offer(_))
            && let Some((connection, _)) = self.ready.answering.remove(&meant)
        {
            self.bind_ready(now, key, connection);
        }
    }

    /// What was ready becomes the connection of a peer. Its first step went over the server.
    fn bind_ready(&mut self, now: Time, key: PeerKey, connection: Connection) {
        self.bind(now, key, connection);
        if let Some(peer) = self.roster.get_mut(key) {
            peer.history.route = Some(Route::Server);
        }
    }

    /// The server has told which version it speaks.
    pub(super) fn handle_version(&mut self, now: Time, version: Option<ApiVersion>) {
        self.now = now;
        self.ready.held = version >= Some(ApiVersion::V1_0);
        if self.rooms.is_empty() {
            self.foretell();
        }
        self.prepare_later();
    }

    /// Whether the server names the room of everybody who is there, as those do that hold offers.
    pub(super) fn is_told_rooms(&self) -> bool {
        self.ready.held
    }

    /// The server does not hold offers.
    pub(super) fn hold_nothing(&mut self) {
        self.ready.held = false;
        self.discard_offer();
    }

    /// Makes an offer for whoever comes next, when there is time.
    pub(super) fn prepare_later(&mut self) {
        if self.ready.held && self.config.ready > 0 && !self.rooms.is_empty() && self.ready.offering.is_none() {
            self.timers.set(PeerKey::NOBODY, Timer::Ready, self.now + self.config.timing.ready);
        }
    }

    /// Makes an offer for whoever comes next, in place of the one before.
    pub(super) fn prepare(&mut self, now: Time) {
        self.discard_offer();
        if !self.ready.held || self.rooms.is_empty() || self.state != SignallerState::Connected {
            return;
        }
        let mut connection = self.open_connection();
        let mut actions = Vec::new();
        connection.prepare_offer(&mut actions);
        for action in actions {
            if let Action::Do(command) = action {
                self.command(connection.id(), command);
            }
        }
        self.ready.offering = Some(connection);
        self.timers.set(PeerKey::NOBODY, Timer::Ready, now + self.config.timing.renew);
    }

    /// Connections are configured differently from now on, and so many answers are made ready: see
    /// [`Config::ready`](crate::Config::ready).
    pub fn handle_configuration_change(&mut self, now: Time, ready: usize) {
        self.now = now;
        self.config.ready = ready;
        self.renew_answers();
        self.renew_ready();
    }

    /// The offer that is held is of no use any more, or about to be.
    pub(super) fn renew_ready(&mut self) {
        if self.ready.offering.is_some() {
            self.timers.set(PeerKey::NOBODY, Timer::Ready, self.now + 10 * self.config.timing.ready);
        }
    }

    /// Nothing that is ready is of use any more.
    pub(super) fn discard_ready(&mut self) {
        self.discard_offer();
        self.forget_answers();
    }

    fn discard_offer(&mut self) {
        if let Some(connection) = self.ready.offering.take() {
            self.command(connection.id(), Command::Close);
        }
    }

    /// The server has given our offer to a newcomer, if it says so. Returns whether that peer need not be offered another.
    pub(super) fn give_away(&mut self, now: Time, key: Option<PeerKey>, offered: Option<ConnectionId>) -> bool {
        if offered.is_none() || self.ready.offering.as_ref().map(Connection::id) != offered {
            return false;
        }
        // A newcomer takes it in place of an older one that is not open yet.
        let replaces = |connection: &Connection| !connection.is_open() && Some(connection.id()) < offered;
        let free = |key: &PeerKey| {
            self.roster.get(*key).is_some_and(|peer| !peer.absent && peer.connection.as_ref().is_none_or(replaces))
        };
        let key = key.filter(free);
        key.into_iter().for_each(|key| self.unlink(key));
        match (key, self.ready.offering.take()) {
            (Some(key), Some(connection)) => {
                self.bind_ready(now, key, connection);
                self.negotiate(key, Connection::send_candidates);
            }
            (_, connection) => self.ready.offering = connection,
        }
        if key.is_none() {
            self.discard_offer();
        }
        self.prepare_later();
        key.is_some()
    }

    /// Something has happened to a connection that is nobody's yet.
    pub(super) fn handle_ready(&mut self, id: ConnectionId, event: ConnectionEvent) {
        let offering = self.ready.offering.as_mut().filter(|connection| connection.id() == id);
        match (event, offering, self.ready.answering.get_mut(&id)) {
            (ConnectionEvent::OfferCreated { sdp, .. }, Some(connection), _) => {
                let (id, handshake) = (self.permanent_id.clone(), connection.keep_offer(sdp));
                self.signal(ClientSignal::Hold { id, handshake });
            }
            (ConnectionEvent::AnswerForetold(sdp), _, Some((connection, foretold))) => {
                *foretold = Some(connection.foretell(sdp));
            }
            (ConnectionEvent::CandidateFound(candidate), Some(connection), _)
            | (ConnectionEvent::CandidateFound(candidate), _, Some((connection, _))) => {
                connection.keep_candidate(candidate);
            }
            (ConnectionEvent::Failed(_), Some(_), _) => self.discard_offer(),
            (ConnectionEvent::Failed(_), _, Some(_)) => {
                self.ready.answering.remove(&id);
                self.command(id, Command::Close);
            }
            _ => {}
        }
    }
}
