//! What a client tells its application, in the words of the original's README.

use rtc_cafe_core::{Payload, Sid, SignallerState, TrackId, TrackKind};
use serde::de::DeserializeOwned;

use crate::track::RemoteTrack;

mod queue;

pub use queue::Events;
pub(crate) use queue::{EventSink, MAX_BYTES, channel};

/// Something that happened. The order of events is that in which it happened; a sid is that of a peer at that moment.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// A peer sent a message.
    Message {
        /// The peer.
        sender: Sid,
        /// What it sent.
        message: Message,
    },
    /// A message that was sent to a connected peer was not delivered: the peer is gone. Messages of which this is not told
    /// were delivered, or still will be.
    MessageUndelivered {
        /// The peer.
        sid: Sid,
        /// What was sent.
        message: Message,
        /// Whether the peer may have got it all the same; it is gone, so that nobody can tell.
        may_have_arrived: bool,
    },
    /// Messages to and from this peer flow from now on.
    ConnectToPeer {
        /// The peer.
        sid: Sid,
    },
    /// The signalling server gave this client a session.
    AcquireSid {
        /// The client's sid from now on.
        sid: Sid,
    },
    /// The state of the connection to the signalling server changed.
    SignallerStateChanged {
        /// The new state.
        state: SignallerState,
    },
    /// A peer is gone.
    DisconnectFromPeer {
        /// The peer.
        sid: Sid,
    },
    /// A connected peer has a new session. It is the same peer, over the same connection.
    ReassignPeerSid {
        /// What it was called until now.
        old_sid: Sid,
        /// What it is called from now on.
        sid: Sid,
    },
    /// A peer has a track that can be requested, or describes it anew.
    PeerTrackDefined {
        /// The peer.
        sid: Sid,
        /// The track.
        definition: TrackDefinition,
    },
    /// A requested track has arrived.
    PeerTrackIdentified {
        /// The peer.
        sid: Sid,
        /// The track's id.
        id: TrackId,
        /// The track.
        track: RemoteTrack,
    },
    /// A track that had arrived is gone.
    PeerTrackRemoved {
        /// The peer.
        sid: Sid,
        /// The track's id.
        id: TrackId,
    },
    /// A track can be requested no longer.
    PeerTrackDefinitionRemoved {
        /// The peer.
        sid: Sid,
        /// What it was.
        definition: TrackDefinition,
    },
    /// Something went wrong that no call could report.
    Error {
        /// Which kind.
        code: ErrorCode,
        /// What went wrong, in a sentence.
        message: String,
        /// The peer it is about.
        sid: Option<Sid>,
    },
}

/// Kinds of [`Event::Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorCode {
    /// The signalling server cannot be reached, or refuses the connection; it is tried again.
    SignallerUnreachable,
    /// The signal modifier did not return JSON, so that a signal was not sent.
    SignalModifier,
    /// The signalling server refused a signal, or it could not be sent.
    SignalRefused,
    /// The operator of the signalling server has ended the session: the client is closed, as by `Client::close`, and does
    /// not come back by itself.
    Kicked,
    /// A peer or the server said something that the protocol does not allow.
    Protocol,
    /// A connection to a peer could not be made; it is tried again while the peer is there.
    ConnectFailed,
    /// A STUN or TURN server does not answer, or refuses.
    IceServerFailed,
    /// A file that is played or recorded cannot be read or written any more.
    Media,
}

impl ErrorCode {
    /// The code's name, the same in JavaScript.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SignallerUnreachable => "SIGNALLER_UNREACHABLE",
            Self::SignalModifier => "SIGNAL_MODIFIER",
            Self::SignalRefused => "SIGNAL_REFUSED",
            Self::Kicked => "KICKED",
            Self::Protocol => "PROTOCOL",
            Self::ConnectFailed => "CONNECT_FAILED",
            Self::IceServerFailed => "ICE_SERVER_FAILED",
            Self::Media => "MEDIA",
        }
    }
}

impl From<rtc_cafe_core::ErrorCode> for ErrorCode {
    fn from(code: rtc_cafe_core::ErrorCode) -> Self {
        match code {
            rtc_cafe_core::ErrorCode::Signal => Self::SignalRefused,
            rtc_cafe_core::ErrorCode::ConnectFailed => Self::ConnectFailed,
            // The enum may grow.
            _ => Self::Protocol,
        }
    }
}

/// The JSON of a message. It comes from a peer, so it may be anything, and has not been looked at yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message(Payload);

impl Message {
    pub(crate) fn new(json: impl Into<Payload>) -> Self {
        Self(json.into())
    }

    /// The text as it came; whether it is valid JSON, reading it tells.
    pub fn as_json(&self) -> &str {
        &self.0
    }

    /// Reads it as a type of the application's.
    ///
    /// # Errors
    /// When it is no JSON, or not that of the type.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(&self.0)
    }
}

/// What a track is, as its owner says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TrackDefinition {
    /// Unique among the tracks of its owner.
    pub id: TrackId,
    /// What it carries.
    pub kind: TrackKind,
    /// The owner's description.
    pub description: Message,
}

impl TrackDefinition {
    pub(crate) fn new(id: TrackId, definition: rtc_cafe_core::Definition) -> Self {
        Self { id, kind: definition.kind, description: Message::new(definition.description) }
    }
}
