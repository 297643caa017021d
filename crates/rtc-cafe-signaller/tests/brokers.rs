//! Two servers in one process over the broker in memory: what an application that embeds them sees.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::time::Duration;

use common::{Client, Server};
use rtc_cafe_signaller::{Signaller, broker::MemoryBroker};
use serde_json::json;
use tokio::time::{sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(20);

async fn node(broker: &MemoryBroker) -> (Signaller, Server) {
    let signaller = Signaller::builder().broker(broker.clone()).build();
    let server = Server::with(signaller.clone()).await;
    timeout(PATIENCE, signaller.broker_connected()).await.expect("the broker is there");
    (signaller, server)
}

async fn until(is_so: impl Fn() -> bool) {
    timeout(PATIENCE, async {
        while !is_so() {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("it becomes so in time");
}

#[tokio::test]
async fn two_servers_are_one_and_each_goes_on_alone() {
    let broker = MemoryBroker::new();
    let ((one, a), (other, b)) = (node(&broker).await, node(&broker).await);
    let mut ana = Client::join(&a, "R", "ana").await;
    ana.nothing().await;
    let mut bob = Client::join(&b, "R", "bob").await;
    assert_eq!(ana.event("acquire-peers").await, json!({"id": "bob", "sid": bob.sid, "prevSid": null}));
    ana.emit("acquire-peers-response", json!({"recipient": bob.sid, "room": "R"})).await;
    assert_eq!(bob.event("acquire-peers-response").await, json!({"id": "ana", "sid": ana.sid, "prevSid": null}));
    let stats = one.stats().broker.unwrap();
    assert_eq!((stats.up, stats.nodes, stats.remote_sockets, stats.frames_strange), (true, 1, 1, 0));

    broker.set_down(true);
    until(|| [&one, &other].iter().all(|node| !node.stats().broker.unwrap().up)).await;
    let mut near = Client::join(&a, "R", "near").await;
    assert_eq!(ana.event("acquire-peers").await["sid"], near.sid);
    ana.emit("offer", json!({"recipient": near.sid})).await;
    near.event("offer").await;

    broker.set_down(false);
    assert_eq!(bob.event("acquire-peers").await["sid"], near.sid, "and not ana, whom bob knows");
    bob.emit("offer", json!({"recipient": near.sid, "n": 1})).await;
    assert_eq!(near.event("offer").await["sid"], bob.sid);
    ana.nothing().await;
}

#[tokio::test]
async fn a_server_that_shuts_down_tells_the_others_at_once() {
    let broker = MemoryBroker::new();
    let ((_one, a), (other, b)) = (node(&broker).await, node(&broker).await);
    let mut ana = Client::join(&a, "R", "ana").await;
    ana.nothing().await;
    let bob = Client::join(&b, "R", "bob").await;
    ana.event("acquire-peers").await;
    let leaving = tokio::spawn(async move { other.shutdown().await });
    assert_eq!(ana.event("peer-disconnection").await, json!({"sid": bob.sid}));
    drop(bob);
    leaving.await.unwrap();
}

#[tokio::test]
async fn a_server_without_a_broker_tells_of_none() {
    let signaller = Signaller::new();
    timeout(PATIENCE, signaller.broker_connected()).await.expect("there is nothing to wait for");
    assert_eq!(signaller.stats().broker, None);
}
