//! What one client says: packets in, events to the hub. It ends with its connection, in whatever way that ends.

use std::{borrow::Cow, collections::VecDeque, fmt, sync::Arc};

use bytes::Bytes;
use rtc_cafe_wire::{ApiVersion, signal::name};

use super::{
    gate::{self, Judged, Pending},
    outbox::Frame,
    packet::{self, Kind, Namespace, Packet},
    placeholder,
    shared::{Link, Shared},
};
use crate::{
    ErrorCode,
    admission::{Rejection, Request, Visitor, chain::Verdict},
    hub::{ConnectionId, SocketId},
};

/// Most attachments of one event.
const MAX_ATTACHMENTS: usize = 16;

/// What a refusal costs besides, in events.
const REFUSAL: u32 = 20;

/// What is to be done after a packet.
pub(super) enum Step {
    /// The next packet may come.
    Done,
    /// The client ends the connection.
    Close,
    /// The application is asked; the next packet waits until [`Session::answer`].
    Ask(Box<Question>),
}

/// What the application is asked about.
pub(super) struct Question {
    pub(super) verdict: Pending,
    about: About,
}

enum About {
    Entry(Entry<'static>),
    Event(Event<'static>),
}

/// A CONNECT, with what the client said in it.
struct Entry<'a> {
    namespace: Namespace,
    auth: Cow<'a, str>,
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
    /// Those in the namespaces, as the application sees them, where it is asked.
    visitors: [Option<Box<Visitor>>; 2],
    partial: Option<Box<Partial>>,
    /// What came with CONNECT and is still to be handled.
    said: VecDeque<Event<'static>>,
}

impl Session {
    pub(super) fn new(shared: Arc<Shared>, link: Arc<Link>) -> Self {
        let connection = Some(shared.core().0.hub.open());
        let visitors = [None, None];
        Self { shared, link, connection, root: None, cafe: None, visitors, partial: None, said: VecDeque::new() }
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

    /// Goes on with what the application was asked about.
    pub(super) fn answer(&mut self, question: Question, verdict: Verdict) -> Step {
        // It was us who did not read; what the client sent meanwhile, such as a pong, is still to come.
        self.link.life.pong();
        match question.about {
            About::Entry(entry) => self.conclude_entry(&entry, verdict),
            About::Event(event) => self.conclude(event, verdict),
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
        let entry = Entry { namespace, auth: packet.data.into() };
        if !self.charge(0) {
            let rejection = Rejection::new("too many attempts; slow down").with_code(ErrorCode::RateLimited);
            self.conclude_entry(&entry, Err(rejection));
            return Step::Done;
        }
        match self.judge_entry(&entry) {
            Judged::Now(verdict) => self.conclude_entry(&entry, verdict),
            Judged::Later(verdict) => {
                let about = About::Entry(Entry { namespace, auth: entry.auth.into_owned().into() });
                return Step::Ask(Box::new(Question { verdict, about }));
            }
        }
        self.go_on()
    }

    fn judge_entry(&self, entry: &Entry<'_>) -> Judged {
        match (&self.shared.config.admission, &self.link.arrival) {
            (Some(admission), Some(arrival)) => {
                let visitor = Visitor::new(arrival.clone());
                gate::judge(admission, &visitor, &Request::entry(&entry.auth), self.shared.config.timing)
            }
            _ => Judged::Now(Ok(None)),
        }
    }

    /// Lets a client into a namespace, or not.
    fn conclude_entry(&mut self, entry: &Entry<'_>, verdict: Verdict) {
        let namespace = entry.namespace;
        let pass = match verdict {
            Ok(pass) => pass,
            Err(rejection) => {
                tracing::debug!(connection = self.link.number, code = %rejection.code(), "refused");
                self.shared.counters.refused.count(rejection.code());
                self.fine(rejection.code());
                self.send(packet::rejected(namespace, rejection.code(), &rejection.message()));
                return;
            }
        };
        let Some(connection) = &self.connection else { return };
        // Until it asks for more, a client in the namespace of its own is one of the last version of the original.
        let version = if namespace == Namespace::Root { ApiVersion::V0_0 } else { ApiVersion::V0_2 };
        let (mut core, now) = self.shared.core();
        let socket = core.hub.connect_on(connection, version);
        if let Some(pass) = &pass {
            core.hub.permit(socket, pass.permit(now));
        }
        core.add_route(socket, &self.link, namespace);
        core.deliver(now, &self.shared.counters);
        let said = packet::said_with_connect(&entry.auth).unwrap_or_default();
        let sid = core.hub.sid(socket).unwrap_or_default();
        let identity = core.hub.identity(socket);
        tracing::debug!(connection = self.link.number, ?namespace, sid, identity, "entered");
        self.send(packet::connected(namespace, sid, said.len()));
        let arrival = self.link.arrival.clone();
        let visitor = arrival.map(|arrival| Box::new(Visitor::new(arrival).admitted(sid, pass)));
        drop(core);
        self.visitors[namespace as usize] = visitor;
        *self.slot(namespace) = Some(socket);
        self.link.life.in_namespace(true);
        self.said
            .extend(said.into_iter().map(|(name, payload)| Event::new(socket, namespace, name, payload).into_owned()));
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
            self.visitors[namespace as usize] = None;
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
        if self.shared.config.admission.is_some() || !event.attachments.is_empty() {
            if !self.admit(&event) {
                return Step::Done;
            }
            event.admitted = true;
        }
        match self.judge(&event) {
            Judged::Now(verdict) => self.conclude(event, verdict),
            Judged::Later(verdict) => {
                return Step::Ask(Box::new(Question { verdict, about: About::Event(event.into_owned()) }));
            }
        }
        Step::Done
    }

    fn judge(&self, event: &Event<'_>) -> Judged {
        match (&self.shared.config.admission, &self.visitors[event.namespace as usize]) {
            (Some(admission), Some(visitor)) => {
                gate::judge(admission, visitor, &Request::event(&event.name, &event.payload), self.shared.config.timing)
            }
            _ => Judged::Now(Ok(None)),
        }
    }

    /// Handles an event that may be handled, and refuses another.
    fn conclude(&mut self, event: Event<'_>, verdict: Verdict) {
        match verdict {
            Ok(pass) => {
                if let (Some(pass), Some(visitor)) = (pass, &mut self.visitors[event.namespace as usize]) {
                    let (mut core, now) = self.shared.core();
                    core.hub.permit(event.socket, pass.permit(now));
                    visitor.renew(pass);
                }
                self.handle(event);
            }
            Err(rejection) => {
                self.fine(rejection.code());
                let (mut core, now) = self.shared.core();
                core.hub.reject(event.socket, &event.name, rejection.code(), &rejection.reason().to_string());
                core.deliver(now, &self.shared.counters);
                self.acknowledge(&event);
            }
        }
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

    /// Charges for a refusal: checking signatures, or asking somebody, is more work than other events are. That nobody could
    /// decide is not the client's fault, and what was too much is charged already.
    fn fine(&self, code: ErrorCode) {
        if matches!(code, ErrorCode::AdmissionFailed | ErrorCode::RateLimited) {
            return;
        }
        let (mut core, now) = self.shared.core();
        if let Some(connection) = &self.connection {
            core.hub.fine(now, connection, REFUSAL);
        }
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
