//! What is done to a server, and what is read off meanwhile.

use std::{future::Future, time::Duration};

use anyhow::{Context, bail};
use tokio::{task::JoinSet, time::timeout};

use crate::{metric::Samples, process::Server, signaller::Options};

mod idle;
mod joins;
mod relay;

/// No scenario takes longer, whatever the server does.
const LONGEST: Duration = Duration::from_secs(90);

/// A scenario; each gets a server that has just been started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Scenario {
    /// Connections that do nothing
    Idle,
    /// Rooms that fill up
    Joins,
    /// Signals as fast as they come through
    Relay,
    /// Signals at a steady pace
    Paced,
}

impl Scenario {
    pub(crate) const ALL: [Self; 4] = [Self::Idle, Self::Joins, Self::Relay, Self::Paced];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle connections",
            Self::Joins => "joins",
            Self::Relay => "relay",
            Self::Paced => "paced relay",
        }
    }

    pub(crate) async fn run(self, server: &Server, options: &Options, samples: &mut Samples) -> anyhow::Result<()> {
        let run = async {
            match self {
                Self::Idle => idle::run(server, options.connections, samples).await,
                Self::Joins => joins::run(server, options.rooms, samples).await,
                Self::Relay => relay::burst(server, options.messages, samples).await,
                Self::Paced => relay::paced(server, samples).await,
            }
        };
        match timeout(LONGEST, run).await {
            Ok(result) => result.with_context(|| format!("{} of the {}", self.name(), server.target.name())),
            Err(_) => bail!("{} of the {} take more than {LONGEST:?}", self.name(), server.target.name()),
        }
    }
}

/// Runs the futures as tasks and gathers what they yield; the first error ends all.
async fn together<T: Send + 'static>(
    futures: impl IntoIterator<Item = impl Future<Output = anyhow::Result<T>> + Send + 'static>,
) -> anyhow::Result<Vec<T>> {
    let mut tasks: JoinSet<_> = futures.into_iter().collect();
    let mut all = Vec::with_capacity(tasks.len());
    while let Some(ended) = tasks.join_next().await {
        all.push(ended.context("a task of the load generator panicked")??);
    }
    Ok(all)
}
