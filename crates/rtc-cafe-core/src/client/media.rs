//! Media tracks: ours, offered to everybody; those of peers, requested one by one.

use rtc_cafe_wire::{
    Sid, TrackId,
    json::{self, Value, decimal},
    limits::{MAX_DESCRIPTION, MAX_TRACKS},
    peer::{Frame, Mids, TrackKind},
};

use super::Client;
use crate::{
    connection::Connection,
    event::{Definition, Event, Source},
    output::Command,
    roster::PeerKey,
    tracks::Change,
};

/// Why a track could not be offered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.message())]
#[non_exhaustive]
pub enum AddTrackError {
    /// There are as many tracks as one client may offer.
    TooMany,
    /// The description is not JSON, or too long.
    Description,
}

impl AddTrackError {
    /// What `Display` shows, put together without the formatting machinery, which browsers would have to load.
    pub fn message(&self) -> String {
        match self {
            Self::TooMany => json::concat(&["no more than ", &decimal(MAX_TRACKS), " tracks can be offered at a time"]),
            Self::Description => {
                json::concat(&["a track's description must be JSON of at most ", &decimal(MAX_DESCRIPTION), " bytes"])
            }
        }
    }
}

/// Why a track could not be requested.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.message())]
#[non_exhaustive]
pub enum RequestTrackError {
    /// Not the sid of a connected peer.
    NotConnected(Sid),
    /// The peer has defined no such track, or has removed it.
    UnknownTrack(TrackId),
}

impl RequestTrackError {
    /// What `Display` shows, put together without the formatting machinery, which browsers would have to load.
    pub fn message(&self) -> String {
        match self {
            Self::NotConnected(sid) => json::concat(&["not connected to a peer with the sid ", sid.as_str()]),
            Self::UnknownTrack(id) => json::concat(&["the peer has no track with the id ", id.as_str()]),
        }
    }
}

impl Client {
    /// An id for a track, for drivers whose tracks have none of their own.
    pub fn mint_track_id(&mut self) -> TrackId {
        TrackId::new(self.rng.hex(32)).expect("32 digits are neither none nor too many")
    }

    /// Makes a track known to every peer, now and later; whoever requests it is sent it. Adding one that was added
    /// describes it anew.
    pub fn add_track(&mut self, id: TrackId, kind: TrackKind, description: &str) -> Result<(), AddTrackError> {
        let description = Value::parse(description).ok().map(Value::text).filter(|text| text.len() <= MAX_DESCRIPTION);
        let definition = Definition { kind, description: description.ok_or(AddTrackError::Description)?.to_owned() };
        if !self.tracks.contains_key(&id) && self.tracks.len() >= MAX_TRACKS {
            return Err(AddTrackError::TooMany);
        }
        for key in self.roster.keys() {
            self.push_definition(key, &id, &definition);
        }
        self.tracks.insert(id, definition);
        Ok(())
    }

    /// Takes a track back from everybody, because the application says so or because it has ended. Returns whether
    /// there was one.
    pub fn remove_track(&mut self, id: &TrackId) -> bool {
        if self.tracks.remove(id).is_none() {
            return false;
        }
        for key in self.roster.keys() {
            self.stop_sending(key, id);
            self.push(key, &Frame::TrackRemoved { id: id.clone() });
        }
        true
    }

    /// Asks a peer for one of its tracks. It is asked again whenever the peer comes back, until the track is removed by
    /// either side. Asking twice is harmless.
    pub fn request_peer_track(&mut self, sid: &Sid, id: &TrackId) -> Result<(), RequestTrackError> {
        let connected = |key: &PeerKey| self.roster.get(*key).is_some_and(|peer| peer.connected);
        let key = self.roster.by_sid(sid).filter(connected);
        let key = key.ok_or_else(|| RequestTrackError::NotConnected(sid.clone()))?;
        let peer = self.roster.get_mut(key).filter(|peer| peer.tracks.definitions().contains_key(id));
        let peer = peer.ok_or_else(|| RequestTrackError::UnknownTrack(id.clone()))?;
        peer.tracks.want(id.clone());
        // Even if it was wanted before: the peer may have removed it and added it again.
        self.push(key, &Frame::TrackRequest { id: id.clone() });
        Ok(())
    }

    /// Has a peer's track sent to us no longer; others keep it. Returns whether it had been requested. A peer that is
    /// away goes by the sid that it had last.
    pub fn remove_peer_track(&mut self, sid: &Sid, id: &TrackId) -> bool {
        let connected = |key: &PeerKey| self.roster.get(*key).is_some_and(|peer| peer.connected);
        let Some(key) = self.roster.by_sid(sid).filter(connected) else {
            return self.roster.tracks_of_absent(sid).is_some_and(|tracks| tracks.unwant(id));
        };
        let wanted = self.roster.get_mut(key).is_some_and(|peer| peer.tracks.unwant(id));
        if wanted {
            self.push(key, &Frame::TrackCancel { id: id.clone() });
            self.refresh_tracks(key);
        }
        wanted
    }

    /// Our tracks.
    pub fn tracks(&self) -> impl Iterator<Item = (&TrackId, &Definition)> {
        self.tracks.iter()
    }

    /// The tracks that peers have defined.
    pub fn peer_track_definitions(&self) -> impl Iterator<Item = (&Sid, &TrackId, &Definition)> {
        self.roster
            .iter()
            .flat_map(|(_, peer)| peer.tracks.definitions().iter().map(|(id, definition)| (&peer.sid, id, definition)))
    }

    /// The tracks of peers that have arrived.
    pub fn peer_tracks(&self) -> impl Iterator<Item = (&Sid, &TrackId, Source)> {
        self.roster.iter().flat_map(|(_, peer)| {
            let connection = peer.connection.as_ref().map(Connection::id);
            peer.tracks.identified().iter().filter_map(move |(id, mid)| {
                Some((&peer.sid, id, Source { connection: connection?, mid: mid.clone() }))
            })
        })
    }

    /// Tells a peer that has just connected what we have, and asks it for what we wanted of it when it was gone. What it
    /// has no more, it says; to wait for its definitions would not tell that one was removed meanwhile.
    pub(super) fn introduce_tracks(&mut self, key: PeerKey) {
        let tracks = std::mem::take(&mut self.tracks);
        for (id, definition) in tracks.iter() {
            self.push_definition(key, id, definition);
        }
        self.tracks = tracks;
        let Some(peer) = self.roster.get(key) else { return };
        for id in peer.tracks.wanted().cloned().collect::<Vec<_>>() {
            self.push(key, &Frame::TrackRequest { id });
        }
    }

    fn push_definition(&mut self, key: PeerKey, id: &TrackId, definition: &Definition) {
        let Definition { kind, description } = definition;
        self.push(key, &Frame::Track { id: id.clone(), kind: *kind, description });
    }

    /// A peer defines a track.
    pub(super) fn handle_definition(&mut self, key: PeerKey, id: TrackId, definition: Definition) {
        let Some(peer) = self.roster.get_mut(key) else { return };
        if !peer.tracks.define(id.clone(), definition.clone()) {
            return;
        }
        let sid = peer.sid.clone();
        self.event(Event::PeerTrackDefined { sid, id, definition });
    }

    /// A peer does not have a track, or not any more.
    pub(super) fn handle_track_removed(&mut self, key: PeerKey, id: TrackId) {
        let Some(peer) = self.roster.get_mut(key) else { return };
        let sid = peer.sid.clone();
        let definition = peer.tracks.undefine(&id);
        self.refresh_tracks(key);
        if let Some(definition) = definition {
            self.event(Event::PeerTrackDefinitionRemoved { sid, id, definition });
        }
    }

    /// A peer asks for a track of ours.
    pub(super) fn handle_track_request(&mut self, key: PeerKey, id: TrackId) {
        if !self.tracks.contains_key(&id) {
            self.answer(key, &Frame::TrackRemoved { id });
        } else if self.roster.get_mut(key).is_some_and(|peer| peer.tracks.send(id.clone())) {
            self.change_tracks(key, Command::AddTrack(id));
        }
    }

    /// A peer wants a track of ours no longer, or it is gone.
    pub(super) fn stop_sending(&mut self, key: PeerKey, id: &TrackId) {
        if self.roster.get_mut(key).is_some_and(|peer| peer.tracks.unsend(id)) {
            self.change_tracks(key, Command::RemoveTrack(id.clone()));
        }
    }

    fn change_tracks(&mut self, key: PeerKey, command: Command) {
        if let Some(id) = self.roster.get(key).and_then(|peer| peer.connection.as_ref()).map(Connection::id) {
            self.command(id, command);
            self.negotiate(key, Connection::renegotiate);
        }
    }

    /// A peer's offer sends these tracks.
    pub(super) fn handle_mids(&mut self, key: PeerKey, mids: Mids) {
        let Some(peer) = self.roster.get_mut(key) else { return };
        let unwanted = peer.tracks.set_mids(mids);
        for id in unwanted {
            self.push(key, &Frame::TrackCancel { id });
        }
        self.refresh_tracks(key);
    }

    /// The track of an m-line has come.
    pub(super) fn handle_track_added(&mut self, key: PeerKey, mid: String) {
        if let Some(peer) = self.roster.get_mut(key) {
            peer.tracks.arrive(mid);
            self.refresh_tracks(key);
        }
    }

    /// The connection of a peer is gone, and what flowed over it.
    pub(super) fn unplug_tracks(&mut self, key: PeerKey) {
        let changes = self.roster.get_mut(key).map(|peer| peer.tracks.unplug()).unwrap_or_default();
        self.tell_changes(key, changes);
    }

    /// A peer that has come back says which tracks it has: the others are gone.
    pub(super) fn keep_tracks(&mut self, key: PeerKey, kept: &[TrackId]) {
        let Some(peer) = self.roster.get(key) else { return };
        let known = peer.tracks.definitions().keys();
        for id in known.filter(|id| !kept.contains(id)).cloned().collect::<Vec<_>>() {
            self.handle_track_removed(key, id);
        }
    }

    /// A peer is gone, and its tracks are with it.
    pub(super) fn disconnect_tracks(&mut self, key: PeerKey) {
        let Some(peer) = self.roster.get_mut(key) else { return };
        let sid = peer.sid.clone();
        let definitions = peer.tracks.disconnect(sid.clone());
        for (id, definition) in definitions.iter() {
            let (sid, id, definition) = (sid.clone(), id.clone(), definition.clone());
            self.event(Event::PeerTrackDefinitionRemoved { sid, id, definition });
        }
    }

    fn refresh_tracks(&mut self, key: PeerKey) {
        let changes = self.roster.get_mut(key).map(|peer| peer.tracks.refresh()).unwrap_or_default();
        self.tell_changes(key, changes);
    }

    fn tell_changes(&mut self, key: PeerKey, changes: Vec<Change>) {
        let Some(peer) = self.roster.get(key) else { return };
        let (sid, connection) = (peer.sid.clone(), peer.connection.as_ref().map(Connection::id));
        for change in changes {
            let sid = sid.clone();
            match (change, connection) {
                (Change::Removed(id), _) => self.event(Event::PeerTrackRemoved { sid, id }),
                (Change::Identified(id, mid), Some(connection)) => {
                    let source = Source { connection, mid };
                    self.event(Event::PeerTrackIdentified { sid, id, source });
                }
                (Change::Identified(..), None) => {}
            }
        }
    }
}
