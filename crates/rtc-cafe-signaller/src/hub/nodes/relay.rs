//! Signals of sessions on other nodes, for sockets of this one.

use std::sync::Arc;

use rtc_cafe_wire::{RoomId, json::Object, signal::name};

use super::{
    super::{
        Hub, Room, SocketId,
        frames::{Frames, Signal},
        standing::Standing,
    },
    frame::Claim,
};

impl Hub {
    /// A signal of a session of a node for a socket of this one.
    pub(super) fn handle_signal(&mut self, node: u32, event: &'static str, to: &str, signal: &Object<'_>) {
        let Some((sid, to, _)) = signal.string("sid").and_then(|sid| self.between(node, &sid, to)) else { return };
        let id = signal.get("id").map_or("null", |id| id.text());
        self.emit_frames([to], event, Frames::new(id, &sid, Signal::Relay(signal)));
    }

    /// A signal for everybody here who shares a room with a session of a node.
    pub(super) fn handle_broadcast(&mut self, node: u32, event: &'static str, signal: &Object<'_>) {
        let Some(sid) = signal.string("sid") else { return };
        let remote = self.remote_on(node, &sid).and_then(|remote| self.nodes.as_deref()?.remotes.get(remote));
        let rooms = remote.iter().flat_map(|remote| remote.rooms()).filter_map(|room| self.rooms.get(room));
        let mut to: Vec<_> = rooms.flat_map(Room::sockets).collect();
        to.sort_unstable();
        to.dedup();
        let id = signal.get("id").map_or("null", |id| id.text());
        self.emit_frames(to, event, Frames::new(id, &sid, Signal::Relay(signal)));
    }

    /// A session of a node, a socket of this one, and a room in which both are.
    fn between(&self, node: u32, sid: &str, to: &str) -> Option<(Arc<str>, SocketId, u32)> {
        let remote = self.nodes.as_deref()?.remotes.get(self.remote_on(node, sid)?)?;
        let to = *self.sids.get(to)?;
        let shared = remote.rooms().find(|&room| self.is_in(to, room))?;
        Some((remote.sid.clone(), to, shared))
    }

    fn are_both_in(&self, room: &RoomId, sid: &str, to: SocketId) -> bool {
        let Some(&index) = self.room_names.get(room) else { return false };
        let remote = self.remote_session(sid).map(|(remote, _)| remote);
        self.is_in(to, index) && remote.is_some_and(|remote| self.remote_is_in(remote, index))
    }

    /// An `acquire-peers-response` of a session of a node.
    pub(super) fn handle_response(
        &mut self,
        node: u32,
        (sid, id): (&str, Option<&str>),
        to: &str,
        room: Option<RoomId>,
        claim: Option<&Claim>,
    ) {
        let Some((sid, to, shared)) = self.between(node, sid, to) else { return };
        if !room.as_ref().is_none_or(|room| self.are_both_in(room, &sid, to)) {
            return;
        }
        let room = room.or_else(|| Some(self.rooms.get(shared)?.id.clone()));
        let claim = claim.filter(|claim| self.standing(claim, id) != Standing::Refused);
        let prev_sid = claim.map(|claim| &*claim.sid);
        let signal = Signal::Announcement { prev_sid, room: room.as_ref().map(RoomId::as_json) };
        self.emit_frames([to], name::ACQUIRE_PEERS_RESPONSE, Frames::new(id.unwrap_or("null"), &sid, signal));
    }
}
