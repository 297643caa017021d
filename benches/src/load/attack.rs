//! Those who mean no good: what each attack does, for how long, and how often it was done.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::ensure;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};

mod flood;
mod malformed;
mod raw;
mod size;
mod slow;

/// An attacker who fails tries again after this time.
const AGAIN: Duration = Duration::from_millis(2);
/// Malformed frames are taken at this rate at least, all together.
const LEAST_RATE: u64 = 1000;

/// An attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Attack {
    /// Sessions by polling, opened without end and left behind
    Polling,
    /// Members of a busy room who never read
    SlowReaders,
    /// Who asks for pages, one after the other, and never reads one
    Pages,
    /// Requests, handshakes, frames and bodies that come a byte a second
    Slowloris,
    /// Connections that are opened and closed as fast as possible
    Flood,
    /// Websockets that never enter a namespace
    Silent,
    /// Frames, messages and bodies that are too large
    Huge,
    /// Text that is not UTF-8
    InvalidUtf8,
    /// Mutations of what fuzzing begins from, by the million
    Malformed,
}

/// How much of an attack there is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    pub(super) time: Duration,
    /// Of malformed frames.
    pub(super) frames: u64,
    pub(super) seed: u64,
}

/// One of many who do the same.
#[derive(Debug, Clone)]
struct Attacker {
    address: SocketAddr,
    done: Arc<AtomicU64>,
}

impl Attacker {
    /// It was done once more, or so many times.
    fn count(&self, times: u64) {
        self.done.fetch_add(times, Ordering::Relaxed);
    }
}

impl Attack {
    pub(super) const ALL: [Self; 9] = [
        Self::Polling,
        Self::SlowReaders,
        Self::Pages,
        Self::Slowloris,
        Self::Flood,
        Self::Silent,
        Self::Huge,
        Self::InvalidUtf8,
        Self::Malformed,
    ];

    /// Attacks, leaves, and says how often it was done.
    pub(super) async fn run(self, address: SocketAddr, extent: Extent) -> anyhow::Result<u64> {
        let attacker = Attacker { address, done: Arc::default() };
        let done = attacker.done.clone();
        let until = Instant::now() + extent.time;
        match self {
            Self::Polling => repeat(16, until, attacker, flood::poll).await,
            Self::SlowReaders => repeat(16, until, attacker, slow::never_read).await,
            Self::Pages => repeat(200, until, attacker, slow::never_read_pages).await,
            Self::Slowloris => repeat(500, until, attacker, slow::trickle).await,
            Self::Flood => repeat(64, until, attacker, flood::open_and_close).await,
            Self::Silent => repeat(1000, until, attacker, flood::say_nothing).await,
            Self::Huge => repeat(32, until, attacker, size::huge).await,
            Self::InvalidUtf8 => repeat(32, until, attacker, size::invalid_utf8).await,
            Self::Malformed => {
                let until = Instant::now() + Duration::from_secs(60 + extent.frames / LEAST_RATE);
                let supply = Arc::new(malformed::Supply::new(extent.frames, extent.seed));
                let send = move |attacker| malformed::send(attacker, supply.clone());
                repeat(16, until, attacker, send).await;
                let done = done.load(Ordering::Relaxed);
                ensure!(done >= extent.frames, "only {done} of {} malformed frames were taken", extent.frames);
            }
        }
        let done = done.load(Ordering::Relaxed);
        ensure!(done > 0, "nothing came of the attack: {}", self.title());
        Ok(done)
    }

    pub(super) const fn key(self) -> &'static str {
        match self {
            Self::Polling => "polling",
            Self::SlowReaders => "slow_readers",
            Self::Pages => "slow_page_readers",
            Self::Slowloris => "slowloris",
            Self::Flood => "flood",
            Self::Silent => "silent",
            Self::Huge => "huge",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::Malformed => "malformed",
        }
    }

    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Polling => "polling sessions without end",
            Self::SlowReaders => "slow readers in a busy room",
            Self::Pages => "slow readers of pages",
            Self::Slowloris => "slowloris",
            Self::Flood => "flood of connections",
            Self::Silent => "websockets that say nothing",
            Self::Huge => "huge frames and bodies",
            Self::InvalidUtf8 => "text that is not UTF-8",
            Self::Malformed => "malformed frames",
        }
    }

    /// What is counted.
    pub(super) const fn done(self) -> &'static str {
        match self {
            Self::Polling => "sessions opened",
            Self::SlowReaders => "signals to who does not read",
            Self::Pages => "pages asked for",
            Self::Slowloris => "bytes that came alone",
            Self::Flood | Self::Silent => "connections opened",
            Self::Huge | Self::InvalidUtf8 => "attempts",
            Self::Malformed => "frames taken",
        }
    }
}

/// Whether an attacker goes on.
enum Next {
    Again,
    Stop,
}

/// Lets so many attackers do the same again and again until the time has come, which cuts their connections.
async fn repeat<Once>(
    attackers: usize,
    until: Instant,
    attacker: Attacker,
    once: impl Fn(Attacker) -> Once + Clone + Send + 'static,
) where
    Once: Future<Output = io::Result<Next>> + Send + 'static,
{
    let lane = || {
        let (attacker, once) = (attacker.clone(), once.clone());
        async move {
            while let Ok(ended) = timeout_at(until, once(attacker.clone())).await {
                match ended {
                    Ok(Next::Again) => {}
                    Ok(Next::Stop) => return,
                    // Being cut off is what is to be expected.
                    Err(_) => sleep(AGAIN).await,
                }
            }
        }
    };
    let mut lanes: JoinSet<_> = (0..attackers).map(|_| lane()).collect();
    while lanes.join_next().await.is_some() {}
}
