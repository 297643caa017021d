//! What a client does when a path, a connection or the server is lost.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::time::Duration;

use rtc_cafe_core::{
    Client, Command, Config, ConnectionEvent, ConnectionId, ConnectionState, Event, Output, PermanentId, Phase,
    Recipients, RoomId, Sid, SignallerState, Time, wire::peer::Frame,
};

use common::*;

fn sid(text: &str) -> Sid {
    Sid::new(text).unwrap()
}

fn state(client: &mut Client, at: Time, id: ConnectionId, state: ConnectionState) {
    client.handle_connection(at, id, ConnectionEvent::StateChanged(state));
}

/// Answers the ping that the client has sent.
fn pong(client: &mut Client, at: Time, id: ConnectionId) {
    let pings = frames(&outputs(client)).into_iter().filter_map(|frame| match Frame::decode(&frame) {
        Ok(Some(Frame::Ping { nonce })) => Some(nonce),
        _ => None,
    });
    for nonce in pings {
        client.handle_connection(at, id, ConnectionEvent::ChannelMessage(Frame::Pong { nonce }.encode()));
    }
}

#[test]
fn a_path_that_comes_back_by_itself_is_nothing_to_tell_of() {
    let mut client = joined(|_| ());
    let b = connect(&mut client, "B", "b");
    state(&mut client, seconds(10), b, ConnectionState::Disconnected);
    state(&mut client, seconds(11), b, ConnectionState::Connected);
    pong(&mut client, seconds(12), b);
    assert_eq!(commands(&pass(&mut client, seconds(100))), []);
    assert_eq!(sids(client.connected_peers()), ["B"]);
}

#[test]
fn a_channel_that_stands_still_though_its_path_is_back_is_replaced() {
    let mut client = joined(|_| ());
    let b = connect(&mut client, "B", "b");
    client.send_message(seconds(10), "[1]", Recipients::All).unwrap();
    state(&mut client, seconds(10), b, ConnectionState::Disconnected);
    state(&mut client, seconds(11), b, ConnectionState::Connected);
    let replaced = pass(&mut client, seconds(17));
    assert!(commands(&replaced).contains(&(b, Command::Close)));
    assert!(commands(&replaced).contains(&(ConnectionId(2), Command::CreateOffer)));
    assert_eq!(told(&replaced), []);
}

#[test]
fn a_channel_that_stalls_is_replaced_if_the_peer_can_be_asked() {
    let mut client = joined(|_| ());
    let b = connect(&mut client, "B", "b");
    client.send_message(seconds(10), "[1]", Recipients::All).unwrap();
    signal(&mut client, "peer-disconnection", r#"{"sid":"B"}"#);
    outputs(&mut client);
    client.handle_connection(seconds(18), b, ConnectionEvent::ChannelStalled);
    assert_eq!(commands(&outputs(&mut client)), [], "nobody could tell it of another one");
    signal(&mut client, "acquire-peers", r#"{"id":"b","sid":"B","room":"R"}"#);
    client.handle_connection(seconds(26), b, ConnectionEvent::ChannelStalled);
    let replaced = pass(&mut client, seconds(29));
    assert!(commands(&replaced).contains(&(b, Command::Close)));
    assert!(commands(&replaced).contains(&(ConnectionId(2), Command::CreateOffer)));
    assert_eq!(told(&replaced), []);
}

#[test]
fn a_lost_path_is_restarted_then_replaced_and_at_last_given_up() {
    let mut client = joined(|_| ());
    let b = connect(&mut client, "B", "b");
    client.send_message(seconds(10), "[1]", Recipients::All).unwrap();
    state(&mut client, seconds(10), b, ConnectionState::Disconnected);
    let first = pass(&mut client, seconds(14));
    assert_eq!(commands(&first)[1..], [(b, Command::RestartIce), (b, Command::CreateOffer)]);
    client.handle_connection(seconds(14), b, ConnectionEvent::OfferCreated { sdp: "again".into(), mids: vec![] });
    let offered = outputs(&mut client);
    assert_eq!(signals(&offered), ["offer"], "over the server, because the channel stands still");
    assert!(frames(&offered)[0].contains(r#""restart":true"#), "and over the channel, should it come back");
    let second = pass(&mut client, seconds(20));
    let replaced = [(b, Command::Close), (ConnectionId(2), Command::Open), (ConnectionId(2), Command::CreateOffer)];
    assert_eq!(commands(&second), replaced);
    assert_eq!(told(&second), [], "the application need not know");
    client.send_message(seconds(20), "[2]", Recipients::All).unwrap();
    let last = told(&pass(&mut client, seconds(41)));
    let lost = Event::MessageUndelivered { sid: sid("B"), payload: "[2]".into(), may_have_arrived: false };
    assert_eq!(last, [lost, Event::DisconnectFromPeer { sid: sid("B") }]);
}

#[test]
fn what_was_not_confirmed_is_sent_again_over_the_next_connection() {
    let mut client = joined(|_| ());
    let b = connect(&mut client, "B", "b");
    for message in ["[1]", "[2]", "[3]"] {
        client.send_message(NOW, message, Recipients::All).unwrap();
    }
    tell(&mut client, b, ConnectionEvent::ChannelClosed);
    let offered = pass(&mut client, seconds(2));
    assert_eq!(told(&offered), []);
    let next = ConnectionId(2);
    tell(&mut client, next, ConnectionEvent::OfferCreated { sdp: "offer".into(), mids: vec![] });
    let payload = r#"{"id":"b","sid":"B","answer":{"sdp":"answer"},"connection":2,"peerConnection":2,"negotiation":1}"#;
    signal(&mut client, "answer", payload);
    tell(&mut client, next, ConnectionEvent::ChannelOpen);
    assert!(!frames(&outputs(&mut client)).iter().any(|frame| frame.contains("message")), "B says first what it has");
    let hello =
        r#"{"type":"hello","version":1,"id":"b","sid":"B","stream":1,"heard":1,"received":2,"before":0,"tracks":[]}"#;
    tell(&mut client, next, ConnectionEvent::ChannelMessage(hello.into()));
    let rest = outputs(&mut client);
    assert_eq!(frames(&rest), ["{\"type\":\"message\"}\n[3]"]);
    assert_eq!(told(&rest), [], "it was never gone");
}

#[test]
fn a_peer_cannot_keep_us_busy_with_what_it_claims_to_have_received() {
    let mut client = joined(|_| ());
    let b = connect(&mut client, "B", "b");
    let hello = format!(r#"{{"type":"hello","version":1,"id":"b","stream":1,"heard":0,"received":{}}}"#, u32::MAX);
    for _ in 0..1000 {
        tell(&mut client, b, ConnectionEvent::ChannelMessage(hello.clone()));
    }
    assert_eq!(told(&outputs(&mut client)), []);
}

/// So one server says it, and of several some may.
#[test]
fn the_end_of_an_old_session_does_not_undo_its_successor() {
    let over = |client: &mut Client| {
        signal(client, "acquire-peers", r#"{"id":"b","sid":"B2","prevSid":"B","room":"R"}"#);
        signal(client, "peer-disconnection", r#"{"sid":"B"}"#);
    };
    let mut client = joined(|_| ());
    signal(&mut client, "acquire-peers", r#"{"id":"b","sid":"B","room":"R"}"#);
    tell(&mut client, ConnectionId(1), ConnectionEvent::OfferCreated { sdp: "offer".into(), mids: vec![] });
    over(&mut client);
    pass(&mut client, seconds(4));
    assert_eq!(sids(client.discovered_peers()), ["B2"], "in the middle of the handshake");

    let mut client = joined(|_| ());
    let b = connect(&mut client, "B", "b");
    over(&mut client);
    pong(&mut client, NOW, b);
    let moved = Frame::Sid { sid: sid("B2") };
    tell(&mut client, b, ConnectionEvent::ChannelMessage(moved.encode()));
    let reassigned = Event::ReassignPeerSid { old_sid: sid("B"), sid: sid("B2") };
    assert_eq!(told(&pass(&mut client, seconds(60))), std::slice::from_ref(&reassigned));
    assert_eq!(sids(client.connected_peers()), ["B2"], "while they are connected");

    let mut client = joined(|_| ());
    let b = connect(&mut client, "B", "b");
    over(&mut client);
    tell(&mut client, b, ConnectionEvent::ChannelClosed);
    let connected = pass(&mut client, seconds(3));
    assert_eq!(commands(&connected).last(), Some(&(ConnectionId(2), Command::CreateOffer)));
    tell(&mut client, ConnectionId(2), ConnectionEvent::OfferCreated { sdp: "offer".into(), mids: vec![] });
    let offered = outputs(&mut client);
    assert!(
        offered.iter().any(|output| matches!(output, Output::Signal(signal) if signal.payload().contains("\"B2\"")))
    );
    assert_eq!(told(&connected), [reassigned], "when their connection ends");
}

#[test]
fn a_peer_that_is_silent_though_there_is_a_path_sleeps() {
    let mut client = joined(|_| ());
    let b = connect(&mut client, "B", "b");
    signal(&mut client, "peer-disconnection", r#"{"sid":"B"}"#);
    assert_eq!(told(&pass(&mut client, seconds(600))), []);
    assert_eq!(sids(client.connected_peers()), ["B"]);
    assert_eq!(phase(&client, 600), Phase::Silent);
    // Without a path it is another matter.
    state(&mut client, seconds(600), b, ConnectionState::Disconnected);
    assert_eq!(told(&pass(&mut client, seconds(604))), [Event::DisconnectFromPeer { sid: sid("B") }]);
}

/// Nothing else says that it sleeps: the server may be away, and the path is there.
#[test]
fn who_confirms_nothing_is_asked_whether_it_is_there() {
    let mut client = joined(|_| ());
    let b = connect(&mut client, "B", "b");
    client.handle_signaller_state(NOW, SignallerState::Reconnecting);
    client.send_message(NOW, "[1]", Recipients::All).unwrap();
    assert_eq!(told(&pass(&mut client, seconds(9))).len(), 1, "the server is away");
    assert_eq!(phase(&client, 9), Phase::Open);
    assert_eq!(told(&pass(&mut client, seconds(14))), []);
    assert_eq!(phase(&client, 14), Phase::Silent);
    client.handle_connection(seconds(20), b, ConnectionEvent::ChannelMessage(Frame::Ack { received: 1 }.encode()));
    assert_eq!(phase(&client, 20), Phase::Open);
    assert_eq!(told(&pass(&mut client, seconds(60))), []);
}

fn phase(client: &Client, at: u64) -> Phase {
    client.connection_report(seconds(at), &sid("B")).unwrap().phase
}

#[test]
fn a_client_that_has_slept_hears_others_before_it_judges_them() {
    let mut client = joined(|_| ());
    let b = connect(&mut client, "B", "b");
    state(&mut client, NOW, b, ConnectionState::Disconnected);
    outputs(&mut client);
    client.handle_timeout(seconds(600));
    assert_eq!(outputs(&mut client), []);
    state(&mut client, seconds(600), b, ConnectionState::Connected);
    pong(&mut client, seconds(600), b);
    assert_eq!(told(&pass(&mut client, seconds(700))), []);
}

#[test]
fn another_network_is_another_path_for_everybody() {
    for (id, after) in [("!", 0), ("zzz", 2)] {
        let mut client = joined(|_| ());
        let b = connect(&mut client, "B", id);
        client.handle_network_change(NOW);
        let now = commands(&outputs(&mut client)).contains(&(b, Command::RestartIce));
        assert_eq!(now, after == 0, "the polite one lets the other begin, which may have noticed as well");
        let later = commands(&pass(&mut client, seconds(2)));
        assert_eq!(later.contains(&(b, Command::RestartIce)), after > 0);
    }
}

#[test]
fn the_answer_to_a_restart_that_the_channel_lost_is_sent_by_other_ways() {
    let mut client = joined(|_| ());
    let b = connect(&mut client, "B", "b");
    let offer = Frame::Offer { more: false, negotiation: 1, restart: true, mids: vec![], body: "again" }.encode();
    tell(&mut client, b, ConnectionEvent::ChannelMessage(offer));
    tell(&mut client, b, ConnectionEvent::AnswerCreated("found".into()));
    let answered = outputs(&mut client);
    assert!(frames(&answered)[0].starts_with(r#"{"type":"answer""#));
    assert_eq!(signals(&answered), [""; 0], "the channel seems to be there");
    let offered_again = r#"{"id":"b","sid":"B","offer":{"sdp":"again"},"connection":1,"peerConnection":1,"negotiation":1,"restart":true,"tracks":{}}"#;
    signal(&mut client, "offer", offered_again);
    assert_eq!(signals(&outputs(&mut client)), ["answer"], "it was not");
}

#[test]
fn a_connection_that_is_not_open_yet_is_begun_anew_in_another_network() {
    let mut client = joined(|_| ());
    signal(&mut client, "acquire-peers", r#"{"id":"b","sid":"B","prevSid":null,"room":"R"}"#);
    outputs(&mut client);
    client.handle_network_change(seconds(1));
    let anew =
        [(ConnectionId(1), Command::Close), (ConnectionId(2), Command::Open), (ConnectionId(2), Command::CreateOffer)];
    assert_eq!(commands(&pass(&mut client, seconds(3))), anew);
}

#[test]
fn who_says_goodbye_is_not_waited_for() {
    let mut client = joined(|_| ());
    let b = connect(&mut client, "B", "b");
    tell(&mut client, b, ConnectionEvent::ChannelMessage(Frame::Bye.encode()));
    let gone = outputs(&mut client);
    assert_eq!(told(&gone), [Event::DisconnectFromPeer { sid: sid("B") }]);
    assert_eq!(commands(&pass(&mut client, seconds(60))), []);
}

#[test]
fn messages_that_come_after_a_goodbye_have_certainly_not_arrived() {
    let mut client = joined(|_| ());
    let b = connect(&mut client, "B", "b");
    for message in ["[1]", "[2]"] {
        client.send_message(NOW, message, Recipients::All).unwrap();
    }
    outputs(&mut client);
    for last in [Frame::Ack { received: 1 }, Frame::Bye] {
        tell(&mut client, b, ConnectionEvent::ChannelMessage(last.encode()));
    }
    let lost = Event::MessageUndelivered { sid: sid("B"), payload: "[2]".into(), may_have_arrived: false };
    assert_eq!(told(&outputs(&mut client)), [lost, Event::DisconnectFromPeer { sid: sid("B") }]);
    assert_eq!(told(&pass(&mut client, seconds(600))), []);
}

#[test]
fn a_goodbye_says_first_what_has_come() {
    let mut client = joined(|_| ());
    let b = connect(&mut client, "B", "b");
    let message = Frame::Message { more: false, body: "1" }.encode();
    tell(&mut client, b, ConnectionEvent::ChannelMessage(message));
    outputs(&mut client);
    client.close(NOW);
    let last = frames(&outputs(&mut client));
    assert_eq!(last, [Frame::Ack { received: 1 }.encode(), Frame::Bye.encode()]);
}

#[test]
fn nobody_waits_long_for_a_peer_that_confirms_nothing() {
    let mut client = joined(|limits| limits.outgoing_bytes = 100);
    connect(&mut client, "B", "b");
    let c = connect(&mut client, "C", "c");
    let message = format!("\"{}\"", "x".repeat(38));
    client.send_message(seconds(1), &message, Recipients::All).unwrap();
    outputs(&mut client);
    client.handle_connection(seconds(1), c, ConnectionEvent::ChannelMessage(Frame::Ack { received: 1 }.encode()));
    assert_eq!(client.has_room(40, &Recipients::All), Ok(false), "B may just be slow");
    assert_eq!(told(&pass(&mut client, seconds(11))), []);
    assert_eq!(client.has_room(40, &Recipients::All), Ok(true), "it is not");
    client.send_message(seconds(11), &message, Recipients::All).unwrap();
    let left_out =
        Event::MessageUndelivered { sid: sid("B"), payload: message.as_str().into(), may_have_arrived: false };
    let sent = outputs(&mut client);
    assert_eq!(told(&sent), [left_out]);
    assert_eq!(commands(&sent).len(), 1, "C has got it");
}

#[test]
fn a_client_that_was_started_again_with_its_seed_is_heard() {
    let client = |incarnation| {
        let mut config = Config::default();
        config.incarnation = incarnation;
        Client::new(config, [7; 32])
    };
    let first_connection = |mut client: Client| {
        client.join_room(NOW, RoomId::named("R").unwrap()).unwrap();
        client.handle_signaller_state(NOW, SignallerState::Connected);
        signal(&mut client, "sid", r#"{"sid":"me","apiVersion":"1.0","session":"secret","iceServers":[]}"#);
        signal(&mut client, "acquire-peers", r#"{"id":"b","sid":"B","prevSid":null,"room":"R"}"#);
        commands(&outputs(&mut client))[0].0
    };
    let (before, after) = (client(0), client(1000));
    assert_eq!(before.permanent_id(), after.permanent_id());
    assert!(first_connection(before) < first_connection(after), "older ones are taken for late ones");

    // And this is how it looks to a peer that has received 17 messages of the one before.
    let mut peer = joined(|_| ());
    let b = connect(&mut peer, "B", "b");
    let hello = |stream| {
        let (heard, received, before) = (0, 0, 0);
        Frame::Hello {
            version: 1,
            id: PermanentId::new("b").unwrap(),
            sid: None,
            stream,
            heard,
            received,
            before,
            tracks: vec![],
        }
    };
    let message = Frame::Message { more: false, body: "1" };
    tell(&mut peer, b, ConnectionEvent::ChannelMessage(hello(1).encode()));
    for _ in 0..17 {
        tell(&mut peer, b, ConnectionEvent::ChannelMessage(message.encode()));
    }
    tell(&mut peer, b, ConnectionEvent::ChannelMessage(hello(1001).encode()));
    tell(&mut peer, b, ConnectionEvent::ChannelMessage(message.encode()));
    let confirmed = frames(&pass(&mut peer, seconds(1)));
    assert_eq!(confirmed.last(), Some(&Frame::Ack { received: 1 }.encode()));
}

#[test]
fn who_hangs_up_while_the_server_is_away_is_not_waited_for_long() {
    let mut client = joined(|_| ());
    let b = connect(&mut client, "B", "b");
    client.handle_signaller_state(seconds(10), SignallerState::Reconnecting);
    outputs(&mut client);
    client.handle_connection(seconds(11), b, ConnectionEvent::ChannelClosed);
    assert_eq!(told(&pass(&mut client, seconds(13))), [], "it may have closed it to open another");
    assert_eq!(told(&pass(&mut client, seconds(14))), [Event::DisconnectFromPeer { sid: sid("B") }]);
}

#[test]
fn leaving_a_room_leaves_those_who_share_no_other() {
    let mut client = joined(|_| ());
    let other = RoomId::named("other").unwrap();
    client.join_room(NOW, other.clone()).unwrap();
    let b = connect(&mut client, "B", "b");
    let c = connect(&mut client, "C", "c");
    signal(&mut client, "acquire-peers", r#"{"id":"c","sid":"C","prevSid":null,"room":"other"}"#);
    outputs(&mut client);
    let room = RoomId::named("R").unwrap();
    assert!(client.leave_room(NOW, &room));
    assert!(!client.leave_room(NOW, &room), "it is left already");
    let left = outputs(&mut client);
    assert_eq!(signals(&left), ["leave"]);
    assert_eq!(told(&left), [Event::DisconnectFromPeer { sid: sid("B") }]);
    assert!(commands(&left).contains(&(b, Command::Close)));
    assert_eq!(sids(client.connected_peers()), ["C"]);
    tell(&mut client, c, ConnectionEvent::ChannelMessage(Frame::Leave { room: other }.encode()));
    assert_eq!(events(&mut client), [], "C may believe that both are in the first one still");
    let gone = told(&pass(&mut client, seconds(4)));
    assert_eq!(gone, [Event::DisconnectFromPeer { sid: sid("C") }], "C has left the other one");
}

#[test]
fn a_room_that_is_left_before_the_server_lets_us_in_is_left() {
    let mut client = Client::new(Config::default(), [7; 32]);
    for name in ["R", "S"] {
        client.join_room(NOW, RoomId::named(name).unwrap()).unwrap();
    }
    client.handle_signaller_opened(NOW);
    assert_eq!(signals(&outputs(&mut client)), ["join", "join"]);
    client.leave_room(NOW, &RoomId::named("R").unwrap());
    assert_eq!(signals(&outputs(&mut client)), [""; 0], "nothing may be said yet");
    client.handle_signaller_state(NOW, SignallerState::Connected);
    assert_eq!(signals(&outputs(&mut client)), ["leave"]);
}

#[test]
fn answers_are_made_anew_for_another_configuration() {
    let mut config = Config::default();
    config.ready = 2;
    let mut client = Client::new(config, [7; 32]);
    client.handle_signaller_state(NOW, SignallerState::Connected);
    signal(&mut client, "sid", r#"{"sid":"me","apiVersion":"1.0","session":"secret","iceServers":[]}"#);
    let made: Vec<_> = commands(&outputs(&mut client)).into_iter().map(|(id, _)| id.0).collect();
    assert_eq!(made, [1, 1, 2, 2], "opened, and asked for an answer");
    client.handle_configuration_change(NOW, 2);
    let anew = commands(&outputs(&mut client));
    assert_eq!(anew[..2], [(ConnectionId(1), Command::Close), (ConnectionId(2), Command::Close)]);
    assert_eq!(anew.len(), 6);
    let unused = commands(&pass(&mut client, seconds(61)));
    assert_eq!(unused, [(ConnectionId(3), Command::Close), (ConnectionId(4), Command::Close)], "nobody has joined");
}

#[test]
fn fewer_answers_are_made_where_each_takes_an_allocation() {
    for (servers, made) in [("stun:a", 4), ("turn:a", 1), ("turns:a", 1)] {
        let mut config = Config::default();
        (config.ready, config.ready_relayed) = (4, 1);
        let mut client = Client::new(config, [7; 32]);
        client.handle_signaller_state(NOW, SignallerState::Connected);
        let sid =
            format!(r#"{{"sid":"me","apiVersion":"1.0","session":"secret","iceServers":[{{"urls":"{servers}"}}]}}"#);
        signal(&mut client, "sid", &sid);
        let asked = commands(&outputs(&mut client));
        assert_eq!(asked.iter().filter(|(_, command)| *command == Command::ForetellAnswer).count(), made, "{servers}");
    }
}

#[test]
fn who_left_an_offer_and_ended_is_forgotten_at_the_first_failure() {
    let offer = r#"{"id":"b","sid":"B","offer":{"type":"offer","sdp":"offer"},"connection":1,"negotiation":1}"#;
    for (announced, left) in [(false, vec![]), (true, vec!["B"])] {
        let mut client = joined(|_| ());
        signal(&mut client, "offer", offer);
        if announced {
            signal(&mut client, "acquire-peers-response", r#"{"id":"b","sid":"B","room":"R"}"#);
        }
        tell(&mut client, ConnectionId(1), ConnectionEvent::AnswerCreated("answer".into()));
        assert_eq!(sids(client.discovered_peers()), ["B"]);
        let passed = pass(&mut client, seconds(20));
        assert!(commands(&passed).contains(&(ConnectionId(1), Command::Close)));
        assert_eq!(sids(client.discovered_peers()), left);
        assert_eq!(told(&passed).len(), left.len(), "an error is told of who is there: {passed:?}");
    }
}

#[test]
fn a_member_whose_offer_is_of_no_use_is_offered_another_connection() {
    let offer = r#"{"id":"b","sid":"B","offer":{"type":"offer","sdp":"offer"},"connection":1,"negotiation":1}"#;
    let mut client = joined(|_| ());
    signal(&mut client, "offer", offer);
    tell(&mut client, ConnectionId(1), ConnectionEvent::Failed("the answer is another one".into()));
    assert_eq!(sids(client.discovered_peers()), ["B"], "it has yet to say that it is there");
    assert!(commands(&pass(&mut client, seconds(3))).contains(&(ConnectionId(2), Command::CreateOffer)));
}

#[test]
fn a_peer_outlives_the_server() {
    let mut client = joined(|_| ());
    let b = connect(&mut client, "B", "b");
    client.handle_signaller_state(NOW, SignallerState::Reconnecting);
    tell(&mut client, b, ConnectionEvent::ChannelClosed);
    assert_eq!(sids(client.connected_peers()), ["B"], "it may come back with the server");
    client.handle_signaller_state(seconds(2), SignallerState::Connected);
    let rejoined = r#"{"id":"b","sid":"B2","prevSid":"B","room":"R"}"#;
    client.handle_signal(
        seconds(2),
        rtc_cafe_core::wire::signal::ServerSignal::decode("acquire-peers", rejoined).unwrap(),
    );
    let back = outputs(&mut client);
    assert!(told(&back).contains(&Event::ReassignPeerSid { old_sid: sid("B"), sid: sid("B2") }));
    assert!(commands(&back).contains(&(ConnectionId(2), Command::CreateOffer)));
}

/// Servers before 0.2 do not say who announces itself; its handshake does.
#[test]
fn who_comes_back_unnamed_is_the_same_peer() {
    let mut client = joined(|_| ());
    let b = connect(&mut client, "B", "b");
    state(&mut client, NOW, b, ConnectionState::Failed);
    outputs(&mut client);
    signal(&mut client, "acquire-peers-response", r#"{"sid":"B2"}"#);
    assert_eq!(told(&outputs(&mut client)), []);
    let offer = r#"{"id":"b","sid":"B2","offer":{"type":"offer","sdp":"o"},"connection":9,"negotiation":1}"#;
    signal(&mut client, "offer", offer);
    assert_eq!(told(&outputs(&mut client)), [Event::ReassignPeerSid { old_sid: sid("B"), sid: sid("B2") }]);
    assert_eq!(sids(client.discovered_peers()), ["B2"]);
}

#[test]
fn a_report_says_how_far_it_got() {
    let mut client = joined(|_| ());
    let b = connect(&mut client, "B", "b");
    state(&mut client, seconds(10), b, ConnectionState::Disconnected);
    let report = client.connection_report(seconds(12), &sid("B")).unwrap();
    assert_eq!((report.attempts, report.restarts, report.failure), (1, 0, None));
    let phases: Vec<_> = report.phases.iter().map(|(phase, _)| phase.as_str()).collect();
    assert_eq!(phases, ["discovered", "signalling", "connecting", "open", "recovering"]);
    assert_eq!(report.phases[3].1, Duration::from_secs(10));
    assert_eq!(report.route.map(rtc_cafe_core::Route::as_str), Some("server"));
    assert_eq!(client.connection_report(NOW, &sid("nobody")), None);
}
