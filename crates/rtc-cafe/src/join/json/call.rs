//! Reads one line of input: an operation with its arguments.

use std::{borrow::Cow, collections::BTreeMap};

use rtc_cafe_client::{RoomId, Sid, TrackId};
use rtc_cafe_wire::json::Value;
use serde_json::value::RawValue;

use super::Refusal;

/// What a program asks for.
#[derive(Debug)]
pub(crate) enum Operation {
    JoinRoom { room: RoomId },
    LeaveRoom { room: RoomId },
    SendMessage { message: Box<RawValue>, sids: Option<Vec<Sid>> },
    AddTrack { file: String, description: Box<RawValue> },
    RemoveTrack { id: String },
    GetTracks { ids: Filter },
    GetPeerTrackDefinitions { sids: Filter, ids: Filter },
    GetPeerTracks { sids: Filter, ids: Filter },
    RequestPeerTrack { sid: Sid, id: TrackId, record: Option<String> },
    RemovePeerTrack { sid: String, id: String },
    ForwardPeerTrack { sid: Sid, id: TrackId, description: Box<RawValue> },
    NetworkChanged,
    GetConnectionReport { sid: String },
    Properties,
}

/// Which ids are let through: all, or those of the list.
#[derive(Debug)]
pub(crate) struct Filter(Option<Vec<String>>);

impl Filter {
    /// Whether it lets an id through.
    pub(crate) fn passes(&self, id: &str) -> bool {
        self.0.as_ref().is_none_or(|ids| ids.iter().any(|other| other == id))
    }
}

/// An operation and what is to come back with its result.
#[derive(Debug)]
pub(crate) struct Call {
    /// The `call` of the line, as it came.
    pub(crate) call: Option<Box<RawValue>>,
    /// What is asked for, or why that cannot be told.
    pub(crate) operation: Result<Operation, Refusal>,
}

impl Call {
    /// Reads a line.
    pub(crate) fn read(line: &[u8]) -> Self {
        let arguments = std::str::from_utf8(line).map_err(|_| Refusal::json("the line is no UTF-8")).and_then(|line| {
            serde_json::from_str::<BTreeMap<Cow<'_, str>, &RawValue>>(line)
                .map_err(|error| Refusal::json(format!("the line is no JSON object: {error}")))
        });
        match arguments {
            Ok(arguments) => {
                let mut arguments = Arguments(arguments);
                let call = arguments.0.remove("call").map(RawValue::to_owned);
                Self { call, operation: arguments.operation() }
            }
            Err(refusal) => Self { call: None, operation: Err(refusal) },
        }
    }
}

/// The arguments that nobody has asked for yet.
struct Arguments<'a>(BTreeMap<Cow<'a, str>, &'a RawValue>);

impl Arguments<'_> {
    fn operation(mut self) -> Result<Operation, Refusal> {
        let name = self.text("op")?;
        let operation = match name.as_str() {
            "joinRoom" => Operation::JoinRoom { room: self.room()? },
            "leaveRoom" => Operation::LeaveRoom { room: self.room()? },
            "sendMessage" => {
                Operation::SendMessage { message: self.required("message")?.to_owned(), sids: self.recipients()? }
            }
            "addTrack" => Operation::AddTrack { file: self.text("file")?, description: self.description()? },
            "removeTrack" => Operation::RemoveTrack { id: self.text("id")? },
            "getTracks" => Operation::GetTracks { ids: self.filter("idFilter")? },
            "getPeerTrackDefinitions" => {
                Operation::GetPeerTrackDefinitions { sids: self.filter("sidFilter")?, ids: self.filter("idFilter")? }
            }
            "getPeerTracks" => {
                Operation::GetPeerTracks { sids: self.filter("sidFilter")?, ids: self.filter("idFilter")? }
            }
            "requestPeerTrack" => {
                let (sid, id) = self.peer_track()?;
                Operation::RequestPeerTrack { sid, id, record: self.optional("record", string)? }
            }
            "forwardPeerTrack" => {
                let (sid, id) = self.peer_track()?;
                Operation::ForwardPeerTrack { sid, id, description: self.description()? }
            }
            "removePeerTrack" => Operation::RemovePeerTrack { sid: self.text("sid")?, id: self.text("id")? },
            "networkChanged" => Operation::NetworkChanged,
            "getConnectionReport" => Operation::GetConnectionReport { sid: self.text("sid")? },
            "properties" => Operation::Properties,
            _ => return Err(Refusal::new("UNKNOWN_OP", format!("there is no operation {name:?}"))),
        };
        // A misspelt `peerSids` must not send to everybody.
        match self.0.keys().next() {
            Some(unknown) => Err(Refusal::argument(format!("{name} has no argument {unknown:?}"))),
            None => Ok(operation),
        }
    }

    fn peer_track(&mut self) -> Result<(Sid, TrackId), Refusal> {
        let (sid, id) = (self.text("sid")?, self.text("id")?);
        let sid = Sid::new(sid).ok_or_else(|| Refusal::new("NOT_CONNECTED", "no peer has such a sid"))?;
        let id = TrackId::new(id).ok_or_else(|| Refusal::new("UNKNOWN_TRACK", "no track has such an id"))?;
        Ok((sid, id))
    }

    fn required(&mut self, name: &str) -> Result<&RawValue, Refusal> {
        self.0.remove(name).ok_or_else(|| Refusal::argument(format!("{name:?} is missing")))
    }

    fn text(&mut self, name: &str) -> Result<String, Refusal> {
        let value = self.required(name)?;
        string(value).ok_or_else(|| Refusal::argument(format!("{name:?} must be a string")))
    }

    /// An argument that may be left out, or be `null`.
    fn optional<T>(&mut self, name: &str, read: impl FnOnce(&RawValue) -> Option<T>) -> Result<Option<T>, Refusal> {
        match self.0.remove(name).filter(|value| value.get() != "null") {
            None => Ok(None),
            Some(value) => match read(value) {
                Some(value) => Ok(Some(value)),
                None => Err(Refusal::argument(format!("{name:?} is of the wrong kind"))),
            },
        }
    }

    fn room(&mut self) -> Result<RoomId, Refusal> {
        let value = Value::parse(self.required("room")?.get()).map_err(|error| Refusal::room(&error))?;
        RoomId::from_json(value).map_err(|error| Refusal::room(&error))
    }

    /// The README calls it `sid`.
    fn recipients(&mut self) -> Result<Option<Vec<Sid>>, Refusal> {
        let name = if self.0.contains_key("peerSids") { "peerSids" } else { "sid" };
        let Some(sids) = self.optional(name, |value| strings(value).or_else(|| Some(vec![string(value)?])))? else {
            return Ok(None);
        };
        let sid = |text: String| Sid::new(text).ok_or_else(|| Refusal::new("NOT_CONNECTED", "no peer has such a sid"));
        sids.into_iter().map(sid).collect::<Result<_, _>>().map(Some)
    }

    fn description(&mut self) -> Result<Box<RawValue>, Refusal> {
        match self.0.remove("description") {
            Some(description) => Ok(description.to_owned()),
            None => serde_json::value::to_raw_value("no description").map_err(|error| Refusal::json(error.to_string())),
        }
    }

    fn filter(&mut self, name: &str) -> Result<Filter, Refusal> {
        Ok(Filter(self.optional(name, strings)?))
    }
}

fn string(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

fn strings(value: &RawValue) -> Option<Vec<String>> {
    serde_json::from_str(value.get()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(line: &str) -> (Option<String>, &'static str) {
        let call = Call::read(line.as_bytes());
        (call.call.map(|call| call.get().to_owned()), call.operation.unwrap_err().code)
    }

    #[test]
    fn operations_are_read() {
        let good = [
            r#"{"op":"joinRoom","room":5}"#,
            r#"{"op":"joinRoom","room":"5"}"#,
            r#"{"op":"sendMessage","message":null}"#,
            r#"{"op":"sendMessage","message":[1],"peerSids":["a","b"]}"#,
            r#"{"op":"sendMessage","message":1,"peerSids":"a"}"#,
            r#"{"op":"sendMessage","message":1,"sid":"a"}"#,
            r#"{"op":"addTrack","file":"a.ogg"}"#,
            r#"{"op":"addTrack","file":"a.ogg","description":{"what":"screen"}}"#,
            r#"{"op":"removeTrack","id":"a"}"#,
            r#"{"op":"getTracks"}"#,
            r#"{"op":"getTracks","idFilter":null}"#,
            r#"{"op":"getPeerTrackDefinitions","sidFilter":["a"],"idFilter":[]}"#,
            r#"{"op":"getPeerTracks","sidFilter":["a"]}"#,
            r#"{"op":"requestPeerTrack","sid":"a","id":"b","record":"c.webm"}"#,
            r#"{"op":"removePeerTrack","sid":"a","id":"b"}"#,
            r#"{"op":"forwardPeerTrack","sid":"a","id":"b","description":"c"}"#,
            r#"{"op":"networkChanged"}"#,
            r#"{"op":"leaveRoom","room":5}"#,
            r#"{"op":"getConnectionReport","sid":"a"}"#,
            r#" {"call":{"n":[1]}, "op":"properties"} "#,
        ];
        for line in good {
            assert!(Call::read(line.as_bytes()).operation.is_ok(), "{line}");
        }
    }

    #[test]
    fn the_message_is_taken_as_it_is() {
        let line = r#"{"op":"sendMessage","message":{"n":123456789012345678901234567890.10},"call":"x"}"#;
        let Call { call, operation: Ok(Operation::SendMessage { message, sids: None }) } = Call::read(line.as_bytes())
        else {
            panic!()
        };
        assert_eq!(message.get(), r#"{"n":123456789012345678901234567890.10}"#);
        assert_eq!(call.unwrap().get(), "\"x\"");
    }

    #[test]
    fn bad_lines_are_refused_with_their_call() {
        let none = |code| (None, code);
        let one = |code| (Some("1".to_owned()), code);
        assert_eq!(refused("hello"), none("INVALID_JSON"));
        assert_eq!(refused("[1]"), none("INVALID_JSON"));
        assert_eq!(refused(r#"{"op":"properties"} x"#), none("INVALID_JSON"));
        assert_eq!(Call::read(b"\xff").operation.unwrap_err().code, "INVALID_JSON");
        assert_eq!(refused(r#"{"call":1}"#), one("INVALID_ARGUMENT"));
        assert_eq!(refused(r#"{"op":5,"call":1}"#), one("INVALID_ARGUMENT"));
        assert_eq!(refused(r#"{"op":"dance","call":1}"#), one("UNKNOWN_OP"));
        assert_eq!(refused(r#"{"op":"joinRoom","call":1}"#), one("INVALID_ARGUMENT"));
        assert_eq!(refused(r#"{"op":"joinRoom","room":"","call":1}"#), one("INVALID_ROOM"));
        assert_eq!(refused(r#"{"op":"joinRoom","room":null,"call":1}"#), one("INVALID_ROOM"));
        assert_eq!(refused(r#"{"op":"sendMessage","call":1}"#), one("INVALID_ARGUMENT"));
        assert_eq!(refused(r#"{"op":"sendMessage","message":1,"peerSids":[1],"call":1}"#), one("INVALID_ARGUMENT"));
        assert_eq!(refused(r#"{"op":"sendMessage","message":1,"peerSid":["a"],"call":1}"#), one("INVALID_ARGUMENT"));
        assert_eq!(refused(r#"{"op":"sendMessage","message":1,"peerSids":[""],"call":1}"#), one("NOT_CONNECTED"));
        assert_eq!(refused(r#"{"op":"getTracks","idFilter":"a","call":1}"#), one("INVALID_ARGUMENT"));
        assert_eq!(refused(r#"{"op":"requestPeerTrack","sid":"a","id":"","call":1}"#), one("UNKNOWN_TRACK"));
        assert_eq!(refused(r#"{"op":"addTrack","call":1}"#), one("INVALID_ARGUMENT"));
    }
}
