//! Why calls fail, one small type for each kind of call.

use std::convert::Infallible;

use rtc_cafe_core::{JoinError, wire::RoomIdError};

pub(crate) use rtc_cafe_core::{AddTrackError as CoreAddTrackError, RequestTrackError, Sid};

/// Why a client could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The address of the signalling server cannot be read.
    #[error(transparent)]
    Url(#[from] crate::signalling::ParseUrlError),
    /// There is no tokio runtime: call it inside of one.
    #[error("there is no tokio runtime here; call it inside of `#[tokio::main]` or `Runtime::block_on`")]
    NoRuntime,
    /// No socket could be opened.
    #[error("no socket could be opened: {0}")]
    Bind(#[from] crate::net::BindError),
    /// A certificate authority that was given cannot be used.
    #[error(transparent)]
    Tls(#[from] crate::tls::TlsConfigError),
    /// The system gave no random numbers.
    #[error("the system gave no random numbers: {0}")]
    Random(String),
}

/// Why a room could not be joined.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinRoomError {
    /// Not a text that can name a room.
    #[error(transparent)]
    Room(#[from] RoomIdError),
    /// There are too many rooms, or the client is closed.
    #[error(transparent)]
    Join(#[from] JoinError),
}

impl From<Infallible> for JoinRoomError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// Why a message was not sent. Nothing of it was sent to anybody then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendMessageError {
    /// The message has no JSON.
    #[error("the message has no JSON: {0}")]
    NotSerializable(#[from] serde_json::Error),
    /// This is the sid of no connected peer.
    #[error("not connected to a peer with the sid {0}")]
    NotConnected(Sid),
    /// The message is too long.
    #[error("the message has {bytes} bytes of JSON; at most {max} are allowed")]
    TooLong {
        /// The message's length.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// Peers take messages slower than they are sent; only where a call does not wait for them.
    #[error("too much is waiting to be sent to some of the peers")]
    QueueFull,
    /// The client is closed.
    #[error("the client is closed")]
    Closed,
}

impl From<rtc_cafe_core::SendError> for SendMessageError {
    fn from(error: rtc_cafe_core::SendError) -> Self {
        match error {
            rtc_cafe_core::SendError::NotConnected(sid) => Self::NotConnected(sid),
            rtc_cafe_core::SendError::TooLong { bytes, max } => Self::TooLong { bytes, max },
            // The enum may grow, by what waiting mends.
            _ => Self::QueueFull,
        }
    }
}

/// Why a track could not be offered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddTrackError {
    /// The description has no JSON.
    #[error("the description has no JSON: {0}")]
    NotSerializable(#[from] serde_json::Error),
    /// The description is too long, or there are too many tracks.
    #[error(transparent)]
    Refused(#[from] CoreAddTrackError),
    /// The client is closed.
    #[error("the client is closed")]
    Closed,
}

/// Why a track could not be replaced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplaceTrackError {
    /// There is no such track.
    #[error("there is no track with the id {0}")]
    UnknownTrack(rtc_cafe_core::TrackId),
    /// Sound cannot take the place of pictures, nor the other way round.
    #[error("the track is {}, and cannot be replaced by {}", .was.as_str(), .is.as_str())]
    Kind {
        /// What the track carries.
        was: rtc_cafe_core::TrackKind,
        /// What the other carries.
        is: rtc_cafe_core::TrackKind,
    },
}
