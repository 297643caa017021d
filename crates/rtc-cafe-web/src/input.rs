//! What is called: commands of the application, what has happened, and questions.

use rtc_cafe_core::{
    AddTrackError, Client, ConnectionEvent, ConnectionId, ConnectionReport, ConnectionState, JoinError, Recipients,
    RequestTrackError, RoomId, Route, SendError, Session, Sid, SignallerState, Time, TrackId, TrackKind,
    wire::{
        json::{self, Value},
        peer,
        signal::{IceCandidate, ServerSignal, SignalError},
    },
};

use crate::{
    LOW_WATER, Refusal,
    line::{Call, Line},
};

/// Calls of a client. What has a body here is given it: a room, a message, a description, an offer, what happened.
pub(crate) fn client(client: &mut Client, now: Time, call: &Call<'_>) -> Result<String, Refusal> {
    match call.text(0).as_str() {
        "joinRoom" => join_room(client, now, call)?,
        "leaveRoom" => drop(client.leave_room(now, &room_id(call)?)),
        "sendMessage" => send_message(client, now, call)?,
        "addTrack" => add_track(client, call)?,
        "removeTrack" => drop(TrackId::new(call.text(1)).map(|id| client.remove_track(&id))),
        "requestPeerTrack" => request_peer_track(client, call)?,
        "removePeerTrack" => return Ok(boolean(remove_peer_track(client, call))),
        "close" => client.close(now),
        "signallerOpened" => client.handle_signaller_opened(now),
        "signallerState" => client.handle_signaller_state(now, signaller_state(&call.text(1))),
        "signal" => handle_signal(client, now, call)?,
        "connection" => {
            if let Some(event) = connection_event(call) {
                client.handle_connection(now, ConnectionId(call.number(1)), event);
            }
        }
        "configurationChange" => client.handle_configuration_change(now, call.number(1) as usize),
        "networkChange" => client.handle_network_change(now),
        "wake" => client.handle_wake(now),
        "timeout" => client.handle_timeout(now),
        "deadline" => {
            return Ok(client.poll_timeout().map_or_else(null, |time| json::decimal(time.as_millis() as usize)));
        }
        "sid" => return Ok(client.sid().map_or_else(null, |sid| json::string(sid.as_str()))),
        "permanentId" => return Ok(json::string(client.permanent_id().as_str())),
        "connectedPeers" => return Ok(json::list(&mut client.connected_peers().map(Sid::as_str))),
        "discoveredPeers" => return Ok(json::list(&mut client.discovered_peers().map(Sid::as_str))),
        "connectionOf" => {
            let id = sid(call).ok().and_then(|sid| client.connection_of(&sid));
            return Ok(id.map_or_else(null, |id| json::decimal(id.0 as usize)));
        }
        "connectionReport" => {
            let report = sid(call).ok().and_then(|sid| client.connection_report(now, &sid));
            return Ok(report.map_or_else(null, |report| report_to_json(&report)));
        }
        "lowWater" => return Ok(json::decimal(LOW_WATER)),
        _ => {}
    }
    Ok(null())
}

/// Calls of a session.
pub(crate) fn session(session: &mut Session, call: &Call<'_>) -> Result<String, Refusal> {
    match call.text(0).as_str() {
        "version" => match call.text(1).parse() {
            Ok(version) => *session = Session::new(version),
            Err(error) => return Err(Refusal::new("UNKNOWN_API_VERSION", error.message().to_owned())),
        },
        "opened" => session.handle_opened(),
        "connected" => session.handle_connected(),
        "disconnected" => session.handle_disconnected(),
        // One that cannot be read is passed over.
        "signal" => drop(ServerSignal::decode(&call.text(1), call.body()).map(|signal| session.handle_signal(&signal))),
        "close" => session.close(),
        "sid" => return Ok(session.sid().map_or_else(null, |sid| json::string(sid.as_str()))),
        "apiVersion" => return Ok(json::string(session.api_version().as_str())),
        "namespace" => return Ok(json::string(session.offered_version().namespace())),
        "state" => return Ok(json::string(session.state().as_str())),
        _ => {}
    }
    Ok(null())
}

fn null() -> String {
    "null".to_owned()
}

fn boolean(value: bool) -> String {
    if value { "true" } else { "false" }.to_owned()
}

fn join_room(client: &mut Client, now: Time, call: &Call<'_>) -> Result<(), Refusal> {
    client.join_room(now, room_id(call)?).map_err(|error| {
        let code = match error {
            JoinError::TooManyRooms(_) => "TOO_MANY_ROOMS",
            _ => "CLOSED",
        };
        Refusal::new(code, error.message())
    })
}

fn room_id(call: &Call<'_>) -> Result<RoomId, Refusal> {
    let room = Value::parse(call.body()).map_err(|error| Refusal::new("INVALID_ROOM", error.message()))?;
    RoomId::from_json(room).map_err(|error| Refusal::new("INVALID_ROOM", error.message()))
}

fn sid(call: &Call<'_>) -> Result<Sid, Refusal> {
    recipient(call.text(1))
}

fn recipient(sid: String) -> Result<Sid, Refusal> {
    let refusal = || Refusal::new("NOT_CONNECTED", "a sid is a text that is neither empty nor very long".to_owned());
    Sid::new(sid).ok_or_else(refusal)
}

fn send_message(client: &mut Client, now: Time, call: &Call<'_>) -> Result<(), Refusal> {
    let recipients = match call.value(1).and_then(Value::as_array) {
        None => Recipients::All,
        Some(sids) => {
            let mut recipients = Vec::new();
            for sid in sids {
                recipients.push(recipient(sid.as_string().unwrap_or_default().into_owned())?);
            }
            Recipients::Only(recipients)
        }
    };
    client.send_message(now, call.body(), recipients).map_err(|error| {
        let code = match error {
            SendError::TooLong { .. } => "MESSAGE_TOO_LONG",
            SendError::QueueFull(_) => "QUEUE_FULL",
            _ => "NOT_CONNECTED",
        };
        let message = error.message();
        let sids = if let SendError::QueueFull(sids) = error { sids } else { Vec::new() };
        Refusal { code, message, sids }
    })
}

fn add_track(client: &mut Client, call: &Call<'_>) -> Result<(), Refusal> {
    let (Some(id), Some(kind)) = (TrackId::new(call.text(1)), TrackKind::parse(&call.text(2))) else {
        let message = "a track needs an id that is not very long, and a known kind";
        return Err(Refusal::new("INVALID_TRACK", message.to_owned()));
    };
    client.add_track(id, kind, call.body()).map_err(|error| {
        let code = match error {
            AddTrackError::TooMany => "TOO_MANY_TRACKS",
            _ => "INVALID_DESCRIPTION",
        };
        Refusal::new(code, error.message())
    })
}

fn request_peer_track(client: &mut Client, call: &Call<'_>) -> Result<(), Refusal> {
    let sid = sid(call)?;
    let id = TrackId::new(call.text(2))
        .ok_or_else(|| Refusal::new("UNKNOWN_TRACK", "no track has such an id".to_owned()))?;
    client.request_peer_track(&sid, &id).map_err(|error| {
        let code = match error {
            RequestTrackError::UnknownTrack(_) => "UNKNOWN_TRACK",
            _ => "NOT_CONNECTED",
        };
        Refusal::new(code, error.message())
    })
}

fn remove_peer_track(client: &mut Client, call: &Call<'_>) -> bool {
    match (sid(call), TrackId::new(call.text(2))) {
        (Ok(sid), Some(id)) => client.remove_peer_track(&sid, &id),
        _ => false,
    }
}

fn handle_signal(client: &mut Client, now: Time, call: &Call<'_>) -> Result<(), Refusal> {
    let name = call.text(1);
    match ServerSignal::decode(&name, call.body()) {
        Ok(signal) => client.handle_signal(now, signal),
        Err(SignalError::Unknown) => {}
        Err(error) => {
            return Err(Refusal::new("PROTOCOL", json::concat(&["signal \"", &name, "\": ", &error.message()])));
        }
    }
    Ok(())
}

fn signaller_state(name: &str) -> SignallerState {
    match name {
        "connected" => SignallerState::Connected,
        "reconnecting" => SignallerState::Reconnecting,
        "closed" => SignallerState::Closed,
        _ => SignallerState::Setup,
    }
}

/// What has happened to a connection: an answer, a candidate, a reason, a state, a `mid` or a frame is the body.
fn connection_event(call: &Call<'_>) -> Option<ConnectionEvent> {
    let body = call.body();
    Some(match call.text(2).as_str() {
        "offerCreated" => {
            let mids = call.value(3).and_then(peer::mids).unwrap_or_default();
            ConnectionEvent::OfferCreated { sdp: body.to_owned(), mids }
        }
        "answerCreated" => ConnectionEvent::AnswerCreated(body.to_owned()),
        "answerForetold" => ConnectionEvent::AnswerForetold(body.to_owned()),
        "failed" => ConnectionEvent::Failed(body.to_owned()),
        "candidateFound" => match call.body {
            Some(json) => {
                ConnectionEvent::CandidateFound(Some(Value::parse(json).ok().and_then(IceCandidate::from_json)?))
            }
            None => ConnectionEvent::CandidateFound(None),
        },
        "stateChanged" => ConnectionEvent::StateChanged(match body {
            "connecting" => ConnectionState::Connecting,
            "connected" => ConnectionState::Connected,
            "disconnected" => ConnectionState::Disconnected,
            "failed" => ConnectionState::Failed,
            "closed" => ConnectionState::Closed,
            _ => ConnectionState::New,
        }),
        "trackAdded" => ConnectionEvent::TrackAdded(body.to_owned()),
        "channelOpen" => ConnectionEvent::ChannelOpen,
        "channelMessage" => ConnectionEvent::ChannelMessage(body.to_owned()),
        "channelBuffered" => ConnectionEvent::ChannelBuffered(call.number(3) as usize),
        "channelClosed" => ConnectionEvent::ChannelClosed,
        "pathChanged" => ConnectionEvent::PathChanged { relayed: !body.is_empty() },
        _ => return None,
    })
}

/// `[route?, attempts, restarts, failure?, ...phases]`, with the name of each phase and the milliseconds spent in it one
/// after the other. The last one is the present one.
fn report_to_json(report: &ConnectionReport) -> String {
    let optional = |text: Option<&str>| text.map_or_else(null, json::string);
    let mut line = Line::of(&[]);
    line.value(&optional(report.route.map(Route::as_str))).number(report.attempts).number(report.restarts);
    line.value(&optional(report.failure.as_deref()));
    for (phase, spent) in &report.phases {
        line.value(&json::string(phase.as_str())).value(&json::decimal(spent.as_millis() as usize));
    }
    line.end()
}
