//! Frames over an open data channel.

use std::time::Duration;

use rtc_cafe_wire::{
    PermanentId,
    limits::{MAX_MESSAGE, MAX_SDP},
    peer::{Frame, VERSION},
};

use super::{Client, Intake, routing::Relayed};
use crate::{
    config::Limits,
    connection::{Connection, OutOfTurn},
    event::{Definition, ErrorCode, Event},
    mailbox::{Mailbox, Progress, Received},
    output::Command,
    payload::Payload,
    report::Phase,
    roster::PeerKey,
    time::Time,
    timers::Timer,
};

/// Bytes that a way out takes in a second at least: half a megabit is not too slow.
const SLOWEST: u64 = 64_000;

impl Client {
    /// The data channel has opened: the peer is connected.
    pub(super) fn handle_open(&mut self, key: PeerKey) {
        let Some(peer) = self.roster.get_mut(key) else { return };
        let Some(connection) = peer.connection.as_mut().filter(|connection| !connection.is_open()) else { return };
        connection.set_open();
        if let Some(remote) = connection.remote() {
            peer.newest_remote = peer.newest_remote.max(remote);
        }
        peer.failures = 0;
        peer.restarts = 0;
        peer.cut_off = false;
        peer.left = false;
        peer.missed = false;
        peer.heard = self.now;
        peer.by_every_way = false;
        let news = !std::mem::replace(&mut peer.connected, true);
        let sid = peer.sid.clone();
        self.timers.cancel_connection(key);
        self.timers.cancel(key, Timer::Farewell);
        self.watch_for_quiet();
        self.reach(key, Phase::Open);
        if news {
            self.event(Event::ConnectToPeer { sid });
        }
        self.gossip(key, true);
        self.make_room();
        self.say_hello(key);
        self.introduce_tracks(key);
    }

    fn say_hello(&mut self, key: PeerKey) {
        let Some(peer) = self.roster.get(key) else { return };
        let Progress { stream, heard, received, before } = peer.mailbox.progress();
        let (id, sid) = (self.permanent_id.clone(), self.sid.clone());
        let tracks = self.tracks.keys().cloned().collect();
        self.push(key, &Frame::Hello { version: VERSION, id, sid, stream, heard, received, before, tracks });
    }

    /// A frame has arrived.
    pub(super) fn handle_frame(&mut self, now: Time, key: PeerKey, text: &str) {
        let Some(peer) = self.roster.get_mut(key).filter(|peer| peer.is_open()) else { return };
        // Whatever it says, the peer is alive, and there is a path.
        peer.heard = now;
        if std::mem::take(&mut peer.silent) {
            self.reach(key, Phase::Open);
            self.gossip(key, true);
        }
        self.timers.cancel(key, Timer::Pong);
        self.regain(key);
        match Frame::decode(text) {
            Ok(Some(frame)) => self.dispatch(now, key, frame),
            // A type that a newer version may know.
            Ok(None) => {}
            Err(error) => self.complain(key, error.message()),
        }
    }

    // Out of line it is smaller: docs/decisions/004-browser-backend.md.
    #[inline(never)]
    fn dispatch(&mut self, now: Time, key: PeerKey, frame: Frame<'_>) {
        if self.turns_away(key, &frame) {
            return;
        }
        match frame {
            Frame::Message { more, body } => self.handle_message(now, key, more, body),
            Frame::Ack { received } => self.confirm(key, received),
            Frame::Hello { version, id, .. } if !self.is_who_it_said(key, version, &id) => {
                self.complain(key, String::from("the peer is not who it said it was; its connection is closed"));
                self.part(now, key);
            }
            Frame::Hello { sid, stream, heard, received, before, tracks, .. } => {
                self.handle_progress(key, Progress { stream, heard, received, before });
                self.keep_tracks(key, &tracks);
                sid.into_iter().for_each(|sid| self.confirm_sid(now, key, sid));
            }
            Frame::Peers { room, added, removed } => self.handle_peers(now, key, room, added, removed),
            Frame::Relay { from, sid, to, room, number, hops, body } => {
                self.handle_relay(now, key, &Relayed { from, sid, to, room, number, hops, body });
            }
            Frame::Leave { room } => self.handle_leave(now, key, &room),
            Frame::Bye => self.handle_bye(now, key),
            Frame::Sid { sid } => self.confirm_sid(now, key, sid),
            Frame::Ping { nonce } => drop(self.answer(key, &Frame::Pong { nonce })),
            Frame::Pong { nonce } => {
                if let Some(peer) = self.roster.get_mut(key).filter(|peer| peer.ping == Some(nonce)) {
                    peer.ping = None;
                    peer.claim = None;
                    peer.left = false;
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
            Frame::Offer { more, negotiation, restart, mids, body } => {
                if let Some(sdp) = self.receive_description(now, key, more, body) {
                    let mut taken = Ok(false);
                    self.negotiate(key, |c, actions| taken = c.handle_frame_offer(negotiation, restart, sdp, actions));
                    self.take_restart(key, restart && taken == Ok(true));
                    self.take_mids(key, taken == Ok(true), mids);
                    self.check_turn(now, key, taken.map(drop));
                }
            }
            Frame::Answer { more, negotiation, offers, body } => {
                if let Some(sdp) = self.receive_description(now, key, more, body) {
                    let mut taken = Ok(());
                    self.negotiate(key, |c, actions| taken = c.handle_frame_answer(negotiation, offers, sdp, actions));
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

    /// Takes a message or a part of one.
    fn handle_message(&mut self, now: Time, key: PeerKey, more: bool, part: &str) {
        let Some(peer) = self.roster.get_mut(key) else { return };
        let sender = peer.sid.clone();
        let received = peer.mailbox.receive(more, part, MAX_MESSAGE);
        if more {
            return;
        }
        // One that is too long counts as well.
        let due = peer.mailbox.count(if let Received::Whole(payload) = &received { payload.len() } else { part.len() });
        match received {
            Received::Whole(payload) => self.event(Event::Message { sender, payload }),
            _ => self.complain(key, String::from("a message of the peer is too long and was dropped")),
        }
        if due {
            self.acknowledge(now, key);
        } else if !self.timers.is_set(key, Timer::Ack) {
            self.timers.set(key, Timer::Ack, now + self.config.timing.ack);
        }
    }

    /// Confirms the messages that have come, unless the application is too slow.
    pub(super) fn acknowledge(&mut self, now: Time, key: PeerKey) {
        let Some(peer) = self.roster.get(key).filter(|_| self.intake == Intake::All) else { return };
        if peer.missed {
            self.make_up(now, key);
        } else if peer.mailbox.has_room_for_answer(&self.config.limits) {
            self.acknowledge_all(key);
        } else {
            self.timers.set(key, Timer::Ack, now + self.config.timing.ack);
        }
    }

    /// Confirms the messages that have come, be there room for it or not.
    pub(super) fn acknowledge_all(&mut self, key: PeerKey) {
        self.timers.cancel(key, Timer::Ack);
        if let Some(received) = self.roster.get_mut(key).and_then(|peer| peer.mailbox.take_ack()) {
            self.push(key, &Frame::Ack { received });
        }
    }

    /// The peer has received so many of our messages.
    fn confirm(&mut self, key: PeerKey, received: u32) {
        let Some(peer) = self.roster.get_mut(key) else { return };
        let before = peer.mailbox.waiting_bytes();
        peer.mailbox.confirm(received);
        if peer.mailbox.waiting_bytes() < before {
            self.expect_progress(key);
        }
    }

    /// The peer has taken something, or there is something for it to take again.
    fn expect_progress(&mut self, key: PeerKey) {
        let Some(peer) = self.roster.get_mut(key) else { return };
        peer.stuck = false;
        if peer.mailbox.waiting_bytes() > 0 {
            self.timers.set(key, Timer::Stuck, self.now + self.config.timing.stuck);
        } else {
            self.timers.cancel(key, Timer::Stuck);
        }
    }

    /// The peer has taken nothing for a while: nobody else waits for it any longer, and it is asked whether it is alive.
    pub(super) fn set_stuck(&mut self, now: Time, key: PeerKey) {
        if let Some(peer) = self.roster.get_mut(key) {
            peer.stuck = true;
            self.ping(now, key);
        }
    }

    /// How far both sides are with each other's messages: what is missing is sent again, as soon as that is known.
    fn handle_progress(&mut self, key: PeerKey, progress: Progress) {
        let Some(peer) = self.roster.get_mut(key) else { return };
        let undelivered = peer.mailbox.handle_progress(progress);
        self.expect_progress(key);
        self.timers.cancel(key, Timer::Doubt);
        self.tell_undelivered(key, undelivered);
        self.pump(key);
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

    fn is_who_it_said(&self, key: PeerKey, version: u32, id: &PermanentId) -> bool {
        let known = self.roster.get(key).and_then(|peer| peer.id.as_ref());
        version > 0 && known.is_none_or(|known| known == id)
    }

    /// Tells the application that a peer does what the protocol does not allow, if it listens.
    pub(super) fn complain(&mut self, key: PeerKey, message: String) {
        if self.intake == Intake::Nothing {
            return;
        }
        let sid = self.roster.get(key).map(|peer| peer.sid.clone());
        self.error(ErrorCode::Protocol, message, sid);
    }

    /// Asks whether the peer is alive; if nothing comes back in time, it is lost.
    pub(super) fn ping(&mut self, now: Time, key: PeerKey) {
        let open = self.roster.get(key).is_some_and(|peer| peer.is_open());
        if open && !self.timers.is_set(key, Timer::Pong) {
            self.timers.set(key, Timer::Pong, now + self.time_to_answer(key));
            let nonce = (self.rng.next() >> 32) as u32;
            if let Some(peer) = self.roster.get_mut(key) {
                peer.ping = Some(nonce);
            }
            self.push(key, &Frame::Ping { nonce });
        }
    }

    /// How long a peer may take for an answer. The question waits behind what the channel holds, of which a backend may tell
    /// only when little is left.
    fn time_to_answer(&self, key: PeerKey) -> Duration {
        let ahead = self.roster.get(key).map_or(0, |peer| peer.mailbox.buffered());
        self.config.timing.pong + Duration::from_secs(ahead as u64 / SLOWEST)
    }

    /// The data channel holds so many bytes now.
    pub(super) fn handle_buffered(&mut self, now: Time, key: PeerKey, bytes: usize) {
        let Some(peer) = self.roster.get_mut(key) else { return };
        let drained = peer.mailbox.set_buffered(bytes);
        // The other side takes data, so it lives, though our question may wait behind that data.
        for timer in [Timer::Pong, Timer::Probe] {
            if drained && self.timers.is_set(key, timer) {
                self.timers.set(key, timer, now + self.time_to_answer(key));
            }
        }
        self.pump(key);
        self.watch_for_stall(now, key, drained);
    }

    /// Whoever takes nothing for a long time would have everything wait for ever, though it may answer on the path.
    fn watch_for_stall(&mut self, now: Time, key: PeerKey, drained: bool) {
        let waits = self.roster.get(key).is_some_and(|peer| peer.mailbox.waits());
        if drained || !waits {
            self.timers.cancel(key, Timer::Stall);
        }
        if waits && !self.timers.is_set(key, Timer::Stall) {
            self.timers.set(key, Timer::Stall, now + self.config.timing.stall);
        }
    }

    /// Queues a message; false if there is no room for it.
    pub(super) fn push_message(&mut self, key: PeerKey, payload: &Payload, spare: bool) -> bool {
        if !self.roster.get(key).is_some_and(|peer| self.has_room_for(peer, payload.len(), spare)) {
            return false;
        }
        let Some(peer) = self.roster.get_mut(key) else { return false };
        let first = peer.mailbox.waiting_bytes() == 0;
        peer.mailbox.push_message(payload.clone());
        if first {
            self.expect_progress(key);
        }
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
        let Some(peer) = self.roster.get_mut(key).filter(|peer| peer.is_open()) else { return };
        let fits = peer.mailbox.push(frame, &self.config.limits);
        self.pushed(key, fits);
    }

    /// Queues an answer that the peer can do without when it asks faster than it listens; returns whether it did.
    pub(super) fn answer(&mut self, key: PeerKey, frame: &Frame<'_>) -> bool {
        let room = self.roster.get(key).is_some_and(|peer| peer.mailbox.has_room_for_answer(&self.config.limits));
        if room {
            self.push(key, frame);
        }
        room
    }

    fn pushed(&mut self, key: PeerKey, fits: bool) {
        if !fits {
            self.timers.set(key, Timer::Overflow, self.now);
        }
        self.pump(key);
    }

    /// The peer has to be told more than may wait.
    pub(super) fn overflow(&mut self, now: Time, key: PeerKey) {
        let reason = "the peer takes too little of what it has to be told";
        if let Some(peer) = self.roster.get_mut(key) {
            peer.history.failure = Some(reason.into());
        }
        self.lose(now, key);
    }

    /// Hands to the data channel what it takes of what waits.
    pub(super) fn pump(&mut self, key: PeerKey) {
        self.hand_over(key, Mailbox::pop);
    }

    /// Hands the last words to the data channel, though much may wait in it.
    pub(super) fn pump_last(&mut self, key: PeerKey) {
        self.hand_over(key, |mailbox, _| mailbox.pop_last());
    }

    fn hand_over(&mut self, key: PeerKey, next: fn(&mut Mailbox, &Limits) -> Option<String>) {
        let Some(peer) = self.roster.get_mut(key) else { return };
        let Some(id) = peer.connection.as_ref().filter(|c| c.is_open()).map(Connection::id) else { return };
        while let Some(frame) = next(&mut peer.mailbox, &self.config.limits) {
            self.outputs.push(crate::Output::Connection(id, Command::Send(frame)));
        }
    }
}
