//! One TURN server: connects, allocates, carries datagrams, and starts again when that ends.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::BoxFuture;
use str0m::Candidate;
use stun_proto::{Instant, types::TransportType};
use tokio_rustls::rustls::ClientConfig;

use super::{
    allocation::{Allocation, AllocationEvent},
    candidates::Candidates,
    ice_server::{Credentials, ServerUrl},
    link::{Connected, Link, connect},
};

/// The back-off starts here and doubles up to the second.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// So many messages that carry nothing for the driver are handled before others get their turn.
const BURST: usize = 32;
/// Guards against a deadline of the library that never passes.
const SHORTEST_WAIT: Duration = Duration::from_millis(5);
const FAR: Duration = Duration::from_secs(3600);

enum State {
    Connecting(BoxFuture<'static, Result<Connected, String>>),
    Up(Box<Up>),
    Waiting(Instant),
}

struct Up {
    link: Link,
    allocation: Allocation,
    candidates: Vec<Candidate>,
    addresses: usize,
    /// When the allocation wants to be polled.
    due: Instant,
    /// Whether the server has said anything.
    heard: bool,
}

/// A datagram of a peer, which lies in the buffer.
pub(super) struct Received {
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) len: usize,
}

/// Where datagrams go: what the driver gets, and a message of the server.
pub(super) struct Buffers<'a> {
    pub(super) datagram: &'a mut [u8],
    pub(super) frame: &'a mut [u8],
}

/// A TURN server of the configuration.
pub(super) struct Relay {
    url: ServerUrl,
    credentials: Credentials,
    tls: Option<Arc<ClientConfig>>,
    receive_buffer: usize,
    state: State,
    attempt: usize,
    failures: u32,
    told: bool,
    /// Why there is no allocation.
    failure: Option<String>,
    heard: bool,
    settled: bool,
    frame: Vec<u8>,
}

impl Relay {
    pub(super) fn new(
        url: ServerUrl,
        credentials: Credentials,
        tls: Option<Arc<ClientConfig>>,
        receive_buffer: usize,
        now: Instant,
    ) -> Self {
        Self {
            url,
            credentials,
            tls,
            receive_buffer,
            state: State::Waiting(now),
            attempt: 0,
            failures: 0,
            told: false,
            failure: None,
            heard: false,
            settled: false,
            frame: Vec::new(),
        }
    }

    pub(super) fn url(&self) -> &ServerUrl {
        &self.url
    }

    /// Why it cannot be used at present.
    pub(super) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// Whether the server is there, be it that it refuses.
    pub(super) fn is_heard(&self) -> bool {
        self.heard || matches!(&self.state, State::Up(up) if up.heard)
    }

    /// Whether it has an allocation, or has failed.
    pub(super) fn is_settled(&self) -> bool {
        self.settled
    }

    /// An allocation keeps the credentials that it was made with for as long as the server does; the next one takes the
    /// new ones. One that could not be made is tried again at once.
    pub(super) fn set_credentials(&mut self, credentials: Credentials, now: Instant) {
        if self.credentials == credentials {
            return;
        }
        self.credentials = credentials;
        let allocated = matches!(&self.state, State::Up(up) if !up.candidates.is_empty());
        if !allocated {
            self.told = false;
            self.settled = false;
            self.failures = 0;
            self.state = State::Waiting(now);
        }
    }

    /// The address that our messages come from is gone: so is the allocation, although the server keeps it a while.
    pub(super) fn interfaces_changed(&mut self, addresses: &[IpAddr], now: Instant, candidates: &mut Candidates) {
        match &self.state {
            State::Up(up) if !addresses.contains(&up.link.local().ip()) => {
                self.fail("its interface is gone", now, candidates);
                self.state = State::Waiting(now);
            }
            State::Waiting(_) => self.state = State::Waiting(now),
            State::Up(_) | State::Connecting(_) => {}
        }
        // What is left may have another way to the server now, and another address to it.
        if let State::Up(up) = &mut self.state {
            up.allocation.hurry(now);
            up.due = now;
        }
    }

    /// Whether this address was allocated here.
    pub(super) fn has(&self, relayed: SocketAddr) -> bool {
        matches!(&self.state, State::Up(up) if up.allocation.relayed().contains(&relayed))
    }

    /// Sends a datagram from the relayed address.
    pub(super) fn send(&mut self, peer: SocketAddr, data: &[u8], now: Instant) {
        let State::Up(up) = &mut self.state else { return };
        if up.allocation.send(peer, data, now, &mut self.frame) {
            up.link.send(&mut self.frame, false);
        }
        // A permission or a channel may have to be asked for.
        up.due = now;
    }

    /// Gives back what the server holds for us, as well as that goes without waiting.
    pub(super) fn close(&mut self, now: Instant, candidates: &mut Candidates) {
        if let State::Up(up) = &mut self.state {
            if let Some(mut frame) = up.allocation.delete(now) {
                up.link.send(&mut frame, true);
                let _ = up.link.poll_flush(&mut Context::from_waker(std::task::Waker::noop()));
            }
            for candidate in up.candidates.drain(..) {
                candidates.remove(&candidate);
            }
        }
        self.state = State::Waiting(now + FAR);
    }

    /// Does what there is to do. A datagram, if one came, and until when nothing happens without input.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        buffers: &mut Buffers<'_>,
        candidates: &mut Candidates,
    ) -> (Option<Received>, Instant) {
        for _ in 0..BURST {
            match &mut self.state {
                State::Waiting(until) if *until > now => return (None, *until),
                State::Waiting(_) => {
                    let (url, tls) = (self.url.clone(), self.tls.clone());
                    let connecting = connect(url, self.attempt, self.receive_buffer, tls);
                    self.state = State::Connecting(Box::pin(connecting));
                }
                State::Connecting(connecting) => match connecting.as_mut().poll(cx) {
                    Poll::Ready(Ok(connected)) => self.connected(connected, now),
                    Poll::Ready(Err(reason)) => self.fail(&reason, now, candidates),
                    Poll::Pending => return (None, now + FAR),
                },
                State::Up(up) => match up.poll(cx, now, buffers) {
                    Step::Received(received) => return (Some(received), now),
                    Step::Handled => {}
                    Step::Relayed(relayed) => self.allocated(relayed, candidates),
                    Step::Failed(reason) => self.fail(&reason, now, candidates),
                    Step::Idle => return (None, up.due),
                },
            }
        }
        cx.waker().wake_by_ref();
        (None, now + SHORTEST_WAIT)
    }

    fn connected(&mut self, Connected { link, addresses }: Connected, now: Instant) {
        let allocation = Allocation::new(link.transport(), link.local(), link.server(), self.credentials.clone());
        self.state =
            State::Up(Box::new(Up { link, allocation, candidates: Vec::new(), addresses, due: now, heard: false }));
    }

    fn allocated(&mut self, relayed: SocketAddr, candidates: &mut Candidates) {
        let State::Up(up) = &mut self.state else { return };
        tracing::debug!(url = %self.url, %relayed, "a relayed address");
        (self.settled, self.told, self.failures) = (true, false, 0);
        self.failure = None;
        // What the server says may be no address that a candidate can have.
        if let Ok(candidate) = Candidate::relayed(relayed, local_of(up.link.local(), relayed), "udp") {
            up.candidates.push(candidate.clone());
            candidates.add(candidate);
        }
    }

    fn fail(&mut self, reason: &str, now: Instant, candidates: &mut Candidates) {
        self.attempt = self.attempt.wrapping_add(1);
        self.heard = self.is_heard();
        let mut others = false;
        if let State::Up(up) = &mut self.state {
            // The name has other addresses that were not tried yet.
            others = up.candidates.is_empty() && !self.attempt.is_multiple_of(up.addresses);
            for candidate in up.candidates.drain(..) {
                candidates.remove(&candidate);
            }
        }
        if others {
            self.state = State::Waiting(now);
            return;
        }
        self.settled = true;
        self.failure = Some(reason.to_owned());
        if !self.told {
            self.told = true;
            candidates.server_failed(&self.url, reason);
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(10)).min(LONGEST_PAUSE);
        self.failures += 1;
        // Many clients may have lost the same server at the same time.
        let jitter = getrandom::u32().map_or(0.5, |random| f64::from(random) / f64::from(u32::MAX));
        self.state = State::Waiting(now + pause.mul_f64(0.75 + jitter / 2.0));
    }
}

/// str0m wants a local address of the family of the relayed one, to tell interfaces from each other.
fn local_of(local: SocketAddr, relayed: SocketAddr) -> SocketAddr {
    if local.is_ipv4() == relayed.is_ipv4() { local } else { relayed }
}

enum Step {
    Received(Received),
    Handled,
    Relayed(SocketAddr),
    Failed(String),
    Idle,
}

impl Up {
    fn poll(&mut self, cx: &mut Context<'_>, now: Instant, buffers: &mut Buffers<'_>) -> Step {
        if self.due <= now {
            self.drive(now);
        }
        match self.allocation.poll_event() {
            Some(AllocationEvent::Relayed(relayed)) => return Step::Relayed(relayed),
            Some(AllocationEvent::Failed(reason)) => return Step::Failed(reason),
            None => {}
        }
        if let Err(error) = self.link.poll_flush(cx) {
            return Step::Failed(format!("the connection is lost: {error}"));
        }
        let len = match self.link.poll_frame(cx, buffers.frame) {
            Poll::Ready(Ok(len)) => len,
            Poll::Ready(Err(error)) if self.link.transport() == TransportType::Tcp => {
                return Step::Failed(format!("the connection is lost: {error}"));
            }
            Poll::Ready(Err(_)) => {
                self.due = now;
                return Step::Handled;
            }
            Poll::Pending => return Step::Idle,
        };
        self.heard = true;
        match self.allocation.handle(&buffers.frame[..len], now, buffers.datagram) {
            Some((remote, len)) => {
                let family = |relayed: &&SocketAddr| relayed.is_ipv4() == remote.is_ipv4();
                match self.allocation.relayed().iter().find(family) {
                    Some(&local) => Step::Received(Received { local, remote, len }),
                    None => Step::Handled,
                }
            }
            None => {
                self.due = now;
                Step::Handled
            }
        }
    }

    fn drive(&mut self, now: Instant) {
        if self.link.take_refused() {
            self.allocation.refused(now);
        }
        self.allocation.poll(now);
        while let Some(mut frame) = self.allocation.poll_transmit(now) {
            self.link.send(&mut frame, true);
        }
        self.due = self.allocation.poll(now).max(now + SHORTEST_WAIT);
    }
}
