//! Reads and writes packets of Socket.IO 5, as they stand in messages of Engine.IO 4.

use std::borrow::Cow;

use crate::{ApiVersion, json};

/// Longest namespace that is read, in bytes.
const MAX_NAMESPACE: usize = 128;
/// The field of CONNECT, and of its answer, that is about signals which go with it.
const SIGNALS: &str = "signals";
/// Most signals that go with CONNECT: those that begin a session, and one for each room.
const MAX_SIGNALS: usize = 65;
/// Most digits of an acknowledgement's id.
const MAX_ACK: usize = 20;

/// Where the versions of the API live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Namespace {
    /// `/`: version 0.0.
    Root,
    /// `/rtc-cafe`: everything since.
    Cafe,
}

impl Namespace {
    /// Where this version lives.
    pub fn of(version: ApiVersion) -> Self {
        Self::named(version.namespace()).unwrap_or(Self::Cafe)
    }

    /// The namespace that a packet names; a query behind it is ignored.
    pub fn named(name: &str) -> Option<Self> {
        match name.split_once('?').map_or(name, |(name, _)| name) {
            "/" => Some(Self::Root),
            "/rtc-cafe" => Some(Self::Cafe),
            _ => None,
        }
    }

    /// What stands between a packet's type and its content.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Root => "",
            Self::Cafe => "/rtc-cafe,",
        }
    }
}

/// What kind of packet it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Enters a namespace, or says that it is entered.
    Connect,
    /// Leaves a namespace, or says that it is over.
    Disconnect,
    /// An event.
    Event,
    /// An event that so many attachments follow.
    BinaryEvent(usize),
    /// Acknowledges an event; so many attachments follow.
    Ack(usize),
    /// The server refuses a namespace.
    ConnectError,
}

/// A packet as it stands in a frame.
#[derive(Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// What kind it is.
    pub kind: Kind,
    /// The namespace; `/` where none is named.
    pub namespace: &'a str,
    /// The id by which the sender wants an acknowledgement.
    pub ack: Option<&'a str>,
    /// The JSON behind it all, which is not checked.
    pub data: &'a str,
}

/// Reads a packet; `None` if it is none.
pub fn parse(text: &str) -> Option<Packet<'_>> {
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
        b'4' => Kind::ConnectError,
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

/// What a client says together with its CONNECT: the names and payloads of signals, from the field `signals` of what stands
/// in the packet, `[["name",payload],...]`. `None` if there is nothing, or more than anybody has to say.
pub fn said_with_connect(data: &str) -> Option<Vec<(Cow<'_, str>, &str)>> {
    let object = json::Object::parse(data).ok()?;
    let signals = object.get(SIGNALS)?.as_array()?;
    if signals.len() > MAX_SIGNALS {
        return None;
    }
    signals.iter().map(|signal| split_event(signal.text())).collect()
}

/// Writes what [`said_with_connect`] reads: the content of a CONNECT, with the other fields of an `auth` (the JSON of an
/// object) if there are any.
pub fn connect_content(auth: Option<&str>, signals: &[(&str, String)]) -> String {
    let signal = |(name, payload): &(&str, String)| json::concat(&["[", &json::string(name), ",", payload, "]"]);
    let mut writer = json::Writer::new();
    let given = auth.and_then(|auth| json::Object::parse(auth).ok());
    let fields = given.iter().flat_map(json::Object::entries).filter(|(key, _)| *key != SIGNALS);
    for (key, value) in fields {
        writer.raw(key, value.text());
    }
    writer.raw(SIGNALS, &json::join(&mut signals.iter().map(signal))).finish()
}

/// How many of the signals that went with CONNECT the server has taken, by its answer.
pub fn taken_with_connect(data: &str) -> usize {
    let object = json::Object::parse(data).ok();
    let taken = object.as_ref().and_then(|object| object.get(SIGNALS)).and_then(json::Value::as_u32);
    taken.and_then(|taken| taken.try_into().ok()).unwrap_or(0)
}

/// Takes `["name",...]` apart: the name, and the text of the arguments, which is not checked.
pub fn split_event(data: &str) -> Option<(Cow<'_, str>, &str)> {
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
pub fn peek_event(frame: &str) -> Cow<'_, str> {
    let start = || {
        let packet = parse(frame.strip_prefix('4')?)?;
        let inner = packet.data.strip_prefix('[')?;
        json::Value::parse(&inner[..=closing_quote(inner)?]).ok()?.as_string()
    };
    start().unwrap_or_default()
}

/// An event in a frame: Engine.IO message, Socket.IO event, its name and only argument.
pub fn event(namespace: Namespace, attachments: usize, name: &str, payload: &str) -> String {
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

/// Says that the sender leaves the namespace, or ends it.
pub fn disconnect(namespace: Namespace) -> String {
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
        assert_eq!(parse("4/n,{}"), packet(Kind::ConnectError, "/n", None, "{}"));
        for none in ["", "5[]", "5-[]", "7", "x", "ä", &format!("0/{}", "n".repeat(200))] {
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
