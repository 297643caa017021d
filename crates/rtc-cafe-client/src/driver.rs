//! The task of a client: takes what sockets, server and application say to the core, and does what the core says.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use rtc_cafe_core::{Command, ConnectionEvent, ConnectionId, Limits, Output, Sid, SignallerState, Source, TrackId};
use tokio::{
    sync::{mpsc, oneshot},
    time::sleep_until,
};

use crate::{
    event::{ErrorCode, Event, EventSink},
    media::RtpPacket,
    net::{Endpoint, EndpointEvent, IceServer},
    report::ConnectionReport,
    rtc::{self, Connection, Settings},
    shared::Shared,
    signalling::{SendSignalError, Signalling, SignallingEvent},
    track::RemoteTrack,
};

mod clock;
mod found;
mod reporting;
mod telling;
#[cfg(test)]
mod tests;
mod tracks;

use clock::Clock;
use found::Found;
use reporting::Ended;
use telling::code;
use tracks::Outgoing;

/// Packets of tracks that wait for the driver; more are lost, as on a network.
const INPUTS: usize = 4096;
/// How long messages may take that were sent before the client was closed.
const LINGER: Duration = Duration::from_secs(5);
/// How long closed connections may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(2);
/// How long after a change of addresses ICE is restarted: until then, others may come or go.
const RESTART_AFTER: Duration = Duration::from_secs(1);
/// Addresses of a connection that are remembered.
const MAX_ROUTES: usize = 64;
/// Datagrams that are handled before the core is asked again.
const BATCH: usize = 32;

/// What reaches the driver from tracks.
#[derive(Debug)]
pub(crate) enum Input {
    /// A packet of a track of our own. `keyframe`: a frame begins with it that needs no earlier one.
    Packet { track: TrackId, feed: u64, packet: RtpPacket, keyframe: bool },
    /// A track of our own has ended by itself.
    TrackEnded { track: TrackId, feed: u64 },
    /// A keyframe of a peer's track is wanted.
    RequestKeyframe(Source),
    /// Something went wrong with a track's file.
    MediaFailed(String),
    /// Somebody asks how the connection to a peer is doing.
    Report(Sid, oneshot::Sender<Option<ConnectionReport>>),
}

pub(crate) fn input() -> (mpsc::Sender<Input>, mpsc::Receiver<Input>) {
    mpsc::channel(INPUTS)
}

pub(crate) struct Driver {
    shared: Arc<Shared>,
    endpoint: Endpoint,
    signalling: Signalling,
    input: mpsc::Sender<Input>,
    inputs: mpsc::Receiver<Input>,
    events: EventSink,
    settings: Settings,
    /// The datagram that came last, in a buffer that is used again.
    datagram: Vec<u8>,
    connections: BTreeMap<ConnectionId, Connection>,
    /// Connections that the core has closed, and that have not said goodbye yet.
    leaving: Vec<Connection>,
    ended: Ended,
    /// By whose address datagrams belong to which connection.
    routes: HashMap<(SocketAddr, SocketAddr), ConnectionId>,
    /// Connections with something to poll.
    dirty: BTreeSet<ConnectionId>,
    /// A peer may have confirmed messages, or is gone, or is not waited for any longer.
    room_made: bool,
    /// When connections are to look for better paths, because addresses have come or gone.
    restart_at: Option<Instant>,
    clock: Clock,
    outgoing: Outgoing,
}

impl Driver {
    pub(crate) fn new(
        shared: Arc<Shared>,
        endpoint: Endpoint,
        signalling: Signalling,
        (input, inputs): (mpsc::Sender<Input>, mpsc::Receiver<Input>),
        events: EventSink,
        limits: &Limits,
    ) -> Self {
        Self {
            shared,
            endpoint,
            signalling,
            input,
            inputs,
            events,
            settings: Settings { low_water: limits.low_water, certificate: None },
            datagram: Vec::new(),
            connections: BTreeMap::new(),
            leaving: Vec::new(),
            ended: Ended::default(),
            routes: HashMap::new(),
            dirty: BTreeSet::new(),
            room_made: false,
            restart_at: None,
            clock: Clock::new(),
            outgoing: Outgoing::default(),
        }
    }

    /// Runs until the client is closed.
    pub(crate) async fn run(mut self) {
        // The first attempt to connect is on its way while the certificate is made.
        let first = self.signalling.recv().now_or_never();
        self.settings.certificate = rtc::certificate();
        first.into_iter().for_each(|event| self.handle_signalling(event));
        loop {
            self.look_at_network();
            self.flush();
            self.adjust_intake();
            let closing = self.shared.lock().closing.map(|since| since + LINGER);
            if closing.is_some_and(|end| self.is_flushed() || Instant::now() >= end) {
                break;
            }
            let deadline = closing.into_iter().fold(self.deadline(), Instant::min);
            tokio::select! {
                event = self.endpoint.recv() => {
                    let found = Found::of(event, &mut self.datagram);
                    self.handle_endpoint(found);
                }
                event = self.signalling.recv() => self.handle_signalling(event),
                Some(input) = self.inputs.recv() => self.handle_input(input),
                () = self.shared.work.notified() => {}
                () = self.events.drained() => {}
                () = sleep_until(deadline.into()) => self.handle_timeout(),
            }
        }
        self.say_goodbye().await;
    }

    /// Takes more or less of what peers send, as the application reads.
    fn adjust_intake(&mut self) {
        if let Some(intake) = self.events.changed_intake() {
            self.shared.with(|state, now| state.core.set_intake(now, intake));
        }
    }

    /// When something is to be done, if nothing else happens.
    fn deadline(&self) -> Instant {
        let state = self.shared.lock();
        let core = state.core.poll_timeout().map(|time| state.instant(time));
        let connections = self.connections.values().map(Connection::timeout);
        let leaving = self.leaving.iter().map(Connection::timeout);
        let own = self.outgoing.catch_up.into_iter().chain(self.restart_at);
        connections.chain(leaving).chain(core).chain(own).fold(self.clock.deadline(), Instant::min)
    }

    fn handle_timeout(&mut self) {
        let now = Instant::now();
        self.catch_up(now);
        self.look_at_clock(now);
        if self.restart_at.take_if(|at| *at <= now).is_some() {
            self.shared.with(|state, time| state.core.handle_network_change(time));
        }
        for (&id, connection) in &mut self.connections {
            if connection.timeout() <= now {
                connection.handle_timeout(now);
                self.dirty.insert(id);
            }
        }
        for connection in &mut self.leaving {
            connection.handle_timeout(now);
        }
        let mut state = self.shared.lock();
        let time = state.time(now);
        state.core.handle_timeout(time);
        drop(state);
        self.room_made = true;
    }

    /// Takes in what the network has, as far as it is there already.
    fn handle_endpoint(&mut self, first: Found) {
        self.take_from_endpoint(first);
        for _ in 0..BATCH {
            let Some(event) = self.endpoint.recv().now_or_never() else { break };
            let found = Found::of(event, &mut self.datagram);
            self.take_from_endpoint(found);
        }
    }

    fn take_from_endpoint(&mut self, found: Found) {
        let now = Instant::now();
        let event = match found {
            Found::Datagram { local, remote } => {
                let data = std::mem::take(&mut self.datagram);
                self.handle_datagram(local, remote, &data, now);
                self.datagram = data;
                return;
            }
            Found::Event(event) => event,
        };
        match event {
            EndpointEvent::Datagram { .. } => {}
            EndpointEvent::Candidate(candidate) => {
                for (&id, connection) in &mut self.connections {
                    connection.add_candidate(&candidate, now);
                    self.dirty.insert(id);
                }
            }
            EndpointEvent::CandidateLost(candidate) => {
                for (&id, connection) in &mut self.connections {
                    connection.remove_candidate(&candidate, now);
                    self.dirty.insert(id);
                }
            }
            EndpointEvent::InterfacesChanged => {
                self.signalling.retry_now();
                self.restart_at = Some(now + RESTART_AFTER);
            }
            EndpointEvent::GatheringComplete => {
                for &id in self.connections.keys() {
                    self.shared.with(|state, now| {
                        state.core.handle_connection(now, id, ConnectionEvent::CandidateFound(None));
                    });
                }
            }
            EndpointEvent::ServerFailed { url, reason } => {
                let message = format!("{url}: {reason}");
                self.events.push(Event::Error { code: ErrorCode::IceServerFailed, message, sid: None });
            }
        }
    }

    /// Finds the connection that a datagram is for: by where it comes from, or by what it says.
    fn handle_datagram(&mut self, local: SocketAddr, remote: SocketAddr, data: &[u8], now: Instant) {
        let Some(input) = rtc::input(local, remote, data, now) else { return };
        let route = (local, remote);
        let routed = self.routes.get(&route).copied();
        let known = routed.filter(|id| self.connections.get(id).is_some_and(|connection| connection.accepts(&input)));
        let id = known.or_else(|| {
            self.connections.iter().rev().find(|(_, connection)| connection.accepts(&input)).map(|(&id, _)| id)
        });
        if let Some(id) = id
            && let Some(connection) = self.connections.get_mut(&id)
        {
            connection.handle_datagram(remote, data, input, now);
            self.dirty.insert(id);
            if known.is_none() {
                // Who knows a password can send from anywhere; what is forgotten is found again.
                if self.routes.len() >= MAX_ROUTES * self.connections.len() {
                    self.routes.clear();
                }
                self.routes.insert(route, id);
            }
        } else if let Some(connection) = self.leaving.iter_mut().find(|connection| connection.accepts(&input)) {
            connection.handle_datagram(remote, data, input, now);
        } else if let Some(connection) = routed.and_then(|id| self.connections.get_mut(&id)) {
            connection.keep_early(local, remote, data);
        }
    }

    fn handle_signalling(&mut self, event: SignallingEvent) {
        match event {
            SignallingEvent::Opened => self.shared.with(|shared, now| shared.core.handle_signaller_opened(now)),
            SignallingEvent::State(state) => {
                self.shared.with(|shared, now| {
                    shared.api_version = self.signalling.session().api_version();
                    shared.core.handle_signaller_state(now, state);
                });
            }
            SignallingEvent::Signal(signal) => {
                self.shared.with(|shared, now| {
                    shared.api_version = self.signalling.session().api_version();
                    shared.core.handle_signal(now, signal);
                });
            }
            SignallingEvent::Problem(problem) => {
                let code = code(&problem);
                if code == ErrorCode::Kicked {
                    // Whoever is thrown out of the rooms leaves its peers as well.
                    self.shared.close();
                }
                self.events.push(Event::Error { code, message: problem.to_string(), sid: None });
            }
        }
    }

    fn handle_input(&mut self, input: Input) {
        self.take_input(input);
        for _ in 0..BATCH {
            let Ok(input) = self.inputs.try_recv() else { break };
            self.take_input(input);
        }
    }

    fn take_input(&mut self, input: Input) {
        let now = Instant::now();
        match input {
            Input::Packet { track, feed, packet, keyframe } => self.send_packet(&track, feed, packet, keyframe, now),
            Input::TrackEnded { track, feed } => {
                self.shared.with(|state, _| {
                    if state.tracks.get(&track).is_some_and(|local| local.feed.id == feed) {
                        state.tracks.remove(&track);
                        state.core.remove_track(&track);
                    }
                });
            }
            Input::RequestKeyframe(Source { connection, mid }) => {
                if let Some(found) = self.connections.get_mut(&connection) {
                    found.request_keyframe(&mid, now);
                    self.dirty.insert(connection);
                }
            }
            Input::Report(sid, answer) => {
                // Who has gone does not want to know.
                let _ = answer.send(self.report(&sid, now));
            }
            Input::MediaFailed(message) => {
                self.events.push(Event::Error { code: ErrorCode::Media, message, sid: None });
            }
        }
    }

    /// Does what the core and the connections want, until neither wants more.
    fn flush(&mut self) {
        loop {
            let outputs = self.core_outputs();
            for output in outputs {
                self.carry_out(output);
            }
            while let Some(id) = self.dirty.pop_first() {
                self.poll_connection(id);
            }
            self.poll_leaving();
            if !self.core_waits() {
                break;
            }
        }
        if std::mem::take(&mut self.room_made) {
            self.shared.room.notify_waiters();
        }
        self.outgoing.forget_removed(&self.shared.lock().tracks);
    }

    /// Has another look at the network, because the application says that it has changed.
    fn look_at_network(&mut self) {
        if std::mem::take(&mut self.shared.lock().network_changed) {
            self.signalling.retry_now();
            // What has changed comes as an event, and connections know of it before they look for a path.
            if !self.endpoint.look_now() {
                self.shared.with(|state, now| state.core.handle_network_change(now));
            }
        }
    }

    fn core_outputs(&self) -> Vec<Output> {
        let mut state = self.shared.lock();
        std::iter::from_fn(|| state.core.poll()).collect()
    }

    fn core_waits(&self) -> bool {
        self.shared.lock().core.has_output()
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Signal(signal) => {
                // Without a connection it is of no use; the core sends anew what matters.
                if let Err(error) = self.signalling.send(&signal)
                    && error != SendSignalError::NotConnected
                {
                    let message = format!("\"{}\" was not sent: {error}", signal.name());
                    self.events.push(Event::Error { code: ErrorCode::SignalRefused, message, sid: None });
                }
            }
            Output::Connection(id, command) => self.command(id, command),
            Output::IceServers(json) => self.use_ice_servers(&json),
            Output::CheckSignaller => self.signalling.check(),
            Output::Event(event) => self.tell(event),
        }
    }

    /// Takes the servers that the signalling server names, unless the application has its own.
    fn use_ice_servers(&mut self, json: &str) {
        let Ok(servers) = IceServer::list_from_json(json) else { return };
        let mut state = self.shared.lock();
        if !state.own_ice_servers {
            state.rtc_config.ice_servers.clone_from(&servers);
            drop(state);
            self.endpoint.set_ice_servers(servers);
        }
    }

    fn command(&mut self, id: ConnectionId, command: Command) {
        let now = Instant::now();
        match command {
            Command::Open => {
                let candidates = self.endpoint.candidates().to_vec();
                self.connections.insert(id, Connection::new(&self.settings, &candidates, now));
            }
            Command::Close => {
                if let Some(mut connection) = self.connections.remove(&id) {
                    self.ended.keep(id, connection.pairs(now));
                    connection.execute(Command::Close, now);
                    self.leaving.push(connection);
                }
                self.routes.retain(|_, other| *other != id);
                self.stop_sending_all(id);
            }
            Command::AddTrack(track) => self.start_sending(id, track),
            command => {
                if let Command::RemoveTrack(track) = &command {
                    self.stop_sending(id, track);
                }
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.execute(command, now);
                }
            }
        }
        self.dirty.insert(id);
    }

    fn poll_connection(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.write_frames(Instant::now());
        let mut ready = Vec::new();
        while let Some(output) = connection.poll() {
            match output {
                rtc::Output::Transmit(transmit) => {
                    self.endpoint.send(transmit.source, transmit.destination, &transmit.contents);
                }
                rtc::Output::Event(event) => {
                    self.room_made = true;
                    let mut state = self.shared.lock();
                    let now = state.time(Instant::now());
                    state.core.handle_connection(now, id, event);
                }
                rtc::Output::Packet(mid, codec, packet) => {
                    let state = self.shared.lock();
                    if let Some(track) = state.remote.get(&Source { connection: id, mid }) {
                        track.push(codec, packet);
                    }
                }
                rtc::Output::Ready(track) => ready.push(track),
                rtc::Output::KeyframeWanted(track) => {
                    if let Some(local) = self.shared.lock().tracks.get(&track) {
                        local.feed.want_keyframe();
                    }
                }
            }
        }
        for track in ready {
            self.begin_sending(id, track);
        }
    }

    fn poll_leaving(&mut self) {
        for connection in &mut self.leaving {
            connection.write_frames(Instant::now());
            while let Some(output) = connection.poll() {
                if let rtc::Output::Transmit(transmit) = output {
                    self.endpoint.send(transmit.source, transmit.destination, &transmit.contents);
                }
            }
        }
        self.leaving.retain(Connection::is_alive);
    }

    /// Whether peers have all that was sent to them.
    fn is_flushed(&mut self) -> bool {
        let waits = self.shared.lock().core.waiting_bytes() > 0;
        !waits && self.connections.values_mut().all(Connection::is_flushed)
    }

    /// Closes every connection, tells the server, and waits a moment for it.
    async fn say_goodbye(mut self) {
        self.shared.with(|state, now| state.core.close(now));
        self.flush();
        let end = Instant::now() + GOODBYE;
        while !self.leaving.is_empty() && Instant::now() < end {
            let deadline = self.deadline().min(end);
            tokio::select! {
                event = self.endpoint.recv() => {
                    let found = Found::of(event, &mut self.datagram);
                    self.handle_endpoint(found);
                }
                () = sleep_until(deadline.into()) => self.handle_timeout(),
            }
            self.flush();
        }
        self.signalling.close().await;
        let mut state = self.shared.lock();
        let now = state.time(Instant::now());
        state.core.handle_signaller_state(now, SignallerState::Closed);
        drop(state);
        self.flush();
    }
}

/// Nothing waits for a driver that is gone, whether the client was closed, the runtime shut down, or something panicked.
impl Drop for Driver {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closing.get_or_insert_with(Instant::now);
        let (remote, tracks) = (std::mem::take(&mut state.remote), std::mem::take(&mut state.tracks));
        drop(state);
        remote.values().for_each(RemoteTrack::end);
        tracks.values().for_each(|local| local.feed.end());
        self.shared.room.notify_waiters();
        self.shared.ended.send_replace(true);
    }
}
