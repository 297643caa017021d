//! What one client says: packets in, events to the hub. It ends with its connection, in whatever way that ends.

use std::{borrow::Cow, collections::VecDeque, fmt, future::poll_fn, sync::Arc, task::Poll, time::Duration};

use bytes::Bytes;
use rtc_cafe_wire::{ApiVersion, RoomId, json::Object, signal::name};
use serde_json::Value;
use tokio::time::timeout;

use super::{
    outbox::Frame,
    packet::{self, Kind, Namespace, Packet},
    placeholder,
    shared::{Link, Shared, Verdict},
};
use crate::{
    ErrorCode,
    hub::{ConnectionId, SocketId},
};

/// Most attachments of one event.
const MAX_ATTACHMENTS: usize = 16;
/// How long the application may take to decide.
const DECISION: Duration = Duration::from_secs(10);

/// What is to be done after a packet.
pub(super) enum Step {
    /// The next packet may come.
    Done,
    /// The client ends the connection.
    Close,
    /// The application is asked; the next packet waits until [`Session::answer`].
    Ask(Box<Question>),
}

/// An event about which the application is asked.
pub(super) struct Question {
    pub(super) verdict: Verdict,
    event: Event<'static>,
}

/// An event as the client sent it.
struct Event<'a> {
    socket: SocketId,
    namespace: Namespace,
    name: Cow<'a, str>,
    payload: Cow<'a, str>,
    ack: Option<Cow<'a, str>>,
    attachments: Vec<Bytes>,
    /// It is counted and charged.
    admitted: bool,
}

/// An event that waits for its attachments.
struct Partial {
    /// The packet; `None` if it was refused already and its attachments are only skipped.
    packet: Option<Box<str>>,
    missing: usize,
    attachments: Vec<Bytes>,
}

/// The protocol state of one client.
pub(super) struct Session {
    shared: Arc<Shared>,
    link: Arc<Link>,
    /// Taken only at the end.
    connection: Option<ConnectionId>,
    root: Option<SocketId>,
    cafe: Option<SocketId>,
    partial: Option<Box<Partial>>,
    /// What came with CONNECT and is still to be handled.
    said: VecDeque<Event<'static>>,
}

impl Session {
    pub(super) fn new(shared: Arc<Shared>, link: Arc<Link>) -> Self {
        let connection = Some(shared.core().0.hub.open());
        Self { shared, link, connection, root: None, cafe: None, partial: None, said: VecDeque::new() }
    }

    /// Takes a packet of Engine.IO in text.
    pub(super) fn text(&mut self, text: &str) -> Step {
        if text.len() > self.shared.config.max_payload {
            self.too_large(&packet::peek_event(text), text.len());
            return Step::Done;
        }
        match text.as_bytes().first() {
            Some(b'4') => return self.message(&text[1..]),
            Some(b'1') => return Step::Close,
            Some(b'3') => self.link.life.pong(),
            Some(b'2') if self.charge(text.len()) => self.send(["3", &text[1..]].concat()),
            // Over the rate, the refusal is refused for the rate.
            Some(b'2') => self.refuse("", ErrorCode::RateLimited, "too many pings", 0),
            Some(b'6') => {}
            _ => self.refuse("", ErrorCode::InvalidPacket, "this is no packet of Engine.IO 4", text.len()),
        }
        Step::Done
    }

    /// Takes an attachment.
    pub(super) fn binary(&mut self, bytes: Bytes) -> Step {
        let Some(partial) = &mut self.partial else {
            let reason = "a binary frame came without an event that it belongs to";
            self.refuse("", ErrorCode::InvalidPacket, reason, bytes.len());
            return Step::Done;
        };
        partial.missing -= 1;
        let size = bytes.len() + partial.attachments.iter().map(Bytes::len).sum::<usize>();
        if size > self.shared.config.max_payload
            && let Some(packet) = partial.packet.take()
        {
            partial.attachments.clear();
            self.too_large(&packet::peek_event(&["4", &packet].concat()), size);
        } else if partial.packet.is_some() {
            // A copy of its own, so that it does not keep the whole read buffer.
            partial.attachments.push(Bytes::copy_from_slice(&bytes));
        }
        let Some(partial) = self.partial.take_if(|partial| partial.missing == 0) else { return Step::Done };
        match partial.packet.as_deref().and_then(packet::parse) {
            Some(packet) => self.event(&packet, partial.attachments),
            None => Step::Done,
        }
    }

    /// Says that a message is too large; `name` is that of its event, where it is known.
    pub(super) fn too_large(&mut self, name: &str, size: usize) {
        let most = self.shared.config.max_payload;
        let reason = format!("the message of {size} bytes is longer than {most} bytes");
        // What a client only announces is not read.
        self.refuse(name, ErrorCode::TooLarge, &reason, size.min(self.shared.config.max_message));
    }

    /// Goes on with an event about which the application was asked.
    pub(super) fn answer(&mut self, question: Question, verdict: Result<(), Value>) -> Step {
        let event = question.event;
        // It was us who did not read; what the client sent meanwhile, such as a pong, is still to come.
        self.link.life.pong();
        match verdict {
            Ok(()) => self.handle(event),
            Err(reason) => {
                let (mut core, now) = self.shared.core();
                core.hub.reject(event.socket, &event.name, &reason.to_string());
                core.deliver(now, &self.shared.counters);
                self.acknowledge(&event);
            }
        }
        self.go_on()
    }

    /// Ends it, because everything is said that was to be said. If the server goes away, the client is about to come back.
    pub(super) fn finish(mut self) {
        if !self.shared.is_draining() {
            return;
        }
        let sockets = [self.cafe.take(), self.root.take()];
        let (mut core, now) = self.shared.core();
        for socket in sockets.into_iter().flatten() {
            core.set_aside(now, socket, &self.shared.counters);
        }
    }

    fn message(&mut self, text: &str) -> Step {
        if let Some(partial) = self.partial.take()
            && let Some(packet) = &partial.packet
        {
            let reason = format!("{} attachments of this event did not come; the next frame was text", partial.missing);
            let size = packet.len() + partial.attachments.iter().map(Bytes::len).sum::<usize>();
            self.refuse(&packet::peek_event(&["4", packet].concat()), ErrorCode::IncompleteBinary, &reason, size);
        }
        let Some(packet) = packet::parse(text).filter(|packet| packet.kind != Kind::ConnectError) else {
            self.refuse("", ErrorCode::InvalidPacket, "this is no packet of Socket.IO 5", text.len());
            return Step::Done;
        };
        match packet.kind {
            Kind::Connect => return self.connect(&packet),
            Kind::Disconnect => {
                if let Some(namespace) = Namespace::named(packet.namespace) {
                    self.leave(namespace);
                }
            }
            Kind::Event | Kind::BinaryEvent(0) => return self.event(&packet, Vec::new()),
            Kind::BinaryEvent(count) => self.begin_binary(text, &packet, count),
            Kind::Ack(0) | Kind::ConnectError => {}
            Kind::Ack(count) => self.skip(count),
        }
        Step::Done
    }

    fn connect(&mut self, packet: &Packet<'_>) -> Step {
        let name = packet.namespace;
        let namespace = Namespace::named(name);
        let Some(namespace) = namespace.filter(|&namespace| self.slot(namespace).is_none()) else {
            self.send(packet::refused(name));
            return Step::Done;
        };
        let Some(connection) = &self.connection else { return Step::Done };
        // Until it asks for more, a client in the namespace of its own is one of the last version of the original.
        let version = if namespace == Namespace::Root { ApiVersion::V0_0 } else { ApiVersion::V0_2 };
        let (mut core, now) = self.shared.core();
        let Some(socket) = core.hub.connect_on(now, connection, version) else {
            drop(core);
            self.send(packet::refused(name));
            return Step::Done;
        };
        core.add_route(socket, &self.link, namespace);
        core.deliver(now, &self.shared.counters);
        tracing::debug!(connection = self.link.number, namespace = name, sid = core.hub.sid(socket), "entered");
        let said = packet::said_with_connect(packet.data).unwrap_or_default();
        let reply = packet::connected(namespace, core.hub.sid(socket).unwrap_or_default(), said.len());
        self.send(reply);
        drop(core);
        *self.slot(namespace) = Some(socket);
        self.link.life.in_namespace(true);
        self.said
            .extend(said.into_iter().map(|(name, payload)| Event::new(socket, namespace, name, payload).into_owned()));
        self.go_on()
    }

    /// Handles what came with CONNECT, as if it had come behind it.
    fn go_on(&mut self) -> Step {
        while let Some(event) = self.said.pop_front() {
            if let Step::Ask(question) = self.take(event) {
                return Step::Ask(question);
            }
        }
        Step::Done
    }

    fn leave(&mut self, namespace: Namespace) {
        if let Some(socket) = self.slot(namespace).take() {
            let (mut core, now) = self.shared.core();
            core.remove(now, socket, &self.shared.counters);
        }
        if self.any_socket().is_none() {
            self.link.life.in_namespace(false);
        }
    }

    fn event(&mut self, packet: &Packet<'_>, attachments: Vec<Bytes>) -> Step {
        // What comes before CONNECT, or for another namespace, is ignored, as the original does.
        let Some(namespace) = Namespace::named(packet.namespace) else { return Step::Done };
        let Some(socket) = *self.slot(namespace) else { return Step::Done };
        let ack = packet.ack.map(Into::into);
        let Some((name, payload)) = packet::split_event(packet.data) else {
            let (code, reason) = match rtc_cafe_wire::json::Value::parse(packet.data) {
                Ok(_) => (ErrorCode::InvalidPayload, "an event is a JSON array: its name, and its argument"),
                Err(_) => (ErrorCode::InvalidJson, "the event is not valid JSON"),
            };
            let name = packet::peek_event(&["42", packet.data].concat()).into_owned();
            self.refuse_on(socket, &name, code, reason, packet.data.len());
            if let Some(id) = packet.ack {
                self.send(packet::ack(namespace, id));
            }
            return Step::Done;
        };
        self.take(Event { ack, attachments, ..Event::new(socket, namespace, name, payload) })
    }

    fn take(&mut self, mut event: Event<'_>) -> Step {
        // What is work outside of the hub is paid before.
        if self.shared.config.validate.is_some() || !event.attachments.is_empty() {
            if !self.admit(&event) {
                return Step::Done;
            }
            event.admitted = true;
        }
        match self.question(&event) {
            Some(verdict) => return Step::Ask(Box::new(Question { verdict, event: event.into_owned() })),
            None => self.handle(event),
        }
        Step::Done
    }

    fn admit(&self, event: &Event<'_>) -> bool {
        let (mut core, now) = self.shared.core();
        let admitted = core.hub.admit(now, event.socket, &event.name, event.size());
        core.deliver(now, &self.shared.counters);
        if !admitted {
            self.acknowledge(event);
        }
        admitted
    }

    /// Asks the application, where it wants to be asked. What is not JSON is refused without it.
    fn question(&self, event: &Event<'_>) -> Option<Verdict> {
        let validate = self.shared.config.validate.as_ref()?;
        let mut data: Value = match serde_json::from_str(&event.payload) {
            Ok(data) => data,
            // Our own reader takes lone surrogates and numbers of any size; nothing may get past the application by them.
            Err(error) if rtc_cafe_wire::json::Value::parse(&event.payload).is_ok() => {
                let reason = format!("the event cannot be shown to the application: {error}");
                return Some(Box::pin(std::future::ready(Err(reason.into()))));
            }
            Err(_) => return None,
        };
        if let Some(room) = Object::parse(&event.payload).ok().as_ref().and_then(|object| object.get("room")) {
            // The application sees the room that the hub would take: `5`, where `5.0` or `50e-1` was sent.
            match RoomId::from_json(room).ok().and_then(|room| serde_json::from_str(room.as_json()).ok()) {
                Some(room) => data["room"] = room,
                None if event.name == name::JOIN => return None,
                None => {}
            }
        }
        let sid = self.shared.core().0.hub.sid(event.socket)?.to_owned();
        let most = DECISION.min(self.shared.config.timing.ping_timeout / 2);
        Some(Box::pin(decide(validate(sid, event.name.to_string(), data), most)))
    }

    fn handle(&self, event: Event<'_>) {
        tracing::trace!(
            connection = self.link.number,
            // The client's own choice.
            event = event.name.escape_debug().take(64).collect::<String>(),
            bytes = event.size(),
            "received"
        );
        let unfit = self.unfit(&event);
        let (mut core, now) = self.shared.core();
        if event.admitted || core.hub.admit(now, event.socket, &event.name, event.size()) {
            match unfit {
                Some(reason) => core.hub.refuse(event.socket, &event.name, ErrorCode::BinaryNotSupported, reason),
                None => core.hub.handle_admitted(now, event.socket, &event.name, &event.payload),
            }
        }
        core.deliver_with(now, &event.attachments, &self.shared.counters);
        self.acknowledge(&event);
    }

    /// What is wrong with the attachments of an event.
    fn unfit(&self, event: &Event<'_>) -> Option<&'static str> {
        let count = event.attachments.len();
        if count == 0 {
            return None;
        }
        if !matches!(&*event.name, name::OFFER | name::ANSWER | name::CANDIDATE) {
            return Some("binary attachments are taken with offer, answer and candidate only");
        }
        // The id that the sender has named before is relayed too.
        let id = self.shared.core().0.hub.id(event.socket);
        let fit = placeholder::fit(&event.payload, count) && id.is_none_or(|id| placeholder::fit(&id, count));
        (!fit).then_some("a placeholder names an attachment that does not exist")
    }

    fn begin_binary(&mut self, text: &str, packet: &Packet<'_>, count: usize) {
        if count > MAX_ATTACHMENTS {
            let reason = format!("an event may have {MAX_ATTACHMENTS} attachments, not {count}");
            let name = packet::split_event(packet.data).map(|(name, _)| name).unwrap_or_default();
            self.refuse(&name, ErrorCode::BinaryNotSupported, &reason, text.len());
            self.skip(count);
        } else {
            let partial = Partial { packet: Some(text.into()), missing: count, attachments: Vec::new() };
            self.partial = Some(Box::new(partial));
        }
    }

    fn skip(&mut self, count: usize) {
        self.partial = Some(Box::new(Partial { packet: None, missing: count, attachments: Vec::new() }));
    }

    /// Refuses what could not be read, and was so many bytes long.
    fn refuse(&self, event: &str, code: ErrorCode, reason: &str, bytes: usize) {
        if let Some(socket) = self.any_socket() {
            self.refuse_on(socket, event, code, reason, bytes);
        }
    }

    fn refuse_on(&self, socket: SocketId, event: &str, code: ErrorCode, reason: &str, bytes: usize) {
        let (mut core, now) = self.shared.core();
        if core.hub.admit(now, socket, event, bytes) {
            core.hub.refuse(socket, event, code, reason);
        }
        core.deliver(now, &self.shared.counters);
    }

    /// Charges for bytes that are no event.
    fn charge(&self, bytes: usize) -> bool {
        let (mut core, now) = self.shared.core();
        self.connection.as_ref().is_none_or(|connection| core.hub.charge(now, connection, bytes))
    }

    /// Sends the empty acknowledgement, behind what the event caused.
    fn acknowledge(&self, event: &Event<'_>) {
        if let Some(id) = &event.ack {
            self.send(packet::ack(event.namespace, id));
        }
    }

    /// Sends a packet of this connection alone.
    fn send(&self, text: String) {
        // On overflow the connection ends, and its sockets with it.
        let _ = self.link.outbox.push(Frame::text(text));
    }

    const fn slot(&mut self, namespace: Namespace) -> &mut Option<SocketId> {
        match namespace {
            Namespace::Root => &mut self.root,
            Namespace::Cafe => &mut self.cafe,
        }
    }

    fn any_socket(&self) -> Option<SocketId> {
        self.cafe.or(self.root)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let sockets = [self.cafe.take(), self.root.take()];
        let (mut core, now) = self.shared.core();
        for socket in sockets.into_iter().flatten() {
            core.remove(now, socket, &self.shared.counters);
        }
        if let Some(connection) = self.connection.take() {
            core.hub.close(connection);
        }
    }
}

/// The verdict of the application, or a refusal if it does not come in time.
async fn decide(mut verdict: Verdict, most: Duration) -> Result<(), Value> {
    // Most decide at once, and need no timer.
    if let Poll::Ready(decided) = poll_fn(|cx| Poll::Ready(verdict.as_mut().poll(cx))).await {
        return decided;
    }
    timeout(most, verdict).await.unwrap_or_else(|_| Err("the application did not decide in time".into()))
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("connection", &self.link.number).finish_non_exhaustive()
    }
}

impl<'a> Event<'a> {
    fn new(socket: SocketId, namespace: Namespace, name: Cow<'a, str>, payload: &'a str) -> Self {
        let payload = payload.into();
        Self { socket, namespace, name, payload, ack: None, attachments: Vec::new(), admitted: false }
    }

    /// Its bytes, with those of its attachments.
    fn size(&self) -> usize {
        self.name.len() + self.payload.len() + self.attachments.iter().map(Bytes::len).sum::<usize>()
    }

    fn into_owned(self) -> Event<'static> {
        Event {
            socket: self.socket,
            namespace: self.namespace,
            name: self.name.into_owned().into(),
            payload: self.payload.into_owned().into(),
            ack: self.ack.map(|ack| ack.into_owned().into()),
            attachments: self.attachments,
            admitted: self.admitted,
        }
    }
}
