//! What the driver tells the application, in the application's terms.

use rtc_cafe_core::Event as CoreEvent;

use super::Driver;
use crate::{
    event::{ErrorCode, Event, Message, TrackDefinition},
    signalling::SignallingProblem,
};

impl Driver {
    /// Tells the application, in its own terms.
    pub(super) fn tell(&mut self, event: CoreEvent) {
        let event = match event {
            CoreEvent::AcquireSid { sid } => Event::AcquireSid { sid },
            CoreEvent::SignallerStateChanged { state } => Event::SignallerStateChanged { state },
            CoreEvent::ConnectToPeer { sid } => Event::ConnectToPeer { sid },
            CoreEvent::DisconnectFromPeer { sid } => {
                self.room_made = true;
                Event::DisconnectFromPeer { sid }
            }
            CoreEvent::ReassignPeerSid { old_sid, sid } => Event::ReassignPeerSid { old_sid, sid },
            CoreEvent::Message { sender, payload } => Event::Message { sender, message: Message::new(payload) },
            CoreEvent::MessageUndelivered { sid, payload, may_have_arrived } => {
                Event::MessageUndelivered { sid, message: Message::new(payload), may_have_arrived }
            }
            CoreEvent::PeerTrackDefined { sid, id, definition } => {
                Event::PeerTrackDefined { sid, definition: TrackDefinition::new(id, definition) }
            }
            CoreEvent::PeerTrackIdentified { sid, id, source } => {
                let track = self.receive(&sid, &id, source);
                Event::PeerTrackIdentified { sid, id, track }
            }
            CoreEvent::PeerTrackRemoved { sid, id } => {
                self.end_removed();
                Event::PeerTrackRemoved { sid, id }
            }
            CoreEvent::PeerTrackDefinitionRemoved { sid, id, definition } => {
                Event::PeerTrackDefinitionRemoved { sid, definition: TrackDefinition::new(id, definition) }
            }
            CoreEvent::Error { code, message, sid } => Event::Error { code: code.into(), message, sid },
            // The enum may grow.
            _ => return,
        };
        self.events.push(event);
    }
}

/// Which kind of error a problem with the signalling server is.
pub(super) const fn code(problem: &SignallingProblem) -> ErrorCode {
    match problem {
        SignallingProblem::Protocol { .. }
        | SignallingProblem::Malformed { .. }
        | SignallingProblem::Ignored { .. } => ErrorCode::Protocol,
        SignallingProblem::Kicked { .. } => ErrorCode::Kicked,
        SignallingProblem::Modifier { .. } => ErrorCode::SignalModifier,
        _ => ErrorCode::SignallerUnreachable,
    }
}
