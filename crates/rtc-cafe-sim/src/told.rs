//! What applications are told, and what must hold then and once all is quiet.

use std::collections::{BTreeMap, BTreeSet};

use rtc_cafe_core::{Event, Intake, Sid, SignallerState};

use crate::{
    NodeId, World,
    node::Node,
    world::{Happening, LONG_DOUBT, now_of},
};

/// So long after a message has come, in milliseconds, its sender knows, if all is well.
const CONFIRMATION: u64 = 1000;

impl World {
    /// An application is told something.
    pub(crate) fn observe(&mut self, node: NodeId, event: &Event) {
        if self.trace {
            println!("{}   node {node}: {event:?}", self.now);
        }
        self.nodes[node].observer.observe(event);
        self.check_named(node, event);
        if let Event::ConnectToPeer { sid } | Event::ReassignPeerSid { sid, .. } = event {
            self.nodes[node].last_sids.insert(self.owners[sid], sid.clone());
        }
        match event {
            Event::Message { payload, .. } => {
                let (from, number) = numbers(payload);
                self.ledger.receive(from, node, number);
                if self.is_well_between(from, node) {
                    let confirmed = Happening::Confirmed { from, to: node, number, at: self.now };
                    self.schedule(self.now + CONFIRMATION, confirmed);
                }
            }
            Event::MessageUndelivered { sid, payload, may_have_arrived } => {
                let (_, number) = numbers(payload);
                let to = self.owners[sid];
                self.ledger.report(node, to, number, *may_have_arrived);
                if *may_have_arrived {
                    let since = self.ledger.farewell(node, to).expect("whoever is there can tell what has arrived");
                    assert!(now_of(self.now - since) >= self.doubt, "{node} did not wait for {to} to tell");
                }
            }
            Event::DisconnectFromPeer { sid } => self.ledger.bid_farewell(self.now, node, self.owners[sid]),
            _ => {}
        }
    }

    /// Whom an event names is connected or not, as it says, at the moment at which it is told.
    fn check_named(&self, node: NodeId, event: &Event) {
        let client = &self.nodes[node].client;
        let is_connected = |sid: &Sid| client.connected_peers().any(|connected| connected == sid);
        let (there, gone) = match event {
            Event::ConnectToPeer { sid } | Event::Message { sender: sid, .. } => (Some(sid), None),
            Event::ReassignPeerSid { old_sid, sid } => (Some(sid), Some(old_sid)),
            Event::DisconnectFromPeer { sid } => (None, Some(sid)),
            _ => (None, None),
        };
        assert!(there.is_none_or(is_connected), "{node} is told {event:?} of somebody who is not connected");
        assert!(!gone.is_some_and(is_connected), "{node} is told {event:?} of somebody who is connected");
        let discovered: BTreeSet<&Sid> = client.discovered_peers().collect();
        assert!(client.connected_peers().all(|sid| discovered.contains(sid)), "connected, but not discovered");
    }

    /// Notes that a sender must know that its message has come, unless something came between.
    pub(crate) fn confirm(&mut self, from: NodeId, to: NodeId, number: u64, at: u64) {
        if self.is_well_between(from, to) {
            self.ledger.confirm(from, to, number, at);
        }
    }

    fn is_well_between(&self, one: NodeId, other: NodeId) -> bool {
        let well = |node: NodeId| {
            let Node { alive, asleep, client, .. } = &self.nodes[node];
            *alive && !asleep && client.intake() == Intake::All
        };
        well(one) && well(other) && self.connections.are_linked(one, other)
    }

    /// What must hold for a client whenever it has told something.
    pub(crate) fn check(&self, node: NodeId) {
        let node = &self.nodes[node];
        let connected = &node.observer.connected;
        let agree = node.client.connected_peers().all(|sid| connected.contains(sid));
        assert!(
            agree && node.client.connected_peers().count() == connected.len(),
            "events and connectedPeers disagree"
        );
        assert!(node.client.waiting_bytes() <= 64 << 20, "a queue outgrew its bound");
    }

    /// # Panics
    /// If, now that all is quiet, the clients are not connected as their rooms say, or a message was lost.
    pub fn assert_settled(&self) {
        self.assert_connected();
        for (id, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.alive) {
            let discovered: BTreeSet<Sid> = node.client.discovered_peers().cloned().collect();
            assert_eq!(discovered, node.observer.connected, "node {id} has discovered somebody who is not there");
        }
        assert_eq!(self.connections.astray(), [], "a restart of ICE was not finished");
        self.assert_tracks();
        let meet = |one, other| self.roommates(one).any(|(node, _)| node == other);
        let can_tell = |from, to: NodeId| self.doubt == LONG_DOUBT && self.nodes[to].alive && meet(from, to);
        self.ledger.assert_complete(|node| self.nodes[node].alive, can_tell);
    }

    /// # Panics
    /// If the clients are not connected as their rooms say.
    pub fn assert_connected(&self) {
        let mut links: BTreeMap<(NodeId, NodeId), u32> = BTreeMap::new();
        for (one, other) in self.connections.links() {
            *links.entry((one.min(other), one.max(other))).or_default() += 1;
        }
        for (id, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.alive) {
            assert_eq!(node.client.state(), SignallerState::Connected);
            let expected: BTreeSet<Sid> = self.roommates(id).map(|(_, peer)| self.sid(peer)).collect();
            assert_eq!(node.observer.connected, expected, "node {id} is not connected to all of its rooms and no more");
            for (other, _) in self.roommates(id) {
                let count = links.get(&(id.min(other), id.max(other)));
                assert_eq!(count, Some(&1), "connections between {id} and {other}");
            }
        }
    }

    /// Whether every client is connected to everybody in its rooms.
    pub fn is_complete(&self) -> bool {
        (0..self.nodes.len())
            .filter(|&id| self.nodes[id].alive)
            .all(|id| self.nodes[id].observer.connected.len() == self.roommates(id).count())
    }
}

/// The sender and the number of a message.
fn numbers(payload: &str) -> (NodeId, u64) {
    let mut numbers = payload.trim_start_matches('[').split(',').map(str::parse::<u64>);
    let (Some(Ok(from)), Some(Ok(number))) = (numbers.next(), numbers.next()) else {
        panic!("a message that nobody sent: {payload}");
    };
    (from as NodeId, number)
}
