//! How a client behaves, with defaults that work.

use std::time::Duration;

/// How a client behaves.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Config {
    /// Bounds on what the client keeps.
    pub limits: Limits,
    /// How long it waits for what.
    pub timing: Timing,
}

/// Bounds on what a client keeps, so that nobody can make it grow.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Limits {
    /// Peers at a time; further ones are not connected to. Default 1,000.
    pub peers: usize,
    /// Rooms at a time. Default 64.
    pub rooms: usize,
    /// Bytes of messages that wait for one peer's data channel. Default 32 MiB.
    pub outgoing_bytes: usize,
    /// Bytes of what a peer has to be told beside messages (tracks, negotiation) that wait for its data channel; beyond
    /// that its connection is replaced. Default 4 MiB.
    pub control_bytes: usize,
    /// Bytes of one message, in either direction. Default 16 MiB.
    pub message_bytes: usize,
    /// Candidates of one connection kept in either direction. Default 64.
    pub candidates: usize,
    /// Bytes in a data channel above which no more is handed to it. Default 1 MiB.
    pub high_water: usize,
    /// Bytes in a data channel below which it is filled again. Default 256 KiB.
    pub low_water: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            peers: 1000,
            rooms: 64,
            outgoing_bytes: 32 << 20,
            control_bytes: 4 << 20,
            message_bytes: rtc_cafe_wire::limits::MAX_MESSAGE,
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
    /// For the answer to a ping. Default 3 s.
    pub pong: Duration,
    /// For a peer to take something of what waits for it, before its connection is replaced. Default 120 s: a slow one may
    /// take as long for what its data channel holds already.
    pub stall: Duration,
    /// Attempts to connect to a peer, before it is given up until it shows up again. Default 5.
    pub attempts: u32,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            offer: Duration::from_millis(2500),
            connect: Duration::from_secs(15),
            pong: Duration::from_secs(3),
            stall: Duration::from_secs(120),
            attempts: 5,
        }
    }
}
