//! The frames of `docs/protocol.md`, byte by byte: what is written, and that it is read back as what it was.
#![allow(clippy::unwrap_used, reason = "a test")]

use rtc_cafe_wire::{
    ApiVersion, PermanentId, RoomId, Sid, TrackId,
    json::Object,
    packet,
    peer::{Frame, FrameError, TrackKind},
    signal::{
        Announcement, ClientSignal, ConnectionId, Handshake, HandshakeBody, IceCandidate, ServerSignal, SignalError,
        server,
    },
};

fn sid(text: &str) -> Sid {
    Sid::new(text).unwrap()
}

fn id() -> PermanentId {
    PermanentId::new("a1").unwrap()
}

fn track() -> TrackId {
    TrackId::new("t1").unwrap()
}

fn handshake(body: HandshakeBody) -> Handshake {
    Handshake {
        connection: ConnectionId(3),
        peer_connection: Some(ConnectionId(8)),
        negotiation: 1,
        offers: 0,
        restart: false,
        mids: vec![],
        body,
    }
}

/// What one side has made ready, and does not know yet for whom.
fn ready(connection: u32, body: HandshakeBody) -> Handshake {
    Handshake { connection: ConnectionId(connection), peer_connection: None, ..handshake(body) }
}

fn candidate() -> IceCandidate {
    IceCandidate {
        candidate: "candidate:1 1 udp 2113937151 192.0.2.1 54400 typ host".into(),
        sdp_mid: Some("0".into()),
        sdp_m_line_index: Some(0),
        username_fragment: Some("Ab+/".into()),
    }
}

#[test]
fn client_signals() {
    let golden = [
        (ClientSignal::RequestSid { api_version: ApiVersion::V1_0 }, "request-sid", r#"{"apiVersion":"1.0"}"#),
        (
            ClientSignal::Join {
                room: RoomId::named("R \"1\"").unwrap(),
                id: id(),
                prev_sid: None,
                prev_session: None,
                answers: vec![],
                informed: true,
            },
            "join",
            r#"{"room":"R \"1\"","id":"a1"}"#,
        ),
        (
            ClientSignal::Join {
                room: RoomId::numbered(5),
                id: id(),
                prev_sid: Some(sid("old")),
                prev_session: Some("secret".into()),
                answers: vec![],
                informed: true,
            },
            "join",
            r#"{"room":5,"id":"a1","prevSid":"old","prevSession":"secret"}"#,
        ),
        (
            ClientSignal::Join {
                room: RoomId::named("R").unwrap(),
                id: id(),
                prev_sid: None,
                prev_session: None,
                answers: vec![ready(8, HandshakeBody::Answer("v=0\r\n".into()))],
                informed: true,
            },
            "join",
            r#"{"room":"R","id":"a1","answers":[{"answer":{"type":"answer","sdp":"v=0\r\n"},"connection":8,"negotiation":1,"offers":0}],"informed":true}"#,
        ),
        (
            ClientSignal::Hold { id: id(), handshake: ready(3, HandshakeBody::Offer("v=0\r\n".into())) },
            "hold",
            r#"{"id":"a1","offer":{"type":"offer","sdp":"v=0\r\n"},"connection":3,"negotiation":1}"#,
        ),
        (
            ClientSignal::AcquirePeersResponse { recipient: sid("B"), room: RoomId::named("R").unwrap(), id: id() },
            "acquire-peers-response",
            r#"{"recipient":"B","room":"R","id":"a1"}"#,
        ),
    ];
    for (signal, name, payload) in golden {
        assert_eq!((signal.name(), signal.payload().as_str()), (name, payload));
    }
}

/// What a client sends as a handshake is what the other client reads, once the server has put its stamp on it.
#[test]
fn handshakes() {
    let golden = [
        (HandshakeBody::Offer("v=0\r\n".into()), "offer", r#""offer":{"type":"offer","sdp":"v=0\r\n"}"#),
        (HandshakeBody::Answer("v=0\r\n".into()), "answer", r#""answer":{"type":"answer","sdp":"v=0\r\n"}"#),
        (
            HandshakeBody::Candidate(Some(candidate())),
            "candidate",
            r#""candidate":{"candidate":"candidate:1 1 udp 2113937151 192.0.2.1 54400 typ host","sdpMid":"0","sdpMLineIndex":0,"usernameFragment":"Ab+/"}"#,
        ),
        (HandshakeBody::Candidate(None), "candidate", r#""candidate":null"#),
    ];
    for (body, name, text) in golden {
        let handshake = handshake(body);
        let signal = ClientSignal::Handshake { recipient: sid("B"), id: id(), handshake: handshake.clone() };
        let offers = if name == "answer" { r#","offers":0"# } else { "" };
        let fields = format!(r#"{text},"connection":3,"peerConnection":8,"negotiation":1{offers}}}"#);
        assert_eq!(signal.name(), name);
        assert_eq!(signal.payload(), format!(r#"{{"recipient":"B","id":"a1",{fields}"#));

        let relayed = server::relay("\"a1\"", "A", &Object::parse(&signal.payload()).unwrap());
        assert_eq!(relayed, format!(r#"{{"id":"a1","sid":"A","recipient":"B",{fields}"#));
        let read = ServerSignal::decode(name, &relayed).unwrap();
        assert_eq!(read, ServerSignal::Handshake { sid: sid("A"), id: Some(id()), handshake });
    }
}

#[test]
fn a_stamp_cannot_be_overridden() {
    let payload =
        Object::parse(r#"{"recipient":"B","sid":"SPOOF","id":"victim","s\u0069d":"SPOOF","x":[1.50]}"#).unwrap();
    let secret = Object::parse(r#"{"id":7,"token":"t","recipient":"B","x":[1.50]}"#).unwrap();
    assert_eq!(server::relay("null", "A", &secret), server::relay("null", "A", &payload));
    assert_eq!(server::relay("null", "A", &payload), r#"{"id":null,"sid":"A","recipient":"B","x":[1.50]}"#);
}

#[test]
fn server_signals() {
    let announcement = |prev_sid: Option<&str>, room| Announcement {
        sid: sid("B"),
        id: Some(id()),
        prev_sid: prev_sid.map(sid),
        room,
        offered: None,
    };
    let golden = [
        (
            "sid",
            server::sid("A"),
            r#"{"sid":"A"}"#,
            ServerSignal::Sid { sid: sid("A"), api_version: None, ice_servers: None, session: None },
        ),
        (
            "sid",
            server::session("A", ApiVersion::V1_0, "secret", r#"[{"urls":"stun:192.0.2.1"}]"#),
            r#"{"sid":"A","apiVersion":"1.0","session":"secret","iceServers":[{"urls":"stun:192.0.2.1"}]}"#,
            ServerSignal::Sid {
                sid: sid("A"),
                api_version: Some(ApiVersion::V1_0),
                ice_servers: Some(r#"[{"urls":"stun:192.0.2.1"}]"#.into()),
                session: Some("secret".into()),
            },
        ),
        (
            "acquire-peers",
            server::announcement("\"a1\"", "B", Some("oldB"), None),
            r#"{"id":"a1","sid":"B","prevSid":"oldB"}"#,
            ServerSignal::AcquirePeers(announcement(Some("oldB"), None)),
        ),
        (
            "acquire-peers-response",
            server::announcement("\"a1\"", "B", None, Some("5")),
            r#"{"id":"a1","sid":"B","prevSid":null,"room":5}"#,
            ServerSignal::AcquirePeersResponse(announcement(None, Some(RoomId::numbered(5)))),
        ),
        (
            "peer-disconnection",
            server::peer_disconnection("B"),
            r#"{"sid":"B"}"#,
            ServerSignal::PeerDisconnection { sid: sid("B") },
        ),
        (
            "error",
            server::error("\"no such room\"", "invalid-room", "join", Some("B")),
            r#"{"error":"no such room","originalMessage":"join","code":"invalid-room","recipient":"B"}"#,
            ServerSignal::Error {
                error: "\"no such room\"".into(),
                code: Some("invalid-room".into()),
                original_message: Some("join".into()),
                recipient: Some(sid("B")),
            },
        ),
    ];
    for (name, written, payload, signal) in golden {
        assert_eq!(written, payload);
        assert_eq!(ServerSignal::decode(name, payload), Ok(signal));
    }
}

/// What the original servers send.
#[test]
fn signals_of_older_servers() {
    let anonymous = Announcement { sid: sid("B"), id: None, prev_sid: None, room: None, offered: None };
    for payload in [r#"{"sid":"B"}"#, r#"{"sid":"B","prevSid":null}"#, r#"{"id":null,"sid":"B","prevSid":null}"#] {
        assert_eq!(ServerSignal::decode("acquire-peers", payload), Ok(ServerSignal::AcquirePeers(anonymous.clone())));
    }
    let decode = |name, payload| ServerSignal::decode(name, payload).unwrap_err();
    assert_eq!(decode("acquire-peers", r#"{"sid":""}"#), SignalError::Field("sid"));
    assert_eq!(decode("offer", r#"{"sid":"B"}"#), SignalError::Field("offer"));
    assert_eq!(decode("offer", r#"{"sid":"B","offer":"v=0"}"#), SignalError::Field("offer"));
    assert_eq!(decode("candidate", r#"{"sid":"B","candidate":{}}"#), SignalError::Field("candidate"));
    assert_eq!(decode("something", "{}"), SignalError::Unknown);
    assert!(matches!(decode("sid", "[]"), SignalError::Json(_)));
}

#[test]
fn peer_frames() {
    let golden = [
        (
            Frame::Hello {
                version: 1,
                id: id(),
                sid: Some(sid("A")),
                stream: 2,
                heard: 1,
                received: 17,
                before: 4,
                tracks: vec![track()],
            },
            r#"{"type":"hello","version":1,"id":"a1","sid":"A","stream":2,"heard":1,"received":17,"before":4,"tracks":["t1"]}"#,
        ),
        (
            Frame::Hello {
                version: 1,
                id: id(),
                sid: None,
                stream: 1,
                heard: 0,
                received: 0,
                before: 0,
                tracks: vec![],
            },
            r#"{"type":"hello","version":1,"id":"a1","stream":1,"heard":0,"received":0,"before":0,"tracks":[]}"#,
        ),
        (Frame::Ack { received: 64 }, r#"{"type":"ack","received":64}"#),
        (
            Frame::Peers {
                room: RoomId::named("R").unwrap(),
                added: vec![(PermanentId::new("b1").unwrap(), sid("B"))],
                removed: vec![PermanentId::new("c1").unwrap()],
            },
            r#"{"type":"peers","room":"R","added":{"b1":"B"},"removed":["c1"]}"#,
        ),
        (
            Frame::Relay {
                from: id(),
                sid: Some(sid("A")),
                to: PermanentId::new("c1").unwrap(),
                room: RoomId::named("R").unwrap(),
                number: 3,
                hops: 2,
                body: r#"{"offer":{"type":"offer","sdp":"v=0"},"connection":3,"negotiation":1}"#,
            },
            "{\"type\":\"relay\",\"from\":\"a1\",\"sid\":\"A\",\"to\":\"c1\",\"room\":\"R\",\"number\":3,\"hops\":2}\n\
             {\"offer\":{\"type\":\"offer\",\"sdp\":\"v=0\"},\"connection\":3,\"negotiation\":1}",
        ),
        (Frame::Leave { room: RoomId::numbered(5) }, r#"{"type":"leave","room":5}"#),
        (Frame::Bye, r#"{"type":"bye"}"#),
        (Frame::Message { more: false, body: "[1,\n2]" }, "{\"type\":\"message\"}\n[1,\n2]"),
        (Frame::Message { more: true, body: "[1," }, "{\"type\":\"message\",\"more\":true}\n[1,"),
        (Frame::Sid { sid: sid("B") }, r#"{"type":"sid","sid":"B"}"#),
        (
            Frame::Track { id: track(), kind: TrackKind::Video, description: r#"{"what":"camera"}"# },
            "{\"type\":\"track\",\"id\":\"t1\",\"kind\":\"video\"}\n{\"what\":\"camera\"}",
        ),
        (Frame::TrackRemoved { id: track() }, r#"{"type":"track-removed","id":"t1"}"#),
        (Frame::TrackRequest { id: track() }, r#"{"type":"track-request","id":"t1"}"#),
        (Frame::TrackCancel { id: track() }, r#"{"type":"track-cancel","id":"t1"}"#),
    ];
    check_frames(&golden);
}

#[test]
fn frames_of_negotiation() {
    let golden = [
        (Frame::TurnRequest, r#"{"type":"turn-request"}"#),
        (Frame::Turn, r#"{"type":"turn"}"#),
        (
            Frame::Offer {
                more: false,
                negotiation: 2,
                restart: false,
                mids: vec![("1".into(), track())],
                body: "v=0\r\n",
            },
            "{\"type\":\"offer\",\"negotiation\":2,\"tracks\":{\"1\":\"t1\"}}\nv=0\r\n",
        ),
        (
            Frame::Offer { more: false, negotiation: 3, restart: true, mids: vec![], body: "v=0\r\n" },
            "{\"type\":\"offer\",\"negotiation\":3,\"restart\":true,\"tracks\":{}}\nv=0\r\n",
        ),
        (
            Frame::Answer { more: true, negotiation: 2, offers: 1, body: "v=0\r\n" },
            "{\"type\":\"answer\",\"more\":true,\"negotiation\":2,\"offers\":1}\nv=0\r\n",
        ),
        (
            Frame::Candidate(IceCandidate {
                candidate: "candidate:1 1 udp 1 192.0.2.1 5000 typ host".into(),
                sdp_mid: Some("0".into()),
                ..IceCandidate::default()
            }),
            r#"{"type":"candidate","candidate":{"candidate":"candidate:1 1 udp 1 192.0.2.1 5000 typ host","sdpMid":"0"}}"#,
        ),
        (Frame::Ping { nonce: 7 }, r#"{"type":"ping","nonce":7}"#),
        (Frame::Pong { nonce: 7 }, r#"{"type":"pong","nonce":7}"#),
    ];
    check_frames(&golden);
}

fn check_frames(golden: &[(Frame<'_>, &str)]) {
    for (frame, text) in golden {
        assert_eq!(frame.encode(), *text);
        assert_eq!(Frame::decode(text), Ok(Some(frame.clone())));
    }
}

#[test]
fn a_relayed_handshake_is_what_the_server_would_have_passed_on() {
    for body in [
        HandshakeBody::Offer("v=0".into()),
        HandshakeBody::Answer("v=0".into()),
        HandshakeBody::Candidate(Some(candidate())),
        HandshakeBody::Candidate(None),
    ] {
        let mut handshake = handshake(body);
        match handshake.body {
            HandshakeBody::Answer(_) => handshake.offers = 2,
            _ => {
                handshake.restart = true;
                handshake.mids = vec![("1".into(), track())];
            }
        }
        assert_eq!(Handshake::from_json(&handshake.to_json()), Ok(handshake));
    }
    for text in ["{}", "[]", r#"{"offer":1}"#] {
        assert!(Handshake::from_json(text).is_err(), "{text}");
    }
}

#[test]
fn peer_frames_of_the_future_and_of_nobody() {
    assert_eq!(Frame::decode(r#"{"type":"dance","with":"whom"}"#), Ok(None));
    let with_more_fields = r#"{"type":"pong","nonce":1,"mood":"good"}"#;
    assert_eq!(Frame::decode(with_more_fields), Ok(Some(Frame::Pong { nonce: 1 })));
    for text in ["", "x", "[]", "{}", r#"{"type":5}"#, r#"{"type":"ping","nonce":-1}"#, r#"{"type":"sid","sid":""}"#] {
        assert!(Frame::decode(text).is_err(), "{text}");
    }
    assert_eq!(Frame::decode(&"x".repeat(70_000)), Err(FrameError::TooLong));
    let long_header = format!(r#"{{"type":"sid","sid":"A","x":"{}"}}"#, "x".repeat(17_000));
    assert_eq!(Frame::decode(&long_header), Err(FrameError::TooLong));
}

/// What the server makes of an offer that it has held and of an answer that came with a join.
#[test]
fn handshakes_that_were_ready() {
    let offer =
        Object::parse(r#"{"id":"a1","offer":{"type":"offer","sdp":"o"},"connection":3,"negotiation":1}"#).unwrap();
    let told = server::matched("\"a1\"", "A", &offer, Some(8));
    let golden =
        r#"{"id":"a1","sid":"A","offer":{"type":"offer","sdp":"o"},"connection":3,"negotiation":1,"peerConnection":8}"#;
    assert_eq!(told, golden);
    let ServerSignal::Handshake { handshake, .. } = ServerSignal::decode("offer", &told).unwrap() else { panic!() };
    assert_eq!(handshake, self::handshake(HandshakeBody::Offer("o".into())));

    let told = server::offered("\"b1\"", "B", "\"R\"", 3);
    assert_eq!(told, r#"{"id":"b1","sid":"B","prevSid":null,"room":"R","offered":3}"#);
    let ServerSignal::AcquirePeers(newcomer) = ServerSignal::decode("acquire-peers", &told).unwrap() else { panic!() };
    assert_eq!(newcomer.offered, Some(ConnectionId(3)));

    let answer = r#"{"answer":{"type":"answer","sdp":"a"},"connection":8,"peerConnection":99,"sid":"X","negotiation":1,"offers":0}"#;
    let told = server::matched("\"b1\"", "B", &Object::parse(answer).unwrap(), Some(3));
    let golden = r#"{"id":"b1","sid":"B","answer":{"type":"answer","sdp":"a"},"connection":8,"negotiation":1,"offers":0,"peerConnection":3}"#;
    assert_eq!(told, golden);
}

#[test]
fn signals_with_connect() {
    let signals =
        [("request-sid", r#"{"apiVersion":"1.0"}"#.to_owned()), ("join", r#"{"room":"R","id":"a1"}"#.to_owned())];
    let list = r#"[["request-sid",{"apiVersion":"1.0"}],["join",{"room":"R","id":"a1"}]]"#;
    let content = packet::connect_content(None, &signals);
    assert_eq!(content, format!(r#"{{"signals":{list}}}"#));
    let with_auth = packet::connect_content(Some(r#"{"token":"t","signals":1}"#), &signals);
    assert_eq!(with_auth, format!(r#"{{"token":"t","signals":{list}}}"#));
    for content in [content, with_auth] {
        let read = packet::said_with_connect(&content).unwrap();
        assert!(read.iter().map(|(name, payload)| (&**name, (*payload).to_owned())).eq(signals.clone()));
    }
    for none in ["", "{}", "[]", r#"{"signals":{}}"#, r#"{"signals":[1]}"#, r#"{"signals":[[]]}"#] {
        assert_eq!(packet::said_with_connect(none), None, "{none}");
    }
    let many = format!(r#"{{"signals":[{}]}}"#, vec![r#"["join",{}]"#; 66].join(","));
    assert_eq!(packet::said_with_connect(&many), None);
    assert_eq!(packet::taken_with_connect(r#"{"sid":"A","signals":2}"#), 2);
    assert_eq!(packet::taken_with_connect(r#"{"sid":"A"}"#), 0);
}
