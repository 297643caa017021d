//! Machines and pages that sleep: nothing happens to them until they wake, and often nobody tells them that they did.

use crate::{
    NodeId, World,
    world::{Happening, now_of},
};

/// How long the server waits for an answer to its ping, in milliseconds.
const PING_TIMEOUT: std::ops::Range<u64> = 20_000..45_000;

impl World {
    /// Puts a client to sleep. A page in the background keeps its paths; a machine that sleeps does not.
    pub fn sleep(&mut self, node: NodeId, millis: u64, whole_machine: bool) {
        if !self.nodes[node].alive || self.nodes[node].asleep {
            return;
        }
        self.nodes[node].asleep = true;
        self.connections.network.sleep(node, whole_machine);
        self.disturb(node);
        self.reassess();
        if let Some(link) = &self.nodes[node].link {
            let gives_up = self.now + self.rng.u64(PING_TIMEOUT);
            self.schedule(gives_up, Happening::ServerMisses { node, link: link.number });
        }
        let until = self.now + millis;
        self.last_awakening = self.last_awakening.max(until);
        self.schedule(until, Happening::Awake(node));
    }

    /// When the last of all who sleep or have slept wakes up.
    pub(crate) const fn last_awakening(&self) -> u64 {
        self.last_awakening
    }

    pub(crate) fn wake(&mut self, node: NodeId) {
        self.nodes[node].asleep = false;
        if self.connections.network.wake(node) {
            // What the server said went nowhere.
            self.drop_signalling(node);
        }
        self.disturb(node);
        self.reassess();
        let (told, timers_first) = (self.rng.bool(), self.rng.bool());
        let now = self.time();
        if !told && timers_first && self.nodes[node].alive {
            self.nodes[node].client.handle_timeout(now);
            self.drive(node);
        }
        for happening in std::mem::take(&mut self.nodes[node].missed) {
            self.happen(happening);
        }
        if self.nodes[node].alive {
            if told {
                self.nodes[node].client.handle_wake(now);
            }
            self.drive(node);
        }
    }

    /// The server has not heard of a connection for too long. Who sleeps finds out when it wakes.
    pub(crate) fn miss(&mut self, node: NodeId, number: u64) {
        let client = &self.nodes[node];
        let Some(link) = client.link.as_ref().filter(|link| client.asleep && link.number == number) else { return };
        let socket = link.socket;
        self.sockets.remove(&socket);
        self.hub.disconnect(now_of(self.now), socket);
        self.drive_hub();
        self.happen(Happening::LinkEnds { node, link: number });
    }

    /// A client finds its connection to the server ended.
    pub(crate) fn lose_link(&mut self, node: NodeId, number: u64) {
        if self.nodes[node].link.as_ref().is_some_and(|link| link.number == number) {
            self.drop_signalling(node);
        }
    }
}
