//! Honest pairs: they signal to each other all the time, and say how long that takes.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use tokio::{
    sync::oneshot,
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};

use crate::client::Pair;

/// How often each pair exchanges signals.
const PERIOD: Duration = Duration::from_millis(50);
/// Who has no answer for so long is harmed.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the pairs found.
#[derive(Debug, Default)]
struct Found {
    /// Round trips in milliseconds.
    trips: Vec<f64>,
    /// What became of those who were harmed.
    harmed: Vec<String>,
}

/// Pairs on a thread of their own, so that nothing but the server keeps them waiting.
pub(super) struct Honest(Arc<Mutex<Found>>);

impl Honest {
    /// Opens the pairs, which go on for as long as this process does.
    pub(super) async fn start(address: SocketAddr, pairs: usize) -> anyhow::Result<Self> {
        let found: Arc<Mutex<Found>> = Arc::default();
        let (ready, opened) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let shared = found.clone();
        thread::spawn(move || runtime.block_on(talk(address, pairs, shared, ready)));
        opened.await.context("the thread of the honest pairs has ended")??;
        Ok(Self(found))
    }

    /// The round trips since the last time.
    pub(super) fn trips(&self) -> Vec<f64> {
        std::mem::take(&mut lock(&self.0).trips)
    }

    /// Who was harmed since the last time.
    pub(super) fn harmed(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.0).harmed)
    }
}

fn lock(found: &Mutex<Found>) -> std::sync::MutexGuard<'_, Found> {
    found.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn talk(address: SocketAddr, pairs: usize, found: Arc<Mutex<Found>>, ready: oneshot::Sender<anyhow::Result<()>>) {
    let mut opened = Vec::new();
    for number in 0..pairs {
        match Pair::signaller([address; 2], &format!("honest-{number}")).await {
            Ok(pair) => opened.push(pair),
            Err(error) => return drop(ready.send(Err(error.context("an honest pair cannot connect")))),
        }
    }
    let _ = ready.send(Ok(()));
    let mut tasks: JoinSet<_> = opened
        .into_iter()
        .enumerate()
        .map(|(number, pair)| {
            let found = found.clone();
            async move {
                if let Err(error) = exchange(pair, &found).await {
                    lock(&found).harmed.push(format!("honest pair {number}: {error:#}"));
                }
            }
        })
        .collect();
    while tasks.join_next().await.is_some() {}
}

/// Sends a signal, has it answered by another, and waits for the next time.
async fn exchange(
    Pair { ends: [(mut one, to_two), (mut two, to_one)] }: Pair,
    found: &Mutex<Found>,
) -> anyhow::Result<()> {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let start = Instant::now();
        let trip = async {
            one.send_all(&to_two, 1).await?;
            two.expect(r#"42/rtc-cafe,["candidate","#).await?;
            two.send_all(&to_one, 1).await?;
            one.expect(r#"42/rtc-cafe,["candidate","#).await
        };
        timeout(PATIENCE, trip).await.with_context(|| format!("no answer in {PATIENCE:?}"))??;
        lock(found).trips.push(start.elapsed().as_secs_f64() * 1e3);
    }
}
