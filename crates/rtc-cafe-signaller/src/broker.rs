//! What carries frames between the nodes of one server: the seam, and the brokers that there are.
//!
//! A broker needs to know nothing of rooms. It hands what is published under a topic to everybody who has subscribed to
//! it, in the order of its publisher. It may lose things, and go away and come back: nodes notice, and tell each other
//! again what counts.

use std::{fmt, future::Future, pin::Pin};

use bytes::Bytes;

#[cfg(feature = "redis")]
pub use self::redis::{RedisBroker, RedisUrlError};
pub use self::{
    inbox::{Frames, Inbox},
    memory::MemoryBroker,
};

mod inbox;
mod memory;
#[cfg(feature = "redis")]
mod redis;

/// A future that a broker returns.
pub type BrokerFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, BrokerError>> + Send + 'a>>;

/// Carries frames between nodes.
pub trait Broker: Send + Sync + 'static {
    /// What it is and where, for people who read logs. There must be no secrets in it.
    fn name(&self) -> String;

    /// Connects, without any subscription. It is called again whenever a connection has ended or could not be made, after
    /// a pause; it should give up after some seconds.
    fn connect(&self) -> BrokerFuture<'_, Connection>;
}

/// A connection to a broker.
pub struct Connection {
    /// The way to it.
    pub publisher: Box<dyn Publisher>,
    /// What was published under topics that are subscribed to. The connection has ended when this is closed.
    pub frames: Frames,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connection")
    }
}

/// The way to a broker.
pub trait Publisher: Send {
    /// Does everything of a batch: first subscribes and unsubscribes, and only when that has taken effect publishes, in
    /// order. An empty batch asks whether the broker is there. An error ends the connection, and so does silence for five
    /// seconds, after which the future is dropped.
    fn send(&mut self, batch: Batch) -> BrokerFuture<'_, ()>;
}

/// What a broker is to do next.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    /// Topics whose frames are wanted from now on.
    pub subscribe: Vec<String>,
    /// Topics whose frames are not wanted any more.
    pub unsubscribe: Vec<String>,
    /// Topics with frames.
    pub publish: Vec<(String, Bytes)>,
}

/// Why a broker could not do what it should, in words for people. There must be no secrets in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerError(
    /// The words.
    pub String,
);

impl fmt::Display for BrokerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BrokerError {}
