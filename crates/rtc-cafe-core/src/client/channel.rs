//! Frames over an open data channel.

use rtc_cafe_wire::peer::{Frame, VERSION};

use super::Client;
use crate::{
    event::{ErrorCode, Event},
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
        let Some(connection) = peer.connection.as_mut().filter(|connection| !connection.open) else { return };
        connection.open = true;
        peer.failures = 0;
        // The hello tells it.
        peer.sid_untold = false;
        let sid = peer.sid.clone();
        self.timers.cancel_all(key);
        self.event(Event::ConnectToPeer { sid });
        self.push(key, &Frame::Hello { version: VERSION, id: self.permanent_id.clone(), sid: self.sid.clone() });
    }

    /// A frame has arrived.
    pub(super) fn handle_frame(&mut self, key: PeerKey, text: &str) {
        let Some(peer) = self.roster.get_mut(key).filter(|peer| peer.is_connected()) else { return };
        let sid = peer.sid.clone();
        // Whatever it says, the peer is alive.
        self.timers.cancel(key, Timer::Pong);
        match Frame::decode(text) {
            Ok(Some(Frame::Message { more, body })) => match peer.mailbox.receive(more, body, &self.config.limits) {
                Received::Nothing => {}
                Received::Message(payload) => self.event(Event::Message { sender: sid, payload }),
                Received::TooLong => {
                    let message = String::from("a message of the peer is too long and was dropped");
                    self.error(ErrorCode::Protocol, message, Some(sid));
                }
            },
            Ok(Some(Frame::Hello { version, id, sid: session })) => {
                if version == 0 || peer.id.as_ref().is_some_and(|known| *known != id) {
                    let message = String::from("the peer is not who it said it was; its connection is closed");
                    self.error(ErrorCode::Protocol, message, Some(sid));
                    self.unlink(key);
                    self.remove(key);
                } else if let Some(session) = session {
                    self.confirm_sid(key, session);
                }
            }
            Ok(Some(Frame::Sid { sid })) => self.confirm_sid(key, sid),
            Ok(Some(Frame::Ping { nonce })) => self.push(key, &Frame::Pong { nonce }),
            Ok(Some(Frame::Pong { nonce })) if peer.ping == Some(nonce) => {
                peer.ping = None;
                peer.claim = None;
            }
            // A type that a newer version may know, or a stale answer.
            Ok(_) => {}
            Err(error) => self.error(ErrorCode::Protocol, error.to_string(), Some(sid)),
        }
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

    /// Tells a peer our new sid, now or as soon as there is room for it.
    pub(super) fn tell_sid(&mut self, key: PeerKey) {
        let Some(peer) = self.roster.get_mut(key).filter(|peer| peer.sid_untold && peer.is_connected()) else { return };
        if let Some(sid) = self.sid.clone()
            && peer.mailbox.has_room_for_control(&self.config.limits)
        {
            peer.sid_untold = false;
            self.push(key, &Frame::Sid { sid });
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
        self.tell_sid(key);
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

    /// Queues a frame of our own, if the data channel is open.
    pub(super) fn push(&mut self, key: PeerKey, frame: &Frame<'_>) {
        let Some(peer) = self.roster.get_mut(key).filter(|peer| peer.is_connected()) else { return };
        if !peer.mailbox.has_room_for_control(&self.config.limits) {
            return;
        }
        peer.mailbox.push(frame);
        self.pump(key);
    }

    fn pump(&mut self, key: PeerKey) {
        let Some(peer) = self.roster.get_mut(key) else { return };
        let Some(id) = peer.connection.as_ref().filter(|c| c.open).map(|c| c.id()) else { return };
        while let Some(frame) = peer.mailbox.pop(&self.config.limits) {
            self.outputs.push_back(crate::Output::Connection(id, Command::Send(frame)));
        }
    }
}
