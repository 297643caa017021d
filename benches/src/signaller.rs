//! `signaller`: the signalling server against its budgets, beside a bare websocket relay.

use std::time::Instant;

use anyhow::bail;

use crate::{
    metric::Samples,
    process::{Programs, Server, Target, has_redis, raise_open_files},
    report::{Other, Report, grouped},
    scenario::Scenario,
};

/// Measures the signalling server, beside it a bare websocket relay, which is as fast as it gets, and two nodes of it
///
/// They run as processes of their own, in turns, on loopback. Processor time and memory are theirs alone, read from
/// Linux's /proc. The medians of all rounds are shown, with their budgets. The nodes need `redis-server`. A run takes about
/// two minutes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
What is done, with a fresh server each:
  idle   opens --connections websockets and reads how much memory the server has grown by
  joins  fills rooms of 8, every member answering: one room at a time for the times, 16 for the rate
  relay  32 pairs send each other --messages candidates of 300 bytes, 64 on their way in each pair
  paced  the same at 1,500 a second: now every signal wakes the server for itself

The bare relay hands text from one websocket to another and knows nothing else: same library, same runtime.
It has no rooms; for a join, the newcomer has a connection of its own for every member, and each sends one frame back.
Of two nodes, memory and CPU are those of both together; whoever sends is on another node than the recipient.
CPU per signal is the figure to trust on a machine that does other things meanwhile.

Examples:
  cargo xtask bench signaller
  cargo xtask bench signaller --only relay --rounds 5
  cargo xtask bench signaller --json > now.json
  RTC_CAFE_BIN=./rtc-cafe cargo xtask bench signaller
      Measures another binary instead of the one of this tree, to compare two versions.")]
pub(crate) struct Options {
    /// Connections that are held at the same time
    #[arg(long, default_value_t = 2000, value_name = "NUMBER", value_parser = bounded(100, 20_000))]
    pub(crate) connections: usize,

    /// Signals that are relayed as fast as they come through; more in one go would meet the server's rate limit
    #[arg(long, default_value_t = 200_000, value_name = "NUMBER", value_parser = bounded(1000, 300_000))]
    pub(crate) messages: usize,

    /// Rooms that are filled for the times, and as many for the rate
    #[arg(long, default_value_t = 100, value_name = "NUMBER", value_parser = bounded(16, 1000))]
    pub(crate) rooms: usize,

    /// Only this; repeat it for several
    #[arg(long, value_name = "WHAT")]
    only: Vec<Scenario>,

    /// How often everything is measured; the medians are shown
    #[arg(long, default_value_t = 3, value_name = "NUMBER", value_parser = bounded(1, 25))]
    pub(crate) rounds: usize,

    /// Prints JSON instead of the table, with the values of every round
    #[arg(long)]
    json: bool,
}

pub(crate) fn bounded(least: usize, most: usize) -> impl Fn(&str) -> Result<usize, String> + Clone {
    move |text| match text.replace(['_', ','], "").parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("a number from {least} to {most} is needed")),
    }
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    if cfg!(debug_assertions) {
        eprintln!("bench: this is a debug build; only `cargo xtask bench` measures what counts");
    }
    // For each room eight clients, twice as many rooms; at the relay two for each of seven pairs.
    let open = options.connections.max(options.rooms * 28);
    raise_open_files(open as u64 + 256)?;
    let programs = Programs::find()?;
    // One thread for the load leaves the other cores to the server.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let start = Instant::now();
    let measured = runtime.block_on(async {
        tokio::select! {
            measured = measure(options, &programs) => measured,
            _ = interrupted() => bail!("interrupted"),
        }
    })?;
    let [ours, relay, nodes] = &measured;
    let mut others = vec![Other { name: "bare relay", key: "relay", samples: relay }];
    if has_redis() {
        others.push(Other { name: "two nodes", key: "nodes", samples: nodes });
    } else {
        eprintln!("bench: two nodes are left out, for there is no redis-server");
    }
    let report = Report {
        title: "The signaller beside a bare websocket relay",
        conditions: format!("{} connections, loopback", grouped(options.connections as f64, 0)),
        rounds: options.rounds,
        ours,
        others,
        notes: "Ratio: what ours costs in terms of the other; for rates, how many times as fast the other is.".into(),
    };
    report.print(options.json, start.elapsed());
    Ok(())
}

/// Ends when it is time to go; the servers go first.
pub(crate) async fn interrupted() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}

/// The samples of each target.
async fn measure(options: &Options, programs: &Programs) -> anyhow::Result<[Samples; 3]> {
    let mut samples = [Samples::default(), Samples::default(), Samples::default()];
    let targets = Target::ALL.into_iter().filter(|target| *target != Target::Nodes || has_redis());
    for round in 1..=options.rounds {
        for scenario in Scenario::ALL.into_iter().filter(|it| options.only.is_empty() || options.only.contains(it)) {
            for (target, samples) in targets.clone().zip(&mut samples) {
                eprintln!("round {round} of {}: {} of the {}", options.rounds, scenario.name(), target.name());
                let server = Server::start(target, programs).await?;
                scenario.run(&server, options, samples).await?;
                server.stop().await?;
            }
        }
    }
    Ok(samples)
}
