//! What an operator sees of rooms and members, and how somebody is thrown out.

use std::{sync::Arc, time::Duration};

use rtc_cafe_wire::{
    RoomId, json,
    signal::{name, server},
};

use super::{Hub, Room, SocketId};
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

/// What became of the wish to end a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kicked {
    /// It was here, and has ended.
    Here(SocketId),
    /// Its node, of this name, was asked to end it.
    Asked(Arc<str>),
    /// Its node cannot be asked, because the broker is away.
    Unreachable(Arc<str>),
    /// Nobody here knows it.
    Unknown,
}

impl Hub {
    /// Rooms with members here that fit, or have a member that fits; the search is by [`needle`]. It looks at rooms from a
    /// place on, beginning with 0, until it has looked at so many members; also returns where to go on, if there are more.
    pub fn overview(&self, needle: &str, from: u32, work: usize) -> (Vec<RoomOverview>, Option<u32>) {
        let mut found = Vec::new();
        let mut left = work;
        for (index, room) in self.rooms.iter_from(from) {
            if left == 0 {
                return (found, Some(index));
            }
            left = left.saturating_sub(room.population());
            if has(room.id.as_json(), needle) || self.members_in(room).any(|member| member.fits(needle)) {
                let (room, members, here) = (room.id.clone(), room.population(), room.members.len());
                found.push(RoomOverview { room, members, here });
            }
        }
        (found, None)
    }

    /// The members of a room that fit: first those here, in the order of joining. Also returns how many there are. `None`
    /// if nobody here is in the room.
    pub fn members_overview(&self, room: &RoomId, part: Part<'_>) -> Option<(usize, Vec<MemberOverview>)> {
        let room = self.rooms.get(*self.room_names.get(room)?)?;
        let needle = needle(part.search);
        Some(part.take(self.members_in(room).filter(|member| member.fits(&needle)).collect()))
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

    /// Ends the session with this sid, or has its node end it, if this node knows it. Its client is told.
    pub fn kick(&mut self, now: Duration, sid: &str) -> Kicked {
        if let Some(&socket) = self.sids.get(sid) {
            self.throw_out(now, socket);
            return Kicked::Here(socket);
        }
        let remote = self.remote_session(sid).map(|(remote, _)| remote);
        remote.map_or(Kicked::Unknown, |remote| self.tell_kick(remote))
    }

    /// The sids of all members of a room, those on other nodes first: they are forgotten with the last member here.
    pub fn sids_in(&self, room: &RoomId) -> Vec<Arc<str>> {
        let everybody = Part { search: "", offset: 0, limit: usize::MAX };
        let members = self.members_overview(room, everybody).map(|(_, members)| members).unwrap_or_default();
        members.into_iter().rev().map(|member| member.sid).collect()
    }

    pub(super) fn throw_out(&mut self, now: Duration, socket: SocketId) {
        let reason = json::string("the operator of the server has ended this session");
        let payload = server::error(&reason, ErrorCode::Kicked.as_str(), "", None);
        self.emit(socket, name::ERROR, payload.into());
        self.kicked += 1;
        self.dismiss(now, socket, None);
    }
}

impl MemberOverview {
    fn fits(&self, needle: &str) -> bool {
        has(&self.sid, needle) || [&self.id, &self.identity].into_iter().flatten().any(|json| has(json, needle))
    }
}

/// A search as texts are compared with it.
pub fn needle(search: &str) -> String {
    search.chars().flat_map(char::to_lowercase).collect()
}

/// Whether the text has the needle in it, in whatever case. It copies nothing: there may be many texts, and clients wait.
fn has(text: &str, needle: &str) -> bool {
    let begins = |at: usize| {
        let mut letters = text[at..].chars().flat_map(char::to_lowercase);
        needle.chars().all(|letter| letters.next() == Some(letter))
    };
    needle.is_empty() || text.char_indices().any(|(at, _)| begins(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_found_in_whatever_case() {
        let has = |text, search| has(text, &needle(search));
        for (text, search) in [
            ("", ""),
            ("Hall", ""),
            ("Hall", "hA"),
            ("hall", "LL"),
            ("Straße 5", "RAßE"),
            ("ΚΑΦΕΣ", "αφε"),
            ("İstanbul", "i\u{307}s"),
        ] {
            assert!(has(text, search), "{text} has {search}");
        }
        for (text, search) in [("", "a"), ("Hall", "hallo"), ("aab", "ab "), ("ä", "a")] {
            assert!(!has(text, search), "{text} has no {search}");
        }
    }
}
