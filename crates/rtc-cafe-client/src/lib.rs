//! A native RTCCafe client: rooms over WebRTC for Rust programs, on tokio and str0m.
//!
//! [`Client::builder`] is where to begin. A client joins rooms by their ids over a signalling server (`rtc-cafe serve`, or
//! the original Python server), is connected to everybody in them, browsers as well as programs, exchanges JSON messages
//! with them, and offers media tracks that are sent to those who ask. The names are those of the JavaScript client.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use rtc_cafe_client::{Client, Event};
//!
//! let (client, mut events) = Client::builder("http://127.0.0.1:8080").connect()?;
//! client.join_room("kitchen-table")?;
//! while let Some(event) = events.recv().await {
//!     match event {
//!         Event::ConnectToPeer { sid } => client.send_message_to([sid], "hello").await?,
//!         Event::Message { sender, message } => println!("{sender}: {}", message.as_json()),
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Everything runs on the tokio runtime on which the client is made, in one task for each client, on a current-thread
//! runtime as well as on others. Nothing that a peer or the server says makes it panic or grow without bound.

// The helpers of the integration tests name the crate.
#[cfg(test)]
extern crate self as rtc_cafe_client;

mod builder;
mod client;
pub mod diagnose;
mod driver;
mod error;
mod event;
pub mod media;
mod net;
mod report;
mod rtc;
mod shared;
mod signalling;
mod tls;
mod track;

pub use builder::{Builder, RtcConfig};
pub use client::{Client, LocalTrack};
pub use error::{AddTrackError, ConnectError, JoinRoomError, ReplaceTrackError, SendMessageError};
pub use event::{ErrorCode, Event, Events, Message, TrackDefinition};
pub use media::{Codec, Frame, MediaReader, ReadError, RecordError, RtpPacket};
pub use net::{BindError, IceServer};
pub use report::{CandidateEnd, CandidateKind, CandidatePair, ConnectionReport, FailedServer, PairState, Phase, Route};
pub use rtc_cafe_core::{
    AddTrackError as AddTrackRefusal, ApiVersion, JoinError, Limits, PermanentId, Recipients, RequestTrackError,
    RoomId, Sid, SignallerState, Timing, TrackId, TrackKind,
};
pub use signalling::{HeaderError, ParseUrlError};
pub use tls::TlsConfigError;
pub use track::{Frames, Packets, Recorded, Recording, RemoteTrack, RtpSender, TrackEnded, TrackSource};
