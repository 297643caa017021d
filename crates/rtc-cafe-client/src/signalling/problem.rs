//! What can go wrong between a client and the signalling server.

use std::time::Duration;

/// Something went wrong with the connection to the signalling server, and what is to be done about it.
///
/// The connection is tried again after every one of them but [`Self::Kicked`]; what repeats during one outage is told once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum SignallingProblem {
    /// Nobody answers at the server's address.
    #[error("cannot connect to {server}: {reason}; is the signaller running there?")]
    Unreachable {
        /// The address.
        server: String,
        /// What the operating system says.
        reason: String,
    },
    /// TLS with the server failed.
    #[error("no TLS with {server}: {reason}{advice}")]
    Tls {
        /// The address.
        server: String,
        /// What TLS says.
        reason: String,
        /// What to do about it; begins with `; `, or is empty.
        advice: &'static str,
    },
    /// The server answered the websocket's handshake with an HTTP status. Redirections are not followed.
    #[error("{url} answers with HTTP status {status}{detail}{advice}")]
    Status {
        /// Where the websocket was asked for.
        url: String,
        /// The status.
        status: u16,
        /// Where it redirects to, or the begin of what the server says about it; begins with a space, or is empty.
        detail: String,
        /// What to do about it; begins with `; `, or is empty.
        advice: &'static str,
    },
    /// Whoever answers there does not speak websocket.
    #[error("no websocket at {url}: {reason}; check the URL and the path")]
    Handshake {
        /// Where the websocket was asked for.
        url: String,
        /// What was wrong.
        reason: String,
    },
    /// The connection ended before the client was let in.
    #[error("{url} closed the connection without a word; check the path, and whether it accepts the Origin")]
    Dropped {
        /// Where the websocket was.
        url: String,
    },
    /// The server refused the namespace.
    #[error("the server refuses the namespace {namespace}: {message}; check the API version and the credentials")]
    NamespaceRefused {
        /// The namespace.
        namespace: &'static str,
        /// The server's reason.
        message: String,
    },
    /// The connection was not there in time, from the host's name to the namespace.
    #[error("{server} did not let the client in within {after:?}")]
    ConnectTimedOut {
        /// The address.
        server: String,
        /// The time that an attempt may take.
        after: Duration,
    },
    /// The server has been silent for longer than it said it would ever be.
    #[error("the server has been silent for {after:?}; the connection is given up")]
    Silent {
        /// How long.
        after: Duration,
    },
    /// The server ended the connection, and gave a reason.
    #[error("the server closed the connection with code {code}: {reason}")]
    Closed {
        /// The code (RFC 6455 section 7.4).
        code: u16,
        /// The reason.
        reason: String,
    },
    /// The operator of the server has ended the session. It is the only problem after which nothing is tried again.
    #[error("thrown out by the signalling server: {reason}")]
    Kicked {
        /// What the server says.
        reason: String,
    },
    /// The server does not keep to the websocket protocol, or sends messages longer than a signal can be.
    #[error("the server broke the websocket protocol: {0}")]
    Protocol(String),
    /// A signal that could not be read; it is ignored.
    #[error("the signal \"{event}\" from the server cannot be read and is ignored: {reason}")]
    Malformed {
        /// The begin of the signal's name.
        event: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A packet that has no place here, or has attachments; it is ignored.
    #[error("the server sent a packet that is ignored: {0}")]
    Ignored(&'static str),
    /// The modifier of signals made something of `request-sid` that is not JSON.
    #[error("the signal modifier did not return JSON for \"{0}\"")]
    Modifier(&'static str),
}

/// Why a signal was not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum SendSignalError {
    /// There is no connection; signals of one connection are of no use on another.
    #[error("there is no connection to the signalling server")]
    NotConnected,
    /// The signal is longer than the server takes.
    #[error("the signal has {size} bytes, of which the server takes {most}")]
    TooLarge {
        /// Bytes of the packet.
        size: usize,
        /// Bytes that the server takes.
        most: usize,
    },
    /// The server reads too slowly: too much waits to be sent. The signal is lost.
    #[error("too much waits to be sent to the signalling server")]
    QueueFull,
    /// The modifier of signals did not return JSON.
    #[error("the signal modifier did not return JSON for \"{0}\"")]
    Modifier(&'static str),
}

/// The begin of what a stranger wrote, fit for a line of a log.
pub(super) fn excerpt(text: &str) -> String {
    const MOST: usize = 200;
    let mut characters = text.trim().chars();
    let line = characters.by_ref().take(MOST).map(|c| if c.is_control() { ' ' } else { c });
    let mut line: String = line.collect();
    if characters.next().is_some() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_one_short_line() {
        assert_eq!(excerpt(" a\r\nb\u{1b}[31m "), "a  b [31m");
        assert_eq!(excerpt(&"ä".repeat(1000)).chars().count(), 201);
    }
}
