//! The wire: JSON, room ids, signals and peer frames.

use rtc_cafe_wire::{
    PermanentId, RoomId, Sid,
    json::{self, JsonError, Object, Value, Writer},
    limits,
    peer::Frame,
    signal::{Announcement, ClientSignal, HandshakeBody, IceCandidate, ServerSignal, name, server},
};

const SIGNALS: [&str; 10] = [
    name::REQUEST_SID,
    name::SID,
    name::JOIN,
    name::ACQUIRE_PEERS,
    name::ACQUIRE_PEERS_RESPONSE,
    name::OFFER,
    name::ANSWER,
    name::CANDIDATE,
    name::PEER_DISCONNECTION,
    name::ERROR,
];

/// The reader agrees with `serde_json` on what is JSON and on what it says, and with itself on every part of it.
pub fn json(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let ours = Value::parse(&text);
    match serde_json::from_str::<serde_json::Value>(&text) {
        Ok(theirs) => match ours {
            Ok(value) => assert_eq!(convert(value), theirs, "{text:?}"),
            Err(error) => assert_eq!(error, JsonError::TooDeep, "{text:?} is JSON"),
        },
        Err(error) => {
            // serde_json refuses lone surrogates, which `JSON.stringify` may write, and numbers beyond f64.
            let error = error.to_string();
            let stricter = ["surrogate", "end of hex escape", "out of range"].iter().any(|why| error.contains(why));
            assert!(ours.is_err() || stricter, "{text:?} is not JSON: {error}");
        }
    }
    match ours {
        Ok(value) => walk(value),
        Err(error) => {
            assert_eq!(Object::parse(&text), Err(error));
            assert_eq!(json::array(&text), Err(error));
        }
    }
}

fn walk(value: Value<'_>) {
    let text = value.text();
    assert_eq!(text, text.trim_ascii());
    assert_eq!(Value::parse(text), Ok(value));
    let (object, array) = (Object::parse(text), json::array(text));
    let string = value.as_string();
    let kinds = [
        value.is_null(),
        value.as_bool().is_some(),
        value.is_number(),
        string.is_some(),
        array.is_ok(),
        object.is_ok(),
    ];
    assert_eq!(kinds.iter().filter(|is| **is).count(), 1, "{text:?} is {kinds:?}");
    assert_eq!(value.as_u32(), serde_json::from_str(text).ok(), "{text:?}");
    if let Some(string) = string {
        assert_eq!(string, decode(&text[1..text.len() - 1]), "{text:?}");
        let written = json::string(&string);
        assert_eq!(Value::parse(&written).ok().and_then(Value::as_string).as_deref(), Some(&*string), "{text:?}");
        assert_eq!(serde_json::from_str::<String>(&written).ok().as_deref(), Some(&*string), "{text:?}");
    }
    match array {
        Ok(elements) => elements.into_iter().for_each(walk),
        Err(error) => assert_eq!(error, JsonError::NotAnArray),
    }
    match object {
        Ok(object) => {
            let mut written = Writer::new();
            for (key, value) in object.entries() {
                written.raw(key, value.text());
            }
            assert_eq!(Object::parse(&written.finish()).as_ref(), Ok(&object), "{text:?}");
            object.entries().for_each(|(_, value)| walk(value));
        }
        Err(error) => assert_eq!(error, JsonError::NotAnObject),
    }
}

/// What a string says, by way of UTF-16, in which lone surrogates are no special case.
fn decode(inner: &str) -> String {
    let mut units = Vec::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
            continue;
        }
        units.push(match chars.next().expect("something is escaped") {
            'b' => 8,
            'f' => 12,
            'n' => 10,
            'r' => 13,
            't' => 9,
            'u' => {
                let digits: String = chars.by_ref().take(4).collect();
                u16::from_str_radix(&digits, 16).expect("four digits")
            }
            other => u16::try_from(u32::from(other)).expect("a quote, a slash or a backslash"),
        });
    }
    String::from_utf16_lossy(&units)
}

/// What the reader makes of the text, as `serde_json` has it; numbers are left to the latter.
fn convert(value: Value<'_>) -> serde_json::Value {
    if let Some(object) = value.as_object() {
        object.entries().map(|(key, value)| (key.to_owned(), convert(value))).collect()
    } else if let Some(array) = value.as_array() {
        array.into_iter().map(convert).collect()
    } else if let Some(string) = value.as_string() {
        string.into()
    } else if let Some(bool) = value.as_bool() {
        bool.into()
    } else if value.is_null() {
        serde_json::Value::Null
    } else {
        serde_json::from_str(value.text()).expect("serde_json has read it before, inside of the whole")
    }
}

/// A room has one name, however it is written, and a number keeps its value.
pub fn room(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(value) = Value::parse(&text) else { return };
    let Ok(room) = RoomId::from_json(value) else { return };
    check_room(&room);
    let name = room.as_json();
    match value.as_string() {
        Some(string) => {
            assert_eq!(Value::parse(name).ok().and_then(Value::as_string).as_deref(), Some(&*string));
            assert_eq!(RoomId::named(&string), Ok(room));
        }
        None => {
            assert!(value.is_number(), "{text:?} is no room");
            assert!(!name.contains(['e', 'E', '+', '"']), "{text:?} became {name}");
            assert_eq!(name.parse::<f64>(), value.text().parse(), "{text:?} became {name}");
        }
    }
}

fn check_room(room: &RoomId) {
    let name = room.as_json();
    assert!((1..=limits::MAX_ROOM_ID).contains(&name.len()), "{name}");
    let again = Value::parse(name).map(RoomId::from_json);
    assert_eq!(again, Ok(Ok(room.clone())), "another name on the second reading");
}

/// What a server may send: whatever is read keeps its bounds, and a handshake survives being sent on.
pub fn signal(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for event in SIGNALS {
        let Ok(signal) = ServerSignal::decode(event, &text) else { continue };
        match &signal {
            ServerSignal::Sid { sid, ice_servers, .. } => {
                check_sid(sid);
                assert!(ice_servers.iter().all(|servers| json::array(servers).is_ok()));
            }
            ServerSignal::AcquirePeers(who) | ServerSignal::AcquirePeersResponse(who) => check_announcement(who),
            ServerSignal::Handshake { sid, id, handshake } => {
                check_sid(sid);
                id.iter().for_each(check_id);
                assert_eq!(handshake.body.name(), event);
                check_body(&handshake.body);
                check_relay(&signal);
            }
            ServerSignal::PeerDisconnection { sid } => check_sid(sid),
            ServerSignal::Error { error, recipient, .. } => {
                assert!(Value::parse(error).is_ok(), "{error}");
                recipient.iter().for_each(check_sid);
            }
            other => panic!("{other:?} is of a kind that this target does not know"),
        }
    }
}

fn check_sid(sid: &Sid) {
    assert!((1..=limits::MAX_ID).contains(&sid.as_str().len()));
}

fn check_id(id: &PermanentId) {
    assert!((1..=limits::MAX_ID).contains(&id.as_str().len()));
}

fn check_announcement(Announcement { sid, id, prev_sid, room, .. }: &Announcement) {
    check_sid(sid);
    id.iter().for_each(check_id);
    prev_sid.iter().for_each(check_sid);
    room.iter().for_each(check_room);
}

fn check_body(body: &HandshakeBody) {
    match body {
        HandshakeBody::Offer(sdp) | HandshakeBody::Answer(sdp) => assert!(sdp.len() <= limits::MAX_SDP),
        HandshakeBody::Candidate(None) => {}
        HandshakeBody::Candidate(Some(IceCandidate { candidate, sdp_mid, username_fragment, .. })) => {
            assert!(candidate.len() <= limits::MAX_CANDIDATE);
            assert!(sdp_mid.as_ref().is_none_or(|mid| mid.len() <= limits::MAX_ID));
            assert!(username_fragment.as_ref().is_none_or(|fragment| fragment.len() <= 2 * limits::MAX_ID));
        }
    }
}

/// A client that says the same gets it through the server unchanged.
fn check_relay(signal: &ServerSignal) {
    let ServerSignal::Handshake { sid, id: Some(id), handshake } = signal else { return };
    let sent = ClientSignal::Handshake { recipient: sid.clone(), id: id.clone(), handshake: handshake.clone() };
    let payload = sent.payload();
    let fields = Object::parse(&payload).expect("a client writes objects");
    let relayed = server::relay(&json::string(id.as_str()), sid.as_str(), &fields);
    assert_eq!(ServerSignal::decode(sent.name(), &relayed).as_ref(), Ok(signal));
}

/// What a peer may send: what is read and written again is the same, and fits.
pub fn frame(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(Some(frame)) = Frame::decode(&text) else { return };
    match &frame {
        Frame::Hello { id, sid, .. } => {
            check_id(id);
            sid.iter().for_each(check_sid);
        }
        Frame::Sid { sid } => check_sid(sid),
        _ => {}
    }
    let written = frame.encode();
    assert!(written.len() <= limits::MAX_FRAME);
    assert_eq!(Frame::decode(&written), Ok(Some(frame)), "{text:?} became {written:?}");
}
