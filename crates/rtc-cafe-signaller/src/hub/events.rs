//! What each event of a client does.

use std::{borrow::Cow, sync::Arc, time::Duration};

use rtc_cafe_wire::{
    ApiVersion, RoomId,
    json::{Object, Value},
    limits::MAX_ID,
    signal::{name, server},
};

use super::{
    Hub, Room, Seat, SocketId,
    account::announcing,
    ended::Proof,
    frames::{Frames, Signal},
    nodes::{self, Claim},
    refusal::{self, Refusal},
    standing::Standing,
};
use crate::ErrorCode;

/// What the server makes of a `prevSid`.
#[derive(Default)]
struct Predecessor {
    /// The sid that may be relayed.
    sid: Option<Box<str>>,
    /// The socket that still has it, and whose successor this one has proven to be.
    superseded: Option<SocketId>,
    /// The same on another node.
    moved: Option<u32>,
    /// What other nodes are told of it.
    claim: Option<Claim>,
}

/// Whom a signal is for.
#[derive(Clone, Copy)]
enum Recipient {
    Here(SocketId),
    /// A session on another node.
    Away(u32),
}

/// Who sends, as it is stamped on everything relayed.
pub(super) struct Stamp {
    id: Option<Arc<str>>,
    sid: Arc<str>,
    pub(super) version: ApiVersion,
}

impl Stamp {
    /// The id as JSON.
    fn id(&self) -> &str {
        self.id.as_deref().unwrap_or("null")
    }
}

impl Hub {
    pub(super) fn dispatch(
        &mut self,
        now: Duration,
        socket: SocketId,
        event: &str,
        payload: &str,
    ) -> Result<(), Refusal> {
        match event {
            name::REQUEST_SID => self.request_sid(socket, payload, &self.config.ice_servers.clone()),
            name::JOIN => self.join(now, socket, payload),
            name::LEAVE => self.leave_room(now, socket, payload),
            name::HOLD => self.hold(socket, payload),
            name::ACQUIRE_PEERS_RESPONSE => self.respond(now, socket, payload),
            name::OFFER => self.relay(now, socket, name::OFFER, payload),
            name::ANSWER => self.relay(now, socket, name::ANSWER, payload),
            name::CANDIDATE => self.relay(now, socket, name::CANDIDATE, payload),
            _ if server::only_from_server(event) => {
                Err(Refusal::new(ErrorCode::ServerOnlyEvent, "only the server sends this event"))
            }
            _ => Err(Refusal::new(
                ErrorCode::UnknownEvent,
                "no such event; there are request-sid, join, leave, hold, acquire-peers-response, offer, answer and candidate",
            )),
        }
    }

    pub(super) fn request_sid(&mut self, id: SocketId, payload: &str, ice_servers: &str) -> Result<(), Refusal> {
        let argument = refusal::argument(payload)?;
        let offered = argument.as_object().and_then(|object| object.string("apiVersion").map(|v| agree(&v)));
        let secret = self.mint.text::<32>();
        let Some(socket) = self.socket_mut(id) else { return Ok(()) };
        let is_new = socket.secret.is_none();
        let agreed = offered.flatten().filter(|_| socket.version != ApiVersion::V0_0);
        let reply = match agreed {
            Some(version) if version >= ApiVersion::V1_0 => {
                socket.version = version;
                let secret = socket.secret.get_or_insert(secret);
                socket.session.proof.get_or_insert_with(|| Proof::of(secret));
                server::session(&socket.sid, version, secret, ice_servers)
            }
            _ => server::sid(&socket.sid),
        };
        self.emit(id, name::SID, reply.into());
        if is_new {
            self.tell_session(id);
        }
        Ok(())
    }

    fn join(&mut self, now: Duration, id: SocketId, payload: &str) -> Result<(), Refusal> {
        let object = refusal::object(payload)?;
        let room = read_room(&object)?;
        self.may_join(now, id, &room)?;
        let stamp = self.stamp(id, &object)?;
        let strangers = self.strangers(id, &room, &object);
        let predecessor = self.predecessor(now, id, &object);
        self.enter(now, id, &room, &predecessor)?;
        let matches = self.match_up(strangers, &object);
        let mut members = self.members(&room);
        self.introduce(id, stamp.id(), &stamp.sid, &room, matches, &mut members);
        let signal = Signal::Announcement { prev_sid: predecessor.sid.as_deref(), room: Some(room.as_json()) };
        let frames = Frames::new(stamp.id(), &stamp.sid, signal);
        self.emit_frames(members.into_iter().filter(|&member| member != id), name::ACQUIRE_PEERS, frames);
        self.tell_join(now, id, &room, predecessor.claim);
        self.supersede(now, id, predecessor.superseded);
        if let (Some(old), Some(&index)) = (predecessor.moved, self.room_names.get(&room)) {
            self.hand_over(old, index, None);
        }
        Ok(())
    }

    /// Takes a socket out of a room. For those who share no other room with it, it is gone.
    fn leave_room(&mut self, now: Duration, id: SocketId, payload: &str) -> Result<(), Refusal> {
        let room = read_room(&refusal::object(payload)?)?;
        let index = self.room_names.get(&room).copied().filter(|&index| self.is_in(id, index));
        let Some(index) = index else {
            return Err(Refusal::new(ErrorCode::NotInRoom, "you are not in this room"));
        };
        let members = self.members(&room);
        let population = self.rooms.get(index).map_or(0, Room::population);
        self.spend(now, id, announcing(population))?;
        let Some(socket) = self.socket_mut(id) else { return Ok(()) };
        socket.rooms.retain(|&other| other != index);
        let sid = socket.sid.clone();
        self.tell_leave(index, &room, &sid);
        self.leave(index, id);
        let payload: Arc<str> = server::peer_disconnection(&sid).into();
        for member in members.into_iter().filter(|&member| member != id) {
            if !self.share_a_room(id, member) {
                self.emit(member, name::PEER_DISCONNECTION, payload.clone());
            }
        }
        Ok(())
    }

    /// Puts a socket into a room, where it may be already. It gets the seat of its predecessor, if that has one there.
    fn enter(&mut self, now: Duration, id: SocketId, room: &RoomId, predecessor: &Predecessor) -> Result<(), Refusal> {
        let index = self.room_names.get(room).copied();
        let members = index.and_then(|index| self.rooms.get(index)).map_or(0, Room::population);
        // Announcements to many cost more than one event.
        self.spend(now, id, announcing(members))?;
        let most_members = self.config.members_per_room;
        let Some(socket) = self.socket(id) else { return Ok(()) };
        let own_most = socket.permit.as_ref().and_then(|permit| permit.rooms_per_socket);
        let most_rooms = own_most.unwrap_or(self.config.rooms_per_socket);
        if index.is_some_and(|index| socket.rooms.contains(&index)) {
            return Ok(());
        }
        if socket.rooms.len() >= most_rooms {
            let reason = format!("you are in {most_rooms} rooms, which is as many as one connection may be in");
            return Err(Refusal::new(ErrorCode::TooManyRooms, reason));
        }
        let freed = index.is_some_and(|index| self.has_seat(predecessor, index));
        if members - usize::from(freed) >= most_members {
            let reason = format!("the room is full: it has {members} members");
            return Err(Refusal::new(ErrorCode::RoomFull, reason));
        }
        let index = index.unwrap_or_else(|| {
            let (members, away) = (Vec::new(), Vec::new());
            let index = self.rooms.insert(Room { id: room.clone(), members, entry: 0, away });
            self.room_names.insert(room.clone(), index);
            self.open_room(index);
            index
        });
        if let Some(room) = self.rooms.get_mut(index) {
            room.members.push(Seat { socket: id, joined: 0, claim: None });
        }
        if let Some(socket) = self.socket_mut(id) {
            let at = socket.rooms.partition_point(|&other| other < index);
            socket.rooms.insert(at, index);
        }
        Ok(())
    }

    fn respond(&mut self, now: Duration, id: SocketId, payload: &str) -> Result<(), Refusal> {
        self.may_send(id)?;
        let object = refusal::object(payload)?;
        let stamp = self.stamp(id, &object)?;
        let recipient = read_recipient(&object)?;
        let room = match object.get("room") {
            // Clients of 0.0 name no room.
            None if stamp.version == ApiVersion::V0_0 => None,
            // Before 1.0 nobody is told in which room a newcomer is, so clients name any of theirs.
            Some(_) if stamp.version < ApiVersion::V1_0 => None,
            _ => Some(read_room(&object)?),
        };
        let to = self.reach(id, &recipient)?;
        let room = match room {
            Some(room) => {
                let index = self.room_names.get(&room).copied();
                if !index.is_some_and(|index| self.is_in(id, index)) {
                    return Err(Refusal::new(ErrorCode::NotInRoom, "you are not in this room; join it first"));
                }
                if !index.is_some_and(|index| self.has(index, to)) {
                    return Err(Refusal::recipient_not_found(&recipient));
                }
                Some(room)
            }
            None => self.shared_room(id, to),
        };
        let predecessor = self.predecessor(now, id, &object);
        let to = match to {
            Recipient::Here(to) => to,
            Recipient::Away(to) => {
                self.tell_response(to, &stamp.sid, stamp.id, room, predecessor.claim);
                self.supersede(now, id, predecessor.superseded);
                return Ok(());
            }
        };
        let signal =
            Signal::Announcement { prev_sid: predecessor.sid.as_deref(), room: room.as_ref().map(RoomId::as_json) };
        let frames = Frames::new(stamp.id(), &stamp.sid, signal);
        self.emit_frames([to], name::ACQUIRE_PEERS_RESPONSE, frames);
        self.supersede(now, id, predecessor.superseded);
        Ok(())
    }

    fn relay(&mut self, now: Duration, id: SocketId, event: &'static str, payload: &str) -> Result<(), Refusal> {
        self.may_send(id)?;
        let object = refusal::object(payload)?;
        let stamp = self.stamp(id, &object)?;
        let frames = Frames::new(stamp.id(), &stamp.sid, Signal::Relay(&object));
        // Clients of 0.0 leave it to the receivers to know who is meant.
        if stamp.version == ApiVersion::V0_0 && object.get("recipient").is_none() {
            let (neighbours, away) = (self.neighbours(id), self.neighbours_away(id));
            self.spend(now, id, announcing(neighbours.len() + away.len()))?;
            self.emit_frames(neighbours, event, frames);
            if !away.is_empty() {
                let rooms = self.socket(id).map(|socket| socket.rooms.clone()).unwrap_or_default();
                self.tell_broadcast(event, &rooms, &server::relay(stamp.id(), &stamp.sid, &object));
            }
            return Ok(());
        }
        match self.reach(id, &read_recipient(&object)?)? {
            Recipient::Here(to) => self.emit_frames([to], event, frames),
            Recipient::Away(to) => self.tell_signal(event, to, &server::relay(stamp.id(), &stamp.sid, &object)),
        }
        Ok(())
    }

    /// The session with the sid, if the sender may reach it: itself, or one that shares a room.
    fn reach(&self, from: SocketId, recipient: &str) -> Result<Recipient, Refusal> {
        let reached = match self.sids.get(recipient) {
            Some(&to) => (to == from || self.share_a_room(from, to)).then_some(Recipient::Here(to)),
            None => {
                let remote = self.remote_session(recipient).map(|(remote, _)| remote);
                remote.filter(|&remote| self.meets_elsewhere(from, remote)).map(Recipient::Away)
            }
        };
        reached.ok_or_else(|| Refusal::recipient_not_found(recipient))
    }

    /// Who sends; the first id that a socket names is the one it keeps.
    pub(super) fn stamp(&mut self, id: SocketId, object: &Object<'_>) -> Result<Stamp, Refusal> {
        let named = object.get("id").filter(|named| !named.is_null());
        let longest = self.config.id_bytes;
        let Some(socket) = self.socket_mut(id) else {
            return Err(Refusal::new(ErrorCode::InvalidPacket, "this connection has ended"));
        };
        if let (None, Some(named)) = (&socket.session.id, named) {
            if named.text().len() > longest {
                let reason = format!("the \"id\" must not be longer than {longest} bytes of JSON");
                return Err(Refusal::new(ErrorCode::TooLarge, reason));
            }
            socket.session.id = Some(named.text().into());
        }
        Ok(Stamp { id: socket.session.id.clone(), sid: socket.sid.clone(), version: socket.version })
    }

    /// Checks a `prevSid` against what is known; what is unknown, say after a restart, passes as the hint that it is.
    fn predecessor(&mut self, now: Duration, id: SocketId, object: &Object<'_>) -> Predecessor {
        let Some(claim) = object.string("prevSid").filter(|sid| (1..=MAX_ID).contains(&sid.len())) else {
            return Predecessor::default();
        };
        let Some(socket) = self.socket(id) else { return Predecessor::default() };
        let sid = Some(claim.as_ref().into());
        if self.sids.get(&*claim) == Some(&id) {
            return Predecessor { sid, ..Predecessor::default() };
        }
        let own_id = socket.session.id.clone();
        let claim = nodes::claim(&claim, object.string("prevSession").as_deref());
        self.ended.expire(now, self.config.remembered_for);
        let (superseded, moved) = match self.standing(&claim, own_id.as_deref()) {
            Standing::Free => (None, None),
            Standing::Here(old) => (Some(old), None),
            Standing::Away(old) => (None, Some(old)),
            Standing::Refused => return Predecessor::default(),
        };
        Predecessor { sid, superseded, moved, claim: Some(claim) }
    }

    /// Whether a predecessor is counted among the members of a room.
    fn has_seat(&self, predecessor: &Predecessor, room: u32) -> bool {
        predecessor.superseded.is_some_and(|old| self.is_in(old, room))
            || predecessor.moved.is_some_and(|old| self.remote_is_in(old, room))
    }

    /// A room in which both are.
    fn shared_room(&self, a: SocketId, b: Recipient) -> Option<RoomId> {
        let rooms = self.socket(a).map_or(&[][..], |socket| &socket.rooms);
        let shared = rooms.iter().copied().find(|&room| self.has(room, b))?;
        self.rooms.get(shared).map(|room| room.id.clone())
    }

    fn has(&self, room: u32, member: Recipient) -> bool {
        match member {
            Recipient::Here(socket) => self.is_in(socket, room),
            Recipient::Away(remote) => self.remote_is_in(remote, room),
        }
    }

    pub(super) fn is_in(&self, id: SocketId, room: u32) -> bool {
        self.socket(id).is_some_and(|socket| socket.rooms.binary_search(&room).is_ok())
    }

    pub(super) fn members(&self, room: &RoomId) -> Vec<SocketId> {
        let room = self.room_names.get(room).and_then(|&index| self.rooms.get(index));
        room.map(Room::sockets).unwrap_or_default()
    }

    /// Everybody here who shares a room with the socket, once.
    fn neighbours(&self, id: SocketId) -> Vec<SocketId> {
        let rooms = self.socket(id).map_or(&[][..], |socket| &socket.rooms);
        let mut all: Vec<_> = rooms.iter().filter_map(|&room| self.rooms.get(room)).flat_map(Room::sockets).collect();
        all.sort_unstable();
        all.dedup();
        all.retain(|&other| other != id);
        all
    }
}

/// The version that both speak; `None` if the client names none that there could be.
fn agree(offered: &str) -> Option<ApiVersion> {
    let (major, minor) = offered.split_once('.')?;
    let offered = (major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?);
    let number = |version: ApiVersion| {
        let (major, minor) = version.as_str().split_once('.')?;
        Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
    };
    ApiVersion::ALL.into_iter().rev().find(|&version| number(version).is_some_and(|number| number <= offered))
}

pub(crate) fn read_room(object: &Object<'_>) -> Result<RoomId, Refusal> {
    let Some(room) = object.get("room") else {
        return Err(Refusal::new(ErrorCode::InvalidRoom, "a \"room\" is needed: a non-empty string or a number"));
    };
    RoomId::from_json(room).map_err(|error| Refusal::new(ErrorCode::InvalidRoom, error.to_string()))
}

fn read_recipient<'a>(object: &Object<'a>) -> Result<Cow<'a, str>, Refusal> {
    let recipient = object.get("recipient").and_then(Value::as_string);
    recipient.filter(|sid| (1..=MAX_ID).contains(&sid.len())).ok_or_else(|| {
        Refusal::new(ErrorCode::InvalidRecipient, "a \"recipient\" is needed: the sid of one peer, as a string")
    })
}
