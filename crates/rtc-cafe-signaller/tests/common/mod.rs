//! A real server on a free port, and clients that speak raw frames.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]

use std::{net::SocketAddr, time::Duration};

use axum::{Router, serve::ListenerExt};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use rtc_cafe_signaller::Signaller;
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{self, Message, client::IntoClientRequest},
};

const PATIENCE: Duration = Duration::from_secs(10);

/// A server that ends with its test.
pub struct Server {
    pub signaller: Signaller,
    pub address: SocketAddr,
    path: &'static str,
}

impl Server {
    pub async fn start() -> Self {
        Self::with(Signaller::new()).await
    }

    pub async fn with(signaller: Signaller) -> Self {
        let router = signaller.router();
        Self::serve(signaller, router, "/socket.io/").await
    }

    pub async fn serve(signaller: Signaller, router: Router, path: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let listener = listener.tap_io(|stream| stream.set_nodelay(true).unwrap());
        tokio::spawn(
            async move { axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>()).await },
        );
        Self { signaller, address, path }
    }

    pub fn websocket_url(&self, query: &str) -> String {
        format!("ws://{}{}?EIO=4&transport=websocket{query}", self.address, self.path)
    }

    /// Sends a request of its own connection.
    pub async fn http(&self, method: Method, query: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Reply {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(format!("{}?{query}", self.path));
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", self.address.to_string());
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        let response = timeout(PATIENCE, sender.send_request(request)).await.expect("an answer in time").unwrap();
        let (parts, body) = response.into_parts();
        let body = timeout(PATIENCE, body.collect()).await.expect("a body in time").unwrap().to_bytes();
        Reply { status: parts.status, headers: parts.headers, body: String::from_utf8(body.to_vec()).unwrap() }
    }

    pub async fn get(&self, query: &str) -> Reply {
        self.http(Method::GET, query, &[], "").await
    }
}

/// An answer to a request.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// A raw websocket client.
pub struct Client {
    pub socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub sid: String,
}

impl Client {
    /// A websocket that has got the open packet and nothing more.
    pub async fn open(server: &Server) -> Self {
        Self::with_headers(server, &[]).await
    }

    /// The same, with more headers in its request.
    pub async fn with_headers(server: &Server, headers: &[(&'static str, String)]) -> Self {
        Self::try_with_headers(server, headers).await.unwrap()
    }

    pub async fn try_with_headers(
        server: &Server,
        headers: &[(&'static str, String)],
    ) -> Result<Self, tungstenite::Error> {
        let mut request = server.websocket_url("").into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let (socket, _) = connect_async(request).await?;
        let mut client = Self { socket, sid: String::new() };
        assert!(client.receive().await.starts_with("0{"));
        Ok(client)
    }

    /// A client in the namespace `/rtc-cafe`.
    pub async fn connect(server: &Server) -> Self {
        let mut client = Self::open(server).await;
        client.enter(&json!({})).await;
        client
    }

    /// Enters the namespace, saying this.
    pub async fn enter(&mut self, auth: &Value) {
        self.send(&format!("40/rtc-cafe,{auth}")).await;
        let reply = self.receive().await;
        let content = reply.strip_prefix("40/rtc-cafe,").unwrap_or_else(|| panic!("the namespace is entered: {reply}"));
        self.sid = serde_json::from_str::<Value>(content).unwrap()["sid"].as_str().unwrap().to_owned();
    }

    /// Tries that, and returns why it is refused: code and message.
    pub async fn refused(&mut self, auth: &Value) -> (String, String) {
        self.send(&format!("40/rtc-cafe,{auth}")).await;
        let reply = self.receive().await;
        let content = reply.strip_prefix("44/rtc-cafe,").unwrap_or_else(|| panic!("a refusal: {reply}"));
        let content: Value = serde_json::from_str(content).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&content["data"]["code"]), text(&content["message"]))
    }

    /// A client in a room.
    pub async fn join(server: &Server, room: &str, id: &str) -> Self {
        let mut client = Self::connect(server).await;
        client.emit("join", json!({"room": room, "id": id})).await;
        client
    }

    /// A client that has agreed on version 1.0, and its secret.
    pub async fn modern(server: &Server) -> (Self, String) {
        let mut client = Self::connect(server).await;
        client.emit("request-sid", json!({"apiVersion": "1.0"})).await;
        let reply = client.event("sid").await;
        assert_eq!((&reply["sid"], &reply["apiVersion"]), (&json!(client.sid), &json!("1.0")));
        let secret = reply["session"].as_str().unwrap().to_owned();
        (client, secret)
    }

    pub async fn send(&mut self, frame: &str) {
        self.socket.send(Message::text(frame)).await.unwrap();
    }

    pub async fn send_binary(&mut self, bytes: &'static [u8]) {
        self.socket.send(Message::binary(bytes)).await.unwrap();
    }

    pub async fn emit(&mut self, event: &str, payload: Value) {
        self.send(&format!("42/rtc-cafe,{}", json!([event, payload]))).await;
    }

    pub async fn message(&mut self) -> Option<Message> {
        timeout(PATIENCE, self.socket.next()).await.expect("a frame in time").and_then(Result::ok)
    }

    /// The next packet; pings are answered.
    pub async fn receive(&mut self) -> String {
        loop {
            match self.message().await.expect("the connection lives") {
                Message::Text(text) if text == "2" => self.send("3").await,
                Message::Text(text) => return text.to_string(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    pub async fn expect(&mut self, frame: &str) {
        assert_eq!(self.receive().await, frame);
    }

    /// The payload of the next packet, which must be this event.
    pub async fn event(&mut self, name: &str) -> Value {
        let frame = self.receive().await;
        let content = frame.strip_prefix("42/rtc-cafe,").unwrap_or_else(|| panic!("an event, not {frame}"));
        let mut content: Vec<Value> = serde_json::from_str(content).unwrap();
        assert_eq!((content.len(), &content[0]), (2, &json!(name)), "{frame}");
        content.remove(1)
    }

    /// The next packet is an error with this code about this event, and says something.
    pub async fn error(&mut self, code: &str, about: &str) -> Value {
        let error = self.event("error").await;
        assert_eq!((&error["code"], &error["originalMessage"]), (&json!(code), &json!(about)), "{error}");
        assert!(error["error"].as_str().is_some_and(|text| text.len() > 10), "{error}");
        error
    }

    /// Waits until everything that this client sent is done, and checks that nothing has come for it.
    pub async fn nothing(&mut self) {
        self.send("42/rtc-cafe,[\"request-sid\",null]").await;
        let sid = self.event("sid").await;
        assert_eq!(sid["sid"], self.sid);
    }

    /// The same for a client of version 1.0.
    pub async fn nothing_modern(&mut self) {
        self.send("42/rtc-cafe,[\"request-sid\",{\"apiVersion\":\"1.0\"}]").await;
        assert_eq!(self.event("sid").await["sid"], self.sid);
    }

    /// Waits until the server has closed the connection; returns the code of the close frame, if there was one.
    pub async fn closed(&mut self) -> Option<u16> {
        loop {
            match self.message().await? {
                Message::Close(frame) => return frame.map(|frame| frame.code.into()),
                Message::Text(text) if text == "2" => {}
                Message::Text(text) => panic!("a frame where the end was expected: {text}"),
                _ => {}
            }
        }
    }
}

/// Opens a websocket with an Origin, or the status of the refusal.
pub async fn websocket_from(server: &Server, origin: &str) -> Result<(), StatusCode> {
    let mut request = server.websocket_url("").into_client_request().unwrap();
    request.headers_mut().insert("origin", origin.parse().unwrap());
    match connect_async(request).await {
        Ok(_) => Ok(()),
        Err(tokio_tungstenite::tungstenite::Error::Http(response)) => Err(response.status()),
        Err(other) => panic!("{other}"),
    }
}

/// A client that polls.
pub struct Poller<'a> {
    pub server: &'a Server,
    pub session: String,
}

impl<'a> Poller<'a> {
    pub async fn open(server: &'a Server) -> Self {
        let reply = server.get("EIO=4&transport=polling").await;
        let open: Value = serde_json::from_str(reply.body.strip_prefix('0').unwrap()).unwrap();
        Self { server, session: open["sid"].as_str().unwrap().to_owned() }
    }

    pub fn query(&self) -> String {
        format!("EIO=4&transport=polling&sid={}", self.session)
    }

    /// Enters the namespace, and returns the sid.
    pub async fn connect(&self) -> String {
        self.post("40/rtc-cafe,").await;
        let reply = self.poll().await;
        let content: Value = serde_json::from_str(reply.strip_prefix("40/rtc-cafe,").unwrap()).unwrap();
        content["sid"].as_str().unwrap().to_owned()
    }

    pub async fn post(&self, body: impl Into<Bytes>) {
        let reply = self.server.http(Method::POST, &self.query(), &[], body).await;
        assert_eq!((reply.status, reply.body.as_str()), (StatusCode::OK, "ok"));
    }

    pub async fn poll(&self) -> String {
        let reply = self.server.get(&self.query()).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.body);
        reply.body
    }
}
