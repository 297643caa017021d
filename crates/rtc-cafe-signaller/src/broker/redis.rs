//! Redis as the broker: publish and subscribe on one connection, by RESP3.
//!
//! In a cluster any of its nodes will do: they hand on to each other what is published.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, ProtocolVersion, PushInfo, PushKind, Value,
    aio::MultiplexedConnection,
};
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};

use super::{Batch, Broker, BrokerError, BrokerFuture, Connection, Inbox, Publisher};

/// How long Redis may take to connect, and to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why an address of Redis cannot be used. The address is not repeated: there may be a password in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RedisUrlError {
    /// No address was given.
    #[error("an address of Redis is needed, such as redis://127.0.0.1:6379")]
    Missing,
    /// It is not like `redis://[USER:PASSWORD@]HOST[:PORT]`, or `rediss://` for TLS.
    #[error("an address of Redis is redis://[USER:PASSWORD@]HOST[:PORT], or rediss:// for TLS; {0}")]
    Invalid(&'static str),
}

/// Redis, or a cluster of them; version 6 or newer, or what speaks its protocol, such as Valkey.
#[derive(Clone)]
pub struct RedisBroker {
    /// They are tried one after the other, each time from another one on.
    clients: Vec<Client>,
    attempts: Arc<AtomicUsize>,
}

impl RedisBroker {
    /// Redis at one of these addresses: the nodes of one cluster, or names of one server. `rediss://` is over TLS, and
    /// trusts the roots of the operating system, or those in the file that `SSL_CERT_FILE` names.
    pub fn new<I>(urls: I) -> Result<Self, RedisUrlError>
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        // Redis's client takes the provider of the process, and there may be several to choose from.
        if CryptoProvider::get_default().is_none() {
            let _ = aws_lc_rs::default_provider().install_default();
        }
        let clients = urls.into_iter().map(|url| client(url.as_ref().trim())).collect::<Result<Vec<_>, _>>()?;
        if clients.is_empty() { Err(RedisUrlError::Missing) } else { Ok(Self { clients, attempts: Arc::default() }) }
    }
}

fn client(url: &str) -> Result<Client, RedisUrlError> {
    if !url.starts_with("redis://") && !url.starts_with("rediss://") {
        return Err(RedisUrlError::Invalid("this one begins otherwise"));
    }
    let invalid = |_| RedisUrlError::Invalid("this one cannot be read");
    let info = url.into_connection_info().map_err(invalid)?;
    // A connection of the older protocol either publishes or is subscribed.
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    Client::open(info.set_redis_settings(settings)).map_err(invalid)
}

/// Where it is, without user and password.
fn place(client: &Client) -> String {
    let address = client.get_connection_info().addr();
    let scheme = if matches!(address, ConnectionAddr::TcpTls { .. }) { "rediss" } else { "redis" };
    format!("{scheme}://{address}")
}

impl fmt::Debug for RedisBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RedisBroker").field(&self.name()).finish()
    }
}

impl Broker for RedisBroker {
    fn name(&self) -> String {
        self.clients.iter().map(place).collect::<Vec<_>>().join(",")
    }

    fn connect(&self) -> BrokerFuture<'_, Connection> {
        Box::pin(async {
            let mut last = String::new();
            let first = self.attempts.fetch_add(1, Ordering::Relaxed) % self.clients.len();
            let (last_ones, first_ones) = self.clients.split_at(first);
            for client in first_ones.iter().chain(last_ones) {
                match connect(client).await {
                    Ok(connection) => return Ok(connection),
                    Err(error) => last = format!("{}: {error}", place(client)),
                }
            }
            Err(BrokerError(last))
        })
    }
}

async fn connect(client: &Client) -> redis::RedisResult<Connection> {
    let (inbox, frames) = Inbox::new(Inbox::MOST);
    let take = move |push: PushInfo| -> Result<(), ()> {
        match (push.kind, push.data.into_iter().nth(1)) {
            (PushKind::Message, Some(Value::BulkString(frame))) => drop(inbox.put(Bytes::from(frame))),
            (PushKind::Disconnection, _) => inbox.close(),
            _ => {}
        }
        Ok(())
    };
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE))
        .set_push_sender(take);
    let connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    Ok(Connection { publisher: Box::new(RedisPublisher(connection)), frames })
}

struct RedisPublisher(MultiplexedConnection);

impl RedisPublisher {
    async fn do_all(&mut self, batch: Batch) -> redis::RedisResult<()> {
        let Batch { subscribe, unsubscribe, publish } = batch;
        let idle = subscribe.is_empty() && unsubscribe.is_empty() && publish.is_empty();
        if idle {
            return redis::cmd("PING").exec_async(&mut self.0).await;
        }
        if !subscribe.is_empty() {
            self.0.subscribe(subscribe).await?;
        }
        if !unsubscribe.is_empty() {
            self.0.unsubscribe(unsubscribe).await?;
        }
        if publish.is_empty() {
            return Ok(());
        }
        let mut pipeline = redis::pipe();
        for (topic, frame) in &publish {
            pipeline.cmd("PUBLISH").arg(topic).arg(&frame[..]).ignore();
        }
        pipeline.exec_async(&mut self.0).await
    }
}

impl Publisher for RedisPublisher {
    fn send(&mut self, batch: Batch) -> BrokerFuture<'_, ()> {
        Box::pin(async { self.do_all(batch).await.map_err(|error| BrokerError(error.to_string())) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked_and_passwords_not_shown() {
        let broker = RedisBroker::new(["redis://user:geheim@a.example:7000", "rediss://:geheim@b.example"]).unwrap();
        assert_eq!(broker.name(), "redis://a.example:7000,rediss://b.example:6379");
        assert!(!format!("{broker:?}").contains("geheim"));
        assert_eq!(RedisBroker::new([""; 0]).unwrap_err(), RedisUrlError::Missing);
        for bad in ["", "a.example", "http://:geheim@a.example", "redis://:geheim@a.example:x", "redis://"] {
            let error = RedisBroker::new([bad]).unwrap_err().to_string();
            assert!(error.contains("redis://[USER") && !error.contains("geheim"), "{bad}: {error}");
        }
    }
}
