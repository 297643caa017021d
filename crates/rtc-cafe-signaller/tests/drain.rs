//! A server that goes away sends its clients to others, a few at a time.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::time::{Duration, Instant};

use common::{Client, Poller, Server};
use rtc_cafe_signaller::{Limits, Signaller, broker::MemoryBroker};
use serde_json::{Value, json};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);

async fn node(broker: &MemoryBroker) -> Server {
    limited_node(broker, Limits::default()).await
}

async fn limited_node(broker: &MemoryBroker, limits: Limits) -> Server {
    let signaller = Signaller::builder().broker(broker.clone()).limits(limits).build();
    let server = Server::with(signaller.clone()).await;
    timeout(PATIENCE, signaller.broker_connected()).await.expect("the broker is there");
    server
}

/// A member of version 1.0, and its secret.
async fn member(server: &Server, id: &str) -> (Client, String) {
    let (mut client, secret) = Client::modern(server).await;
    client.emit("join", json!({"room": "R", "id": id})).await;
    client.nothing_modern().await;
    (client, secret)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_are_sent_away_one_after_the_other_and_nobody_is_missed() {
    let server = Server::start().await;
    let mut clients = Vec::new();
    for at in 0..8 {
        let mut client = Client::join(&server, "R", &format!("c{at}")).await;
        client.nothing().await;
        clients.push(client);
    }
    for (at, client) in clients.iter_mut().enumerate() {
        for _ in at + 1..8 {
            client.event("acquire-peers").await;
        }
    }
    let start = Instant::now();
    let watched = clients.into_iter().map(|mut client| {
        tokio::spawn(async move {
            // It panics at anything before the end, such as a `peer-disconnection` of those who have gone before.
            let code = client.closed().await;
            (start.elapsed(), code)
        })
    });
    let watched: Vec<_> = watched.collect();
    server.signaller.drain(Duration::from_secs(4)).await;
    let mut times = Vec::new();
    for watched in watched {
        let (time, code) = watched.await.unwrap();
        assert_eq!(code, Some(1001));
        times.push(time);
    }
    times.sort();
    assert!(times[7] - times[0] > Duration::from_millis(2500), "evenly over four seconds: {times:?}");
    let together = times.windows(2).filter(|pair| pair[1] - pair[0] < Duration::from_millis(100)).count();
    assert!(together < 4, "one after the other: {times:?}");
    assert_eq!(server.signaller.stats().connections, 0);
}

#[tokio::test]
async fn who_comes_back_elsewhere_is_not_reported_gone() {
    let broker = MemoryBroker::new();
    // The room is full: whoever comes back has the seat that it had.
    let mut limits = Limits::default();
    limits.members_per_room = 2;
    let (a, b) = (limited_node(&broker, limits.clone()).await, limited_node(&broker, limits).await);
    let (mut stays, _) = member(&b, "stays").await;
    let (mut goes, secret) = member(&a, "goes").await;
    assert_eq!(stays.event("acquire-peers").await["id"], "goes");
    let start = Instant::now();
    let drained = tokio::spawn({
        let signaller = a.signaller.clone();
        async move { signaller.drain(Duration::from_secs(1)).await }
    });
    goes.closed().await;
    let (mut back, _) = Client::modern(&b).await;
    back.emit("join", json!({"room": "R", "id": "goes", "prevSid": goes.sid, "prevSession": secret})).await;
    let announced: Value = stays.event("acquire-peers").await;
    assert_eq!((&announced["sid"], &announced["prevSid"]), (&json!(back.sid), &json!(goes.sid)));
    drained.await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(4), "nobody is waited for who is back: {:?}", start.elapsed());
    stays.nothing_modern().await;
    assert_eq!(a.signaller.stats().sockets, 0);
}

#[tokio::test]
async fn who_does_not_come_back_is_reported_gone() {
    let broker = MemoryBroker::new();
    let (a, b) = (node(&broker).await, node(&broker).await);
    let (mut stays, _) = member(&b, "stays").await;
    let (mut goes, _) = member(&a, "goes").await;
    assert_eq!(stays.event("acquire-peers").await["id"], "goes");
    let poller = Poller::open(&a).await;
    let old = poller.connect().await;
    poller.post("42/rtc-cafe,[\"join\",{\"room\":\"R\",\"id\":\"old\"}]").await;
    assert_eq!(stays.event("acquire-peers").await["id"], "old");
    goes.event("acquire-peers").await;
    let start = Instant::now();
    let (last, (), ()) = tokio::join!(poller.poll(), a.signaller.drain(Duration::ZERO), async {
        // Who cannot prove anything is reported at once.
        assert_eq!(stays.event("peer-disconnection").await, json!({"sid": old}));
        assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
        assert_eq!(stays.event("peer-disconnection").await, json!({"sid": goes.sid}));
        assert!(start.elapsed() > Duration::from_secs(4), "{:?}", start.elapsed());
    });
    assert!(last.ends_with('1'), "{last}");
}
