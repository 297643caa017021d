//! The forms that a signal has in the versions of the API.

use std::sync::Arc;

use rtc_cafe_wire::{
    ApiVersion,
    json::{Object, Writer},
    limits::MAX_EVENT_NAME,
    signal::server,
};

/// A signal to be relayed.
pub(super) enum Signal<'a> {
    /// `acquire-peers` or `acquire-peers-response`.
    Announcement {
        /// The sid that this one replaces.
        prev_sid: Option<&'a str>,
        /// The room, as JSON.
        room: Option<&'a str>,
    },
    /// `offer`, `answer` or `candidate`.
    Relay(&'a Object<'a>),
}

/// Writes a signal once for each version that somebody needs.
pub(super) struct Frames<'a> {
    /// The JSON of the sender's bound id.
    id: &'a str,
    sid: &'a str,
    signal: Signal<'a>,
    written: [Option<Arc<str>>; 3],
}

impl<'a> Frames<'a> {
    pub(super) const fn new(id: &'a str, sid: &'a str, signal: Signal<'a>) -> Self {
        Self { id, sid, signal, written: [None, None, None] }
    }

    pub(super) fn of(&mut self, version: ApiVersion) -> Arc<str> {
        let form = match (version, &self.signal) {
            (ApiVersion::V0_0, _) => 0,
            (ApiVersion::V0_1 | ApiVersion::V0_2, _) | (_, Signal::Relay(_)) => 1,
            _ => 2,
        };
        if let Some(written) = &self.written[form] {
            return written.clone();
        }
        let text = match (&self.signal, form) {
            (Signal::Announcement { .. }, 0) => server::sid(self.sid),
            (Signal::Relay(fields), 0) => rootless(self.sid, fields),
            (&Signal::Announcement { prev_sid, .. }, 1) => server::announcement(self.id, self.sid, prev_sid, None),
            (&Signal::Announcement { prev_sid, room }, _) => server::announcement(self.id, self.sid, prev_sid, room),
            (Signal::Relay(fields), _) => server::relay(self.id, self.sid, fields),
        };
        let written: Arc<str> = text.into();
        self.written[form] = Some(written.clone());
        written
    }
}

/// A relayed signal as version 0.0 knows it: there are no ids, and the sid is the sender's.
fn rootless(sid: &str, fields: &Object<'_>) -> String {
    let mut writer = Writer::new();
    writer.string("sid", sid);
    for (key, value) in fields.entries().filter(|(key, _)| !matches!(*key, "id" | "sid" | server::TOKEN)) {
        writer.raw(key, value.text());
    }
    writer.finish()
}

/// The name of an event, cut where it is longer than any of ours.
pub(super) fn short(event: &str) -> &str {
    let end = (0..=event.len().min(MAX_EVENT_NAME)).rev().find(|&at| event.is_char_boundary(at)).unwrap_or(0);
    &event[..end]
}
