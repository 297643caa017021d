//! The server: who its clients are, and the way of every packet.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use tokio::{
    net::{TcpListener, UdpSocket},
    sync::mpsc,
    task::AbortHandle,
};
use tokio_rustls::TlsAcceptor;
use turn_types::AddressFamily;

use crate::{
    Builder, Secret, Stats,
    client::{Client, Common, Now, Output, Relays},
    discovery::Discovery,
    relays::RelaySockets,
    stream, udp,
};

/// How often what has run out is looked for.
const SWEEP: Duration = Duration::from_secs(1);
/// After an error of a socket, which may last.
pub(crate) const PAUSE: Duration = Duration::from_millis(5);
/// Bytes that may wait for a client on a stream; what is beyond is dropped.
const MAX_WAITING: usize = 256 << 10;
/// Largest datagram.
pub(crate) const MAX_DATAGRAM: usize = 65_536;

/// A STUN and TURN server that runs, on the runtime on which it was bound, until it is dropped.
#[derive(Debug)]
pub struct TurnServer {
    server: Arc<Server>,
    tasks: Vec<AbortHandle>,
    addresses: Addresses,
    udp: Vec<Arc<UdpSocket>>,
}

#[derive(Debug, Default)]
struct Addresses {
    udp: Vec<SocketAddr>,
    tcp: Vec<SocketAddr>,
    tls: Vec<SocketAddr>,
}

/// A client, and the way back to it.
#[derive(Debug)]
pub(crate) struct Session {
    client: Mutex<Client>,
    way: Way,
    /// Bytes that wait for a stream to take them.
    waiting: AtomicUsize,
}

/// How a client is reached.
#[derive(Debug)]
pub(crate) enum Way {
    Udp(Arc<UdpSocket>, SocketAddr),
    /// What does not fit is dropped, as a network would.
    Stream(mpsc::Sender<Vec<u8>>),
}

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) common: Common,
    relays: RelaySockets,
    /// The clients on UDP that have an allocation, by our address and theirs. Of others nothing is kept.
    sessions: Mutex<HashMap<(SocketAddr, SocketAddr), Arc<Session>>>,
    discovery: OnceLock<Discovery>,
    /// Clients on streams.
    pub(crate) streams: stream::Streams,
}

impl TurnServer {
    /// Sets up a server that takes the credentials minted with this secret.
    pub fn builder(secret: Secret) -> Builder {
        Builder::new(secret)
    }

    pub(crate) fn new(server: Server) -> Self {
        let server = Arc::new(server);
        let sweeper = tokio::spawn(sweep(Arc::downgrade(&server))).abort_handle();
        Self { server, tasks: vec![sweeper], addresses: Addresses::default(), udp: Vec::new() }
    }

    pub(crate) fn listen_udp(&mut self, socket: UdpSocket) {
        self.addresses.udp.extend(socket.local_addr());
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

    /// What it does and has done.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.server.common.counters.stats(self.server.common.quotas.total(), self.server.streams.count())
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
        Self {
            common,
            relays,
            sessions: Mutex::default(),
            discovery: OnceLock::new(),
            streams: stream::Streams::default(),
        }
    }

    /// A datagram of a client has come.
    pub(crate) fn handle_datagram(self: &Arc<Self>, socket: &Arc<UdpSocket>, from: SocketAddr, data: &[u8]) {
        let Ok(local) = socket.local_addr() else { return };
        if self.discovery.get().is_some_and(|discovery| discovery.handle(local, from, data, &self.common)) {
            return;
        }
        let key = (local, from);
        let known = lock(&self.sessions).get(&key).cloned();
        let session = known.unwrap_or_else(|| Arc::new(Session::new(from, Way::Udp(socket.clone(), from))));
        session.handle(self, data);
        // It may have run out meanwhile, and been forgotten.
        let mut sessions = lock(&self.sessions);
        let is_known = sessions.get(&key).is_some_and(|known| Arc::ptr_eq(known, &session));
        match (session.is_allocated(), is_known) {
            (true, false) => drop(sessions.insert(key, session)),
            (false, true) => drop(sessions.remove(&key)),
            _ => {}
        }
    }

    /// A peer has sent something to a relayed address.
    fn handle_peer(&self, session: &Session, relay: SocketAddr, peer: SocketAddr, data: &[u8]) {
        let is_stream = matches!(session.way, Way::Stream(_));
        let framed = lock(&session.client).handle_peer(relay, peer, data, is_stream, &self.common, Now::read());
        if let Some(framed) = framed {
            session.send(self, framed);
        }
    }

    fn send_to_peer(&self, relay: SocketAddr, peer: SocketAddr, data: &[u8]) {
        // Between two clients of ours nothing leaves the process: our own NAT might not lead back.
        if let Some(there) = self.relays.get(peer) {
            return self.handle_peer(&there.session, peer, relay, data);
        }
        let sent = self.relays.get(relay).is_some_and(|relay| relay.socket.try_send_to(data, peer).is_ok());
        if !sent {
            self.common.counters.dropped.add(1);
        }
    }

    fn expire(self: &Arc<Self>) {
        let now = Instant::now();
        self.relays.look_around();
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

impl Session {
    pub(crate) const fn new(address: SocketAddr, way: Way) -> Self {
        Self { client: Mutex::new(Client::new(address)), way, waiting: AtomicUsize::new(0) }
    }

    /// Takes what the client has sent.
    pub(crate) fn handle(self: &Arc<Self>, server: &Arc<Server>, data: &[u8]) {
        let output = lock(&self.client).handle(data, &server.common, &mut self.relays(server), Now::read());
        match output {
            Some(Output::Reply(reply)) => self.send(server, reply),
            Some(Output::ToPeer { relay, peer, data }) => server.send_to_peer(relay, peer, &data),
            None => {}
        }
    }

    /// So many bytes have gone out, or will not.
    pub(crate) fn taken(&self, length: usize) {
        self.waiting.fetch_sub(length, Relaxed);
    }

    pub(crate) fn is_allocated(&self) -> bool {
        lock(&self.client).is_allocated()
    }

    pub(crate) fn end(self: &Arc<Self>, server: &Arc<Server>) {
        lock(&self.client).end(&mut self.relays(server));
    }

    fn expire(self: &Arc<Self>, server: &Arc<Server>, now: Instant) {
        lock(&self.client).expire(&mut self.relays(server), now);
    }

    fn send(&self, server: &Server, data: Vec<u8>) {
        let sent = match &self.way {
            Way::Udp(socket, address) => socket.try_send_to(&data, *address).is_ok(),
            Way::Stream(sender) => {
                let length = data.len();
                let fits = self.waiting.fetch_add(length, Relaxed) + length <= MAX_WAITING;
                let sent = fits && sender.try_send(data).is_ok();
                if !sent {
                    self.taken(length);
                }
                sent
            }
        };
        if !sent {
            server.common.counters.dropped.add(1);
        }
    }

    const fn relays<'a>(self: &'a Arc<Self>, server: &'a Arc<Server>) -> SessionRelays<'a> {
        SessionRelays { server, session: self }
    }
}

/// The relayed addresses of a client.
struct SessionRelays<'a> {
    server: &'a Arc<Server>,
    session: &'a Arc<Session>,
}

impl Relays for SessionRelays<'_> {
    fn open(&mut self, family: AddressFamily, even: bool) -> Option<SocketAddr> {
        let (address, socket) = self.server.relays.bind(family == AddressFamily::IPV4, even)?;
        let socket = Arc::new(socket);
        let receiver =
            tokio::spawn(receive(Arc::downgrade(self.server), self.session.clone(), socket.clone(), address));
        self.server.relays.insert(address, socket, self.session.clone(), receiver.abort_handle());
        Some(address)
    }

    fn close(&mut self, relay: SocketAddr) {
        self.server.relays.remove(relay);
    }

    fn is_relay(&self, address: SocketAddr) -> bool {
        self.server.relays.contains(address)
    }

    fn is_own(&self, address: IpAddr) -> bool {
        self.server.relays.is_own(address)
    }

    fn is_of_machine(&self, address: IpAddr) -> bool {
        self.server.relays.is_of_machine(address)
    }
}

/// Takes what peers send to a relayed address, until it is closed.
async fn receive(server: Weak<Server>, session: Arc<Session>, socket: Arc<UdpSocket>, relay: SocketAddr) {
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        // An error belongs to a datagram that was sent before, as a rule.
        let Ok((length, peer)) = socket.recv_from(&mut buffer).await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let Some(server) = server.upgrade() else { return };
        server.handle_peer(&session, relay, peer, &buffer[..length]);
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

impl Now {
    pub(crate) fn read() -> Self {
        Self { instant: Instant::now(), wall: SystemTime::now() }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
