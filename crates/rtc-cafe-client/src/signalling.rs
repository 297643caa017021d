//! The connection to the signalling server: Socket.IO over a websocket, which comes back by itself.
//!
//! [`Signalling`] is a small client of Engine.IO 4 and Socket.IO 5 for one namespace, without polling. It is no task: its
//! owner polls it by [`Signalling::recv`], and dropping it closes the connection.
//!
//! CONNECT goes out right behind the websocket's handshake, before the server's open packet is there, which our server and
//! the original both take. What there is to say first goes with it; a server that does not know how to take it there is told
//! again once it has let us in.

mod backoff;
mod config;
mod connection;
mod dial;
pub(crate) mod http;
mod problem;
mod receive;
mod url;

#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use rtc_cafe_core::{Session, SessionOutput, SignallerState};
use rtc_cafe_wire::{
    json,
    packet::Namespace,
    signal::{ClientSignal, ServerSignal},
};
use tokio::time::{Instant, Sleep, sleep, timeout, timeout_at};

use self::{
    backoff::Backoff,
    connection::{Connection, Input, Loss},
    dial::{Dialler, Socket},
};
pub use self::{config::HeaderError, url::ParseUrlError};
pub(crate) use self::{
    config::{Headers, SignalModifier, SignallingConfig},
    problem::{SendSignalError, SignallingProblem},
    url::ServerUrl,
};

/// An attempt to connect that has taken no longer is not begun anew.
const YOUNG: Duration = Duration::from_secs(1);
/// The code with which the operator ends a session.
const KICKED: &str = "kicked";
/// How long saying goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// What the owner of a [`Signalling`] is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SignallingEvent {
    /// A new connection is there and takes signals, though it is not in the namespace yet.
    Opened,
    /// The state changed.
    State(SignallerState),
    /// The server says something. After [`SignallerState::Connected`] the first is `sid` as a rule.
    Signal(ServerSignal),
    /// Something went wrong; nothing need be done, unless somebody is to be told.
    Problem(SignallingProblem),
}

enum Link {
    /// Waits until it is time for the next attempt.
    Waiting(Pin<Box<Sleep>>),
    Dialling(Dial, Instant),
    Open(Box<Connection>),
    Closed,
}

type Dial = Pin<Box<dyn Future<Output = Result<Socket, SignallingProblem>> + Send>>;

/// A client of the signalling server. It connects at once, and again after every loss, until it is closed.
///
/// A server that refuses the namespace, or ends the session, is tried again as well, after the wait that is due: it may
/// be about to start, or its operator about to mend it. (socket.io-client leaves that to the application, and the
/// browser's `RTCCafeSignallingClient` does the same as this one.) Only who is kicked by the operator stays away.
pub(crate) struct Signalling {
    dialler: Arc<Dialler>,
    connect_timeout: Duration,
    auth: Option<String>,
    modifier: Option<SignalModifier>,
    backoff: Backoff,
    session: Session,
    link: Link,
    /// Filled only when it is empty.
    events: VecDeque<SignallingEvent>,
    /// The last problem of this outage.
    told: Option<SignallingProblem>,
}

impl Signalling {
    /// Begins to connect as soon as [`Signalling::recv`] is polled.
    pub(crate) fn connect(config: SignallingConfig) -> Self {
        let url = config.url.websocket(&config.path);
        let dialler = Dialler { server: config.url, url, headers: config.headers, tls: config.tls };
        let mut signalling = Self {
            dialler: Arc::new(dialler),
            connect_timeout: config.connect_timeout,
            auth: config.auth,
            modifier: config.modifier,
            backoff: Backoff::new(config.backoff, config.seed),
            session: Session::new(config.api_version),
            link: Link::Closed,
            events: VecDeque::new(),
            told: None,
        };
        signalling.link = signalling.dial();
        signalling
    }

    /// The session: its sid, the version agreed on, and the state, which may be ahead of what [`Signalling::recv`] has
    /// told.
    pub(crate) const fn session(&self) -> &Session {
        &self.session
    }

    /// Sends a signal behind those that were sent before; it goes out when [`Signalling::recv`] is polled next. What has
    /// not gone out when the connection is lost is dropped.
    pub(crate) fn send(&mut self, signal: &ClientSignal) -> Result<(), SendSignalError> {
        match &mut self.link {
            Link::Open(connection) => connection.push(signal.name(), payload(self.modifier.as_ref(), signal)?),
            _ => Err(SendSignalError::NotConnected),
        }
    }

    /// The next event. After [`Signalling::close`] and the event that tells of it, it waits for ever.
    ///
    /// Cancel safe. Nothing is sent, received or noticed unless it is polled, so poll it all the time.
    pub(crate) async fn recv(&mut self) -> SignallingEvent {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// The network has changed: an attempt is made at once, anew if one is under way, and a connection that is there has
    /// to show within 2 seconds that it is alive.
    pub(crate) fn retry_now(&mut self) {
        match &mut self.link {
            Link::Waiting(_) | Link::Dialling(..) => {
                self.backoff.reset();
                self.link = self.dial();
            }
            Link::Open(connection) => connection.doubt(),
            Link::Closed => {}
        }
    }

    /// The way to the server may be dead, or there again: like [`Signalling::retry_now`], but an attempt that has only just
    /// begun goes on, for there may be many reasons to look at about the same time.
    pub(crate) fn check(&mut self) {
        let young = |deadline: Instant| deadline.duration_since(Instant::now()) + YOUNG > self.connect_timeout;
        if !matches!(&self.link, Link::Dialling(_, deadline) if young(*deadline)) {
            self.retry_now();
        }
    }

    /// Takes leave of the server, for good; sends what still waits before. Takes a second at most.
    ///
    /// If it is cancelled, the connection is closed without a word.
    pub(crate) async fn close(&mut self) {
        self.session.close();
        self.drive_session();
        if let Link::Open(connection) = mem::replace(&mut self.link, Link::Closed) {
            let _ = timeout(GOODBYE, connection.close()).await;
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<SignallingEvent> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Poll::Ready(event);
            }
            match &mut self.link {
                Link::Closed => return Poll::Pending,
                Link::Waiting(sleep) => {
                    ready!(sleep.as_mut().poll(cx));
                    self.link = self.dial();
                }
                Link::Dialling(dial, deadline) => match (ready!(dial.as_mut().poll(cx)), *deadline) {
                    (Ok(socket), deadline) => self.opened(socket, deadline),
                    (Err(problem), _) => self.lost(Some(problem)),
                },
                Link::Open(connection) => match ready!(connection.poll(cx)) {
                    Input::Entered => self.entered(),
                    Input::Signal(ServerSignal::Error { error, code: Some(code), .. }) if code == KICKED => {
                        self.kicked(&error);
                    }
                    Input::Signal(signal) => {
                        self.entered();
                        self.session.handle_signal(&signal);
                        self.events.push_back(SignallingEvent::Signal(signal));
                    }
                    Input::Odd(problem) => self.events.push_back(SignallingEvent::Problem(problem)),
                    Input::Lost(loss) => {
                        let problem = self.problem(loss);
                        self.lost(problem);
                    }
                },
            }
        }
    }

    fn dial(&self) -> Link {
        let (dialler, after) = (self.dialler.clone(), self.connect_timeout);
        let deadline = Instant::now() + after;
        let dial = async move {
            let timed_out = |_| SignallingProblem::ConnectTimedOut { server: dialler.server.to_string(), after };
            timeout_at(deadline, dialler.dial()).await.map_err(timed_out)?
        };
        Link::Dialling(Box::pin(dial), deadline)
    }

    fn opened(&mut self, socket: Socket, deadline: Instant) {
        let namespace = Namespace::of(self.session.offered_version());
        self.link = Link::Open(Box::new(Connection::new(socket, namespace, self.auth.clone(), deadline)));
        self.session.handle_opened();
        self.drive_session();
    }

    fn entered(&mut self) {
        if self.session.state() != SignallerState::Connected {
            tracing::debug!(server = %self.dialler.server, "connected to the signaller");
            self.backoff.reset();
            self.told = None;
            self.session.handle_connected();
            self.drive_session();
        }
    }

    /// The connection, or the attempt to make one, has failed.
    fn lost(&mut self, problem: Option<SignallingProblem>) {
        let wait = self.backoff.next();
        tracing::debug!(server = %self.dialler.server, ?problem, ?wait, "no connection to the signaller");
        self.link = Link::Waiting(Box::pin(sleep(wait)));
        if problem.is_some() && problem != self.told {
            self.told.clone_from(&problem);
            self.events.extend(problem.map(SignallingEvent::Problem));
        }
        self.session.handle_disconnected();
        self.drive_session();
    }

    /// The operator does not want us, so we do not come back.
    fn kicked(&mut self, error: &str) {
        let reason = json::Value::parse(error).ok().and_then(|error| error.as_string().map(Into::into));
        let problem = SignallingProblem::Kicked { reason: reason.unwrap_or_else(|| error.to_owned()) };
        self.events.push_back(SignallingEvent::Problem(problem));
        self.link = Link::Closed;
        self.session.close();
        self.drive_session();
    }

    fn problem(&self, loss: Loss) -> Option<SignallingProblem> {
        let entered = matches!(&self.link, Link::Open(connection) if connection.has_entered());
        Some(match loss {
            Loss::Problem(problem) => problem,
            Loss::Refused(message) => {
                SignallingProblem::NamespaceRefused { namespace: self.session.offered_version().namespace(), message }
            }
            Loss::Silent(after) if entered => SignallingProblem::Silent { after },
            Loss::Silent(_) => {
                let (server, after) = (self.dialler.server.to_string(), self.connect_timeout);
                SignallingProblem::ConnectTimedOut { server, after }
            }
            Loss::Gone if entered => return None,
            Loss::Gone => SignallingProblem::Dropped { url: self.dialler.url.clone() },
        })
    }

    fn drive_session(&mut self) {
        while let Some(output) = self.session.poll() {
            match output {
                SessionOutput::StateChanged(state) => self.events.push_back(SignallingEvent::State(state)),
                SessionOutput::Opened => self.events.push_back(SignallingEvent::Opened),
                SessionOutput::Signal(signal) => {
                    let Link::Open(connection) = &mut self.link else { continue };
                    let payload = payload(self.modifier.as_ref(), &signal);
                    let sent = payload.and_then(|payload| connection.push(signal.name(), payload));
                    if sent.is_err() {
                        let problem = SignallingProblem::Modifier(signal.name());
                        self.events.push_back(SignallingEvent::Problem(problem));
                    }
                }
            }
        }
    }
}

/// The payload of a signal as it is sent.
fn payload(modifier: Option<&SignalModifier>, signal: &ClientSignal) -> Result<String, SendSignalError> {
    let (name, mut payload) = (signal.name(), signal.payload());
    if let Some(modify) = modifier {
        payload = modify(name, payload);
        json::Value::parse(&payload).map_err(|_| SendSignalError::Modifier(name))?;
    }
    Ok(payload)
}

impl fmt::Debug for Signalling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signalling")
            .field("server", &self.dialler.server)
            .field("state", &self.session.state())
            .finish_non_exhaustive()
    }
}
