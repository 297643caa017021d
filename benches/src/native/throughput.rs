//! Messages from one end to another, as fast as they go.

use std::time::{Duration, Instant};

use anyhow::Context;
use rtc_cafe_client::{Client, Event, Limits};
use str0m::Event as RtcEvent;
use tokio::time::timeout;

use super::{
    bare,
    metric::{Metric, OfThroughput},
    part::{Peer, Values},
};
use crate::process::{Cpu, Process};

/// Until buffers and windows are as they stay.
const WARM_UP: Duration = Duration::from_millis(500);
/// How long it is watched.
pub(super) const WATCH: Duration = Duration::from_millis(1500);
/// What the sender may have waiting, so that it does no work ahead that is not measured.
const OUTGOING: usize = 1 << 20;

/// Counts what arrives.
struct Count {
    begun: Instant,
    since: Option<(Instant, Cpu)>,
    messages: usize,
}

impl Count {
    fn new() -> Self {
        Self { begun: Instant::now(), since: None, messages: 0 }
    }

    /// A message has come; the values, when it was watched for long enough.
    fn message(&mut self, bytes: u32) -> anyhow::Result<Option<Values>> {
        self.messages += 1;
        let Some((since, before)) = self.since else {
            if self.begun.elapsed() >= WARM_UP {
                self.since = Some((Instant::now(), Process::own().cpu()?));
                self.messages = 0;
            }
            return Ok(None);
        };
        let took = since.elapsed();
        if took < WATCH {
            return Ok(None);
        }
        let cpu = Process::own().cpu()? - before;
        let messages = self.messages as f64;
        let megabytes = messages * f64::from(bytes) / 1e6;
        let value = |of, value| (Metric::Throughput(bytes, of), value);
        Ok(Some(vec![
            value(OfThroughput::Bytes, megabytes / took.as_secs_f64()),
            value(OfThroughput::Messages, messages / took.as_secs_f64()),
            value(OfThroughput::Cpu, cpu.total / (megabytes / 1e3)),
        ]))
    }
}

/// The JSON of a message of so many bytes is a text.
fn text(bytes: u32) -> String {
    "x".repeat(bytes as usize - 2)
}

pub(super) async fn ours(server: &str, bytes: u32) -> anyhow::Result<Values> {
    let room = format!("throughput-{}", std::process::id());
    let mut limits = Limits::default();
    limits.outgoing_bytes = OUTGOING;
    let mut sender = Peer::build(Client::builder(server).limits(limits)).await?;
    let mut receiver = Peer::connect(server).await?;
    sender.client.join_room(room.as_str())?;
    receiver.client.join_room(room.as_str())?;
    tokio::try_join!(sender.connected(), receiver.connected())?;
    let sending = sender.client.clone();
    let sending = tokio::spawn(async move {
        let text = text(bytes);
        while sending.send_message(&text).await.is_ok() {}
    });
    let mut count = Count::new();
    let values = loop {
        let event = receiver.events.recv().await.context("the client is closed")?;
        if let Event::Message { message, .. } = event {
            // As the page does for its application.
            let text: String = message.parse()?;
            anyhow::ensure!(text.len() + 2 == bytes as usize, "a message has not its length");
            if let Some(values) = count.message(bytes)? {
                break values;
            }
        }
    };
    sending.abort();
    Ok(values)
}

pub(super) async fn bare(bytes: u32) -> anyhow::Result<Values> {
    let (one, two) = (bare::certificate()?, bare::certificate()?);
    let [mut sender, mut receiver] = bare::pair([bare::socket()?, bare::socket()?], [&one, &two])?;
    let sending = tokio::spawn(async move {
        sender.open().await?;
        sender.send(&"x".repeat(bytes as usize), Limits::default().low_water).await
    });
    timeout(Duration::from_secs(5), receiver.open()).await??;
    let mut count = Count::new();
    let values = loop {
        if let RtcEvent::ChannelData(data) = receiver.next().await? {
            anyhow::ensure!(data.data.len() == bytes as usize, "a message has not its length");
            if let Some(values) = count.message(bytes)? {
                break values;
            }
        }
    };
    sending.abort();
    Ok(values)
}
