//! Inputs that fuzzing begins from, and their mutations: for the bodies of the fuzz targets, and for the benchmark
//! `load`, which sends them to a server.

mod mutate;
mod seeds;

pub use mutate::{Rng, mutate};
pub use seeds::{CLIENT, ENGINE, FRAMES, HUB, JSON, NODES, ROOMS, SIGNALS, TOKENS, TURN};
