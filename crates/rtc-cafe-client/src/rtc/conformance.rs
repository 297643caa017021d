//! The scenes of `conformance/`, played by two connections on a network that is made up: no sockets, no waiting.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    time::{Duration, Instant},
};

use rtc_cafe_core::{Command, ConnectionEvent, ConnectionState, TrackId, TrackKind};
use rtc_cafe_sim::conformance::{Backend, conforms};
use str0m::{Candidate, net::Transmit};

use super::{Connection, Output, Settings, candidate, certificate, input};
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
    /// Nothing arrives.
    cut: bool,
    /// Of what the first end sends, only the checks of ICE arrive.
    choked: bool,
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
            cut: false,
            choked: false,
            now: Instant::now(),
        }
    }

    fn address(end: usize) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1 + end as u8], 5000))
    }

    /// Takes out what the connections have to say.
    fn poll(&mut self) {
        for (end, (connection, events)) in self.connections.iter_mut().zip(&mut self.events).enumerate() {
            let Some(connection) = connection else { continue };
            connection.write_frames(self.now);
            while let Some(output) = connection.poll() {
                match output {
                    Output::Transmit(_) if self.cut => {}
                    Output::Transmit(transmit) if self.choked && end == 0 && transmit.contents[0] >= 20 => {}
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

impl Pair {
    /// Two ends that are connected.
    fn connected() -> Self {
        let mut pair = Self::new();
        (0..2).for_each(|end| pair.execute(end, Command::Open));
        pair.negotiate(0);
        (0..2).for_each(|end| {
            pair.until(end, "ChannelOpen");
            pair.events[end].clear();
        });
        pair
    }

    /// Lets time pass until an end has told something of which something can be made; the rest is kept.
    fn take<T>(&mut self, end: usize, what: &str, pick: impl Fn(&ConnectionEvent) -> Option<T>) -> T {
        let last = self.now + Duration::from_secs(60);
        loop {
            self.poll();
            let found = self.events[end].iter().enumerate().find_map(|(at, event)| Some((at, pick(event)?)));
            if let Some((at, picked)) = found {
                self.events[end].remove(at);
                return picked;
            }
            assert!(self.now < last, "no {what}, but {:?}", self.events[end]);
            self.step(last);
        }
    }

    fn until(&mut self, end: usize, what: &str) {
        self.take(end, what, |event| format!("{event:?}").starts_with(what).then_some(()));
    }

    fn until_state(&mut self, end: usize, state: ConnectionState) -> Duration {
        let start = self.now;
        self.until(end, &format!("StateChanged({state:?})"));
        self.now - start
    }

    fn offer(&mut self, end: usize) -> String {
        self.execute(end, Command::CreateOffer);
        self.take(end, "offer", |event| match event {
            ConnectionEvent::OfferCreated { sdp, .. } => Some(sdp.clone()),
            _ => None,
        })
    }

    fn answer(&mut self, end: usize, offer: String) -> String {
        self.execute(end, Command::AcceptOffer(offer));
        self.take(end, "answer", |event| match event {
            ConnectionEvent::AnswerCreated(sdp) => Some(sdp.clone()),
            _ => None,
        })
    }

    fn negotiate(&mut self, from: usize) {
        let offer = self.offer(from);
        let answer = self.answer(1 - from, offer);
        self.execute(from, Command::AcceptAnswer(answer));
    }

    fn talks(&mut self, what: &str) {
        for end in 0..2 {
            self.execute(end, Command::Send(what.to_owned()));
            self.until(1 - end, &format!("ChannelMessage({what:?})"));
        }
    }
}

#[test]
fn a_path_that_is_lost_is_told_and_a_restart_finds_another() {
    for (long, who) in [(false, 0), (true, 0), (true, 1)] {
        let mut pair = Pair::connected();
        pair.cut = true;
        pair.execute(0, Command::Send("meanwhile".to_owned()));
        for end in 0..2 {
            pair.until_state(end, ConnectionState::Disconnected);
        }
        if long {
            for end in 0..2 {
                pair.until_state(end, ConnectionState::Failed);
            }
            // Until str0m has given up every pair.
            let end = pair.now + Duration::from_secs(30);
            while pair.now < end {
                pair.step(end);
                pair.poll();
            }
        }
        pair.cut = false;
        pair.execute(who, Command::RestartIce);
        pair.negotiate(who);
        for end in 0..2 {
            let took = pair.until_state(end, ConnectionState::Connected);
            assert!(took < Duration::from_secs(4), "{long} {who} {end} {took:?}");
        }
        pair.until(1, "ChannelMessage(\"meanwhile\")");
        pair.talks("still there");
    }
}

#[test]
fn a_path_that_comes_back_is_told() {
    let mut pair = Pair::connected();
    pair.cut = true;
    pair.until_state(0, ConnectionState::Disconnected);
    pair.cut = false;
    pair.until_state(0, ConnectionState::Connected);
    pair.talks("still there");
}

#[test]
fn a_channel_that_stands_still_on_a_path_is_told() {
    let mut pair = Pair::connected();
    pair.choked = true;
    let start = pair.now;
    pair.execute(0, Command::Send("does not arrive".to_owned()));
    pair.until(0, "ChannelStalled");
    assert!((8..10).contains(&(pair.now - start).as_secs()), "{:?}", pair.now - start);
    pair.until(0, "ChannelStalled");
    pair.choked = false;
    pair.until(1, "ChannelMessage(\"does not arrive\")");
    pair.events.iter_mut().for_each(VecDeque::clear);
    pair.talks("it flows again");
    let end = pair.now + Duration::from_secs(30);
    while pair.now < end {
        pair.step(end);
        pair.poll();
    }
    assert!(!pair.events[0].contains(&ConnectionEvent::ChannelStalled), "{:?}", pair.events[0]);
}

#[test]
fn an_idle_connection_stays_connected() {
    let mut pair = Pair::connected();
    let end = pair.now + Duration::from_secs(120);
    while pair.now < end {
        pair.step(end);
        pair.poll();
    }
    for events in &pair.events {
        let lost = |event: &ConnectionEvent| *event == ConnectionEvent::StateChanged(ConnectionState::Disconnected);
        assert!(!events.iter().any(lost), "{events:?}");
    }
}

#[test]
fn an_offer_with_tracks_is_taken_back_for_a_restart() {
    let mut pair = Pair::connected();
    let id = |id: &str| TrackId::new(id).unwrap();
    for (end, name) in [(0, "mine"), (1, "theirs")] {
        pair.prepare_track(end, &id(name), TrackKind::Video);
        pair.execute(end, Command::AddTrack(id(name)));
    }
    pair.offer(0);
    pair.execute(1, Command::RestartIce);
    let theirs = pair.offer(1);
    let answer = pair.answer(0, theirs);
    pair.execute(1, Command::AcceptAnswer(answer));
    pair.negotiate(0);
    pair.until(0, "TrackAdded");
    pair.until(1, "TrackAdded");
    pair.talks("still there");
}

#[test]
fn the_last_words_arrive_behind_much_else() {
    let mut pair = Pair::connected();
    for _ in 0..10 {
        pair.execute(0, Command::Send("x".repeat(60_000)));
    }
    pair.execute(0, Command::Send("bye".to_owned()));
    pair.execute(0, Command::Close);
    pair.until(1, "ChannelMessage(\"bye\")");
    pair.until(1, "ChannelClosed");
    assert!(!pair.connections[0].as_ref().unwrap().is_alive());
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

#[test]
fn a_candidate_for_an_address_that_is_being_checked_costs_nothing() {
    let mut pair = Pair::new();
    (0..2).for_each(|end| pair.execute(end, Command::Open));
    let offer = pair.offer(0);
    let answer = pair.answer(1, offer);
    let candidate = candidate::write(&candidate::of(&answer).next().expect("a candidate"));
    let is_other = |line: &&str| !line.starts_with("a=candidate:");
    let without: String = answer.split_inclusive('\n').filter(is_other).collect();
    let start = pair.now;
    pair.execute(0, Command::AcceptAnswer(without));
    // The check of the other end has arrived, and ours is on its way back.
    let arrival = start + 14 * LATENCY / 5;
    while pair.now < arrival {
        pair.step(arrival);
        pair.poll();
    }
    pair.execute(0, Command::AddCandidate(Some(candidate)));
    (0..2).for_each(|end| pair.until(end, "ChannelOpen"));
    // A check there and back, and as much for DTLS; each end needs half of it to know of the other.
    assert!(pair.now < start + 7 * LATENCY, "it took {:?}", pair.now - start);
}

#[test]
fn a_relay_that_was_heard_first_is_no_address_of_the_peer_itself() {
    let mut pair = Pair::new();
    (0..2).for_each(|end| pair.execute(end, Command::Open));
    let offer = pair.offer(0);
    let answer = pair.answer(1, offer);
    let is_other = |line: &&str| !line.starts_with("a=candidate:");
    let without: String = answer.split_inclusive('\n').filter(is_other).collect();
    let start = pair.now;
    pair.execute(0, Command::AcceptAnswer(without));
    while pair.now < start + 14 * LATENCY / 5 {
        pair.step(start + 14 * LATENCY / 5);
        pair.poll();
    }
    let relay = Candidate::relayed(Pair::address(1), Pair::address(1), "udp").unwrap();
    let connection = pair.connections[0].as_mut().unwrap();
    let reflexive = candidate::reflexive(Pair::address(1)).unwrap();
    connection.execute(Command::AddCandidate(Some(candidate::write(&relay))), pair.now);
    assert!(!connection.rtc.direct_api().invalidate_candidate(&reflexive), "it is not taken for one any more");
    (0..2).for_each(|end| pair.until(end, "ChannelOpen"));
}
