//! What the application is told.

use rtc_cafe_wire::{Sid, TrackId, peer::TrackKind, signal::ConnectionId};

use crate::payload::Payload;

/// The state of the connection to the signalling server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SignallerState {
    /// Not yet connected.
    #[default]
    Setup,
    /// Connected.
    Connected,
    /// Disconnected, and about to connect again.
    Reconnecting,
    /// Disconnected for good, by the application.
    Closed,
}

impl SignallerState {
    /// The state's name in events and properties.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Setup => "setup",
            Self::Connected => "connected",
            Self::Reconnecting => "reconnecting",
            Self::Closed => "closed",
        }
    }
}

/// Something that the application is told. A sid in an event is that of a peer, as it is at that moment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
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
    /// Messages to and from this peer flow from now on.
    ConnectToPeer {
        /// The peer.
        sid: Sid,
    },
    /// The peer is gone; its sid is not heard of again until it connects anew.
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
    /// A message from a connected peer.
    Message {
        /// The peer.
        sender: Sid,
        /// The message's JSON as the peer sent it. It has not been parsed, so it may be anything.
        payload: String,
    },
    /// A message that was taken for a connected peer was not delivered, because the peer is gone.
    MessageUndelivered {
        /// The peer.
        sid: Sid,
        /// The message's JSON.
        payload: Payload,
        /// Whether the peer may have received it all the same; it is gone, so that nobody can tell.
        may_have_arrived: bool,
    },
    /// A peer has a track that can be requested, or describes it anew.
    PeerTrackDefined {
        /// The peer.
        sid: Sid,
        /// The track.
        id: TrackId,
        /// What it is.
        definition: Definition,
    },
    /// A requested track has arrived.
    PeerTrackIdentified {
        /// The peer.
        sid: Sid,
        /// The track.
        id: TrackId,
        /// Where the driver finds its media.
        source: Source,
    },
    /// A track that had arrived is gone.
    PeerTrackRemoved {
        /// The peer.
        sid: Sid,
        /// The track.
        id: TrackId,
    },
    /// A track can be requested no longer.
    PeerTrackDefinitionRemoved {
        /// The peer.
        sid: Sid,
        /// The track.
        id: TrackId,
        /// What it was.
        definition: Definition,
    },
    /// Something went wrong that no call of the application could report.
    Error {
        /// Which kind.
        code: ErrorCode,
        /// What went wrong, in a sentence.
        message: String,
        /// The peer it is about.
        sid: Option<Sid>,
    },
}

/// What a track is, as its owner says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// What it carries.
    pub kind: TrackKind,
    /// The application's description, in JSON.
    pub description: String,
}

/// Where a peer's track arrives.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// The connection.
    pub connection: ConnectionId,
    /// The m-line.
    pub mid: String,
}

/// Kinds of [`Event::Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorCode {
    /// The signalling server refused a signal.
    Signal,
    /// A peer said something that the protocol does not allow.
    Protocol,
    /// A connection to a peer could not be made; it is tried again while the peer is there.
    ConnectFailed,
}

impl ErrorCode {
    /// The code's name in events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Signal => "SIGNAL_REFUSED",
            Self::Protocol => "PROTOCOL",
            Self::ConnectFailed => "CONNECT_FAILED",
        }
    }
}
