//! What must hold at every moment, and what must hold once all is quiet.

use std::collections::{BTreeMap, BTreeSet};

use rtc_cafe_core::{Event, Sid, TrackId};

use crate::NodeId;

/// Follows the events that one application is told, as the application would.
#[derive(Debug, Default)]
pub(crate) struct Observer {
    /// The peers it believes to be connected to.
    pub(crate) connected: BTreeSet<Sid>,
    /// The tracks it knows of, with their descriptions, and those that have arrived, by peer.
    pub(crate) defined: BTreeMap<(Sid, TrackId), String>,
    pub(crate) arrived: BTreeSet<(Sid, TrackId)>,
    /// Errors it was told of.
    pub(crate) errors: Vec<String>,
}

impl Observer {
    /// Takes an event.
    ///
    /// # Panics
    /// If the event refers to a peer that was not announced or is gone.
    pub(crate) fn observe(&mut self, event: &Event) {
        match event {
            Event::ConnectToPeer { sid } => assert!(self.connected.insert(sid.clone()), "connected twice to {sid}"),
            Event::DisconnectFromPeer { sid } => {
                assert!(self.connected.remove(sid), "{sid} was not connected");
                assert!(!self.defined.keys().chain(&self.arrived).any(|(peer, _)| peer == sid), "{sid} left a track");
            }
            Event::ReassignPeerSid { old_sid, sid } => {
                assert!(self.connected.remove(old_sid), "{old_sid} was not connected");
                assert!(self.connected.insert(sid.clone()), "{sid} is somebody else");
                let renamed = |(peer, id)| if peer == *old_sid { (sid.clone(), id) } else { (peer, id) };
                let defined = std::mem::take(&mut self.defined).into_iter();
                self.defined = defined.map(|(track, description)| (renamed(track), description)).collect();
                self.arrived = std::mem::take(&mut self.arrived).into_iter().map(renamed).collect();
            }
            Event::PeerTrackDefined { sid, id, definition } => {
                assert!(self.connected.contains(sid), "a track of a stranger");
                self.defined.insert((sid.clone(), id.clone()), definition.description.clone());
            }
            Event::PeerTrackDefinitionRemoved { sid, id, .. } => {
                assert!(self.defined.remove(&(sid.clone(), id.clone())).is_some(), "{id} was not defined");
            }
            Event::PeerTrackIdentified { sid, id, .. } => {
                assert!(self.arrived.insert((sid.clone(), id.clone())), "{id} arrived twice");
            }
            Event::PeerTrackRemoved { sid, id } => {
                assert!(self.arrived.remove(&(sid.clone(), id.clone())), "{id} had not arrived");
            }
            Event::Message { sender, .. } => assert!(self.connected.contains(sender), "message from a stranger"),
            Event::Error { code, message, .. } => self.errors.push(format!("{code:?}: {message}")),
            _ => {}
        }
    }
}

/// Every message that was sent, and what became of it.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    next: u64,
    /// By sender and recipient.
    sent: BTreeMap<(NodeId, NodeId), BTreeSet<u64>>,
    received: BTreeMap<(NodeId, NodeId), BTreeSet<u64>>,
    /// What the sender was told to be undelivered, and whether it may have arrived.
    reported: BTreeMap<(NodeId, NodeId), BTreeMap<u64, bool>>,
    /// What came while all was well, and for a while afterwards, so that its sender knows.
    confirmed: BTreeMap<(NodeId, NodeId), BTreeSet<u64>>,
    partings: BTreeMap<(NodeId, NodeId), u64>,
    /// When something happened last between two nodes, and when one was last told that the other is gone.
    disturbed: BTreeMap<(NodeId, NodeId), u64>,
    farewells: BTreeMap<(NodeId, NodeId), u64>,
}

impl Ledger {
    /// A number for the next message.
    pub(crate) const fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(crate) fn send(&mut self, from: NodeId, to: NodeId, number: u64) {
        self.sent.entry((from, to)).or_default().insert(number);
    }

    /// # Panics
    /// If the message comes twice, out of order, or was never sent to this node.
    pub(crate) fn receive(&mut self, from: NodeId, to: NodeId, number: u64) {
        let known = self.sent.get(&(from, to)).is_some_and(|sent| sent.contains(&number));
        assert!(known, "{to} got message {number}, which {from} did not send to it");
        let received = self.received.entry((from, to)).or_default();
        assert!(received.last().is_none_or(|&last| last < number), "message {number} twice or out of order");
        received.insert(number);
    }

    /// # Panics
    /// If the sender is told twice, of what it did not send, or of what it knows to have arrived.
    pub(crate) fn report(&mut self, from: NodeId, to: NodeId, number: u64, may_have_arrived: bool) {
        let known = self.sent.get(&(from, to)).is_some_and(|sent| sent.contains(&number));
        assert!(known, "{from} is told of message {number} to {to}, which it did not send");
        let confirmed = self.confirmed.get(&(from, to)).is_some_and(|confirmed| confirmed.contains(&number));
        assert!(!confirmed, "{from} is told of message {number} to {to}, which came while all was well");
        let told = self.reported.entry((from, to)).or_default().insert(number, may_have_arrived);
        assert!(told.is_none(), "{from} is told twice of message {number} to {to}");
    }

    /// A message came at this time, and if nothing has happened between the two since, its sender knows.
    pub(crate) fn confirm(&mut self, from: NodeId, to: NodeId, number: u64, at: u64) {
        let disturbed = self.disturbed.get(&(from.min(to), from.max(to)));
        if disturbed.is_none_or(|&disturbed| disturbed < at) {
            self.confirmed.entry((from, to)).or_default().insert(number);
        }
    }

    /// Something has happened between two nodes, or will have until this time.
    pub(crate) fn disturb(&mut self, until: u64, one: NodeId, other: NodeId) {
        let last = self.disturbed.entry((one.min(other), one.max(other))).or_default();
        *last = until.max(*last);
    }

    /// A node is told that another is gone.
    pub(crate) fn bid_farewell(&mut self, now: u64, from: NodeId, to: NodeId) {
        self.farewells.insert((from, to), now);
    }

    /// When a node was last told that another is gone.
    pub(crate) fn farewell(&self, from: NodeId, to: NodeId) -> Option<u64> {
        self.farewells.get(&(from, to)).copied()
    }

    /// The connection between two nodes has ended.
    pub(crate) fn part(&mut self, one: NodeId, other: NodeId) {
        *self.partings.entry((one.min(other), one.max(other))).or_default() += 1;
    }

    /// How often two nodes have been parted.
    pub(crate) fn partings(&self, one: NodeId, other: NodeId) -> u64 {
        self.partings.get(&(one.min(other), one.max(other))).copied().unwrap_or(0)
    }

    /// How many messages arrived.
    pub(crate) fn delivered(&self) -> usize {
        self.received.values().map(BTreeSet::len).sum()
    }

    /// # Panics
    /// If a message has neither arrived nor was its sender told, or both; where nobody could know, it may be both.
    pub(crate) fn assert_complete(&self, is_alive: impl Fn(NodeId) -> bool, can_tell: impl Fn(NodeId, NodeId) -> bool) {
        for (&(from, to), sent) in self.sent.iter().filter(|((from, _), _)| is_alive(*from)) {
            for number in sent {
                let arrived = self.received.get(&(from, to)).is_some_and(|received| received.contains(number));
                let reported = self.reported.get(&(from, to)).and_then(|reported| reported.get(number));
                match (arrived, reported) {
                    (false, None) => panic!("message {number} from {from} to {to} was lost without a word"),
                    (true, Some(false)) => panic!("message {number} from {from} to {to} arrived, and was called lost"),
                    (_, Some(true)) if can_tell(from, to) => {
                        panic!("{to} could have told {from} whether it has message {number}")
                    }
                    _ => {}
                }
            }
        }
    }
}
