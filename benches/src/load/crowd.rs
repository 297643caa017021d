//! The crowd: connections that are held, half of them in rooms of 8, and that come and go.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use tokio::{
    sync::Semaphore,
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};

use super::dial::dial;
use crate::client::{Client, SentAway, join, response};

const ROOM: usize = 8;
/// Connections that are being opened at a time.
const AT_ONCE: usize = 64;
/// Who is not connected by then is harmed.
const PATIENCE: Duration = Duration::from_secs(20);
/// The crowd fills up at this rate at least.
const LEAST_RATE: usize = 50;

pub(super) struct Crowd {
    address: SocketAddr,
    /// The oldest first.
    members: VecDeque<(usize, AbortHandle)>,
    tasks: JoinSet<anyhow::Result<()>>,
    opened: Arc<AtomicUsize>,
    opening: Arc<Semaphore>,
}

impl Crowd {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            members: VecDeque::new(),
            tasks: JoinSet::new(),
            opened: Arc::default(),
            opening: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// Opens so many connections, and waits until they are all there.
    pub(super) async fn fill(&mut self, connections: usize) -> anyhow::Result<()> {
        let start = Instant::now();
        let longest = PATIENCE + Duration::from_secs((connections / LEAST_RATE) as u64);
        (0..connections).for_each(|number| self.add(number));
        while self.opened() < connections {
            self.check()?;
            if start.elapsed() > longest {
                bail!("only {} of {connections} connections were opened in {longest:?}", self.opened());
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Connections that there were.
    pub(super) fn opened(&self) -> usize {
        self.opened.load(Ordering::Relaxed)
    }

    /// Closes the oldest connection, and opens one in its place.
    pub(super) fn replace(&mut self) {
        if let Some((number, oldest)) = self.members.pop_front() {
            oldest.abort();
            self.add(number);
        }
    }

    /// Fails if the server has let a member down.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        while let Some(ended) = self.tasks.try_join_next() {
            match ended {
                Ok(ended) => ended.context("a member of the crowd was let down")?,
                Err(error) if error.is_cancelled() => {}
                Err(error) => return Err(error).context("a task of the load generator panicked"),
            }
        }
        Ok(())
    }

    /// Waits until all have ended, and says when each was sent away. Fails if anybody was cut off instead.
    pub(super) async fn sent_away(&mut self) -> anyhow::Result<Vec<Instant>> {
        let (mut told, mut cut) = (Vec::new(), Vec::new());
        while let Some(ended) = self.tasks.join_next().await {
            match ended {
                Ok(Err(error)) if error.is::<SentAway>() => told.push(Instant::now()),
                Ok(ended) => cut.extend(ended.err()),
                Err(error) if error.is_cancelled() => {}
                Err(error) => return Err(error).context("a task of the load generator panicked"),
            }
        }
        let count = cut.len();
        match cut.pop() {
            Some(error) => Err(error).with_context(|| format!("{count} were cut off without having been told")),
            None => Ok(told),
        }
    }

    fn add(&mut self, number: usize) {
        let (address, opened, opening) = (self.address, self.opened.clone(), self.opening.clone());
        let member = self.tasks.spawn(async move {
            let room = (number.is_multiple_of(2)).then(|| format!("crowd-{}", number / 2 / ROOM));
            let permit = opening.acquire().await?;
            let open = async {
                let mut client = Client::signaller_on(dial(address).await?, address).await?;
                if let Some(room) = &room {
                    client.send(&join(room)).await?;
                }
                anyhow::Ok(client)
            };
            let client = timeout(PATIENCE, open).await.with_context(|| format!("not connected in {PATIENCE:?}"))??;
            drop(permit);
            opened.fetch_add(1, Ordering::Relaxed);
            stay(client, room.as_deref().unwrap_or_default()).await
        });
        self.members.push_back((number, member));
    }
}

/// Answers newcomers until the end.
async fn stay(mut client: Client, room: &str) -> anyhow::Result<()> {
    loop {
        let text = match client.receive().await {
            // Whoever asked may be gone before the answer is there.
            Err(error) if error.to_string().contains("recipient-not-found") => continue,
            text => text?,
        };
        if text.starts_with(r#"42/rtc-cafe,["acquire-peers","#) {
            client.send(&response(&text, room)?).await?;
        }
    }
}
