//! All peers, and the names by which they are found: session, permanent id, connection.

use rtc_cafe_wire::{PermanentId, Sid, signal::ConnectionId};

use crate::{connection::Connection, map::Map, peer::Peer, tracks::PeerTracks};

/// Names a peer inside the client, whatever its session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PeerKey(u64);

/// Peers who are gone and whose tracks we wanted, at most.
const MAX_WISHES: usize = 1000;

#[derive(Debug, Default)]
pub(crate) struct Roster {
    peers: Map<PeerKey, Peer>,
    by_sid: Map<Sid, PeerKey>,
    by_id: Map<PermanentId, PeerKey>,
    by_connection: Map<ConnectionId, PeerKey>,
    /// The tracks of peers who are gone, for what we wanted of them, should they come back; the oldest first.
    wishes: Vec<(PermanentId, PeerTracks)>,
    next: u64,
}

impl Roster {
    pub(crate) fn len(&self) -> usize {
        self.peers.len()
    }

    pub(crate) fn get(&self, key: PeerKey) -> Option<&Peer> {
        self.peers.get(&key)
    }

    pub(crate) fn get_mut(&mut self, key: PeerKey) -> Option<&mut Peer> {
        self.peers.get_mut(&key)
    }

    /// All peers in the order in which they were discovered.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (PeerKey, &Peer)> {
        self.peers.iter().map(|(&key, peer)| (key, peer))
    }

    pub(crate) fn keys(&self) -> Vec<PeerKey> {
        self.peers.keys().copied().collect()
    }

    pub(crate) fn by_sid(&self, sid: &Sid) -> Option<PeerKey> {
        self.by_sid.get(sid).copied()
    }

    pub(crate) fn by_id(&self, id: &PermanentId) -> Option<PeerKey> {
        self.by_id.get(id).copied()
    }

    /// The peer of a connection that is not closed.
    pub(crate) fn by_connection(&self, id: ConnectionId) -> Option<PeerKey> {
        self.by_connection.get(&id).copied()
    }

    pub(crate) fn insert(&mut self, sid: Sid, id: Option<PermanentId>) -> PeerKey {
        let key = PeerKey(self.next);
        self.next += 1;
        self.by_sid.insert(sid.clone(), key);
        self.peers.insert(key, Peer::new(sid, None));
        if let Some(id) = id {
            self.name(key, id);
        }
        key
    }

    pub(crate) fn remove(&mut self, key: PeerKey) -> Option<Peer> {
        let mut peer = self.peers.remove(&key)?;
        self.by_sid.remove(&peer.sid);
        if let Some(id) = &peer.id {
            self.by_id.remove(id);
            let tracks = std::mem::take(&mut peer.tracks);
            if tracks.wanted().next().is_some() {
                if self.wishes.len() >= MAX_WISHES {
                    self.wishes.remove(0);
                }
                self.wishes.push((id.clone(), tracks));
            }
        }
        if let Some(connection) = &peer.connection {
            self.by_connection.remove(&connection.id());
        }
        Some(peer)
    }

    /// Gives a peer another session, unless that is somebody's already; returns the one it had.
    pub(crate) fn rename(&mut self, key: PeerKey, sid: Sid) -> Option<Sid> {
        if self.by_sid.contains_key(&sid) {
            return None;
        }
        let peer = self.peers.get_mut(&key)?;
        self.by_sid.remove(&peer.sid);
        self.by_sid.insert(sid.clone(), key);
        Some(std::mem::replace(&mut peer.sid, sid))
    }

    /// Notes the permanent id of a peer that had none.
    pub(crate) fn name(&mut self, key: PeerKey, id: PermanentId) {
        if let Some(peer) = self.peers.get_mut(&key) {
            let wish = self.wishes.iter().position(|(of, _)| *of == id);
            if let Some(wish) = wish {
                peer.tracks.resume(&self.wishes.remove(wish).1);
            }
            self.by_id.insert(id.clone(), key);
            peer.id = Some(id);
        }
    }

    /// The tracks of a peer that is away, by the session under which the application knew it last.
    pub(crate) fn tracks_of_absent(&mut self, sid: &Sid) -> Option<&mut PeerTracks> {
        let known = |tracks: &PeerTracks| tracks.last_sid() == Some(sid);
        let absent = self.peers.iter().find(|(_, peer)| !peer.is_connected() && known(&peer.tracks));
        match absent.map(|(key, _)| *key) {
            Some(key) => self.peers.get_mut(&key).map(|peer| &mut peer.tracks),
            None => self.wishes.iter_mut().map(|(_, tracks)| tracks).find(|tracks| known(tracks)),
        }
    }

    pub(crate) fn set_connection(&mut self, key: PeerKey, connection: Connection) {
        if let Some(peer) = self.peers.get_mut(&key) {
            self.by_connection.insert(connection.id(), key);
            peer.connection = Some(connection);
        }
    }

    pub(crate) fn take_connection(&mut self, key: PeerKey) -> Option<Connection> {
        let connection = self.peers.get_mut(&key)?.connection.take()?;
        self.by_connection.remove(&connection.id());
        Some(connection)
    }
}
