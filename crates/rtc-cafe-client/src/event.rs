//! What a client tells its application, in the words of the original's README.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use futures_core::Stream;
use rtc_cafe_core::{Sid, SignallerState, TrackId, TrackKind};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use crate::track::RemoteTrack;

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
    /// The application reads its events too slowly: some were dropped.
    EventsLost,
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
            Self::EventsLost => "EVENTS_LOST",
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
pub struct Message(String);

impl Message {
    pub(crate) const fn new(json: String) -> Self {
        Self(json)
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

/// Bytes of messages that may wait for the application.
const MAX_BYTES: usize = 64 << 20;
/// Events that may wait for the application.
const MAX_EVENTS: usize = 65_536;

/// How much waits for the application.
#[derive(Debug, Default)]
struct Waiting {
    events: AtomicUsize,
    bytes: AtomicUsize,
}

/// Where events go in.
#[derive(Debug)]
pub(crate) struct EventSink {
    sender: mpsc::UnboundedSender<Event>,
    waiting: Arc<Waiting>,
    losing: bool,
}

/// The events of a client, as a [`Stream`]; it ends when the client is closed.
///
/// At most 64 MiB and 65,536 events wait here. Messages and definitions beyond that are dropped, which an
/// [`ErrorCode::EventsLost`] tells where it begins; what says who is there is never dropped. When this is dropped, events
/// are not kept at all.
#[derive(Debug)]
pub struct Events {
    receiver: mpsc::UnboundedReceiver<Event>,
    waiting: Arc<Waiting>,
}

pub(crate) fn channel() -> (EventSink, Events) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let waiting = Arc::new(Waiting::default());
    (EventSink { sender, waiting: waiting.clone(), losing: false }, Events { receiver, waiting })
}

impl EventSink {
    pub(crate) fn push(&mut self, event: Event) {
        let bytes = size(&event);
        let full = self.waiting.events.load(Ordering::Relaxed) >= MAX_EVENTS
            || self.waiting.bytes.load(Ordering::Relaxed).saturating_add(bytes) > MAX_BYTES;
        let droppable = matches!(event, Event::Message { .. } | Event::PeerTrackDefined { .. });
        if !(full && droppable) {
            self.losing &= full;
            self.put(event, bytes);
        } else if !std::mem::replace(&mut self.losing, true) {
            let message = "the application reads its events too slowly; from here on some are dropped".to_owned();
            self.put(Event::Error { code: ErrorCode::EventsLost, message, sid: None }, 0);
        }
    }

    fn put(&self, event: Event, bytes: usize) {
        self.waiting.events.fetch_add(1, Ordering::Relaxed);
        self.waiting.bytes.fetch_add(bytes, Ordering::Relaxed);
        // Whoever dropped the receiver does not want to know.
        let _ = self.sender.send(event);
    }
}

impl Events {
    /// The next event; `None` when the client is closed and there are no more. Cancel safe: nothing is lost.
    pub async fn recv(&mut self) -> Option<Event> {
        std::future::poll_fn(|context| self.poll_recv(context)).await
    }

    /// The next event, if there is one already.
    pub fn try_recv(&mut self) -> Option<Event> {
        let event = self.receiver.try_recv().ok();
        self.count(event.as_ref());
        event
    }

    fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        let event = std::task::ready!(self.receiver.poll_recv(context));
        self.count(event.as_ref());
        Poll::Ready(event)
    }

    fn count(&self, taken: Option<&Event>) {
        if let Some(event) = taken {
            self.waiting.events.fetch_sub(1, Ordering::Relaxed);
            self.waiting.bytes.fetch_sub(size(event), Ordering::Relaxed);
        }
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        self.get_mut().poll_recv(context)
    }
}

/// What counts of an event; the others are small.
fn size(event: &Event) -> usize {
    match event {
        Event::Message { message, .. } | Event::MessageUndelivered { message, .. } => message.0.len(),
        Event::PeerTrackDefined { definition, .. } | Event::PeerTrackDefinitionRemoved { definition, .. } => {
            definition.description.0.len()
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(bytes: usize) -> Event {
        Event::Message { sender: Sid::new("a").unwrap(), message: Message::new("1".repeat(bytes)) }
    }

    #[test]
    fn what_an_application_does_not_read_is_dropped_and_told() {
        let (mut sink, mut events) = channel();
        for _ in 0..6 {
            sink.push(message(MAX_BYTES / 4));
        }
        for _ in 0..4 {
            assert!(matches!(events.try_recv(), Some(Event::Message { .. })));
        }
        assert!(matches!(events.try_recv(), Some(Event::Error { code: ErrorCode::EventsLost, .. })));
        assert!(events.try_recv().is_none(), "it is told once");
        let connected = || Event::ConnectToPeer { sid: Sid::new("a").unwrap() };
        for _ in 0..MAX_EVENTS + 10 {
            sink.push(connected());
        }
        sink.push(message(1));
        let waiting: Vec<_> = std::iter::from_fn(|| events.try_recv()).collect();
        assert_eq!(waiting.len(), MAX_EVENTS + 11, "who is there is always told, and what is lost again");
    }
}
