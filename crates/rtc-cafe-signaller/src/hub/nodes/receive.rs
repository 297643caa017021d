//! What the others' frames do here.

use std::{sync::Arc, time::Duration};

use rtc_cafe_wire::{
    RoomId,
    signal::{name, server},
};

use super::{
    super::{
        Hub, Room, SocketId,
        ended::Session,
        frames::{Frames, Signal},
        overview::{MemberOverview, Place},
        standing::Standing,
    },
    Away,
    frame::{self, Body, Frame, Member, Roster},
    node::Arrival,
    remote::Stay,
};

/// Rooms that a session of another node may be in here. How many it is allowed is for its own node to say.
const MOST_STAYS: usize = 10_000;

impl Hub {
    /// Takes a frame that was published for this node, or for a room of it. What is no frame is dropped and counted.
    pub fn handle_frame(&mut self, now: Duration, text: &str) {
        let most = self.config.nodes;
        let Some(nodes) = self.nodes.as_deref_mut() else { return };
        let Some((from, frame)) = frame::read(text) else {
            nodes.strange += 1;
            return;
        };
        if *from == *nodes.name {
            return;
        }
        let Some(node) = nodes.node(now, &from, most) else {
            nodes.strange += 1;
            return;
        };
        let Some(other) = nodes.nodes.get_mut(node) else { return };
        let arrival = match &frame {
            Frame::Enter { .. } => Arrival::InOrder,
            Frame::Link { link, number, body } => other.arrive(*link, *number, *body == Body::Begin),
        };
        // A node of which only stale frames come is forgotten with its lease: somebody has made up newer ones.
        if arrival != Arrival::Stale {
            other.heard = other.heard.max(now);
            other.goes_on(now);
        }
        match frame {
            Frame::Enter { room, entry } => self.handle_enter(node, &room, entry),
            Frame::Link { body, .. } => match arrival {
                Arrival::InOrder => self.handle_body(now, node, body),
                Arrival::AfterGap => {
                    nodes.gaps += 1;
                    self.forget_parts(node);
                    self.ask(now, node);
                    self.handle_body(now, node, body);
                }
                Arrival::Stale => {}
            },
        }
    }

    fn handle_body(&mut self, now: Duration, node: u32, body: Body<'_>) {
        match body {
            Body::Beat | Body::Unknown => {}
            Body::Sync => {
                if let Some(other) = self.nodes.as_deref_mut().and_then(|nodes| nodes.nodes.get_mut(node)) {
                    other.telling_it.want();
                }
            }
            Body::Begin => self.begin(node),
            Body::End => self.end(node),
            Body::Room(roster) => self.handle_roster(now, node, roster),
            Body::Join { room, member } => self.handle_join(now, node, &room, member),
            Body::Leave { room, sid } => {
                if let (Some(&room), Some(remote)) = (self.room_names.get(&room), self.remote_on(node, &sid)) {
                    self.depart(now, remote, room, Farewell::Leave);
                }
            }
            Body::Gone { sid, remember } => {
                if let Some(remote) = self.remote_on(node, &sid) {
                    self.end_remote(now, remote, remember);
                }
            }
            Body::Kick { sid } => {
                if let Some(&socket) = self.sids.get(&*sid).filter(|&&socket| self.is_known_to(node, socket)) {
                    self.throw_out(now, socket);
                }
            }
            Body::Session { sid, proof } => {
                let remote = self.remote_on(node, &sid);
                let nodes = self.nodes.as_deref_mut();
                if let Some(remote) = remote.and_then(|remote| nodes?.remotes.get_mut(remote)) {
                    remote.session.proof.get_or_insert(proof);
                }
            }
            Body::Signal { event, to, signal } => self.handle_signal(node, event, &to, &signal),
            Body::Broadcast { event, signal } => self.handle_broadcast(node, event, &signal),
            Body::Response { to, sid, id, room, claim } => {
                self.handle_response(node, (&sid, id.as_deref()), &to, room, claim.as_ref());
            }
        }
    }

    /// Whether a node has a room with a socket of this one.
    fn is_known_to(&self, node: u32, socket: SocketId) -> bool {
        let rooms = self.nodes.as_deref().and_then(|nodes| nodes.nodes.get(node)).map(|node| &node.rooms);
        rooms.is_some_and(|rooms| rooms.iter().any(|&room| self.is_in(socket, room)))
    }

    /// The members of a room on other nodes, who have not gone on to another one.
    pub(in crate::hub) fn remotes_in<'a>(&'a self, room: &'a Room) -> impl Iterator<Item = MemberOverview> + 'a {
        let nodes = self.nodes.as_deref();
        room.away.iter().filter_map(move |away| Some((away, nodes?.nodes.get(away.node)?))).flat_map(
            move |(away, node)| {
                away.members.iter().filter_map(move |&member| {
                    let remote = nodes?.remotes.get(member)?;
                    let stay = remote.stays.iter().filter(|stay| !stay.replaced);
                    let joined = stay.map(|stay| stay.joined).min()?;
                    let place = Place::Away(node.name.clone(), joined);
                    Some(MemberOverview {
                        sid: remote.sid.clone(),
                        id: remote.session.id.clone(),
                        identity: None,
                        place,
                    })
                })
            },
        )
    }

    /// A node has entered a room: whoever has members in it tells it, and wants to be told.
    fn handle_enter(&mut self, node: u32, room: &RoomId, entry: u64) {
        let Some(&index) = self.room_names.get(room) else { return };
        let Some(away) = self.away(node, index, entry) else { return };
        if away.entry > entry {
            return self.dispute(node);
        }
        if away.entry == entry && !away.pending {
            return;
        }
        (away.entry, away.pending, away.part) = (entry, true, None);
        self.tell_members(node, index, Some(entry), false);
    }

    /// A node says what does not fit to what was said before, maybe by somebody else; it is to say everything again.
    fn dispute(&mut self, node: u32) {
        if let Some(node) = self.nodes.as_deref_mut().and_then(|nodes| nodes.nodes.get_mut(node)) {
            node.disputed = true;
        }
    }

    /// What is known of a node in a room, from now on at least.
    fn away(&mut self, node: u32, index: u32, entry: u64) -> Option<&mut Away> {
        let room = self.rooms.get_mut(index)?;
        let at = match room.away.iter().position(|away| away.node == node) {
            Some(at) => at,
            None => {
                let (members, replaced, part, stale, regained) = (Vec::new(), 0, None, false, false);
                room.away.push(Away { node, entry, members, replaced, pending: true, part, stale, regained });
                self.nodes.as_deref_mut()?.nodes.get_mut(node)?.rooms.insert(index);
                room.away.len() - 1
            }
        };
        room.away.get_mut(at)
    }

    pub(super) fn known_away(&mut self, node: u32, index: u32) -> Option<&mut Away> {
        self.rooms.get_mut(index)?.away.iter_mut().find(|away| away.node == node)
    }

    fn handle_roster(&mut self, now: Duration, node: u32, roster: Roster<'_>) {
        let Roster { room, entry, want, knows, part, more, members } = roster;
        let Some(&index) = self.room_names.get(&room) else {
            if let Some(want) = want {
                self.tell_absence(node, room, want);
            }
            return;
        };
        let is_news = self.known_away(node, index).is_none();
        if is_news && (members.is_empty() || part > 0) {
            return;
        }
        let Some(away) = self.away(node, index, entry) else { return };
        if entry < away.entry {
            return self.dispute(node);
        }
        if part > 0 && away.part != Some(part) {
            return;
        }
        (away.entry, away.stale) = (entry, false);
        away.part = more.then_some(part.saturating_add(1));
        if part == 0 {
            let was_known = !is_news && !away.pending;
            away.regained = knows && !was_known;
            let known = away.members.clone();
            self.mark_stale(&known, index);
            if is_news || want.is_some() {
                self.tell_members(node, index, None, was_known);
            }
        }
        for member in members {
            self.meet(now, node, index, member);
        }
        if !more {
            self.sweep(now, node, index);
        }
    }

    fn mark_stale(&mut self, members: &[u32], room: u32) {
        let Some(nodes) = self.nodes.as_deref_mut() else { return };
        for &member in members {
            if let Some(stay) = nodes.remotes.get_mut(member).and_then(|remote| remote.stay_mut(room)) {
                stay.stale = true;
            }
        }
    }

    /// A node has told all its members in a room: whoever it did not name has left.
    fn sweep(&mut self, now: Duration, node: u32, index: u32) {
        let Some(away) = self.known_away(node, index) else { return };
        (away.pending, away.regained) = (false, false);
        let members = away.members.clone();
        for member in members {
            let nodes = self.nodes.as_deref_mut();
            let stay = nodes.and_then(|nodes| nodes.remotes.get_mut(member)?.stay_mut(index));
            if stay.is_some_and(|stay| stay.stale) {
                self.depart(now, member, index, Farewell::Unnamed);
            }
        }
        self.drop_empty(node, index);
    }

    fn handle_join(&mut self, now: Duration, node: u32, room: &RoomId, member: Member<'_>) {
        // In a room that was left and entered again, all its members follow.
        if let Some(&index) = self.room_names.get(room) {
            self.meet(now, node, index, member);
        }
    }

    /// A session of another node is in a room: those here hear of it who were there before it.
    fn meet(&mut self, now: Duration, node: u32, index: u32, member: Member<'_>) {
        if !self.note_stay(now, node, index, &member) {
            return;
        }
        let Member { sid, id, joined, claim, .. } = member;
        let id = id.as_deref();
        let standing = claim.as_ref().map(|claim| self.standing(claim, id));
        if let Some(old) = self.came_back(index, &sid) {
            self.hand_over(old, index, None);
            // Nobody here has heard of it, so whom it has replaced itself ends as sessions do.
            if let Some(Standing::Here(first)) = standing {
                self.retire(now, first, None);
            }
            return;
        }
        let prev_sid = claim.as_ref().filter(|_| standing != Some(Standing::Refused)).map(|claim| &*claim.sid);
        let Some(nodes) = self.nodes.as_deref() else { return };
        let Some(room) = self.rooms.get(index) else { return };
        let theirs = (joined, nodes.nodes.get(node).map_or("", |node| &node.name));
        let regained = room.away.iter().any(|away| away.node == node && away.regained);
        // Everybody is to know that a session has moved, so that nobody misses the old one.
        let to_all = regained || matches!(standing, Some(Standing::Here(_) | Standing::Away(_)));
        let here = room.members.iter().filter(|seat| to_all || (seat.joined, &*nodes.name) < theirs);
        let here: Vec<_> = here.map(|seat| seat.socket).collect();
        let room_id = room.id.clone();
        let signal = Signal::Announcement { prev_sid, room: Some(room_id.as_json()) };
        self.emit_frames(here, name::ACQUIRE_PEERS, Frames::new(id.unwrap_or("null"), &sid, signal));
        match standing {
            Some(Standing::Here(old)) => self.retire(now, old, Some(index)),
            Some(Standing::Away(old)) => self.hand_over(old, index, Some(node)),
            _ => {}
        }
    }

    /// Takes note of a member of a room on another node; whether it is one to be announced.
    fn note_stay(&mut self, now: Duration, node: u32, index: u32, member: &Member<'_>) -> bool {
        let most_away = self.config.members_per_room.saturating_mul(2);
        let Some(nodes) = self.nodes.as_deref_mut() else { return false };
        let Some(room) = self.rooms.get_mut(index) else { return false };
        let full = room.away.iter().map(|away| away.members.len()).sum::<usize>() >= most_away;
        let Some(away) = room.away.iter_mut().find(|away| away.node == node) else { return false };
        let too_long = member.id.as_ref().is_some_and(|id| id.len() > self.config.id_bytes);
        if too_long || self.sids.contains_key(&*member.sid) {
            nodes.strange += 1;
            return false;
        }
        nodes.note_joined(now, member.joined);
        let known = nodes.remotes.find(&member.sid);
        if let Some(remote) = known.and_then(|known| nodes.remotes.get_mut(known)) {
            let elsewhere = remote.node != node;
            if !elsewhere {
                if remote.session.id.is_none() {
                    remote.session.id.clone_from(&member.id);
                }
                if remote.session.proof.is_none() {
                    remote.session.proof.clone_from(&member.proof);
                }
                if let Some(stay) = remote.stay_mut(index) {
                    stay.stale = false;
                    let again = stay.joined < member.joined;
                    stay.joined = stay.joined.max(member.joined);
                    return again;
                }
            }
            if elsewhere || full || remote.stays.len() >= MOST_STAYS {
                nodes.doubt(node);
                return false;
            }
        } else if full {
            nodes.doubt(node);
            return false;
        }
        let remote = known.unwrap_or_else(|| {
            let session = Session { id: member.id.clone(), proof: member.proof.clone() };
            nodes.remotes.insert(&member.sid, node, session)
        });
        if let Some(remote) = nodes.remotes.get_mut(remote) {
            remote.stays.push(Stay { room: index, joined: member.joined, stale: false, replaced: false });
        }
        away.members.push(remote);
        true
    }

    /// The session of a sid, if it is on another node.
    pub(in crate::hub) fn remote_session(&self, sid: &str) -> Option<(u32, &Session)> {
        let remotes = &self.nodes.as_deref()?.remotes;
        let index = remotes.find(sid)?;
        Some((index, &remotes.get(index)?.session))
    }

    pub(super) fn remote_on(&self, node: u32, sid: &str) -> Option<u32> {
        let remotes = &self.nodes.as_deref()?.remotes;
        remotes.find(sid).filter(|&remote| remotes.get(remote).is_some_and(|remote| remote.node == node))
    }

    /// A session has moved to another node, or to this one if that is `None`: nobody in the room misses it when its own
    /// node says that it has ended. On the same node it is ended as sessions are.
    pub(in crate::hub) fn hand_over(&mut self, old: u32, index: u32, to: Option<u32>) {
        let remote = self.nodes.as_deref_mut().and_then(|nodes| nodes.remotes.get_mut(old));
        let Some(remote) = remote.filter(|remote| Some(remote.node) != to) else { return };
        let node = remote.node;
        let was_replaced = remote.stay_mut(index).map(|stay| std::mem::replace(&mut stay.replaced, true));
        if was_replaced == Some(false)
            && let Some(away) = self.known_away(node, index)
        {
            away.replaced += 1;
        }
    }

    /// Ends a session in all its rooms.
    fn end_remote(&mut self, now: Duration, remote: u32, remember: bool) {
        let found = self.nodes.as_deref().and_then(|nodes| nodes.remotes.get(remote));
        let rooms: Vec<_> = found.iter().flat_map(|remote| &remote.stays).map(|stay| stay.room).collect();
        for room in rooms {
            self.depart(now, remote, room, Farewell::End { remember });
        }
    }

    /// Takes a session of another node out of a room.
    fn depart(&mut self, now: Duration, index: u32, room: u32, farewell: Farewell) {
        let Some(nodes) = self.nodes.as_deref_mut() else { return };
        let Some(remote) = nodes.remotes.get_mut(index) else { return };
        let Some(replaced) = remote.stay_mut(room).map(|stay| stay.replaced) else { return };
        let (node, payload): (_, Arc<str>) = (remote.node, server::peer_disconnection(&remote.sid).into());
        if let Some(remote) = nodes.remotes.leave(index, room)
            && farewell.is_remembered()
            && let Some(node) = nodes.nodes.get(node)
        {
            let most = (self.config.remembered_sessions, self.config.nodes);
            nodes.ended.insert(now, &node.name, remote.sid, remote.session, most);
        }
        let members = self.rooms.get(room).map(|room| room.members.clone()).unwrap_or_default();
        for seat in members {
            if !replaced && (farewell.is_for_all() || !self.meets_elsewhere(seat.socket, index)) {
                self.emit(seat.socket, name::PEER_DISCONNECTION, payload.clone());
            }
        }
        if let Some(away) = self.known_away(node, room) {
            away.members.retain(|&member| member != index);
            away.replaced -= usize::from(replaced);
        }
        self.drop_empty(node, room);
    }

    pub(in crate::hub) fn remote_is_in(&self, remote: u32, room: u32) -> bool {
        let remote = self.nodes.as_deref().and_then(|nodes| nodes.remotes.get(remote));
        remote.is_some_and(|remote| remote.rooms().any(|other| other == room))
    }

    /// Every session of other nodes that shares a room with the socket, once.
    pub(in crate::hub) fn neighbours_away(&self, id: SocketId) -> Vec<u32> {
        let rooms = self.socket(id).map_or(&[][..], |socket| &socket.rooms);
        let away = rooms.iter().filter_map(|&room| self.rooms.get(room)).flat_map(|room| &room.away);
        let mut all: Vec<_> = away.flat_map(|away| away.members.iter().copied()).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Whether a socket shares a room with a session of another node.
    pub(in crate::hub) fn meets_elsewhere(&self, socket: SocketId, remote: u32) -> bool {
        let remote = self.nodes.as_deref().and_then(|nodes| nodes.remotes.get(remote));
        remote.is_some_and(|remote| remote.rooms().any(|room| self.is_in(socket, room)))
    }

    /// Forgets a node in a room, if it has told that it has nobody in it.
    fn drop_empty(&mut self, node: u32, index: u32) {
        let is_empty =
            |away: &Away| away.node == node && away.members.is_empty() && !away.pending && away.part.is_none();
        let Some(room) = self.rooms.get_mut(index) else { return };
        let before = room.away.len();
        room.away.retain(|away| !is_empty(away));
        let gone = room.away.len() < before;
        if let Some(node) = self.nodes.as_deref_mut().and_then(|nodes| nodes.nodes.get_mut(node)).filter(|_| gone) {
            node.rooms.remove(&index);
        }
    }

    fn begin(&mut self, node: u32) {
        let Some(other) = self.nodes.as_deref_mut().and_then(|nodes| nodes.nodes.get_mut(node)) else { return };
        other.telling = true;
        other.telling_it.ask_about_rest(false);
        for index in other.rooms.clone() {
            if let Some(away) = self.known_away(node, index) {
                (away.stale, away.part, away.entry) = (true, None, 0);
            }
        }
    }

    /// A node has told everything. About rooms that it did not name it is asked.
    fn end(&mut self, node: u32) {
        let Some(other) = self.nodes.as_deref_mut().and_then(|nodes| nodes.nodes.get_mut(node)) else { return };
        if !other.telling {
            return;
        }
        other.told();
        other.telling_it.ask_about_rest(true);
    }

    /// After a gap, the rest of a roster is worth nothing.
    fn forget_parts(&mut self, node: u32) {
        let other = self.nodes.as_deref().and_then(|nodes| nodes.nodes.get(node));
        for index in other.map(|other| other.rooms.clone()).into_iter().flatten() {
            if let Some(away) = self.known_away(node, index) {
                away.part = None;
            }
        }
    }

    /// A node is gone, with everybody on it.
    pub(super) fn drop_node(&mut self, now: Duration, node: u32) {
        let other = self.nodes.as_deref().and_then(|nodes| nodes.nodes.get(node));
        for index in other.map(|other| other.rooms.clone()).into_iter().flatten() {
            let Some(away) = self.known_away(node, index) else { continue };
            (away.pending, away.part) = (false, None);
            let members = away.members.clone();
            for member in members {
                self.depart(now, member, index, Farewell::End { remember: true });
            }
            self.drop_empty(node, index);
        }
        let Some(nodes) = self.nodes.as_deref_mut() else { return };
        if let Some(node) = nodes.nodes.remove(node) {
            nodes.names.remove(&node.name);
        }
    }
}

/// How a session of another node goes from a room.
#[derive(Debug, Clone, Copy)]
enum Farewell {
    /// It has ended. Its node says whether that is worth remembering.
    End { remember: bool },
    /// It has left the room, and lives on.
    Leave,
    /// Its node does not name it any more, for whatever reason.
    Unnamed,
}

impl Farewell {
    /// Whether also those hear of it who share another room with it.
    const fn is_for_all(self) -> bool {
        matches!(self, Self::End { .. })
    }

    /// Whether it is remembered once it is in none of our rooms.
    const fn is_remembered(self) -> bool {
        matches!(self, Self::Unnamed | Self::End { remember: true })
    }
}
