//! Rooms over several nodes: what this one knows of the others, and the way in for what they say.
//!
//! Every node keeps, of each room in which it has members itself, the members on all other nodes. It hears of them from
//! those nodes, over links whose frames are numbered; what is lost is noticed, and told again. A node that is silent for
//! too long is gone, with everybody on it. `docs/decisions/013-several-nodes.md` has the reasons.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rtc_cafe_wire::RoomId;

use self::{frame::Body, node::Node, remote::Remotes};
pub(super) use self::{frame::Claim, tell::claim};
use super::{Hub, Output, ended::EndedElsewhere, slab::Slab};

mod frame;
mod node;
mod receive;
mod relay;
mod remote;
mod resync;
mod tell;

/// Ticks until each room is entered again, for nodes that missed it.
const ROUND: usize = 60;
/// How long nodes are given at least to be heard of when the broker is there again.
const GRACE: Duration = Duration::from_secs(10);
/// So late a tick means that this node did not run for a while.
const ASLEEP: Duration = Duration::from_secs(4);
/// No two nodes' clocks are further apart, or one of them lies.
const CLOCKS_APART: Duration = Duration::from_hours(24);

/// Under what frames are published.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// For the node of this name.
    Node(Arc<str>),
    /// For every node with members in the room.
    Room(RoomId),
}

/// The members that another node has in a room.
#[derive(Debug)]
pub(super) struct Away {
    node: u32,
    /// The node's count of its entry; it may have left the room and entered it again.
    entry: u64,
    /// Indices of sessions.
    members: Vec<u32>,
    /// How many of them are in the room under another sid, on another node.
    replaced: usize,
    /// It has entered, and has not told its members yet.
    pending: bool,
    /// The part of its members that comes next.
    part: Option<u32>,
    /// It is telling everything, and has not come to this room yet.
    stale: bool,
    /// It was given up here, but has not given us up: its members are announced once more, and ours are not there.
    regained: bool,
}

impl Away {
    /// How many members it has, without those who have gone on to another node.
    pub(super) const fn len(&self) -> usize {
        self.members.len() - self.replaced
    }
}

/// What one node among several knows.
#[derive(Debug)]
pub(super) struct Nodes {
    name: Arc<str>,
    /// What the wall clock showed at the hub's time zero.
    epoch: Duration,
    /// The broker is there.
    up: bool,
    /// Counts links, and entries into rooms.
    count: u64,
    /// The latest of all joins that are known.
    last_joined: u64,
    nodes: Slab<Node>,
    names: BTreeMap<Arc<str>, u32>,
    remotes: Remotes,
    /// Sessions of other nodes that have ended.
    pub(super) ended: EndedElsewhere,
    beat_at: Duration,
    ticked: Duration,
    /// Which sixtieth of the rooms was entered again last.
    round: usize,
    /// The broker has come back, and the rooms from this one on are still to be entered.
    entering: Option<u32>,
    /// Bytes that were published, ever.
    told: u64,
    gaps: u64,
    strange: u64,
}

impl Nodes {
    const fn count(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    /// The wall clock in microseconds, but later than everything that is known here: who comes last knows the others.
    fn stamp(&mut self, now: Duration) -> u64 {
        let clock = u64::try_from((self.epoch + now).as_micros()).unwrap_or(u64::MAX - 1);
        self.last_joined = clock.max(self.last_joined.saturating_add(1));
        self.last_joined
    }

    /// A node says what cannot be; it is to say everything again within a minute.
    fn doubt(&mut self, node: u32) {
        self.strange += 1;
        if let Some(node) = self.nodes.get_mut(node) {
            node.disputed = true;
        }
    }

    /// Gives every node a moment to be heard of again.
    fn give_grace(&mut self, now: Duration, lease: Duration) {
        let known: Vec<u32> = self.nodes.iter().map(|(index, _)| index).collect();
        for index in known {
            if let Some(node) = self.nodes.get_mut(index) {
                node.heard = node.heard.max((now + GRACE).saturating_sub(lease));
            }
        }
    }

    /// Whoever joins here from now on comes later than this one, unless its clock cannot be right.
    fn note_joined(&mut self, now: Duration, joined: u64) {
        let latest = u64::try_from((self.epoch + now + CLOCKS_APART).as_micros()).unwrap_or(u64::MAX);
        if joined <= latest {
            self.last_joined = self.last_joined.max(joined);
        }
    }

    /// The node of a name, known or new; `None` if there are too many.
    fn node(&mut self, now: Duration, name: &str, most: usize) -> Option<u32> {
        if let Some(&index) = self.names.get(name) {
            return Some(index);
        }
        if self.nodes.len() >= most {
            return None;
        }
        let (name, link): (Arc<str>, _) = (name.into(), self.count());
        let index = self.nodes.insert(Node::new(name.clone(), now, link));
        self.names.insert(name, index);
        Some(index)
    }
}

/// How many nodes there are, and how well they understand each other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct NodeStats {
    /// Other nodes that share, or lately shared, a room with this one.
    pub nodes: usize,
    /// Sessions on them that are known here.
    pub remotes: usize,
    /// How often frames of another node were missing.
    pub gaps: u64,
    /// Frames that could not be read, or came from too many nodes.
    pub strange: u64,
}

impl Hub {
    /// Makes this hub one node among several, which a broker connects. `epoch` is what the wall clock shows at time
    /// zero, since 1970; it need not be exact. To be called before anything else; the broker is away until
    /// [`Self::handle_broker`] says otherwise.
    pub fn connect_nodes(&mut self, epoch: Duration) {
        let name: Arc<str> = self.mint.text::<16>().into();
        self.nodes = Some(Box::new(Nodes {
            name,
            epoch,
            up: false,
            count: 0,
            last_joined: 0,
            nodes: Slab::new(),
            names: BTreeMap::new(),
            remotes: Remotes::default(),
            ended: EndedElsewhere::default(),
            beat_at: Duration::ZERO,
            ticked: Duration::ZERO,
            round: 0,
            entering: None,
            told: 0,
            gaps: 0,
            strange: 0,
        }));
    }

    /// The name of this node among several.
    pub fn node_name(&self) -> Option<&str> {
        self.nodes.as_deref().map(|nodes| &*nodes.name)
    }

    /// How many nodes there are; all zero for a hub that is alone.
    pub fn node_stats(&self) -> NodeStats {
        self.nodes.as_deref().map_or_else(NodeStats::default, |nodes| NodeStats {
            nodes: nodes.nodes.len(),
            remotes: nodes.remotes.len(),
            gaps: nodes.gaps,
            strange: nodes.strange,
        })
    }

    /// The broker is there, without any subscription of ours, or is away. What was published before may be lost.
    ///
    /// While it is away nothing is published. When it is back, everything is subscribed to and told again, in pieces: see
    /// [`Self::handle_flushed`].
    pub fn handle_broker(&mut self, now: Duration, up: bool) {
        let lease = self.config.lease;
        let Some(nodes) = self.nodes.as_deref_mut() else { return };
        nodes.up = up;
        if !up {
            return;
        }
        let known: Vec<u32> = nodes.nodes.iter().map(|(index, _)| index).collect();
        for index in known {
            let link = nodes.count();
            if let Some(node) = nodes.nodes.get_mut(index) {
                node.relink(link);
            }
        }
        nodes.give_grace(now, lease);
        nodes.entering = Some(0);
        self.outputs.push_back(Output::Subscribe { topic: Topic::Node(nodes.name.clone()) });
    }

    /// Ends the leases of nodes that are silent, and tells the others that this one is alive. To be called once a second.
    pub fn handle_tick(&mut self, now: Duration) {
        let (lease, heartbeat) = (self.config.lease, self.config.heartbeat);
        let Some(nodes) = self.nodes.as_deref_mut() else { return };
        if std::mem::replace(&mut nodes.ticked, now) + ASLEEP <= now {
            // We have slept, and what the others have said meanwhile waits.
            nodes.give_grace(now, lease);
        }
        let beats = nodes.beat_at <= now;
        if beats {
            nodes.beat_at = now + heartbeat;
        }
        let (mut silent, mut asked, mut told) = (Vec::new(), Vec::new(), Vec::new());
        let is_minute = nodes.round == 0;
        for (index, node) in nodes.nodes.iter() {
            if node.heard + lease <= now {
                silent.push(index);
            } else if node.owes(now) || (node.disputed && is_minute) {
                asked.push(index);
            } else if beats && !node.rooms.is_empty() {
                told.push(index);
            }
        }
        nodes.ended.expire(now, self.config.remembered_for);
        self.ended.expire(now, self.config.remembered_for);
        self.end_moving_until(now, now);
        for node in silent {
            self.drop_node(now, node);
        }
        for node in asked {
            if let Some(node) = self.nodes.as_deref_mut().and_then(|nodes| nodes.nodes.get_mut(node)) {
                node.disputed = false;
            }
            self.ask(now, node);
        }
        for node in told {
            self.tell_node(node, &Body::Beat);
        }
        self.enter_some_again();
    }

    /// Enters a sixtieth of all rooms again.
    fn enter_some_again(&mut self) {
        let Some(nodes) = self.nodes.as_deref_mut() else { return };
        nodes.round = (nodes.round + 1) % ROUND;
        for index in (nodes.round..self.rooms.end()).step_by(ROUND) {
            self.tell_entry(u32::try_from(index).unwrap_or(u32::MAX), false);
        }
    }
}
