//! STUN and TURN server (RFC 8489, RFC 8656) with credentials that end by themselves.
//!
//! It listens on UDP, TCP and TLS, IPv4 and IPv6, and relays to peers over UDP. Clients have credentials that whoever knows
//! the [`Secret`] has minted for them, in the form that coturn and WebRTC services use. Peers in the operator's own network
//! are refused ([`PeerPolicy`]), and what a client may take is bounded ([`Limits`]).
//!
//! ```no_run
//! use std::time::{Duration, SystemTime};
//!
//! use rtc_cafe_turn::{Secret, TurnServer};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let secret = Secret::new("what the other servers know too")?;
//! let server = TurnServer::builder(secret.clone())
//!     .udp("0.0.0.0:3478".parse()?)
//!     .tcp("0.0.0.0:3478".parse()?)
//!     .public_address("203.0.113.7".parse()?)
//!     .bind()
//!     .await?;
//! // For an application to give to its clients.
//! let credentials = secret.mint("ana", Duration::from_secs(3600), SystemTime::now());
//! println!("turn:203.0.113.7 for {} with {}", credentials.username, credentials.password);
//! # drop(server);
//! # Ok(())
//! # }
//! ```
//!
//! What is decided is decided by the module `client`, which does no I/O; `server` moves the bytes.

mod allocation;
mod auth;
mod builder;
mod client;
mod credentials;
mod discovery;
mod face;
mod framing;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod limits;
mod outbox;
mod policy;
mod relays;
mod reply;
mod server;
mod session;
mod socket;
mod stats;
mod strangers;
mod stream;
mod tally;
mod udp;

#[cfg(test)]
mod tests;

pub use builder::{BindError, Builder};
pub use credentials::{CredentialError, Credentials, EmptySecretError, Secret};
pub use ipnet::IpNet;
pub use limits::Limits;
pub use policy::PeerPolicy;
pub use server::TurnServer;
pub use stats::{PerTransport, Stats};
pub use tokio_rustls::TlsAcceptor;
