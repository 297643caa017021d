//! Handshakes that are half done when somebody joins: members leave an offer here, newcomers bring answers.

use rtc_cafe_wire::{
    ApiVersion, RoomId,
    json::{Object, Value},
    signal::{name, server},
};

use super::{Hub, SocketId, refusal, refusal::Refusal};
use crate::ErrorCode;

/// Bytes of an offer that is held.
const MAX_HELD: usize = 16 * 1024;
/// Offers that one newcomer is given. From other members of a large room it gets theirs when they hear of it.
const MAX_MATCHES: usize = 32;

/// A member and a newcomer who need not wait for each other.
pub(super) struct Match {
    member: SocketId,
    offer: Box<str>,
    /// The newcomer's answer to it, if it has brought enough.
    answer: Option<Box<str>>,
}

impl Hub {
    /// Keeps an offer, in place of the one before, for whoever enters a room of this socket next.
    pub(super) fn hold(&mut self, id: SocketId, payload: &str) -> Result<(), Refusal> {
        self.may_send(id)?;
        let object = refusal::object(payload)?;
        let stamp = self.stamp(id, &object)?;
        if stamp.version < ApiVersion::V1_0 {
            return Err(Refusal::new(
                ErrorCode::UnknownEvent,
                "this event is of version 1.0; ask for it by request-sid",
            ));
        }
        if payload.len() > MAX_HELD {
            let reason = format!("an offer that is held must not be longer than {MAX_HELD} bytes");
            return Err(Refusal::new(ErrorCode::TooLarge, reason));
        }
        let described = object.get("offer").and_then(Value::as_object).is_some();
        if !described || connection(&object).is_none() {
            return Err(Refusal::new(ErrorCode::InvalidPayload, "an \"offer\" and its \"connection\" are needed"));
        }
        if let Some(socket) = self.socket_mut(id) {
            socket.held = Some(payload.into());
        }
        Ok(())
    }

    /// Those whom a socket meets when it enters a room. Whoever is there already, or comes back, may be connected to them.
    pub(super) fn strangers(&self, id: SocketId, room: &RoomId, join: &Object<'_>) -> Vec<SocketId> {
        let members = self.members(room);
        let new = self.socket(id).is_some_and(|socket| socket.version >= ApiVersion::V1_0) && !members.contains(&id);
        // Who may not answer is given nothing to answer.
        let ready = self.config.ready_handshakes && self.may_send(id).is_ok();
        if !new || !ready || join.string("prevSid").is_some() {
            return Vec::new();
        }
        let holds = |member: &SocketId| {
            self.socket(*member).is_some_and(|socket| socket.held.is_some()) && self.may_send(*member).is_ok()
        };
        // Whoever is in many rooms already is spared a long search.
        let with_offers = members.into_iter().filter(holds).take(2 * MAX_MATCHES);
        with_offers.filter(|&member| !self.share_a_room(id, member)).collect()
    }

    /// Takes the offers of those whom a socket has just met, with its answers.
    pub(super) fn match_up(&mut self, strangers: Vec<SocketId>, join: &Object<'_>) -> Vec<Match> {
        let informed = join.get("informed").and_then(Value::as_bool) == Some(true);
        // A client that has yet to hear of the ICE servers would answer without them.
        let none = self.config.ice_servers == "[]" && !self.config.ice_servers_for_each;
        let usable = informed || none;
        let answers = join.get("answers").and_then(Value::as_array).filter(|_| usable).unwrap_or_default();
        let mut answers = answers.into_iter().map(Value::text);
        let mut matches = Vec::new();
        for member in strangers {
            if matches.len() == MAX_MATCHES {
                break;
            }
            if let Some(offer) = self.socket_mut(member).and_then(|socket| socket.held.take()) {
                let answer = answers.next().filter(|answer| answer.len() <= MAX_HELD).map(Into::into);
                matches.push(Match { member, offer, answer });
            }
        }
        matches
    }

    /// Gives both sides what the other has left here. The members need no other word of the newcomer.
    pub(super) fn introduce(
        &mut self,
        newcomer: SocketId,
        id: &str,
        sid: &str,
        room: &RoomId,
        matches: Vec<Match>,
        members: &mut Vec<SocketId>,
    ) {
        for Match { member, offer, answer } in matches {
            let (Ok(offer), Some(socket)) = (Object::parse(&offer), self.socket(member)) else { continue };
            let (member_id, member_sid) = (socket.session.id.clone(), socket.sid.clone());
            let Some(offering) = connection(&offer) else { continue };
            let answer = answer.as_deref().and_then(|answer| Object::parse(answer).ok());
            let answering = answer.as_ref().and_then(connection);
            let member_id = member_id.as_deref().unwrap_or("null");
            self.emit(newcomer, name::OFFER, server::matched(member_id, &member_sid, &offer, answering).into());
            self.emit(member, name::ACQUIRE_PEERS, server::offered(id, sid, room.as_json(), offering).into());
            if let Some(answer) = answer.filter(|_| answering.is_some()) {
                self.emit(member, name::ANSWER, server::matched(id, sid, &answer, Some(offering)).into());
            }
            members.retain(|&other| other != member);
        }
    }
}

fn connection(fields: &Object<'_>) -> Option<u32> {
    fields.get("connection").and_then(Value::as_u32)
}
