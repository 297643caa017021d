//! Does what a program asks for.

use std::time::Duration;

use rtc_cafe_client::{
    AddTrackError, AddTrackRefusal, Client, IceServer, JoinError, JoinRoomError, RequestTrackError, RtcConfig,
    SendMessageError, Sid, TrackId, TrackSource,
};
use rtc_cafe_wire::json::{Writer, string};
use serde_json::value::RawValue;
use tokio::time::timeout;

use super::{
    Refusal,
    call::{Filter, Operation},
    output,
};
use crate::join::recordings::Recordings;

/// How long a track that is to be forwarded may be silent.
const SILENCE: Duration = Duration::from_secs(10);

/// Does it, and returns the JSON of what it returned.
///
/// Those that wait are none of its business: [`send`], [`forward`] and [`report`](super::report::report).
pub(crate) fn perform(client: &Client, recordings: &Recordings, operation: Operation) -> Result<String, Refusal> {
    match operation {
        Operation::SendMessage { .. } | Operation::ForwardPeerTrack { .. } | Operation::GetConnectionReport { .. } => {
            unreachable!("it waits")
        }
        Operation::JoinRoom { room } => client.join_room(room).map(|()| null()).map_err(Refusal::from),
        Operation::LeaveRoom { room } => Ok(client.leave_room(room).to_string()),
        Operation::AddTrack { file, description } => {
            let source =
                TrackSource::file(&file).map_err(|error| Refusal::new("INVALID_TRACK", format!("{file}: {error}")))?;
            Ok(string(client.add_track(source, &*description)?.as_str()))
        }
        Operation::RemoveTrack { id } => {
            let removed = TrackId::new(id.as_str()).is_some_and(|id| client.remove_track(&id));
            Ok(id_or_null(removed, &id))
        }
        Operation::GetTracks { ids } => Ok(tracks(client, &ids)),
        Operation::GetPeerTrackDefinitions { sids, ids } => Ok(peer_track_definitions(client, &sids, &ids)),
        Operation::GetPeerTracks { sids, ids } => Ok(peer_tracks(client, &sids, &ids)),
        Operation::RequestPeerTrack { sid, id, record } => {
            client.request_peer_track(&sid, &id)?;
            if let Some(path) = record {
                recordings.want(client, sid, id, path.into());
            }
            Ok(null())
        }
        Operation::RemovePeerTrack { sid, id } => {
            let ids = Sid::new(sid).zip(TrackId::new(id.as_str()));
            let removed = ids.is_some_and(|(sid, id)| {
                recordings.forget(&sid, &id);
                client.remove_peer_track(&sid, &id)
            });
            Ok(id_or_null(removed, &id))
        }
        Operation::NetworkChanged => {
            client.network_changed();
            Ok(null())
        }
        Operation::Properties => Ok(properties(client)),
    }
}

/// Sends a message. Waits while a peer takes messages slower than they are sent.
pub(crate) async fn send(client: &Client, message: &RawValue, sids: Option<Vec<Sid>>) -> Result<String, Refusal> {
    match sids {
        None => client.send_message(message).await?,
        Some(sids) => client.send_message_to(sids, message).await?,
    }
    Ok(null())
}

/// Offers a track that has arrived to others, as it is. Waits for its first packet, which tells the codec.
pub(crate) async fn forward(
    client: &Client,
    sid: &Sid,
    id: &TrackId,
    description: &RawValue,
) -> Result<String, Refusal> {
    let track = client.peer_tracks().get(sid).and_then(|tracks| tracks.get(id)).cloned();
    let track =
        track.ok_or_else(|| Refusal::new("UNKNOWN_TRACK", "request the track and wait until it is identified"))?;
    let source = timeout(SILENCE, TrackSource::forward(&track))
        .await
        .map_err(|_| Refusal::new("NO_MEDIA", format!("nothing came of the track within {SILENCE:?}")))?
        .map_err(|error| Refusal::new("UNKNOWN_TRACK", error.to_string()))?;
    Ok(string(client.add_track(source, description)?.as_str()))
}

fn null() -> String {
    "null".to_owned()
}

fn id_or_null(removed: bool, id: &str) -> String {
    if removed { string(id) } else { null() }
}

fn tracks(client: &Client, ids: &Filter) -> String {
    let tracks = client.tracks().into_iter().filter(|track| ids.passes(track.id.as_str())).map(|track| {
        Writer::new()
            .string("id", track.id.as_str())
            .raw("description", &output::description(&track.description))
            .string("kind", track.kind.as_str())
            .finish()
    });
    array(tracks)
}

fn peer_track_definitions(client: &Client, sids: &Filter, ids: &Filter) -> String {
    let peers = client.peer_track_definitions();
    let peers = peers.iter().filter(|(sid, _)| sids.passes(sid.as_str())).filter_map(|(sid, tracks)| {
        let tracks = tracks.iter().filter(|(id, _)| ids.passes(id.as_str()));
        let tracks = object(tracks.map(|(id, definition)| (id.as_str(), output::definition(definition))))?;
        Some((sid.as_str(), tracks))
    });
    object(peers).unwrap_or_else(|| "{}".to_owned())
}

fn peer_tracks(client: &Client, sids: &Filter, ids: &Filter) -> String {
    let peers = client.peer_tracks();
    let peers = peers.iter().filter(|(sid, _)| sids.passes(sid.as_str())).filter_map(|(sid, tracks)| {
        let tracks = tracks.iter().filter(|(id, _)| ids.passes(id.as_str())).map(|(id, track)| {
            let live = if track.is_live() { "true" } else { "false" };
            let mut writer = Writer::new();
            writer.string("id", id.as_str()).string("kind", track.kind().as_str()).raw("live", live);
            (id.as_str(), writer.finish())
        });
        Some((sid.as_str(), object(tracks)?))
    });
    object(peers).unwrap_or_else(|| "{}".to_owned())
}

fn properties(client: &Client) -> String {
    let sids = |sids: Vec<Sid>| array(sids.iter().map(|sid| string(sid.as_str())));
    let sid = client.sid();
    Writer::new()
        .string("apiVersion", client.api_version().as_str())
        .raw("rtcConfig", &rtc_config(&client.rtc_config()))
        .string("sid", sid.as_ref().map_or("unassigned", Sid::as_str))
        .string("permanentId", client.permanent_id().as_str())
        .raw("connectedPeers", &sids(client.connected_peers()))
        .raw("discoveredPeers", &sids(client.discovered_peers()))
        .string("state", client.state().as_str())
        .finish()
}

/// As `RTCConfiguration` has it (W3C WebRTC section 4.2.1).
fn rtc_config(config: &RtcConfig) -> String {
    let server = |server: &IceServer| {
        Writer::new()
            .raw("urls", &array(server.urls.iter().map(|url| string(url))))
            .optional("username", server.username.as_deref())
            .optional("credential", server.credential.as_deref())
            .finish()
    };
    let policy = if config.relay_only { "relay" } else { "all" };
    Writer::new()
        .raw("iceServers", &array(config.ice_servers.iter().map(server)))
        .string("iceTransportPolicy", policy)
        .finish()
}

fn array(values: impl Iterator<Item = String>) -> String {
    format!("[{}]", values.collect::<Vec<_>>().join(","))
}

/// `None` if there is nothing in it.
fn object<'a>(entries: impl Iterator<Item = (&'a str, String)>) -> Option<String> {
    let mut entries = entries.peekable();
    entries.peek()?;
    let mut writer = Writer::new();
    for (key, value) in entries {
        writer.raw(key, &value);
    }
    Some(writer.finish())
}

impl From<JoinRoomError> for Refusal {
    fn from(error: JoinRoomError) -> Self {
        let code = match &error {
            JoinRoomError::Room(_) => "INVALID_ROOM",
            JoinRoomError::Join(JoinError::TooManyRooms(_)) => "TOO_MANY_ROOMS",
            _ => "CLOSED",
        };
        Self::new(code, error.to_string())
    }
}

impl From<SendMessageError> for Refusal {
    fn from(error: SendMessageError) -> Self {
        let code = match &error {
            SendMessageError::NotSerializable(_) => "NOT_SERIALIZABLE",
            SendMessageError::NotConnected(_) => "NOT_CONNECTED",
            SendMessageError::TooLong { .. } => "MESSAGE_TOO_LONG",
            SendMessageError::QueueFull => "QUEUE_FULL",
            _ => "CLOSED",
        };
        Self::new(code, error.to_string())
    }
}

impl From<AddTrackError> for Refusal {
    fn from(error: AddTrackError) -> Self {
        let code = match &error {
            AddTrackError::NotSerializable(_) | AddTrackError::Refused(AddTrackRefusal::Description) => {
                "INVALID_DESCRIPTION"
            }
            AddTrackError::Refused(_) => "TOO_MANY_TRACKS",
            _ => "CLOSED",
        };
        Self::new(code, error.to_string())
    }
}

impl From<RequestTrackError> for Refusal {
    fn from(error: RequestTrackError) -> Self {
        let code = match &error {
            RequestTrackError::UnknownTrack(_) => "UNKNOWN_TRACK",
            _ => "NOT_CONNECTED",
        };
        Self::new(code, error.to_string())
    }
}
