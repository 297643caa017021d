//! A client whose world is played by the test: what goes in, and what comes out.
#![allow(clippy::unwrap_used, dead_code, reason = "a test, and not every one uses everything")]

use std::time::Duration;

use rtc_cafe_core::{
    Client, Command, Config, ConnectionEvent, ConnectionId, Event, Limits, Output, RoomId, Sid, SignallerState, Time,
    wire::signal::ServerSignal,
};

pub(crate) const NOW: Time = Time::from_millis(0);

/// A client that is in a room and has the sid "me".
pub(crate) fn joined(configure: impl FnOnce(&mut Limits)) -> Client {
    let mut config = Config::default();
    configure(&mut config.limits);
    // Peers in tests say nothing but what they are to say.
    config.timing.quiet = Duration::from_secs(86_400);
    joined_with(config)
}

pub(crate) fn joined_with(config: Config) -> Client {
    // The seed makes the permanent id; tests choose ids of peers above or below it.
    let mut client = Client::new(config, [7; 32]);
    client.join_room(NOW, RoomId::named("R").unwrap()).unwrap();
    client.handle_signaller_state(NOW, SignallerState::Connected);
    signal(&mut client, "sid", r#"{"sid":"me","apiVersion":"1.0","session":"secret","iceServers":[]}"#);
    outputs(&mut client);
    client
}

pub(crate) fn signal(client: &mut Client, name: &str, payload: &str) {
    client.handle_signal(NOW, ServerSignal::decode(name, payload).unwrap());
}

pub(crate) fn outputs(client: &mut Client) -> Vec<Output> {
    std::iter::from_fn(|| client.poll()).collect()
}

pub(crate) fn events(client: &mut Client) -> Vec<Event> {
    told(&outputs(client))
}

/// The commands of connections, in the order in which they came.
pub(crate) fn commands(outputs: &[Output]) -> Vec<(ConnectionId, Command)> {
    let command = |output: &Output| match output {
        Output::Connection(id, command) => Some((*id, command.clone())),
        _ => None,
    };
    outputs.iter().filter_map(command).collect()
}

pub(crate) fn signals(outputs: &[Output]) -> Vec<&'static str> {
    outputs
        .iter()
        .filter_map(|output| if let Output::Signal(signal) = output { Some(signal.name()) } else { None })
        .collect()
}

pub(crate) fn frames(outputs: &[Output]) -> Vec<String> {
    let frame = |(_, command)| if let Command::Send(frame) = command { Some(frame) } else { None };
    commands(outputs).into_iter().filter_map(frame).collect()
}

/// Time passes at once. A client that is late gives others a moment before it judges them.
pub(crate) fn wait_until(client: &mut Client, now: Time) {
    client.handle_timeout(now);
    client.handle_timeout(now + Duration::from_millis(500));
}

pub(crate) fn tell(client: &mut Client, id: ConnectionId, event: ConnectionEvent) {
    client.handle_connection(NOW, id, event);
}

/// A newcomer comes, is offered a connection, answers, and the channel opens.
pub(crate) fn connect(client: &mut Client, sid: &str, id: &str) -> ConnectionId {
    signal(client, "acquire-peers", &format!(r#"{{"id":"{id}","sid":"{sid}","prevSid":null,"room":"R"}}"#));
    let connection = commands(&outputs(client))[0].0;
    tell(client, connection, ConnectionEvent::OfferCreated { sdp: "offer".into(), mids: vec![] });
    answer(client, sid, id, connection);
    tell(client, connection, ConnectionEvent::ChannelOpen);
    let connected = events(client);
    assert_eq!(connected, [Event::ConnectToPeer { sid: Sid::new(sid).unwrap() }]);
    // It is told whom else we are connected to.
    client.handle_timeout(NOW + Duration::from_millis(500));
    outputs(client);
    connection
}

pub(crate) fn answer(client: &mut Client, sid: &str, id: &str, connection: ConnectionId) {
    let payload = format!(
        r#"{{"id":"{id}","sid":"{sid}","answer":{{"sdp":"answer"}},"connection":1,"peerConnection":{connection},"negotiation":1}}"#
    );
    signal(client, "answer", &payload);
}

pub(crate) fn sids<'a>(sids: impl Iterator<Item = &'a Sid>) -> Vec<&'a str> {
    sids.map(Sid::as_str).collect()
}

/// Lets time pass, timer by timer, until a moment; returns what comes of it.
pub(crate) fn pass(client: &mut Client, until: Time) -> Vec<Output> {
    let mut all = outputs(client);
    while let Some(next) = client.poll_timeout().filter(|next| *next <= until) {
        client.handle_timeout(next);
        all.extend(outputs(client));
    }
    all
}

pub(crate) fn seconds(seconds: u64) -> Time {
    Time::from_millis(seconds * 1000)
}

/// The events among outputs.
pub(crate) fn told(outputs: &[Output]) -> Vec<Event> {
    outputs
        .iter()
        .filter_map(|output| if let Output::Event(event) = output { Some(event.clone()) } else { None })
        .collect()
}
