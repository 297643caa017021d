//! Clients in one process that are all connected to each other: how long that takes, and what an end costs.

use std::time::{Duration, Instant};

use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    bare,
    metric::{Metric, OfMesh},
    part::{Peer, REST, Values},
};
use crate::process::Process;

/// How long the idle mesh is watched.
const IDLE: Duration = Duration::from_secs(3);
/// For a mesh to be complete.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a mesh has cost, as far as it has got.
struct Cost {
    clients: u32,
    ends: f64,
    memory: f64,
    values: Values,
}

impl Cost {
    /// Begins, before there is anything.
    fn begin(clients: u32) -> anyhow::Result<Self> {
        let ends = f64::from(clients * (clients - 1));
        Ok(Self { clients, ends, memory: Process::own().memory()?, values: Values::new() })
    }

    fn add(&mut self, of: OfMesh, value: f64) {
        self.values.push((Metric::Mesh(self.clients, of), value));
    }

    /// The mesh is complete; now it is watched.
    async fn complete(mut self, took: Duration, cpu: f64) -> anyhow::Result<Values> {
        self.add(OfMesh::Time, took.as_secs_f64());
        self.add(OfMesh::SetUpCpu, cpu * 1e3 / self.ends);
        sleep(REST).await;
        let (start, before) = (Instant::now(), Process::own().cpu()?);
        sleep(IDLE).await;
        let cpu = (Process::own().cpu()? - before).total;
        self.add(OfMesh::IdleCpu, 100.0 * cpu / start.elapsed().as_secs_f64() / self.ends);
        let memory = Process::own().memory()? - self.memory;
        self.add(OfMesh::Memory, memory / self.ends);
        Ok(self.values)
    }
}

/// Joins a room with so many clients; the memory of the clients themselves counts, too.
pub(super) async fn ours(server: &str, clients: u32) -> anyhow::Result<Values> {
    drop(join(connect(server, 2).await?).await?);
    sleep(REST).await;
    let cost = Cost::begin(clients)?;
    let peers = connect(server, clients).await?;
    let (start, before) = (Instant::now(), Process::own().cpu()?);
    let _peers = timeout(PATIENCE, join(peers)).await??;
    let (took, cpu) = (start.elapsed(), Process::own().cpu()? - before);
    cost.complete(took, cpu.total).await
}

async fn connect(server: &str, clients: u32) -> anyhow::Result<Vec<Peer>> {
    let mut peers = Vec::new();
    for _ in 0..clients {
        peers.push(Peer::connect(server).await?);
    }
    Ok(peers)
}

/// Joins everybody to a room, and waits until everybody is connected to everybody.
async fn join(mut peers: Vec<Peer>) -> anyhow::Result<Vec<Peer>> {
    let room = format!("mesh-{}-{}", std::process::id(), peers.len());
    for peer in &peers {
        peer.client.join_room(room.as_str())?;
    }
    let others = peers.len() - 1;
    for peer in &mut peers {
        for _ in 0..others {
            peer.connected().await?;
        }
    }
    Ok(peers)
}

/// As many connections between bare ends.
pub(super) async fn bare(clients: u32) -> anyhow::Result<Values> {
    let mut warm = JoinSet::new();
    pairs(2, &mut warm).await?;
    warm.shutdown().await;
    sleep(REST).await;
    let cost = Cost::begin(clients)?;
    let (start, before) = (Instant::now(), Process::own().cpu()?);
    let mut ends = JoinSet::new();
    timeout(PATIENCE, pairs(clients, &mut ends)).await??;
    let (took, cpu) = (start.elapsed(), Process::own().cpu()? - before);
    cost.complete(took, cpu.total).await
}

/// Connects all pairs of clients; the ends live as long as their tasks.
async fn pairs(clients: u32, ends: &mut JoinSet<anyhow::Result<()>>) -> anyhow::Result<()> {
    let certificates = (0..clients).map(|_| bare::certificate()).collect::<anyhow::Result<Vec<_>>>()?;
    let (opened, mut open) = mpsc::unbounded_channel();
    for (number, one) in certificates.iter().enumerate() {
        for two in &certificates[..number] {
            for mut end in bare::pair([bare::socket()?, bare::socket()?], [one, two])? {
                let opened = opened.clone();
                ends.spawn(async move {
                    opened.send(end.open().await).ok();
                    loop {
                        end.next().await?;
                    }
                });
            }
        }
    }
    for _ in 0..clients * (clients - 1) {
        open.recv().await.transpose()?;
    }
    Ok(())
}
