//! Writes JSON lines to standard output, each at once.

use std::{borrow::Cow, io};

use rtc_cafe_client::{Event, Message, Sid, TrackDefinition};
use rtc_cafe_wire::json::Writer;
use serde_json::value::RawValue;
use tokio::{
    io::{AsyncWriteExt, Stdout},
    sync::Mutex,
};

use super::Refusal;
use crate::join::recordings::Complete;

/// Standard output, for whoever has something to tell.
#[derive(Debug)]
pub(crate) struct Output(Mutex<Stdout>);

impl Output {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(tokio::io::stdout()))
    }

    /// Writes whole lines. Waits for whoever reads them.
    pub(crate) async fn write(&self, lines: &str) -> io::Result<()> {
        let mut output = self.0.lock().await;
        output.write_all(lines.as_bytes()).await?;
        output.flush().await
    }
}

/// The line of an event.
pub(crate) fn event(event: &Event) -> String {
    let mut writer = Writer::new();
    let line = &mut writer;
    match event {
        Event::Message { sender, message } => match one_line(message) {
            Some(message) => begin(line, "message").string("sender", sender.as_str()).raw("message", &message),
            None => begin(line, "error")
                .string("code", "PROTOCOL")
                .string("message", "a message is no JSON")
                .string("sid", sender.as_str()),
        },
        // It was written by ourselves, so it is JSON.
        Event::MessageUndelivered { sid, message, may_have_arrived } => about(line, "messageUndelivered", sid)
            .raw("message", &description(message))
            .raw("mayHaveArrived", if *may_have_arrived { "true" } else { "false" }),
        Event::ConnectToPeer { sid } => about(line, "connectToPeer", sid),
        Event::AcquireSid { sid } => about(line, "acquireSid", sid),
        Event::SignallerStateChanged { state } => begin(line, "signallerStateChanged").string("state", state.as_str()),
        Event::DisconnectFromPeer { sid } => about(line, "disconnectFromPeer", sid),
        Event::ReassignPeerSid { old_sid, sid } => {
            begin(line, "reassignPeerSid").string("oldSid", old_sid.as_str()).string("sid", sid.as_str())
        }
        Event::PeerTrackDefined { sid, definition: track } => {
            about(line, "peerTrackDefined", sid).raw("definition", &definition(track))
        }
        Event::PeerTrackIdentified { sid, id, track } => {
            about(line, "peerTrackIdentified", sid).string("id", id.as_str()).string("kind", track.kind().as_str())
        }
        Event::PeerTrackRemoved { sid, id } => about(line, "peerTrackRemoved", sid).string("id", id.as_str()),
        Event::PeerTrackDefinitionRemoved { sid, definition } => about(line, "peerTrackDefinitionRemoved", sid)
            .string("id", definition.id.as_str())
            .string("kind", definition.kind.as_str())
            .raw("description", &description(&definition.description)),
        Event::Error { code, message, sid } => begin(line, "error")
            .string("code", code.as_str())
            .string("message", message)
            .optional("sid", sid.as_ref().map(Sid::as_str)),
        // The enum may grow.
        _ => return String::new(),
    };
    writer.finish() + "\n"
}

fn begin<'a>(line: &'a mut Writer, event: &str) -> &'a mut Writer {
    line.string("event", event)
}

fn about<'a>(line: &'a mut Writer, event: &str, sid: &Sid) -> &'a mut Writer {
    begin(line, event).string("sid", sid.as_str())
}

/// The line of a recording whose file is complete.
pub(crate) fn recorded(complete: &Complete) -> String {
    let seconds = format!("{:.3}", complete.duration.as_secs_f64());
    about(&mut Writer::new(), "recorded", &complete.sid)
        .string("id", complete.id.as_str())
        .string("file", &complete.path.to_string_lossy())
        .raw("frames", &complete.frames.to_string())
        .raw("seconds", &seconds)
        .finish()
        + "\n"
}

/// The line of how a call ended.
pub(crate) fn answer(call: Option<&RawValue>, done: Result<String, Refusal>) -> String {
    match done {
        Ok(value) => result(call, &value),
        Err(refusal) => error(call, &refusal),
    }
}

/// The line of what a call returned.
fn result(call: Option<&RawValue>, value: &str) -> String {
    with_call(begin(&mut Writer::new(), "result"), call).raw("value", value).finish() + "\n"
}

/// The line of why a call failed.
pub(crate) fn error(call: Option<&RawValue>, refusal: &Refusal) -> String {
    let mut writer = Writer::new();
    begin(&mut writer, "error").string("code", refusal.code).string("message", &refusal.message);
    with_call(&mut writer, call).finish() + "\n"
}

fn with_call<'a>(writer: &'a mut Writer, call: Option<&RawValue>) -> &'a mut Writer {
    match call {
        Some(call) => writer.raw("call", call.get()),
        None => writer,
    }
}

/// A track as its owner describes it.
pub(crate) fn definition(track: &TrackDefinition) -> String {
    Writer::new()
        .string("id", track.id.as_str())
        .raw("description", &description(&track.description))
        .string("kind", track.kind.as_str())
        .finish()
}

/// A description, or `null` for one that is no JSON.
pub(crate) fn description(message: &Message) -> Cow<'_, str> {
    one_line(message).unwrap_or(Cow::Borrowed("null"))
}

/// The JSON of a message on one line; `None` if it is none.
fn one_line(message: &Message) -> Option<Cow<'_, str>> {
    serde_json::from_str::<&RawValue>(message.as_json()).ok().map(|json| unbroken(json.get()))
}

/// In JSON, line breaks stand between tokens only.
fn unbroken(json: &str) -> Cow<'_, str> {
    match json.contains(['\n', '\r']) {
        true => Cow::Owned(json.replace(['\n', '\r'], " ")),
        false => Cow::Borrowed(json),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_stays_on_one_line() {
        assert_eq!(unbroken("{\"a\":\r\n 1}"), "{\"a\":   1}");
        assert_eq!(unbroken("\"a\\n\""), "\"a\\n\"");
    }

    #[test]
    fn answers_have_their_call() {
        let call = RawValue::from_string("[1]".to_owned()).unwrap();
        assert_eq!(result(Some(&call), "null"), "{\"event\":\"result\",\"call\":[1],\"value\":null}\n");
        assert_eq!(result(None, "\"a\""), "{\"event\":\"result\",\"value\":\"a\"}\n");
        let refusal = Refusal::new("UNKNOWN_OP", "what?");
        let expected = "{\"event\":\"error\",\"code\":\"UNKNOWN_OP\",\"message\":\"what?\",\"call\":[1]}\n";
        assert_eq!(error(Some(&call), &refusal), expected);
    }
}
