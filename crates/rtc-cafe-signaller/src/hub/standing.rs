//! Who may take the place of a session, and what becomes of the old one.

use std::time::Duration;

use super::{Hub, Output, SocketId, nodes::Claim};

/// What this node knows of a session that somebody says to replace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It has ended and the claim is proven, or nothing is known of it.
    Free,
    /// It is alive in this socket, and the claim is proven.
    Here(SocketId),
    /// It is alive on another node, as far as is known, and the claim is proven.
    Away(u32),
    /// The claim is not proven.
    Refused,
}

impl Hub {
    /// Checks a claim of somebody with this id.
    pub(super) fn standing(&self, claim: &Claim, id: Option<&str>) -> Standing {
        let proof = claim.proof.as_ref();
        // Sessions before 1.0 have nothing that only they know, so nobody replaces them while they are alive.
        let alive = if let Some(&here) = self.sids.get(&*claim.sid) {
            self.socket(here).map(|socket| (&socket.session, Standing::Here(here)))
        } else {
            self.remote_session(&claim.sid).map(|(remote, session)| (session, Standing::Away(remote)))
        };
        let ended = || self.nodes.as_deref()?.ended.get(&claim.sid);
        match (alive, self.ended.get(&claim.sid).or_else(ended)) {
            (Some((session, standing)), _) if session.proof.is_some() && session.proven_by(id, proof) => standing,
            (Some(_), _) => Standing::Refused,
            (None, Some(session)) if !session.proven_by(id, proof) => Standing::Refused,
            (None, _) => Standing::Free,
        }
    }

    /// Ends the half-dead socket that this one replaces. Members have heard of the new one already.
    pub(super) fn supersede(&mut self, now: Duration, by: SocketId, old: Option<SocketId>) {
        if let Some(old) = old {
            self.remove(now, old, Some(by));
            self.outputs.push_back(Output::Disconnect { socket: old });
        }
    }

    /// The session of another node, if a member here has come into the room as its proven successor, and so before this
    /// node knew of it.
    pub(super) fn came_back(&self, room: u32, sid: &str) -> Option<u32> {
        let (old, session) = self.remote_session(sid).filter(|(_, session)| session.proof.is_some())?;
        let seats = self.rooms.get(room).map_or(&[][..], |room| &room.members);
        let mut claims = seats.iter().filter_map(|seat| Some((seat.claim.as_deref()?, seat.socket)));
        let id = |socket| self.socket(socket).and_then(|socket| socket.session.id.as_deref());
        claims.any(|(claim, by)| *claim.sid == *sid && session.proven_by(id(by), claim.proof.as_ref())).then_some(old)
    }

    /// Ends a socket whose client has gone on to another node, in a room, if any, where everybody knows that.
    pub(super) fn retire(&mut self, now: Duration, old: SocketId, room: Option<u32>) {
        let Some(socket) = self.socket_mut(old) else { return };
        let known = room.filter(|room| socket.rooms.contains(room));
        socket.rooms.retain(|&other| Some(other) != known);
        let (sid, session) = (socket.sid.clone(), socket.session.clone());
        if let Some(room) = known {
            // Those who have heard of the successor know this session no more.
            self.tell_gone(&[room], &sid, true);
            self.leave(room, old);
        }
        self.remove(now, old, None);
        self.ended.insert(now, sid, session, self.config.remembered_sessions);
        self.outputs.push_back(Output::Disconnect { socket: old });
    }
}
