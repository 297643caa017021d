//! Redis as the broker: publish and subscribe on one connection, by RESP3.
//!
//! In a cluster any of its nodes will do: they hand on to each other what is published.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
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
    /// Redis at one of these addresses. Several are nodes of one cluster, or servers of which one at a time is the primary; a
    /// replica outside of a cluster is passed over, because others do not hear what is published there. Servers that do not
    /// know each other keep apart who should meet, which nobody can notice. `rediss://` is over TLS, and trusts the roots of the operating system, or those in the file that `SSL_CERT_FILE` names.
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

/// Why there is no connection to one address.
#[derive(Debug, thiserror::Error)]
enum ConnectError {
    #[error(transparent)]
    Redis(#[from] redis::RedisError),
    #[error("it is a replica; what is published there reaches no other server, so the primary is to be named")]
    Replica,
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
            let mut why = Vec::new();
            let first = self.attempts.fetch_add(1, Ordering::Relaxed) % self.clients.len();
            let (last_ones, first_ones) = self.clients.split_at(first);
            for client in first_ones.iter().chain(last_ones) {
                match connect(client).await {
                    Ok(connection) => return Ok(connection),
                    Err(error) => why.push(format!("{}: {error}", place(client))),
                }
            }
            Err(BrokerError(why.join("; ")))
        })
    }
}

async fn connect(client: &Client) -> Result<Connection, ConnectError> {
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
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    check_role(&mut connection).await?;
    Ok(Connection { publisher: Box::new(RedisPublisher { connection, checked: Instant::now() }), frames })
}

/// What is published at a replica reaches its own subscribers alone; nodes of a cluster hand it on.
async fn check_role(connection: &mut MultiplexedConnection) -> Result<(), ConnectError> {
    let about: HashMap<String, Value> = redis::cmd("HELLO").query_async(connection).await?;
    let is = |what, expected: &[u8]| match about.get(what) {
        Some(Value::BulkString(found)) => found == expected,
        Some(Value::SimpleString(found)) => found.as_bytes() == expected,
        _ => false,
    };
    if is("role", b"replica") && !is("mode", b"cluster") { Err(ConnectError::Replica) } else { Ok(()) }
}

struct RedisPublisher {
    connection: MultiplexedConnection,
    /// When it was looked at last whether this still is the primary: who is demoted keeps its connections.
    checked: Instant,
}

impl RedisPublisher {
    async fn do_all(&mut self, batch: Batch) -> Result<(), ConnectError> {
        let Batch { subscribe, unsubscribe, publish } = batch;
        let idle = subscribe.is_empty() && unsubscribe.is_empty() && publish.is_empty();
        if idle || self.checked.elapsed() >= PATIENCE {
            check_role(&mut self.connection).await?;
            self.checked = Instant::now();
        }
        if !subscribe.is_empty() {
            self.connection.subscribe(subscribe).await?;
        }
        if !unsubscribe.is_empty() {
            self.connection.unsubscribe(unsubscribe).await?;
        }
        if publish.is_empty() {
            return Ok(());
        }
        let mut pipeline = redis::pipe();
        for (topic, frame) in &publish {
            pipeline.cmd("PUBLISH").arg(topic).arg(&frame[..]).ignore();
        }
        Ok(pipeline.exec_async(&mut self.connection).await?)
    }
}

impl Publisher for RedisPublisher {
    fn send(&mut self, batch: Batch) -> BrokerFuture<'_, ()> {
        Box::pin(async { self.do_all(batch).await.map_err(|error| BrokerError(error.to_string())) })
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{TcpListener, TcpStream},
        process::{Child, Command, Stdio},
    };

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

    /// A Redis that ends with its test.
    struct Server(Child, u16);

    impl Server {
        /// `None` where none is installed.
        async fn start(more: &[&str]) -> Option<Self> {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let (name, folder) = (port.to_string(), std::env::temp_dir());
            let options = ["--port", &name, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
            let mut command = Command::new("redis-server");
            command.args(options).args(more).current_dir(folder).stdout(Stdio::null());
            let server = Self(command.spawn().ok()?, port);
            for _ in 0..1000 {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Some(server);
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            panic!("redis-server does not listen");
        }

        fn url(&self) -> String {
            format!("redis://127.0.0.1:{}", self.1)
        }
    }

    impl Drop for Server {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[tokio::test]
    async fn a_replica_is_passed_over() {
        let (Some(primary), Some(replica)) =
            (Server::start(&[]).await, Server::start(&["--replicaof", "127.0.0.1", "1"]).await)
        else {
            println!("skipped: redis-server is not installed");
            return;
        };
        let error = RedisBroker::new([replica.url()]).unwrap().connect().await.unwrap_err();
        assert!(error.0.contains(&replica.url()) && error.0.contains("it is a replica"), "{error}");
        let broker = RedisBroker::new([replica.url(), primary.url()]).unwrap();
        let mut connection = broker.connect().await.unwrap();
        let publish = vec![("topic".to_owned(), Bytes::from_static(b"frame"))];
        let batch = Batch { subscribe: vec!["topic".to_owned()], publish, ..Batch::default() };
        connection.publisher.send(batch).await.unwrap();
        assert_eq!(connection.frames.next().await.unwrap(), "frame");
    }
    #[tokio::test]
    async fn a_primary_that_is_demoted_is_left() {
        let (Some(first), Some(second)) = (Server::start(&[]).await, Server::start(&[]).await) else {
            println!("skipped: redis-server is not installed");
            return;
        };
        let broker = RedisBroker::new([first.url(), second.url()]).unwrap();
        let mut connection = broker.connect().await.unwrap();
        connection.publisher.send(Batch::default()).await.unwrap();
        let mut operator = client(&first.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
        let mut demote = redis::cmd("REPLICAOF");
        demote.arg("127.0.0.1").arg(second.1).exec_async(&mut operator).await.unwrap();
        let error = connection.publisher.send(Batch::default()).await.unwrap_err();
        assert!(error.0.contains("it is a replica"), "{error}");
        let mut other = broker.connect().await.unwrap();
        other.publisher.send(Batch::default()).await.unwrap();
    }
}
