//! What a client asks for: to be let in, or to have an event handled.

use std::{borrow::Cow, fmt};

use rtc_cafe_wire::{
    json::Object,
    signal::{name, server},
};
use serde_json::Value;

use super::Rejection;
use crate::{
    ErrorCode,
    hub::{HubRefusal, read_argument, read_room},
};

/// What the client says when it asks to be let in.
const CONNECT: &str = "connect";
/// The field of `auth` that has events in it, about which there are questions of their own.
const SIGNALS: &str = "signals";

/// What a client asks for. It is shown as it came, and is hostile as everything that comes from the network.
#[derive(Clone)]
pub struct Request<'a> {
    is_entry: bool,
    name: Cow<'a, str>,
    payload: Cow<'a, str>,
}

impl<'a> Request<'a> {
    pub(crate) const fn entry(auth: &'a str) -> Self {
        Self { is_entry: true, name: Cow::Borrowed(CONNECT), payload: Cow::Borrowed(auth) }
    }

    pub(crate) const fn event(name: &'a str, payload: &'a str) -> Self {
        Self { is_entry: false, name: Cow::Borrowed(name), payload: Cow::Borrowed(payload) }
    }

    pub(crate) fn into_owned(self) -> Request<'static> {
        let (name, payload) = (self.name.into_owned().into(), self.payload.into_owned().into());
        Request { is_entry: self.is_entry, name, payload }
    }

    pub(crate) const fn is_entry(&self) -> bool {
        self.is_entry
    }

    /// The name of the event, such as `join`, or `connect`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The data as the client wrote it, which may be anything.
    pub fn payload(&self) -> &str {
        &self.payload
    }

    /// The data: `auth` of a client that connects, or else the event's. `data["room"]` is the room as the server takes it:
    /// `5`, where `5.0` or `50e-1` was sent.
    ///
    /// The error is for the client: what cannot be read must not be let through.
    pub fn data(&self) -> Result<Value, Rejection> {
        if self.is_entry {
            return self.auth();
        }
        let argument = read_argument(&self.payload)?;
        // Our own reader takes lone surrogates and numbers of any size; nothing may get past the application by them.
        let unseen = |error| Rejection::new(format!("the event cannot be shown to the application: {error}"));
        let mut data: Value = serde_json::from_str(&self.payload).map_err(unseen)?;
        if let Some(object) = argument.as_object().filter(|object| object.get("room").is_some()) {
            match read_room(&object).map(|room| serde_json::from_str(room.as_json())) {
                Ok(Ok(room)) => data["room"] = room,
                Err(refusal) if self.name == name::JOIN => return Err(refusal.into()),
                _ => {}
            }
        }
        Ok(data)
    }

    fn auth(&self) -> Result<Value, Rejection> {
        if self.payload.trim().is_empty() {
            return Ok(Value::Null);
        }
        let unreadable = |_| Rejection::new("the \"auth\" is not valid JSON").with_code(ErrorCode::InvalidJson);
        let mut data: Value = serde_json::from_str(&self.payload).map_err(unreadable)?;
        if let Some(fields) = data.as_object_mut() {
            fields.remove(SIGNALS);
        }
        Ok(data)
    }

    /// The field `token` of the data, if it has one. Peers do not get to see it.
    pub fn token(&self) -> Option<String> {
        // It is looked for in every signal, and most have none.
        if !self.payload.contains(server::TOKEN) {
            return None;
        }
        Some(Object::parse(&self.payload).ok()?.string(server::TOKEN)?.into_owned())
    }
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // There may be a token in the payload.
        f.debug_struct("Request").field("name", &self.name).finish_non_exhaustive()
    }
}

impl From<HubRefusal> for Rejection {
    fn from(refusal: HubRefusal) -> Self {
        Self::new(refusal.reason.into_owned()).with_code(refusal.code)
    }
}
