//! `native`: native peers against their budgets, beside bare str0m, and beside pages in Chromium.

use std::{collections::BTreeMap, process::Stdio, time::Duration, time::Instant};

use anyhow::{Context, bail};
use tokio::process::Command;

use crate::{
    metric::{Measured, Samples},
    process::{Programs, Server, Target, last_line_of, raise_open_files},
    report::{Other, Report},
    signaller::{bounded, interrupted},
};

mod bare;
mod chromium;
mod joins;
mod mesh;
mod metric;
mod part;
mod throughput;

use metric::Metric;
use part::{Part, Stack};
pub(crate) use part::{PartOptions, run as run_part};

/// No part takes longer, whatever happens.
const LONGEST: Duration = Duration::from_secs(60);
/// Sockets of the largest mesh of bare ends, and some.
const OPEN_FILES: u64 = 2048;

/// Measures native peers, and beside them bare str0m, which is as good as it gets, and Chromium
///
/// Each part runs in a process of its own, in turns, on loopback, with the signalling server in another process. The
/// medians of all rounds are shown, with their budgets. A run takes two to three minutes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
What is done:
  joins       a second client joins a room with one member, --joins times: until the channel is open on both sides
  mesh        16 and 32 clients in one process join a room: until everybody is connected to everybody; then they idle
  throughput  one client sends another messages of 64 B to 64 KiB as fast as they go

Bare str0m has the same settings and a UDP socket for each end, and hands descriptions over in memory: what it does not
do is signalling, our protocol and sharing sockets.
Chromium sends from one page to another by the npm package; both directions of the stack are counted, as in ours.

Examples:
  cargo xtask bench native
  cargo xtask bench native --only throughput --rounds 1
  cargo xtask bench native --json > now.json")]
pub(crate) struct Options {
    /// How often a second client joins, in each round
    #[arg(long, default_value_t = 100, value_name = "NUMBER", value_parser = bounded(1, 1000))]
    joins: usize,

    /// Only this; repeat it for several
    #[arg(long, value_name = "WHAT")]
    only: Vec<What>,

    /// How often everything is measured; the medians are shown
    #[arg(long, default_value_t = 3, value_name = "NUMBER", value_parser = bounded(1, 25))]
    rounds: usize,

    /// Prints JSON instead of the table, with the values of every round
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum What {
    /// Joined until the channel is open
    Joins,
    /// Clients that are all connected to each other
    Mesh,
    /// Messages as fast as they go
    Throughput,
}

/// Of each stack.
#[derive(Debug, Default)]
struct Measurements {
    ours: Samples<Metric>,
    bare: Samples<Metric>,
    chromium: Samples<Metric>,
    /// Why there is nothing of Chromium.
    missing: Option<String>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    if cfg!(debug_assertions) {
        eprintln!("bench: this is a debug build; only `cargo xtask bench` measures what counts");
    }
    raise_open_files(OPEN_FILES)?;
    let programs = Programs::find()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let start = Instant::now();
    let measured = runtime.block_on(async {
        tokio::select! {
            measured = measure(options, &programs) => measured,
            _ = interrupted() => bail!("interrupted"),
        }
    })?;
    let Measurements { ours, bare, chromium, missing } = &measured;
    let mut notes = String::from(
        "Ratio: what ours costs in terms of the other; for rates, how many times as fast the other is. CPU is that of \
         both ends together.",
    );
    if let Some(missing) = missing {
        notes += &format!("\nThere is nothing of Chromium here: {missing}");
    }
    let report = Report {
        title: "Native peers beside bare str0m and Chromium",
        conditions: format!("{} joins, loopback", options.joins),
        rounds: options.rounds,
        ours,
        others: vec![
            Other { name: "bare str0m", key: "str0m", samples: bare },
            Other { name: "Chromium", key: "chromium", samples: chromium },
        ],
        notes,
    };
    report.print(options.json, start.elapsed());
    Ok(())
}

async fn measure(options: &Options, programs: &Programs) -> anyhow::Result<Measurements> {
    let mut measured = Measurements::default();
    let wants = |what| options.only.is_empty() || options.only.contains(&what);
    let parts = Part::all(options.joins).into_iter().filter(|part| wants(part.what()));
    let parts: Vec<_> = parts.collect();
    let server = Server::start(Target::Signaller, programs).await?;
    for round in 1..=options.rounds {
        for &part in &parts {
            for stack in [Stack::Ours, Stack::Bare] {
                eprintln!("round {round} of {}: {} of {}", options.rounds, part.name(), stack.name());
                let values = in_process(part, stack, &server).await?;
                let samples = if stack == Stack::Ours { &mut measured.ours } else { &mut measured.bare };
                add(samples, &values);
            }
        }
        if wants(What::Throughput) && measured.missing.is_none() {
            eprintln!("round {round} of {}: throughput of Chromium", options.rounds);
            match chromium::run(&server).await {
                Ok(values) => add(&mut measured.chromium, &values),
                Err(error) => {
                    let missing = format!("{error:#}");
                    eprintln!("bench: no figures of Chromium: {missing}");
                    measured.missing = Some(missing);
                }
            }
        }
    }
    server.stop().await?;
    Ok(measured)
}

fn add(samples: &mut Samples<Metric>, values: &BTreeMap<String, f64>) {
    for &metric in Metric::ALL {
        if let Some(&value) = values.get(&metric.about().key) {
            samples.add(metric, value);
        }
    }
}

/// Runs a part in a process of its own, so that memory and time are those of nothing else.
async fn in_process(part: Part, stack: Stack, server: &Server) -> anyhow::Result<BTreeMap<String, f64>> {
    let own = std::env::current_exe().context("cannot find this program's own file")?;
    let mut command = Command::new(own);
    command.arg("native-part").args(part.arguments()).args(["--stack", stack.argument()]);
    command.args(["--server", &format!("http://{}", server.address(0))]);
    values_of(command).await.with_context(|| format!("{} of {}", part.name(), stack.name()))
}

/// The values that a program prints as JSON in its last line.
async fn values_of(mut command: Command) -> anyhow::Result<BTreeMap<String, f64>> {
    let line = last_line_of(command.stderr(Stdio::piped()), LONGEST).await?;
    serde_json::from_str(&line).context("what it prints are no values")
}
