//! Tests of the hub alone: the same calls give the same outputs, whatever comes.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proptest::prelude::*;
use rtc_cafe_wire::{ApiVersion, RoomId, json::Value as Json};

use super::{Hub, HubConfig, Output, Permit, SocketId};

const NOW: Duration = Duration::from_secs(1);

fn hub() -> Hub {
    Hub::new(HubConfig::default(), [7; 32])
}

fn outputs(hub: &mut Hub) -> Vec<(SocketId, &'static str, String)> {
    std::iter::from_fn(|| hub.poll())
        .filter_map(|output| match output {
            Output::Emit { to, event, payload } => Some((to, event, payload.to_string())),
            _ => None,
        })
        .collect()
}

#[test]
fn sids_cannot_be_guessed_and_are_the_same_for_the_same_seed() {
    let (mut a, mut b, mut c) = (hub(), hub(), Hub::new(HubConfig::default(), [8; 32]));
    let sid = |hub: &mut Hub| {
        let socket = hub.connect(ApiVersion::V0_2);
        hub.sid(socket).unwrap().to_owned()
    };
    let first = sid(&mut a);
    assert_eq!(first.len(), 20);
    assert_eq!(first, sid(&mut b));
    assert_ne!(first, sid(&mut c));
    assert_ne!(first, sid(&mut a));
}

#[test]
fn a_slot_that_is_used_again_is_another_socket() {
    let mut hub = hub();
    let old = hub.connect(ApiVersion::V0_2);
    hub.disconnect(NOW, old);
    let new = hub.connect(ApiVersion::V0_2);
    assert_eq!(old.index(), new.index());
    assert_eq!(hub.sid(old), None);
    hub.handle_event(NOW, old, "request-sid", "{}");
    hub.disconnect(NOW, old);
    assert!(hub.sid(new).is_some());
    assert!(outputs(&mut hub).is_empty());
}

#[test]
fn who_leaves_a_room_is_gone_for_those_who_share_no_other() {
    let mut hub = hub();
    let [leaver, one, both] = [0; 3].map(|_| hub.connect(ApiVersion::V0_2));
    for (socket, room) in [(leaver, 1), (leaver, 2), (one, 1), (both, 1), (both, 2)] {
        hub.handle_event(NOW, socket, "join", &format!("{{\"room\":{room}}}"));
    }
    outputs(&mut hub);
    let sid = hub.sid(leaver).unwrap().to_owned();
    hub.handle_event(NOW, leaver, "leave", "{\"room\":1}");
    assert_eq!(outputs(&mut hub), [(one, "peer-disconnection", format!("{{\"sid\":\"{sid}\"}}"))]);
    hub.handle_event(NOW, leaver, "leave", "{\"room\":1}");
    assert!(outputs(&mut hub)[0].2.contains("not-in-room"));
    hub.handle_event(NOW, leaver, "join", "{\"room\":1}");
    assert_eq!(outputs(&mut hub).len(), 2, "and may come back");
}

#[test]
fn ended_sessions_are_forgotten_by_number_and_by_age() {
    let config = HubConfig { remembered_sessions: 3, ..HubConfig::default() };
    let mut hub = Hub::new(config, [7; 32]);
    let member = hub.connect(ApiVersion::V0_2);
    hub.handle_event(NOW, member, "join", "{\"room\":1}");
    let mut ended = Vec::new();
    for _ in 0..5 {
        let socket = hub.connect(ApiVersion::V0_2);
        hub.handle_event(NOW, socket, "join", "{\"room\":1,\"id\":\"x\"}");
        ended.push(hub.sid(socket).unwrap().to_owned());
        hub.disconnect(NOW, socket);
    }
    assert_eq!(hub.stats().remembered, 3);
    let mut relayed = |now, claim: &str| {
        outputs(&mut hub);
        let socket = hub.connect(ApiVersion::V0_2);
        hub.handle_event(now, socket, "join", &format!("{{\"room\":1,\"id\":\"y\",\"prevSid\":\"{claim}\"}}"));
        outputs(&mut hub)[0].2.contains(claim)
    };
    assert!(relayed(NOW, &ended[0]), "forgotten, so it is a hint again");
    assert!(!relayed(NOW, &ended[4]), "remembered under another id");
    assert!(relayed(NOW + Duration::from_secs(601), &ended[4]), "too long ago");
}

#[test]
fn a_member_of_a_full_room_may_come_back_while_its_old_socket_hangs() {
    let mut hub = Hub::new(HubConfig { members_per_room: 2, ..HubConfig::default() }, [7; 32]);
    let [a, old, new, thief] = [0; 4].map(|_| hub.connect(ApiVersion::V0_2));
    hub.handle_event(NOW, old, "request-sid", "{\"apiVersion\":\"1.0\"}");
    let reply = outputs(&mut hub).remove(0).2;
    let secret = Json::parse(&reply).unwrap().as_object().unwrap().string("session").unwrap().into_owned();
    for member in [a, old] {
        hub.handle_event(NOW, member, "join", "{\"room\":1}");
    }
    outputs(&mut hub);
    let sid = hub.sid(old).unwrap().to_owned();
    let join = |secret: &str| format!("{{\"room\":1,\"prevSid\":\"{sid}\",\"prevSession\":\"{secret}\"}}");
    hub.handle_event(NOW, thief, "join", &join("guessed"));
    assert!(outputs(&mut hub)[0].2.contains("room-full"));
    hub.handle_event(NOW, new, "join", &join(&secret));
    let heard = outputs(&mut hub);
    assert!(heard[0].0 == a && heard[0].2.contains(&format!("\"prevSid\":\"{sid}\"")), "{heard:?}");
    assert_eq!(hub.sid(old), None);
    hub.handle_event(NOW, thief, "join", &join(&secret));
    assert!(outputs(&mut hub)[0].2.contains("room-full"), "the seat is taken");
}

#[test]
fn whose_permit_has_ended_gets_no_more_credentials() {
    let mut hub = hub();
    let socket = hub.connect(ApiVersion::V0_2);
    hub.permit(socket, Permit { until: Some(NOW), ..Permit::default() });
    for (now, given) in [(NOW - Duration::from_millis(1), true), (NOW, false)] {
        hub.handle_session_request(now, socket, "{\"apiVersion\":\"1.0\"}", "[{\"urls\":\"turn:x\"}]");
        assert_eq!(outputs(&mut hub).remove(0).2.contains("turn:x"), given);
        hub.renew_ice_servers(now, socket, "[{\"urls\":\"turn:y\"}]");
        assert_eq!(outputs(&mut hub).len(), usize::from(given));
    }
}

#[test]
fn a_mesh_of_a_hundred_fits_the_rate() {
    let mut hub = hub();
    let sockets: Vec<_> = (0..100).map(|_| hub.connect(ApiVersion::V0_2)).collect();
    for &socket in &sockets {
        hub.handle_event(NOW, socket, "join", "{\"room\":1}");
    }
    let to = hub.sid(sockets[0]).unwrap().to_owned();
    for _ in 0..99 * 16 {
        hub.handle_event(NOW, sockets[1], "candidate", &format!("{{\"recipient\":\"{to}\"}}"));
    }
    assert_eq!(hub.stats().refused.iter().sum::<u64>(), 0);
}

#[test]
fn one_connection_does_not_push_out_the_ended_sessions_of_others() {
    let mut hub = hub();
    let connection = hub.open();
    for _ in 0..200 {
        let socket = hub.connect_on(&connection, ApiVersion::V0_2);
        hub.handle_event(NOW, socket, "join", "{\"room\":1}");
        hub.disconnect(NOW, socket);
    }
    assert_eq!(hub.stats().remembered, 4);
    hub.close(connection);
    assert_eq!(hub.accounts.len(), 0);
}

#[test]
fn leaving_a_large_room_costs_as_much_as_entering_it() {
    let mut hub = hub();
    for _ in 0..800 {
        let member = hub.connect(ApiVersion::V0_2);
        hub.handle_event(NOW, member, "join", "{\"room\":1}");
    }
    let connection = hub.open();
    let mut cycles = 0;
    while hub.charge(NOW, &connection, 0) {
        let socket = hub.connect_on(&connection, ApiVersion::V0_2);
        hub.handle_event(NOW, socket, "join", "{\"room\":1}");
        hub.disconnect(NOW, socket);
        cycles += 1;
        assert!(cycles < 1000);
    }
    assert!((45..=60).contains(&cycles), "{cycles}");
}

/// Something that happens at the hub; numbers choose among the sockets that there were.
#[derive(Debug, Clone)]
enum Step {
    Connect(ApiVersion),
    Disconnect(usize),
    Event { by: usize, event: &'static str, about: usize, room: &'static str, extra: &'static str },
    Raw { by: usize, event: String, payload: String },
}

const ROOMS: &[&str] = &["1", "1.0", "\"1\"", "\"r\"", "null", "\"\"", "[]", "true"];
const EVENTS: &[&str] = &["request-sid", "join", "acquire-peers-response", "offer", "answer", "candidate", "error"];
const EXTRAS: &[&str] = &["", ",\"id\":\"a\"", ",\"id\":null", ",\"sid\":\"forged\"", ",\"apiVersion\":\"1.0\""];

fn step() -> impl Strategy<Value = Step> {
    let choice = |list: &'static [&'static str]| (0..list.len()).prop_map(move |at| list[at]);
    prop_oneof![
        2 => (0..4_usize).prop_map(|at| Step::Connect(ApiVersion::ALL[at])),
        1 => (0..12_usize).prop_map(Step::Disconnect),
        8 => (0..12_usize, choice(EVENTS), 0..12_usize, choice(ROOMS), choice(EXTRAS))
            .prop_map(|(by, event, about, room, extra)| Step::Event { by, event, about, room, extra }),
        1 => (0..12_usize, ".{0,12}", ".{0,40}").prop_map(|(by, event, payload)| Step::Raw { by, event, payload }),
    ]
}

/// The rooms of each socket, kept apart from the hub's own books.
#[derive(Default)]
struct Model {
    sockets: Vec<(SocketId, String)>,
    rooms: BTreeMap<SocketId, BTreeSet<String>>,
}

impl Model {
    fn take(&mut self, hub: &mut Hub, step: &Step) {
        let socket = |at: usize| self.sockets.get(at).cloned();
        match step {
            Step::Connect(version) => {
                let id = hub.connect(*version);
                self.sockets.push((id, hub.sid(id).unwrap().to_owned()));
                self.rooms.insert(id, BTreeSet::new());
            }
            Step::Disconnect(at) => {
                if let Some((id, _)) = socket(*at) {
                    hub.disconnect(NOW, id);
                    self.check(hub, id);
                    self.rooms.remove(&id);
                }
            }
            Step::Event { by, event, about, room, extra } => {
                let (Some((id, _)), Some((_, about))) = (socket(*by), socket(*about)) else { return };
                let payload = format!("{{\"recipient\":\"{about}\",\"room\":{room},\"prevSid\":\"{about}\"{extra}}}");
                hub.handle_event(NOW, id, event, &payload);
                let joined = Json::parse(room).ok().and_then(|room| RoomId::from_json(room).ok());
                if let (&"join", Some(room), Some(rooms)) = (event, joined, self.rooms.get_mut(&id)) {
                    rooms.insert(room.as_json().to_owned());
                }
                self.check(hub, id);
            }
            Step::Raw { by, event, payload } => {
                if let Some((id, _)) = socket(*by) {
                    hub.handle_event(NOW, id, event, payload);
                    self.check(hub, id);
                }
            }
        }
        outputs(hub);
    }

    /// Nobody hears of an event but those who share a room with its sender, and the sender.
    fn check(&self, hub: &mut Hub, sender: SocketId) {
        let none = BTreeSet::new();
        let rooms = |id| self.rooms.get(&id).unwrap_or(&none);
        for (to, event, payload) in outputs(hub) {
            let shares = to == sender || rooms(to).intersection(rooms(sender)).next().is_some();
            assert!(shares, "{event} {payload} reached a stranger");
            assert!(Json::parse(&payload).is_ok(), "{payload}");
            assert!(!payload.contains("forged"), "{payload}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn nothing_reaches_strangers_and_nothing_is_left(steps in proptest::collection::vec(step(), 1..120)) {
        let mut hub = hub();
        let mut model = Model::default();
        for step in &steps {
            model.take(&mut hub, step);
        }
        for (id, _) in &model.sockets {
            hub.disconnect(NOW, *id);
        }
        outputs(&mut hub);
        prop_assert_eq!((hub.stats().sockets, hub.stats().rooms), (0, 0));
        prop_assert!(hub.sids.is_empty() && hub.room_names.is_empty() && hub.outputs.is_empty());
        prop_assert_eq!(hub.accounts.len(), 0);
    }

    #[test]
    fn the_same_calls_give_the_same_outputs(steps in proptest::collection::vec(step(), 1..60)) {
        let run = || {
            let mut hub = hub();
            let mut sockets = Vec::new();
            let mut all = Vec::new();
            for step in &steps {
                match step {
                    Step::Connect(version) => sockets.push(hub.connect(*version)),
                    Step::Disconnect(at) => sockets.get(*at).into_iter().for_each(|id| hub.disconnect(NOW, *id)),
                    Step::Event { by, event, room, .. } => sockets.get(*by).into_iter().for_each(|id| {
                        hub.handle_event(NOW, *id, event, &format!("{{\"room\":{room}}}"));
                    }),
                    Step::Raw { by, event, payload } => {
                        sockets.get(*by).into_iter().for_each(|id| hub.handle_event(NOW, *id, event, payload));
                    }
                }
                all.extend(outputs(&mut hub));
            }
            all
        };
        prop_assert_eq!(run(), run());
    }
}

/// Sockets of version 1.0 whose sids are told already.
fn ready_sockets<const N: usize>(hub: &mut Hub) -> [SocketId; N] {
    let sockets = [0; N].map(|_| hub.connect(ApiVersion::V0_2));
    for socket in sockets {
        hub.handle_event(NOW, socket, "request-sid", r#"{"apiVersion":"1.0"}"#);
    }
    outputs(hub);
    sockets
}

const HELD: &str = r#"{"id":"m","offer":{"type":"offer","sdp":"o"},"connection":3,"negotiation":1}"#;
const ANSWERED: &str = r#"{"room":"R","id":"n","answers":[{"answer":{"type":"answer","sdp":"a"},"connection":8,"negotiation":1,"offers":0}],"informed":true}"#;

#[test]
fn an_offer_that_is_held_meets_an_answer() {
    let mut hub = hub();
    let [member, other, newcomer, late] = ready_sockets(&mut hub);
    for socket in [member, other] {
        hub.handle_event(NOW, socket, "join", r#"{"room":"R","id":"m"}"#);
    }
    hub.handle_event(NOW, member, "hold", HELD);
    outputs(&mut hub);
    hub.handle_event(NOW, newcomer, "join", ANSWERED);
    let sid = |socket| hub.sid(socket).unwrap().to_owned();
    let (member_sid, sid) = (sid(member), sid(newcomer));
    let offer = format!(
        r#"{{"id":"m","sid":"{member_sid}","offer":{{"type":"offer","sdp":"o"}},"connection":3,"negotiation":1,"peerConnection":8}}"#
    );
    let acquire = format!(r#"{{"id":"n","sid":"{sid}","prevSid":null,"room":"R","offered":3}}"#);
    let answer = format!(
        r#"{{"id":"n","sid":"{sid}","answer":{{"type":"answer","sdp":"a"}},"connection":8,"negotiation":1,"offers":0,"peerConnection":3}}"#
    );
    let ordinary = format!(r#"{{"id":"n","sid":"{sid}","prevSid":null,"room":"R"}}"#);
    let told = [
        (newcomer, "offer", offer),
        (member, "acquire-peers", acquire),
        (member, "answer", answer),
        (other, "acquire-peers", ordinary),
    ];
    assert_eq!(outputs(&mut hub), told);
    // It was given away.
    hub.handle_event(NOW, late, "join", ANSWERED);
    assert!(outputs(&mut hub).iter().all(|(_, event, _)| *event == "acquire-peers"));
}

#[test]
fn offers_are_only_for_those_who_come_new() {
    let told = |version, joins: &[&str]| {
        let mut hub = hub();
        let [member] = ready_sockets(&mut hub);
        for room in ["R", "S"] {
            hub.handle_event(NOW, member, "join", &format!(r#"{{"room":"{room}","id":"m"}}"#));
        }
        let newcomer = hub.connect(ApiVersion::V0_2);
        hub.handle_event(NOW, newcomer, "request-sid", &format!(r#"{{"apiVersion":"{version}"}}"#));
        let (last, before) = joins.split_last().unwrap();
        before.iter().for_each(|join| hub.handle_event(NOW, newcomer, "join", join));
        hub.handle_event(NOW, member, "hold", HELD);
        outputs(&mut hub);
        hub.handle_event(NOW, newcomer, "join", last);
        outputs(&mut hub).iter().map(|(_, event, _)| *event).collect::<Vec<_>>()
    };
    assert_eq!(told("1.0", &[ANSWERED]), ["offer", "acquire-peers", "answer"]);
    assert_eq!(told("1.0", &[r#"{"room":"R","id":"n"}"#]), ["offer", "acquire-peers"], "without an answer");
    assert_eq!(told("0.2", &[ANSWERED]), ["acquire-peers"], "an old client");
    assert_eq!(told("1.0", &[r#"{"room":"R","prevSid":"x"}"#]), ["acquire-peers"], "one that comes back");
    assert_eq!(told("1.0", &[ANSWERED, ANSWERED]), ["acquire-peers"], "one that is there");
    assert_eq!(told("1.0", &[r#"{"room":"S"}"#, ANSWERED]), ["acquire-peers"], "one that is known from elsewhere");
}

#[test]
fn answers_without_the_servers_of_ours_are_not_used() {
    let config = HubConfig { ice_servers: r#"[{"urls":"stun:192.0.2.1"}]"#.into(), ..HubConfig::default() };
    for (informed, events) in [("true", 3), ("false", 2)] {
        let mut hub = Hub::new(config.clone(), [7; 32]);
        let [member, newcomer] = ready_sockets(&mut hub);
        hub.handle_event(NOW, member, "join", r#"{"room":"R","id":"m"}"#);
        hub.handle_event(NOW, member, "hold", HELD);
        hub.handle_event(
            NOW,
            newcomer,
            "join",
            &ANSWERED.replace(r#""informed":true"#, &format!(r#""informed":{informed}"#)),
        );
        assert_eq!(outputs(&mut hub).len(), events, "{informed}");
    }
}

#[test]
fn what_is_held_is_bounded() {
    let mut hub = hub();
    let [member] = ready_sockets(&mut hub);
    let long = HELD.replace("\"o\"", &format!("\"{}\"", "o".repeat(16 * 1024)));
    for (payload, code) in [
        (long.as_str(), "too-large"),
        (r#"{"id":"m","connection":3}"#, "invalid-payload"),
        (r#"{"id":"m","offer":{}}"#, "invalid-payload"),
        (r#"{"id":"m","offer":{},"connection":"3"}"#, "invalid-payload"),
    ] {
        hub.handle_event(NOW, member, "hold", payload);
        let [(_, "error", error)] = &outputs(&mut hub)[..] else { panic!("{payload} is held") };
        assert!(error.contains(&format!(r#""code":"{code}""#)), "{error}");
    }
    let old = hub.connect(ApiVersion::V0_2);
    hub.handle_event(NOW, old, "hold", HELD);
    let [(_, "error", error)] = &outputs(&mut hub)[..] else { panic!("an old client holds") };
    assert!(error.contains("unknown-event"), "{error}");
}

#[test]
fn a_node_may_kick_whom_it_shares_a_room_with() {
    let mut hub = hub();
    hub.connect_nodes(Duration::ZERO);
    hub.handle_broker(NOW, true);
    let socket = hub.connect(ApiVersion::V0_2);
    hub.handle_event(NOW, socket, "join", "{\"room\":1}");
    let sid = hub.sid(socket).unwrap().to_owned();
    let kick = |number| format!(r#"{{"type":"kick","from":"n","link":1,"number":{number},"sid":"{sid}"}}"#);
    hub.handle_frame(NOW, &kick(1));
    assert!(hub.sid(socket).is_some(), "it knows nothing of the room");
    hub.handle_frame(NOW, r#"{"type":"enter","from":"n","room":1,"entry":1}"#);
    hub.handle_frame(NOW, &kick(2));
    assert_eq!((hub.sid(socket), hub.stats().kicked), (None, 1));
    assert!(std::iter::from_fn(|| hub.poll()).any(|output| output == Output::Disconnect { socket }));
}
