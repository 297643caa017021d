//! What all connections share: the hub, the ways to its sockets, and who is connected.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use rtc_cafe_wire::signal::name;
use tokio::{
    sync::Notify,
    time::{sleep, timeout_at},
};
use tokio_tungstenite::tungstenite::Utf8Bytes;

pub(crate) use super::keepalive::Timing;
use super::{
    address::{self, Proxies},
    http::Refused,
    keepalive::Life,
    minted::{self, Minted, PARTS},
    nodes::{self, Queue},
    origin::Origins,
    outbox::{Frame, Outbox},
    packet::{self, Namespace},
    polling::Polling,
};
use crate::{
    ErrorCode,
    admission::{Arrival, chain::Chain},
    broker::Broker,
    hub::{Hub, Mint, Output, SocketId},
    quiet::Quiet,
};

/// How often it is looked who has come back elsewhere.
const LOOK: Duration = Duration::from_millis(50);

/// What the transports may be told at construction.
pub(crate) struct Config {
    pub(crate) timing: Timing,
    pub(crate) origins: Origins,
    /// Who is asked about clients and their events.
    pub(crate) admission: Option<Chain>,
    /// ICE servers that each client has for itself.
    pub(crate) minted: Option<Minted>,
    /// Proxies that say for whom they speak.
    pub(crate) proxies: Proxies,
    /// Connections of one address.
    pub(crate) per_address: usize,
    /// Bytes of one message that are taken.
    pub(crate) max_payload: usize,
    /// Bytes of one websocket message that are read, so that its sender can be told what was wrong.
    pub(crate) max_message: usize,
    /// Bytes that may wait for one connection.
    pub(crate) queue: usize,
}

/// One connection, as others see it.
#[derive(Debug)]
pub(super) struct Link {
    /// The sid of Engine.IO. It lets one act as the client, so peers never see it.
    pub(super) sid: Box<str>,
    /// Which connection of this server it is, for logs.
    pub(super) number: u64,
    /// Of the client, where the application tells.
    pub(super) address: Option<IpAddr>,
    pub(super) outbox: Outbox,
    pub(super) life: Life,
    /// By which host the client came, where that is of use.
    pub(super) host: Option<Box<str>>,
    /// For who is asked about it.
    pub(super) arrival: Option<Arc<Arrival>>,
    /// For connections that begin with polling.
    pub(super) polling: Option<Box<Polling>>,
}

/// How to get to a socket.
struct Route {
    link: Arc<Link>,
    namespace: Namespace,
}

/// The hub, and the ways to its sockets.
pub(crate) struct Core {
    pub(crate) hub: Hub,
    /// By the index of the socket.
    routes: Vec<Option<Route>>,
    /// Sockets whose clients were sent away and are about to come back on another node.
    aside: Vec<SocketId>,
    /// To the broker, where there are several nodes.
    queue: Option<Arc<Queue>>,
}

/// Counts what only the transports know.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) opened: AtomicU64,
    /// Connections, and clients on them, that were refused.
    pub(crate) refused: ByCode,
    /// Connections that were cut.
    pub(crate) cut: ByCode,
}

/// Counts by code.
#[derive(Debug, Default)]
pub(crate) struct ByCode([AtomicU64; ErrorCode::ALL.len()]);

impl ByCode {
    pub(crate) fn count(&self, code: ErrorCode) {
        self.0[code as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self, code: ErrorCode) -> u64 {
        self.0[code as usize].load(Ordering::Relaxed)
    }
}

/// Who is connected, by the sid of Engine.IO.
struct Links {
    mint: Mint,
    by_sid: HashMap<Box<str>, Arc<Link>>,
    /// Connections by address, as far as they are counted.
    by_address: HashMap<IpAddr, usize>,
}

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) counters: Counters,
    pub(crate) queue: Option<Arc<Queue>>,
    start: Instant,
    core: Mutex<Core>,
    /// Until it is connected to.
    broker: Mutex<Option<Arc<dyn Broker>>>,
    links: Mutex<Links>,
    draining: AtomicBool,
    /// Until it is logged again that an address has too many connections.
    crowded: Quiet,
    /// Clients are told new ICE servers.
    renewing: AtomicBool,
    left: Notify,
}

impl Shared {
    pub(crate) fn new(config: Config, mut hub: Hub, mint: Mint, broker: Option<Arc<dyn Broker>>) -> Self {
        let queue = broker.is_some().then(|| Arc::new(Queue::new()));
        // Read at once: who came first is told by these clocks, and a busy machine may stop this thread anywhere.
        let (start, clock) = (Instant::now(), SystemTime::now());
        if broker.is_some() {
            hub.connect_nodes(clock.duration_since(UNIX_EPOCH).unwrap_or_default());
        }
        Self {
            config,
            counters: Counters::default(),
            queue: queue.clone(),
            start,
            core: Mutex::new(Core { hub, routes: Vec::new(), aside: Vec::new(), queue }),
            broker: Mutex::new(broker),
            links: Mutex::new(Links { mint, by_sid: HashMap::new(), by_address: HashMap::new() }),
            draining: AtomicBool::new(false),
            crowded: Quiet::default(),
            renewing: AtomicBool::new(false),
            left: Notify::new(),
        }
    }

    /// Connects to the broker, if there is one and it was not done before.
    pub(crate) fn connect_broker(self: &Arc<Self>) {
        let broker = self.broker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let (Some(broker), Some(queue)) = (broker, self.queue.clone()) {
            tokio::spawn(nodes::run(broker, queue, Arc::downgrade(self)));
            tokio::spawn(nodes::tick(Arc::downgrade(self)));
        }
    }

    /// Begins to tell clients new ICE servers, if theirs end and it was not done before.
    pub(crate) fn renew_ice_servers(self: &Arc<Self>) {
        if let Some(minted) = &self.config.minted
            && !self.renewing.swap(true, Ordering::Relaxed)
        {
            tokio::spawn(minted::renew(Arc::downgrade(self), minted.lifetime()));
        }
    }

    /// The hub, and what time it is for it.
    pub(crate) fn core(&self) -> (MutexGuard<'_, Core>, Duration) {
        let core = self.core.lock().unwrap_or_else(PoisonError::into_inner);
        (core, self.start.elapsed())
    }

    fn links(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a connection, unless the server is shutting down, or there are too many from its address.
    pub(super) fn open(
        self: &Arc<Self>,
        mut arrival: Arrival,
        polling: Option<Box<Polling>>,
    ) -> Result<Open, Refused<'static>> {
        let mut links = self.links();
        if self.draining.load(Ordering::Relaxed) {
            return Err(Refused::ShuttingDown);
        }
        let counted = arrival.address.and_then(address::counted_address);
        if let Some(address) = counted {
            let count = links.by_address.get(&address).copied().unwrap_or_default();
            if count >= self.config.per_address {
                drop(links);
                self.counters.refused.count(ErrorCode::TooManyConnections);
                if self.crowded.is_over() {
                    tracing::warn!(%address, "refused connections of an address that has too many; is it a proxy to be trusted?");
                }
                return Err(Refused::TooMany(self.config.per_address));
            }
            links.by_address.insert(address, count + 1);
        }
        let sid = links.mint.text::<24>();
        let outbox = Outbox::new(self.config.queue);
        let number = self.counters.opened.fetch_add(1, Ordering::Relaxed) + 1;
        let transport = if polling.is_some() { "polling" } else { "websocket" };
        let (address, host) = (arrival.address, arrival.host.take());
        tracing::debug!(connection = number, transport, address = address.map(tracing::field::display), "opened");
        let arrival = self.config.admission.is_some().then(|| Arc::new(arrival));
        let link = Link { sid: sid.clone(), number, address, host, outbox, life: Life::new(), arrival, polling };
        let link = Arc::new(link);
        links.by_sid.insert(sid, link.clone());
        Ok(Open { shared: self.clone(), link, counted })
    }

    pub(super) fn link(&self, sid: &str) -> Option<Arc<Link>> {
        self.links().by_sid.get(sid).cloned()
    }

    pub(crate) fn connections(&self) -> usize {
        self.links().by_sid.len()
    }

    /// Takes no new connections, lets those that are there send what waits, and ends them, one after the other.
    pub(crate) async fn drain(&self, over: Duration) {
        let links: Vec<_> = {
            let links = self.links();
            self.draining.store(true, Ordering::Relaxed);
            links.by_sid.values().map(Arc::downgrade).collect()
        };
        let (start, count) = (Instant::now(), u32::try_from(links.len()).unwrap_or(u32::MAX));
        // In no order, because a hash map has none: nobody's whole room is sent away at once.
        for (at, link) in (0..).zip(links) {
            let due = start + over.mul_f64(f64::from(at) / f64::from(count));
            if due > Instant::now() {
                let nobody_is_left = timeout_at(due.into(), self.drained()).await.is_ok();
                if nobody_is_left {
                    return;
                }
            }
            if let Some(link) = link.upgrade() {
                link.outbox.close();
            }
        }
    }

    /// Whether connections that end now are ended by a server that goes away.
    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Waits until everybody who was sent away has come back on another node.
    pub(crate) async fn have_moved(&self) {
        while self.core().0.anybody_aside() {
            sleep(LOOK).await;
        }
    }

    /// Ends the sessions of those who were sent away and have not come back.
    pub(crate) fn miss(&self) {
        let (mut core, now) = self.core();
        core.hub.end_moving(now);
        for socket in std::mem::take(&mut core.aside) {
            core.remove(now, socket, &self.counters);
        }
        core.deliver(now, &self.counters);
    }

    /// Waits until nobody is connected.
    pub(crate) async fn drained(&self) {
        loop {
            let left = self.left.notified();
            if self.connections() == 0 {
                return;
            }
            left.await;
        }
    }

    /// Ends every connection now.
    pub(crate) fn kill(&self) {
        self.links().by_sid.values().for_each(|link| link.outbox.kill());
    }

    /// The first packet of a connection.
    pub(super) fn open_packet(&self, sid: &str, upgrades: &str) -> String {
        let Timing { ping_interval, ping_timeout, .. } = self.config.timing;
        format!(
            "0{{\"sid\":\"{sid}\",\"upgrades\":[{upgrades}],\"pingTimeout\":{},\"pingInterval\":{},\"maxPayload\":{}}}",
            ping_timeout.as_millis(),
            ping_interval.as_millis(),
            self.config.max_payload
        )
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("connections", &self.connections()).finish_non_exhaustive()
    }
}

/// A connection that is among those connected for as long as this lives.
#[derive(Debug)]
pub(super) struct Open {
    shared: Arc<Shared>,
    pub(super) link: Arc<Link>,
    /// The address among whose connections it is counted.
    counted: Option<IpAddr>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.link.outbox.kill();
        let mut links = self.shared.links();
        links.by_sid.remove(&self.link.sid);
        if let Some(Entry::Occupied(mut count)) = self.counted.map(|address| links.by_address.entry(address)) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        drop(links);
        self.shared.left.notify_waiters();
    }
}

impl Core {
    pub(super) fn add_route(&mut self, socket: SocketId, link: &Arc<Link>, namespace: Namespace) {
        if self.routes.len() <= socket.index() {
            self.routes.resize_with(socket.index() + 1, || None);
        }
        self.routes[socket.index()] = Some(Route { link: link.clone(), namespace });
    }

    /// Keeps a socket whose client was sent away, if that is of any use, and forgets the way to it.
    pub(super) fn set_aside(&mut self, now: Duration, socket: SocketId, counters: &Counters) {
        if !self.hub.set_aside(socket) {
            return self.remove(now, socket, counters);
        }
        self.routes[socket.index()] = None;
        self.aside.push(socket);
    }

    /// The address of a socket's client, if it is known, and how long it is connected.
    pub(crate) fn connection(&self, socket: SocketId) -> Option<(Option<IpAddr>, Duration)> {
        let route = self.routes.get(socket.index())?.as_ref()?;
        Some((route.link.address, route.link.life.age()))
    }

    /// Tells one part of the clients new ICE servers.
    pub(super) fn renew_ice_servers(&mut self, now: Duration, part: usize, minted: &Minted) {
        let clients: Vec<_> = self.hub.socket_ids().filter(|socket| socket.index() % PARTS == part % PARTS).collect();
        for socket in clients {
            let route = self.routes.get(socket.index()).and_then(Option::as_ref);
            let Some((route, sid)) = route.zip(self.hub.sid(socket)) else { continue };
            let servers = minted.for_client(sid, route.link.host.as_deref());
            self.hub.renew_ice_servers(now, socket, &servers);
        }
    }

    fn anybody_aside(&mut self) -> bool {
        let hub = &self.hub;
        self.aside.retain(|&socket| hub.sid(socket).is_some());
        !self.aside.is_empty() || self.hub.is_anybody_moving()
    }

    /// Takes a socket out of the hub and forgets the way to it.
    pub(super) fn remove(&mut self, now: Duration, socket: SocketId, counters: &Counters) {
        if self.hub.sid(socket).is_some() {
            self.hub.disconnect(now, socket);
            self.routes[socket.index()] = None;
        }
        self.deliver(now, counters);
    }

    /// Hands everything that the hub has decided to those who send it. Who reads too slowly is cut, and the others hear.
    pub(crate) fn deliver(&mut self, now: Duration, counters: &Counters) {
        self.deliver_with(now, &[], counters);
    }

    /// As [`Self::deliver`], with the attachments of the event that was just handled.
    pub(super) fn deliver_with(&mut self, now: Duration, binary: &[Bytes], counters: &Counters) {
        let mut last: Option<(Namespace, Arc<str>, Utf8Bytes)> = None;
        while let Some(output) = self.hub.poll() {
            match output {
                Output::Disconnect { socket } => self.dismiss(socket),
                Output::Emit { to, event, payload } => {
                    let Some(route) = self.routes.get(to.index()).and_then(Option::as_ref) else { continue };
                    let relayed = matches!(event, name::OFFER | name::ANSWER | name::CANDIDATE);
                    let attachments = if relayed { binary } else { &[] };
                    let frame = match &last {
                        Some((namespace, written, frame))
                            if *namespace == route.namespace && Arc::ptr_eq(written, &payload) =>
                        {
                            frame.clone()
                        }
                        _ => packet::event(route.namespace, attachments.len(), event, &payload).into(),
                    };
                    let frames = std::iter::once(Frame::Text(frame.clone()));
                    let frames = frames.chain(attachments.iter().cloned().map(Frame::Binary));
                    tracing::trace!(connection = route.link.number, event, bytes = payload.len(), "sends");
                    let overflow = route.link.outbox.push_all(frames).is_err();
                    last = Some((route.namespace, payload, frame));
                    if overflow {
                        let (connection, sid) = (route.link.number, self.hub.sid(to));
                        tracing::debug!(connection, sid, "cut, because its client reads too slowly");
                        counters.cut.count(ErrorCode::TooSlow);
                        self.hub.disconnect(now, to);
                        self.routes[to.index()] = None;
                    }
                }
                output => self.tell_broker(&output, binary),
            }
        }
    }

    fn tell_broker(&self, output: &Output, binary: &[Bytes]) {
        let Some(queue) = &self.queue else { return };
        match output {
            Output::Subscribe { topic } => queue.subscribe(topic, true),
            Output::Unsubscribe { topic } => queue.subscribe(topic, false),
            Output::Publish { topic, frame, attachments } => {
                queue.publish(topic, frame, if *attachments { binary } else { &[] });
            }
            _ => {}
        }
    }

    /// Ends the connection of a socket that the hub has given up.
    fn dismiss(&mut self, socket: SocketId) {
        if let Some(route) = self.routes.get_mut(socket.index()).and_then(Option::take) {
            // The connection ends in either case.
            let _ = route.link.outbox.push(Frame::text(packet::disconnect(route.namespace)));
            route.link.outbox.close();
        }
    }
}
