//! The RTCCafe command line.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

mod app;
mod doctor;
mod files;
mod ice;
mod join;
mod listed;
mod listener;
mod metrics;
mod peer;
mod serve;
mod stop;
mod text;
mod transfer;

/// That of the system leaves holes between connections that come and go; see docs/decisions/014-allocator.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Rooms in which browsers and programs find each other and connect over WebRTC.
#[derive(Debug, Parser)]
#[command(name = "rtc-cafe", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,

    /// What is logged to standard error: a level, or levels by module, such as
    /// `warn,rtc_cafe_signaller=debug`
    #[arg(long, global = true, env = "RTC_CAFE_LOG", value_name = "FILTER")]
    log: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Options),
    Join(join::Options),
    Send(transfer::send::Options),
    Receive(transfer::receive::Options),
    Doctor(doctor::Options),
}

fn main() -> ExitCode {
    let Arguments { command, log } = Arguments::parse();
    // What a doctor finds is in the diagnosis.
    let level = if matches!(command, Command::Doctor(_)) { "error" } else { "warn" };
    let result = start_log(log, level).and_then(|()| match command {
        Command::Serve(options) => serve::run(options),
        Command::Join(options) => join::run(options),
        Command::Send(options) => transfer::send::run(options),
        Command::Receive(options) => transfer::receive::run(options),
        Command::Doctor(options) => doctor::run(options),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if let Some(failure) = error.downcast_ref::<doctor::Failure>() {
                // What is unwell was told already.
                if !matches!(failure, doctor::Failure::Unwell) {
                    eprintln!("rtc-cafe: {failure}");
                }
                return failure.exit_code();
            }
            eprintln!("rtc-cafe: {error:#}");
            error.downcast_ref::<transfer::Failure>().map_or(ExitCode::FAILURE, transfer::Failure::exit_code)
        }
    }
}

/// Logs to standard error what the filter lets through; without one, what `RUST_LOG` does, or this level.
fn start_log(filter: Option<String>, level: &str) -> anyhow::Result<()> {
    let filter = [filter, std::env::var(EnvFilter::DEFAULT_ENV).ok()].into_iter().flatten();
    let filter = filter.into_iter().find(|filter| !filter.trim().is_empty()).unwrap_or_else(|| level.to_owned());
    let filter = EnvFilter::try_new(&filter).map_err(|error| anyhow::anyhow!("the log filter {filter:?}: {error}"))?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    Ok(())
}
