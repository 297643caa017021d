//! The RTCCafe signalling server as a library: it lets clients find each other in rooms and relays their handshakes.
//!
//! Nest it into an axum application under any path; the clients' address is then that of the application plus the path.
//!
//! ```no_run
//! use axum::serve::ListenerExt;
//! use rtc_cafe_signaller::Signaller;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
//! let signaller = Signaller::builder()
//!     .allow_origin("https://app.example.org")
//!     .validate(|_sid, event, data| async move {
//!         if event == "join" && data["room"] == "staff" { Err("this room is not for you".into()) } else { Ok(()) }
//!     })
//!     .build();
//! let app = axum::Router::new().nest("/cafe", signaller.router());
//! // Signals are small and many; with Nagle's algorithm each would wait for the acknowledgement of the last.
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?.tap_io(|stream| {
//!     let _ = stream.set_nodelay(true);
//! });
//! // The server limits connections by address, if it is told.
//! axum::serve(listener, app.into_make_service_with_connect_info::<std::net::SocketAddr>()).await
//! # }
//! ```
//!
//! Who may come in, and what they may do, is decided by an [`admission`], of which `validate` is the shortest form.
//!
//! Several servers are one when each is given a [`broker`], such as Redis: clients meet whichever they are connected to.
//!
//! The router is for clients, and has nothing for operators: serve them [`Signaller::stats`], [`Signaller::rooms`] and
//! [`Signaller::kick`] where clients do not come, as `rtc-cafe serve --operator-listen` does.
//!
//! What is decided is decided by the [`hub`], which does no I/O; what moves bytes is behind the feature `server`.

#[cfg(feature = "server")]
pub mod admission;
#[cfg(feature = "server")]
pub mod broker;
mod code;
pub mod hub;

#[cfg(feature = "server")]
mod engine;
#[cfg(feature = "server")]
mod overview;
#[cfg(feature = "server")]
mod quiet;
#[cfg(feature = "server")]
mod signaller;

pub use code::ErrorCode;
#[cfg(feature = "server")]
pub use engine::counted_address;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub use engine::fuzzing;
#[cfg(feature = "server")]
pub use ipnet::IpNet;
#[cfg(feature = "server")]
pub use overview::{Kicked, Member, Page, RoomSummary};
#[cfg(feature = "server")]
pub use quiet::Quiet;
#[cfg(feature = "server")]
pub use signaller::{BrokerStats, Builder, IceServer, Limits, Signaller, Stats};
