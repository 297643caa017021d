//! Whatever the network says, in whatever order: no panic, events that make sense, and bounds that hold.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;

use proptest::prelude::*;
use rtc_cafe_core::{
    Client, Config, ConnectionEvent, ConnectionId, ConnectionState, Event, Output, Recipients, RoomId, Sid,
    SignallerState, Time, TrackId, TrackKind, wire::signal::ServerSignal,
};

#[derive(Debug, Clone)]
enum Input {
    State(SignallerState),
    Signal(&'static str, String),
    Connection(u32, ConnectionEvent),
    Send(String),
    Join(i64),
    Leave(i64),
    NetworkChange,
    Wake,
    Track(String, u8),
    Wait(u64),
}

/// The permanent id that comes of the seed below.
const OURS: &str = "992c2dee14a71e769ff855f021fd3d2e";

/// Few names, so that they collide.
fn name() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["A", "B", "C", "me", "D"]).prop_map(String::from)
}

fn signal() -> impl Strategy<Value = Input> {
    let fields =
        (name(), prop::option::of(name()), prop::option::of(name()), 0_u32..4, prop::option::of(0_u32..4), 0_u32..3);
    let event = prop::sample::select(vec![
        "sid",
        "acquire-peers",
        "acquire-peers-response",
        "offer",
        "answer",
        "candidate",
        "peer-disconnection",
        "error",
    ]);
    (event, fields).prop_map(|(event, (sid, id, prev, from, to, negotiation))| {
        let text = |value: Option<String>| value.map_or(String::from("null"), |value| format!("\"{value}\""));
        let (id, prev, to) = (text(id), text(prev), to.map_or(String::from("null"), |to| to.to_string()));
        let payload = format!(
            r#"{{"sid":"{sid}","id":{id},"prevSid":{prev},"room":{from},"offer":{{"sdp":"o"}},"answer":{{"sdp":"a"}},"candidate":{{"candidate":"c"}},"connection":{from},"peerConnection":{to},"negotiation":{negotiation},"recipient":"{sid}","code":"recipient-not-found","error":"e"}}"#
        );
        Input::Signal(event, payload)
    })
}

fn frame() -> impl Strategy<Value = String> {
    let known = (name(), any::<bool>(), "[a-z]{0,40}", 0_u32..5, name()).prop_flat_map(|(name, more, body, n, to)| {
        prop::sample::select(vec![
            format!(
                r#"{{"type":"hello","version":1,"id":"{name}","sid":"{name}","stream":{n},"heard":{},"received":{n},"before":1,"tracks":["{to}"]}}"#,
                body.len() % 4
            ),
            format!(r#"{{"type":"ack","received":{n}}}"#),
            format!(r#"{{"type":"peers","room":{n},"added":{{"{name}":"{to}","{body}":"{body}"}},"removed":["{to}"]}}"#),
            format!(r#"{{"type":"leave","room":{n}}}"#),
            String::from(r#"{"type":"bye"}"#),
            format!(
                "{{\"type\":\"relay\",\"from\":\"{name}\",\"sid\":\"{body}\",\"to\":\"{}\",\"room\":{n},\"number\":{},\"hops\":{}}}\n{{\"offer\":{{\"sdp\":\"o\"}},\"connection\":{n},\"negotiation\":{n},\"restart\":{more},\"tracks\":{{\"1\":\"A\"}}}}",
                if more { OURS } else { to.as_str() },
                body.len(),
                n % 3
            ),
            format!("{{\"type\":\"offer\",\"negotiation\":{n},\"restart\":true,\"tracks\":{{\"1\":\"{name}\"}}}}\no"),
            format!(r#"{{"type":"hello","version":1,"id":"{name}","sid":"{name}"}}"#),
            format!(r#"{{"type":"sid","sid":"{name}"}}"#),
            format!("{{\"type\":\"message\",\"more\":{more}}}\n\"{body}\""),
            format!("{{\"type\":\"track\",\"id\":\"{name}\",\"kind\":\"audio\"}}\n\"{body}\""),
            format!(r#"{{"type":"track-removed","id":"{name}"}}"#),
            format!(r#"{{"type":"track-request","id":"{name}"}}"#),
            format!(r#"{{"type":"track-cancel","id":"{name}"}}"#),
            format!(
                "{{\"type\":\"offer\",\"negotiation\":{},\"tracks\":{{\"1\":\"{name}\",\"2\":\"A\"}}}}\no",
                body.len()
            ),
            format!("{{\"type\":\"answer\",\"negotiation\":{},\"more\":{more}}}\na", body.len()),
            String::from(r#"{"type":"turn-request"}"#),
            String::from(r#"{"type":"turn"}"#),
            String::from(r#"{"type":"ping","nonce":1}"#),
            String::from(r#"{"type":"pong","nonce":1}"#),
        ])
    });
    prop_oneof![4 => known, 1 => any::<String>()]
}

fn connection_event() -> impl Strategy<Value = ConnectionEvent> {
    let states = prop::sample::select(vec![
        ConnectionState::Connected,
        ConnectionState::Disconnected,
        ConnectionState::Failed,
        ConnectionState::Closed,
    ]);
    prop_oneof![
        1 => Just(ConnectionEvent::OfferCreated { sdp: "o".into(), mids: vec![] }),
        1 => Just(ConnectionEvent::AnswerCreated("a".into())),
        1 => prop::sample::select(vec!["1", "2", "3"]).prop_map(|mid| ConnectionEvent::TrackAdded(mid.into())),
        1 => Just(ConnectionEvent::Failed("f".into())),
        1 => Just(ConnectionEvent::CandidateFound(None)),
        3 => Just(ConnectionEvent::ChannelOpen),
        1 => Just(ConnectionEvent::ChannelClosed),
        1 => Just(ConnectionEvent::ChannelStalled),
        1 => any::<bool>().prop_map(|relayed| ConnectionEvent::PathChanged { relayed }),
        1 => any::<usize>().prop_map(ConnectionEvent::ChannelBuffered),
        1 => states.prop_map(ConnectionEvent::StateChanged),
        4 => frame().prop_map(ConnectionEvent::ChannelMessage),
    ]
}

fn input() -> impl Strategy<Value = Input> {
    let states = prop::sample::select(vec![SignallerState::Connected, SignallerState::Reconnecting]);
    prop_oneof![
        1 => states.prop_map(Input::State),
        6 => signal(),
        6 => (1_u32..12, connection_event()).prop_map(|(id, event)| Input::Connection(id, event)),
        1 => "[a-z]{0,200}".prop_map(Input::Send),
        1 => (0_i64..5).prop_map(Input::Join),
        1 => (0_i64..5).prop_map(Input::Leave),
        1 => Just(Input::NetworkChange),
        1 => Just(Input::Wake),
        4 => (name(), 0_u8..4).prop_map(|(name, what)| Input::Track(name, what)),
        2 => (0_u64..20_000).prop_map(Input::Wait),
    ]
}

/// What an application knows from events alone.
#[derive(Default)]
struct Known {
    connected: BTreeSet<Sid>,
    defined: BTreeSet<(Sid, TrackId)>,
    arrived: BTreeSet<(Sid, TrackId)>,
}

impl Known {
    fn follow(&mut self, event: Event) {
        match event {
            Event::ConnectToPeer { sid } => assert!(self.connected.insert(sid.clone()), "connected twice to {sid}"),
            Event::DisconnectFromPeer { sid } => {
                assert!(self.connected.remove(&sid), "{sid} was not connected");
                assert!(!self.defined.iter().chain(&self.arrived).any(|(peer, _)| *peer == sid), "it left a track");
            }
            Event::ReassignPeerSid { old_sid, sid } => {
                assert!(self.connected.remove(&old_sid) && self.connected.insert(sid.clone()), "{old_sid} to {sid}");
                for tracks in [&mut self.defined, &mut self.arrived] {
                    let rename = |(peer, id)| if peer == old_sid { (sid.clone(), id) } else { (peer, id) };
                    *tracks = std::mem::take(tracks).into_iter().map(rename).collect();
                }
            }
            Event::Message { sender, .. } => assert!(self.connected.contains(&sender), "{sender} was not connected"),
            Event::PeerTrackDefined { sid, id, .. } => {
                assert!(self.connected.contains(&sid), "{sid} was not connected");
                self.defined.insert((sid, id));
            }
            Event::PeerTrackDefinitionRemoved { sid, id, .. } => {
                assert!(self.defined.remove(&(sid, id)), "not defined")
            }
            Event::PeerTrackIdentified { sid, id, .. } => assert!(self.arrived.insert((sid, id)), "arrived twice"),
            Event::PeerTrackRemoved { sid, id } => assert!(self.arrived.remove(&(sid, id)), "had not arrived"),
            _ => {}
        }
    }
}

fn apply(client: &mut Client, now: &mut u64, input: Input) {
    let time = Time::from_millis(*now);
    match input {
        Input::State(state) => client.handle_signaller_state(time, state),
        Input::Signal(name, payload) => {
            if let Ok(signal) = ServerSignal::decode(name, &payload) {
                client.handle_signal(time, signal);
            }
        }
        Input::Connection(id, event) => client.handle_connection(time, ConnectionId(id), event),
        Input::Send(text) => client.send_message(time, &format!("\"{text}\""), Recipients::All).unwrap_or_default(),
        Input::Track(name, what) => {
            let id = TrackId::new(name).unwrap();
            let peer = client.discovered_peers().next().cloned();
            match (what, peer) {
                (0, _) => client.add_track(id, TrackKind::Video, "\"\"").unwrap(),
                (1, _) => drop(client.remove_track(&id)),
                (2, Some(sid)) => client.request_peer_track(&sid, &id).unwrap_or_default(),
                (_, Some(sid)) => drop(client.remove_peer_track(&sid, &id)),
                _ => {}
            }
        }
        Input::Join(room) => client.join_room(time, RoomId::numbered(room)).unwrap_or_default(),
        Input::Leave(room) => drop(client.leave_room(time, &RoomId::numbered(room))),
        Input::NetworkChange => client.handle_network_change(time),
        Input::Wake => client.handle_wake(time),
        Input::Wait(millis) => {
            *now += millis;
            client.handle_timeout(Time::from_millis(*now));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_breaks_it(inputs in prop::collection::vec(input(), 0..80)) {
        let mut config = Config::default();
        config.limits.peers = 3;
        config.limits.outgoing_bytes = 500;
        config.limits.control_bytes = 300;
        let mut client = Client::new(config, [1; 32]);
        assert_eq!(client.permanent_id().as_str(), OURS);
        client.handle_signaller_state(Time::from_millis(0), SignallerState::Connected);
        let (mut known, mut now) = (Known::default(), 0);
        for input in inputs {
            apply(&mut client, &mut now, input);
            // A connection whose queue has overflowed is given up at once.
            client.handle_timeout(Time::from_millis(now));
            while let Some(output) = client.poll() {
                if let Output::Event(event) = output {
                    known.follow(event);
                }
            }
            prop_assert_eq!(&known.connected, &client.connected_peers().cloned().collect::<BTreeSet<_>>());
            let defined: BTreeSet<_> = client.peer_track_definitions().map(|(sid, id, _)| (sid.clone(), id.clone())).collect();
            prop_assert_eq!(&known.defined, &defined);
            let arrived: BTreeSet<_> = client.peer_tracks().map(|(sid, id, _)| (sid.clone(), id.clone())).collect();
            prop_assert_eq!(&known.arrived, &arrived);
            let discovered: Vec<_> = client.discovered_peers().cloned().collect();
            prop_assert_eq!(discovered.len(), discovered.iter().collect::<BTreeSet<_>>().len(), "a sid twice");
            prop_assert!(discovered.len() <= 3);
            prop_assert!(!client.discovered_peers().any(|sid| Some(sid) == client.sid()), "its own peer");
            prop_assert!(client.waiting_bytes() < 3 * (500 + 300 + 250));
            prop_assert!(client.poll_timeout().is_none_or(|at| at > Time::from_millis(now)) , "a timer that is overdue");
        }
    }
}
