//! Connects the hub with the broker: what it publishes waits here, and what others publish is handed to it.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::{
    sync::{Notify, watch},
    task::yield_now,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};

use super::{envelope, shared::Shared};
use crate::{
    broker::{Batch, Broker, Connection, Publisher},
    hub::Topic,
};

/// Bytes that may wait for the broker. What does not fit is lost, which other nodes notice.
const MOST: usize = 32 * 1024 * 1024;
/// Frames, and topics, of one batch.
const BATCH: usize = 1024;
/// Frames that are handled before clients have their turn.
const AT_ONCE: usize = 64;
/// How long the broker may take for a batch.
const PATIENCE: Duration = Duration::from_secs(5);
/// Without anything to publish, the broker is asked this often whether it is there.
const IDLE: Duration = Duration::from_secs(5);
/// Pauses between attempts to connect.
const PAUSES: std::ops::Range<Duration> = Duration::from_millis(100)..Duration::from_secs(3);
/// A connection that lasted as long was no failure.
const STEADY: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_secs(1);

/// The prefix of all topics; the number is that of the format of frames.
const PREFIX: &str = "rtc-cafe:1:";

/// What waits for the broker.
#[derive(Debug)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Notify,
    up: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Topics with what is wanted last: to be subscribed to, or not.
    topics: BTreeMap<String, bool>,
    frames: VecDeque<(String, Bytes)>,
    bytes: usize,
    /// A batch is on its way.
    busy: bool,
    /// The frames in it.
    sent: usize,
    counts: Counts,
    /// Bytes that have come and are not handled yet.
    incoming: Arc<AtomicUsize>,
}

/// What went to the broker and came from it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) published: u64,
    pub(crate) received: u64,
    pub(crate) dropped: u64,
    pub(crate) lost_connections: u64,
    /// Bytes that wait for the broker.
    pub(crate) outgoing: usize,
    /// Bytes that came from it and wait for this node.
    pub(crate) incoming: usize,
}

impl Queue {
    pub(crate) fn new() -> Self {
        Self { waiting: Mutex::default(), changed: Notify::new(), up: watch::Sender::new(false) }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn counts(&self) -> Counts {
        let waiting = self.waiting();
        Counts { outgoing: waiting.bytes, incoming: waiting.incoming.load(Ordering::Relaxed), ..waiting.counts }
    }

    pub(crate) fn is_up(&self) -> bool {
        *self.up.borrow()
    }

    /// Waits until the broker is there.
    pub(crate) async fn connected(&self) {
        // The sender lives as long as this.
        let _ = self.up.subscribe().wait_for(|up| *up).await;
    }

    pub(super) fn subscribe(&self, topic: &Topic, wanted: bool) {
        if self.is_up() {
            self.waiting().topics.insert(name(topic), wanted);
            self.changed.notify_one();
        }
    }

    pub(super) fn publish(&self, topic: &Topic, frame: &str, attachments: &[Bytes]) {
        if !self.is_up() {
            return;
        }
        let sealed = envelope::seal(frame, attachments);
        let mut waiting = self.waiting();
        if waiting.bytes + sealed.len() > MOST {
            waiting.counts.dropped += 1;
            return;
        }
        waiting.bytes += sealed.len();
        waiting.frames.push_back((name(topic), sealed));
        drop(waiting);
        self.changed.notify_one();
    }

    /// The broker is there, and what comes from it is counted; or it is not.
    fn set_up(&self, incoming: Option<Arc<AtomicUsize>>) {
        let mut waiting = self.waiting();
        let (mut counts, up) = (waiting.counts, incoming.is_some());
        counts.dropped += (waiting.frames.len() + waiting.sent) as u64;
        *waiting = Waiting { counts, incoming: incoming.unwrap_or_default(), ..Waiting::default() };
        self.up.send_replace(up);
    }

    /// There is more to be had of the hub once all of this has gone.
    fn nudge(&self) {
        self.changed.notify_one();
    }

    /// The next batch, which is empty if nothing waits.
    fn take(&self) -> Batch {
        let mut waiting = self.waiting();
        let mut batch = Batch::default();
        while batch.subscribe.len() + batch.unsubscribe.len() < BATCH {
            let Some((topic, wanted)) = waiting.topics.pop_first() else { break };
            if wanted { batch.subscribe.push(topic) } else { batch.unsubscribe.push(topic) }
        }
        // What is published may be about any of the topics.
        if waiting.topics.is_empty() {
            let count = waiting.frames.len().min(BATCH);
            let frames: Vec<_> = waiting.frames.drain(..count).collect();
            waiting.bytes -= frames.iter().map(|(_, frame)| frame.len()).sum::<usize>();
            waiting.sent = count;
            waiting.busy = true;
            drop(waiting);
            batch.publish = envelope::pack(frames);
            waiting = self.waiting();
        }
        waiting.busy = batch != Batch::default();
        batch
    }

    /// The broker has taken the batch.
    fn taken(&self) {
        let mut waiting = self.waiting();
        waiting.counts.published += std::mem::take(&mut waiting.sent) as u64;
    }

    /// Waits until the broker has taken everything.
    pub(crate) async fn flushed(&self) {
        let is_done = || {
            let waiting = self.waiting();
            !self.is_up() || (!waiting.busy && waiting.frames.is_empty())
        };
        while !is_done() {
            sleep(Duration::from_millis(10)).await;
        }
    }
}

/// The name of a topic for a broker. Rooms are hashed: clients choose their names.
fn name(topic: &Topic) -> String {
    match topic {
        Topic::Node(node) => [PREFIX, "node:", node].concat(),
        Topic::Room(room) => {
            let hash = Sha256::digest(room.as_json());
            let hex = hash.iter().take(16).map(|byte| format!("{byte:02x}"));
            std::iter::once([PREFIX, "room:"].concat()).chain(hex).collect()
        }
    }
}

/// Keeps the connection to the broker until the server is no more.
pub(super) async fn run(broker: Arc<dyn Broker>, queue: Arc<Queue>, shared: Weak<Shared>) {
    let place = broker.name();
    let mut pause = PAUSES.start;
    let mut told = false;
    while shared.strong_count() > 0 {
        match timeout(2 * PATIENCE, broker.connect()).await {
            Ok(Ok(connection)) => {
                tracing::info!(broker = place, "connected to the broker");
                let since = Instant::now();
                let why = serve(connection, &queue, &shared).await;
                queue.set_up(None);
                told = false;
                if since.elapsed() > STEADY {
                    pause = PAUSES.start;
                }
                let Some(shared) = shared.upgrade() else { return };
                queue.waiting().counts.lost_connections += 1;
                tracing::warn!(broker = place, why, "lost the broker; until it is back, rooms end at this node");
                let (mut core, now) = shared.core();
                core.hub.handle_broker(now, false);
                core.deliver(now, &shared.counters);
            }
            failed => {
                let why =
                    failed.map_or_else(|_| "no answer".to_owned(), |it| it.map_or_else(|it| it.0, |_| String::new()));
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(
                        broker = place,
                        why,
                        "cannot reach the broker; rooms end at this node until it is there"
                    );
                }
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSES.end);
    }
}

/// Serves a connection until it ends; returns why.
async fn serve(connection: Connection, queue: &Arc<Queue>, shared: &Weak<Shared>) -> String {
    let Connection { mut publisher, mut frames } = connection;
    queue.set_up(Some(frames.gauge()));
    let announce = || {
        let shared = shared.upgrade()?;
        let (mut core, now) = shared.core();
        core.hub.handle_broker(now, true);
        core.deliver(now, &shared.counters);
        Some(())
    };
    if announce().is_none() {
        return String::new();
    }
    let receive = async {
        while let Some(parcel) = frames.next().await {
            let Some(shared) = shared.upgrade() else { return };
            let mut parcel = envelope::unpack(parcel);
            while handle(&mut parcel, queue, &shared) {
                yield_now().await;
            }
        }
    };
    tokio::select! {
        why = publish(&mut *publisher, queue, shared) => why,
        () = receive => "it closed the connection".to_owned(),
    }
}

/// Publishes what waits until that fails; returns why.
async fn publish(publisher: &mut dyn Publisher, queue: &Queue, shared: &Weak<Shared>) -> String {
    loop {
        let mut batch = queue.take();
        if batch == Batch::default() {
            tell_more(shared);
            batch = queue.take();
        }
        if batch == Batch::default() && timeout(IDLE, queue.changed.notified()).await.is_ok() {
            continue;
        }
        match timeout(PATIENCE, publisher.send(batch)).await {
            Ok(Ok(())) => queue.taken(),
            Ok(Err(error)) => return error.0,
            Err(_) => return "it does not answer".to_owned(),
        }
    }
}

/// Everything is published, so what the hub tells in pieces goes on.
fn tell_more(shared: &Weak<Shared>) {
    let Some(shared) = shared.upgrade() else { return };
    let (mut core, now) = shared.core();
    if core.hub.has_more() {
        core.hub.handle_flushed(now);
        core.deliver(now, &shared.counters);
    }
}

/// Hands some frames of a parcel to the hub; whether there may be more.
fn handle(parcel: &mut impl Iterator<Item = Option<envelope::Opened>>, queue: &Queue, shared: &Shared) -> bool {
    let (mut core, now) = shared.core();
    let mut count = 0;
    for opened in parcel.take(AT_ONCE) {
        count += 1;
        // What is no frame is counted there.
        let (frame, attachments) = opened.unwrap_or_default();
        core.hub.handle_frame(now, std::str::from_utf8(&frame).unwrap_or_default());
        core.deliver_with(now, &attachments, &shared.counters);
    }
    queue.waiting().counts.received += count as u64;
    if core.hub.has_more() {
        queue.nudge();
    }
    count == AT_ONCE
}

/// Tells the hub once a second that time goes by.
pub(super) async fn tick(shared: Weak<Shared>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(shared) = shared.upgrade() else { return };
        let (mut core, now) = shared.core();
        core.hub.handle_tick(now);
        core.deliver(now, &shared.counters);
        if let Some(queue) = shared.queue.as_ref().filter(|_| core.hub.has_more()) {
            queue.nudge();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::{BrokerError, BrokerFuture};

    /// Takes so many batches.
    struct Takes(usize);

    impl Publisher for Takes {
        fn send(&mut self, _: Batch) -> BrokerFuture<'_, ()> {
            let taken = self.0.checked_sub(1).ok_or_else(|| BrokerError("it is gone".to_owned()));
            Box::pin(async { taken.map(|left| self.0 = left) })
        }
    }

    #[tokio::test]
    async fn what_the_broker_did_not_take_is_counted_as_dropped() {
        let queue = Queue::new();
        queue.set_up(Some(Arc::default()));
        let topic = Topic::Node("n".into());
        for _ in 0..3 * BATCH {
            queue.publish(&topic, "frame", &[]);
        }
        assert_eq!(publish(&mut Takes(1), &queue, &Weak::new()).await, "it is gone");
        queue.set_up(None);
        let Counts { published, dropped, .. } = queue.counts();
        assert_eq!((published, dropped), (BATCH as u64, 2 * BATCH as u64));
    }
}
