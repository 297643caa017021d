//! All sockets of one client, shared by its peer connections: what the driver sees of the network.

use std::{
    collections::BTreeSet,
    future::{Future, poll_fn},
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use str0m::Candidate;
use stun_proto::Instant;
use tokio::time::{Sleep, sleep_until};
use tokio_rustls::rustls::ClientConfig;

use super::{
    candidates::Candidates,
    ice_server::{Credentials, IceServer, ServerUrl, Service, listed},
    interfaces::{self, InterfaceSource, LOOK_EVERY, select},
    reflexive::Reflexive,
    relay::{Buffers, Relay},
    udp::HostSocket,
};

mod standing;

pub(crate) use standing::Mapping;

/// The largest datagram. The pages behind the buffer that no datagram touches are never there.
const BUFFER_BYTES: usize = 64 * 1024;
/// So many datagrams are handed out before servers, timers and other tasks get their turn.
const BURST: u32 = 64;

/// How an endpoint is made.
#[derive(Clone)]
pub(crate) struct EndpointConfig {
    /// Also use loopback interfaces where others exist.
    pub(crate) loopback: bool,
    /// The first servers; others may follow.
    pub(crate) ice_servers: Vec<IceServer>,
    /// Give out relayed candidates only. Then there are no sockets on the interfaces either.
    pub(crate) relay_only: bool,
    /// SO_RCVBUF in bytes. The default of Linux overflows in a burst.
    pub(crate) receive_buffer: usize,
    /// How servers of `turns:` are verified; without it, by the roots of the operating system.
    pub(crate) tls: Option<Arc<ClientConfig>>,
    /// Which addresses there are; the place for a filter.
    pub(crate) interfaces: InterfaceSource,
    /// To and from which addresses nothing gets through.
    #[cfg(test)]
    pub(crate) cut: Option<super::Cut>,
}

impl EndpointConfig {
    /// No servers, every interface, a receive buffer of 2 MiB.
    pub(crate) fn new(tls: Option<Arc<ClientConfig>>) -> Self {
        Self {
            loopback: false,
            ice_servers: Vec::new(),
            relay_only: false,
            receive_buffer: 2 * 1024 * 1024,
            tls,
            interfaces: Arc::new(interfaces::system),
            #[cfg(test)]
            cut: None,
        }
    }
}

/// Why there is no endpoint.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The interfaces of this machine cannot be listed.
    #[error("the network interfaces cannot be listed")]
    Interfaces(#[source] io::Error),
    /// No interface has an address that could be used, not even loopback.
    #[error("no network interface has an address")]
    NoAddress,
    /// There are addresses, but none of them took a socket.
    #[error("no socket could be bound, not even to {address}")]
    Socket {
        /// The last one that was tried.
        address: IpAddr,
        /// What the system says.
        #[source]
        error: io::Error,
    },
}

/// What an endpoint tells.
#[derive(Debug)]
pub(crate) enum EndpointEvent<'a> {
    /// Something came. `local` is the base by which str0m knows the candidate: the address of the socket, or the
    /// relayed address if a TURN server forwarded it.
    Datagram { local: SocketAddr, remote: SocketAddr, data: &'a [u8] },
    /// A new local candidate.
    Candidate(Candidate),
    /// Its interface, mapping or allocation is gone.
    CandidateLost(Candidate),
    /// Every server has answered or failed. Follows the start, and each change of the servers that caused work.
    GatheringComplete,
    /// Addresses came or went, and the candidates above with them: time for an ICE restart.
    InterfacesChanged,
    /// A server cannot be used at the moment. It is told once, and tried again.
    ServerFailed { url: String, reason: String },
}

/// What `recv` found; a datagram lies in the buffer.
enum Found {
    Datagram { local: SocketAddr, remote: SocketAddr, len: usize },
    Event(EndpointEvent<'static>),
}

/// The sockets of one client, its candidates, and its STUN and TURN servers.
pub(crate) struct Endpoint {
    config: EndpointConfig,
    sockets: Vec<HostSocket>,
    /// The socket whose turn it is.
    turn: usize,
    burst: u32,
    datagram: Box<[u8]>,
    /// Messages of TURN servers; empty as long as there are none.
    frame: Box<[u8]>,
    candidates: Candidates,
    reflexive: Vec<Reflexive>,
    relays: Vec<Relay>,
    /// URLs that cannot be used and were told.
    refused: Vec<String>,
    gathering: bool,
    addresses: Vec<IpAddr>,
    look_at: Instant,
    epoch: std::time::Instant,
    sleep: Pin<Box<Sleep>>,
    sleeps_until: Instant,
}

impl Endpoint {
    /// Binds a socket on each interface. The servers are asked as soon as [`Self::recv`] is called.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub(crate) fn bind(config: EndpointConfig) -> Result<Self, BindError> {
        let addresses = (config.interfaces)().map_err(BindError::Interfaces)?;
        let mut candidates = Candidates::default();
        let mut sockets = Vec::new();
        if !config.relay_only {
            sockets = bind_all(select(addresses.clone(), config.loopback), config.receive_buffer)?;
            sockets.iter().filter_map(host_candidate).for_each(|candidate| candidates.start_with(candidate));
        }
        let epoch = std::time::Instant::now();
        let look_at = Instant::ZERO + LOOK_EVERY;
        let servers = config.ice_servers.clone();
        let mut endpoint = Self {
            config,
            sockets,
            turn: 0,
            burst: 0,
            datagram: vec![0; BUFFER_BYTES].into(),
            frame: Box::default(),
            candidates,
            reflexive: Vec::new(),
            relays: Vec::new(),
            refused: Vec::new(),
            gathering: true,
            addresses,
            look_at,
            epoch,
            sleep: Box::pin(sleep_until(look_at.to_std(epoch).into())),
            sleeps_until: look_at,
        };
        endpoint.set_ice_servers(servers);
        Ok(endpoint)
    }

    /// The local candidates that are there now.
    pub(crate) fn candidates(&self) -> &[Candidate] {
        self.candidates.present()
    }

    /// Whether servers have yet to answer.
    #[cfg(test)]
    pub(crate) fn is_gathering(&self) -> bool {
        self.gathering
    }

    /// Has a look at the interfaces now. Whether they have changed, which is then told as always.
    pub(crate) fn look_now(&mut self) -> bool {
        self.look(self.now())
    }

    /// Uses these servers from now on. Those that stay keep their candidates; an allocation is kept when its
    /// credentials change, and renewed with the new ones when it ends.
    pub(crate) fn set_ice_servers(&mut self, servers: Vec<IceServer>) {
        let now = self.now();
        let (mut usable, mut refused) = (Vec::new(), Vec::new());
        for entry in listed(&servers) {
            match entry {
                Ok(server) => usable.push(server),
                Err((url, error)) => {
                    if !self.refused.contains(&url) {
                        self.candidates.server_failed(&url, error);
                    }
                    refused.push(url);
                }
            }
        }
        self.refused = refused;
        self.config.ice_servers = servers;
        self.set_reflexive(&usable);
        self.set_relays(usable, now);
        self.gathering |= self.is_any_unsettled();
    }

    fn set_reflexive(&mut self, usable: &[(ServerUrl, Credentials)]) {
        let wanted: Vec<_> = match self.config.relay_only {
            true => Vec::new(),
            // TURN servers over UDP answer as well (RFC 8656 section 3.1), if no other URL names the same server.
            false => reflexive_urls(usable),
        };
        self.reflexive.retain(|server| wanted.iter().any(|(url, _)| url == server.url()));
        for (url, quiet) in wanted {
            if !self.reflexive.iter().any(|server| *server.url() == url) {
                self.reflexive.push(Reflexive::new(url, quiet));
            }
        }
        self.sync_reflexive();
    }

    fn set_relays(&mut self, usable: Vec<(ServerUrl, Credentials)>, now: Instant) {
        let wanted = |relay: &Relay| usable.iter().any(|(url, _)| url == relay.url());
        for relay in self.relays.iter_mut().filter(|relay| !wanted(relay)) {
            relay.close(now, &mut self.candidates);
        }
        self.relays.retain(wanted);
        for (url, credentials) in usable.into_iter().filter(|(url, _)| url.service != Service::Stun) {
            if let Some(relay) = self.relays.iter_mut().find(|relay| *relay.url() == url) {
                relay.set_credentials(credentials, now);
            } else {
                let (tls, receive_buffer) = (self.config.tls.clone(), self.config.receive_buffer);
                self.relays.push(Relay::new(url, credentials, tls, receive_buffer, now));
            }
        }
        if !self.relays.is_empty() && self.frame.is_empty() {
            self.frame = vec![0; BUFFER_BYTES].into();
        }
    }

    /// Sends a datagram from the base of a candidate. Never blocks: what the kernel does not take waits in a queue of
    /// 256 KiB for each socket, and what exceeds it is dropped, as is what comes from a candidate that is gone.
    pub(crate) fn send(&mut self, source: SocketAddr, destination: SocketAddr, data: &[u8]) {
        if self.is_cut(destination) {
            return;
        }
        if let Some(socket) = self.sockets.iter_mut().find(|socket| socket.address() == source) {
            return socket.send(destination, data);
        }
        let now = self.now();
        if let Some(relay) = self.relays.iter_mut().find(|relay| relay.has(source)) {
            relay.send(destination, data, now);
        }
    }

    /// Waits for the next event, and meanwhile drives all that belongs to the endpoint. It is to be called again and
    /// again, also when no event is expected.
    ///
    /// Cancel safe: nothing is lost when the future is dropped.
    pub(crate) async fn recv(&mut self) -> EndpointEvent<'_> {
        match poll_fn(|cx| self.poll_recv(cx)).await {
            Found::Datagram { local, remote, len } => {
                EndpointEvent::Datagram { local, remote, data: &self.datagram[..len] }
            }
            Found::Event(event) => event,
        }
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Found> {
        // As long as datagrams are there, the reactor, the clock and the servers are left alone.
        if self.burst < BURST
            && let Some(found) = self.try_recv()
        {
            self.burst += 1;
            return Poll::Ready(found);
        }
        let tired = std::mem::take(&mut self.burst) >= BURST;
        // Each round either finds something or leaves no socket ready and no timer due; two are enough, mostly.
        for _ in 0..4 {
            if let Some(found) = self.poll_servers(cx) {
                return Poll::Ready(found);
            }
            if tired {
                break;
            }
            if let Some(found) = self.try_recv() {
                return Poll::Ready(found);
            }
            let ready = self.sockets.iter_mut().fold(false, |ready, socket| socket.poll_ready(cx) | ready);
            let due = self.sleep.as_mut().poll(cx).is_ready();
            if !ready && !due {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// A datagram for the driver, if one of the sockets has it.
    fn try_recv(&mut self) -> Option<Found> {
        for _ in 0..self.sockets.len() {
            let turn = self.turn % self.sockets.len();
            // Bounded by what the kernel has: answers of servers are no datagrams for the driver.
            while let Some((len, remote)) = self.sockets[turn].try_recv(&mut self.datagram) {
                let local = self.sockets[turn].address();
                if !self.is_answer(local, remote, len) && !self.is_cut(remote) {
                    self.turn = turn + 1;
                    return Some(Found::Datagram { local, remote, len });
                }
            }
            self.turn = turn + 1;
        }
        None
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "tests have it")]
    const fn is_cut(&self, _: SocketAddr) -> bool {
        false
    }

    #[cfg(test)]
    fn is_cut(&self, remote: SocketAddr) -> bool {
        self.config.cut.as_ref().is_some_and(|cut| cut(remote.ip()))
    }

    fn is_answer(&mut self, local: SocketAddr, remote: SocketAddr, len: usize) -> bool {
        if self.reflexive.is_empty() {
            return false;
        }
        let (now, data) = (self.now(), &self.datagram[..len]);
        let answered = self.reflexive.iter_mut().any(|server| server.handle(local, remote, data, now));
        if answered {
            self.sync_reflexive();
        }
        answered
    }

    /// Interfaces, STUN and TURN: what they tell, and the deadline of all of them.
    fn poll_servers(&mut self, cx: &mut Context<'_>) -> Option<Found> {
        let now = self.now();
        if self.look_at <= now {
            self.look_at = now + LOOK_EVERY;
            self.look(now);
        }
        let mut until = self.look_at;
        for server in &mut self.reflexive {
            until = until.min(server.poll(cx, now, &mut self.sockets, &mut self.candidates));
        }
        let mut received = None;
        for relay in &mut self.relays {
            let mut buffers = Buffers { datagram: &mut self.datagram, frame: &mut self.frame };
            let (found, due) = relay.poll(cx, now, &mut buffers, &mut self.candidates);
            until = until.min(due);
            if found.is_some() {
                received = found;
                break;
            }
        }
        if self.gathering && !self.is_any_unsettled() {
            self.gathering = false;
            self.candidates.tell(EndpointEvent::GatheringComplete);
        }
        if let Some(received) = received {
            // The relays take turns, as the sockets do.
            self.relays.rotate_left(1);
            return Some(Found::Datagram { local: received.local, remote: received.remote, len: received.len });
        }
        if until != self.sleeps_until {
            self.sleeps_until = until;
            self.sleep.as_mut().reset(until.to_std(self.epoch).into());
        }
        self.candidates.next_event().map(Found::Event)
    }

    fn is_any_unsettled(&self) -> bool {
        !(self.reflexive.iter().all(Reflexive::is_settled) && self.relays.iter().all(Relay::is_settled))
    }

    /// Looks whether addresses came or went.
    fn look(&mut self, now: Instant) -> bool {
        let Ok(addresses) = (self.config.interfaces)() else { return false };
        let mut changed = false;
        if self.config.relay_only {
            let set = |addresses: &[IpAddr]| select(addresses.to_vec(), self.config.loopback);
            changed = set(&addresses) != set(&self.addresses);
        } else {
            let wanted = select(addresses.clone(), self.config.loopback);
            for socket in &self.sockets {
                if !wanted.contains(&socket.address().ip()) || socket.is_broken() {
                    changed = true;
                    host_candidate(socket).iter().for_each(|candidate| self.candidates.remove(candidate));
                }
            }
            self.sockets.retain(|socket| wanted.contains(&socket.address().ip()) && !socket.is_broken());
            for address in wanted {
                if self.sockets.iter().all(|socket| socket.address().ip() != address) {
                    // An address may not be usable yet, say while IPv6 looks for duplicates; the next look tries again.
                    let Ok(socket) = HostSocket::bind(address, self.config.receive_buffer) else { continue };
                    changed = true;
                    host_candidate(&socket).into_iter().for_each(|candidate| self.candidates.add(candidate));
                    self.sockets.push(socket);
                }
            }
        }
        if changed {
            self.sync_reflexive();
            for relay in &mut self.relays {
                relay.interfaces_changed(&addresses, now, &mut self.candidates);
            }
            self.candidates.tell(EndpointEvent::InterfacesChanged);
        }
        self.addresses = addresses;
        changed
    }

    /// Makes the server-reflexive candidates those that the servers tell, each once, and none that equals its base
    /// (RFC 8445 section 5.1.3).
    fn sync_reflexive(&mut self) {
        let bases: BTreeSet<_> = self.sockets.iter().map(HostSocket::address).collect();
        let mapped = self.reflexive.iter().flat_map(Reflexive::mapped);
        let wanted: Vec<_> = mapped
            .filter(|(mapped, base)| mapped != base && bases.contains(base))
            .filter_map(|(mapped, base)| Candidate::server_reflexive(mapped, base, "udp").ok())
            .collect();
        let is_reflexive = |candidate: &&Candidate| candidate.kind() == str0m::CandidateKind::ServerReflexive;
        let present: Vec<_> = self.candidates.present().iter().filter(is_reflexive).cloned().collect();
        present.iter().filter(|lost| !wanted.contains(lost)).for_each(|lost| self.candidates.remove(lost));
        wanted.into_iter().for_each(|candidate| self.candidates.add(candidate));
    }

    fn now(&self) -> Instant {
        Instant::from_std(self.epoch)
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        let now = self.now();
        for relay in &mut self.relays {
            relay.close(now, &mut self.candidates);
        }
    }
}

/// One socket for each address that takes one. It is an error when there are addresses but none does.
fn bind_all(addresses: BTreeSet<IpAddr>, receive_buffer: usize) -> Result<Vec<HostSocket>, BindError> {
    let mut sockets = Vec::new();
    let mut failure = BindError::NoAddress;
    for address in addresses {
        match HostSocket::bind(address, receive_buffer) {
            Ok(socket) => sockets.push(socket),
            Err(error) => failure = BindError::Socket { address, error },
        }
    }
    if sockets.is_empty() { Err(failure) } else { Ok(sockets) }
}

fn host_candidate(socket: &HostSocket) -> Option<Candidate> {
    Candidate::host(socket.address(), "udp").ok()
}

fn reflexive_urls(usable: &[(ServerUrl, Credentials)]) -> Vec<(ServerUrl, bool)> {
    let mut wanted: Vec<(ServerUrl, bool)> = Vec::new();
    let stun = usable.iter().filter(|(url, _)| url.service == Service::Stun);
    let turn = usable.iter().filter(|(url, _)| url.service == Service::Turn(super::ice_server::Carrier::Udp));
    for (url, _) in stun.chain(turn) {
        let url = ServerUrl { service: Service::Stun, ..url.clone() };
        let quiet = !usable.iter().any(|(other, _)| *other == url);
        if !wanted.iter().any(|(other, _)| *other == url) {
            wanted.push((url, quiet));
        }
    }
    wanted
}
