//! The RTCCafe command line.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod admin;
mod app;
mod doctor;
mod duration;
mod files;
mod hidden;
mod ice;
mod join;
mod listed;
mod listener;
mod log;
mod metrics;
mod peer;
mod process;
mod serve;
mod stop;
mod text;
mod tls;
mod transfer;

/// That of the system leaves holes between connections that come and go; see docs/decisions/016-allocator.md.
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
    ///
    /// The levels are `error`, `warn`, `info`, `debug`, `trace`. Without it, servers log `info` and everybody else `warn`.
    #[arg(long, global = true, env = "RTC_CAFE_LOG", value_name = "FILTER")]
    log: Option<String>,

    /// How it is logged: `text` for people, or `json`, an object in each line, for programs
    #[arg(
        long,
        global = true,
        env = "RTC_CAFE_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "text",
        value_parser = log::format
    )]
    log_format: log::Format,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(Box<serve::Options>),
    Join(join::Options),
    Send(transfer::send::Options),
    Receive(transfer::receive::Options),
    Doctor(doctor::Options),
}

fn main() -> ExitCode {
    let Arguments { command, log, log_format } = Arguments::parse();
    let level = match command {
        Command::Serve(_) => "warn,rtc_cafe=info,rtc_cafe_signaller=info",
        // What a doctor finds is in the diagnosis.
        Command::Doctor(_) => "error",
        _ => "warn",
    };
    let result = log::start(log, level, log_format).and_then(|()| match command {
        Command::Serve(options) => serve::run(*options),
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
