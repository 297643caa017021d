//! What the core asks of its driver, and what the driver reports of peer connections.

use rtc_cafe_wire::{
    TrackId,
    peer::Mids,
    signal::{ClientSignal, ConnectionId, IceCandidate},
};

use crate::event::Event;

/// What the driver has to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send this to the signalling server.
    Signal(ClientSignal),
    /// Do this to a peer connection.
    Connection(ConnectionId, Command),
    /// Use these ICE servers (the JSON of an array of `RTCIceServer`) for connections opened from now on, unless the
    /// application configured its own.
    IceServers(String),
    /// The way to others has changed: find out whether the connection to the signalling server is alive, or try at once to
    /// make one if there is none. Optional, but without it a recovery may have to wait.
    CheckSignaller,
    /// Tell this to the application.
    Event(Event),
}

/// What to do to one peer connection.
///
/// The driver carries out the commands of a connection one after the other, each finished before the next begins, and
/// reports what comes of them as [`ConnectionEvent`]s in the order in which it happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Create the connection, with the negotiated, ordered and reliable data channel
    /// [`CHANNEL_ID`](rtc_cafe_wire::peer::CHANNEL_ID). The first command of every connection.
    Open,
    /// Create an offer and set it as the local description; answered by [`ConnectionEvent::OfferCreated`].
    CreateOffer,
    /// As [`Command::CreateOffer`], but it is told only once the candidates that are found within a second are in it.
    PrepareOffer,
    /// Answered by [`ConnectionEvent::AnswerForetold`]; what follows is an offer that is accepted.
    ForetellAnswer,
    /// Set the remote offer (rolling back one's own, if there is one), create an answer and set it; answered by
    /// [`ConnectionEvent::AnswerCreated`].
    AcceptOffer(String),
    /// Set the remote answer.
    AcceptAnswer(String),
    /// Add a remote candidate, or `None` for their end. One that cannot be added is skipped.
    AddCandidate(Option<IceCandidate>),
    /// Send a local track from the next offer on, on an m-line of its own.
    AddTrack(TrackId),
    /// Stop sending a local track; the next offer says so.
    RemoveTrack(TrackId),
    /// Restart ICE with the next offer (W3C `restartIce`).
    RestartIce,
    /// Send a frame on the data channel.
    Send(String),
    /// Close the connection. The last command of every connection; its events are of no interest from then on.
    Close,
}

/// What happened to one peer connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionEvent {
    /// The local description is this offer.
    OfferCreated {
        /// The offer.
        sdp: String,
        /// The m-lines on which it sends tracks.
        mids: Mids,
    },
    /// The local description is this answer.
    AnswerCreated(String),
    /// The answer to an offer of a data channel alone will have this ICE user name and password and this fingerprint, and
    /// may be applied in its place. The `mid` in it is `0`. If the answer gets others after all, the connection has failed.
    AnswerForetold(String),
    /// A description could not be created or set; the connection is of no use any more.
    Failed(String),
    /// A local candidate was found, or `None`: there are no more.
    CandidateFound(Option<IceCandidate>),
    /// The state of the connection (W3C `RTCPeerConnectionState`) changed.
    StateChanged(ConnectionState),
    /// A remote track has come, on the m-line with this `mid` (W3C `track` event).
    TrackAdded(String),
    /// The data channel opened.
    ChannelOpen,
    /// A frame arrived on the data channel.
    ChannelMessage(String),
    /// The data channel holds so many bytes that are not sent yet; to be reported after every [`Command::Send`] and
    /// whenever it falls below [`Limits::low_water`](crate::Limits::low_water).
    ChannelBuffered(usize),
    /// Nothing of what the data channel holds gets to the other side, though there is a path. Optional, for transports
    /// that would take long to get going again by themselves.
    ChannelStalled,
    /// The data channel closed.
    ChannelClosed,
    /// ICE has found its path, or another one. Optional, but without it a connection that is relayed stays so.
    PathChanged {
        /// Whether it leads through a TURN server, of either side.
        relayed: bool,
    },
}

/// The state of a peer connection: W3C `RTCPeerConnectionState`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionState {
    /// Nothing has begun.
    New,
    /// ICE or DTLS is on its way.
    Connecting,
    /// ICE and DTLS are up.
    Connected,
    /// Connectivity was lost and may come back.
    Disconnected,
    /// Connectivity was lost for good.
    Failed,
    /// Closed.
    Closed,
}
