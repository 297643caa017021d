//! A hub among several: whatever comes from the broker, clients get what they can read of those who share a room with
//! them, everything is bounded, and nothing is left at the end.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use rtc_cafe_signaller::hub::{Hub, HubConfig, Output, Part, SocketId, Topic};
use rtc_cafe_wire::{
    RoomId,
    json::{Object, Value},
    signal::name,
};

use crate::script;

const MEMBERS_PER_ROOM: usize = 4;
const NODES: usize = 3;
const MAX_SOCKETS: usize = 6;
/// Events that one step may cause at most: everybody hears of everybody whom a frame can name, a few times.
const MOST_EVENTS: usize = 500;

/// Runs a script of `+2` (connect with the third version), `-1` (disconnect the second socket), `~9` (nine seconds pass,
/// tick by tick), `^0` and `^1` (the broker goes away, and comes back), `1 join {"room":5}` (the second socket says that),
/// and `<{...}` (a frame comes; a tab stands for its line feed). `$1` is the sid of the second socket.
pub fn nodes(data: &[u8]) {
    let script = String::from_utf8_lossy(data);
    let mut world = World::new();
    script::steps(&script).for_each(|step| world.step(step));
    world.end();
}

struct World {
    hub: Hub,
    now: Duration,
    sockets: script::Sockets,
    connected: BTreeSet<SocketId>,
    topics: BTreeMap<Topic, bool>,
    up: bool,
}

impl World {
    fn new() -> Self {
        let mut config = HubConfig::default();
        config.members_per_room = MEMBERS_PER_ROOM;
        config.nodes = NODES;
        config.piece = 100;
        let mut hub = Hub::new(config, [7; 32]);
        hub.connect_nodes(Duration::from_secs(1_700_000_000));
        let (now, topics) = (Duration::from_secs(1), BTreeMap::new());
        let sockets = script::Sockets::default();
        let mut world = Self { hub, now, sockets, connected: BTreeSet::new(), topics, up: false };
        world.broker(true);
        world
    }

    fn step(&mut self, step: &str) {
        let (kind, rest) = script::first(step);
        match kind {
            '+' if self.sockets.count() < MAX_SOCKETS => self.connect(script::number(rest).0 as usize),
            '-' => self.disconnect(script::number(rest).0 as usize),
            '~' => (0..script::number(rest).0 % 40).for_each(|_| self.tick()),
            '^' => self.broker(script::number(rest).0 > 0),
            '<' => {
                let frame = self.sockets.fill(&rest.replace('\t', "\n"));
                self.hub.handle_frame(self.now, &frame);
            }
            '0'..='9' => {
                if let Some((socket, event, payload)) = self.sockets.said(step) {
                    self.hub.handle_event(self.now, socket, event, &payload);
                }
            }
            _ => {}
        }
        self.settle();
    }

    fn connect(&mut self, version: usize) {
        let (socket, _) = self.sockets.connect(&mut self.hub, version);
        self.connected.insert(socket);
    }

    fn disconnect(&mut self, number: usize) {
        let Some((socket, _)) = self.sockets.get(number) else { return };
        self.hub.disconnect(self.now, socket);
        self.connected.remove(&socket);
    }

    fn tick(&mut self) {
        self.now += Duration::from_secs(1);
        self.hub.handle_tick(self.now);
        self.settle();
    }

    fn broker(&mut self, up: bool) {
        self.up = up;
        self.topics.clear();
        self.hub.handle_broker(self.now, up);
        self.settle();
    }

    /// Takes what the hub has decided, and lets it tell the rest.
    fn settle(&mut self) {
        let mut events = 0;
        loop {
            let mut any = false;
            while let Some(output) = self.hub.poll() {
                any = true;
                events += 1;
                self.check(output);
            }
            assert!(events <= MOST_EVENTS, "a step causes more than {MOST_EVENTS} events");
            if !any && !self.hub.has_more() {
                break;
            }
            self.hub.handle_flushed(self.now);
            // What is wanted again too soon has to wait.
            if !any {
                let Some(output) = self.hub.poll() else { break };
                self.check(output);
            }
        }
        let stats = self.hub.node_stats();
        let rooms = self.hub.stats().rooms;
        assert!(stats.nodes <= NODES && stats.remotes <= 2 * MEMBERS_PER_ROOM * rooms, "{stats:?} with {rooms} rooms");
    }

    fn check(&mut self, output: Output) {
        match output {
            Output::Emit { to, event, payload } => {
                assert!(self.connected.contains(&to), "{event} to a socket that is disconnected");
                let object = Object::parse(&payload).expect("what clients get is an object");
                let sids = object.entries().filter(|(key, _)| *key == "sid").count();
                assert!(event == name::ERROR || sids == 1, "{event} {payload} does not name its sender");
            }
            Output::Disconnect { socket } => assert!(self.connected.remove(&socket), "{socket:?} has gone before"),
            Output::Subscribe { topic } => drop(self.topics.insert(topic, true)),
            Output::Unsubscribe { topic } => drop(self.topics.insert(topic, false)),
            Output::Publish { frame, .. } => {
                assert!(self.up, "something is published while the broker is away");
                let header = frame.split_once('\n').map_or(&*frame, |(header, _)| header);
                assert!(Value::parse(header).is_ok(), "{frame} has no header");
            }
            other => panic!("{other:?} is of a kind that this target does not know"),
        }
    }

    fn end(mut self) {
        self.broker(true);
        for number in 0..self.sockets.count() {
            self.disconnect(number);
            self.settle();
        }
        self.hub.end_moving(self.now);
        self.settle();
        let (stats, nodes) = (self.hub.stats(), self.hub.node_stats());
        assert_eq!((stats.sockets, stats.rooms, nodes.remotes), (0, 0, 0));
        let rooms: Vec<_> =
            self.topics.iter().filter(|(topic, wanted)| **wanted && matches!(topic, Topic::Room(_))).collect();
        assert!(rooms.is_empty(), "{rooms:?} are still subscribed to");
        // A node that is silent is forgotten.
        (0..60).for_each(|_| self.tick());
        assert_eq!(self.hub.node_stats().nodes, 0);
        let (room, part) = (RoomId::numbered(5), Part { search: "", offset: 0, limit: 9 });
        assert!(self.hub.members_overview(&room, part).is_none());
    }
}
