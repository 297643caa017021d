//! What an operator sees of rooms and members, and how somebody is thrown out.

use std::{cmp::Reverse, sync::Arc, time::Duration};

use rtc_cafe_wire::{
    RoomId, json,
    signal::{name, server},
};

use super::{Hub, Output, Room, SocketId};
use crate::ErrorCode;

/// A room of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomOverview {
    /// The room.
    pub room: RoomId,
    /// Members on all nodes.
    pub members: usize,
    /// Those of them on this one.
    pub here: usize,
}

/// A member of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberOverview {
    /// Its sid.
    pub sid: Arc<str>,
    /// The JSON of its permanent id.
    pub id: Option<Arc<str>>,
    /// The JSON of the identity with which it was let in, as far as this node knows it.
    pub identity: Option<Arc<str>>,
    /// Where it is.
    pub place: Place,
}

/// Where a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// On this node.
    Here(SocketId),
    /// On another node, of this name; it has joined at this time, in microseconds since 1970.
    Away(Arc<str>, u64),
}

/// Which part of a list is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// What is to be in the name of a room, or in the sid, id or identity of a member, in whatever case; everything has an empty text.
    pub search: &'a str,
    /// How many are left out at the beginning.
    pub offset: usize,
    /// How many are wanted at most.
    pub limit: usize,
}

impl Part<'_> {
    fn take<T>(self, all: Vec<T>) -> (usize, Vec<T>) {
        (all.len(), all.into_iter().skip(self.offset).take(self.limit).collect())
    }
}

impl Hub {
    /// Rooms with members here that fit, or have a member that fits: the largest first. Also returns how many there are.
    pub fn overview(&self, part: Part<'_>) -> (usize, Vec<RoomOverview>) {
        let needle = part.search.to_lowercase();
        let fits = |room: &Room| has(room.id.as_json(), &needle) || self.members_in(room).any(|it| it.fits(&needle));
        let rooms = self.rooms.iter().map(|(_, room)| room).filter(|room| needle.is_empty() || fits(room));
        let mut rooms: Vec<_> = rooms.map(|room| (Reverse(room.population()), room)).collect();
        let total = rooms.len();
        let order = |one: &(Reverse<usize>, &Room), other: &(Reverse<usize>, &Room)| {
            (one.0, &one.1.id).cmp(&(other.0, &other.1.id))
        };
        // Of many rooms only those that are shown need an order.
        let end = part.offset.saturating_add(part.limit);
        if end < total {
            rooms.select_nth_unstable_by(end, order);
            rooms.truncate(end);
        }
        rooms.sort_unstable_by(order);
        let rooms = rooms.into_iter().skip(part.offset).map(|(Reverse(members), room)| {
            let (room, here) = (room.id.clone(), room.members.len());
            RoomOverview { room, members, here }
        });
        (total, rooms.collect())
    }

    /// The members of a room that fit: first those here, in the order of joining. Also returns how many there are. `None`
    /// if nobody here is in the room.
    pub fn members_overview(&self, room: &RoomId, part: Part<'_>) -> Option<(usize, Vec<MemberOverview>)> {
        let room = self.rooms.get(*self.room_names.get(room)?)?;
        let needle = part.search.to_lowercase();
        Some(part.take(self.members_in(room).filter(|member| needle.is_empty() || member.fits(&needle)).collect()))
    }

    fn members_in<'a>(&'a self, room: &'a Room) -> impl Iterator<Item = MemberOverview> + 'a {
        let here = room.members.iter().filter_map(|seat| {
            let socket = self.socket(seat.socket)?;
            let identity = socket.permit.as_ref().and_then(|permit| permit.identity.clone());
            let place = Place::Here(seat.socket);
            Some(MemberOverview { sid: socket.sid.clone(), id: socket.session.id.clone(), identity, place })
        });
        here.chain(self.remotes_in(room))
    }

    /// Ends the session with this sid, wherever it is, if this node knows it. Its client is told.
    pub fn kick(&mut self, now: Duration, sid: &str) -> bool {
        if let Some(&socket) = self.sids.get(sid) {
            self.throw_out(now, socket);
            return true;
        }
        let remote = self.remote_session(sid).map(|(remote, _)| remote);
        remote.is_some_and(|remote| self.tell_kick(remote))
    }

    /// Ends the sessions of all members of a room; returns how many there were.
    pub fn kick_room(&mut self, now: Duration, room: &RoomId) -> usize {
        let everybody = Part { search: "", offset: 0, limit: usize::MAX };
        let Some((_, members)) = self.members_overview(room, everybody) else { return 0 };
        // Those on other nodes first: they are forgotten with the last member here.
        members.iter().rev().filter(|member| self.kick(now, &member.sid)).count()
    }

    pub(super) fn throw_out(&mut self, now: Duration, socket: SocketId) {
        let reason = json::string("the operator of the server has ended this session");
        let payload = server::error(&reason, ErrorCode::Kicked.as_str(), "", None);
        self.emit(socket, name::ERROR, payload.into());
        self.remove(now, socket, None);
        self.kicked += 1;
        self.outputs.push_back(Output::Disconnect { socket });
    }
}

impl MemberOverview {
    fn fits(&self, needle: &str) -> bool {
        has(&self.sid, needle) || [&self.id, &self.identity].into_iter().flatten().any(|json| has(json, needle))
    }
}

fn has(text: &str, needle: &str) -> bool {
    text.to_lowercase().contains(needle)
}
