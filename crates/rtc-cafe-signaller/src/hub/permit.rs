//! What a socket may do, where that is not everything.

use std::{sync::Arc, time::Duration};

use rtc_cafe_wire::{RoomId, RoomIdError, json::Value};

use super::{Hub, SocketId, account::Rate, refusal::Refusal};
use crate::ErrorCode;

/// Names rooms: one, or all whose names begin alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomRule(Rule);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    Every,
    One(RoomId),
    Prefix(Box<str>),
}

impl RoomRule {
    /// The room with a name; `team-*` are all whose names begin with `team-`, and `*` is every room, numbered ones too.
    pub fn named(name: &str) -> Result<Self, RoomIdError> {
        Ok(Self(match name.strip_suffix('*') {
            Some("") => Rule::Every,
            Some(prefix) => Rule::Prefix(prefix.into()),
            None => Rule::One(RoomId::named(name)?),
        }))
    }

    /// The same from JSON: a name, or the number of a room.
    pub fn from_json(text: &str) -> Result<Self, RoomIdError> {
        let value = Value::parse(text).map_err(|_| RoomIdError::WrongType)?;
        value.as_string().map_or_else(|| RoomId::from_json(value).map(Rule::One).map(Self), |name| Self::named(&name))
    }

    /// Whether a room is one of those.
    pub fn holds(&self, room: &RoomId) -> bool {
        match &self.0 {
            Rule::Every => true,
            Rule::One(one) => one == room,
            Rule::Prefix(prefix) => {
                let name = Value::parse(room.as_json()).ok().and_then(Value::as_string);
                name.is_some_and(|name| name.starts_with(&**prefix))
            }
        }
    }
}

/// What a socket may do. The default is everything, within the limits of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Permit {
    /// Whose socket it is, as the JSON that the application gave.
    pub identity: Option<Arc<str>>,
    /// The rooms that may be joined; `None` for all.
    pub rooms: Option<Vec<RoomRule>>,
    /// Whether signals may be sent to others: `offer`, `answer` and `candidate`, `hold` and `acquire-peers-response`.
    pub send: bool,
    /// When it may join no more rooms. It stays in those where it is.
    pub until: Option<Duration>,
    /// Rooms that it may be in, in place of [`HubConfig::rooms_per_socket`](super::HubConfig).
    pub rooms_per_socket: Option<usize>,
    /// Events per second of its connection, in place of [`HubConfig::events_per_second`](super::HubConfig).
    pub events_per_second: Option<u32>,
    /// Events at once of its connection, in place of [`HubConfig::burst`](super::HubConfig).
    pub burst: Option<u32>,
}

impl Default for Permit {
    fn default() -> Self {
        Self {
            identity: None,
            rooms: None,
            send: true,
            until: None,
            rooms_per_socket: None,
            events_per_second: None,
            burst: None,
        }
    }
}

impl Hub {
    /// Says what a socket may do from now on. What it has done is not undone.
    pub fn permit(&mut self, id: SocketId, permit: Permit) {
        let default = self.rate();
        let per_second = permit.events_per_second.unwrap_or(default.per_second);
        let rate = Rate { per_second, burst: permit.burst.unwrap_or(default.burst) };
        let Some(socket) = self.socket_mut(id) else { return };
        socket.permit = Some(Box::new(permit));
        let account = socket.account;
        if let Some(account) = self.accounts.get_mut(account) {
            account.rate = (rate != default).then_some(rate);
        }
    }

    /// Whose socket it is, as the JSON that [`Permit::identity`] said.
    pub fn identity(&self, id: SocketId) -> Option<&str> {
        self.socket(id)?.permit.as_ref()?.identity.as_deref()
    }

    /// Whether what a socket is permitted has ended.
    pub(super) fn has_expired(&self, now: Duration, id: SocketId) -> bool {
        let permit = self.socket(id).and_then(|socket| socket.permit.as_ref());
        permit.and_then(|permit| permit.until).is_some_and(|until| until <= now)
    }

    pub(super) fn may_join(&self, now: Duration, id: SocketId, room: &RoomId) -> Result<(), Refusal> {
        if self.has_expired(now, id) {
            let reason = "your token has expired; get a new one before you join rooms";
            return Err(Refusal::new(ErrorCode::TokenExpired, reason));
        }
        let Some(permit) = self.socket(id).and_then(|socket| socket.permit.as_ref()) else { return Ok(()) };
        let allowed = permit.rooms.as_ref().is_none_or(|rules| rules.iter().any(|rule| rule.holds(room)));
        allowed.then_some(()).ok_or_else(|| Refusal::new(ErrorCode::NotPermitted, "you may not join this room"))
    }

    pub(super) fn may_send(&self, id: SocketId) -> Result<(), Refusal> {
        let permit = self.socket(id).and_then(|socket| socket.permit.as_ref());
        let allowed = permit.is_none_or(|permit| permit.send);
        allowed.then_some(()).ok_or_else(|| Refusal::new(ErrorCode::NotPermitted, "you may not send signals to others"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_hold_rooms() {
        let holds = |rule: &str, room: &str| {
            let room = RoomId::from_json(Value::parse(room).unwrap()).unwrap();
            RoomRule::from_json(rule).unwrap().holds(&room)
        };
        for (rule, room) in [
            (r#""lobby""#, r#""lobby""#),
            (r#""team-*""#, r#""team-1""#),
            (r#""team-*""#, r#""team-""#),
            (r#""te\"am*""#, r#""te\u0022am""#),
            (r#""*""#, "5"),
            ("5", "5.0"),
        ] {
            assert!(holds(rule, room), "{rule} {room}");
        }
        for (rule, room) in [
            (r#""lobby""#, r#""lobby2""#),
            (r#""lobby""#, r#""Lobby""#),
            (r#""team-*""#, r#""team""#),
            (r#""5*""#, "55"),
            (r#""5""#, "5"),
            ("5", r#""5""#),
        ] {
            assert!(!holds(rule, room), "{rule} {room}");
        }
        for bad in ["null", "[]", r#""""#, "{"] {
            assert!(RoomRule::from_json(bad).is_err(), "{bad}");
        }
    }
}
