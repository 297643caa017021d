//! Clients in rooms: who sees whom, what they say, and what outlives the server.

mod common;

use std::time::Duration;

use common::{Peer, Server, table};
use rtc_cafe_client::{
    CandidateKind, Client, ErrorCode, Event, IceServer, Limits, PairState, Phase, Recipients, RtcConfig,
    SendMessageError, Sid, SignallerState,
};
use serde_json::{Value, json};

/// JSON of every kind, and of lengths about every bound up to 256 KiB.
fn messages() -> Vec<Value> {
    let mut messages = vec![
        json!(null),
        json!(true),
        json!(-0.5),
        json!(9_007_199_254_740_993_i64),
        json!(""),
        json!([]),
        json!({}),
        json!({ "type": "hello", "more": true, "body": "\n", "deep": [[[{ "er": null }]]] }),
        json!("☕ Καφές 咖啡 قهوة 🦀\u{0}\u{1f}\u{7f}\u{2028}\"\\/"),
    ];
    for length in [1, 1_000, 16_384, 49_151, 49_152, 49_153, 65_536, 100_000, 262_144] {
        messages.push(json!("x".repeat(length)));
    }
    messages.push(json!("🦀".repeat(60_000)));
    messages
}

#[tokio::test]
async fn messages_of_every_kind_go_both_ways() {
    let server = Server::start().await;
    let mut peers = table(&server, 2).await;
    let sids: Vec<_> = peers.iter().map(|peer| peer.client.sid().unwrap()).collect();
    for (from, to) in [(0, 1), (1, 0)] {
        for message in messages() {
            peers[from].client.send_message(&message).await.unwrap();
        }
        for message in messages() {
            assert_eq!(peers[to].message().await, (sids[from].clone(), message));
        }
    }
    peers.iter().for_each(Peer::assert_clean);
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_is_connected_to_everybody_once() {
    let server = Server::start().await;
    let mut peers = table(&server, 6).await;
    let sids: Vec<_> = peers.iter().map(|peer| peer.client.sid().unwrap()).collect();
    for (at, peer) in peers.iter().enumerate() {
        let mut expected: Vec<_> = sids.iter().filter(|sid| **sid != sids[at]).cloned().collect();
        let mut connected = peer.client.connected_peers();
        expected.sort();
        connected.sort();
        assert_eq!(connected, expected);
        assert_eq!(peer.client.discovered_peers().len(), 5);
        assert_eq!(peer.client.state(), SignallerState::Connected);
        assert_eq!(peer.client.api_version().as_str(), "1.0");
        assert_eq!(peer.client.rooms(), ["table".try_into().unwrap()]);
        peer.assert_clean();
    }
    peers[0].client.send_message_to([sids[2].clone(), sids[4].clone()], "psst").await.unwrap();
    peers[0].client.send_message("all").await.unwrap();
    for (at, peer) in peers.iter_mut().enumerate().skip(1) {
        if [2, 4].contains(&at) {
            assert_eq!(peer.message().await.1, "psst");
        }
        assert_eq!(peer.message().await, (sids[0].clone(), json!("all")));
    }
}

#[tokio::test]
async fn rooms_are_apart_and_names_are_not_numbers() {
    let server = Server::start().await;
    let mut number = Peer::of(&server);
    number.client.join_room(5).unwrap();
    let mut name = Peer::in_room(&server, "5");
    let mut both = Peer::in_room(&server, "5");
    both.client.join_room(5).unwrap();
    let sid = name.connected().await;
    assert_eq!(number.connected().await, sid);
    both.connected().await;
    both.connected().await;
    assert_eq!((number.client.connected_peers().len(), name.client.connected_peers().len()), (1, 1));
    assert!(number.client.join_room("").is_err());
    assert!(number.client.join_room("x".repeat(300)).is_err());
}

#[tokio::test]
async fn who_closes_or_is_dropped_leaves() {
    let server = Server::start().await;
    let mut peers = table(&server, 3).await;
    let closed = peers.pop().unwrap();
    let sid = closed.client.sid().unwrap();
    closed.client.close().await;
    assert_eq!(closed.client.state(), SignallerState::Closed);
    assert!(matches!(closed.client.send_message("late").await, Err(SendMessageError::Closed)));
    assert!(closed.client.join_room("table").is_err());
    for peer in &mut peers {
        assert_eq!(peer.disconnected().await, sid);
        assert!(!peer.client.connected_peers().contains(&sid));
    }
    let dropped = peers.pop().unwrap();
    let sid = dropped.client.sid().unwrap();
    let Peer { client, mut events, .. } = dropped;
    drop(client);
    assert_eq!(peers[0].disconnected().await, sid);
    while let Some(event) = events.recv().await {
        assert!(!matches!(event, Event::ConnectToPeer { .. } | Event::Message { .. }), "{event:?}");
    }
}

#[tokio::test]
async fn a_server_that_restarts_is_not_noticed_by_the_room() {
    let server = Server::start().await;
    let mut peers = table(&server, 3).await;
    let old: Vec<_> = peers.iter().map(|peer| peer.client.sid().unwrap()).collect();
    let address = server.stop().await;
    for peer in &mut peers {
        let state = SignallerState::Reconnecting;
        peer.next("the loss", |event| {
            matches!(event, Event::SignallerStateChanged { state: s } if *s == state).then_some(())
        })
        .await;
    }
    peers[0].client.send_message("meanwhile").await.unwrap();
    assert_eq!(peers[1].message().await, (old[0].clone(), json!("meanwhile")));
    let server = Server::start_at(address).await;
    for peer in &mut peers {
        for _ in 0..2 {
            let reassigned = |event: &Event| match event {
                Event::ReassignPeerSid { old_sid, sid } => Some((old_sid.clone(), sid.clone())),
                _ => None,
            };
            let (was, is) = peer.next("a new sid", reassigned).await;
            assert!(old.contains(&was) && !old.contains(&is));
        }
        assert_eq!(peer.client.connected_peers().len(), 2);
        assert!(!peer.seen.iter().any(|event| matches!(event, Event::DisconnectFromPeer { .. })));
    }
    let mut late = Peer::in_room(&server, "table");
    for _ in 0..3 {
        late.connected().await;
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_and_tried_again() {
    let server = Server::start().await;
    let address = server.stop().await;
    let mut peer = Peer::build(Client::builder(format!("http://{address}")));
    peer.client.join_room("table").unwrap();
    let unreachable = |event: &Event| match event {
        Event::Error { code: ErrorCode::SignallerUnreachable, message, .. } => Some(message.clone()),
        _ => None,
    };
    let message = peer.next("a complaint", unreachable).await;
    assert!(message.contains(&address.to_string()), "{message}");
    let server = Server::start_at(address).await;
    let mut other = Peer::in_room(&server, "table");
    peer.connected().await;
    other.connected().await;
}

#[tokio::test]
async fn a_sender_waits_for_a_slow_network_and_nothing_is_lost() {
    let server = Server::start().await;
    let mut limits = Limits::default();
    limits.outgoing_bytes = 1 << 20;
    let mut slow = Peer::build(Client::builder(server.url()).limits(limits));
    slow.client.join_room("table").unwrap();
    let mut other = Peer::in_room(&server, "table");
    slow.connected().await;
    other.connected().await;
    let text = "x".repeat(500_000);
    let mut refused = false;
    for number in 0..8 {
        match slow.client.try_send_message(Recipients::All, &json!([number, text])) {
            Ok(()) => {}
            Err(SendMessageError::QueueFull) => refused = true,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(refused, "four megabytes at once do not fit");
    let client = slow.client.clone();
    let sending = tokio::spawn(async move {
        for number in 100..140 {
            client.send_message(&json!([number, "x".repeat(300_000)])).await.unwrap();
        }
    });
    let mut next = 100;
    while next < 140 {
        let (_, message) = other.message().await;
        if message[0].as_u64().unwrap() >= 100 {
            assert_eq!(message[0], next);
            next += 1;
        }
    }
    sending.await.unwrap();
}

#[tokio::test]
async fn who_does_not_read_holds_up_nobody_else() {
    let server = Server::start().await;
    let mut limits = Limits::default();
    limits.outgoing_bytes = 1 << 20;
    let mut sender = Peer::build(Client::builder(server.url()).limits(limits));
    sender.client.join_room("table").unwrap();
    let mut reader = Peer::in_room(&server, "table");
    sender.connected().await;
    reader.connected().await;
    // A peer whose runtime stands still.
    let url = server.url();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let (told, sid) = tokio::sync::oneshot::channel();
    let stuck = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut peer = Peer::build(Client::builder(url));
            peer.client.join_room("table").unwrap();
            peer.connected().await;
            peer.connected().await;
            told.send(peer.client.sid().unwrap()).unwrap();
            let _ = stopped.recv();
        });
    });
    let sid = sid.await.unwrap();
    sender.connected().await;
    let client = sender.client.clone();
    let waits = tokio::spawn(async move {
        loop {
            if client.send_message_to([sid.clone()], &"x".repeat(100_000)).await.is_err() {
                break;
            }
        }
    });
    let to = reader.client.sid().unwrap();
    for number in 0..100 {
        sender.client.send_message_to([to.clone()], &json!([number, "x".repeat(10_000)])).await.unwrap();
        while reader.message().await.1[0] != number {}
    }
    waits.abort();
    drop(stop);
    stuck.join().unwrap();
}

#[tokio::test]
async fn closing_twice_waits_twice() {
    let server = Server::start().await;
    let peers = table(&server, 2).await;
    let other = peers[0].client.clone();
    tokio::join!(peers[0].client.close(), other.close());
    assert_eq!(other.state(), SignallerState::Closed);
}

#[test]
fn a_runtime_that_is_gone_leaves_nobody_waiting() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (client, sender) = runtime.block_on(async {
        let server = Server::start().await;
        let peer = table(&server, 2).await.remove(0);
        let (sender, source) = rtc_cafe_client::TrackSource::rtp(rtc_cafe_client::Codec::Opus);
        peer.client.add_track(source, "microphone").unwrap();
        (peer.client, sender)
    });
    drop(runtime);
    let packet = rtc_cafe_client::RtpPacket { sequence: 0, timestamp: 0, marker: true, payload: vec![0].into() };
    assert!(sender.send(packet).is_err());
    assert!(matches!(client.try_send_message(Recipients::All, "late"), Err(SendMessageError::Closed)));
    assert!(client.join_room("another").is_err());
}

#[tokio::test]
async fn what_was_sent_before_closing_arrives() {
    let server = Server::start().await;
    let mut peers = table(&server, 2).await;
    let last = peers.pop().unwrap();
    for number in 0..50 {
        last.client.send_message(&json!([number, "x".repeat(100_000)])).await.unwrap();
    }
    let sid = last.client.sid().unwrap();
    drop(last.client);
    for number in 0..50 {
        assert_eq!(peers[0].message().await.1[0], number);
    }
    assert_eq!(peers[0].disconnected().await, sid);
}

#[tokio::test]
async fn what_cannot_be_sent_is_an_error() {
    let server = Server::start().await;
    let peers = table(&server, 2).await;
    let [a, b] = &peers[..] else { unreachable!() };
    let nobody = Sid::new("nobody").unwrap();
    let to_nobody = a.client.send_message_to([nobody.clone(), b.client.sid().unwrap()], "x").await;
    assert!(matches!(to_nobody, Err(SendMessageError::NotConnected(sid)) if sid == nobody));
    let long = a.client.send_message(&"x".repeat(17 << 20)).await;
    assert!(matches!(long, Err(SendMessageError::TooLong { .. })));
    let keys = std::collections::BTreeMap::from([([1_u8], 2)]);
    assert!(matches!(a.client.send_message(&keys).await, Err(SendMessageError::NotSerializable(_))));
    assert!(Client::builder("ftp://example.org").connect().is_err());
}

#[test]
fn without_a_runtime_it_says_so() {
    let error = Client::builder("http://127.0.0.1:1").connect().unwrap_err();
    assert!(error.to_string().contains("tokio runtime"), "{error}");
}

#[tokio::test]
async fn who_keeps_the_seed_keeps_the_id() {
    let server = Server::start().await;
    let seed = [7; 32];
    let first = Peer::build(Client::builder(server.url()).seed(seed));
    let id = first.client.permanent_id();
    first.client.close().await;
    let again = Peer::build(Client::builder(server.url()).seed(seed));
    assert_eq!(again.client.permanent_id(), id);
    assert_ne!(Peer::of(&server).client.permanent_id(), id);
}

#[tokio::test]
async fn a_changed_network_looks_for_another_path_and_loses_nothing() {
    let server = Server::start().await;
    let mut peers = table(&server, 2).await;
    for round in 0..5 {
        peers[0].client.network_changed();
        if round % 2 == 0 {
            peers[1].client.network_changed();
        }
        let (a, b) = (peers[0].client.clone(), peers[1].client.clone());
        a.send_message(&round).await.unwrap();
        b.send_message(&round).await.unwrap();
        assert_eq!(peers[1].message().await.1, round);
        assert_eq!(peers[0].message().await.1, round);
        tokio::time::timeout(Duration::from_secs(30), async { a.send_message("still there").await.unwrap() })
            .await
            .unwrap();
        assert_eq!(peers[1].message().await.1, "still there");
    }
    peers.iter().for_each(Peer::assert_clean);
}

#[tokio::test]
async fn who_leaves_a_room_keeps_those_of_others() {
    let server = Server::start().await;
    let mut peers = table(&server, 3).await;
    let [stays, leaves, also] = &mut peers[..] else { unreachable!() };
    for peer in [&leaves, &also] {
        peer.client.join_room("kitchen").unwrap();
    }
    let mut cook = Peer::in_room(&server, "kitchen");
    cook.connected().await;
    cook.connected().await;
    leaves.connected().await;
    also.connected().await;
    let (sid, left) = (stays.client.sid().unwrap(), leaves.client.sid().unwrap());
    leaves.client.send_message("a last word").await.unwrap();
    assert!(leaves.client.leave_room("table"));
    assert!(!leaves.client.leave_room("table") && !leaves.client.leave_room(7) && !leaves.client.leave_room(""));
    assert_eq!(leaves.disconnected().await, sid);
    assert_eq!(stays.message().await.1, "a last word");
    assert_eq!(stays.disconnected().await, left);
    assert_eq!(stays.client.connected_peers(), [also.client.sid().unwrap()]);
    assert_eq!(leaves.client.rooms(), ["kitchen".try_into().unwrap()]);
    leaves.client.send_message("who is still here").await.unwrap();
    assert_eq!(also.message().await.1, "a last word");
    assert_eq!(also.message().await.1, "who is still here");
    // And whoever has left may come back.
    leaves.client.join_room("table").unwrap();
    assert_eq!(stays.connected().await, left);
    assert!(also.seen.iter().all(|event| !matches!(event, Event::DisconnectFromPeer { .. })));
}

#[tokio::test]
async fn a_report_tells_the_way_to_a_peer() {
    let server = Server::start().await;
    let peers = table(&server, 2).await;
    let sid = peers[1].client.sid().unwrap();
    let report = peers[0].client.connection_report(&sid).await.unwrap();
    assert_eq!((report.phase, report.attempts, report.restarts), (Phase::Open, 1, 0));
    assert_eq!(report.phases.last().map(|(phase, _)| *phase), Some(Phase::Open));
    let selected = report.selected().unwrap();
    assert_eq!((selected.state, selected.is_relayed(), report.protocol()), (PairState::Succeeded, false, Some("udp")));
    assert_eq!(selected.local.kind, CandidateKind::Host);
    assert!(selected.round_trip.is_some() && selected.local.address != selected.remote.address);
    assert!(report.failed_servers.is_empty() && report.failure.is_none() && report.relay.is_none());
    assert_eq!(peers[0].client.connection_report(&Sid::new("nobody").unwrap()).await, None);
    peers[0].client.close().await;
    assert_eq!(peers[0].client.connection_report(&sid).await, None);
}

#[tokio::test]
async fn a_report_tells_why_there_is_no_way() {
    let server = Server::start().await;
    // Nobody listens there.
    let dead = IceServer::new("turn:127.0.0.1:9?transport=tcp").with_credentials("user", "password");
    let mut config = RtcConfig::new([dead]);
    config.relay_only = true;
    let mut walled = Peer::build(Client::builder(server.url()).rtc_config(config));
    walled.client.join_room("table").unwrap();
    let failed = |event: &Event| matches!(event, Event::Error { code: ErrorCode::IceServerFailed, .. }).then_some(());
    walled.next("the failure of the server", failed).await;
    let other = Peer::in_room(&server, "table");
    let report = loop {
        if let Some(sid) = other.client.sid()
            && let Some(report) = walled.client.connection_report(&sid).await
            && report.phase == Phase::Connecting
        {
            break report;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!((report.attempts, report.selected(), report.protocol()), (1, None, None));
    let [server] = &report.failed_servers[..] else { panic!("{report:?}") };
    assert!(server.url.starts_with("turn:127.0.0.1:9") && server.reason.contains("refused"), "{server:?}");
}

/// It has room for a tenth of what is said to it at once.
#[tokio::test]
async fn an_application_that_reads_slowly_loses_nothing() {
    let server = Server::start().await;
    let mut senders = table(&server, 2).await;
    let mut slow = Peer::build(Client::builder(server.url()).event_bytes(200_000));
    slow.client.join_room("table").unwrap();
    for sender in &mut senders {
        sender.next("the slow one", |event| matches!(event, Event::ConnectToPeer { .. }).then_some(())).await;
    }
    let sid = slow.client.sid().unwrap();
    let words = "x".repeat(10_000);
    for number in 0..100 {
        for sender in &senders {
            sender.client.send_message_to([sid.clone()], &json!([number, words])).await.unwrap();
        }
    }
    // It does something else meanwhile.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut told = std::collections::BTreeMap::<Sid, Vec<Value>>::new();
    for _ in 0..200 {
        let (sender, message) = slow.message().await;
        told.entry(sender).or_default().push(message[0].clone());
    }
    for sender in &senders {
        let sid = sender.client.sid().unwrap();
        assert_eq!(told[&sid], (0..100).map(Value::from).collect::<Vec<_>>(), "in order, and once");
        sender.assert_clean();
    }
    slow.assert_clean();
}
