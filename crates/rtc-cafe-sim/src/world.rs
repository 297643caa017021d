//! The world: virtual time, the queue of what happens next, and everything that it happens to.

use std::{collections::BTreeMap, time::Duration};

use rtc_cafe_core::{
    Command, Config, ConnectionEvent, ConnectionState, Limits, Output, Phase, Recipients, RoomId, SendError,
    SessionOutput, Sid, Time, Timing,
    wire::{
        ApiVersion,
        signal::{ClientSignal, ServerSignal},
    },
};
use rtc_cafe_signaller::hub::{self, Hub, HubConfig, SocketId};

use crate::{
    NodeId,
    check::Ledger,
    links::Link,
    node::Node,
    rtc::{Connections, Effect, End},
};

/// Longer than any trouble, so that whoever can tell what has arrived does. Some worlds have the default instead.
pub(crate) const LONG_DOUBT: Duration = Duration::from_secs(240);
/// What happens next.
#[derive(Debug)]
pub(crate) enum Happening {
    /// A signal arrives at the server.
    AtServer { socket: SocketId, event: &'static str, payload: String },
    /// A signal arrives at a node.
    AtNode { node: NodeId, link: u64, event: String, payload: String },
    /// The server notices that a connection has ended.
    ServerLoses(SocketId),
    /// A node reaches the server.
    Connect(NodeId),
    /// A node wakes up.
    Awake(NodeId),
    /// The server has heard nothing on a connection.
    ServerMisses { node: NodeId, link: u64 },
    /// A node finds that its connection to the server has ended.
    LinkEnds { node: NodeId, link: u64 },
    /// The server is there again.
    ServerBegins,
    /// A message has come a while ago, and nothing has happened since that could keep its sender from knowing.
    Confirmed { from: NodeId, to: NodeId, number: u64, at: u64 },
    /// A node's timer.
    Wake(NodeId),
    /// A peer connection finishes a command.
    Execute(End, Command),
    /// A node is told something about its peer connection.
    Tell(End, ConnectionEvent),
    /// Two ends find a path to each other.
    Link(End, End),
    /// A frame arrives.
    Frame(End, u64, String),
    /// An end of a peer connection that hears nothing notices it.
    Notice(End, u64, ConnectionState),
}

/// Many clients and one server in virtual time.
pub struct World {
    pub(crate) now: u64,
    pub(crate) rng: fastrand::Rng,
    pub(crate) queue: BTreeMap<(u64, u64), Happening>,
    order: u64,
    pub(crate) hub: Hub,
    /// Whether the server is away.
    pub(crate) server_down: bool,
    /// The node behind each socket of the server, with the number of its link and when the last signal reaches it.
    pub(crate) sockets: BTreeMap<SocketId, (NodeId, u64, u64)>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) connections: Connections,
    /// When the last command of an end is finished, and when its last event is told: both stay in order.
    busy_until: BTreeMap<End, u64>,
    told_until: BTreeMap<End, u64>,
    pub(crate) frames_until: BTreeMap<End, u64>,
    pub(crate) ledger: Ledger,
    pub(crate) owners: BTreeMap<Sid, NodeId>,
    /// How often a track was added: each time it is another one, though its id may be the same.
    pub(crate) incarnations: u64,
    limits: Limits,
    /// How long a peer that is gone is waited for to tell what has arrived.
    pub(crate) doubt: Duration,
    /// How long peers may say nothing before they are asked whether they are there.
    pub(crate) quiet: Duration,
    pub(crate) last_awakening: u64,
    links: u64,
    /// Whether every happening is printed, for whoever looks into a seed that fails (`TRACE=1`).
    pub(crate) trace: bool,
}

impl World {
    /// A world with nobody in it.
    pub fn new(seed: u64) -> Self {
        Self::with_limits(seed, Limits::default())
    }

    /// A world with nobody in it, whose clients are to have these limits.
    pub fn with_limits(seed: u64, limits: Limits) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let hub = Hub::new(HubConfig::default(), seed_bytes(&mut rng));
        let doubt = if rng.u64(0..4) == 0 { Timing::default().doubt } else { LONG_DOUBT };
        Self {
            now: 0,
            rng,
            queue: BTreeMap::new(),
            order: 0,
            hub,
            server_down: false,
            sockets: BTreeMap::new(),
            nodes: Vec::new(),
            connections: Connections::default(),
            busy_until: BTreeMap::new(),
            told_until: BTreeMap::new(),
            frames_until: BTreeMap::new(),
            ledger: Ledger::default(),
            owners: BTreeMap::new(),
            incarnations: 0,
            limits,
            doubt,
            quiet: Timing::default().quiet,
            last_awakening: 0,
            links: 0,
            trace: std::env::var_os("TRACE").is_some(),
        }
    }

    /// Adds a client, which begins to connect to the server.
    pub fn add_node(&mut self) -> NodeId {
        let seed = seed_bytes(&mut self.rng);
        let node = self.nodes.len();
        let mut config = Config::default();
        config.limits = self.limits.clone();
        config.ready = self.rng.usize(0..4);
        config.timing.doubt = self.doubt;
        config.timing.quiet = self.quiet;
        config.handshake_over_peers = self.rng.u64(0..8) > 0;
        self.nodes.push(Node::new(seed, ApiVersion::LATEST, config));
        self.connect_within(node, 50);
        node
    }

    /// Has a client join a room.
    pub fn join(&mut self, node: NodeId, room: RoomId) {
        let now = self.time();
        let client = &mut self.nodes[node];
        client.rooms.insert(room.clone());
        client.client.join_room(now, room).expect("few rooms");
        self.drive(node);
    }

    /// Has a client send a message of so many bytes to every connected peer, or to one of them. Those who take messages
    /// too slowly are left out.
    ///
    /// # Panics
    /// If it is refused for another reason.
    pub fn send(&mut self, node: NodeId, bytes: usize, to_one: bool) {
        let connected: Vec<Sid> = self.nodes[node].client.connected_peers().cloned().collect();
        let recipients = match self.rng.choice(connected.clone()) {
            Some(sid) if to_one => vec![sid],
            _ => connected,
        };
        let number = self.ledger.number();
        let payload = format!("[{node},{number},\"{}\"]", "x".repeat(bytes));
        let now = self.time();
        let sent = self.nodes[node].client.send_message(now, &payload, Recipients::Only(recipients.clone()));
        let left_out = match sent {
            Ok(()) => Vec::new(),
            Err(SendError::QueueFull(full)) => full,
            Err(SendError::TooLong { bytes, max }) if bytes > max => recipients.clone(),
            Err(error) => panic!("{node} cannot send: {error}"),
        };
        for sid in recipients.iter().filter(|sid| !left_out.contains(sid)) {
            self.ledger.send(node, self.owners[sid], number);
        }
        self.drive(node);
    }

    /// Whether a client has not been killed.
    pub fn is_alive(&self, node: NodeId) -> bool {
        self.nodes[node].alive
    }

    /// Whether two clients are connected through a relay.
    pub fn are_relayed(&self, one: NodeId, other: NodeId) -> bool {
        self.connections.are_relayed(one, other)
    }

    /// How often a client has looked for other paths to another one.
    pub fn restarts(&self, node: NodeId, other: NodeId) -> u32 {
        let report = self.nodes[node].client.connection_report(self.time(), &self.sid(&self.nodes[other]));
        report.map_or(0, |report| report.restarts)
    }

    /// What a client's connection to another one is at.
    pub fn phase(&self, node: NodeId, other: NodeId) -> Option<Phase> {
        Some(self.nodes[node].client.connection_report(self.time(), &self.sid(&self.nodes[other]))?.phase)
    }

    /// Milliseconds of virtual time since the beginning.
    pub const fn now(&self) -> u64 {
        self.now
    }

    /// Every error that a living client's application was told of.
    pub fn errors(&self) -> Vec<String> {
        self.nodes.iter().filter(|node| node.alive).flat_map(|node| node.observer.errors.iter().cloned()).collect()
    }

    /// How many messages arrived.
    pub fn delivered(&self) -> usize {
        self.ledger.delivered()
    }

    /// Lets virtual time pass.
    ///
    /// # Panics
    /// If something happens that must not.
    pub fn run_until(&mut self, end: u64) {
        while let Some(next) = self.queue.first_entry().filter(|next| next.key().0 <= end) {
            let ((at, _), happening) = next.remove_entry();
            self.now = at;
            self.happen(happening);
        }
        self.now = end;
    }

    pub(crate) fn time(&self) -> Time {
        Time::from_millis(self.now)
    }

    pub(crate) fn schedule(&mut self, at: u64, happening: Happening) {
        self.order += 1;
        self.queue.insert((at, self.order), happening);
    }

    pub(crate) fn connect_within(&mut self, node: NodeId, millis: u64) {
        let at = self.now + self.rng.u64(1..=millis);
        self.schedule(at, Happening::Connect(node));
    }

    pub(crate) fn happen(&mut self, happening: Happening) {
        let now = self.time();
        if self.trace {
            println!("{} {happening:?}", self.now);
        }
        if let Some(node) = happening.sleeper().filter(|node| self.nodes[*node].asleep) {
            self.nodes[node].missed.push(happening);
            return;
        }
        match happening {
            Happening::AtServer { socket, event, payload } => {
                self.hub.handle_event(now_of(self.now), socket, event, &payload);
                self.drive_hub();
            }
            Happening::AtNode { node, link, event, payload } => self.deliver(node, link, &event, &payload),
            Happening::ServerLoses(socket) => {
                self.hub.disconnect(now_of(self.now), socket);
                self.drive_hub();
            }
            Happening::Connect(node) => self.connect(node),
            Happening::Awake(node) => self.wake(node),
            Happening::ServerMisses { node, link } => self.miss(node, link),
            Happening::LinkEnds { node, link } => self.lose_link(node, link),
            Happening::Confirmed { from, to, number, at } => self.confirm(from, to, number, at),
            Happening::ServerBegins => self.server_down = false,
            Happening::Wake(node) => {
                let client = &mut self.nodes[node];
                if client.alive && client.wakes_at == Some(self.now) {
                    client.wakes_at = None;
                    client.client.handle_timeout(now);
                    self.drive(node);
                }
            }
            Happening::Execute(end, command) => {
                for effect in self.connections.execute(end, command) {
                    self.apply(effect);
                }
            }
            Happening::Tell(end, event) => {
                if self.nodes[end.0].alive {
                    self.nodes[end.0].client.handle_connection(now, end.1, event);
                    self.drive(end.0);
                }
            }
            Happening::Link(one, other) => {
                for effect in self.connections.link(one, other) {
                    self.apply(effect);
                }
            }
            Happening::Frame(end, number, frame) => {
                for effect in self.connections.arrive(end, number, frame) {
                    self.apply(effect);
                }
            }
            Happening::Notice(end, turns, state) => {
                for effect in self.connections.notice(end, turns, state) {
                    self.apply(effect);
                }
            }
        }
    }

    fn connect(&mut self, node: NodeId) {
        if !self.nodes[node].alive || self.nodes[node].link.is_some() {
            return;
        }
        if self.server_down || !self.nodes[node].reaches_server {
            self.connect_within(node, 2500);
            return;
        }
        let socket = self.hub.connect(self.nodes[node].session.offered_version());
        let sid = self.hub.sid(socket).and_then(Sid::new).expect("it has just been minted");
        self.owners.insert(sid, node);
        self.links += 1;
        self.sockets.insert(socket, (node, self.links, self.now));
        self.nodes[node].link = Some(Link { number: self.links, socket, upstream: self.now });
        self.drive_hub();
        if self.rng.bool() {
            self.nodes[node].session.handle_opened();
            self.drive(node);
        }
        self.nodes[node].session.handle_connected();
        self.drive(node);
    }

    fn deliver(&mut self, node: NodeId, link: u64, event: &str, payload: &str) {
        let now = self.time();
        let client = &mut self.nodes[node];
        if client.link.as_ref().map(|link| link.number) != Some(link) {
            return;
        }
        let signal = ServerSignal::decode(event, payload).expect("the hub writes what the core reads");
        client.session.handle_signal(&signal);
        client.client.handle_signal(now, signal);
        self.drive(node);
    }

    /// Sends what the hub has to say, in order for each socket.
    pub(crate) fn drive_hub(&mut self) {
        while let Some(output) = self.hub.poll() {
            let hub::Output::Emit { to, event, payload } = output else { continue };
            let delay = self.rng.u64(1..40);
            let Some((node, link, last)) = self.sockets.get_mut(&to) else { continue };
            let at = (self.now + delay).max(*last);
            *last = at;
            let arrival =
                Happening::AtNode { node: *node, link: *link, event: event.into(), payload: payload.to_string() };
            self.schedule(at, arrival);
        }
    }

    /// Does what a node's core asks for.
    pub(crate) fn drive(&mut self, node: NodeId) {
        let now = self.time();
        while let Some(output) = self.nodes[node].session.poll() {
            match output {
                SessionOutput::Signal(signal) => self.signal(node, &signal),
                SessionOutput::Opened => self.nodes[node].client.handle_signaller_opened(now),
                SessionOutput::StateChanged(state) => self.nodes[node].client.handle_signaller_state(now, state),
            }
        }
        let mut told = false;
        while let Some(output) = self.nodes[node].client.poll() {
            told |= matches!(output, Output::Event(_));
            match output {
                Output::Signal(signal) => self.signal(node, &signal),
                Output::Connection(connection, command) => self.command((node, connection), command),
                Output::Event(event) => self.observe(node, &event),
                Output::IceServers(_) | Output::CheckSignaller => {}
            }
        }
        if told {
            self.check(node);
        }
        let next = self.nodes[node].client.poll_timeout().map(|time| time.as_millis().max(self.now));
        if next != self.nodes[node].wakes_at {
            self.nodes[node].wakes_at = next;
            if let Some(at) = next {
                self.schedule(at, Happening::Wake(node));
            }
        }
    }

    fn signal(&mut self, node: NodeId, signal: &ClientSignal) {
        let delay = self.rng.u64(1..40);
        let Some(link) = self.nodes[node].link.as_mut() else { return };
        let at = (self.now + delay).max(link.upstream);
        link.upstream = at;
        let arrival = Happening::AtServer { socket: link.socket, event: signal.name(), payload: signal.payload() };
        self.schedule(at, arrival);
    }

    fn command(&mut self, end: End, command: Command) {
        let Some(command) = self.tamper(end, command) else { return };
        match command {
            Command::Close => {
                if let Some(partner) = self.connections.partner(end) {
                    self.ledger.part(end.0, partner);
                    self.ledger.disturb(self.now, end.0, partner);
                }
                self.happen(Happening::Execute(end, Command::Close));
            }
            Command::Open | Command::Send(_) => self.happen(Happening::Execute(end, command)),
            command => {
                let at = self.busy_until.get(&end).copied().unwrap_or(0).max(self.now) + self.rng.u64(0..8);
                self.busy_until.insert(end, at);
                self.schedule(at, Happening::Execute(end, command));
            }
        }
    }

    pub(crate) fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Tell(end, event) => {
                let delay = match event {
                    ConnectionEvent::ChannelClosed => self.rng.u64(1..60),
                    _ => self.rng.u64(0..4),
                };
                let at = (self.now + delay).max(self.told_until.get(&end).copied().unwrap_or(0));
                self.told_until.insert(end, at);
                self.schedule(at, Happening::Tell(end, event));
            }
            Effect::Link(one, other) => {
                let at = self.now + self.rng.u64(5..120);
                self.schedule(at, Happening::Link(one, other));
            }
            Effect::Frame(end, number, frame) => {
                let at = (self.now + self.rng.u64(1..60)).max(self.frames_until.get(&end).copied().unwrap_or(0));
                self.frames_until.insert(end, at);
                self.schedule(at, Happening::Frame(end, number, frame));
            }
            Effect::Notice(end, turns, state) => {
                let after = if state == ConnectionState::Disconnected { 5000 } else { 20_000 };
                self.schedule(self.now + after, Happening::Notice(end, turns, state));
            }
        }
    }

    pub(crate) fn roommates(&self, id: NodeId) -> impl Iterator<Item = (NodeId, &Node)> {
        let rooms = &self.nodes[id].rooms;
        self.nodes
            .iter()
            .enumerate()
            .filter(move |(other, node)| *other != id && node.alive && !node.rooms.is_disjoint(rooms))
    }

    pub(crate) fn sid(&self, node: &Node) -> Sid {
        node.client.sid().cloned().expect("it is connected")
    }
}

impl Happening {
    /// The node to which it happens, if it does not happen to one that sleeps.
    const fn sleeper(&self) -> Option<NodeId> {
        match self {
            Self::AtNode { node, .. }
            | Self::LinkEnds { node, .. }
            | Self::Connect(node)
            | Self::Wake(node)
            | Self::Tell((node, _), _) => Some(*node),
            _ => None,
        }
    }
}

pub(crate) const fn now_of(millis: u64) -> std::time::Duration {
    std::time::Duration::from_millis(millis)
}

pub(crate) fn seed_bytes(rng: &mut fastrand::Rng) -> [u8; 32] {
    std::array::from_fn(|_| rng.u8(..))
}
