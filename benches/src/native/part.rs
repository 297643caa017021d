//! One part of the benchmark, as a process of its own measures it.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Context;
use rtc_cafe_client::{Client, Event, Events};

use super::{
    What, joins, mesh,
    metric::{MESHES, Metric, SIZES},
    throughput,
};
use crate::metric::Measured;

/// Until a process has come to rest.
pub(super) const REST: Duration = Duration::from_millis(500);

/// What is measured in one process.
#[derive(Debug, Clone, Copy, clap::Subcommand)]
pub(super) enum Part {
    Joins { number: usize },
    Mesh { clients: u32 },
    Throughput { bytes: u32 },
}

/// With what it is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Stack {
    Ours,
    Bare,
}

#[derive(Debug, clap::Args)]
pub(crate) struct PartOptions {
    #[command(subcommand)]
    part: Part,
    #[arg(long, global = true, default_value = "ours")]
    stack: Stack,
    #[arg(long, global = true, default_value = "http://127.0.0.1:8080")]
    server: String,
}

impl Part {
    pub(super) fn all(joins: usize) -> Vec<Self> {
        let mesh = MESHES.into_iter().map(|clients| Self::Mesh { clients });
        let throughput = SIZES.into_iter().map(|bytes| Self::Throughput { bytes });
        [Self::Joins { number: joins }].into_iter().chain(mesh).chain(throughput).collect()
    }

    pub(super) const fn what(self) -> What {
        match self {
            Self::Joins { .. } => What::Joins,
            Self::Mesh { .. } => What::Mesh,
            Self::Throughput { .. } => What::Throughput,
        }
    }

    pub(super) fn name(self) -> String {
        match self {
            Self::Joins { .. } => String::from("joins"),
            Self::Mesh { clients } => format!("a mesh of {clients}"),
            Self::Throughput { bytes } => format!("messages of {bytes} bytes"),
        }
    }

    pub(super) fn arguments(self) -> [String; 2] {
        match self {
            Self::Joins { number } => ["joins".into(), number.to_string()],
            Self::Mesh { clients } => ["mesh".into(), clients.to_string()],
            Self::Throughput { bytes } => ["throughput".into(), bytes.to_string()],
        }
    }
}

impl Stack {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Bare => "bare str0m",
        }
    }

    pub(super) const fn argument(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Bare => "bare",
        }
    }
}

/// What has been measured.
pub(super) type Values = Vec<(Metric, f64)>;

pub(crate) fn run(options: &PartOptions) -> anyhow::Result<()> {
    let PartOptions { part, stack, server } = options;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let values = runtime.block_on(async {
        match (part, stack) {
            (Part::Joins { number }, Stack::Ours) => joins::ours(server, *number).await,
            (Part::Joins { number }, Stack::Bare) => joins::bare(*number).await,
            (Part::Mesh { clients }, Stack::Ours) => mesh::ours(server, *clients).await,
            (Part::Mesh { clients }, Stack::Bare) => mesh::bare(*clients).await,
            (Part::Throughput { bytes }, Stack::Ours) => throughput::ours(server, *bytes).await,
            (Part::Throughput { bytes }, Stack::Bare) => throughput::bare(*bytes).await,
        }
    })?;
    let values: BTreeMap<_, _> = values.into_iter().map(|(metric, value)| (metric.about().key, value)).collect();
    println!("{}", serde_json::to_string(&values)?);
    Ok(())
}

/// A client of ours, and what it is told.
pub(super) struct Peer {
    pub(super) client: Client,
    pub(super) events: Events,
}

impl Peer {
    /// Connects to the signalling server.
    pub(super) async fn connect(server: &str) -> anyhow::Result<Self> {
        Self::build(Client::builder(server)).await
    }

    pub(super) async fn build(builder: rtc_cafe_client::Builder) -> anyhow::Result<Self> {
        let (client, events) = builder.connect()?;
        let mut peer = Self { client, events };
        peer.until(|event| matches!(event, Event::AcquireSid { .. })).await?;
        Ok(peer)
    }

    /// Waits until a peer is connected.
    pub(super) async fn connected(&mut self) -> anyhow::Result<()> {
        self.until(|event| matches!(event, Event::ConnectToPeer { .. })).await
    }

    /// Waits for such an event; an error is one.
    pub(super) async fn until(&mut self, is_it: impl Fn(&Event) -> bool) -> anyhow::Result<()> {
        loop {
            let event = self.events.recv().await.context("the client is closed")?;
            if let Event::Error { code, message, .. } = &event {
                anyhow::bail!("{code:?}: {message}");
            }
            if is_it(&event) {
                return Ok(());
            }
        }
    }
}
