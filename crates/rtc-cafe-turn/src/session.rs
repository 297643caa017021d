//! A client, and the way back to it.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Instant,
};

use tokio::sync::mpsc;
use turn_types::AddressFamily;

use crate::{
    client::{Client, Now, Output, Relays},
    framing::FromPeer,
    outbox::{Outbox, Route},
    server::{Server, lock},
    stats::Transport,
    udp,
};

/// Bytes that may wait for a client on a stream, a burst that has come at once; what is beyond is dropped.
const MAX_WAITING: usize = 1 << 20;
/// What a message takes beside its bytes.
const OVERHEAD: usize = 64;

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
    Datagrams(Route),
    /// What does not fit is dropped, as a network would.
    Stream(mpsc::UnboundedSender<Vec<u8>>),
}

impl Session {
    pub(crate) const fn new(address: SocketAddr, transport: Transport, way: Way) -> Self {
        Self { client: Mutex::new(Client::new(address, transport)), way, waiting: AtomicUsize::new(0) }
    }

    /// Takes what the client has sent.
    pub(crate) fn handle(self: &Arc<Self>, data: &[u8], server: &Arc<Server>, outbox: &mut Outbox, now: Now) {
        let output = lock(&self.client).handle(data, &server.common, &mut self.relays(server), now);
        match output {
            Some(Output::Reply(reply)) => self.reply(reply, server, outbox),
            Some(Output::ToPeer { relay, peer, data }) => server.send_to_peer(relay, peer, &data, outbox, now),
            None => {}
        }
    }

    /// Takes what peers have sent to a relayed address.
    pub(crate) fn handle_peers<'a>(
        &self,
        relay: SocketAddr,
        datagrams: impl Iterator<Item = (SocketAddr, &'a [u8])>,
        server: &Server,
        outbox: &mut Outbox,
        now: Now,
    ) {
        let mut client = lock(&self.client);
        for (peer, data) in datagrams {
            if let Some(message) = client.handle_peer(relay, peer, data, &server.common, now) {
                self.pass_on(message, server, outbox);
            }
        }
    }

    /// A message of so many bytes has gone out, or will not.
    pub(crate) fn taken(&self, length: usize) {
        self.waiting.fetch_sub(length + OVERHEAD, Relaxed);
    }

    pub(crate) fn is_allocated(&self) -> bool {
        lock(&self.client).is_allocated()
    }

    pub(crate) fn end(self: &Arc<Self>, server: &Arc<Server>) {
        lock(&self.client).end(&mut self.relays(server));
    }

    pub(crate) fn expire(self: &Arc<Self>, server: &Arc<Server>, now: Instant) {
        lock(&self.client).expire(&mut self.relays(server), now);
    }

    fn reply(&self, reply: Vec<u8>, server: &Server, outbox: &mut Outbox) {
        match &self.way {
            Way::Datagrams(route) => outbox.push(route, reply.len(), |out| out.extend_from_slice(&reply)),
            Way::Stream(sender) => self.queue(sender, reply, server),
        }
    }

    fn pass_on(&self, message: FromPeer<'_>, server: &Server, outbox: &mut Outbox) {
        match &self.way {
            Way::Datagrams(route) => outbox.push(route, message.length(), |out| message.write(out)),
            Way::Stream(sender) => self.queue(sender, message.into_bytes(), server),
        }
    }

    fn queue(&self, sender: &mpsc::UnboundedSender<Vec<u8>>, message: Vec<u8>, server: &Server) {
        let length = message.len() + OVERHEAD;
        let fits = self.waiting.fetch_add(length, Relaxed) + length <= MAX_WAITING;
        if !fits || sender.send(message).is_err() {
            self.waiting.fetch_sub(length, Relaxed);
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
    fn serves(&self, family: AddressFamily) -> bool {
        self.server.relays.serves(family == AddressFamily::IPV4)
    }

    fn open(&mut self, family: AddressFamily, even: bool) -> Option<SocketAddr> {
        let (address, socket) = self.server.relays.bind(family == AddressFamily::IPV4, even)?;
        let socket = Arc::new(socket);
        let peers = udp::serve_peers(Arc::downgrade(self.server), self.session.clone(), socket.clone(), address);
        let receiver = tokio::spawn(peers).abort_handle();
        self.server.relays.insert(address, socket, self.session.clone(), receiver);
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
