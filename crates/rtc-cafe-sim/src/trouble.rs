//! What goes wrong in a world: with the server, between machines, and with machines.

use rtc_cafe_core::{
    Command, Intake,
    wire::{limits::MAX_HOPS, peer::Frame},
};
use rtc_cafe_signaller::hub::{Hub, HubConfig};

use crate::{
    NodeId, World,
    node::Forwarder,
    rtc::End,
    world::{Happening, seed_bytes},
};

impl World {
    /// Cuts a client's connection to the server; both sides notice, each in its own time, and the client comes back.
    pub fn drop_signalling(&mut self, node: NodeId) {
        let Some(link) = self.nodes[node].link.take() else { return };
        self.sockets.remove(&link.socket);
        let notices = self.now + self.rng.u64(0..3000);
        self.schedule(notices, Happening::ServerLoses(link.socket));
        self.nodes[node].session.handle_disconnected();
        self.drive(node);
        self.connect_within(node, 4000);
    }

    /// Kills the server and starts it again with nothing in its memory.
    pub fn restart_server(&mut self) {
        let seed = seed_bytes(&mut self.rng);
        self.hub = Hub::new(HubConfig::default(), seed);
        self.sockets.clear();
        self.queue.retain(|_, next| !matches!(next, Happening::AtServer { .. } | Happening::ServerLoses(_)));
        for node in 0..self.nodes.len() {
            if self.nodes[node].link.take().is_some() {
                self.nodes[node].session.handle_disconnected();
                self.drive(node);
                self.connect_within(node, 4000);
            }
        }
    }

    /// Ends a client: its page is closed, or its machine is switched off, so that peers hear nothing.
    pub fn kill(&mut self, node: NodeId, says_so: bool) {
        self.nodes[node].alive = false;
        if let Some(link) = self.nodes[node].link.take() {
            self.sockets.remove(&link.socket);
            let notices = self.now + self.rng.u64(0..3000);
            self.schedule(notices, Happening::ServerLoses(link.socket));
        }
        self.disturb(node);
        for effect in self.connections.kill(node, says_so) {
            self.apply(effect);
        }
    }

    /// Breaks the connection between two clients, if there is one; each notices in its own time.
    pub fn break_connection(&mut self, one: NodeId, other: NodeId) {
        let slowly = [self.rng.bool(), self.rng.bool()];
        let effects = self.connections.break_between(one, other, slowly);
        if !effects.is_empty() {
            self.ledger.part(one, other);
            self.ledger.disturb(self.now, one, other);
        }
        for effect in effects {
            self.apply(effect);
        }
    }

    /// Has what is sent to a client take long for a while.
    pub fn stall(&mut self, node: NodeId) {
        let until = self.now + self.rng.u64(1..2500);
        (0..self.nodes.len()).for_each(|other| self.ledger.disturb(until, node, other));
        for (_, last) in self.frames_until.iter_mut().filter(|(end, _)| end.0 == node) {
            *last = until.max(*last);
        }
    }

    /// Has a client take more or less of what it is sent, because its application reads slowly.
    pub fn set_intake(&mut self, node: NodeId, intake: Intake) {
        let now = self.time();
        self.disturb(node);
        self.nodes[node].client.set_intake(now, intake);
        self.drive(node);
    }

    /// Has everybody take again what it is sent.
    pub fn read_all(&mut self) {
        for node in 0..self.nodes.len() {
            if self.nodes[node].alive {
                self.set_intake(node, Intake::All);
            }
        }
    }

    /// Has a client look for new paths to everybody.
    pub fn change_network(&mut self, node: NodeId) {
        let now = self.time();
        self.disturb(node);
        self.nodes[node].client.handle_network_change(now);
        self.drive(node);
    }

    /// Takes the server away for a while; when it comes back it has nothing in its memory.
    pub fn stop_server(&mut self, millis: u64) {
        self.restart_server();
        self.server_down = true;
        self.schedule(self.now + millis, Happening::ServerBegins);
    }

    /// Has nothing arrive at one client from another any more, or neither from either.
    pub fn cut(&mut self, from: NodeId, to: NodeId, both_ways: bool) {
        self.connections.network.cut(from, to);
        if both_ways {
            self.connections.network.cut(to, from);
        }
        self.ledger.disturb(self.now, from, to);
        self.reassess();
    }

    /// Heals the cut between two clients.
    pub fn heal_between(&mut self, one: NodeId, other: NodeId) {
        self.connections.network.heal_between(one, other);
        self.ledger.disturb(self.now, one, other);
        self.reassess();
    }

    /// Cuts a client off from the server, and has it reach the server again.
    pub fn set_reaches_server(&mut self, node: NodeId, reaches: bool) {
        self.nodes[node].reaches_server = reaches;
        if !reaches {
            self.drop_signalling(node);
        }
    }

    /// Puts a wall between two clients, which only a relay leads around, or takes it away.
    pub fn set_wall(&mut self, one: NodeId, other: NodeId, stands: bool) {
        self.connections.network.set_wall(one, other, stands);
    }

    /// Heals every cut.
    pub fn heal(&mut self) {
        self.connections.network.heal();
        (0..self.nodes.len()).for_each(|node| self.disturb(node));
        for node in &mut self.nodes {
            node.reaches_server = true;
        }
        self.reassess();
    }

    pub(crate) fn reassess(&mut self) {
        for effect in self.connections.reassess() {
            self.apply(effect);
        }
    }

    /// Something has happened to a client that may cost what is under way to and from it.
    pub(crate) fn disturb(&mut self, node: NodeId) {
        (0..self.nodes.len()).for_each(|other| self.ledger.disturb(self.now, node, other));
    }

    /// Gives a client's machine another address. It may notice.
    pub fn move_node(&mut self, node: NodeId, notices: bool) {
        self.connections.network.move_node(node);
        self.disturb(node);
        self.reassess();
        self.drop_signalling(node);
        if notices {
            self.change_network(node);
        }
    }

    /// From now on a client does badly with what it is to pass on.
    pub fn corrupt(&mut self, node: NodeId) {
        let ways = [Forwarder::Drops, Forwarder::Repeats, Forwarder::Delays];
        self.nodes[node].forwarder = self.rng.choice(ways).unwrap_or_default();
    }

    /// What a client that does badly makes of a command to its backend.
    pub(crate) fn tamper(&mut self, end: End, command: Command) -> Option<Command> {
        let Command::Send(frame) = &command else { return Some(command) };
        let Ok(Some(Frame::Relay { hops, .. })) = Frame::decode(frame) else { return Some(command) };
        if hops == MAX_HOPS {
            return Some(command);
        }
        match self.nodes[end.0].forwarder {
            Forwarder::Honest => Some(command),
            // Something goes over the channel all the same, whose backend tells how full it is.
            Forwarder::Drops => Some(Command::Send(String::from(r#"{"type":"nothing"}"#))),
            Forwarder::Repeats => {
                self.happen(Happening::Execute(end, command.clone()));
                Some(command)
            }
            Forwarder::Delays => {
                let at = self.now + self.rng.u64(0..400);
                self.schedule(at, Happening::Execute(end, command));
                None
            }
        }
    }

    /// Has a client leave one of its rooms.
    pub fn leave(&mut self, node: NodeId) {
        let rooms: Vec<_> = self.nodes[node].rooms.iter().cloned().collect();
        let Some(room) = self.rng.choice(rooms) else { return };
        let now = self.time();
        self.nodes[node].rooms.remove(&room);
        assert!(self.nodes[node].client.leave_room(now, &room), "it was in the room");
        self.drive(node);
    }
}
