//! What is taken of what peers send, while the application is slower than they are.

use rtc_cafe_wire::peer::Frame;

use super::Client;
use crate::{peer::Peer, roster::PeerKey, time::Time, timers::Timer};

/// What a client takes of what its peers send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Intake {
    /// Everything.
    #[default]
    All,
    /// Everything, but messages are not confirmed, so that each peer stops after [`Limits::outgoing_bytes`] of its own.
    ///
    /// [`Limits::outgoing_bytes`]: crate::Limits::outgoing_bytes
    Unconfirmed,
    /// Neither messages nor definitions of tracks. Nothing is lost by it: what was not taken comes again, over another
    /// connection, once everything is.
    Nothing,
}

impl Client {
    /// Takes more or less of what peers send: for applications that may be slower than they are. Until it is called,
    /// everything is taken. See [`Intake`].
    pub fn set_intake(&mut self, now: Time, intake: Intake) {
        self.now = now;
        self.intake = intake;
        for key in self.roster.keys() {
            self.acknowledge(now, key);
        }
    }

    /// What is taken at present.
    pub const fn intake(&self) -> Intake {
        self.intake
    }

    /// Whether a frame is not taken, and then no other of its kind is over this connection.
    pub(super) fn turns_away(&mut self, key: PeerKey, frame: &Frame<'_>) -> bool {
        let Some(peer) = self.roster.get_mut(key) else { return true };
        let kind = matches!(frame, Frame::Message { .. } | Frame::Track { .. } | Frame::TrackRemoved { .. });
        peer.missed |= kind && self.intake == Intake::Nothing;
        kind && peer.missed
    }

    /// Has what was not taken of a peer come again, as soon as the peer can be asked for another connection.
    pub(super) fn make_up(&mut self, now: Time, key: PeerKey) {
        let open = self.roster.get(key).is_some_and(Peer::is_open);
        if open && self.is_reachable(key) {
            self.lose(now, key);
        } else if open {
            self.timers.set(key, Timer::Ack, now + self.config.timing.resend);
        }
    }
}
