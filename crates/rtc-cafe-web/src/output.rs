//! What `poll` returns: an array that begins with the kind of the output.

use rtc_cafe_core::{
    Command, Definition, Event, Output, SessionOutput, Sid, TrackId,
    wire::signal::{ClientSignal, IceCandidate},
};
use wasm_bindgen::JsValue;

/// `["signal", name, payload]`, `["connection", id, command, detail?]`, `["iceServers", servers]` or
/// `["event", name, ...arguments]`, with payload, servers, candidates, messages and descriptions in JSON.
pub(crate) fn client(output: Output) -> Vec<JsValue> {
    match output {
        Output::Signal(signal) => self::signal(&signal),
        Output::Connection(id, command) => {
            let (name, detail) = self::command(command);
            let mut values = vec!["connection".into(), id.0.into(), name.into()];
            values.extend(detail.map(JsValue::from));
            values
        }
        Output::IceServers(json) => vec!["iceServers".into(), json.into()],
        Output::CheckSignaller => strings(&["checkSignaller"]),
        Output::Event(event) => self::event(&event),
    }
}

/// `["signal", name, payload]`, `["opened"]` or `["stateChanged", state]`.
pub(crate) fn session(output: SessionOutput) -> Vec<JsValue> {
    match output {
        SessionOutput::Signal(signal) => self::signal(&signal),
        SessionOutput::Opened => strings(&["opened"]),
        SessionOutput::StateChanged(state) => strings(&["stateChanged", state.as_str()]),
    }
}

fn strings(texts: &[&str]) -> Vec<JsValue> {
    texts.iter().map(|&text| text.into()).collect()
}

fn signal(signal: &ClientSignal) -> Vec<JsValue> {
    strings(&["signal", signal.name(), &signal.payload()])
}

fn command(command: Command) -> (&'static str, Option<String>) {
    match command {
        Command::Open => ("open", None),
        Command::CreateOffer => ("createOffer", None),
        Command::PrepareOffer => ("prepareOffer", None),
        Command::ForetellAnswer => ("foretellAnswer", None),
        Command::AcceptOffer(sdp) => ("acceptOffer", Some(sdp)),
        Command::AcceptAnswer(sdp) => ("acceptAnswer", Some(sdp)),
        Command::AddCandidate(candidate) => ("addCandidate", candidate.as_ref().map(IceCandidate::to_json)),
        Command::AddTrack(id) => ("addTrack", Some(id.as_str().to_owned())),
        Command::RemoveTrack(id) => ("removeTrack", Some(id.as_str().to_owned())),
        Command::RestartIce => ("restartIce", None),
        Command::Send(frame) => ("send", Some(frame)),
        Command::Close => ("close", None),
    }
}

fn event(event: &Event) -> Vec<JsValue> {
    match event {
        Event::AcquireSid { sid } => strings(&["event", "acquireSid", sid.as_str()]),
        Event::SignallerStateChanged { state } => strings(&["event", "signallerStateChanged", state.as_str()]),
        Event::ConnectToPeer { sid } => strings(&["event", "connectToPeer", sid.as_str()]),
        Event::DisconnectFromPeer { sid } => strings(&["event", "disconnectFromPeer", sid.as_str()]),
        Event::ReassignPeerSid { old_sid, sid } => {
            strings(&["event", "reassignPeerSid", old_sid.as_str(), sid.as_str()])
        }
        Event::Message { sender, payload } => strings(&["event", "message", sender.as_str(), payload]),
        Event::MessageUndelivered { sid, payload, may_have_arrived } => {
            let mut values = strings(&["event", "messageUndelivered", sid.as_str(), payload]);
            values.push((*may_have_arrived).into());
            values
        }
        Event::PeerTrackDefined { sid, id, definition } => definition_of("peerTrackDefined", sid, id, definition),
        Event::PeerTrackIdentified { sid, id, source } => {
            let mut values = strings(&["event", "peerTrackIdentified", sid.as_str(), id.as_str(), &source.mid]);
            values.push(source.connection.0.into());
            values
        }
        Event::PeerTrackRemoved { sid, id } => strings(&["event", "peerTrackRemoved", sid.as_str(), id.as_str()]),
        Event::PeerTrackDefinitionRemoved { sid, id, definition } => {
            definition_of("peerTrackDefinitionRemoved", sid, id, definition)
        }
        Event::Error { code, message, sid } => {
            let mut values = strings(&["event", "error", code.as_str(), message]);
            values.extend(sid.as_ref().map(|sid| Sid::as_str(sid).into()));
            values
        }
        // The enum may grow; TypeScript passes over what it does not know.
        _ => strings(&["event"]),
    }
}

fn definition_of(event: &str, sid: &Sid, id: &TrackId, definition: &Definition) -> Vec<JsValue> {
    strings(&["event", event, sid.as_str(), id.as_str(), definition.kind.as_str(), &definition.description])
}
