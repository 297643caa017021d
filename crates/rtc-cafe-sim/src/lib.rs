//! A seeded simulator: many clients and the signalling server's hub in virtual time.
//!
//! A [`World`] holds the hub, the clients' cores, their signalling connections and their peer connections, and moves
//! from event to event in virtual time. Everything random comes from one seed, so a run that fails fails again. While
//! it runs it checks what must hold at every moment (`check.rs`, `told.rs`); [`World::assert_settled`] checks what must hold once
//! all is quiet. [`Scenario`] drives a world at random, and [`Kind`] runs
//! many seeds of one; so does the program `simulate`.

mod check;
pub mod conformance;
mod kind;
mod links;
mod network;
mod node;
mod rtc;
mod scenario;
mod sleep;
mod told;
mod tracks;
mod trouble;
mod world;

pub use kind::{KINDS, Kind, Outcome};
pub use scenario::Scenario;
pub use world::World;

/// Names a client in the simulation.
pub type NodeId = usize;
