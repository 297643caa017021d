//! What this node tells the others.

use std::{borrow::Cow, sync::Arc, time::Duration};

use rtc_cafe_wire::{RoomId, json::Object};

use super::{
    super::{Hub, Kicked, Output, Room, Seat, SocketId, ended::Proof},
    Topic,
    frame::{self, Body, Claim, MAX_MEMBERS, Member, Roster},
};

impl Hub {
    /// Says something to a node, as long as the broker is there.
    pub(super) fn tell_node(&mut self, node: u32, body: &Body<'_>) {
        self.publish(node, body, None);
    }

    fn publish(&mut self, node: u32, body: &Body<'_>, signal: Option<&str>) {
        let Some(nodes) = self.nodes.as_deref_mut().filter(|nodes| nodes.up) else { return };
        let Some(node) = nodes.nodes.get_mut(node) else { return };
        let (link, number) = node.next();
        let mut frame = body.write(&nodes.name, link, number);
        if let Some(signal) = signal {
            frame.reserve_exact(signal.len() + 1);
            frame.push('\n');
            frame.push_str(signal);
        }
        let topic = Topic::Node(node.name.clone());
        nodes.told += frame.len() as u64;
        self.outputs.push_back(Output::Publish { topic, frame: frame.into(), attachments: signal.is_some() });
    }

    /// Says something to every other node with members in a room.
    fn tell_room(&mut self, room: u32, body: &Body<'_>) {
        for node in self.nodes_in(&[room]) {
            self.tell_node(node, body);
        }
    }

    /// The nodes with members in any of the rooms, once.
    fn nodes_in(&self, rooms: &[u32]) -> Vec<u32> {
        if self.nodes.is_none() {
            return Vec::new();
        }
        let away = rooms.iter().filter_map(|&room| self.rooms.get(room)).flat_map(|room| &room.away);
        let mut nodes: Vec<_> = away.map(|away| away.node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }

    /// A room has its first member here.
    pub(in crate::hub) fn open_room(&mut self, room: u32) {
        let Some(nodes) = self.nodes.as_deref_mut() else { return };
        let entry = nodes.count();
        if let Some(room) = self.rooms.get_mut(room) {
            room.entry = entry;
        }
        self.tell_entry(room, true);
    }

    /// Tells whoever has members in a room that this node has as well.
    pub(super) fn tell_entry(&mut self, room: u32, subscribe: bool) {
        let Some(nodes) = self.nodes.as_deref_mut().filter(|nodes| nodes.up) else { return };
        let Some(room) = self.rooms.get(room) else { return };
        let topic = Topic::Room(room.id.clone());
        let frame: Box<str> = frame::enter(&nodes.name, &room.id, room.entry).into();
        nodes.told += frame.len() as u64;
        if subscribe {
            self.outputs.push_back(Output::Subscribe { topic: topic.clone() });
        }
        self.outputs.push_back(Output::Publish { topic, frame, attachments: false });
    }

    /// A room has lost its last member here. The others know; who is in it on other nodes is of no interest any more.
    pub(in crate::hub) fn close_room(&mut self, index: u32, room: Room) {
        let Some(nodes) = self.nodes.as_deref_mut() else { return };
        for away in &room.away {
            for &member in &away.members {
                nodes.remotes.leave(member, index);
            }
            if let Some(node) = nodes.nodes.get_mut(away.node) {
                node.rooms.remove(&index);
            }
        }
        if nodes.up {
            self.outputs.push_back(Output::Unsubscribe { topic: Topic::Room(room.id) });
        }
    }

    /// Tells the other nodes of a room that a socket has joined it, maybe once more.
    pub(in crate::hub) fn tell_join(&mut self, now: Duration, id: SocketId, room: &RoomId, claim: Option<Claim>) {
        let Some(nodes) = self.nodes.as_deref_mut() else { return };
        let joined = nodes.stamp(now);
        let Some(&index) = self.room_names.get(room) else { return };
        let seats = self.rooms.get_mut(index).map(|room| &mut room.members);
        let Some(seat) = seats.and_then(|seats| seats.iter_mut().find(|seat| seat.socket == id)) else { return };
        seat.joined = joined;
        seat.claim = claim.map(Box::new);
        let seat = seat.clone();
        if let Some(member) = self.member(&seat) {
            self.tell_room(index, &Body::Join { room: room.clone(), member });
        }
    }

    /// Tells the other nodes of a room that a socket has left it.
    pub(in crate::hub) fn tell_leave(&mut self, index: u32, room: &RoomId, sid: &str) {
        self.tell_room(index, &Body::Leave { room: room.clone(), sid: sid.into() });
    }

    /// Tells the other nodes of its rooms that a session has ended, and whether that is worth remembering.
    pub(in crate::hub) fn tell_gone(&mut self, rooms: &[u32], sid: &str, remember: bool) {
        for node in self.nodes_in(rooms) {
            self.tell_node(node, &Body::Gone { sid: sid.into(), remember });
        }
    }

    /// Tells the other nodes of a room that a session has gone on from it. To those who share none of the rest of its rooms
    /// it has ended.
    pub(in crate::hub) fn tell_moved(&mut self, index: u32, rest: &[u32], sid: &str) {
        let Some(room) = self.rooms.get(index).map(|room| room.id.clone()) else { return };
        let others = self.nodes_in(rest);
        for node in self.nodes_in(&[index]) {
            let body = match others.binary_search(&node) {
                Ok(_) => Body::Leave { room: room.clone(), sid: sid.into() },
                Err(_) => Body::Gone { sid: sid.into(), remember: true },
            };
            self.tell_node(node, &body);
        }
    }

    /// Has the node of a session end it.
    pub(in crate::hub) fn tell_kick(&mut self, remote: u32) -> Kicked {
        let Some(nodes) = self.nodes.as_deref() else { return Kicked::Unknown };
        let Some(remote) = nodes.remotes.get(remote) else { return Kicked::Unknown };
        let (node, sid) = (remote.node, remote.sid.clone());
        let Some(name) = nodes.nodes.get(node).map(|node| node.name.clone()) else { return Kicked::Unknown };
        if !nodes.up {
            return Kicked::Unreachable(name);
        }
        self.tell_node(node, &Body::Kick { sid: Cow::Borrowed(&sid) });
        Kicked::Asked(name)
    }

    /// Tells the other nodes of its rooms by what a session can be proven from now on.
    pub(in crate::hub) fn tell_session(&mut self, id: SocketId) {
        let Some(socket) = self.socket(id) else { return };
        let (sid, Some(proof)) = (socket.sid.clone(), socket.session.proof.clone()) else { return };
        for node in self.nodes_in(&socket.rooms) {
            self.tell_node(node, &Body::Session { sid: Cow::Borrowed(&sid), proof: proof.clone() });
        }
    }

    /// Passes on a signal, already stamped, to the node of its recipient.
    pub(in crate::hub) fn tell_signal(&mut self, event: &'static str, to: u32, signal: &str) {
        let Some(remote) = self.nodes.as_deref().and_then(|nodes| nodes.remotes.get(to)) else { return };
        let (node, sid) = (remote.node, remote.sid.clone());
        let body = Body::Signal { event, to: Cow::Borrowed(&sid), signal: Object::default() };
        self.publish(node, &body, Some(signal));
    }

    /// Passes on a signal, already stamped, that is for everybody who shares a room with its sender.
    pub(in crate::hub) fn tell_broadcast(&mut self, event: &'static str, rooms: &[u32], signal: &str) {
        for node in self.nodes_in(rooms) {
            self.publish(node, &Body::Broadcast { event, signal: Object::default() }, Some(signal));
        }
    }

    /// Passes on an `acquire-peers-response` to the node of its recipient.
    pub(in crate::hub) fn tell_response(
        &mut self,
        to: u32,
        sid: &str,
        id: Option<Arc<str>>,
        room: Option<RoomId>,
        claim: Option<Claim>,
    ) {
        let Some(remote) = self.nodes.as_deref().and_then(|nodes| nodes.remotes.get(to)) else { return };
        let (node, to) = (remote.node, remote.sid.clone());
        self.tell_node(node, &Body::Response { to: Cow::Borrowed(&to), sid: sid.into(), id, room, claim });
    }

    /// Tells a node the members of a room. With `want` it is asked for its own; it is known by this entry. `knows` if
    /// its members have been known all the time.
    pub(super) fn tell_members(&mut self, node: u32, index: u32, want: Option<u64>, knows: bool) {
        let Some(room) = self.rooms.get(index) else { return };
        let (id, entry) = (room.id.clone(), room.entry);
        let mut members: Vec<_> = room.members.iter().filter_map(|seat| self.member(seat)).collect();
        for part in 0.. {
            let rest = members.split_off(members.len().min(MAX_MEMBERS));
            let more = !rest.is_empty();
            let want = want.filter(|_| part == 0);
            self.tell_node(node, &Body::Room(Roster { room: id.clone(), entry, want, knows, part, more, members }));
            if !more {
                return;
            }
            members = rest;
        }
    }

    /// Tells a node that this one is in a room no more, of which it knows by this entry.
    pub(super) fn tell_absence(&mut self, node: u32, room: RoomId, entry: u64) {
        let roster = Roster { room, entry, want: None, knows: false, part: 0, more: false, members: Vec::new() };
        self.tell_node(node, &Body::Room(roster));
    }

    /// Asks a node for everything, unless it has just been asked.
    pub(super) fn ask(&mut self, now: Duration, node: u32) {
        let nodes = self.nodes.as_deref_mut().filter(|nodes| nodes.up);
        if nodes.and_then(|nodes| nodes.nodes.get_mut(node)).is_some_and(|node| node.ask(now)) {
            self.tell_node(node, &Body::Sync);
        }
    }

    fn member(&self, seat: &Seat) -> Option<Member<'static>> {
        let socket = self.socket(seat.socket)?;
        Some(Member {
            sid: Cow::Owned(socket.sid.as_ref().into()),
            id: socket.session.id.clone(),
            proof: socket.session.proof.clone(),
            joined: seat.joined,
            claim: seat.claim.as_deref().cloned(),
        })
    }
}

/// What goes with a `prevSid` to other nodes, which check it for themselves.
pub(in crate::hub) fn claim(sid: &str, secret: Option<&str>) -> Claim {
    Claim { sid: sid.into(), proof: secret.map(Proof::of) }
}
