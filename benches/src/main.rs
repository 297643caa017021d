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
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench", arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(Debug, Subcommand)]
enum Benchmark {
    Signaller(signaller::Options),
    /// Serves the bare websocket relay that the signaller is compared with
    #[command(hide = true)]
    Relay,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().benchmark {
        Benchmark::Signaller(options) => signaller::run(&options),
        Benchmark::Relay => relay::run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
