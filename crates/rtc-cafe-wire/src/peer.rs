//! The peer protocol: text frames on the negotiated data channel 0.
//!
//! A frame is a JSON object, its header, and where the header's type has one a line feed and a body. The body of a
//! message is the application's JSON, which is never parsed on its way. Unknown types and fields are ignored.

use crate::{
    PermanentId, RoomId, Sid, TrackId,
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
    /// Writes the frame.
    pub fn encode(&self) -> String {
        let header = |kind: &str| Writer::new().string("type", kind);
        let parted = |kind: &str, more: bool| if more { header(kind).raw("more", "true") } else { header(kind) };
        let with_body = |header: Writer, body: &str| json::concat(&[&header.finish(), "\n", body]);
        match self {
            Self::Hello { version, id, sid, stream, heard, received, before, tracks } => header("hello")
                .number("version", *version)
                .string("id", id.as_str())
                .optional("sid", sid.as_ref().map(Sid::as_str))
                .number("stream", *stream)
                .number("heard", *heard)
                .number("received", *received)
                .number("before", *before)
                .raw("tracks", &list(&mut tracks.iter().map(TrackId::as_str)))
                .finish(),
            Self::Ack { received } => header("ack").number("received", *received).finish(),
            Self::Peers { room, added, removed } => {
                let added =
                    added.iter().fold(Writer::new(), |added, (id, sid)| added.string(id.as_str(), sid.as_str()));
                header("peers")
                    .raw("room", room.as_json())
                    .raw("added", &added.finish())
                    .raw("removed", &list(&mut removed.iter().map(PermanentId::as_str)))
                    .finish()
            }
            Self::Relay { from, sid, to, room, number, hops, body } => {
                let header = header("relay")
                    .string("from", from.as_str())
                    .optional("sid", sid.as_ref().map(Sid::as_str))
                    .string("to", to.as_str())
                    .raw("room", room.as_json())
                    .number("number", *number)
                    .number("hops", *hops);
                with_body(header, body)
            }
            Self::Leave { room } => header("leave").raw("room", room.as_json()).finish(),
            Self::Bye => header("bye").finish(),
            Self::Message { more, body } => with_body(parted("message", *more), body),
            Self::Track { id, kind, description } => {
                with_body(header("track").string("id", id.as_str()).string("kind", kind.as_str()), description)
            }
            Self::TrackRemoved { id } => header("track-removed").string("id", id.as_str()).finish(),
            Self::TrackRequest { id } => header("track-request").string("id", id.as_str()).finish(),
            Self::TrackCancel { id } => header("track-cancel").string("id", id.as_str()).finish(),
            Self::TurnRequest => header("turn-request").finish(),
            Self::Turn => header("turn").finish(),
            Self::Offer { more, negotiation, restart, mids, body } => {
                let header = parted("offer", *more).number("negotiation", *negotiation);
                let header = if *restart { header.raw("restart", "true") } else { header };
                with_body(header.raw("tracks", &mids_to_json(mids)), body)
            }
            Self::Answer { more, negotiation, offers, body } => {
                let header = parted("answer", *more).number("negotiation", *negotiation);
                with_body(header.number("offers", *offers), body)
            }
            Self::Candidate(candidate) => header("candidate").raw("candidate", &candidate.to_json()).finish(),
            Self::Sid { sid } => header("sid").string("sid", sid.as_str()).finish(),
            Self::Ping { nonce } => header("ping").number("nonce", *nonce).finish(),
            Self::Pong { nonce } => header("pong").number("nonce", *nonce).finish(),
        }
    }

    /// Reads a frame; `None` is one of a type that this version does not know.
    pub fn decode(text: &'a str) -> Result<Option<Self>, FrameError> {
        let end = json::find(text, b'\n').unwrap_or(text.len());
        let (header, body) = (json::part(text, 0, end), json::part(text, end + 1, text.len()));
        if text.len() > MAX_FRAME || header.len() > MAX_HEADER {
            return Err(FrameError::TooLong);
        }
        let header = Object::parse(header)?;
        let number = |key: &'static str| header.get(key).and_then(Value::as_u32).ok_or(FrameError::Field(key));
        let track = || TrackId::read(header.get("id")).ok_or(FrameError::Field("id"));
        let flag = |key: &str| header.get(key).and_then(Value::as_bool).unwrap_or(false);
        let more = flag("more");
        let peer = |key: &'static str| PermanentId::read(header.get(key)).ok_or(FrameError::Field(key));
        let room = || header.get("room").and_then(|room| RoomId::from_json(room).ok()).ok_or(FrameError::Field("room"));
        let kind = header.string("type").ok_or(FrameError::Field("type"))?;
        Ok(Some(match kind.as_ref() {
            "hello" => Self::Hello {
                version: number("version")?,
                id: peer("id")?,
                sid: Sid::read(header.get("sid")),
                stream: number("stream").unwrap_or(0),
                heard: number("heard").unwrap_or(0),
                received: number("received").unwrap_or(0),
                before: number("before").unwrap_or(0),
                tracks: values(header.get("tracks"), TrackId::read, MAX_TRACKS),
            },
            "ack" => Self::Ack { received: number("received")? },
            "peers" => {
                let added = header.get("added").map(acquaintances).unwrap_or_default();
                let removed = values(header.get("removed"), PermanentId::read, MAX_PEERS);
                Self::Peers { room: room()?, added, removed }
            }
            "relay" => Self::Relay {
                from: peer("from")?,
                sid: Sid::read(header.get("sid")),
                to: peer("to")?,
                room: room()?,
                number: number("number")?,
                hops: number("hops")?,
                body,
            },
            "leave" => Self::Leave { room: room()? },
            "bye" => Self::Bye,
            "message" => Self::Message { more, body },
            "track" => Self::Track {
                id: track()?,
                kind: header
                    .string("kind")
                    .and_then(|kind| TrackKind::parse(&kind))
                    .ok_or(FrameError::Field("kind"))?,
                description: description(body)?,
            },
            "track-removed" => Self::TrackRemoved { id: track()? },
            "track-request" => Self::TrackRequest { id: track()? },
            "track-cancel" => Self::TrackCancel { id: track()? },
            "turn-request" => Self::TurnRequest,
            "turn" => Self::Turn,
            "offer" => {
                let mids = header.get("tracks").and_then(mids).ok_or(FrameError::Field("tracks"))?;
                Self::Offer { more, negotiation: number("negotiation")?, restart: flag("restart"), mids, body }
            }
            "answer" => {
                Self::Answer { more, negotiation: number("negotiation")?, offers: number("offers").unwrap_or(0), body }
            }
            "candidate" => {
                let candidate = header.get("candidate").and_then(IceCandidate::from_json);
                Self::Candidate(candidate.ok_or(FrameError::Field("candidate"))?)
            }
            "sid" => Self::Sid { sid: Sid::read(header.get("sid")).ok_or(FrameError::Field("sid"))? },
            "ping" => Self::Ping { nonce: number("nonce")? },
            "pong" => Self::Pong { nonce: number("nonce")? },
            _ => return Ok(None),
        }))
    }
}

/// Writes which track each `mid` carries.
pub(crate) fn mids_to_json(mids: &Mids) -> String {
    mids.iter().fold(Writer::new(), |tracks, (mid, id)| tracks.string(mid, id.as_str())).finish()
}

/// Writes an array of texts.
fn list(texts: &mut dyn Iterator<Item = &str>) -> String {
    let mut json = String::from("[");
    for text in texts {
        if json.len() > 1 {
            json.push(',');
        }
        json::push_string(&mut json, text);
    }
    json.push(']');
    json
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

fn description(body: &str) -> Result<&str, FrameError> {
    let value = Value::parse(body).ok().filter(|value| value.text().len() <= MAX_DESCRIPTION);
    value.map(Value::text).ok_or(FrameError::Field("description"))
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
