//! Reads and writes packets of Socket.IO 5.

use std::borrow::Cow;

use rtc_cafe_wire::json;

/// Longest namespace that is read, in bytes.
const MAX_NAMESPACE: usize = 128;
/// Most digits of an acknowledgement's id.
const MAX_ACK: usize = 20;

/// Where the versions of the API live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Namespace {
    /// `/`: version 0.0.
    Root,
    /// `/rtc-cafe`: everything since.
    Cafe,
}

impl Namespace {
    pub(super) fn named(name: &str) -> Option<Self> {
        match name.split_once('?').map_or(name, |(name, _)| name) {
            "/" => Some(Self::Root),
            "/rtc-cafe" => Some(Self::Cafe),
            _ => None,
        }
    }

    /// What stands between a packet's type and its content.
    pub(super) const fn prefix(self) -> &'static str {
        match self {
            Self::Root => "",
            Self::Cafe => "/rtc-cafe,",
        }
    }
}

/// What kind of packet it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Connect,
    Disconnect,
    Event,
    /// An event that so many attachments follow.
    BinaryEvent(usize),
    /// Acknowledges an event of the server, which asks for no such thing; so many attachments follow.
    Ack(usize),
}

/// A packet as it stands in a frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Packet<'a> {
    pub(super) kind: Kind,
    pub(super) namespace: &'a str,
    pub(super) ack: Option<&'a str>,
    pub(super) data: &'a str,
}

/// Reads a packet; `None` if it is none.
pub(super) fn parse(text: &str) -> Option<Packet<'_>> {
    let kind = text.bytes().next()?;
    let mut rest = text.get(1..)?;
    let mut attachments = || {
        let digits = leading_digits(rest);
        let (count, tail) = (rest[..digits].parse().ok()?, rest[digits..].strip_prefix('-')?);
        rest = tail;
        Some(count)
    };
    let kind = match kind {
        b'0' => Kind::Connect,
        b'1' => Kind::Disconnect,
        b'2' => Kind::Event,
        b'3' => Kind::Ack(0),
        b'5' => Kind::BinaryEvent(attachments()?),
        b'6' => Kind::Ack(attachments()?),
        _ => return None,
    };
    let (namespace, rest) = match rest.starts_with('/') {
        true => rest.split_once(',').unwrap_or((rest, "")),
        false => ("/", rest.strip_prefix(',').unwrap_or(rest)),
    };
    let (ack, data) = rest.split_at(leading_digits(rest));
    let fits = namespace.len() <= MAX_NAMESPACE && ack.len() <= MAX_ACK;
    fits.then_some(Packet { kind, namespace, ack: (!ack.is_empty()).then_some(ack), data })
}

fn leading_digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

/// Takes `["name",...]` apart: the name, and the text of the arguments, which is not checked.
pub(super) fn split_event(data: &str) -> Option<(Cow<'_, str>, &str)> {
    let inner = data.trim_ascii().strip_prefix('[')?.strip_suffix(']')?.trim_ascii_start();
    let end = closing_quote(inner)?;
    let name = json::Value::parse(&inner[..=end]).ok()?.as_string()?;
    let rest = inner[end + 1..].trim_ascii();
    match rest.strip_prefix(',') {
        Some(arguments) => Some((name, arguments)),
        None => rest.is_empty().then_some((name, "")),
    }
}

/// Where the string at the start of the text ends.
fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    let tail = text.strip_prefix('"')?;
    for (at, byte) in tail.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// The name of the event in a frame that is not read any further; empty if there is none.
pub(super) fn peek_event(frame: &str) -> Cow<'_, str> {
    let start = || {
        let packet = parse(frame.strip_prefix('4')?)?;
        let inner = packet.data.strip_prefix('[')?;
        json::Value::parse(&inner[..=closing_quote(inner)?]).ok()?.as_string()
    };
    start().unwrap_or_default()
}

/// An event in a frame: Engine.IO message, Socket.IO event, its name and only argument.
pub(super) fn event(namespace: Namespace, attachments: usize, name: &str, payload: &str) -> String {
    let mut out = String::with_capacity(payload.len() + name.len() + 24);
    if attachments == 0 {
        out.push_str("42");
    } else {
        out.push_str("45");
        out.push_str(&attachments.to_string());
        out.push('-');
    }
    out.push_str(namespace.prefix());
    out.push_str("[\"");
    out.push_str(name);
    out.push_str("\",");
    out.push_str(payload);
    out.push(']');
    out
}

/// Asks the client whether it is there.
pub(super) const PING: &str = "2";

/// The empty acknowledgement that the original's handlers give.
pub(super) fn ack(namespace: Namespace, id: &str) -> String {
    ["43", namespace.prefix(), id, "[]"].concat()
}

/// Answers a CONNECT.
pub(super) fn connected(namespace: Namespace, sid: &str) -> String {
    ["40", namespace.prefix(), "{\"sid\":\"", sid, "\"}"].concat()
}

/// Refuses a CONNECT; the content is the object that Socket.IO 5 has, not the bare string of the original.
pub(super) fn refused(namespace: &str) -> String {
    let prefix = if namespace == "/" { String::new() } else { [namespace, ","].concat() };
    ["44", &prefix, "{\"message\":\"Unable to connect\"}"].concat()
}

/// Tells a client that the server ended its socket.
pub(super) fn disconnected(namespace: Namespace) -> String {
    ["41", namespace.prefix()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet<'a>(kind: Kind, namespace: &'a str, ack: Option<&'a str>, data: &'a str) -> Option<Packet<'a>> {
        Some(Packet { kind, namespace, ack, data })
    }

    #[test]
    fn packets_of_the_specification() {
        assert_eq!(parse("0"), packet(Kind::Connect, "/", None, ""));
        assert_eq!(parse("0/rtc-cafe,"), packet(Kind::Connect, "/rtc-cafe", None, ""));
        assert_eq!(parse("0/rtc-cafe"), packet(Kind::Connect, "/rtc-cafe", None, ""));
        assert_eq!(parse("0/a,{\"t\":1}"), packet(Kind::Connect, "/a", None, "{\"t\":1}"));
        assert_eq!(parse("1/rtc-cafe,"), packet(Kind::Disconnect, "/rtc-cafe", None, ""));
        assert_eq!(parse("2[\"a\"]"), packet(Kind::Event, "/", None, "[\"a\"]"));
        assert_eq!(parse("2/n,12[\"a\"]"), packet(Kind::Event, "/n", Some("12"), "[\"a\"]"));
        assert_eq!(parse("52-/n,7[]"), packet(Kind::BinaryEvent(2), "/n", Some("7"), "[]"));
        assert_eq!(parse("3/n,7[]"), packet(Kind::Ack(0), "/n", Some("7"), "[]"));
        for none in ["", "4", "5[]", "5-[]", "7", "x", "ä", &format!("0/{}", "n".repeat(200))] {
            assert_eq!(parse(none), None, "{none}");
        }
    }

    #[test]
    fn events_are_split_without_reading_the_payload() {
        let split = |data| split_event(data).map(|(name, rest)| (name.into_owned(), rest.to_owned()));
        let is = |name: &str, rest: &str| Some((name.to_owned(), rest.to_owned()));
        assert_eq!(split("[\"join\",{\"room\":1}]"), is("join", "{\"room\":1}"));
        assert_eq!(split(" [ \"a\\\"b\" , 1,2] "), is("a\"b", " 1,2"));
        assert_eq!(split("[\"join\"]"), is("join", ""));
        for bad in ["", "[]", "[1]", "{}", "[\"join\" 1]", "[\"join\",1", "\"join\"", "[\"jo"] {
            assert_eq!(split(bad), None, "{bad}");
        }
        assert_eq!(peek_event("42/rtc-cafe,[\"offer\",{\"x\":"), "offer");
        assert_eq!(peek_event("garbage"), "");
    }
}
