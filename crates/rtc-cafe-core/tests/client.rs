//! One client against a world that is played by the test: what it says to whom, and what it does not fall for.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::time::Duration;

use rtc_cafe_core::{
    Client, Command, Config, ConnectionEvent, ConnectionId, ConnectionState, Event, JoinError, Output, Recipients,
    RoomId, SendError, Sid, SignallerState, Time, TrackId, TrackKind, wire::peer::Frame,
};

use common::*;

#[test]
fn a_newcomer_is_answered_and_offered_a_connection() {
    let mut client = joined(|_| ());
    signal(&mut client, "acquire-peers", r#"{"id":"b","sid":"B","prevSid":null,"room":"R"}"#);
    let outputs = outputs(&mut client);
    assert_eq!(signals(&outputs), ["acquire-peers-response"]);
    assert_eq!(commands(&outputs), [(ConnectionId(1), Command::Open), (ConnectionId(1), Command::CreateOffer)]);
    assert_eq!(sids(client.discovered_peers()), ["B"]);
    assert_eq!(sids(client.connected_peers()), Vec::<&str>::new());
}

#[test]
fn somebody_is_connected_once_however_many_rooms_are_shared() {
    let mut client = joined(|_| ());
    connect(&mut client, "B", "b");
    client.join_room(NOW, RoomId::named("other").unwrap()).unwrap();
    outputs(&mut client);
    signal(&mut client, "acquire-peers", r#"{"id":"b","sid":"B","prevSid":null,"room":"other"}"#);
    let outputs = outputs(&mut client);
    assert_eq!(signals(&outputs), ["acquire-peers-response"]);
    let opens = |(_, command): &(_, Command)| *command == Command::Open;
    assert!(!commands(&outputs).iter().any(opens), "there is a connection already");
}

#[test]
fn candidates_wait_for_the_description() {
    let mut client = joined(|_| ());
    let candidate =
        |n| format!(r#"{{"id":"b","sid":"B","candidate":{{"candidate":"c{n}"}},"connection":4,"negotiation":1}}"#);
    signal(&mut client, "candidate", &candidate(1));
    signal(&mut client, "candidate", &candidate(2));
    assert_eq!(commands(&outputs(&mut client)), []);
    signal(&mut client, "offer", r#"{"id":"b","sid":"B","offer":{"sdp":"v=0"},"connection":4,"negotiation":1}"#);
    let commands: Vec<Command> = commands(&outputs(&mut client)).into_iter().map(|(_, command)| command).collect();
    let [Command::Open, Command::AcceptOffer(_), Command::AddCandidate(Some(one)), Command::AddCandidate(Some(two))] =
        &commands[..]
    else {
        panic!("{commands:?}");
    };
    assert_eq!((one.candidate.as_str(), two.candidate.as_str()), ("c1", "c2"));
}

#[test]
fn glare_has_one_winner() {
    let offer = |id| format!(r#"{{"id":"{id}","sid":"B","offer":{{"sdp":"theirs"}},"connection":4,"negotiation":1}}"#);
    for (id, yields) in [("zzz", true), ("!", false)] {
        let mut client = joined(|_| ());
        signal(&mut client, "acquire-peers", &format!(r#"{{"id":"{id}","sid":"B","room":"R"}}"#));
        tell(&mut client, ConnectionId(1), ConnectionEvent::OfferCreated { sdp: "ours".into(), mids: vec![] });
        outputs(&mut client);
        signal(&mut client, "offer", &offer(id));
        let outputs = outputs(&mut client);
        if yields {
            assert_eq!(commands(&outputs), [(ConnectionId(1), Command::AcceptOffer("theirs".into()))]);
        } else {
            assert_eq!(commands(&outputs), []);
            assert_eq!(signals(&outputs), ["offer"], "ours is sent again, for theirs says that it may be lost");
        }
    }
}

#[test]
fn what_is_late_for_a_replaced_connection_is_dropped() {
    let mut client = joined(|_| ());
    let offer = |n| format!(r#"{{"id":"b","sid":"B","offer":{{"sdp":"o{n}"}},"connection":{n},"negotiation":1}}"#);
    signal(&mut client, "offer", &offer(2));
    signal(&mut client, "offer", &offer(3));
    let replaced = commands(&outputs(&mut client));
    assert!(replaced.contains(&(ConnectionId(1), Command::Close)));
    assert!(replaced.contains(&(ConnectionId(2), Command::AcceptOffer("o3".into()))));
    signal(&mut client, "offer", &offer(2));
    tell(&mut client, ConnectionId(1), ConnectionEvent::ChannelOpen);
    tell(&mut client, ConnectionId(1), ConnectionEvent::StateChanged(ConnectionState::Failed));
    answer(&mut client, "B", "b", ConnectionId(1));
    assert_eq!(outputs(&mut client), []);
}

#[test]
fn a_stranger_cannot_take_the_place_of_a_connected_peer() {
    let mut client = joined(|_| ());
    let connection = connect(&mut client, "B", "b");
    signal(&mut client, "acquire-peers", r#"{"id":"b","sid":"STRANGER","prevSid":"B","room":"R"}"#);
    signal(&mut client, "offer", r#"{"id":"b","sid":"STRANGER","offer":{"sdp":"v=0"},"connection":9,"negotiation":1}"#);
    let outputs = outputs(&mut client);
    assert_eq!(frames(&outputs).len(), 1, "B is asked whether it is alive");
    let Ok(Some(Frame::Ping { nonce })) = Frame::decode(&frames(&outputs)[0]) else { panic!("no ping") };
    tell(&mut client, connection, ConnectionEvent::ChannelMessage(Frame::Pong { nonce }.encode()));
    client.handle_timeout(Time::from_millis(60_000));
    assert_eq!(events(&mut client), []);
    assert_eq!(sids(client.discovered_peers()), ["B"]);
}

#[test]
fn a_peer_that_comes_back_takes_the_place_of_its_dead_connection() {
    let mut client = joined(|_| ());
    connect(&mut client, "B", "b");
    signal(&mut client, "acquire-peers", r#"{"id":"b","sid":"B2","prevSid":"B","room":"R"}"#);
    outputs(&mut client);
    let deadline = client.poll_timeout().unwrap();
    assert_eq!(deadline, NOW + Duration::from_secs(3));
    client.handle_timeout(deadline);
    let outputs = outputs(&mut client);
    let (old_sid, sid) = (Sid::new("B").unwrap(), Sid::new("B2").unwrap());
    assert!(outputs.contains(&Output::Event(Event::ReassignPeerSid { old_sid, sid })), "it is the same peer");
    assert!(commands(&outputs).contains(&(ConnectionId(2), Command::CreateOffer)));
    assert_eq!(sids(client.discovered_peers()), ["B2"]);
    assert_eq!(sids(client.connected_peers()), ["B2"], "it is being recovered");
    wait_until(&mut client, deadline + Duration::from_secs(31));
    let sid = Sid::new("B2").unwrap();
    assert!(events(&mut client).contains(&Event::DisconnectFromPeer { sid }), "but not for ever");
}

#[test]
fn a_new_session_is_believed_when_the_peer_itself_says_so() {
    let mut client = joined(|_| ());
    let connection = connect(&mut client, "B", "b");
    connect(&mut client, "C", "c");
    let frame = |sid: &str| ConnectionEvent::ChannelMessage(Frame::Sid { sid: Sid::new(sid).unwrap() }.encode());
    tell(&mut client, connection, frame("B2"));
    tell(&mut client, connection, frame("B2"));
    let reassigned = Event::ReassignPeerSid { old_sid: Sid::new("B").unwrap(), sid: Sid::new("B2").unwrap() };
    assert_eq!(events(&mut client), [reassigned]);
    for somebody_else in ["C", "me"] {
        tell(&mut client, connection, frame(somebody_else));
        assert!(matches!(events(&mut client)[..], [Event::Error { .. }]));
    }
    assert_eq!(sids(client.connected_peers()), ["B2", "C"]);
}

#[test]
fn who_took_the_sid_of_somebody_else_is_dropped_when_that_one_comes() {
    let mut client = joined(|_| ());
    let liar = connect(&mut client, "M", "m");
    tell(&mut client, liar, ConnectionEvent::ChannelMessage(Frame::Sid { sid: Sid::new("C").unwrap() }.encode()));
    outputs(&mut client);
    signal(&mut client, "acquire-peers", r#"{"id":"c","sid":"C","prevSid":null,"room":"R"}"#);
    let outputs = outputs(&mut client);
    assert!(commands(&outputs).contains(&(liar, Command::Close)));
    assert!(outputs.contains(&Output::Event(Event::DisconnectFromPeer { sid: Sid::new("C").unwrap() })));
    assert!(commands(&outputs).contains(&(ConnectionId(2), Command::CreateOffer)), "C itself is offered a connection");
}

#[test]
fn rooms_are_joined_again_with_the_proof_of_the_last_session() {
    let mut client = joined(|_| ());
    let connection = connect(&mut client, "B", "b");
    client.handle_signaller_state(NOW, SignallerState::Reconnecting);
    client.handle_signaller_state(NOW, SignallerState::Connected);
    let outputs = outputs(&mut client);
    let Some(Output::Signal(join)) = outputs.iter().find(|output| matches!(output, Output::Signal(_))) else {
        panic!("no join");
    };
    assert!(join.payload().ends_with(r#""prevSid":"me","prevSession":"secret"}"#), "{}", join.payload());
    signal(&mut client, "sid", r#"{"sid":"me2"}"#);
    let outputs = self::outputs(&mut client);
    assert_eq!(frames(&outputs), [r#"{"type":"sid","sid":"me2"}"#]);
    assert!(commands(&outputs).iter().all(|(id, _)| *id == connection), "the connection stays");
}

#[test]
fn debug_shows_no_secrets() {
    let mut client = joined(|_| {});
    signal(&mut client, "sid", r#"{"sid":"me2","apiVersion":"1.0","session":"hunter2"}"#);
    assert!(!format!("{client:?}").contains("hunter2"));
}

#[test]
fn sending() {
    let mut client = joined(|limits| limits.outgoing_bytes = 1000);
    let b = connect(&mut client, "B", "b");
    let c = connect(&mut client, "C", "c");
    let only = |sid: &str| Recipients::Only(vec![Sid::new(sid).unwrap(), Sid::new(sid).unwrap()]);
    client.send_message(NOW, "[1]", only("B")).unwrap();
    assert_eq!(frames(&outputs(&mut client)), ["{\"type\":\"message\"}\n[1]"], "once, though named twice");
    client.send_message(NOW, "[2]", Recipients::All).unwrap();
    assert_eq!(frames(&outputs(&mut client)).len(), 2);
    assert!(matches!(client.send_message(NOW, "1", only("nobody")), Err(SendError::NotConnected(_))));
    let long = "1".repeat(1001);
    assert!(matches!(
        client.send_message(NOW, &long, Recipients::All),
        Err(SendError::TooLong { bytes: 1001, max: 1000 })
    ));

    // B confirms nothing: its queue fills up, and C goes on.
    tell(&mut client, b, ConnectionEvent::ChannelBuffered(2 << 20));
    let message = "1".repeat(600);
    let confirm = |client: &mut Client, received| {
        tell(client, c, ConnectionEvent::ChannelMessage(Frame::Ack { received }.encode()));
    };
    client.send_message(NOW, &message, Recipients::All).unwrap();
    confirm(&mut client, 2);
    let full = client.send_message(NOW, &message, Recipients::All).unwrap_err();
    assert_eq!(full, SendError::QueueFull(vec![Sid::new("B").unwrap()]));
    assert_eq!(frames(&outputs(&mut client)).len(), 2, "C got both");
    signal(&mut client, "peer-disconnection", r#"{"sid":"B"}"#);
    tell(&mut client, b, ConnectionEvent::ChannelClosed);
    let sid = Sid::new("B").unwrap();
    let lost =
        Event::MessageUndelivered { sid: sid.clone(), payload: message.as_str().into(), may_have_arrived: false };
    assert_eq!(events(&mut client), [lost, Event::DisconnectFromPeer { sid: sid.clone() }]);
    wait_until(&mut client, NOW + Duration::from_secs(60));
    let doubtful =
        |payload: &str| Event::MessageUndelivered { sid: sid.clone(), payload: payload.into(), may_have_arrived: true };
    assert_eq!(events(&mut client), [doubtful("[1]"), doubtful("[2]")], "B does not come back to tell");
}

#[test]
fn limits() {
    let mut client = joined(|limits| {
        limits.peers = 2;
        limits.rooms = 2;
    });
    client.join_room(NOW, RoomId::numbered(1)).unwrap();
    assert_eq!(client.join_room(NOW, RoomId::numbered(2)), Err(JoinError::TooManyRooms(2)));
    for n in 0..10 {
        signal(&mut client, "acquire-peers", &format!(r#"{{"id":"b{n}","sid":"B{n}","room":"R"}}"#));
    }
    assert_eq!(sids(client.discovered_peers()), ["B0", "B1"]);
}

#[test]
fn who_leaves_in_the_middle_of_the_handshake_is_gone_soon() {
    let mut client = joined(|_| ());
    signal(&mut client, "acquire-peers", r#"{"id":"b","sid":"B","room":"R"}"#);
    tell(&mut client, ConnectionId(1), ConnectionEvent::OfferCreated { sdp: "offer".into(), mids: vec![] });
    answer(&mut client, "B", "b", ConnectionId(1));
    signal(&mut client, "peer-disconnection", r#"{"sid":"B"}"#);
    outputs(&mut client);
    client.handle_timeout(NOW + Duration::from_secs(3));
    assert_eq!(outputs(&mut client), [Output::Connection(ConnectionId(1), Command::Close)], "no error is told");
    assert_eq!(sids(client.discovered_peers()), Vec::<&str>::new());
}

#[test]
fn an_offer_that_is_unanswered_is_sent_again_to_the_new_session() {
    let mut client = joined(|_| ());
    signal(&mut client, "acquire-peers", r#"{"id":"b","sid":"B","room":"R"}"#);
    tell(&mut client, ConnectionId(1), ConnectionEvent::OfferCreated { sdp: "offer".into(), mids: vec![] });
    outputs(&mut client);
    signal(&mut client, "acquire-peers", r#"{"id":"b","sid":"B2","prevSid":"B","room":"R"}"#);
    let outputs = outputs(&mut client);
    assert_eq!(signals(&outputs), ["acquire-peers-response", "offer"]);
    let to_new = |output: &Output| matches!(output, Output::Signal(signal) if signal.payload().contains("\"B2\""));
    assert_eq!(outputs.iter().filter(|output| to_new(output)).count(), 2);
    assert_eq!(commands(&outputs), [], "the connection stays");
}

#[test]
fn a_new_sid_is_told_however_much_the_peer_asks() {
    let mut client = joined(|limits| limits.control_bytes = 1000);
    let b = connect(&mut client, "B", "b");
    tell(&mut client, b, ConnectionEvent::ChannelBuffered(2 << 20));
    for nonce in 0..4000 {
        tell(&mut client, b, ConnectionEvent::ChannelMessage(Frame::Ping { nonce }.encode()));
    }
    assert!(client.waiting_bytes() < 600, "answers have a bound");
    signal(&mut client, "sid", r#"{"sid":"me2"}"#);
    outputs(&mut client);
    tell(&mut client, b, ConnectionEvent::ChannelBuffered(0));
    let sent = frames(&outputs(&mut client));
    assert_eq!(sent.last().map(String::as_str), Some(r#"{"type":"sid","sid":"me2"}"#));
}

fn track(name: &str) -> TrackId {
    TrackId::new(name).unwrap()
}

#[test]
fn what_a_peer_has_to_be_told_does_not_wait_behind_messages() {
    let mut client = joined(|limits| limits.outgoing_bytes = 1000);
    let b = connect(&mut client, "B", "b");
    let definition = "{\"type\":\"track\",\"id\":\"theirs\",\"kind\":\"audio\"}\n1";
    tell(&mut client, b, ConnectionEvent::ChannelMessage(definition.into()));
    tell(&mut client, b, ConnectionEvent::ChannelBuffered(2 << 20));
    client.send_message(NOW, &"1".repeat(900), Recipients::All).unwrap();
    let description = format!("\"{}\"", "x".repeat(15_000));
    for number in 0..10 {
        client.add_track(track(&number.to_string()), TrackKind::Video, &description).unwrap();
    }
    let sid = Sid::new("B").unwrap();
    client.request_peer_track(&sid, &track("theirs")).unwrap();
    assert!(client.remove_peer_track(&sid, &track("theirs")));
    client.remove_track(&track("0"));
    outputs(&mut client);
    tell(&mut client, b, ConnectionEvent::ChannelBuffered(0));
    let outputs = outputs(&mut client);
    let types: Vec<String> = frames(&outputs).iter().map(|f| f.split('"').nth(3).unwrap().to_owned()).collect();
    assert_eq!(types[..10], ["track"; 10]);
    assert_eq!(types[10..], ["track-request", "track-cancel", "track-removed", "message"]);
    assert!(!outputs.iter().any(|output| matches!(output, Output::Event(_))), "nothing went wrong");
}

#[test]
fn who_cannot_be_told_everything_is_connected_to_anew() {
    let mut client = joined(|limits| limits.control_bytes = 1000);
    let b = connect(&mut client, "B", "b");
    tell(&mut client, b, ConnectionEvent::ChannelBuffered(2 << 20));
    for number in 0..60 {
        client.add_track(track("t"), TrackKind::Video, &number.to_string()).unwrap();
    }
    assert!(client.waiting_bytes() <= 1000);
    client.handle_timeout(client.poll_timeout().unwrap().max(NOW));
    let lost = outputs(&mut client);
    assert_eq!(commands(&lost), [(b, Command::Close)]);
    assert_eq!(sids(client.connected_peers()), ["B"]);
    wait_until(&mut client, NOW + Duration::from_secs(5));
    let opened = commands(&outputs(&mut client));
    assert!(opened.iter().any(|(_, command)| *command == Command::CreateOffer), "{opened:?}");
}

#[test]
fn closing_tells_of_every_loss() {
    let mut client = joined(|_| ());
    let connection = connect(&mut client, "B", "b");
    client.close(NOW);
    let outputs = outputs(&mut client);
    let bye = Command::Send(Frame::Bye.encode());
    assert_eq!(commands(&outputs), [(connection, bye), (connection, Command::Close)]);
    assert!(outputs.contains(&Output::Event(Event::DisconnectFromPeer { sid: Sid::new("B").unwrap() })));
    assert_eq!(client.join_room(NOW, RoomId::numbered(1)), Err(JoinError::Closed));
    let mut other = joined(|_| ());
    other.handle_signaller_state(NOW, SignallerState::Closed);
    assert_eq!(other.join_room(NOW, RoomId::numbered(1)), Err(JoinError::Closed));
    signal(&mut client, "acquire-peers", r#"{"id":"b","sid":"B","room":"R"}"#);
    assert_eq!(self::outputs(&mut client), []);
}

fn definition() -> String {
    Frame::Track { id: track("t"), kind: TrackKind::Audio, description: "1" }.encode()
}

/// Defines a track of a connected peer and requests it.
fn request(client: &mut Client, sid: &str, connection: ConnectionId) {
    tell(client, connection, ConnectionEvent::ChannelMessage(definition()));
    client.request_peer_track(&Sid::new(sid).unwrap(), &track("t")).unwrap();
    outputs(client);
}

/// Comes back under another sid; returns the connection, and whether it is asked for its track again.
fn come_back(client: &mut Client, sid: &str, id: &str) -> (ConnectionId, bool) {
    signal(client, "acquire-peers", &format!(r#"{{"id":"{id}","sid":"{sid}","prevSid":null,"room":"R"}}"#));
    let connection = commands(&outputs(client))[0].0;
    tell(client, connection, ConnectionEvent::OfferCreated { sdp: "offer".into(), mids: vec![] });
    answer(client, sid, id, connection);
    tell(client, connection, ConnectionEvent::ChannelOpen);
    let asked = frames(&outputs(client)).iter().any(|frame| frame.contains("track-request"));
    (connection, asked)
}

#[test]
fn a_track_of_a_peer_that_is_away_can_be_given_up() {
    for (server_down, gives_up) in [(true, true), (false, true), (true, false), (false, false)] {
        let mut client = joined(|_| ());
        let b = connect(&mut client, "B", "b");
        request(&mut client, "B", b);
        if server_down {
            client.handle_signaller_state(NOW, SignallerState::Reconnecting);
        }
        tell(&mut client, b, ConnectionEvent::ChannelClosed);
        client.handle_signaller_state(NOW, SignallerState::Connected);
        if gives_up {
            assert!(client.remove_peer_track(&Sid::new("B").unwrap(), &track("t")));
            assert!(!client.remove_peer_track(&Sid::new("B").unwrap(), &track("t")));
        }
        outputs(&mut client);
        assert_eq!(come_back(&mut client, "B2", "b").1, !gives_up, "server down: {server_down}");
    }
}

#[test]
fn of_wishes_the_newest_are_kept() {
    let mut client = joined(|_| ());
    for number in 0..=10_000 {
        let (sid, id) = (format!("B{number}"), format!("b{number}"));
        let connection = connect(&mut client, &sid, &id);
        request(&mut client, &sid, connection);
        signal(&mut client, "peer-disconnection", &format!(r#"{{"sid":"{sid}"}}"#));
        tell(&mut client, connection, ConnectionEvent::ChannelClosed);
        outputs(&mut client);
    }
    assert!(come_back(&mut client, "C10000", "b10000").1);
    assert!(!come_back(&mut client, "C0", "b0").1);
}

#[test]
fn a_track_that_was_removed_while_the_peer_was_away_is_not_asked_for_when_it_is_added_again() {
    let mut client = joined(|_| ());
    let b = connect(&mut client, "B", "b");
    request(&mut client, "B", b);
    tell(&mut client, b, ConnectionEvent::ChannelClosed);
    outputs(&mut client);
    let (b, asked) = come_back(&mut client, "B2", "b");
    assert!(asked, "to learn whether it is still there");
    let removed = Frame::TrackRemoved { id: track("t") };
    tell(&mut client, b, ConnectionEvent::ChannelMessage(removed.encode()));
    tell(&mut client, b, ConnectionEvent::ChannelMessage(definition()));
    assert_eq!(frames(&outputs(&mut client)), Vec::<String>::new());
}

#[test]
fn a_channel_that_tells_after_every_frame_what_it_holds_is_not_overfilled() {
    let mut client = joined(|limits| limits.high_water = 1000);
    let connection = connect(&mut client, "b", "b1");
    for _ in 0..100 {
        client.send_message(NOW, &"1".repeat(100), Recipients::All).unwrap();
    }
    let (mut held, mut most) = (0, 0);
    let mut fill = |client: &mut Client, held: &mut usize| {
        while let Some(output) = client.poll() {
            let [frame] = &frames(&[output])[..] else { continue };
            *held += frame.len();
            most = most.max(*held);
            tell(client, connection, ConnectionEvent::ChannelBuffered(*held));
        }
    };
    fill(&mut client, &mut held);
    assert!((1000..1200).contains(&held), "{held}");
    held = 0;
    tell(&mut client, connection, ConnectionEvent::ChannelBuffered(0));
    fill(&mut client, &mut held);
    assert!((1000..1200).contains(&most), "{most}");
}

#[test]
fn who_takes_nothing_for_long_is_given_up() {
    let mut client = joined(|_| ());
    let connection = connect(&mut client, "b", "b1");
    client.send_message(NOW, &format!("\"{}\"", "x".repeat(3 << 20)), Recipients::All).unwrap();
    tell(&mut client, connection, ConnectionEvent::ChannelBuffered(1 << 20));
    let due = Time::from_millis(120_000);
    // It takes something in between, which buys it as much again.
    client.handle_connection(Time::from_millis(60_000), connection, ConnectionEvent::ChannelBuffered(1 << 18));
    client.handle_connection(Time::from_millis(60_000), connection, ConnectionEvent::ChannelBuffered(1 << 20));
    wait_until(&mut client, due);
    assert!(client.connected_peers().next().is_some());
    wait_until(&mut client, Time::from_millis(180_000));
    assert!(commands(&outputs(&mut client)).contains(&(connection, Command::Close)), "another one follows");
}

#[test]
fn a_description_without_end_ends_the_connection() {
    let mut client = joined(|_| ());
    let connection = connect(&mut client, "b", "b1");
    let part =
        format!("{{\"type\":\"offer\",\"more\":true,\"negotiation\":2,\"tracks\":{{}}}}\n{}", "x".repeat(40_000));
    for _ in 0..7 {
        tell(&mut client, connection, ConnectionEvent::ChannelMessage(part.clone()));
    }
    assert_eq!(commands(&outputs(&mut client)), [(connection, Command::Close)]);
}

/// B and C confirm nothing, and what is said to both is there once.
#[test]
fn what_waits_for_all_has_a_bound_and_leaves_each_its_share() {
    let mut client = joined(|limits| limits.kept_bytes = 10_000);
    let [b, c, d] = ["B", "C", "D"].map(|sid| connect(&mut client, sid, &sid.to_lowercase()));
    let only = |sid: &str| Recipients::Only(vec![Sid::new(sid).unwrap()]);
    let message = "1".repeat(1000);
    for _ in 0..10 {
        client
            .send_message(NOW, &message, Recipients::Only(["B", "C"].map(|sid| Sid::new(sid).unwrap()).into()))
            .unwrap();
    }
    let full = client.send_message(NOW, &message, Recipients::All).unwrap_err();
    assert_eq!(full, SendError::QueueFull(["B", "C"].map(|sid| Sid::new(sid).unwrap()).into()));
    assert_eq!(client.has_room(1000, &only("B")), Ok(false));
    // A third of as much again is for D, who is not to blame.
    for _ in 0..2 {
        assert_eq!(client.has_room(1000, &only("D")), Ok(true));
        client.send_message(NOW, &message, only("D")).unwrap();
    }
    assert_eq!(client.has_room(1000, &only("D")), Ok(false));
    let confirm = |client: &mut Client, peer, received| {
        tell(client, peer, ConnectionEvent::ChannelMessage(Frame::Ack { received }.encode()));
    };
    confirm(&mut client, d, 3);
    confirm(&mut client, b, 10);
    assert_eq!(client.has_room(1000, &only("C")), Ok(false), "C has yet to take them");
    confirm(&mut client, c, 5);
    assert_eq!(client.has_room(1000, &only("C")), Ok(true));
}

#[test]
fn who_leaves_says_so_though_much_waits_in_the_channel() {
    let mut client = joined(|_| ());
    let b = connect(&mut client, "B", "b");
    tell(&mut client, b, ConnectionEvent::ChannelMessage(Frame::Message { more: false, body: "1" }.encode()));
    tell(&mut client, b, ConnectionEvent::ChannelBuffered(2 << 20));
    outputs(&mut client);
    client.leave_room(NOW, &RoomId::named("R").unwrap());
    let words = [Frame::Ack { received: 1 }, Frame::Leave { room: RoomId::named("R").unwrap() }, Frame::Bye];
    assert_eq!(frames(&outputs(&mut client)), words.map(|word| word.encode()));
}

#[test]
fn who_comes_into_a_room_that_was_just_left_is_not_met() {
    let mut config = Config::default();
    config.ready = 1;
    let mut client = joined_with(config);
    client.join_room(NOW, RoomId::numbered(5)).unwrap();
    wait_until(&mut client, NOW + Duration::from_secs(1));
    let (held, _) = commands(&outputs(&mut client)).pop().unwrap();
    tell(&mut client, held, ConnectionEvent::OfferCreated { sdp: "offer".into(), mids: vec![] });
    assert_eq!(signals(&outputs(&mut client)), ["hold"]);
    client.leave_room(NOW, &RoomId::named("R").unwrap());
    outputs(&mut client);
    let newcomer = format!(r#"{{"id":"b","sid":"B","prevSid":null,"room":"R","offered":{}}}"#, held.0);
    signal(&mut client, "acquire-peers", &newcomer);
    let outputs = outputs(&mut client);
    assert_eq!(signals(&outputs), [""; 0], "nobody is answered");
    assert_eq!(commands(&outputs), [(held, Command::Close)], "and nothing waits for an answer");
    assert_eq!(sids(client.discovered_peers()), [""; 0]);
}

#[test]
fn what_comes_late_from_who_was_in_a_room_that_was_left_brings_nobody_back() {
    let mut client = joined(|_| ());
    signal(&mut client, "acquire-peers", r#"{"id":"b","sid":"B","prevSid":null,"room":"R"}"#);
    let b = commands(&outputs(&mut client))[0].0;
    tell(&mut client, b, ConnectionEvent::OfferCreated { sdp: "offer".into(), mids: vec![] });
    client.join_room(NOW, RoomId::numbered(5)).unwrap();
    client.leave_room(NOW, &RoomId::named("R").unwrap());
    assert_eq!(sids(client.discovered_peers()), [""; 0]);
    answer(&mut client, "B", "b", b);
    let candidate = r#"{"id":"b","sid":"B","candidate":null,"connection":1,"peerConnection":1,"negotiation":1}"#;
    signal(&mut client, "candidate", candidate);
    assert_eq!(sids(client.discovered_peers()), [""; 0]);
    // This one could belong to an offer that is yet to come. If none does, the server is asked for its sender.
    signal(&mut client, "candidate", r#"{"id":"b","sid":"B","candidate":null,"connection":2,"negotiation":1}"#);
    wait_until(&mut client, NOW + Duration::from_secs(5));
    let asked = commands(&outputs(&mut client));
    let (c, _) = asked.iter().find(|(_, command)| *command == Command::CreateOffer).unwrap();
    tell(&mut client, *c, ConnectionEvent::OfferCreated { sdp: "offer".into(), mids: vec![] });
    assert_eq!(signals(&outputs(&mut client)), ["offer"]);
    let nobody = r#"{"error":"nobody","originalMessage":"offer","code":"recipient-not-found","recipient":"B"}"#;
    signal(&mut client, "error", nobody);
    assert_eq!(sids(client.discovered_peers()), [""; 0]);
}
