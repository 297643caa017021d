//! How a client behaves, with defaults that work.

use std::time::Duration;

use rtc_cafe_wire::limits::MAX_MESSAGE;

/// How a client behaves.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// Whether handshakes may go over peers that both sides are connected to (the README's `enableWebRTCHandshake`), and
    /// this client passes on those of others. Default yes.
    pub handshake_over_peers: bool,
    /// A number that has grown whenever a client is made with a seed that was used before, such as the seconds since 1970.
    /// Connections, messages and handshakes are numbered from it, so that peers can tell the new ones from those that they
    /// remember. Default 0, for seeds that are used once.
    pub incarnation: u32,
    /// How many answers the client makes before it has met anybody, so that a member whom it meets need not wait for them;
    /// and whether, once in a room, it has the server hold an offer for whoever comes next: not if this is 0. Default 0.
    pub ready: usize,
    /// The most such answers where the server has told of relays, for backends in which each of them takes an allocation.
    /// Default no fewer.
    pub ready_relayed: usize,
    /// Bounds on what the client keeps.
    pub limits: Limits,
    /// How long it waits for what.
    pub timing: Timing,
}

impl Default for Config {
    fn default() -> Self {
        let (limits, timing) = (Limits::default(), Timing::default());
        Self { handshake_over_peers: true, incarnation: 0, ready: 0, ready_relayed: usize::MAX, limits, timing }
    }
}

/// Bounds on what a client keeps, so that nobody can make it grow.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Limits {
    /// Peers at a time; further ones are not connected to. Default 1,000.
    pub peers: usize,
    /// Rooms at a time. Default 64.
    pub rooms: usize,
    /// Bytes of messages that one peer has not confirmed yet. Default 32 MiB.
    pub outgoing_bytes: usize,
    /// Bytes of messages that are kept for all peers, each counted once, however many it is for. When as much is kept, each
    /// peer has still its share of as much again. Default 256 MiB.
    pub kept_bytes: usize,
    /// Bytes of what a peer has to be told beside messages (tracks, negotiation) that wait for its data channel; beyond
    /// that its connection is replaced. Default 4 MiB.
    pub control_bytes: usize,
    /// Peers known only from other peers, with whom there has been no connection yet; a quarter of them from one peer.
    /// Further ones have to wait. Default 32.
    pub introductions: usize,
    /// Steps of handshakes that are passed on for one peer within ten seconds. Default 500.
    pub relayed: u32,
    /// Candidates of one connection kept in either direction. Default 64.
    pub candidates: usize,
    /// Bytes in a data channel above which no more is handed to it. Default 1 MiB.
    pub high_water: usize,
    /// Bytes in a data channel below which it is filled again. Default 256 KiB.
    pub low_water: usize,
}

impl Limits {
    /// Bytes of the longest message that can be sent: the protocol's 16 MiB, if as much may wait.
    pub(crate) fn message_bytes(&self) -> usize {
        self.outgoing_bytes.min(MAX_MESSAGE)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            peers: 1000,
            rooms: 64,
            outgoing_bytes: 32 << 20,
            kept_bytes: 256 << 20,
            control_bytes: 4 << 20,
            introductions: 32,
            relayed: 500,
            candidates: 64,
            high_water: 1 << 20,
            low_water: 256 << 10,
        }
    }
}

/// How long a client waits for what.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Timing {
    /// For the offer of a member who should have sent one, before offering itself. Default 2.5 s.
    pub offer: Duration,
    /// For a connection to open, before another one is tried. Default 15 s.
    pub connect: Duration,
    /// For a first room, before answers that were made ahead are given up. Default 60 s.
    pub unused: Duration,
    /// For the answer to a ping. Default 3 s.
    pub pong: Duration,
    /// For peers to say something, before those who have not are asked whether they are there: so one that sleeps is known to
    /// do so after twice as long and [`Timing::pong`] at most. Default 10 s.
    pub quiet: Duration,
    /// For a peer to take something of what waits for it, before its connection is replaced. Default 120 s: a slow one may
    /// take as long for what its data channel holds already.
    pub stall: Duration,
    /// For a peer to confirm some of what waits for it, before the others are sent messages for which it has no room.
    /// Default 10 s.
    pub stuck: Duration,
    /// For a handshake to lead to something, before it is sent again, by every way. Default 1.5 s.
    pub resend: Duration,
    /// For a path that was lost to come back by itself, before another one is looked for. Default 2 s.
    pub grace: Duration,
    /// For a restart of ICE to find another path, before the connection is replaced. Default 4 s.
    pub restart: Duration,
    /// For a direct path to become possible where there is one through a TURN server, before it is looked for. It is twice
    /// as long each time, up to [`Timing::shortcut_backoff`]. Default 30 s.
    pub shortcut: Duration,
    /// See [`Timing::shortcut`]. Default 1 hour.
    pub shortcut_backoff: Duration,
    /// For a connected peer to come back, before the application is told that it is gone. Default 30 s.
    pub recovery: Duration,
    /// Between attempts to connect to a peer, at most. Default 8 s.
    pub backoff: Duration,
    /// For further messages, before those that have come are confirmed. Default 0.1 s.
    pub ack: Duration,
    /// For those who are in a room, before an offer is made ready for the next; and for one to be held before it is made
    /// anew. Defaults 0.1 s and 5 minutes.
    pub ready: Duration,
    /// See [`Timing::ready`].
    pub renew: Duration,
    /// For a peer that is gone to come back and tell which of the last messages it has received. Default 60 s.
    pub doubt: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            offer: Duration::from_millis(2500),
            connect: Duration::from_secs(15),
            unused: Duration::from_secs(60),
            pong: Duration::from_secs(3),
            quiet: Duration::from_secs(10),
            stall: Duration::from_secs(120),
            stuck: Duration::from_secs(10),
            resend: Duration::from_millis(1500),
            grace: Duration::from_secs(2),
            restart: Duration::from_secs(4),
            shortcut: Duration::from_secs(30),
            shortcut_backoff: Duration::from_secs(3600),
            recovery: Duration::from_secs(30),
            backoff: Duration::from_secs(8),
            ack: Duration::from_millis(100),
            ready: Duration::from_millis(100),
            renew: Duration::from_secs(300),
            doubt: Duration::from_secs(60),
        }
    }
}
