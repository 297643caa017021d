//! The tracks between us and one peer: what it defines, what we want of it and get, and what we send to it.

use rtc_cafe_wire::{Sid, TrackId, limits::MAX_TRACKS, peer::Mids};

use crate::{event::Definition, map::Map};

#[derive(Debug, Default)]
pub(crate) struct PeerTracks {
    definitions: Map<TrackId, Definition>,
    /// What we have asked for; it outlives the connection.
    wanted: Map<TrackId, ()>,
    /// The session under which the application knew the peer when the connection was lost.
    last_sid: Option<Sid>,
    /// What the peer's last offer sends on which m-line.
    mids: Map<String, TrackId>,
    /// The m-lines whose track has come.
    arrived: Map<String, ()>,
    /// What the application knows to be there, with its m-line.
    identified: Map<TrackId, String>,
    /// What we send, because the peer asked for it.
    sending: Map<TrackId, ()>,
}

/// What has become of an incoming track.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Identified(TrackId, String),
    Removed(TrackId),
}

impl PeerTracks {
    pub(crate) fn definitions(&self) -> &Map<TrackId, Definition> {
        &self.definitions
    }

    pub(crate) fn identified(&self) -> &Map<TrackId, String> {
        &self.identified
    }

    /// The peer defines a track; false if that is nothing new, or one too many.
    pub(crate) fn define(&mut self, id: TrackId, definition: Definition) -> bool {
        let known = self.definitions.get(&id);
        let news = known.map_or(self.definitions.len() < MAX_TRACKS, |known| *known != definition);
        if news {
            self.definitions.insert(id, definition);
        }
        news
    }

    /// The peer takes a track back.
    pub(crate) fn undefine(&mut self, id: &TrackId) -> Option<Definition> {
        self.wanted.remove(id);
        self.definitions.remove(id)
    }

    /// We want a track.
    pub(crate) fn want(&mut self, id: TrackId) {
        self.wanted.insert(id, ());
    }

    /// We do not want it any more; false if we did not.
    pub(crate) fn unwant(&mut self, id: &TrackId) -> bool {
        self.wanted.remove(id).is_some()
    }

    /// The peer's offer sends these tracks. Returns those that nobody asked for.
    pub(crate) fn set_mids(&mut self, mids: Mids) -> Vec<TrackId> {
        let mut arrived = Map::default();
        let mut unwanted = Vec::new();
        let mut now = Map::default();
        for (mid, id) in mids {
            // An m-line that now carries another track has to bring it first.
            if self.arrived.contains_key(&mid) && self.mids.get(&mid) == Some(&id) {
                arrived.insert(mid.clone(), ());
            }
            if !self.wanted.contains_key(&id) {
                unwanted.push(id.clone());
            }
            now.insert(mid, id);
        }
        self.mids = now;
        self.arrived = arrived;
        unwanted
    }

    /// The track of an m-line has come.
    pub(crate) fn arrive(&mut self, mid: String) {
        if self.mids.contains_key(&mid) {
            self.arrived.insert(mid, ());
        }
    }

    /// Brings what the application knows up to date with what is there.
    pub(crate) fn refresh(&mut self) -> Vec<Change> {
        let mut there = Map::default();
        for (mid, id) in self.mids.iter() {
            if self.arrived.contains_key(mid) && self.wanted.contains_key(id) {
                there.insert(id.clone(), mid.clone());
            }
        }
        let known = std::mem::replace(&mut self.identified, there);
        let mut changes = Vec::new();
        for (id, mid) in known.iter() {
            if self.identified.get(id) != Some(mid) {
                changes.push(Change::Removed(id.clone()));
            }
        }
        for (id, mid) in self.identified.iter() {
            if known.get(id) != Some(mid) {
                changes.push(Change::Identified(id.clone(), mid.clone()));
            }
        }
        changes
    }

    /// We send a track from now on; false if we did.
    pub(crate) fn send(&mut self, id: TrackId) -> bool {
        let new = !self.sending.contains_key(&id);
        self.sending.insert(id, ());
        new
    }

    /// We send it no longer; false if we did not.
    pub(crate) fn unsend(&mut self, id: &TrackId) -> bool {
        self.sending.remove(id).is_some()
    }

    /// The connection is gone, and with it all that flowed.
    pub(crate) fn unplug(&mut self) -> Vec<Change> {
        self.mids.clear();
        self.arrived.clear();
        self.sending.clear();
        self.refresh()
    }

    /// The peer is gone, and with it all but our wishes.
    pub(crate) fn disconnect(&mut self, sid: Sid) -> Map<TrackId, Definition> {
        self.last_sid = Some(sid);
        std::mem::take(&mut self.definitions)
    }

    /// The session under which the application knew the peer when the connection was lost.
    pub(crate) const fn last_sid(&self) -> Option<&Sid> {
        self.last_sid.as_ref()
    }

    /// What we have asked for.
    pub(crate) fn wanted(&self) -> impl Iterator<Item = &TrackId> {
        self.wanted.keys()
    }
}
