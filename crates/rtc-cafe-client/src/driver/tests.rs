//! Clients whose machine gets other addresses in the middle of a conversation.

#[path = "../../tests/common/mod.rs"]
mod common;
mod survival;

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex},
};

use common::{Peer, Server};

use crate::Client;

/// The addresses of a machine, all on loopback.
#[derive(Clone)]
struct Addresses(Arc<Mutex<Vec<IpAddr>>>);

impl Addresses {
    fn new(last: &[u8]) -> Self {
        let addresses = Self(Arc::default());
        addresses.set(last);
        addresses
    }

    fn set(&self, last: &[u8]) {
        let address = |last: &u8| Ipv4Addr::new(127, 0, 0, *last).into();
        *self.0.lock().unwrap() = last.iter().map(address).collect();
    }

    fn peer(&self, server: &Server) -> Peer {
        let addresses = self.0.clone();
        let mut builder = Client::builder(server.url());
        builder.interfaces = Some(Arc::new(move || Ok(addresses.lock().unwrap().clone())));
        let peer = Peer::build(builder);
        peer.client.join_room("table").unwrap();
        peer
    }
}

async fn talk(one: &mut Peer, other: &mut Peer, what: &str) {
    one.client.send_message(what).await.unwrap();
    assert_eq!(other.message().await.1, what);
    other.client.send_message(what).await.unwrap();
    assert_eq!(one.message().await.1, what);
}

#[tokio::test]
async fn a_connection_outlives_the_address_of_who_offered() {
    moves(0).await;
}

#[tokio::test]
async fn a_connection_outlives_the_address_of_who_answered() {
    moves(1).await;
}

/// One of two gets another address, and then a second one beside it.
async fn moves(who: usize) {
    let server = Server::start().await;
    let addresses = [Addresses::new(&[2]), Addresses::new(&[3])];
    // Who is there first offers.
    let mut member = addresses[0].peer(&server);
    let state = |event: &crate::Event| matches!(event, crate::Event::AcquireSid { .. }).then_some(());
    member.next("a session", state).await;
    let mut peers = [member, addresses[1].peer(&server)];
    peers[0].connected().await;
    peers[1].connected().await;
    let clients = [peers[0].client.clone(), peers[1].client.clone()];
    let [one, other] = &mut peers;
    talk(one, other, "before").await;
    addresses[who].set(&[4]);
    // It would be noticed by itself, a little later.
    clients[who].network_changed();
    talk(one, other, "from another address").await;
    talk(other, one, "both ways").await;
    addresses[who].set(&[4, 5]);
    clients[who].network_changed();
    talk(one, other, "with one more").await;
    for peer in peers {
        assert!(!peer.seen.iter().any(|event| matches!(event, crate::Event::DisconnectFromPeer { .. })));
        peer.assert_clean();
    }
}
