//! What becomes of an event: it is paid for, judged, and handed to the hub.

use std::borrow::Cow;

use bytes::Bytes;
use rtc_cafe_wire::signal::name;

use super::{
    super::{
        gate::{self, Judged},
        packet::{self, Namespace, Packet},
        placeholder,
        shared::Core,
    },
    About, Question, Session, Step,
};
use crate::{
    ErrorCode,
    admission::{Request, chain::Verdict},
    hub::SocketId,
};

/// An event as the client sent it.
pub(super) struct Event<'a> {
    socket: SocketId,
    namespace: Namespace,
    name: Cow<'a, str>,
    payload: Cow<'a, str>,
    ack: Option<Cow<'a, str>>,
    attachments: Vec<Bytes>,
    /// It is counted and charged.
    admitted: bool,
}

impl<'a> Event<'a> {
    pub(super) fn new(socket: SocketId, namespace: Namespace, name: Cow<'a, str>, payload: &'a str) -> Self {
        let payload = payload.into();
        Self { socket, namespace, name, payload, ack: None, attachments: Vec::new(), admitted: false }
    }

    /// Its bytes, with those of its attachments.
    fn size(&self) -> usize {
        self.name.len() + self.payload.len() + self.attachments.iter().map(Bytes::len).sum::<usize>()
    }

    pub(super) fn into_owned(self) -> Event<'static> {
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

impl Session {
    pub(super) fn event(&mut self, packet: &Packet<'_>, attachments: Vec<Bytes>) -> Step {
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

    pub(super) fn take(&mut self, mut event: Event<'_>) -> Step {
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
            (Some(_), None) => Judged::nobody(),
            (None, _) => Judged::Now(Ok(None)),
        }
    }

    /// Handles an event that may be handled, and refuses another.
    pub(super) fn conclude(&mut self, event: Event<'_>, verdict: Verdict) {
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
                None => match self.ice_servers(&core, &event) {
                    Some(own) => core.hub.handle_session_request(now, event.socket, &event.payload, &own),
                    None => core.hub.handle_admitted(now, event.socket, &event.name, &event.payload),
                },
            }
        }
        core.deliver_with(now, &event.attachments, &self.shared.counters);
        self.acknowledge(&event);
    }

    /// The ICE servers that are for this client alone, if it asks and there are such.
    fn ice_servers(&self, core: &Core, event: &Event<'_>) -> Option<String> {
        let minted = self.shared.config.minted.as_ref().filter(|_| event.name == name::REQUEST_SID)?;
        Some(minted.for_client(core.hub.sid(event.socket)?, self.link.host.as_deref()))
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

    /// Sends the empty acknowledgement, behind what the event caused.
    fn acknowledge(&self, event: &Event<'_>) {
        if let Some(id) = &event.ack {
            self.send(packet::ack(event.namespace, id));
        }
    }
}
