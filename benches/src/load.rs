//! `load`: a server that is full, whose clients come and go, and that is attacked.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::{
    metric::{Samples, percentile},
    process::{Programs, raise_open_files},
    report::{Report, grouped},
    signaller::{bounded, interrupted},
};

mod attack;
mod crowd;
mod dial;
mod honest;
mod metric;
mod watch;

use attack::{Attack, Extent};
use crowd::Crowd;
use honest::Honest;
use metric::{GROWTH, Metric, Phase, What};
use watch::Watched;

/// How often the memory is read while the crowd is there.
const SAMPLE: Duration = Duration::from_secs(1);
/// Until the server is at rest.
const REST: Duration = Duration::from_secs(2);
/// The server forgets those who left without a word after 45 seconds.
const FORGET: Duration = Duration::from_secs(75);
/// Growth that is none, in MB: a small server is a few pages of the allocator.
const NOISE: f64 = 8.0;
/// How much longer than `--drain` the server may take to end, as `rtc-cafe serve --help` says.
const LONGER: Duration = Duration::from_secs(17);
/// Open files beside the crowd: attackers, honest pairs, those who are just leaving.
const OTHER_FILES: usize = 4000;

/// Fills the signalling server, lets its clients come and go, and attacks it
///
/// One server is a process of its own on loopback. From the beginning to the end honest pairs signal to each other 20
/// times a second, and it is measured how long that takes. It fails if the server ends or panics, if its memory grows
/// on and on, if an honest client is cut off or has no answer for 10 seconds, if somebody who has left is still counted, or
/// if it does not end well when it is asked to. A run takes about ten minutes, and two open files for each connection; see `ulimit -Hn`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
What is done, one after the other:
  alone    the honest pairs alone
  crowded  --connections more are opened, half of them in rooms of 8. Then for --seconds the oldest are closed and
           others opened in their places, --churn a second. The mean memory in the last fifth of that time may be 10 %
           more than in the second fifth: the first is for warming up.
  attacks  each for --attack-seconds, or with all --frames, while the crowd stays as it is
  after    the attackers are gone; within 75 seconds nobody but honest clients may be counted
  drained  SIGTERM: over --drain everybody of the crowd is to be told to come back later before the connection ends, and the
           server is to exit with 0 within 17 seconds more
Attacks are made in --rounds. An allocator keeps some of what was once needed, so the first round is for warming up. What
grows on and on is larger after every later one: after all of them the memory may be 10 % more than after the first, after
some of them even beyond that. Less than 8 MB are no growth.

The load generator needs as much of the processor as the server: where they have to share it, the round trips are those
of both. Compare those of the attacks with those of the honest pairs alone.

Examples:
  cargo xtask bench load
  cargo xtask bench load --connections 2000 --seconds 20 --frames 100000
      A short one.
  cargo xtask bench load --seconds 5 --only slowloris --attack-seconds 60
  RTC_CAFE_BIN=./rtc-cafe cargo xtask bench load --json > now.json
      Measures another binary instead of the one of this tree.")]
pub(crate) struct Options {
    /// Connections that are held
    #[arg(long, default_value_t = 10_000, value_name = "NUMBER", value_parser = bounded(100, 200_000))]
    connections: usize,

    /// Connections that are closed each second, and others opened
    #[arg(long, default_value_t = 200, value_name = "NUMBER", value_parser = bounded(1, 5000))]
    churn: usize,

    /// How long the crowd comes and goes
    #[arg(long, default_value_t = 300, value_name = "SECONDS", value_parser = bounded(5, 604_800))]
    seconds: usize,

    /// How long each attack takes
    #[arg(long, default_value_t = 10, value_name = "SECONDS", value_parser = bounded(1, 3600))]
    attack_seconds: usize,

    /// How often all the attacks are made
    #[arg(long, default_value_t = 3, value_name = "NUMBER", value_parser = bounded(1, 1000))]
    rounds: usize,

    /// Over how long the server sends its clients away in the end
    #[arg(long, default_value_t = 10, value_name = "SECONDS", value_parser = bounded(1, 3600))]
    drain: usize,

    /// Malformed frames in each round
    #[arg(long, default_value_t = 1_000_000, value_name = "NUMBER", value_parser = bounded(1000, 1_000_000_000))]
    frames: usize,

    /// Honest pairs
    #[arg(long, default_value_t = 32, value_name = "NUMBER", value_parser = bounded(1, 500))]
    pairs: usize,

    /// Decides how the malformed frames are malformed
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    seed: u64,

    /// Only this attack; repeat it for several
    #[arg(long, value_name = "ATTACK")]
    only: Vec<Attack>,

    /// Prints JSON instead of the table
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    if cfg!(debug_assertions) {
        eprintln!("bench: this is a debug build; only `cargo xtask bench` measures what counts");
    }
    raise_open_files((options.connections + OTHER_FILES) as u64)?;
    let programs = Programs::find()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let start = Instant::now();
    let (samples, findings) = runtime.block_on(async {
        let mut load = Load::start(options, &programs).await?;
        let whole = tokio::select! {
            whole = load.whole() => whole,
            _ = interrupted() => bail!("interrupted"),
        };
        // What was found until then is shown, too.
        let findings = load.findings.into_iter().chain(whole.err().map(|error| format!("{error:#}")));
        Ok((load.samples, findings.collect::<Vec<_>>()))
    })?;
    let crowd = grouped(options.connections as f64, 0);
    let report = Report {
        title: "The signaller under load",
        conditions: format!(
            "{crowd} connections, {} a second come and go, {} honest pairs",
            options.churn, options.pairs
        ),
        rounds: options.rounds,
        ours: &samples,
        others: Vec::new(),
        notes: "Round trip: a signal to the other of a pair, and its answer.".into(),
    };
    report.print(options.json, start.elapsed());
    if !findings.is_empty() {
        bail!("{}", findings.join("\nbench: "));
    }
    Ok(())
}

/// A run, and what it has found so far.
struct Load<'a> {
    options: &'a Options,
    watched: Watched,
    honest: Honest,
    crowd: Crowd,
    samples: Samples<Metric>,
    findings: Vec<String>,
}

impl<'a> Load<'a> {
    async fn start(options: &'a Options, programs: &Programs) -> anyhow::Result<Self> {
        let watched = Watched::start(programs, options.drain).await?;
        let address = watched.server.address(0);
        let honest = Honest::start(address, options.pairs).await?;
        let crowd = Crowd::new(address);
        Ok(Self { options, watched, honest, crowd, samples: Samples::default(), findings: Vec::new() })
    }

    /// Everything; an error is what makes going on useless.
    async fn whole(&mut self) -> anyhow::Result<()> {
        let alone = Duration::from_secs((self.options.seconds as u64 / 5).min(10));
        let wait = async |_: &mut Self| {
            sleep(alone).await;
            Ok(())
        };
        self.phase(Phase::Alone, wait).await?;
        let empty = self.watched.memory()?;
        eprintln!("bench: opens {} connections", self.options.connections);
        self.crowd.fill(self.options.connections).await?;
        self.phase(Phase::Crowded, async |load| load.churn().await).await?;
        sleep(REST).await;
        let before = self.watched.memory()?;
        let per_connection = (before - empty) * 1024.0 / self.options.connections as f64;
        self.samples.add(Metric(Phase::Crowded, What::PerConnection), per_connection);
        let mut memory = Vec::new();
        for round in 1..=self.options.rounds {
            eprintln!("bench: round {round} of {} of the attacks", self.options.rounds);
            for attack in Attack::ALL {
                if self.options.only.is_empty() || self.options.only.contains(&attack) {
                    self.phase(Phase::Attacked(attack), async |load| load.attack(attack).await).await?;
                }
            }
            self.phase(Phase::After, async |load| load.rest().await).await?;
            memory.push(self.watched.memory()?);
        }
        // What grows on and on is larger in every round.
        let least = memory[1..].iter().copied().fold(f64::INFINITY, f64::min);
        let growth = if least.is_finite() { (least / memory[0] - 1.0) * 100.0 } else { 0.0 };
        self.grown(Phase::After, growth, &memory);
        self.drain().await
    }

    /// Does something, and reads off what it does to the honest and to the server.
    async fn phase(
        &mut self,
        phase: Phase,
        what: impl AsyncFnOnce(&mut Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        eprintln!("bench: {}", phase.title());
        self.honest.trips();
        let (start, cpu) = (Instant::now(), self.watched.server.cpu()?);
        let done = what(self).await;
        // If the server is dead, this says so instead of what came of it.
        self.watched.check().with_context(|| phase.title())?;
        done.with_context(|| phase.title())?;
        self.crowd.check().with_context(|| phase.title())?;
        let harmed = self.honest.harmed();
        if !harmed.is_empty() {
            bail!("{}: {}", phase.title(), harmed.join("; "));
        }
        let cpu = self.watched.server.cpu()? - cpu;
        let trips = self.honest.trips();
        if trips.len() < self.options.pairs {
            let few = format!("{}: there were only {} round trips of honest pairs", phase.title(), trips.len());
            self.findings.push(few);
        }
        let mut add = |what, value| self.samples.add(Metric(phase, what), value);
        add(What::Cpu, cpu.total / start.elapsed().as_secs_f64());
        add(What::Memory, self.watched.memory()?);
        add(What::Longest, trips.iter().copied().fold(f64::NAN, f64::max));
        add(What::Slow, percentile(trips.clone(), 0.99));
        add(What::Typical, percentile(trips, 0.5));
        Ok(())
    }

    /// Notes by how many percent the memory has grown, and whether that is too much.
    fn grown(&mut self, phase: Phase, growth: f64, memory: &[f64]) {
        self.samples.add(Metric(phase, What::Growth), growth);
        let last = memory.last().copied().unwrap_or_default();
        if growth > GROWTH && last - last / (1.0 + growth / 100.0) > NOISE {
            let phase = phase.title();
            self.findings.push(format!("{phase}: the memory grows on and on, by {growth:.1} % ({memory:.0?} MB)"));
        }
    }

    /// Lets the crowd come and go.
    async fn churn(&mut self) -> anyhow::Result<()> {
        let (start, opened) = (Instant::now(), self.crowd.opened());
        let time = Duration::from_secs(self.options.seconds as u64);
        let mut ticks = interval(Duration::from_secs(1) / u32::try_from(self.options.churn)?);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut memory = vec![self.watched.memory()?];
        while start.elapsed() < time {
            ticks.tick().await;
            self.crowd.replace();
            if start.elapsed() > SAMPLE * memory.len() as u32 {
                memory.push(self.watched.memory()?);
                self.crowd.check()?;
                self.watched.check()?;
            }
        }
        self.grown(Phase::Crowded, growth(&memory), &memory);
        let churned = (self.crowd.opened() - opened) as f64 / start.elapsed().as_secs_f64();
        self.samples.add(Metric(Phase::Crowded, What::Churn), churned);
        if churned < 0.9 * self.options.churn as f64 {
            self.findings.push(format!("only {churned:.0} connections a second came and went"));
        }
        Ok(())
    }

    async fn attack(&mut self, attack: Attack) -> anyhow::Result<()> {
        let extent = Extent {
            time: Duration::from_secs(self.options.attack_seconds as u64),
            frames: self.options.frames as u64,
            seed: self.options.seed,
        };
        let start = Instant::now();
        let done = attack.run(self.watched.server.address(0), extent).await? as f64;
        self.samples.add(Metric(Phase::Attacked(attack), What::Done), done);
        self.samples.add(Metric(Phase::Attacked(attack), What::Rate), done / start.elapsed().as_secs_f64());
        Ok(())
    }

    /// Asks the server to end, which is to send everybody away before.
    async fn drain(&mut self) -> anyhow::Result<()> {
        eprintln!("bench: {}", Phase::Drained.title());
        let over = Duration::from_secs(self.options.drain as u64);
        let longest = over + LONGER;
        let (told, ended) = tokio::join!(timeout(longest, self.crowd.sent_away()), self.watched.end(longest));
        let ((took, peak), told) = (ended?, told.context("some connections did not end with the server")??);
        let spread = told.last().zip(told.first()).map_or(Duration::ZERO, |(last, first)| last.duration_since(*first));
        let mut add = |what, value| self.samples.add(Metric(Phase::Drained, what), value);
        add(What::Done, told.len() as f64);
        add(What::Ended, took.as_secs_f64());
        add(What::Spread, spread.as_secs_f64());
        add(What::Peak, peak);
        if told.len() != self.options.connections {
            self.findings.push(format!("only {} connections were sent away", told.len()));
        }
        if spread < over / 2 {
            self.findings.push(format!("the clients were sent away within {spread:.1?}, not over {over:?}"));
        }
        Ok(())
    }

    /// Waits until the attackers are forgotten.
    async fn rest(&mut self) -> anyhow::Result<()> {
        let honest = (self.options.connections + 2 * self.options.pairs) as f64;
        let start = Instant::now();
        let counted = loop {
            let connections = self.watched.metric("rtc_cafe_connections").await?;
            let sockets = self.watched.metric("rtc_cafe_sockets").await?;
            if (connections, sockets) == (honest, honest) || start.elapsed() > FORGET {
                break [connections, sockets];
            }
            self.watched.check()?;
            sleep(Duration::from_millis(200)).await;
        };
        if counted != [honest; 2] {
            let [connections, sockets] = counted;
            self.findings.push(format!("{connections} connections and {sockets} sockets are counted, not {honest}"));
        }
        sleep(REST).await;
        Ok(())
    }
}

/// How much the mean of the last fifth is above that of the second, in percent.
fn growth(memory: &[f64]) -> f64 {
    let fifth = (memory.len() / 5).max(1);
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    let second = &memory[fifth.min(memory.len() - 1)..(2 * fifth).min(memory.len())];
    (mean(&memory[memory.len() - fifth..]) / mean(second) - 1.0) * 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_that_after_warming_up() {
        let close = |memory: &[f64], expected: f64| (growth(memory) - expected).abs() < 1e-9;
        assert!(close(&[1.0, 1.0, 10.0, 10.0, 10.0, 10.0, 10.0, 10.0, 10.0, 10.0], 0.0));
        assert!(close(&[10.0, 10.0, 10.0, 10.0, 12.0, 12.0, 14.0, 14.0, 16.0, 14.0], 50.0));
        assert!(close(&[10.0, 10.0], 0.0));
    }
}
