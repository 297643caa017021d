//! Sockets, candidates, STUN and TURN: every way by which datagrams of peers come in and go out.
//!
//! One [`Endpoint`] serves all peer connections of a client. It has no task of its own: [`Endpoint::recv`] drives the
//! sockets, the servers and the timers, and hands out what came. Everything below it that speaks a protocol
//! (`stun`, `allocation`, `probe`, `framing`) does no I/O.

mod allocation;
mod candidates;
mod endpoint;
mod framing;
mod ice_server;
mod interfaces;
mod link;
mod probe;
mod reflexive;
mod relay;
mod resolve;
mod stun;
mod udp;

#[cfg(test)]
mod tests;

pub use endpoint::BindError;
pub(crate) use endpoint::{Endpoint, EndpointConfig, EndpointEvent, Mapping};
pub use ice_server::IceServer;
pub(crate) use ice_server::{Entry, Kind, kinds};
#[cfg(test)]
pub(crate) use interfaces::InterfaceSource;
pub(crate) use interfaces::usable;

/// Whether nothing gets through to and from an address, for tests.
#[cfg(test)]
pub(crate) type Cut = std::sync::Arc<dyn Fn(std::net::IpAddr) -> bool + Send + Sync>;
