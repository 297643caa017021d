//! Wire types of RTCCafe: what signallers and peers say to each other, and the bounds on it. No logic, no I/O.
//!
//! * [`signal`]: the signalling protocol between a client and the signalling server (API versions 0.0 to 1.0),
//! * [`packet`]: the packets of Socket.IO that signals travel in,
//! * [`peer`]: the peer protocol over the data channel,
//! * [`json`]: the small JSON reader and writer that both use; `docs/decisions/002-json.md` has the reason,
//! * [`limits`]: the bounds that every implementation enforces.
//!
//! `docs/protocol.md` is the specification; the golden frames in `tests/` keep the two together.

pub mod json;
pub mod limits;
pub mod packet;
pub mod peer;
pub mod signal;

mod fields;
mod ids;
mod version;

pub use ids::{PermanentId, RoomId, RoomIdError, Sid, TrackId};
pub use version::{ApiVersion, UnknownApiVersion};
