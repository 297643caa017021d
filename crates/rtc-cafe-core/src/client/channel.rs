//! Frames over an open data channel.

use rtc_cafe_wire::{
    PermanentId, Sid,
    limits::MAX_SDP,
    peer::{Frame, VERSION},
};

use super::Client;
use crate::{
    connection::{Connection, OutOfTurn},
    event::{Definition, ErrorCode, Event},
    mailbox::Received,
    output::Command,
    roster::PeerKey,
    time::Time,
    timers::Timer,
};

impl Client {
    /// The data channel has opened: the peer is connected.
    pub(super) fn handle_open(&mut self, key: PeerKey) {
        let Some(peer) = self.roster.get_mut(key) else { return };
        let Some(connection) = peer.connection.as_mut().filter(|connection| !connection.is_open()) else { return };
        connection.set_open();
        peer.failures = 0;
        let sid = peer.sid.clone();
        self.timers.cancel_all(key);
        self.event(Event::ConnectToPeer { sid });
        self.push(key, &Frame::Hello { version: VERSION, id: self.permanent_id.clone(), sid: self.sid.clone() });
        self.introduce_tracks(key);
    }

    /// A frame has arrived.
    pub(super) fn handle_frame(&mut self, now: Time, key: PeerKey, text: &str) {
        if !self.roster.get(key).is_some_and(|peer| peer.is_connected()) {
            return;
        }
        // Whatever it says, the peer is alive.
        self.timers.cancel(key, Timer::Pong);
        match Frame::decode(text) {
            Ok(Some(frame)) => self.dispatch(now, key, frame),
            // A type that a newer version may know.
            Ok(None) => {}
            Err(error) => self.complain(key, error.to_string()),
        }
    }

    fn dispatch(&mut self, now: Time, key: PeerKey, frame: Frame<'_>) {
        match frame {
            Frame::Message { more, body } => {
                if let Some(payload) = self.receive(key, more, body)
                    && let Some(sender) = self.roster.get(key).map(|peer| peer.sid.clone())
                {
                    self.event(Event::Message { sender, payload });
                }
            }
            Frame::Hello { version, id, sid } => self.handle_hello(key, version, &id, sid),
            Frame::Sid { sid } => self.confirm_sid(key, sid),
            Frame::Ping { nonce } => self.answer(key, &Frame::Pong { nonce }),
            Frame::Pong { nonce } => {
                if let Some(peer) = self.roster.get_mut(key).filter(|peer| peer.ping == Some(nonce)) {
                    peer.ping = None;
                    peer.claim = None;
                }
            }
            Frame::Track { id, kind, description } => {
                self.handle_definition(key, id, Definition { kind, description: description.to_owned() });
            }
            Frame::TrackRemoved { id } => self.handle_track_removed(key, id),
            Frame::TrackRequest { id } => self.handle_track_request(key, id),
            Frame::TrackCancel { id } => self.stop_sending(key, &id),
            Frame::TurnRequest => self.negotiate(key, Connection::handle_turn_request),
            Frame::Turn => self.negotiate(key, Connection::handle_turn),
            Frame::Offer { more, negotiation, mids, body } => {
                if let Some(sdp) = self.receive_description(now, key, more, body) {
                    self.handle_mids(key, mids);
                    let mut taken = Ok(());
                    self.negotiate(key, |c, actions| taken = c.handle_frame_offer(negotiation, sdp, actions));
                    self.check_turn(now, key, taken);
                }
            }
            Frame::Answer { more, negotiation, body } => {
                if let Some(sdp) = self.receive_description(now, key, more, body) {
                    let mut taken = Ok(());
                    self.negotiate(key, |c, actions| taken = c.handle_frame_answer(negotiation, sdp, actions));
                    self.check_turn(now, key, taken);
                }
            }
            Frame::Candidate(candidate) => {
                self.negotiate(key, |c, actions| c.handle_candidate(Some(candidate), actions))
            }
            // The enum may grow.
            _ => {}
        }
    }

    /// Takes a part of a body; returns the whole one with its last part.
    fn receive(&mut self, key: PeerKey, more: bool, part: &str) -> Option<String> {
        match self.roster.get_mut(key)?.mailbox.receive(more, part, self.config.limits.message_bytes) {
            Received::Nothing => None,
            Received::Whole(body) => Some(body),
            Received::TooLong => {
                self.complain(key, String::from("a message of the peer is too long and was dropped"));
                None
            }
        }
    }

    /// Takes a part of a description. One that is longer than any may be ends the connection, as one out of turn does.
    fn receive_description(&mut self, now: Time, key: PeerKey, more: bool, part: &str) -> Option<String> {
        match self.roster.get_mut(key)?.mailbox.receive(more, part, MAX_SDP) {
            Received::Nothing => None,
            Received::Whole(sdp) => Some(sdp),
            Received::TooLong => {
                self.check_turn(now, key, Err(OutOfTurn));
                None
            }
        }
    }

    /// A description that is out of turn would leave the connection in a state that nobody knows.
    fn check_turn(&mut self, now: Time, key: PeerKey, taken: Result<(), OutOfTurn>) {
        if taken.is_err() {
            self.complain(key, String::from("the peer negotiates out of turn; its connection is replaced"));
            self.lose(now, key);
        }
    }

    fn handle_hello(&mut self, key: PeerKey, version: u32, id: &PermanentId, session: Option<Sid>) {
        let known = self.roster.get(key).and_then(|peer| peer.id.as_ref());
        if version == 0 || known.is_some_and(|known| known != id) {
            self.complain(key, String::from("the peer is not who it said it was; its connection is closed"));
            self.unlink(key);
            self.remove(key);
        } else if let Some(session) = session {
            self.confirm_sid(key, session);
        }
    }

    /// Tells the application that a peer does what the protocol does not allow.
    fn complain(&mut self, key: PeerKey, message: String) {
        let sid = self.roster.get(key).map(|peer| peer.sid.clone());
        self.error(ErrorCode::Protocol, message, sid);
    }

    /// Asks whether the peer is alive; if nothing comes back in time, it is lost.
    pub(super) fn ping(&mut self, now: Time, key: PeerKey) {
        if !self.timers.is_set(key, Timer::Pong) {
            self.timers.set(key, Timer::Pong, now + self.config.timing.pong);
            let nonce = (self.rng.next() >> 32) as u32;
            if let Some(peer) = self.roster.get_mut(key) {
                peer.ping = Some(nonce);
            }
            self.push(key, &Frame::Ping { nonce });
        }
    }

    /// The data channel holds so many bytes now.
    pub(super) fn handle_buffered(&mut self, now: Time, key: PeerKey, bytes: usize) {
        let Some(peer) = self.roster.get_mut(key) else { return };
        let drained = peer.mailbox.set_buffered(bytes);
        // The other side takes data, so it lives, though our question may wait behind that data.
        if drained && self.timers.is_set(key, Timer::Pong) {
            self.timers.set(key, Timer::Pong, now + self.config.timing.pong);
        }
        self.pump(key);
        self.watch_for_stall(now, key, drained);
    }

    /// Whoever takes nothing for a long time would have everything wait for ever, though it may answer on the path.
    fn watch_for_stall(&mut self, now: Time, key: PeerKey, drained: bool) {
        let waits = self.roster.get(key).is_some_and(|peer| peer.mailbox.waiting_bytes() > 0);
        if drained || !waits {
            self.timers.cancel(key, Timer::Stall);
        }
        if waits && !self.timers.is_set(key, Timer::Stall) {
            self.timers.set(key, Timer::Stall, now + self.config.timing.stall);
        }
    }

    /// Queues a message; false if there is no room for it.
    pub(super) fn push_message(&mut self, key: PeerKey, payload: &str) -> bool {
        let Some(peer) = self.roster.get_mut(key) else { return false };
        if !peer.mailbox.has_room(payload.len(), &self.config.limits) {
            return false;
        }
        peer.mailbox.push_message(payload);
        self.pump(key);
        true
    }

    /// Queues a body of our own in parts.
    pub(super) fn push_parts(&mut self, key: PeerKey, body: &str, frame: &dyn for<'a> Fn(bool, &'a str) -> Frame<'a>) {
        if let Some(peer) = self.roster.get_mut(key) {
            let fits = peer.mailbox.push_parts(body, &self.config.limits, frame);
            self.pushed(key, fits);
        }
    }

    /// Queues a frame of our own, if the data channel is open. It overtakes messages, and is never left out: if it does
    /// not fit, the connection is replaced, because the peer would not know what we believe that it knows.
    pub(super) fn push(&mut self, key: PeerKey, frame: &Frame<'_>) {
        let Some(peer) = self.roster.get_mut(key).filter(|peer| peer.is_connected()) else { return };
        let fits = peer.mailbox.push(frame, &self.config.limits);
        self.pushed(key, fits);
    }

    /// Queues an answer that the peer can do without when it asks faster than it listens.
    pub(super) fn answer(&mut self, key: PeerKey, frame: &Frame<'_>) {
        if self.roster.get(key).is_some_and(|peer| peer.mailbox.has_room_for_answer(&self.config.limits)) {
            self.push(key, frame);
        }
    }

    fn pushed(&mut self, key: PeerKey, fits: bool) {
        if !fits {
            self.timers.set(key, Timer::Overflow, Time::default());
        }
        self.pump(key);
    }

    /// The peer has to be told more than may wait.
    pub(super) fn overflow(&mut self, now: Time, key: PeerKey) {
        let sid = self.roster.get(key).map(|peer| peer.sid.clone());
        let message = String::from("the peer takes too little of what it has to be told; its connection is replaced");
        self.error(ErrorCode::Undelivered, message, sid);
        self.lose(now, key);
    }

    fn pump(&mut self, key: PeerKey) {
        let Some(peer) = self.roster.get_mut(key) else { return };
        let Some(id) = peer.connection.as_ref().filter(|c| c.is_open()).map(Connection::id) else { return };
        while let Some(frame) = peer.mailbox.pop(&self.config.limits) {
            self.outputs.push_back(crate::Output::Connection(id, Command::Send(frame)));
        }
    }
}
