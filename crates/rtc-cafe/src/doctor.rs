//! `rtc-cafe doctor`: what the network lets through, in plain words.

use std::{process::ExitCode, time::Duration};

use anyhow::Context;
use indicatif::ProgressBar;
use rtc_cafe_client::diagnose::{Diagnosis, Examination};

use crate::{peer::ServerOptions, stop::StopSignals, text::clean_line};

mod report;

/// Longest text of others that is shown, in characters.
const MAX_TEXT: usize = 400;

/// Checks whether peers can connect from here, and says what to do if not
///
/// Looks at the way to the signalling server, at this machine's addresses, at every STUN and TURN server, and lets two
/// peers of its own meet in a room of the server, one that nobody else knows. Nothing is changed anywhere.
///
/// What is silent is waited for, so it takes up to 30 seconds.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rtc-cafe doctor
      Looks at this machine's own server.
  rtc-cafe doctor --server https://cafe.example.org
      Looks at the way to another one, and at the STUN and TURN servers that it names.
  rtc-cafe doctor --ice-server turn:ana:secret@turn.example.org?transport=tcp
      Tries a TURN server before the server names it to everybody.
  rtc-cafe doctor --json | jq .advice
      For a program: one JSON object.

How to read it:
  server      /healthz answers by HTTP, and a session was given over a websocket. Without it peers do not find each other.
  addresses   at which others in the same network reach this machine.
  STUN        tells what the NAT makes of these addresses, over UDP. If none answers, UDP is most likely blocked.
  firewall    whether UDP gets out, and if not, whether TCP does, and to other ports than 443.
  NAT         its kind, in old words and in those of RFC 5780. The mapping says whether all others see the same address
              (endpoint-independent) or each another one (address-dependent, \"symmetric\"); the filtering, whether they
              get in before they were sent something. It takes a STUN server with two addresses (RFC 5780) to tell
              exactly; one with TURN at one address tells most. Several NATs in a row look like the strictest of them.
  TURN        passes everything on where nothing else works: an address was asked for, with the credentials, and what was
              sent there through the server came back.
  peers       two peers on this machine have met through the server, and said something both ways.

Exits with 0 when peers can connect, with 1 when they cannot, or in the same network only though there are servers to lead
out of it, and with 2 when the arguments are wrong.")]
pub(crate) struct Options {
    #[command(flatten)]
    servers: ServerOptions,

    /// The diagnosis as one JSON object
    #[arg(long, env = "RTC_CAFE_JSON", value_parser = clap::builder::FalseyValueParser::new())]
    json: bool,
}

/// How an examination ends that could be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Peers cannot connect; that was told in full.
    #[error("peers cannot connect from here, or not everywhere")]
    Unwell,
    /// An argument is wrong.
    #[error("{0:#}")]
    Arguments(anyhow::Error),
    /// The user stopped it.
    #[error("stopped")]
    Stopped,
}

impl Failure {
    /// What the program exits with.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Unwell => 1,
            Self::Arguments(_) => 2,
            Self::Stopped => 130,
        })
    }
}

pub(crate) fn run(options: Options) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let json = options.json;
    let diagnosis = runtime.block_on(examine(options))?;
    let text = match json {
        true => serde_json::to_string(&diagnosis)? + "\n",
        false => report::text(&diagnosis, crate::join::Look::detect()),
    };
    // Who does not read it has the exit code.
    let _ = std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes());
    if diagnosis.ok { Ok(()) } else { Err(Failure::Unwell.into()) }
}

async fn examine(options: Options) -> anyhow::Result<Diagnosis> {
    let mut stop = StopSignals::new()?;
    let server = options.servers.server();
    let mut examination = Examination::new(server).ice_servers(options.servers.ice_servers());
    if let Some(auth) = options.servers.auth() {
        examination = examination.auth(&auth);
    }
    // It is seen on a terminal only.
    let spinner =
        ProgressBar::new_spinner().with_message(format!("Trying the network and {}", clean_line(server, 100)));
    spinner.enable_steady_tick(Duration::from_millis(120));
    let examined = tokio::select! {
        examined = examination.run() => examined,
        () = stop.next() => return Err(Failure::Stopped.into()),
    };
    spinner.finish_and_clear();
    let examined = examined.with_context(|| format!("cannot use the server {server:?}"));
    Ok(examined.map_err(Failure::Arguments)?)
}

/// A text of others, safe to show.
fn shown(text: &str) -> String {
    clean_line(text, MAX_TEXT)
}
