//! Attempts that fail, and those after them.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// Answers one request with this text.
async fn answer(listener: &TcpListener, text: &str) {
    let (mut stream, _) = in_time(listener.accept()).await.unwrap();
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(in_time(stream.read_u8()).await.unwrap());
    }
    stream.write_all(text.as_bytes()).await.unwrap();
}

async fn problem_with(reply: &'static str) -> SignallingProblem {
    let (listener, config) = listen().await;
    let server = tokio::spawn(async move {
        answer(&listener, reply).await;
        listener
    });
    let problem = Client::new(config).problem().await;
    server.await.unwrap();
    problem
}

#[tokio::test]
async fn nobody_is_there() {
    let (listener, config) = listen().await;
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut client = Client::new(config);
    let problem = client.problem().await;
    assert!(matches!(problem, SignallingProblem::Unreachable { .. }), "{problem}");
    assert!(problem.to_string().contains(&address.to_string()), "{problem}");
}

#[tokio::test]
async fn what_repeats_is_told_once() {
    let (listener, config) = listen().await;
    let mut client = Client::new(config);
    let server = tokio::spawn(async move {
        for status in ["404 Not Found", "404 Not Found", "404 Not Found", "502 Bad Gateway"] {
            answer(&listener, &format!("HTTP/1.1 {status}\r\n\r\n")).await;
        }
        drop(Raw::welcome(&listener).await);
        answer(&listener, "HTTP/1.1 502 Bad Gateway\r\n\r\n").await;
        Raw::welcome(&listener).await
    });
    assert!(matches!(client.problem().await, SignallingProblem::Status { status: 404, .. }));
    assert!(matches!(client.problem().await, SignallingProblem::Status { status: 502, .. }));
    client.connected().await;
    client.expect_state(SignallerState::Reconnecting).await;
    let again = client.problem().await;
    assert!(matches!(again, SignallingProblem::Status { status: 502, .. }), "another outage, told again: {again}");
    client.connected().await;
    drop(server);
}

#[tokio::test]
async fn a_host_without_address() {
    let url = "http://host.invalid".parse().unwrap();
    let mut client = Client::new(SignallingConfig::new(url));
    let problem = client.problem().await;
    assert!(matches!(problem, SignallingProblem::Unreachable { .. }), "{problem}");
}

#[tokio::test]
async fn answers_of_http() {
    let redirect = "HTTP/1.1 302 Found\r\nLocation: https://example.org/x\r\n\r\n";
    let text = problem_with(redirect).await.to_string();
    assert!(text.contains("302 and redirects to https://example.org/x; use the address"), "{text}");
    let text = problem_with("HTTP/1.1 400 Bad Request\r\n\r\n\"Not an accepted\u{7} origin.\"").await.to_string();
    assert!(text.contains("status 400 (\"Not an accepted  origin.\"); check"), "{text}");
    let text = problem_with("HTTP/1.1 503 Busy\r\n\r\n").await.to_string();
    assert!(text.ends_with("status 503; the server is busy or about to start"), "{text}");
    let problem = problem_with("HTTP/1.1 101 Switching\r\nUpgrade: tea\r\n\r\n").await;
    assert!(matches!(problem, SignallingProblem::Handshake { .. }), "{problem}");
    let problem = problem_with("SSH-2.0-OpenSSH\r\n\r\n").await;
    assert!(matches!(problem, SignallingProblem::Handshake { .. }), "{problem}");
}

#[tokio::test]
async fn an_attempt_has_its_time() {
    let after = Duration::from_millis(300);
    for upgrade in [false, true] {
        let (listener, config) = listen().await;
        let mut client = Client::new(SignallingConfig { connect_timeout: after, ..config });
        let server = tokio::spawn(async move {
            if upgrade {
                let mut raw = Raw::accept(&listener).await;
                raw.send(OPEN).await;
                // Signs of life are not enough.
                loop {
                    raw.send("6").await;
                    if raw.receive().await.is_none() {
                        return;
                    }
                }
            }
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            let _ = stream.read_to_end(&mut request).await;
        });
        let problem = client.problem().await;
        assert!(
            matches!(problem, SignallingProblem::ConnectTimedOut { after: told, .. } if told == after),
            "{problem}"
        );
        assert_eq!(client.0.session().state(), SignallerState::Setup);
        client.0.close().await;
        in_time(server).await.unwrap();
    }
}

#[tokio::test]
async fn a_refused_namespace_is_asked_for_again() {
    let (listener, config) = listen().await;
    let mut client = Client::new(config);
    let server = tokio::spawn(async move {
        let mut raw = Raw::accept(&listener).await;
        raw.send(OPEN).await;
        raw.send(r#"44/rtc-cafe,{"message":"not yet"}"#).await;
        // The connection is of no use any more, and ended.
        while raw.receive().await.is_some() {}
        Raw::welcome(&listener).await
    });
    let refused = SignallingProblem::NamespaceRefused { namespace: "/rtc-cafe", message: "not yet".into() };
    assert_eq!(client.problem().await, refused);
    assert_eq!(client.connected().await, "A");
    drop(server);
}

#[tokio::test]
async fn a_server_that_ends_the_session() {
    for frame in ["41/rtc-cafe,", "1"] {
        let (listener, config) = listen().await;
        let mut client = Client::new(config);
        let server = tokio::spawn(async move {
            Raw::welcome(&listener).await.send(frame).await;
            Raw::welcome(&listener).await
        });
        client.connected().await;
        client.expect_state(SignallerState::Reconnecting).await;
        client.expect_state(SignallerState::Connected).await;
        drop(server);
    }
}

#[tokio::test]
async fn a_server_that_says_why_it_closes() {
    use tokio_tungstenite::tungstenite::protocol::{CloseFrame, frame::coding::CloseCode};
    let (listener, config) = listen().await;
    let mut client = Client::new(config);
    let server = tokio::spawn(async move {
        let mut raw = Raw::welcome(&listener).await;
        let frame = CloseFrame { code: CloseCode::Policy, reason: "enough".into() };
        raw.message(Message::Close(Some(frame))).await;
        assert!(matches!(raw.receive().await, Some(Message::Close(_))), "it is answered");
    });
    client.connected().await;
    assert_eq!(client.problem().await, SignallingProblem::Closed { code: 1008, reason: "enough".into() });
    client.expect_state(SignallerState::Reconnecting).await;
    in_time(server).await.unwrap();
}

#[tokio::test]
async fn a_connection_that_is_dropped_without_a_word() {
    let (listener, config) = listen().await;
    let mut client = Client::new(config);
    let server = tokio::spawn(async move {
        drop(Raw::accept(&listener).await);
        Raw::welcome(&listener).await
    });
    let problem = client.problem().await;
    assert!(matches!(problem, SignallingProblem::Dropped { .. }), "{problem}");
    client.connected().await;
    drop(server);
}

#[tokio::test]
async fn a_hint_skips_the_wait() {
    let (listener, config) = listen().await;
    let address = listener.local_addr().unwrap();
    drop(listener);
    let hour = Duration::from_secs(3600);
    let backoff = BackoffConfig { first: hour, max: hour, jitter: 0.0 };
    let mut client = Client::new(SignallingConfig { backoff, ..config });
    client.problem().await;
    let listener = TcpListener::bind(address).await.unwrap();
    client.0.retry_now();
    let server = tokio::spawn(async move { Raw::welcome(&listener).await });
    client.connected().await;
    drop(server);
}

#[tokio::test]
async fn a_hint_begins_a_stuck_attempt_anew() {
    let (listener, config) = listen().await;
    let mut client = Client::new(config);
    let server = tokio::spawn(async move {
        let (stuck, _) = listener.accept().await.unwrap();
        (listener, stuck)
    });
    let ((listener, _stuck), _) = client.run(server).await;
    client.0.retry_now();
    let server = tokio::spawn(async move { Raw::welcome(&listener).await });
    client.connected().await;
    drop(server);
}

#[tokio::test]
async fn a_hint_asks_a_connection_whether_it_lives() {
    let (listener, config) = listen().await;
    let mut client = Client::new(config);
    let server = tokio::spawn(async move {
        let mut raw = Raw::welcome(&listener).await;
        assert!(matches!(raw.receive().await, Some(Message::Ping(_))));
        raw
    });
    client.connected().await;
    // The server has 45 seconds otherwise.
    client.0.retry_now();
    client.0.retry_now();
    let (raw, events) = client.run(server).await;
    assert_eq!(events, []);
    // It is the websocket that answers, when it is read next; this one is not.
    assert!(matches!(client.problem().await, SignallingProblem::Silent { after } if after.as_secs() == 2));
    drop(raw);
}
