//! Every frame that a normal client sees, in each version of the API.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use common::{Client, Server};
use rtc_cafe_signaller::{IceServer, Signaller};
use serde_json::json;

#[tokio::test]
async fn a_normal_session_frame_by_frame() {
    let server = Server::start().await;
    let mut a = Client::connect(&server).await;
    let (sid_a, r) = (a.sid.clone(), "42/rtc-cafe,");
    assert_eq!(sid_a.len(), 20);
    a.send(&format!("{r}[\"request-sid\",{{}}]")).await;
    a.expect(&format!("{r}[\"sid\",{{\"sid\":\"{sid_a}\"}}]")).await;
    a.send(&format!("{r}[\"join\",{{\"room\":\"R\",\"id\":\"a\"}}]")).await;
    a.nothing().await;

    let mut b = Client::connect(&server).await;
    let sid_b = b.sid.clone();
    b.send(&format!("{r}[\"join\",{{\"room\":\"R\",\"id\":\"b\",\"prevSid\":\"oldB\"}}]")).await;
    a.expect(&format!("{r}[\"acquire-peers\",{{\"id\":\"b\",\"sid\":\"{sid_b}\",\"prevSid\":\"oldB\"}}]")).await;
    a.send(&format!("{r}[\"acquire-peers-response\",{{\"recipient\":\"{sid_b}\",\"id\":\"a\",\"room\":\"R\"}}]")).await;
    b.expect(&format!("{r}[\"acquire-peers-response\",{{\"id\":\"a\",\"sid\":\"{sid_a}\",\"prevSid\":null}}]")).await;
    for event in ["offer", "answer", "candidate"] {
        let body = format!("\"{event}\":{{\"type\":\"x\",\"sdp\":\"v=0\"}}");
        b.send(&format!("{r}[\"{event}\",{{\"recipient\":\"{sid_a}\",{body},\"id\":\"b\",\"room\":\"R\"}}]")).await;
        let fields = format!("\"recipient\":\"{sid_a}\",{body},\"room\":\"R\"");
        a.expect(&format!("{r}[\"{event}\",{{\"id\":\"b\",\"sid\":\"{sid_b}\",{fields}}}]")).await;
    }
    drop(b);
    a.expect(&format!("{r}[\"peer-disconnection\",{{\"sid\":\"{sid_b}\"}}]")).await;
}

#[tokio::test]
async fn acknowledgements_are_empty_and_come_last() {
    let server = Server::start().await;
    let mut a = Client::connect(&server).await;
    a.send("42/rtc-cafe,7[\"request-sid\",{}]").await;
    a.event("sid").await;
    a.expect("43/rtc-cafe,7[]").await;
    a.send("42/rtc-cafe,8[\"join\",{\"room\":1}]").await;
    a.expect("43/rtc-cafe,8[]").await;
    a.send("42/rtc-cafe,9[\"join\",{}]").await;
    a.error("invalid-room", "join").await;
    a.expect("43/rtc-cafe,9[]").await;
}

#[tokio::test]
async fn version_1_agrees_on_a_version() {
    let signaller = rtc_cafe_signaller::Signaller::builder()
        .ice_servers([
            rtc_cafe_signaller::IceServer::new("stun:stun.example.org"),
            rtc_cafe_signaller::IceServer::new("turn:turn.example.org").credentials("user", "pass"),
        ])
        .build();
    let server = Server::with(signaller).await;
    let mut a = Client::connect(&server).await;
    for (asked, agreed) in [("1.0", "1.0"), ("2.3", "1.0"), ("1.7", "1.0")] {
        a.emit("request-sid", json!({"apiVersion": asked})).await;
        let reply = a.event("sid").await;
        assert_eq!((&reply["sid"], &reply["apiVersion"]), (&json!(a.sid), &json!(agreed)));
        assert!(reply["session"].as_str().unwrap().len() >= 32);
        let turn = json!({"urls": "turn:turn.example.org", "username": "user", "credential": "pass"});
        assert_eq!(reply["iceServers"], json!([{"urls": "stun:stun.example.org"}, turn]));
    }
    let mut b = Client::connect(&server).await;
    for asked in
        [json!({"apiVersion": "0.2"}), json!({"apiVersion": "x"}), json!({"apiVersion": 1}), json!(null), json!(5)]
    {
        b.emit("request-sid", asked).await;
        b.expect(&format!("42/rtc-cafe,[\"sid\",{{\"sid\":\"{}\"}}]", b.sid)).await;
    }
}

#[tokio::test]
async fn clients_have_ice_servers_of_their_own_and_get_others_before_they_end() {
    let count = AtomicU32::new(0);
    let make = move |sid: &str, host: Option<&str>| {
        let made = count.fetch_add(1, Ordering::Relaxed);
        let user = format!("{made}:{sid}");
        vec![IceServer::new(format!("turn:{}", host.unwrap_or("nowhere"))).credentials(user, "secret")]
    };
    let builder = Signaller::builder().ice_servers([IceServer::new("stun:stun.example.org")]);
    let server = Server::with(builder.ice_servers_for_each(Duration::from_secs(2), make).build()).await;
    let mut old = Client::connect(&server).await;
    let mut a = Client::connect(&server).await;
    let (mut before, mut names) = (None, BTreeSet::new());
    a.emit("request-sid", json!({"apiVersion": "1.0"})).await;
    for _ in 0..3 {
        let mut told = a.event("sid").await;
        let servers = told["iceServers"].take();
        assert_eq!((servers.as_array().unwrap().len(), &servers[0]), (2, &json!({"urls": "stun:stun.example.org"})));
        assert_eq!(servers[1]["urls"], format!("turn:{}", server.address));
        let name = servers[1]["username"].as_str().unwrap();
        assert!(name.ends_with(&format!(":{}", a.sid)) && names.insert(name.to_owned()), "{name}");
        assert!(before.is_none_or(|before| before == told), "nothing else has changed");
        before = Some(told);
    }
    old.emit("request-sid", json!({})).await;
    old.expect(&format!("42/rtc-cafe,[\"sid\",{{\"sid\":\"{}\"}}]", old.sid)).await;
}

#[tokio::test]
async fn version_1_is_told_the_room() {
    let server = Server::start().await;
    let (mut a, _) = Client::modern(&server).await;
    a.emit("join", json!({"room": 5.0, "id": "a"})).await;
    let (mut b, _) = Client::modern(&server).await;
    b.emit("join", json!({"room": 5, "id": "b"})).await;
    assert_eq!(a.event("acquire-peers").await, json!({"id": "b", "sid": b.sid, "prevSid": null, "room": 5}));
    a.emit("acquire-peers-response", json!({"recipient": b.sid, "room": 5, "id": "a"})).await;
    assert_eq!(b.event("acquire-peers-response").await, json!({"id": "a", "sid": a.sid, "prevSid": null, "room": 5}));
}

#[tokio::test]
async fn version_0_0_in_the_root_namespace() {
    let server = Server::start().await;
    let mut old = Client::open(&server).await;
    old.send("40").await;
    let pushed = old.receive().await;
    let sid = pushed.strip_prefix("42[\"sid\",{\"sid\":\"").unwrap().strip_suffix("\"}]").unwrap().to_owned();
    old.expect(&format!("40{{\"sid\":\"{sid}\"}}")).await;
    old.send("42[\"request-sid\",{}]").await;
    old.expect(&pushed).await;
    old.send("42[\"join\",{\"room\":\"R\"}]").await;
    old.send("42[\"request-sid\",{}]").await;
    old.expect(&pushed).await;

    let mut new = Client::join(&server, "R", "n").await;
    old.expect(&format!("42[\"acquire-peers\",{{\"sid\":\"{}\"}}]", new.sid)).await;
    old.send(&format!("42[\"acquire-peers-response\",{{\"recipient\":\"{}\"}}]", new.sid)).await;
    assert_eq!(new.event("acquire-peers-response").await, json!({"id": null, "sid": sid, "prevSid": null}));
    new.emit("offer", json!({"recipient": sid, "offer": 1, "id": "n"})).await;
    old.expect(&format!("42[\"offer\",{{\"sid\":\"{}\",\"offer\":1,\"recipient\":\"{sid}\"}}]", new.sid)).await;
    // Without a recipient it goes to those in the same room, and to nobody else.
    let mut stranger = Client::join(&server, "S", "s").await;
    old.send("42[\"candidate\",{\"sid\":\"forged\",\"candidate\":2}]").await;
    assert_eq!(new.event("candidate").await, json!({"id": null, "sid": sid, "candidate": 2}));
    stranger.nothing().await;
    drop(old);
    assert_eq!(new.event("peer-disconnection").await, json!({"sid": sid}));
}

#[tokio::test]
async fn namespaces_are_entered_and_left() {
    let server = Server::start().await;
    let mut a = Client::open(&server).await;
    a.send("42/rtc-cafe,[\"request-sid\",{}]").await;
    a.send("40/elsewhere,").await;
    a.expect("44/elsewhere,{\"message\":\"Unable to connect\"}").await;
    a.send("40/rtc-cafe,").await;
    assert!(a.receive().await.starts_with("40/rtc-cafe,{\"sid\":\""));
    a.send("40/rtc-cafe,").await;
    a.expect("44/rtc-cafe,{\"message\":\"Unable to connect\"}").await;

    let mut b = Client::join(&server, "R", "b").await;
    let mut c = Client::join(&server, "R", "c").await;
    b.event("acquire-peers").await;
    c.send("41/rtc-cafe,").await;
    assert_eq!(b.event("peer-disconnection").await, json!({"sid": c.sid}));
    // The connection is still there, for another socket.
    c.send("42/rtc-cafe,[\"request-sid\",{}]").await;
    c.send("40/rtc-cafe,").await;
    let reply = c.receive().await;
    assert!(reply.starts_with("40/rtc-cafe,") && !reply.contains(&c.sid));
}

#[tokio::test]
async fn rooms_joined_twice_and_two_rooms() {
    let server = Server::start().await;
    let mut a = Client::join(&server, "R", "a").await;
    a.emit("join", json!({"room": "S"})).await;
    a.nothing().await;
    let mut b = Client::join(&server, "R", "b").await;
    b.emit("join", json!({"room": "R"})).await;
    b.emit("join", json!({"room": "S"})).await;
    for _ in 0..3 {
        assert_eq!(a.event("acquire-peers").await, json!({"id": "b", "sid": b.sid, "prevSid": null}));
    }
    b.socket.close(None).await.unwrap();
    for _ in 0..2 {
        assert_eq!(a.event("peer-disconnection").await, json!({"sid": b.sid}));
    }
    a.nothing().await;
}

#[tokio::test]
async fn numbers_and_texts_are_two_rooms() {
    let server = Server::start().await;
    let mut number = Client::connect(&server).await;
    number.emit("join", json!({"room": 5})).await;
    let mut text = Client::join(&server, "5", "t").await;
    text.nothing().await;
    number.nothing().await;
    let mut float = Client::connect(&server).await;
    float.emit("join", json!({"room": 5.0})).await;
    assert_eq!(number.event("acquire-peers").await["sid"], float.sid);
}

#[tokio::test]
async fn one_may_write_to_oneself_and_an_id_is_any_json() {
    let server = Server::start().await;
    let mut a = Client::connect(&server).await;
    a.emit("candidate", json!({"recipient": a.sid, "id": {"nested": [1]}, "candidate": null})).await;
    let own = json!({"id": {"nested": [1]}, "sid": a.sid, "recipient": a.sid, "candidate": null});
    assert_eq!(a.event("candidate").await, own);
    // The first id stays.
    a.emit("candidate", json!({"recipient": a.sid, "id": "other"})).await;
    assert_eq!(a.event("candidate").await["id"], json!({"nested": [1]}));
    a.emit("candidate", json!({"recipient": a.sid})).await;
    assert_eq!(a.event("candidate").await["id"], json!({"nested": [1]}));
}

#[tokio::test]
async fn three_thousand_messages_arrive_in_order() {
    let server = Server::start().await;
    let mut a = Client::join(&server, "R", "a").await;
    a.nothing().await;
    let mut b = Client::join(&server, "R", "b").await;
    a.event("acquire-peers").await;
    let to = a.sid.clone();
    let sending = tokio::spawn(async move {
        for n in 0..3000 {
            b.emit("candidate", json!({"recipient": to, "candidate": n, "padding": "x".repeat(250)})).await;
        }
        b
    });
    for n in 0..3000 {
        assert_eq!(a.event("candidate").await["candidate"], n);
    }
    sending.await.unwrap().nothing().await;
}

#[tokio::test]
async fn binary_attachments_are_relayed() {
    let server = Server::start().await;
    let mut a = Client::join(&server, "R", "a").await;
    a.nothing().await;
    let mut b = Client::join(&server, "R", "b").await;
    a.event("acquire-peers").await;
    let event = |num: u8| {
        let payload = json!({"recipient": a.sid, "bin": {"_placeholder": true, "num": num}});
        format!("451-/rtc-cafe,{}", json!(["candidate", payload]))
    };
    let (good, bad) = (event(0), event(1));
    b.send(&good).await;
    b.send_binary(b"\x01\x02\xff").await;
    assert!(a.receive().await.starts_with("451-/rtc-cafe,[\"candidate\",{\"id\":\"b\",\"sid\":\""));
    assert_eq!(a.message().await.unwrap().into_data(), b"\x01\x02\xff"[..]);
    b.send(&bad).await;
    b.send_binary(b"x").await;
    b.error("binary-not-supported", "candidate").await;
    b.send("451-/rtc-cafe,[\"join\",{\"room\":\"x\",\"bin\":{\"_placeholder\":true,\"num\":0}}]").await;
    b.send_binary(b"x").await;
    b.error("binary-not-supported", "join").await;
    b.send("4517-/rtc-cafe,[\"offer\",{}]").await;
    b.error("binary-not-supported", "offer").await;
    b.send_binary(b"x").await;
    a.nothing().await;
    b.nothing().await;
}

#[tokio::test]
async fn before_version_1_a_response_names_any_room() {
    let server = Server::start().await;
    // The old client is in two rooms, and is not told in which of them the newcomer is.
    let mut old = Client::join(&server, "first", "o").await;
    old.emit("join", json!({"room": "second"})).await;
    old.nothing().await;
    let mut newcomer = Client::join(&server, "second", "n").await;
    let (mut modern, _) = Client::modern(&server).await;
    modern.emit("join", json!({"room": "second", "id": "m"})).await;
    newcomer.event("acquire-peers").await;
    for client in [&mut newcomer, &mut modern] {
        let announced = old.event("acquire-peers").await;
        assert_eq!(announced["sid"], client.sid);
        for room in [json!("first"), json!(null)] {
            old.emit("acquire-peers-response", json!({"recipient": client.sid, "room": room, "id": "o"})).await;
            let response = client.event("acquire-peers-response").await;
            assert_eq!(response["sid"], old.sid);
            assert!(response["room"].is_null() || response["room"] == "second", "{response}");
        }
    }
    old.emit("acquire-peers-response", json!({"recipient": newcomer.sid, "id": "o"})).await;
    old.error("invalid-room", "acquire-peers-response").await;
}
