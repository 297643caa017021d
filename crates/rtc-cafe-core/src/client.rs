//! The client: commands and inputs in, outputs out.
//!
//! What it does with peers is in [`discovery`] (who is there), [`linking`] (connections and handshakes), [`recovery`]
//! (when they are lost), [`quiet`] (when they say nothing), [`routing`] (handshakes over mutual peers), [`channel`] (frames),
//! [`intake`] (what is taken of them) and [`media`] (tracks).

use std::fmt;

use rtc_cafe_wire::{
    PermanentId, RoomId, Sid, TrackId,
    json::{self, decimal},
    signal::{ClientSignal, ConnectionId, ServerSignal, name},
};

use crate::{
    config::Config,
    event::{Definition, ErrorCode, Event, SignallerState},
    mailbox::Undelivered,
    map::Map,
    output::{Command, ConnectionEvent, Output},
    payload::Kept,
    peer::Peer,
    queue::Queue,
    report::ConnectionReport,
    rng::Rng,
    roster::{PeerKey, Roster},
    time::Time,
    timers::{Timer, Timers},
};

mod channel;
mod discovery;
mod intake;
mod linking;
mod media;
mod quiet;
mod ready;
mod recovery;
mod routing;
mod shortcut;

pub use intake::Intake;
pub use media::{AddTrackError, RequestTrackError};
use ready::Ready;

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
#[error("{}", self.message())]
#[non_exhaustive]
pub enum JoinError {
    /// There are as many rooms as [`Limits::rooms`](crate::Limits::rooms) allows.
    TooManyRooms(usize),
    /// The client, or its connection to the signalling server, was closed.
    Closed,
}

impl JoinError {
    /// What `Display` shows, put together without the formatting machinery, which browsers would have to load.
    pub fn message(&self) -> String {
        match self {
            Self::TooManyRooms(max) => {
                json::concat(&["no more than ", &decimal(*max), " rooms can be joined at a time"])
            }
            Self::Closed => "the client is closed".to_owned(),
        }
    }
}

/// Why a message, or one of its copies, was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.message())]
#[non_exhaustive]
pub enum SendError {
    /// Nothing was sent: this is the sid of no connected peer.
    NotConnected(Sid),
    /// Nothing was sent: the message is longer than 16 MiB, or than
    /// [`Limits::outgoing_bytes`](crate::Limits::outgoing_bytes).
    TooLong {
        /// The message's length.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// These peers take messages slower than they are sent and were left out; the others got it.
    QueueFull(Vec<Sid>),
}

impl SendError {
    /// What `Display` shows, put together without the formatting machinery, which browsers would have to load.
    pub fn message(&self) -> String {
        match self {
            Self::NotConnected(sid) => json::concat(&["not connected to a peer with the sid ", sid.as_str()]),
            Self::TooLong { bytes, max } => {
                let (bytes, max) = (decimal(*bytes), decimal(*max));
                json::concat(&["the message has ", &bytes, " bytes of JSON; at most ", &max, " are allowed"])
            }
            Self::QueueFull(peers) => {
                json::concat(&["too much is waiting to be sent to ", &decimal(peers.len()), " of the peers"])
            }
        }
    }
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
    /// Whether each room was joined on the present connection to the server.
    rooms: Map<RoomId, bool>,
    /// Rooms were joined before the server had let us in.
    ahead: bool,
    /// Connections that wait for somebody.
    ready: Ready,
    /// Those of them that were left before it had.
    left_ahead: Vec<RoomId>,
    /// Our tracks.
    tracks: Map<TrackId, Definition>,
    intake: Intake,
    roster: Roster,
    kept: Kept,
    timers: Timers,
    next_connection: u32,
    closed: bool,
    /// The time as it was told last.
    now: Time,
    /// Timers that came late were given some more time.
    overslept: bool,
    /// Whom we are connected to in a room or not any more, since peers were told last.
    news: Vec<(PermanentId, RoomId, Option<Sid>)>,
    /// Whether peers have told us of somebody for whom there was no room.
    unmet: bool,
    /// Numbers what we send over mutual peers.
    relayed: u32,
    /// What was passed on or taken last, in a ring, and where the next is put.
    seen: Vec<u64>,
    next_seen: usize,
    outputs: Queue<Output>,
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
        let Some(permanent_id) = PermanentId::new(rng.hex(32)) else {
            unreachable!("32 digits are neither none nor too many");
        };
        let first = config.incarnation.saturating_add(1);
        Self {
            config,
            rng,
            permanent_id,
            state: SignallerState::default(),
            sid: None,
            session: None,
            previous: None,
            rooms: Map::default(),
            ahead: false,
            left_ahead: Vec::new(),
            ready: Ready::default(),
            tracks: Map::default(),
            intake: Intake::default(),
            roster: Roster::new(first),
            kept: Kept::default(),
            timers: Timers::default(),
            next_connection: first,
            closed: false,
            now: Time::default(),
            overslept: false,
            news: Vec::new(),
            unmet: false,
            relayed: first,
            seen: Vec::new(),
            next_seen: 0,
            outputs: Queue::default(),
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
        let connected = self.state == SignallerState::Connected;
        self.rooms.insert(room.clone(), connected);
        if connected {
            self.send_join(room);
        } else {
            self.foretell();
        }
        Ok(())
    }

    /// Sends a message, which is JSON text, to connected peers; in order, and once, over however many connections it
    /// takes. If a peer is gone before it has confirmed it, [`Event::MessageUndelivered`] tells; so it does at once if
    /// there is no room for it because the peer sleeps or cannot be reached.
    pub fn send_message(&mut self, now: Time, payload: &str, recipients: Recipients) -> Result<(), SendError> {
        self.now = now;
        let max = self.config.limits.message_bytes();
        if payload.len() > max {
            return Err(SendError::TooLong { bytes: payload.len(), max });
        }
        let keys = self.recipients(&recipients)?;
        let mut full = Vec::new();
        let spare = self.has_spare(payload.len());
        let payload = self.kept.payload(payload);
        for key in keys {
            if self.push_message(key, &payload, spare) {
                continue;
            }
            if self.roster.get(key).is_some_and(Peer::is_responsive) {
                full.extend(self.roster.get(key).map(|peer| peer.sid.clone()));
            } else {
                self.tell_undelivered(key, vec![Undelivered { payload: payload.clone(), may_have_arrived: false }]);
            }
        }
        if full.is_empty() { Ok(()) } else { Err(SendError::QueueFull(full)) }
    }

    /// Whether a message of this length can be sent to the recipients at present, without one that takes messages slower
    /// than they are sent. What makes room for it is a peer's confirmation, which is a
    /// [`ConnectionEvent::ChannelMessage`], or the time after which nobody waits for one.
    ///
    /// # Errors
    /// Those of [`Client::send_message`] that waiting does not mend.
    pub fn has_room(&self, bytes: usize, recipients: &Recipients) -> Result<bool, SendError> {
        let limits = &self.config.limits;
        if bytes > limits.message_bytes() {
            return Err(SendError::TooLong { bytes, max: limits.message_bytes() });
        }
        let keys = self.recipients(recipients)?;
        let spare = self.has_spare(bytes);
        let takes = |peer: &Peer| self.has_room_for(peer, bytes, spare) || !peer.is_responsive();
        Ok(keys.iter().all(|key| self.roster.get(*key).is_none_or(takes)))
    }

    /// Whether a message of this length may be kept, however much is kept for each peer.
    fn has_spare(&self, bytes: usize) -> bool {
        self.kept.bytes().saturating_add(bytes) <= self.config.limits.kept_bytes
    }

    /// Whether a message of this length may be kept for a peer. Where nothing is spare, each has its share, so that those
    /// who do not listen do not keep the others from it.
    fn has_room_for(&self, peer: &Peer, bytes: usize, spare: bool) -> bool {
        let limits = &self.config.limits;
        let share = limits.kept_bytes / self.roster.len().max(1);
        peer.mailbox.has_room(bytes, if spare { limits.outgoing_bytes } else { limits.outgoing_bytes.min(share) })
    }

    fn recipients(&self, recipients: &Recipients) -> Result<Vec<PeerKey>, SendError> {
        let connected = |key: &PeerKey| self.roster.get(*key).is_some_and(|peer| peer.connected);
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
    pub fn close(&mut self, now: Time) {
        self.now = now;
        self.closed = true;
        self.rooms.clear();
        for key in self.roster.keys() {
            self.leave(now, key);
        }
        for key in self.roster.absent_keys() {
            self.end_doubt(key);
        }
        self.news.clear();
        self.discard_ready();
        for timer in [Timer::Gossip, Timer::Quiet, Timer::Ready, Timer::Unused] {
            self.timers.cancel(PeerKey::NOBODY, timer);
        }
    }

    /// The connection to the signalling server has another state. Its [`Session`](crate::Session) has already sent
    /// what begins a session.
    pub fn handle_signaller_state(&mut self, now: Time, state: SignallerState) {
        self.now = now;
        if state == self.state {
            return;
        }
        self.state = state;
        self.event(Event::SignallerStateChanged { state });
        let ahead = std::mem::take(&mut self.ahead);
        if state == SignallerState::Connected {
            if !ahead {
                self.begin_session();
            }
            for room in std::mem::take(&mut self.left_ahead) {
                if !self.rooms.contains_key(&room) {
                    self.outputs.push(Output::Signal(ClientSignal::Leave { room }));
                }
            }
            self.join_rooms();
        } else {
            self.lose_signaller(now);
        }
    }

    /// There is a new connection to the signalling server, which has yet to let us in, and takes what we say. Optional:
    /// what is said now need not be said when it has. Its [`Session`](crate::Session) has already sent what begins a
    /// session.
    pub fn handle_signaller_opened(&mut self, now: Time) {
        self.now = now;
        self.ahead = true;
        self.begin_session();
        self.join_rooms();
    }

    fn begin_session(&mut self) {
        self.left_ahead.clear();
        self.previous = self.sid.clone().map(|sid| (sid, self.session.clone()));
        for joined in self.rooms.values_mut() {
            *joined = false;
        }
    }

    /// Joins every room that was not joined on this connection to the server.
    fn join_rooms(&mut self) {
        let mut due = Vec::new();
        for (room, joined) in self.rooms.iter() {
            if !*joined {
                due.push(room.clone());
            }
        }
        for room in due {
            self.rooms.insert(room.clone(), true);
            self.send_join(room);
        }
    }

    /// A signal has arrived from the server.
    pub fn handle_signal(&mut self, now: Time, signal: ServerSignal) {
        self.now = now;
        if self.closed {
            return;
        }
        match signal {
            ServerSignal::Sid { sid, ice_servers, session, api_version } => {
                self.handle_sid(now, sid, session, ice_servers);
                self.handle_version(now, api_version);
            }
            ServerSignal::AcquirePeers(newcomer) => self.handle_newcomer(now, newcomer),
            ServerSignal::AcquirePeersResponse(member) => self.handle_member(now, member),
            ServerSignal::Handshake { sid, id, handshake } => self.handle_signalled(now, &sid, id, handshake),
            ServerSignal::PeerDisconnection { sid } => self.handle_peer_disconnection(now, &sid),
            // It goes without.
            ServerSignal::Error { original_message: Some(signal), .. } if signal == name::HOLD => self.hold_nothing(),
            ServerSignal::Error { error, code, original_message, recipient } => match recipient {
                Some(sid) if code.as_deref() == Some("recipient-not-found") => {
                    self.handle_peer_disconnection(now, &sid);
                }
                recipient => {
                    let signal = original_message.unwrap_or_default();
                    let code = code.unwrap_or_default();
                    let message = json::concat(&["the server refused \"", &signal, "\" (", &code, "): ", &error]);
                    self.error(ErrorCode::Signal, message, recipient);
                }
            },
            // The enum may grow.
            _ => {}
        }
    }

    /// Something has happened to a peer connection. Events of connections that are closed are dropped.
    pub fn handle_connection(&mut self, now: Time, id: ConnectionId, event: ConnectionEvent) {
        self.now = now;
        let Some(key) = self.roster.by_connection(id) else { return self.handle_ready(id, event) };
        match event {
            ConnectionEvent::AnswerForetold(_) => {}
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
            ConnectionEvent::StateChanged(state) => self.handle_connection_state(now, key, state),
            ConnectionEvent::ChannelClosed => self.hang_up(now, key),
            ConnectionEvent::TrackAdded(mid) => self.handle_track_added(key, mid),
            ConnectionEvent::ChannelOpen => self.handle_open(key),
            ConnectionEvent::ChannelMessage(frame) => self.handle_frame(now, key, &frame),
            ConnectionEvent::ChannelBuffered(bytes) => self.handle_buffered(now, key, bytes),
            ConnectionEvent::ChannelStalled => self.handle_stall(now, key),
            ConnectionEvent::PathChanged { relayed } => self.handle_path(now, key, relayed),
        }
    }

    /// The time that [`Client::poll_timeout`] named has come; being early or late is harmless.
    pub fn handle_timeout(&mut self, now: Time) {
        self.now = now;
        if self.has_overslept(now) {
            return;
        }
        while let Some((key, timer)) = self.timers.pop(now) {
            match timer {
                Timer::Offer => self.offer(now, key),
                Timer::Connect if self.is_reachable(key) => {
                    self.fail_to_connect(now, key, "the connection did not open in time");
                }
                // The peer left in the middle of the handshake.
                Timer::Connect => self.lose(now, key),
                Timer::Resend => self.resend(now, key),
                Timer::Pong => self.handle_silence(now, key),
                Timer::Probe => self.handle_stuck(now, key),
                Timer::Recover => self.recover(now, key),
                Timer::Shortcut => self.seek_shortcut(now, key),
                Timer::Farewell => self.bid_farewell(now, key),
                Timer::Ack => self.acknowledge(now, key),
                Timer::Doubt => self.end_doubt(key),
                Timer::Gossip => self.tell_news(),
                Timer::Stuck => self.set_stuck(now, key),
                Timer::Quiet => self.ask_quiet(now),
                Timer::Ready => self.prepare(now),
                Timer::Unused => self.forget_answers(),
                Timer::Stall | Timer::Overflow => self.overflow(now, key),
            }
        }
    }

    /// What to do next; to be called until it returns `None`, after every other call.
    pub fn poll(&mut self) -> Option<Output> {
        let output = self.outputs.pop()?;
        if let Output::Connection(id, Command::Send(frame)) = &output
            && let Some(peer) = self.roster.by_connection(*id).and_then(|key| self.roster.get_mut(key))
        {
            peer.mailbox.fetched(frame.len());
        }
        Some(output)
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

    /// The peers to whom messages flow, or will flow again as soon as their connections have recovered.
    ///
    /// This is so at present: what one input has changed is all in it, before the first of the events that tell of it is
    /// polled. Whoever an event says is connected, has another sid or has spoken is in it, and who is disconnected from is
    /// not; others may be ahead of events that are yet to be polled. When nothing is left to poll it is what events told.
    pub fn connected_peers(&self) -> impl Iterator<Item = &Sid> {
        self.roster.iter().filter(|(_, peer)| peer.connected).map(|(_, peer)| &peer.sid)
    }

    /// The peers that are known to be there, connected or not: those of [`Client::connected_peers`], and more.
    pub fn discovered_peers(&self) -> impl Iterator<Item = &Sid> {
        self.roster.iter().map(|(_, peer)| &peer.sid)
    }

    /// The present connection to a peer, open or not, or else the last one that there was.
    pub fn connection_of(&self, sid: &Sid) -> Option<ConnectionId> {
        let peer = self.roster.get(self.roster.by_sid(sid)?)?;
        peer.history.connection
    }

    /// What has happened to the connection with a peer that is discovered.
    pub fn connection_report(&self, now: Time, sid: &Sid) -> Option<ConnectionReport> {
        Some(self.roster.get(self.roster.by_sid(sid)?)?.history.report(now))
    }

    /// Bytes that peers have not confirmed yet, over all of them.
    pub fn waiting_bytes(&self) -> usize {
        self.roster.iter().map(|(_, peer)| peer.mailbox.waiting_bytes()).sum()
    }

    fn send_join(&mut self, room: RoomId) {
        let (prev_sid, prev_session) = self.previous.clone().unzip();
        let id = self.permanent_id.clone();
        let (answers, informed) = (self.take_answers(prev_sid.is_some()), self.sid.is_some());
        let prev_session = prev_session.flatten();
        self.outputs.push(Output::Signal(ClientSignal::Join { room, id, prev_sid, prev_session, answers, informed }));
        self.prepare_later();
    }

    /// Sends a signal; without a connection to the server it is dropped, and what matters is sent again afterwards.
    fn signal(&mut self, signal: ClientSignal) {
        if self.state == SignallerState::Connected {
            self.outputs.push(Output::Signal(signal));
        }
    }

    fn command(&mut self, id: ConnectionId, command: Command) {
        self.outputs.push(Output::Connection(id, command));
    }

    fn event(&mut self, event: Event) {
        self.outputs.push(Output::Event(event));
    }

    fn error(&mut self, code: ErrorCode, message: String, sid: Option<Sid>) {
        self.event(Event::Error { code, message, sid });
    }
}
