//! A signalling server in the process, and clients that remember what they were told.

#![allow(dead_code, missing_docs, clippy::unwrap_used, reason = "each test file uses a part of it")]

use std::{fmt::Debug, net::SocketAddr, time::Duration};

use axum::serve::ListenerExt;
use rtc_cafe_client::{Builder, Client, Event, Events, Sid};
use rtc_cafe_signaller::Signaller;
use tokio::{net::TcpListener, task::JoinHandle, time::timeout};

/// Nothing takes as long, even on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    serving: JoinHandle<()>,
    signaller: Signaller,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap()).await
    }

    pub(crate) async fn start_at(address: SocketAddr) -> Self {
        let signaller = Signaller::builder().build();
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let listener = listener.tap_io(|stream| stream.set_nodelay(true).unwrap());
        let router = signaller.router();
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, serving, signaller }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends every connection, and takes no new ones.
    pub(crate) async fn stop(self) -> SocketAddr {
        self.serving.abort();
        self.signaller.shutdown().await;
        let _ = self.serving.await;
        self.address
    }
}

pub(crate) struct Peer {
    pub(crate) client: Client,
    pub(crate) events: Events,
    pub(crate) seen: Vec<Event>,
}

impl Peer {
    pub(crate) fn of(server: &Server) -> Self {
        Self::build(Client::builder(server.url()))
    }

    pub(crate) fn build(builder: Builder) -> Self {
        let (client, events) = builder.connect().unwrap();
        Self { client, events, seen: Vec::new() }
    }

    pub(crate) fn in_room(server: &Server, room: &str) -> Self {
        let peer = Self::of(server);
        peer.client.join_room(room).unwrap();
        peer
    }

    /// Waits for an event of which something can be made; others are remembered.
    pub(crate) async fn next<T: Debug>(&mut self, what: &str, mut pick: impl FnMut(&Event) -> Option<T>) -> T {
        let wait = async {
            loop {
                let event = self.events.recv().await.expect("the client lives");
                let picked = pick(&event);
                self.seen.push(event);
                if let Some(picked) = picked {
                    return picked;
                }
            }
        };
        match timeout(PATIENCE, wait).await {
            Ok(picked) => picked,
            Err(_) => panic!("waited in vain for {what}; there was {:#?}", self.seen),
        }
    }

    pub(crate) async fn connected(&mut self) -> Sid {
        let connects = |event: &Event| if let Event::ConnectToPeer { sid } = event { Some(sid.clone()) } else { None };
        self.next("a connection", connects).await
    }

    pub(crate) async fn disconnected(&mut self) -> Sid {
        let left = |event: &Event| if let Event::DisconnectFromPeer { sid } = event { Some(sid.clone()) } else { None };
        self.next("a farewell", left).await
    }

    pub(crate) async fn message(&mut self) -> (Sid, serde_json::Value) {
        let read = |event: &Event| match event {
            Event::Message { sender, message } => Some((sender.clone(), message.parse().expect("JSON"))),
            _ => None,
        };
        self.next("a message", read).await
    }

    /// That nothing was told which should not be.
    pub(crate) fn assert_clean(&self) {
        let errors: Vec<_> = self.seen.iter().filter(|event| matches!(event, Event::Error { .. })).collect();
        assert!(errors.is_empty(), "{errors:#?}");
    }
}

/// So many clients in one room, all connected to each other.
pub(crate) async fn table(server: &Server, count: usize) -> Vec<Peer> {
    let mut peers: Vec<_> = (0..count).map(|_| Peer::in_room(server, "table")).collect();
    for peer in &mut peers {
        for _ in 1..count {
            peer.connected().await;
        }
    }
    peers
}
