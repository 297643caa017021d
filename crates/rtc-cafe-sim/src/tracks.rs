//! What the applications of a world do with tracks, and what must have come of it.

use std::collections::BTreeSet;

use rtc_cafe_core::{Sid, TrackId, TrackKind};

use crate::{NodeId, World};

impl World {
    /// Has a client offer a track, if it does not offer many.
    pub fn add_track(&mut self, node: NodeId, number: u32) {
        if self.nodes[node].client.tracks().count() >= 8 {
            return;
        }
        let id = TrackId::new(format!("{node}-{number}")).expect("it is short");
        let kind = if number.is_multiple_of(2) { TrackKind::Audio } else { TrackKind::Video };
        self.nodes[node].client.add_track(id, kind, "\"a track\"").expect("few tracks");
        self.drive(node);
    }

    /// Has a client take one of its tracks back.
    pub fn remove_track(&mut self, node: NodeId) {
        let tracks: Vec<TrackId> = self.nodes[node].client.tracks().map(|(id, _)| id.clone()).collect();
        let Some(id) = self.rng.choice(tracks) else { return };
        self.nodes[node].client.remove_track(&id);
        for other in &mut self.nodes {
            other.wanted.remove(&(node, id.clone()));
        }
        self.drive(node);
    }

    /// Has a client request one of the tracks that it knows of.
    pub fn request_track(&mut self, node: NodeId) {
        let Some((sid, id)) = self.rng.choice(self.nodes[node].observer.defined.clone()) else { return };
        let requested = self.nodes[node].client.request_peer_track(&sid, &id);
        requested.expect("the peer is connected and has the track, as events say");
        let owner = self.owners[&sid];
        // Its owner may have taken it back, though the news has not arrived.
        if self.has_track(owner, &id) {
            self.nodes[node].wanted.insert((owner, id));
        }
        self.drive(node);
    }

    /// Has a client give up a track that it has requested.
    pub fn cancel_track(&mut self, node: NodeId) {
        let connected: BTreeSet<Sid> = self.nodes[node].observer.connected.clone();
        let wanted = self.nodes[node].wanted.clone().into_iter();
        let wanted: Vec<_> = wanted
            .filter_map(|(owner, id)| {
                Some((connected.iter().find(|&sid| self.owners[sid] == owner)?.clone(), owner, id))
            })
            .collect();
        let Some((sid, owner, id)) = self.rng.choice(wanted) else { return };
        self.nodes[node].client.remove_peer_track(&sid, &id);
        self.nodes[node].wanted.remove(&(owner, id));
        self.drive(node);
    }

    fn has_track(&self, node: NodeId, id: &TrackId) -> bool {
        self.nodes[node].client.tracks().any(|(track, _)| track == id)
    }

    /// # Panics
    /// If, now that all is quiet, anything but what is requested and available flows and has arrived.
    pub(crate) fn assert_tracks(&self) {
        for (id, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.alive) {
            for sid in &node.observer.connected {
                let owner = self.owners[sid];
                let of = |tracks: &BTreeSet<(Sid, TrackId)>| -> BTreeSet<TrackId> {
                    tracks.iter().filter(|(peer, _)| peer == sid).map(|(_, id)| id.clone()).collect()
                };
                let available: BTreeSet<_> = self.nodes[owner].client.tracks().map(|(id, _)| id.clone()).collect();
                assert_eq!(of(&node.observer.defined), available, "what {id} knows {owner} to have");
                let wanted = node.wanted.iter().filter(|(from, _)| *from == owner).map(|(_, id)| id.clone());
                let expected: BTreeSet<_> = wanted.filter(|id| available.contains(id)).collect();
                assert_eq!(of(&node.observer.arrived), expected, "what {id} has got of {owner}");
                assert_eq!(self.connections.flowing(owner, id), expected, "what flows from {owner} to {id}");
            }
        }
    }

    /// How many tracks flow.
    pub fn flowing(&self) -> usize {
        self.nodes.iter().filter(|node| node.alive).map(|node| node.observer.arrived.len()).sum()
    }
}
