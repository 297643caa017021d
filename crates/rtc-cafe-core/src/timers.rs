//! The named timers of all peers, and the one deadline that comes of them.

use crate::{map::Map, roster::PeerKey, time::Time};

/// What a peer waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// The offer of the other side; when it is over we offer ourselves.
    Offer,
    /// The connection to open.
    Connect,
    /// The answer to a ping.
    Pong,
}

#[derive(Debug, Default)]
pub(crate) struct Timers {
    queue: Map<(Time, PeerKey, Timer), ()>,
    deadlines: Map<(PeerKey, Timer), Time>,
}

impl Timers {
    /// Sets a timer, instead of the one of the same name.
    pub(crate) fn set(&mut self, peer: PeerKey, timer: Timer, at: Time) {
        self.cancel(peer, timer);
        self.deadlines.insert((peer, timer), at);
        self.queue.insert((at, peer, timer), ());
    }

    pub(crate) fn is_set(&self, peer: PeerKey, timer: Timer) -> bool {
        self.deadlines.contains_key(&(peer, timer))
    }

    pub(crate) fn cancel(&mut self, peer: PeerKey, timer: Timer) {
        if let Some(at) = self.deadlines.remove(&(peer, timer)) {
            self.queue.remove(&(at, peer, timer));
        }
    }

    pub(crate) fn cancel_all(&mut self, peer: PeerKey) {
        for timer in [Timer::Offer, Timer::Connect, Timer::Pong] {
            self.cancel(peer, timer);
        }
    }

    pub(crate) fn next(&self) -> Option<Time> {
        self.queue.first().map(|&(at, ..)| at)
    }

    /// Takes a timer that is due.
    pub(crate) fn pop(&mut self, now: Time) -> Option<(PeerKey, Timer)> {
        let &(_, peer, timer) = self.queue.first().filter(|&&(at, ..)| at <= now)?;
        self.cancel(peer, timer);
        Some((peer, timer))
    }
}
