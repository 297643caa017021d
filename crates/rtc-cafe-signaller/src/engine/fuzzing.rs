//! Connections without a transport, for the fuzz targets: packets in, frames out, everything between them as it is.

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use axum::http::HeaderMap;
use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    address::Proxies,
    origin::Origins,
    outbox::{Frame, Next},
    polling,
    session::{Session, Step},
    shared::{Config, Open, Shared, Timing},
};
use crate::{
    admission::{Arrival, Validation, chain::Chain},
    hub::{Hub, HubConfig, Mint},
};

/// A server that listens to nobody. Its validation rejects every event whose data has `"reject": true`.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
}

/// A frame that the server sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// A packet of Engine.IO in text.
    Text(String),
    /// An attachment.
    Binary(Vec<u8>),
}

impl Sent {
    /// Its length in bytes.
    pub fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }
}

/// A connection; it ends when it is dropped.
#[derive(Debug)]
pub struct Connection {
    // The session ends before the connection is taken out of those that are open.
    session: Session,
    open: Open,
}

impl Server {
    /// A server that takes messages of so many bytes, and lets so many wait for one connection. The sids of Engine.IO
    /// come from the seed.
    pub fn new(max_payload: usize, queue: usize, seed: u64) -> Self {
        let second = Duration::from_secs(1);
        let config = Config {
            timing: Timing { ping_interval: 25 * second, ping_timeout: 20 * second, connect_timeout: 45 * second },
            origins: Origins::default(),
            minted: None,
            admission: Chain::new(vec![Box::new(Validation(async |_, _, data| validate(&data)))]),
            proxies: Proxies::new(Vec::new()),
            per_address: usize::MAX,
            max_payload,
            max_message: max_payload,
            queue,
        };
        let hub = Hub::new(HubConfig::default(), [1; 32]);
        let mut secret = [2; 32];
        secret[..8].copy_from_slice(&seed.to_le_bytes());
        Self { shared: Arc::new(Shared::new(config, hub, Mint::new(secret), None)) }
    }

    /// A client connects.
    pub fn connect(&self) -> Connection {
        let arrival = Arrival { address: None, host: None, headers: HeaderMap::new() };
        let open = self.shared.open(arrival, None).expect("nobody shuts it down");
        Connection { session: Session::new(self.shared.clone(), open.link.clone()), open }
    }

    /// Connections, sockets and rooms.
    pub fn counts(&self) -> (usize, usize, usize) {
        let hub = self.shared.core().0.hub.stats();
        (self.shared.connections(), hub.sockets, hub.rooms)
    }
}

fn validate(data: &Value) -> Result<(), Value> {
    if data["reject"] == Value::Bool(true) { Err(json!("rejected")) } else { Ok(()) }
}

impl Connection {
    /// The sid of Engine.IO, which is nobody else's business.
    pub fn secret(&self) -> &str {
        &self.open.link.sid
    }

    /// The client sends a packet in text.
    pub fn text(&mut self, text: &str) {
        let step = self.session.text(text);
        self.follow(step);
    }

    /// The client sends an attachment.
    pub fn binary(&mut self, bytes: &[u8]) {
        let step = self.session.binary(Bytes::copy_from_slice(bytes));
        self.follow(step);
    }

    fn follow(&mut self, mut step: Step) {
        while let Step::Ask(mut question) = step {
            let verdict = now(question.verdict.as_mut());
            step = self.session.answer(*question, verdict);
        }
        if matches!(step, Step::Close) {
            self.open.link.outbox.kill();
        }
    }

    /// The client posts the body of a polling request.
    pub fn post(&mut self, body: &str) {
        now(pin!(polling::take(&mut self.session, &self.open.link, body)));
    }

    /// What the server has sent since, and whether the connection goes on.
    pub fn receive(&mut self) -> (Vec<Sent>, bool) {
        let mut sent = Vec::new();
        let cx = Context::from_waker(Waker::noop());
        loop {
            match self.open.link.outbox.poll_next(&cx) {
                Poll::Pending => return (sent, true),
                Poll::Ready(Next::Frame(Frame::Text(text))) => sent.push(Sent::Text(text.as_str().to_owned())),
                Poll::Ready(Next::Frame(Frame::Binary(bytes))) => sent.push(Sent::Binary(bytes.to_vec())),
                Poll::Ready(Next::Finished | Next::Cut(_)) => return (sent, false),
            }
        }
    }
}

/// The value of a future that waits for nothing.
fn now<F: Future + Unpin>(mut future: F) -> F::Output {
    match std::pin::Pin::new(&mut future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("the validation above answers at once"),
    }
}
