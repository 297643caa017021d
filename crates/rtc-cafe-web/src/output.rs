//! What `poll` returns: a line that begins with the kind of the output.

use rtc_cafe_core::{
    Command, Definition, Event, Output, SessionOutput, Sid, TrackId,
    wire::signal::{ClientSignal, ConnectionId, IceCandidate},
};

use crate::line::Line;

/// `["signal", name]` with the payload, `["connection", id, command]` with its detail, `["iceServers"]` with the servers,
/// `["checkSignaller"]`, or `["event", name, ...arguments]`.
pub(crate) fn client(output: Output) -> String {
    match output {
        Output::Signal(signal) => self::signal(&signal),
        Output::Connection(id, command) => self::command(id, &command),
        Output::IceServers(json) => Line::of(&["iceServers"]).body(&json),
        Output::CheckSignaller => Line::of(&["checkSignaller"]).end(),
        Output::Event(event) => self::event(&event),
    }
}

/// `["signal", name]` with the payload, `["opened"]` or `["stateChanged", state]`.
pub(crate) fn session(output: SessionOutput) -> String {
    match output {
        SessionOutput::Signal(signal) => self::signal(&signal),
        SessionOutput::Opened => Line::of(&["opened"]).end(),
        SessionOutput::StateChanged(state) => Line::of(&["stateChanged", state.as_str()]).end(),
    }
}

fn signal(signal: &ClientSignal) -> String {
    Line::of(&["signal", signal.name()]).body(&signal.payload())
}

fn command(id: ConnectionId, command: &Command) -> String {
    let candidate;
    let (name, detail) = match command {
        Command::Open => ("\"open\"", None),
        Command::CreateOffer => ("\"createOffer\"", None),
        Command::PrepareOffer => ("\"prepareOffer\"", None),
        Command::ForetellAnswer => ("\"foretellAnswer\"", None),
        Command::AcceptOffer(sdp) => ("\"acceptOffer\"", Some(sdp.as_str())),
        Command::AcceptAnswer(sdp) => ("\"acceptAnswer\"", Some(sdp.as_str())),
        Command::AddCandidate(found) => {
            candidate = found.as_ref().map(IceCandidate::to_json);
            ("\"addCandidate\"", candidate.as_deref())
        }
        Command::AddTrack(id) => ("\"addTrack\"", Some(id.as_str())),
        Command::RemoveTrack(id) => ("\"removeTrack\"", Some(id.as_str())),
        Command::RestartIce => ("\"restartIce\"", None),
        Command::Send(frame) => ("\"send\"", Some(frame.as_str())),
        Command::Close => ("\"close\"", None),
    };
    let mut line = Line::of(&["connection"]);
    line.number(id.0).value(name);
    match detail {
        Some(detail) => line.body(detail),
        None => line.end(),
    }
}

fn event(event: &Event) -> String {
    match event {
        Event::AcquireSid { sid } => Line::of(&["event", "acquireSid", sid.as_str()]).end(),
        Event::SignallerStateChanged { state } => Line::of(&["event", "signallerStateChanged", state.as_str()]).end(),
        Event::ConnectToPeer { sid } => Line::of(&["event", "connectToPeer", sid.as_str()]).end(),
        Event::DisconnectFromPeer { sid } => Line::of(&["event", "disconnectFromPeer", sid.as_str()]).end(),
        Event::ReassignPeerSid { old_sid, sid } => {
            Line::of(&["event", "reassignPeerSid", old_sid.as_str(), sid.as_str()]).end()
        }
        Event::Message { sender, payload } => Line::of(&["event", "message", sender.as_str()]).body(payload),
        Event::MessageUndelivered { sid, payload, may_have_arrived } => {
            let may_have_arrived = if *may_have_arrived { "true" } else { "false" };
            Line::of(&["event", "messageUndelivered", sid.as_str()]).value(may_have_arrived).body(payload)
        }
        Event::PeerTrackDefined { sid, id, definition } => definition_of("peerTrackDefined", sid, id, definition),
        Event::PeerTrackIdentified { sid, id, source } => {
            let texts = ["event", "peerTrackIdentified", sid.as_str(), id.as_str(), &source.mid];
            Line::of(&texts).number(source.connection.0).end()
        }
        Event::PeerTrackRemoved { sid, id } => {
            Line::of(&["event", "peerTrackRemoved", sid.as_str(), id.as_str()]).end()
        }
        Event::PeerTrackDefinitionRemoved { sid, id, definition } => {
            definition_of("peerTrackDefinitionRemoved", sid, id, definition)
        }
        Event::Error { code, message, sid } => {
            let sid = sid.as_ref().map_or("", Sid::as_str);
            Line::of(&["event", "error", code.as_str(), message, sid]).end()
        }
        // The enum may grow; TypeScript passes over what it does not know.
        _ => Line::of(&["event"]).end(),
    }
}

fn definition_of(event: &str, sid: &Sid, id: &TrackId, definition: &Definition) -> String {
    let texts = ["event", event, sid.as_str(), id.as_str(), definition.kind.as_str()];
    Line::of(&texts).body(&definition.description)
}
