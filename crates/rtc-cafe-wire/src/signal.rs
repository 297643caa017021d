//! The signalling protocol: Socket.IO events between a client and the signalling server.
//!
//! [`ClientSignal`] goes from client to server, [`ServerSignal`] from server to client; [`server`] writes the latter.

use std::fmt;

use crate::{
    ApiVersion, PermanentId, RoomId, RoomIdError, Sid,
    fields::Fields,
    json::{self, JsonError, Object, Value, Writer},
    limits,
    peer::{self, Mids},
};

pub mod server;

/// Names of the signals.
pub mod name {
    #![allow(missing_docs, reason = "each is its own text")]
    pub const REQUEST_SID: &str = "request-sid";
    pub const SID: &str = "sid";
    pub const JOIN: &str = "join";
    pub const LEAVE: &str = "leave";
    pub const HOLD: &str = "hold";
    pub const ACQUIRE_PEERS: &str = "acquire-peers";
    pub const ACQUIRE_PEERS_RESPONSE: &str = "acquire-peers-response";
    pub const OFFER: &str = "offer";
    pub const ANSWER: &str = "answer";
    pub const CANDIDATE: &str = "candidate";
    pub const PEER_DISCONNECTION: &str = "peer-disconnection";
    pub const ERROR: &str = "error";
}

/// Why a signal could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.message())]
pub enum SignalError {
    /// The payload is not a JSON object.
    Json(#[from] JsonError),
    /// A field is absent or of the wrong type.
    Field(&'static str),
    /// The room cannot be a room's id.
    Room(#[from] RoomIdError),
    /// A signal of this name is not part of the protocol.
    Unknown,
}

impl SignalError {
    /// What `Display` shows, put together without the formatting machinery, which browsers would have to load.
    pub fn message(&self) -> String {
        match self {
            Self::Json(error) => json::concat(&["the payload must be a JSON object: ", &error.message()]),
            Self::Field(name) => json::concat(&["the payload needs a valid \"", name, "\""]),
            Self::Room(error) => error.message(),
            Self::Unknown => "unknown signal".to_owned(),
        }
    }
}

/// Numbers a peer connection among all that one client ever has; a replacement gets a higher one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u32);

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An ICE candidate, field by field as `RTCIceCandidateInit`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IceCandidate {
    /// The `candidate-attribute` (RFC 8839 section 5.1).
    pub candidate: String,
    /// The media stream identification.
    pub sdp_mid: Option<String>,
    /// The index of the m-line.
    pub sdp_m_line_index: Option<u32>,
    /// The ICE user name fragment that it belongs to.
    pub username_fragment: Option<String>,
}

impl IceCandidate {
    /// Writes it as the JSON of `RTCIceCandidateInit`.
    pub fn to_json(&self) -> String {
        let mut writer = Writer::new();
        writer.string("candidate", &self.candidate).optional("sdpMid", self.sdp_mid.as_deref());
        if let Some(index) = self.sdp_m_line_index {
            writer.number("sdpMLineIndex", index);
        }
        writer.optional("usernameFragment", self.username_fragment.as_deref()).finish()
    }

    /// Reads the JSON of an `RTCIceCandidateInit`.
    pub fn from_json(value: Value<'_>) -> Option<Self> {
        let fields = Fields::new(value.as_object()?);
        Some(Self {
            candidate: fields.text("candidate", limits::MAX_CANDIDATE)?,
            sdp_mid: fields.text("sdpMid", limits::MAX_ID),
            sdp_m_line_index: fields.get("sdpMLineIndex").and_then(Value::as_u32),
            username_fragment: fields.text("usernameFragment", limits::MAX_ID * 2),
        })
    }
}

/// What an offer, answer or candidate is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandshakeBody {
    /// A session description that asks for an answer.
    Offer(String),
    /// The session description that answers an offer.
    Answer(String),
    /// A candidate, or `None` when there are no more.
    Candidate(Option<IceCandidate>),
}

impl HandshakeBody {
    /// The name of the signal that carries it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Offer(_) => name::OFFER,
            Self::Answer(_) => name::ANSWER,
            Self::Candidate(_) => name::CANDIDATE,
        }
    }
}

/// One step of the handshake between two peers.
///
/// A handshake names the peer connection it belongs to on both sides, so that what is late for a replaced connection
/// is told apart from what is meant for its successor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handshake {
    /// The sender's peer connection.
    pub connection: ConnectionId,
    /// The recipient's peer connection, once the sender knows it.
    pub peer_connection: Option<ConnectionId>,
    /// Numbers the offers of a connection; an answer repeats the number of its offer.
    pub negotiation: u32,
    /// In an answer, the number of the sender's own last offer; up to it they are void.
    pub offers: u32,
    /// Whether an offer restarts ICE on a connection that was open.
    pub restart: bool,
    /// The tracks that such an offer sends, by their m-lines.
    pub mids: Mids,
    /// The description or the candidate.
    pub body: HandshakeBody,
}

impl Handshake {
    fn write(&self, writer: &mut Writer) {
        match &self.body {
            HandshakeBody::Offer(sdp) => writer.raw("offer", &description("offer", sdp)),
            HandshakeBody::Answer(sdp) => writer.raw("answer", &description("answer", sdp)),
            HandshakeBody::Candidate(Some(candidate)) => writer.raw("candidate", &candidate.to_json()),
            HandshakeBody::Candidate(None) => writer.raw("candidate", "null"),
        };
        writer.number("connection", self.connection.0);
        if let Some(id) = self.peer_connection {
            writer.number("peerConnection", id.0);
        }
        writer.number("negotiation", self.negotiation);
        if let HandshakeBody::Answer(_) = self.body {
            writer.number("offers", self.offers);
        } else if self.restart {
            writer.flag("restart", true).raw("tracks", &peer::mids_to_json(&self.mids));
        }
    }

    /// Writes it as the body of a [`Frame::Relay`](peer::Frame::Relay).
    pub fn to_json(&self) -> String {
        let mut writer = Writer::new();
        self.write(&mut writer);
        writer.finish()
    }

    /// Reads the body of a [`Frame::Relay`](peer::Frame::Relay).
    pub fn from_json(json: &str) -> Result<Self, SignalError> {
        let mut fields = Fields::new(Object::parse(json)?);
        let name = [name::OFFER, name::ANSWER, name::CANDIDATE].into_iter().find(|name| fields.get(name).is_some());
        let handshake = Self::read(name.unwrap_or_default(), &mut fields);
        complete(&fields, handshake)
    }

    /// Reads the signal of this name.
    fn read(event: &str, fields: &mut Fields<'_>) -> Option<Self> {
        let body = match event {
            name::OFFER => HandshakeBody::Offer(sdp(fields, "offer")?),
            name::ANSWER => HandshakeBody::Answer(sdp(fields, "answer")?),
            name::CANDIDATE => {
                let value = fields.get("candidate");
                let candidate = value.and_then(IceCandidate::from_json);
                let is_end = value.is_some_and(Value::is_null);
                HandshakeBody::Candidate(if is_end { None } else { Some(fields.need("candidate", candidate)?) })
            }
            _ => return None,
        };
        let id = |key: &str| fields.get(key).and_then(Value::as_u32).map(ConnectionId);
        Some(Self {
            connection: id("connection").unwrap_or(ConnectionId(0)),
            peer_connection: id("peerConnection"),
            negotiation: fields.number_or_zero("negotiation"),
            offers: fields.number_or_zero("offers"),
            restart: fields.flag("restart"),
            mids: fields.get("tracks").and_then(peer::mids).unwrap_or_default(),
            body,
        })
    }
}

/// Writes an `RTCSessionDescriptionInit`.
fn description(kind: &str, sdp: &str) -> String {
    Writer::new().string("type", kind).string("sdp", sdp).finish()
}

/// Reads an `RTCSessionDescriptionInit`.
fn sdp(fields: &mut Fields<'_>, key: &'static str) -> Option<String> {
    let description = fields.get(key).and_then(Value::as_object);
    let sdp = description.and_then(|description| Fields::new(description).text("sdp", limits::MAX_SDP));
    fields.need(key, sdp)
}

/// What was read, if nothing is missing and it is known.
fn complete<T>(fields: &Fields<'_>, read: Option<T>) -> Result<T, SignalError> {
    match fields.missing() {
        Some(field) => Err(SignalError::Field(field)),
        None => read.ok_or(SignalError::Unknown),
    }
}

/// A signal from a client to the server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientSignal {
    /// Asks for the session id, and offers a version.
    RequestSid {
        /// The newest version that the client speaks.
        api_version: ApiVersion,
    },
    /// Enters a room.
    Join {
        /// The room.
        room: RoomId,
        /// The client's permanent id.
        id: PermanentId,
        /// The session that this one replaces.
        prev_sid: Option<Sid>,
        /// The secret that the server gave with the previous session, as proof.
        prev_session: Option<String>,
        /// Answers to offers that members have the server hold.
        answers: Vec<Handshake>,
        /// Whether they were made with the ICE servers that the server names.
        informed: bool,
    },
    /// Has the server hold an offer for the next newcomer, with 1.0.
    Hold {
        /// The client's permanent id.
        id: PermanentId,
        /// The offer.
        handshake: Handshake,
    },
    /// Leaves a room, with 1.0.
    Leave {
        /// The room.
        room: RoomId,
    },
    /// Answers `acquire-peers`: tells a newcomer who is there.
    AcquirePeersResponse {
        /// The newcomer.
        recipient: Sid,
        /// The room that both are in.
        room: RoomId,
        /// The client's permanent id.
        id: PermanentId,
    },
    /// An offer, an answer or a candidate for one peer.
    Handshake {
        /// The peer.
        recipient: Sid,
        /// The client's permanent id.
        id: PermanentId,
        /// The step.
        handshake: Handshake,
    },
}

impl ClientSignal {
    /// The name of the Socket.IO event.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::RequestSid { .. } => name::REQUEST_SID,
            Self::Join { .. } => name::JOIN,
            Self::Leave { .. } => name::LEAVE,
            Self::Hold { .. } => name::HOLD,
            Self::AcquirePeersResponse { .. } => name::ACQUIRE_PEERS_RESPONSE,
            Self::Handshake { handshake, .. } => handshake.body.name(),
        }
    }

    /// The event's only argument, as JSON.
    pub fn payload(&self) -> String {
        let mut writer = Writer::new();
        match self {
            Self::RequestSid { api_version } => drop(writer.string("apiVersion", api_version.as_str())),
            Self::Join { room, id, prev_sid, prev_session, answers, informed } => {
                writer
                    .raw("room", room.as_json())
                    .string("id", id.as_str())
                    .optional("prevSid", prev_sid.as_ref().map(Sid::as_str))
                    .optional("prevSession", prev_session.as_deref());
                if !answers.is_empty() {
                    let list = json::join(&mut answers.iter().map(Handshake::to_json));
                    writer.raw("answers", &list).raw("informed", if *informed { "true" } else { "false" });
                }
            }
            Self::Hold { id, handshake } => {
                writer.string("id", id.as_str());
                handshake.write(&mut writer);
            }
            Self::Leave { room } => drop(writer.raw("room", room.as_json())),
            Self::AcquirePeersResponse { recipient, room, id } => {
                writer.string("recipient", recipient.as_str()).raw("room", room.as_json()).string("id", id.as_str());
            }
            Self::Handshake { recipient, id, handshake } => {
                writer.string("recipient", recipient.as_str()).string("id", id.as_str());
                handshake.write(&mut writer);
            }
        }
        writer.finish()
    }
}

/// A signal from the server to a client, as the client reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerSignal {
    /// The session's id, and with 1.0 what was agreed on.
    Sid {
        /// The session id.
        sid: Sid,
        /// The version that both speak; the original server names none.
        api_version: Option<ApiVersion>,
        /// The JSON of an array of `RTCIceServer`.
        ice_servers: Option<String>,
        /// A secret by which a later session can prove that it replaces this one.
        session: Option<String>,
    },
    /// A newcomer asks who is there.
    AcquirePeers(Announcement),
    /// A member says that it is there.
    AcquirePeersResponse(Announcement),
    /// A step of the handshake with a peer.
    Handshake {
        /// The peer's session.
        sid: Sid,
        /// The peer's permanent id, where the server or the peer names it.
        id: Option<PermanentId>,
        /// The step.
        handshake: Handshake,
    },
    /// A peer's signalling session has ended.
    PeerDisconnection {
        /// The session.
        sid: Sid,
    },
    /// The server refused a signal.
    Error {
        /// The reason, as the server or its validation gave it, in JSON.
        error: String,
        /// Which kind of refusal, with 1.0.
        code: Option<String>,
        /// The name of the refused signal.
        original_message: Option<String>,
        /// The recipient of the refused signal, if it had one.
        recipient: Option<Sid>,
    },
}

/// Who somebody is: the content of `acquire-peers` and `acquire-peers-response`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// The peer's session.
    pub sid: Sid,
    /// The peer's permanent id; servers before 0.2 send none.
    pub id: Option<PermanentId>,
    /// The session that this one replaces.
    pub prev_sid: Option<Sid>,
    /// The room, with 1.0.
    pub room: Option<RoomId>,
    /// In `acquire-peers`, the recipient's connection whose offer was held, and given to this newcomer.
    pub offered: Option<ConnectionId>,
}

impl ServerSignal {
    /// Reads a signal by its name and its first argument.
    pub fn decode(event: &str, payload: &str) -> Result<Self, SignalError> {
        let mut fields = Fields::new(Object::parse(payload)?);
        let signal = Self::read(event, &mut fields);
        complete(&fields, signal)
    }

    fn read(event: &str, fields: &mut Fields<'_>) -> Option<Self> {
        Some(match event {
            name::SID => Self::Sid {
                sid: Sid::need(fields, "sid"),
                api_version: fields.text("apiVersion", limits::MAX_ID).and_then(|text| text.parse().ok()),
                ice_servers: fields.get("iceServers").filter(|v| v.as_array().is_some()).map(|v| v.text().to_owned()),
                session: fields.text("session", limits::MAX_ID),
            },
            name::ACQUIRE_PEERS => Self::AcquirePeers(Announcement::read(fields)),
            name::ACQUIRE_PEERS_RESPONSE => Self::AcquirePeersResponse(Announcement::read(fields)),
            name::OFFER | name::ANSWER | name::CANDIDATE => Self::Handshake {
                sid: Sid::need(fields, "sid"),
                id: PermanentId::read(fields.get("id")),
                handshake: Handshake::read(event, fields)?,
            },
            name::PEER_DISCONNECTION => Self::PeerDisconnection { sid: Sid::need(fields, "sid") },
            name::ERROR => Self::Error {
                error: fields.get("error").map_or("null", Value::text).to_owned(),
                code: fields.text("code", limits::MAX_ID),
                original_message: fields.text("originalMessage", limits::MAX_ID),
                recipient: Sid::read(fields.get("recipient")),
            },
            _ => return None,
        })
    }
}

impl Announcement {
    fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            sid: Sid::need(fields, "sid"),
            id: PermanentId::read(fields.get("id")),
            prev_sid: Sid::read(fields.get("prevSid")),
            room: fields.get("room").and_then(|room| RoomId::from_json(room).ok()),
            offered: fields.get("offered").and_then(Value::as_u32).map(ConnectionId),
        }
    }
}
