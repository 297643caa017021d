//! All peers, and the names by which they are found: session, permanent id, connection.

use std::num::NonZeroU64;

use rtc_cafe_wire::{PermanentId, Sid, signal::ConnectionId};

use crate::{connection::Connection, mailbox::Mailbox, map::Map, peer::Peer, tracks::PeerTracks};

/// Names a peer inside the client, whatever its session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PeerKey(NonZeroU64);

/// Peers who are gone and remembered, at most. Each took a connection, so they cannot be made up quickly; of one that is
/// forgotten messages may come twice.
const MAX_ABSENT: usize = 10_000;

#[derive(Debug, Default)]
pub(crate) struct Roster {
    peers: Map<PeerKey, Peer>,
    by_sid: Map<Sid, PeerKey>,
    by_id: Map<PermanentId, PeerKey>,
    by_connection: Map<ConnectionId, PeerKey>,
    /// How many of the peers are absent.
    absent: usize,
    /// The key that was given last.
    last: Option<PeerKey>,
    /// The number of the first stream of messages to each.
    first_stream: u32,
}

impl PeerKey {
    /// For what concerns no peer in particular.
    pub(crate) const NOBODY: Self = Self(NonZeroU64::MAX);
}

impl Roster {
    pub(crate) fn new(first_stream: u32) -> Self {
        Self { first_stream, ..Self::default() }
    }

    /// How many peers there are.
    pub(crate) fn len(&self) -> usize {
        self.peers.len() - self.absent
    }

    pub(crate) fn get(&self, key: PeerKey) -> Option<&Peer> {
        self.peers.get(&key)
    }

    pub(crate) fn get_mut(&mut self, key: PeerKey) -> Option<&mut Peer> {
        self.peers.get_mut(&key)
    }

    /// All peers that are there, in the order in which they were discovered.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (PeerKey, &Peer)> {
        self.peers.iter().map(|(&key, peer)| (key, peer)).filter(|(_, peer)| !peer.absent)
    }

    pub(crate) fn keys(&self) -> Vec<PeerKey> {
        self.iter().map(|(key, _)| key).collect()
    }

    /// Those who are gone and remembered.
    pub(crate) fn absent_keys(&self) -> Vec<PeerKey> {
        self.peers.iter().filter(|(_, peer)| peer.absent).map(|(&key, _)| key).collect()
    }

    pub(crate) fn by_sid(&self, sid: &Sid) -> Option<PeerKey> {
        self.by_sid.get(sid).copied()
    }

    /// The peer with a permanent id, there or absent.
    pub(crate) fn by_id(&self, id: &PermanentId) -> Option<PeerKey> {
        self.by_id.get(id).copied()
    }

    /// The peer of a connection that is not closed.
    pub(crate) fn by_connection(&self, id: ConnectionId) -> Option<PeerKey> {
        self.by_connection.get(&id).copied()
    }

    pub(crate) fn insert(&mut self, sid: Sid, id: Option<PermanentId>) -> PeerKey {
        let key = PeerKey(self.last.map_or(NonZeroU64::MIN, |PeerKey(last)| last.saturating_add(1)));
        self.last = Some(key);
        self.by_sid.insert(sid.clone(), key);
        self.peers.insert(key, Peer::new(sid, None, Mailbox::new(self.first_stream)));
        if let Some(id) = id {
            self.name(key, id);
        }
        key
    }

    /// A peer is gone. It is remembered if there is a reason to.
    pub(crate) fn retire(&mut self, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(&key).filter(|peer| !peer.absent) else { return };
        let sid = peer.sid.clone();
        let Some(id) = peer.id.clone() else {
            self.by_sid.remove(&sid);
            self.peers.remove(&key);
            return;
        };
        let mut remembered = Peer::new(sid.clone(), Some(id.clone()), std::mem::take(&mut peer.mailbox));
        remembered.absent = true;
        remembered.present = false;
        remembered.newest_remote = peer.newest_remote;
        remembered.tracks = std::mem::take(&mut peer.tracks);
        if remembered.mailbox.is_used() || remembered.tracks.wanted().next().is_some() {
            *peer = remembered;
            self.absent += 1;
        } else {
            self.peers.remove(&key);
            self.by_id.remove(&id);
        }
        self.by_sid.remove(&sid);
    }

    /// The absent peer that is to be forgotten, because there are too many.
    pub(crate) fn surplus(&self) -> Option<PeerKey> {
        let oldest = self.peers.iter().find(|(_, peer)| peer.absent).map(|(&key, _)| key);
        oldest.filter(|_| self.absent > MAX_ABSENT)
    }

    /// Forgets an absent peer.
    pub(crate) fn forget(&mut self, key: PeerKey) {
        if self.peers.get(&key).is_some_and(|peer| peer.absent)
            && let Some(peer) = self.peers.remove(&key)
        {
            self.absent -= 1;
            if let Some(id) = &peer.id {
                self.by_id.remove(id);
            }
        }
    }

    /// Gives a peer another session, unless that is somebody's already; returns the one it had. One that was absent is
    /// there again.
    pub(crate) fn rename(&mut self, key: PeerKey, sid: Sid) -> Option<Sid> {
        if self.by_sid.contains_key(&sid) {
            return None;
        }
        let peer = self.peers.get_mut(&key)?;
        if std::mem::take(&mut peer.absent) {
            self.absent -= 1;
        } else {
            self.by_sid.remove(&peer.sid);
        }
        self.by_sid.insert(sid.clone(), key);
        Some(std::mem::replace(&mut peer.sid, sid))
    }

    /// Notes the permanent id of a peer that had none. If that is one who was absent, it takes its place.
    pub(crate) fn name(&mut self, key: PeerKey, id: PermanentId) {
        let before = self.by_id(&id).filter(|&before| before != key).and_then(|before| {
            let peer = self.peers.get_mut(&before).filter(|peer| peer.absent)?;
            let memory = (std::mem::take(&mut peer.mailbox), std::mem::take(&mut peer.tracks), peer.newest_remote);
            self.forget(before);
            Some(memory)
        });
        if let Some(peer) = self.peers.get_mut(&key) {
            if let Some((mailbox, tracks, newest_remote)) = before {
                peer.mailbox = mailbox;
                peer.tracks = tracks;
                peer.newest_remote = peer.newest_remote.max(newest_remote);
            }
            self.by_id.insert(id.clone(), key);
            peer.id = Some(id);
        }
    }

    /// The tracks of a peer that is away, by the session under which the application knew it last.
    pub(crate) fn tracks_of_absent(&mut self, sid: &Sid) -> Option<&mut PeerTracks> {
        let known = |peer: &Peer| !peer.connected && peer.tracks.last_sid() == Some(sid);
        let key = self.peers.iter().find(|(_, peer)| known(peer)).map(|(&key, _)| key)?;
        self.peers.get_mut(&key).map(|peer| &mut peer.tracks)
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
