//! What one STUN server tells about each of our sockets: the server-reflexive candidates (RFC 8445 section 5.1.1.2).

use std::{
    net::SocketAddr,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::BoxFuture;
use stun_proto::Instant;

use super::{
    candidates::Candidates,
    ice_server::ServerUrl,
    resolve::resolve,
    stun::{Binding, State},
    udp::HostSocket,
};

/// When a name is looked up again that could not be resolved.
const RESOLVE_AGAIN: Duration = Duration::from_secs(30);

enum Lookup {
    Asking(BoxFuture<'static, Result<Vec<SocketAddr>, String>>),
    Found(Vec<SocketAddr>),
    Again(Instant),
}

/// A STUN server, or a TURN server in that capacity.
pub(super) struct Reflexive {
    url: ServerUrl,
    /// A TURN server says itself when it fails.
    quiet: bool,
    lookup: Lookup,
    bindings: Vec<Binding>,
    settled: bool,
    told: bool,
    failure: Option<String>,
}

impl Reflexive {
    pub(super) fn new(url: ServerUrl, quiet: bool) -> Self {
        let lookup = Lookup::Asking(resolve(url.host.clone(), url.port));
        Self { url, quiet, lookup, bindings: Vec::new(), settled: false, told: false, failure: None }
    }

    pub(super) fn url(&self) -> &ServerUrl {
        &self.url
    }

    /// Why it cannot be used at present, unless a TURN server says so itself.
    pub(super) fn failure(&self) -> Option<&str> {
        self.failure.as_deref().filter(|_| !self.quiet)
    }

    /// What it said about each socket: which socket, at which of its addresses, and how it sees the socket.
    pub(super) fn answers(&self) -> impl Iterator<Item = (SocketAddr, SocketAddr, State)> {
        self.bindings.iter().map(|binding| (binding.local(), binding.server(), binding.state()))
    }

    /// Whether it has answered for every socket, or failed.
    pub(super) fn is_settled(&self) -> bool {
        self.settled
    }

    /// Addresses that a socket seems to have, with that of the socket.
    pub(super) fn mapped(&self) -> impl Iterator<Item = (SocketAddr, SocketAddr)> {
        self.bindings.iter().filter_map(|binding| match binding.state() {
            State::Mapped(mapped) => Some((mapped, binding.local())),
            State::Asking | State::Failed(_) => None,
        })
    }

    /// Takes a datagram that a socket received; whether it was an answer to us.
    pub(super) fn handle(&mut self, local: SocketAddr, remote: SocketAddr, data: &[u8], now: Instant) -> bool {
        self.bindings
            .iter_mut()
            .find(|binding| binding.server() == remote && binding.local() == local)
            .is_some_and(|binding| binding.handle(data, now))
    }

    /// Asks what is to be asked. Until when nothing happens without input.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        sockets: &mut [HostSocket],
        candidates: &mut Candidates,
    ) -> Instant {
        let until = self.poll_lookup(cx, now, candidates);
        let Lookup::Found(servers) = &self.lookup else { return until };
        match_sockets(&mut self.bindings, servers, sockets, now);
        let mut until = until;
        for binding in &mut self.bindings {
            let (local, server) = (binding.local(), binding.server());
            let Some(socket) = sockets.iter_mut().find(|socket| socket.address() == local) else { continue };
            while let Some(request) = binding.poll_transmit(now) {
                socket.send(server, &request);
            }
            until = until.min(binding.deadline(now));
        }
        self.settle(candidates);
        until
    }

    fn poll_lookup(&mut self, cx: &mut Context<'_>, now: Instant, candidates: &mut Candidates) -> Instant {
        loop {
            match &mut self.lookup {
                Lookup::Asking(asking) => match asking.as_mut().poll(cx) {
                    Poll::Ready(Ok(servers)) => self.lookup = Lookup::Found(one_of_each_family(&servers)),
                    Poll::Ready(Err(reason)) => {
                        self.lookup = Lookup::Again(now + RESOLVE_AGAIN);
                        self.settled = true;
                        self.fail(&reason, candidates);
                    }
                    Poll::Pending => return now + RESOLVE_AGAIN,
                },
                Lookup::Again(at) if *at <= now => {
                    self.lookup = Lookup::Asking(resolve(self.url.host.clone(), self.url.port));
                }
                Lookup::Again(at) => return *at,
                Lookup::Found(_) => return now + RESOLVE_AGAIN,
            }
        }
    }

    fn settle(&mut self, candidates: &mut Candidates) {
        if self.bindings.iter().any(|binding| binding.state() == State::Asking) {
            return;
        }
        self.settled = true;
        let failure = self.bindings.iter().try_fold("no interface reaches it", |_, binding| match binding.state() {
            State::Failed(reason) => Ok(reason),
            State::Asking | State::Mapped(_) => Err(()),
        });
        match failure {
            Ok(reason) => self.fail(reason, candidates),
            Err(()) => (self.told, self.failure) = (false, None),
        }
    }

    /// Told once until it works again.
    fn fail(&mut self, reason: &str, candidates: &mut Candidates) {
        if !self.told && !self.quiet {
            candidates.server_failed(&self.url, reason);
        }
        self.told = true;
        self.failure = Some(reason.to_owned());
    }
}

fn one_of_each_family(servers: &[SocketAddr]) -> Vec<SocketAddr> {
    let v4 = servers.iter().find(|server| server.is_ipv4());
    let v6 = servers.iter().find(|server| server.is_ipv6());
    v4.into_iter().chain(v6).copied().collect()
}

/// One binding for each socket and server of one family. What is on loopback cannot talk to what is not.
fn match_sockets(bindings: &mut Vec<Binding>, servers: &[SocketAddr], sockets: &[HostSocket], now: Instant) {
    let locals = || sockets.iter().map(HostSocket::address);
    bindings.retain(|binding| locals().any(|local| local == binding.local()));
    for local in locals() {
        for server in servers {
            let reach = local.is_ipv4() == server.is_ipv4() && local.ip().is_loopback() == server.ip().is_loopback();
            let there = |binding: &Binding| binding.local() == local && binding.server() == *server;
            if reach && !bindings.iter().any(there) {
                bindings.push(Binding::new(local, *server, now));
            }
        }
    }
}
