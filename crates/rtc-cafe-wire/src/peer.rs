//! The peer protocol: text frames on the negotiated data channel 0.
//!
//! A frame is a JSON object, its header, and where the header's type has one a line feed and a body. The body of a
//! message is the application's JSON, which is never parsed on its way. Unknown types and fields are ignored.

use crate::{
    PermanentId, Sid,
    json::{JsonError, Object, Value, Writer},
    limits::{MAX_FRAME, MAX_HEADER},
};

/// The version of the peer protocol.
pub const VERSION: u32 = 1;
/// The id of the negotiated data channel.
pub const CHANNEL_ID: u16 = 0;
/// The label of the data channel.
pub const CHANNEL_LABEL: &str = "rtc-cafe";

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
    },
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
pub enum FrameError {
    /// Longer than [`MAX_FRAME`], or its header longer than [`MAX_HEADER`].
    #[error("frame or header too long")]
    TooLong,
    /// The header is not a JSON object.
    #[error("the frame's header: {0}")]
    Header(#[from] JsonError),
    /// A field is absent or of the wrong type.
    #[error("the frame needs a valid \"{0}\"")]
    Field(&'static str),
}

impl<'a> Frame<'a> {
    /// Writes the frame.
    pub fn encode(&self) -> String {
        let header = |kind: &str| Writer::new().string("type", kind);
        match self {
            Self::Hello { version, id, sid } => header("hello")
                .number("version", *version)
                .string("id", id.as_str())
                .optional("sid", sid.as_ref().map(Sid::as_str))
                .finish(),
            Self::Message { more, body } => {
                let header = header("message");
                let header = if *more { header.raw("more", "true") } else { header };
                [&header.finish(), "\n", body].concat()
            }
            Self::Sid { sid } => header("sid").string("sid", sid.as_str()).finish(),
            Self::Ping { nonce } => header("ping").number("nonce", *nonce).finish(),
            Self::Pong { nonce } => header("pong").number("nonce", *nonce).finish(),
        }
    }

    /// Reads a frame; `None` is one of a type that this version does not know.
    pub fn decode(text: &'a str) -> Result<Option<Self>, FrameError> {
        let (header, body) = text.split_once('\n').unwrap_or((text, ""));
        if text.len() > MAX_FRAME || header.len() > MAX_HEADER {
            return Err(FrameError::TooLong);
        }
        let header = Object::parse(header)?;
        let nonce = || header.get("nonce").and_then(Value::as_u32).ok_or(FrameError::Field("nonce"));
        let kind = header.string("type").ok_or(FrameError::Field("type"))?;
        Ok(Some(match kind.as_ref() {
            "hello" => Self::Hello {
                version: header.get("version").and_then(Value::as_u32).ok_or(FrameError::Field("version"))?,
                id: PermanentId::read(header.get("id")).ok_or(FrameError::Field("id"))?,
                sid: Sid::read(header.get("sid")),
            },
            "message" => Self::Message { more: header.get("more").and_then(Value::as_bool).unwrap_or(false), body },
            "sid" => Self::Sid { sid: Sid::read(header.get("sid")).ok_or(FrameError::Field("sid"))? },
            "ping" => Self::Ping { nonce: nonce()? },
            "pong" => Self::Pong { nonce: nonce()? },
            _ => return Ok(None),
        }))
    }
}
