//! Looks after the server under load: does it live, what does it log, how large is it, whom does it count.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process::ChildStderr,
    time::{sleep, timeout},
};

use crate::process::{Programs, Server};

/// What a panic says first.
const PANIC: &str = "panicked";
/// How long the server may take to say its metrics.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often an ending server is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// A server that is watched.
pub(super) struct Watched {
    pub(super) server: Server,
    panics: Arc<Mutex<Vec<String>>>,
}

impl Watched {
    /// Starts one that sends its clients away over so many seconds in the end.
    pub(super) async fn start(programs: &Programs, drain: usize) -> anyhow::Result<Self> {
        let (server, log) = Server::logged(programs, &["--drain", &format!("{drain}s")]).await?;
        let panics = Arc::default();
        tokio::spawn(listen(log, Arc::clone(&panics)));
        Ok(Self { server, panics })
    }

    /// Fails if the server has ended or panicked.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        self.check_log()?;
        self.server.check()
    }

    fn check_log(&self) -> anyhow::Result<()> {
        if let Some(panic) = self.panics.lock().unwrap_or_else(PoisonError::into_inner).first() {
            bail!("the server panicked: {panic}");
        }
        Ok(())
    }

    /// Asks the server to end, and waits so long until it has done so without failure. Says how long that took, and its
    /// most resident memory meanwhile in MB.
    pub(super) async fn end(&mut self, longest: Duration) -> anyhow::Result<(Duration, f64)> {
        let (start, mut peak) = (Instant::now(), self.memory()?);
        self.server.terminate()?;
        while !self.server.has_ended()? {
            ensure!(start.elapsed() < longest, "the server has not ended {longest:?} after SIGTERM");
            sleep(LOOK).await;
            // It has none when it has just ended.
            peak = peak.max(self.memory().unwrap_or_default());
        }
        let took = start.elapsed();
        self.check_log()?;
        Ok((took, peak))
    }

    /// Resident memory in MB.
    pub(super) fn memory(&self) -> anyhow::Result<f64> {
        Ok(self.server.memory()? / 1024.0)
    }

    /// The value of a metric without labels, as the server tells it.
    pub(super) async fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let text = timeout(PATIENCE, self.metrics()).await.context("the server does not say its metrics in time")??;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.with_context(|| format!("there is no metric {name}"))?.parse().context("a metric is no number")
    }

    async fn metrics(&self) -> anyhow::Result<String> {
        let mut stream = TcpStream::connect(self.server.address(0)).await?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        ensure!(text.starts_with("HTTP/1.1 200"), "the server does not say its metrics: {text:.100}");
        Ok(text)
    }
}

/// Reads the log to its end, passes it on, and keeps what is about panics.
async fn listen(log: ChildStderr, panics: Arc<Mutex<Vec<String>>>) {
    let mut lines = BufReader::new(log).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        let line = String::from_utf8_lossy(&line);
        eprintln!("server: {line}");
        if line.contains(PANIC) {
            panics.lock().unwrap_or_else(PoisonError::into_inner).push(line.into_owned());
        }
    }
}
