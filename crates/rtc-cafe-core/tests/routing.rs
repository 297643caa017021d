//! Handshakes over mutual peers: what is passed on, what is believed, and who is introduced.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::time::Duration;

use rtc_cafe_core::{
    Client, Command, ConnectionEvent, ConnectionId, PermanentId, RoomId, Sid, SignallerState, Time, wire::peer::Frame,
};

use common::*;

// The field for a proof is for the recipient: whoever passes it on leaves it as it is.
const OFFER: &str = r#"{"offer":{"type":"offer","sdp":"theirs"},"connection":4,"negotiation":1,"proof":"signature"}"#;

fn id(text: &str) -> PermanentId {
    PermanentId::new(text).unwrap()
}

fn room() -> RoomId {
    RoomId::named("R").unwrap()
}

fn relay(from: &str, to: &str, number: u32, hops: u32) -> String {
    let sid = Sid::new(format!("{from}-sid"));
    Frame::Relay { from: id(from), sid, to: id(to), room: room(), number, hops, body: OFFER }.encode()
}

fn say(client: &mut Client, peer: ConnectionId, frame: String) -> Vec<rtc_cafe_core::Output> {
    tell(client, peer, ConnectionEvent::ChannelMessage(frame));
    outputs(client)
}

/// Every frame with where it goes.
fn passed(outputs: &[rtc_cafe_core::Output]) -> Vec<(ConnectionId, String)> {
    let sent = commands(outputs).into_iter();
    sent.filter_map(|(to, command)| if let Command::Send(frame) = command { Some((to, frame)) } else { None }).collect()
}

fn acquainted(client: &mut Client, peer: ConnectionId, with: &str, room: RoomId) -> Vec<rtc_cafe_core::Output> {
    let added = vec![(id(with), Sid::new(format!("{with}-sid")).unwrap())];
    say(client, peer, Frame::Peers { room, added, removed: vec![] }.encode())
}

#[test]
fn a_step_is_passed_on_once_to_whom_it_is_meant_for() {
    let mut client = joined(|_| ());
    let b = connect(&mut client, "B", "b");
    let c = connect(&mut client, "C", "c");
    let on = passed(&say(&mut client, b, relay("b", "c", 1, 2)));
    assert_eq!(on, [(c, relay("b", "c", 1, 1))]);
    assert_eq!(passed(&say(&mut client, b, relay("b", "c", 1, 2))), [], "it was passed on already");
    assert_eq!(passed(&say(&mut client, b, relay("x", "c", 2, 2))), [], "b is not x");
    assert_eq!(passed(&say(&mut client, b, relay("x", "c", 3, 1))).len(), 1, "b passes on what it got from x");
    assert_eq!(passed(&say(&mut client, b, relay("x", "c", 4, 0))), [], "it has gone far enough");
    assert_eq!(passed(&say(&mut client, b, relay("b", "nobody", 5, 2))), []);
}

#[test]
fn who_is_connected_to_whom_it_is_meant_for_helps() {
    let mut client = joined(|_| ());
    let b = connect(&mut client, "B", "b");
    let c = connect(&mut client, "C", "c");
    acquainted(&mut client, c, "d", room());
    assert_eq!(passed(&say(&mut client, b, relay("b", "d", 1, 2))), [(c, relay("b", "d", 1, 1))]);
}

#[test]
fn rooms_stay_apart() {
    let mut client = joined(|_| ());
    client.join_room(NOW, RoomId::numbered(5)).unwrap();
    let b = connect(&mut client, "B", "b");
    signal(&mut client, "acquire-peers", r#"{"id":"c","sid":"C","prevSid":null,"room":5}"#);
    let c = commands(&outputs(&mut client))[0].0;
    tell(&mut client, c, ConnectionEvent::OfferCreated { sdp: "offer".into(), mids: vec![] });
    answer(&mut client, "C", "c", c);
    tell(&mut client, c, ConnectionEvent::ChannelOpen);
    client.handle_timeout(NOW + Duration::from_millis(500));
    let introduced = passed(&outputs(&mut client));
    let leaks =
        introduced.iter().any(|(to, frame)| *to == c && frame.contains("\"R\"") || *to == b && frame.contains("\"c\""));
    assert!(!leaks, "nobody hears of a room that it is not in: {introduced:?}");
    assert_eq!(passed(&say(&mut client, b, relay("b", "c", 1, 2))), []);
    let strange = acquainted(&mut client, b, "d", RoomId::named("secret").unwrap());
    assert_eq!(passed(&strange).len(), 1, "that we are not in it");
    assert!(!client.discovered_peers().any(|sid| sid.as_str() == "d-sid"));
}

#[test]
fn a_newcomer_is_introduced_and_shakes_hands_without_the_server() {
    let mut client = joined(|_| ());
    let b = connect(&mut client, "B", "b");
    client.handle_signaller_state(NOW, SignallerState::Reconnecting);
    acquainted(&mut client, b, "c", room());
    assert!(client.discovered_peers().any(|sid| sid.as_str() == "c-sid"));
    client.handle_timeout(NOW + Duration::from_secs(4));
    client.handle_timeout(NOW + Duration::from_millis(4500));
    let opened = commands(&outputs(&mut client));
    let (c, _) = opened.iter().find(|(_, command)| *command == Command::CreateOffer).cloned().unwrap();
    tell(&mut client, c, ConnectionEvent::OfferCreated { sdp: "ours".into(), mids: vec![] });
    let sent = passed(&outputs(&mut client));
    assert!(sent.iter().any(|(to, frame)| *to == b && frame.contains("relay") && frame.contains("ours")), "{sent:?}");
    let back =
        format!(r#"{{"answer":{{"type":"answer","sdp":"a"}},"connection":9,"peerConnection":{c},"negotiation":1}}"#);
    let (from, to) = (id("c"), client.permanent_id().clone());
    let frame = Frame::Relay { from, sid: None, to, room: room(), number: 1, hops: 1, body: &back };
    let answered = commands(&say(&mut client, b, frame.encode()));
    assert_eq!(answered, [(c, Command::AcceptAnswer("a".into()))]);
}

#[test]
fn a_connection_that_is_well_is_not_given_up_for_what_others_pass_on() {
    let mut client = joined(|_| ());
    let b = connect(&mut client, "B", "b");
    let c = connect(&mut client, "C", "c");
    let me = client.permanent_id().as_str().to_owned();
    let forged = say(&mut client, b, relay("c", &me, 1, 1));
    assert!(passed(&forged).iter().all(|(to, frame)| *to == c && frame.contains("ping")), "C is asked");
    assert_eq!(commands(&forged).len(), 1);
    // C does not answer: then it is true that it has lost us.
    client.handle_timeout(NOW + Duration::from_secs(3));
    outputs(&mut client);
    let believed = commands(&say(&mut client, b, relay("c", &me, 2, 1)));
    assert!(believed.contains(&(c, Command::Close)), "{believed:?}");
}

#[test]
fn what_is_made_up_does_not_keep_others_apart() {
    let mut client = joined(|_| ());
    let b = connect(&mut client, "B", "b");
    let c = connect(&mut client, "C", "c");
    let me = client.permanent_id().clone();
    let forged = |number, body: &str| {
        Frame::Relay { from: id("c"), sid: None, to: me.clone(), room: room(), number, hops: 1, body }.encode()
    };
    let answer = r#"{"answer":{"type":"answer","sdp":"forged"},"connection":4294967295,"negotiation":1}"#;
    assert_eq!(commands(&say(&mut client, b, forged(1, answer))), []);
    // Nor while something is negotiated over the channel.
    tell(&mut client, c, ConnectionEvent::ChannelMessage(r#"{"type":"turn"}"#.into()));
    client.add_track(rtc_cafe_core::TrackId::new("t").unwrap(), rtc_cafe_core::TrackKind::Audio, "1").unwrap();
    let request = r#"{"type":"track-request","id":"t"}"#;
    let offered = commands(&say(&mut client, c, request.into()));
    assert!(offered.contains(&(c, Command::CreateOffer)), "{offered:?}");
    tell(&mut client, c, ConnectionEvent::OfferCreated { sdp: "ours".into(), mids: vec![] });
    outputs(&mut client);
    let answer = format!(
        r#"{{"answer":{{"type":"answer","sdp":"forged"}},"connection":1,"peerConnection":{c},"negotiation":2}}"#
    );
    assert_eq!(commands(&say(&mut client, b, forged(2, &answer))), []);
    // C itself is heard as ever.
    tell(&mut client, c, ConnectionEvent::ChannelClosed);
    outputs(&mut client);
    signal(&mut client, "offer", r#"{"id":"c","sid":"C","offer":{"sdp":"theirs"},"connection":2,"negotiation":1}"#);
    assert!(
        commands(&outputs(&mut client)).iter().any(|(_, command)| *command == Command::AcceptOffer("theirs".into()))
    );
}

#[test]
fn who_makes_up_others_does_not_make_us_busy() {
    let mut client = joined(|limits| limits.introductions = 4);
    let b = connect(&mut client, "B", "b");
    for number in 0..50 {
        acquainted(&mut client, b, &format!("ghost{number}"), room());
    }
    assert_eq!(client.discovered_peers().count(), 2, "a quarter of the room is for those whom B knows");
    let mut relayed = 0;
    let c = connect(&mut client, "C", "c");
    for number in 0..2000 {
        relayed += passed(&say(&mut client, b, relay("b", "c", number, 2))).iter().filter(|(to, _)| *to == c).count();
    }
    assert_eq!(relayed, 500);
    client.handle_timeout(Time::from_millis(11_000));
}

#[test]
fn whom_we_are_connected_to_fits_into_frames_whatever_their_ids_are() {
    let mut client = joined(|_| ());
    for at in 10..50 {
        // Escaped, a character takes six.
        connect(&mut client, &format!("B{at}"), &format!("{}{at}", r"\u0001".repeat(120)));
    }
    signal(&mut client, "acquire-peers", r#"{"id":"c","sid":"C","prevSid":null,"room":"R"}"#);
    let c = commands(&outputs(&mut client))[0].0;
    tell(&mut client, c, ConnectionEvent::OfferCreated { sdp: "offer".into(), mids: vec![] });
    answer(&mut client, "C", "c", c);
    tell(&mut client, c, ConnectionEvent::ChannelOpen);
    client.handle_timeout(NOW + Duration::from_millis(500));
    let mut heard = 0;
    for (_, frame) in passed(&outputs(&mut client)).into_iter().filter(|(to, _)| *to == c) {
        if let Some(Frame::Peers { added, .. }) = Frame::decode(&frame).unwrap() {
            heard += added.len();
        }
    }
    assert_eq!(heard, 40);
}

#[test]
fn nobody_uses_up_the_numbers_of_what_others_send() {
    let mut client = joined(|_| ());
    let b = connect(&mut client, "B", "b");
    let c = connect(&mut client, "C", "c");
    connect(&mut client, "D", "d");
    // B claims to pass on steps of X for nobody, which would come over C.
    for number in 1..100 {
        say(&mut client, b, relay("x", "nobody", number, 1));
    }
    assert_eq!(passed(&say(&mut client, c, relay("x", "d", 7, 1))).len(), 1);
}

#[test]
fn who_leaves_one_room_of_several_is_no_longer_reached_in_it() {
    let mut client = joined(|_| ());
    let other = RoomId::named("S").unwrap();
    client.join_room(NOW, other).unwrap();
    let b = connect(&mut client, "B", "b");
    let c = connect(&mut client, "C", "c");
    for id in ["b", "c"] {
        let sid = id.to_uppercase();
        signal(&mut client, "acquire-peers", &format!(r#"{{"id":"{id}","sid":"{sid}","prevSid":null,"room":"S"}}"#));
    }
    client.handle_timeout(NOW + Duration::from_secs(1));
    outputs(&mut client);
    say(&mut client, b, Frame::Leave { room: room() }.encode());
    client.handle_timeout(NOW + Duration::from_secs(2));
    let gone = Frame::Peers { room: room(), added: vec![], removed: vec![id("b")] }.encode();
    assert_eq!(passed(&outputs(&mut client)), [(c, gone)]);

    // And this is how C takes it.
    let mut c = joined(|_| ());
    let a = connect(&mut c, "A", "a");
    acquainted(&mut c, a, "b", room());
    assert_eq!(sids(c.discovered_peers()), ["A", "b-sid"]);
    say(&mut c, a, Frame::Peers { room: room(), added: vec![], removed: vec![id("b")] }.encode());
    assert_eq!(sids(c.discovered_peers()), ["A"]);
}

#[test]
fn who_takes_no_handshakes_over_others_meets_nobody_by_them() {
    let mut config = rtc_cafe_core::Config::default();
    config.handshake_over_peers = false;
    let mut client = joined_with(config);
    let a = connect(&mut client, "A", "a");
    acquainted(&mut client, a, "b", room());
    assert_eq!(sids(client.discovered_peers()), ["A"]);
    let elsewhere = RoomId::named("elsewhere").unwrap();
    let told = passed(&acquainted(&mut client, a, "b", elsewhere.clone()));
    assert_eq!(told, [(a, Frame::Leave { room: elsewhere }.encode())], "a room that we are not in is not noted");
}

#[test]
fn nobody_has_all_the_room_for_strangers() {
    let mut client = joined(|limits| limits.introductions = 4);
    let a = connect(&mut client, "A", "a");
    let b = connect(&mut client, "B", "b");
    for stranger in ["c", "d"] {
        acquainted(&mut client, a, stranger, room());
    }
    assert_eq!(sids(client.discovered_peers()), ["A", "B", "c-sid"]);
    acquainted(&mut client, b, "e", room());
    assert_eq!(sids(client.discovered_peers()), ["A", "B", "c-sid", "e-sid"]);
    // As soon as there is room for the next one, it is met.
    say(&mut client, a, Frame::Peers { room: room(), added: vec![], removed: vec![id("c")] }.encode());
    client.handle_timeout(NOW + Duration::from_secs(1));
    assert_eq!(sids(client.discovered_peers()), ["A", "B", "e-sid", "d-sid"]);
}

#[test]
fn an_offer_that_was_long_on_its_way_does_not_bring_back_who_has_gone() {
    let mut client = joined(|_| ());
    let b = connect(&mut client, "B", "b");
    // C comes by its fifth connection, says something, so that it is remembered, and goes.
    signal(&mut client, "acquire-peers-response", r#"{"id":"c","sid":"C","prevSid":null,"room":"R"}"#);
    signal(&mut client, "offer", r#"{"id":"c","sid":"C","offer":{"sdp":"theirs"},"connection":5,"negotiation":1}"#);
    let c = commands(&outputs(&mut client))[0].0;
    tell(&mut client, c, ConnectionEvent::AnswerCreated("ours".into()));
    tell(&mut client, c, ConnectionEvent::ChannelOpen);
    let hello =
        r#"{"type":"hello","version":1,"id":"c","sid":"C","stream":1,"heard":0,"received":0,"before":0,"tracks":[]}"#;
    for frame in [hello, "{\"type\":\"message\"}\n1", r#"{"type":"bye"}"#] {
        say(&mut client, c, frame.into());
    }
    assert_eq!(sids(client.discovered_peers()), ["B"]);
    // B, which has slept, passes on an offer of the fourth.
    let me = client.permanent_id().as_str().to_owned();
    assert_eq!(commands(&say(&mut client, b, relay("c", &me, 1, 1))), []);
    assert_eq!(sids(client.discovered_peers()), ["B"]);
}

#[test]
fn a_report_names_the_way_that_worked() {
    let mut client = joined(|_| ());
    let b = connect(&mut client, "B", "b");
    acquainted(&mut client, b, "c", room());
    signal(&mut client, "acquire-peers", r#"{"id":"c","sid":"c-sid","prevSid":null,"room":"R"}"#);
    let c = commands(&outputs(&mut client))[0].0;
    let route = |client: &Client| {
        let report = client.connection_report(NOW, &Sid::new("c-sid").unwrap()).unwrap();
        report.route.map(rtc_cafe_core::Route::as_str)
    };
    assert_eq!(route(&client), None);
    tell(&mut client, c, ConnectionEvent::OfferCreated { sdp: "ours".into(), mids: vec![] });
    assert_eq!(route(&client), Some("peer"), "it was tried over B");
    client.handle_timeout(NOW + Duration::from_millis(2000));
    let again = outputs(&mut client);
    assert!(signals(&again).contains(&"offer") && frames(&again).iter().any(|frame| frame.contains("relay")));
    assert_eq!(route(&client), Some("both"), "nothing has come back");
    answer(&mut client, "c-sid", "c", c);
    assert_eq!(route(&client), Some("server"), "its answer came over the server");
    // The same answer comes over B as well, and candidates of ours go both ways.
    let body = format!(
        r#"{{"answer":{{"type":"answer","sdp":"answer"}},"connection":1,"peerConnection":{c},"negotiation":1}}"#
    );
    let (from, to) = (id("c"), client.permanent_id().clone());
    say(&mut client, b, Frame::Relay { from, sid: None, to, room: room(), number: 1, hops: 1, body: &body }.encode());
    tell(&mut client, c, ConnectionEvent::CandidateFound(None));
    assert_eq!(route(&client), Some("server"));
}

#[test]
fn what_a_mutual_peer_cannot_take_goes_over_the_server() {
    let mut client = joined(|_| ());
    let b = connect(&mut client, "B", "b");
    acquainted(&mut client, b, "c", room());
    signal(&mut client, "acquire-peers", r#"{"id":"c","sid":"c-sid","prevSid":null,"room":"R"}"#);
    let c = commands(&outputs(&mut client))[0].0;
    tell(&mut client, c, ConnectionEvent::OfferCreated { sdp: "x".repeat(60_000), mids: vec![] });
    assert_eq!(signals(&outputs(&mut client)), ["offer"], "at once");
    let report = client.connection_report(NOW, &Sid::new("c-sid").unwrap()).unwrap();
    assert_eq!(report.route.map(rtc_cafe_core::Route::as_str), Some("server"));
}
