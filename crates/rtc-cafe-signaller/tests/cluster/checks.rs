//! What has to be so in the end.

use rtc_cafe_signaller::hub::Hub;

use super::{Client, World};

impl World {
    /// When everybody has gone, nothing is left in any node.
    pub fn check_that_nothing_is_left(&mut self) {
        for client in 0..self.clients.len() {
            self.disconnect(client);
        }
        self.deliver();
        for node in 0..self.nodes.len() {
            // For the dead no time goes by; the others have had enough, if there was any since something happened.
            if !self.calm_now || !self.nodes[node].alive {
                self.with_hub(node, Hub::end_moving);
            }
        }
        self.deliver();
        for node in &self.nodes {
            let (stats, nodes) = (node.hub.stats(), node.hub.node_stats());
            assert_eq!((stats.sockets, stats.rooms, nodes.remotes), (0, 0, 0), "seed {}", self.seed);
        }
    }

    /// Everybody knows who shares a room, and nobody knows anybody else.
    pub fn check(&self) {
        let seed = self.seed;
        let alive = || self.clients.iter().enumerate().filter(|(_, client)| client.alive);
        for (index, client) in alive() {
            for room in &client.rooms {
                let known = |client: &Client, sid: &str| client.view.get(room).is_some_and(|view| view.contains(sid));
                for (other_index, other) in alive().filter(|(other, _)| *other != index) {
                    let met = if self.faults.is_calm() {
                        known(client, &other.sid)
                    } else {
                        known(client, &other.sid) || known(other, &client.sid)
                    };
                    let shared = other.rooms.contains(room);
                    assert!(
                        met || !shared,
                        "seed {seed}: {index} and {other_index} do not know of each other in {room}"
                    );
                }
                for sid in client.view.get(room).into_iter().flatten() {
                    let other = self.clients.iter().find(|other| other.sid == *sid).unwrap();
                    let there = other.alive && other.rooms.contains(room);
                    assert!(
                        there || other.left.contains(room),
                        "seed {seed}: {index} takes the ghost {sid} for present in {room}"
                    );
                }
            }
        }
        for node in self.nodes.iter().filter(|node| node.alive) {
            let stats = node.hub.node_stats();
            assert!(stats.strange == 0 || self.faults.forgery, "seed {seed}");
        }
    }
}
