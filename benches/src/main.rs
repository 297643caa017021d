//! The benchmarks' command line.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod client;
mod metric;
mod process;
mod relay;
mod report;
mod scenario;
mod signaller;

/// Measures RTCCafe against the budgets that it has set itself
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
struct Arguments {
    /// What to measure; without a name everything
    #[command(subcommand)]
    benchmark: Option<Benchmark>,
}

#[derive(Debug, Subcommand)]
enum Benchmark {
    Signaller(signaller::Options),
    /// Serves the bare websocket relay that the signaller is compared with
    #[command(hide = true)]
    Relay,
}

fn main() -> ExitCode {
    let everything = || Arguments::parse_from(["bench", "signaller"]).benchmark;
    let result = match Arguments::parse().benchmark.or_else(everything) {
        Some(Benchmark::Signaller(options)) => signaller::run(&options),
        Some(Benchmark::Relay) => relay::run(),
        None => Ok(()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
