//! What one address, one client and one room may use up.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::{Client, Server};
use hyper::{Method, StatusCode};
use rtc_cafe_signaller::{ErrorCode, Limits, Signaller};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Error, Message};

const TRUSTED: &str = "127.0.0.0/8";

/// A server behind a proxy on this machine, with this many connections for each address.
async fn server(per_address: usize, trusted: Option<&str>) -> Server {
    let mut limits = Limits::default();
    limits.connections_per_address = per_address;
    let trusted = trusted.map(|net| net.parse().unwrap());
    Server::with(Signaller::builder().limits(limits).trust_proxies(trusted).build()).await
}

fn from(address: &str) -> [(&'static str, String); 1] {
    [("x-forwarded-for", address.to_owned())]
}

/// The status by which a websocket is refused.
async fn refused(server: &Server, address: &'static str) -> StatusCode {
    match Client::try_with_headers(server, &from(address)).await {
        Err(Error::Http(response)) => response.status(),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("{address} is let in"),
    }
}

#[tokio::test]
async fn an_address_has_so_many_connections() {
    let server = server(2, Some(TRUSTED)).await;
    let first = Client::with_headers(&server, &from("203.0.113.9")).await;
    let _second = Client::with_headers(&server, &from("6.6.6.6, 203.0.113.9")).await;
    assert_eq!(refused(&server, "203.0.113.9").await, StatusCode::TOO_MANY_REQUESTS);
    let headers = [("x-forwarded-for", "203.0.113.9")];
    let reply = server.http(Method::GET, "EIO=4&transport=polling", &headers, "").await;
    assert_eq!((reply.status, reply.header("retry-after")), (StatusCode::TOO_MANY_REQUESTS, Some("10")));
    let body: Value = serde_json::from_str(&reply.body).unwrap();
    assert_eq!(body["code"], "too-many-connections");
    assert!(body["message"].as_str().unwrap().contains("2 connections"), "{body}");
    Client::with_headers(&server, &from("203.0.113.10")).await;
    let counted = server.signaller.stats().connections_refused;
    assert!(counted.contains(&(ErrorCode::TooManyConnections, 2)), "{counted:?}");
    // Whoever goes makes room.
    drop(first);
    while server.signaller.stats().connections > 1 {
        tokio::task::yield_now().await;
    }
    Client::with_headers(&server, &from("203.0.113.9")).await;
}

#[tokio::test]
async fn a_network_of_ipv6_is_one_address() {
    let server = server(2, Some(TRUSTED)).await;
    let _kept = [
        Client::with_headers(&server, &from("2001:db8:1:2::1")).await,
        Client::with_headers(&server, &from("2001:db8:1:2:ffff::2")).await,
        Client::with_headers(&server, &from("2001:db8:1:3::1")).await,
    ];
    assert_eq!(refused(&server, "2001:db8:1:2::3").await, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn the_header_of_a_stranger_is_ignored_and_this_machine_not_counted() {
    let server = server(1, None).await;
    let _kept = [
        Client::with_headers(&server, &from("203.0.113.9")).await,
        Client::with_headers(&server, &from("203.0.113.9")).await,
    ];
    assert_eq!(server.signaller.stats().connections, 2);
}

#[tokio::test]
async fn polling_sessions_are_counted_until_they_end() {
    let server = server(1, Some(TRUSTED)).await;
    let headers = [("x-forwarded-for", "203.0.113.9")];
    let open = async || server.http(Method::GET, "EIO=4&transport=polling", &headers, "").await;
    let session: Value = serde_json::from_str(open().await.body.strip_prefix('0').unwrap()).unwrap();
    assert_eq!(open().await.status, StatusCode::TOO_MANY_REQUESTS);
    // Its own requests are no new connections.
    let query = format!("EIO=4&transport=polling&sid={}", session["sid"].as_str().unwrap());
    assert_eq!(server.http(Method::POST, &query, &headers, "40/rtc-cafe,").await.status, StatusCode::OK);
    assert_eq!(server.http(Method::POST, &query, &headers, "1").await.status, StatusCode::OK);
    while server.signaller.stats().connections > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(open().await.status, StatusCode::OK);
}

#[tokio::test]
async fn every_limit_is_the_operators() {
    let mut limits = Limits::default();
    (limits.rooms_per_socket, limits.members_per_room, limits.max_payload) = (2, 1, 1000);
    let server = Server::with(Signaller::builder().limits(limits).build()).await;
    let mut a = Client::connect(&server).await;
    let mut b = Client::join(&server, "full", "b").await;
    b.nothing().await;
    for room in ["1", "2"] {
        a.emit("join", json!({"room": room})).await;
    }
    a.emit("join", json!({"room": "3"})).await;
    a.error("too-many-rooms", "join").await;
    a.emit("leave", json!({"room": "2"})).await;
    a.emit("join", json!({"room": "full"})).await;
    a.error("room-full", "join").await;
    a.emit("candidate", json!({"recipient": b.sid, "x": "x".repeat(1000)})).await;
    a.error("too-large", "candidate").await;
}

#[tokio::test]
async fn whoever_does_not_read_even_pongs_is_cut_and_counted() {
    let mut limits = Limits::default();
    limits.queue = 10_000;
    let server = Server::with(Signaller::builder().limits(limits).build()).await;
    let mut client = Client::connect(&server).await;
    client.send(&format!("2{}", "x".repeat(20_000))).await;
    assert_eq!(goodbye(&mut client).await, (1008, "too-slow".to_owned()));
    assert_eq!(cut_as_too_slow(&server), 1);
}

#[tokio::test]
async fn whoever_reads_again_in_time_is_told_why_it_was_cut() {
    let mut limits = Limits::default();
    limits.queue = 100_000;
    let server = Server::with(Signaller::builder().limits(limits).build()).await;
    let mut client = Client::connect(&server).await;
    // Until neither the system nor the server has room for more pongs.
    let ping = format!("2{}", "x".repeat(50_000));
    while cut_as_too_slow(&server) == 0 {
        client.send(&ping).await;
    }
    assert_eq!(goodbye(&mut client).await, (1008, "too-slow".to_owned()));
    assert_eq!(cut_as_too_slow(&server), 1);
}

fn cut_as_too_slow(server: &Server) -> u64 {
    let cut = server.signaller.stats().connections_cut;
    cut.into_iter().find(|(code, _)| *code == ErrorCode::TooSlow).unwrap().1
}

/// Reads to the end, and returns code and reason of the close frame.
async fn goodbye(client: &mut Client) -> (u16, String) {
    loop {
        if let Message::Close(frame) = client.message().await.expect("a close frame") {
            let frame = frame.expect("a reason");
            return (frame.code.into(), frame.reason.to_string());
        }
    }
}
