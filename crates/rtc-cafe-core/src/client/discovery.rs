//! Who is there: sessions, permanent ids, and who is whom.

use rtc_cafe_wire::{
    PermanentId, RoomId, Sid,
    peer::Frame,
    signal::{Announcement, ClientSignal},
};

use super::Client;
use crate::{
    event::{ErrorCode, Event, SignallerState},
    output::Output,
    report::Phase,
    roster::PeerKey,
    time::Time,
    timers::Timer,
};

impl Client {
    /// The server has given us a session.
    pub(super) fn handle_sid(&mut self, now: Time, sid: Sid, session: Option<String>, ice_servers: Option<String>) {
        if let Some(ice_servers) = ice_servers {
            self.outputs.push(Output::IceServers(ice_servers.clone()));
            self.handle_ice_servers(&ice_servers);
        }
        self.session = session;
        if self.sid.as_ref() == Some(&sid) {
            return;
        }
        // A peer under our sid has lied to us.
        if let Some(liar) = self.roster.by_sid(&sid) {
            self.part(now, liar);
        }
        self.sid = Some(sid.clone());
        self.event(Event::AcquireSid { sid: sid.clone() });
        // Peers believe this sooner than the server's word, because it comes over the connection they have.
        for key in self.roster.keys() {
            self.push(key, &Frame::Sid { sid: sid.clone() });
        }
    }

    /// Somebody has joined a room of ours: tell it that we are there, and offer a connection.
    pub(super) fn handle_newcomer(&mut self, now: Time, newcomer: Announcement) {
        if self.is_self(&newcomer.sid, newcomer.id.as_ref()) {
            return;
        }
        let offered = newcomer.offered;
        // Servers before 1.0 do not name the room, and do not care which one the answer names.
        let room = newcomer.room.clone().or_else(|| self.rooms.first().cloned());
        let Some(room) = room.filter(|room| self.rooms.contains_key(room)) else {
            // We have left it meanwhile, and nobody is to wait for what the server has given away.
            self.give_away(now, None, offered);
            return;
        };
        let id = self.permanent_id.clone();
        self.signal(ClientSignal::AcquirePeersResponse { recipient: newcomer.sid.clone(), room, id });
        let key = self.identify(now, newcomer);
        let given = self.give_away(now, key, offered);
        if let Some(key) = key.filter(|_| !given) {
            self.offer(now, key);
        }
    }

    /// Somebody is in the room that we joined. It offers a connection; if it does not, we do.
    pub(super) fn handle_member(&mut self, now: Time, member: Announcement) {
        if self.is_self(&member.sid, member.id.as_ref()) {
            return;
        }
        let Some(key) = self.identify(now, member) else { return };
        if self.roster.get(key).is_some_and(|peer| peer.connection.is_none()) {
            self.offer_later(now, key, self.config.timing.offer);
        }
    }

    /// A peer can be reached over the server.
    pub(super) fn arrive(&mut self, key: PeerKey) {
        if let Some(peer) = self.roster.get_mut(key) {
            peer.present = true;
            self.hear_of(key);
        }
    }

    /// A peer is heard of. If it seemed to have ended, it has time to come back after all.
    pub(super) fn hear_of(&mut self, key: PeerKey) {
        let Some(peer) = self.roster.get_mut(key) else { return };
        if std::mem::take(&mut peer.left) && self.timers.is_set(key, Timer::Farewell) {
            self.timers.set(key, Timer::Farewell, self.now + self.config.timing.recovery);
        }
    }

    /// A session has ended. That says nothing about a connection, but is a reason to ask whether the peer is alive.
    pub(super) fn handle_peer_disconnection(&mut self, now: Time, sid: &Sid) {
        let Some(key) = self.roster.by_sid(sid) else { return };
        let Some(peer) = self.roster.get_mut(key) else { return };
        peer.present = false;
        // Whoever is cut off loses its session as well.
        peer.left = !(peer.path_lost || peer.cut_off);
        if peer.is_open() {
            // The answer to a question from before says nothing about now.
            self.timers.cancel(key, Timer::Pong);
            self.ping(now, key);
        } else if peer.is_bound() {
            // Both have what they need to connect, so if the peer is alive it will not take long.
            self.timers.set(key, Timer::Connect, now + self.config.timing.pong);
        } else {
            self.reconsider(now, key);
        }
    }

    /// The connection to the server is gone: nobody can be reached by it, so whoever is waited for is forgotten until
    /// the rooms are joined again.
    pub(super) fn lose_signaller(&mut self, now: Time) {
        self.hold_nothing();
        self.forget_answers();
        for key in self.roster.keys() {
            if let Some(peer) = self.roster.get_mut(key) {
                peer.present = false;
            }
            self.reconsider(now, key);
        }
    }

    fn is_self(&self, sid: &Sid, id: Option<&PermanentId>) -> bool {
        self.sid.as_ref() == Some(sid) || id == Some(&self.permanent_id)
    }

    /// The peer that announces itself, known or new, if it may be dealt with under this session.
    fn identify(&mut self, now: Time, announcement: Announcement) -> Option<PeerKey> {
        let Announcement { sid, id, prev_sid, room, .. } = announcement;
        // Where the server does not name the room, and there is but one, it is that one.
        let only = || self.rooms.keys().next().filter(|_| self.rooms.len() == 1).cloned();
        let room = room.or_else(only).filter(|room| self.rooms.contains_key(room));
        let by_id = id.as_ref().and_then(|id| self.roster.by_id(id));
        let recognised = self.recognise(now, &sid, id, prev_sid.as_ref());
        // Who has another session now, and has yet to say so itself, is in the room all the same.
        if let (Some(key), Some(room)) = (recognised.or(by_id), room) {
            self.note_room(key, room);
        }
        let key = recognised?;
        self.arrive(key);
        self.hasten(now, key);
        Some(key)
    }

    /// A peer is in a room of ours.
    pub(super) fn note_room(&mut self, key: PeerKey, room: RoomId) {
        let Some(peer) = self.roster.get_mut(key).filter(|peer| !peer.rooms.contains_key(&room)) else { return };
        peer.rooms.insert(room.clone(), ());
        if peer.is_well() {
            self.introduce_room(key, &room);
            self.gossip(key, true);
        }
    }

    /// A peer has left a room of ours. If that was the last one, it is gone; it says so if it believes the same, and what
    /// it has received until then.
    pub(super) fn handle_leave(&mut self, now: Time, key: PeerKey, room: &RoomId) {
        let Some(peer) = self.roster.get_mut(key).filter(|peer| peer.rooms.contains_key(room)) else { return };
        peer.leave_room(room);
        if peer.rooms.is_empty() {
            peer.present = false;
            self.timers.hasten(key, Timer::Farewell, now + self.config.timing.pong);
        }
        let id = self.roster.get(key).and_then(|peer| peer.id.clone());
        id.into_iter().for_each(|id| self.announce(id, room.clone(), None));
    }

    /// Leaves a room: peers who share no other room with us are disconnected from. Returns whether we were in it.
    pub fn leave_room(&mut self, now: Time, room: &RoomId) -> bool {
        self.now = now;
        let Some(joined) = self.rooms.remove(room) else { return false };
        if self.rooms.is_empty() {
            self.discard_ready();
        }
        if joined && self.state == SignallerState::Connected {
            self.outputs.push(Output::Signal(ClientSignal::Leave { room: room.clone() }));
        } else if joined {
            self.left_ahead.push(room.clone());
        }
        for key in self.roster.keys() {
            let Some(peer) = self.roster.get_mut(key) else { continue };
            let shared = peer.leave_room(room);
            let last = peer.rooms.is_empty() && (shared || self.rooms.is_empty());
            if last {
                self.acknowledge_all(key);
            }
            if shared || last {
                self.push(key, &Frame::Leave { room: room.clone() });
            }
            if last {
                self.leave(now, key);
            }
        }
        true
    }

    /// Finds out who speaks under a session: a peer that we know, one that has changed its session, or a new one.
    pub(super) fn recognise(
        &mut self,
        now: Time,
        sid: &Sid,
        id: Option<PermanentId>,
        prev_sid: Option<&Sid>,
    ) -> Option<PeerKey> {
        if self.is_self(sid, id.as_ref()) {
            return None;
        }
        let by_id = id.as_ref().and_then(|id| self.roster.by_id(id));
        if let Some(key) = self.roster.by_sid(sid) {
            let known = self.roster.get(key)?.id.clone();
            return match (known, id) {
                (Some(known), Some(id)) if known != id => {
                    self.expose(now, key);
                    self.recognise(now, sid, Some(id), prev_sid)
                }
                (None, Some(id)) => self.adopt(now, key, id, by_id),
                _ => Some(key),
            };
        }
        let by_prev_sid = || {
            let key = self.roster.by_sid(prev_sid?)?;
            self.roster.get(key).filter(|peer| peer.id.is_none() && id.is_none()).map(|_| key)
        };
        match by_id.or_else(by_prev_sid) {
            Some(key) if self.roster.get(key)?.is_well() => {
                self.roster.get_mut(key)?.claim = Some(sid.clone());
                self.ping(now, key);
                None
            }
            Some(key) if self.roster.get(key)?.absent && self.roster.len() >= self.config.limits.peers => None,
            Some(key) => {
                self.believe(key, sid.clone());
                Some(key)
            }
            None if self.roster.len() >= self.config.limits.peers => None,
            None => {
                let key = self.roster.insert(sid.clone(), id);
                self.reach(key, Phase::Discovered);
                Some(key)
            }
        }
    }

    /// The peer goes by a session that is another client's, as the server says who stamps them. It is dropped.
    fn expose(&mut self, now: Time, liar: PeerKey) {
        let sid = self.roster.get(liar).map(|peer| peer.sid.clone());
        self.error(ErrorCode::Protocol, String::from("the peer goes by the sid of somebody else"), sid);
        self.part(now, liar);
    }

    /// A peer has another session. Whoever knows it as connected is told.
    pub(super) fn believe(&mut self, key: PeerKey, sid: Sid) {
        if self.sid.as_ref() == Some(&sid) {
            return;
        }
        let Some(old_sid) = self.roster.rename(key, sid.clone()) else { return };
        if let Some(peer) = self.roster.get_mut(key) {
            peer.claim = None;
            if peer.connected {
                self.event(Event::ReassignPeerSid { old_sid, sid });
            }
        }
        self.arrive(key);
    }

    /// Learns the permanent id of a peer that was known by its session only. If it is somebody we know already, the
    /// one of the two that is connected stays.
    fn adopt(&mut self, now: Time, key: PeerKey, id: PermanentId, other: Option<PeerKey>) -> Option<PeerKey> {
        let Some(other) = other.filter(|&other| other != key) else {
            self.name(now, key, id);
            return Some(key);
        };
        let (fresh, held) = (self.roster.get(key)?, self.roster.get(other)?);
        let (sid, rooms) = (fresh.sid.clone(), fresh.rooms.keys().cloned().collect::<Vec<_>>());
        if held.is_well() {
            self.part(now, key);
            self.roster.get_mut(other)?.claim = Some(sid);
            self.ping(now, other);
            return None;
        }
        if held.connected && !fresh.connected {
            self.part(now, key);
            self.believe(other, sid);
            rooms.into_iter().for_each(|room| self.note_room(other, room));
            return Some(other);
        }
        self.part(now, other);
        self.name(now, key, id);
        Some(key)
    }

    fn name(&mut self, now: Time, key: PeerKey, id: PermanentId) {
        self.roster.name(key, id);
        if self.roster.get(key).is_some_and(|peer| peer.mailbox.is_in_doubt()) {
            self.timers.set(key, Timer::Doubt, now + self.config.timing.doubt);
        }
    }

    /// A connected peer says over its connection which session it has.
    pub(super) fn confirm_sid(&mut self, now: Time, key: PeerKey, sid: Sid) {
        let Some(peer) = self.roster.get_mut(key) else { return };
        if peer.sid == sid {
            return;
        }
        let (id, old_sid) = (peer.id.clone(), peer.sid.clone());
        let other = self.roster.by_sid(&sid);
        let holder = other.and_then(|other| self.roster.get(other));
        let taken = holder.is_some_and(|holder| holder.connected || (holder.id.is_some() && holder.id != id));
        if taken || self.sid.as_ref() == Some(&sid) {
            let message = String::from("the peer claims the sid of somebody else");
            self.error(ErrorCode::Protocol, message, Some(old_sid));
            return;
        }
        if let Some(other) = other {
            self.part(now, other);
        }
        self.believe(key, sid);
    }
}
