//! Handshakes over mutual peers: who is connected to whom, and what is passed on.

use std::time::Duration;

use rtc_cafe_wire::{
    PermanentId, RoomId, Sid, json,
    limits::{MAX_HEADER, MAX_HOPS, MAX_PART, MAX_PEERS},
    peer::Frame,
    signal::{ClientSignal, Handshake, HandshakeBody},
};

use super::Client;
use crate::{
    connection::Connection,
    event::SignallerState,
    peer::Peer,
    report::{Phase, Route},
    roster::PeerKey,
    time::Time,
    timers::Timer,
};

/// Changes of what we are connected to are told together.
const GOSSIP: Duration = Duration::from_millis(500);
/// What was passed on or taken, to know it when it comes again.
const MAX_SEEN: usize = 1024;
/// The time in which no more than [`Limits::relayed`](crate::Limits::relayed) is passed on for a peer.
const RELAY_SPAN: Duration = Duration::from_secs(10);

/// What the ids in a frame may take, escaped as JSON; the rest of its header is for the room and the names of fields.
const MAX_PEERS_BYTES: usize = MAX_HEADER - 2048;

/// A step of a handshake on its way over others.
#[derive(Debug, Clone)]
pub(super) struct Relayed<'a> {
    pub(super) from: PermanentId,
    pub(super) sid: Option<Sid>,
    pub(super) to: PermanentId,
    pub(super) room: RoomId,
    pub(super) number: u32,
    pub(super) hops: u32,
    pub(super) body: &'a str,
}

impl Relayed<'_> {
    /// Tells it from others (FNV-1a). Two that are taken for one by chance do no harm: what is lost is sent again.
    fn hash(&self) -> u64 {
        let step = |hash: u64, next: u64| (hash ^ next).wrapping_mul(0x0100_0000_01b3);
        let mut hash = step(0xcbf2_9ce4_8422_2325, u64::from(self.number));
        for text in [self.from.as_str(), self.to.as_str(), self.body] {
            for byte in text.bytes() {
                hash = step(hash, u64::from(byte));
            }
        }
        hash
    }
}

impl Client {
    /// Whether a peer can be told something without a connection to it.
    pub(super) fn is_reachable(&self, key: PeerKey) -> bool {
        let present = self.roster.get(key).is_some_and(|peer| peer.present);
        (present && self.state == SignallerState::Connected) || !self.mutual_peers(key, None, 1).is_empty()
    }

    /// The peers that are connected to a peer and to us, so many at most. `besides` is to be left out.
    fn mutual_peers(&self, key: PeerKey, besides: Option<PeerKey>, max: usize) -> Vec<PeerKey> {
        let mut mutual = Vec::new();
        let id = self.roster.get(key).and_then(|peer| peer.id.as_ref()).filter(|_| self.config.handshake_over_peers);
        let Some(id) = id else { return mutual };
        for (other, peer) in self.roster.iter() {
            let knows = other != key && Some(other) != besides && peer.acquaintances.contains_key(id);
            if knows && peer.is_well() && mutual.len() < max && self.shared_room(key, other).is_some() {
                mutual.push(other);
            }
        }
        mutual
    }

    /// A room of ours in which a peer says that it is connected to another one, who is there as far as we know.
    fn shared_room(&self, one: PeerKey, other: PeerKey) -> Option<RoomId> {
        let (one, other) = (self.roster.get(one)?, self.roster.get(other)?);
        let acquaintance = other.acquaintances.get(one.id.as_ref()?)?;
        let shared = |room: &&RoomId| one.rooms.contains_key(room) && self.rooms.contains_key(room);
        acquaintance.rooms.keys().find(shared).cloned()
    }

    /// Sends a step of a handshake: over a mutual peer if there is one that takes it, or else over the server; by every way
    /// if the matter is urgent.
    pub(super) fn send_handshake(&mut self, key: PeerKey, handshake: Handshake) {
        let Some(peer) = self.roster.get(key) else { return };
        let (everywhere, recipient) = (peer.by_every_way, peer.sid.clone());
        let server = peer.present && self.state == SignallerState::Connected;
        let ways = if everywhere { 2 } else { 1 };
        let mutual = self.mutual_peers(key, None, ways);
        let relayed = self.relay_over(key, &mutual, &handshake);
        let signalled = server && (!relayed || everywhere);
        if signalled {
            let id = self.permanent_id.clone();
            self.signal(ClientSignal::Handshake { recipient, id, handshake });
        }
        let tried = match (signalled, relayed) {
            (true, true) => Route::Both,
            (true, false) => Route::Server,
            (false, true) => Route::Peer,
            (false, false) => return,
        };
        // Once something has come back it is known which way works.
        if let Some(peer) = self.roster.get_mut(key).filter(|peer| !peer.is_bound()) {
            peer.history.route = Some(tried);
        }
    }

    /// Sends a step of a handshake over these peers; returns whether one of them takes it.
    fn relay_over(&mut self, key: PeerKey, ways: &[PeerKey], handshake: &Handshake) -> bool {
        let Some(to) = self.roster.get(key).filter(|_| !ways.is_empty()).and_then(|peer| peer.id.clone()) else {
            return false;
        };
        let (from, sid, body) = (self.permanent_id.clone(), self.sid.clone(), handshake.to_json());
        self.relayed = self.relayed.wrapping_add(1);
        let number = self.relayed;
        let mut taken = false;
        for &way in ways {
            let Some(room) = self.shared_room(key, way) else { continue };
            let (from, sid, to) = (from.clone(), sid.clone(), to.clone());
            taken |= self.relay(way, &Relayed { from, sid, to, room, number, hops: MAX_HOPS, body: &body });
        }
        taken
    }

    /// Gives a peer a step to pass on, unless it is too long, or the peer has more waiting than it takes.
    fn relay(&mut self, way: PeerKey, relayed: &Relayed<'_>) -> bool {
        let Relayed { from, sid, to, room, number, hops, body } = relayed.clone();
        body.len() <= MAX_PART && self.answer(way, &Frame::Relay { from, sid, to, room, number, hops, body })
    }

    /// A step of a handshake for us or for somebody else has come over a peer.
    pub(super) fn handle_relay(&mut self, now: Time, way: PeerKey, relayed: &Relayed<'_>) {
        let Some(peer) = self.roster.get_mut(way) else { return };
        // Who is the first to pass it on knows that it comes from whom it says.
        let stamped = relayed.hops < MAX_HOPS || peer.id.as_ref() == Some(&relayed.from);
        let (since, count) = peer.relayed;
        peer.relayed = if since + RELAY_SPAN <= now { (now, 1) } else { (since, count.saturating_add(1)) };
        let seen = relayed.hash();
        if !self.config.handshake_over_peers
            || !stamped
            || relayed.hops > MAX_HOPS
            || !self.rooms.contains_key(&relayed.room)
            || peer.relayed.1 > self.config.limits.relayed
            || self.seen.contains(&seen)
        {
            return;
        }
        match self.seen.get_mut(self.next_seen) {
            Some(oldest) => *oldest = seen,
            None => self.seen.push(seen),
        }
        self.next_seen = (self.next_seen + 1) % MAX_SEEN;
        if relayed.to == self.permanent_id {
            self.take_relayed(now, way, relayed);
        } else {
            self.pass_on(way, relayed);
        }
    }

    /// Passes a step on to whom it is meant for, or to somebody who is connected to that one.
    fn pass_on(&mut self, way: PeerKey, relayed: &Relayed<'_>) {
        let Some(hops) = relayed.hops.checked_sub(1) else { return };
        let Some(to) = self.roster.by_id(&relayed.to) else { return };
        let direct = Some(to).filter(|to| self.roster.get(*to).is_some_and(|peer| peer.is_well()));
        // Rooms stay apart: only who could meet anyway is helped.
        let inside = |key: &PeerKey| self.roster.get(*key).is_some_and(|peer| peer.rooms.contains_key(&relayed.room));
        let others = || self.mutual_peers(to, Some(way), MAX_PEERS).into_iter().find(inside);
        let Some(next) = direct.filter(inside).or_else(others) else { return };
        if next != way && inside(&way) {
            self.relay(next, &Relayed { hops, ..relayed.clone() });
        }
    }

    /// A step of a handshake for us has come over a peer. Whoever passes it on could have made it up, so a connection
    /// that is well is not given up because of it, before the peer was asked.
    fn take_relayed(&mut self, now: Time, way: PeerKey, relayed: &Relayed<'_>) {
        let handshake = match Handshake::from_json(relayed.body) {
            Ok(handshake) => handshake,
            Err(error) => return self.complain(way, error.message()),
        };
        let Some(key) = self.roster.by_id(&relayed.from).filter(|key| self.roster.get(*key).is_some_and(|p| !p.absent))
        else {
            self.meet_again(now, way, relayed, handshake);
            return;
        };
        let Some(peer) = self.roster.get(key) else { return };
        let same = peer.connection.as_ref().and_then(Connection::remote) == Some(handshake.connection);
        if peer.is_well() {
            if matches!(handshake.body, HandshakeBody::Offer(_)) && (handshake.restart || !same) {
                self.ping(now, key);
            }
            return;
        }
        if !peer.connected {
            self.note_room(key, relayed.room.clone());
        }
        self.handle_handshake(now, key, handshake, Route::Peer);
    }

    /// Somebody whom we do not know, or not any more, offers over a peer.
    fn meet_again(&mut self, now: Time, way: PeerKey, relayed: &Relayed<'_>, handshake: Handshake) {
        let known =
            self.roster.get(way).and_then(|peer| peer.acquaintances.get(&relayed.from)).map(|known| known.sid.clone());
        let begins = !handshake.restart && handshake.peer_connection.is_none();
        let offers = begins && matches!(handshake.body, HandshakeBody::Offer(_));
        // What was long on its way does not bring back who has gone since.
        let newest =
            self.roster.by_id(&relayed.from).and_then(|key| self.roster.get(key)).map(|peer| peer.newest_remote);
        let late = newest.is_some_and(|newest| handshake.connection < newest);
        let Some(sid) = relayed.sid.clone().or(known).filter(|_| offers && !late) else { return };
        // Whoever offers has more right to a session than somebody of whom nothing was ever heard.
        if let Some(namesake) = self.roster.by_sid(&sid)
            && self.roster.get(namesake).is_some_and(|peer| !peer.present && !peer.connected && !peer.is_bound())
        {
            self.part(now, namesake);
        }
        if let Some(key) = self.introduce(way, sid, relayed.from.clone(), relayed.room.clone()) {
            self.handle_handshake(now, key, handshake, Route::Peer);
        }
    }

    /// A peer tells whom it is connected to.
    pub(super) fn handle_peers(
        &mut self,
        now: Time,
        key: PeerKey,
        room: RoomId,
        added: Vec<(PermanentId, Sid)>,
        removed: Vec<PermanentId>,
    ) {
        if !self.rooms.contains_key(&room) {
            // It has yet to hear that we have left, if we were there.
            self.acknowledge_all(key);
            self.answer(key, &Frame::Leave { room });
            return;
        }
        if !self.config.handshake_over_peers {
            return self.note_room(key, room);
        }
        let max = self.config.limits.peers;
        let Some(peer) = self.roster.get_mut(key) else { return };
        peer.rooms.insert(room.clone(), ());
        for id in &removed {
            peer.forget_acquaintance(id, &room);
        }
        for (id, sid) in &added {
            if peer.acquaintances.len() < max || peer.acquaintances.contains_key(id) {
                peer.note_acquaintance(id, sid, &room);
            }
        }
        for id in removed {
            if let Some(other) = self.roster.by_id(&id) {
                self.reconsider(now, other);
            }
        }
        for (id, sid) in added {
            match self.roster.by_id(&id).filter(|other| self.roster.get(*other).is_some_and(|peer| !peer.absent)) {
                Some(other) => self.hasten_if_lost(now, other),
                None => self.get_to_know(now, key, sid, id, room.clone()),
            }
        }
    }

    /// Connects to somebody whom a peer is connected to, as soon as there is room for more strangers.
    fn get_to_know(&mut self, now: Time, way: PeerKey, sid: Sid, id: PermanentId, room: RoomId) {
        match self.introduce(way, sid, id, room) {
            Some(key) => self.offer_later(now, key, self.config.timing.offer),
            None => self.unmet = true,
        }
    }

    /// Looks again at those for whom there was no room.
    fn meet_more(&mut self) {
        let mut strangers = Vec::new();
        for (way, peer) in self.roster.iter().filter(|(_, peer)| peer.is_well()) {
            for (id, acquaintance) in peer.acquaintances.iter() {
                let known = self.roster.by_id(id).and_then(|key| self.roster.get(key));
                let room = acquaintance.rooms.keys().find(|room| self.rooms.contains_key(room));
                if let Some(room) = room.filter(|_| known.is_none_or(|peer| peer.absent)) {
                    strangers.push((way, acquaintance.sid.clone(), id.clone(), room.clone()));
                }
            }
        }
        for (way, sid, id, room) in strangers {
            self.get_to_know(self.now, way, sid, id, room);
        }
    }

    /// There is a new way to a peer; that is of interest if there was none.
    fn hasten_if_lost(&mut self, now: Time, key: PeerKey) {
        let tried = |peer: &Peer| peer.connection.is_some() && !peer.is_open();
        let lost = self.roster.get(key).is_some_and(|peer| peer.connected && !peer.is_well() && !tried(peer));
        let waits = self.timers.is_set(key, Timer::Offer);
        if lost && !waits {
            self.hasten(now, key);
        }
    }

    /// Makes the acquaintance of somebody over a peer, if there is room for it.
    fn introduce(&mut self, way: PeerKey, sid: Sid, id: PermanentId, room: RoomId) -> Option<PeerKey> {
        let (mut strangers, mut of_this_way) = (0, 0);
        for (_, peer) in self.roster.iter().filter(|(_, peer)| !peer.present && !peer.connected) {
            strangers += 1;
            of_this_way += usize::from(peer.introduced_by == Some(way));
        }
        let limits = &self.config.limits;
        if id == self.permanent_id
            || self.sid.as_ref() == Some(&sid)
            || self.roster.by_sid(&sid).is_some()
            || strangers >= limits.introductions
            || of_this_way * 4 >= limits.introductions
            || self.roster.len() >= limits.peers
        {
            return None;
        }
        let key = match self.roster.by_id(&id) {
            Some(key) => {
                self.roster.rename(key, sid);
                key
            }
            None => self.roster.insert(sid, Some(id)),
        };
        let peer = self.roster.get_mut(key)?;
        peer.present = false;
        peer.introduced_by = Some(way);
        peer.rooms.insert(room, ());
        self.reach(key, Phase::Discovered);
        Some(key)
    }

    /// We are connected to a peer from now on, or no longer: all others are to know, those whom it shares a room with.
    pub(super) fn gossip(&mut self, key: PeerKey, connected: bool) {
        let Some(peer) = self.roster.get(key) else { return };
        let Some(id) = peer.id.clone() else { return };
        let sid = (connected && peer.is_well()).then(|| peer.sid.clone());
        for room in peer.rooms.keys().cloned().collect::<Vec<_>>() {
            self.announce(id.clone(), room, sid.clone());
        }
    }

    /// We are connected to somebody in a room, or not any more.
    pub(super) fn announce(&mut self, id: PermanentId, room: RoomId, sid: Option<Sid>) {
        if !self.config.handshake_over_peers {
            return;
        }
        match self.news.iter_mut().find(|(other, place, _)| *other == id && *place == room) {
            Some(news) => news.2 = sid,
            None => self.news.push((id, room, sid)),
        }
        self.gossip_soon();
    }

    fn gossip_soon(&mut self) {
        if !self.timers.is_set(PeerKey::NOBODY, Timer::Gossip) {
            self.timers.set(PeerKey::NOBODY, Timer::Gossip, self.now + GOSSIP);
        }
    }

    /// There is room for another stranger, perhaps.
    pub(super) fn make_room(&mut self) {
        if self.unmet {
            self.gossip_soon();
        }
    }

    /// Tells all peers what has changed since the last time.
    pub(super) fn tell_news(&mut self) {
        if std::mem::take(&mut self.unmet) {
            self.meet_more();
        }
        let news = std::mem::take(&mut self.news);
        for key in self.roster.keys() {
            let Some(peer) = self.roster.get_mut(key).filter(|peer| peer.is_open()) else { continue };
            let informed = std::mem::replace(&mut peer.informed, true);
            let id = peer.id.clone();
            for room in peer.rooms.keys().cloned().collect::<Vec<_>>() {
                if !informed {
                    self.introduce_room(key, &room);
                    continue;
                }
                let mut added = Vec::new();
                let mut removed = Vec::new();
                for (other, place, sid) in &news {
                    let shared = Some(other) != id.as_ref() && *place == room;
                    match sid {
                        Some(sid) if shared => added.push((other.clone(), sid.clone())),
                        None if shared => removed.push(other.clone()),
                        _ => {}
                    }
                }
                if !(added.is_empty() && removed.is_empty()) {
                    self.tell_peers(key, &room, added, removed);
                }
            }
        }
    }

    /// Tells a peer whom we are connected to in a room.
    pub(super) fn introduce_room(&mut self, key: PeerKey, room: &RoomId) {
        let open = self.roster.get(key).is_some_and(|peer| peer.is_open());
        if !open || !self.config.handshake_over_peers {
            return;
        }
        // It is told even if there is nobody: that we believe it to be in the room.
        let members =
            self.roster.iter().filter(|(other, peer)| *other != key && peer.is_well() && peer.rooms.contains_key(room));
        let added = members.filter_map(|(_, peer)| Some((peer.id.clone()?, peer.sid.clone()))).collect();
        self.tell_peers(key, room, added, Vec::new());
    }

    fn tell_peers(&mut self, key: PeerKey, room: &RoomId, added: Vec<(PermanentId, Sid)>, removed: Vec<PermanentId>) {
        let (mut some_added, mut some_removed) = (Vec::new(), Vec::new());
        let length = |text: &str| json::string(text).len() + 1;
        let news = added.into_iter().map(|(id, sid)| (id, Some(sid))).chain(removed.into_iter().map(|id| (id, None)));
        let mut space = MAX_PEERS_BYTES;
        for (id, sid) in news {
            let bytes = length(id.as_str()) + sid.as_ref().map_or(0, |sid| length(sid.as_str()));
            if bytes > space || some_added.len() + some_removed.len() == MAX_PEERS {
                self.tell_some_peers(key, room, &mut some_added, &mut some_removed);
                space = MAX_PEERS_BYTES;
            }
            space = space.saturating_sub(bytes);
            match sid {
                Some(sid) => some_added.push((id, sid)),
                None => some_removed.push(id),
            }
        }
        self.tell_some_peers(key, room, &mut some_added, &mut some_removed);
    }

    fn tell_some_peers(
        &mut self,
        key: PeerKey,
        room: &RoomId,
        added: &mut Vec<(PermanentId, Sid)>,
        removed: &mut Vec<PermanentId>,
    ) {
        let (room, added, removed) = (room.clone(), std::mem::take(added), std::mem::take(removed));
        self.push(key, &Frame::Peers { room, added, removed });
    }
}
