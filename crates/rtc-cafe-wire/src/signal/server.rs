//! Writes the signals of the server.
//!
//! Key order is that of the original: `id`, `sid`, then the rest. A client's `id` may be any JSON value.

use super::name;
use crate::{
    ApiVersion,
    json::{Object, Writer},
};

/// The field of a client's signals that is for the server, and for nobody else.
pub const TOKEN: &str = "token";

/// `sid`, as versions before 1.0 know it.
pub fn sid(sid: &str) -> String {
    Writer::new().string("sid", sid).finish()
}

/// `sid` of version 1.0: the agreed version, the secret that proves this session later, and a JSON array of
/// `RTCIceServer`.
pub fn session(sid: &str, version: ApiVersion, session: &str, ice_servers: &str) -> String {
    Writer::new()
        .string("sid", sid)
        .string("apiVersion", version.as_str())
        .string("session", session)
        .raw("iceServers", ice_servers)
        .finish()
}

/// `acquire-peers` for a member of version 1.0 whose offer was held, and is given to the newcomer.
pub fn offered(id: &str, sid: &str, room: &str, connection: u32) -> String {
    let mut writer = Writer::new();
    writer.raw("id", id).string("sid", sid).raw("prevSid", "null").raw("room", room);
    writer.number("offered", connection).finish()
}

/// `offer` or `answer` as one side has left it with the server, and the connection of the other side that it is for.
pub fn matched(id: &str, sid: &str, fields: &Object<'_>, peer_connection: Option<u32>) -> String {
    let kept = |key: &str| !matches!(key, "id" | "sid" | TOKEN | "recipient" | "peerConnection");
    let mut writer = Writer::new();
    writer.raw("id", id).string("sid", sid);
    for (key, value) in fields.entries().filter(|(key, _)| kept(key)) {
        writer.raw(key, value.text());
    }
    if let Some(connection) = peer_connection {
        writer.number("peerConnection", connection);
    }
    writer.finish()
}

/// `acquire-peers` and `acquire-peers-response`. `id` is JSON; a room is named to clients of version 1.0.
pub fn announcement(id: &str, sid: &str, prev_sid: Option<&str>, room: Option<&str>) -> String {
    let mut writer = Writer::new();
    writer.raw("id", id).string("sid", sid);
    match prev_sid {
        Some(prev_sid) => writer.string("prevSid", prev_sid),
        None => writer.raw("prevSid", "null"),
    };
    if let Some(room) = room {
        writer.raw("room", room);
    }
    writer.finish()
}

/// `offer`, `answer` or `candidate`: the client's fields behind the sender's stamp, which they cannot override,
/// without its token.
pub fn relay(id: &str, sid: &str, fields: &Object<'_>) -> String {
    // Every relayed signal is written here, so its size is reckoned first.
    let size: usize = fields.entries().map(|(key, value)| key.len() + value.text().len() + 4).sum();
    let mut writer = Writer::with_capacity(size + id.len() + sid.len() + 20);
    writer.raw("id", id).string("sid", sid);
    for (key, value) in fields.entries().filter(|(key, _)| !matches!(*key, "id" | "sid" | TOKEN)) {
        writer.raw(key, value.text());
    }
    writer.finish()
}

/// `peer-disconnection`.
pub fn peer_disconnection(sid: &str) -> String {
    self::sid(sid)
}

/// `error`: what was wrong (JSON), the name of the signal that is refused, and a code where the server itself refuses.
pub fn error(error: &str, code: &str, original_message: &str, recipient: Option<&str>) -> String {
    Writer::new()
        .raw("error", error)
        .string("originalMessage", original_message)
        .string("code", code)
        .optional("recipient", recipient)
        .finish()
}

/// Whether only a server sends this signal.
pub fn only_from_server(event: &str) -> bool {
    matches!(event, name::SID | name::ACQUIRE_PEERS | name::PEER_DISCONNECTION | name::ERROR)
}
