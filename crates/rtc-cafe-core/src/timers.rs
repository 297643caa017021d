//! The named timers of all peers, and the one deadline that comes of them.

use crate::{map::Map, roster::PeerKey, time::Time};

/// What a peer waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// The offer of the other side; when it is over we offer ourselves.
    Offer,
    /// The connection to open.
    Connect,
    /// A handshake to lead to something.
    Resend,
    /// The answer to a ping.
    Pong,
    /// The answer to the ping over a path that is there again.
    Probe,
    /// The path to come back; when it is over the next step of the recovery is taken.
    Recover,
    /// A direct path to be possible, where there is one through a TURN server.
    Shortcut,
    /// Further messages, before those that have come are confirmed.
    Ack,
    /// The data channel to take some of what waits.
    Stall,
    /// The peer to confirm some of what was sent to it.
    Stuck,
    /// Nothing: more had to be told than may wait, so the connection is to be replaced at once.
    Overflow,
    /// A peer that was connected to be so again.
    Farewell,
    /// A peer that is gone to tell what it has received.
    Doubt,
    /// Further changes, before all peers are told whom we are connected to.
    Gossip,
    /// Peers to say something, before those who have not are asked whether they are there.
    Quiet,
    /// Nothing more urgent, before an offer is made ready for whoever comes next, or made anew.
    Ready,
    /// Members to offer, before answers that are left are thrown away.
    Unused,
}

/// The timers that end with a connection, or when it opens.
const OF_A_CONNECTION: [Timer; 9] = [
    Timer::Offer,
    Timer::Connect,
    Timer::Resend,
    Timer::Pong,
    Timer::Probe,
    Timer::Recover,
    Timer::Ack,
    Timer::Stall,
    Timer::Overflow,
];

#[derive(Debug, Default)]
pub(crate) struct Timers(Map<(PeerKey, Timer), Time>);

impl Timers {
    /// Sets a timer, instead of the one of the same name.
    pub(crate) fn set(&mut self, peer: PeerKey, timer: Timer, at: Time) {
        self.0.insert((peer, timer), at);
    }

    /// Sets a timer, unless it is to come sooner already.
    pub(crate) fn hasten(&mut self, peer: PeerKey, timer: Timer, at: Time) {
        if self.0.get(&(peer, timer)).is_none_or(|&set| at < set) {
            self.set(peer, timer, at);
        }
    }

    pub(crate) fn is_set(&self, peer: PeerKey, timer: Timer) -> bool {
        self.0.contains_key(&(peer, timer))
    }

    pub(crate) fn cancel(&mut self, peer: PeerKey, timer: Timer) {
        self.0.remove(&(peer, timer));
    }

    pub(crate) fn cancel_connection(&mut self, peer: PeerKey) {
        for timer in OF_A_CONNECTION {
            self.cancel(peer, timer);
        }
    }

    /// Gives every timer that is due a little more time.
    pub(crate) fn postpone(&mut self, now: Time, until: Time) {
        for at in self.0.values_mut() {
            if *at <= now {
                *at = until;
            }
        }
    }

    /// Few peers wait for anything at a time, so looking at all of them is quick.
    fn first(&self) -> Option<(Time, PeerKey, Timer)> {
        let mut first: Option<(Time, PeerKey, Timer)> = None;
        for (&(peer, timer), &at) in self.0.iter() {
            if first.is_none_or(|(least, ..)| at < least) {
                first = Some((at, peer, timer));
            }
        }
        first
    }

    pub(crate) fn next(&self) -> Option<Time> {
        self.first().map(|(at, ..)| at)
    }

    /// Takes a timer that is due.
    pub(crate) fn pop(&mut self, now: Time) -> Option<(PeerKey, Timer)> {
        let (_, peer, timer) = self.first().filter(|&(at, ..)| at <= now)?;
        self.cancel(peer, timer);
        Some((peer, timer))
    }
}
