//! What one client says: packets in, events to the hub. It ends with its connection, in whatever way that ends.

use std::{collections::VecDeque, fmt, sync::Arc};

use bytes::Bytes;

use self::{entry::Entry, event::Event};
use super::{
    gate::Pending,
    outbox::Frame,
    packet::{self, Kind, Namespace, Packet},
    shared::{Link, Shared},
};
use crate::{
    ErrorCode,
    admission::{Visitor, chain::Verdict},
    hub::{ConnectionId, SocketId},
};

mod entry;
mod event;

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
    /// How often it was not let in.
    refusals: u8,
}

impl Session {
    pub(super) fn new(shared: Arc<Shared>, link: Arc<Link>) -> Self {
        let connection = Some(shared.core().0.hub.open());
        let (visitors, said) = ([None, None], VecDeque::new());
        Self { shared, link, connection, root: None, cafe: None, visitors, partial: None, said, refusals: 0 }
    }

    /// Takes a packet of Engine.IO in text.
    pub(super) fn text(&mut self, text: &str) -> Step {
        if self.is_given_up() {
            return Step::Done;
        }
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

    /// Sends a packet of this connection alone.
    fn send(&self, text: String) {
        // The connection ends then, and its sockets with it.
        if self.link.outbox.push(Frame::text(text)).is_err() {
            tracing::debug!(connection = self.link.number, "cut, because its client reads too slowly");
            self.shared.counters.cut.count(ErrorCode::TooSlow);
        }
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
