//! How a client gets into a namespace, or does not.

use std::borrow::Cow;

use rtc_cafe_wire::ApiVersion;

use super::{
    super::{
        gate::{self, Judged},
        packet::{self, Namespace, Packet},
    },
    About, Question, Session, Step,
    event::Event,
};
use crate::{
    ErrorCode,
    admission::{Rejection, Request, Visitor, chain::Verdict},
};

/// How often a client may be refused on one connection. Whoever has something new to say begins another one.
const MOST_REFUSALS: u8 = 10;

/// A CONNECT, with what the client said in it.
pub(super) struct Entry<'a> {
    namespace: Namespace,
    auth: Cow<'a, str>,
}

impl Session {
    pub(super) fn connect(&mut self, packet: &Packet<'_>) -> Step {
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
            (Some(_), None) => Judged::nobody(),
            (None, _) => Judged::Now(Ok(None)),
        }
    }

    /// Lets a client into a namespace, or not.
    pub(super) fn conclude_entry(&mut self, entry: &Entry<'_>, verdict: Verdict) {
        let namespace = entry.namespace;
        let pass = match verdict {
            Ok(pass) => pass,
            Err(rejection) => return self.refuse_entry(namespace, &rejection),
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

    /// Tells a client that it is not let in; it may try again, but not for ever.
    fn refuse_entry(&mut self, namespace: Namespace, rejection: &Rejection) {
        let code = rejection.code();
        tracing::debug!(connection = self.link.number, %code, "refused");
        self.shared.counters.refused.count(code);
        self.fine(code);
        self.send(packet::rejected(namespace, code, &rejection.message()));
        // That nobody could decide is not the client's fault.
        if code != ErrorCode::AdmissionFailed {
            self.refusals += 1;
        }
        if self.is_given_up() {
            tracing::debug!(connection = self.link.number, "given up, because it is refused again and again");
            self.shared.counters.cut.count(ErrorCode::Rejected);
            self.link.outbox.close();
        }
    }

    /// Whether it was refused so often that its connection ends.
    pub(super) const fn is_given_up(&self) -> bool {
        self.refusals >= MOST_REFUSALS
    }

    /// Handles what came with CONNECT, as if it had come behind it.
    pub(super) fn go_on(&mut self) -> Step {
        while let Some(event) = self.said.pop_front() {
            if let Step::Ask(question) = self.take(event) {
                return Step::Ask(question);
            }
        }
        Step::Done
    }
}
