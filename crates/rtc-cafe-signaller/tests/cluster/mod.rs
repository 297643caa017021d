//! Hubs, clients and a broker in one deterministic world.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test")]

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use rtc_cafe_signaller::hub::{Hub, HubConfig, Output, SocketId, Topic};
use rtc_cafe_wire::{ApiVersion, json::Object};

mod checks;
mod forger;

const ROOMS: [&str; 3] = ["1", "\"1\"", "\"two\""];

/// What goes wrong; numbers are per thousand frames.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    pub loss: u64,
    pub repeats: u64,
    /// A character of them becomes another one.
    pub damage: u64,
    /// Somebody else writes to the broker, under its own name and those of nodes.
    pub forgery: bool,
    /// Only what is published under one topic stays in order.
    pub channels_apart: bool,
    pub outages: bool,
    pub deaths: bool,
}

impl Faults {
    const fn is_calm(self) -> bool {
        self.loss == 0 && self.damage == 0 && !self.forgery && !self.outages && !self.deaths
    }
}

struct Node {
    hub: Hub,
    alive: bool,
    up: bool,
    topics: BTreeSet<Topic>,
    received: usize,
}

struct Client {
    node: usize,
    socket: SocketId,
    sid: String,
    id: String,
    secret: String,
    alive: bool,
    /// When its node closed it.
    closed: Option<Duration>,
    rooms: BTreeSet<String>,
    /// Rooms that it has left, which is not reported to those who share another.
    left: BTreeSet<String>,
    events: Vec<String>,
    /// Whom it takes for present, by room.
    view: BTreeMap<String, BTreeSet<String>>,
    /// Sessions, and those that have replaced them, as it was told.
    replaced: BTreeMap<String, String>,
}

/// From whom, to whom, and the topic where channels keep no order among each other.
type Lane = (usize, usize, Option<Topic>);

pub struct World {
    seed: u64,
    random: u64,
    now: Duration,
    faults: Faults,
    config: HubConfig,
    calm_now: bool,
    trace: bool,
    /// Of a session in several rooms that has moved, so long nobody hears that it has ended.
    pub kept: Duration,
    nodes: Vec<Node>,
    clients: Vec<Client>,
    lanes: BTreeMap<Lane, VecDeque<String>>,
}

impl World {
    pub fn new(seed: u64, nodes: usize, faults: Faults) -> Self {
        Self::with(seed, nodes, faults, HubConfig::default())
    }

    /// The same with other limits.
    pub fn with(seed: u64, nodes: usize, faults: Faults, mut config: HubConfig) -> Self {
        // So that what is told again comes in many pieces, with other things between.
        config.piece = 200;
        let random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let trace = std::env::var_os("SEED").is_some();
        let (clients, lanes) = (Vec::new(), BTreeMap::new());
        let now = Duration::from_secs(1);
        let (nodes_yet, kept) = (Vec::new(), Duration::from_secs(5));
        let mut world =
            Self { seed, random, now, faults, config, calm_now: false, trace, kept, nodes: nodes_yet, clients, lanes };
        for node in 0..nodes {
            world.start_node(node as u8);
        }
        world
    }

    fn start_node(&mut self, number: u8) {
        let mut seed = [number; 32];
        seed[1..9].copy_from_slice(&self.seed.to_le_bytes());
        let mut hub = Hub::new(self.config.clone(), seed);
        // Their clocks differ by some milliseconds.
        hub.connect_nodes(Duration::from_secs(1_700_000_000) + Duration::from_millis(self.random(5)));
        hub.handle_broker(self.now, true);
        self.nodes.push(Node { hub, alive: true, up: true, topics: BTreeSet::new(), received: 0 });
        self.flush(self.nodes.len() - 1);
    }

    fn random(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) % below.max(1)
    }

    fn pick(&mut self, of: &[usize]) -> Option<usize> {
        let at = self.random(of.len() as u64) as usize;
        of.get(at).copied()
    }

    fn log(&self, text: impl FnOnce() -> String) {
        if self.trace {
            println!("{:>8.1} {}", self.now.as_secs_f64(), text());
        }
    }

    /// A client of version 1.0 on a node.
    pub fn client(&mut self, node: usize) -> usize {
        let id = format!("id-{}", self.clients.len());
        self.client_as(node, id)
    }

    fn client_as(&mut self, node: usize, id: String) -> usize {
        let hub = &mut self.nodes[node].hub;
        let socket = hub.connect(ApiVersion::V0_2);
        let sid = hub.sid(socket).unwrap().to_owned();
        let index = self.clients.len();
        let (rooms, left, events, view) = (BTreeSet::new(), BTreeSet::new(), Vec::new(), BTreeMap::new());
        let secret = String::new();
        self.clients.push(Client {
            node,
            socket,
            sid,
            id,
            secret,
            alive: true,
            closed: None,
            rooms,
            left,
            events,
            view,
            replaced: BTreeMap::new(),
        });
        self.send(index, "request-sid", r#"{"apiVersion":"1.0"}"#);
        let reply = self.clients[index].events.pop().unwrap();
        let secret =
            Object::parse(reply.strip_prefix("sid ").unwrap()).unwrap().string("session").unwrap().into_owned();
        self.clients[index].secret = secret;
        index
    }

    pub fn send(&mut self, client: usize, event: &str, payload: &str) {
        let Client { node, socket, .. } = self.clients[client];
        self.log(|| format!("client {client} of node {node} sends {event} {payload}"));
        self.nodes[node].hub.handle_event(self.now, socket, event, payload);
        self.flush(node);
    }

    /// Has something done to the hub of a node.
    pub fn with_hub(&mut self, node: usize, act: impl FnOnce(&mut Hub, Duration)) {
        act(&mut self.nodes[node].hub, self.now);
        self.flush(node);
    }

    /// The socket of a client in the hub of its node.
    pub fn socket(&self, client: usize) -> SocketId {
        self.clients[client].socket
    }

    /// How many ended sessions a node remembers.
    pub fn remembered(&self, node: usize) -> usize {
        self.nodes[node].hub.stats().remembered
    }

    pub fn join(&mut self, client: usize, room: &str) {
        let payload = format!("{{\"room\":{room},\"id\":\"{}\"}}", self.clients[client].id);
        self.clients[client].rooms.insert(room.to_owned());
        self.send(client, "join", &payload);
    }

    pub fn leave(&mut self, client: usize, room: &str) {
        self.clients[client].rooms.remove(room);
        self.clients[client].left.insert(room.to_owned());
        self.clients[client].view.remove(room);
        self.send(client, "leave", &format!("{{\"room\":{room}}}"));
    }

    pub fn disconnect(&mut self, client: usize) {
        let Client { node, socket, .. } = self.clients[client];
        self.log(|| format!("client {client} of node {node} goes"));
        self.clients[client].alive = false;
        self.nodes[node].hub.disconnect(self.now, socket);
        self.flush(node);
    }

    /// The client has a new session on another node, in all its rooms; the old one is not closed by it.
    pub fn move_to(&mut self, client: usize, node: usize) -> usize {
        let new = self.come_to(client, node);
        for room in self.clients[client].rooms.clone() {
            self.claim(new, client, &room);
        }
        new
    }

    /// The same, in no room yet.
    pub fn come_to(&mut self, client: usize, node: usize) -> usize {
        let new = self.client_as(node, self.clients[client].id.clone());
        self.log(|| format!("client {client} moves to node {node} as {new}"));
        self.clients[client].alive = false;
        new
    }

    /// A session joins a room as the proven successor of another.
    pub fn claim(&mut self, new: usize, old: usize, room: &str) {
        let Client { id, sid, secret, .. } = &self.clients[old];
        let payload = format!("{{\"room\":{room},\"id\":\"{id}\",\"prevSid\":\"{sid}\",\"prevSession\":\"{secret}\"}}");
        self.clients[new].rooms.insert(room.to_owned());
        self.send(new, "join", &payload);
    }

    /// A node dies, and so do the connections of its clients.
    pub fn kill(&mut self, node: usize) {
        self.log(|| format!("node {node} dies"));
        self.nodes[node].alive = false;
        self.nodes[node].topics.clear();
        self.lanes.retain(|lane, _| lane.1 != node);
        for client in self.clients.iter_mut().filter(|client| client.node == node) {
            client.alive = false;
        }
    }

    /// The broker goes away for a node, or is there again.
    pub fn broker(&mut self, node: usize, up: bool) {
        if self.nodes[node].up == up {
            return;
        }
        self.log(|| format!("the broker of node {node} is up: {up}"));
        self.nodes[node].up = up;
        self.nodes[node].topics.clear();
        self.lanes.retain(|lane, _| lane.1 != node);
        self.nodes[node].hub.handle_broker(self.now, up);
        self.flush(node);
    }

    /// Takes what a hub wants done, and lets clients answer; `false` if there was nothing.
    fn flush(&mut self, node: usize) -> bool {
        let mut any = false;
        while let Some(output) = self.nodes[node].hub.poll() {
            any = true;
            match output {
                Output::Emit { to, event, payload } => self.receive(node, to, event, &payload),
                Output::Disconnect { socket } => {
                    let old = self.clients.iter_mut().find(|old| (old.node, old.socket) == (node, socket));
                    old.unwrap().closed = Some(self.now);
                }
                Output::Subscribe { topic } => _ = self.nodes[node].topics.insert(topic),
                Output::Unsubscribe { topic } => _ = self.nodes[node].topics.remove(&topic),
                Output::Publish { topic, frame, .. } => self.publish(node, &topic, &frame),
                other => panic!("{other:?}"),
            }
        }
        any
    }

    /// Lets some hub go on that tells in pieces; `false` if none has anything to say.
    fn tell_more(&mut self) -> bool {
        let all: Vec<_> = (0..self.nodes.len()).filter(|&node| self.nodes[node].alive).collect();
        let first = self.random(all.len() as u64) as usize;
        all.iter().cycle().skip(first).take(all.len()).any(|&node| {
            let more = self.nodes[node].hub.has_more();
            more.then(|| self.nodes[node].hub.handle_flushed(self.now));
            more && self.flush(node)
        })
    }

    fn publish(&mut self, from: usize, topic: &Topic, frame: &str) {
        if !self.nodes[from].up {
            return;
        }
        for to in 0..self.nodes.len() {
            let lost = !self.calm_now && self.random(1000) < self.faults.loss;
            if !self.nodes[to].topics.contains(topic) || !self.nodes[to].alive || lost {
                continue;
            }
            let apart = self.faults.channels_apart.then(|| topic.clone());
            let repeats = !self.calm_now && self.random(1000) < self.faults.repeats;
            let frame = if self.random(1000) < self.faults.damage { self.damaged(frame) } else { frame.to_owned() };
            let lane = self.lanes.entry((from, to, apart)).or_default();
            if repeats {
                lane.push_back(frame.clone());
            }
            lane.push_back(frame);
        }
    }

    fn damaged(&mut self, frame: &str) -> String {
        let mut characters: Vec<char> = frame.chars().collect();
        for _ in 0..=self.random(3) {
            let at = self.random(characters.len() as u64) as usize;
            let other = self.random(5) as usize;
            characters[at] = ['0', '9', '"', '}', 'A'][other];
        }
        characters.into_iter().collect()
    }

    fn receive(&mut self, node: usize, to: SocketId, event: &str, payload: &str) {
        let index = self.clients.iter().position(|client| (client.node, client.socket) == (node, to));
        let Some(index) = index else { return };
        self.log(|| format!("client {index} of node {node} gets {event} {payload}"));
        let object = Object::parse(payload).unwrap();
        let text = |key: &str| object.string(key).map(Into::into);
        let sid: Option<String> = text("sid");
        let room: Option<String> = object.get("room").map(|room| room.text().to_owned());
        let other = sid.as_ref().and_then(|sid| self.clients.iter().find(|other| other.sid == *sid));
        let strict = self.faults.loss == 0
            && self.faults.damage == 0
            && !self.faults.forgery
            && other.is_none_or(|other| other.left.is_empty());
        let seed = self.seed;
        // What says that it has come into its other rooms as well may take longer than these are kept for it.
        let over = other.filter(|other| other.rooms.len() > 1).and_then(|other| other.closed).map(|at| at + self.kept);
        // A third node may hear of the end first.
        let told_first = strict && self.nodes.len() < 3 && over.is_none_or(|over| self.now < over);
        let client = &mut self.clients[index];
        client.events.push(format!("{event} {payload}"));
        let (Some(sid), true) = (sid, client.alive) else { return };
        match event {
            "acquire-peers" | "acquire-peers-response" => {
                let room = room.unwrap();
                if let Some(prev) = text("prevSid") {
                    client.replaced.insert(prev.clone(), sid.clone());
                    client.view.values_mut().for_each(|view| _ = view.remove::<String>(&prev));
                }
                let view = client.view.entry(room.clone()).or_default();
                let is_new = view.insert(sid.clone());
                client.replaced.remove(&sid);
                if event == "acquire-peers" {
                    assert!(is_new || !strict, "seed {seed}: client {index} is told of {sid} twice");
                    let id = client.id.clone();
                    let reply = format!("{{\"recipient\":\"{sid}\",\"room\":{room},\"id\":\"{id}\"}}");
                    self.send(index, "acquire-peers-response", &reply);
                }
            }
            "peer-disconnection" => {
                let moved =
                    client.replaced.get(&sid).is_some_and(|by| client.view.values().any(|view| view.contains(by)));
                assert!(!moved || !told_first, "seed {seed}: client {index} misses {sid}, which has moved");
                client.view.values_mut().for_each(|view| _ = view.remove(&sid));
            }
            _ => {}
        }
    }

    /// Delivers one frame of some lane, or has more told; `false` if there is none.
    fn deliver_one(&mut self) -> bool {
        if self.random(3) == 0 && self.tell_more() {
            return true;
        }
        let lanes: Vec<_> =
            self.lanes.iter().filter(|(_, lane)| !lane.is_empty()).map(|(key, _)| key.clone()).collect();
        if lanes.is_empty() {
            return self.tell_more();
        }
        let at = self.random(lanes.len() as u64) as usize;
        let frame = self.lanes.get_mut(&lanes[at]).and_then(VecDeque::pop_front).unwrap();
        let to = lanes[at].1;
        self.log(|| format!("node {to} gets {frame} of {}", lanes[at].0));
        let node = &mut self.nodes[to];
        node.received += usize::from(lanes[at].0 != to);
        node.hub.handle_frame(self.now, &frame);
        self.flush(to);
        true
    }

    pub fn deliver(&mut self) {
        let mut frames = 0;
        while self.deliver_one() {
            frames += 1;
            assert!(frames < 200_000, "seed {}: nodes do not stop talking", self.seed);
        }
    }

    /// Lets time go by, with everything delivered.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        self.deliver();
        while self.now < end {
            self.tick();
            self.deliver();
        }
    }

    fn tick(&mut self) {
        self.now += Duration::from_secs(1);
        for node in 0..self.nodes.len() {
            if self.nodes[node].alive {
                self.nodes[node].hub.handle_tick(self.now);
                self.flush(node);
            }
        }
    }

    /// Something happens.
    pub fn step(&mut self) {
        let nodes: Vec<_> = (0..self.nodes.len()).filter(|&node| self.nodes[node].alive).collect();
        let clients: Vec<_> = (0..self.clients.len()).filter(|&client| self.clients[client].alive).collect();
        let room = ROOMS[self.random(3) as usize];
        let node = self.pick(&nodes).unwrap();
        match (self.random(16), self.pick(&clients)) {
            (0..=2, _) if clients.len() < 12 => {
                let client = self.client(node);
                self.join(client, room);
            }
            (3..=4, Some(client)) if !self.clients[client].rooms.contains(room) => self.join(client, room),
            (5, Some(client)) if self.clients[client].rooms.contains(room) => self.leave(client, room),
            (6, Some(client)) => self.disconnect(client),
            (7, Some(client)) if self.clients[client].node != node => _ = self.move_to(client, node),
            (8..=9, _) => self.tick(),
            (10, _) if self.faults.outages => {
                let up = !self.nodes[node].up;
                self.broker(node, up);
            }
            (11, _) if self.faults.outages => (0..self.random(40)).for_each(|_| self.tick()),
            (12, _) if self.faults.deaths && self.random(3) == 0 && nodes.len() > 2 => self.kill(node),
            (13..=14, _) if self.faults.forgery => self.forge(),
            _ => (0..self.random(30)).for_each(|_| _ = self.deliver_one()),
        }
    }

    /// Nothing goes wrong any more, until all is told.
    pub fn settle(&mut self) {
        self.calm_now = true;
        // Connections that are half dead are noticed in the end.
        for client in 0..self.clients.len() {
            if !self.clients[client].alive && self.nodes[self.clients[client].node].alive {
                self.disconnect(client);
            }
        }
        for node in 0..self.nodes.len() {
            if self.nodes[node].alive {
                self.broker(node, true);
            }
        }
        self.run(Duration::from_secs(150));
    }

    pub fn events(&self, client: usize) -> &[String] {
        &self.clients[client].events
    }

    pub fn forget_events(&mut self) {
        self.clients.iter_mut().for_each(|client| client.events.clear());
    }

    pub fn sid(&self, client: usize) -> &str {
        &self.clients[client].sid
    }

    /// The JSON of the client's id.
    pub fn id(&self, client: usize) -> String {
        format!("\"{}\"", self.clients[client].id)
    }

    pub fn was_closed(&self, client: usize) -> bool {
        self.clients[client].closed.is_some()
    }

    /// How many frames a node has got from others.
    pub fn received(&self, node: usize) -> usize {
        self.nodes[node].received
    }
}
