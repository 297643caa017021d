//! Polling, websocket, and the way from one to the other; what HTTP answers where something is wrong.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use common::{Client, Poller, Server, websocket_from};
use futures_util::SinkExt;
use hyper::{Method, StatusCode};
use rtc_cafe_signaller::{
    Limits, Signaller,
    admission::{Admission, Request, Ruling, Visitor},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};
use tokio_tungstenite::{connect_async, tungstenite::Message};

#[tokio::test]
async fn the_open_packet() {
    let server = Server::start().await;
    let reply = server.get("EIO=4&transport=polling").await;
    assert_eq!(reply.header("content-type"), Some("text/plain; charset=UTF-8"));
    let sid = reply.body.split('"').nth(3).unwrap().to_owned();
    let rest = "\"pingTimeout\":20000,\"pingInterval\":25000,\"maxPayload\":1000000}";
    assert_eq!(reply.body, format!("0{{\"sid\":\"{sid}\",\"upgrades\":[\"websocket\"],{rest}"));
    let (mut socket, _) = connect_async(server.websocket_url("")).await.unwrap();
    let open = futures_util::StreamExt::next(&mut socket).await.unwrap().unwrap().into_text().unwrap();
    assert!(open.contains("\"upgrades\":[],") && open.ends_with(rest));
}

#[tokio::test]
async fn a_session_over_polling_alone() {
    let server = Server::start().await;
    let a = Poller::open(&server).await;
    let sid_a = a.connect().await;
    assert_ne!(sid_a, a.session, "peers never learn what polling is guarded by");
    a.post("42/rtc-cafe,[\"join\",{\"room\":\"R\",\"id\":\"a\"}]\x1e42/rtc-cafe,1[\"request-sid\",{}]").await;
    assert_eq!(a.poll().await, format!("42/rtc-cafe,[\"sid\",{{\"sid\":\"{sid_a}\"}}]\x1e43/rtc-cafe,1[]"));
    let mut b = Client::join(&server, "R", "b").await;
    let announced = format!("42/rtc-cafe,[\"acquire-peers\",{{\"id\":\"b\",\"sid\":\"{}\",\"prevSid\":null}}]", b.sid);
    assert_eq!(a.poll().await, announced);
    // A poll waits until there is something.
    let (polled, ()) = tokio::join!(a.poll(), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        b.emit("offer", json!({"recipient": sid_a, "offer": "ä"})).await;
    });
    assert!(polled.contains("\"offer\":\"ä\""));
    // Attachments in both directions.
    let event = json!(["candidate", {"recipient": b.sid, "bin": {"_placeholder": true, "num": 0}}]);
    a.post(format!("451-/rtc-cafe,{event}\x1ebAQL/")).await;
    assert!(b.receive().await.starts_with("451-/rtc-cafe,[\"candidate\","));
    assert_eq!(b.message().await.unwrap().into_data(), b"\x01\x02\xff"[..]);
    let event = json!(["candidate", {"recipient": sid_a, "bin": {"_placeholder": true, "num": 0}}]);
    b.send(&format!("451-/rtc-cafe,{event}")).await;
    b.send_binary(b"\x01\x02\xff").await;
    assert!(a.poll().await.ends_with("\x1ebAQL/"));
    a.post("1").await;
    assert_eq!(b.event("peer-disconnection").await, json!({"sid": sid_a}));
    assert_eq!(server.get(&a.query()).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn an_upgrade_loses_nothing() {
    let server = Server::start().await;
    let poller = Poller::open(&server).await;
    let sid = poller.connect().await;
    poller.post("42/rtc-cafe,[\"join\",{\"room\":\"R\",\"id\":\"a\"}]").await;
    let url = server.websocket_url(&format!("&sid={}", poller.session));
    let waiting = tokio::spawn({
        let (signaller, query) = (server.signaller.clone(), poller.query());
        let server = Server::with(signaller).await;
        async move { server.get(&query).await.body }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let (socket, _) = connect_async(url.clone()).await.unwrap();
    let mut client = Client { socket, sid };
    client.send("2probe").await;
    client.expect("3probe").await;
    assert_eq!(waiting.await.unwrap(), "6", "the pending poll ends");
    let mut b = Client::join(&server, "R", "b").await;
    b.nothing().await;
    client.send("5").await;
    assert_eq!(client.event("acquire-peers").await["sid"], b.sid);
    client.nothing().await;
    // From now on there is nothing but this websocket.
    assert!(connect_async(url).await.is_err());
    assert_eq!(server.get(&poller.query()).await.status, StatusCode::BAD_REQUEST);
    let post = server.http(Method::POST, &poller.query(), &[], "42/rtc-cafe,[\"join\",{\"room\":\"X\"}]").await;
    assert_eq!(post.status, StatusCode::BAD_REQUEST);
    client.nothing().await;
    drop(client);
    b.event("peer-disconnection").await;
    assert_eq!(server.signaller.stats().connections, 1);
}

#[tokio::test]
async fn a_failed_upgrade_leaves_polling_alone() {
    let server = Server::start().await;
    let poller = Poller::open(&server).await;
    poller.connect().await;
    let url = server.websocket_url(&format!("&sid={}", poller.session));
    let (mut socket, _) = connect_async(url.clone()).await.unwrap();
    assert!(connect_async(url.clone()).await.is_err(), "one upgrade at a time");
    socket.send(Message::text("nonsense")).await.unwrap();
    while futures_util::StreamExt::next(&mut socket).await.is_some_and(|message| message.is_ok()) {}
    poller.post("42/rtc-cafe,[\"request-sid\",{}]").await;
    assert!(poller.poll().await.contains("[\"sid\","));
    let (mut socket, _) = connect_async(url).await.unwrap();
    socket.send(Message::text("2probe")).await.unwrap();
    let pong = futures_util::StreamExt::next(&mut socket).await.unwrap().unwrap();
    assert_eq!(pong, Message::text("3probe"));
}

#[tokio::test]
async fn what_http_refuses() {
    let server = Server::start().await;
    let poller = Poller::open(&server).await;
    let version = "\"The client is using an unsupported version of the Socket.IO or Engine.IO protocols\"";
    let unknown = "\"Invalid session nobody\"";
    let cases = [
        ("EIO=3&transport=polling", version),
        ("transport=polling", version),
        ("EIO=4&transport=carrier-pigeon", "\"Invalid transport\""),
        ("EIO=4", "\"Invalid transport\""),
        ("EIO=4&transport=polling&sid=nobody", unknown),
        ("EIO=4&transport=websocket&sid=nobody", unknown),
    ];
    for (query, body) in cases {
        let reply = server.get(query).await;
        assert_eq!((reply.status, reply.body.as_str()), (StatusCode::BAD_REQUEST, body), "{query}");
        assert_eq!(reply.header("content-type"), Some("application/json"));
    }
    let reply = server.get("EIO=4&transport=websocket").await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST, "no websocket handshake");
    let reply = server.http(Method::PUT, &poller.query(), &[], "").await;
    assert_eq!(reply.status, StatusCode::METHOD_NOT_ALLOWED);
    let reply = server.http(Method::POST, &poller.query(), &[], Bytes::from_static(b"4\xff")).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    poller.connect().await;
}

#[tokio::test]
async fn overlapping_polls_end_the_session() {
    let server = Server::start().await;
    let poller = Poller::open(&server).await;
    poller.connect().await;
    let query = poller.query();
    let (first, second) = tokio::join!(server.get(&query), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        server.get(&query).await
    });
    assert_eq!((first.status, second.status), (StatusCode::BAD_REQUEST, StatusCode::BAD_REQUEST));
    assert_eq!(server.get(&query).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn origins_are_checked_on_both_transports() {
    let server = Server::with(Signaller::builder().allow_origin("https://app.example").build()).await;
    let own = format!("http://{}", server.address);
    for origin in [own.as_str(), "https://app.example"] {
        let reply = server.http(Method::GET, "EIO=4&transport=polling", &[("origin", origin)], "").await;
        assert_eq!(reply.status, StatusCode::OK);
        assert_eq!(reply.header("access-control-allow-origin"), Some(origin));
        assert_eq!(reply.header("access-control-allow-credentials"), Some("true"));
        assert_eq!(reply.header("vary"), Some("Origin"));
        assert_eq!(websocket_from(&server, origin).await, Ok(()));
    }
    let localhost = format!("http://localhost:{}", server.address.port());
    for origin in ["https://evil.example", "http://app.example", "null", localhost.as_str()] {
        let reply = server.http(Method::GET, "EIO=4&transport=polling", &[("origin", origin)], "").await;
        assert_eq!((reply.status, reply.body.as_str()), (StatusCode::BAD_REQUEST, "\"Not an accepted origin.\""));
        assert_eq!(reply.header("access-control-allow-origin"), None);
        assert_eq!(websocket_from(&server, origin).await, Err(StatusCode::BAD_REQUEST), "{origin}");
    }
    let asked = [
        ("origin", "https://app.example"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "content-type"),
    ];
    let reply = server.http(Method::OPTIONS, "EIO=4&transport=polling", &asked, "").await;
    assert!(reply.status.is_success());
    assert_eq!(reply.header("access-control-allow-origin"), Some("https://app.example"));
    assert_eq!(reply.header("access-control-allow-headers"), Some("content-type"));
    assert!(reply.header("access-control-allow-methods").unwrap().contains("POST"));
    let behind_tls = [("origin", "https://cafe.example"), ("host", "cafe.example")];
    assert_eq!(server.http(Method::GET, "EIO=4&transport=polling", &behind_tls, "").await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_dead_are_noticed_on_both_transports() {
    let beat = Duration::from_millis(100);
    let server = Server::with(Signaller::builder().heartbeat(beat, beat).build()).await;
    let mut a = Client::join(&server, "R", "a").await;
    let poller = Poller::open(&server).await;
    let polling_sid = poller.connect().await;
    poller.post("42/rtc-cafe,[\"join\",{\"room\":\"R\"}]").await;
    let mut mute = Client::join(&server, "R", "m").await;
    let mut gone = Vec::new();
    while gone.len() < 2 {
        let frame = a.receive().await;
        if frame.contains("peer-disconnection") {
            gone.push(frame.split('"').nth(5).unwrap().to_owned());
        }
    }
    assert!(gone.contains(&mute.sid) && gone.contains(&polling_sid), "{gone:?}");
    while let Some(Message::Text(_)) = mute.message().await {}
    // Who answers, stays.
    a.send("42/rtc-cafe,[\"request-sid\",{}]").await;
    assert!(a.receive().await.contains(&a.sid));
}

#[tokio::test]
async fn two_namespaces_on_one_connection() {
    let server = Server::start().await;
    let mut a = Client::connect(&server).await;
    a.send("40").await;
    let root: Value = serde_json::from_str(a.receive().await.strip_prefix("42").unwrap()).unwrap();
    assert_ne!(root[1]["sid"], a.sid);
    assert!(a.receive().await.starts_with("40{"));
    a.nothing().await;
    assert_eq!(server.signaller.stats().sockets, 2);
    drop(a);
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        if server.signaller.stats().sockets == 0 {
            return;
        }
    }
    panic!("sockets are left behind: {:?}", server.signaller.stats());
}

#[tokio::test]
async fn a_second_post_is_refused_before_it_is_read() {
    let server = Server::start().await;
    let poller = Poller::open(&server).await;
    poller.connect().await;
    let begin = async || {
        let mut stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
        let (query, host) = (poller.query(), server.address);
        let head = format!("POST /socket.io/?{query} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1000\r\n\r\n42");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    };
    let status = async |mut stream: tokio::net::TcpStream| {
        let mut line = [0; 12];
        let read = tokio::time::timeout(Duration::from_secs(3), stream.read_exact(&mut line)).await;
        read.expect("an answer in time").unwrap();
        String::from_utf8(line.to_vec()).unwrap()
    };
    let first = begin().await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let second = begin().await;
    assert_eq!(status(second).await, "HTTP/1.1 400");
    // The session has ended, and with it the first.
    assert_eq!(status(first).await, "HTTP/1.1 400");
    assert_eq!(server.get(&poller.query()).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_post_that_is_given_up_leaves_room_for_the_next() {
    let server = Server::start().await;
    let poller = Poller::open(&server).await;
    poller.connect().await;
    let mut stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let (query, host) = (poller.query(), server.address);
    let head = format!("POST /socket.io/?{query} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1000\r\n\r\n42");
    stream.write_all(head.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(stream);
    tokio::time::sleep(Duration::from_millis(50)).await;
    poller.post("42/rtc-cafe,[\"request-sid\",{}]").await;
    assert!(poller.poll().await.contains("[\"sid\","));
}

/// Decides about nothing that it is asked, and tells how many questions it has in mind.
#[derive(Clone, Default)]
struct Undecided(Arc<()>);

impl Admission for Undecided {
    fn event(&self, _: &Visitor, _: &Request<'_>) -> Ruling {
        let question = self.0.clone();
        Ruling::later(async move {
            std::future::pending::<()>().await;
            drop(question);
            Ok(None)
        })
    }
}

#[tokio::test]
async fn a_post_whose_client_is_gone_gives_everything_back() {
    let undecided = Undecided::default();
    let mut limits = Limits::default();
    limits.connections_per_address = 1;
    // So long that nothing ends by itself.
    let hour = Duration::from_secs(3600);
    let builder = Signaller::builder().admission(undecided.clone()).limits(limits).heartbeat(hour, hour);
    let server = Server::with(builder.trust_proxies(["127.0.0.1/32".parse().unwrap()]).build()).await;
    let from = [("x-forwarded-for", "203.0.113.9")];
    let handshake = || server.http(Method::GET, "EIO=4&transport=polling", &from, "");
    let open: Value = serde_json::from_str(handshake().await.body.strip_prefix('0').unwrap()).unwrap();
    let poller = Poller { server: &server, session: open["sid"].as_str().unwrap().to_owned() };
    poller.connect().await;
    assert_eq!(handshake().await.status, StatusCode::TOO_MANY_REQUESTS);

    // A question is asked, and the client goes away with its connection.
    let body = "42/rtc-cafe,[\"join\",{\"room\":\"R\"}]";
    let mut stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let head = format!("POST /socket.io/?{} HTTP/1.1\r\nHost: x\r\nContent-Length: {}", poller.query(), body.len());
    stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).await.unwrap();
    until(|| Arc::strong_count(&undecided.0) == 3).await;
    drop(stream);

    // What it tries anew ends the session, with the question that nobody waits for.
    assert_eq!(server.http(Method::POST, &poller.query(), &[], body).await.status, StatusCode::BAD_REQUEST);
    until(|| Arc::strong_count(&undecided.0) == 2).await;
    until(|| server.signaller.stats().connections == 0 && server.signaller.stats().sockets == 0).await;
    assert_eq!(handshake().await.status, StatusCode::OK);
}

async fn until(is: impl Fn() -> bool) {
    let becomes = async {
        while !is() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(10), becomes).await.expect("it becomes true");
}
