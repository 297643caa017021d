//! The server: who its clients are, and the way of every packet.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
    time::{Duration, Instant, SystemTime},
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    task::AbortHandle,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    Builder, Secret, Stats,
    client::{Common, Now},
    discovery::Discovery,
    face::addresses_of,
    framing::is_channel_data,
    outbox::{Outbox, Route},
    relays::{Hop, RelaySockets},
    session::{Session, Way},
    socket::{Datagram, Socket},
    stats::Transport,
    stream, udp,
};

/// How often what has run out is looked for.
const SWEEP: Duration = Duration::from_secs(1);
/// How often the machine's name is looked up.
const LOOK_UP: Duration = Duration::from_secs(60);
/// After an error of a socket, which may last.
pub(crate) const PAUSE: Duration = Duration::from_millis(5);

/// A STUN and TURN server that runs, on the runtime on which it was bound, until it is dropped.
#[derive(Debug)]
pub struct TurnServer {
    server: Arc<Server>,
    tasks: Vec<AbortHandle>,
    addresses: Addresses,
    udp: Vec<Arc<Socket>>,
}

#[derive(Debug, Default)]
struct Addresses {
    udp: Vec<SocketAddr>,
    tcp: Vec<SocketAddr>,
    tls: Vec<SocketAddr>,
}

/// A client on UDP: our address and port that it reached, and its own.
type Key = (IpAddr, u16, SocketAddr);

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) common: Common,
    pub(crate) relays: RelaySockets,
    /// The clients on UDP that have an allocation. Of others nothing is kept.
    sessions: Mutex<HashMap<Key, Arc<Session>>>,
    discovery: OnceLock<Discovery>,
    /// Clients on streams.
    pub(crate) streams: stream::Streams,
}

impl TurnServer {
    /// Sets up a server that takes the credentials minted with this secret.
    pub fn builder(secret: Secret) -> Builder {
        Builder::new(secret)
    }

    pub(crate) fn new(server: Server, name: Option<String>) -> Self {
        let server = Arc::new(server);
        let mut tasks = vec![tokio::spawn(sweep(Arc::downgrade(&server))).abort_handle()];
        tasks.extend(name.map(|name| tokio::spawn(follow(name, Arc::downgrade(&server))).abort_handle()));
        Self { server, tasks, addresses: Addresses::default(), udp: Vec::new() }
    }

    pub(crate) fn listen_udp(&mut self, socket: Socket) {
        self.addresses.udp.push(socket.local());
        let socket = Arc::new(socket);
        self.udp.push(socket.clone());
        self.tasks.push(tokio::spawn(udp::serve(self.server.clone(), socket)).abort_handle());
    }

    /// Lets clients find out how their NAT behaves, as far as the sockets allow it.
    pub(crate) fn offer_discovery(&self, public: &[IpAddr]) {
        let _ = self.server.discovery.set(Discovery::new(&self.udp, public));
    }

    pub(crate) fn listen_tcp(&mut self, listener: TcpListener) {
        self.addresses.tcp.extend(listener.local_addr());
        self.tasks.push(tokio::spawn(stream::serve(self.server.clone(), listener, None)).abort_handle());
    }

    pub(crate) fn listen_tls(&mut self, listener: TcpListener, acceptor: TlsAcceptor) {
        self.addresses.tls.extend(listener.local_addr());
        self.tasks.push(tokio::spawn(stream::serve(self.server.clone(), listener, Some(acceptor))).abort_handle());
    }

    /// Where it listens on UDP.
    #[must_use]
    pub fn udp_addresses(&self) -> &[SocketAddr] {
        &self.addresses.udp
    }

    /// Where it listens on TCP.
    #[must_use]
    pub fn tcp_addresses(&self) -> &[SocketAddr] {
        &self.addresses.tcp
    }

    /// Where it listens on TLS.
    #[must_use]
    pub fn tls_addresses(&self) -> &[SocketAddr] {
        &self.addresses.tls
    }

    /// Serves a client of another listener, which has accepted its connection and done TLS; nothing of what it sent may be
    /// missing. It is counted and bounded as those of [`Builder::tls`], closed if there are too many, and ends with the
    /// server. Returns at once. Each message is written for itself, so that it has a record of TLS of its own.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn serve_tls(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, client: SocketAddr) {
        stream::take(&self.server, client, Transport::Tls, |connection| stream::speak(connection, stream, client));
    }

    /// What it does and has done.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.server.common.counters.stats(self.server.common.quotas.total(), self.server.streams.counts())
    }
}

impl Drop for TurnServer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
        self.server.streams.end();
        for (_, session) in lock(&self.server.sessions).drain() {
            session.end(&self.server);
        }
    }
}

impl Server {
    pub(crate) fn new(common: Common, relays: RelaySockets) -> Self {
        let (sessions, streams) = (Mutex::default(), stream::Streams::default());
        Self { common, relays, sessions, discovery: OnceLock::new(), streams }
    }

    /// Takes what clients have sent to one of our addresses.
    pub(crate) fn handle_clients<'a>(
        self: &Arc<Self>,
        socket: &Arc<Socket>,
        datagrams: impl Iterator<Item = Datagram<'a>>,
        outbox: &mut Outbox,
        now: Now,
    ) {
        let is_any = socket.local().ip().is_unspecified();
        let mut last: Option<(Key, Arc<Session>)> = None;
        for Datagram { from, to, data } in datagrams {
            let discovery = self.discovery.get();
            if discovery.is_some_and(|discovery| discovery.handle(socket, from, data, &self.common, outbox, now)) {
                continue;
            }
            // Answers come from the address that was asked.
            let reached = to.filter(|_| is_any);
            let key = (reached.unwrap_or(socket.local().ip()), socket.local().port(), from);
            let same = last.take().filter(|(last, _)| *last == key).map(|(_, session)| session);
            let known = same.or_else(|| lock(&self.sessions).get(&key).cloned());
            if is_channel_data(data) {
                // Whoever has no allocation has no channel, and one that is there stays.
                let Some(session) = known else { continue };
                session.handle(data, self, outbox, now);
                last = Some((key, session));
                continue;
            }
            let session = known.unwrap_or_else(|| {
                let route = Route { socket: socket.clone(), from: reached, to: from };
                Arc::new(Session::new(from, Transport::Udp, Way::Datagrams(route)))
            });
            session.handle(data, self, outbox, now);
            self.keep(key, session);
        }
    }

    /// Keeps a client that has an allocation, and forgets one that has none.
    fn keep(&self, key: Key, session: Arc<Session>) {
        let is_allocated = session.is_allocated();
        let mut sessions = lock(&self.sessions);
        // It may have run out meanwhile, and been forgotten.
        let is_known = sessions.get(&key).is_some_and(|known| Arc::ptr_eq(known, &session));
        match (is_allocated, is_known) {
            (true, false) => drop(sessions.insert(key, session)),
            (false, true) => drop(sessions.remove(&key)),
            _ => {}
        }
    }

    pub(crate) fn send_to_peer(&self, relay: SocketAddr, peer: SocketAddr, data: &[u8], outbox: &mut Outbox, now: Now) {
        match self.relays.hop(relay, peer) {
            Some(Hop::Client(there)) => there.handle_peers(peer, [(relay, data)].into_iter(), self, outbox, now),
            Some(Hop::Socket(socket)) => {
                let route = Route { socket, from: None, to: peer };
                outbox.push(&route, data.len(), |out| out.extend_from_slice(data));
            }
            None => self.common.counters.dropped.add(1),
        }
    }

    fn expire(self: &Arc<Self>) {
        let now = Instant::now();
        self.relays.look_around();
        // They have to ask again, for an address at which they are reached.
        self.relays.stranded(now).iter().for_each(|session| session.end(self));
        let sessions: Vec<_> = lock(&self.sessions).iter().map(|(key, session)| (*key, session.clone())).collect();
        for (key, session) in sessions {
            session.expire(self, now);
            let mut sessions = lock(&self.sessions);
            // Another may have its place by now, or it another allocation.
            if sessions.get(&key).is_some_and(|known| Arc::ptr_eq(known, &session) && !known.is_allocated()) {
                sessions.remove(&key);
            }
        }
        for session in self.streams.sessions() {
            session.expire(self, now);
        }
    }
}

async fn sweep(server: Weak<Server>) {
    let mut ticks = tokio::time::interval(SWEEP);
    loop {
        ticks.tick().await;
        let Some(server) = server.upgrade() else { return };
        server.expire();
    }
}

/// Follows what the machine's name leads to.
async fn follow(name: String, server: Weak<Server>) {
    let mut ticks = tokio::time::interval(LOOK_UP);
    // It has been looked up already.
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let wants_name = server.upgrade().is_some_and(|server| server.relays.wants_name());
        let found = if wants_name { addresses_of(&name).await } else { None };
        if let Some((found, server)) = found.zip(server.upgrade()) {
            server.relays.take_name(&found);
        }
    }
}

impl Now {
    pub(crate) fn read() -> Self {
        Self { instant: Instant::now(), wall: SystemTime::now() }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
