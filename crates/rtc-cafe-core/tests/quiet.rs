//! Peers that say nothing: asked whether they are there, and known to sleep if they do not answer.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use rtc_cafe_core::{
    Client, Config, ConnectionEvent, ConnectionId, ConnectionState, Event, Phase, Sid, wire::peer::Frame,
};

use common::*;

/// A client that asks whoever says nothing for ten seconds, and its connection to B.
fn connected() -> (Client, ConnectionId) {
    let mut client = joined_with(Config::default());
    let b = connect(&mut client, "B", "b");
    (client, b)
}

fn says(client: &mut Client, at: u64, id: ConnectionId, frame: &Frame<'_>) {
    client.handle_connection(seconds(at), id, ConnectionEvent::ChannelMessage(frame.encode()));
}

fn phase(client: &Client, at: u64) -> Phase {
    client.connection_report(seconds(at), &Sid::new("B").unwrap()).unwrap().phase
}

#[test]
fn who_says_nothing_is_asked_and_known_to_sleep() {
    let (mut client, b) = connected();
    says(&mut client, 9, b, &Frame::Turn);
    assert_eq!(frames(&pass(&mut client, seconds(19))), [""; 0], "it has said something a moment ago");
    assert_eq!(frames(&pass(&mut client, seconds(20))).len(), 1, "it is asked");
    assert_eq!(phase(&client, 20), Phase::Open);
    pass(&mut client, seconds(23));
    assert_eq!(phase(&client, 23), Phase::Silent);
    let later = pass(&mut client, seconds(3600));
    assert_eq!((frames(&later), told(&later)), (vec![], vec![]), "it is asked once, and stays");
    assert_eq!(sids(client.connected_peers()), ["B"]);
    says(&mut client, 3600, b, &Frame::Turn);
    assert_eq!(phase(&client, 3600), Phase::Open);
}

#[test]
fn who_answers_is_asked_now_and_then() {
    let (mut client, b) = connected();
    let mut asked = 0;
    for second in 1..=600 {
        for frame in frames(&pass(&mut client, seconds(second))) {
            let Ok(Some(Frame::Ping { nonce })) = Frame::decode(&frame) else { panic!("it says {frame}") };
            says(&mut client, second, b, &Frame::Pong { nonce });
            asked += 1;
        }
        assert_eq!(phase(&client, second), Phase::Open);
    }
    assert!((30..=60).contains(&asked), "it is asked {asked} times in ten minutes");
}

#[test]
fn nobody_is_asked_who_talks_or_is_gone() {
    let (mut client, b) = connected();
    for second in (1..100).step_by(5) {
        says(&mut client, second, b, &Frame::Turn);
        assert_eq!(frames(&pass(&mut client, seconds(second + 4))), [""; 0]);
    }
    says(&mut client, 100, b, &Frame::Bye);
    pass(&mut client, seconds(200));
    assert_eq!(client.poll_timeout(), None, "there is nobody to wait for");
}

/// As one that goes on without the server, and is well.
#[test]
fn who_has_answered_since_its_session_ended_is_waited_for_like_others() {
    let (mut client, b) = connected();
    signal(&mut client, "peer-disconnection", r#"{"sid":"B"}"#);
    let asked = frames(&outputs(&mut client));
    let Ok(Some(Frame::Ping { nonce })) = Frame::decode(&asked[0]) else { panic!("it says {asked:?}") };
    says(&mut client, 1, b, &Frame::Pong { nonce });
    let asked = frames(&pass(&mut client, seconds(20)));
    assert_eq!(asked.len(), 1, "it is asked since it says nothing");
    let lost = ConnectionEvent::StateChanged(ConnectionState::Disconnected);
    client.handle_connection(seconds(21), b, lost);
    assert_eq!(told(&pass(&mut client, seconds(50))), [], "its path may come back");
    let gone = Event::DisconnectFromPeer { sid: Sid::new("B").unwrap() };
    assert_eq!(told(&pass(&mut client, seconds(52))), [gone]);
}

#[test]
fn a_slow_way_out_is_no_sleep() {
    let (mut client, b) = connected();
    let behind = 512_000;
    client.handle_connection(seconds(9), b, ConnectionEvent::ChannelBuffered(behind));
    assert_eq!(frames(&pass(&mut client, seconds(10))).len(), 1, "the question waits behind the data");
    pass(&mut client, seconds(20));
    assert_eq!(phase(&client, 20), Phase::Open, "that may take 8 seconds more");
    pass(&mut client, seconds(22));
    assert_eq!(phase(&client, 22), Phase::Silent);
}
