//! The server's Engine.IO and Socket.IO: any packets from several clients, and frames back that any client can read.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hasher},
};

use rtc_cafe_signaller::fuzzing::{Connection, Sent, Server};
use rtc_cafe_wire::json::{self, Object, Value};

use crate::script;

const MAX_PAYLOAD: usize = 2000;
const QUEUE: usize = 1200;
const CLIENTS: u32 = 6;
const NAMESPACES: [&str; 2] = ["/rtc-cafe,", ""];

/// Runs a script of `1t42["join",{}]` (the second client sends a packet), `1b..` (it sends an attachment), `1p..` (it
/// posts a body, a tab between its packets), `1z` (it stops reading, or begins again) and `1x` (it goes away). A client
/// connects when it is first named; `$1` is the sid that it was given last.
pub fn engine(data: &[u8]) {
    let script = String::from_utf8_lossy(data);
    // A fuzzer learns what it is compared with, but not what changes with every input.
    let mut hasher = DefaultHasher::new();
    hasher.write(data);
    let server = Server::new(MAX_PAYLOAD, QUEUE, hasher.finish());
    let mut world = World { server, clients: BTreeMap::new(), asleep: BTreeSet::new(), sids: BTreeMap::new() };
    script::steps(&script).for_each(|step| world.step(step));
    drop(world.clients);
    assert_eq!(world.server.counts(), (0, 0, 0), "connections, sockets and rooms are left");
}

struct World {
    server: Server,
    clients: BTreeMap<u32, Connection>,
    /// Those that do not read.
    asleep: BTreeSet<u32>,
    sids: BTreeMap<u32, String>,
}

impl World {
    fn step(&mut self, step: &str) {
        let (client, rest) = script::number(step);
        let client = client % CLIENTS;
        let (kind, rest) = script::first(rest);
        let known = |number: usize| self.sids.get(&u32::try_from(number).ok()?).map(String::as_str);
        let text = script::fill(rest, known);
        if kind == 'x' {
            self.clients.remove(&client);
            self.asleep.remove(&client);
        } else {
            let connection = self.clients.entry(client).or_insert_with(|| self.server.connect());
            match kind {
                't' => connection.text(&text),
                'b' => connection.binary(text.as_bytes()),
                'z' if !self.asleep.remove(&client) => drop(self.asleep.insert(client)),
                'p' => connection.post(&text.replace('\t', "\u{1e}")),
                _ => {}
            }
        }
        self.receive(client);
        assert_eq!(self.server.counts().0, self.clients.len());
    }

    fn receive(&mut self, sender: u32) {
        let secrets: Vec<_> = self.clients.values().map(|connection| connection.secret().to_owned()).collect();
        let mut ended = Vec::new();
        for (&client, connection) in self.clients.iter_mut().filter(|(client, _)| !self.asleep.contains(client)) {
            let (sent, goes_on) = connection.receive();
            let waited: usize = sent.iter().map(Sent::size).sum();
            assert!(waited <= QUEUE, "{waited} bytes waited for client {client}");
            let mut attachments = 0;
            for frame in sent {
                match frame {
                    Sent::Text(text) => {
                        assert_eq!(attachments, 0, "an attachment is missing before {text}");
                        assert!(!secrets.iter().any(|secret| text.contains(secret)), "{text} tells a sid of Engine.IO");
                        let packet = read(&text);
                        assert!(packet.for_others || client == sender, "{text} went to a client that did not ask");
                        attachments = packet.attachments;
                        self.sids.extend(packet.sid.map(|sid| (client, sid)));
                    }
                    Sent::Binary(_) => attachments = attachments.checked_sub(1).expect("an attachment of no event"),
                }
            }
            if !goes_on {
                ended.push(client);
            } else {
                assert_eq!(attachments, 0, "an attachment is missing");
            }
        }
        self.clients.retain(|client, _| !ended.contains(client));
        if !ended.is_empty() {
            // Others hear that they are gone.
            self.receive(sender);
        }
    }
}

/// What matters of a packet that the server sent.
#[derive(Default)]
struct Packet {
    attachments: usize,
    sid: Option<String>,
    /// Whether it may go to a client that has not just said something.
    for_others: bool,
}

/// Reads a packet as strictly as clients do.
fn read(text: &str) -> Packet {
    let (kind, rest) = (text.get(..2).unwrap_or(text), text.get(2..).unwrap_or(""));
    let content = || NAMESPACES.iter().find_map(|prefix| rest.strip_prefix(prefix)).expect("one of our namespaces");
    match kind {
        "40" => {
            let sid = Object::parse(content()).ok().and_then(|object| object.string("sid").map(Into::into));
            Packet { sid: Some(sid.unwrap_or_else(|| panic!("{text} has no sid"))), ..Packet::default() }
        }
        "41" => {
            assert_eq!(content(), "", "{text}");
            Packet { for_others: true, ..Packet::default() }
        }
        "42" => event(content(), 0),
        "43" => {
            let id = content().strip_suffix("[]").unwrap_or_else(|| panic!("{text} is no empty acknowledgement"));
            assert!(!id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()), "{text}");
            Packet::default()
        }
        "44" => {
            assert!(text.ends_with("{\"message\":\"Unable to connect\"}"), "{text}");
            Packet::default()
        }
        "45" => {
            let (count, tail) = rest.split_once('-').unwrap_or_else(|| panic!("{text} does not say how many"));
            let content = NAMESPACES.iter().find_map(|prefix| tail.strip_prefix(prefix)).expect("our namespaces");
            event(content, count.parse().expect("a number of attachments"))
        }
        _ => {
            assert!(text.starts_with('3'), "{text} is no packet of Engine.IO that a server sends");
            Packet::default()
        }
    }
}

/// An event: its name, and an object that the validation has let through.
fn event(content: &str, attachments: usize) -> Packet {
    let elements = json::array(content).unwrap_or_else(|error| panic!("{content}: {error}"));
    let [event, payload] = elements[..] else { panic!("{content} is not a name and a payload") };
    let event = event.as_string().unwrap_or_else(|| panic!("{content} has no name"));
    let object = payload.as_object().unwrap_or_else(|| panic!("{content} has no object"));
    let relayed = matches!(&*event, "offer" | "answer" | "candidate");
    assert!(!relayed || object.get("reject").and_then(Value::as_bool) != Some(true), "{content} was not validated");
    assert!(attachments == 0 || relayed, "{content} has attachments");
    assert!(attachments == 0 || placeholders_fit(payload, attachments), "{content} has {attachments} attachments");
    Packet { attachments, sid: None, for_others: !matches!(&*event, "sid" | "error") }
}

/// Socket.IO clients end their connection over a placeholder that names no attachment.
fn placeholders_fit(value: Value<'_>, attachments: usize) -> bool {
    if let Some(object) = value.as_object() {
        let placeholder = object.get("_placeholder").and_then(Value::as_bool) == Some(true);
        let number = object.get("num").and_then(Value::as_u32).and_then(|number| usize::try_from(number).ok());
        let fits = !placeholder || number.is_some_and(|number| number < attachments);
        return fits && object.entries().all(|(_, value)| placeholder || placeholders_fit(value, attachments));
    }
    value.as_array().is_none_or(|array| array.into_iter().all(|value| placeholders_fit(value, attachments)))
}
