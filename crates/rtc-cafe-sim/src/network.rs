//! Who reaches whom: cuts in one direction or both, and the addresses of machines.

use std::collections::{BTreeMap, BTreeSet};

use crate::NodeId;

/// The paths between nodes. A cut lasts until it is healed.
#[derive(Debug, Default)]
pub(crate) struct Network {
    /// From whom to whom nothing arrives.
    cuts: BTreeSet<(NodeId, NodeId)>,
    /// Between whom nothing but a relay leads.
    walls: BTreeSet<(NodeId, NodeId)>,
    /// How often a machine's address has changed; what went to another one does not arrive.
    addresses: BTreeMap<NodeId, u64>,
    /// Machines that sleep.
    asleep: BTreeSet<NodeId>,
}

impl Network {
    /// Nothing arrives from one node at another any more.
    pub(crate) fn cut(&mut self, from: NodeId, to: NodeId) {
        self.cuts.insert((from, to));
    }

    /// All cuts are healed.
    pub(crate) fn heal(&mut self) {
        self.cuts.clear();
    }

    /// The cut between two nodes is healed.
    pub(crate) fn heal_between(&mut self, one: NodeId, other: NodeId) {
        self.cuts.remove(&(one, other));
        self.cuts.remove(&(other, one));
    }

    /// From now on two nodes find each other only through a relay, or directly again; paths that are there stay.
    pub(crate) fn set_wall(&mut self, one: NodeId, other: NodeId, stands: bool) {
        let wall = (one.min(other), one.max(other));
        if stands {
            self.walls.insert(wall)
        } else {
            self.walls.remove(&wall)
        };
    }

    pub(crate) fn is_walled(&self, one: NodeId, other: NodeId) -> bool {
        self.walls.contains(&(one.min(other), one.max(other)))
    }

    pub(crate) fn reaches(&self, from: NodeId, to: NodeId) -> bool {
        !(self.cuts.contains(&(from, to)) || self.asleep.contains(&from) || self.asleep.contains(&to))
    }

    pub(crate) fn connects(&self, one: NodeId, other: NodeId) -> bool {
        self.reaches(one, other) && self.reaches(other, one)
    }

    pub(crate) fn address(&self, node: NodeId) -> u64 {
        self.addresses.get(&node).copied().unwrap_or(0)
    }

    /// A machine falls asleep, if it is not only a page on it.
    pub(crate) fn sleep(&mut self, node: NodeId, whole_machine: bool) {
        if whole_machine {
            self.asleep.insert(node);
        }
    }

    /// A machine is awake; returns whether it slept.
    pub(crate) fn wake(&mut self, node: NodeId) -> bool {
        self.asleep.remove(&node)
    }

    /// A machine gets another address.
    pub(crate) fn move_node(&mut self, node: NodeId) {
        *self.addresses.entry(node).or_default() += 1;
    }
}
