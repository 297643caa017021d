//! Who may take the place of a session, and what becomes of the old one.

use std::{mem::replace, time::Duration};

use super::{Hub, Output, SocketId, account::Account, nodes::Claim};

/// How long a session is kept for the rooms into which its client has yet to come back on another node.
const KEPT: Duration = Duration::from_secs(5);

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
            self.dismiss(now, old, Some(by));
        }
    }

    /// Ends a session, and its connection, if it still has one.
    pub(super) fn dismiss(&mut self, now: Duration, socket: SocketId, except: Option<SocketId>) {
        let is_connected = self.socket(socket).is_some_and(|socket| !socket.kept);
        self.remove(now, socket, except);
        if is_connected {
            self.outputs.push_back(Output::Disconnect { socket });
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

    /// Ends a session whose client has gone on to another node. Nobody misses it in the room, if any, where everybody
    /// knows that; its other rooms may be claimed as well for a while.
    pub(super) fn retire(&mut self, now: Duration, old: SocketId, room: Option<u32>) {
        let Some(socket) = self.socket_mut(old) else { return };
        let known = room.filter(|room| socket.rooms.contains(room));
        socket.rooms.retain(|&other| Some(other) != known);
        let (sid, session, rest) = (socket.sid.clone(), socket.session.clone(), socket.rooms.clone());
        if let Some(room) = known {
            // Those who have heard of the successor know this session no more.
            self.tell_moved(room, &rest, &sid);
            self.leave(room, old);
        }
        if room.is_some() && !rest.is_empty() {
            return self.keep(now, old, &rest);
        }
        self.dismiss(now, old, None);
        self.ended.insert(now, sid, session, self.config.remembered_sessions);
    }

    /// Ends the connection of a session that is kept for its rooms. Whoever is too many ends at once.
    fn keep(&mut self, now: Duration, old: SocketId, rooms: &[u32]) {
        let generation = self.generation.wrapping_add(1);
        let Some(socket) = self.sockets.get_mut(old.index).filter(|socket| !socket.kept) else { return };
        // By its old name, its connection may no longer do anything.
        let kept = SocketId { index: old.index, generation };
        (self.generation, socket.generation) = (generation, generation);
        (socket.kept, socket.held) = (true, None);
        if !replace(&mut socket.sole, true) {
            socket.account = self.accounts.insert(Account::default());
        }
        self.sids.insert(socket.sid.clone(), kept);
        for &room in rooms {
            let seats = self.rooms.get_mut(room).map(|room| &mut room.members).into_iter().flatten();
            seats.filter(|seat| seat.socket == old).for_each(|seat| seat.socket = kept);
        }
        self.outputs.push_back(Output::Disconnect { socket: old });
        self.moving.push_back((now + KEPT, kept));
        if self.moving.len() > self.config.remembered_sessions {
            self.end_next_moving(now);
        }
    }

    /// Whether any session is kept for rooms into which its client has yet to come back on another node.
    pub fn is_anybody_moving(&self) -> bool {
        !self.moving.is_empty()
    }

    /// Ends all sessions that are kept for such rooms, for this node is about to end.
    pub fn end_moving(&mut self, now: Duration) {
        self.end_moving_until(now, Duration::MAX);
    }

    /// Ends those that are kept no longer.
    pub(super) fn end_moving_until(&mut self, now: Duration, end: Duration) {
        while self.moving.front().is_some_and(|&(until, _)| until <= end) {
            self.end_next_moving(now);
        }
    }

    fn end_next_moving(&mut self, now: Duration) {
        if let Some((_, socket)) = self.moving.pop_front() {
            self.remove(now, socket, None);
        }
    }
}
