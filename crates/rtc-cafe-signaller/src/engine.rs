//! Engine.IO 4 and Socket.IO 5 around the hub: polling, websocket, and the way from one to the other.
//!
//! Whatever a client sends is handled in the task of its connection and decided under one lock, so a sender's order is
//! kept; what it gets waits in its own bounded [`outbox`]. `docs/decisions/003-engine-io.md` says why this is ours.

pub(crate) mod address;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub(crate) mod http;
pub(crate) mod nodes;
pub(crate) mod origin;
pub(crate) mod shared;

pub use address::counted_address;

mod envelope;
mod gate;
mod keepalive;
pub(crate) mod minted;
mod outbox;
mod packet;
mod placeholder;
mod polling;
mod session;
mod upgrade;
mod websocket;
