//! The signalling server as an application uses it.

use std::{future::Future, sync::Arc, sync::atomic::Ordering, time::Duration};

use axum::Router;
use ipnet::IpNet;
use rtc_cafe_wire::json::Writer;
use serde_json::Value;
use tokio::time::timeout;

use crate::{
    ErrorCode,
    admission::{Admission, Validation, chain::Chain},
    broker::Broker,
    engine::{
        self,
        address::Proxies,
        minted::Minted,
        origin::Origins,
        shared::{ByCode, Config, Shared},
    },
    hub::{Hub, HubConfig, Mint},
};

/// How long [`Signaller::drain`] waits for clients that do not take what waits for them.
const DRAIN: Duration = Duration::from_secs(5);
/// How long it then waits for clients to come back on other nodes, before they are reported gone.
const RETURN: Duration = Duration::from_secs(5);
/// How long it then waits for the broker to take what is left for other nodes.
const FLUSH: Duration = Duration::from_secs(2);

/// An `RTCIceServer` that clients of version 1.0 are told to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IceServer {
    url: String,
    credentials: Option<(String, String)>,
}

impl IceServer {
    /// A server by its address, such as `stun:stun.example.org` or `turn:turn.example.org?transport=tcp`.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), credentials: None }
    }

    /// Adds what a TURN server asks for.
    #[must_use]
    pub fn credentials(mut self, username: impl Into<String>, credential: impl Into<String>) -> Self {
        self.credentials = Some((username.into(), credential.into()));
        self
    }

    fn to_json(&self) -> String {
        let mut writer = Writer::new();
        writer.string("urls", &self.url);
        if let Some((username, credential)) = &self.credentials {
            writer.string("username", username).string("credential", credential);
        }
        writer.finish()
    }
}

/// What one address, one client, and one room may use up. Start from the defaults, which suit a public server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Connections of one address, or of one network of 64 bits where it is one of IPv6; more are answered by HTTP 429.
    /// This machine's own addresses are not counted, so neither is who comes by a proxy on it that is not
    /// [trusted](Builder::trust_proxies), nor are those that the application does not tell. Default: 200.
    pub connections_per_address: usize,
    /// How long a connection may be in no namespace (Socket.IO's CONNECT); it ends then. Default: 45 s.
    pub connect_timeout: Duration,
    /// Bytes of one message that are taken; a longer one is answered by an `error`. Default: 1,000,000.
    pub max_payload: usize,
    /// Bytes of one websocket message that are read at all; a longer one ends the connection with code 1009.
    /// Default: 4 MiB.
    pub max_message: usize,
    /// Bytes that may wait for one connection; a client that reads too slowly for it is disconnected. Default: 2 MiB.
    pub queue: usize,
    /// Rooms that one socket may be in. Default: 64.
    pub rooms_per_socket: usize,
    /// Sockets that may be in one room. Default: 1,000.
    pub members_per_room: usize,
    /// Events per second that one connection may send in the long run. Every whole 16 KiB of an event count as one
    /// more, and so does every sixteenth member that hears of a socket's coming or going. Default: 500.
    pub events_per_second: u32,
    /// Events that one connection may send at once. Default: 5,000.
    pub burst: u32,
}

impl Default for Limits {
    fn default() -> Self {
        let hub = HubConfig::default();
        Self {
            connections_per_address: 200,
            connect_timeout: Duration::from_secs(45),
            max_payload: rtc_cafe_wire::limits::MAX_PAYLOAD,
            max_message: 4 * 1024 * 1024,
            queue: 2 * 1024 * 1024,
            rooms_per_socket: hub.rooms_per_socket,
            members_per_room: hub.members_per_room,
            events_per_second: hub.events_per_second,
            burst: hub.burst,
        }
    }
}

/// How much there is of everything, and how much there was since the start.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Clients that are connected.
    pub connections: usize,
    /// Sockets in a namespace; a client has one as a rule.
    pub sockets: usize,
    /// Rooms with somebody in them.
    pub rooms: usize,
    /// Connections that there were.
    pub connections_opened: u64,
    /// Connections that were refused, and clients that were refused on them, by code.
    pub connections_refused: Vec<(ErrorCode, u64)>,
    /// Connections that were cut, by code: of clients who read too slowly, send too much at once, say nothing, or are
    /// refused again and again.
    pub connections_cut: Vec<(ErrorCode, u64)>,
    /// Events that clients sent.
    pub events_received: u64,
    /// Events that were sent to clients.
    pub events_sent: u64,
    /// Events that were refused, by code.
    pub events_refused: Vec<(ErrorCode, u64)>,
    /// Sessions that were ended by [`Signaller::kick`] and its like, on this node or another.
    pub kicked: u64,
    /// How it goes with the other nodes; `None` where there are none.
    pub broker: Option<BrokerStats>,
}

/// How well a node is connected with the others.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BrokerStats {
    /// Whether the broker is there. While it is not, rooms end at this node.
    pub up: bool,
    /// How often its connection was lost.
    pub connections_lost: u64,
    /// Other nodes that share, or lately shared, a room with this one.
    pub nodes: usize,
    /// Sockets on them that are in rooms of this one.
    pub remote_sockets: usize,
    /// Frames that went to the broker.
    pub frames_published: u64,
    /// Frames that came from it.
    pub frames_received: u64,
    /// Frames that were dropped because the broker was too slow.
    pub frames_dropped: u64,
    /// Bytes that wait for the broker now; what does not fit into 32 MiB is dropped.
    pub bytes_outgoing: usize,
    /// Bytes that came from the broker and wait for this node now; the connection is given up when they are more than 32 MiB.
    pub bytes_incoming: usize,
    /// Frames that could not be read, or came from more nodes than are dealt with.
    pub frames_strange: u64,
    /// How often frames of another node were missing, and everything was told again.
    pub gaps: u64,
}

/// Why connections are refused, and clients on them.
const REFUSED: [ErrorCode; 8] = [
    ErrorCode::TooManyConnections,
    ErrorCode::RateLimited,
    ErrorCode::Rejected,
    ErrorCode::AdmissionFailed,
    ErrorCode::NotPermitted,
    ErrorCode::TokenMissing,
    ErrorCode::TokenInvalid,
    ErrorCode::TokenExpired,
];
/// Why connections are cut.
const CUT: [ErrorCode; 4] = [ErrorCode::TooSlow, ErrorCode::TooLarge, ErrorCode::ConnectTimeout, ErrorCode::Rejected];

/// The counts of the usual codes, and of others that there were.
fn by_code(counts: &ByCode, usual: &[ErrorCode]) -> Vec<(ErrorCode, u64)> {
    let all = ErrorCode::ALL.iter().map(|&code| (code, counts.get(code)));
    all.filter(|(code, count)| *count > 0 || usual.contains(code)).collect()
}

/// A signalling server to be nested into an axum application. Clones are the same server.
#[derive(Debug, Clone)]
pub struct Signaller {
    pub(crate) shared: Arc<Shared>,
}

impl Signaller {
    /// A server with the defaults: pages of the same origin, no ICE servers, no validation.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// A server to be configured.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Serves `/socket.io/`, below whatever path it is nested at. Call it on a Tokio runtime with time enabled.
    ///
    /// Serve it with `into_make_service_with_connect_info::<SocketAddr>()`, so that connections are limited by address, and
    /// an admission sees it.
    ///
    /// Turn on `TCP_NODELAY` where you listen (`axum::serve::ListenerExt::tap_io`): without it joining a room takes
    /// 40 ms longer.
    pub fn router(&self) -> Router {
        self.shared.connect_broker();
        self.shared.renew_ice_servers();
        engine::http::router(self.shared.clone())
    }

    /// Waits until the broker is there, which may never be; returns at once where there is none. Needed by nobody but
    /// who wants to be sure before clients come: without the broker they meet on this node, and later all others.
    ///
    /// Cancel safe.
    pub async fn broker_connected(&self) {
        if let Some(queue) = &self.shared.queue {
            queue.connected().await;
        }
    }

    /// How much there is of everything.
    pub fn stats(&self) -> Stats {
        let (hub, nodes) = {
            let (core, _) = self.shared.core();
            (core.hub.stats(), core.hub.node_stats())
        };
        let counters = &self.shared.counters;
        Stats {
            connections: self.shared.connections(),
            sockets: hub.sockets,
            rooms: hub.rooms,
            connections_opened: counters.opened.load(Ordering::Relaxed),
            connections_refused: by_code(&counters.refused, &REFUSED),
            connections_cut: by_code(&counters.cut, &CUT),
            events_received: hub.received,
            events_sent: hub.emitted,
            events_refused: ErrorCode::ALL.iter().copied().zip(hub.refused).collect(),
            kicked: hub.kicked,
            broker: self.shared.queue.as_ref().map(|queue| {
                let counts = queue.counts();
                BrokerStats {
                    up: queue.is_up(),
                    connections_lost: counts.lost_connections,
                    nodes: nodes.nodes,
                    remote_sockets: nodes.remotes,
                    frames_published: counts.published,
                    frames_received: counts.received,
                    frames_dropped: counts.dropped,
                    bytes_outgoing: counts.outgoing,
                    bytes_incoming: counts.incoming,
                    frames_strange: nodes.strange,
                    gaps: nodes.gaps,
                }
            }),
        }
    }

    /// Takes no new clients, sends to everybody what still waits, closes every connection, and returns when all are
    /// gone, or after five seconds at the latest. Clients reconnect on their own when a server is there again.
    ///
    /// Where there are other nodes, it then waits for up to seven seconds, see [`Signaller::drain`].
    ///
    /// Dropping the future leaves the connections draining.
    pub async fn shutdown(&self) {
        self.drain(Duration::ZERO).await;
    }

    /// As [`Signaller::shutdown`], but sends the clients away one after the other, evenly over this time, so that they
    /// do not all come back at once; in no order, and sooner where they leave on their own.
    ///
    /// Who is sent away is not reported gone, for it is about to come back: on another node, where it proves to be the
    /// same, or on this one, when it is there again. Where there are other nodes, and the broker is there, who has not
    /// come back to them five seconds after the last was sent away is reported gone, and so are, at once, clients before
    /// version 1.0, which cannot prove anything.
    ///
    /// When the future is dropped, nobody else is sent away.
    pub async fn drain(&self, over: Duration) {
        self.shared.drain(over).await;
        if timeout(DRAIN, self.shared.drained()).await.is_err() {
            self.shared.kill();
        }
        if let Some(queue) = &self.shared.queue {
            if queue.is_up() {
                let _ = timeout(RETURN, self.shared.have_moved()).await;
            }
            self.shared.miss();
            // Whoever is not told now is told by the end of our lease.
            let _ = timeout(FLUSH, queue.flushed()).await;
        }
    }
}

impl Default for Signaller {
    fn default() -> Self {
        Self::new()
    }
}

/// Configures a [`Signaller`].
#[must_use]
pub struct Builder {
    origins: Origins,
    ice_servers: Vec<IceServer>,
    ice_servers_for_each: Option<(Duration, Box<MakeServers>)>,
    admission: Vec<Box<dyn Admission>>,
    trusted_proxies: Vec<IpNet>,
    limits: Limits,
    heartbeat: (Duration, Duration),
    broker: Option<Arc<dyn Broker>>,
    lease: (Duration, Duration),
}

impl Builder {
    /// Lets pages of another origin connect, such as `https://app.example.org`, or all with `*`.
    ///
    /// Pages of the server's own host and port may always connect, and so may clients that are no web pages. The
    /// scheme is not compared, because behind a proxy that ends TLS the server does not know its own.
    pub fn allow_origin(mut self, origin: impl AsRef<str>) -> Self {
        self.origins.allow(origin.as_ref());
        self
    }

    /// Tells clients of version 1.0 which STUN and TURN servers to use.
    pub fn ice_servers(mut self, servers: impl IntoIterator<Item = IceServer>) -> Self {
        self.ice_servers.extend(servers);
        self
    }

    /// Asks somebody who may connect, and what they may do. Of several, all are asked, in this order, and each sees what
    /// those before it have said of the client; the first refusal counts.
    pub fn admission(mut self, admission: impl Admission) -> Self {
        self.admission.push(Box::new(admission));
        self
    }

    /// An [`Admission`] that is a function, to be asked about every event that a client sends: with the client's sid, the
    /// event's name and its data (see [`Request::data`](crate::admission::Request::data)).
    ///
    /// `Ok` lets it through. `Err` drops it, and its value reaches the client as
    /// `error {"error": value, "originalMessage": name, "code": "rejected"}`.
    pub fn validate<F, V>(self, function: F) -> Self
    where
        F: Fn(String, String, Value) -> V + Send + Sync + 'static,
        V: Future<Output = Result<(), Value>> + Send + 'static,
    {
        self.admission(Validation(function))
    }

    /// Names ICE servers for each client by itself, behind those for all: given its sid and the `Host` by which it came, if it
    /// told one. Their credentials end after `lifetime`; clients are told new ones when half of it is over.
    pub fn ice_servers_for_each(
        mut self,
        lifetime: Duration,
        servers: impl Fn(&str, Option<&str>) -> Vec<IceServer> + Send + Sync + 'static,
    ) -> Self {
        self.ice_servers_for_each = Some((lifetime, Box::new(servers)));
        self
    }

    /// Believes these proxies when they say in `X-Forwarded-For` for whom they speak. The client is the right-most address
    /// that is not one of theirs. Without any, the header is ignored, which is logged once: those behind a proxy on this
    /// machine are not limited by address then, and those behind another all have its address.
    pub fn trust_proxies(mut self, proxies: impl IntoIterator<Item = IpNet>) -> Self {
        self.trusted_proxies.extend(proxies);
        self
    }

    /// Sets what clients may use up.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Makes this server one node among several, which the broker connects: rooms are the same on all of them.
    ///
    /// The server starts without it, logs that it is away, and goes on trying.
    pub fn broker(mut self, broker: impl Broker) -> Self {
        self.broker = Some(Arc::new(broker));
        self
    }

    /// Sets how often other nodes are told that this one is alive, and how long after the last sign of life of a node its
    /// clients are reported gone. Defaults: 10 s and 25 s, the same on all nodes.
    pub const fn lease(mut self, heartbeat: Duration, lease: Duration) -> Self {
        self.lease = (heartbeat, lease);
        self
    }

    /// Sets how often clients are pinged, and how long they have to answer. Defaults: 25 s and 20 s.
    pub const fn heartbeat(mut self, ping_interval: Duration, ping_timeout: Duration) -> Self {
        self.heartbeat = (ping_interval, ping_timeout);
        self
    }

    /// Makes the server.
    ///
    /// # Panics
    /// If the operating system gives no randomness.
    pub fn build(self) -> Signaller {
        let seed = || {
            let mut seed = [0; 32];
            getrandom::fill(&mut seed).expect("the operating system gives randomness");
            seed
        };
        let Limits { max_payload, rooms_per_socket, members_per_room, events_per_second, burst, .. } = self.limits;
        let (ping_interval, ping_timeout) = self.heartbeat;
        let connect_timeout = self.limits.connect_timeout;
        let admission = Chain::new(self.admission);
        let for_all = json_array(&self.ice_servers);
        let minted = self.ice_servers_for_each.map(|(lifetime, make)| {
            let all = self.ice_servers.clone();
            Minted::new(lifetime, move |sid, host| json_array(all.iter().chain(&make(sid, host))))
        });
        let hub = HubConfig {
            rooms_per_socket,
            members_per_room,
            events_per_second,
            burst,
            heartbeat: self.lease.0,
            lease: self.lease.1,
            ready_handshakes: admission.as_ref().is_none_or(Chain::ready_handshakes),
            ice_servers: for_all,
            ice_servers_for_each: minted.is_some(),
            ..HubConfig::default()
        };
        let config = Config {
            timing: engine::shared::Timing { ping_interval, ping_timeout, connect_timeout },
            origins: self.origins,
            admission,
            minted,
            proxies: Proxies::new(self.trusted_proxies),
            per_address: self.limits.connections_per_address,
            max_payload,
            max_message: self.limits.max_message.max(max_payload),
            queue: self.limits.queue,
        };
        Signaller { shared: Arc::new(Shared::new(config, Hub::new(hub, seed()), Mint::new(seed()), self.broker)) }
    }
}

/// Makes the ICE servers of a client, given its sid and by which host it came.
type MakeServers = dyn Fn(&str, Option<&str>) -> Vec<IceServer> + Send + Sync;

fn json_array<'a>(servers: impl IntoIterator<Item = &'a IceServer>) -> String {
    let servers: Vec<_> = servers.into_iter().map(IceServer::to_json).collect();
    format!("[{}]", servers.join(","))
}

impl Default for Builder {
    fn default() -> Self {
        let hub = HubConfig::default();
        Self {
            origins: Origins::default(),
            ice_servers: Vec::new(),
            ice_servers_for_each: None,
            admission: Vec::new(),
            trusted_proxies: Vec::new(),
            limits: Limits::default(),
            heartbeat: (Duration::from_secs(25), Duration::from_secs(20)),
            broker: None,
            lease: (hub.heartbeat, hub.lease),
        }
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").field("origins", &self.origins).field("limits", &self.limits).finish_non_exhaustive()
    }
}
