//! Somebody who can write to the broker, and is no node.

use super::{ROOMS, World};

impl World {
    /// A frame of somebody who knows names, rooms and sids, but not where the nodes are in their counting.
    pub(super) fn forge(&mut self) {
        let mut choose = |all: &[&str]| all[self.random(all.len() as u64) as usize].to_owned();
        let kind = choose(&[
            "enter",
            "beat",
            "sync",
            "begin",
            "end",
            "room",
            "join",
            "leave",
            "gone",
            "session",
            "signal",
            "broadcast",
            "response",
            "x",
        ]);
        let room = choose(&ROOMS);
        let event = choose(&["offer", "candidate", "sid"]);
        let (more, zeros) = (choose(&["true", "false", "5"]), "0".repeat(64));
        let honest = (self.random(2) == 0).then(|| self.random(self.nodes.len() as u64) as usize);
        let own = format!("evil {}", self.random(4));
        let from = honest.and_then(|node| self.nodes[node].hub.node_name().map(str::to_owned)).unwrap_or(own);
        let mut sid = || {
            let known = self.random(self.clients.len() as u64 + 2) as usize;
            self.clients.get(known).map_or_else(|| format!("nobody {known}"), |client| client.sid.clone())
        };
        let (one, other, to) = (sid(), sid(), sid());
        let (link, number, entry) = (1_000_000 + self.random(50), self.random(20), self.random(9));
        let joined = self.random(1 << 62);
        let member =
            format!("\"sid\":\"{one}\",\"id\":\"1\",\"joined\":{joined},\"prev\":\"{other}\",\"claim\":\"{zeros}\"");
        let frame = format!(
            "{{\"type\":\"{kind}\",\"from\":\"{from}\",\"link\":{link},\"number\":{number},\"room\":{room},\"entry\":{entry},\
             \"want\":{entry},\"knows\":{more},\"more\":{more},\"part\":{number},\"members\":[{{{member}}}],\"event\":\"{event}\",\
             \"to\":\"{to}\",\"proof\":\"{zeros}\",{member}}}\n{{\"id\":1,\"sid\":\"{one}\",\"recipient\":\"{to}\"}}"
        );
        for node in 0..self.nodes.len() {
            if self.nodes[node].alive && self.nodes[node].up && self.random(2) == 0 {
                self.log(|| format!("node {node} gets the forged {frame}"));
                self.nodes[node].hub.handle_frame(self.now, &frame);
                self.flush(node);
            }
        }
    }
}
