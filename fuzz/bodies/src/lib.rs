//! What the fuzz targets do with their input, for everything that comes from the network.
//!
//! A body takes any bytes and panics when a promise is broken, not only when the code under it panics. Under
//! `cargo fuzz` the bytes come from libFuzzer; `tests/bounded.rs` runs the same bodies on the seeds, on mutations of
//! them and on every input that ever broke something.

mod client;
mod engine;
mod hub;
mod nodes;
mod script;
mod turn;
mod wire;

pub use client::client;
pub use engine::engine;
pub use hub::hub;
pub use nodes::nodes;
pub use turn::turn;
pub use wire::{frame, json, room, signal};

use rtc_cafe_fuzz_seeds as seeds;

/// A body, with inputs to begin from.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Target {
    /// The name of the target, and of the folders of its corpus and regressions.
    pub name: &'static str,
    /// What is done with an input.
    pub body: fn(&[u8]),
    /// Inputs that get far.
    pub seeds: &'static [&'static str],
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target { name: "json", body: json, seeds: seeds::JSON },
    Target { name: "room", body: room, seeds: seeds::ROOMS },
    Target { name: "signal", body: signal, seeds: seeds::SIGNALS },
    Target { name: "frame", body: frame, seeds: seeds::FRAMES },
    Target { name: "client", body: client, seeds: seeds::CLIENT },
    Target { name: "hub", body: hub, seeds: seeds::HUB },
    Target { name: "nodes", body: nodes, seeds: seeds::NODES },
    Target { name: "engine", body: engine, seeds: seeds::ENGINE },
    Target { name: "turn", body: turn, seeds: seeds::TURN },
];
