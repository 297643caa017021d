//! A broker within one process, for servers side by side and for tests.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Batch, Broker, BrokerError, BrokerFuture, Connection, Inbox, Publisher};

/// A broker in memory. Clones are the same broker.
#[derive(Debug, Clone, Default)]
pub struct MemoryBroker {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    down: bool,
    connections: u64,
    /// By the number of the connection.
    subscribers: BTreeMap<u64, (Inbox, BTreeSet<String>)>,
}

impl MemoryBroker {
    /// A broker without connections.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends all connections and takes no more, or takes them again.
    pub fn set_down(&self, down: bool) {
        let mut shared = self.shared();
        shared.down = down;
        if down {
            shared.subscribers.clear();
        }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Broker for MemoryBroker {
    fn name(&self) -> String {
        "the broker in memory".to_owned()
    }

    fn connect(&self) -> BrokerFuture<'_, Connection> {
        Box::pin(async {
            let (inbox, frames) = Inbox::new(Inbox::MOST);
            let mut shared = self.shared();
            if shared.down {
                return Err(away());
            }
            shared.connections += 1;
            let number = shared.connections;
            shared.subscribers.insert(number, (inbox, BTreeSet::new()));
            let publisher = Box::new(MemoryPublisher { broker: self.clone(), number });
            Ok(Connection { publisher, frames })
        })
    }
}

struct MemoryPublisher {
    broker: MemoryBroker,
    number: u64,
}

impl MemoryPublisher {
    fn do_all(&self, batch: Batch) -> Option<()> {
        let mut shared = self.broker.shared();
        let (_, topics) = shared.subscribers.get_mut(&self.number)?;
        topics.extend(batch.subscribe);
        topics.retain(|topic| !batch.unsubscribe.contains(topic));
        for (topic, frame) in batch.publish {
            shared.subscribers.retain(|_, (inbox, topics)| !topics.contains(&topic) || inbox.put(frame.clone()));
        }
        Some(())
    }
}

impl Publisher for MemoryPublisher {
    fn send(&mut self, batch: Batch) -> BrokerFuture<'_, ()> {
        let done = self.do_all(batch).ok_or_else(away);
        Box::pin(std::future::ready(done))
    }
}

impl Drop for MemoryPublisher {
    fn drop(&mut self) {
        self.broker.shared().subscribers.remove(&self.number);
    }
}

fn away() -> BrokerError {
    BrokerError("it is down".to_owned())
}
