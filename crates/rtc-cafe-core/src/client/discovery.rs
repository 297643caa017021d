//! Who is there: sessions, permanent ids, and who is whom.

use rtc_cafe_wire::{
    PermanentId, Sid,
    peer::Frame,
    signal::{Announcement, ClientSignal},
};

use super::Client;
use crate::{
    event::{ErrorCode, Event},
    output::Output,
    roster::PeerKey,
    time::Time,
    timers::Timer,
};

impl Client {
    /// The server has given us a session.
    pub(super) fn handle_sid(&mut self, sid: Sid, session: Option<String>, ice_servers: Option<String>) {
        if let Some(ice_servers) = ice_servers {
            self.outputs.push_back(Output::IceServers(ice_servers));
        }
        self.session = session;
        if self.sid.as_ref() == Some(&sid) {
            return;
        }
        // A peer under our sid has lied to us.
        if let Some(liar) = self.roster.by_sid(&sid) {
            self.unlink(liar);
            self.remove(liar);
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
        // Servers before 1.0 do not name the room, and do not care which one the answer names.
        if let Some(room) = newcomer.room.clone().or_else(|| self.rooms.first().cloned()) {
            let id = self.permanent_id.clone();
            self.signal(ClientSignal::AcquirePeersResponse { recipient: newcomer.sid.clone(), room, id });
        }
        let Some(key) = self.identify(now, newcomer) else { return };
        if self.roster.get(key).is_some_and(|peer| peer.connection.is_none()) {
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

    /// A session has ended. That says nothing about a connection, but is a reason to ask whether the peer is alive.
    pub(super) fn handle_peer_disconnection(&mut self, now: Time, sid: &Sid) {
        let Some(key) = self.roster.by_sid(sid) else { return };
        let Some(peer) = self.roster.get_mut(key) else { return };
        peer.present = false;
        if peer.is_connected() {
            self.ping(now, key);
        } else if peer.is_bound() {
            // Both have what they need to connect, so if the peer is alive it will not take long.
            self.timers.set(key, Timer::Connect, now + self.config.timing.pong);
        } else {
            self.unlink(key);
            self.remove(key);
        }
    }

    /// The connection to the server is gone: nobody can be reached by it, so whoever is waited for is forgotten until
    /// the rooms are joined again.
    pub(super) fn lose_signaller(&mut self) {
        for key in self.roster.keys() {
            let Some(peer) = self.roster.get_mut(key) else { continue };
            peer.present = false;
            if peer.connection.is_none() {
                self.remove(key);
            }
        }
    }

    fn is_self(&self, sid: &Sid, id: Option<&PermanentId>) -> bool {
        self.sid.as_ref() == Some(sid) || id == Some(&self.permanent_id)
    }

    /// The peer that announces itself, known or new, if it may be dealt with under this session.
    fn identify(&mut self, now: Time, announcement: Announcement) -> Option<PeerKey> {
        let Announcement { sid, id, prev_sid, .. } = announcement;
        let key = self.recognise(now, &sid, id, prev_sid.as_ref())?;
        let peer = self.roster.get_mut(key)?;
        peer.present = true;
        peer.failures = 0;
        if peer.connection.is_some() && !peer.is_connected() {
            self.timers.set(key, Timer::Connect, now + self.config.timing.connect);
            self.negotiate(key, |connection, actions| connection.resend(actions));
        }
        Some(key)
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
                    self.expose(key);
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
            Some(key) if self.roster.get(key)?.is_connected() => {
                self.roster.get_mut(key)?.claim = Some(sid.clone());
                self.ping(now, key);
                None
            }
            Some(key) => {
                self.roster.rename(key, sid.clone());
                Some(key)
            }
            None if self.roster.len() >= self.config.limits.peers => None,
            None => Some(self.roster.insert(sid.clone(), id)),
        }
    }

    /// The peer goes by a session that is another client's, as the server says who stamps them. It is dropped.
    fn expose(&mut self, liar: PeerKey) {
        let sid = self.roster.get(liar).map(|peer| peer.sid.clone());
        self.error(ErrorCode::Protocol, String::from("the peer goes by the sid of somebody else"), sid);
        self.unlink(liar);
        self.remove(liar);
    }

    /// Learns the permanent id of a peer that was known by its session only. If it is somebody we know already, the
    /// one of the two that is connected stays.
    fn adopt(&mut self, now: Time, key: PeerKey, id: PermanentId, other: Option<PeerKey>) -> Option<PeerKey> {
        let Some(other) = other.filter(|&other| other != key) else {
            self.roster.name(key, id);
            return Some(key);
        };
        let sid = self.roster.get(key)?.sid.clone();
        if self.roster.get(other)?.is_connected() {
            self.unlink(key);
            self.remove(key);
            self.roster.get_mut(other)?.claim = Some(sid);
            self.ping(now, other);
            return None;
        }
        self.unlink(other);
        self.remove(other);
        self.roster.name(key, id);
        Some(key)
    }

    /// A connected peer says over its connection which session it has.
    pub(super) fn confirm_sid(&mut self, key: PeerKey, sid: Sid) {
        let Some(peer) = self.roster.get_mut(key) else { return };
        if peer.sid == sid {
            return;
        }
        let (id, old_sid) = (peer.id.clone(), peer.sid.clone());
        let other = self.roster.by_sid(&sid);
        let holder = other.and_then(|other| self.roster.get(other));
        let taken = holder.is_some_and(|holder| holder.is_connected() || (holder.id.is_some() && holder.id != id));
        if taken || self.sid.as_ref() == Some(&sid) {
            let message = String::from("the peer claims the sid of somebody else");
            self.error(ErrorCode::Protocol, message, Some(old_sid));
            return;
        }
        if let Some(other) = other {
            self.unlink(other);
            self.remove(other);
        }
        if let Some(peer) = self.roster.get_mut(key) {
            peer.claim = None;
            peer.present = true;
        }
        if let Some(old_sid) = self.roster.rename(key, sid.clone()) {
            self.event(Event::ReassignPeerSid { old_sid, sid });
        }
    }

    pub(super) fn remove(&mut self, key: PeerKey) {
        self.timers.cancel_all(key);
        self.roster.remove(key);
    }
}
