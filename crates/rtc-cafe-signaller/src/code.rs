//! The codes of the `error` signal.

use std::fmt;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Why the server refused something that a client sent, or the client: the `code` of the `error` signal, or of the
        /// `data` of a CONNECT_ERROR.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[$doc])* $name,)*
        }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code as it is written on the wire, and in metrics.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

codes! {
    /// The frame is not JSON where it must be, or nested too deep.
    InvalidJson = "invalid-json",
    /// The event's arguments are not what the event needs.
    InvalidPayload = "invalid-payload",
    /// The frame is no packet of Engine.IO 4 or Socket.IO 5.
    InvalidPacket = "invalid-packet",
    /// The room is neither a non-empty string nor a number, or too long.
    InvalidRoom = "invalid-room",
    /// The recipient is absent or not the sid of one socket.
    InvalidRecipient = "invalid-recipient",
    /// No socket with this sid shares a room with the sender.
    RecipientNotFound = "recipient-not-found",
    /// The sender is not in the room that it names.
    NotInRoom = "not-in-room",
    /// The event is not part of the protocol.
    UnknownEvent = "unknown-event",
    /// Only the server sends this event.
    ServerOnlyEvent = "server-only-event",
    /// The message, or a part of it, is too long.
    TooLarge = "too-large",
    /// The socket is in as many rooms as it may be.
    TooManyRooms = "too-many-rooms",
    /// The room has as many members as it may have.
    RoomFull = "room-full",
    /// The socket sends more than it may.
    RateLimited = "rate-limited",
    /// Binary attachments are not taken with this event, or not in this number.
    BinaryNotSupported = "binary-not-supported",
    /// A binary event was interrupted before its attachments were complete.
    IncompleteBinary = "incomplete-binary",
    /// The application refused the event, or the client.
    Rejected = "rejected",
    /// The application could not decide, or not in time.
    AdmissionFailed = "admission-failed",
    /// The client may not join this room, or not send signals.
    NotPermitted = "not-permitted",
    /// A token is needed.
    TokenMissing = "token-missing",
    /// The token is none that is accepted here.
    TokenInvalid = "token-invalid",
    /// The token was accepted once, and is too old now.
    TokenExpired = "token-expired",
    /// There are as many connections from this address as there may be; the `code` of an HTTP answer.
    TooManyConnections = "too-many-connections",
    /// The client reads too slowly, and is cut.
    TooSlow = "too-slow",
    /// The client has entered no namespace in time, and is cut; the reason of a close frame.
    ConnectTimeout = "connect-timeout",
    /// The operator has ended the session; the connection ends as well.
    Kicked = "kicked",
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::ErrorCode;

    #[test]
    fn every_code_is_documented() {
        let protocol = include_str!("../../../docs/protocol.md");
        for code in ErrorCode::ALL {
            assert!(protocol.contains(&format!("`{code}`")), "{code}");
        }
    }
}
