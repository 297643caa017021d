//! The client: commands and inputs in, outputs out.
//!
//! What it does with peers is in [`discovery`] (who is there), [`linking`] (connections), [`channel`] (frames) and
//! [`media`] (tracks).

use std::{collections::VecDeque, fmt};

use rtc_cafe_wire::{
    PermanentId, RoomId, Sid, TrackId,
    signal::{ClientSignal, ConnectionId, ServerSignal},
};

use crate::{
    config::Config,
    connection::Connection,
    event::{Definition, ErrorCode, Event, SignallerState},
    map::Map,
    output::{Command, ConnectionEvent, ConnectionState, Output},
    rng::Rng,
    roster::{PeerKey, Roster},
    time::Time,
    timers::{Timer, Timers},
};

mod channel;
mod discovery;
mod linking;
mod media;

pub use media::{AddTrackError, RequestTrackError};

/// To whom a message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipients {
    /// To every connected peer.
    All,
    /// To these peers.
    Only(Vec<Sid>),
}

/// Why a room could not be joined.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// There are as many rooms as [`Limits::rooms`](crate::Limits::rooms) allows.
    #[error("no more than {0} rooms can be joined at a time")]
    TooManyRooms(usize),
    /// The client, or its connection to the signalling server, was closed.
    #[error("the client is closed")]
    Closed,
}

/// Why a message, or one of its copies, was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// Nothing was sent: this is the sid of no connected peer.
    #[error("not connected to a peer with the sid {0}")]
    NotConnected(Sid),
    /// Nothing was sent: the message is longer than [`Limits::message_bytes`](crate::Limits::message_bytes).
    #[error("the message has {bytes} bytes of JSON; at most {max} are allowed")]
    TooLong {
        /// The message's length.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// These peers take messages slower than they are sent and were left out; the others got it.
    #[error("too much is waiting to be sent to {} of the peers", .0.len())]
    QueueFull(Vec<Sid>),
}

/// A client of RTCCafe, as a state machine. The crate's documentation says how to drive it.
pub struct Client {
    config: Config,
    rng: Rng,
    permanent_id: PermanentId,
    state: SignallerState,
    sid: Option<Sid>,
    /// The secret that proves the present session.
    session: Option<String>,
    /// The session before the present one, and its secret.
    previous: Option<(Sid, Option<String>)>,
    rooms: Map<RoomId, ()>,
    /// Our tracks.
    tracks: Map<TrackId, Definition>,
    roster: Roster,
    timers: Timers,
    next_connection: u32,
    closed: bool,
    outputs: VecDeque<Output>,
}

/// Neither secrets nor what people say to each other.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("sid", &self.sid).field("state", &self.state).finish_non_exhaustive()
    }
}

impl Client {
    /// A client that has joined nothing. Its permanent id comes from the seed, so the seed must be unpredictable
    /// outside of tests.
    pub fn new(config: Config, seed: [u8; 32]) -> Self {
        let mut rng = Rng::new(seed);
        let permanent_id = PermanentId::new(rng.hex(32)).expect("32 digits are neither none nor too many");
        Self {
            config,
            rng,
            permanent_id,
            state: SignallerState::default(),
            sid: None,
            session: None,
            previous: None,
            rooms: Map::default(),
            tracks: Map::default(),
            roster: Roster::default(),
            timers: Timers::default(),
            next_connection: 1,
            closed: false,
            outputs: VecDeque::new(),
        }
    }

    /// Joins a room, at once or as soon as there is a connection to the server, and again after every reconnection.
    /// Joining a room that was joined asks its members to answer again, which is harmless.
    pub fn join_room(&mut self, _now: Time, room: RoomId) -> Result<(), JoinError> {
        if self.closed || self.state == SignallerState::Closed {
            return Err(JoinError::Closed);
        }
        let max = self.config.limits.rooms;
        if !self.rooms.contains_key(&room) && self.rooms.len() >= max {
            return Err(JoinError::TooManyRooms(max));
        }
        self.rooms.insert(room.clone(), ());
        if self.state == SignallerState::Connected {
            self.send_join(room);
        }
        Ok(())
    }

    /// Sends a message, which is JSON text, to connected peers; in order, and once, as long as the connection lasts.
    pub fn send_message(&mut self, _now: Time, payload: &str, recipients: Recipients) -> Result<(), SendError> {
        let max = self.config.limits.message_bytes;
        if payload.len() > max {
            return Err(SendError::TooLong { bytes: payload.len(), max });
        }
        let keys = self.recipients(&recipients)?;
        let mut full = Vec::new();
        for key in keys {
            if !self.push_message(key, payload) {
                full.extend(self.roster.get(key).map(|peer| peer.sid.clone()));
            }
        }
        if full.is_empty() { Ok(()) } else { Err(SendError::QueueFull(full)) }
    }

    /// Whether a message of this length is taken for all of the recipients at present. What makes room for it is
    /// [`ConnectionEvent::ChannelBuffered`].
    ///
    /// # Errors
    /// Those of [`Client::send_message`] that waiting does not mend.
    pub fn has_room(&self, bytes: usize, recipients: &Recipients) -> Result<bool, SendError> {
        let limits = &self.config.limits;
        if bytes > limits.message_bytes {
            return Err(SendError::TooLong { bytes, max: limits.message_bytes });
        }
        let keys = self.recipients(recipients)?;
        Ok(keys.iter().all(|key| self.roster.get(*key).is_none_or(|peer| peer.mailbox.has_room(bytes, limits))))
    }

    fn recipients(&self, recipients: &Recipients) -> Result<Vec<PeerKey>, SendError> {
        let connected = |key: &PeerKey| self.roster.get(*key).is_some_and(|peer| peer.is_connected());
        match recipients {
            Recipients::All => Ok(self.roster.keys().into_iter().filter(connected).collect()),
            Recipients::Only(sids) => {
                let found = |sid: &Sid| self.roster.by_sid(sid).filter(connected);
                let key = |sid: &Sid| found(sid).ok_or_else(|| SendError::NotConnected(sid.clone()));
                let mut keys = Map::default();
                for sid in sids {
                    keys.insert(key(sid)?, ());
                }
                Ok(keys.keys().copied().collect())
            }
        }
    }

    /// Closes every connection, for good. The application is told of every peer that it loses by this.
    pub fn close(&mut self, _now: Time) {
        self.closed = true;
        self.rooms.clear();
        for key in self.roster.keys() {
            self.unlink(key);
            self.remove(key);
        }
    }

    /// The connection to the signalling server has another state. Its [`Session`](crate::Session) has already sent
    /// what begins a session.
    pub fn handle_signaller_state(&mut self, _now: Time, state: SignallerState) {
        if state == self.state {
            return;
        }
        self.state = state;
        self.event(Event::SignallerStateChanged { state });
        if state == SignallerState::Connected {
            self.previous = self.sid.clone().map(|sid| (sid, self.session.clone()));
            for room in self.rooms.keys().cloned().collect::<Vec<_>>() {
                self.send_join(room);
            }
        } else {
            self.lose_signaller();
        }
    }

    /// A signal has arrived from the server.
    pub fn handle_signal(&mut self, now: Time, signal: ServerSignal) {
        if self.closed {
            return;
        }
        match signal {
            ServerSignal::Sid { sid, ice_servers, session, .. } => self.handle_sid(sid, session, ice_servers),
            ServerSignal::AcquirePeers(newcomer) => self.handle_newcomer(now, newcomer),
            ServerSignal::AcquirePeersResponse(member) => self.handle_member(now, member),
            ServerSignal::Handshake { sid, id, handshake } => self.handle_handshake(now, &sid, id, handshake),
            ServerSignal::PeerDisconnection { sid } => self.handle_peer_disconnection(now, &sid),
            ServerSignal::Error { error, code, original_message, recipient } => match recipient {
                Some(sid) if code.as_deref() == Some("recipient-not-found") => {
                    self.handle_peer_disconnection(now, &sid);
                }
                recipient => {
                    let signal = original_message.unwrap_or_default();
                    let code = code.unwrap_or_default();
                    let message = ["the server refused \"", &signal, "\" (", &code, "): ", &error].concat();
                    self.error(ErrorCode::Signal, message, recipient);
                }
            },
            // The enum may grow.
            _ => {}
        }
    }

    /// The addresses of this machine, or the way to others, have changed: every connection looks for a new path.
    pub fn handle_network_change(&mut self, _now: Time) {
        for key in self.roster.keys() {
            self.negotiate(key, Connection::restart_ice);
        }
    }

    /// Something has happened to a peer connection. Events of connections that are closed are dropped.
    pub fn handle_connection(&mut self, now: Time, id: ConnectionId, event: ConnectionEvent) {
        let Some(key) = self.roster.by_connection(id) else { return };
        match event {
            ConnectionEvent::OfferCreated { sdp, mids } => {
                self.negotiate(key, |c, actions| c.handle_offer_created(sdp, mids, actions));
            }
            ConnectionEvent::AnswerCreated(sdp) => {
                self.negotiate(key, |c, actions| c.handle_answer_created(sdp, actions));
            }
            ConnectionEvent::CandidateFound(candidate) => {
                self.negotiate(key, |c, actions| c.handle_candidate_found(candidate, actions));
            }
            ConnectionEvent::Failed(reason) => self.fail(now, key, reason),
            ConnectionEvent::StateChanged(ConnectionState::Failed) => {
                self.fail(now, key, String::from("no path to the peer was found, or it was lost"));
            }
            ConnectionEvent::StateChanged(ConnectionState::Closed) | ConnectionEvent::ChannelClosed => {
                self.lose(now, key);
            }
            ConnectionEvent::StateChanged(_) => {}
            ConnectionEvent::TrackAdded(mid) => self.handle_track_added(key, mid),
            ConnectionEvent::ChannelOpen => self.handle_open(key),
            ConnectionEvent::ChannelMessage(frame) => self.handle_frame(now, key, &frame),
            ConnectionEvent::ChannelBuffered(bytes) => self.handle_buffered(now, key, bytes),
        }
    }

    /// The time that [`Client::poll_timeout`] named has come; being early or late is harmless.
    pub fn handle_timeout(&mut self, now: Time) {
        while let Some((key, timer)) = self.timers.pop(now) {
            match timer {
                Timer::Offer => self.offer(now, key),
                Timer::Connect if self.roster.get(key).is_some_and(|peer| peer.present) => {
                    self.fail(now, key, String::from("the connection did not open in time"));
                }
                // The peer left in the middle of the handshake, or is silent.
                Timer::Connect | Timer::Pong => self.lose(now, key),
                Timer::Stall | Timer::Overflow => self.overflow(now, key),
            }
        }
    }

    /// What to do next; to be called until it returns `None`, after every other call.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Whether [`Client::poll`] would return something.
    pub fn has_output(&self) -> bool {
        !self.outputs.is_empty()
    }

    /// When to call [`Client::handle_timeout`], if nothing else happens.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.timers.next()
    }

    /// The session's id; `None` until the server gave the first.
    pub const fn sid(&self) -> Option<&Sid> {
        self.sid.as_ref()
    }

    /// The id by which peers know this client all its life.
    pub const fn permanent_id(&self) -> &PermanentId {
        &self.permanent_id
    }

    /// The state of the connection to the signalling server.
    pub const fn state(&self) -> SignallerState {
        self.state
    }

    /// The rooms that were joined.
    pub fn rooms(&self) -> impl Iterator<Item = &RoomId> {
        self.rooms.keys()
    }

    /// The peers to whom messages flow.
    pub fn connected_peers(&self) -> impl Iterator<Item = &Sid> {
        self.roster.iter().filter(|(_, peer)| peer.is_connected()).map(|(_, peer)| &peer.sid)
    }

    /// The peers that are known to be there, connected or not.
    pub fn discovered_peers(&self) -> impl Iterator<Item = &Sid> {
        self.roster.iter().map(|(_, peer)| &peer.sid)
    }

    /// The connection to a connected peer.
    pub fn connection_of(&self, sid: &Sid) -> Option<ConnectionId> {
        let peer = self.roster.get(self.roster.by_sid(sid)?).filter(|peer| peer.is_connected())?;
        peer.connection.as_ref().map(Connection::id)
    }

    /// Bytes of messages that wait for data channels, over all peers.
    pub fn waiting_bytes(&self) -> usize {
        self.roster.iter().map(|(_, peer)| peer.mailbox.waiting_bytes()).sum()
    }

    fn send_join(&mut self, room: RoomId) {
        let (prev_sid, prev_session) = self.previous.clone().unzip();
        let id = self.permanent_id.clone();
        self.signal(ClientSignal::Join { room, id, prev_sid, prev_session: prev_session.flatten() });
    }

    /// Sends a signal; without a connection to the server it is dropped, and what matters is sent again afterwards.
    fn signal(&mut self, signal: ClientSignal) {
        if self.state == SignallerState::Connected {
            self.outputs.push_back(Output::Signal(signal));
        }
    }

    fn command(&mut self, id: ConnectionId, command: Command) {
        self.outputs.push_back(Output::Connection(id, command));
    }

    fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    fn error(&mut self, code: ErrorCode, message: String, sid: Option<Sid>) {
        self.event(Event::Error { code, message, sid });
    }
}
