//! `connect`: round trips from joining a room until the first messages, between hosts that are far from each other.

use std::{collections::BTreeMap, process::Stdio, time::Duration, time::Instant};

use anyhow::{Context, bail};

use crate::{
    metric::{About, Measured, Samples, cost},
    process::{Programs, last_line_of, script},
    report::{Other, Report},
    signaller::{bounded, interrupted},
};

/// It never takes longer, whatever happens.
const LONGEST: Duration = Duration::from_secs(900);

/// Measures how long it takes to get into a conversation, in round trips
///
/// Server, members and newcomer are on hosts of their own in network namespaces, 50 ms from each other, which needs Linux,
/// iproute2, and the right to make namespaces. The members are in the room and idle; then one more joins. It is counted
/// until everybody has got the first message of the newcomer, and the newcomer has got the first of everybody. A run takes
/// about three minutes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
What is done:
  cold   the newcomer has no connection to the server yet; its page and WebAssembly are loaded, its process runs
  warm   it is connected to the server, and joins the room
In a room of 2 there is one member, in a room of 8 there are seven, all on one host.

Examples:
  cargo xtask bench connect
  cargo xtask bench connect --runs 10 --json > now.json")]
pub(crate) struct Options {
    /// How often each way of joining is measured; the medians are shown
    #[arg(long, default_value_t = 5, value_name = "NUMBER", value_parser = bounded(1, 100))]
    runs: usize,

    /// Prints JSON instead of the table, with the values of every run
    #[arg(long)]
    json: bool,
}

/// Round trips of one way to join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Metric {
    pair: Pair,
    start: Start,
    /// People in the room, the newcomer included.
    room: u32,
}

/// Who is in the room, and who joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Pair {
    Browsers,
    Natives,
    NativeJoinsBrowsers,
    BrowserJoinsNatives,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Start {
    Cold,
    Warm,
}

const PAIRS: [Pair; 4] = [Pair::Browsers, Pair::Natives, Pair::NativeJoinsBrowsers, Pair::BrowserJoinsNatives];

impl Measured for Metric {
    const ALL: &'static [Self] = &{
        let mut all = [Self { pair: Pair::Browsers, start: Start::Cold, room: 2 }; 16];
        let mut at = 0;
        while at < all.len() {
            let start = if at / 2 % 2 == 0 { Start::Cold } else { Start::Warm };
            all[at] = Self { pair: PAIRS[at / 4], start, room: if at % 2 == 0 { 2 } else { 8 } };
            at += 1;
        }
        all
    };

    fn about(self) -> About {
        let Self { pair, start, room } = self;
        let (members, newcomer, title) = match pair {
            Pair::Browsers => ("browser", "browser", "a browser joins a browser"),
            Pair::Natives => ("native", "native", "a native joins a native"),
            Pair::NativeJoinsBrowsers => ("browser", "native", "a native joins a browser"),
            Pair::BrowserJoinsNatives => ("native", "browser", "a browser joins a native"),
        };
        let start = if start == Start::Cold { "cold" } else { "warm" };
        let title = match room {
            2 => format!("{title}, {start}"),
            _ => format!("  or {} of them", room - 1),
        };
        cost(format!("{members}_{newcomer}_{start}_{room}"), title, "RTT", 1).within(self.goal())
    }

    fn hint(self) -> Option<&'static str> {
        None
    }
}

impl Metric {
    /// What we allow ourselves. A browser at one end decides for both.
    fn goal(self) -> f64 {
        match (self.pair, self.start) {
            (Pair::Natives, Start::Cold) => 6.2,
            (Pair::Natives, Start::Warm) => 4.2,
            (_, Start::Cold) => 8.0,
            (_, Start::Warm) => 6.0,
        }
    }

    /// As fast as it went in an experiment without a product around it.
    fn floor(self) -> Option<f64> {
        match (self.pair, self.start) {
            (Pair::Browsers, Start::Cold) => Some(7.9),
            (Pair::Browsers, Start::Warm) => Some(5.8),
            (Pair::Natives, Start::Cold) => Some(6.1),
            (Pair::Natives, Start::Warm) => Some(4.1),
            _ => None,
        }
    }

    /// PeerJS 1.5 in browsers, matchbox 0.15 natively, which knows no warm start.
    fn rival(self) -> Option<f64> {
        match (self.pair, self.start) {
            (Pair::Browsers, Start::Cold) => Some(10.4),
            (Pair::Browsers, Start::Warm) => Some(6.3),
            (Pair::Natives, Start::Cold) => Some(16.2),
            _ => None,
        }
    }

    /// Known values as samples, for rooms of two: of others there are no more.
    fn samples(known: fn(Self) -> Option<f64>) -> Samples<Self> {
        let mut samples = Samples::default();
        for &metric in Self::ALL.iter().filter(|metric| metric.room == 2) {
            if let Some(value) = known(metric) {
                samples.add(metric, value);
            }
        }
        samples
    }
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let programs = Programs::find()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let start = Instant::now();
    let values = runtime.block_on(async {
        tokio::select! {
            values = measure(options.runs, &programs) => values,
            _ = interrupted() => bail!("interrupted"),
        }
    })?;
    let mut ours = Samples::default();
    for &metric in Metric::ALL {
        for &value in values.get(&metric.about().key).into_iter().flatten() {
            ours.add(metric, value);
        }
    }
    let (floor, rival) = (Metric::samples(Metric::floor), Metric::samples(Metric::rival));
    let report = Report {
        title: "Round trips from joining until both have the other's first message",
        conditions: "50 ms each way between all hosts, and no ICE servers".into(),
        rounds: options.runs,
        ours: &ours,
        others: vec![
            Other { name: "floor", key: "floor", samples: &floor },
            Other { name: "PeerJS, matchbox", key: "rival", samples: &rival },
        ],
        notes: String::from(
            "Floor: the fastest that was seen of experiments with the same stacks. It, PeerJS (browsers) and matchbox \
             (natives) were measured on another day, in the same way. Between a browser and a native the goal is that \
             of browsers.",
        ),
    };
    report.print(options.json, start.elapsed());
    Ok(())
}

/// The round trips of every run, by the keys of the metrics.
async fn measure(runs: usize, programs: &Programs) -> anyhow::Result<BTreeMap<String, Vec<f64>>> {
    let mut command = script("connect.mjs")?;
    // It tells how far it is.
    command.arg(runs.to_string()).env("RTC_CAFE_BIN", &programs.signaller).stderr(Stdio::inherit());
    let line = last_line_of(&mut command, LONGEST).await.context("joins between network namespaces")?;
    serde_json::from_str(&line).context("what is printed are no values")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_join_is_there_once() {
        let keys: std::collections::BTreeSet<_> = Metric::ALL.iter().map(|metric| metric.about().key).collect();
        assert_eq!(keys.len(), 16);
        assert!(keys.contains("browser_native_warm_8"));
    }
}
