//! Signals between pairs: how many come through, and what the server spends on them.

use std::time::{Duration, Instant};

use anyhow::bail;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::{MissedTickBehavior, interval_at, sleep};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::together;
use crate::{
    client::{Client, Pair},
    metric::{Metric, Samples},
    process::Server,
};

/// Pairs of clients; both ends send.
const PAIRS: usize = 32;
/// Signals of one end that are on their way at a time: 64 for each pair.
const WINDOW: usize = 32;
/// Signals per second, all clients together.
const PACE: usize = 1500;
const PACED_SECONDS: usize = 4;
/// Until the server has come to rest.
const REST: Duration = Duration::from_millis(100);

pub(super) async fn burst(server: &Server, messages: usize, samples: &mut Samples) -> anyhow::Result<()> {
    let ends = open(server).await?;
    let each = messages.div_ceil(ends.len());
    let messages = each * ends.len();
    let (before, redis) = (server.cpu()?, server.redis_cpu()?);
    let start = Instant::now();
    // Connections are closed after the measurement.
    let _ends = together(ends.into_iter().map(|(client, text)| exchange(client, text, each))).await?;
    let took = start.elapsed();
    let cpu = server.cpu()? - before;
    let per_100_000 = 1e5 / messages as f64;
    if let (Some(before), Some(now)) = (redis, server.redis_cpu()?) {
        samples.add(Metric::RelayRedis, (now - before).total * per_100_000);
    }
    samples.add(Metric::Relayed, messages as f64 / took.as_secs_f64());
    samples.add(Metric::RelayCpu, cpu.total * per_100_000);
    samples.add(Metric::RelayUser, cpu.user() * per_100_000);
    samples.add(Metric::RelayKernel, cpu.kernel() * per_100_000);
    Ok(())
}

pub(super) async fn paced(server: &Server, samples: &mut Samples) -> anyhow::Result<()> {
    let ends = open(server).await?;
    let each = PACE * PACED_SECONDS / ends.len();
    let messages = each * ends.len();
    let before = server.cpu()?;
    let start = Instant::now() + Duration::from_millis(5);
    let _ends = together(ends.into_iter().enumerate().map(|(number, (client, text))| {
        let start = start + Duration::from_secs(1) * u32::try_from(number).unwrap_or(0) / PACE as u32;
        trickle(client, text, each, start)
    }))
    .await?;
    let cpu = server.cpu()? - before;
    samples.add(Metric::PacedCpu, cpu.total * 1e5 / messages as f64);
    Ok(())
}

async fn open(server: &Server) -> anyhow::Result<Vec<(Client, Utf8Bytes)>> {
    let open = |number| Pair::open(server, format!("pair-{number}"));
    let pairs: Vec<_> = stream::iter(0..PAIRS).map(open).buffered(4).try_collect().await?;
    sleep(REST).await;
    Ok(pairs.into_iter().flat_map(|pair| pair.ends).collect())
}

/// Sends a window of signals, and then one for each that comes.
async fn exchange(mut client: Client, text: Utf8Bytes, count: usize) -> anyhow::Result<Client> {
    let mut sent = count.min(WINDOW);
    client.send_all(&text, sent).await?;
    let mut received = 0;
    while received < count {
        check(&client.receive().await?)?;
        let mut batch = 1;
        while let Some(text) = client.received() {
            check(&text?)?;
            batch += 1;
        }
        received += batch;
        let answers = batch.min(count - sent);
        client.send_all(&text, answers).await?;
        sent += answers;
    }
    Ok(client)
}

/// Sends a signal from time to time, and takes as many.
async fn trickle(mut client: Client, text: Utf8Bytes, count: usize, start: Instant) -> anyhow::Result<Client> {
    let period = Duration::from_secs(1) * (2 * PAIRS) as u32 / PACE as u32;
    let mut ticks = interval_at(start.into(), period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut sent, mut received) = (0, 0);
    while received < count || sent < count {
        tokio::select! {
            _ = ticks.tick(), if sent < count => {
                client.send_all(&text, 1).await?;
                sent += 1;
            }
            text = client.receive() => {
                check(&text?)?;
                received += 1;
            }
        }
    }
    Ok(client)
}

fn check(text: &str) -> anyhow::Result<()> {
    if !text.starts_with(r#"42/rtc-cafe,["candidate","#) {
        bail!("expected a candidate and got {text}");
    }
    Ok(())
}
