//! Writes the packets that only a server sends, beside those of [`rtc_cafe_wire::packet`].

pub(super) use rtc_cafe_wire::packet::{
    Kind, Namespace, Packet, disconnect, event, parse, peek_event, said_with_connect, split_event,
};

use rtc_cafe_wire::json;

use crate::ErrorCode;

/// Asks the client whether it is there.
pub(super) const PING: &str = "2";

/// The empty acknowledgement that the original's handlers give.
pub(super) fn ack(namespace: Namespace, id: &str) -> String {
    ["43", namespace.prefix(), id, "[]"].concat()
}

/// Answers a CONNECT; so many signals that came with it are taken.
pub(super) fn connected(namespace: Namespace, sid: &str, said: usize) -> String {
    let said = if said == 0 { String::new() } else { format!(",\"signals\":{said}") };
    ["40", namespace.prefix(), "{\"sid\":\"", sid, "\"", &said, "}"].concat()
}

/// Refuses a client, and says why.
pub(super) fn rejected(namespace: Namespace, code: ErrorCode, message: &str) -> String {
    let data = json::Writer::new().string("code", code.as_str()).finish();
    ["44", namespace.prefix(), &json::Writer::new().string("message", message).raw("data", &data).finish()].concat()
}

/// Refuses a namespace that there is not, or in which the client is already; the content is the object that Socket.IO 5
/// has, not the bare string of the original.
pub(super) fn refused(namespace: &str) -> String {
    let prefix = if namespace == "/" { String::new() } else { [namespace, ","].concat() };
    ["44", &prefix, "{\"message\":\"Unable to connect\"}"].concat()
}
