//! The server's hub: whatever clients say, only those who share a room hear of it, and nothing is left of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use rtc_cafe_signaller::hub::{Hub, HubConfig, Output, SocketId};
use rtc_cafe_wire::{
    ApiVersion, RoomId,
    json::{Object, Value},
    signal::name,
};

use crate::script;

const ROOMS_PER_SOCKET: usize = 3;
const MEMBERS_PER_ROOM: usize = 4;
const REMEMBERED: usize = 3;
const MAX_SOCKETS: usize = 10;

/// Runs a script of `+2` (connect with the third version), `-1` (disconnect the second socket), `~9` (nine seconds
/// pass) and `1 join {"room":5}` (the second socket says that). `$1` is the sid of the second socket.
pub fn hub(data: &[u8]) {
    let script = String::from_utf8_lossy(data);
    let mut world = World::new();
    script::steps(&script).for_each(|step| world.step(step));
    world.end();
}

struct World {
    hub: Hub,
    now: Duration,
    sockets: script::Sockets,
    /// The rooms of those who are connected, kept apart from the hub's own books.
    rooms: BTreeMap<SocketId, BTreeSet<RoomId>>,
    emitted: u64,
}

impl World {
    fn new() -> Self {
        let mut config = HubConfig::default();
        config.rooms_per_socket = ROOMS_PER_SOCKET;
        config.members_per_room = MEMBERS_PER_ROOM;
        config.remembered_sessions = REMEMBERED;
        config.burst = 20;
        config.events_per_second = 10;
        Self {
            hub: Hub::new(config, [7; 32]),
            now: Duration::from_secs(1),
            sockets: script::Sockets::default(),
            rooms: BTreeMap::new(),
            emitted: 0,
        }
    }

    fn step(&mut self, step: &str) {
        let (kind, rest) = script::first(step);
        match kind {
            '+' if self.sockets.count() < MAX_SOCKETS => self.connect(script::number(rest).0 as usize),
            '-' => self.disconnect(script::number(rest).0 as usize),
            '~' => self.now += Duration::from_secs(u64::from(script::number(rest).0 % 1000)),
            '0'..='9' => self.say(step),
            _ => {}
        }
        self.check_books();
    }

    fn connect(&mut self, version: usize) {
        let (socket, version) = self.sockets.connect(&mut self.hub, version);
        assert!(self.rooms.insert(socket, BTreeSet::new()).is_none(), "{socket:?} is somebody else already");
        for (to, event, _) in self.outputs() {
            assert_eq!((to, event, version), (socket, name::SID, ApiVersion::V0_0));
        }
    }

    fn disconnect(&mut self, number: usize) {
        let Some((socket, sid)) = self.sockets.get(number) else { return };
        let sid = sid.to_owned();
        self.hub.disconnect(self.now, socket);
        let left = self.rooms.remove(&socket).unwrap_or_default();
        let mut due: BTreeMap<SocketId, usize> = BTreeMap::new();
        for (&other, rooms) in &self.rooms {
            due.insert(other, rooms.intersection(&left).count());
        }
        for (to, event, payload) in self.outputs() {
            assert_eq!((event, field(&payload, "sid").as_deref()), (name::PEER_DISCONNECTION, Some(&*sid)));
            let due = due.get_mut(&to).filter(|due| **due > 0).expect("one for each room that was shared");
            *due -= 1;
        }
        assert!(due.values().all(|due| *due == 0), "somebody did not hear that {sid} left");
        assert_eq!(self.hub.sid(socket), None);
    }

    fn say(&mut self, step: &str) {
        let Some((socket, event, payload)) = self.sockets.said(step) else { return };
        self.hub.handle_event(self.now, socket, event, &payload);
        if !self.rooms.contains_key(&socket) {
            assert!(self.outputs().is_empty(), "a socket that has gone was heard");
            return;
        }
        let before = self.rooms.clone();
        let outputs = self.outputs();
        let refused = outputs.iter().any(|(to, event, _)| *to == socket && *event == name::ERROR);
        let room = Object::parse(&payload).ok().and_then(|object| RoomId::from_json(object.get("room")?).ok());
        if let (name::JOIN, Some(room), false) = (event, room, refused) {
            self.rooms.entry(socket).or_default().insert(room);
        }
        for (to, event, payload) in outputs {
            self.check(socket, &before, to, event, &payload);
        }
    }

    /// What a socket gets because of what another, or itself, said.
    fn check(
        &self,
        sender: SocketId,
        before: &BTreeMap<SocketId, BTreeSet<RoomId>>,
        to: SocketId,
        event: &str,
        payload: &str,
    ) {
        assert!(before.contains_key(&to), "{event} went to a socket that has gone");
        let sid = field(payload, "sid");
        let own = self.sockets.sid(sender);
        match event {
            name::ERROR | name::SID => assert_eq!(to, sender, "{payload} is nobody else's business"),
            // A half-dead socket that this one has replaced.
            name::PEER_DISCONNECTION => assert_ne!(sid.as_deref(), own),
            _ => {
                assert_eq!(sid.as_deref(), own, "{payload} does not name its sender");
                let object = Object::parse(payload).expect("a signal is an object");
                assert_eq!(object.entries().filter(|(key, _)| *key == "sid").count(), 1, "{payload}");
                let members = |socket| self.rooms.get(&socket).or_else(|| before.get(&socket));
                let (mine, theirs) = (members(sender).expect("it spoke"), members(to).expect("it was there"));
                assert!(to == sender || !mine.is_disjoint(theirs), "{event} {payload} reached a stranger");
            }
        }
    }

    /// Takes what the hub has decided; whom it gives up is forgotten here too.
    fn outputs(&mut self) -> Vec<(SocketId, &'static str, String)> {
        let mut all = Vec::new();
        while let Some(output) = self.hub.poll() {
            match output {
                Output::Emit { to, event, payload } => {
                    assert!(self.rooms.contains_key(&to), "{event} to a socket that is disconnected");
                    assert!(Value::parse(&payload).is_ok(), "{payload} is not JSON");
                    self.emitted += 1;
                    all.push((to, event, payload.to_string()));
                }
                Output::Disconnect { socket } => {
                    assert!(self.rooms.remove(&socket).is_some(), "{socket:?} was disconnected before");
                    assert_eq!(self.hub.sid(socket), None);
                }
                other => panic!("{other:?} is of a kind that this target does not know"),
            }
        }
        all
    }

    fn check_books(&self) {
        let stats = self.hub.stats();
        let rooms: BTreeSet<_> = self.rooms.values().flatten().collect();
        assert_eq!((stats.sockets, stats.rooms, stats.emitted), (self.rooms.len(), rooms.len(), self.emitted));
        assert!(stats.remembered <= REMEMBERED);
        assert!(self.rooms.values().all(|rooms| rooms.len() <= ROOMS_PER_SOCKET));
        for room in rooms {
            assert!(self.rooms.values().filter(|rooms| rooms.contains(room)).count() <= MEMBERS_PER_ROOM);
        }
    }

    fn end(mut self) {
        for number in 0..self.sockets.count() {
            self.disconnect(number);
        }
        let stats = self.hub.stats();
        assert_eq!((stats.sockets, stats.rooms), (0, 0));
    }
}

fn field(payload: &str, key: &str) -> Option<String> {
    Object::parse(payload).ok()?.string(key).map(Into::into)
}
