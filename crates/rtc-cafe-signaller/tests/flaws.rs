//! The fourteen flaws of the original, each tried in the way that it was demonstrated.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::time::{Duration, Instant};

use common::{Client, Poller, Server};
use hyper::{Method, StatusCode};
use rtc_cafe_signaller::{ErrorCode, Limits, Signaller};
use serde_json::{Value, json};

/// Two in one room, and a stranger in another.
async fn party(server: &Server) -> (Client, Client, Client) {
    let mut a = Client::join(server, "R", "a").await;
    a.nothing().await;
    let b = Client::join(server, "R", "b").await;
    a.event("acquire-peers").await;
    let mut stranger = Client::join(server, "S", "s").await;
    stranger.nothing().await;
    (a, b, stranger)
}

#[tokio::test]
async fn flaw_1_a_sender_cannot_be_forged() {
    let server = Server::start().await;
    let (mut a, mut b, stranger) = party(&server).await;
    for event in ["offer", "answer", "candidate"] {
        // What the server does not know, such as a proof, is for the recipient.
        b.emit(event, json!({"recipient": a.sid, "sid": stranger.sid, "id": "s", "proof": "p"})).await;
        assert_eq!(a.event(event).await, json!({"id": "b", "sid": b.sid, "recipient": a.sid, "proof": "p"}));
    }
    b.emit("join", json!({"room": "R", "sid": stranger.sid, "id": "s"})).await;
    assert_eq!(a.event("acquire-peers").await, json!({"id": "b", "sid": b.sid, "prevSid": null}));
}

#[tokio::test]
async fn flaws_2_and_3_a_recipient_is_one_peer_of_a_room() {
    let server = Server::start().await;
    let (mut a, mut b, mut stranger) = party(&server).await;
    for event in ["offer", "answer", "candidate", "acquire-peers-response"] {
        for recipient in [json!(null), json!(""), json!([a.sid]), json!({}), json!(5), json!(true)] {
            b.emit(event, json!({"recipient": recipient, "room": "R"})).await;
            b.error("invalid-recipient", event).await;
        }
        b.emit(event, json!({"room": "R"})).await;
        b.error("invalid-recipient", event).await;
        for recipient in ["R", "S", "nobody", &stranger.sid] {
            b.emit(event, json!({"recipient": recipient, "room": "R"})).await;
            assert_eq!(b.error("recipient-not-found", event).await["recipient"], recipient);
        }
        stranger.emit(event, json!({"recipient": a.sid, "room": "R"})).await;
        stranger.error("recipient-not-found", event).await;
    }
    // Since 1.0 a response is for a room in which both are.
    for client in [&mut a, &mut b] {
        client.emit("request-sid", json!({"apiVersion": "1.0"})).await;
        client.event("sid").await;
    }
    b.emit("join", json!({"room": "T"})).await;
    b.emit("acquire-peers-response", json!({"recipient": a.sid, "room": "T"})).await;
    b.error("recipient-not-found", "acquire-peers-response").await;
    a.emit("acquire-peers-response", json!({"recipient": b.sid, "room": "T"})).await;
    a.error("not-in-room", "acquire-peers-response").await;
    for client in [&mut a, &mut b, &mut stranger] {
        client.nothing().await;
    }
}

#[tokio::test]
async fn flaw_4_a_room_has_a_name() {
    let server = Server::start().await;
    let (mut a, mut b, mut stranger) = party(&server).await;
    for room in [json!(null), json!(""), json!(false), json!(true), json!([]), json!({}), json!("x".repeat(300))] {
        b.emit("join", json!({"room": room})).await;
        b.error("invalid-room", "join").await;
    }
    // Zero is a number like any other.
    b.emit("join", json!({"room": 0})).await;
    b.nothing().await;
    a.nothing().await;
    stranger.nothing().await;
}

#[tokio::test]
async fn flaw_5_a_room_named_like_a_sid_hears_nothing() {
    let server = Server::start().await;
    let (mut a, mut b, mut eve) = party(&server).await;
    eve.emit("join", json!({"room": a.sid})).await;
    eve.nothing().await;
    b.emit("offer", json!({"recipient": a.sid})).await;
    a.event("offer").await;
    eve.nothing().await;
    a.nothing().await;
}

#[tokio::test]
async fn flaw_6_bad_input_gets_an_answer() {
    let server = Server::start().await;
    let (_a, mut b, _) = party(&server).await;
    let cases = [
        ("[\"join\"]", "invalid-payload", "join"),
        ("[\"join\",{\"room\":1},{\"room\":2}]", "invalid-payload", "join"),
        ("[\"join\",\"R\"]", "invalid-payload", "join"),
        ("[\"join\",[1]]", "invalid-payload", "join"),
        ("[\"join\",{}]", "invalid-room", "join"),
        ("[\"request-sid\"]", "invalid-payload", "request-sid"),
        ("[\"offer\"]", "invalid-payload", "offer"),
        ("[\"offer\",{},{}]", "invalid-payload", "offer"),
        ("[\"offer\",null]", "invalid-payload", "offer"),
        ("[\"offer\",{bad}]", "invalid-json", "offer"),
        ("[\"offer\",{\"a\":1]", "invalid-json", "offer"),
        ("[\"offer\",", "invalid-json", "offer"),
        ("", "invalid-json", ""),
        ("[]", "invalid-payload", ""),
        ("{}", "invalid-payload", ""),
        ("[5,{}]", "invalid-payload", ""),
        ("[\"acquire-peers-response\",{\"recipient\":\"x\"}]", "invalid-room", "acquire-peers-response"),
        ("[\"dance\",{\"room\":1}]", "unknown-event", "dance"),
        ("[\"leave\",{\"room\":99}]", "not-in-room", "leave"),
        ("[\"sid\",{}]", "server-only-event", "sid"),
        ("[\"acquire-peers\",{}]", "server-only-event", "acquire-peers"),
        ("[\"peer-disconnection\",{}]", "server-only-event", "peer-disconnection"),
        ("[\"error\",{}]", "server-only-event", "error"),
    ];
    for (data, code, about) in cases {
        b.send(&format!("42/rtc-cafe,{data}")).await;
        b.error(code, about).await;
    }
    for frame in ["", "x", "9", "4", "47", "4x", "0{}", "5", "45[]"] {
        b.send(frame).await;
        b.error("invalid-packet", "").await;
    }
    b.send_binary(b"stray").await;
    b.error("invalid-packet", "").await;
    let deep = format!("42/rtc-cafe,[\"offer\",{{\"x\":{}1{}}}]", "[".repeat(100_000), "]".repeat(100_000));
    b.send(&deep).await;
    b.error("invalid-json", "offer").await;
    b.emit("join", json!({"room": "X", "id": "i".repeat(2000)})).await;
    b.nothing().await;
    let mut c = Client::connect(&server).await;
    c.emit("join", json!({"room": "X", "id": "i".repeat(2000)})).await;
    c.error("too-large", "join").await;
    c.nothing().await;
}

#[tokio::test]
async fn flaw_7_who_does_not_read_is_cut_and_others_hear() {
    let server = Server::start().await;
    let (mut a, mut b, _) = party(&server).await;
    let mut sleeper = Client::join(&server, "R", "z").await;
    sleeper.nothing().await;
    a.event("acquire-peers").await;
    b.event("acquire-peers").await;
    let blob = "x".repeat(500_000);
    let before = resident();
    let mut most = 0;
    let mut sent = 0;
    while !server.signaller.stats().connections_cut.contains(&(ErrorCode::TooSlow, 1)) {
        b.emit("candidate", json!({"recipient": sleeper.sid, "candidate": blob})).await;
        sent += 1;
        most = most.max(resident());
        assert!(sent < 300, "the client that does not read is cut");
    }
    assert_eq!(a.event("peer-disconnection").await, json!({"sid": sleeper.sid}));
    assert_eq!(b.event("peer-disconnection").await, json!({"sid": sleeper.sid}));
    // Two queues of 2 MiB at the most, the sockets' buffers, and what the test itself holds.
    assert!(most < before + 40_000_000, "memory grew from {before} to {most}");
    b.emit("candidate", json!({"recipient": sleeper.sid})).await;
    b.error("recipient-not-found", "candidate").await;
}

/// Bytes of this process that are in memory.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

#[tokio::test]
async fn flaw_8_rooms_and_rates_are_bounded() {
    let mut limits = Limits::default();
    (limits.rooms_per_socket, limits.members_per_room, limits.burst, limits.events_per_second) = (10, 2, 100, 10);
    let server = Server::with(Signaller::builder().limits(limits).build()).await;
    let mut greedy = Client::connect(&server).await;
    for room in 0..10 {
        greedy.emit("join", json!({"room": room})).await;
    }
    greedy.emit("join", json!({"room": 10})).await;
    greedy.error("too-many-rooms", "join").await;
    assert_eq!(server.signaller.stats().rooms, 10);
    let mut second = Client::connect(&server).await;
    second.emit("join", json!({"room": 0})).await;
    greedy.event("acquire-peers").await;
    let mut third = Client::connect(&server).await;
    third.emit("join", json!({"room": 0})).await;
    third.error("room-full", "join").await;
    for _ in 0..120 {
        third.emit("request-sid", json!(null)).await;
    }
    let mut refused = 0;
    for _ in 0..120 {
        refused += usize::from(third.receive().await.contains("rate-limited"));
    }
    // The entry and the join were two of the hundred.
    assert!((10..=22).contains(&refused), "{refused} of 120 refused");
    tokio::time::sleep(Duration::from_millis(300)).await;
    third.nothing().await;
}

#[tokio::test]
async fn flaw_9_oversized_on_polling() {
    let server = Server::start().await;
    let poller = Poller::open(&server).await;
    poller.connect().await;
    let event = |size: usize| format!("42/rtc-cafe,{}", json!(["join", {"room": 1, "x": "x".repeat(size)}]));
    poller.post(event(999_000)).await;
    for size in [1_000_000, 3_000_000] {
        let start = Instant::now();
        let reply = server.http(Method::POST, &poller.query(), &[], event(size)).await;
        assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
        assert!(start.elapsed() < Duration::from_secs(2));
        let frame = poller.poll().await;
        assert!(frame.starts_with("42/rtc-cafe,[\"error\",") && frame.contains("\"code\":\"too-large\""), "{frame}");
    }
    poller.post("42/rtc-cafe,[\"request-sid\",{}]").await;
    assert!(poller.poll().await.starts_with("42/rtc-cafe,[\"sid\","));
}

#[tokio::test]
async fn flaw_9_oversized_on_websockets() {
    let server = Server::start().await;
    let (mut a, mut b, _) = party(&server).await;
    let event = |size: usize| json!({"recipient": a.sid, "candidate": "x".repeat(size)});
    let (fits, too_large, far_too_large) = (event(999_000), event(1_000_000), event(5_000_000));
    b.emit("candidate", fits.clone()).await;
    assert_eq!(a.event("candidate").await["candidate"], fits["candidate"]);
    b.emit("candidate", too_large).await;
    b.error("too-large", "candidate").await;
    b.nothing().await;
    let frame = format!("42/rtc-cafe,{}", json!(["candidate", far_too_large]));
    let _ = futures_util::SinkExt::send(&mut b.socket, frame.into()).await;
    assert_eq!(b.closed().await, Some(1009));
    assert_eq!(a.event("peer-disconnection").await, json!({"sid": b.sid}));
}

#[tokio::test]
async fn flaw_10_who_enters_no_namespace_is_closed() {
    let mut limits = Limits::default();
    limits.connect_timeout = Duration::from_millis(200);
    let signaller = Signaller::builder().limits(limits).build();
    let server = Server::with(signaller).await;
    let poller = Poller::open(&server).await;
    let mut silent = Client::open(&server).await;
    let mut served = Client::connect(&server).await;
    assert_eq!(silent.closed().await, Some(1008));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(server.get(&poller.query()).await.status, StatusCode::BAD_REQUEST);
    served.nothing().await;
    assert_eq!(server.signaller.stats().connections, 1);
}

#[tokio::test]
async fn flaw_11_half_a_binary_event_does_not_swallow_the_next() {
    let server = Server::start().await;
    let (mut a, mut b, _) = party(&server).await;
    let half = json!(["candidate", {"recipient": a.sid, "bin": {"_placeholder": true, "num": 0}}]);
    b.send(&format!("451-/rtc-cafe,{half}")).await;
    b.send("42/rtc-cafe,[\"request-sid\",{}]").await;
    b.error("incomplete-binary", "candidate").await;
    assert_eq!(b.event("sid").await["sid"], b.sid);
    a.nothing().await;
}

#[tokio::test]
async fn flaw_12_a_predecessor_must_be_proven() {
    let server = Server::start().await;
    let (mut a, mut b, _) = party(&server).await;
    let claim = |mut by: Client, id: &'static str, prev: String, session: Option<String>| async move {
        by.emit("join", json!({"room": "R", "id": id, "prevSid": prev, "prevSession": session})).await;
        by.nothing().await;
        by
    };
    // Somebody else's live session.
    let eve = claim(Client::connect(&server).await, "b", b.sid.clone(), None).await;
    assert_eq!(a.event("acquire-peers").await, json!({"id": "b", "sid": eve.sid, "prevSid": null}));
    b.event("acquire-peers").await;
    // An ended session: by another id, and by its own.
    drop(b);
    let ended = a.event("peer-disconnection").await["sid"].as_str().unwrap().to_owned();
    let mallory = claim(Client::connect(&server).await, "m", ended.clone(), None).await;
    assert_eq!(a.event("acquire-peers").await, json!({"id": "m", "sid": mallory.sid, "prevSid": null}));
    let again = claim(Client::connect(&server).await, "b", ended.clone(), None).await;
    assert_eq!(a.event("acquire-peers").await, json!({"id": "b", "sid": again.sid, "prevSid": ended}));
    // Nobody that this server knows, say from before a restart: a hint.
    let late = claim(Client::connect(&server).await, "l", "unknown".into(), None).await;
    assert_eq!(a.event("acquire-peers").await, json!({"id": "l", "sid": late.sid, "prevSid": "unknown"}));
}

#[tokio::test]
async fn flaw_12_a_secret_proves_it_even_while_the_old_one_seems_alive() {
    let server = Server::start().await;
    let mut a = Client::join(&server, "R", "a").await;
    a.nothing().await;
    let (mut old, secret) = Client::modern(&server).await;
    old.emit("join", json!({"room": "R", "id": "o"})).await;
    a.event("acquire-peers").await;
    let join = |session: &str| json!({"room": "R", "id": "o", "prevSid": old.sid, "prevSession": session});
    let (wrong, right) = (join("x"), join(&secret));
    let mut eve = Client::connect(&server).await;
    eve.emit("join", wrong).await;
    assert_eq!(a.event("acquire-peers").await["prevSid"], Value::Null);
    let mut new = Client::connect(&server).await;
    new.emit("join", right).await;
    assert_eq!(a.event("acquire-peers").await, json!({"id": "o", "sid": new.sid, "prevSid": old.sid}));
    assert_eq!(a.event("peer-disconnection").await, json!({"sid": old.sid}));
    assert_eq!(old.event("acquire-peers").await["sid"], eve.sid);
    assert_eq!(old.event("acquire-peers").await["sid"], new.sid);
    old.expect("41/rtc-cafe,").await;
    assert_eq!(old.closed().await, Some(1001));
    new.nothing().await;
}

#[tokio::test]
async fn flaw_13_joining_does_not_wait_for_nagle() {
    let server = Server::start().await;
    let mut members = Vec::new();
    for n in 0..7 {
        let mut member = Client::join(&server, "R", &n.to_string()).await;
        member.nothing().await;
        for earlier in &mut members {
            Client::event(earlier, "acquire-peers").await;
        }
        members.push(member);
    }
    let mut times = Vec::new();
    for _ in 0..5 {
        let mut newcomer = Client::connect(&server).await;
        let start = Instant::now();
        newcomer.emit("join", json!({"room": "R", "id": "n"})).await;
        for member in &mut members {
            let recipient = member.event("acquire-peers").await["sid"].clone();
            member.emit("acquire-peers-response", json!({"recipient": recipient, "room": "R"})).await;
        }
        for _ in 0..7 {
            newcomer.event("acquire-peers-response").await;
        }
        times.push(start.elapsed());
        drop(newcomer);
        for member in &mut members {
            member.event("peer-disconnection").await;
        }
    }
    times.sort_unstable();
    assert!(times[0] < Duration::from_millis(30), "{times:?}");
}

#[tokio::test]
async fn flaw_14_the_validation_says_what_it_means() {
    let validate = |_sid: String, _event: String, data: Value| async move {
        if data["bad"] == json!(true) { Err(json!({"why": "bad"})) } else { Ok(()) }
    };
    let server = Server::with(Signaller::builder().validate(validate).build()).await;
    let mut a = Client::connect(&server).await;
    a.send("42/rtc-cafe,3[\"join\",{\"room\":\"R\",\"bad\":true}]").await;
    let error = "{\"error\":{\"why\":\"bad\"},\"originalMessage\":\"join\",\"code\":\"rejected\"}";
    a.expect(&format!("42/rtc-cafe,[\"error\",{error}]")).await;
    a.expect("43/rtc-cafe,3[]").await;
    assert_eq!(server.signaller.stats().rooms, 0);
    a.emit("join", json!({"room": "R", "bad": false})).await;
    a.nothing().await;
    assert_eq!(server.signaller.stats().rooms, 1);
}

#[tokio::test]
async fn entering_again_does_not_renew_what_one_may_send() {
    let mut limits = Limits::default();
    (limits.burst, limits.events_per_second) = (100, 1);
    let server = Server::with(Signaller::builder().limits(limits).build()).await;
    let mut member = Client::join(&server, "R", "m").await;
    member.nothing().await;
    let mut cyclist = Client::open(&server).await;
    for _ in 0..100 {
        cyclist.send("40/rtc-cafe,").await;
        cyclist.send("42/rtc-cafe,[\"join\",{\"room\":\"R\",\"id\":\"c\"}]").await;
        cyclist.send("41/rtc-cafe,").await;
    }
    let (mut entered, mut refused) = (0, 0);
    while refused < 10 {
        let frame = cyclist.receive().await;
        entered += usize::from(frame.starts_with("40/rtc-cafe,"));
        refused += usize::from(frame.starts_with("44/rtc-cafe,"));
    }
    assert!((30..=40).contains(&entered), "{entered} entries before the first refusals");
    cyclist.closed().await;
    let other = Client::connect(&server).await;
    drop(other);
}

#[tokio::test]
async fn bytes_and_echoes_count_too() {
    let mut limits = Limits::default();
    (limits.burst, limits.events_per_second) = (100, 1);
    let server = Server::with(Signaller::builder().limits(limits).build()).await;
    let mut large = Client::connect(&server).await;
    for _ in 0..4 {
        large.emit("candidate", json!({"recipient": "nobody", "candidate": "x".repeat(500_000)})).await;
    }
    for code in ["recipient-not-found", "recipient-not-found", "recipient-not-found", "rate-limited"] {
        large.error(code, "candidate").await;
    }
    let mut echoing = Client::connect(&server).await;
    for _ in 0..98 {
        echoing.send("2x").await;
        echoing.expect("3x").await;
    }
    for _ in 0..5 {
        echoing.send("2x").await;
    }
    while echoing.receive().await == "3x" {}
    echoing.error("rate-limited", "").await;
}
