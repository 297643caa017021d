//! One client of the load generator: raw frames, Socket.IO packets written by hand.

use std::{fmt, net::SocketAddr};

use anyhow::{Context, bail};
use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        Message, Utf8Bytes,
        protocol::{WebSocketConfig, frame::coding::CloseCode},
    },
};

use crate::process::{Server, Target};

/// Bytes of the JSON of a signal.
const SIGNAL: usize = 300;

/// The server ends, and has told this client to come back later.
#[derive(Debug)]
pub(crate) struct SentAway;

impl fmt::Display for SentAway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the server sends its clients away")
    }
}

impl std::error::Error for SentAway {}

/// A websocket to a server under test.
#[derive(Debug)]
pub(crate) struct Client {
    socket: WebSocketStream<TcpStream>,
    /// What peers know it by; empty at the bare relay.
    pub(crate) sid: String,
}

impl Client {
    /// Connects to the signaller and agrees on version 1.0, as a client of ours does.
    pub(crate) async fn signaller(address: SocketAddr) -> anyhow::Result<Self> {
        Self::signaller_on(TcpStream::connect(address).await.context("cannot connect")?, address).await
    }

    /// The same on a connection that is there already.
    pub(crate) async fn signaller_on(stream: TcpStream, address: SocketAddr) -> anyhow::Result<Self> {
        let mut client = Self::open(stream, address, "/socket.io/?EIO=4&transport=websocket").await?;
        client.expect("0{").await?;
        client.send("40/rtc-cafe,").await?;
        client.expect("40/rtc-cafe,").await?;
        client.send(r#"42/rtc-cafe,["request-sid",{"apiVersion":"1.0"}]"#).await?;
        let reply = client.expect(r#"42/rtc-cafe,["sid","#).await?;
        client.sid = sid(&reply)?.to_owned();
        Ok(client)
    }

    /// Connects one half of a pair to the bare relay.
    pub(crate) async fn relay(address: SocketAddr, pair: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.context("cannot connect")?;
        let mut client = Self::open(stream, address, "/").await?;
        client.send(pair).await?;
        Ok(client)
    }

    async fn open(stream: TcpStream, address: SocketAddr, path: &str) -> anyhow::Result<Self> {
        stream.set_nodelay(true)?;
        let config = WebSocketConfig::default().read_buffer_size(4 * 1024);
        let (socket, _) = client_async_with_config(format!("ws://{address}{path}"), stream, Some(config))
            .await
            .context("the websocket handshake failed")?;
        Ok(Self { socket, sid: String::new() })
    }

    pub(crate) async fn send(&mut self, text: &str) -> anyhow::Result<()> {
        self.socket.send(Message::text(text)).await.context("cannot send")
    }

    /// Sends the text so many times, by as few writes as it takes.
    pub(crate) async fn send_all(&mut self, text: &Utf8Bytes, times: usize) -> anyhow::Result<()> {
        for _ in 0..times {
            self.socket.feed(Message::Text(text.clone())).await.context("cannot send")?;
        }
        self.socket.flush().await.context("cannot send")
    }

    /// The next text that is no ping; what the server refuses is an error, and its farewell is [`SentAway`]. Cancelling it loses nothing but a pong.
    pub(crate) async fn receive(&mut self) -> anyhow::Result<Utf8Bytes> {
        loop {
            let text = match self.socket.next().await {
                Some(Ok(Message::Text(text))) => text,
                Some(Ok(Message::Close(Some(why)))) if why.code == CloseCode::Away => return Err(SentAway.into()),
                Some(Ok(Message::Close(_))) | None => bail!("the server closed the connection"),
                Some(Ok(_)) => bail!("the server sent something else than text"),
                Some(Err(error)) => return Err(error).context("cannot receive"),
            };
            match text.as_str() {
                "2" => self.send("3").await?,
                refused if refused.starts_with(r#"42/rtc-cafe,["error""#) => bail!("the server refused: {refused}"),
                _ => return Ok(text),
            }
        }
    }

    /// What is there already.
    pub(crate) fn received(&mut self) -> Option<anyhow::Result<Utf8Bytes>> {
        self.receive().now_or_never()
    }

    /// The next text that begins so.
    pub(crate) async fn expect(&mut self, start: &str) -> anyhow::Result<Utf8Bytes> {
        let text = self.receive().await?;
        if !text.starts_with(start) {
            bail!("expected {start} and got {text}");
        }
        Ok(text)
    }

    /// Joins a room and waits until that is done, for whoever is first in it.
    pub(crate) async fn join_first(&mut self, room: &str) -> anyhow::Result<()> {
        self.send(&["42/rtc-cafe,1", &join(room)["42/rtc-cafe,".len()..]].concat()).await?;
        self.expect("43/rtc-cafe,1[]").await.map(drop)
    }
}

/// Two clients that reach each other, and what each sends to the other.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) ends: [(Client, Utf8Bytes); 2],
}

impl Pair {
    pub(crate) async fn open(server: &Server, name: String) -> anyhow::Result<Self> {
        let addresses = [server.address(0), server.address(1)];
        let (one, two) = match server.target {
            Target::Relay => (Client::relay(addresses[0], &name).await?, Client::relay(addresses[1], &name).await?),
            Target::Signaller | Target::Nodes => return Self::signaller(addresses, &name).await,
        };
        Ok(Self::of(one, two))
    }

    /// Two in a room of their own.
    pub(crate) async fn signaller(addresses: [SocketAddr; 2], room: &str) -> anyhow::Result<Self> {
        let mut one = Client::signaller(addresses[0]).await?;
        let mut two = Client::signaller(addresses[1]).await?;
        one.join_first(room).await?;
        two.join_first(room).await?;
        one.expect(r#"42/rtc-cafe,["acquire-peers","#).await?;
        Ok(Self::of(one, two))
    }

    fn of(one: Client, two: Client) -> Self {
        let (to_one, to_two) = (candidate(&one.sid), candidate(&two.sid));
        Self { ends: [(one, to_two), (two, to_one)] }
    }
}

/// Asks to join a room.
pub(crate) fn join(room: &str) -> String {
    format!(r#"42/rtc-cafe,["join",{{"room":"{room}","id":"a","prevSid":null}}]"#)
}

/// Answers whoever has joined a room.
pub(crate) fn response(announcement: &str, room: &str) -> anyhow::Result<String> {
    let recipient = sid(announcement)?;
    Ok(format!(r#"42/rtc-cafe,["acquire-peers-response",{{"recipient":"{recipient}","room":"{room}","id":"a"}}]"#))
}

/// The sid in a packet of the server.
fn sid(packet: &str) -> anyhow::Result<&str> {
    let behind = packet.split_once(r#""sid":""#).and_then(|(_, rest)| rest.split_once('"'));
    behind.map(|(sid, _)| sid).with_context(|| format!("there is no sid in {packet}"))
}

/// A candidate to a peer, its JSON [`SIGNAL`] bytes long.
fn candidate(recipient: &str) -> Utf8Bytes {
    let line = "candidate:842163049 1 udp 1677729535 203.0.113.77 46154 typ srflx raddr 192.168.1.17 rport 46154 \
                generation 0 ufrag ";
    let payload = |fill: usize| {
        let fill = "x".repeat(fill);
        format!(
            r#"{{"recipient":"{recipient}","id":"a","candidate":{{"candidate":"{line}{fill}","sdpMid":"0","sdpMLineIndex":0}}}}"#
        )
    };
    let payload = payload(SIGNAL - payload(0).len());
    format!(r#"42/rtc-cafe,["candidate",{payload}]"#).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_has_its_size() {
        for recipient in ["", "AAAAAAAAAAAAAAAAAAAA"] {
            let frame = candidate(recipient);
            let payload = frame.strip_prefix(r#"42/rtc-cafe,["candidate","#).and_then(|rest| rest.strip_suffix(']'));
            let payload = payload.unwrap();
            assert_eq!(payload.len(), SIGNAL);
            assert!(serde_json::from_str::<serde_json::Value>(payload).unwrap().is_object());
        }
    }

    #[test]
    fn a_response_goes_to_the_announced() {
        let announced = r#"42/rtc-cafe,["acquire-peers",{"id":"a","sid":"S1","prevSid":null,"room":"r"}]"#;
        assert!(response(announced, "r").unwrap().contains(r#"{"recipient":"S1","room":"r","id":"a"}"#));
        assert!(response("2", "r").is_err());
    }
}
