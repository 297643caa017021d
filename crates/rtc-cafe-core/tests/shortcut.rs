//! A connection through a TURN server looks for a direct path, at quiet moments and less and less often.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use rtc_cafe_core::{Client, Command, ConnectionEvent, ConnectionId, Recipients, Time, wire::peer::Frame};

use common::*;

/// Permanent ids below and above that of the client.
const IMPOLITE_TOWARDS: &str = "0";
const POLITE_TOWARDS: &str = "zz";

fn path(client: &mut Client, at: u64, id: ConnectionId, relayed: bool) {
    client.handle_connection(Time::from_millis(at), id, ConnectionEvent::PathChanged { relayed });
}

/// Lets time pass; returns in which seconds ICE was restarted. Each restart and each ping is answered at once.
fn restarts(client: &mut Client, id: ConnectionId, until: u64) -> Vec<u64> {
    restarts_after(client, id, until, 0)
}

/// The same after so many restarts.
fn restarts_after(client: &mut Client, id: ConnectionId, until: u64, before: usize) -> Vec<u64> {
    let mut found = Vec::new();
    while let Some(next) = client.poll_timeout().filter(|next| next.as_millis() <= until * 1000) {
        client.handle_timeout(next);
        let said = outputs(client);
        for frame in frames(&said) {
            if let Ok(Some(Frame::Ping { nonce })) = Frame::decode(&frame) {
                client.handle_connection(next, id, ConnectionEvent::ChannelMessage(Frame::Pong { nonce }.encode()));
            }
        }
        if commands(&said).contains(&(id, Command::RestartIce)) {
            found.push(next.as_millis() / 1000);
            answer_restart(client, next, id, before + found.len());
        }
    }
    found
}

fn answer_restart(client: &mut Client, at: Time, id: ConnectionId, number: usize) {
    client.handle_connection(at, id, ConnectionEvent::OfferCreated { sdp: "again".into(), mids: vec![] });
    outputs(client);
    let negotiation = u32::try_from(number).unwrap() + 1;
    let answer = Frame::Answer { more: false, negotiation, offers: 0, body: "answer" }.encode();
    client.handle_connection(at, id, ConnectionEvent::ChannelMessage(answer));
    outputs(client);
}

/// Whether times are those that are expected, and at most so many seconds late.
fn about(found: &[u64], expected: &[u64], late: u64) {
    let near = |(found, expected): (&u64, &u64)| (*expected..=expected + late).contains(found);
    assert!(found.len() == expected.len() && found.iter().zip(expected).all(near), "{found:?} and not {expected:?}");
}

#[test]
fn a_relayed_connection_looks_for_a_direct_path_ever_less_often() {
    let mut client = joined(|_| ());
    let id = connect(&mut client, "B", IMPOLITE_TOWARDS);
    path(&mut client, 0, id, true);
    about(&restarts(&mut client, id, 12_000), &[30, 90, 210, 450, 930, 1890, 3810, 7410, 11_010], 8);
    path(&mut client, 12_000_000, id, false);
    assert_eq!(restarts(&mut client, id, 100_000), [], "it has found one");
    path(&mut client, 100_000_000, id, true);
    about(&restarts_after(&mut client, id, 100_100, 9), &[100_030, 100_090], 2);
}

#[test]
fn the_peer_is_shown_a_direct_path_that_was_found() {
    let mut client = joined(|_| ());
    let id = connect(&mut client, "B", IMPOLITE_TOWARDS);
    path(&mut client, 0, id, true);
    let asks = |client: &mut Client| frames(&outputs(client)).iter().any(|frame| frame.contains("ping"));
    assert!(!asks(&mut client));
    path(&mut client, 1, id, false);
    assert!(asks(&mut client), "nothing else may be said for a long time");
}

#[test]
fn the_polite_one_leaves_it_to_the_other() {
    let mut client = joined(|_| ());
    let id = connect(&mut client, "B", POLITE_TOWARDS);
    path(&mut client, 0, id, true);
    // The other one does nothing here, say because it does not know.
    about(&restarts(&mut client, id, 200), &[60, 180], 4);
    let mut client = joined(|_| ());
    let id = connect(&mut client, "B", POLITE_TOWARDS);
    path(&mut client, 0, id, true);
    assert_eq!(restarts(&mut client, id, 30), []);
    let offer = Frame::Offer { more: false, negotiation: 1, restart: true, mids: vec![], body: "offer" }.encode();
    client.handle_connection(Time::from_millis(30_000), id, ConnectionEvent::ChannelMessage(offer));
    client.handle_connection(Time::from_millis(30_000), id, ConnectionEvent::AnswerCreated("answer".into()));
    outputs(&mut client);
    about(&restarts(&mut client, id, 160), &[150], 2);
}

#[test]
fn a_moment_that_is_not_quiet_is_let_pass_for_a_while() {
    let mut client = joined(|_| ());
    let id = connect(&mut client, "B", IMPOLITE_TOWARDS);
    path(&mut client, 0, id, true);
    client.send_message(Time::from_millis(29_000), "[1]", Recipients::All).unwrap();
    outputs(&mut client);
    assert_eq!(restarts(&mut client, id, 45), [], "a message is not confirmed");
    let confirmed = Frame::Ack { received: 1 }.encode();
    client.handle_connection(Time::from_millis(45_500), id, ConnectionEvent::ChannelMessage(confirmed));
    about(&restarts(&mut client, id, 50), &[45], 1);
    // The moments of this one are never quiet.
    client.send_message(Time::from_millis(51_000), "[2]", Recipients::All).unwrap();
    outputs(&mut client);
    about(&restarts_after(&mut client, id, 200, 1), &[135], 3);
}

#[test]
fn another_network_is_another_beginning() {
    let mut client = joined(|_| ());
    let id = connect(&mut client, "B", IMPOLITE_TOWARDS);
    path(&mut client, 0, id, true);
    assert_eq!(restarts(&mut client, id, 2000).len(), 6);
    client.handle_network_change(Time::from_millis(2_000_000));
    assert!(commands(&outputs(&mut client)).contains(&(id, Command::RestartIce)), "at once");
    answer_restart(&mut client, Time::from_millis(2_000_000), id, 7);
    about(&restarts_after(&mut client, id, 2100, 7), &[2030, 2090], 2);
}
