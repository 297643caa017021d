//! The scenes of `conformance/`, played by two connections on a network that is made up: no sockets, no waiting.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    time::{Duration, Instant},
};

use rtc_cafe_core::{Command, ConnectionEvent, TrackId, TrackKind};
use rtc_cafe_sim::conformance::{Backend, conforms};
use str0m::{Candidate, net::Transmit};

use super::{Connection, Output, Settings, certificate, input};
use crate::media::Codec;

/// After so long without an event there will be none.
const PATIENCE: Duration = Duration::from_secs(3);
const LATENCY: Duration = Duration::from_millis(5);

struct Pair {
    settings: Settings,
    connections: [Option<Connection>; 2],
    events: [VecDeque<ConnectionEvent>; 2],
    kinds: BTreeMap<TrackId, TrackKind>,
    wire: VecDeque<(Instant, Transmit)>,
    now: Instant,
}

impl Pair {
    fn new() -> Self {
        Self {
            settings: Settings { low_water: 256 << 10, certificate: certificate() },
            connections: [None, None],
            events: Default::default(),
            kinds: BTreeMap::new(),
            wire: VecDeque::new(),
            now: Instant::now(),
        }
    }

    fn address(end: usize) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1 + end as u8], 5000))
    }

    /// Takes out what the connections have to say.
    fn poll(&mut self) {
        for (connection, events) in self.connections.iter_mut().zip(&mut self.events) {
            while let Some(output) = connection.as_mut().and_then(Connection::poll) {
                match output {
                    Output::Transmit(transmit) => self.wire.push_back((self.now + LATENCY, transmit)),
                    Output::Event(event) => events.push_back(event),
                    Output::Packet(..) | Output::Ready(_) | Output::KeyframeWanted(_) => {}
                }
            }
        }
    }

    /// Moves on to what happens next: a datagram that arrives, or a time-out.
    fn step(&mut self, end: Instant) {
        let timeouts = self.connections.iter().flatten().map(Connection::timeout);
        let arrival = self.wire.front().map(|(at, _)| *at);
        self.now = timeouts.chain(arrival).min().unwrap_or(end).clamp(self.now, end);
        if let Some((_, transmit)) = self.wire.pop_front_if(|(at, _)| *at <= self.now) {
            let to = (0..2).find(|&to| Self::address(to) == transmit.destination).expect("one of two addresses");
            if let Some(connection) = &mut self.connections[to]
                && let Some(input) = input(transmit.destination, transmit.source, &transmit.contents, self.now)
            {
                if connection.accepts(&input) {
                    connection.handle_datagram(transmit.source, &transmit.contents, input, self.now);
                } else {
                    connection.keep_early(transmit.destination, transmit.source, &transmit.contents);
                }
            }
        }
        for connection in self.connections.iter_mut().flatten() {
            connection.handle_timeout(self.now);
        }
    }
}

impl Backend for Pair {
    fn execute(&mut self, end: usize, command: Command) {
        match command {
            Command::Open => {
                let candidate = Candidate::host(Self::address(end), "udp").unwrap();
                self.connections[end] = Some(Connection::new(&self.settings, &[candidate], self.now));
            }
            Command::AddTrack(id) => {
                let codec = if self.kinds[&id] == TrackKind::Audio { Codec::Opus } else { Codec::Vp8 };
                self.connections[end].as_mut().unwrap().add_track(id, codec);
            }
            command => self.connections[end].as_mut().unwrap().execute(command, self.now),
        }
        self.poll();
    }

    fn prepare_track(&mut self, _end: usize, id: &TrackId, kind: TrackKind) {
        self.kinds.insert(id.clone(), kind);
    }

    fn event(&mut self, end: usize) -> Option<ConnectionEvent> {
        let last = self.now + PATIENCE;
        self.poll();
        while self.events[end].is_empty() && self.now < last {
            self.step(last);
            self.poll();
        }
        self.events[end].pop_front()
    }
}

#[test]
fn str0m_conforms() {
    conforms(Pair::new);
}

#[test]
fn an_answer_that_is_overtaken_costs_nothing() {
    let mut pair = Pair::new();
    for end in 0..2 {
        pair.execute(end, Command::Open);
    }
    pair.execute(0, Command::CreateOffer);
    let Some(ConnectionEvent::OfferCreated { sdp, .. }) = pair.event(0) else { panic!("no offer") };
    pair.execute(1, Command::AcceptOffer(sdp));
    let Some(ConnectionEvent::AnswerCreated(answer)) = pair.event(1) else { panic!("no answer") };
    let arrival = pair.now + 100 * LATENCY;
    while pair.now < arrival {
        pair.step(arrival);
        pair.poll();
    }
    pair.execute(0, Command::AcceptAnswer(answer));
    for end in 0..2 {
        while !matches!(pair.event(end).expect("the channel opens"), ConnectionEvent::ChannelOpen) {}
    }
    assert!(pair.now < arrival + 40 * LATENCY, "it took {:?}", pair.now - arrival);
}
