//! Against servers that say what they should not, or nothing.

use futures_util::SinkExt;
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::protocol::frame::{
    Frame,
    coding::{Data, OpCode},
};

use super::*;

#[tokio::test]
async fn nothing_waits_for_the_open_packet() {
    let (listener, config) = listen().await;
    let server = tokio::spawn(async move { Raw::welcome(&listener).await });
    let mut client = Client::new(config);
    let (_server, _) = client.run(server).await;
}

#[tokio::test]
async fn pings_are_answered_and_silence_ends_the_connection() {
    let (listener, config) = listen().await;
    let mut client = Client::new(config);
    let server = tokio::spawn(async move {
        let mut raw = Raw::welcome(&listener).await;
        raw.send(r#"0{"pingInterval":600,"pingTimeout":400}"#).await;
        for _ in 0..3 {
            raw.send("2").await;
            raw.expect("3").await;
        }
        (listener, raw)
    });
    client.connected().await;
    let ((listener, _silent), _) = client.run(server).await;
    let after = Duration::from_secs(1);
    assert_eq!(client.problem().await, SignallingProblem::Silent { after });
    client.expect_state(SignallerState::Reconnecting).await;
    let server = tokio::spawn(async move { Raw::welcome(&listener).await });
    client.connected().await;
    drop(server);
}

#[tokio::test]
async fn a_flood_of_pings_does_not_grow_the_queue() {
    let (listener, config) = listen().await;
    let mut client = Client::new(config);
    let server = tokio::spawn(async move {
        let mut raw = Raw::welcome(&listener).await;
        for _ in 0..10_000 {
            raw.0.feed(Message::text("2")).await.unwrap();
        }
        raw.send(r#"42/rtc-cafe,["peer-disconnection",{"sid":"B"}]"#).await;
        raw.expect("3").await;
        raw
    });
    client.connected().await;
    assert!(matches!(client.signal().await, ServerSignal::PeerDisconnection { .. }));
    let (_server, events) = client.run(server).await;
    assert_eq!(events, []);
}

#[tokio::test]
async fn what_is_odd_is_told_and_does_no_harm() {
    let (listener, config) = listen().await;
    let mut client = Client::new(config);
    let server = tokio::spawn(async move {
        let mut raw = Raw::welcome(&listener).await;
        raw.send(r#"451-/rtc-cafe,["offer",{"sid":"B","offer":{"_placeholder":true,"num":0}}]"#).await;
        raw.message(Message::binary(vec![1, 2, 3])).await;
        for frame in ["x", "", "42/rtc-cafe,[\"sid\",", "42/rtc-cafe,[\"news\",{}]", "42[\"sid\",{\"sid\":\"X\"}]"] {
            raw.send(frame).await;
        }
        raw.message(Message::Ping("p".into())).await;
        raw.send(r#"42/rtc-cafe,["peer-disconnection",{"sid":"B"}]"#).await;
        assert_eq!(raw.receive().await, Some(Message::Pong("p".into())));
        raw
    });
    client.connected().await;
    for _ in 0..7 {
        client.problem().await;
    }
    assert!(matches!(client.signal().await, ServerSignal::PeerDisconnection { .. }));
    let (_server, events) = client.run(server).await;
    assert_eq!(events, []);
    assert_eq!(client.0.session().sid().unwrap().as_str(), "A");
}

#[tokio::test]
async fn a_message_without_end_is_not_read() {
    let whole = dial::MAX_MESSAGE + 1;
    for parts in [vec![whole], vec![whole / 2, whole / 2 + 1]] {
        let (listener, config) = listen().await;
        let mut client = Client::new(config);
        let server = tokio::spawn(async move {
            let mut raw = Raw::welcome(&listener).await;
            for (index, &part) in parts.iter().enumerate() {
                let kind = OpCode::Data(if index == 0 { Data::Text } else { Data::Continue });
                let frame = Frame::message("x".repeat(part), kind, false);
                // The client may be gone before all is written.
                let _ = in_time(raw.0.send(Message::Frame(frame))).await;
            }
            Raw::welcome(&listener).await
        });
        client.connected().await;
        let problem = client.problem().await;
        assert!(matches!(problem, SignallingProblem::Protocol(_)), "{problem}");
        client.expect_state(SignallerState::Reconnecting).await;
        client.connected().await;
        drop(server);
    }
}

#[tokio::test]
async fn a_frame_is_refused_by_its_announcement() {
    let (listener, config) = listen().await;
    let mut client = Client::new(config);
    let server = tokio::spawn(async move {
        let mut raw = Raw::welcome(&listener).await;
        let length = u64::try_from(dial::MAX_MESSAGE + 1).unwrap().to_be_bytes();
        let header = [&[0x81, 127], &length[..]].concat();
        raw.0.get_mut().write_all(&header).await.unwrap();
        raw
    });
    client.connected().await;
    let problem = client.problem().await;
    assert!(matches!(problem, SignallingProblem::Protocol(_)), "{problem}");
    drop(server);
}

#[tokio::test]
async fn what_the_server_does_not_read_is_bounded() {
    let (listener, config) = listen().await;
    let mut client = Client::new(config);
    let server = tokio::spawn(async move { Raw::welcome(&listener).await });
    client.connected().await;
    let sent = (0..100).map(|_| client.0.send(&offer(900_000))).take_while(Result::is_ok).count();
    assert_eq!(sent, 4);
    assert_eq!(client.0.send(&offer(900_000)), Err(SendSignalError::QueueFull));
    let mut raw = server.await.unwrap();
    let reads = tokio::spawn(async move {
        for _ in 0..4 {
            assert!(raw.receive().await.unwrap().len() > 900_000);
        }
        raw
    });
    let (_raw, _) = client.run(reads).await;
    client.0.send(&offer(900_000)).unwrap();
}

#[tokio::test]
async fn the_server_says_how_much_it_takes() {
    let (listener, config) = listen().await;
    let mut client = Client::new(config);
    let server = tokio::spawn(async move {
        let mut raw = Raw::welcome(&listener).await;
        raw.send(r#"0{"maxPayload":500}"#).await;
        raw.send(r#"42/rtc-cafe,["peer-disconnection",{"sid":"B"}]"#).await;
        raw
    });
    client.connected().await;
    client.signal().await;
    assert!(matches!(client.0.send(&offer(500)), Err(SendSignalError::TooLarge { most: 500, .. })));
    client.0.send(&join("r", "a")).unwrap();
    drop(server);
}

#[tokio::test]
async fn a_goodbye_is_said() {
    let (listener, config) = listen().await;
    let mut client = Client::new(config);
    let server = tokio::spawn(async move {
        let mut raw = Raw::welcome(&listener).await;
        raw.expect(r#"42/rtc-cafe,["join",{"room":"r","id":"a"}]"#).await;
        raw.expect("41/rtc-cafe,").await;
        assert!(matches!(raw.receive().await, Some(Message::Close(Some(_)))));
        assert_eq!(raw.receive().await, None);
    });
    client.connected().await;
    client.0.send(&join("r", "a")).unwrap();
    in_time(client.0.close()).await;
    client.expect_state(SignallerState::Closed).await;
    in_time(server).await.unwrap();
    let silent = std::future::poll_fn(|cx| std::task::Poll::Ready(client.0.poll(cx))).await;
    assert!(silent.is_pending(), "nothing comes behind the end");
}

#[tokio::test]
async fn a_server_that_never_answers_the_goodbye_is_left() {
    let (listener, config) = listen().await;
    let mut client = Client::new(config);
    let server = tokio::spawn(async move { Raw::welcome(&listener).await });
    client.connected().await;
    let _silent = server.await.unwrap();
    in_time(client.0.close()).await;
    client.expect_state(SignallerState::Closed).await;
}

#[tokio::test]
async fn headers_and_credentials_are_sent() {
    let (listener, mut config) = listen().await;
    config.headers.add("Cookie", "secret=1").unwrap();
    config.headers.add("Origin", "https://example.org").unwrap();
    config.auth = Some(r#"{"token":"secret"}"#.into());
    let server = tokio::spawn(async move {
        use tokio::io::AsyncReadExt;
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(in_time(stream.read_u8()).await.unwrap());
        }
        drop(stream);
        let mut raw = Raw::accept(&listener).await;
        raw.expect(r#"40/rtc-cafe,{"token":"secret","signals":[["request-sid",{"apiVersion":"1.0"}]]}"#).await;
        String::from_utf8(request).unwrap()
    });
    let mut client = Client::new(config);
    assert!(!format!("{:?}", client.0).contains("secret"));
    let (request, _) = client.run(server).await;
    assert!(request.starts_with("GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("\r\ncookie: secret=1\r\n"), "{request}");
    assert!(request.contains("\r\nOrigin: https://example.org\r\n"), "{request}");
}

#[tokio::test]
async fn a_sid_may_come_ahead_of_the_confirmation() {
    let (listener, config) = listen().await;
    let mut client = Client::new(SignallingConfig { api_version: ApiVersion::V0_0, ..config });
    let server = tokio::spawn(async move {
        let mut raw = Raw::accept(&listener).await;
        raw.expect("40").await;
        for frame in [OPEN, r#"42["sid",{"sid":"A"}]"#, r#"40{"sid":"A"}"#] {
            raw.send(frame).await;
        }
        raw.expect(r#"42["join",{"room":"r","id":"a"}]"#).await;
        raw
    });
    assert_eq!(client.connected().await, "A");
    client.0.send(&join("r", "a")).unwrap();
    let (_server, events) = client.run(server).await;
    assert_eq!(events, []);
}

#[tokio::test]
async fn a_modifier_that_makes_no_json_is_told() {
    let (listener, config) = listen().await;
    let modifier: SignalModifier = Box::new(|_, _| "not JSON".into());
    let mut client = Client::new(SignallingConfig { modifier: Some(modifier), ..config });
    let server = tokio::spawn(async move {
        let mut raw = Raw::accept(&listener).await;
        raw.expect("40/rtc-cafe,").await;
        raw.send(ENTERED).await;
        raw
    });
    assert_eq!(client.problem().await, SignallingProblem::Modifier("request-sid"));
    client.expect_state(SignallerState::Connected).await;
    assert_eq!(client.0.send(&join("r", "a")), Err(SendSignalError::Modifier("join")));
    drop(server);
}

#[tokio::test]
async fn the_first_signals_go_with_the_question_for_the_namespace() {
    let (listener, _) = listen().await;
    let (sid, join_room) = (r#"["request-sid",{"apiVersion":"1.0"}]"#, r#"["join",{"room":"R","id":"a"}]"#);
    // A server that knows nothing of it is told again.
    for taken in [2, 0] {
        let raw = Raw::accept(&listener);
        let mut client = Signalling::connect(config(listener.local_addr().unwrap().port()));
        let server = async {
            let mut raw = raw.await;
            raw.expect(&format!(r#"40/rtc-cafe,{{"signals":[{sid},{join_room}]}}"#)).await;
            raw.send(OPEN).await;
            raw.send(&format!(r#"40/rtc-cafe,{{"sid":"x","signals":{taken}}}"#)).await;
            if taken == 0 {
                raw.expect(&format!("42/rtc-cafe,{sid}")).await;
                raw.expect(&format!("42/rtc-cafe,{join_room}")).await;
            }
            raw.send(r#"42/rtc-cafe,["peer-disconnection",{"sid":"B"}]"#).await;
            raw
        };
        let talk = async {
            assert_eq!(in_time(client.recv()).await, SignallingEvent::Opened);
            client.send(&join("R", "a")).unwrap();
            assert_eq!(in_time(client.recv()).await, SignallingEvent::State(SignallerState::Connected));
            in_time(client.recv()).await
        };
        let (_raw, event) = tokio::join!(server, talk);
        assert!(matches!(event, SignallingEvent::Signal(ServerSignal::PeerDisconnection { .. })), "{event:?}");
    }
}
