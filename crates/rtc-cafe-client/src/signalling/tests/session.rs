//! Against the real server.

use std::net::SocketAddr;

use axum::serve::ListenerExt;
use rtc_cafe_signaller::Signaller;
use rtc_cafe_wire::packet;

use super::*;

/// Our server, which ends with its test.
struct Server {
    signaller: Signaller,
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Server {
    async fn start(address: &str) -> Self {
        Self::with(address, Signaller::new()).await
    }

    async fn with(address: &str, signaller: Signaller) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let listener = listener.tap_io(|stream| stream.set_nodelay(true).unwrap());
        let router = axum::Router::new().nest("/cafe", signaller.router()).merge(signaller.router());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { signaller, address, serving }
    }

    fn client(&self) -> Client {
        Client::new(config(self.address.port()))
    }

    async fn stop(self) -> String {
        self.serving.abort();
        let _ = self.serving.await;
        self.signaller.shutdown().await;
        self.address.to_string()
    }
}

#[tokio::test]
async fn a_session_begins() {
    let server = Server::start("127.0.0.1:0").await;
    let mut client = server.client();
    assert_eq!(client.0.session().state(), SignallerState::Setup);
    assert_eq!(client.0.send(&join("r", "a")), Err(SendSignalError::NotConnected));
    client.expect_state(SignallerState::Connected).await;
    let ServerSignal::Sid { sid, api_version, session, .. } = client.signal().await else { panic!() };
    assert_eq!(client.0.session().sid(), Some(&sid));
    assert_eq!((api_version, session.is_some()), (Some(ApiVersion::V1_0), true));
    client.0.close().await;
    client.expect_state(SignallerState::Closed).await;
    assert_eq!(client.0.send(&join("r", "a")), Err(SendSignalError::NotConnected));
    while server.signaller.stats().connections > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn every_version_is_spoken() {
    let server = Server::start("127.0.0.1:0").await;
    for version in ApiVersion::ALL {
        let config = SignallingConfig { api_version: version, ..config(server.address.port()) };
        let mut client = Client::new(config);
        assert!(!client.connected().await.is_empty());
        assert_eq!(client.0.session().api_version(), version);
    }
}

#[tokio::test]
async fn a_nested_server_is_found() {
    let server = Server::start("127.0.0.1:0").await;
    let url = format!("ws://{}/cafe/", server.address).parse().unwrap();
    let mut client = Client::new(SignallingConfig::new(url));
    client.connected().await;
}

#[tokio::test]
async fn two_clients_find_each_other() {
    let server = Server::start("127.0.0.1:0").await;
    let (mut a, mut b) = (server.client(), server.client());
    let (sid_a, sid_b) = (a.connected().await, b.connected().await);
    a.0.send(&join("r", "a")).unwrap();
    let newcomer = async {
        // The room is entered before anybody else comes: a second question is answered behind the first signal.
        a.0.send(&ClientSignal::RequestSid { api_version: ApiVersion::LATEST }).unwrap();
        assert!(matches!(a.signal().await, ServerSignal::Sid { .. }));
        b.0.send(&join("r", "b")).unwrap();
        tokio::select! {
            signal = a.signal() => signal,
            event = b.0.recv() => panic!("{event:?}"),
        }
    };
    let ServerSignal::AcquirePeers(newcomer) = newcomer.await else { panic!() };
    assert_eq!((newcomer.sid.as_str(), newcomer.id.unwrap().as_str()), (sid_b.as_str(), "b"));
    let (recipient, room) = (newcomer.sid, newcomer.room.unwrap());
    let id = PermanentId::new("a").unwrap();
    a.0.send(&ClientSignal::AcquirePeersResponse { recipient, room, id }).unwrap();
    let answer = tokio::select! {
        signal = b.signal() => signal,
        event = a.0.recv() => panic!("{event:?}"),
    };
    let ServerSignal::AcquirePeersResponse(member) = answer else { panic!() };
    assert_eq!(member.sid.as_str(), sid_a);
    drop(a);
    let ServerSignal::PeerDisconnection { sid } = b.signal().await else { panic!() };
    assert_eq!(sid.as_str(), sid_a, "a client that is dropped is gone");
}

#[tokio::test]
async fn a_burst_keeps_its_order() {
    let server = Server::start("127.0.0.1:0").await;
    let (mut a, mut b) = (server.client(), server.client());
    a.connected().await;
    let sid_b = b.connected().await;
    b.0.send(&join("r", "b")).unwrap();
    b.0.send(&ClientSignal::RequestSid { api_version: ApiVersion::LATEST }).unwrap();
    b.signal().await;
    a.0.send(&join("r", "a")).unwrap();
    for number in 0..300 {
        a.0.send(&candidate(&sid_b, number.to_string())).unwrap();
    }
    tokio::spawn(async move { while let SignallingEvent::Signal(_) = a.0.recv().await {} });
    assert!(matches!(b.signal().await, ServerSignal::AcquirePeers(_)));
    for number in 0..300 {
        let ServerSignal::Handshake { handshake, .. } = b.signal().await else { panic!() };
        let HandshakeBody::Candidate(Some(candidate)) = handshake.body else { panic!() };
        assert_eq!(candidate.candidate, number.to_string());
    }
}

#[tokio::test]
async fn a_server_that_comes_back_is_found_again() {
    let server = Server::start("127.0.0.1:0").await;
    let mut client = server.client();
    let before = client.connected().await;
    let stop = tokio::spawn(server.stop());
    client.expect_state(SignallerState::Reconnecting).await;
    assert_eq!(client.0.session().sid().unwrap().as_str(), before, "it is known until there is another");
    assert_eq!(client.0.send(&join("r", "a")), Err(SendSignalError::NotConnected));
    let (address, events) = client.run(stop).await;
    let unreachable = |event: &_| matches!(event, SignallingEvent::Problem(SignallingProblem::Unreachable { .. }));
    assert!(events.iter().all(unreachable), "{events:?}");
    let _server = Server::start(&address).await;
    assert_ne!(client.connected().await, before);
}

#[tokio::test]
async fn what_is_too_long_is_refused_here() {
    let server = Server::start("127.0.0.1:0").await;
    let mut client = server.client();
    client.connected().await;
    let Err(SendSignalError::TooLarge { size, most }) = client.0.send(&offer(1_000_000)) else { panic!() };
    assert!(size > most && most == 1_000_000);
    // The longest that fits is taken: the server finds nobody to give it to.
    let frame = packet::event(Namespace::Cafe, 0, "offer", &offer(0).payload()).len();
    client.0.send(&offer(1_000_000 - frame)).unwrap();
    let ServerSignal::Error { code, .. } = client.signal().await else { panic!() };
    assert_eq!(code.as_deref(), Some("recipient-not-found"));
}

#[tokio::test]
async fn a_modifier_changes_what_is_sent() {
    let validate = |_sid, event: String, data: serde_json::Value| async move {
        if event == "join" && data["token"] != "t" { Err("no token".into()) } else { Ok(()) }
    };
    let server = Server::with("127.0.0.1:0", Signaller::builder().validate(validate).build()).await;
    let add = |name: &str, payload: String| match name {
        "join" => payload.replacen('{', "{\"token\":\"t\",", 1),
        _ => payload,
    };
    let config = SignallingConfig { modifier: Some(Box::new(add)), ..config(server.address.port()) };
    let (mut with, mut without) = (Client::new(config), server.client());
    with.connected().await;
    without.connected().await;
    for client in [&mut with, &mut without] {
        client.0.send(&join("r", "a")).unwrap();
        client.0.send(&ClientSignal::RequestSid { api_version: ApiVersion::LATEST }).unwrap();
    }
    assert!(matches!(with.signal().await, ServerSignal::Sid { .. }), "what is received is not changed");
    let ServerSignal::Error { error, .. } = without.signal().await else { panic!() };
    assert_eq!(error, "\"no token\"");
}

#[tokio::test]
async fn a_wrong_path_is_told_with_the_status() {
    let server = Server::start("127.0.0.1:0").await;
    let mut client = Client::new(SignallingConfig { path: "/nowhere".into(), ..config(server.address.port()) });
    let problem = client.problem().await;
    assert!(matches!(problem, SignallingProblem::Status { status: 404, .. }), "{problem}");
    let text = problem.to_string();
    assert!(text.contains("/nowhere/?EIO=4") && text.contains("404") && text.contains("check the URL"), "{text}");
    assert_eq!(client.0.session().state(), SignallerState::Setup);
}

#[tokio::test]
async fn a_foreign_origin_is_refused() {
    let server = Server::start("127.0.0.1:0").await;
    let mut config = config(server.address.port());
    config.headers.add("Origin", "https://elsewhere.example").unwrap();
    let problem = Client::new(config).problem().await.to_string();
    assert!(problem.contains("400") && problem.contains("Origin"), "{problem}");
}

#[tokio::test]
async fn who_is_kicked_stays_away() {
    let server = Server::start("127.0.0.1:0").await;
    let mut client = server.client();
    let sid = client.connected().await;
    assert_eq!(server.signaller.kick(&sid).here.len(), 1);
    let reason = "the operator of the server has ended this session".to_owned();
    assert_eq!(client.problem().await, SignallingProblem::Kicked { reason });
    client.expect_state(SignallerState::Closed).await;
    assert!(timeout(Duration::from_secs(4), client.0.recv()).await.is_err(), "it does not come back");
    assert_eq!(server.signaller.stats().connections, 0);
}
