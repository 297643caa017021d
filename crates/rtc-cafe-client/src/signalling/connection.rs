//! One connection to the server: its websocket, what waits to be sent, and when it is dead.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::{Sink, Stream, StreamExt};
use rtc_cafe_wire::{
    packet::{self, Namespace},
    signal::ServerSignal,
};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_tungstenite::tungstenite::{
    self, Message,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use super::{
    dial::Socket,
    problem::{SendSignalError, SignallingProblem as Problem, excerpt},
    receive::{self, Incoming, Rules},
};

/// Bytes that may wait to be sent; more than all that a client says at once to a room full of peers.
const MAX_QUEUED: usize = 4 * 1024 * 1024;
/// What a waiting packet is charged beside its bytes.
const OVERHEAD: usize = 64;
/// How long the server may take to answer when there is a doubt whether it is there.
const DOUBT: Duration = Duration::from_secs(2);

const PONG: &str = "3";

/// What a connection has to say.
#[derive(Debug)]
pub(super) enum Input {
    /// The client is in the namespace.
    Entered,
    Signal(ServerSignal),
    /// Something that does no harm.
    Odd(Problem),
    /// The connection has ended.
    Lost(Loss),
}

/// How a connection ended.
#[derive(Debug)]
pub(super) enum Loss {
    /// It is simply gone, or the server took its leave.
    Gone,
    /// The namespace was refused, for this reason.
    Refused(String),
    /// Nothing was heard for so long.
    Silent(Duration),
    Problem(Problem),
}

pub(super) struct Connection {
    socket: Socket,
    namespace: Namespace,
    rules: Rules,
    entered: bool,
    /// What goes with CONNECT beside signals; it has gone when there is none.
    greeting: Option<Greeting>,
    /// The names and payloads of signals that go with CONNECT; the server may not take them.
    said: Vec<(&'static str, String)>,
    queue: VecDeque<String>,
    queued: usize,
    /// A pong is due. It waits here, so that pings cannot fill the queue.
    pong: bool,
    /// A ping of the websocket is due.
    probe: bool,
    unflushed: bool,
    /// Writing has failed; what the server said last may still be there to be read.
    mute: bool,
    deadline: Instant,
    patience: Duration,
    timer: Pin<Box<Sleep>>,
}

/// What the application has CONNECT carry: the JSON of an object.
struct Greeting(Option<String>);

impl Connection {
    /// A connection that asks for the namespace when it is polled, and has until the deadline to get into it. What is said
    /// before goes with the question.
    pub(super) fn new(socket: Socket, namespace: Namespace, auth: Option<String>, deadline: Instant) -> Self {
        Self {
            socket,
            namespace,
            rules: Rules::default(),
            entered: false,
            greeting: Some(Greeting(auth)),
            said: Vec::new(),
            queued: 0,
            queue: VecDeque::new(),
            pong: false,
            probe: false,
            unflushed: false,
            mute: false,
            deadline,
            patience: Duration::ZERO,
            timer: Box::pin(sleep_until(deadline)),
        }
    }

    /// Whether the client is in the namespace.
    pub(super) const fn has_entered(&self) -> bool {
        self.entered
    }

    /// Lets a signal wait for its turn.
    pub(super) fn push(&mut self, name: &'static str, payload: String) -> Result<(), SendSignalError> {
        if self.greeting.is_some() {
            self.said.push((name, payload));
            return Ok(());
        }
        self.push_frame(packet::event(self.namespace, 0, name, &payload))
    }

    fn push_frame(&mut self, frame: String) -> Result<(), SendSignalError> {
        let (size, most) = (frame.len(), self.rules.max_payload);
        if size > most {
            return Err(SendSignalError::TooLarge { size, most });
        }
        if self.queued + size + OVERHEAD > MAX_QUEUED {
            return Err(SendSignalError::QueueFull);
        }
        self.queued += size + OVERHEAD;
        self.queue.push_back(frame);
        Ok(())
    }

    /// Asks the server whether it is there; without any sign of it for some seconds the connection ends.
    pub(super) fn doubt(&mut self) {
        if self.entered && !self.probe {
            self.probe = true;
            self.expect(DOUBT.min(self.rules.silence));
        }
    }

    /// Asks for the namespace.
    fn greet(&mut self) {
        if let Some(Greeting(auth)) = self.greeting.take() {
            let content = match (&auth, self.said.is_empty()) {
                (_, false) => packet::connect_content(auth.as_deref(), &self.said),
                (Some(auth), true) => auth.clone(),
                (None, true) => String::new(),
            };
            self.queue.push_back(["40", self.namespace.prefix(), &content].concat());
        }
    }

    /// Writes, reads and keeps time until there is something to say.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Input> {
        self.greet();
        loop {
            if !self.mute
                && let Poll::Ready(Err(_)) = self.poll_write(cx)
            {
                self.mute = true;
            }
            match self.poll_read(cx) {
                Poll::Ready(Some(input)) => return Poll::Ready(input),
                Poll::Ready(None) => {}
                Poll::Pending => break,
            }
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            if self.deadline <= Instant::now() {
                return Poll::Ready(Input::Lost(Loss::Silent(self.patience)));
            }
            self.timer.as_mut().reset(self.deadline);
        }
        Poll::Pending
    }

    /// Leaves the namespace, closes the websocket, and waits until the server has done so too.
    pub(super) async fn close(mut self) {
        let leave = packet::disconnect(self.namespace);
        self.queue.push_back(leave);
        if poll_fn(|cx| self.poll_write(cx)).await.is_err() {
            return;
        }
        let goodbye = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        if self.socket.close(Some(goodbye)).await.is_ok() {
            while let Some(Ok(_)) = self.socket.next().await {}
        }
    }

    /// Sends what waits, as much as the server takes; ready when all is sent.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), tungstenite::Error>> {
        loop {
            ready!(Pin::new(&mut self.socket).poll_ready(cx))?;
            let message = if std::mem::take(&mut self.pong) {
                Message::text(PONG)
            } else if std::mem::take(&mut self.probe) {
                Message::Ping("".into())
            } else if let Some(frame) = self.queue.pop_front() {
                self.queued = self.queued.saturating_sub(frame.len() + OVERHEAD);
                Message::text(frame)
            } else {
                break;
            };
            self.unflushed = true;
            Pin::new(&mut self.socket).start_send(message)?;
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads a message; ready with `None` if there was nothing to say about it.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Option<Input>> {
        let message = match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
            Some(Ok(message)) => message,
            Some(Err(error)) => return Poll::Ready(Some(Input::Lost(loss(&error)))),
            None => return Poll::Ready(Some(Input::Lost(Loss::Gone))),
        };
        if self.entered {
            self.expect(self.rules.silence);
        }
        Poll::Ready(match message {
            Message::Text(text) => self.handle(receive::read(self.namespace, &text)),
            Message::Binary(_) => Some(Input::Odd(Problem::Ignored("a binary one"))),
            Message::Close(frame) => {
                // The answer is under way; whether it arrives is no longer our business.
                let _ = Pin::new(&mut self.socket).poll_flush(cx);
                Some(Input::Lost(farewell(frame)))
            }
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => None,
        })
    }

    fn handle(&mut self, incoming: Incoming) -> Option<Input> {
        match incoming {
            Incoming::Open(rules) => {
                self.rules = rules;
                if self.entered {
                    self.expect(rules.silence);
                }
                None
            }
            Incoming::Ping => {
                self.pong = true;
                None
            }
            Incoming::Nothing => None,
            Incoming::Entered(taken) => {
                self.enter();
                for (name, payload) in std::mem::take(&mut self.said).into_iter().skip(taken) {
                    // They are few, and nothing else waits.
                    let _ = self.push(name, payload);
                }
                Some(Input::Entered)
            }
            Incoming::Refused(reason) => Some(Input::Lost(Loss::Refused(reason))),
            Incoming::Over => Some(Input::Lost(Loss::Gone)),
            Incoming::Signal(signal) => {
                // A server of version 0.0 sends the sid ahead of the confirmation.
                self.enter();
                Some(Input::Signal(*signal))
            }
            Incoming::Odd(problem) => Some(Input::Odd(problem)),
        }
    }

    fn enter(&mut self) {
        if !self.entered {
            self.entered = true;
            self.expect(self.rules.silence);
        }
    }

    /// The next sign of the server is to come within this time.
    fn expect(&mut self, patience: Duration) {
        (self.patience, self.deadline) = (patience, Instant::now() + patience);
        if self.deadline < self.timer.deadline() {
            self.timer.as_mut().reset(self.deadline);
        }
    }
}

fn loss(error: &tungstenite::Error) -> Loss {
    match error {
        tungstenite::Error::Capacity(_) | tungstenite::Error::Utf8(_) => {
            Loss::Problem(Problem::Protocol(error.to_string()))
        }
        // It ended without a close frame: the process was killed, or a proxy was.
        tungstenite::Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => Loss::Gone,
        tungstenite::Error::Protocol(error) => Loss::Problem(Problem::Protocol(error.to_string())),
        _ => Loss::Gone,
    }
}

fn farewell(frame: Option<CloseFrame>) -> Loss {
    match frame {
        Some(CloseFrame { code, reason }) if !matches!(code, CloseCode::Normal | CloseCode::Away) => {
            Loss::Problem(Problem::Closed { code: code.into(), reason: excerpt(&reason) })
        }
        _ => Loss::Gone,
    }
}
