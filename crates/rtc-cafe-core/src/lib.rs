//! The RTCCafe client as a state machine: no I/O, no clock, no threads, no randomness of its own.
//!
//! A [`Client`] is driven by whoever has the sockets. The order of calls is always the same:
//!
//! 1. tell it what happened: a command (`join_room`, `send_message`, `close`) or an input (`handle_*`), with the time;
//! 2. call [`Client::poll`] until it returns `None`, and do what each [`Output`] says;
//! 3. sleep until the next input or until [`Client::poll_timeout`], then call [`Client::handle_timeout`].
//!
//! Nothing it is told can make it panic, and nothing it is told can make it grow without bound ([`Limits`]).
//!
//! [`Session`] is the smaller machine beside it, for the connection to the signalling server.

mod client;
mod config;
mod connection;
mod event;
mod mailbox;
mod map;
mod output;
mod payload;
mod peer;
mod queue;
mod report;
mod rng;
mod roster;
mod session;
mod time;
mod timers;
mod tracks;

pub use client::{AddTrackError, Client, Intake, JoinError, Recipients, RequestTrackError, SendError};
pub use config::{Config, Limits, Timing};
pub use event::{Definition, ErrorCode, Event, SignallerState, Source};
pub use output::{Command, ConnectionEvent, ConnectionState, Output};
pub use payload::Payload;
pub use report::{ConnectionReport, Phase, Route};
pub use rtc_cafe_wire as wire;
pub use rtc_cafe_wire::{ApiVersion, PermanentId, RoomId, Sid, TrackId, peer::TrackKind, signal::ConnectionId};
pub use session::{Session, SessionOutput};
pub use time::Time;
