//! Connections that do nothing: how fast they come, and what each costs.

use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::sleep;

use crate::{
    client::Client,
    metric::{Metric, Samples},
    process::{Server, Target},
};

/// Connections that are there before the memory is first read, so that what a server needs once is not counted.
const WARM_UP: usize = 64;
/// Connections that are being opened at a time.
const AT_ONCE: usize = 32;
/// Until the server has come to rest.
const REST: Duration = Duration::from_millis(300);

pub(super) async fn run(server: &Server, connections: usize, samples: &mut Samples) -> anyhow::Result<()> {
    let _warm = open(server, 0..WARM_UP).await?;
    sleep(REST).await;
    let memory = server.memory()?;
    let start = Instant::now();
    let _held = open(server, WARM_UP..WARM_UP + connections).await?;
    let took = start.elapsed();
    sleep(REST).await;
    let connections = connections as f64;
    samples.add(Metric::Connects, connections / took.as_secs_f64());
    samples.add(Metric::Memory, (server.memory()? - memory) / connections);
    Ok(())
}

async fn open(server: &Server, numbers: std::ops::Range<usize>) -> anyhow::Result<Vec<Client>> {
    let one = |number: usize| async move {
        match server.target {
            Target::Signaller | Target::Nodes => Client::signaller(server.address(number)).await,
            // The halves of a pair come one after the other.
            Target::Relay => Client::relay(server.address(number), &(number / 2).to_string()).await,
        }
    };
    stream::iter(numbers).map(one).buffer_unordered(AT_ONCE).try_collect().await
}
