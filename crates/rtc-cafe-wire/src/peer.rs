//! The peer protocol: text frames on the negotiated data channel 0.
//!
//! A frame is a JSON object, its header, and where the header's type has one a line feed and a body. The body of a
//! message is the application's JSON, which is never parsed on its way. Unknown types and fields are ignored.

use crate::{
    PermanentId, RoomId, Sid, TrackId,
    fields::Fields,
    json::{self, JsonError, Object, Value, Writer},
    limits::{MAX_DESCRIPTION, MAX_FRAME, MAX_HEADER, MAX_ID, MAX_PEERS, MAX_TRACKS},
    signal::IceCandidate,
};

/// The version of the peer protocol.
pub const VERSION: u32 = 1;
/// The id of the negotiated data channel.
pub const CHANNEL_ID: u16 = 0;
/// The label of the data channel.
pub const CHANNEL_LABEL: &str = "rtc-cafe";

/// What a track carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrackKind {
    /// Sound.
    Audio,
    /// Pictures.
    Video,
}

impl TrackKind {
    /// The kind as `MediaStreamTrack.kind` has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Audio => "audio",
            Self::Video => "video",
        }
    }

    /// Reads what `MediaStreamTrack.kind` says.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Audio, Self::Video].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// Which track each sending m-line of a description carries, by its `mid` (RFC 8843).
pub type Mids = Vec<(String, TrackId)>;

/// A frame on the data channel.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Frame<'a> {
    /// The first frame of each side: who it is.
    Hello {
        /// The highest protocol version that the sender speaks.
        version: u32,
        /// The sender's permanent id.
        id: PermanentId,
        /// The sender's session, if it has one.
        sid: Option<Sid>,
        /// The stream to which the sender's messages belong, from 1.
        stream: u32,
        /// The recipient's stream that the sender has heard of last; 0 for none.
        heard: u32,
        /// How many messages of that stream it has received.
        received: u32,
        /// How many it had received of the one before.
        before: u32,
        /// All tracks that the sender has.
        tracks: Vec<TrackId>,
    },
    /// How many messages of the recipient's stream the sender has received.
    Ack {
        /// All of them since the stream began.
        received: u32,
    },
    /// Whom the sender is connected to in a room, or is no longer.
    Peers {
        /// A room in which all of them are.
        room: RoomId,
        /// With their sessions.
        added: Vec<(PermanentId, Sid)>,
        /// Those to whom the connection is lost.
        removed: Vec<PermanentId>,
    },
    /// A step of a handshake between two others, or one of them and the sender.
    Relay {
        /// Who has said it.
        from: PermanentId,
        /// The session of that one, if it has one.
        sid: Option<Sid>,
        /// Who is meant.
        to: PermanentId,
        /// A room in which both are, and whoever passes it on.
        room: RoomId,
        /// Numbers what one client sends in this way.
        number: u32,
        /// How many others may still pass it on.
        hops: u32,
        /// The JSON of a [`Handshake`](crate::signal::Handshake).
        body: &'a str,
    },
    /// The sender has left a room.
    Leave {
        /// The room.
        room: RoomId,
    },
    /// The sender is about to go for good.
    Bye,
    /// A message, or a part of one.
    Message {
        /// Whether further parts follow.
        more: bool,
        /// The message's JSON, or this part of it.
        body: &'a str,
    },
    /// The sender's signalling session has changed.
    Sid {
        /// The new session.
        sid: Sid,
    },
    /// The sender has a track that may be asked for, or describes it anew.
    Track {
        /// The track.
        id: TrackId,
        /// What it carries.
        kind: TrackKind,
        /// The application's description, in JSON.
        description: &'a str,
    },
    /// The sender does not have this track, or not any more; also the answer to a request for it.
    TrackRemoved {
        /// The track.
        id: TrackId,
    },
    /// Asks that a track be sent.
    TrackRequest {
        /// The track.
        id: TrackId,
    },
    /// Asks that a track be sent no longer.
    TrackCancel {
        /// The track.
        id: TrackId,
    },
    /// Asks for the turn to offer.
    TurnRequest,
    /// Hands the turn to offer to the other side.
    Turn,
    /// An offer of whoever has the turn, or a part of one.
    Offer {
        /// Whether further parts follow; the last one counts for everything but the body.
        more: bool,
        /// Numbers the offers of the connection.
        negotiation: u32,
        /// Whether it restarts ICE. It may then come out of turn, and more than once.
        restart: bool,
        /// All tracks that the sender sends.
        mids: Mids,
        /// The session description, or this part of it.
        body: &'a str,
    },
    /// The answer to an offer, or a part of one.
    Answer {
        /// Whether further parts follow.
        more: bool,
        /// The number of the offer.
        negotiation: u32,
        /// The number of the sender's own last offer; up to it they are void.
        offers: u32,
        /// The session description, or this part of it.
        body: &'a str,
    },
    /// A candidate for the description that the sender sent last.
    Candidate(IceCandidate),
    /// Asks for a [`Frame::Pong`].
    Ping {
        /// Repeated in the answer.
        nonce: u32,
    },
    /// Answers a [`Frame::Ping`].
    Pong {
        /// The nonce of the question.
        nonce: u32,
    },
}

/// Why a frame could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.message())]
pub enum FrameError {
    /// Longer than [`MAX_FRAME`], or its header longer than [`MAX_HEADER`].
    TooLong,
    /// The header is not a JSON object.
    Header(#[from] JsonError),
    /// A field is absent or of the wrong type.
    Field(&'static str),
}

impl FrameError {
    /// What `Display` shows, put together without the formatting machinery, which browsers would have to load.
    pub fn message(self) -> String {
        match self {
            Self::TooLong => "frame or header too long".to_owned(),
            Self::Header(error) => json::concat(&["the frame's header: ", &error.message()]),
            Self::Field(name) => json::concat(&["the frame needs a valid \"", name, "\""]),
        }
    }
}

impl<'a> Frame<'a> {
    /// The frame's type, as its header names it.
    const fn kind(&self) -> &'static str {
        match self {
            Self::Hello { .. } => "hello",
            Self::Ack { .. } => "ack",
            Self::Peers { .. } => "peers",
            Self::Relay { .. } => "relay",
            Self::Leave { .. } => "leave",
            Self::Bye => "bye",
            Self::Message { .. } => "message",
            Self::Sid { .. } => "sid",
            Self::Track { .. } => "track",
            Self::TrackRemoved { .. } => "track-removed",
            Self::TrackRequest { .. } => "track-request",
            Self::TrackCancel { .. } => "track-cancel",
            Self::TurnRequest => "turn-request",
            Self::Turn => "turn",
            Self::Offer { .. } => "offer",
            Self::Answer { .. } => "answer",
            Self::Candidate(_) => "candidate",
            Self::Ping { .. } => "ping",
            Self::Pong { .. } => "pong",
        }
    }

    /// Writes the frame.
    pub fn encode(&self) -> String {
        let mut header = Writer::new();
        header.string("type", self.kind());
        let body = self.write(&mut header);
        let mut frame = header.finish();
        if let Some(body) = body {
            frame.push('\n');
            frame.push_str(body);
        }
        frame
    }

    /// Writes the fields of the header, and returns the body.
    fn write(&self, header: &mut Writer) -> Option<&'a str> {
        match self {
            Self::Hello { version, id, sid, stream, heard, received, before, tracks } => {
                header
                    .number("version", *version)
                    .string("id", id.as_str())
                    .optional("sid", sid.as_ref().map(Sid::as_str))
                    .number("stream", *stream)
                    .number("heard", *heard)
                    .number("received", *received)
                    .number("before", *before)
                    .raw("tracks", &json::list(&mut tracks.iter().map(TrackId::as_str)));
            }
            Self::Ack { received } => drop(header.number("received", *received)),
            Self::Peers { room, added, removed } => {
                let mut sids = Writer::new();
                for (id, sid) in added {
                    sids.string(id.as_str(), sid.as_str());
                }
                let removed = json::list(&mut removed.iter().map(PermanentId::as_str));
                header.raw("room", room.as_json()).raw("added", &sids.finish()).raw("removed", &removed);
            }
            Self::Relay { from, sid, to, room, number, hops, body } => {
                header
                    .string("from", from.as_str())
                    .optional("sid", sid.as_ref().map(Sid::as_str))
                    .string("to", to.as_str())
                    .raw("room", room.as_json())
                    .number("number", *number)
                    .number("hops", *hops);
                return Some(body);
            }
            Self::Message { more, body } => {
                header.flag("more", *more);
                return Some(body);
            }
            Self::Track { id, kind, description } => {
                header.string("id", id.as_str()).string("kind", kind.as_str());
                return Some(description);
            }
            Self::Offer { more, negotiation, restart, mids, body } => {
                header.flag("more", *more).number("negotiation", *negotiation).flag("restart", *restart);
                header.raw("tracks", &mids_to_json(mids));
                return Some(body);
            }
            Self::Answer { more, negotiation, offers, body } => {
                header.flag("more", *more).number("negotiation", *negotiation).number("offers", *offers);
                return Some(body);
            }
            Self::Leave { room } => drop(header.raw("room", room.as_json())),
            Self::TrackRemoved { id } | Self::TrackRequest { id } | Self::TrackCancel { id } => {
                header.string("id", id.as_str());
            }
            Self::Candidate(candidate) => drop(header.raw("candidate", &candidate.to_json())),
            Self::Sid { sid } => drop(header.string("sid", sid.as_str())),
            Self::Ping { nonce } | Self::Pong { nonce } => drop(header.number("nonce", *nonce)),
            Self::Bye | Self::TurnRequest | Self::Turn => {}
        }
        None
    }

    /// Reads a frame; `None` is one of a type that this version does not know.
    pub fn decode(text: &'a str) -> Result<Option<Self>, FrameError> {
        let (header, body) = json::split_line(text);
        if text.len() > MAX_FRAME || header.len() > MAX_HEADER {
            return Err(FrameError::TooLong);
        }
        let mut fields = Fields::new(Object::parse(header)?);
        let frame = Self::read(&mut fields, body.unwrap_or_default());
        fields.missing().map_or(Ok(frame), |field| Err(FrameError::Field(field)))
    }

    fn read(fields: &mut Fields<'_>, body: &'a str) -> Option<Self> {
        let kind = fields.text("type", MAX_ID);
        let more = fields.flag("more");
        Some(match fields.need("type", kind)?.as_str() {
            "hello" => Self::Hello {
                version: fields.number("version"),
                id: PermanentId::need(fields, "id"),
                sid: Sid::read(fields.get("sid")),
                stream: fields.number_or_zero("stream"),
                heard: fields.number_or_zero("heard"),
                received: fields.number_or_zero("received"),
                before: fields.number_or_zero("before"),
                tracks: values(fields.get("tracks"), TrackId::read, MAX_TRACKS),
            },
            "ack" => Self::Ack { received: fields.number("received") },
            "peers" => Self::Peers {
                room: RoomId::need(fields),
                added: fields.get("added").map(acquaintances).unwrap_or_default(),
                removed: values(fields.get("removed"), PermanentId::read, MAX_PEERS),
            },
            "relay" => Self::Relay {
                from: PermanentId::need(fields, "from"),
                sid: Sid::read(fields.get("sid")),
                to: PermanentId::need(fields, "to"),
                room: RoomId::need(fields),
                number: fields.number("number"),
                hops: fields.number("hops"),
                body,
            },
            "leave" => Self::Leave { room: RoomId::need(fields) },
            "bye" => Self::Bye,
            "message" => Self::Message { more, body },
            "track" => {
                let kind = fields.text("kind", MAX_ID).and_then(|kind| TrackKind::parse(&kind));
                Self::Track {
                    id: TrackId::need(fields, "id"),
                    kind: fields.need("kind", kind)?,
                    description: fields.need("description", description(body))?,
                }
            }
            "track-removed" => Self::TrackRemoved { id: TrackId::need(fields, "id") },
            "track-request" => Self::TrackRequest { id: TrackId::need(fields, "id") },
            "track-cancel" => Self::TrackCancel { id: TrackId::need(fields, "id") },
            "turn-request" => Self::TurnRequest,
            "turn" => Self::Turn,
            "offer" => {
                let mids = fields.get("tracks").and_then(mids);
                Self::Offer {
                    more,
                    negotiation: fields.number("negotiation"),
                    restart: fields.flag("restart"),
                    mids: fields.need("tracks", mids)?,
                    body,
                }
            }
            "answer" => Self::Answer {
                more,
                negotiation: fields.number("negotiation"),
                offers: fields.number_or_zero("offers"),
                body,
            },
            "candidate" => {
                let candidate = fields.get("candidate").and_then(IceCandidate::from_json);
                Self::Candidate(fields.need("candidate", candidate)?)
            }
            "sid" => Self::Sid { sid: Sid::need(fields, "sid") },
            "ping" => Self::Ping { nonce: fields.number("nonce") },
            "pong" => Self::Pong { nonce: fields.number("nonce") },
            _ => return None,
        })
    }
}

/// Writes which track each `mid` carries.
pub(crate) fn mids_to_json(mids: &Mids) -> String {
    let mut tracks = Writer::new();
    for (mid, id) in mids {
        tracks.string(mid, id.as_str());
    }
    tracks.finish()
}

/// Reads so many of the elements of an array as can be read.
fn values<'a, T>(array: Option<Value<'a>>, read: fn(Option<Value<'a>>) -> Option<T>, max: usize) -> Vec<T> {
    let mut values = Vec::new();
    for element in array.and_then(Value::as_array).unwrap_or_default() {
        if values.len() < max {
            values.extend(read(Some(element)));
        }
    }
    values
}

/// Reads an object of sids by permanent ids, as far as it can be read.
fn acquaintances(object: Value<'_>) -> Vec<(PermanentId, Sid)> {
    let mut acquaintances = Vec::new();
    if let Some(object) = object.as_object() {
        for (id, sid) in object.entries() {
            if acquaintances.len() < MAX_PEERS
                && let (Some(id), Some(sid)) = (PermanentId::new(id), Sid::read(Some(sid)))
            {
                acquaintances.push((id, sid));
            }
        }
    }
    acquaintances
}

fn description(body: &str) -> Option<&str> {
    Value::parse(body).ok().map(Value::text).filter(|text| text.len() <= MAX_DESCRIPTION)
}

/// Reads which track each `mid` carries; `None` if it is no object of ids, or a long one.
pub fn mids(tracks: Value<'_>) -> Option<Mids> {
    let tracks = tracks.as_object()?;
    let mut mids = Mids::new();
    for (mid, id) in tracks.entries() {
        if mid.len() > MAX_ID || mids.len() >= MAX_TRACKS {
            return None;
        }
        mids.push((mid.to_owned(), TrackId::read(Some(id))?));
    }
    Some(mids)
}
