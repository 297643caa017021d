//! What the applications of a world do with tracks, and what must have come of it.

use std::collections::{BTreeMap, BTreeSet};

use rtc_cafe_core::{TrackId, TrackKind};

use crate::{NodeId, World};

impl World {
    /// Has a client offer one of a few tracks, or describe it anew if it does: browsers use an id again when a track is
    /// added again.
    pub fn add_track(&mut self, node: NodeId, number: u32, bytes: usize) {
        let id = TrackId::new(format!("{node}-{number}")).expect("it is short");
        self.incarnations += 1;
        let revision = self.incarnations;
        let incarnation = self.described(node, &id).map_or(revision, |known| incarnation(&known));
        let kind = if number.is_multiple_of(2) { TrackKind::Audio } else { TrackKind::Video };
        let description = format!("[{incarnation},{revision},\"{}\"]", "x".repeat(bytes));
        self.nodes[node].client.add_track(id, kind, &description).expect("few tracks");
        self.drive(node);
    }

    /// Has a client take one of its tracks back.
    pub fn remove_track(&mut self, node: NodeId) {
        let tracks: Vec<TrackId> = self.nodes[node].client.tracks().map(|(id, _)| id.clone()).collect();
        let Some(id) = self.rng.choice(tracks) else { return };
        self.nodes[node].client.remove_track(&id);
        for other in 0..self.nodes.len() {
            let track = (node, id.clone());
            let was_doubtful = self.nodes[other].doubtful.contains_key(&track);
            if self.nodes[other].wanted.remove(&track) || was_doubtful {
                let believed = self.believes(node, other) && self.believes(other, node);
                let partings = if believed { self.partings(node, other) } else { u64::MAX };
                self.nodes[other].doubtful.insert(track, partings);
            }
        }
        self.drive(node);
    }

    /// Has a client request one of the tracks that it knows of.
    pub fn request_track(&mut self, node: NodeId) {
        let defined: Vec<_> = self.nodes[node].observer.defined.clone().into_iter().collect();
        let Some(((sid, id), known)) = self.rng.choice(defined) else { return };
        let requested = self.nodes[node].client.request_peer_track(&sid, &id);
        requested.expect("the peer is connected and has the track, as events say");
        let owner = self.owners[&sid];
        // Its owner may have taken it back, though the news has not arrived.
        let there = self.described(owner, &id).is_some_and(|now| incarnation(&now) == incarnation(&known));
        let node_of = &mut self.nodes[node];
        if there {
            node_of.doubtful.remove(&(owner, id.clone()));
            node_of.wanted.insert((owner, id));
        } else {
            // What is there under this id by the time that the request arrives is anybody's guess.
            node_of.doubtful.insert((owner, id), u64::MAX);
        }
        self.drive(node);
    }

    /// Has a client give up a track that it has requested, whether or not it is connected to its owner.
    ///
    /// # Panics
    /// If the client does not know that it has requested it.
    pub fn cancel_track(&mut self, node: NodeId) {
        let wanted: Vec<_> = self.nodes[node].wanted.iter().cloned().collect();
        let Some((owner, id)) = self.rng.choice(wanted) else { return };
        let sid = self.nodes[node].last_sids[&owner].clone();
        assert!(self.nodes[node].client.remove_peer_track(&sid, &id), "{node} has forgotten that it wants {id}");
        self.nodes[node].wanted.remove(&(owner, id));
        self.drive(node);
    }

    /// How often two have been parted, if they are not just now.
    fn partings(&self, node: NodeId, other: NodeId) -> u64 {
        if self.connections.are_linked(node, other) { self.ledger.partings(node, other) } else { u64::MAX }
    }

    /// Whether a client believes to be connected to another.
    fn believes(&self, node: NodeId, other: NodeId) -> bool {
        self.nodes[node].observer.connected.iter().any(|sid| self.owners[sid] == other)
    }

    fn described(&self, node: NodeId, id: &TrackId) -> Option<String> {
        let mut tracks = self.nodes[node].client.tracks();
        tracks.find(|(track, _)| *track == id).map(|(_, definition)| definition.description.clone())
    }

    /// # Panics
    /// If, now that all is quiet, anything but what is requested and available flows and has arrived.
    pub(crate) fn assert_tracks(&self) {
        for (id, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.alive) {
            for sid in &node.observer.connected {
                let owner = self.owners[sid];
                let defined = node.observer.defined.iter().filter(|((peer, _), _)| peer == sid);
                let defined: BTreeMap<_, _> = defined.map(|((_, id), text)| (id.clone(), text.clone())).collect();
                let available = self.nodes[owner].client.tracks();
                let available: BTreeMap<_, _> =
                    available.map(|(id, definition)| (id.clone(), definition.description.clone())).collect();
                assert_eq!(defined, available, "what {id} knows {owner} to have");
                let arrived = node.observer.arrived.iter().filter(|(peer, _)| peer == sid);
                let arrived: BTreeSet<_> = arrived.map(|(_, id)| id.clone()).collect();
                assert_eq!(self.connections.flowing(owner, id), arrived, "what flows from {owner} and {id} has got");
                let wanted = node.wanted.iter().filter(|(from, _)| *from == owner).map(|(_, id)| id.clone());
                let expected: BTreeSet<_> = wanted.filter(|id| available.contains_key(id)).collect();
                let certain = arrived.iter().filter(|&track| !self.is_doubtful(id, owner, track)).cloned();
                assert_eq!(certain.collect::<BTreeSet<_>>(), expected, "what {id} has got of {owner}");
            }
        }
    }

    /// Whether a node may not have heard that a track was taken back, and still want it.
    fn is_doubtful(&self, node: NodeId, owner: NodeId, id: &TrackId) -> bool {
        let partings = self.nodes[node].doubtful.get(&(owner, id.clone()));
        partings.is_some_and(|&partings| partings != self.ledger.partings(node, owner))
    }

    /// How many tracks flow.
    pub fn flowing(&self) -> usize {
        self.nodes.iter().filter(|node| node.alive).map(|node| node.observer.arrived.len()).sum()
    }
}

/// Which of the tracks that have had the same id a description is of.
fn incarnation(description: &str) -> u64 {
    let number = description.trim_start_matches('[').split(',').next();
    number.and_then(|number| number.parse().ok()).expect("it is ours")
}
