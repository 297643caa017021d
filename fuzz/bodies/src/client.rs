//! The client's core: whatever the server, the peers and the backend say, its outputs make sense and stay bounded.

use std::collections::{BTreeMap, BTreeSet};

use rtc_cafe_core::{
    Client, Command, Config, ConnectionEvent, ConnectionId, ConnectionState, Event, Intake, Output, Recipients, RoomId,
    Sid, SignallerState, Time,
    wire::{
        json::{Object, Value, array},
        limits::{MAX_FRAME, MAX_MESSAGE, MAX_PART},
        peer::Frame,
        signal::{IceCandidate, ServerSignal},
    },
};

use crate::script;

const PEERS: usize = 3;
const ROOMS: usize = 3;
const CANDIDATES: usize = 4;
const OUTGOING: usize = 500;
const CONTROL: usize = 2000;
const KEPT: usize = 700;

/// Runs a script of
/// * `s+`, `s-`, `s.`: the signalling connection is there, is lost, is closed;
/// * `>offer {"sid":"B"}`: a signal; `$0` is the client's own permanent id;
/// * `3o`, `3a`, `3f`, `3c`, `3n`: connection 3 has an offer, an answer, has failed, found a candidate, or the last;
/// * `3+`, `3-`, `3!`, `3d`, `3x`, `3b9`: its channel opened, closed, it failed, is disconnected, closed, holds 9 bytes;
/// * `3m{"type":"ping"}`: a frame came, a tab for its line feed;
/// * `"text"`, `@B "text"`: a message to all, to one; `j5`: a room is joined; `t9`: 9 ms pass; `x`: it is closed;
/// * `i`, `i!`, `i!!`: the application reads everything, slowly, or nothing.
pub fn client(data: &[u8]) {
    let script = String::from_utf8_lossy(data);
    let mut world = World::new();
    script::steps(&script).for_each(|step| world.step(step));
    world.end();
}

/// What a backend knows of a connection.
#[derive(Default)]
struct Link {
    open: bool,
    /// Candidates that it was given since the last description.
    candidates: usize,
}

struct World {
    client: Client,
    now: u64,
    links: BTreeMap<ConnectionId, Link>,
    newest: ConnectionId,
    connected: BTreeSet<Sid>,
    closed: bool,
    /// The connection on which a frame has just come.
    speaking: Option<ConnectionId>,
}

impl World {
    fn new() -> Self {
        let mut config = Config::default();
        config.limits.peers = PEERS;
        config.limits.rooms = ROOMS;
        config.limits.candidates = CANDIDATES;
        config.limits.outgoing_bytes = OUTGOING;
        config.limits.kept_bytes = KEPT;
        config.limits.control_bytes = CONTROL;
        config.limits.high_water = 300;
        config.limits.low_water = 100;
        Self {
            client: Client::new(config, [1; 32]),
            now: 0,
            links: BTreeMap::new(),
            newest: ConnectionId(0),
            connected: BTreeSet::new(),
            closed: false,
            speaking: None,
        }
    }

    fn step(&mut self, step: &str) {
        let now = Time::from_millis(self.now);
        let (kind, rest) = script::first(step);
        match kind {
            's' => self.client.handle_signaller_state(now, state(rest)),
            '>' => self.signal(now, rest),
            '0'..='9' => self.connection(now, step),
            '"' => self.send(now, step, Recipients::All),
            '@' => {
                let (sid, text) = script::word(rest);
                self.send(now, text, Recipients::Only(Sid::new(sid).into_iter().collect()));
            }
            'j' => self.join(now, rest),
            'i' => self.client.set_intake(now, [Intake::All, Intake::Unconfirmed, Intake::Nothing][rest.len() % 3]),
            't' => {
                self.now += u64::from(script::number(rest).0 % 100_000);
                self.client.handle_timeout(Time::from_millis(self.now));
            }
            'x' => {
                self.client.close(now);
                self.closed = true;
            }
            _ => {}
        }
        self.drain();
        self.speaking = None;
        // A connection whose queue has overflowed is given up at once.
        self.client.handle_timeout(Time::from_millis(self.now));
        self.drain();
        self.check();
    }

    fn signal(&mut self, now: Time, text: &str) {
        let (event, payload) = script::word(text);
        let id = self.client.permanent_id().as_str().to_owned();
        let payload = script::fill(payload, |number| (number == 0).then_some(id.as_str()));
        if let Ok(signal) = ServerSignal::decode(event, &payload) {
            self.client.handle_signal(now, signal);
        }
    }

    fn connection(&mut self, now: Time, step: &str) {
        let (id, rest) = script::number(step);
        let id = ConnectionId(id);
        let (kind, rest) = script::first(rest);
        let event = match kind {
            'o' => ConnectionEvent::OfferCreated { sdp: rest.into(), mids: vec![] },
            'a' => ConnectionEvent::AnswerCreated(rest.into()),
            'f' => ConnectionEvent::Failed(rest.into()),
            'c' => ConnectionEvent::CandidateFound(Some(IceCandidate::default())),
            'n' => ConnectionEvent::CandidateFound(None),
            '+' => ConnectionEvent::ChannelOpen,
            '-' => ConnectionEvent::ChannelClosed,
            '!' => ConnectionEvent::StateChanged(ConnectionState::Failed),
            'd' => ConnectionEvent::StateChanged(ConnectionState::Disconnected),
            'x' => ConnectionEvent::StateChanged(ConnectionState::Closed),
            'b' => ConnectionEvent::ChannelBuffered(script::number(rest).0 as usize),
            'm' => ConnectionEvent::ChannelMessage(rest.replacen('\t', "\n", 1)),
            _ => return,
        };
        if let (Some(link), ConnectionEvent::ChannelOpen) = (self.links.get_mut(&id), &event) {
            link.open = true;
        }
        self.speaking = (kind == 'm').then_some(id);
        self.client.handle_connection(now, id, event);
        if !self.links.contains_key(&id) {
            assert_eq!(self.client.poll(), None, "a connection that is closed was heard");
        }
    }

    fn send(&mut self, now: Time, text: &str, recipients: Recipients) {
        let to = match &recipients {
            Recipients::All => None,
            Recipients::Only(sids) => Some(sids.clone()),
        };
        let sent = self.client.send_message(now, text, recipients);
        if sent.is_ok() {
            assert!(text.len() <= OUTGOING);
            assert!(to.iter().flatten().all(|sid| self.connected.contains(sid)), "sent to who is not connected");
        }
    }

    fn join(&mut self, now: Time, text: &str) {
        let room = Value::parse(text).ok().and_then(|room| RoomId::from_json(room).ok());
        let Some(room) = room else { return };
        let joined = self.client.join_room(now, room.clone());
        assert!(joined.is_err() || self.client.rooms().any(|joined| *joined == room));
        assert!(!self.closed || joined.is_err());
    }

    fn drain(&mut self) {
        while let Some(output) = self.client.poll() {
            match output {
                Output::Signal(signal) => {
                    assert_eq!(self.client.state(), SignallerState::Connected);
                    assert!(Object::parse(&signal.payload()).is_ok(), "{signal:?}");
                }
                Output::Connection(id, command) => self.command(id, command),
                Output::IceServers(servers) => assert!(array(&servers).is_ok(), "{servers}"),
                Output::CheckSignaller => {}
                Output::Event(event) => self.follow(event),
            }
        }
    }

    /// What a backend relies on.
    fn command(&mut self, id: ConnectionId, command: Command) {
        if command == Command::Open {
            assert!(id > self.newest, "connection {id} was there before");
            self.newest = id;
            self.links.insert(id, Link::default());
            return;
        }
        let link = self.links.get_mut(&id).unwrap_or_else(|| panic!("{command:?} for connection {id}, which is none"));
        match command {
            Command::Close => {
                let by_another = link.open && self.speaking.is_some_and(|speaking| speaking != id);
                assert!(!by_another, "a peer has ended connection {id}, which is another's");
                self.links.remove(&id);
            }
            Command::AcceptOffer(_) | Command::AcceptAnswer(_) => link.candidates = 0,
            Command::AddCandidate(_) => {
                link.candidates += 1;
                assert!(link.candidates <= CANDIDATES, "too many candidates for connection {id}");
            }
            Command::Send(frame) => {
                assert!(link.open, "{frame} on a channel that is not open");
                assert!(frame.len() <= MAX_FRAME);
                match Frame::decode(&frame) {
                    Ok(Some(Frame::Message { body, .. })) => assert!(body.len() <= MAX_PART),
                    Ok(Some(_)) => {}
                    other => panic!("{frame} is {other:?}"),
                }
            }
            _ => {}
        }
    }

    /// What an application knows from events alone.
    fn follow(&mut self, event: Event) {
        match event {
            Event::ConnectToPeer { sid } => assert!(self.connected.insert(sid.clone()), "connected twice to {sid}"),
            Event::DisconnectFromPeer { sid } => assert!(self.connected.remove(&sid), "{sid} was not connected"),
            Event::ReassignPeerSid { old_sid, sid } => {
                let known = self.connected.remove(&old_sid) && self.connected.insert(sid.clone());
                assert!(known, "{old_sid} became {sid}");
            }
            Event::Message { sender, payload } => {
                assert!(self.connected.contains(&sender), "{sender} was not connected");
                assert!(payload.len() <= MAX_MESSAGE);
            }
            _ => {}
        }
    }

    fn check(&self) {
        let connected: BTreeSet<_> = self.client.connected_peers().cloned().collect();
        assert_eq!(self.connected, connected, "the events say something else than the properties");
        let discovered: Vec<_> = self.client.discovered_peers().collect();
        let distinct: BTreeSet<_> = discovered.iter().copied().cloned().collect();
        assert_eq!(discovered.len(), distinct.len(), "a sid twice in {discovered:?}");
        assert!(discovered.len() <= PEERS && connected.is_subset(&distinct));
        assert!(!discovered.into_iter().any(|sid| Some(sid) == self.client.sid()), "it is its own peer");
        assert!(self.links.len() <= PEERS);
        assert!(self.client.rooms().count() <= ROOMS);
        assert!(self.client.waiting_bytes() < PEERS * (OUTGOING + CONTROL + 100));
        let overdue = self.client.poll_timeout().filter(|at| *at <= Time::from_millis(self.now));
        assert_eq!(overdue, None, "a timer is overdue");
        assert!(!self.closed || self.links.is_empty() && distinct.is_empty(), "closed, and still busy");
    }

    fn end(mut self) {
        self.step("x");
        assert!(self.connected.is_empty() && self.links.is_empty());
        assert_eq!(self.client.poll_timeout(), None);
    }
}

fn state(text: &str) -> SignallerState {
    match script::first(text).0 {
        '+' => SignallerState::Connected,
        '-' => SignallerState::Reconnecting,
        _ => SignallerState::Closed,
    }
}
