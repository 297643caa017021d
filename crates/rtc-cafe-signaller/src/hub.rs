//! Decides everything: who is in which room, what a signal becomes, who gets it. No I/O, no clock, no threads.
//!
//! Call [`Hub::connect`], [`Hub::handle_event`] and [`Hub::disconnect`] as things happen, and take what is to be done
//! from [`Hub::poll`] until it is empty. The same seed and the same calls give the same outputs.
//!
//! Several hubs make one server, once each has been told so by [`Hub::connect_nodes`]: what one publishes under a
//! [`Topic`] is for [`Hub::handle_frame`] of those that have subscribed to it.

use std::{
    collections::{BTreeMap, HashMap, VecDeque, hash_map::DefaultHasher},
    hash::BuildHasherDefault,
    sync::Arc,
    time::Duration,
};

use rtc_cafe_wire::{
    ApiVersion, RoomId, json,
    signal::{name, server},
};

pub use config::HubConfig;
pub(crate) use mint::Mint;
pub use nodes::{NodeStats, Topic};
pub use overview::{Kicked, MemberOverview, Part, Place, RoomOverview, needle};
pub use permit::{Permit, RoomRule};
#[cfg(feature = "server")]
pub(crate) use {
    events::read_room,
    refusal::{Refusal as HubRefusal, argument as read_argument},
};

use self::{
    account::{Account, Rate, announcing, price},
    ended::{Ended, Session},
    frames::Frames,
    nodes::{Away, Claim, Nodes},
    refusal::Refusal,
    slab::Slab,
};
use crate::ErrorCode;

mod account;
mod bucket;
mod config;
mod ended;
mod events;
mod frames;
mod matching;
mod mint;
mod nodes;
mod overview;
mod permit;
mod refusal;
mod slab;
mod standing;

#[cfg(test)]
mod tests;

/// Names a connected socket inside of this process; peers know it by its sid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId {
    index: u32,
    generation: u32,
}

impl SocketId {
    /// A small number that no other connected socket has; it is used again after the socket has gone.
    pub const fn index(self) -> usize {
        self.index as usize
    }
}

/// Names a connection: whatever sockets it has share one allowance.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId(u32);

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Output {
    /// Send an event to a socket.
    Emit {
        /// The socket.
        to: SocketId,
        /// The name of the event.
        event: &'static str,
        /// The event's only argument, as JSON; everybody who gets the same one shares it.
        payload: Arc<str>,
    },
    /// Close a socket, of which the hub knows nothing any more: its client has proven that it has a newer one, or is kicked.
    Disconnect {
        /// The socket.
        socket: SocketId,
    },
    /// Hand to [`Hub::handle_frame`] what is published under a topic from now on, before anything else is published.
    Subscribe {
        /// The topic.
        topic: Topic,
    },
    /// What is published under a topic is of no interest any more.
    Unsubscribe {
        /// The topic.
        topic: Topic,
    },
    /// Publish a frame for other nodes, in the order of these outputs.
    Publish {
        /// The topic.
        topic: Topic,
        /// The frame.
        frame: Box<str>,
        /// The attachments of the event that was just handled go with it.
        attachments: bool,
    },
}

/// How much there is of everything, and how much there was.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct HubStats {
    /// Connected sockets.
    pub sockets: usize,
    /// Rooms with somebody in them.
    pub rooms: usize,
    /// Ended sessions that are remembered.
    pub remembered: usize,
    /// Events that clients sent.
    pub received: u64,
    /// Events that were sent to clients.
    pub emitted: u64,
    /// Events that were refused, by code, in the order of [`ErrorCode::ALL`].
    pub refused: Vec<u64>,
    /// Sessions that were ended by an operator.
    pub kicked: u64,
}

#[derive(Debug)]
struct Socket {
    generation: u32,
    sid: Arc<str>,
    version: ApiVersion,
    session: Session,
    /// What proves its successor, if it is one of version 1.0; the session has the hash of it.
    secret: Option<Box<str>>,
    /// Indices of rooms, sorted.
    rooms: Vec<u32>,
    account: u32,
    /// The account ends with the socket.
    sole: bool,
    /// Its connection is over, and it is kept for the rooms into which its client has yet to come back.
    kept: bool,
    /// The offer for the next newcomer, as it came.
    held: Option<Box<str>>,
    /// What it may do, where that is not everything.
    permit: Option<Box<Permit>>,
}

#[derive(Debug)]
struct Room {
    id: RoomId,
    /// In the order of joining.
    members: Vec<Seat>,
    /// Counts when this node entered the room.
    entry: u64,
    /// The members on other nodes.
    away: Vec<Away>,
}

/// A membership of a room. What only other nodes are interested in is not set while there are none.
#[derive(Debug, Clone)]
struct Seat {
    socket: SocketId,
    joined: u64,
    claim: Option<Box<Claim>>,
}

impl Room {
    /// Members on all nodes, each client once.
    fn population(&self) -> usize {
        self.members.len() + self.away.iter().map(Away::len).sum::<usize>()
    }

    /// The members here.
    fn sockets(&self) -> Vec<SocketId> {
        self.members.iter().map(|seat| seat.socket).collect()
    }
}

/// The server's hub.
#[derive(Debug)]
pub struct Hub {
    config: HubConfig,
    mint: Mint,
    generation: u32,
    accounts: Slab<Account>,
    sockets: Slab<Socket>,
    /// Only looked up, never walked; sids are minted here, so nobody can choose keys that collide.
    sids: HashMap<Arc<str>, SocketId, BuildHasherDefault<DefaultHasher>>,
    rooms: Slab<Room>,
    room_names: BTreeMap<RoomId, u32>,
    ended: Ended,
    /// Those that are kept, and until when, soonest first.
    moving: VecDeque<(Duration, SocketId)>,
    /// Where this is one node among several.
    nodes: Option<Box<Nodes>>,
    outputs: VecDeque<Output>,
    received: u64,
    emitted: u64,
    refused: Vec<u64>,
    kicked: u64,
}

impl Hub {
    /// Makes a hub without sockets. The seed must come from a secure source: sids and secrets are derived from it.
    pub fn new(config: HubConfig, seed: [u8; 32]) -> Self {
        Self {
            config,
            mint: Mint::new(seed),
            generation: 0,
            accounts: Slab::new(),
            sockets: Slab::new(),
            sids: HashMap::default(),
            rooms: Slab::new(),
            room_names: BTreeMap::new(),
            ended: Ended::default(),
            moving: VecDeque::new(),
            nodes: None,
            outputs: VecDeque::new(),
            received: 0,
            emitted: 0,
            refused: vec![0; ErrorCode::ALL.len()],
            kicked: 0,
        }
    }

    /// Adds a connection, on which sockets come and go.
    pub fn open(&mut self) -> ConnectionId {
        ConnectionId(self.accounts.insert(Account::default()))
    }

    /// Forgets a connection, whose sockets are disconnected already.
    pub fn close(&mut self, connection: ConnectionId) {
        self.accounts.remove(connection.0);
    }

    /// Charges a connection for bytes that are no event; `false` if it has sent too much.
    pub fn charge(&mut self, now: Duration, connection: &ConnectionId, bytes: usize) -> bool {
        self.take(now, connection.0, price(bytes))
    }

    /// Charges a connection for as many events, however little it has left.
    pub fn fine(&mut self, now: Duration, connection: &ConnectionId, events: u32) {
        let default = self.rate();
        if let Some(account) = self.accounts.get_mut(connection.0) {
            account.owe(now, events, default);
        }
    }

    /// Adds a socket that speaks the version until it agrees on another; one of 0.0 is told its sid right away.
    /// It has a connection of its own.
    pub fn connect(&mut self, version: ApiVersion) -> SocketId {
        let account = self.accounts.insert(Account::default());
        self.add(version, account, true)
    }

    /// Adds a socket to a connection, which [`Self::charge`] has let through.
    pub fn connect_on(&mut self, connection: &ConnectionId, version: ApiVersion) -> SocketId {
        self.add(version, connection.0, false)
    }

    fn add(&mut self, version: ApiVersion, account: u32, sole: bool) -> SocketId {
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let sid: Arc<str> = self.mint.text::<20>().into();
        let session = Session { id: None, proof: None };
        let rooms = Vec::new();
        let (secret, held, permit, kept) = (None, None, None, false);
        let socket =
            Socket { generation, sid: sid.clone(), version, session, secret, rooms, account, sole, kept, held, permit };
        let id = SocketId { index: self.sockets.insert(socket), generation };
        if version == ApiVersion::V0_0 {
            self.emit(id, name::SID, server::sid(&sid).into());
        }
        self.sids.insert(sid, id);
        id
    }

    /// The sid under which peers know a socket; `None` after it has gone.
    pub fn sid(&self, socket: SocketId) -> Option<&str> {
        self.socket(socket).map(|socket| &*socket.sid)
    }

    /// Takes an event that a client sent. `payload` is the text of its arguments; there should be one, in JSON.
    ///
    /// Whatever is wrong with it is told to the client by an `error` event.
    pub fn handle_event(&mut self, now: Duration, socket: SocketId, event: &str, payload: &str) {
        if self.admit(now, socket, event, payload.len()) {
            self.handle_admitted(now, socket, event, payload);
        }
    }

    /// The first half of [`Self::handle_event`]: counts and charges an event of so many bytes. `false` if the client
    /// sends too much, which it is told.
    pub fn admit(&mut self, now: Duration, socket: SocketId, event: &str, bytes: usize) -> bool {
        if self.socket(socket).is_none() {
            return false;
        }
        self.received += 1;
        let spent = self.spend(now, socket, price(bytes));
        if let Err(refusal) = &spent {
            self.tell(socket, event, refusal);
        }
        spent.is_ok()
    }

    /// The second half of [`Self::handle_event`].
    pub fn handle_admitted(&mut self, now: Duration, socket: SocketId, event: &str, payload: &str) {
        if self.socket(socket).is_some()
            && let Err(refusal) = self.dispatch(now, socket, event, payload)
        {
            self.tell(socket, event, &refusal);
        }
    }

    /// The same for `request-sid`, with a JSON array of `RTCIceServer` that is for this client alone. One whose permit has
    /// ended is told those for all.
    pub fn handle_session_request(&mut self, now: Duration, socket: SocketId, payload: &str, ice_servers: &str) {
        let for_all = self.has_expired(now, socket).then(|| self.config.ice_servers.clone());
        if self.socket(socket).is_some()
            && let Err(refusal) = self.request_sid(socket, payload, for_all.as_deref().unwrap_or(ice_servers))
        {
            self.tell(socket, name::REQUEST_SID, &refusal);
        }
    }

    /// Those that are connected here.
    pub fn socket_ids(&self) -> impl Iterator<Item = SocketId> {
        self.sockets.iter().map(|(index, socket)| SocketId { index, generation: socket.generation })
    }

    /// Tells a client of version 1.0, which has a session, other ICE servers, unless its permit has ended.
    pub fn renew_ice_servers(&mut self, now: Duration, socket: SocketId, ice_servers: &str) {
        if self.has_expired(now, socket) {
            return;
        }
        let Some(known) = self.socket(socket) else { return };
        if let Some(secret) = &known.secret {
            let renewed = server::session(&known.sid, known.version, secret, ice_servers);
            self.emit(socket, name::SID, renewed.into());
        }
    }

    /// Refuses an admitted event that could not be read; `reason` is a sentence that says what is wrong.
    pub fn refuse(&mut self, socket: SocketId, event: &str, code: ErrorCode, reason: &str) {
        if self.socket(socket).is_some() {
            self.tell(socket, event, &Refusal::new(code, reason.to_owned()));
        }
    }

    /// Refuses an admitted event on behalf of the application; `reason` is its own JSON.
    pub fn reject(&mut self, socket: SocketId, event: &str, code: ErrorCode, reason: &str) {
        if self.socket(socket).is_some() {
            self.tell_json(socket, event, code, reason, None);
        }
    }

    /// The JSON of the id that a socket has named.
    pub fn id(&self, socket: SocketId) -> Option<Arc<str>> {
        self.socket(socket).and_then(|socket| socket.session.id.clone())
    }

    /// Takes a socket out of all its rooms and tells their members. Does nothing if it has gone already.
    pub fn disconnect(&mut self, now: Duration, socket: SocketId) {
        self.remove(now, socket, None);
    }

    /// Keeps a socket whose connection this node has ended, for its client is about to come back elsewhere. Returns whether
    /// it is kept: then nobody hears of its end before it has come back, or [`Self::disconnect`] is called.
    ///
    /// Where there are other nodes, only who can prove to be its successor is kept; others could not come back before it
    /// has ended.
    pub fn set_aside(&mut self, socket: SocketId) -> bool {
        let is_alone = self.nodes.is_none();
        let Some(socket) = self.socket_mut(socket) else { return false };
        socket.held = None;
        is_alone || socket.session.proof.is_some()
    }

    /// The next thing to be done.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// How much there is of everything.
    pub fn stats(&self) -> HubStats {
        HubStats {
            sockets: self.sockets.len(),
            rooms: self.rooms.len(),
            remembered: self.ended.len() + self.nodes.as_deref().map_or(0, |nodes| nodes.ended.len()),
            received: self.received,
            emitted: self.emitted,
            refused: self.refused.clone(),
            kicked: self.kicked,
        }
    }

    /// Removes a socket; `except` does not hear of it.
    fn remove(&mut self, now: Duration, id: SocketId, except: Option<SocketId>) {
        if self.socket(id).is_none() {
            return;
        }
        let Some(socket) = self.sockets.remove(id.index) else { return };
        self.sids.remove(&socket.sid);
        if socket.kept {
            self.moving.retain(|&(_, moving)| moving != id);
        }
        let account = self.accounts.get_mut(socket.account).filter(|_| !socket.rooms.is_empty());
        let remember = account.is_some_and(Account::remember);
        self.tell_gone(&socket.rooms, &socket.sid, remember);
        let payload: Arc<str> = server::peer_disconnection(&socket.sid).into();
        let mut cost = 0_u32;
        for &index in &socket.rooms {
            let population = self.rooms.get(index).map_or(0, Room::population);
            cost = cost.saturating_add(announcing(population.saturating_sub(1)));
            self.leave(index, id);
            let members = self.rooms.get(index).map(Room::sockets).unwrap_or_default();
            for member in members.into_iter().filter(|&member| Some(member) != except) {
                self.emit(member, name::PEER_DISCONNECTION, payload.clone());
            }
        }
        let default = self.rate();
        if let Some(account) = self.accounts.get_mut(socket.account) {
            account.owe(now, cost.max(1), default);
        }
        if socket.sole {
            self.accounts.remove(socket.account);
        }
        if remember {
            self.ended.insert(now, socket.sid, socket.session, self.config.remembered_sessions);
        }
        self.ended.expire(now, self.config.remembered_for);
    }

    fn leave(&mut self, index: u32, id: SocketId) {
        let Some(room) = self.rooms.get_mut(index) else { return };
        room.members.retain(|seat| seat.socket != id);
        if room.members.is_empty()
            && let Some(room) = self.rooms.remove(index)
        {
            self.room_names.remove(&room.id);
            self.close_room(index, room);
        }
    }

    fn socket(&self, id: SocketId) -> Option<&Socket> {
        self.sockets.get(id.index).filter(|socket| socket.generation == id.generation)
    }

    fn socket_mut(&mut self, id: SocketId) -> Option<&mut Socket> {
        self.sockets.get_mut(id.index).filter(|socket| socket.generation == id.generation)
    }

    /// Whether the two are in one room.
    fn share_a_room(&self, a: SocketId, b: SocketId) -> bool {
        let rooms = |id| self.socket(id).map_or(&[][..], |socket| &socket.rooms);
        let (few, many) = (rooms(a), rooms(b));
        few.iter().any(|room| many.binary_search(room).is_ok())
    }

    fn spend(&mut self, now: Duration, id: SocketId, tokens: u32) -> Result<(), Refusal> {
        let Some(account) = self.socket(id).map(|socket| socket.account) else { return Ok(()) };
        if self.take(now, account, tokens) {
            return Ok(());
        }
        let rate =
            self.accounts.get(account).and_then(|account| account.rate).unwrap_or_else(|| self.rate()).per_second;
        let reason = format!("too many events: {rate} in a second are allowed in the long run; slow down");
        Err(Refusal::new(ErrorCode::RateLimited, reason))
    }

    fn take(&mut self, now: Duration, account: u32, tokens: u32) -> bool {
        let default = self.rate();
        self.accounts.get_mut(account).is_none_or(|account| {
            let Rate { per_second, burst } = account.rate.unwrap_or(default);
            account.bucket.take(now, tokens, per_second, burst)
        })
    }

    /// How much a connection may send.
    const fn rate(&self) -> Rate {
        Rate { per_second: self.config.events_per_second, burst: self.config.burst }
    }

    fn emit(&mut self, to: SocketId, event: &'static str, payload: Arc<str>) {
        if self.socket(to).is_some_and(|socket| socket.kept) {
            return;
        }
        self.emitted += 1;
        self.outputs.push_back(Output::Emit { to, event, payload });
    }

    /// Sends everyone the form of a signal that its version knows.
    fn emit_frames(&mut self, to: impl IntoIterator<Item = SocketId>, event: &'static str, mut frames: Frames<'_>) {
        for to in to {
            if let Some(version) = self.socket(to).map(|socket| socket.version) {
                self.emit(to, event, frames.of(version));
            }
        }
    }

    fn tell(&mut self, socket: SocketId, event: &str, refusal: &Refusal) {
        self.tell_json(socket, event, refusal.code, &json::string(&refusal.reason), refusal.recipient.as_deref());
    }

    fn tell_json(&mut self, socket: SocketId, event: &str, code: ErrorCode, reason: &str, recipient: Option<&str>) {
        if let Some(at) = ErrorCode::ALL.iter().position(|other| *other == code) {
            self.refused[at] += 1;
        }
        let payload = server::error(reason, code.as_str(), frames::short(event), recipient);
        self.emit(socket, name::ERROR, payload.into());
    }
}
