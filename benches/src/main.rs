//! The benchmarks' command line.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod client;
mod connect;
mod load;
mod metric;
mod native;
mod process;
mod relay;
mod report;
mod scenario;
mod signaller;
mod turn;

/// Measures RTCCafe against the budgets that it has set itself
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
struct Arguments {
    /// What to measure; without a name everything but `load`, which takes long
    #[command(subcommand)]
    benchmark: Option<Benchmark>,
}

#[derive(Debug, Subcommand)]
enum Benchmark {
    Signaller(signaller::Options),
    Native(native::Options),
    Connect(connect::Options),
    Turn(turn::Options),
    Load(load::Options),
    /// Serves the bare websocket relay that the signaller is compared with
    #[command(hide = true)]
    Relay,
    /// Measures one part of `native` in a process of its own
    #[command(hide = true)]
    NativePart(native::PartOptions),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().benchmark {
        Some(benchmark) => benchmark.run(),
        None => ["signaller", "native", "connect", "turn"]
            .into_iter()
            .try_for_each(|name| Arguments::parse_from(["bench", name]).benchmark.map_or(Ok(()), Benchmark::run)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

impl Benchmark {
    fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Signaller(options) => signaller::run(&options),
            Self::Native(options) => native::run(&options),
            Self::Connect(options) => connect::run(&options),
            Self::Turn(options) => turn::run(&options),
            Self::Load(options) => load::run(&options),
            Self::Relay => relay::run(),
            Self::NativePart(options) => native::run_part(&options),
        }
    }
}
