//! Reads what the server says: Engine.IO 4, Socket.IO 5, and the signal within.

use std::time::Duration;

use rtc_cafe_wire::{
    json::{Object, Value},
    limits::{MAX_EVENT_NAME, MAX_PAYLOAD},
    packet::{self, Kind, Namespace},
    signal::ServerSignal,
};

use super::problem::{SignallingProblem as Problem, excerpt};

/// A packet from the server.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    /// The server's rules.
    Open(Rules),
    /// The server asks whether the client is there.
    Ping,
    /// Nothing that needs an answer.
    Nothing,
    /// The client is in the namespace, and the server has taken so many of the signals that went with CONNECT.
    Entered(usize),
    /// The server does not let the client into the namespace, and says why.
    Refused(String),
    /// The server ends the session.
    Over,
    /// A signal.
    Signal(Box<ServerSignal>),
    /// Something that is not understood.
    Odd(Problem),
}

/// What the open packet says (Engine.IO 4, "Handshake").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rules {
    /// How long the server is silent at most: its ping interval, and the time-out that it gives itself.
    pub(super) silence: Duration,
    /// Bytes that a packet to the server may have.
    pub(super) max_payload: usize,
}

impl Default for Rules {
    fn default() -> Self {
        Self { silence: Duration::from_secs(45), max_payload: MAX_PAYLOAD }
    }
}

impl Rules {
    fn read(text: &str) -> Option<Self> {
        let object = Object::parse(text).ok()?;
        let number = |key: &str| object.get(key).and_then(Value::as_u32);
        let default = Self::default();
        let silence = match (number("pingInterval"), number("pingTimeout")) {
            (Some(interval), Some(timeout)) => Duration::from_millis(u64::from(interval) + u64::from(timeout)),
            _ => default.silence,
        };
        let max_payload = number("maxPayload").and_then(|bytes| bytes.try_into().ok()).unwrap_or(default.max_payload);
        Some(Self { silence, max_payload: max_payload.min(MAX_PAYLOAD) })
    }
}

/// Reads a text frame.
pub(super) fn read(namespace: Namespace, frame: &str) -> Incoming {
    let ignored = |what| Incoming::Odd(Problem::Ignored(what));
    let Some(kind) = frame.bytes().next() else { return ignored("an empty one") };
    let rest = frame.get(1..).unwrap_or_default();
    match kind {
        b'0' => Rules::read(rest).map_or_else(|| ignored("an open packet without content"), Incoming::Open),
        b'1' => Incoming::Over,
        b'2' => Incoming::Ping,
        b'3' | b'6' => Incoming::Nothing,
        b'4' => message(namespace, rest),
        _ => ignored("one that is not of Engine.IO 4"),
    }
}

fn message(namespace: Namespace, text: &str) -> Incoming {
    let ignored = |what| Incoming::Odd(Problem::Ignored(what));
    let Some(packet) = packet::parse(text) else { return ignored("one that is not of Socket.IO 5") };
    if Namespace::named(packet.namespace) != Some(namespace) {
        return ignored("one of another namespace");
    }
    match packet.kind {
        Kind::Connect => Incoming::Entered(packet::taken_with_connect(packet.data)),
        Kind::Disconnect => Incoming::Over,
        Kind::ConnectError => Incoming::Refused(reason(packet.data)),
        Kind::Event | Kind::BinaryEvent(0) => event(packet.data),
        Kind::BinaryEvent(_) => ignored("an event with binary attachments"),
        Kind::Ack(_) => ignored("an acknowledgement that was not asked for"),
    }
}

fn event(data: &str) -> Incoming {
    let Some((name, payload)) = packet::split_event(data) else {
        return Incoming::Odd(Problem::Ignored("an event without a name"));
    };
    match ServerSignal::decode(&name, payload) {
        Ok(signal) => Incoming::Signal(Box::new(signal)),
        Err(error) => {
            let event = excerpt(&name.chars().take(MAX_EVENT_NAME).collect::<String>());
            Incoming::Odd(Problem::Malformed { event, reason: error.to_string() })
        }
    }
}

/// Why a namespace is refused: `{"message": "..."}` by the specification, a bare string from the original server.
fn reason(data: &str) -> String {
    let message = Value::parse(data).ok().and_then(|value| match value.as_object() {
        Some(object) => object.string("message").map(|message| excerpt(&message)),
        None => value.as_string().map(|message| excerpt(&message)),
    });
    message.filter(|message| !message.is_empty()).unwrap_or_else(|| "it gives no reason".into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rtc_cafe_wire::Sid;

    use super::*;

    fn cafe(frame: &str) -> Incoming {
        read(Namespace::Cafe, frame)
    }

    fn ignored(frame: &str) -> bool {
        matches!(cafe(frame), Incoming::Odd(Problem::Ignored(_)))
    }

    #[test]
    fn packets_of_a_session() {
        let open = r#"0{"sid":"x","upgrades":[],"pingTimeout":20000,"pingInterval":25000,"maxPayload":5000}"#;
        assert_eq!(cafe(open), Incoming::Open(Rules { silence: Duration::from_secs(45), max_payload: 5000 }));
        assert_eq!(cafe("0{}"), Incoming::Open(Rules::default()));
        assert_eq!(cafe("40/rtc-cafe,{\"sid\":\"A\"}"), Incoming::Entered(0));
        assert_eq!(cafe("40/rtc-cafe,{\"sid\":\"A\",\"signals\":2}"), Incoming::Entered(2));
        let sid = Sid::new("B").unwrap();
        let gone = Incoming::Signal(Box::new(ServerSignal::PeerDisconnection { sid }));
        assert_eq!(cafe("42/rtc-cafe,[\"peer-disconnection\",{\"sid\":\"B\"}]"), gone);
        assert_eq!(
            cafe("42/rtc-cafe,7[\"peer-disconnection\",{\"sid\":\"B\"}]"),
            gone,
            "acknowledgements are not given"
        );
        assert_eq!(read(Namespace::Root, "42[\"peer-disconnection\",{\"sid\":\"B\"}]"), gone);
        assert_eq!(cafe("41/rtc-cafe,"), Incoming::Over);
        assert_eq!(cafe("1"), Incoming::Over);
        assert_eq!(cafe("2"), Incoming::Ping);
        assert_eq!(cafe("6"), Incoming::Nothing);
    }

    #[test]
    fn a_refusal_has_a_reason() {
        let refused = |text: &str| Incoming::Refused(text.into());
        assert_eq!(cafe("44/rtc-cafe,{\"message\":\"no\\nway\"}"), refused("no way"));
        assert_eq!(cafe("44/rtc-cafe,\"Unable to connect\""), refused("Unable to connect"));
        for nothing in ["", "{}", "[1]", "{", "\"\""] {
            assert_eq!(cafe(&format!("44/rtc-cafe,{nothing}")), refused("it gives no reason"));
        }
    }

    #[test]
    fn what_has_no_place_is_ignored() {
        for frame in ["", "9", "0", "0[]", "4", "4x", "40", "42[\"sid\",{\"sid\":\"A\"}]", "43/rtc-cafe,7[]"] {
            assert!(ignored(frame), "{frame}");
        }
        for frame in ["42/rtc-cafe,{}", "451-/rtc-cafe,[\"offer\",{\"_placeholder\":true,\"num\":0}]", "42/other,[]"] {
            assert!(ignored(frame), "{frame}");
        }
        let Incoming::Odd(Problem::Malformed { event, .. }) = cafe("42/rtc-cafe,[\"sid\",{\"sid\":5}]") else {
            panic!()
        };
        assert_eq!(event, "sid");
        let long = format!("42/rtc-cafe,[\"{}\",{{}}]", "x".repeat(1000));
        let Incoming::Odd(Problem::Malformed { event, .. }) = cafe(&long) else { panic!() };
        assert_eq!(event.len(), MAX_EVENT_NAME);
    }

    #[test]
    fn rules_are_bounded() {
        let Incoming::Open(rules) =
            cafe(r#"0{"pingTimeout":4294967295,"pingInterval":4294967295,"maxPayload":4294967295}"#)
        else {
            panic!()
        };
        assert_eq!(rules.max_payload, MAX_PAYLOAD);
        assert_eq!(
            cafe(r#"0{"pingTimeout":-1,"pingInterval":"x","maxPayload":1e9}"#),
            Incoming::Open(Rules::default())
        );
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(frame in "[0-6]{0,3}-?(/rtc-cafe,)?[0-9]{0,2}\\PC{0,60}") {
            read(Namespace::Cafe, &frame);
            read(Namespace::Root, &frame);
        }

        #[test]
        fn no_json_makes_it_panic(frame in "4[0-9](/rtc-cafe,)?[\\[\\]{}\",:\\\\a-z0-9é ]{0,60}") {
            read(Namespace::Cafe, &frame);
            read(Namespace::Root, &frame);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            read(Namespace::Cafe, &String::from_utf8_lossy(&bytes));
        }
    }
}
