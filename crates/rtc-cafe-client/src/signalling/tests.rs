//! The client against real servers and hostile ones, on the loopback interface.

mod attempts;
mod raw;
mod session;
mod tls;

use std::{future::Future, time::Duration};

use rtc_cafe_core::{ApiVersion, PermanentId, RoomId, SignallerState};
use rtc_cafe_wire::signal::{ClientSignal, ConnectionId, Handshake, HandshakeBody, IceCandidate, ServerSignal};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};
use tokio_tungstenite::{WebSocketStream, accept_async, tungstenite::Message};

use super::{backoff::BackoffConfig, *};
use crate::tls::{certificates, client_config};

const PATIENCE: Duration = Duration::from_secs(20);
/// For tests that are not about waiting.
const SOON: BackoffConfig =
    BackoffConfig { first: Duration::from_millis(20), max: Duration::from_millis(100), jitter: 0.5 };
const OPEN: &str = r#"0{"sid":"x","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;
const ENTERED: &str = r#"40/rtc-cafe,{"sid":"x","signals":1}"#;
const CONNECT: &str = r#"40/rtc-cafe,{"signals":[["request-sid",{"apiVersion":"1.0"}]]}"#;
const SID: &str = r#"42/rtc-cafe,["sid",{"sid":"A"}]"#;

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("something in time")
}

async fn listen() -> (TcpListener, SignallingConfig) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = config(listener.local_addr().unwrap().port());
    (listener, config)
}

fn config(port: u16) -> SignallingConfig {
    let url = format!("http://127.0.0.1:{port}").parse().unwrap();
    SignallingConfig { backoff: SOON, ..SignallingConfig::new(url) }
}

/// The client in a test.
struct Client(Signalling);

impl Client {
    fn new(config: SignallingConfig) -> Self {
        Self(Signalling::connect(config))
    }

    /// The next event, but for the one that says when signals may be sent ahead.
    async fn next(&mut self) -> SignallingEvent {
        loop {
            match in_time(self.0.recv()).await {
                SignallingEvent::Opened => {}
                event => return event,
            }
        }
    }

    async fn expect_state(&mut self, state: SignallerState) {
        assert_eq!(self.next().await, SignallingEvent::State(state));
        assert_eq!(self.0.session().state(), state);
    }

    async fn signal(&mut self) -> ServerSignal {
        match self.next().await {
            SignallingEvent::Signal(signal) => signal,
            other => panic!("a signal, not {other:?}"),
        }
    }

    async fn problem(&mut self) -> SignallingProblem {
        match self.next().await {
            SignallingEvent::Problem(problem) => problem,
            other => panic!("a problem, not {other:?}"),
        }
    }

    /// Waits until it is connected, over whatever comes before, and returns its sid.
    async fn connected(&mut self) -> String {
        while self.next().await != SignallingEvent::State(SignallerState::Connected) {}
        let ServerSignal::Sid { sid, .. } = self.signal().await else { panic!("no sid") };
        assert_eq!(self.0.session().sid(), Some(&sid));
        sid.as_str().into()
    }

    /// Goes on until the server is through with its part; returns what happened meanwhile.
    async fn run<T>(&mut self, server: JoinHandle<T>) -> (T, Vec<SignallingEvent>) {
        let (mut server, mut events) = (server, Vec::new());
        let done = loop {
            tokio::select! {
                biased;
                event = self.0.recv() => events.push(event),
                done = in_time(&mut server) => break done.unwrap(),
            }
        };
        (done, events)
    }
}

/// A server that says what a test wants it to.
struct Raw(WebSocketStream<TcpStream>);

impl Raw {
    async fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = in_time(listener.accept()).await.unwrap();
        Self(in_time(accept_async(stream)).await.unwrap())
    }

    /// Lets a client in; returns the socket behind the client's CONNECT, with `request-sid` in it.
    async fn welcome(listener: &TcpListener) -> Self {
        let mut raw = Self::accept(listener).await;
        raw.expect(CONNECT).await;
        for frame in [OPEN, ENTERED, SID] {
            raw.send(frame).await;
        }
        raw
    }

    async fn send(&mut self, frame: &str) {
        self.message(Message::text(frame)).await;
    }

    async fn message(&mut self, message: Message) {
        use futures_util::SinkExt;
        in_time(self.0.send(message)).await.unwrap();
    }

    async fn receive(&mut self) -> Option<Message> {
        use futures_util::StreamExt;
        in_time(self.0.next()).await.and_then(Result::ok)
    }

    async fn expect(&mut self, frame: &str) {
        assert_eq!(self.receive().await, Some(Message::text(frame)));
    }
}

fn join(room: &str, id: &str) -> ClientSignal {
    let id = PermanentId::new(id).unwrap();
    ClientSignal::Join {
        room: RoomId::named(room).unwrap(),
        id,
        prev_sid: None,
        prev_session: None,
        answers: Vec::new(),
        informed: false,
    }
}

fn handshake(recipient: &str, body: HandshakeBody) -> ClientSignal {
    let handshake = Handshake {
        connection: ConnectionId(1),
        peer_connection: None,
        negotiation: 1,
        offers: 0,
        restart: false,
        mids: Vec::new(),
        body,
    };
    let (recipient, id) = (rtc_cafe_core::Sid::new(recipient).unwrap(), PermanentId::new("a").unwrap());
    ClientSignal::Handshake { recipient, id, handshake }
}

fn candidate(recipient: &str, candidate: String) -> ClientSignal {
    let candidate = IceCandidate { candidate, ..IceCandidate::default() };
    handshake(recipient, HandshakeBody::Candidate(Some(candidate)))
}

fn offer(bytes: usize) -> ClientSignal {
    handshake("B", HandshakeBody::Offer("x".repeat(bytes)))
}
